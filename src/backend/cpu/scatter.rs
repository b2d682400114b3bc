//! Additions (or the largest, or the smallest) at indexed places. Each place receives its additions in the order of the sources, on any number of threads.

use super::broken;
use super::copy::{elements, elements_mut, pack};
use super::maps::with_type;
use super::num::Num;
use super::sources::out_of_range;
use crate::dtype::DType;
use crate::error::Result;
use crate::graph::ReduceOp;
use crate::parallel::*;
use crate::plan::{Origin, Scatter};
use crate::shape::{Dims, Layout, Shape};
use std::borrow::Cow;

/// Additions below which threads are not worth waking.
const SMALL: usize = 1 << 16;
/// Parts into which the places are divided when there is one lane group only.
const PARTS: usize = 8;

/// Copies `base`, unless it lies in `out` already, and folds the sources in.
pub fn run(
    s: &Scatter,
    base: Option<&[u8]>,
    index: &[u8],
    src: &[u8],
    out: &mut [u8],
    origins: &[Origin],
) -> Result<()> {
    let rank = s.shape.len();
    let shape: Shape = s.shape.iter().copied().collect();
    let ranks = [&s.base, &s.index, &s.src].map(|o| o.layout.strides.len());
    if s.axis >= rank || ranks != [rank; 3] {
        return Err(broken("a scatter whose operands do not fit"));
    }
    with_type!(s.dtype, T => {
        let out = elements_mut::<T>(out).get_mut(..shape.numel()).ok_or_else(outside)?;
        if let Some(base) = base {
            out.copy_from_slice(&packed(elements::<T>(base), &s.base.layout, &s.shape)?);
        }
        let mut sizes = s.shape.clone();
        sizes[s.axis] = s.count;
        let src = packed(elements::<T>(src), &s.src.layout, &sizes)?;
        match s.op {
            ReduceOp::Sum => fold(s, index, &sizes, &src, out, origins, |a: T, b| a.add(b)),
            ReduceOp::Max => fold(s, index, &sizes, &src, out, origins, |a: T, b| Num::max(a, b)),
            ReduceOp::Min => fold(s, index, &sizes, &src, out, origins, |a: T, b| Num::min(a, b)),
            ReduceOp::Prod => Err(broken("a scatter of products")),
        }
    })
}

fn outside() -> crate::error::Error {
    broken("a scatter reaches outside of a slot")
}

/// The operand's elements in row-major order: itself, where it is so already.
pub(super) fn packed<'d, T: Num>(data: &'d [T], layout: &Layout, sizes: &[usize]) -> Result<Cow<'d, [T]>> {
    let shape = Shape::from(sizes);
    match (layout.is_contiguous(&shape), usize::try_from(layout.offset)) {
        (true, Ok(first)) => {
            let end = first.checked_add(shape.numel()).ok_or_else(outside)?;
            Ok(Cow::Borrowed(data.get(first..end).ok_or_else(outside)?))
        }
        _ => Ok(Cow::Owned(pack(data, layout, sizes).ok_or_else(outside)?)),
    }
}

fn fold<T: Num>(
    s: &Scatter,
    index: &[u8],
    sizes: &[usize],
    src: &[T],
    out: &mut [T],
    origins: &[Origin],
    op: impl Fn(T, T) -> T + Copy + Sync,
) -> Result<()> {
    let rows = s.shape[s.axis];
    let post: usize = s.shape[s.axis + 1..].iter().product();
    // Where the axes behind stand still, one index moves a whole row (an embedding's gradient).
    let strides = &s.index.layout.strides;
    let by_row = (s.axis + 1..sizes.len()).all(|d| strides[d] == 0 || sizes[d] == 1);
    let (index_sizes, strides): (Dims<usize>, Dims<i64>) = match by_row {
        true => (sizes[..=s.axis].into(), strides[..=s.axis].into()),
        false => (sizes.into(), strides.clone()),
    };
    if src.is_empty() {
        return Ok(());
    }
    let layout = Layout { offset: s.index.layout.offset, strides };
    let index = packed(elements::<i32>(index), &layout, &index_sizes)?;
    if let Some(&wrong) = index.iter().find(|&&i| i < 0 || i as usize >= rows) {
        return Err(out_of_range(origins, s.origin, wrong as i64, rows));
    }
    let (len, count) = (rows * post, s.count * post);
    let each = index.len() / (src.len() / count);
    let lanes = |(i, out): (usize, &mut [T])| {
        fold_rows(&index[i * each..][..each], &src[i * count..][..count], post, by_row, 0, out, op);
    };
    if src.len() < SMALL {
        out.chunks_mut(len).enumerate().for_each(lanes);
    } else if out.len() > len {
        out.par_chunks_mut(len).enumerate().for_each(lanes);
    } else {
        // Each thread owns some rows and picks what falls there.
        let part = rows.div_ceil(PARTS);
        let parts = out.par_chunks_mut(part * post).enumerate();
        parts.for_each(|(i, out)| fold_rows(&index, src, post, by_row, i * part, out, op));
    }
    Ok(())
}

/// Folds the rows of `src` into those of `out`, whose first row is number `first`; other rows are left to others.
fn fold_rows<T: Num>(
    index: &[i32],
    src: &[T],
    post: usize,
    by_row: bool,
    first: usize,
    out: &mut [T],
    op: impl Fn(T, T) -> T,
) {
    for (i, src) in src.chunks(post).enumerate() {
        if by_row {
            let row = (index[i] as usize).checked_sub(first).and_then(|row| out.get_mut(row * post..(row + 1) * post));
            row.into_iter().flatten().zip(src).for_each(|(d, &v)| *d = op(*d, v));
            continue;
        }
        for (q, (&v, &at)) in src.iter().zip(&index[i * post..]).enumerate() {
            let place = (at as usize).checked_sub(first).and_then(|row| out.get_mut(row * post + q));
            if let Some(d) = place {
                *d = op(*d, v);
            }
        }
    }
}
