//! One scalar operation as a WGSL expression. Values of `u8` are `u32` below 256, those of `bool` are `bool`, those of
//! `f16` and `bf16` are `f32`, rounded after every op that may give others.

use super::{Result, unsupported};
use crate::dtype::DType;
use crate::graph::{BinaryOp, ReduceOp, UnaryOp};

/// The type that holds a value of `dtype` in a kernel.
pub fn register_type(dtype: DType) -> Result<&'static str> {
    match dtype {
        DType::Bool => Ok("bool"),
        DType::F16 | DType::BF16 => Ok("f32"),
        other => stored_type(other),
    }
}

/// The type that holds an accumulator of folds.
pub fn folded_type(dtype: DType) -> Result<&'static str> {
    stored_type(computed(dtype))
}

/// The type that holds it in memory; halves lie two to a word.
pub fn stored_type(dtype: DType) -> Result<&'static str> {
    match dtype {
        DType::F32 => Ok("f32"),
        DType::I32 => Ok("i32"),
        DType::Bool | DType::U8 | DType::U32 | DType::F16 | DType::BF16 => Ok("u32"),
        DType::I64 | DType::F64 => Err(unsupported(format!("{dtype} in a kernel"))),
    }
}

/// The type that values of `dtype` are computed in.
pub fn computed(dtype: DType) -> DType {
    if dtype.is_half() { DType::F32 } else { dtype }
}

/// An `f32` rounded to `dtype`.
pub fn rounded(dtype: DType, x: String) -> String {
    if dtype.is_half() { format!("round_{dtype}({x})") } else { x }
}

/// Zero, or false.
pub fn zero(dtype: DType) -> &'static str {
    match dtype {
        DType::Bool => "false",
        DType::F16 | DType::BF16 | DType::F32 | DType::F64 => "0.0",
        DType::I32 | DType::I64 => "0i",
        DType::U8 | DType::U32 => "0u",
    }
}

/// What a load out of range gives: NaN where there is one.
pub fn poison(dtype: DType) -> &'static str {
    if dtype.is_float() { "nan_f32()" } else { zero(dtype) }
}

/// Wraps a result of `u32` arithmetic to `dtype`.
fn wrapped(dtype: DType, expression: String) -> String {
    if dtype == DType::U8 { format!("(({expression}) & 255u)") } else { expression }
}

/// `op(x)`; `near` lets it be no more exact than halves can show
pub fn unary(op: UnaryOp, dtype: DType, x: &str, near: bool) -> String {
    use UnaryOp::*;
    let value = match op {
        Exp | Erf if near => format!("{}_half({x})", op.name()),
        _ => unrounded_unary(op, computed(dtype), x),
    };
    match op {
        // A half without its fraction or its sign is one.
        Neg | Abs | Sign | Relu | Floor | Ceil | Round | Trunc | Not | BitNot | IsNan | IsInf | IsFinite => value,
        _ => rounded(dtype, value),
    }
}

fn unrounded_unary(op: UnaryOp, dtype: DType, x: &str) -> String {
    use UnaryOp::*;
    match (op, dtype) {
        (Not | BitNot, DType::Bool) => format!("!{x}"),
        (Not, DType::F32) => format!("!nonzero_f32({x})"),
        (Not, _) => format!("({x} == {})", zero(dtype)),
        (BitNot, _) => wrapped(dtype, format!("~{x}")),
        (Neg, DType::F32) => format!("-{x}"),
        (Neg, _) => format!("({} - {x})", zero(dtype)),
        (Abs, DType::U8 | DType::U32) => x.into(),
        (Abs, _) => format!("abs({x})"),
        (Sign, DType::F32) => format!("sign_f32({x})"),
        (Sign, DType::I32) => format!("sign({x})"),
        (Sign, _) => format!("min({x}, 1u)"),
        (Relu, DType::F32) => format!("relu_f32({x})"),
        (Relu, DType::I32) => format!("max({x}, 0i)"),
        (Relu, _) => x.into(),
        (Floor | Ceil | Round | Trunc, DType::F32) => format!("{}({x})", op.name()),
        (Floor | Ceil | Round | Trunc, _) => x.into(),
        (Sqrt, _) => format!("sqrt({x})"),
        (Rsqrt, _) => format!("inverseSqrt({x})"),
        (Recip, _) => format!("div_f32(1.0, {x})"),
        (IsNan, _) => format!("is_nan({x})"),
        (IsInf, _) => format!("is_inf({x})"),
        (IsFinite, _) => format!("is_finite({x})"),
        (
            Exp | Exp2 | Expm1 | Log | Log2 | Log10 | Log1p | Sin | Cos | Tan | Asin | Acos | Atan | Sinh | Cosh | Tanh
            | Erf | Sigmoid,
            _,
        ) => format!("{}_f32({x})", op.name()),
    }
}

/// `op(a, b)`, both operands being of `dtype`; `near` lets it be no more exact than halves can show
pub fn binary(op: BinaryOp, dtype: DType, a: &str, b: &str, near: bool) -> String {
    match dtype {
        _ if near && op == BinaryOp::Div && computed(dtype) == DType::F32 => {
            rounded(dtype, format!("div_half({a}, {b})"))
        }
        DType::Bool => of_bools(op, a, b),
        DType::F16 | DType::BF16 if !op.is_comparison() && !matches!(op, BinaryOp::Max | BinaryOp::Min) => {
            rounded(dtype, of_floats(op, a, b))
        }
        DType::F16 | DType::BF16 | DType::F32 | DType::F64 => of_floats(op, a, b),
        _ => of_ints(op, dtype, a, b),
    }
}

fn of_bools(op: BinaryOp, a: &str, b: &str) -> String {
    use BinaryOp::*;
    match op {
        Add | Max | Or => format!("({a} | {b})"),
        Mul | Min | And => format!("({a} & {b})"),
        Eq => format!("({a} == {b})"),
        Lt => format!("(!{a} & {b})"),
        Le => format!("(!{a} | {b})"),
        Gt => format!("({a} & !{b})"),
        Ge => format!("({a} | !{b})"),
        Ne | Xor | Sub | Div | Pow | Rem | FloorDiv | Atan2 | Shl | Shr => format!("({a} != {b})"),
    }
}

fn of_floats(op: BinaryOp, a: &str, b: &str) -> String {
    use BinaryOp::*;
    match op {
        Add => format!("({a} + {b})"),
        Sub => format!("({a} - {b})"),
        Mul => format!("({a} * {b})"),
        Div => format!("div_f32({a}, {b})"),
        Pow => format!("pow_f32({a}, {b})"),
        Rem => format!("rem_f32({a}, {b})"),
        FloorDiv => format!("floor_div_f32({a}, {b})"),
        Max => format!("max_f32({a}, {b})"),
        Min => format!("min_f32({a}, {b})"),
        Atan2 => format!("atan2_f32({a}, {b})"),
        Eq => format!("eq_f32({a}, {b})"),
        Ne | And | Or | Xor | Shl | Shr => format!("!eq_f32({a}, {b})"),
        Lt => format!("lt_f32({a}, {b})"),
        Le => format!("le_f32({a}, {b})"),
        Gt => format!("lt_f32({b}, {a})"),
        Ge => format!("le_f32({b}, {a})"),
    }
}

fn of_ints(op: BinaryOp, dtype: DType, a: &str, b: &str) -> String {
    use BinaryOp::*;
    let t = if dtype == DType::I32 { "i32" } else { "u32" };
    match op {
        Add => wrapped(dtype, format!("({a} + {b})")),
        Sub => wrapped(dtype, format!("({a} - {b})")),
        Mul => wrapped(dtype, format!("({a} * {b})")),
        Div => format!("div_{t}({a}, {b})"),
        Rem => format!("rem_{t}({a}, {b})"),
        FloorDiv if t == "i32" => format!("floor_div_i32({a}, {b})"),
        FloorDiv => format!("div_u32({a}, {b})"),
        Max => format!("max({a}, {b})"),
        Min => format!("min({a}, {b})"),
        And => format!("({a} & {b})"),
        Or => format!("({a} | {b})"),
        Xor => format!("({a} ^ {b})"),
        // A u8 shifted by 8 to 31 loses all its bits to the mask.
        Shl => wrapped(dtype, format!("shl_{t}({a}, {b})")),
        Shr => format!("shr_{t}({a}, {b})"),
        Eq => format!("({a} == {b})"),
        Ne | Pow | Atan2 => format!("({a} != {b})"),
        Lt => format!("({a} < {b})"),
        Le => format!("({a} <= {b})"),
        Gt => format!("({a} > {b})"),
        Ge => format!("({a} >= {b})"),
    }
}

/// `x` of type `from` converted to `to`: floats truncate and saturate, integers wrap, anything non-zero is true.
pub fn cast(from: DType, to: DType, x: &str) -> String {
    use DType::*;
    match (from, to) {
        (a, b) if a == b => x.into(),
        (F16 | BF16, _) => cast_rounded(F32, to, x),
        _ => cast_rounded(from, to, x),
    }
}

fn cast_rounded(from: DType, to: DType, x: &str) -> String {
    use DType::*;
    match (from, to) {
        // Eight bits of precision are enough for a byte.
        (Bool | U8, F16 | BF16) => cast(from, F32, x),
        (_, F16 | BF16) => rounded(to, cast(from, F32, x)),
        (a, b) if a == b => x.into(),
        (F32, Bool) => format!("nonzero_f32({x})"),
        (_, Bool) => format!("({x} != {})", zero(from)),
        (Bool, F32) => format!("select(0.0, 1.0, {x})"),
        (Bool, I32) => format!("select(0i, 1i, {x})"),
        (Bool, _) => format!("select(0u, 1u, {x})"),
        (F32, I32) => format!("i32_from_f32({x})"),
        (F32, U8) => format!("u8_from_f32({x})"),
        (F32, _) => format!("u32_from_f32({x})"),
        (_, F32) => format!("f32({x})"),
        (I32, U8) => format!("(bitcast<u32>({x}) & 255u)"),
        (_, U8) => format!("({x} & 255u)"),
        (_, I32) => format!("bitcast<i32>({x})"),
        (I32, _) => format!("bitcast<u32>({x})"),
        (_, _) => x.into(),
    }
}

/// Folds: the type and the neutral element of the accumulator (`bool` is folded as `u32`).
pub fn neutral(op: ReduceOp, dtype: DType) -> &'static str {
    use ReduceOp::*;
    match (op, computed(dtype)) {
        (Sum, _) => {
            if dtype == DType::Bool {
                "0u"
            } else {
                zero(dtype)
            }
        }
        (Prod, DType::F32) => "1.0",
        (Prod, DType::I32) => "1i",
        (Prod, _) => "1u",
        (Max, DType::F32) => "-inf_f32()",
        (Max, DType::I32) => "-2147483647i - 1i",
        (Max, _) => "0u",
        (Min, DType::F32) => "inf_f32()",
        (Min, DType::I32) => "2147483647i",
        (Min, _) => "0xffffffffu",
    }
}

/// Two accumulators made one.
pub fn combine(op: ReduceOp, dtype: DType, a: &str, b: &str) -> String {
    match (op, computed(dtype)) {
        (ReduceOp::Sum, _) => format!("{a} + {b}"),
        (ReduceOp::Prod, _) => format!("{a} * {b}"),
        (ReduceOp::Max, DType::F32) => format!("max_f32({a}, {b})"),
        (ReduceOp::Min, DType::F32) => format!("min_f32({a}, {b})"),
        (ReduceOp::Max, _) => format!("max({a}, {b})"),
        (ReduceOp::Min, _) => format!("min({a}, {b})"),
    }
}

/// A finished accumulator as a value of `dtype`.
pub fn folded(op: ReduceOp, dtype: DType, accumulator: &str) -> String {
    match (op, dtype) {
        // Of no elements, `all` is true: its neutral element is not 0.
        (_, DType::Bool) => format!("({accumulator} != 0u)"),
        (ReduceOp::Sum | ReduceOp::Prod, _) => rounded(dtype, wrapped(dtype, accumulator.into())),
        _ => accumulator.into(),
    }
}
