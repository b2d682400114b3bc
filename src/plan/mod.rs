//! What a backend runs: a plan is a list of steps over numbered memory slots. Plain data, made by `schedule/`.
//!
//! A step stays a group of expressions or a named contraction. The CPU evaluates it, `kernel/` writes WGSL from it,
//! a library may swallow it whole.

mod attention;
mod cache;
mod display;
mod loops;
mod order;

pub use attention::{Attention, AttentionGrad};
pub use cache::{Key, PlanCache};
pub use loops::{Affine, Instr, InstrKind, Level, Loop, Reg, Store};
pub use order::{Scan, Sort};

use crate::dtype::DType;
use crate::error::Caller;
use crate::graph::{ConvSpec, CustomHandle, Meta, ReduceOp};
use crate::shape::{Dims, Layout};

/// A scheduled graph.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The memory that steps refer to by index.
    pub slots: Vec<Slot>,
    /// What to do, in order.
    pub steps: Vec<Step>,
    /// The dtype of each parameter: numbers that differ from run to run.
    pub params: Vec<DType>,
    /// Where the results lie afterwards.
    pub outputs: Vec<Output>,
    /// The callers of the ops that can fail while running; [`InstrKind::Gather`] and [`Scatter`] point in here.
    pub origins: Vec<Origin>,
    /// Every run must give the same bits.
    pub deterministic: bool,
}

impl Plan {
    /// Kernels that one run starts, as counted by `Device::stats()`.
    pub fn kernels(&self) -> usize {
        let kernels = |step: &Step| match step {
            Step::Scatter(_) | Step::AttentionGrad(_) => 2,
            Step::Sort(s) => s.passes(),
            _ => 1,
        };
        self.steps.iter().map(kernels).sum()
    }
}

/// The memory behind a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// Input number `i` of the run, a storage that exists before it. A step that writes it does so because the plan owns it.
    Leaf(usize),
    /// Memory taken for the run, and kept afterwards only if an output lies in it.
    Fresh { bytes: usize },
}

/// A result: output `out` of the graph's node number `node` (in the order of the plan's key).
#[derive(Debug, Clone)]
pub struct Output {
    /// Which node.
    pub node: usize,
    /// Which of its outputs.
    pub out: usize,
    /// The slot it lies in.
    pub slot: usize,
    /// Where in the slot, in elements of its dtype.
    pub layout: Layout,
}

/// Who asked for an op that can fail while running.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The op's name.
    pub op: &'static str,
    /// The line that called it.
    pub at: Caller,
}

/// One kernel launch (two for a scatter or an attention's gradient, several for a sort of long rows).
#[derive(Debug, Clone)]
pub enum Step {
    /// Fused maps and reductions.
    Loop(Loop),
    /// A matrix product or convolution, with fused maps behind it.
    Contract(Contract),
    /// An attention.
    Attention(Attention),
    /// Its gradient.
    AttentionGrad(Box<AttentionGrad>),
    /// Additions, or the largest or smallest, at indexed places.
    Scatter(Scatter),
    /// Running folds along an axis.
    Scan(Scan),
    /// Rows put in order.
    Sort(Sort),
    /// A user's kernel.
    Custom(Custom),
}

impl Step {
    /// What kind of step it is, in a word.
    pub fn name(&self) -> &'static str {
        match self {
            Step::Loop(l) if l.reduces() || !l.inner.is_empty() => "fold",
            Step::Loop(_) => "map",
            Step::Contract(c) => match c.kind {
                ContractKind::Matmul { .. } => "matmul",
                ContractKind::Conv(_) => "conv",
                ContractKind::ConvDataGrad(_) => "conv_data_grad",
                ContractKind::ConvFilterGrad(_) => "conv_filter_grad",
            },
            Step::Attention(_) => "attention",
            Step::AttentionGrad(_) => "attention_grad",
            Step::Scatter(_) => "scatter",
            Step::Scan(_) => "scan",
            Step::Sort(_) => "sort",
            Step::Custom(c) => c.op.0.name(),
        }
    }
}

/// A strided operand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operand {
    /// Where it lies.
    pub slot: usize,
    /// Offset and one stride for each axis of the operand's own shape, in elements.
    pub layout: Layout,
}

/// A contraction and its epilogue.
#[derive(Debug, Clone)]
pub struct Contract {
    /// Which, with its sizes.
    pub kind: ContractKind,
    /// The dtype of operands and result.
    pub dtype: DType,
    /// First operand, as in the [`Op`](crate::graph::Op)'s sources.
    pub a: Operand,
    /// Second operand.
    pub b: Operand,
    /// What is done with each element of the result, and where it is stored. Its points are the elements of the
    /// contraction's result in row-major order, all `outer`, though perhaps under other sizes (axes cut in two or
    /// left out where their size is 1); [`InstrKind::Accumulator`] is the element.
    pub epilogue: Loop,
}

/// The contractions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContractKind {
    /// `[batch.., m, k] × [batch.., k, n]`; both operands' layouts have `batch.len() + 2` strides.
    Matmul { batch: Dims<usize>, m: usize, n: usize, k: usize },
    /// `a` is x, `b` the weight.
    Conv(ConvSizes),
    /// `a` is dy, `b` the weight; the result has x's shape.
    ConvDataGrad(ConvSizes),
    /// `a` is x, `b` is dy; the result has the weight's shape.
    ConvFilterGrad(ConvSizes),
}

/// The sizes of a convolution: x `[n, c, h, w]`, weight `[o, c/groups, kh, kw]`, y `[n, o, oh, ow]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct ConvSizes {
    pub spec: ConvSpec,
    pub n: usize,
    pub c: usize,
    pub h: usize,
    pub w: usize,
    pub o: usize,
    pub kh: usize,
    pub kw: usize,
    pub oh: usize,
    pub ow: usize,
}

/// `out = base; out[.., index[..], ..] ∘= src`, `∘` being `op`. `out` is contiguous from element 0 and no other operand's slot, except
/// that it may be `base`'s when `base` is laid out as `out` is; then nothing is copied.
#[derive(Debug, Clone)]
pub struct Scatter {
    /// `Sum` of any numbers, `Max` or `Min` of integers.
    pub op: ReduceOp,
    /// Whether the same additions must give the same bits in every run.
    pub deterministic: bool,
    /// The axis that indices count along.
    pub axis: usize,
    /// Sizes of `base` and `out`.
    pub shape: Dims<usize>,
    /// The size of `index` and `src` along `axis`; their other sizes are `shape`'s.
    pub count: usize,
    /// Element type of `base`, `src` and `out`.
    pub dtype: DType,
    /// What is added to, or compared with.
    pub base: Operand,
    /// `i32`; negative or too large ones are reported and change nothing.
    pub index: Operand,
    /// What is added, or compared.
    pub src: Operand,
    /// The result's slot.
    pub out: usize,
    /// Index into [`Plan::origins`].
    pub origin: usize,
}

/// A user's kernel: operands are contiguous from element 0.
#[derive(Debug, Clone)]
pub struct Custom {
    /// The op.
    pub op: CustomHandle,
    /// Slots of its inputs.
    pub inputs: Vec<usize>,
    /// Their shapes and dtypes.
    pub input_metas: Vec<Meta>,
    /// Slots of its outputs; each a slot of its own.
    pub outputs: Vec<usize>,
    /// Their shapes and dtypes.
    pub output_metas: Vec<Meta>,
}
