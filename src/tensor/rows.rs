//! Ops over rows: softmax and its kin, and dropout. All are compositions; the scheduler makes each one kernel.

use super::Tensor;
use super::axes::resolve;
use crate::autograd::no_grad;
use crate::error::{Caller, Result};
use crate::graph::{BinaryOp, ReduceOp, UnaryOp};
use crate::shape::Dims;

impl Tensor {
    /// `(x - max x, log Σ exp(x - max x))` along one axis, the latter with the axis left in place.
    pub(super) fn shifted(&self, axis: usize, at: Caller) -> (Tensor, Tensor) {
        let one: Dims<usize> = Dims::from_elem(axis, 1);
        // The shift cancels in every result, so no gradient needs to know of it.
        let max = no_grad(|| self.reduce_axes(ReduceOp::Max, one.clone(), true, at));
        let shifted = self.binary(BinaryOp::Sub, max.into(), at);
        let sum = shifted.unary(UnaryOp::Exp, at).reduce_axes(ReduceOp::Sum, one, true, at);
        (shifted, sum.unary(UnaryOp::Log, at))
    }

    fn along(&self, name: &'static str, axis: isize, at: Caller) -> Result<usize, Tensor> {
        match resolve(axis as i64, self.rank()) {
            _ if self.error().is_some() => Err(self.clone()),
            Ok(axis) if self.shape()[axis] > 0 && self.dtype().is_float() => Ok(axis),
            Ok(_) => Err(Tensor::bad(
                name,
                at,
                format!("needs floats and a non-empty axis, not {} {}", self.dtype(), self.shape()),
            )),
            Err(detail) => Err(Tensor::bad(name, at, detail)),
        }
    }

    /// `exp(x) / Σ exp(x)` along `axis`.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let x = Tensor::from_slice(&[1000.0f32, 1000.0], [2], &Device::cpu());
    /// assert_eq!(x.softmax(-1).to_vec::<f32>()?, [0.5, 0.5]);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn softmax(&self, axis: isize) -> Tensor {
        let at = Caller::here();
        let axis = match self.along("softmax", axis, at) {
            Ok(axis) => axis,
            Err(t) => return t,
        };
        let one: Dims<usize> = Dims::from_elem(axis, 1);
        self.widened(at, |x| {
            let max = no_grad(|| x.reduce_axes(ReduceOp::Max, one.clone(), true, at));
            let exp = x.binary(BinaryOp::Sub, max.into(), at).unary(UnaryOp::Exp, at);
            let sum = exp.reduce_axes(ReduceOp::Sum, one, true, at);
            exp.binary(BinaryOp::Div, sum.into(), at)
        })
    }

    /// `x - log Σ exp(x)` along `axis`.
    #[track_caller]
    pub fn log_softmax(&self, axis: isize) -> Tensor {
        let at = Caller::here();
        match self.along("log_softmax", axis, at) {
            Ok(axis) => self.widened(at, |x| {
                let (shifted, lse) = x.shifted(axis, at);
                shifted.binary(BinaryOp::Sub, lse.into(), at)
            }),
            Err(t) => t,
        }
    }

    /// `softmax(-x)`
    #[track_caller]
    pub fn softmin(&self, axis: isize) -> Tensor {
        self.unary(UnaryOp::Neg, Caller::here()).softmax(axis)
    }

    /// Each element 0 with probability `p`, else scaled by `1/(1 - p)` (Srivastava et al., 2014).
    #[track_caller]
    pub fn dropout(&self, p: f64, generator: &crate::random::Generator) -> Tensor {
        let at = Caller::here();
        let Ok(v) = self.value() else { return self.clone() };
        if !(0.0..1.0).contains(&p) {
            return Tensor::bad("dropout", at, format!("p must lie in [0, 1), not {p}"));
        }
        let keep = generator.rand(self.shape().clone(), &v.node.device).ge(p);
        let scaled = self.binary(BinaryOp::Mul, (1.0 / (1.0 - p)).into(), at);
        scaled.where_(&keep, 0.0)
    }
}
