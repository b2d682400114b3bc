//! CUDA C to machine code: by NVRTC, which needs no toolkit on the machine, and once for each text: on disk it stays.

use super::super::disk;
use super::library;
use cudarc::nvrtc::sys;
use std::ffi::{CStr, CString, c_char, c_int};
use std::sync::Mutex;

type Result<T> = std::result::Result<T, String>;

/// What a kernel is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Target {
    /// Compute capability: 90 for an H100.
    pub architecture: u32,
    /// Whether a product and a sum may become one rounding.
    pub fused: bool,
}

/// The machine code of a text, from the disk if it was ever compiled there. Fails with the compiler's words.
pub fn machine_code(source: &str, target: Target) -> Result<Vec<u8>> {
    library::nvrtc()?;
    let options = options(target)?;
    let version = library::nvrtc_version().unwrap_or_default();
    // Written in front of the code and compared whole: two texts of one hash are no danger.
    let key = format!("{version:?} {options:?}\n{source}");
    let path = disk::path("cuda", &key);
    if let Some(code) = path.as_deref().and_then(|path| disk::stored(path, &key)) {
        return Ok(code);
    }
    let code = compile(source, &options)?;
    if let Some(path) = path {
        // A cache that cannot be written costs time, nothing else.
        let _ = disk::store(&path, &key, &code);
    }
    Ok(code)
}

/// NVRTC's options. A GPU that is newer than NVRTC gets PTX for the newest that NVRTC knows; the driver compiles that.
fn options(target: Target) -> Result<Vec<String>> {
    let known = known_architectures();
    let architecture = match known.iter().copied().filter(|&a| a <= target.architecture).max() {
        // With the letter, also what only this one can do.
        Some(90) if target.architecture == 90 => "sm_90a".into(),
        Some(a) if a == target.architecture => format!("sm_{a}"),
        Some(a) => format!("compute_{a}"),
        None => return Err(format!("NVRTC knows no GPU of compute capability {} or less", target.architecture)),
    };
    Ok(vec![
        format!("--gpu-architecture={architecture}"),
        "--std=c++17".into(),
        format!("--fmad={}", target.fused),
        "--disable-warnings".into(),
    ])
}

fn known_architectures() -> Vec<u32> {
    let mut count = 0;
    // SAFETY: the symbols were found; the first writes how many integers the second writes.
    let list = unsafe {
        sys::nvrtcGetNumSupportedArchs(&mut count);
        let mut list: Vec<c_int> = vec![0; count.max(0) as usize];
        sys::nvrtcGetSupportedArchs(list.as_mut_ptr());
        list
    };
    list.into_iter().map(|a| a as u32).collect()
}

fn compile(source: &str, options: &[String]) -> Result<Vec<u8>> {
    // NVRTC may be called from several threads, but is no faster for it.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(|e| e.into_inner());
    let text = CString::new(source).map_err(|_| "the text holds a zero byte")?;
    let options: Vec<CString> = options.iter().filter_map(|o| CString::new(&o[..]).ok()).collect();
    let pointers: Vec<*const c_char> = options.iter().map(|o| o.as_ptr()).collect();
    let mut program = std::ptr::null_mut();
    // SAFETY: all pointers live until the calls return; no headers are given.
    let created = unsafe {
        let (name, none) = (c"kernel.cu".as_ptr(), std::ptr::null());
        sys::nvrtcCreateProgram(&mut program, text.as_ptr(), name, 0, none, none)
    };
    if created != sys::nvrtcResult::NVRTC_SUCCESS {
        return Err(format!("NVRTC made no program: {created:?}"));
    }
    let ptx = options.iter().any(|o| o.to_bytes().starts_with(b"--gpu-architecture=compute"));
    // SAFETY: `program` was created above, and is destroyed once, after its last use.
    unsafe {
        let compiled = sys::nvrtcCompileProgram(program, pointers.len() as c_int, pointers.as_ptr());
        let result = match compiled {
            sys::nvrtcResult::NVRTC_SUCCESS if ptx => output(program, sys::nvrtcGetPTXSize, sys::nvrtcGetPTX),
            sys::nvrtcResult::NVRTC_SUCCESS => output(program, sys::nvrtcGetCUBINSize, sys::nvrtcGetCUBIN),
            code => {
                let log = output(program, sys::nvrtcGetProgramLogSize, sys::nvrtcGetProgramLog).unwrap_or_default();
                let log = CStr::from_bytes_until_nul(&log).unwrap_or_default().to_string_lossy().into_owned();
                Err(format!("{code:?}\n{log}"))
            }
        };
        sys::nvrtcDestroyProgram(&mut program);
        result
    }
}

/// What one of NVRTC's pairs of functions gives: the first says how many bytes the second writes.
unsafe fn output(
    program: sys::nvrtcProgram,
    size: unsafe fn(sys::nvrtcProgram, *mut usize) -> sys::nvrtcResult,
    get: unsafe fn(sys::nvrtcProgram, *mut c_char) -> sys::nvrtcResult,
) -> Result<Vec<u8>> {
    let mut bytes = 0;
    // SAFETY: the caller vouches for the program.
    let asked = unsafe { size(program, &mut bytes) };
    let mut out = vec![0u8; bytes];
    // SAFETY: there is room for as many bytes as were announced.
    let got = unsafe { get(program, out.as_mut_ptr().cast()) };
    match (asked, got) {
        (sys::nvrtcResult::NVRTC_SUCCESS, sys::nvrtcResult::NVRTC_SUCCESS) => Ok(out),
        (a, b) => Err(format!("NVRTC gave no result: {a:?}, {b:?}")),
    }
}
