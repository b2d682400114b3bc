//! Devices, and the seams beneath them: `Backend` runs plans, `MemoryManager` hands out their memory.

use crate::dtype::{DType, Scalar};
use crate::error::{Error, Result};
use crate::plan::{Plan, PlanCache};
use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// A device that tensors live on and ops run on. Cheap to clone; clones are the same device.
///
/// [`Device::best`], [`Device::cpu`] and [`Device::open`] find one; [`Device::new`] makes one from a [`Backend`].
#[derive(Clone)]
pub struct Device(Arc<Inner>);

struct Inner {
    name: String,
    backend: Arc<dyn Backend>,
    plans: Mutex<PlanCache>,
    counters: Counters,
    deterministic: AtomicBool,
    /// The times of kernels since [`Device::profile`] began, while it goes on.
    profile: Mutex<Option<Vec<KernelTime>>>,
}

impl Device {
    /// A device of this name that runs on `backend`.
    pub fn new(name: impl Into<String>, backend: Arc<dyn Backend>) -> Device {
        Device(Arc::new(Inner {
            name: name.into(),
            backend,
            plans: Mutex::new(PlanCache::from_env()),
            counters: Counters::default(),
            deterministic: AtomicBool::new(std::env::var("SUNSTONE_DETERMINISTIC").is_ok_and(|v| v == "1")),
            profile: Mutex::default(),
        }))
    }

    /// The name by which [`Device::open`] finds it: `cpu`, `wgpu:0`.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// What runs its plans.
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.0.backend
    }

    /// What it grants.
    pub fn caps(&self) -> &Caps {
        self.0.backend.caps()
    }

    /// Whether every run of an op must give the same bits (see [`Device::set_deterministic`]).
    pub fn is_deterministic(&self) -> bool {
        self.0.deterministic.load(Ordering::Relaxed)
    }

    /// Makes the ops of [`crate::determinism::TABLE`] give the same bits in every run, at some cost in time, or lets them
    /// be. Holds for what is computed from now on. `SUNSTONE_DETERMINISTIC=1` sets it for every device.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let device = Device::new("mine", sunstone::backend::cpu::CpuBackend::new());
    /// device.set_deterministic(true);
    /// assert!(device.is_deterministic());
    /// ```
    pub fn set_deterministic(&self, on: bool) {
        self.0.deterministic.store(on, Ordering::Relaxed);
    }

    /// Lets f32 matrix products and convolutions round their operands to TF32 (10 bits of mantissa) where the device has
    /// that, as PyTorch's setting of that name does: several times faster on NVIDIA's GPUs through CUDA, and less exact.
    /// Off unless `SUNSTONE_TF32=1`. Other devices stay as they are.
    pub fn allow_tf32(&self, allow: bool) {
        self.0.backend.allow_tf32(allow);
    }

    /// Lets large f32 matrix products be made of halves on a GPU's matrix units, each number as the sum of two, where that is
    /// faster: through Vulkan on GPUs for data centres, up to twice as fast; on others if `sunstone tune` found it so. Off
    /// unless `SUNSTONE_SPLIT=1`.
    ///
    /// With `A` the largest magnitude in a row of the first operand and `B` that in a column of the second, each of the `k`
    /// terms of an element is off by at most 2^-21 of itself and 2^-37 of `A·B`, and `f32` sums of `k / 16` numbers are
    /// rounded instead of `k`. So of numbers that are smaller than their row's largest by 2^16 at most less may be lost than in
    /// f32, and of those that are smaller by 2^38 all: a row `[1e12, 1, ..]` by the column `[0, 1, ..]` may give 0.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// # let device = Device::new("mine", sunstone::backend::cpu::CpuBackend::new());
    /// device.allow_split(true);
    /// ```
    pub fn allow_split(&self, allow: bool) {
        self.0.backend.allow_split(allow);
        // Kernels were chosen when a plan was compiled.
        *self.0.plans.lock().unwrap_or_else(|e| e.into_inner()) = PlanCache::from_env();
    }

    /// Waits until everything asked of it is done, and reports what went wrong on the way.
    pub fn synchronize(&self) -> Result<()> {
        self.0.backend.synchronize()
    }

    /// Runs `f` and gives the time that each kernel took on the device that `f` asked for, in order: by the GPU's own
    /// timestamps, on the CPU by its clock. Kernels run one by one and are waited for, so the whole takes longer than it
    /// does otherwise. What other threads ask of the device meanwhile is in the list too.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let x = Tensor::ones([64, 64], DType::F32, &Device::cpu());
    /// let (_, kernels) = Device::cpu().profile(|| x.matmul(&x).softmax(1).realize())?;
    /// assert!(kernels.iter().any(|kernel| kernel.name == "matmul"));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Unsupported`] from what `f` asks, where the backend cannot time kernels.
    pub fn profile<R>(&self, f: impl FnOnce() -> Result<R>) -> Result<(R, Vec<KernelTime>)> {
        let profile = || self.0.profile.lock().unwrap_or_else(|e| e.into_inner());
        *profile() = Some(Vec::new());
        let result = f();
        let times = profile().take().unwrap_or_default();
        result.map(|r| (r, times))
    }

    /// Runs a plan, timed if someone asked for that.
    pub(crate) fn run(&self, executable: &dyn Executable, slots: &[Arc<Storage>], scalars: &[Scalar]) -> Result<()> {
        let mut profile = self.0.profile.lock().unwrap_or_else(|e| e.into_inner());
        match &mut *profile {
            None => {
                drop(profile);
                executable.run(slots, scalars)
            }
            Some(times) => {
                let run = times.last().map_or(0, |last| last.run + 1);
                let steps = &executable.plan().steps;
                times.extend(executable.run_timed(slots, scalars)?.into_iter().map(|time| {
                    let what = steps.get(time.step).map(|step| step.to_string().trim_end().to_owned());
                    KernelTime { run, what: what.unwrap_or_default(), ..time }
                }));
                Ok(())
            }
        }
    }

    /// [`Device::synchronize`] for where one may not block.
    pub async fn synchronize_async(&self) -> Result<()> {
        self.0.backend.synchronize_async().await
    }

    /// What happened on it so far.
    pub fn stats(&self) -> Stats {
        let memory = self.0.backend.memory();
        let c = &self.0.counters;
        Stats {
            plans_built: c.plans_built.load(Ordering::Relaxed),
            plans_replayed: c.plans_replayed.load(Ordering::Relaxed),
            kernels_launched: c.kernels_launched.load(Ordering::Relaxed),
            bytes_reserved: memory.reserved,
            bytes_in_use: memory.in_use,
            bytes_high_water: memory.high_water,
        }
    }

    /// The plan that ran last: its `Display` shows what was fused into which kernel.
    pub fn last_plan(&self) -> Option<Arc<Plan>> {
        self.plans().last()
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.0.counters
    }

    /// The plans; whoever holds this lock is the one thread that schedules on the device.
    pub(crate) fn plans(&self) -> MutexGuard<'_, PlanCache> {
        // A panic in the middle of scheduling leaves a cache that is merely short of one plan.
        self.0.plans.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// An error unless the device can hold `dtype`.
    pub(crate) fn check_dtype(&self, dtype: DType) -> Result<()> {
        if self.caps().dtypes.contains(&dtype) {
            return Ok(());
        }
        let near = if dtype.is_float() { "f32" } else { "i32" };
        Err(Error::Unsupported { device: self.name().into(), what: format!("{dtype}; cast to {near} first") })
    }
}

impl PartialEq for Device {
    fn eq(&self, other: &Device) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
impl Eq for Device {}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.name)
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({})", self.0.name)
    }
}

/// What [`Device::stats`] gives. All counts are since the device was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Stats {
    /// Graphs that were scheduled and compiled.
    pub plans_built: u64,
    /// Runs of a plan that was there already.
    pub plans_replayed: u64,
    /// Kernels started.
    pub kernels_launched: u64,
    /// Bytes taken from the device and not given back.
    pub bytes_reserved: u64,
    /// Bytes of them that hold live tensors or temporaries.
    pub bytes_in_use: u64,
    /// The most that `bytes_reserved` ever was.
    pub bytes_high_water: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub plans_built: AtomicU64,
    pub plans_replayed: AtomicU64,
    pub kernels_launched: AtomicU64,
}

/// What a device is and grants. Plans are made for it.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Caps {
    /// The hardware's own name.
    pub hardware: String,
    /// The driver, its version and the API it is reached through; for the CPU, the vector instructions in use.
    pub driver: String,
    /// True when a CPU pretends to be a GPU.
    pub software: bool,
    /// Element types it computes with.
    #[serde(serialize_with = "dtype_names")]
    pub dtypes: Vec<DType>,
    /// Buffers that one kernel may touch.
    pub max_buffers_per_kernel: usize,
    /// The largest single buffer, in bytes.
    pub max_buffer_bytes: u64,
    /// True when `bool` and `u8` elements occupy 32-bit words.
    pub wide_bytes: bool,
    /// Further facts worth showing: limits and features by name.
    pub notes: Vec<(String, String)>,
}

fn dtype_names<S: serde::Serializer>(dtypes: &[DType], s: S) -> Result<S::Ok, S::Error> {
    s.collect_seq(dtypes.iter().map(|d| d.name()))
}

impl Caps {
    /// Bytes that one element of `dtype` takes on the device.
    pub fn bytes_of(&self, dtype: DType) -> usize {
        match dtype {
            DType::Bool | DType::U8 if self.wide_bytes => 4,
            other => other.bytes(),
        }
    }
}

/// A backend: it owns memory and runs plans. Everything above it is the same for all.
///
/// A plan is data ([`crate::plan`]): a backend is free to interpret it, to compile it, or to wrap another backend.
pub trait Backend: Send + Sync + fmt::Debug {
    /// What it grants.
    fn caps(&self) -> &Caps;

    /// Memory of at least `bytes`, contents arbitrary. Fails with [`Error::OutOfMemory`].
    fn allocate(&self, bytes: usize) -> Result<Storage>;

    /// Copies elements in the host's representation (little-endian, [`DType::bytes`] each) to the start of `storage`.
    fn write(&self, storage: &Storage, dtype: DType, bytes: &[u8]) -> Result<()>;

    /// Waits for what was asked so far, reports failures, and fills `out`, which has room for whole elements, with those from
    /// element `start` on, in the host's representation.
    fn read(&self, storage: &Storage, dtype: DType, start: usize, out: &mut [u8]) -> Result<()>;

    /// Copies `bytes` of another backend's storage, from byte `start` on, to the start of `to`, without the host in
    /// between. False where it does not know how; then nothing happened, and the caller goes by way of the host.
    fn copy_from(&self, to: &Storage, from: &Storage, start: usize, bytes: usize) -> Result<bool> {
        let _ = (to, from, start, bytes);
        Ok(false)
    }

    /// Makes a plan ready to run. Fails when a kernel does not compile.
    fn compile(&self, plan: Arc<Plan>) -> Result<Box<dyn Executable>>;

    /// Waits for what was asked so far and reports failures.
    fn synchronize(&self) -> Result<()>;

    /// [`Backend::read`] for where nothing may block, which is in a browser. Elsewhere it is over at once.
    fn read_async<'a>(&'a self, storage: &'a Storage, dtype: DType, start: usize, out: &'a mut [u8]) -> Later<'a, ()> {
        Box::pin(std::future::ready(self.read(storage, dtype, start, out)))
    }

    /// [`Backend::synchronize`] for where nothing may block.
    fn synchronize_async(&self) -> Later<'_, ()> {
        Box::pin(std::future::ready(self.synchronize()))
    }

    /// What its memory manager holds.
    fn memory(&self) -> MemoryStats;

    /// See [`Device::allow_tf32`]; a backend that has no TF32 does nothing.
    fn allow_tf32(&self, allow: bool) {
        let _ = allow;
    }

    /// See [`Device::allow_split`], for what is compiled from now on; a backend that has no such kernels does nothing.
    fn allow_split(&self, allow: bool) {
        let _ = allow;
    }
}

/// What a backend gives where nothing may block.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// What `work` gives, where it does not have to wait: everywhere but on a GPU in a browser.
pub(crate) fn at_once<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(work).poll(&mut context) {
        std::task::Poll::Ready(result) => result,
        std::task::Poll::Pending => {
            Err(Error::Invalid("this must wait, and may not: call it by its `_async` name".into()))
        }
    }
}

/// A plan made ready by a [`Backend`].
pub trait Executable: Send + Sync {
    /// The plan.
    fn plan(&self) -> &Arc<Plan>;

    /// Runs it: `slots[i]` is the storage of the plan's slot `i`, `scalars[i]` the value of its parameter `i`.
    /// May return before the work is done; later calls on the backend see its results.
    fn run(&self, slots: &[Arc<Storage>], scalars: &[Scalar]) -> Result<()>;

    /// As [`Executable::run`], waiting for the end, with the time of each kernel on the device's own clock. Fails with
    /// [`Error::Unsupported`] where a backend cannot tell.
    fn run_timed(&self, slots: &[Arc<Storage>], scalars: &[Scalar]) -> Result<Vec<KernelTime>> {
        let _ = (slots, scalars);
        Err(Error::Unsupported { device: "this device".into(), what: "the times of single kernels".into() })
    }

    /// Kernels that one run starts.
    fn launches(&self) -> usize {
        self.plan().kernels()
    }

    /// The generated kernels as text, for `SUNSTONE_DEBUG=kernels` and for snapshots; empty where there are none.
    fn kernels(&self) -> Vec<String> {
        Vec::new()
    }
}

/// What one kernel of a run took.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct KernelTime {
    /// What it is.
    pub name: String,
    /// Which of the runs of plans, counted from 0, that one [`Device::profile`] saw. Told by the device, not by a backend.
    pub run: usize,
    /// Its place among the steps of its plan.
    pub step: usize,
    /// That step as the plan's text shows it. Told by the device, not by a backend.
    pub what: String,
    /// When it began, in microseconds since its run did.
    pub start: f64,
    /// Microseconds.
    pub duration: f64,
}

/// A piece of a device's memory, on loan from its [`MemoryManager`] until dropped.
pub struct Storage {
    id: u64,
    bytes: usize,
    block: Option<Block>,
    manager: Arc<dyn MemoryManager>,
}

impl Storage {
    /// Takes `bytes` from `manager`, which may take them from `source`. Called by backends.
    pub fn new(bytes: usize, manager: &Arc<dyn MemoryManager>, source: &dyn BlockSource) -> Result<Storage> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let block = manager.acquire(bytes, source)?;
        Ok(Storage { id: NEXT.fetch_add(1, Ordering::Relaxed), bytes, block: Some(block), manager: manager.clone() })
    }

    /// Unique in the process.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The size that was asked for.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The backend's own memory, if this storage is of that backend.
    pub fn memory<T: Any>(&self) -> Option<&T> {
        self.block.as_ref()?.memory.downcast_ref()
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        if let Some(block) = self.block.take() {
            self.manager.release(block);
        }
    }
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Storage({}, {} bytes)", self.id, self.bytes)
    }
}

/// A block of device memory as a backend made it.
pub struct Block {
    /// Its true size, at least what was asked for.
    pub bytes: usize,
    /// The backend's type: a buffer, a pointer.
    pub memory: Box<dyn Any + Send + Sync>,
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Block({} bytes)", self.bytes)
    }
}

/// Where a memory manager gets fresh blocks: the device itself. Dropping a block gives it back to the device.
pub trait BlockSource {
    /// A block of exactly `bytes`, or [`Error::OutOfMemory`].
    fn allocate(&self, bytes: usize) -> Result<Block>;
}

/// Decides which memory a request gets. The default, [`CachingManager`](crate::backend::CachingManager), keeps
/// released blocks for the next request of their size.
///
/// A released block may be handed out again at once: backends order their own reads and writes.
pub trait MemoryManager: Send + Sync + fmt::Debug {
    /// A block of at least `bytes`.
    fn acquire(&self, bytes: usize, source: &dyn BlockSource) -> Result<Block>;
    /// Takes a block back.
    fn release(&self, block: Block);
    /// Gives everything unused back to the device.
    fn trim(&self);
    /// What it holds.
    fn stats(&self) -> MemoryStats;
}

/// What a [`MemoryManager`] holds, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryStats {
    /// Taken from the device.
    pub reserved: u64,
    /// Of those, handed out.
    pub in_use: u64,
    /// The most that `reserved` ever was.
    pub high_water: u64,
}
