//! Arithmetic and logic of two and three operands that is made of the primitive maps.

use super::{Operand, Tensor};
use crate::dtype::{DType, Scalar};
use crate::error::Caller;
use crate::graph::BinaryOp;

impl Tensor {
    fn logical(&self, op: BinaryOp, other: Operand, at: Caller) -> Tensor {
        let other = other.beside(self, at).cast_at(DType::Bool, at);
        self.cast_at(DType::Bool, at).binary(op, other.into(), at)
    }

    /// True where both are not 0 (NaN counts as true), as `bool`.
    #[track_caller]
    pub fn logical_and(&self, other: impl Into<Operand>) -> Tensor {
        self.logical(BinaryOp::And, other.into(), Caller::here())
    }

    /// True where either is not 0, as `bool`.
    #[track_caller]
    pub fn logical_or(&self, other: impl Into<Operand>) -> Tensor {
        self.logical(BinaryOp::Or, other.into(), Caller::here())
    }

    /// True where exactly one of them is not 0, as `bool`.
    #[track_caller]
    pub fn logical_xor(&self, other: impl Into<Operand>) -> Tensor {
        self.logical(BinaryOp::Xor, other.into(), Caller::here())
    }

    /// `self ? a : b` for a `bool` tensor; all three broadcast. Of two plain numbers, integers give `i32`, others `f32`.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let x = Tensor::from_slice(&[1.0f32, -2.0], [2], &Device::cpu());
    /// assert_eq!(x.gt(0.0).choose(1.0, &x).to_vec::<f32>()?, [1.0, -2.0]);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn choose(&self, a: impl Into<Operand>, b: impl Into<Operand>) -> Tensor {
        let at = Caller::here();
        let (a, b) = (a.into(), b.into());
        let like = match (&a, &b) {
            (Operand::Scalar(Scalar::Int(_)), Operand::Scalar(Scalar::Int(_))) => self.cast_at(DType::I32, at),
            (_, Operand::Tensor(t)) | (Operand::Tensor(t), _) => t.clone(),
            _ => self.cast_at(DType::F32, at),
        };
        a.beside(&like, at).where_(self, b)
    }

    /// The remainder of a division that truncates: the sign is the dividend's, as in C's `fmod`. Integers by 0 give 0.
    #[track_caller]
    pub fn fmod(&self, other: impl Into<Operand>) -> Tensor {
        let at = Caller::here();
        let (a, b) = self.aligned(other.into(), "fmod", at);
        let b = if b.dtype().is_signed() { b.abs() } else { b };
        if !a.dtype().is_signed() {
            return a.remainder(b);
        }
        let rest = a.remainder(&b);
        rest.where_(&a.ge(0), -(-&a).remainder(&b))
    }

    /// `self + weight · (end - self)`, from whichever end is nearer, so that weights 0 and 1 give the ends exactly.
    #[track_caller]
    pub fn lerp(&self, end: &Tensor, weight: impl Into<Operand>) -> Tensor {
        let at = Caller::here();
        let start = self.floating(at);
        let weight = weight.into().beside(&start, at);
        let way = end.binary(BinaryOp::Sub, (&start).into(), at);
        let near = start.binary(BinaryOp::Add, (&way * &weight).into(), at);
        let far = end.binary(BinaryOp::Sub, (way * (1.0 - &weight)).into(), at);
        near.where_(&weight.abs().lt(0.5), far)
    }

    /// `self + value · a · b`
    #[track_caller]
    pub fn addcmul(&self, a: &Tensor, b: &Tensor, value: f64) -> Tensor {
        let at = Caller::here();
        let product = a.binary(BinaryOp::Mul, b.into(), at).binary(BinaryOp::Mul, value.into(), at);
        self.binary(BinaryOp::Add, product.into(), at)
    }

    /// `self + value · a / b`
    #[track_caller]
    pub fn addcdiv(&self, a: &Tensor, b: &Tensor, value: f64) -> Tensor {
        let at = Caller::here();
        let ratio = a.binary(BinaryOp::Div, b.into(), at).binary(BinaryOp::Mul, value.into(), at);
        self.binary(BinaryOp::Add, ratio.into(), at)
    }

    /// `log(eᵃ + eᵇ)` without overflow.
    #[track_caller]
    pub fn logaddexp(&self, other: impl Into<Operand>) -> Tensor {
        let at = Caller::here();
        let (a, b) = self.floating(at).aligned(other.into(), "logaddexp", at);
        // Equal infinities have no difference.
        let apart = (&a - &b).abs().masked_fill(&a.eq(&b), 0.0);
        a.maximum(&b) + (-apart).exp().log1p()
    }

    /// Where `|self - other| <= atol + rtol · |other|`, as `bool`; NaN is close to nothing, infinities to themselves.
    #[track_caller]
    pub fn isclose(&self, other: impl Into<Operand>, rtol: f64, atol: f64) -> Tensor {
        let at = Caller::here();
        let (a, b) = self.aligned(other.into(), "isclose", at);
        let near = (&a - &b).abs().le(b.abs() * rtol + atol).bitwise_and((&a - &b).isfinite());
        near.bitwise_or(a.eq(&b))
    }

    /// At least `min`; NaN stays NaN. The slope at the bound is as in [`Tensor::clamp`].
    #[track_caller]
    pub fn clamp_min(&self, min: impl Into<Operand>) -> Tensor {
        self.bounded(BinaryOp::Max, BinaryOp::Le, min.into(), Caller::here())
    }

    /// At most `max`; NaN stays NaN. The slope at the bound is as in [`Tensor::clamp`].
    #[track_caller]
    pub fn clamp_max(&self, max: impl Into<Operand>) -> Tensor {
        self.bounded(BinaryOp::Min, BinaryOp::Ge, max.into(), Caller::here())
    }

    /// Beyond a plain number there is no slope, nor at it; at a tensor's element both share it. So does PyTorch.
    pub(super) fn bounded(&self, op: BinaryOp, beyond: BinaryOp, bound: Operand, at: Caller) -> Tensor {
        match bound {
            Operand::Scalar(value) if self.tracks_grad() && !value.to_f64().is_nan() => {
                let past = self.binary(beyond, Operand::Scalar(value), at);
                self.where_(&past.logical_not(), Operand::Scalar(value))
            }
            bound => self.binary(op, bound, at),
        }
    }
}
