//! From a plan's step to WGSL text. Knows nothing of wgpu.
//!
//! What changes the code is in the text: dtypes, the rank that is left after adjacent axes are merged, strides of 0 and
//! 1, the operations. What only changes numbers (sizes, other strides, offsets, scalars) travels in a uniform block of
//! words, so that one text, and one compiled pipeline, serves many sizes. The structured parts are files in `shaders/`.

mod accumulate;
mod across;
mod along;
mod attention;
mod contract;
mod conv;
mod domain;
mod fold;
mod library;
mod map;
mod matrices;
mod ops;
mod pairs;
mod parts;
mod rows;
mod scan;
mod scatter;
mod sort;
mod split;
mod stage;
mod tuning;
mod turn;
mod vector;
mod wide;
mod write;

pub use library::{Rounding, with_native_exp, with_native_halves};
pub use tuning::{Class, Tuning};

use crate::dtype::{DType, Scalar};
use crate::error::{Error, Result};
use crate::plan::{Custom, Plan, Step};

/// One kernel launch: a module and all that its dispatch needs.
///
/// Bindings of group 0: `bindings` in order from 0, then the device's error flags if `flags`, then the uniform block
/// if `numbers` is not empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelSource {
    /// What it is, for labels and errors.
    pub name: &'static str,
    /// The module.
    pub wgsl: String,
    /// Its compute entry point.
    pub entry: String,
    /// The slots it touches, in order of binding. No slot comes twice in a generated module.
    pub bindings: Vec<Binding>,
    /// Whether the error flags are bound.
    pub flags: bool,
    /// The words of the uniform block.
    pub numbers: Vec<Number>,
    /// Workgroups along x, y and z; any 0 means that there is nothing to do.
    pub dispatch: [u32; 3],
    /// True for modules written here, which need no checks at run time.
    pub trusted: bool,
    /// Whether it needs [`Target::matrices`].
    pub matrices: bool,
}

/// A slot as a kernel sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// Which.
    pub slot: usize,
    /// Whether it is bound `read_write`.
    pub writes: bool,
}

/// A word of the uniform block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// Known with the plan.
    Word(u32),
    /// The run's scalar `param`, as a word of `dtype`.
    #[allow(missing_docs)]
    Param { param: usize, dtype: DType },
    /// What the error flags shall call [`Plan::origins`]`[i]`; never 0.
    Origin(usize),
}

impl Number {
    /// Its value in a run; `tag` gives the names of origins.
    pub fn word(self, scalars: &[Scalar], tag: impl Fn(usize) -> u32) -> u32 {
        match self {
            Number::Word(w) => w,
            Number::Origin(i) => tag(i),
            Number::Param { param, dtype } => scalars.get(param).map_or(0, |s| scalar_word(*s, dtype)),
        }
    }
}

/// A scalar as it lies in a word of the device.
fn scalar_word(s: Scalar, dtype: DType) -> u32 {
    match dtype {
        DType::F16 | DType::BF16 | DType::F32 | DType::F64 => s.to_f32(dtype).to_bits(),
        DType::Bool => (s.to_f64() != 0.0) as u32,
        DType::U8 => s.to_i64() as u8 as u32,
        DType::U32 | DType::I32 | DType::I64 => s.to_i64() as u32,
    }
}

/// The kernels of a step for any GPU, in order; a contraction's sums are not cut in parts. Fails with [`Error::Unsupported`] on
/// what no kernel can do here (64-bit types, domains that 32 bits cannot count), and with [`Error::Shader`] on a custom op's
/// module that does not validate.
pub fn generate(step: &Step) -> Result<Vec<KernelSource>> {
    let (target, scratch) = (Target::default(), usize::MAX);
    match step {
        Step::Contract(c) => contract::contract(c, target, scratch).map(|kernel| vec![kernel]),
        step => generate_for(step, target, scratch).map(|(kernels, _)| kernels),
    }
}

/// What kernels are shaped for. The default is any GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Target {
    /// A CPU that emulates a GPU.
    pub emulated: bool,
    /// Bytes of memory that a workgroup may have, where kernels may take more than WebGPU's least; else 0.
    pub workgroup_memory: u32,
    /// Cooperative matrices of 16×16 (f16, and f32 for sums) in subgroups of 32, and f16 in shaders.
    pub matrices: bool,
    /// Invocations of every subgroup, a power of two, where they may read each other's values; else 0. They are taken to be
    /// neighbours in their workgroup, as on all hardware known.
    pub subgroup: u32,
    /// Whether large products of f32 may be made of halves.
    pub split: bool,
    /// Storage buffers that a kernel may bind besides the error flags, for one that needs more than its step has.
    pub buffers: usize,
    /// Where one kernel gives way to the next.
    pub tuning: Tuning,
}

impl Target {
    /// Whether kernels may use cooperative matrices. No browser has them, and what is never asked for is not downloaded.
    fn multiplies_matrices(&self) -> bool {
        cfg!(not(target_arch = "wasm32")) && self.matrices
    }
}

/// The kernels of a step, and the bytes of slot `scratch` that they need.
fn generate_for(step: &Step, target: Target, scratch: usize) -> Result<(Vec<KernelSource>, usize)> {
    let kernels = match step {
        Step::Loop(l) => vec![loop_kernel(l, target)?],
        Step::Contract(c) => return parts::contract(c, target, scratch),
        Step::Attention(a) => vec![attention::attention(a, target)?],
        Step::AttentionGrad(a) => attention::attention_grad(a, target)?,
        Step::Scatter(s) => scatter::scatter(s)?,
        Step::Scan(s) => vec![scan::scan(s)?],
        Step::Sort(s) => sort::sort(s)?,
        Step::Custom(c) => vec![custom(c)?],
    };
    Ok((kernels, 0))
}

/// The kernels of a plan.
#[derive(Debug)]
pub struct Generated {
    /// In order, each with its step's place.
    pub kernels: Vec<(usize, KernelSource)>,
    /// Bytes of a slot after the plan's own, which some kernels leave sums in for the next one; 0 where none does.
    pub scratch: usize,
}

/// The kernels of all steps of a plan, shaped for `target`.
pub fn generate_plan(plan: &Plan, target: Target) -> Result<Generated> {
    let mut generated = Generated { kernels: Vec::new(), scratch: 0 };
    for (i, step) in plan.steps.iter().enumerate() {
        let (kernels, scratch) = generate_for(step, target, plan.slots.len())?;
        generated.kernels.extend(kernels.into_iter().map(|kernel| (i, kernel)));
        generated.scratch = generated.scratch.max(scratch);
    }
    Ok(generated)
}

fn loop_kernel(l: &crate::plan::Loop, target: Target) -> Result<KernelSource> {
    if l.reduces() || !l.inner.is_empty() { fold::fold(l, target) } else { map::map(l, target.emulated) }
}

fn custom(c: &Custom) -> Result<KernelSource> {
    let name = c.op.0.name();
    let Some(shader) = c.op.0.wgsl(&c.input_metas, &c.output_metas) else {
        return Err(unsupported(format!("the custom op '{name}', which has no WGSL for these inputs")));
    };
    // A browser validates by itself.
    #[cfg(not(target_arch = "wasm32"))]
    validate(name, &shader.source, false)?;
    let binding = |writes: bool| move |&slot: &usize| Binding { slot, writes };
    Ok(KernelSource {
        name,
        wgsl: shader.source,
        entry: shader.entry,
        bindings: c.inputs.iter().map(binding(false)).chain(c.outputs.iter().map(binding(true))).collect(),
        flags: false,
        numbers: Vec::new(),
        dispatch: shader.workgroups,
        trusted: false,
        matrices: false,
    })
}

/// Parses and validates a module as WebGPU's core language, to which `more` adds what only some devices have: f16,
/// cooperative matrices and subgroups. Fails with [`Error::Shader`], `name` being the culprit.
#[cfg(not(target_arch = "wasm32"))]
pub fn validate(name: &str, wgsl: &str, more: bool) -> Result<(naga::Module, naga::valid::ModuleInfo)> {
    use naga::valid::{Capabilities, ValidationFlags, Validator};
    let error = |message: String| Error::Shader { name: name.into(), message };
    let module = naga::front::wgsl::parse_str(wgsl).map_err(|e| error(e.emit_to_string(wgsl)))?;
    // The conversions between f16 and f32 in a word, which naga counts as more than the core.
    let mut capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32;
    if more {
        capabilities |= Capabilities::SHADER_FLOAT16 | Capabilities::COOPERATIVE_MATRIX | Capabilities::SUBGROUP;
    }
    let info = Validator::new(ValidationFlags::all(), capabilities)
        .validate(&module)
        .map_err(|e| error(e.emit_to_string(wgsl)))?;
    Ok((module, info))
}

fn unsupported(what: impl Into<String>) -> Error {
    Error::Unsupported { device: "wgpu".into(), what: what.into() }
}

/// Workgroups in a plane, because one axis takes 65,535 of them at most; the kernel counts `y · x-size + x`.
fn spread(groups: usize) -> Result<[u32; 3]> {
    const MOST: usize = 65_535;
    let y = groups.div_ceil(MOST);
    // Rows of the plane are as short as can be, so that next to no workgroup finds nothing to do.
    let x = if y == 0 { 0 } else { groups.div_ceil(y) };
    if y > MOST {
        return Err(unsupported(format!("a dispatch of {groups} workgroups")));
    }
    Ok([x as u32, y as u32, 1])
}

/// A count as kernels hold it.
fn count(n: usize) -> Result<u32> {
    match i32::try_from(n) {
        Ok(n) => Ok(n as u32),
        Err(_) => Err(unsupported(format!("a loop over {n} points"))),
    }
}
