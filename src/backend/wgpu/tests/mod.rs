//! Plans made by hand, run on whatever adapter there is, against scalar formulas in plain Rust.

mod device;
mod emulated;
mod folds;
mod host;
mod maps;
mod math;
mod matrices;
mod products;

use super::*;
use crate::backend::testing::read;
use crate::dtype::{Element, Scalar};
use crate::graph::{BinaryOp, ReduceOp, UnaryOp};
use crate::plan::*;
use crate::shape::Dims;
pub(super) use emulated::emulated;

/// A backend that all tests share, or none where there is no adapter; then the tests say so and pass.
fn backend() -> Option<Arc<WgpuBackend>> {
    static SHARED: OnceLock<Option<Arc<WgpuBackend>>> = OnceLock::new();
    SHARED.get_or_init(fresh).clone()
}

/// A backend of the test's own, with the kernels of a large GPU wherever the test runs.
fn fresh() -> Option<Arc<WgpuBackend>> {
    match WgpuBackend::open(0) {
        Ok(backend) => {
            backend.set_tuning(Tuning::default());
            Some(backend)
        }
        Err(e) => {
            eprintln!("not tested: {e}");
            None
        }
    }
}

/// The same adapter as it is used in two ways: as a GPU, and with the kernels for a CPU that emulates one.
fn shaped() -> Vec<Arc<WgpuBackend>> {
    let Some(gpu) = backend() else { return Vec::new() };
    let (device, queue) = adapters::open(0).unwrap();
    let (memory, name) = (Arc::new(CachingManager::new()), Some("SwiftShader".into()));
    let emulated = WgpuBackend::named("wgpu:0".into(), device, queue, memory, name);
    vec![gpu, emulated]
}

macro_rules! backend_or_return {
    () => {
        match crate::backend::wgpu::tests::backend() {
            Some(backend) => backend,
            None => return,
        }
    };
}
use backend_or_return;

/// Data on its way into a slot.
struct Data(DType, Vec<u8>);

fn data<T: Element>(values: &[T]) -> Data {
    Data(T::DTYPE, T::to_bytes(values).into_owned())
}

fn at(offset: i64, strides: &[i64]) -> Affine {
    Affine { offset, strides: strides.into() }
}

/// A loop under construction.
struct Draft(Loop);

impl Draft {
    fn new(outer: &[usize], inner: &[usize]) -> Draft {
        Draft(Loop { outer: outer.into(), inner: inner.into(), ..Loop::default() })
    }

    fn push(&mut self, kind: InstrKind, dtype: DType, level: Level) -> Reg {
        self.0.instrs.push(Instr { kind, dtype, level });
        self.0.instrs.len() - 1
    }

    fn level(&self, regs: &[Reg]) -> Level {
        regs.iter().map(|&r| self.0.instrs[r].level).max().unwrap_or(Level::Uniform)
    }

    fn level_at(&self, at: &Affine) -> Level {
        let (outer, inner) = at.strides.split_at(self.0.outer.len());
        match (inner.iter().any(|s| *s != 0), outer.iter().any(|s| *s != 0)) {
            (true, _) => Level::Inner,
            (false, true) => Level::Outer,
            _ => Level::Uniform,
        }
    }

    fn load(&mut self, slot: usize, dtype: DType, at: Affine) -> Reg {
        let level = self.level_at(&at);
        self.push(InstrKind::Load { slot, at, guard: None }, dtype, level)
    }

    fn unary(&mut self, op: UnaryOp, src: Reg) -> Reg {
        let dtype = if op.is_predicate() { DType::Bool } else { self.0.instrs[src].dtype };
        self.push(InstrKind::Unary { op, src }, dtype, self.level(&[src]))
    }

    fn binary(&mut self, op: BinaryOp, lhs: Reg, rhs: Reg) -> Reg {
        let dtype = if op.is_comparison() { DType::Bool } else { self.0.instrs[lhs].dtype };
        self.push(InstrKind::Binary { op, lhs, rhs }, dtype, self.level(&[lhs, rhs]))
    }

    fn reduce(&mut self, op: ReduceOp, src: Reg) -> Reg {
        let dtype = self.0.instrs[src].dtype;
        self.push(InstrKind::Reduce { op, src }, dtype, Level::Outer)
    }

    fn store(&mut self, slot: usize, at: Affine, value: Reg) {
        self.0.stores.push(Store { slot, at, value });
    }

    fn dtype(&self, r: Reg) -> DType {
        self.0.instrs[r].dtype
    }
}

fn plan(slots: usize, steps: Vec<Step>, params: Vec<DType>, origins: Vec<Origin>) -> Arc<Plan> {
    Arc::new(Plan {
        slots: (0..slots).map(Slot::Leaf).collect(),
        steps,
        params,
        outputs: vec![],
        origins,
        deterministic: false,
    })
}

fn translate_everywhere(text: &str) {
    let matrices = text.starts_with("enable f16;");
    let subgroups = text.contains("subgroupShuffleXor(");
    let (module, info) = crate::kernel::validate("test", text, matrices || subgroups).unwrap();
    naga::back::spv::write_vec(&module, &info, &Default::default(), None).unwrap();
    if matrices {
        // They are for Vulkan: naga has no such matrices for HLSL.
        return;
    }
    let options = naga::back::msl::Options { fake_missing_bindings: true, ..Default::default() };
    naga::back::msl::write_string(&module, &info, &options, &Default::default()).unwrap();
    let mut out = String::new();
    let shader_model =
        if subgroups { naga::back::hlsl::ShaderModel::V6_0 } else { naga::back::hlsl::ShaderModel::V5_1 };
    let options = naga::back::hlsl::Options { fake_missing_bindings: true, shader_model, ..Default::default() };
    let pipeline = Default::default();
    naga::back::hlsl::Writer::new(&mut out, &options, &pipeline).write(&module, &info, None).unwrap();
    #[cfg(feature = "cuda")]
    {
        use crate::backend::cuda::translate::{Options, Uniforms, translate};
        let options = Options { trusted: true, uniforms: Uniforms::Value };
        translate(&module, &info, &module.entry_points[0].name, &options).unwrap();
    }
}

/// Runs a plan over these slots (inputs and outputs alike) and gives all slots back as bytes.
fn try_run(backend: &WgpuBackend, plan: Arc<Plan>, scalars: &[Scalar], slots: &[Data]) -> Result<Vec<Vec<u8>>> {
    let executable = backend.compile(plan)?;
    executable.kernels().iter().for_each(|text| translate_everywhere(text));
    let storages: Vec<Arc<Storage>> = slots
        .iter()
        .map(|Data(dtype, bytes)| {
            let storage = backend.allocate(bytes.len() / dtype.bytes() * backend.caps().bytes_of(*dtype))?;
            backend.write(&storage, *dtype, bytes)?;
            Ok(Arc::new(storage))
        })
        .collect::<Result<_>>()?;
    executable.run(&storages, scalars)?;
    storages
        .iter()
        .zip(slots)
        .map(|(s, Data(dtype, bytes))| read(backend, s, *dtype, 0, bytes.len() / dtype.bytes()))
        .collect()
}

fn run(backend: &WgpuBackend, steps: Vec<Step>, slots: &[Data]) -> Vec<Vec<u8>> {
    try_run(backend, plan(slots.len(), steps, vec![], vec![]), &[], slots).unwrap()
}

fn f32s(bytes: &[u8]) -> Vec<f32> {
    f32::from_bytes(bytes)
}

/// The relative error where numbers are finite; infinite when one is NaN or infinite and the other is something else.
fn error(got: f32, want: f64) -> f64 {
    let w = want as f32;
    if got.is_nan() && w.is_nan() || got == w {
        return 0.0;
    }
    if !got.is_finite() || !w.is_finite() {
        return f64::INFINITY;
    }
    (got as f64 - want).abs() / want.abs().max(1e-30)
}

/// Repeatable numbers in [-1, 1).
fn noise(n: usize, seed: u32) -> Vec<f32> {
    (0..n as u32)
        .map(|i| crate::random::uniform(crate::random::philox([i, 0, seed, 0], [7, 0])[0]) * 2.0 - 1.0)
        .collect()
}
