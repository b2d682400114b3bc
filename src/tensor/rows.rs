//! Ops over rows: softmax and its kin, and the losses made of them. All are compositions; the scheduler makes each one kernel.

use super::axes::resolve;
use super::{Axes, Tensor};
use crate::autograd::{Function, function, no_grad};
use crate::error::{Caller, Error, Result};
use crate::graph::{BinaryOp, Op, ReduceOp, UnaryOp};
use crate::shape::Dims;

impl Tensor {
    /// `(x - max x, log Σ exp(x - max x))` along one axis, the latter with the axis left in place.
    fn shifted(&self, axis: usize, at: Caller) -> (Tensor, Tensor) {
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

    /// `log Σ exp(x)` along `axis`, which goes.
    #[track_caller]
    pub fn logsumexp(&self, axis: isize) -> Tensor {
        let at = Caller::here();
        match self.along("logsumexp", axis, at) {
            Ok(axis) => self.widened(at, |x| {
                let one: Dims<usize> = Dims::from_elem(axis, 1);
                let (_, lse) = x.shifted(axis, at);
                let max = no_grad(|| x.reduce_axes(ReduceOp::Max, one.clone(), true, at));
                lse.binary(BinaryOp::Add, max.into(), at).reshape_to(self.shape().without(&one), at)
            }),
            Err(t) => t,
        }
    }

    /// `(x - E[x]) / √(Var[x] + eps)` over the last `axes` axes (Ba et al., 2016), without scale and shift.
    #[track_caller]
    pub fn layer_norm(&self, axes: usize, eps: f64) -> Tensor {
        let at = Caller::here();
        if self.error().is_none() && axes > self.rank() {
            return Tensor::bad("layer_norm", at, format!("{axes} axes of {}", self.shape()));
        }
        let list: Vec<usize> = (self.rank().saturating_sub(axes)..self.rank()).collect();
        self.widened(at, |x| {
            let mean = x.mean_keepdim(&list[..]);
            let centred = x.binary(BinaryOp::Sub, mean.into(), at);
            let var = centred.binary(BinaryOp::Mul, (&centred).into(), at).mean_keepdim(&list[..]);
            let scale = var.binary(BinaryOp::Add, eps.into(), at).unary(UnaryOp::Rsqrt, at);
            centred.binary(BinaryOp::Mul, scale.into(), at)
        })
    }

    /// The mean over the batch of `-log softmax(self)[target]`: `self [batch, classes]`, `targets [batch]` integers.
    ///
    /// A target outside `0..classes` is an error of the run that meets it.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let logits = Tensor::zeros([2, 10], DType::F32, &Device::cpu());
    /// let targets = Tensor::from_slice(&[3, 7], [2], &Device::cpu());
    /// let loss = logits.cross_entropy(&targets).item::<f32>()?;
    /// assert!((loss - 10f32.ln()).abs() < 1e-6);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn cross_entropy(&self, targets: &Tensor) -> Tensor {
        let at = Caller::here();
        for t in [self, targets] {
            if t.error().is_some() {
                return t.clone();
            }
        }
        let fits =
            self.rank() == 2 && targets.rank() == 1 && self.shape()[0] == targets.shape()[0] && self.shape()[1] > 0;
        if !fits || !targets.dtype().is_int() || !self.dtype().is_float() {
            let detail = format!(
                "needs float logits [batch, classes] and integer targets [batch], not {} {} and {} {}",
                self.dtype(),
                self.shape(),
                targets.dtype(),
                targets.shape()
            );
            return Tensor::bad("cross_entropy", at, detail);
        }
        self.widened(at, |x| {
            let mut rows = function::apply_at(CrossEntropy { at }, &[x, &targets.as_index(at)], at);
            rows.swap_remove(0).mean(..)
        })
    }

    /// The mean of `(self - target)²`.
    #[track_caller]
    pub fn mse_loss(&self, target: &Tensor) -> Tensor {
        let at = Caller::here();
        let difference = self.binary(BinaryOp::Sub, target.into(), at);
        difference.binary(BinaryOp::Mul, (&difference).into(), at).mean(Axes::from(..))
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

/// `log Σ exp(x) - x[target]` for each row. Its gradient is written down because `softmax(x) - onehot(target)` needs no scatter.
struct CrossEntropy {
    at: Caller,
}

impl Function for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }

    fn forward(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, Error> {
        let (x, target) = (&inputs[0], &inputs[1]);
        let (_, lse) = x.shifted(1, self.at);
        let n = x.shape()[0];
        let column = target.reshape_to([n, 1].into(), self.at);
        // Gathered rather than masked, so that a target out of range is reported.
        let picked = Tensor::apply(Op::Gather { axis: 1 }, &[x, &column], self.at);
        let max = x.reduce_axes(ReduceOp::Max, Dims::from_elem(1, 1), true, self.at);
        let loss = lse.binary(BinaryOp::Add, max.into(), self.at).binary(BinaryOp::Sub, picked.into(), self.at);
        Ok(vec![loss.reshape_to([n].into(), self.at)])
    }

    fn backward(&self, inputs: &[Tensor], _: &[Tensor], grads: &[Option<Tensor>]) -> Vec<Option<Tensor>> {
        let (x, target) = (&inputs[0], &inputs[1]);
        let Some(grad) = &grads[0] else { return vec![None, None] };
        let (shifted, lse) = x.shifted(1, self.at);
        let softmax = shifted.binary(BinaryOp::Sub, lse.into(), self.at).unary(UnaryOp::Exp, self.at);
        let hot = target.one_hot(x.shape()[1]).cast_at(x.dtype(), self.at);
        let grad = grad.reshape_to([x.shape()[0], 1].into(), self.at);
        let slope = softmax.binary(BinaryOp::Sub, hot.into(), self.at);
        vec![Some(slope.binary(BinaryOp::Mul, grad.into(), self.at)), None]
    }
}
