//! Which steps are compositions made of? Views along one axis, counted from the front and checked by whoever calls.

use super::Tensor;
use crate::error::Caller;
use crate::graph::{Op, Param};
use crate::shape::{Dims, Shape};

impl Tensor {
    /// What `body` gives, its complaint turned into an error of `op`. An operand that carries an error is returned as
    /// it is, and operands on different devices are refused, so that `body` need not look.
    pub(crate) fn attempt(
        op: &'static str,
        at: Caller,
        operands: &[&Tensor],
        body: impl FnOnce() -> Result<Tensor, String>,
    ) -> Tensor {
        match Tensor::refusal(op, at, operands) {
            Some(bad) => bad,
            None => body().unwrap_or_else(|detail| Tensor::bad(op, at, detail)),
        }
    }

    /// [`Tensor::attempt`] for ops with several results: one errored tensor where it fails.
    pub(crate) fn attempt_all(
        op: &'static str,
        at: Caller,
        operands: &[&Tensor],
        body: impl FnOnce() -> Result<Vec<Tensor>, String>,
    ) -> Vec<Tensor> {
        match Tensor::refusal(op, at, operands) {
            Some(bad) => vec![bad],
            None => body().unwrap_or_else(|detail| vec![Tensor::bad(op, at, detail)]),
        }
    }

    /// [`Tensor::attempt`] for two results.
    pub(crate) fn attempt_both(
        op: &'static str,
        at: Caller,
        operands: &[&Tensor],
        body: impl FnOnce() -> Result<(Tensor, Tensor), String>,
    ) -> (Tensor, Tensor) {
        let twice = |bad: Tensor| (bad.clone(), bad);
        match Tensor::refusal(op, at, operands) {
            Some(bad) => twice(bad),
            None => body().unwrap_or_else(|detail| twice(Tensor::bad(op, at, detail))),
        }
    }

    fn refusal(op: &'static str, at: Caller, operands: &[&Tensor]) -> Option<Tensor> {
        if let Some(bad) = operands.iter().find(|t| t.error().is_some()) {
            return Some((*bad).clone());
        }
        let device = operands.first()?.device();
        let other = operands.iter().map(|t| t.device()).find(|d| *d != device)?;
        Some(Tensor::bad(op, at, format!("operands are on different devices, {device} and {other}")))
    }

    /// Elements `start, start + step, …` along `axis`, `count` of them.
    pub(crate) fn slice_axis(&self, axis: usize, start: usize, step: i64, count: usize, at: Caller) -> Tensor {
        if self.error().is_some() || (count == self.shape()[axis] && (step == 1 || count <= 1)) {
            return self.clone();
        }
        let mut starts: Dims<usize> = Dims::from_elem(0, self.rank());
        let mut steps: Dims<i64> = Dims::from_elem(1, self.rank());
        let mut shape = self.shape().clone();
        shape.dims_mut()[axis] = count;
        starts[axis] = if count == 0 { 0 } else { start };
        steps[axis] = if count <= 1 { 1 } else { step };
        Tensor::apply(Op::Slice { starts, steps, shape }, &[self], at)
    }

    /// `len` elements from `start` along `axis`.
    pub(crate) fn narrow_to(&self, axis: usize, start: usize, len: usize, at: Caller) -> Tensor {
        self.slice_axis(axis, start, 1, len, at)
    }

    /// With an axis of size 1 before `axis`.
    pub(crate) fn insert_axis(&self, axis: usize, at: Caller) -> Tensor {
        self.edit(at, |dims| dims.insert(axis, 1))
    }

    /// Without `axis`, whose size is 1.
    pub(crate) fn drop_axis(&self, axis: usize, at: Caller) -> Tensor {
        self.edit(at, |dims| {
            dims.remove(axis);
        })
    }

    /// With `axis` and the one behind it merged.
    pub(crate) fn merge_axis(&self, axis: usize, at: Caller) -> Tensor {
        self.edit(at, |dims| {
            let inner = dims.remove(axis + 1);
            dims[axis] *= inner;
        })
    }

    /// With `axis` cut in two, the second of size `inner`, which divides it.
    pub(crate) fn split_axis(&self, axis: usize, inner: usize, at: Caller) -> Tensor {
        self.edit(at, |dims| {
            dims[axis] /= inner.max(1);
            dims.insert(axis + 1, inner);
        })
    }

    fn edit(&self, at: Caller, change: impl FnOnce(&mut Dims<usize>)) -> Tensor {
        if self.error().is_some() {
            return self.clone();
        }
        let mut shape = self.shape().clone();
        change(shape.dims_mut());
        self.reshape_to(shape, at)
    }

    /// With `axis`, of size 1, stretched to `size`.
    pub(crate) fn stretch_axis(&self, axis: usize, size: usize, at: Caller) -> Tensor {
        if self.error().is_some() || self.shape()[axis] == size {
            return self.clone();
        }
        let mut shape = self.shape().clone();
        shape.dims_mut()[axis] = size;
        Tensor::apply(Op::Expand(shape), &[self], at)
    }

    /// The axes in another order; itself if they stay.
    pub(crate) fn order_axes(&self, axes: Dims<usize>, at: Caller) -> Tensor {
        let stays = axes.iter().enumerate().all(|(i, &a)| i == a);
        if self.error().is_some() || stays { self.clone() } else { self.permute_to(axes, at) }
    }

    /// With axis `from` moved to place `to`.
    pub(crate) fn move_axis(&self, from: usize, to: usize, at: Caller) -> Tensor {
        if self.error().is_some() {
            return self.clone();
        }
        let mut axes: Dims<usize> = (0..self.rank()).collect();
        axes.remove(from);
        axes.insert(to, from);
        self.order_axes(axes, at)
    }

    /// Sliding windows along `axis` as a new last axis. They must fit; a step that no second window can use, and the
    /// dilation of a single element, are made small, so that strides never overflow.
    pub(crate) fn windows_along(&self, axis: usize, size: usize, step: usize, dilation: usize, at: Caller) -> Tensor {
        if self.error().is_some() {
            return self.clone();
        }
        let dilation = if size <= 1 { 1 } else { dilation };
        let span = size.checked_sub(1).and_then(|s| s.checked_mul(dilation)?.checked_add(1));
        let room = span.and_then(|s| self.shape()[axis].checked_sub(s));
        let step = room.map_or(step, |room| step.min(room + 1));
        Tensor::apply(Op::Unfold { axis, size, step, dilation }, &[self], at)
    }

    /// `x[.., index[i], ..]` along `axis`, for an `i32` index with one axis.
    pub(crate) fn take_axis(&self, axis: usize, index: &Tensor, at: Caller) -> Tensor {
        if self.error().is_some() || index.error().is_some() {
            return if self.error().is_some() { self.clone() } else { index.clone() };
        }
        let n = index.numel();
        let mut shape = self.shape().clone();
        shape.dims_mut()[axis] = n;
        let aligned = (0..self.rank()).map(|i| if i == axis { n } else { 1 }).collect();
        let index = index.reshape_to(aligned, at).broadcast(&shape, "gather", at);
        Tensor::apply(Op::Gather { axis }, &[self, &index], at)
    }

    /// `0, 1, …, n - 1` as `i32` along `axis` of `rank`, for broadcasting with `self`.
    pub(crate) fn ramp(&self, n: usize, axis: usize, rank: usize, at: Caller) -> Tensor {
        let Ok(value) = self.value() else { return self.clone() };
        if n > i32::MAX as usize {
            return Tensor::bad("iota", at, format!("{n} elements are beyond i32"));
        }
        let shape: Shape = (0..rank).map(|i| if i == axis { n } else { 1 }).collect();
        Tensor::source(Op::Iota { shape, axis }, &value.node.device, at)
    }

    /// Itself where `mask`, of a shape that broadcasts to its own, is true, and `fill` elsewhere, in its own dtype.
    pub(crate) fn keep_where(&self, mask: &Tensor, fill: impl Into<crate::dtype::Scalar>, at: Caller) -> Tensor {
        let (Ok(value), true) = (self.value(), mask.error().is_none()) else {
            return if self.error().is_some() { self.clone() } else { mask.clone() };
        };
        let op = Op::Scalar { dtype: self.dtype(), value: Param(fill.into()) };
        let fill = Tensor::source(op, &value.node.device, at).broadcast(self.shape(), "where", at);
        Tensor::apply(Op::Select, &[&mask.broadcast(self.shape(), "where", at), self, &fill], at)
    }
}
