//! The closed list of primitives. Every other op of the crate is a function of these.
//!
//! Adding one means four places, and the compiler points at each because all are exhaustive matches: its shape and
//! dtype rule (`graph/infer.rs`), its gradient (`autograd/rules.rs`), how it is scheduled (`schedule/fuse.rs`), and,
//! if it is a map, its evaluation on the CPU (`backend/cpu/`) and in WGSL (`kernel/`).

use super::custom::CustomOp;
use crate::dtype::{DType, Scalar};
use crate::random::{Distribution, GeneratorState};
use crate::shape::{Dims, Shape};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// A number that may differ each time the same graph runs: it takes no part in equality or hashing, so plans are
/// shared between graphs that differ only in it.
#[derive(Debug, Clone, Copy)]
pub struct Param<T>(pub T);

impl<T> PartialEq for Param<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl<T> Eq for Param<T> {}
impl<T> Hash for Param<T> {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// A primitive, with everything that is fixed about it. Operands are the node's sources, in the order given here.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Op {
    // ---- leaf
    /// Data that already lies in a storage.
    Leaf,
    /// One number, shape `[]`.
    Scalar { dtype: DType, value: Param<Scalar> },
    /// The index along `axis`, as `i32`.
    Iota { shape: Shape, axis: usize },
    /// Random elements.
    Random { shape: Shape, distribution: Distribution, state: Param<GeneratorState> },

    // ---- map: sources of one shape
    /// `op(x)`
    Unary(UnaryOp),
    /// `op(a, b)`, both of one dtype
    Binary(BinaryOp),
    /// `condition ? a : b`; sources `[bool, a, b]`
    Select,
    /// Conversion; floats to integers truncate and saturate, NaN to 0; anything non-zero to `true`.
    Cast(DType),

    // ---- view: no arithmetic
    /// The same elements in row-major order under another shape.
    Reshape(Shape),
    /// Axis `i` of the result is axis `axes[i]` of the source.
    Permute(Dims<usize>),
    /// Stretches axes of size 1; the rank stays.
    Expand(Shape),
    /// Element `i` is source element `starts + i·steps` on each axis; steps may be negative (a flip).
    Slice { starts: Dims<usize>, steps: Dims<i64>, shape: Shape },
    /// Sliding windows over `axis`: `[.., n, ..]` becomes `[.., windows, .., size]` (PyTorch's `Tensor.unfold`).
    Unfold { axis: usize, size: usize, step: usize, dilation: usize },

    // ---- layout
    /// Sources `[x, fill]`, `fill` of shape `[]`: `lo[i]` elements before and `hi[i]` after each axis.
    Pad { lo: Dims<usize>, hi: Dims<usize> },
    /// Sources one after another along `axis`.
    Concat { axis: usize },

    // ---- reduce: the axes (ascending) disappear from the shape
    /// Folds the axes together.
    Reduce { op: ReduceOp, axes: Dims<usize> },
    /// Outputs `[values, indices]` of the first extreme element, the index (`i32`) counted row-major over `axes`.
    /// `op` is `Max` or `Min`; NaN counts as extreme.
    ArgReduce { op: ReduceOp, axes: Dims<usize> },

    // ---- contract
    /// `[.., m, k] × [.., k, n]`, batch axes equal.
    Matmul,
    /// `x [n, c, h, w]`, `weight [o, c/groups, kh, kw]` to `[n, o, oh, ow]` (cross-correlation).
    Conv(ConvSpec),
    /// `dy [n, o, oh, ow]`, `weight` to the gradient `[n, c, h, w]`; `input` is `[h, w]`.
    ConvDataGrad { spec: ConvSpec, input: [usize; 2] },
    /// `x`, `dy` to the gradient `[o, c/groups, kh, kw]`; `kernel` is `[kh, kw]`.
    ConvFilterGrad { spec: ConvSpec, kernel: [usize; 2] },

    // ---- index
    /// Sources `[x, index]`: `out[.., i, ..] = x[.., index[.., i, ..], ..]` (PyTorch's `gather`); all other axes equal.
    Gather { axis: usize },
    /// Sources `[x, index, src]`: a copy of `x` into which `src` is folded at `index` along `axis`: `Sum` (PyTorch's
    /// `scatter_add`), or `Max` or `Min` of integers.
    Scatter { op: ReduceOp, axis: usize },

    // ---- order
    /// Running folds along `axis`. `Max` and `Min` have a second output, the position (`i32`) of the last extreme
    /// element so far, NaN counting as extreme. `Linear` has sources `[a, b]`, all others `[x]`.
    Scan { op: ScanOp, axis: usize },
    /// Outputs `[values, indices]`: stable along `axis`, NaN greatest; indices are `i32`.
    Sort { axis: usize, descending: bool },

    // ---- the open door
    /// A user's own kernel. Plans are shared between graphs that hold the same `Arc`.
    Custom(CustomHandle),
}

impl Op {
    /// The op's name in plans and messages.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Leaf => "leaf",
            Op::Scalar { .. } => "scalar",
            Op::Iota { .. } => "iota",
            Op::Random { .. } => "random",
            Op::Unary(op) => op.name(),
            Op::Binary(op) => op.name(),
            Op::Select => "where",
            Op::Cast(_) => "cast",
            Op::Reshape(_) => "reshape",
            Op::Permute(_) => "permute",
            Op::Expand(_) => "expand",
            Op::Slice { .. } => "slice",
            Op::Unfold { .. } => "unfold",
            Op::Pad { .. } => "pad",
            Op::Concat { .. } => "cat",
            Op::Reduce { op, .. } => op.name(),
            Op::ArgReduce { op: ReduceOp::Min, .. } => "argmin",
            Op::ArgReduce { .. } => "argmax",
            Op::Matmul => "matmul",
            Op::Conv(_) => "conv2d",
            Op::ConvDataGrad { .. } => "conv2d_data_grad",
            Op::ConvFilterGrad { .. } => "conv2d_filter_grad",
            Op::Gather { .. } => "gather",
            Op::Scatter { op: ReduceOp::Max, .. } => "scatter_max",
            Op::Scatter { op: ReduceOp::Min, .. } => "scatter_min",
            Op::Scatter { .. } => "scatter_add",
            Op::Scan { op, .. } => op.name(),
            Op::Sort { .. } => "sort",
            Op::Custom(c) => c.0.name(),
        }
    }
}

/// Stride, padding, dilation (`[h, w]` each) and groups of a 2-d convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConvSpec {
    /// Step between windows.
    pub stride: [usize; 2],
    /// Zeros on both sides.
    pub padding: [usize; 2],
    /// Distance between kernel elements.
    pub dilation: [usize; 2],
    /// Independent channel groups.
    pub groups: usize,
}

impl Default for ConvSpec {
    fn default() -> ConvSpec {
        ConvSpec { stride: [1, 1], padding: [0, 0], dilation: [1, 1], groups: 1 }
    }
}

impl ConvSpec {
    /// Output size along axis `d` (0 for h, 1 for w), or `None` when the kernel does not fit:
    /// `⌊(in + 2·padding − dilation·(kernel − 1) − 1) / stride⌋ + 1`.
    pub fn output(&self, d: usize, input: usize, kernel: usize) -> Option<usize> {
        let span = self.dilation[d].checked_mul(kernel.checked_sub(1)?)?.checked_add(1)?;
        let padded = self.padding[d].checked_mul(2)?.checked_add(input)?;
        Some(padded.checked_sub(span)? / self.stride[d] + 1)
    }
}

/// A shared [`CustomOp`], compared by identity.
#[derive(Debug, Clone)]
pub struct CustomHandle(pub Arc<dyn CustomOp>);

impl PartialEq for CustomHandle {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
impl Eq for CustomHandle {}
impl Hash for CustomHandle {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (Arc::as_ptr(&self.0) as *const () as usize).hash(state);
    }
}

macro_rules! named_ops {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// All of them.
            pub const ALL: &[$name] = &[$($name::$variant,)*];

            /// The name in PyTorch's vocabulary.
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }
        }
    };
}

named_ops! {
    /// Maps of one operand. The dtype stays, except where a line says otherwise.
    UnaryOp {
        /// `-x` (integers wrap)
        Neg = "neg",
        /// `|x|`
        Abs = "abs",
        /// -1, 0 or 1; NaN stays NaN
        Sign = "sign",
        /// `√x`
        Sqrt = "sqrt",
        /// `1/√x`
        Rsqrt = "rsqrt",
        /// `1/x`
        Recip = "recip",
        /// `eˣ`
        Exp = "exp",
        /// `2ˣ`
        Exp2 = "exp2",
        /// `eˣ - 1`, accurate near 0
        Expm1 = "expm1",
        /// natural logarithm
        Log = "log",
        /// logarithm to base 2
        Log2 = "log2",
        /// logarithm to base 10
        Log10 = "log10",
        /// `ln(1 + x)`, accurate near 0
        Log1p = "log1p",
        /// sine
        Sin = "sin",
        /// cosine
        Cos = "cos",
        /// tangent
        Tan = "tan",
        /// inverse sine
        Asin = "asin",
        /// inverse cosine
        Acos = "acos",
        /// inverse tangent
        Atan = "atan",
        /// hyperbolic sine
        Sinh = "sinh",
        /// hyperbolic cosine
        Cosh = "cosh",
        /// hyperbolic tangent
        Tanh = "tanh",
        /// error function
        Erf = "erf",
        /// `1/(1 + e⁻ˣ)`
        Sigmoid = "sigmoid",
        /// `max(x, 0)`; NaN stays NaN
        Relu = "relu",
        /// largest integer below
        Floor = "floor",
        /// smallest integer above
        Ceil = "ceil",
        /// nearest integer, halves to even
        Round = "round",
        /// towards zero
        Trunc = "trunc",
        /// `x == 0`, gives `bool`
        Not = "logical_not",
        /// every bit inverted; on `bool`, `!x`
        BitNot = "bitwise_not",
        /// gives `bool`
        IsNan = "isnan",
        /// gives `bool`
        IsInf = "isinf",
        /// gives `bool`
        IsFinite = "isfinite",
    }
}

named_ops! {
    /// Maps of two operands of one dtype. Comparisons give `bool`.
    BinaryOp {
        /// `a + b` (integers wrap; on `bool`, or)
        Add = "add",
        /// `a - b`
        Sub = "sub",
        /// `a · b` (on `bool`, and)
        Mul = "mul",
        /// `a / b`; integers truncate, and give 0 when `b` is 0
        Div = "div",
        /// `aᵇ`
        Pow = "pow",
        /// `a - b·⌊a/b⌋`: the sign is `b`'s, as in PyTorch's `remainder`; integers give 0 when `b` is 0
        Rem = "remainder",
        /// `⌊a/b⌋`; integers give 0 when `b` is 0
        FloorDiv = "floor_divide",
        /// the larger; NaN wins
        Max = "maximum",
        /// the smaller; NaN wins
        Min = "minimum",
        /// the angle of the point `(b, a)`
        Atan2 = "atan2",
        /// `a == b`
        Eq = "eq",
        /// `a != b`
        Ne = "ne",
        /// `a < b`
        Lt = "lt",
        /// `a <= b`
        Le = "le",
        /// `a > b`
        Gt = "gt",
        /// `a >= b`
        Ge = "ge",
        /// bitwise and; logical on `bool`
        And = "bitwise_and",
        /// bitwise or; logical on `bool`
        Or = "bitwise_or",
        /// bitwise exclusive or; logical on `bool`
        Xor = "bitwise_xor",
        /// `a << b`; 0 when `b` is not below the width
        Shl = "shl",
        /// `a >> b`, arithmetic on signed types; 0 (or -1) when `b` is not below the width
        Shr = "shr",
    }
}

impl BinaryOp {
    /// True for the six that give `bool`.
    pub fn is_comparison(self) -> bool {
        use BinaryOp::*;
        matches!(self, Eq | Ne | Lt | Le | Gt | Ge)
    }
}

impl UnaryOp {
    /// True for those that give `bool` whatever they take.
    pub fn is_predicate(self) -> bool {
        matches!(self, UnaryOp::Not | UnaryOp::IsNan | UnaryOp::IsInf | UnaryOp::IsFinite)
    }
}

named_ops! {
    /// Associative folds. Over no elements: 0, 1, and an error before it gets here for `Max` and `Min`.
    ReduceOp {
        /// `Σ`
        Sum = "sum",
        /// `Π`
        Prod = "prod",
        /// largest; NaN wins; on `bool`, any
        Max = "max",
        /// smallest; NaN wins; on `bool`, all
        Min = "min",
    }
}

named_ops! {
    /// Running folds.
    ScanOp {
        /// `y_i = x_0 + … + x_i`
        Sum = "cumsum",
        /// `y_i = x_0 · … · x_i`
        Prod = "cumprod",
        /// the largest of `x_0 … x_i`; NaN wins
        Max = "cummax",
        /// the smallest of `x_0 … x_i`; NaN wins
        Min = "cummin",
        /// `y_i = ln(exp x_0 + … + exp x_i)`
        LogSumExp = "logcumsumexp",
        /// `y_i = a_i·y_{i-1} + b_i`, `y_{-1}` being 0
        Linear = "linear_scan",
    }
}

impl ScanOp {
    /// True for those that also give positions.
    pub fn finds(self) -> bool {
        matches!(self, ScanOp::Max | ScanOp::Min)
    }
}
