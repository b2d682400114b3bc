//! Where halves go through `f32`: what would lose too much, were each of its steps rounded to 16 bits.

use super::autocast::keeps_wide;
use super::{Operand, Tensor};
use crate::dtype::{DType, Scalar};
use crate::error::Caller;
use crate::graph::BinaryOp;

impl Tensor {
    /// What `f` makes of it. A half is `f32` for `f`, whose result is rounded once, as PyTorch does it for means, norms,
    /// softmax and other compositions. Within [`autocast`](super::autocast()) it stays `f32`.
    pub(crate) fn widened(&self, at: Caller, f: impl FnOnce(&Tensor) -> Tensor) -> Tensor {
        let dtype = self.dtype();
        match dtype.is_half() {
            true if keeps_wide() => f(&self.cast_at(DType::F32, at)),
            true => f(&self.cast_at(DType::F32, at)).cast_at(dtype, at),
            false => f(self),
        }
    }

    /// The same for an `f` with several results, of which the first has the tensor's type.
    pub(crate) fn widened_all(&self, at: Caller, f: impl FnOnce(&Tensor) -> Vec<Tensor>) -> Vec<Tensor> {
        let dtype = self.dtype();
        if !dtype.is_half() {
            return f(self);
        }
        let mut results = f(&self.cast_at(DType::F32, at));
        results[0] = results[0].cast_at(dtype, at);
        results
    }

    /// `op(number, self)`
    pub(crate) fn after_number(&self, op: BinaryOp, number: Scalar, at: Caller) -> Tensor {
        let apply = |x: &Tensor| Operand::Scalar(number).beside(x, at).binary(op, x.into(), at);
        if scales(op) { self.widened(at, apply) } else { apply(self) }
    }
}

/// True for ops beside which a plain number keeps the precision of `f32` though the tensor is a half: 0.999 would be 1 in
/// `bf16`. Other numbers take the tensor's type, so that `x == 0.1` is true where `x` was made from 0.1. The same is so
/// in PyTorch.
pub(super) fn scales(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::Mul | BinaryOp::Div | BinaryOp::FloorDiv)
}
