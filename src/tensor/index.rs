//! Reading at places that other tensors name.

use super::axes::resolve;
use super::{Operand, Tensor};
use crate::dtype::DType;
use crate::error::Caller;
use crate::graph::{BinaryOp, Op};
use crate::shape::{Dims, Shape};

impl Tensor {
    /// `out[.., i, ..] = self[.., index[.., i, ..], ..]` along `axis` (PyTorch's `gather`). On other axes `index` may be
    /// smaller than `self`; what lies beyond is not read.
    ///
    /// An index outside the axis, negative ones included, is an error of the run that meets it.
    #[track_caller]
    pub fn gather(&self, axis: isize, index: &Tensor) -> Tensor {
        let at = Caller::here();
        match resolve(axis as i64, self.rank()) {
            _ if self.error().is_some() => self.clone(),
            Ok(axis) => {
                Tensor::apply(Op::Gather { axis }, &[&self.cut_to(index, Some(axis), at), &index.as_index(at)], at)
            }
            Err(detail) => Tensor::bad("gather", at, detail),
        }
    }

    /// The slices of `self` along `axis` that `index [n]` names, in its order.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let x = Tensor::arange(6, &Device::cpu()).reshape([3, 2]);
    /// let rows = Tensor::from_slice(&[2, 0], [2], &Device::cpu());
    /// assert_eq!(x.index_select(0, &rows).to_vec::<i32>()?, [4, 5, 0, 1]);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn index_select(&self, axis: isize, index: &Tensor) -> Tensor {
        let at = Caller::here();
        let axis = match resolve(axis as i64, self.rank()) {
            _ if self.error().is_some() => return self.clone(),
            Ok(axis) => axis,
            Err(detail) => return Tensor::bad("index_select", at, detail),
        };
        if index.error().is_none() && index.rank() != 1 {
            return Tensor::bad(
                "index_select",
                at,
                format!("the index must have one axis, not shape {}", index.shape()),
            );
        }
        let aligned: Shape = (0..self.rank()).map(|i| if i == axis { index.numel() } else { 1 }).collect();
        let mut shape = self.shape().clone();
        shape.dims_mut()[axis] = index.numel();
        let index = index.as_index(at).reshape_to(aligned, at).broadcast(&shape, "index_select", at);
        Tensor::apply(Op::Gather { axis }, &[self, &index], at)
    }

    /// The rows of `self [vocabulary, width]` that `index` names: shape `index.shape() + [width]`.
    #[track_caller]
    pub fn embedding(&self, index: &Tensor) -> Tensor {
        let at = Caller::here();
        if self.error().is_none() && self.rank() != 2 {
            return Tensor::bad(
                "embedding",
                at,
                format!("the table must be [vocabulary, width], not {}", self.shape()),
            );
        }
        if index.error().is_some() || self.error().is_some() {
            return if self.error().is_some() { self.clone() } else { index.clone() };
        }
        let width = self.shape()[1];
        let n = index.numel();
        let rows = index.as_index(at).reshape_to([n, 1].into(), at).broadcast(&[n, width].into(), "embedding", at);
        let picked = Tensor::apply(Op::Gather { axis: 0 }, &[self, &rows], at);
        picked.reshape_to(index.shape().iter().copied().chain([width]).collect(), at)
    }

    /// `bool` of shape `self.shape() + [classes]`: true where the last axis' position is the element.
    #[track_caller]
    pub fn one_hot(&self, classes: usize) -> Tensor {
        let at = Caller::here();
        let Ok(v) = self.value() else { return self.clone() };
        let shape: Shape = self.shape().iter().copied().chain([classes]).collect();
        let iota = Tensor::source(Op::Iota { axis: shape.rank() - 1, shape: shape.clone() }, &v.node.device, at);
        let index = self.as_index(at).reshape_to(self.shape().iter().copied().chain([1]).collect(), at);
        iota.binary(BinaryOp::Eq, Operand::Tensor(index), at)
    }

    /// Its beginning on every axis on which `index` is smaller, but for `axis`.
    pub(crate) fn cut_to(&self, index: &Tensor, axis: Option<usize>, at: Caller) -> Tensor {
        if self.rank() != index.rank() {
            return self.clone();
        }
        let size = |i: usize| if Some(i) == axis { self.shape()[i] } else { self.shape()[i].min(index.shape()[i]) };
        let shape: Shape = (0..self.rank()).map(size).collect();
        if shape == *self.shape() {
            return self.clone();
        }
        let (starts, steps) = (Dims::from_elem(0, self.rank()), Dims::from_elem(1, self.rank()));
        Tensor::apply(Op::Slice { starts, steps, shape }, &[self], at)
    }

    /// Integers as indices.
    pub(crate) fn as_index(&self, at: Caller) -> Tensor {
        if self.dtype().is_int() { self.cast_at(DType::I32, at) } else { self.clone() }
    }
}
