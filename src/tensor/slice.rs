//! Slicing: `x.slice((1..3, .., -1))`, an index per axis; integers drop their axis, ranges count negatives from the end.

use super::Tensor;
use crate::error::Caller;
use crate::graph::Op;
use crate::shape::{Dims, Shape};
use std::ops::{Range, RangeFrom, RangeFull, RangeInclusive, RangeTo};

/// What [`Tensor::slice`] does with one axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Index {
    /// One element; the axis goes. Negative counts from the end.
    At(i64),
    /// From `start` up to `end` (exclusive) by `step`, with Python's rules for missing, negative and too large ends.
    Range {
        /// Where to begin.
        start: Option<i64>,
        /// Where to stop.
        end: Option<i64>,
        /// How far to go at a time; negative goes backwards.
        step: i64,
    },
}

/// `range` in steps: `step(.., 2)` takes every second element, `step(.., -1)` goes backwards.
///
/// ```
/// # use sunstone::prelude::*;
/// let x = Tensor::arange(5, &Device::cpu());
/// assert_eq!(x.slice(step(.., -2)).to_vec::<i32>()?, [4, 2, 0]);
/// # Ok::<(), sunstone::Error>(())
/// ```
pub fn step(range: impl Into<Index>, step: i64) -> Index {
    match range.into() {
        Index::Range { start, end, .. } => Index::Range { start, end, step },
        at => at,
    }
}

macro_rules! index_from {
    ($($t:ty)*) => {$(
        impl From<$t> for Index {
            fn from(i: $t) -> Index {
                Index::At(i as i64)
            }
        }
        impl From<Range<$t>> for Index {
            fn from(r: Range<$t>) -> Index {
                Index::Range { start: Some(r.start as i64), end: Some(r.end as i64), step: 1 }
            }
        }
        impl From<RangeFrom<$t>> for Index {
            fn from(r: RangeFrom<$t>) -> Index {
                Index::Range { start: Some(r.start as i64), end: None, step: 1 }
            }
        }
        impl From<RangeTo<$t>> for Index {
            fn from(r: RangeTo<$t>) -> Index {
                Index::Range { start: None, end: Some(r.end as i64), step: 1 }
            }
        }
        impl From<RangeInclusive<$t>> for Index {
            fn from(r: RangeInclusive<$t>) -> Index {
                // `..=-1` ends at the last element, which no exclusive end can name.
                let end = (*r.end() as i64).saturating_add(1);
                Index::Range { start: Some(*r.start() as i64), end: (end != 0).then_some(end), step: 1 }
            }
        }
    )*};
}
index_from!(i32 i64 isize usize);

impl From<RangeFull> for Index {
    fn from(_: RangeFull) -> Index {
        Index::Range { start: None, end: None, step: 1 }
    }
}

/// One index or a tuple of up to six.
pub trait IntoIndices {
    /// One entry for each axis, from the first; axes without one are taken whole.
    fn into_indices(self) -> Vec<Index>;
}

impl<T: Into<Index>> IntoIndices for T {
    fn into_indices(self) -> Vec<Index> {
        vec![self.into()]
    }
}

impl IntoIndices for &[Index] {
    fn into_indices(self) -> Vec<Index> {
        self.to_vec()
    }
}

macro_rules! tuple_indices {
    ($($name:ident)*) => {
        impl<$($name: Into<Index>),*> IntoIndices for ($($name,)*) {
            #[allow(non_snake_case)]
            fn into_indices(self) -> Vec<Index> {
                let ($($name,)*) = self;
                vec![$($name.into()),*]
            }
        }
    };
}
tuple_indices!(A);
tuple_indices!(A B);
tuple_indices!(A B C);
tuple_indices!(A B C D);
tuple_indices!(A B C D E);
tuple_indices!(A B C D E F);

impl Index {
    /// Start, step and count on an axis of size `n`; or what is wrong.
    fn resolve(self, n: usize) -> Result<(usize, i64, usize), String> {
        let n = n as i64;
        match self {
            Index::At(i) => {
                let at = if i < 0 { i.saturating_add(n) } else { i };
                if !(0..n).contains(&at) {
                    return Err(format!("index {i} is out of range for an axis of size {n}"));
                }
                Ok((at as usize, 1, 1))
            }
            Index::Range { step: 0, .. } => Err("a step of 0".into()),
            Index::Range { start, end, step } => {
                // Python's `slice.indices`.
                let (low, high) = if step > 0 { (0, n) } else { (-1, n - 1) };
                let clip = |i: i64| if i < 0 { i.saturating_add(n).max(low) } else { i.min(high) };
                let from = start.map_or(if step > 0 { low } else { high }, clip);
                let to = end.map_or(if step > 0 { high } else { low }, clip);
                let distance = if step > 0 { to - from } else { from - to };
                let count = if distance <= 0 { 0 } else { (distance - 1) / step.saturating_abs() + 1 };
                Ok((if count == 0 { 0 } else { from as usize }, step, count as usize))
            }
        }
    }
}

impl Tensor {
    /// A part of the tensor: integers pick an element and drop the axis, ranges keep it (see [`Index`], [`step`]).
    ///
    /// An error for an integer out of range, a step of 0, or more indices than axes.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let x = Tensor::arange(12, &Device::cpu()).reshape([3, 4]);
    /// assert_eq!(x.slice((1.., -1)).to_vec::<i32>()?, [7, 11]);
    /// assert_eq!(x.slice((0, 1..3)).to_vec::<i32>()?, [1, 2]);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn slice(&self, indices: impl IntoIndices) -> Tensor {
        let at = Caller::here();
        let indices = indices.into_indices();
        if self.error().is_some() {
            return self.clone();
        }
        if indices.len() > self.rank() {
            let detail = format!("{} indices for {} axes", indices.len(), self.rank());
            return Tensor::bad("slice", at, detail);
        }
        let mut starts: Dims<usize> = Dims::from_elem(0, self.rank());
        let mut steps: Dims<i64> = Dims::from_elem(1, self.rank());
        let mut shape = self.shape().clone();
        let mut dropped = Dims::new();
        for (axis, index) in indices.into_iter().enumerate() {
            match index.resolve(shape[axis]) {
                Ok((start, step, count)) => {
                    starts[axis] = start;
                    steps[axis] = if count <= 1 { 1 } else { step };
                    shape.dims_mut()[axis] = count;
                }
                Err(detail) => return Tensor::bad("slice", at, format!("axis {axis}: {detail}")),
            }
            if let Index::At(_) = index {
                dropped.push(axis);
            }
        }
        let rest: Shape = shape.without(&dropped);
        Tensor::apply(Op::Slice { starts, steps, shape }, &[self], at).reshape_to(rest, at)
    }
}
