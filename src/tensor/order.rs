//! Sorting and what is made of it, and searching in what is sorted.

use super::Tensor;
use super::axes::resolve;
use crate::autograd::no_grad;
use crate::dtype::DType;
use crate::error::Caller;
use crate::graph::Op;
use crate::shape::Shape;

impl Tensor {
    fn sort_at(&self, name: &'static str, axis: isize, descending: bool, at: Caller) -> (Tensor, Tensor) {
        let both = match resolve(axis as i64, self.rank()) {
            _ if self.error().is_some() => vec![self.clone(); 2],
            Ok(axis) => self.widened_all(at, |x| Tensor::apply_all(Op::Sort { axis, descending }, &[x], at)),
            Err(detail) => vec![Tensor::bad(name, at, detail); 2],
        };
        (both[0].clone(), both[1].clone())
    }

    /// The elements along `axis` in order, and where each was (`i32`). Equal elements stay in their order; NaN is greatest.
    /// The gradient goes back to where the elements were.
    ///
    /// An error if there is no such axis.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let x = Tensor::from_slice(&[3.0f32, 1.0, 2.0], [3], &Device::cpu());
    /// let (values, indices) = x.sort(0, false);
    /// assert_eq!(values.to_vec::<f32>()?, [1.0, 2.0, 3.0]);
    /// assert_eq!(indices.to_vec::<i32>()?, [1, 2, 0]);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn sort(&self, axis: isize, descending: bool) -> (Tensor, Tensor) {
        self.sort_at("sort", axis, descending, Caller::here())
    }

    /// The indices that [`Tensor::sort`] gives.
    #[track_caller]
    pub fn argsort(&self, axis: isize, descending: bool) -> Tensor {
        self.sort_at("argsort", axis, descending, Caller::here()).1
    }

    /// The `k` largest (or smallest) elements along `axis` in order, and where they are (`i32`). NaN is largest; of equals the
    /// first come first.
    ///
    /// An error if the axis has fewer than `k` elements.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let x = Tensor::from_slice(&[3.0f32, 1.0, 4.0, 1.0], [4], &Device::cpu());
    /// let (values, indices) = x.topk(2, 0, true);
    /// assert_eq!(values.to_vec::<f32>()?, [4.0, 3.0]);
    /// assert_eq!(indices.to_vec::<i32>()?, [2, 0]);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn topk(&self, k: usize, axis: isize, largest: bool) -> (Tensor, Tensor) {
        let at = Caller::here();
        self.sorted_part("topk", axis, largest, at, |n| match k <= n {
            true => Ok((0, k)),
            false => Err(format!("{k} elements of an axis of {n}")),
        })
    }

    /// The `k`-th smallest element along `axis`, counted from 1, and where it is; the axis goes.
    ///
    /// An error if there is no such element.
    #[track_caller]
    pub fn kthvalue(&self, k: usize, axis: isize) -> (Tensor, Tensor) {
        let at = Caller::here();
        let (values, indices) = self.sorted_part("kthvalue", axis, false, at, |n| match (1..=n).contains(&k) {
            true => Ok((k - 1, 1)),
            false => Err(format!("element {k} of an axis of {n}")),
        });
        (values.without_axis(axis, at), indices.without_axis(axis, at))
    }

    /// The median along `axis`, the lower of two, and where it is; the axis goes. NaN if there is any NaN, at the first one
    /// (PyTorch's `median`).
    ///
    /// An error over no elements.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let x = Tensor::from_slice(&[4.0f32, 1.0, 3.0, 2.0], [4], &Device::cpu());
    /// assert_eq!(x.median(0).0.item::<f32>()?, 2.0);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn median(&self, axis: isize) -> (Tensor, Tensor) {
        self.median_at(axis, Caller::here())
    }

    /// The median of all elements, the lower of two; NaN if there is any NaN.
    #[track_caller]
    pub fn median_all(&self) -> Tensor {
        let at = Caller::here();
        self.reshape_to([self.numel()].into(), at).median_at(0, at).0
    }

    fn median_at(&self, axis: isize, at: Caller) -> (Tensor, Tensor) {
        let middle = |n: usize| n.checked_sub(1).map(|last| (last / 2, 1)).ok_or("an axis without elements".to_owned());
        let (values, indices) = self.sorted_part("median", axis, false, at, middle);
        let indices = indices.without_axis(axis, at);
        if values.error().is_some() || !self.dtype().is_float() {
            return (values.without_axis(axis, at), indices);
        }
        // Of a row's extremes the first NaN is the largest.
        let (largest, first) = self.max_with_indices(axis);
        let nan = largest.isnan();
        (largest.where_(&nan, values.without_axis(axis, at)), first.where_(&nan, indices))
    }

    /// Some of the sorted axis: `part` says from where and how many, given its size.
    fn sorted_part(
        &self,
        name: &'static str,
        axis: isize,
        descending: bool,
        at: Caller,
        part: impl Fn(usize) -> Result<(usize, usize), String>,
    ) -> (Tensor, Tensor) {
        let range = resolve(axis as i64, self.rank()).and_then(|axis| part(self.shape()[axis]));
        match range {
            _ if self.error().is_some() => (self.clone(), self.clone()),
            Ok((start, count)) => {
                let (values, indices) = self.sort_at(name, axis, descending, at);
                (values.narrow(axis, start, count), indices.narrow(axis, start, count))
            }
            Err(detail) => {
                let bad = Tensor::bad(name, at, detail);
                (bad.clone(), bad)
            }
        }
    }

    /// Without an axis of size 1.
    fn without_axis(&self, axis: isize, at: Caller) -> Tensor {
        match resolve(axis as i64, self.rank()) {
            Ok(axis) if self.error().is_none() => self.reshape_to(self.shape().without(&[axis]), at),
            _ => self.clone(),
        }
    }

    /// For each of `values` where it could be inserted into `self`, which is sorted along its last axis, so that it stays
    /// sorted: before its equals, or behind them if `right`. `i32`, in the shape of `values`. NaN is greatest, in both.
    ///
    /// `self` has one axis, or the axes of `values`, equal but for the last (PyTorch's `searchsorted`); otherwise it is an
    /// error.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let sorted = Tensor::from_slice(&[1.0f32, 3.0, 3.0, 5.0], [4], &Device::cpu());
    /// let values = Tensor::from_slice(&[3.0f32, 6.0], [2], &Device::cpu());
    /// assert_eq!(sorted.searchsorted(&values, false).to_vec::<i32>()?, [1, 4]);
    /// assert_eq!(sorted.searchsorted(&values, true).to_vec::<i32>()?, [3, 4]);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn searchsorted(&self, values: &Tensor, right: bool) -> Tensor {
        let at = Caller::here();
        no_grad(|| self.search("searchsorted", values, right, at))
    }

    /// For each element the number of the bucket it falls into: boundary `i - 1` < element <= boundary `i`, or, if `right`,
    /// boundary `i - 1` <= element < boundary `i` (PyTorch's `bucketize`). `boundaries` has one axis and is sorted.
    #[track_caller]
    pub fn bucketize(&self, boundaries: &Tensor, right: bool) -> Tensor {
        let at = Caller::here();
        if boundaries.error().is_none() && boundaries.rank() != 1 {
            let detail = format!("the boundaries must have one axis, not shape {}", boundaries.shape());
            return Tensor::bad("bucketize", at, detail);
        }
        no_grad(|| boundaries.search("bucketize", self, right, at))
    }

    /// A binary search by halving steps: every step is a gather and a few maps, all of which fuse.
    fn search(&self, name: &'static str, values: &Tensor, right: bool, at: Caller) -> Tensor {
        if let Some(failed) = [self, values].into_iter().find(|t| t.error().is_some()) {
            return failed.clone();
        }
        let (rank, many) = (self.rank(), self.rank() > 1);
        let fits =
            rank == 1 || (many && rank == values.rank() && self.shape()[..rank - 1] == values.shape()[..rank - 1]);
        if !fits {
            let detail = format!("values {} do not fit a sorted sequence {}", values.shape(), self.shape());
            return Tensor::bad(name, at, detail);
        }
        let n = self.shape()[rank - 1];
        let dtype = self.dtype().promote(values.dtype());
        let (sorted, values) = (self.cast_at(dtype, at), values.cast_at(dtype, at));
        let shape = values.shape().clone();
        let values = if many { values } else { values.reshape_to([shape.numel()].into(), at) };
        let mut found = Tensor::constant(values.shape().clone(), 0.into(), DType::I32, &values.device(), at);
        if n == 0 || values.numel() == 0 {
            return found.reshape_to(shape, at);
        }
        let mut step = 1usize << n.ilog2();
        while step > 0 {
            let next = &found + step as i32;
            // What lies before the place must be smaller, or not greater.
            let before = sorted.gather(-1, &(next.minimum(n as i32) - 1));
            let moves = if right { values.below(&before).logical_not() } else { before.below(&values) };
            found = next.where_(&moves.bitwise_and(next.le(n as i32)), &found);
            step /= 2;
        }
        found.reshape_to(shape, at)
    }

    /// `self < other`, NaN being greatest.
    fn below(&self, other: &Tensor) -> Tensor {
        let less = self.lt(other);
        match self.dtype().is_float() {
            true => less.bitwise_or(other.isnan().bitwise_and(self.isnan().logical_not())),
            false => less,
        }
    }

    /// `[n]` from any shape.
    pub(crate) fn flat(&self, at: Caller) -> Tensor {
        self.reshape_to(Shape::from([self.numel()]), at)
    }
}
