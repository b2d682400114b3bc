//! Contractions as matrix products: which operand element a row, a column and a term of the sum stand for.
//!
//! The kernels are files (`shaders/matmul*.wgsl`); this writes the functions that they reach their operands through.
//! A convolution is an implicit GEMM: its functions decode rows, columns and terms into channels and places.

use super::matrices::Matrices;
use super::pairs::stores_half;
use super::wide::{self, Stage};
use super::write::{Body, Writer};
use super::{KernelSource, Result, Target, count, ops, parts, rows, spread, unsupported};
use crate::dtype::DType;
use crate::plan::{Contract, ContractKind, ConvSizes, Operand};
use crate::shape::Dims;
use std::fmt::Write as _;

const TILED: &str = include_str!("../../shaders/matmul.wgsl");
const SMALL: &str = include_str!("../../shaders/matmul_small.wgsl");
const LONG: &str = include_str!("../../shaders/matmul_long.wgsl");
const WIDE: &str = wide::WIDE;
const EMULATED: &str = include_str!("../../shaders/matmul_emulated.wgsl");

/// The product as the kernels see it.
struct Product {
    batches: usize,
    m: usize,
    n: usize,
    k: usize,
    /// Bodies of `load_a(batch, m, k)` and `load_b(batch, k, n)`.
    a: String,
    b: String,
    /// The result's own sizes; lines of `store` that find `i0..` for them.
    sizes: Dims<usize>,
    point: String,
    a_along_k: bool,
    b_along_k: bool,
    /// How the wide kernel fills its tiles, and bodies of `four_a(batch, m, k)` and `four_b(batch, k, n)` where it takes fours.
    stages: [Stage; 2],
    fours: [String; 2],
    suits_wide: bool,
}

/// The kernel of a contraction with its epilogue.
pub fn contract(c: &Contract, target: Target) -> Result<KernelSource> {
    if let Some(matrices) = Matrices::of(c, target) {
        return matrices.kernel();
    }
    let mut w = Writer::default();
    touch(&mut w, c)?;
    w.touch_loop(&c.epilogue, |s| stores_half(&c.epilogue, s))?;
    let product = product(&mut w, c, target)?;
    let (name, file, groups) = product.choose(target);
    let dispatch = spread(groups)?;
    let mut text = file.to_owned();
    product.frame(&mut w, file, &mut text, dispatch[0])?;
    let _ = write!(text, "\nfn load_a(batch: u32, m: u32, k: u32) -> f32 {{\n{}}}\n", product.a);
    let _ = write!(text, "\nfn load_b(batch: u32, k: u32, n: u32) -> f32 {{\n{}}}\n", product.b);
    let (mut body, mut epilogue) = Body::new(&mut w, &c.epilogue, "    ");
    for r in 0..c.epilogue.instrs.len() {
        epilogue += &body.instr(r, "    ")?;
    }
    for s in &c.epilogue.stores {
        epilogue += &body.store(s, "    ")?;
    }
    let point = product.point(&mut w, &c.epilogue.outer)?;
    let _ = write!(text, "\nfn store(batch: u32, m: u32, n: u32, value: f32) {{\n{point}{epilogue}}}\n");
    Ok(w.finish(name, "", &text, dispatch))
}

/// Into how many parts its sums are cut; 1 where that does not pay.
pub fn parts(c: &Contract, target: Target) -> Result<usize> {
    if let Some(matrices) = Matrices::of(c, target) {
        return Ok(matrices.parts());
    }
    let mut w = Writer::default();
    touch(&mut w, c)?;
    let product = product(&mut w, c, target)?;
    let (_, file, groups) = product.choose(target);
    Ok(match file {
        TILED => parts::worth(groups, product.k, 512, 256),
        LONG => parts::worth(groups, product.k, 4096, 1024),
        _ => 1,
    })
}

/// The kernel that makes the sums of `parts` parts, to slot `scratch`: `[parts, elements..]`.
pub fn sums(c: &Contract, target: Target, parts: usize, scratch: usize) -> Result<KernelSource> {
    if let Some(matrices) = Matrices::of(c, target) {
        return matrices.sums(parts, scratch);
    }
    let mut w = Writer::default();
    touch(&mut w, c)?;
    w.touch(scratch, DType::F32, true)?;
    let mut product = product(&mut w, c, target)?;
    let (terms, elements) = (product.k, product.sizes.iter().product());
    let (_, file, _) = product.choose(target);
    product.k = terms.div_ceil(parts);
    product.batches *= parts;
    let dispatch = spread(if file == LONG { product.m * product.n * product.batches } else { product.tiles() })?;
    let mut text = file.to_owned();
    product.frame(&mut w, file, &mut text, dispatch[0])?;
    for (name, n) in [("parts", parts), ("terms", terms), ("elements", elements)] {
        text += &rows::number(&mut w, name, count(n)?);
    }
    // What a kernel takes for a batch is a part of one.
    let _ = write!(
        text,
        "\nfn term_a(batch: u32, m: u32, k: u32) -> f32 {{\n{}}}\n\nfn term_b(batch: u32, k: u32, n: u32) -> f32 {{\n{}}}\n\n\
         fn load_a(batch: u32, m: u32, k: u32) -> f32 {{\n    let term = batch % parts() * size_k() + k;\n    \
         if (term >= terms()) {{\n        return 0.0;\n    }}\n    return term_a(batch / parts(), m, term);\n}}\n\n\
         fn load_b(batch: u32, k: u32, n: u32) -> f32 {{\n    let term = batch % parts() * size_k() + k;\n    \
         if (term >= terms()) {{\n        return 0.0;\n    }}\n    return term_b(batch / parts(), term, n);\n}}\n",
        product.a, product.b
    );
    let point = &product.point;
    let element = number_of(&mut w, &product.sizes);
    let store = w.store(scratch, DType::F32, "i32(own % parts() * elements()) + place", "value")?;
    let _ = write!(
        text,
        "\nfn store(own: u32, m: u32, n: u32, value: f32) {{\n    let batch = own / parts();\n{point}    let place = {element};\n    \
         {store}\n}}\n"
    );
    Ok(w.finish("matmul", "", &text, dispatch))
}

/// Says what a contraction reads. Fails where no kernel multiplies such numbers.
fn touch(w: &mut Writer, c: &Contract) -> Result<()> {
    if ops::computed(c.dtype) != DType::F32 {
        return Err(unsupported(format!("products of {}; cast to f32 first", c.dtype)));
    }
    w.touch(c.a.slot, c.dtype, false)?;
    w.touch(c.b.slot, c.dtype, false)
}

fn product(w: &mut Writer, c: &Contract, target: Target) -> Result<Product> {
    match &c.kind {
        ContractKind::Matmul { batch, m, n, k } => matmul(w, c, batch, [*m, *n, *k], target),
        ContractKind::Conv(s) => forward(w, c, s),
        ContractKind::ConvDataGrad(s) => data_grad(w, c, s),
        ContractKind::ConvFilterGrad(s) => filter_grad(w, c, s),
    }
}

impl Product {
    fn point(&self, w: &mut Writer, outer: &Dims<usize>) -> Result<String> {
        point(w, &self.sizes, &self.point, outer)
    }

    /// What the kernels of `shaders/matmul*.wgsl` know of it.
    fn frame(&self, w: &mut Writer, file: &str, text: &mut String, width: u32) -> Result<()> {
        if file == TILED {
            let _ = write!(text, "\nconst A_ALONG_K = {};\nconst B_ALONG_K = {};\n", self.a_along_k, self.b_along_k);
        }
        if file == WIDE {
            let [a, b] = self.stages;
            let _ = write!(text, "{}{}{}", wide::sums(), a.function("a"), b.function("b"));
            for (stage, name, args, four) in
                [(a, "a", "m: u32, k: u32", &self.fours[0]), (b, "b", "k: u32, n: u32", &self.fours[1])]
            {
                if stage.by_fours() {
                    let _ = write!(text, "\nfn four_{name}(batch: u32, {args}) -> vec4<f32> {{\n{four}}}\n");
                }
            }
        }
        let sizes = [
            ("size_m", self.m),
            ("size_n", self.n),
            ("size_k", self.k),
            ("batches", self.batches),
            ("groups_x", width as usize),
        ];
        for (name, size) in sizes {
            let size = w.count(count(size)?);
            let _ = write!(text, "\nfn {name}() -> u32 {{\n    return {size};\n}}\n");
        }
        Ok(())
    }

    /// Workgroups of the tiled kernel.
    fn tiles(&self) -> usize {
        self.m.div_ceil(64) * self.n.div_ceil(64) * self.batches
    }

    /// The kernel for these sizes, and how many workgroups it takes.
    fn choose(&self, target: Target) -> (&'static str, &'static str, usize) {
        let elements = self.m * self.n * self.batches;
        if target.emulated && self.m >= 4 && self.n >= 4 && self.k < 1 << 16 {
            return ("matmul_emulated", EMULATED, self.m.div_ceil(64) * self.n.div_ceil(16) * self.batches);
        }
        let small = self.m < 16 || self.n < 16 || elements < 64 * 64 * 2 || self.k < 8;
        // By a vector, whose terms lie as the matrix's do, so that neighbours read neighbours.
        let vector = self.k >= 256 && (self.n == 1 && self.a_along_k || self.m == 1 && self.b_along_k);
        if small && (vector || elements <= 4096 && self.k >= 1024 || self.k >= 1 << 16) {
            return ("matmul_long", LONG, elements);
        }
        if small {
            return ("matmul_small", SMALL, elements.div_ceil(64));
        }
        // Tiles four times as large, where there are enough of them for the device.
        if let Some(tiles) = wide_tiles([self.batches, self.m, self.n], target).filter(|_| self.suits_wide) {
            return ("matmul_wide", WIDE, tiles);
        }
        ("matmul", TILED, self.tiles())
    }
}

/// Lines that find the point of an epilogue over `outer`: `own`, which finds that among the result's own `sizes`, or more where
/// `outer` counts the same elements in the same order under others.
pub fn point(w: &mut Writer, sizes: &Dims<usize>, own: &str, outer: &Dims<usize>) -> Result<String> {
    if outer == sizes {
        return Ok(own.to_owned());
    }
    let element = number_of(w, sizes);
    let decode = w.indices("element", "i", outer, "    ")?;
    Ok(format!("    var element: u32;\n    {{\n{own}    element = u32({element});\n    }}\n{decode}"))
}

/// The number of element `i0..` among these sizes.
fn number_of(w: &mut Writer, sizes: &Dims<usize>) -> String {
    let mut element = String::from("i0");
    for (d, &size) in sizes.iter().enumerate().skip(1) {
        element = format!("({element} * {} + i{d})", w.int(size as i64));
    }
    element
}

/// How many tiles the wide kernel makes, where it is the one to make them.
fn wide_tiles([batches, m, n]: [usize; 3], target: Target) -> Option<usize> {
    let tiles = m.div_ceil(128) * n.div_ceil(128) * batches;
    (m > 64 && n > 64 && tiles >= 120 && target.workgroup_memory >= wide::MEMORY).then_some(tiles)
}

/// Whether the wide kernel is the faster one for these operands, as measured on an H100: loads one by one keep it waiting, and
/// so do halves that lie along rows.
fn suits_wide(dtype: DType, stages: [Stage; 2]) -> bool {
    stages.iter().all(|stage| *stage == Stage::FourTerms || *stage == Stage::FourRows && !dtype.is_half())
}

/// An operand's element as an expression, given expressions for its indices.
fn element(w: &mut Writer, dtype: DType, o: &Operand, indices: &[&str]) -> Result<String> {
    let place = place(w, o, indices);
    w.load(o.slot, dtype, &place)
}

/// Where it lies.
pub fn place(w: &mut Writer, o: &Operand, indices: &[&str]) -> String {
    let mut terms = Vec::new();
    if o.layout.offset != 0 {
        terms.push(w.int(o.layout.offset));
    }
    for (&stride, index) in o.layout.strides.iter().zip(indices).filter(|(s, _)| **s != 0) {
        terms.push(if stride == 1 { format!("i32({index})") } else { format!("i32({index}) * {}", w.int(stride)) });
    }
    if terms.is_empty() { "0i".into() } else { terms.join(" + ") }
}

/// The body of a function that gives four neighbours of an operand that is staged by fours.
fn fours(w: &mut Writer, dtype: DType, o: &Operand, stage: Stage, decode: &str, indices: &[&str]) -> Result<String> {
    if !stage.by_fours() {
        return Ok(String::new());
    }
    let place = place(w, o, indices);
    if !dtype.is_half() {
        return Ok(format!("{decode}    return {};\n", wide::four(w, o.slot, dtype, &place)?));
    }
    let four = wide::four(w, o.slot, dtype, "")?;
    let buffer = w.buffer(o.slot);
    Ok(format!(
        "{decode}    let place = ({place}) >> 1u;\n    let words = vec2({buffer}[place], {buffer}[place + 1i]);\n    return {four};\n"
    ))
}

fn matmul(w: &mut Writer, c: &Contract, batch: &Dims<usize>, [m, n, k]: [usize; 3], target: Target) -> Result<Product> {
    let rank = batch.len();
    let decode = w.indices("batch", "i", batch, "    ")?;
    let axes: Vec<String> = (0..rank).map(|d| format!("i{d}")).collect();
    let with = |last: [&'static str; 2]| -> Vec<&str> { axes.iter().map(String::as_str).chain(last).collect() };
    let stages = [Stage::of(&c.a, [m, k], [rank, rank + 1]), Stage::of(&c.b, [n, k], [rank + 1, rank])];
    let wide = suits_wide(c.dtype, stages) && wide_tiles([batch.iter().product(), m, n], target).is_some();
    if wide && !c.dtype.is_half() {
        let operands = [(&c.a, stages[0]), (&c.b, stages[1])];
        operands.iter().filter(|(_, stage)| stage.by_fours()).for_each(|(o, _)| w.hold_vectors(o.slot));
    }
    let a = element(w, c.dtype, &c.a, &with(["m", "k"]))?;
    let b = element(w, c.dtype, &c.b, &with(["k", "n"]))?;
    let fours = [
        fours(w, c.dtype, &c.a, stages[0], &decode, &with(["m", "k"]))?,
        fours(w, c.dtype, &c.b, stages[1], &decode, &with(["k", "n"]))?,
    ];
    Ok(Product {
        batches: batch.iter().product(),
        m,
        n,
        k,
        a: format!("{decode}    return {a};\n"),
        b: format!("{decode}    return {b};\n"),
        sizes: batch.iter().copied().chain([m, n]).collect(),
        point: format!("{decode}    let i{rank} = i32(m);\n    let i{} = i32(n);\n", rank + 1),
        a_along_k: c.a.layout.strides[rank + 1] == 1,
        b_along_k: c.b.layout.strides[rank] == 1 && c.b.layout.strides[rank + 1] != 1,
        stages,
        fours,
        suits_wide: suits_wide(c.dtype, stages),
    })
}

/// Lines `let {names[d]} = ..;` that split `linear` over `sizes`, as `u32`.
fn split(w: &mut Writer, linear: &str, names: &[&str], sizes: &[usize]) -> Result<String> {
    let mut text = String::new();
    let mut rest = linear.to_owned();
    for (name, &size) in names.iter().zip(sizes).skip(1).rev() {
        let size = w.count(count(size.max(1))?);
        let _ = writeln!(text, "    let {name} = {rest} % {size};");
        rest = format!("({rest} / {size})");
    }
    let _ = writeln!(text, "    let {} = {rest};", names[0]);
    Ok(text)
}

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
fn forward(w: &mut Writer, c: &Contract, s: &ConvSizes) -> Result<Product> {
    let (cg, og) = per_group(s);
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
        point: format!(
            "{column}    let i0 = i32(img);\n    let i1 = i32(batch * {og_n} + m);\n    let i2 = i32(oh);\n    let i3 = i32(ow);\n"
        ),
        a_along_k: true,
        b_along_k: false,
        stages: [Stage::Single; 2],
        fours: Default::default(),
        suits_wide: false,
    })
}

/// `dx[img, c, h, w]`: rows are input channels of a group, columns are places of all images, terms are output channel
/// and kernel place, of which those count that an output place belongs to.
fn data_grad(w: &mut Writer, c: &Contract, s: &ConvSizes) -> Result<Product> {
    let (cg, og) = per_group(s);
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
        point: format!(
            "{column}    let i0 = i32(img);\n    let i1 = i32(batch * {cg_n} + m);\n    let i2 = i32(ih);\n    let i3 = i32(iw);\n"
        ),
        a_along_k: true,
        b_along_k: false,
        stages: [Stage::Single; 2],
        fours: Default::default(),
        suits_wide: false,
    })
}

/// `dw[o, c, kh, kw]`: rows are output channels of a group, columns are the weight's other axes, terms are places of
/// all images.
fn filter_grad(w: &mut Writer, c: &Contract, s: &ConvSizes) -> Result<Product> {
    let (cg, og) = per_group(s);
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
        point: format!(
            "{column}    let i0 = i32(batch * {og_n} + m);\n    let i1 = i32(ci);\n    let i2 = i32(kh);\n    let i3 = i32(kw);\n"
        ),
        a_along_k: true,
        b_along_k: true,
        stages: [Stage::Single; 2],
        fours: Default::default(),
        suits_wide: false,
    })
}
