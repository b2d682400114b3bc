//! Folds made of folds: norms, logarithms of sums, counts, means beside variances, and sums that pass over NaN.

use super::{Axes, Tensor};
use crate::autograd::no_grad;
use crate::dtype::DType;
use crate::error::Caller;
use crate::graph::{BinaryOp, ReduceOp, UnaryOp};
use crate::shape::Dims;

impl Tensor {
    /// `√x` whose slope at 0 is 0, not infinite: there the gradient of a norm or a deviation is taken to be 0, as in PyTorch.
    pub(super) fn root(&self, at: Caller) -> Tensor {
        if !self.tracks_grad() {
            return self.unary(UnaryOp::Sqrt, at);
        }
        let zero = self.eq(0.0);
        self.masked_fill(&zero, 1.0).unary(UnaryOp::Sqrt, at).masked_fill(&zero, 0.0)
    }

    fn norm_at(&self, p: f64, axes: Axes, keepdim: bool, at: Caller) -> Tensor {
        let x = self.floating(at);
        let fold = |t: &Tensor, op| t.reduce(op, axes.clone(), keepdim, at);
        if p.is_nan() {
            return Tensor::bad("norm", at, "the order is NaN");
        }
        match p {
            f64::INFINITY => fold(&x.abs(), ReduceOp::Max),
            f64::NEG_INFINITY => fold(&x.abs(), ReduceOp::Min),
            0.0 => fold(&x.ne(0.0).cast_at(x.dtype(), at), ReduceOp::Sum),
            1.0 => fold(&x.abs(), ReduceOp::Sum),
            2.0 => fold(&x.square(), ReduceOp::Sum).root(at),
            p => {
                // Zeros are kept out of the powers, whose slopes there may be infinite.
                let power = |t: &Tensor, p: f64| {
                    let zero = t.eq(0.0);
                    let at_zero = if p > 0.0 { 0.0 } else { f64::INFINITY };
                    t.masked_fill(&zero, 1.0).binary(BinaryOp::Pow, p.into(), at).masked_fill(&zero, at_zero)
                };
                power(&fold(&power(&x.abs(), p), ReduceOp::Sum), 1.0 / p)
            }
        }
    }

    /// `(Σ|x|ᵖ)^(1/p)` over the axes; `p` 0 counts what is not 0, infinity takes the largest `|x|`, its negative the
    /// smallest. The gradient of a norm that is 0 is 0.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let x = Tensor::from_slice(&[3.0f32, -4.0], [2], &Device::cpu());
    /// assert_eq!(x.norm(2.0, ..).item::<f32>()?, 5.0);
    /// assert_eq!(x.norm(f64::INFINITY, 0).item::<f32>()?, 4.0);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn norm(&self, p: f64, axes: impl Into<Axes>) -> Tensor {
        self.norm_at(p, axes.into(), false, Caller::here())
    }

    /// [`Tensor::norm`] with the axes left in place.
    #[track_caller]
    pub fn norm_keepdim(&self, p: f64, axes: impl Into<Axes>) -> Tensor {
        self.norm_at(p, axes.into(), true, Caller::here())
    }

    fn logsumexp_at(&self, axes: Axes, keepdim: bool, at: Caller) -> Tensor {
        if self.error().is_some() {
            return self.clone();
        }
        let list = match axes.resolve(self.rank()) {
            Ok(list) => list,
            Err(detail) => return Tensor::bad("logsumexp", at, detail),
        };
        let x = self.floating(at);
        let log_sum = |t: &Tensor| t.exp().reduce_axes(ReduceOp::Sum, list.clone(), true, at).log();
        let sum = if list.iter().any(|&a| x.shape()[a] == 0) {
            log_sum(&x)
        } else {
            // The shift cancels, so no gradient needs to know of it. An infinite one would give NaN.
            let max = no_grad(|| {
                let max = x.reduce_axes(ReduceOp::Max, list.clone(), true, at);
                max.masked_fill(&max.isinf(), 0.0)
            });
            log_sum(&(&x - &max)) + max
        };
        if keepdim { sum } else { sum.reshape_to(self.shape().without(&list), at) }
    }

    /// `log Σ exp(x)` over the axes, without overflow; `-∞` over no elements.
    #[track_caller]
    pub fn logsumexp(&self, axes: impl Into<Axes>) -> Tensor {
        self.logsumexp_at(axes.into(), false, Caller::here())
    }

    /// [`Tensor::logsumexp`] with the axes left in place.
    #[track_caller]
    pub fn logsumexp_keepdim(&self, axes: impl Into<Axes>) -> Tensor {
        self.logsumexp_at(axes.into(), true, Caller::here())
    }

    /// How many elements over the axes are not 0, `i32`; NaN counts.
    #[track_caller]
    pub fn count_nonzero(&self, axes: impl Into<Axes>) -> Tensor {
        let at = Caller::here();
        self.cast_at(DType::Bool, at).reduce(ReduceOp::Sum, axes.into(), false, at)
    }

    /// [`Tensor::var`] and [`Tensor::mean`] of the same elements.
    #[track_caller]
    pub fn var_mean(&self, axes: impl Into<Axes>, correction: f64) -> (Tensor, Tensor) {
        let axes = axes.into();
        (self.var(axes.clone(), correction), self.mean(axes))
    }

    /// [`Tensor::std`] and [`Tensor::mean`] of the same elements.
    #[track_caller]
    pub fn std_mean(&self, axes: impl Into<Axes>, correction: f64) -> (Tensor, Tensor) {
        let axes = axes.into();
        (self.std(axes.clone(), correction), self.mean(axes))
    }

    /// `Σ` over the axes of what is not NaN.
    #[track_caller]
    pub fn nansum(&self, axes: impl Into<Axes>) -> Tensor {
        let at = Caller::here();
        let x = if self.dtype().is_float() { self.masked_fill(&self.isnan(), 0.0) } else { self.clone() };
        x.reduce(ReduceOp::Sum, axes.into(), false, at)
    }

    /// The mean over the axes of what is not NaN; NaN where there is nothing else.
    #[track_caller]
    pub fn nanmean(&self, axes: impl Into<Axes>) -> Tensor {
        let at = Caller::here();
        let axes = axes.into();
        let x = self.floating(at);
        let count = x.isnan().logical_not().cast_at(x.dtype(), at).reduce(ReduceOp::Sum, axes.clone(), false, at);
        x.masked_fill(&x.isnan(), 0.0).reduce(ReduceOp::Sum, axes, false, at).binary(BinaryOp::Div, count.into(), at)
    }

    /// `self · other / (max(‖self‖, eps) · max(‖other‖, eps))` along `axis`, which goes.
    #[track_caller]
    pub fn cosine_similarity(&self, other: &Tensor, axis: isize, eps: f64) -> Tensor {
        let at = Caller::here();
        let (a, b) = self.floating(at).aligned(other.into(), "cosine_similarity", at);
        let axis: Dims<usize> = match super::axes::resolve(axis as i64, a.rank()) {
            _ if a.error().is_some() => return a,
            Ok(axis) => Dims::from_elem(axis, 1),
            Err(detail) => return Tensor::bad("cosine_similarity", at, detail),
        };
        let sum = |t: Tensor| t.reduce_axes(ReduceOp::Sum, axis.clone(), false, at);
        let length = |t: &Tensor| sum(t.square()).root(at).clamp_min(eps);
        sum(&a * &b) / (length(&a) * length(&b))
    }
}
