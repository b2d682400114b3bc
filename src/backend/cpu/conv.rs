//! Convolutions as matrix products: the windows of an image are written out as the columns of a matrix.
//!
//! For each image and group, with the weight seen as `[o, c·kh·kw]`: the result is weight × columns, the data gradient
//! is weightᵀ × dy added back to where the columns came from, the filter gradient is dy × columnsᵀ summed over images.

use super::broken;
use super::contract::{Matrix, gemm, large};
use super::copy::pack;
use super::num::Num;
use super::walk::{Run, hull};
use crate::error::Result;
use crate::parallel::*;
use crate::plan::ConvSizes;
use crate::shape::{Layout, Shape};
use std::borrow::Cow;

/// Parts into which images are divided for the filter gradient. Fixed, so that sums are the same on any machine.
const PARTS: usize = 16;

/// Sizes per group, and the windows per image.
#[derive(Clone, Copy)]
struct Grouped {
    c: usize,
    o: usize,
    /// Rows of the column matrix: `c·kh·kw`.
    rows: usize,
    /// Its columns: `oh·ow`.
    windows: usize,
}

impl Grouped {
    fn new(s: &ConvSizes) -> Result<Grouped> {
        let groups = s.spec.groups;
        if groups == 0 || !s.c.is_multiple_of(groups) || !s.o.is_multiple_of(groups) || s.spec.stride.contains(&0) {
            return Err(broken("a convolution whose groups or strides make no sense"));
        }
        let (c, o) = (s.c / groups, s.o / groups);
        Ok(Grouped { c, o, rows: c * s.kh * s.kw, windows: s.oh * s.ow })
    }

    /// A group's part of the contiguous weight, `[o, rows]`.
    fn weight<'d, T>(&self, data: &'d [T], group: usize) -> Matrix<'d, T> {
        let rows = self.rows as i64;
        Matrix { data, offset: (group * self.o) as i64 * rows, row: rows, column: 1 }
    }

    /// A group's part of an image's dy, `[o, windows]`.
    fn dy<'d, T>(&self, s: &ConvSizes, data: &'d [T], image: usize, group: usize) -> Matrix<'d, T> {
        let (first, windows) = (image * s.o + group * self.o, self.windows as i64);
        Matrix { data, offset: first as i64 * windows, row: windows, column: 1 }
    }
}

/// The input, `[n, c, h, w]` in any layout.
#[derive(Clone, Copy)]
struct Images<'d, T> {
    data: &'d [T],
    offset: i64,
    strides: [i64; 4],
}

impl<'d, T> Images<'d, T> {
    fn new(s: &ConvSizes, (data, layout): (&'d [T], &Layout)) -> Result<Images<'d, T>> {
        let sizes = [s.n, s.c, s.h, s.w];
        let strides: [i64; 4] =
            layout.strides[..].try_into().map_err(|_| broken("an image operand without four axes"))?;
        let count: usize = sizes.iter().product();
        if count > 0 {
            let (lo, hi) = hull(&sizes, &strides, 0..count);
            let (lo, hi) = (layout.offset.saturating_add(lo), layout.offset.saturating_add(hi));
            if lo < 0 || hi as u64 >= data.len() as u64 {
                return Err(broken("an image operand that reaches outside of its slot"));
            }
        }
        Ok(Images { data, offset: layout.offset, strides })
    }

    fn first(&self, image: usize, channel: usize) -> i64 {
        self.offset + image as i64 * self.strides[0] + channel as i64 * self.strides[1]
    }
}

/// The operand's elements in row-major order: itself, where it is so already.
fn contiguous<'d, T: Num>((data, layout): (&'d [T], &Layout), sizes: [usize; 4]) -> Result<Cow<'d, [T]>> {
    let outside = || broken("a convolution's operand reaches outside of its slot");
    let shape = Shape::from(sizes);
    if layout.strides.len() != 4 {
        return Err(outside());
    }
    match (layout.is_contiguous(&shape), usize::try_from(layout.offset)) {
        (true, Ok(first)) => {
            let end = first.checked_add(shape.numel()).ok_or_else(outside)?;
            Ok(Cow::Borrowed(data.get(first..end).ok_or_else(outside)?))
        }
        _ => Ok(Cow::Owned(pack(data, layout, &sizes).ok_or_else(outside)?)),
    }
}

/// Visits each part of a column matrix that is a part of an image's row: a run of columns, and the image elements
/// they come from as `[channel, y, x]` and the step in x. Parts that lie in the padding are not visited.
fn windows(s: &ConvSizes, channels: usize, mut visit: impl FnMut(usize, Run, [usize; 3])) {
    let ([sy, sx], [dy, dx], [py, px]) = (s.spec.stride, s.spec.dilation, s.spec.padding);
    for row in 0..channels * s.kh * s.kw {
        let (channel, ky, kx) = (row / (s.kh * s.kw), row / s.kw % s.kh, row % s.kw);
        let across = Run { at: 0, count: s.ow, first: (kx * dx) as i64 - px as i64, stride: sx as i64 };
        let inside = across.within(s.w as i64);
        if inside.is_empty() {
            continue;
        }
        let run = across.part(inside.start, inside.len());
        let down = Run { at: 0, count: s.oh, first: (ky * dy) as i64 - py as i64, stride: sy as i64 };
        for oy in down.within(s.h as i64) {
            let y = oy * sy + ky * dy - py;
            visit(row * s.oh * s.ow + oy * s.ow + run.at, run, [channel, y, run.first as usize]);
        }
    }
}

/// The column matrix `[rows, windows]` of one image and group, in `scratch` (empty, or from an image before) unless the
/// image itself is it.
fn columns<'m, T: Num>(
    s: &ConvSizes,
    g: &Grouped,
    x: &Images<'m, T>,
    [image, group]: [usize; 2],
    scratch: &'m mut Vec<T>,
) -> Matrix<'m, T> {
    let [_, sc, sh, sw] = x.strides;
    let first = x.first(image, group * g.c);
    let point = s.kh * s.kw == 1 && s.spec.stride == [1, 1] && s.spec.padding == [0, 0];
    if point && (sh == sw * s.w as i64 || s.h == 1) {
        return Matrix { data: x.data, offset: first, row: sc, column: sw };
    }
    // What lies in the padding is the same for every image and group: it stays zero.
    scratch.resize(g.rows * g.windows, T::ZERO);
    windows(s, g.c, |at, run, [channel, y, column]| {
        let dst = &mut scratch[at..at + run.count];
        let from = (first + channel as i64 * sc + y as i64 * sh + column as i64 * sw) as usize;
        match sw * run.stride {
            1 => dst.copy_from_slice(&x.data[from..from + run.count]),
            step => (0..).zip(dst).for_each(|(j, d)| *d = x.data[(from as i64 + j * step) as usize]),
        }
    });
    Matrix { data: scratch, offset: 0, row: g.windows as i64, column: 1 }
}

/// Adds a column matrix back to where it came from: `dst` is a group's channels of one image.
fn add_columns<T: Num>(s: &ConvSizes, g: &Grouped, columns: &[T], dst: &mut [T]) {
    windows(s, g.c, |at, run, [channel, y, column]| {
        let row = &mut dst[(channel * s.h + y) * s.w + column..];
        let src = &columns[at..at + run.count];
        match run.stride as usize {
            1 => row.iter_mut().zip(src).for_each(|(d, &v)| *d = d.add(v)),
            step => row.iter_mut().step_by(step).zip(src).for_each(|(d, &v)| *d = d.add(v)),
        }
    });
}

/// Runs `each` on every image's part of `dst`, with memory that is reused from image to image.
fn for_images<T: Num>(
    dst: &mut [T],
    len: usize,
    threads: bool,
    each: impl Fn(&mut Vec<T>, usize, &mut [T]) -> Result<()> + Sync,
) -> Result<()> {
    if len == 0 {
        return Ok(());
    }
    if !threads {
        let mut scratch = Vec::new();
        return dst.chunks_mut(len).enumerate().try_for_each(|(i, dst)| each(&mut scratch, i, dst));
    }
    let results =
        dst.par_chunks_mut(len).enumerate().map_init(Vec::new, |scratch, (i, dst)| each(scratch, i, dst).err());
    results.find_map_first(|e| e).map_or(Ok(()), Err)
}

/// Whether to run images on several threads, and whether a single image's products should.
fn threads(s: &ConvSizes, g: &Grouped) -> (bool, bool) {
    let big = large(&[s.n, s.o, g.rows, g.windows]);
    (big && s.n > 1, big && s.n == 1)
}

/// y from x and the weight.
pub fn forward<T: Num>(s: &ConvSizes, x: (&[T], &Layout), w: (&[T], &Layout), y: &mut [T]) -> Result<()> {
    let g = Grouped::new(s)?;
    let (x, w) = (Images::new(s, x)?, contiguous(w, [s.o, g.c, s.kh, s.kw])?);
    let (images, products) = threads(s, &g);
    for_images(y, s.o * g.windows, images, |scratch, image, y| {
        for (group, y) in y.chunks_mut(g.o * g.windows).enumerate() {
            let columns = columns(s, &g, &x, [image, group], scratch);
            gemm(y, [g.o, g.windows, g.rows], g.weight(&w, group), columns, false, products)?;
        }
        Ok(())
    })
}

/// The gradient of x from dy and the weight.
pub fn data_grad<T: Num>(s: &ConvSizes, dy: (&[T], &Layout), w: (&[T], &Layout), dx: &mut [T]) -> Result<()> {
    let g = Grouped::new(s)?;
    let (dy, w) = (contiguous(dy, [s.n, s.o, s.oh, s.ow])?, contiguous(w, [s.o, g.c, s.kh, s.kw])?);
    let (images, products) = threads(s, &g);
    for_images(dx, s.c * s.h * s.w, images, |scratch, image, dx| {
        scratch.resize(g.rows * g.windows, T::ZERO);
        dx.fill(T::ZERO);
        for (group, dx) in dx.chunks_mut(g.c * s.h * s.w).enumerate() {
            let w = g.weight(&w, group);
            let transposed = Matrix { row: w.column, column: w.row, ..w };
            let dy = g.dy(s, &dy, image, group);
            gemm(scratch, [g.rows, g.windows, g.o], transposed, dy, false, products)?;
            add_columns(s, &g, scratch, dx);
        }
        Ok(())
    })
}

/// The gradient of the weight from x and dy: images in fixed parts, each summed image after image, then the parts.
pub fn filter_grad<T: Num>(s: &ConvSizes, x: (&[T], &Layout), dy: (&[T], &Layout), dw: &mut [T]) -> Result<()> {
    let g = Grouped::new(s)?;
    let (x, dy) = (Images::new(s, x)?, contiguous(dy, [s.n, s.o, s.oh, s.ow])?);
    let (images, products) = threads(s, &g);
    let size = s.o * g.rows;
    let per_part = s.n.div_ceil(PARTS).max(1);
    let mut parts = vec![T::ZERO; size * s.n.div_ceil(per_part)];
    for_images(&mut parts, size, images, |scratch, part, dw| {
        for image in part * per_part..s.n.min((part + 1) * per_part) {
            for (group, dw) in dw.chunks_mut(g.o * g.rows).enumerate() {
                let columns = columns(s, &g, &x, [image, group], scratch);
                let transposed = Matrix { row: columns.column, column: columns.row, ..columns };
                gemm(dw, [g.o, g.rows, g.windows], g.dy(s, &dy, image, group), transposed, true, products)?;
            }
        }
        Ok(())
    })?;
    dw.fill(T::ZERO);
    for part in parts.chunks(size.max(1)) {
        dw.iter_mut().zip(part).for_each(|(d, &v)| *d = d.add(v));
    }
    Ok(())
}
