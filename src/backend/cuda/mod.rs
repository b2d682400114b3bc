//! The backend for NVIDIA's GPUs through their own driver: the WGSL of every kernel as CUDA C, compiled on the spot.
//!
//! Everything of NVIDIA's is looked for at run time ([`libraries`]): the same program runs on machines without it.
//! Needed are a driver of CUDA 12 or later and NVRTC; with cuBLASLt and cuDNN,
//! matrix products and convolutions run at their speed. Compiled kernels
//! are kept on disk ([`nvrtc`]), plans that repeat are replayed as CUDA graphs.

mod attention;
mod calls;
mod context;
mod conv;
mod cudnn;
mod executable;
mod flags;
mod graph;
mod kernels;
pub mod library;
mod matmul;
mod memory;
pub mod nvrtc;
mod outcome;
mod product;
#[cfg(test)]
mod tests;
pub mod translate;

pub use library::libraries;

use super::CachingManager;
use crate::device::{Backend, Caps, Executable, MemoryManager, MemoryStats, Storage};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::plan::Plan;
use context::Context;
use cudarc::driver::sys;
use cudnn::Convolutions;
use flags::Flags;
use kernels::Kernels;
use memory::Pinned;
use product::Products;
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

/// A GPU.
pub struct CudaBackend {
    core: Arc<Core>,
    memory: Arc<dyn MemoryManager>,
}

/// What the backend and its executables share. Fields are dropped in this order, the context last.
struct Core {
    caps: Caps,
    architecture: u32,
    kernels: Kernels,
    /// cuBLASLt, where it is.
    products: Option<Products>,
    /// cuDNN, where it is, once it was wanted.
    convolutions: OnceLock<Option<Convolutions>>,
    /// Whether f32 products and convolutions may be made from operands rounded to 10 bits.
    tf32: AtomicBool,
    flags: Flags,
    in_flight: Mutex<VecDeque<graph::Event>>,
    pinned: Mutex<Option<Pinned>>,
    /// Bytes of all blocks that exist.
    reserved: Arc<AtomicU64>,
    context: Arc<Context>,
}

/// How many devices the driver has; 0 where there is no driver.
pub fn count() -> usize {
    context::count()
}

/// The names of the devices that the driver has.
pub fn devices() -> Vec<String> {
    (0..count())
        .map(|ordinal| {
            let mut device = 0;
            // SAFETY: the driver is initialised; it writes one device.
            unsafe { sys::cuDeviceGet(&mut device, ordinal as i32) };
            context::hardware(device)
        })
        .collect()
}

impl CudaBackend {
    /// Opens device number `ordinal`. Fails when there is no driver, no such device, or no NVRTC; the error says which.
    pub fn open(ordinal: usize) -> Result<Arc<CudaBackend>> {
        CudaBackend::open_with_memory(ordinal, Arc::new(CachingManager::new()))
    }

    /// The same with a memory manager of one's own.
    pub fn open_with_memory(ordinal: usize, memory: Arc<dyn MemoryManager>) -> Result<Arc<CudaBackend>> {
        let missing = |detail: String| Error::Backend { device: format!("cuda:{ordinal}"), detail };
        context::ready().map_err(missing)?;
        library::nvrtc().map_err(|why| missing(format!("{why}; kernels are compiled with it")))?;
        let context = Context::open(ordinal)?;
        let major = context.attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
        let minor = context.attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
        let products = Products::open(&context);
        if let Err(why) = &products {
            eprintln!("note: cuda:{ordinal} multiplies matrices with generated kernels, slower: {why}");
        }
        let core = Core {
            caps: caps(&context, major, minor),
            architecture: (major * 10 + minor) as u32,
            kernels: Kernels::default(),
            products: products.ok(),
            convolutions: OnceLock::new(),
            tf32: AtomicBool::new(std::env::var("SUNSTONE_TF32").is_ok_and(|v| v == "1")),
            flags: Flags::new(&context)?,
            in_flight: Mutex::default(),
            pinned: Mutex::default(),
            reserved: Arc::default(),
            context,
        };
        Ok(Arc::new(CudaBackend { core: Arc::new(core), memory }))
    }

    /// Gives the device up, with all that it holds: every later call fails with [`Error::DeviceLost`].
    pub fn destroy(&self) {
        self.core.context.abandon("it was destroyed by the program");
    }
}

/// What a device grants.
fn caps(context: &Context, major: i32, minor: i32) -> Caps {
    use sys::CUdevice_attribute as A;
    let mut total = 0;
    // SAFETY: the driver writes one number.
    unsafe { sys::cuDeviceTotalMem_v2(&mut total, context.device()) };
    let (speaks_major, speaks_minor) = library::driver_version().unwrap_or_default();
    let note = |name: &str, which: A| (name.to_owned(), context.attribute(which).to_string());
    Caps {
        hardware: context::hardware(context.device()),
        driver: format!("CUDA {speaks_major}.{speaks_minor} (driver)"),
        software: false,
        dtypes: vec![DType::Bool, DType::U8, DType::U32, DType::I32, DType::F16, DType::BF16, DType::F32],
        // Arguments are pointers, of which thousands fit; a kernel over very many would have no registers left.
        max_buffers_per_kernel: 31,
        // Kernels count elements in 31 bits; a size that the memory manager does not round up further.
        max_buffer_bytes: 15 << 29,
        wide_bytes: true,
        notes: vec![
            ("compute capability".into(), format!("{major}.{minor}")),
            ("memory".into(), format!("{total} bytes")),
            note("multiprocessors", A::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT),
            note("shared memory per block", A::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK),
            note("l2 cache", A::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE),
        ],
    }
}

impl Backend for CudaBackend {
    fn caps(&self) -> &Caps {
        &self.core.caps
    }

    fn allocate(&self, bytes: usize) -> Result<Storage> {
        self.core.context.enter()?;
        self.core.check_size(bytes)?;
        Storage::new(bytes, &self.memory, &*self.core)
    }

    fn write(&self, storage: &Storage, dtype: DType, bytes: &[u8]) -> Result<()> {
        self.core.write(storage, dtype, bytes)
    }

    fn read(&self, storage: &Storage, dtype: DType, start: usize, out: &mut [u8]) -> Result<()> {
        self.core.read(storage, dtype, start, out)
    }

    fn copy_from(&self, to: &Storage, from: &Storage, start: usize, bytes: usize) -> Result<bool> {
        self.core.copy_from(to, from, start, bytes)
    }

    fn compile(&self, plan: Arc<Plan>) -> Result<Box<dyn Executable>> {
        Ok(Box::new(executable::CudaExecutable::new(&self.core, &self.memory, plan)?))
    }

    fn synchronize(&self) -> Result<()> {
        self.core.context.enter()?;
        self.core.download(0, &mut [])
    }

    fn memory(&self) -> MemoryStats {
        self.memory.stats()
    }

    fn allow_tf32(&self, allow: bool) {
        self.core.tf32.store(allow, Ordering::Relaxed);
    }
}

impl fmt::Debug for CudaBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CudaBackend({}, {})", self.core.context.name, self.core.caps.hardware)
    }
}
