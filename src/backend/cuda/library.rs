//! Which of NVIDIA's libraries this machine has. Asked before anything of theirs is called.

use cudarc::{cublaslt, driver, nvrtc};
use std::ffi::c_int;
use std::sync::OnceLock;

/// What the backend calls, so that a driver without it is refused before the call.
const DRIVER: &[&str] = &[
    "cuInit",
    "cuDriverGetVersion",
    "cuDeviceGetCount",
    "cuDeviceGet",
    "cuDeviceGetName",
    "cuDeviceGetAttribute",
    "cuDeviceTotalMem_v2",
    "cuDevicePrimaryCtxRetain",
    "cuDevicePrimaryCtxRelease_v2",
    "cuCtxSetCurrent",
    "cuGetErrorName",
    "cuGetErrorString",
    "cuStreamCreate",
    "cuStreamDestroy_v2",
    "cuStreamSynchronize",
    "cuStreamBeginCapture_v2",
    "cuStreamEndCapture",
    "cuEventCreate",
    "cuEventRecord",
    "cuEventSynchronize",
    "cuEventDestroy_v2",
    "cuMemAllocAsync",
    "cuMemFreeAsync",
    "cuMemAlloc_v2",
    "cuMemFree_v2",
    "cuMemGetInfo_v2",
    "cuMemAllocHost_v2",
    "cuMemFreeHost",
    "cuMemcpyHtoDAsync_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuMemsetD8Async",
    "cuModuleLoadData",
    "cuModuleGetFunction",
    "cuModuleUnload",
    "cuLaunchKernel",
    "cuGraphInstantiateWithFlags",
    "cuGraphLaunch",
    "cuGraphDestroy",
    "cuGraphExecDestroy",
];

const NVRTC: &[&str] = &[
    "nvrtcVersion",
    "nvrtcCreateProgram",
    "nvrtcCompileProgram",
    "nvrtcDestroyProgram",
    "nvrtcGetCUBIN",
    "nvrtcGetCUBINSize",
    "nvrtcGetPTX",
    "nvrtcGetPTXSize",
    "nvrtcGetProgramLog",
    "nvrtcGetProgramLogSize",
    "nvrtcGetNumSupportedArchs",
    "nvrtcGetSupportedArchs",
];

const CUBLASLT: &[&str] = &[
    "cublasLtCreate",
    "cublasLtDestroy",
    "cublasLtGetVersion",
    "cublasLtMatmul",
    "cublasLtMatmulAlgoGetHeuristic",
    "cublasLtMatmulDescCreate",
    "cublasLtMatmulDescDestroy",
    "cublasLtMatmulDescSetAttribute",
    "cublasLtMatmulPreferenceCreate",
    "cublasLtMatmulPreferenceDestroy",
    "cublasLtMatmulPreferenceSetAttribute",
    "cublasLtMatrixLayoutCreate",
    "cublasLtMatrixLayoutDestroy",
    "cublasLtMatrixLayoutSetAttribute",
];

/// Whether a library can be used, and why not.
pub type Found = std::result::Result<(), String>;

fn probe(
    name: &str,
    present: unsafe fn() -> bool,
    library: unsafe fn() -> &'static libloading::Library,
    symbols: &[&str],
) -> Found {
    // SAFETY: these load a library of NVIDIA's by its usual names, which runs its initialisers; `library` panics only
    // when no name loads, and one just did.
    let library = unsafe {
        if !present() {
            return Err(format!("{name} was not found"));
        }
        library()
    };
    // SAFETY: the symbol is only looked for.
    let lacks = |s: &&&str| unsafe { library.get::<*const ()>(s.as_bytes()) }.is_err();
    match symbols.iter().find(lacks) {
        None => Ok(()),
        Some(symbol) => Err(format!("{name} is too old: it has no {symbol}")),
    }
}

/// The driver's own library.
pub fn driver() -> Found {
    static FOUND: OnceLock<Found> = OnceLock::new();
    let probe = || probe("NVIDIA's driver (libcuda)", driver::sys::is_culib_present, driver::sys::culib, DRIVER);
    FOUND.get_or_init(probe).clone()
}

/// The compiler.
pub fn nvrtc() -> Found {
    static FOUND: OnceLock<Found> = OnceLock::new();
    FOUND.get_or_init(|| probe("NVRTC", nvrtc::sys::is_culib_present, nvrtc::sys::culib, NVRTC)).clone()
}

/// Matrix products.
pub fn cublaslt() -> Found {
    static FOUND: OnceLock<Found> = OnceLock::new();
    FOUND.get_or_init(|| probe("cuBLASLt", cublaslt::sys::is_culib_present, cublaslt::sys::culib, CUBLASLT)).clone()
}

/// The CUDA version that the driver speaks, as `(13, 0)`.
pub fn driver_version() -> Option<(c_int, c_int)> {
    driver().ok()?;
    let mut version = 0;
    // SAFETY: the symbol is there, and writes one integer.
    unsafe { driver::sys::cuDriverGetVersion(&mut version) };
    (version > 0).then_some((version / 1000, version % 1000 / 10))
}

/// NVRTC's version.
pub fn nvrtc_version() -> Option<(c_int, c_int)> {
    nvrtc().ok()?;
    let (mut major, mut minor) = (0, 0);
    // SAFETY: the symbol is there, and writes two integers.
    unsafe { nvrtc::sys::nvrtcVersion(&mut major, &mut minor) };
    Some((major, minor))
}

/// The version function of a library that this backend does not call: cuDNN, NCCL.
fn version_of<T: Copy>(names: &[&str], symbol: &str, read: impl Fn(T) -> Option<usize>) -> Option<usize> {
    for name in names {
        // SAFETY: loads a library of NVIDIA's by its usual name, which runs its initialisers.
        let Ok(library) = (unsafe { libloading::Library::new(*name) }) else { continue };
        // SAFETY: the caller names the function's type.
        let found = unsafe { library.get::<T>(symbol.as_bytes()) }.ok().and_then(|f| read(*f));
        if found.is_some() {
            return found;
        }
    }
    None
}

/// What was found of the driver and the libraries, for people: a name, and a version or why there is none.
pub fn libraries() -> Vec<(String, String)> {
    let dotted = |v: Option<(c_int, c_int)>| v.map(|(major, minor)| format!("{major}.{minor}"));
    let or = |version: Option<String>, found: Found| version.or(found.err()).unwrap_or_else(|| "not found".into());
    let cublaslt_version = cublaslt().ok().map(|()| {
        // SAFETY: the symbol is there; it takes nothing and gives a number.
        let v = unsafe { cublaslt::sys::cublasLtGetVersion() };
        format!("{}.{}.{}", v / 10_000, v / 100 % 100, v % 100)
    });
    type Cudnn = unsafe extern "C" fn() -> usize;
    type Nccl = unsafe extern "C" fn(*mut c_int) -> c_int;
    // SAFETY: cudnnGetVersion takes nothing and gives a number.
    let cudnn = version_of(
        &["libcudnn.so", "libcudnn.so.9", "libcudnn.so.8", "cudnn64_9.dll", "cudnn64_8.dll"],
        "cudnnGetVersion",
        |f: Cudnn| Some(unsafe { f() }),
    );
    let nccl = version_of(&["libnccl.so", "libnccl.so.2"], "ncclGetVersion", |f: Nccl| {
        let mut version = 0;
        // SAFETY: ncclGetVersion writes one integer and gives 0 when all is well.
        (unsafe { f(&mut version) } == 0).then_some(version as usize)
    });
    let cudnn = cudnn.map(|v| match v {
        90_000.. => format!("{}.{}.{}", v / 10_000, v / 100 % 100, v % 100),
        _ => format!("{}.{}.{}", v / 1000, v / 100 % 10, v % 100),
    });
    let nccl = nccl.map(|v| format!("{}.{}.{}", v / 10_000, v / 100 % 100, v % 100));
    vec![
        ("driver (CUDA)".into(), or(dotted(driver_version()), driver())),
        ("NVRTC".into(), or(dotted(nvrtc_version()), nvrtc())),
        ("cuBLASLt".into(), or(cublaslt_version, cublaslt())),
        ("cuDNN".into(), cudnn.unwrap_or_else(|| "not found".into())),
        ("NCCL".into(), nccl.unwrap_or_else(|| "not found".into())),
    ]
}
