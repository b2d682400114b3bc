//! Folds over axes. `…_keepdim` leaves the axes in place with size 1.

use super::{Axes, Tensor};
use crate::dtype::DType;
use crate::error::Caller;
use crate::graph::{BinaryOp, Op, ReduceOp};
use crate::shape::Dims;

/// Into how many equal parts an axis of `n` elements is cut where `columns` of `length` elements are summed, and are so
/// few that the workgroups which take 32 of them each would not fill a GPU.
fn column_parts(columns: usize, length: usize, n: usize) -> usize {
    const COLUMNS: usize = 32 * 256;
    const SHORTEST: usize = 128;
    const WORTH: usize = 1 << 20;
    if columns.saturating_mul(length) < WORTH {
        return 1;
    }
    let wanted = (COLUMNS / columns.max(1)).min(length / SHORTEST).max(1);
    (0..=wanted.ilog2()).rev().map(|log| 1 << log).find(|parts| n.is_multiple_of(*parts)).unwrap_or(1)
}

impl Tensor {
    pub(crate) fn reduce(&self, op: ReduceOp, axes: Axes, keepdim: bool, at: Caller) -> Tensor {
        if self.error().is_some() {
            return self.clone();
        }
        match axes.resolve(self.rank()) {
            Ok(axes) => self.reduce_axes(op, axes, keepdim, at),
            Err(detail) => Tensor::bad(op.name(), at, detail),
        }
    }

    pub(crate) fn reduce_axes(&self, op: ReduceOp, axes: Dims<usize>, keepdim: bool, at: Caller) -> Tensor {
        let counts = matches!(op, ReduceOp::Sum | ReduceOp::Prod) && self.dtype() == DType::Bool;
        let x = if counts { self.cast_at(DType::I32, at) } else { self.clone() };
        let kept = self.shape().with_ones(&axes);
        // Over no axes there is nothing to fold.
        let folded = match op {
            _ if axes.is_empty() => x,
            ReduceOp::Sum => x.sum_of_parts(&axes, at).unwrap_or_else(|| x.fold(op, axes, at)),
            _ => x.fold(op, axes, at),
        };
        if keepdim { folded.reshape_to(kept, at) } else { folded }
    }

    fn fold(&self, op: ReduceOp, axes: Dims<usize>, at: Caller) -> Tensor {
        Tensor::apply(Op::Reduce { op, axes }, &[self], at)
    }

    /// A few long sums as sums of the sums of their parts: a GPU folds each row in one workgroup, so that a single long row
    /// would leave most of it idle, and so would a few long columns. The longest axis is cut, which is a view whatever the layout.
    fn sum_of_parts(&self, axes: &[usize], at: Caller) -> Option<Tensor> {
        const LONG: usize = 1 << 14;
        const PARTS: usize = 1024;
        let length: usize = axes.iter().map(|&a| self.shape()[a]).product();
        let axis = axes.iter().copied().max_by_key(|&a| self.shape()[a])?;
        let n = self.shape()[axis];
        let parts = match length {
            LONG.. => {
                let size = n.div_ceil(PARTS / (self.numel() / length).clamp(1, PARTS));
                n.div_ceil(size)
            }
            _ if axes.contains(&(self.rank() - 1)) => 1,
            _ => column_parts(self.numel() / length.max(1), length, n),
        };
        if parts < 2 {
            return None;
        }
        let size = n.div_ceil(parts);
        let mut rest: Dims<usize> = Dims::from_elem(0, self.rank());
        rest[axis] = parts * size - n;
        let none = Dims::from_elem(0, self.rank());
        let mut cut = self.shape().clone();
        cut.dims_mut()[axis] = size;
        cut.dims_mut().insert(axis, parts);
        let inner = axes.iter().map(|&a| a + (a >= axis) as usize).collect();
        let sums = self.pad_with(none, rest, 0.into(), at).reshape_to(cut, at).fold(ReduceOp::Sum, inner, at);
        let place = axis - axes.iter().filter(|&&a| a < axis).count();
        Some(sums.fold(ReduceOp::Sum, Dims::from_elem(place, 1), at))
    }

    /// A sum over `count` elements, divided by `count - correction`; NaN if there are none, which a device that knows the
    /// sum to be 0 may not see by itself.
    fn share(&self, count: f64, correction: f64, at: Caller) -> Tensor {
        match count {
            0.0 => self.binary(BinaryOp::Add, f64::NAN.into(), at),
            _ => self.binary(BinaryOp::Mul, (1.0 / (count - correction).max(0.0)).into(), at),
        }
    }

    fn mean_at(&self, axes: Axes, keepdim: bool, at: Caller) -> Tensor {
        self.floating(at).widened(at, |x| {
            let sum = x.reduce(ReduceOp::Sum, axes, keepdim, at);
            sum.share(self.numel() as f64 / sum.numel().max(1) as f64, 0.0, at)
        })
    }

    fn var_at(&self, axes: Axes, correction: f64, keepdim: bool, at: Caller) -> Tensor {
        self.floating(at).widened(at, |x| {
            let centred = x.binary(BinaryOp::Sub, x.mean_at(axes.clone(), true, at).into(), at);
            let squares = centred.binary(BinaryOp::Mul, (&centred).into(), at);
            let sum = squares.reduce(ReduceOp::Sum, axes, keepdim, at);
            sum.share(self.numel() as f64 / sum.numel().max(1) as f64, correction, at)
        })
    }

    /// `E[x]` over the axes. Integers and bools become `f32`.
    #[track_caller]
    pub fn mean(&self, axes: impl Into<Axes>) -> Tensor {
        self.mean_at(axes.into(), false, Caller::here())
    }

    /// [`Tensor::mean`] with the axes left in place.
    #[track_caller]
    pub fn mean_keepdim(&self, axes: impl Into<Axes>) -> Tensor {
        self.mean_at(axes.into(), true, Caller::here())
    }

    /// `Σ(x - E[x])² / (n - correction)`: 1 gives the unbiased variance of a sample, 0 that of a population.
    #[track_caller]
    pub fn var(&self, axes: impl Into<Axes>, correction: f64) -> Tensor {
        self.var_at(axes.into(), correction, false, Caller::here())
    }

    /// [`Tensor::var`] with the axes left in place.
    #[track_caller]
    pub fn var_keepdim(&self, axes: impl Into<Axes>, correction: f64) -> Tensor {
        self.var_at(axes.into(), correction, true, Caller::here())
    }

    /// The square root of [`Tensor::var`]; where it is 0, so is its gradient.
    #[track_caller]
    pub fn std(&self, axes: impl Into<Axes>, correction: f64) -> Tensor {
        let at = Caller::here();
        let axes = axes.into();
        self.widened(at, |x| x.var_at(axes, correction, false, at).root(at))
    }

    /// [`Tensor::std`] with the axes left in place.
    #[track_caller]
    pub fn std_keepdim(&self, axes: impl Into<Axes>, correction: f64) -> Tensor {
        let at = Caller::here();
        let axes = axes.into();
        self.widened(at, |x| x.var_at(axes, correction, true, at).root(at))
    }

    /// True where any element over the axes is not 0.
    #[track_caller]
    pub fn any(&self, axes: impl Into<Axes>) -> Tensor {
        self.truth_over(ReduceOp::Max, false, axes.into(), false, Caller::here())
    }

    /// [`Tensor::any`] with the axes left in place.
    #[track_caller]
    pub fn any_keepdim(&self, axes: impl Into<Axes>) -> Tensor {
        self.truth_over(ReduceOp::Max, false, axes.into(), true, Caller::here())
    }

    /// True where every element over the axes is not 0.
    #[track_caller]
    pub fn all(&self, axes: impl Into<Axes>) -> Tensor {
        self.truth_over(ReduceOp::Min, true, axes.into(), false, Caller::here())
    }

    /// [`Tensor::all`] with the axes left in place.
    #[track_caller]
    pub fn all_keepdim(&self, axes: impl Into<Axes>) -> Tensor {
        self.truth_over(ReduceOp::Min, true, axes.into(), true, Caller::here())
    }

    /// Over no elements the answer is `empty`.
    fn truth_over(&self, op: ReduceOp, empty: bool, axes: Axes, keepdim: bool, at: Caller) -> Tensor {
        let x = self.cast_at(DType::Bool, at);
        match (axes.resolve(self.rank()), x.value()) {
            (Ok(list), Ok(v)) if list.iter().any(|&a| self.shape()[a] == 0) => {
                let shape = if keepdim { self.shape().with_ones(&list) } else { self.shape().without(&list) };
                Tensor::constant(shape, empty.into(), DType::Bool, &v.node.device, at)
            }
            _ => x.reduce(op, axes, keepdim, at),
        }
    }

    fn arg(&self, op: ReduceOp, axes: Axes, at: Caller) -> (Tensor, Tensor) {
        let both = match axes.resolve(self.rank()) {
            _ if self.error().is_some() => vec![self.clone(); 2],
            Ok(axes) => Tensor::apply_all(Op::ArgReduce { op, axes }, &[self], at),
            Err(detail) => vec![Tensor::bad(if op == ReduceOp::Max { "argmax" } else { "argmin" }, at, detail); 2],
        };
        (both[0].clone(), both[1].clone())
    }

    /// The position of the first largest element over the axes, `i32`, counted row-major over them; NaN is largest.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let x = Tensor::from_slice(&[1.0f32, 5.0, 2.0, 9.0, 0.0, 9.0], [2, 3], &Device::cpu());
    /// assert_eq!(x.argmax(-1).to_vec::<i32>()?, [1, 0]);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn argmax(&self, axes: impl Into<Axes>) -> Tensor {
        self.arg(ReduceOp::Max, axes.into(), Caller::here()).1
    }

    /// The position of the first smallest element, as [`Tensor::argmax`].
    #[track_caller]
    pub fn argmin(&self, axes: impl Into<Axes>) -> Tensor {
        self.arg(ReduceOp::Min, axes.into(), Caller::here()).1
    }

    /// The largest element and its position. The gradient goes to that position alone.
    #[track_caller]
    pub fn max_with_indices(&self, axes: impl Into<Axes>) -> (Tensor, Tensor) {
        self.arg(ReduceOp::Max, axes.into(), Caller::here())
    }

    /// The smallest element and its position. The gradient goes to that position alone.
    #[track_caller]
    pub fn min_with_indices(&self, axes: impl Into<Axes>) -> (Tensor, Tensor) {
        self.arg(ReduceOp::Min, axes.into(), Caller::here())
    }
}

macro_rules! reduce_methods {
    ($($(#[$doc:meta])* $name:ident $keep:ident = $op:ident;)*) => {
        impl Tensor {$(
            $(#[$doc])*
            #[track_caller]
            pub fn $name(&self, axes: impl Into<Axes>) -> Tensor {
                self.reduce(ReduceOp::$op, axes.into(), false, Caller::here())
            }

            /// The same with the axes left in place, of size 1.
            #[track_caller]
            pub fn $keep(&self, axes: impl Into<Axes>) -> Tensor {
                self.reduce(ReduceOp::$op, axes.into(), true, Caller::here())
            }
        )*}
    };
}

reduce_methods! {
    /// `Σ` over the axes; bools are counted as `i32`, other integers wrap.
    sum sum_keepdim = Sum;
    /// `Π` over the axes.
    prod prod_keepdim = Prod;
    /// The largest; NaN wins; an error over no elements. Elements that tie share the gradient evenly.
    #[doc(alias = "amax")]
    max max_keepdim = Max;
    /// The smallest; NaN wins; an error over no elements. Elements that tie share the gradient evenly.
    #[doc(alias = "amin")]
    min min_keepdim = Min;
}
