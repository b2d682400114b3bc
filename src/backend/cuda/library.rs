//! Which of NVIDIA's libraries this machine has. Asked before anything of theirs is called.

use cudarc::{cublaslt, cudnn, driver, nvrtc};
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
    "cuStreamWaitEvent",
    "cuStreamBeginCapture_v2",
    "cuStreamEndCapture",
    "cuEventCreate",
    "cuEventRecord",
    "cuEventRecordWithFlags",
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
    "cuMemcpyPeerAsync",
    "cuMemsetD8Async",
    "cuModuleLoadData",
    "cuModuleGetFunction",
    "cuModuleUnload",
    "cuFuncSetAttribute",
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

const CUDNN: &[&str] = &[
    "cudnnCreate",
    "cudnnDestroy",
    "cudnnGetVersion",
    "cudnnSetStream",
    "cudnnCreateTensorDescriptor",
    "cudnnDestroyTensorDescriptor",
    "cudnnSetTensor4dDescriptorEx",
    "cudnnCreateFilterDescriptor",
    "cudnnDestroyFilterDescriptor",
    "cudnnSetFilter4dDescriptor",
    "cudnnCreateConvolutionDescriptor",
    "cudnnDestroyConvolutionDescriptor",
    "cudnnSetConvolution2dDescriptor",
    "cudnnSetConvolutionGroupCount",
    "cudnnSetConvolutionMathType",
    "cudnnGetConvolutionForwardAlgorithm_v7",
    "cudnnGetConvolutionBackwardDataAlgorithm_v7",
    "cudnnGetConvolutionBackwardFilterAlgorithm_v7",
    "cudnnConvolutionForward",
    "cudnnConvolutionBackwardData",
    "cudnnConvolutionBackwardFilter",
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

/// `cuEventElapsedTime`, which cudarc has under a newer name that not every driver knows.
pub(super) type Elapsed =
    unsafe extern "C" fn(*mut f32, driver::sys::CUevent, driver::sys::CUevent) -> driver::sys::CUresult;

pub(super) fn elapsed() -> Option<Elapsed> {
    driver().ok()?;
    // SAFETY: the library is there, and this is the function's type.
    unsafe { driver::sys::culib().get::<Elapsed>(b"cuEventElapsedTime") }.ok().map(|f| *f)
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

/// Convolutions.
pub fn cudnn() -> Found {
    static FOUND: OnceLock<Found> = OnceLock::new();
    FOUND.get_or_init(|| probe("cuDNN", cudnn::sys::is_culib_present, cudnn::sys::culib, CUDNN)).clone()
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

/// NCCL's version; this backend does not call it.
fn nccl_version() -> Option<c_int> {
    type Version = unsafe extern "C" fn(*mut c_int) -> c_int;
    for name in ["libnccl.so", "libnccl.so.2"] {
        // SAFETY: loads a library of NVIDIA's by its usual name, which runs its initialisers.
        let Ok(library) = (unsafe { libloading::Library::new(name) }) else { continue };
        let mut version = 0;
        // SAFETY: ncclGetVersion writes one integer and gives 0 when all is well.
        let told = unsafe { library.get::<Version>(b"ncclGetVersion") }.is_ok_and(|f| unsafe { f(&mut version) } == 0);
        if told {
            return Some(version);
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
    let cudnn_version = cudnn().ok().map(|()| {
        // SAFETY: the symbol is there; it takes nothing and gives a number.
        match unsafe { cudnn::sys::cudnnGetVersion() } {
            v @ 90_000.. => format!("{}.{}.{}", v / 10_000, v / 100 % 100, v % 100),
            v => format!("{}.{}.{}", v / 1000, v / 100 % 10, v % 100),
        }
    });
    let nccl = nccl_version().map(|v| format!("{}.{}.{}", v / 10_000, v / 100 % 100, v % 100));
    vec![
        ("driver (CUDA)".into(), or(dotted(driver_version()), driver())),
        ("NVRTC".into(), or(dotted(nvrtc_version()), nvrtc())),
        ("cuBLASLt".into(), or(cublaslt_version, cublaslt())),
        ("cuDNN".into(), or(cudnn_version, cudnn())),
        ("NCCL".into(), nccl.unwrap_or_else(|| "not found".into())),
    ]
}
