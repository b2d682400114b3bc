//! The driver's handles, and what its error codes mean.

use super::library;
use crate::error::{Error, Result};
use cudarc::driver::sys::{self, CUresult};
use std::ffi::{CStr, c_char, c_int};
use std::sync::{Arc, Mutex, OnceLock};

/// A device's primary context with the one stream that all work is ordered on.
pub(super) struct Context {
    /// `cuda:0`.
    pub name: String,
    device: sys::CUdevice,
    raw: sys::CUcontext,
    /// Where everything runs, in order.
    pub stream: sys::CUstream,
    /// Where graphs are recorded, by one thread at a time; nothing runs there.
    pub recorder: Mutex<Stream>,
    /// Whether the device allocates in the order of a stream.
    pub pools: bool,
    /// Why the context is gone, once it is.
    lost: OnceLock<String>,
}

/// A stream of its own, destroyed with its owner.
pub(super) struct Stream(pub sys::CUstream);

// SAFETY: the driver's handles may be used from any thread whose current context is theirs; `enter` sees to that.
unsafe impl Send for Context {}
// SAFETY: as above; the driver locks what it shares.
unsafe impl Sync for Context {}
// SAFETY: as above.
unsafe impl Send for Stream {}

impl Context {
    /// Retains the primary context of device number `ordinal`.
    pub fn open(ordinal: usize) -> Result<Arc<Context>> {
        let name = format!("cuda:{ordinal}");
        let fail = |detail: String| Error::Backend { device: name.clone(), detail };
        ready().map_err(fail)?;
        let mut device = 0;
        // SAFETY: the driver is initialised; it writes one device.
        call("cuDeviceGet", unsafe { sys::cuDeviceGet(&mut device, ordinal as c_int) }).map_err(fail)?;
        let (mut raw, mut stream, mut recorder) = (std::ptr::null_mut(), std::ptr::null_mut(), std::ptr::null_mut());
        let apart = sys::CUstream_flags::CU_STREAM_NON_BLOCKING as u32;
        // SAFETY: the context is made current before streams are made in it.
        unsafe {
            call("cuDevicePrimaryCtxRetain", sys::cuDevicePrimaryCtxRetain(&mut raw, device)).map_err(fail)?;
            call("cuCtxSetCurrent", sys::cuCtxSetCurrent(raw)).map_err(fail)?;
            call("cuStreamCreate", sys::cuStreamCreate(&mut stream, apart)).map_err(fail)?;
            call("cuStreamCreate", sys::cuStreamCreate(&mut recorder, apart)).map_err(fail)?;
        }
        let pools = attribute(device, sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED) == 1;
        let recorder = Mutex::new(Stream(recorder));
        Ok(Arc::new(Context { name, device, raw, stream, recorder, pools, lost: OnceLock::new() }))
    }

    /// Makes the context this thread's. Fails once it is lost.
    pub fn enter(&self) -> Result<()> {
        if let Some(reason) = self.lost.get() {
            return Err(Error::DeviceLost { device: self.name.clone(), reason: reason.clone() });
        }
        // SAFETY: the context lives as long as `self`.
        self.check("cuCtxSetCurrent", unsafe { sys::cuCtxSetCurrent(self.raw) })
    }

    /// Makes the context this thread's whether or not it is lost: for giving things back.
    pub fn current(&self) {
        // SAFETY: the context lives as long as `self`.
        unsafe { sys::cuCtxSetCurrent(self.raw) };
    }

    /// The error of a driver's call. What ends the context is remembered.
    pub fn check(&self, what: &str, code: CUresult) -> Result<()> {
        let Err(detail) = call(what, code) else { return Ok(()) };
        if sticky(code) {
            // Only the first reason counts: those that follow are its echo.
            let reason = self
                .lost
                .get_or_init(|| format!("{detail}; what it held is lost, and this process cannot open it again"));
            return Err(Error::DeviceLost { device: self.name.clone(), reason: reason.clone() });
        }
        Err(Error::Backend { device: self.name.clone(), detail })
    }

    pub fn error(&self, detail: impl Into<String>) -> Error {
        Error::Backend { device: self.name.clone(), detail: detail.into() }
    }

    /// Waits for everything that was asked so far.
    pub fn wait(&self) -> Result<()> {
        // SAFETY: the stream lives as long as `self`.
        self.check("cuStreamSynchronize", unsafe { sys::cuStreamSynchronize(self.stream) })
    }

    /// A number that the device tells of itself.
    pub fn attribute(&self, which: sys::CUdevice_attribute) -> i32 {
        attribute(self.device, which)
    }

    pub fn device(&self) -> sys::CUdevice {
        self.device
    }

    /// Says that the device is gone for a reason of the program's own.
    pub fn abandon(&self, reason: &str) {
        let _ = self.lost.set(reason.into());
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: nobody else holds the handles any more. What fails on the way out has nobody left to tell.
        unsafe {
            self.current();
            sys::cuStreamDestroy_v2(self.stream);
            let recorder = self.recorder.get_mut().unwrap_or_else(|e| e.into_inner()).0;
            sys::cuStreamDestroy_v2(recorder);
            sys::cuDevicePrimaryCtxRelease_v2(self.device);
        }
    }
}

/// Initialises the driver once; says why there is none.
pub(super) fn ready() -> std::result::Result<(), String> {
    static READY: OnceLock<std::result::Result<(), String>> = OnceLock::new();
    let init = || {
        library::driver()?;
        match library::driver_version() {
            Some(version) if version >= (12, 0) => {}
            Some((major, minor)) => {
                return Err(format!("NVIDIA's driver is too old: it speaks CUDA {major}.{minor}, 12.0 is needed"));
            }
            None => return Err("NVIDIA's driver does not tell its version".into()),
        }
        // SAFETY: the symbol was found.
        call("cuInit", unsafe { sys::cuInit(0) })
    };
    READY.get_or_init(init).clone()
}

/// How many devices there are; none where there is no driver.
pub(super) fn count() -> usize {
    if ready().is_err() {
        return 0;
    }
    let mut count = 0;
    // SAFETY: the driver is initialised and writes one integer.
    let code = unsafe { sys::cuDeviceGetCount(&mut count) };
    if code == CUresult::CUDA_SUCCESS { count.max(0) as usize } else { 0 }
}

fn attribute(device: sys::CUdevice, which: sys::CUdevice_attribute) -> i32 {
    let mut value = 0;
    // SAFETY: writes one integer.
    unsafe { sys::cuDeviceGetAttribute(&mut value, which, device) };
    value
}

/// A device's own name.
pub(super) fn hardware(device: sys::CUdevice) -> String {
    let mut name = [0 as c_char; 256];
    // SAFETY: the driver writes at most as many bytes as it is told, the last of them a zero.
    unsafe {
        sys::cuDeviceGetName(name.as_mut_ptr(), name.len() as c_int - 1, device);
        CStr::from_ptr(name.as_ptr()).to_string_lossy().into_owned()
    }
}

/// The driver's own words for an error.
fn call(what: &str, code: CUresult) -> std::result::Result<(), String> {
    if code == CUresult::CUDA_SUCCESS {
        return Ok(());
    }
    let words = |get: unsafe fn(CUresult, *mut *const c_char) -> CUresult| {
        let mut text = std::ptr::null();
        // SAFETY: the driver gives a pointer to a text that stays, or none.
        unsafe {
            get(code, &mut text);
            (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
        }
    };
    let name = words(sys::cuGetErrorName).unwrap_or_else(|| format!("error {}", code as u32));
    let meaning = words(sys::cuGetErrorString).unwrap_or_default();
    Err(format!("{what} failed: {name} ({meaning})"))
}

/// True for errors that no later call recovers from.
fn sticky(code: CUresult) -> bool {
    use CUresult as C;
    matches!(
        code,
        C::CUDA_ERROR_DEINITIALIZED
            | C::CUDA_ERROR_ECC_UNCORRECTABLE
            | C::CUDA_ERROR_NVLINK_UNCORRECTABLE
            | C::CUDA_ERROR_CONTAINED
            | C::CUDA_ERROR_ILLEGAL_ADDRESS
            | C::CUDA_ERROR_LAUNCH_TIMEOUT
            | C::CUDA_ERROR_CONTEXT_IS_DESTROYED
            | C::CUDA_ERROR_ASSERT
            | C::CUDA_ERROR_HARDWARE_STACK_ERROR
            | C::CUDA_ERROR_ILLEGAL_INSTRUCTION
            | C::CUDA_ERROR_MISALIGNED_ADDRESS
            | C::CUDA_ERROR_INVALID_ADDRESS_SPACE
            | C::CUDA_ERROR_INVALID_PC
            | C::CUDA_ERROR_LAUNCH_FAILED
            | C::CUDA_ERROR_UNKNOWN
    )
}
