//! Tensors brought to another's shape, rows to length one, and relative positions to absolute ones.

use super::{Axes, Tensor};
use crate::error::Caller;
use crate::graph::{BinaryOp, ReduceOp};
use crate::shape::{Dims, Shape};

impl Tensor {
    /// Stretched to the shape of `other` by the broadcasting rule.
    #[track_caller]
    pub fn expand_as(&self, other: &Tensor) -> Tensor {
        match other.error() {
            Some(_) => other.clone(),
            None => self.broadcast(other.shape(), "expand_as", Caller::here()),
        }
    }

    /// Summed over the axes along which `shape` would have to be stretched to this one: what undoes a broadcast
    /// (PyTorch's `sum_to_size`).
    ///
    /// An error if `shape` does not broadcast to this shape.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let x = Tensor::ones([2, 3], DType::F32, &Device::cpu());
    /// assert_eq!(x.sum_to([3]).to_vec::<f32>()?, [2.0, 2.0, 2.0]);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn sum_to(&self, shape: impl Into<Shape>) -> Tensor {
        let (shape, at) = (shape.into(), Caller::here());
        if self.error().is_some() || *self.shape() == shape {
            return self.clone();
        }
        if shape.broadcast(self.shape()).as_ref() != Some(self.shape()) {
            return Tensor::bad("sum_to", at, format!("{shape} does not broadcast to {}", self.shape()));
        }
        let missing = self.rank() - shape.rank();
        let stretched = |&i: &usize| i < missing || (shape[i - missing] == 1 && self.shape()[i] != 1);
        let axes: Dims<usize> = (0..self.rank()).filter(stretched).collect();
        self.reduce_axes(ReduceOp::Sum, axes, true, at).reshape_to(shape, at)
    }

    /// `x / max(‖x‖ₚ, eps)`, the norm being taken over the axes (PyTorch's `normalize`, whose `eps` is 1e-12).
    #[track_caller]
    pub fn normalize(&self, p: f64, axes: impl Into<Axes>, eps: f64) -> Tensor {
        let at = Caller::here();
        let axes = axes.into();
        self.composed(at, |x| {
            let norm = x.norm_keepdim(p, axes).clamp_min(eps);
            x.binary(BinaryOp::Div, norm.into(), at)
        })
    }

    /// `[.., n, m]` to `[.., n, n + m - 1]`, row `i` moved `i` places to the right, zeros around it: how scores of relative
    /// positions come to stand at absolute ones (Shaw et al., 2018; Dai et al., 2019).
    #[track_caller]
    pub fn relative_shift(&self) -> Tensor {
        let at = Caller::here();
        if self.error().is_some() {
            return self.clone();
        }
        let rank = self.rank();
        let (n, m) = match self.shape()[..] {
            [.., n, m] if n > 0 && m > 0 => (n, m),
            _ => return Tensor::bad("relative_shift", at, format!("needs [.., n, m], not {}", self.shape())),
        };
        // With n zeros behind each row but one too few in all, every row begins one place later than the row before.
        let (front, mut hi) = (&self.shape()[..rank - 2], Dims::from_elem(0, rank));
        hi[rank - 1] = n;
        let padded = self.pad_with(Dims::from_elem(0, rank), hi, 0.into(), at);
        let flat = padded.reshape_to(front.iter().copied().chain([n * (n + m)]).collect(), at);
        let cut = flat.narrow(-1, 0, n * (n + m - 1));
        cut.reshape_to(front.iter().copied().chain([n, n + m - 1]).collect(), at)
    }
}
