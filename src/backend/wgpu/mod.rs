//! The backend for every GPU that wgpu reaches: a run of a plan is one compute pass in one submission.

mod adapters;
mod executable;
mod flags;
#[cfg(target_arch = "wasm32")]
#[path = "browser.rs"]
mod host;
#[cfg(not(target_arch = "wasm32"))]
#[path = "native.rs"]
mod host;
mod memory;
mod pipelines;
#[cfg(not(target_arch = "wasm32"))]
mod saved;
#[cfg(not(target_arch = "wasm32"))]
mod stored;
#[cfg(test)]
mod tests;
#[cfg(not(target_arch = "wasm32"))]
mod timestamps;

pub use adapters::{AdapterInfo, adapters};
#[cfg(not(target_arch = "wasm32"))]
pub use adapters::{adapter, instance};
pub(crate) use memory::lent;

use super::CachingManager;
#[cfg(target_arch = "wasm32")]
use crate::device::Later;
use crate::device::{Backend, Caps, Executable, MemoryManager, MemoryStats, Storage};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::kernel::{Target, Tuning};
use crate::plan::Plan;
use flags::Flags;
use pipelines::Pipelines;
use std::collections::VecDeque;
use std::fmt;
#[cfg(not(target_arch = "wasm32"))]
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Runs that may be under way at once; one more waits for the oldest.
const IN_FLIGHT: usize = 8;

/// Why a buffer or pipeline does not work, once that is known.
type Health = Arc<OnceLock<Error>>;

/// A GPU.
pub struct WgpuBackend {
    core: Arc<Core>,
    memory: Arc<dyn MemoryManager>,
}

/// What the backend and its executables share.
struct Core {
    name: String,
    device: wgpu::Device,
    queue: wgpu::Queue,
    caps: Caps,
    /// What its kernels are shaped for, as far as the driver takes them.
    target: Mutex<Target>,
    /// Why the device is gone, once it is.
    lost: Arc<OnceLock<String>>,
    pipelines: Pipelines,
    #[cfg(not(target_arch = "wasm32"))]
    stored: Option<stored::Stored>,
    flags: Flags,
    in_flight: Mutex<VecDeque<wgpu::SubmissionIndex>>,
    /// Bytes written since the last submission that was made for their sake.
    unsubmitted: AtomicUsize,
    /// Buffers to map that are free, the largest first.
    staging: Mutex<Vec<wgpu::Buffer>>,
    /// Bytes of all blocks that exist.
    reserved: Arc<AtomicU64>,
    #[cfg_attr(not(target_arch = "wasm32"), expect(dead_code, reason = "nothing is late natively"))]
    late: Arc<host::Late>,
}

impl WgpuBackend {
    /// Opens the adapter that the browser offers, with all its limits or with no more than WebGPU promises everywhere; then
    /// its kernels are those for GPUs, whatever it says of itself.
    ///
    /// # Errors
    /// [`Error::UnknownDevice`] when it offers none.
    #[cfg(target_arch = "wasm32")]
    pub async fn open_async(default_limits: bool) -> Result<Arc<WgpuBackend>> {
        let (device, queue, name) = adapters::open_async(default_limits).await?;
        let memory = Arc::new(CachingManager::new());
        let hardware = (!default_limits).then_some(name);
        Ok(WgpuBackend::named("wgpu:0".into(), device, queue, memory, hardware))
    }

    /// Opens number `index` of [`adapters()`]. Fails with [`Error::UnknownDevice`] when there are not so many.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(index: usize) -> Result<Arc<WgpuBackend>> {
        WgpuBackend::open_with_memory(index, Arc::new(CachingManager::new()))
    }

    /// The same with a memory manager of one's own.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open_with_memory(index: usize, memory: Arc<dyn MemoryManager>) -> Result<Arc<WgpuBackend>> {
        let (device, queue) = adapters::open(index)?;
        Ok(WgpuBackend::new(format!("wgpu:{index}"), device, queue, memory))
    }

    /// A backend over a device that the program has already; its callbacks for errors and loss are replaced. Tensors and the
    /// program's own pipelines then share the queue, and [`Tensor::gpu_buffer`](crate::tensor::Tensor::gpu_buffer) lends them
    /// a tensor's memory.
    ///
    /// ```
    /// use sunstone::prelude::*;
    /// use sunstone::backend::wgpu::{WgpuBackend, adapter};
    /// # fn run(device: wgpu::Device, queue: wgpu::Queue) -> Result<()> {
    /// let device = Device::new("mine", WgpuBackend::from_device(device, queue));
    /// assert_eq!(Tensor::arange(3, &device).sum(..).item::<i32>()?, 3);
    /// # Ok(())
    /// # }
    /// # let Ok(adapter) = adapter(0) else { return Ok(()) };
    /// # let wanted = wgpu::DeviceDescriptor { required_limits: adapter.limits(), ..Default::default() };
    /// # let (device, queue) = pollster::block_on(adapter.request_device(&wanted)).unwrap();
    /// # run(device, queue)?;
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    pub fn from_device(device: wgpu::Device, queue: wgpu::Queue) -> Arc<WgpuBackend> {
        WgpuBackend::new("wgpu".into(), device, queue, Arc::new(CachingManager::new()))
    }

    fn new(name: String, device: wgpu::Device, queue: wgpu::Queue, memory: Arc<dyn MemoryManager>) -> Arc<WgpuBackend> {
        WgpuBackend::named(name, device, queue, memory, None)
    }

    /// `hardware` is its name, where the device does not know it.
    fn named(
        name: String,
        device: wgpu::Device,
        queue: wgpu::Queue,
        memory: Arc<dyn MemoryManager>,
        hardware: Option<String>,
    ) -> Arc<WgpuBackend> {
        let lost: Arc<OnceLock<String>> = Arc::default();
        let seen = lost.clone();
        device.set_device_lost_callback(move |_, message| {
            // Only the first message counts.
            let _ = seen.set(message);
        });
        let late: Arc<host::Late> = Arc::default();
        let (seen, gone, own) = (late.clone(), lost.clone(), name.clone());
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| seen.uncaught(&own, error, &gone)));
        let caps = adapters::caps(&device, hardware);
        let core = Core {
            name,
            target: Mutex::new(Target {
                emulated: adapters::emulated(&caps),
                workgroup_memory: device.limits().max_compute_workgroup_storage_size,
                matrices: adapters::has_matrices(&device),
                subgroup: adapters::subgroup(&device),
                tuning: tuned(&device, &caps),
                buffers: caps.max_buffers_per_kernel,
                split: std::env::var("SUNSTONE_SPLIT").is_ok_and(|v| v == "1"),
            }),
            caps,
            flags: Flags::new(&device),
            #[cfg(not(target_arch = "wasm32"))]
            stored: stored::Stored::new(&device),
            device,
            queue,
            lost,
            pipelines: Pipelines::default(),
            in_flight: Mutex::default(),
            unsubmitted: AtomicUsize::new(0),
            staging: Mutex::default(),
            reserved: Arc::default(),
            late,
        };
        Arc::new(WgpuBackend { core: Arc::new(core), memory })
    }

    /// Where one kernel of products gives way to the next: what `sunstone tune` saved for this device, else what is shipped
    /// for its class.
    pub fn tuning(&self) -> Tuning {
        self.core.target().tuning
    }

    /// Whether it has kernels on cooperative matrices.
    pub fn has_matrices(&self) -> bool {
        self.core.target().matrices
    }

    /// Decides that anew, for what is compiled from now on; not for other programs, nor for the next start.
    pub fn set_tuning(&self, tuning: Tuning) {
        self.core.shape(|target| target.tuning = tuning);
    }

    /// Whether large products may be made of halves; see [`Device::allow_split`](crate::device::Device::allow_split).
    pub fn splits(&self) -> bool {
        self.core.target().split
    }

    /// Saves what [`WgpuBackend::tuning`] gives, for every program that opens this device with this driver; gives the file.
    ///
    /// # Errors
    /// [`Error::Invalid`] where there is no folder for such things, [`Error::Io`] where it cannot be written.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn save_tuning(&self) -> Result<PathBuf> {
        saved::save(&self.core.device, self.tuning())
    }

    /// Forgets what was saved for this device; what is shipped for its class holds again. Tells whether there was anything.
    ///
    /// # Errors
    /// [`Error::Io`] where the file cannot be removed.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn forget_tuning(&self) -> Result<bool> {
        self.set_tuning(Tuning::of(adapters::class(&self.core.device, &self.core.caps)));
        saved::forget(&self.core.device)
    }

    /// Gives the device up, with all that it holds: every later call fails with [`Error::DeviceLost`].
    pub fn destroy(&self) {
        let _ = self.core.lost.set("it was destroyed by the program".into());
        self.core.device.destroy();
    }
}

/// What was saved for a device, else what is shipped for its class.
fn tuned(device: &wgpu::Device, caps: &Caps) -> Tuning {
    let class = || Tuning::of(adapters::class(device, caps));
    #[cfg(not(target_arch = "wasm32"))]
    return saved::tuning(device).unwrap_or_else(class);
    #[cfg(target_arch = "wasm32")]
    class()
}

impl Core {
    /// An error once the device is gone.
    fn check(&self) -> Result<()> {
        match self.lost.get() {
            None => Ok(()),
            Some(reason) => Err(Error::DeviceLost { device: self.name.clone(), reason: reason.clone() }),
        }
    }

    /// What kernels are shaped for.
    fn target(&self) -> Target {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes that, for what is compiled from now on.
    fn shape(&self, change: impl FnOnce(&mut Target)) {
        change(&mut self.target.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn error(&self, detail: impl Into<String>) -> Error {
        Error::Backend { device: self.name.clone(), detail: detail.into() }
    }

    /// Hands work to the device, after waiting for the oldest if much is under way.
    fn submit(&self, commands: Option<wgpu::CommandBuffer>) -> Result<()> {
        let mut in_flight = self.in_flight.lock().unwrap_or_else(|e| e.into_inner());
        if !host::BLOCKS {
            self.queue.submit(commands);
            return Ok(());
        }
        while in_flight.len() >= IN_FLIGHT
            && let Some(oldest) = in_flight.pop_front()
        {
            self.wait(Some(oldest))?;
        }
        in_flight.push_back(self.queue.submit(commands));
        Ok(())
    }
}

impl Backend for WgpuBackend {
    fn caps(&self) -> &Caps {
        &self.core.caps
    }

    fn allocate(&self, bytes: usize) -> Result<Storage> {
        self.core.check()?;
        self.core.check_size(bytes)?;
        let storage = Storage::new(bytes, &self.memory, &*self.core)?;
        if self.core.memory(&storage).is_ok() {
            return Ok(storage);
        }
        // It was refused after it had been handed out, and the manager has it back.
        drop(storage);
        self.memory.trim();
        Storage::new(bytes, &self.memory, &*self.core)
    }

    fn write(&self, storage: &Storage, dtype: DType, bytes: &[u8]) -> Result<()> {
        self.core.write(storage, dtype, bytes)
    }

    fn read(&self, storage: &Storage, dtype: DType, start: usize, out: &mut [u8]) -> Result<()> {
        self.core.read(storage, dtype, start, out)
    }

    #[cfg(target_arch = "wasm32")]
    fn read_async<'a>(&'a self, storage: &'a Storage, dtype: DType, start: usize, out: &'a mut [u8]) -> Later<'a, ()> {
        Box::pin(self.core.read_async(storage, dtype, start, out))
    }

    #[cfg(target_arch = "wasm32")]
    fn synchronize_async(&self) -> Later<'_, ()> {
        Box::pin(async { self.core.download_async(None).await.map(|_| ()) })
    }

    fn copy_from(&self, to: &Storage, from: &Storage, start: usize, bytes: usize) -> Result<bool> {
        self.core.copy_from(to, from, start, bytes)
    }

    fn compile(&self, plan: Arc<Plan>) -> Result<Box<dyn Executable>> {
        Ok(Box::new(executable::WgpuExecutable::new(self, plan)?))
    }

    fn synchronize(&self) -> Result<()> {
        self.core.check()?;
        self.core.download(None).map(|_| ())
    }

    fn memory(&self) -> MemoryStats {
        self.memory.stats()
    }

    fn allow_split(&self, allow: bool) {
        self.core.shape(|target| target.split = allow);
    }
}

impl fmt::Debug for WgpuBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WgpuBackend({}, {})", self.core.name, self.core.caps.hardware)
    }
}
