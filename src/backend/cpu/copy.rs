//! How elements are copied between blocks and memory.

use super::memory::Line;
use super::simd;
use super::walk::{Map, Place, Run};
use crate::dtype::DType;
use crate::shape::{Dims, Layout};
use bytemuck::{Pod, cast_slice, cast_slice_mut};
use std::ops::Range;

/// Elements in a row from which on writing past the caches pays.
const STREAM: usize = 256;

/// The elements in `bytes`; a trailing partial element is ignored.
pub fn elements<T: Pod>(bytes: &[u8]) -> &[T] {
    cast_slice(&bytes[..bytes.len() / size_of::<T>() * size_of::<T>()])
}

/// The same, to write.
pub fn elements_mut<T: Pod>(bytes: &mut [u8]) -> &mut [T] {
    let whole = bytes.len() / size_of::<T>() * size_of::<T>();
    cast_slice_mut(&mut bytes[..whole])
}

/// Runs `$body` with `$t` standing for the unsigned integer of `$bytes` bytes.
macro_rules! with_width {
    ($bytes:expr, $t:ident => $body:expr) => {
        match $bytes {
            1 => {
                type $t = u8;
                $body
            }
            2 => {
                type $t = u16;
                $body
            }
            4 => {
                type $t = u32;
                $body
            }
            _ => {
                type $t = u64;
                $body
            }
        }
    };
}
pub(super) use with_width;

/// A block of `len` elements, repeated into `spare` where one element stands for all.
pub fn whole<'s>(src: &'s [u8], dtype: DType, len: usize, spare: &'s mut [Line]) -> &'s [u8] {
    let width = dtype.bytes();
    if src.len() == len * width {
        return src;
    }
    with_width!(width, T => {
        let dst = &mut cast_slice_mut::<Line, T>(spare)[..len];
        dst.fill(cast_slice(src)[0]);
        cast_slice(dst)
    })
}

/// The bytes of elements `range` in memory whose first element is number `first`.
pub fn part(bytes: &mut [u8], first: i64, range: Range<usize>, width: usize) -> Option<&mut [u8]> {
    let start = usize::try_from((range.start as i64).checked_sub(first)?).ok()?.checked_mul(width)?;
    bytes.get_mut(start..start.checked_add(range.len().checked_mul(width)?)?)
}

/// Copies the elements of a run where the guard holds, and 0 elsewhere. `None` when that would leave `src`.
pub fn read<T: Pod>(src: &[T], run: Run, guard: Option<&[u8]>, dst: &mut [T]) -> Option<()> {
    match guard {
        None => copy(src, run, dst),
        Some(guard) => {
            let guard = &guard[run.at..run.at + run.count];
            let mut at = 0;
            while at < run.count {
                let open = guard[at] != 0;
                let count = guard[at..].iter().take_while(|&&g| (g != 0) == open).count();
                let part = &mut dst[at..at + count];
                match open {
                    true => copy(src, run.part(at, count), part)?,
                    false => part.fill(T::zeroed()),
                }
                at += count;
            }
            Some(())
        }
    }
}

/// Copies the elements of a run. `None` when that would leave `src`.
pub fn copy<T: Pod>(src: &[T], run: Run, dst: &mut [T]) -> Option<()> {
    if !run.inside(src.len()) {
        return None;
    }
    match run.stride {
        0 => dst.fill(src[run.first as usize]),
        1 => dst.copy_from_slice(&src[run.first as usize..][..dst.len()]),
        s if s > 0 => {
            dst.iter_mut().zip(src[run.first as usize..].iter().step_by(s as usize)).for_each(|(d, s)| *d = *s)
        }
        s => (0..).zip(dst).for_each(|(j, d)| *d = src[(run.first + j * s) as usize]),
    }
    Some(())
}

/// Copies a block's part to a run, past the caches if `stream`. `None` when that would leave `dst`.
pub fn write<T: Pod>(src: &[T], run: Run, dst: &mut [T], stream: bool) -> Option<()> {
    if !run.inside(dst.len()) {
        return None;
    }
    let first = run.first as usize;
    match (src.len(), run.stride) {
        (1, 1) => dst[first..first + run.count].fill(src[0]),
        (1, s) => (0..run.count as i64).for_each(|j| dst[(run.first + j * s) as usize] = src[0]),
        (_, 1) => {
            let (src, dst) = (&src[run.at..run.at + run.count], &mut dst[first..first + run.count]);
            match stream && run.count >= STREAM {
                true => simd::stream(cast_slice(src), cast_slice_mut(dst)),
                false => dst.copy_from_slice(src),
            }
        }
        (_, s) => (0..).zip(&src[run.at..run.at + run.count]).for_each(|(j, v)| dst[(run.first + j * s) as usize] = *v),
    }
    Some(())
}

/// A copy in row-major order of the elements that `layout` finds in `src`. `None` when it reaches outside.
pub fn pack<T: Pod>(src: &[T], layout: &Layout, sizes: &[usize]) -> Option<Vec<T>> {
    let len = sizes.iter().product();
    let mut dst = vec![T::zeroed(); len];
    let map = Map { offset: layout.offset, vector: layout.strides.clone(), fixed: Dims::new() };
    let place = Place { sizes, start: Dims::from_elem(0, sizes.len()), fixed: Dims::new(), len };
    match len {
        0 => {}
        _ => map.runs(&place, |r| copy(src, r, &mut dst[r.at..r.at + r.count]))?,
    }
    Some(dst)
}
