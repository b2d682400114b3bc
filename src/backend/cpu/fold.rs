//! The folds: a block into one number (a row's), or a block into a block of accumulators (many rows' at once).
//!
//! Sums and products of floats are carried from block to block in double precision; within a block, `f32` sums run in
//! 32 lanes of at most 32 additions each. NaN wins every comparison.

use super::maps::with_type;
use super::num::Num;
use super::simd::vectorised;
use crate::dtype::DType;
use crate::graph::ReduceOp;
use bytemuck::{cast_slice, cast_slice_mut};

/// A fold on its way: the value so far (the first bytes of the word) and, for an argument, its position.
pub type Cell = [u64; 2];

const LANES: usize = 32;

/// Folds in lanes of `$a`: `$init`, then `$step` of `$acc` and each element `$x`, and in the end `$join` of the lanes.
macro_rules! lanes {
    ($src:expr, $a:ty, $init:expr, |$acc:ident, $x:ident| $step:expr) => {{
        let mut lanes: [$a; LANES] = [$init; LANES];
        let (strips, rest) = $src.as_chunks::<LANES>();
        for strip in strips {
            for i in 0..LANES {
                let ($acc, $x) = (lanes[i], strip[i]);
                lanes[i] = $step;
            }
        }
        for (lane, &$x) in lanes.iter_mut().zip(rest) {
            let $acc = *lane;
            *lane = $step;
        }
        lanes
    }};
}

vectorised! {
    pub fn sum_f32(src: &[f32]) -> f64 {
        let lanes = lanes!(src, f32, 0.0, |a, x| a + x);
        lanes.iter().fold(0.0, |a, &x| a + x as f64)
    }
}

vectorised! {
    pub fn sum<T: Num>(src: &[T]) -> T::Wide {
        let lanes = lanes!(src, T::Wide, T::Wide::ZERO, |a, x| a.add(x.widen()));
        lanes.iter().fold(T::Wide::ZERO, |a, &x| a.add(x))
    }
}

vectorised! {
    pub fn prod<T: Num>(src: &[T]) -> T::Wide {
        let lanes = lanes!(src, T::Wide, T::Wide::ONE, |a, x| a.mul(x.widen()));
        lanes.iter().fold(T::Wide::ONE, |a, &x| a.mul(x))
    }
}

vectorised! {
    pub fn largest<T: Num>(src: &[T]) -> T {
        let lanes = lanes!(src, T, T::LOWEST, |a, x| Num::max(x, a));
        lanes.iter().fold(T::LOWEST, |a, &x| Num::max(x, a))
    }
}

vectorised! {
    pub fn smallest<T: Num>(src: &[T]) -> T {
        let lanes = lanes!(src, T, T::HIGHEST, |a, x| Num::min(x, a));
        lanes.iter().fold(T::HIGHEST, |a, &x| Num::min(x, a))
    }
}

vectorised! {
    /// `acc[i] = op(acc[i], src[i])` for sums and products.
    pub fn accumulate_wide<T: Num>(op: ReduceOp, src: &[T], acc: &mut [T::Wide]) {
        match op {
            ReduceOp::Sum => acc.iter_mut().zip(src).for_each(|(a, &x)| *a = a.add(x.widen())),
            _ => acc.iter_mut().zip(src).for_each(|(a, &x)| *a = a.mul(x.widen())),
        }
    }
}

vectorised! {
    /// `acc[i] = op(acc[i], src[i])` for extremes.
    pub fn accumulate<T: Num>(op: ReduceOp, src: &[T], acc: &mut [T]) {
        match op {
            ReduceOp::Max => acc.iter_mut().zip(src).for_each(|(a, &x)| *a = Num::max(x, *a)),
            _ => acc.iter_mut().zip(src).for_each(|(a, &x)| *a = Num::min(x, *a)),
        }
    }
}

/// True when `x` replaces `best` as the extreme: it lies further out, or is the first NaN.
#[inline(always)]
fn beats<T: Num>(op: ReduceOp, x: T, best: T) -> bool {
    let further = if op == ReduceOp::Max { x > best } else { x < best };
    further || (x.is_nan() && !best.is_nan())
}

vectorised! {
    /// Keeps the extreme and the position of the first one.
    pub fn accumulate_position<T: Num>(op: ReduceOp, src: &[T], position: u64, acc: &mut [T], at: &mut [u64]) {
        for ((a, at), &x) in acc.iter_mut().zip(at).zip(src) {
            let better = beats(op, x, *a);
            *a = if better { x } else { *a };
            *at = if better { position } else { *at };
        }
    }
}

fn is_wide(op: ReduceOp) -> bool {
    matches!(op, ReduceOp::Sum | ReduceOp::Prod)
}

/// Elements of the accumulators in `words`, in place of which they are stored.
fn typed<T: Num>(words: &mut [u64], len: usize) -> &mut [T] {
    &mut cast_slice_mut::<u64, T>(words)[..len]
}

/// The value over no elements.
fn identity<T: Num>(op: ReduceOp) -> T {
    match op {
        ReduceOp::Sum => T::ZERO,
        ReduceOp::Prod => T::ONE,
        ReduceOp::Max => T::LOWEST,
        ReduceOp::Min => T::HIGHEST,
    }
}

/// Sets `len` accumulators to the value over no elements.
pub fn start(op: ReduceOp, dtype: DType, words: &mut [u64], len: usize) {
    with_type!(dtype, T => match is_wide(op) {
        true => typed::<<T as Num>::Wide>(words, len).fill(identity(op)),
        false => typed::<T>(words, len).fill(identity(op)),
    })
}

/// Folds a block into one cell.
pub fn fold_block(op: ReduceOp, dtype: DType, src: &[u8], cell: &mut Cell) {
    if let (ReduceOp::Sum, DType::F32) = (op, dtype) {
        let acc = typed::<f64>(&mut cell[..1], 1);
        acc[0] += sum_f32(cast_slice(src));
        return;
    }
    with_type!(dtype, T => {
        let src: &[T] = cast_slice(src);
        let word = &mut cell[..1];
        match op {
            ReduceOp::Sum => { let a = typed::<<T as Num>::Wide>(word, 1); a[0] = Num::add(a[0], sum(src)); }
            ReduceOp::Prod => { let a = typed::<<T as Num>::Wide>(word, 1); a[0] = Num::mul(a[0], prod(src)); }
            ReduceOp::Max => { let a = typed::<T>(word, 1); a[0] = Num::max(largest(src), a[0]); }
            ReduceOp::Min => { let a = typed::<T>(word, 1); a[0] = Num::min(smallest(src), a[0]); }
        }
    })
}

/// Folds a block whose first element is number `position` of its row into the row's extreme and its position.
pub fn find_block(op: ReduceOp, dtype: DType, src: &[u8], position: usize, cell: &mut Cell) {
    with_type!(dtype, T => {
        let src: &[T] = cast_slice(src);
        let best = if op == ReduceOp::Max { largest(src) } else { smallest(src) };
        let [word, at] = cell;
        let word = std::slice::from_mut(word);
        let so_far = typed::<T>(word, 1);
        if beats(op, best, so_far[0]) {
            let same = |x: &T| *x == best || (Num::is_nan(*x) && Num::is_nan(best));
            so_far[0] = best;
            *at = (position + src.iter().position(same).unwrap_or(0)) as u64;
        }
    })
}

/// Joins the fold over a later part of a row to that over the earlier part.
pub fn join(op: ReduceOp, dtype: DType, find: bool, cell: &mut Cell, later: &Cell) {
    let mut later = *later;
    with_type!(dtype, T => {
        if is_wide(op) {
            type W = <T as Num>::Wide;
            let x = typed::<W>(&mut later[..1], 1)[0];
            let a = typed::<W>(&mut cell[..1], 1);
            a[0] = if op == ReduceOp::Sum { Num::add(a[0], x) } else { Num::mul(a[0], x) };
        } else {
            let x = typed::<T>(&mut later[..1], 1)[0];
            let best = typed::<T>(&mut cell[..1], 1);
            if beats(op, x, best[0]) {
                best[0] = x;
                if find {
                    cell[1] = later[1];
                }
            }
        }
    })
}

/// Folds one element of each of many rows: `src` has one for each of the `len` accumulators in `words`.
pub fn fold_lanes(op: ReduceOp, dtype: DType, src: &[u8], words: &mut [u64], len: usize) {
    with_type!(dtype, T => match is_wide(op) {
        true => accumulate_wide::<T>(op, cast_slice(src), typed(words, len)),
        false => accumulate::<T>(op, cast_slice(src), typed(words, len)),
    })
}

/// The same for extremes and their positions; the elements are number `position` of their rows.
pub fn find_lanes(op: ReduceOp, dtype: DType, src: &[u8], position: usize, words: &mut [u64], at: &mut [u64]) {
    let len = at.len();
    with_type!(dtype, T => accumulate_position::<T>(op, cast_slice(src), position as u64, typed(words, len), at))
}

/// Writes `len` accumulators as elements.
pub fn finish(op: ReduceOp, dtype: DType, words: &mut [u64], len: usize, dst: &mut [u8]) {
    with_type!(dtype, T => {
        let dst: &mut [T] = cast_slice_mut(dst);
        match is_wide(op) {
            true => dst.iter_mut().zip(typed::<<T as Num>::Wide>(words, len)).for_each(|(d, a)| *d = <T as Num>::narrow(*a)),
            false => dst.copy_from_slice(typed::<T>(words, len)),
        }
    })
}
