//! Element by element.

use super::{OpInfo, mask, one, op, x};
use crate::dtype::Scalar;

/// Maps that are named as their methods: of one operand, of two, and the rest in full.
macro_rules! maps {
    (unary: $($unary:ident)*; binary: $($binary:ident)*; $($rest:expr,)*) => {
        pub(super) const OPS: &[OpInfo] = &[
            $(op(stringify!($unary), "{}", &[x(&[3, 5])], |c| one(c.x(0).$unary())),)*
            $(op(stringify!($binary), "{}", &[x(&[3, 5]), x(&[5])], |c| one(c.x(0).$binary(c.x(1)))),)*
            $($rest,)*
        ];
    };
}

/// A tensor and a number, or the number and the tensor.
macro_rules! beside {
    ($call:ident, $op:tt) => {
        one(match ($call.number("other"), $call.flag("reversed")) {
            (number, false) => $call.x(0) $op number,
            (Scalar::Int(number), true) => number as i32 $op $call.x(0),
            (Scalar::Float(number), true) => number $op $call.x(0),
        })
    };
}

maps! {
    unary:
        neg abs sign sqrt rsqrt square exp exp2 expm1 log log2 log10 log1p sin cos tan asin acos atan sinh cosh tanh erf
        sigmoid relu floor ceil round trunc logical_not bitwise_not isnan isinf isfinite
        relu6 hardsigmoid hardswish selu logsigmoid mish softsign tanhshrink silu;
    binary:
        pow remainder fmod floor_divide maximum minimum atan2 eq ne lt le gt ge bitwise_and bitwise_or bitwise_xor
        logical_and logical_or logical_xor logaddexp prelu;
    op("recip", "{}", &[x(&[3, 5])], |c| one(c.x(0).recip())),
    op("add", "{}", &[x(&[3, 5]), x(&[5])], |c| one(c.x(0) + c.x(1))),
    op("sub", "{}", &[x(&[3, 5]), x(&[5])], |c| one(c.x(0) - c.x(1))),
    op("mul", "{}", &[x(&[3, 5]), x(&[5])], |c| one(c.x(0) * c.x(1))),
    op("div", "{}", &[x(&[3, 5]), x(&[5])], |c| one(c.x(0) / c.x(1))),
    op("add_scalar", r#"{"other": 2, "reversed": false}"#, &[x(&[3, 5])], |c| beside!(c, +)),
    op("sub_scalar", r#"{"other": 2, "reversed": false}"#, &[x(&[3, 5])], |c| beside!(c, -)),
    op("mul_scalar", r#"{"other": 2, "reversed": false}"#, &[x(&[3, 5])], |c| beside!(c, *)),
    op("div_scalar", r#"{"other": 2, "reversed": false}"#, &[x(&[3, 5])], |c| beside!(c, /)),
    op("pow_scalar", r#"{"exponent": 2.0}"#, &[x(&[3, 5])], |c| one(c.x(0).powf(c.float("exponent")))),
    op("shl", "{}", &[x(&[3, 5]), x(&[5])], |c| one(c.x(0).shl(c.x(1)))),
    op("shr", "{}", &[x(&[3, 5]), x(&[5])], |c| one(c.x(0).shr(c.x(1)))),
    op("cast", r#"{"dtype": "f32"}"#, &[x(&[3, 5])], |c| one(c.x(0).cast(c.dtype("dtype")))),
    op("where", "{}", &[mask(&[3, 5]), x(&[3, 5]), x(&[5])], |c| one(c.x(1).where_(c.x(0), c.x(2)))),
    op("choose", r#"{"a": 1.0, "b": 0.0}"#, &[mask(&[3, 5])], |c| one(c.x(0).choose(c.number("a"), c.number("b")))),
    op("masked_fill", r#"{"value": 0}"#, &[x(&[3, 5]), mask(&[5])], |c| {
        one(c.x(0).masked_fill(c.x(1), c.number("value")))
    }),
    op("clamp", r#"{"min": null, "max": null}"#, &[x(&[3, 5])], |c| {
        let min = c.optional("min", |c| c.number("min"));
        let max = c.optional("max", |c| c.number("max"));
        one(match (min, max) {
            (Some(min), Some(max)) => c.x(0).clamp(min, max),
            (Some(min), None) => c.x(0).clamp_min(min),
            (None, Some(max)) => c.x(0).clamp_max(max),
            (None, None) => c.x(0).clone(),
        })
    }),
    op("clamp_tensor", "{}", &[x(&[3, 5]), x(&[5]), x(&[3, 1])], |c| one(c.x(0).clamp(c.x(1), c.x(2)))),
    op("lerp", "{}", &[x(&[3, 5]), x(&[3, 5]), x(&[5])], |c| one(c.x(0).lerp(c.x(1), c.x(2)))),
    op("addcmul", r#"{"value": 1.0}"#, &[x(&[3, 5]), x(&[3, 1]), x(&[5])], |c| {
        one(c.x(0).addcmul(c.x(1), c.x(2), c.float("value")))
    }),
    op("addcdiv", r#"{"value": 1.0}"#, &[x(&[3, 5]), x(&[3, 1]), x(&[5])], |c| {
        one(c.x(0).addcdiv(c.x(1), c.x(2), c.float("value")))
    }),
    op("isclose", r#"{"rtol": 1e-5, "atol": 1e-8}"#, &[x(&[3, 5]), x(&[5])], |c| {
        one(c.x(0).isclose(c.x(1), c.float("rtol"), c.float("atol")))
    }),
    op("gelu", r#"{"approximate": "none"}"#, &[x(&[3, 5])], |c| {
        one(if c.text("approximate") == "tanh" { c.x(0).gelu_tanh() } else { c.x(0).gelu() })
    }),
    op("hardtanh", r#"{"min": -1.0, "max": 1.0}"#, &[x(&[3, 5])], |c| {
        one(c.x(0).hardtanh(c.float("min"), c.float("max")))
    }),
    op("leaky_relu", r#"{"slope": 0.01}"#, &[x(&[3, 5])], |c| one(c.x(0).leaky_relu(c.float("slope")))),
    op("elu", r#"{"alpha": 1.0}"#, &[x(&[3, 5])], |c| one(c.x(0).elu(c.float("alpha")))),
    op("celu", r#"{"alpha": 1.0}"#, &[x(&[3, 5])], |c| one(c.x(0).celu(c.float("alpha")))),
    op("softplus", r#"{"beta": 1.0, "threshold": 20.0}"#, &[x(&[3, 5])], |c| {
        one(c.x(0).softplus(c.float("beta"), c.float("threshold")))
    }),
    op("softshrink", r#"{"lambda": 0.5}"#, &[x(&[3, 5])], |c| one(c.x(0).softshrink(c.float("lambda")))),
    op("hardshrink", r#"{"lambda": 0.5}"#, &[x(&[3, 5])], |c| one(c.x(0).hardshrink(c.float("lambda")))),
    op("threshold", r#"{"threshold": 0.0, "value": 0.0}"#, &[x(&[3, 5])], |c| {
        one(c.x(0).threshold(c.float("threshold"), c.float("value")))
    }),
    op("glu", r#"{"axis": -1}"#, &[x(&[3, 4])], |c| one(c.x(0).glu(c.axis("axis")))),
}
