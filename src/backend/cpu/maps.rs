//! The map kernels: one op over a block of elements.
//!
//! Operands are as long as the result, or a single element that stands for all. Operands and result are bytes whose
//! type the dtype tells; plans are checked before they get here, so an op always fits its dtype.

use super::num::{Convert, Float, Num, Truth};
use super::simd::{map1, map2, vectorised};
use crate::dtype::DType;
use crate::graph::{BinaryOp, UnaryOp};
use bytemuck::{Pod, cast_slice, cast_slice_mut};
use half::{bf16, f16};

/// Runs `$body` with `$t` standing for the element type of `$dtype`.
macro_rules! with_type {
    ($dtype:expr, $t:ident => $body:expr) => {
        match $dtype {
            DType::Bool => {
                type $t = $crate::backend::cpu::num::Truth;
                $body
            }
            DType::U8 => {
                type $t = u8;
                $body
            }
            DType::U32 => {
                type $t = u32;
                $body
            }
            DType::I32 => {
                type $t = i32;
                $body
            }
            DType::I64 => {
                type $t = i64;
                $body
            }
            DType::F16 => {
                type $t = half::f16;
                $body
            }
            DType::BF16 => {
                type $t = half::bf16;
                $body
            }
            DType::F32 => {
                type $t = f32;
                $body
            }
            DType::F64 => {
                type $t = f64;
                $body
            }
        }
    };
}
pub(super) use with_type;

vectorised! {
    pub fn unary_num<T: Num>(op: UnaryOp, x: &[T], dst: &mut [T]) {
        match op {
            UnaryOp::Neg => map1!(dst, |x| x.neg()),
            UnaryOp::Abs => map1!(dst, |x| x.abs()),
            UnaryOp::Sign => map1!(dst, |x| x.sign()),
            UnaryOp::Relu => map1!(dst, |x| x.relu()),
            UnaryOp::Floor => map1!(dst, |x| x.floor()),
            UnaryOp::Ceil => map1!(dst, |x| x.ceil()),
            UnaryOp::Round => map1!(dst, |x| x.round()),
            UnaryOp::Trunc => map1!(dst, |x| x.trunc()),
            _ => map1!(dst, |x| x.bit_not()),
        }
    }
}

vectorised! {
    pub fn unary_float<T: Float>(op: UnaryOp, x: &[T], dst: &mut [T]) {
        match op {
            UnaryOp::Sqrt => map1!(dst, |x| x.sqrt()),
            UnaryOp::Rsqrt => map1!(dst, |x| x.rsqrt()),
            UnaryOp::Recip => map1!(dst, |x| x.recip()),
            UnaryOp::Exp => map1!(dst, |x| x.exp()),
            UnaryOp::Exp2 => map1!(dst, |x| x.exp2()),
            UnaryOp::Expm1 => map1!(dst, |x| x.expm1()),
            UnaryOp::Log => map1!(dst, |x| x.log()),
            UnaryOp::Log2 => map1!(dst, |x| x.log2()),
            UnaryOp::Log10 => map1!(dst, |x| x.log10()),
            UnaryOp::Log1p => map1!(dst, |x| x.log1p()),
            UnaryOp::Sin => map1!(dst, |x| x.sin()),
            UnaryOp::Cos => map1!(dst, |x| x.cos()),
            UnaryOp::Tan => map1!(dst, |x| x.tan()),
            UnaryOp::Asin => map1!(dst, |x| x.asin()),
            UnaryOp::Acos => map1!(dst, |x| x.acos()),
            UnaryOp::Atan => map1!(dst, |x| x.atan()),
            UnaryOp::Sinh => map1!(dst, |x| x.sinh()),
            UnaryOp::Cosh => map1!(dst, |x| x.cosh()),
            UnaryOp::Tanh => map1!(dst, |x| x.tanh()),
            UnaryOp::Erf => map1!(dst, |x| x.erf()),
            UnaryOp::Sigmoid => map1!(dst, |x| x.sigmoid()),
            other => unary_num(other, x, dst),
        }
    }
}

vectorised! {
    pub fn predicate_float<T: Float>(op: UnaryOp, x: &[T], dst: &mut [Truth]) {
        match op {
            UnaryOp::IsNan => map1!(dst, |x| x.is_nan().into()),
            UnaryOp::IsInf => map1!(dst, |x| x.is_inf().into()),
            UnaryOp::IsFinite => map1!(dst, |x| x.is_finite().into()),
            _ => map1!(dst, |x| (x == T::ZERO).into()),
        }
    }
}

vectorised! {
    pub fn is_zero<T: Num>(x: &[T], dst: &mut [Truth]) {
        map1!(dst, |x| (x == T::ZERO).into())
    }
}

vectorised! {
    pub fn binary_num<T: Num>(op: BinaryOp, a: &[T], b: &[T], dst: &mut [T]) {
        match op {
            // One instruction where `b` is a number: if `a` is NaN, the comparison is false.
            BinaryOp::Max if matches!(b, [b] if !b.is_nan()) => {
                let b = b[0];
                map1!(dst, |a| if a < b { b } else { a })
            }
            BinaryOp::Min if matches!(b, [b] if !b.is_nan()) => {
                let b = b[0];
                map1!(dst, |a| if a > b { b } else { a })
            }
            BinaryOp::Add => map2!(dst, |a, b| a.add(b)),
            BinaryOp::Sub => map2!(dst, |a, b| a.sub(b)),
            BinaryOp::Mul => map2!(dst, |a, b| a.mul(b)),
            BinaryOp::Div => map2!(dst, |a, b| a.div(b)),
            BinaryOp::Rem => map2!(dst, |a, b| a.rem(b)),
            BinaryOp::FloorDiv => map2!(dst, |a, b| a.floor_div(b)),
            BinaryOp::Max => map2!(dst, |a, b| Num::max(a, b)),
            BinaryOp::Min => map2!(dst, |a, b| Num::min(a, b)),
            BinaryOp::Pow => map2!(dst, |a, b| a.pow(b)),
            BinaryOp::Atan2 => map2!(dst, |a, b| a.atan2(b)),
            BinaryOp::And => map2!(dst, |a, b| a.and(b)),
            BinaryOp::Or => map2!(dst, |a, b| a.or(b)),
            BinaryOp::Xor => map2!(dst, |a, b| a.xor(b)),
            BinaryOp::Shl => map2!(dst, |a, b| a.shl(b)),
            _ => map2!(dst, |a, b| a.shr(b)),
        }
    }
}

vectorised! {
    pub fn compare<T: Num>(op: BinaryOp, a: &[T], b: &[T], dst: &mut [Truth]) {
        match op {
            BinaryOp::Eq => map2!(dst, |a, b| (a == b).into()),
            BinaryOp::Ne => map2!(dst, |a, b| (a != b).into()),
            BinaryOp::Lt => map2!(dst, |a, b| (a < b).into()),
            BinaryOp::Le => map2!(dst, |a, b| (a <= b).into()),
            BinaryOp::Gt => map2!(dst, |a, b| (a > b).into()),
            _ => map2!(dst, |a, b| (a >= b).into()),
        }
    }
}

vectorised! {
    pub fn choose<T: Pod>(c: &[Truth], a: &[T], b: &[T], dst: &mut [T]) {
        if let &[c] = c {
            let x = if c.0 != 0 { a } else { b };
            match x {
                &[x] => dst.fill(x),
                x => dst.copy_from_slice(x),
            }
        } else if let &[b] = b {
            map2!(dst, |c, a| if c.0 != 0 { a } else { b })
        } else if let &[a] = a {
            map2!(dst, |c, b| if c.0 != 0 { a } else { b })
        } else {
            for (((out, c), &a), &b) in dst.iter_mut().zip(c).zip(a).zip(b) {
                *out = if c.0 != 0 { a } else { b };
            }
        }
    }
}

vectorised! {
    pub fn convert<A: Convert<B>, B: Num>(x: &[A], dst: &mut [B]) {
        map1!(dst, |x| x.convert())
    }
}

/// `op` on elements of `dtype`.
pub fn unary(op: UnaryOp, dtype: DType, x: &[u8], dst: &mut [u8]) {
    match dtype {
        DType::F16 => float::<f16>(op, x, dst),
        DType::BF16 => float::<bf16>(op, x, dst),
        DType::F32 => float::<f32>(op, x, dst),
        DType::F64 => float::<f64>(op, x, dst),
        _ if op.is_predicate() => with_type!(dtype, T => is_zero::<T>(cast_slice(x), cast_slice_mut(dst))),
        _ => with_type!(dtype, T => unary_num::<T>(op, cast_slice(x), cast_slice_mut(dst))),
    }
}

fn float<T: Float>(op: UnaryOp, x: &[u8], dst: &mut [u8]) {
    match op.is_predicate() {
        true => predicate_float::<T>(op, cast_slice(x), cast_slice_mut(dst)),
        false => unary_float::<T>(op, cast_slice(x), cast_slice_mut(dst)),
    }
}

/// `op` on elements of `dtype`.
pub fn binary(op: BinaryOp, dtype: DType, a: &[u8], b: &[u8], dst: &mut [u8]) {
    with_type!(dtype, T => match op.is_comparison() {
        true => compare::<T>(op, cast_slice(a), cast_slice(b), cast_slice_mut(dst)),
        false => binary_num::<T>(op, cast_slice(a), cast_slice(b), cast_slice_mut(dst)),
    })
}

/// Picks from `a` or `b`, elements of `bytes` each.
pub fn select(bytes: usize, c: &[u8], a: &[u8], b: &[u8], dst: &mut [u8]) {
    let c = cast_slice(c);
    match bytes {
        1 => choose::<u8>(c, a, b, dst),
        2 => choose::<u16>(c, cast_slice(a), cast_slice(b), cast_slice_mut(dst)),
        4 => choose::<u32>(c, cast_slice(a), cast_slice(b), cast_slice_mut(dst)),
        _ => choose::<u64>(c, cast_slice(a), cast_slice(b), cast_slice_mut(dst)),
    }
}

/// Converts elements.
pub fn cast(from: DType, to: DType, x: &[u8], dst: &mut [u8]) {
    with_type!(from, A => with_type!(to, B => convert::<A, B>(cast_slice(x), cast_slice_mut(dst))))
}
