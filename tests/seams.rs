//! The seams, used from outside the crate: a memory manager, a backend and a kernel of one's own.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use sunstone::autograd::{Function, GradCheck, apply, gradcheck};
use sunstone::backend::CachingManager;
use sunstone::backend::cpu::CpuBackend;
use sunstone::device::{Backend, Block, BlockSource, Caps, Executable, MemoryManager, MemoryStats, Storage};
use sunstone::dtype::{Element, Scalar};
use sunstone::graph::Meta;
use sunstone::graph::custom::{CustomOp, CustomShader};
use sunstone::plan::Plan;
use sunstone::prelude::*;
use sunstone::tensor::custom;

/// Counts, and leaves the work to the default.
#[derive(Debug, Default)]
struct Counting {
    inner: CachingManager,
    acquired: AtomicUsize,
    released: AtomicUsize,
}

impl MemoryManager for Counting {
    fn acquire(&self, bytes: usize, source: &dyn BlockSource) -> Result<Block> {
        self.acquired.fetch_add(1, Ordering::Relaxed);
        self.inner.acquire(bytes, source)
    }
    fn release(&self, block: Block) {
        self.released.fetch_add(1, Ordering::Relaxed);
        self.inner.release(block);
    }
    fn trim(&self) {
        self.inner.trim();
    }
    fn stats(&self) -> MemoryStats {
        self.inner.stats()
    }
}

fn exercise_memory(open: impl Fn(Arc<dyn MemoryManager>) -> Device) -> Result<()> {
    let manager = Arc::new(Counting::default());
    let device = open(manager.clone());
    {
        let x = Tensor::from_slice(&common::numbers(1000, 1), [1000], &device);
        let y = (&x * 2.0).sum(..);
        assert!(y.item::<f32>()?.is_finite());
        assert!(manager.acquired.load(Ordering::Relaxed) >= 2);
        assert!(device.stats().bytes_in_use >= 4004);
    }
    assert_eq!(manager.acquired.load(Ordering::Relaxed), manager.released.load(Ordering::Relaxed));
    assert_eq!(device.stats().bytes_in_use, 0);
    assert!(device.stats().bytes_reserved > 0, "released blocks are kept for later");
    manager.trim();
    assert_eq!(device.stats().bytes_reserved, 0);
    Ok(())
}

#[test]
fn a_memory_manager_of_ones_own() -> Result<()> {
    exercise_memory(|m| Device::new("counted cpu", CpuBackend::with_memory(m)))?;
    #[cfg(feature = "wgpu")]
    for i in 0..common::devices_of("wgpu").len() {
        exercise_memory(|m| {
            let backend = sunstone::backend::wgpu::WgpuBackend::open_with_memory(i, m).expect("it opened before");
            Device::new("counted gpu", backend)
        })?;
    }
    #[cfg(feature = "cuda")]
    for i in 0..common::devices_of("cuda").len() {
        exercise_memory(|m| {
            let backend = sunstone::backend::cuda::CudaBackend::open_with_memory(i, m).expect("it opened before");
            Device::new("counted cuda", backend)
        })?;
    }
    Ok(())
}

/// Writes down what is asked of the backend it wraps.
#[derive(Debug)]
struct Logging {
    inner: Arc<dyn Backend>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Logging {
    fn note(&self, line: String) {
        self.log.lock().unwrap().push(line);
    }
}

impl Backend for Logging {
    fn caps(&self) -> &Caps {
        self.inner.caps()
    }
    fn allocate(&self, bytes: usize) -> Result<Storage> {
        self.note(format!("allocate {bytes}"));
        self.inner.allocate(bytes)
    }
    fn write(&self, storage: &Storage, dtype: DType, bytes: &[u8]) -> Result<()> {
        self.note(format!("write {} {dtype}", bytes.len()));
        self.inner.write(storage, dtype, bytes)
    }
    fn read(&self, storage: &Storage, dtype: DType, start: usize, out: &mut [u8]) -> Result<()> {
        self.note(format!("read {} {dtype} from {start}", out.len() / dtype.bytes()));
        self.inner.read(storage, dtype, start, out)
    }
    fn compile(&self, plan: Arc<Plan>) -> Result<Box<dyn Executable>> {
        self.note(format!("compile {} kernels", plan.kernels()));
        let inner = self.inner.compile(plan)?;
        Ok(Box::new(LoggingRun { inner, log: self.log.clone() }))
    }
    fn synchronize(&self) -> Result<()> {
        self.inner.synchronize()
    }
    fn memory(&self) -> MemoryStats {
        self.inner.memory()
    }
}

struct LoggingRun {
    inner: Box<dyn Executable>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Executable for LoggingRun {
    fn plan(&self) -> &Arc<Plan> {
        self.inner.plan()
    }
    fn run(&self, slots: &[Arc<Storage>], scalars: &[Scalar]) -> Result<()> {
        self.log.lock().unwrap().push(format!("run with {} scalars", scalars.len()));
        self.inner.run(slots, scalars)
    }
}

#[test]
fn a_backend_that_wraps_another_and_logs() -> Result<()> {
    for device in common::devices() {
        let log = Arc::new(Mutex::new(Vec::new()));
        let wrapped = Logging { inner: device.backend().clone(), log: log.clone() };
        let device = Device::new("logged", Arc::new(wrapped));
        let x = Tensor::from_slice(&[1.0f32, 2.0, 3.0], [3], &device);
        for _ in 0..2 {
            assert_eq!((&x * 2.0 + 1.0).to_vec::<f32>()?, [3.0, 5.0, 7.0]);
        }
        let step = ["allocate 12", "run with 2 scalars", "read 3 f32 from 0"];
        let mut expected = vec!["allocate 12", "write 12 f32", "compile 1 kernels"];
        expected.extend(step);
        expected.extend(step);
        assert_eq!(*log.lock().unwrap(), expected);
    }
    Ok(())
}

/// `x³`, as WGSL and as a loop.
#[derive(Debug)]
struct Cube;

impl CustomOp for Cube {
    fn name(&self) -> &'static str {
        "cube"
    }
    fn outputs(&self, inputs: &[Meta]) -> Result<Vec<Meta>, String> {
        match inputs {
            [x] if x.dtype == DType::F32 => Ok(vec![x.clone()]),
            _ => Err("cube takes one tensor of f32".into()),
        }
    }
    fn wgsl(&self, inputs: &[Meta], _: &[Meta]) -> Option<CustomShader> {
        let source = "
            @group(0) @binding(0) var<storage, read> x: array<f32>;
            @group(0) @binding(1) var<storage, read_write> y: array<f32>;
            @compute @workgroup_size(64)
            fn cube(@builtin(global_invocation_id) id: vec3<u32>) {
                if id.x < arrayLength(&x) { y[id.x] = x[id.x] * x[id.x] * x[id.x]; }
            }";
        let groups = inputs[0].shape.numel().div_ceil(64) as u32;
        Some(CustomShader { source: source.into(), entry: "cube".into(), workgroups: [groups, 1, 1] })
    }
    fn cpu(&self, inputs: &[&[u8]], outputs: &mut [Vec<u8>]) -> Option<()> {
        let cubes: Vec<f32> = f32::from_bytes(inputs[0]).iter().map(|x| x * x * x).collect();
        outputs[0].clear();
        f32::extend_bytes(&cubes, &mut outputs[0]);
        Some(())
    }
}

/// The same for f64, which only the CPU has.
#[derive(Debug)]
struct WideCube;

impl CustomOp for WideCube {
    fn name(&self) -> &'static str {
        "wide_cube"
    }
    fn outputs(&self, inputs: &[Meta]) -> Result<Vec<Meta>, String> {
        Ok(vec![inputs[0].clone()])
    }
    fn wgsl(&self, _: &[Meta], _: &[Meta]) -> Option<CustomShader> {
        None
    }
    fn cpu(&self, inputs: &[&[u8]], outputs: &mut [Vec<u8>]) -> Option<()> {
        let cubes: Vec<f64> = f64::from_bytes(inputs[0]).iter().map(|x| x * x * x).collect();
        outputs[0].clear();
        f64::extend_bytes(&cubes, &mut outputs[0]);
        Some(())
    }
}

/// A custom op with its gradient `3x²`.
struct CubeFunction(Arc<dyn CustomOp>);

impl Function for CubeFunction {
    fn name(&self) -> &'static str {
        "cube"
    }
    fn forward(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![custom(&self.0, &[&inputs[0]]).remove(0)])
    }
    fn backward(&self, inputs: &[Tensor], _: &[Tensor], grads: &[Option<Tensor>]) -> Vec<Option<Tensor>> {
        vec![grads[0].as_ref().map(|g| g * inputs[0].square() * 3.0)]
    }
}

#[test]
fn a_kernel_of_ones_own_with_its_gradient() -> Result<()> {
    let op: Arc<dyn CustomOp> = Arc::new(Cube);
    for device in common::devices() {
        let data = common::numbers(105, 3);
        let x = Tensor::from_slice(&data, [15, 7], &device).requires_grad();
        // Fused neighbours on both sides, and an operand that is no contiguous buffer.
        for (operand, order) in [(&x * 1.0, false), (x.t(), true)] {
            let y = apply(CubeFunction(op.clone()), &[&operand]).remove(0) + 1.0;
            let at = |i: usize| if order { data[i % 15 * 7 + i / 15] } else { data[i] };
            let expected: Vec<f32> = (0..105).map(|i| at(i).powi(3) + 1.0).collect();
            common::assert_close("cube", &y.to_vec::<f32>()?, &expected, 1e-5);
            let grad = y.sum(..).backward()?.get(&x).expect("x is a variable").to_vec::<f32>()?;
            let slope: Vec<f32> = data.iter().map(|v| 3.0 * v * v).collect();
            common::assert_close("gradient of cube", &grad, &slope, 1e-5);
        }
        let view = x.detach().t();
        view.realize()?;
        let y = custom(&op, &[&view]).remove(0).to_vec::<f32>()?;
        assert!(common::close(y[1] as f64, (data[7] as f64).powi(3), 1e-5), "a computed view is packed first");
        let error = custom(&op, &[&Tensor::arange(3, &device)]).remove(0).to_vec::<f32>().unwrap_err().to_string();
        assert!(error.contains("cube takes one tensor of f32") && error.contains("seams.rs"), "{error}");
    }
    let wide: Arc<dyn CustomOp> = Arc::new(WideCube);
    let x = Tensor::from_slice(&[0.5f64, -1.0, 2.0], [3], &Device::cpu());
    gradcheck(
        |v| apply(CubeFunction(wide.clone()), &[&v[0]]).remove(0),
        &[x],
        GradCheck { second: false, ..GradCheck::default() },
    )
}

#[test]
fn a_kernel_that_only_the_cpu_has_says_so_elsewhere() -> Result<()> {
    let Some(gpu) = common::gpu() else { return Ok(()) };
    let op: Arc<dyn CustomOp> = Arc::new(WideCube);
    let error = custom(&op, &[&Tensor::ones([3], DType::F32, &gpu)]).remove(0).to_vec::<f32>().unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    Ok(())
}

#[derive(Debug)]
struct Broken;

impl CustomOp for Broken {
    fn name(&self) -> &'static str {
        "broken"
    }
    fn outputs(&self, inputs: &[Meta]) -> Result<Vec<Meta>, String> {
        Ok(vec![inputs[0].clone()])
    }
    fn wgsl(&self, _: &[Meta], _: &[Meta]) -> Option<CustomShader> {
        let source = "@compute @workgroup_size(1) fn main() { let x: f32 = 1u; }".into();
        Some(CustomShader { source, entry: "main".into(), workgroups: [1, 1, 1] })
    }
    fn cpu(&self, _: &[&[u8]], _: &mut [Vec<u8>]) -> Option<()> {
        None
    }
}

#[test]
fn wgsl_that_does_not_validate_is_an_error_and_the_device_lives_on() -> Result<()> {
    let Some(gpu) = common::gpu() else { return Ok(()) };
    let op: Arc<dyn CustomOp> = Arc::new(Broken);
    let x = Tensor::ones([3], DType::F32, &gpu);
    let error = custom(&op, &[&x]).remove(0).to_vec::<f32>().unwrap_err();
    assert!(matches!(&error, Error::Shader { name, .. } if name == "broken"), "{error}");
    assert_eq!((&x + 1.0).to_vec::<f32>()?, [2.0; 3]);
    Ok(())
}

#[test]
fn devices_copy_within_themselves_and_refuse_what_does_not_fit() -> Result<()> {
    for device in common::devices() {
        let backend = device.backend();
        let (from, to) = (backend.allocate(64)?, backend.allocate(32)?);
        let numbers: Vec<f32> = (0..16).map(|i| i as f32).collect();
        let bytes = f32::to_bytes(&numbers);
        backend.write(&from, DType::F32, &bytes)?;
        assert!(backend.copy_from(&to, &from, 16, 32)?, "{device}");
        let mut copied = [0; 32];
        backend.read(&to, DType::F32, 0, &mut copied)?;
        assert_eq!(copied, bytes[16..48], "{device}");
        assert!(backend.copy_from(&to, &from, 0, 64).is_err(), "{device}: too large");
        assert!(backend.copy_from(&to, &from, 48, 32).is_err(), "{device}: past the end");
        assert!(backend.copy_from(&to, &from, usize::MAX - 3, 8).is_err(), "{device}: past all numbers");
    }
    Ok(())
}
