//! How are elements repeated, turned round, cut into pieces and put on other axes?

use super::Tensor;
use super::axes::resolve;
use super::shaping::IntoSizes;
use crate::error::Caller;
use crate::graph::Op;
use crate::shape::{Dims, Shape};

/// Tensors that one call may give: each is a node of the graph, and a typing error should not make millions.
const MOST_PIECES: usize = 1 << 14;

/// Which axis of the grids that [`Tensor::meshgrid`] makes the first tensor runs along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Indexing {
    /// Matrices: the first tensor runs along axis 0.
    Ij,
    /// Pictures: the first tensor runs along axis 1, the second along axis 0.
    Xy,
}

impl Tensor {
    /// The whole tensor `times[i]` times along axis `i`; more numbers than axes add axes in front (PyTorch's `repeat`).
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let x = Tensor::arange(2, &Device::cpu());
    /// assert_eq!(x.repeat(&[2, 2]).to_vec::<i32>()?, [0, 1, 0, 1, 0, 1, 0, 1]);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn repeat(&self, times: &[usize]) -> Tensor {
        let at = Caller::here();
        Tensor::attempt("repeat", at, &[self], || {
            if times.len() < self.rank() {
                return Err(format!("{} numbers for the {} axes of {}", times.len(), self.rank(), self.shape()));
            }
            self.tiled(times, at)
        })
    }

    /// [`Tensor::repeat`] for fewer numbers than axes, too: they belong to the last axes.
    #[track_caller]
    pub fn tile(&self, times: &[usize]) -> Tensor {
        let at = Caller::here();
        let missing = self.rank().saturating_sub(times.len());
        let times: Vec<usize> = std::iter::repeat_n(1, missing).chain(times.iter().copied()).collect();
        Tensor::attempt("tile", at, &[self], || self.tiled(&times, at))
    }

    /// One expand between two reshapes: axis `d` becomes `[times, d]`, then `times · d`.
    fn tiled(&self, times: &[usize], at: Caller) -> Result<Tensor, String> {
        let missing = times.len() - self.rank();
        let sizes: Vec<usize> = std::iter::repeat_n(1, missing).chain(self.shape().iter().copied()).collect();
        let whole: Option<Shape> = sizes
            .iter()
            .zip(times)
            .map(|(&d, &t)| d.checked_mul(t))
            .collect::<Option<Dims<usize>>>()
            .map(|dims| dims.into_iter().collect());
        let whole = whole.ok_or_else(|| format!("{} repeated {times:?} times overflows", self.shape()))?;
        let pairs = || sizes.iter().zip(times).map(|(&d, &t)| (d, t));
        // Axes that are not repeated need no second axis.
        let apart = pairs().flat_map(|(d, t)| if t == 1 { vec![d] } else { vec![1, d] }).collect();
        let spread = pairs().flat_map(|(d, t)| if t == 1 { vec![d] } else { vec![t, d] }).collect();
        Ok(self.reshape_to(apart, at).broadcast(&spread, "repeat", at).reshape_to(whole, at))
    }

    /// Each element `times` times in a row along `axis`.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let x = Tensor::arange(2, &Device::cpu());
    /// assert_eq!(x.repeat_interleave(3, 0).to_vec::<i32>()?, [0, 0, 0, 1, 1, 1]);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn repeat_interleave(&self, times: usize, axis: isize) -> Tensor {
        let at = Caller::here();
        Tensor::attempt("repeat_interleave", at, &[self], || {
            let axis = resolve(axis as i64, self.rank())?;
            if self.shape()[axis].checked_mul(times).is_none() {
                return Err(format!("{} repeated {times} times overflows", self.shape()));
            }
            let spread = self.insert_axis(axis + 1, at).stretch_axis(axis + 1, times, at);
            Ok(spread.merge_axis(axis, at))
        })
    }

    /// Element `i` along `axis` `counts[i]` times in a row.
    #[track_caller]
    pub fn repeat_interleave_each(&self, counts: &[usize], axis: isize) -> Tensor {
        let at = Caller::here();
        Tensor::attempt("repeat_interleave", at, &[self], || {
            let axis = resolve(axis as i64, self.rank())?;
            let total =
                counts.iter().try_fold(0usize, |sum, &c| sum.checked_add(c)).filter(|&n| n <= i32::MAX as usize);
            if counts.len() != self.shape()[axis] || total.is_none() {
                return Err(format!("{} counts do not fit axis {axis} of {}", counts.len(), self.shape()));
            }
            let index: Vec<i32> =
                counts.iter().enumerate().flat_map(|(i, &c)| std::iter::repeat_n(i as i32, c)).collect();
            let index = Tensor::from_slice(&index, [index.len()], &self.device());
            Ok(self.take_axis(axis, &index, at))
        })
    }

    /// Elements moved by `shifts[i]` places along `axes[i]`, those that leave at one end coming in at the other. Without
    /// axes, a single shift moves the elements in row-major order.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let x = Tensor::arange(4, &Device::cpu());
    /// assert_eq!(x.roll(&[1], &[0]).to_vec::<i32>()?, [3, 0, 1, 2]);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn roll(&self, shifts: &[isize], axes: &[isize]) -> Tensor {
        let at = Caller::here();
        Tensor::attempt("roll", at, &[self], || {
            if axes.is_empty() && shifts.len() == 1 {
                let flat = self.reshape_to([self.numel()].into(), at).rolled(shifts[0], 0, at);
                return Ok(flat.reshape_to(self.shape().clone(), at));
            }
            if shifts.len() != axes.len() || axes.is_empty() {
                return Err(format!("{} shifts do not fit {} axes", shifts.len(), axes.len()));
            }
            let mut x = self.clone();
            for (&shift, &axis) in shifts.iter().zip(axes) {
                x = x.rolled(shift, resolve(axis as i64, self.rank())?, at);
            }
            Ok(x)
        })
    }

    fn rolled(&self, shift: isize, axis: usize, at: Caller) -> Tensor {
        let n = if self.error().is_some() { 0 } else { self.shape()[axis] };
        let shift = if n == 0 { 0 } else { (shift as i128).rem_euclid(n as i128) as usize };
        if shift == 0 {
            return self.clone();
        }
        let parts = [self.narrow_to(axis, n - shift, shift, at), self.narrow_to(axis, 0, n - shift, at)];
        Tensor::cat_tree(&[&parts[0], &parts[1]], axis, at)
    }

    /// Pieces of the given lengths along `axis`.
    fn pieces(
        &self,
        axis: usize,
        lengths: impl ExactSizeIterator<Item = usize>,
        at: Caller,
    ) -> Result<Vec<Tensor>, String> {
        if lengths.len() > MOST_PIECES {
            return Err(format!("{} pieces are more than {MOST_PIECES}", lengths.len()));
        }
        let mut start = 0;
        Ok(lengths
            .map(|len| {
                start += len;
                self.narrow_to(axis, start - len, len, at)
            })
            .collect())
    }

    /// Cut along `axis` into pieces of `size`, the last one smaller if it does not divide. An empty axis gives one
    /// empty piece.
    #[track_caller]
    pub fn split(&self, size: usize, axis: isize) -> Vec<Tensor> {
        let at = Caller::here();
        Tensor::attempt_all("split", at, &[self], || {
            let axis = resolve(axis as i64, self.rank())?;
            let n = self.shape()[axis];
            if size == 0 && n > 0 {
                return Err("pieces of size 0".into());
            }
            let count = if n == 0 { 1 } else { n.div_ceil(size) };
            self.pieces(axis, (0..count).map(|i| size.min(n - i * size)), at)
        })
    }

    /// Cut along `axis` into pieces of the given sizes, which must add up to it.
    #[track_caller]
    pub fn split_with_sizes(&self, sizes: &[usize], axis: isize) -> Vec<Tensor> {
        let at = Caller::here();
        Tensor::attempt_all("split_with_sizes", at, &[self], || {
            let axis = resolve(axis as i64, self.rank())?;
            let sum = sizes.iter().try_fold(0usize, |sum, &s| sum.checked_add(s));
            if sum != Some(self.shape()[axis]) {
                return Err(format!("sizes {sizes:?} do not add up to axis {axis} of {}", self.shape()));
            }
            self.pieces(axis, sizes.iter().copied(), at)
        })
    }

    /// Cut along `axis` into at most `chunks` pieces of one size, the last one smaller if it does not divide.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let sizes: Vec<usize> = Tensor::arange(7, &Device::cpu()).chunk(3, 0).iter().map(|c| c.numel()).collect();
    /// assert_eq!(sizes, [3, 3, 1]);
    /// ```
    #[track_caller]
    pub fn chunk(&self, chunks: usize, axis: isize) -> Vec<Tensor> {
        let at = Caller::here();
        Tensor::attempt_all("chunk", at, &[self], || {
            let axis = resolve(axis as i64, self.rank())?;
            if chunks == 0 {
                return Err("0 chunks".into());
            }
            let n = self.shape()[axis];
            let size = n.div_ceil(chunks);
            let count = if n == 0 { chunks } else { n.div_ceil(size) };
            self.pieces(axis, (0..count).map(|i| if n == 0 { 0 } else { size.min(n - i * size) }), at)
        })
    }

    /// The slices along `axis`, without that axis.
    #[track_caller]
    pub fn unbind(&self, axis: isize) -> Vec<Tensor> {
        let at = Caller::here();
        Tensor::attempt_all("unbind", at, &[self], || {
            let axis = resolve(axis as i64, self.rank())?;
            let slices = self.pieces(axis, (0..self.shape()[axis]).map(|_| 1), at)?;
            Ok(slices.iter().map(|s| s.drop_axis(axis, at)).collect())
        })
    }

    /// The slice at `index` along `axis`, without that axis; a negative index counts from the end.
    #[track_caller]
    pub fn select(&self, axis: isize, index: isize) -> Tensor {
        let at = Caller::here();
        Tensor::attempt("select", at, &[self], || {
            let axis = resolve(axis as i64, self.rank())?;
            let n = self.shape()[axis];
            let index = resolve(index as i64, n)
                .map_err(|_| format!("index {index} is out of range for axis {axis} of {}", self.shape()))?;
            Ok(self.narrow_to(axis, index, 1, at).drop_axis(axis, at))
        })
    }

    /// Axes `sources` moved to places `destinations`; the others keep their order.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let x = Tensor::zeros([2, 3, 4], DType::F32, &Device::cpu());
    /// assert_eq!(*x.moveaxis(&[0], &[-1]).shape(), [3, 4, 2]);
    /// ```
    #[track_caller]
    pub fn moveaxis(&self, sources: &[isize], destinations: &[isize]) -> Tensor {
        let at = Caller::here();
        Tensor::attempt("moveaxis", at, &[self], || {
            let distinct = |axes: &[isize]| -> Result<Vec<usize>, String> {
                let found = axes.iter().map(|&a| resolve(a as i64, self.rank())).collect::<Result<Vec<_>, String>>()?;
                match found.iter().enumerate().find(|(i, a)| found[..*i].contains(a)) {
                    Some((_, axis)) => Err(format!("axis {axis} is named twice")),
                    None => Ok(found),
                }
            };
            let (from, to) = (distinct(sources)?, distinct(destinations)?);
            if from.len() != to.len() {
                return Err(format!("{} axes cannot go to {} places", from.len(), to.len()));
            }
            let mut rest = (0..self.rank()).filter(|a| !from.contains(a));
            let place = |i: usize| match to.iter().position(|&t| t == i) {
                Some(k) => Some(from[k]),
                None => rest.next(),
            };
            Ok(self.order_axes((0..self.rank()).filter_map(place).collect(), at))
        })
    }

    /// `axis` cut into axes of the given sizes, one of which may be -1; the inverse of [`Tensor::flatten`].
    #[track_caller]
    pub fn unflatten(&self, axis: isize, sizes: impl IntoSizes) -> Tensor {
        let at = Caller::here();
        let sizes = sizes.into_sizes();
        Tensor::attempt("unflatten", at, &[self], || {
            let axis = resolve(axis as i64, self.rank())?;
            let n = self.shape()[axis];
            let inner = super::shaping::work_out(&sizes, n)
                .ok_or_else(|| format!("axis {axis} of {} is no {sizes:?}", self.shape()))?;
            let shape = self.shape();
            Ok(self
                .reshape_to(shape[..axis].iter().chain(inner.iter()).chain(&shape[axis + 1..]).copied().collect(), at))
        })
    }

    /// All tensors stretched to the shape that they broadcast to.
    #[track_caller]
    pub fn broadcast_tensors(tensors: &[&Tensor]) -> Vec<Tensor> {
        let at = Caller::here();
        Tensor::attempt_all("broadcast_tensors", at, tensors, || {
            let mut shape = Shape::scalar();
            for t in tensors {
                shape = shape
                    .broadcast(t.shape())
                    .ok_or_else(|| format!("shapes {shape} and {} do not broadcast", t.shape()))?;
            }
            Ok(tensors.iter().map(|t| t.broadcast(&shape, "broadcast_tensors", at)).collect())
        })
    }

    /// For each of `n` tensors with at most one axis a grid with `n` axes in which it runs along its own.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// use sunstone::tensor::Indexing;
    /// let (x, y) = (Tensor::arange(3, &Device::cpu()), Tensor::arange(2, &Device::cpu()));
    /// let grids = Tensor::meshgrid(&[&x, &y], Indexing::Ij);
    /// assert_eq!(grids[1].to_vec::<i32>()?, [0, 1, 0, 1, 0, 1]);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn meshgrid(tensors: &[&Tensor], indexing: Indexing) -> Vec<Tensor> {
        let at = Caller::here();
        Tensor::attempt_all("meshgrid", at, tensors, || {
            if let Some(t) = tensors.iter().find(|t| t.rank() > 1) {
                return Err(format!("needs tensors of at most one axis, not {}", t.shape()));
            }
            let n = tensors.len();
            let axis = |i: usize| if indexing == Indexing::Xy && i < 2 && n > 1 { 1 - i } else { i };
            let mut shape: Shape = (0..n).map(|_| 1).collect();
            for (i, t) in tensors.iter().enumerate() {
                shape.dims_mut()[axis(i)] = t.numel();
            }
            let grid = |(i, t): (usize, &&Tensor)| {
                let along = (0..n).map(|a| if a == axis(i) { t.numel() } else { 1 }).collect();
                let line = t.reshape_to(along, at);
                if *line.shape() == shape { line } else { Tensor::apply(Op::Expand(shape.clone()), &[&line], at) }
            };
            Ok(tensors.iter().enumerate().map(grid).collect())
        })
    }
}
