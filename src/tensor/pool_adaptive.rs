//! What do pools look like whose windows are chosen so that the output has a given size?
//!
//! Window `i` of `o` over `n` elements is `⌊i·n/o⌋ .. ⌈(i+1)·n/o⌉`, as in PyTorch. Windows over several axes are products,
//! so the axes are pooled one after another, the last first.

use super::Tensor;
use crate::dtype::DType;
use crate::error::Caller;
use crate::graph::{BinaryOp, Op, ReduceOp};
use crate::shape::Dims;

impl Tensor {
    /// The first of the last `axes` axes, checked together with the sizes asked for.
    fn adaptive(&self, output: &[usize]) -> Result<usize, String> {
        let first = self.rank().checked_sub(output.len()).filter(|&f| !self.shape()[f..].contains(&0));
        let first = first.ok_or_else(|| format!("cannot pool {} to {output:?}", self.shape()))?;
        for (&n, &o) in self.shape()[first..].iter().zip(output) {
            // The bounds of windows are worked out in i32, which any size has room for that is worth pooling.
            let largest = n.checked_mul(o).and_then(|m| m.checked_add(n)?.checked_add(o));
            if o != 0 && !n.is_multiple_of(o) && largest.is_none_or(|m| m > i32::MAX as usize) {
                return Err(format!("cannot pool an axis of {n} to {o}: the product is beyond i32"));
            }
        }
        Ok(first)
    }

    /// Where windows begin along an axis of `n` elements, and where they end; `[o]` at `axis` of `rank`.
    fn bounds(&self, n: usize, o: usize, axis: usize, rank: usize, at: Caller) -> [Tensor; 2] {
        let calc = |a: &Tensor, op: BinaryOp, b: usize| a.binary(op, (b as i32).into(), at);
        let scaled = calc(&self.ramp(o, axis, rank, at), BinaryOp::Mul, n);
        let end = calc(&scaled, BinaryOp::Add, n + o - 1);
        [calc(&scaled, BinaryOp::FloorDiv, o), calc(&end, BinaryOp::FloorDiv, o)]
    }

    /// `[.., n, ..]` as `[.., o, n, ..]` with `fill` outside of each window; and where windows begin and end, `[.., o, ..]`.
    fn masked_windows(&self, axis: usize, o: usize, fill: f64, at: Caller) -> (Tensor, [Tensor; 2]) {
        if self.error().is_some() {
            return (self.clone(), [self.clone(), self.clone()]);
        }
        let (n, rank) = (self.shape()[axis], self.rank());
        let [start, end] = self.bounds(n, o, axis, rank + 1, at);
        let j = self.ramp(n, axis + 1, rank + 1, at);
        let inside = j.binary(BinaryOp::Ge, (&start).into(), at).binary(
            BinaryOp::And,
            j.binary(BinaryOp::Lt, (&end).into(), at).into(),
            at,
        );
        let spread = self.insert_axis(axis, at).stretch_axis(axis, o, at);
        let bounds = [start, end].map(|b| b.drop_axis(axis + 1, at));
        (spread.keep_where(&inside, fill, at), bounds)
    }

    fn adaptive_avg(&self, name: &'static str, output: &[usize], at: Caller) -> Tensor {
        Tensor::attempt(name, at, &[self], || {
            let first = self.adaptive(output)?;
            let x = if self.dtype().is_float() { self.clone() } else { self.cast_at(DType::F32, at) };
            Ok(output.iter().enumerate().rev().fold(x, |x, (i, &o)| x.mean_windows(first + i, o, at)))
        })
    }

    fn mean_windows(&self, axis: usize, o: usize, at: Caller) -> Tensor {
        if self.error().is_some() || self.shape()[axis] == o {
            return self.clone();
        }
        let (n, behind) = (self.shape()[axis], Dims::from_elem(axis + 1, 1));
        if o == 0 {
            return self.narrow_to(axis, 0, 0, at);
        }
        if n.is_multiple_of(o) {
            let sum = self.split_axis(axis, n / o, at).reduce_axes(ReduceOp::Sum, behind, false, at);
            return sum.binary(BinaryOp::Div, ((n / o) as f64).into(), at);
        }
        let (windows, [start, end]) = self.masked_windows(axis, o, 0.0, at);
        let sum = windows.reduce_axes(ReduceOp::Sum, behind, false, at);
        let count = end.binary(BinaryOp::Sub, start.into(), at).cast_at(self.dtype(), at);
        sum.binary(BinaryOp::Div, count.into(), at)
    }

    fn adaptive_max(&self, name: &'static str, output: &[usize], at: Caller) -> (Tensor, Tensor) {
        Tensor::attempt_both(name, at, &[self], || {
            if self.dtype() == DType::Bool {
                return Err("is not defined for bool; cast first".into());
            }
            let first = self.adaptive(output)?;
            let elements = self.shape()[first..].iter().try_fold(1usize, |n, &d| n.checked_mul(d));
            if elements.is_none_or(|n| n > i32::MAX as usize) {
                return Err(format!("positions in {} are beyond i32", self.shape()));
            }
            let mut x = self.clone();
            let mut position: Option<Tensor> = None;
            let mut scale = 1;
            for (i, &o) in output.iter().enumerate().rev() {
                let axis = first + i;
                let n = self.shape()[axis];
                let (values, place) = x.max_windows_along(axis, o, at);
                x = values;
                let along = place.binary(BinaryOp::Mul, scale.into(), at);
                // What was found in the rows behind is read where this axis' best row is.
                position = Some(match position {
                    Some(p) => {
                        Tensor::apply(Op::Gather { axis }, &[&p, &place], at).binary(BinaryOp::Add, along.into(), at)
                    }
                    None => along,
                });
                scale *= n as i32;
            }
            let none = || Tensor::bad(name, at, "no axes");
            Ok((x, position.unwrap_or_else(none)))
        })
    }

    /// The largest of each window along `axis`, and its place along the axis.
    fn max_windows_along(&self, axis: usize, o: usize, at: Caller) -> (Tensor, Tensor) {
        if self.error().is_some() {
            return (self.clone(), self.clone());
        }
        let n = self.shape()[axis];
        let find = |windows: &Tensor| {
            let op = Op::ArgReduce { op: ReduceOp::Max, axes: Dims::from_elem(axis + 1, 1) };
            Tensor::apply_all(op, &[windows], at)
        };
        if o == 0 {
            let none = self.narrow_to(axis, 0, 0, at);
            return (none.clone(), none.cast_at(DType::I32, at));
        }
        if n.is_multiple_of(o) {
            let both = find(&self.split_axis(axis, n / o, at));
            let start = self.ramp(o, axis, self.rank(), at).binary(BinaryOp::Mul, ((n / o) as i32).into(), at);
            return (both[0].clone(), both[1].binary(BinaryOp::Add, start.into(), at));
        }
        let (windows, [start, _]) = self.masked_windows(axis, o, f64::NEG_INFINITY, at);
        let both = find(&windows);
        // A window of nothing but -∞ would name an element before it.
        (both[0].clone(), both[1].binary(BinaryOp::Max, start.into(), at))
    }
}

macro_rules! adaptive_pools {
    ($($d:literal, $axes:literal, $avg:ident $max:ident $with:ident;)*) => {
        impl Tensor {$(
            #[doc = concat!("The means of windows that bring the last ", $axes, " to the sizes `output`. Integers become `f32`.")]
            #[doc = "Window `i` of `o` over `n` elements is `⌊i·n/o⌋ .. ⌈(i+1)·n/o⌉`, as in PyTorch."]
            #[track_caller]
            pub fn $avg(&self, output: [usize; $d]) -> Tensor {
                self.adaptive_avg(stringify!($avg), &output, Caller::here())
            }

            #[doc = concat!("The largest elements of the windows of [`Tensor::", stringify!($avg), "`].")]
            #[track_caller]
            pub fn $max(&self, output: [usize; $d]) -> Tensor {
                self.adaptive_max(stringify!($max), &output, Caller::here()).0
            }

            #[doc = concat!("[`Tensor::", stringify!($max), "`] and the `i32` positions of what it found, counted row-major over")]
            #[doc = concat!("the last ", $axes, " of `self`.")]
            #[track_caller]
            pub fn $with(&self, output: [usize; $d]) -> (Tensor, Tensor) {
                self.adaptive_max(stringify!($max), &output, Caller::here())
            }
        )*}
    };
}

adaptive_pools! {
    1, "axis", adaptive_avg_pool1d adaptive_max_pool1d adaptive_max_pool1d_with_indices;
    2, "two axes", adaptive_avg_pool2d adaptive_max_pool2d adaptive_max_pool2d_with_indices;
    3, "three axes", adaptive_avg_pool3d adaptive_max_pool3d adaptive_max_pool3d_with_indices;
}
