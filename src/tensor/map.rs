//! Element by element: unary and binary ops, operators, comparisons, choices and casts.
//!
//! Type promotion, the one rule: two tensors meet at [`DType::promote`] of their types; a plain number takes the
//! tensor's type, except that a float next to an integer or bool tensor makes both `f32`, and that a factor or a divisor
//! of a half stays `f32` until the result is rounded. Division, and functions that are defined for floats only, turn
//! integers and bools into `f32` first.

use super::Tensor;
use super::half::scales;
use crate::dtype::{DType, Scalar};
use crate::error::Caller;
use crate::graph::{BinaryOp, Op, Param, UnaryOp};
use std::ops;

/// What may stand beside a tensor in a binary op: another tensor or a plain number.
#[derive(Debug, Clone)]
pub enum Operand {
    /// A tensor, which broadcasts.
    Tensor(Tensor),
    /// A number, which takes the tensor's type.
    Scalar(Scalar),
}

impl From<&Tensor> for Operand {
    fn from(t: &Tensor) -> Operand {
        Operand::Tensor(t.clone())
    }
}

impl From<Tensor> for Operand {
    fn from(t: Tensor) -> Operand {
        Operand::Tensor(t)
    }
}

impl From<Scalar> for Operand {
    fn from(value: Scalar) -> Operand {
        Operand::Scalar(value)
    }
}

macro_rules! operand_from {
    ($($t:ty)*) => {$(impl From<$t> for Operand {
        fn from(v: $t) -> Operand {
            Operand::Scalar(v.into())
        }
    })*};
}
operand_from!(bool u8 u32 i32 i64 half::f16 half::bf16 f32 f64);

impl Operand {
    /// As a tensor beside `other`, in the type the number takes there.
    pub(super) fn beside(self, other: &Tensor, at: Caller) -> Tensor {
        match self {
            Operand::Tensor(t) => t,
            Operand::Scalar(value) => {
                let Ok(v) = other.value() else { return other.clone() };
                let dtype = match value {
                    Scalar::Float(_) if !other.dtype().is_float() => DType::F32,
                    Scalar::Int(_) if other.dtype() == DType::Bool => DType::I32,
                    _ => other.dtype(),
                };
                Tensor::source(Op::Scalar { dtype, value: Param(value) }, &v.node.device, at)
            }
        }
    }
}

impl Tensor {
    /// Both operands in one dtype and one shape.
    pub(super) fn aligned(self: &Tensor, other: Operand, name: &'static str, at: Caller) -> (Tensor, Tensor) {
        let other = other.beside(self, at);
        let dtype = self.dtype().promote(other.dtype());
        let (a, b) = (self.cast_at(dtype, at), other.cast_at(dtype, at));
        match a.shape().broadcast(b.shape()) {
            Some(shape) => (a.broadcast(&shape, name, at), b.broadcast(&shape, name, at)),
            None => {
                let bad = Tensor::bad(name, at, format!("shapes {} and {} do not broadcast", a.shape(), b.shape()));
                (bad.clone(), bad)
            }
        }
    }

    pub(crate) fn binary(&self, op: BinaryOp, other: Operand, at: Caller) -> Tensor {
        if let Err(error) = self.value() {
            return Tensor::failed(error);
        }
        if self.dtype().is_half() && scales(op) && matches!(other, Operand::Scalar(_)) {
            return self.widened(at, |x| x.binary(op, other, at));
        }
        let (mut a, mut b) = self.aligned(other, op.name(), at);
        let floats_only = matches!(op, BinaryOp::Div | BinaryOp::Pow | BinaryOp::Atan2);
        if floats_only && a.error().is_none() && !a.dtype().is_float() {
            (a, b) = (a.cast_at(DType::F32, at), b.cast_at(DType::F32, at));
        }
        Tensor::apply(Op::Binary(op), &[&a, &b], at)
    }

    pub(crate) fn unary(&self, op: UnaryOp, at: Caller) -> Tensor {
        use UnaryOp::*;
        let any_type = matches!(op, Neg | Abs | Sign | Relu | Floor | Ceil | Round | Trunc | Not | BitNot);
        let x = if any_type || self.dtype().is_float() { self.clone() } else { self.cast_at(DType::F32, at) };
        Tensor::apply(Op::Unary(op), &[&x], at)
    }

    pub(crate) fn cast_at(&self, dtype: DType, at: Caller) -> Tensor {
        if self.dtype() == dtype { self.clone() } else { Tensor::apply(Op::Cast(dtype), &[self], at) }
    }

    /// Converted to `dtype`: floats to integers truncate and saturate, NaN gives 0; anything but 0 becomes `true`.
    /// Itself if it has that type.
    #[track_caller]
    pub fn cast(&self, dtype: DType) -> Tensor {
        self.cast_at(dtype, Caller::here())
    }

    /// `condition ? self : other`, element by element; `self` and `other` broadcast with the `bool` condition.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let x = Tensor::from_slice(&[-1.0f32, 2.0], [2], &Device::cpu());
    /// assert_eq!(x.where_(&x.gt(0.0), 0.0).to_vec::<f32>()?, [0.0, 2.0]);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn where_(&self, condition: &Tensor, other: impl Into<Operand>) -> Tensor {
        let at = Caller::here();
        let (a, b) = self.aligned(other.into(), "where", at);
        let Some(shape) = condition.shape().broadcast(a.shape()) else {
            let detail = format!("condition {} and values {} do not broadcast", condition.shape(), a.shape());
            return Tensor::bad("where", at, detail);
        };
        let spread = |t: &Tensor| t.broadcast(&shape, "where", at);
        Tensor::apply(Op::Select, &[&spread(condition), &spread(&a), &spread(&b)], at)
    }

    /// `value` where the `bool` mask is true, itself elsewhere.
    #[track_caller]
    pub fn masked_fill(&self, mask: &Tensor, value: impl Into<Scalar>) -> Tensor {
        let value = Operand::Scalar(value.into());
        self.where_(&mask.logical_not(), value)
    }

    /// Limited to `min..=max`; NaN stays NaN, and where the bounds are crossed `max` wins. At a bound that is a number there
    /// is no slope; at one that is a tensor's element the two share it.
    #[track_caller]
    pub fn clamp(&self, min: impl Into<Operand>, max: impl Into<Operand>) -> Tensor {
        let at = Caller::here();
        self.bounded(BinaryOp::Max, BinaryOp::Le, min.into(), at).bounded(BinaryOp::Min, BinaryOp::Ge, max.into(), at)
    }

    /// `x²`
    #[track_caller]
    pub fn square(&self) -> Tensor {
        self.binary(BinaryOp::Mul, self.into(), Caller::here())
    }

    /// `x · sigmoid(x)` (Elfwing et al., 2017), also known as swish.
    #[track_caller]
    pub fn silu(&self) -> Tensor {
        let at = Caller::here();
        self.widened(at, |x| x.binary(BinaryOp::Mul, x.unary(UnaryOp::Sigmoid, at).into(), at))
    }

    /// `x · Φ(x)` with the exact normal distribution function (Hendrycks and Gimpel, 2016).
    #[track_caller]
    pub fn gelu(&self) -> Tensor {
        let at = Caller::here();
        let mul = |a: &Tensor, b: Operand| a.binary(BinaryOp::Mul, b, at);
        self.widened(at, |x| {
            let erf = mul(x, std::f64::consts::FRAC_1_SQRT_2.into()).unary(UnaryOp::Erf, at);
            let phi = mul(&erf.binary(BinaryOp::Add, 1.0.into(), at), 0.5.into());
            mul(x, phi.into())
        })
    }

    /// `x` to a constant power.
    #[track_caller]
    pub fn powf(&self, exponent: f64) -> Tensor {
        let at = Caller::here();
        match exponent {
            2.0 => self.binary(BinaryOp::Mul, self.into(), at),
            0.5 => self.unary(UnaryOp::Sqrt, at),
            _ => self.binary(BinaryOp::Pow, exponent.into(), at),
        }
    }
}

macro_rules! unary_methods {
    ($($(#[$doc:meta])* $name:ident = $op:ident;)*) => {
        impl Tensor {$(
            $(#[$doc])*
            #[track_caller]
            pub fn $name(&self) -> Tensor {
                self.unary(UnaryOp::$op, Caller::here())
            }
        )*}
    };
}

unary_methods! {
    /// `-x`; integers wrap.
    neg = Neg;
    /// `|x|`
    abs = Abs;
    /// -1, 0 or 1; NaN stays NaN.
    sign = Sign;
    /// `√x`
    sqrt = Sqrt;
    /// `1/√x`
    rsqrt = Rsqrt;
    /// `1/x`
    recip = Recip;
    /// `eˣ`
    exp = Exp;
    /// `2ˣ`
    exp2 = Exp2;
    /// `eˣ - 1`, accurate near 0.
    expm1 = Expm1;
    /// The natural logarithm.
    log = Log;
    /// The logarithm to base 2.
    log2 = Log2;
    /// The logarithm to base 10.
    log10 = Log10;
    /// `ln(1 + x)`, accurate near 0.
    log1p = Log1p;
    /// The sine.
    sin = Sin;
    /// The cosine.
    cos = Cos;
    /// The tangent.
    tan = Tan;
    /// The inverse sine.
    asin = Asin;
    /// The inverse cosine.
    acos = Acos;
    /// The inverse tangent.
    atan = Atan;
    /// The hyperbolic sine.
    sinh = Sinh;
    /// The hyperbolic cosine.
    cosh = Cosh;
    /// The hyperbolic tangent.
    tanh = Tanh;
    /// The error function `2/√π ∫₀ˣ e^(-t²) dt`.
    erf = Erf;
    /// `1/(1 + e⁻ˣ)`
    sigmoid = Sigmoid;
    /// `max(x, 0)`; NaN stays NaN.
    relu = Relu;
    /// The largest integer not above.
    floor = Floor;
    /// The smallest integer not below.
    ceil = Ceil;
    /// The nearest integer, halves to even.
    round = Round;
    /// Without the fraction.
    trunc = Trunc;
    /// `x == 0`, as `bool`.
    logical_not = Not;
    /// Every bit inverted; `!x` on `bool`. An error on floats.
    bitwise_not = BitNot;
    /// Where it is NaN, as `bool`.
    isnan = IsNan;
    /// Where it is infinite, as `bool`.
    isinf = IsInf;
    /// Where it is neither NaN nor infinite, as `bool`.
    isfinite = IsFinite;
}

macro_rules! binary_methods {
    ($($(#[$doc:meta])* $name:ident = $op:ident;)*) => {
        impl Tensor {$(
            $(#[$doc])*
            #[track_caller]
            pub fn $name(&self, other: impl Into<Operand>) -> Tensor {
                self.binary(BinaryOp::$op, other.into(), Caller::here())
            }
        )*}
    };
}

binary_methods! {
    /// `selfᵒᵗʰᵉʳ`
    pow = Pow;
    /// `a - b·⌊a/b⌋`: the sign is the divisor's (PyTorch's `remainder`). Integers by 0 give 0.
    remainder = Rem;
    /// `⌊a/b⌋`. Integers by 0 give 0.
    floor_divide = FloorDiv;
    /// The larger; NaN wins.
    maximum = Max;
    /// The smaller; NaN wins.
    minimum = Min;
    /// The angle of the point `(other, self)`.
    atan2 = Atan2;
    /// `a == b`, as `bool`.
    eq = Eq;
    /// `a != b`, as `bool`.
    ne = Ne;
    /// `a < b`, as `bool`.
    lt = Lt;
    /// `a <= b`, as `bool`.
    le = Le;
    /// `a > b`, as `bool`.
    gt = Gt;
    /// `a >= b`, as `bool`.
    ge = Ge;
    /// Bitwise and; logical on `bool`.
    bitwise_and = And;
    /// Bitwise or; logical on `bool`.
    bitwise_or = Or;
    /// Bitwise exclusive or; logical on `bool`.
    bitwise_xor = Xor;
    /// `a << b`; 0 when `b` is not below the width.
    shl = Shl;
    /// `a >> b`, arithmetic on signed types.
    shr = Shr;
}

macro_rules! operators {
    ($($trait:ident $method:ident $op:ident;)*) => {$(
        impl<T: Into<Operand>> ops::$trait<T> for &Tensor {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, other: T) -> Tensor {
                self.binary(BinaryOp::$op, other.into(), Caller::here())
            }
        }
        impl<T: Into<Operand>> ops::$trait<T> for Tensor {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, other: T) -> Tensor {
                self.binary(BinaryOp::$op, other.into(), Caller::here())
            }
        }
        operators!(@left $trait $method $op; f32 f64 i32);
    )*};
    (@left $trait:ident $method:ident $op:ident; $($t:ty)*) => {$(
        impl ops::$trait<&Tensor> for $t {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, other: &Tensor) -> Tensor {
                other.after_number(BinaryOp::$op, self.into(), Caller::here())
            }
        }
        impl ops::$trait<Tensor> for $t {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, other: Tensor) -> Tensor {
                other.after_number(BinaryOp::$op, self.into(), Caller::here())
            }
        }
    )*};
}

operators! {
    Add add Add;
    Sub sub Sub;
    Mul mul Mul;
    Div div Div;
    Rem rem Rem;
}

impl ops::Neg for &Tensor {
    type Output = Tensor;
    #[track_caller]
    fn neg(self) -> Tensor {
        self.unary(UnaryOp::Neg, Caller::here())
    }
}

impl ops::Neg for Tensor {
    type Output = Tensor;
    #[track_caller]
    fn neg(self) -> Tensor {
        self.unary(UnaryOp::Neg, Caller::here())
    }
}
