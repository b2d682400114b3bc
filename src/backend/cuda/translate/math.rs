//! WGSL's built-in functions.

use super::stmt::Body;
use super::{Result, unsupported};
use naga::{Expression, Handle, MathFunction as F, TypeInner};

impl Body<'_, '_> {
    /// A call of a built-in function.
    pub(super) fn math(
        &mut self,
        handle: Handle<Expression>,
        fun: F,
        args: [Option<Handle<Expression>>; 4],
    ) -> Result<String> {
        let args: Vec<Handle<Expression>> = args.into_iter().flatten().collect();
        let mut texts = args.iter().map(|a| self.text(*a)).collect::<Result<Vec<_>>>()?;
        let info = self.info;
        match fun {
            F::Modf | F::Frexp => {
                let x = &texts[0];
                let pair = self.w.value_type(&info[handle].ty)?;
                return Ok(match fun {
                    F::Modf => format!("w_make_{pair}(w_sub({x}, w_trunc({x})), w_trunc({x}))"),
                    _ => format!("w_make_{pair}(w_frexp_fract({x}), w_frexp_exp({x}))"),
                });
            }
            // A scalar among vectors stands for a vector of it.
            F::Mix | F::Clamp | F::Min | F::Max | F::SmoothStep | F::Step => {
                if let TypeInner::Vector { size, .. } = self.inner(handle) {
                    for (arg, text) in args.iter().zip(&mut texts) {
                        if matches!(self.inner(*arg), TypeInner::Scalar(_)) {
                            *text = format!("w_splat{}({text})", *size as u32);
                        }
                    }
                }
            }
            _ => {}
        }
        let Some(name) = function(fun) else {
            return unsupported(format!("the function {fun:?}"));
        };
        Ok(format!("{name}({})", texts.join(", ")))
    }
}

/// The prelude's function for one of WGSL's.
fn function(fun: F) -> Option<&'static str> {
    Some(match fun {
        F::Abs => "w_abs",
        F::Min => "w_min",
        F::Max => "w_max",
        F::Clamp => "w_clamp",
        F::Saturate => "w_saturate",
        F::Cos => "w_cos",
        F::Cosh => "w_cosh",
        F::Sin => "w_sin",
        F::Sinh => "w_sinh",
        F::Tan => "w_tan",
        F::Tanh => "w_tanh",
        F::Acos => "w_acos",
        F::Asin => "w_asin",
        F::Atan => "w_atan",
        F::Atan2 => "w_atan2",
        F::Asinh => "w_asinh",
        F::Acosh => "w_acosh",
        F::Atanh => "w_atanh",
        F::Radians => "w_radians",
        F::Degrees => "w_degrees",
        F::Ceil => "w_ceil",
        F::Floor => "w_floor",
        F::Round => "w_round",
        F::Fract => "w_fract",
        F::Trunc => "w_trunc",
        F::Ldexp => "w_ldexp",
        F::Exp => "w_exp",
        F::Exp2 => "w_exp2",
        F::Log => "w_log",
        F::Log2 => "w_log2",
        F::Pow => "w_pow",
        F::Dot => "w_dot",
        F::Dot4I8Packed => "w_dot4i8",
        F::Dot4U8Packed => "w_dot4u8",
        F::Cross => "w_cross",
        F::Distance => "w_distance",
        F::Length => "w_length",
        F::Normalize => "w_normalize",
        F::FaceForward => "w_faceforward",
        F::Reflect => "w_reflect",
        F::Refract => "w_refract",
        F::Sign => "w_sign",
        F::Fma => "w_fma",
        F::Mix => "w_mix",
        F::Step => "w_step",
        F::SmoothStep => "w_smoothstep",
        F::Sqrt => "w_sqrt",
        F::InverseSqrt => "w_rsqrt",
        F::Transpose => "w_transpose",
        F::Determinant => "w_determinant",
        F::QuantizeToF16 => "w_quantize",
        F::CountTrailingZeros => "w_ctz",
        F::CountLeadingZeros => "w_clz",
        F::CountOneBits => "w_popcount",
        F::ReverseBits => "w_reverse",
        F::ExtractBits => "w_extract",
        F::InsertBits => "w_insert",
        F::FirstTrailingBit => "w_first_trailing",
        F::FirstLeadingBit => "w_first_leading",
        F::Pack4x8snorm => "w_pack4x8snorm",
        F::Pack4x8unorm => "w_pack4x8unorm",
        F::Pack2x16snorm => "w_pack2x16snorm",
        F::Pack2x16unorm => "w_pack2x16unorm",
        F::Pack2x16float => "w_pack2x16float",
        F::Pack4xI8 | F::Pack4xU8 => "w_pack4x8",
        F::Pack4xI8Clamp | F::Pack4xU8Clamp => "w_pack4x8clamp",
        F::Unpack4x8snorm => "w_unpack4x8snorm",
        F::Unpack4x8unorm => "w_unpack4x8unorm",
        F::Unpack2x16snorm => "w_unpack2x16snorm",
        F::Unpack2x16unorm => "w_unpack2x16unorm",
        F::Unpack2x16float => "w_unpack2x16float",
        F::Unpack4xI8 => "w_unpack4xi8",
        F::Unpack4xU8 => "w_unpack4xu8",
        F::Modf | F::Frexp | F::Outer | F::Inverse => return None,
    })
}
