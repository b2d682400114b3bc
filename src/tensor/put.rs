//! Writing at places that other tensors name: adding, replacing, along an axis or anywhere.

use super::axes::resolve;
use super::{Operand, Tensor};
use crate::autograd::{Function, function, no_grad};
use crate::dtype::{DType, Scalar};
use crate::error::{Caller, Error, Result};
use crate::graph::{Op, ReduceOp};
use crate::shape::Shape;

impl Tensor {
    /// A copy to which `src` is added at `index` along `axis`; repeated indices accumulate (PyTorch's `scatter_add`).
    /// `index` may be smaller than `src`, and than `self` on other axes; what lies beyond takes no part.
    ///
    /// An index outside the axis, negative ones included, is an error of the run that meets it.
    #[track_caller]
    pub fn scatter_add(&self, axis: isize, index: &Tensor, src: &Tensor) -> Tensor {
        let at = Caller::here();
        self.put("scatter_add", axis, index, src, at, &|x, axis, index, src| {
            // Sums of many halves are made in f32 and rounded once.
            x.widened(at, |x| {
                Tensor::apply(Op::Scatter { op: ReduceOp::Sum, axis }, &[x, index, &src.cast_at(x.dtype(), at)], at)
            })
        })
    }

    /// A copy in which `src` stands at `index` along `axis` (PyTorch's `scatter`). Where an index is repeated, the last one
    /// in row-major order wins, on every device. Sizes and errors as in [`Tensor::scatter_add`].
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let x = Tensor::zeros([4], DType::F32, &Device::cpu());
    /// let index = Tensor::from_slice(&[2, 0, 2], [3], &Device::cpu());
    /// let src = Tensor::from_slice(&[1.0f32, 2.0, 3.0], [3], &Device::cpu());
    /// assert_eq!(x.scatter(0, &index, &src).to_vec::<f32>()?, [2.0, 0.0, 3.0, 0.0]);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn scatter(&self, axis: isize, index: &Tensor, src: &Tensor) -> Tensor {
        let at = Caller::here();
        self.put("scatter", axis, index, src, at, &|x, axis, index, src| {
            function::apply_at(Replace { axis, at }, &[x, index, src], at).swap_remove(0)
        })
    }

    /// Checks what PyTorch checks, cuts everything to one size, and puts the rest of `self` around the result of `f`.
    fn put(
        &self,
        name: &'static str,
        axis: isize,
        index: &Tensor,
        src: &Tensor,
        at: Caller,
        f: &dyn Fn(&Tensor, usize, &Tensor, &Tensor) -> Tensor,
    ) -> Tensor {
        if let Some(failed) = [self, index, src].into_iter().find(|t| t.error().is_some()) {
            return failed.clone();
        }
        let axis = match resolve(axis as i64, self.rank()) {
            Ok(axis) => axis,
            Err(detail) => return Tensor::bad(name, at, detail),
        };
        let rank = self.rank();
        let fits = |i: usize| {
            let n = index.shape()[i];
            n <= src.shape()[i] && (i == axis || n <= self.shape()[i])
        };
        if index.rank() != rank || src.rank() != rank || !(0..rank).all(fits) || src.dtype() != self.dtype() {
            let detail = format!(
                "index {} and values {} {} do not fit {} {} along axis {axis}",
                index.shape(),
                src.dtype(),
                src.shape(),
                self.dtype(),
                self.shape()
            );
            return Tensor::bad(name, at, detail);
        }
        if index.numel() == 0 {
            return self.clone();
        }
        let part = self.cut_to(index, Some(axis), at);
        let changed = f(&part, axis, &index.as_index(at), &src.cut_to(index, None, at));
        self.around(changed, axis)
    }

    /// `part`, which replaces the beginning of `self` on all axes but `axis`, with the rest of `self` around it.
    fn around(&self, part: Tensor, axis: usize) -> Tensor {
        let mut whole = part;
        for i in (0..self.rank()).filter(|&i| i != axis) {
            let (have, want) = (whole.shape().get(i).copied().unwrap_or(0), self.shape()[i]);
            if whole.error().is_some() || have == want {
                continue;
            }
            // What lies behind on this axis, as far as the later axes are still cut.
            let rest = self.narrow(i as isize, have, want - have);
            let rest = (i + 1..self.rank())
                .filter(|&k| k != axis)
                .fold(rest, |r, k| r.narrow(k as isize, 0, whole.shape()[k]));
            whole = Tensor::cat(&[&whole, &rest], i as isize);
        }
        whole
    }

    /// `out[.., i, ..] = self[.., index[.., i, ..], ..]` along `axis`, all other axes broadcast (PyTorch's
    /// `take_along_dim`).
    #[track_caller]
    pub fn take_along(&self, index: &Tensor, axis: isize) -> Tensor {
        let at = Caller::here();
        if let Some(failed) = [self, index].into_iter().find(|t| t.error().is_some()) {
            return failed.clone();
        }
        let axis = match resolve(axis as i64, self.rank()) {
            Ok(axis) if index.rank() == self.rank() => axis,
            Ok(_) => {
                let detail = format!("index {} must have the axes of {}", index.shape(), self.shape());
                return Tensor::bad("take_along", at, detail);
            }
            Err(detail) => return Tensor::bad("take_along", at, detail),
        };
        let Some(common) = self.shape().with_ones(&[axis]).broadcast(&index.shape().with_ones(&[axis])) else {
            let detail = format!("shapes {} and {} do not broadcast beside axis {axis}", self.shape(), index.shape());
            return Tensor::bad("take_along", at, detail);
        };
        let sized = |n: usize| {
            let mut shape = common.clone();
            shape.dims_mut()[axis] = n;
            shape
        };
        let x = self.broadcast(&sized(self.shape()[axis]), "take_along", at);
        let index = index.as_index(at).broadcast(&sized(index.shape()[axis]), "take_along", at);
        Tensor::apply(Op::Gather { axis }, &[&x, &index], at)
    }

    /// The elements of `self`, taken as one row, that `index` names; in its shape (PyTorch's `take`). Negative indices count
    /// from the end.
    #[track_caller]
    pub fn take(&self, index: &Tensor) -> Tensor {
        let at = Caller::here();
        let index = index.as_index(at);
        let picked = Tensor::apply(
            Op::Gather { axis: 0 },
            &[&self.flat(at), &index.counted_from_end(self.numel()).flat(at)],
            at,
        );
        if picked.error().is_some() { picked } else { picked.reshape_to(index.shape().clone(), at) }
    }

    /// `index [n]` as it counts along `axis` of `src`, which has `n` slices there and `self`'s other sizes.
    fn index_along(
        &self,
        name: &'static str,
        axis: isize,
        index: &Tensor,
        src: &Tensor,
        at: Caller,
    ) -> Result<Tensor, Tensor> {
        if let Some(failed) = [self, index, src].into_iter().find(|t| t.error().is_some()) {
            return Err(failed.clone());
        }
        let axis = resolve(axis as i64, self.rank()).map_err(|detail| Tensor::bad(name, at, detail))?;
        let n = index.numel();
        let mut wanted = self.shape().clone();
        wanted.dims_mut()[axis] = n;
        if index.rank() != 1 || *src.shape() != wanted {
            let detail = format!(
                "index {} and values {} do not fit {} along axis {axis}",
                index.shape(),
                src.shape(),
                self.shape()
            );
            return Err(Tensor::bad(name, at, detail));
        }
        let aligned: Shape = (0..self.rank()).map(|i| if i == axis { n } else { 1 }).collect();
        Ok(index.as_index(at).reshape_to(aligned, at).broadcast(&wanted, name, at))
    }

    /// A copy to whose slices along `axis` that `index [n]` names those of `src` are added; repeated indices accumulate.
    #[track_caller]
    pub fn index_add(&self, axis: isize, index: &Tensor, src: &Tensor) -> Tensor {
        match self.index_along("index_add", axis, index, src, Caller::here()) {
            Ok(index) => self.scatter_add(axis, &index, src),
            Err(bad) => bad,
        }
    }

    /// A copy in which the slices along `axis` that `index [n]` names are those of `src`; of repeated ones the last wins.
    #[track_caller]
    pub fn index_copy(&self, axis: isize, index: &Tensor, src: &Tensor) -> Tensor {
        match self.index_along("index_copy", axis, index, src, Caller::here()) {
            Ok(index) => self.scatter(axis, &index, src),
            Err(bad) => bad,
        }
    }

    /// A copy in which every element of the slices along `axis` that `index [n]` names is `value`.
    #[track_caller]
    pub fn index_fill(&self, axis: isize, index: &Tensor, value: impl Into<Scalar>) -> Tensor {
        let at = Caller::here();
        let (Ok(v), Ok(a)) = (self.value(), resolve(axis as i64, self.rank())) else {
            return if self.error().is_some() {
                self.clone()
            } else {
                Tensor::bad("index_fill", at, format!("there is no axis {axis}"))
            };
        };
        let mut shape = self.shape().clone();
        shape.dims_mut()[a] = index.numel();
        let fill = Tensor::constant(shape, value.into(), self.dtype(), &v.node.device, at);
        match self.index_along("index_fill", axis, index, &fill, at) {
            Ok(index) => self.scatter(axis, &index, &fill),
            Err(bad) => bad,
        }
    }

    /// The elements, or slices of the axes behind, at the places that the `indices`, broadcast together, name on the first
    /// axes: PyTorch's `x[i, j]`. Negative indices count from the end.
    ///
    /// An error for no or more indices than axes; one out of range is an error of the run that meets it.
    #[track_caller]
    pub fn index(&self, indices: &[&Tensor]) -> Tensor {
        let at = Caller::here();
        match self.places("index", indices, at) {
            Ok(p) => {
                let picked = Tensor::apply(Op::Gather { axis: 0 }, &[&self.reshape_to(p.flat, at), &p.rows], at);
                picked.reshape_to(p.shape, at)
            }
            Err(bad) => bad,
        }
    }

    /// A copy in which `values` stand at the places that [`Tensor::index`] reads, or are added there if `accumulate`;
    /// `values` broadcast to what it gives (PyTorch's `index_put`). Of repeated places the last wins, or all are added.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let x = Tensor::zeros([2, 2], DType::F32, &Device::cpu());
    /// let (i, j) = (Tensor::from_slice(&[0, 1], [2], &Device::cpu()), Tensor::from_slice(&[1, -1], [2], &Device::cpu()));
    /// let values = Tensor::from_slice(&[5.0f32, 6.0], [2], &Device::cpu());
    /// assert_eq!(x.index_put(&[&i, &j], &values, false).to_vec::<f32>()?, [0.0, 5.0, 0.0, 6.0]);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn index_put(&self, indices: &[&Tensor], values: &Tensor, accumulate: bool) -> Tensor {
        let at = Caller::here();
        let p = match self.places("index_put", indices, at) {
            Ok(p) => p,
            Err(bad) => return bad,
        };
        let values = values.broadcast(&p.shape, "index_put", at).reshape_to(p.rows.shape().clone(), at);
        let x = self.reshape_to(p.flat, at);
        let put = if accumulate { x.scatter_add(0, &p.rows, &values) } else { x.scatter(0, &p.rows, &values) };
        if put.error().is_some() { put } else { put.reshape_to(self.shape().clone(), at) }
    }

    /// Indices on an axis of size `n`, of which negative ones count from its end, as those that count from its start.
    fn counted_from_end(&self, n: usize) -> Tensor {
        (self + n as i32).where_(&self.lt(0), self)
    }

    fn places(&self, name: &'static str, indices: &[&Tensor], at: Caller) -> Result<Places, Tensor> {
        if let Some(failed) = std::iter::once(&self).chain(indices).find(|t| t.error().is_some()) {
            return Err((*failed).clone());
        }
        let bad = |detail: String| Err(Tensor::bad(name, at, detail));
        if indices.is_empty() || indices.len() > self.rank() {
            return bad(format!("{} indices for {} axes", indices.len(), self.rank()));
        }
        if let Some(other) = indices.iter().find(|i| !i.dtype().is_int()) {
            return bad(format!("indices must be integers, not {}", other.dtype()));
        }
        let mut common = Shape::scalar();
        for index in indices {
            match common.broadcast(index.shape()) {
                Some(shape) => common = shape,
                None => return bad(format!("index {} does not broadcast with {common}", index.shape())),
            }
        }
        let (head, tail) = self.shape().split_at(indices.len());
        let mut row: Option<Tensor> = None;
        for (index, &n) in indices.iter().zip(head) {
            let index = index.as_index(at).broadcast(&common, name, at);
            let mut place = index.counted_from_end(n);
            if indices.len() > 1 {
                // Reading it from a list of all places reports the one that is outside of its own axis.
                let all = Tensor::source(Op::Iota { shape: [n].into(), axis: 0 }, &self.device(), at);
                place = Tensor::apply(Op::Gather { axis: 0 }, &[&all, &place.flat(at)], at);
            }
            row = Some(match row {
                Some(row) => row * n as i32 + place,
                None => place,
            });
        }
        let (count, width) = (common.numel(), tail.iter().product::<usize>());
        let flat = Shape::from([head.iter().product(), width]);
        let row = row.unwrap_or_else(|| self.clone()).reshape_to([count, 1].into(), at);
        let shape = common.iter().chain(tail).copied().collect();
        Ok(Places { rows: row.broadcast(&[count, width].into(), name, at), flat, shape })
    }
}

/// Places on the first axes of a tensor, as rows of a matrix.
struct Places {
    /// The tensor as a matrix.
    flat: Shape,
    /// For each element that is read or written its row.
    rows: Tensor,
    /// The shape of what is read.
    shape: Shape,
}

/// `out[.., index[..], ..] = src`, the last of those that name a place. Written down with its gradient because that reads
/// where the derived one would add.
struct Replace {
    axis: usize,
    at: Caller,
}

impl Replace {
    /// For each place the number along the axis of the last source that names it, -1 where there is none.
    fn last(&self, x: &Tensor, index: &Tensor) -> Tensor {
        let none = Tensor::constant(x.shape().clone(), (-1).into(), DType::I32, &x.device(), self.at);
        let own = self.own(index);
        Tensor::apply(Op::Scatter { op: ReduceOp::Max, axis: self.axis }, &[&none, index, &own], self.at)
    }

    fn own(&self, index: &Tensor) -> Tensor {
        Tensor::source(Op::Iota { shape: index.shape().clone(), axis: self.axis }, &index.device(), self.at)
    }
}

impl Function for Replace {
    fn name(&self) -> &'static str {
        "scatter"
    }

    fn forward(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, Error> {
        let (x, index, src) = (&inputs[0], &inputs[1], &inputs[2]);
        let last = self.last(x, index);
        let put = src.gather(self.axis as isize, &last.maximum(0));
        Ok(vec![put.where_(&last.ge(0), Operand::from(x))])
    }

    fn backward(&self, inputs: &[Tensor], _: &[Tensor], grads: &[Option<Tensor>]) -> Vec<Option<Tensor>> {
        let (x, index) = (&inputs[0], &inputs[1]);
        let Some(g) = &grads[0] else { return vec![None, None, None] };
        let last = no_grad(|| self.last(x, index));
        let axis = self.axis as isize;
        let won = no_grad(|| last.gather(axis, index).eq(self.own(index)));
        vec![Some(g.where_(&last.lt(0), 0.0)), None, Some(g.gather(axis, index).where_(&won, 0.0))]
    }
}
