//! Shape: views that move no element, and the ops that lay elements out anew.

use super::Tensor;
use super::axes::{Axes, resolve};
use crate::dtype::Scalar;
use crate::error::Caller;
use crate::graph::{Op, Param};
use crate::shape::{Dims, Shape};

/// Sizes of a reshape: `usize`s, or signed with one -1 that is worked out from the rest.
pub trait IntoSizes {
    /// The sizes, -1 for the one to work out.
    fn into_sizes(self) -> Vec<i64>;
}

macro_rules! into_sizes {
    ($($t:ty)*) => {$(
        impl<const N: usize> IntoSizes for [$t; N] {
            fn into_sizes(self) -> Vec<i64> {
                self.iter().map(|&d| i64::try_from(d).unwrap_or(i64::MAX)).collect()
            }
        }
        impl IntoSizes for &[$t] {
            fn into_sizes(self) -> Vec<i64> {
                self.iter().map(|&d| i64::try_from(d).unwrap_or(i64::MAX)).collect()
            }
        }
        impl IntoSizes for Vec<$t> {
            fn into_sizes(self) -> Vec<i64> {
                (&self[..]).into_sizes()
            }
        }
    )*};
}
into_sizes!(i32 i64 isize usize);

impl IntoSizes for &Shape {
    fn into_sizes(self) -> Vec<i64> {
        (&self[..]).into_sizes()
    }
}

impl IntoSizes for Shape {
    fn into_sizes(self) -> Vec<i64> {
        (&self[..]).into_sizes()
    }
}

/// The sizes whose product is `numel`, the one that is -1 worked out from the rest.
pub(crate) fn work_out(sizes: &[i64], numel: usize) -> Option<Shape> {
    let known = sizes.iter().filter(|&&d| d != -1).try_fold(1i64, |n, &d| n.checked_mul(d))?;
    let open = sizes.iter().filter(|&&d| d == -1).count();
    if open > 1 || sizes.iter().any(|&d| d < -1) {
        return None;
    }
    let numel = numel as i64;
    let rest = match open {
        0 if known == numel => 1,
        1 if known != 0 && numel % known == 0 => numel / known,
        _ => return None,
    };
    Some(sizes.iter().map(|&d| if d == -1 { rest } else { d } as usize).collect())
}

impl Tensor {
    pub(crate) fn reshape_to(&self, shape: Shape, at: Caller) -> Tensor {
        if *self.shape() == shape { self.clone() } else { Tensor::apply(Op::Reshape(shape), &[self], at) }
    }

    /// Stretched to `shape` by the broadcasting rule.
    pub(crate) fn broadcast(&self, shape: &Shape, name: &'static str, at: Caller) -> Tensor {
        if self.error().is_some() || self.shape() == shape {
            return self.clone();
        }
        if self.shape().broadcast(shape).as_ref() != Some(shape) {
            return Tensor::bad(name, at, format!("cannot broadcast {} to {shape}", self.shape()));
        }
        let missing = shape.rank() - self.rank();
        let aligned: Shape = std::iter::repeat_n(1, missing).chain(self.shape().iter().copied()).collect();
        let x = self.reshape_to(aligned, at);
        if x.shape() == shape { x } else { Tensor::apply(Op::Expand(shape.clone()), &[&x], at) }
    }

    /// The same elements in row-major order under another shape; one size may be -1.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let x = Tensor::arange(6, &Device::cpu()).reshape([2, -1]);
    /// assert_eq!(*x.shape(), [2, 3]);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn reshape(&self, sizes: impl IntoSizes) -> Tensor {
        let at = Caller::here();
        let sizes = sizes.into_sizes();
        match work_out(&sizes, self.numel()) {
            _ if self.error().is_some() => self.clone(),
            Some(shape) => self.reshape_to(shape, at),
            None => Tensor::bad("reshape", at, format!("cannot reshape {} to {sizes:?}", self.shape())),
        }
    }

    /// Axes `start..=end` merged into one.
    #[track_caller]
    pub fn flatten(&self, start: isize, end: isize) -> Tensor {
        let at = Caller::here();
        let rank = self.rank().max(1);
        match (resolve(start as i64, rank), resolve(end as i64, rank)) {
            _ if self.error().is_some() => self.clone(),
            (Ok(s), Ok(e)) if s <= e => {
                let dims = self.shape();
                let merged = dims.iter().skip(s).take(e + 1 - s).product();
                let head = dims.iter().take(s).copied();
                self.reshape_to(head.chain([merged]).chain(dims.iter().skip(e + 1).copied()).collect(), at)
            }
            _ => Tensor::bad("flatten", at, format!("axes {start}..={end} do not exist in {}", self.shape())),
        }
    }

    /// With an axis of size 1 inserted before `axis`; -1 appends it.
    #[track_caller]
    pub fn unsqueeze(&self, axis: isize) -> Tensor {
        let at = Caller::here();
        match resolve(axis as i64, self.rank() + 1) {
            _ if self.error().is_some() => self.clone(),
            Ok(axis) => {
                let mut dims = self.shape().clone();
                dims.dims_mut().insert(axis, 1);
                self.reshape_to(dims, at)
            }
            Err(detail) => Tensor::bad("unsqueeze", at, detail),
        }
    }

    /// Without those of the given axes that have size 1.
    #[track_caller]
    pub fn squeeze(&self, axes: impl Into<Axes>) -> Tensor {
        let at = Caller::here();
        match axes.into().resolve(self.rank()) {
            _ if self.error().is_some() => self.clone(),
            Ok(axes) => {
                let ones: Dims<usize> = axes.into_iter().filter(|&a| self.shape()[a] == 1).collect();
                self.reshape_to(self.shape().without(&ones), at)
            }
            Err(detail) => Tensor::bad("squeeze", at, detail),
        }
    }

    pub(crate) fn permute_to(&self, axes: Dims<usize>, at: Caller) -> Tensor {
        Tensor::apply(Op::Permute(axes), &[self], at)
    }

    /// Axis `i` of the result is axis `axes[i]` of `self`.
    #[track_caller]
    pub fn permute(&self, axes: &[isize]) -> Tensor {
        let at = Caller::here();
        if self.error().is_some() {
            return self.clone();
        }
        match axes.iter().map(|&a| resolve(a as i64, self.rank())).collect::<Result<Dims<usize>, String>>() {
            Ok(axes) => self.permute_to(axes, at),
            Err(detail) => Tensor::bad("permute", at, detail),
        }
    }

    /// With two axes exchanged.
    #[doc(alias = "swapaxes")]
    #[track_caller]
    pub fn transpose(&self, a: isize, b: isize) -> Tensor {
        let at = Caller::here();
        match (resolve(a as i64, self.rank()), resolve(b as i64, self.rank())) {
            _ if self.error().is_some() => self.clone(),
            (Ok(a), Ok(b)) => {
                let mut axes: Dims<usize> = (0..self.rank()).collect();
                axes.swap(a, b);
                self.permute_to(axes, at)
            }
            (Err(detail), _) | (_, Err(detail)) => Tensor::bad("transpose", at, detail),
        }
    }

    /// The last two axes exchanged; a tensor of fewer axes stays as it is.
    #[track_caller]
    pub fn t(&self) -> Tensor {
        if self.rank() < 2 { self.clone() } else { self.transpose(-2, -1) }
    }

    /// Stretched to `sizes` by the broadcasting rule: axes of size 1 are repeated, missing ones are added in front; -1
    /// leaves an axis as it is.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let x = Tensor::arange(2, &Device::cpu()).reshape([2, 1]);
    /// assert_eq!(*x.expand([3, -1, 2]).shape(), [3, 2, 2]);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn expand(&self, sizes: impl IntoSizes) -> Tensor {
        let at = Caller::here();
        let sizes = sizes.into_sizes();
        Tensor::attempt("expand", at, &[self], || {
            let missing = sizes.len().checked_sub(self.rank());
            let size = |(i, &d): (usize, &i64)| match d {
                -1 => i.checked_sub(missing?).map(|a| self.shape()[a]),
                _ => usize::try_from(d).ok(),
            };
            let shape = sizes.iter().enumerate().map(size).collect::<Option<Dims<usize>>>();
            let shape = shape.ok_or_else(|| format!("cannot expand {} to {sizes:?}", self.shape()))?;
            Ok(self.broadcast(&shape.into_iter().collect(), "expand", at))
        })
    }

    /// The order of elements along the axes reversed.
    #[track_caller]
    pub fn flip(&self, axes: impl Into<Axes>) -> Tensor {
        let at = Caller::here();
        let axes = match axes.into().resolve(self.rank()) {
            _ if self.error().is_some() => return self.clone(),
            Ok(axes) => axes,
            Err(detail) => return Tensor::bad("flip", at, detail),
        };
        let turned = |i: usize| axes.contains(&i);
        let starts = self.shape().iter().enumerate().map(|(i, &d)| if turned(i) { d.saturating_sub(1) } else { 0 });
        let steps = (0..self.rank()).map(|i| if turned(i) { -1 } else { 1 });
        let op = Op::Slice { starts: starts.collect(), steps: steps.collect(), shape: self.shape().clone() };
        Tensor::apply(op, &[self], at)
    }

    /// `len` elements from `start` along `axis`.
    #[track_caller]
    pub fn narrow(&self, axis: isize, start: usize, len: usize) -> Tensor {
        let at = Caller::here();
        let axis = match resolve(axis as i64, self.rank()) {
            _ if self.error().is_some() => return self.clone(),
            Ok(axis) => axis,
            Err(detail) => return Tensor::bad("narrow", at, detail),
        };
        if start.checked_add(len).is_none_or(|end| end > self.shape()[axis]) {
            let detail = format!("{len} elements from {start} leave axis {axis} of {}", self.shape());
            return Tensor::bad("narrow", at, detail);
        }
        let mut shape = self.shape().clone();
        shape.dims_mut()[axis] = len;
        let mut starts: Dims<usize> = Dims::from_elem(0, self.rank());
        starts[axis] = start;
        let op = Op::Slice { starts, steps: Dims::from_elem(1, self.rank()), shape };
        Tensor::apply(op, &[self], at)
    }

    /// Sliding windows of `size` elements along `axis`, `step` apart, as a new last axis (PyTorch's `unfold`).
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let x = Tensor::arange(5, &Device::cpu()).unfold(0, 3, 2);
    /// assert_eq!(x.to_vec::<i32>()?, [0, 1, 2, 2, 3, 4]);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn unfold(&self, axis: isize, size: usize, step: usize) -> Tensor {
        let at = Caller::here();
        match resolve(axis as i64, self.rank()) {
            _ if self.error().is_some() => self.clone(),
            Ok(axis) => self.windows_along(axis, size, step, 1, at),
            Err(detail) => Tensor::bad("unfold", at, detail),
        }
    }

    pub(crate) fn pad_with(&self, lo: Dims<usize>, hi: Dims<usize>, value: Scalar, at: Caller) -> Tensor {
        let Ok(v) = self.value() else { return self.clone() };
        if lo.iter().chain(&hi).all(|&p| p == 0) && lo.len() == self.rank() {
            return self.clone();
        }
        let fill = Tensor::source(Op::Scalar { dtype: self.dtype(), value: Param(value) }, &v.node.device, at);
        Tensor::apply(Op::Pad { lo, hi }, &[self, &fill], at)
    }

    /// The tensors one after another along `axis`.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let x = Tensor::arange(2, &Device::cpu());
    /// assert_eq!(Tensor::cat(&[&x, &x], 0).to_vec::<i32>()?, [0, 1, 0, 1]);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn cat(tensors: &[&Tensor], axis: isize) -> Tensor {
        let at = Caller::here();
        let Some(first) = tensors.first() else { return Tensor::bad("cat", at, "no tensors given") };
        let axis = match resolve(axis as i64, first.rank()) {
            _ if first.error().is_some() => return (*first).clone(),
            Ok(axis) => axis,
            Err(detail) => return Tensor::bad("cat", at, detail),
        };
        Tensor::cat_tree(tensors, axis, at)
    }

    /// A few at a time, so that no kernel has to read more buffers than the least of devices allows.
    pub(crate) fn cat_tree(tensors: &[&Tensor], axis: usize, at: Caller) -> Tensor {
        const AT_ONCE: usize = 4;
        if tensors.len() <= AT_ONCE {
            return Tensor::apply(Op::Concat { axis }, tensors, at);
        }
        let size = tensors.len().div_ceil(AT_ONCE);
        let parts: Vec<Tensor> = tensors.chunks(size).map(|part| Tensor::cat_tree(part, axis, at)).collect();
        Tensor::apply(Op::Concat { axis }, &parts.iter().collect::<Vec<_>>(), at)
    }

    /// The tensors, all of one shape, along a new axis.
    #[track_caller]
    pub fn stack(tensors: &[&Tensor], axis: isize) -> Tensor {
        let apart: Vec<Tensor> = tensors.iter().map(|t| t.unsqueeze(axis)).collect();
        Tensor::cat(&apart.iter().collect::<Vec<_>>(), axis)
    }
}
