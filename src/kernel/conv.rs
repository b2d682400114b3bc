//! Convolutions as matrix products: which channel and which place a row, a column and a term of the sum stand for.
//!
//! An implicit GEMM: nothing is unfolded in memory. Of what is loaded an element at a time, every element's channel and places
//! are decoded. The wide kernel decodes windows, places where the kernel may lie, and taps, the kernel's own channels and places:
//! each once for many elements.

use super::contract::{Product, element};
use super::stage::{Plain, Reach, Stage, place, split};
use super::wide::{Cut, Wide};
use super::write::Writer;
use super::{Result, Target, count};
use crate::plan::{Contract, ConvSizes, Operand};
use std::fmt::Write as _;

/// Bits for a kernel's rows begin at 0, those for its columns here; the last bit is nobody's.
const COLUMN_BIT: usize = 16;

/// Channels in a group: of the input, of the output.
fn per_group(s: &ConvSizes) -> (usize, usize) {
    (s.c / s.spec.groups, s.o / s.spec.groups)
}

/// Lines that find the input place `ih`, `iw` of output place (`oh`, `ow`) and kernel place (`kh`, `kw`), and return 0
/// when it lies in the padding.
fn input_place(w: &mut Writer, s: &ConvSizes) -> Result<String> {
    let mut text = String::new();
    for (d, (size, axis)) in [(s.h, "h"), (s.w, "w")].into_iter().enumerate() {
        let stride = w.count(count(s.spec.stride[d])?);
        let dilation = w.count(count(s.spec.dilation[d])?);
        let padding = w.count(count(s.spec.padding[d])?);
        let size = w.count(count(size)?);
        // In u32, a place before the first is a very large one.
        let _ = write!(
            text,
            "    let i{axis} = o{axis} * {stride} + k{axis} * {dilation} - {padding};\n    \
             if (i{axis} >= {size}) {{\n        return 0.0;\n    }}\n"
        );
    }
    Ok(text)
}

/// `y[img, o, oh, ow]`: rows are output channels of a group, columns are places of all images, terms are the weight's.
pub fn forward(w: &mut Writer, c: &Contract, s: &ConvSizes, target: Target) -> Result<Product> {
    let (cg, og) = per_group(s);
    let (xs, ws) = (&c.a.layout.strides, &c.b.layout.strides);
    let (image, filters) = (cg as i64 * xs[1], og as i64 * ws[0]);
    let weight = Side::plain(&c.b, filters, &[(og, ws[0])], &[(cg, ws[1]), (s.kh, ws[2]), (s.kw, ws[3])]);
    let x = match pointwise(s) {
        true => Side::plain(&c.a, image, &places(&c.a, [s.n, s.oh, s.ow]), &[(cg, xs[1])]),
        false => Side::Windows { stage: Stage::Rows, batch: image, row: window, term: tap },
    };
    let sizes = [s.spec.groups, og, s.n * s.oh * s.ow, cg * s.kh * s.kw];
    let wide = wide(w, c, s, target, sizes, [weight, x])?;
    let (cg_n, og_n) = (w.count(count(cg)?), w.count(count(og)?));
    let term = split(w, "k", &["ci", "kh", "kw"], &[cg, s.kh, s.kw])?;
    let column = split(w, "n", &["img", "oh", "ow"], &[s.n, s.oh, s.ow])?;
    let place = input_place(w, s)?;
    let weight = element(w, c.dtype, &c.b, &[&format!("(batch * {og_n} + m)"), "ci", "kh", "kw"])?;
    let x = element(w, c.dtype, &c.a, &["img", &format!("(batch * {cg_n} + ci)"), "ih", "iw"])?;
    Ok(Product {
        batches: s.spec.groups,
        m: og,
        n: s.n * s.oh * s.ow,
        k: cg * s.kh * s.kw,
        a: format!("{term}    return {weight};\n"),
        b: format!("{term}{column}{place}    return {x};\n"),
        sizes: [s.n, s.o, s.oh, s.ow].into_iter().collect(),
        column: (&["img", "oh", "ow"], column),
        point: format!(
            "    let i0 = i32(img);\n    let i1 = i32(batch * {og_n} + m);\n    let i2 = i32(oh);\n    let i3 = i32(ow);\n"
        ),
        a_along_k: true,
        b_along_k: false,
        wide,
    })
}

/// `dx[img, c, h, w]`: rows are input channels of a group, columns are places of all images, terms are output channel
/// and kernel place, of which those count that an output place belongs to.
pub fn data_grad(w: &mut Writer, c: &Contract, s: &ConvSizes, target: Target) -> Result<Product> {
    let (cg, og) = per_group(s);
    let (ys, ws) = (&c.a.layout.strides, &c.b.layout.strides);
    let (image, filters) = (og as i64 * ys[1], og as i64 * ws[0]);
    let weight = Side::plain(&c.b, filters, &[(cg, ws[1])], &[(og, ws[0]), (s.kh, ws[2]), (s.kw, ws[3])]);
    let dy = match pointwise(s) {
        true => Side::plain(&c.a, image, &places(&c.a, [s.n, s.h, s.w]), &[(og, ys[1])]),
        false => Side::Windows { stage: Stage::Rows, batch: image, row: window_back, term: tap_back },
    };
    let sizes = [s.spec.groups, cg, s.n * s.h * s.w, og * s.kh * s.kw];
    let wide = wide(w, c, s, target, sizes, [weight, dy])?;
    let (cg_n, og_n) = (w.count(count(cg)?), w.count(count(og)?));
    let term = split(w, "k", &["co", "kh", "kw"], &[og, s.kh, s.kw])?;
    let column = split(w, "n", &["img", "ih", "iw"], &[s.n, s.h, s.w])?;
    let mut place = String::new();
    for (d, (size, axis)) in [(s.oh, "h"), (s.ow, "w")].into_iter().enumerate() {
        let stride = w.count(count(s.spec.stride[d])?);
        let dilation = w.count(count(s.spec.dilation[d])?);
        let padding = w.count(count(s.spec.padding[d])?);
        let size = w.count(count(size)?);
        let _ = write!(
            place,
            "    let at_{axis} = i32(i{axis} + {padding}) - i32(k{axis} * {dilation});\n    \
             if (at_{axis} < 0i || u32(at_{axis}) % {stride} != 0u) {{\n        return 0.0;\n    }}\n    \
             let o{axis} = u32(at_{axis}) / {stride};\n    if (o{axis} >= {size}) {{\n        return 0.0;\n    }}\n"
        );
    }
    let weight = element(w, c.dtype, &c.b, &[&format!("(batch * {og_n} + co)"), "m", "kh", "kw"])?;
    let dy = element(w, c.dtype, &c.a, &["img", &format!("(batch * {og_n} + co)"), "oh", "ow"])?;
    Ok(Product {
        batches: s.spec.groups,
        m: cg,
        n: s.n * s.h * s.w,
        k: og * s.kh * s.kw,
        a: format!("{term}    return {weight};\n"),
        b: format!("{term}{column}{place}    return {dy};\n"),
        sizes: [s.n, s.c, s.h, s.w].into_iter().collect(),
        column: (&["img", "ih", "iw"], column),
        point: format!(
            "    let i0 = i32(img);\n    let i1 = i32(batch * {cg_n} + m);\n    let i2 = i32(ih);\n    let i3 = i32(iw);\n"
        ),
        a_along_k: true,
        b_along_k: false,
        wide,
    })
}

/// `dw[o, c, kh, kw]`: rows are output channels of a group, columns are the weight's other axes, terms are places of
/// all images.
pub fn filter_grad(w: &mut Writer, c: &Contract, s: &ConvSizes, target: Target) -> Result<Product> {
    let (cg, og) = per_group(s);
    let (xs, ys) = (&c.a.layout.strides, &c.b.layout.strides);
    let (image, results) = (cg as i64 * xs[1], og as i64 * ys[1]);
    let dy = Side::plain(&c.b, results, &[(og, ys[1])], &places(&c.b, [s.n, s.oh, s.ow]));
    let x = match pointwise(s) {
        true => Side::plain(&c.a, image, &[(cg, xs[1])], &places(&c.a, [s.n, s.oh, s.ow])),
        false => Side::Windows { stage: Stage::Terms, batch: image, row: tap, term: window },
    };
    let sizes = [s.spec.groups, og, cg * s.kh * s.kw, s.n * s.oh * s.ow];
    let wide = wide(w, c, s, target, sizes, [dy, x])?;
    let (cg_n, og_n) = (w.count(count(cg)?), w.count(count(og)?));
    let term = split(w, "k", &["img", "oh", "ow"], &[s.n, s.oh, s.ow])?;
    let column = split(w, "n", &["ci", "kh", "kw"], &[cg, s.kh, s.kw])?;
    let place = input_place(w, s)?;
    let dy = element(w, c.dtype, &c.b, &["img", &format!("(batch * {og_n} + m)"), "oh", "ow"])?;
    let x = element(w, c.dtype, &c.a, &["img", &format!("(batch * {cg_n} + ci)"), "ih", "iw"])?;
    Ok(Product {
        batches: s.spec.groups,
        m: og,
        n: cg * s.kh * s.kw,
        k: s.n * s.oh * s.ow,
        a: format!("{term}    return {dy};\n"),
        b: format!("{term}{column}{place}    return {x};\n"),
        sizes: [s.o, cg, s.kh, s.kw].into_iter().collect(),
        column: (&["ci", "kh", "kw"], column),
        point: format!(
            "    let i0 = i32(batch * {og_n} + m);\n    let i1 = i32(ci);\n    let i2 = i32(kh);\n    let i3 = i32(kw);\n"
        ),
        a_along_k: true,
        b_along_k: true,
        wide,
    })
}

/// Whether it is a product of matrices for each image: every window is a place by itself.
fn pointwise(s: &ConvSizes) -> bool {
    s.kh * s.kw == 1 && s.spec.stride == [1, 1] && s.spec.padding == [0, 0]
}

/// The places of all images as axes.
fn places(o: &Operand, [n, h, w]: [usize; 3]) -> [(usize, i64); 3] {
    let strides = &o.layout.strides;
    [(n, strides[0]), (h, strides[2]), (w, strides[3])]
}

/// How the wide kernel reaches an operand.
enum Side<'a> {
    Plain(Plain<'a>),
    /// Operand a by windows and taps; `batch` is the stride from group to group.
    Windows {
        stage: Stage,
        batch: i64,
        row: Index,
        term: Index,
    },
}

/// Writes the body of a function that decodes `linear` into a place of operand a and into bits, one for each row and each column
/// of taps. To the place it adds an offset and the stride of a batch.
type Index = fn(w: &mut Writer, c: &Contract, s: &ConvSizes, linear: &str, base: (i64, i64)) -> Result<String>;

impl<'a> Side<'a> {
    fn plain(o: &'a Operand, batch: i64, rows: &[(usize, i64)], terms: &[(usize, i64)]) -> Side<'a> {
        Side::Plain(Plain::new(o, rows, terms, vec![(batch, "batch".into())], ""))
    }

    fn stage(&self) -> Stage {
        match self {
            Side::Plain(plain) => plain.stage(),
            Side::Windows { stage, .. } => *stage,
        }
    }

    fn reach(&self, w: &mut Writer, c: &Contract, s: &ConvSizes) -> Result<Reach> {
        Ok(match self {
            Side::Plain(plain) => plain.reach(w)?,
            Side::Windows { stage, batch, row, term } => Reach {
                stage: *stage,
                slot: c.a.slot,
                row: row(w, c, s, "row", (c.a.layout.offset, *batch))?,
                term: term(w, c, s, "k", (0, 0))?,
            },
        })
    }
}

/// The wide kernel for a product of so many batches, rows, columns and terms, if that is the one for it.
fn wide(
    w: &mut Writer,
    c: &Contract,
    s: &ConvSizes,
    target: Target,
    sizes: [usize; 4],
    [a, b]: [Side; 2],
) -> Result<Option<Wide>> {
    let cut = Cut::choose(sizes, [a.stage(), b.stage()], c.dtype, target);
    let Some(cut) = cut.filter(|_| s.kh.max(s.kw) < COLUMN_BIT) else { return Ok(None) };
    let reaches = [a.reach(w, c, s)?, b.reach(w, c, s)?];
    Ok(Some(Wide::new(w, cut, c.dtype, reaches)))
}

/// The window over output place `linear`: where its first tap lies, and which taps lie in the image.
fn window(w: &mut Writer, c: &Contract, s: &ConvSizes, linear: &str, (offset, batch): (i64, i64)) -> Result<String> {
    let mut text = split(w, linear, &["img", "oh", "ow"], &[s.n, s.oh, s.ow])?;
    for (d, (axis, size, taps)) in [("h", s.h, s.kh), ("w", s.w, s.kw)].into_iter().enumerate() {
        let [stride, padding, taps, size] = [s.spec.stride[d], s.spec.padding[d], taps, size].map(|n| w.int(n as i64));
        let _ = write!(
            text,
            "    let i{axis} = i32(o{axis}) * {stride} - {padding};\n    \
             let {axis}_bits = taps_over(i{axis}, {}i, {taps}, {size});\n",
            s.spec.dilation[d]
        );
    }
    let x = &c.a.layout.strides;
    let place = place(w, offset, &[(batch, "batch"), (x[0], "img"), (x[2], "ih"), (x[3], "iw")]);
    Ok(format!("{text}    return At({place}, h_bits | (w_bits << {COLUMN_BIT}u));\n"))
}

/// The tap of input channel and kernel place `linear`: how far it lies from the first, and its bits.
fn tap(w: &mut Writer, c: &Contract, s: &ConvSizes, linear: &str, (offset, batch): (i64, i64)) -> Result<String> {
    let text = split(w, linear, &["ci", "kh", "kw"], &[s.c / s.spec.groups, s.kh, s.kw])?;
    let x = &c.a.layout.strides;
    let [h, width] = [0, 1].map(|d| x[d + 2] * s.spec.dilation[d] as i64);
    let place = place(w, offset, &[(batch, "batch"), (x[1], "ci"), (h, "kh"), (width, "kw")]);
    Ok(format!("{text}    return At({place}, {});\n", tap_bits()))
}

fn tap_bits() -> String {
    format!("(1u << kh) | (1u << (kw + {COLUMN_BIT}u))")
}

/// The window of the gradient's place `linear`: where the output place of a tap at 0 lies, and which taps have one. Places of
/// taps that have are whole strides apart, so that quotients may be rounded before they are subtracted.
fn window_back(
    w: &mut Writer,
    c: &Contract,
    s: &ConvSizes,
    linear: &str,
    (offset, batch): (i64, i64),
) -> Result<String> {
    let mut text = split(w, linear, &["img", "ih", "iw"], &[s.n, s.h, s.w])?;
    for (d, (axis, size, taps)) in [("h", s.oh, s.kh), ("w", s.ow, s.kw)].into_iter().enumerate() {
        let [stride, padding, dilation, taps, size] =
            [s.spec.stride[d], s.spec.padding[d], s.spec.dilation[d], taps, size].map(|n| w.int(n as i64));
        let _ = write!(
            text,
            "    let last_{axis} = i32(i{axis}) + {padding};\n    let o{axis} = last_{axis} / {stride};\n    \
             let {axis}_bits = taps_from(last_{axis}, {dilation}, {stride}, {taps}, {size});\n"
        );
    }
    let y = &c.a.layout.strides;
    let place = place(w, offset, &[(batch, "batch"), (y[0], "img"), (y[2], "oh"), (y[3], "ow")]);
    Ok(format!("{text}    return At({place}, h_bits | (w_bits << {COLUMN_BIT}u));\n"))
}

/// The tap of output channel and kernel place `linear`.
fn tap_back(w: &mut Writer, c: &Contract, s: &ConvSizes, linear: &str, (offset, batch): (i64, i64)) -> Result<String> {
    let mut text = split(w, linear, &["co", "kh", "kw"], &[s.o / s.spec.groups, s.kh, s.kw])?;
    for (d, axis) in ["h", "w"].into_iter().enumerate() {
        let [dilation, stride] = [s.spec.dilation[d], s.spec.stride[d]].map(|n| w.int(n as i64));
        let _ = writeln!(text, "    let back_{axis} = i32(k{axis}) * {dilation} / {stride};");
    }
    let y = &c.a.layout.strides;
    let place = place(w, offset, &[(batch, "batch"), (y[1], "co"), (-y[2], "back_h"), (-y[3], "back_w")]);
    Ok(format!("{text}    return At({place}, {});\n", tap_bits()))
}
