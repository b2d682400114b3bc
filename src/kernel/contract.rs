//! Contractions as matrix products: which operand element a row, a column and a term of the sum stand for.
//!
//! The kernels are files (`shaders/matmul*.wgsl`); this writes the functions that they reach their operands through.

use super::matrices::Matrices;
use super::pairs::stores_half;
use super::stage::{self, Plain};
use super::wide::{self, Cut, Wide};
use super::write::{Body, Writer};
use super::{KernelSource, Result, Target, conv, count, ops, parts, rows, spread, unsupported};
use crate::dtype::DType;
use crate::plan::{Contract, ContractKind, Operand};
use crate::shape::Dims;
use std::fmt::Write as _;

const TILED: &str = include_str!("../../shaders/matmul.wgsl");
const SMALL: &str = include_str!("../../shaders/matmul_small.wgsl");
const LONG: &str = include_str!("../../shaders/matmul_long.wgsl");
const WIDE: &str = wide::WIDE;
const EMULATED: &str = include_str!("../../shaders/matmul_emulated.wgsl");

/// The product as the kernels see it.
pub struct Product {
    pub batches: usize,
    pub m: usize,
    pub n: usize,
    pub k: usize,
    /// Bodies of `load_a(batch, m, k)` and `load_b(batch, k, n)`.
    pub a: String,
    pub b: String,
    /// The result's own sizes; lines of `store` that find `i0..` for them, and of what these take from the column: names, and
    /// lines that find them.
    pub sizes: Dims<usize>,
    pub point: String,
    pub column: (&'static [&'static str], String),
    pub a_along_k: bool,
    pub b_along_k: bool,
    /// How the wide kernel makes it, where that is the one to do so.
    pub wide: Option<Wide>,
}

/// The kernel of a contraction with its epilogue; slot `scratch` has what [`Matrices::largest`] found.
pub fn contract(c: &Contract, target: Target, scratch: usize) -> Result<KernelSource> {
    if let Some(matrices) = Matrices::of(c, target) {
        return matrices.kernel(scratch);
    }
    let mut w = Writer::default();
    touch(&mut w, c)?;
    w.touch_loop(&c.epilogue, |s| stores_half(&c.epilogue, s))?;
    let product = product(&mut w, c, target)?;
    let (name, file, groups) = product.choose(target);
    let dispatch = spread(groups)?;
    let mut text = file.to_owned();
    product.frame(&mut w, file, &mut text, dispatch[0])?;
    match &product.wide {
        Some(wide) if file == WIDE => text += &wide.functions(&mut w, c.dtype, product.k, 1)?,
        _ => {
            let _ = write!(text, "\nfn load_a(batch: u32, m: u32, k: u32) -> f32 {{\n{}}}\n", product.a);
            let _ = write!(text, "\nfn load_b(batch: u32, k: u32, n: u32) -> f32 {{\n{}}}\n", product.b);
        }
    }
    let (mut body, mut epilogue) = Body::new(&mut w, &c.epilogue, "    ");
    for r in 0..c.epilogue.instrs.len() {
        epilogue += &body.instr(r, "    ")?;
    }
    for s in &c.epilogue.stores {
        epilogue += &body.store(s, "    ")?;
    }
    let point = product.point(&mut w, &c.epilogue.outer)?;
    text += &product.store(file, "batch", &format!("{point}{epilogue}"));
    Ok(w.finish(name, "", &text, dispatch))
}

/// Into how many parts its sums are cut; 1 where that does not pay.
pub fn parts(c: &Contract, target: Target) -> Result<usize> {
    if let Some(matrices) = Matrices::of(c, target) {
        return Ok(matrices.parts(target));
    }
    let mut w = Writer::default();
    touch(&mut w, c)?;
    let product = product(&mut w, c, target)?;
    let (_, file, groups) = product.choose(target);
    // A CPU in a GPU's place has no room to fill.
    let room = |room: u32| if target.emulated { 1 } else { room };
    Ok(match (&product.wide, file) {
        (_, TILED) => parts::TILED.parts(room(target.tuning.tiled_room), groups, product.k),
        (_, LONG) => parts::LONG.parts(room(target.tuning.long_room), groups, product.k),
        (Some(wide), WIDE) => wide.cut.parts,
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
    let (name, file, groups) = product.choose(target);
    // What a kernel takes for a batch is a part of one.
    product.batches *= parts;
    let dispatch = spread(groups * parts)?;
    let mut text = file.to_owned();
    match &product.wide {
        Some(wide) if file == WIDE => {
            product.frame(&mut w, file, &mut text, dispatch[0])?;
            text += &wide.functions(&mut w, c.dtype, terms, parts)?;
        }
        _ => {
            product.k = terms.div_ceil(parts);
            product.frame(&mut w, file, &mut text, dispatch[0])?;
            for (name, n) in [("parts", parts), ("terms", terms)] {
                text += &rows::number(&mut w, name, count(n)?);
            }
            let _ = write!(
                text,
                "\nfn term_a(batch: u32, m: u32, k: u32) -> f32 {{\n{}}}\n\nfn term_b(batch: u32, k: u32, n: u32) -> f32 {{\n{}}}\n\n\
                 fn load_a(batch: u32, m: u32, k: u32) -> f32 {{\n    let term = batch % parts() * size_k() + k;\n    \
                 if (term >= terms()) {{\n        return 0.0;\n    }}\n    return term_a(batch / parts(), m, term);\n}}\n\n\
                 fn load_b(batch: u32, k: u32, n: u32) -> f32 {{\n    let term = batch % parts() * size_k() + k;\n    \
                 if (term >= terms()) {{\n        return 0.0;\n    }}\n    return term_b(batch / parts(), term, n);\n}}\n",
                product.a, product.b
            );
        }
    }
    text += &rows::number(&mut w, "elements", count(elements)?);
    let (point, element) = (&product.point, number_of(&mut w, &product.sizes));
    let store = w.store(scratch, DType::F32, "i32(cut * elements()) + place", "value")?;
    let own = if file == WIDE { "" } else { "    let cut = own % parts();\n    let batch = own / parts();\n" };
    text += &product.store(file, "own", &format!("{own}{point}    let place = {element};\n    {store}\n"));
    Ok(w.finish(name, "", &text, dispatch))
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
        ContractKind::Conv(s) => conv::forward(w, c, s, target),
        ContractKind::ConvDataGrad(s) => conv::data_grad(w, c, s, target),
        ContractKind::ConvFilterGrad(s) => conv::filter_grad(w, c, s, target),
    }
}

impl Product {
    fn point(&self, w: &mut Writer, outer: &Dims<usize>) -> Result<String> {
        point(w, &self.sizes, &self.point, outer)
    }

    /// `store`, `own` being what counts batches, with the lines that are left when the column is decoded. The wide kernel
    /// decodes it once for many elements.
    fn store(&self, file: &str, own: &str, lines: &str) -> String {
        let (names, decode) = &self.column;
        if file != WIDE {
            return format!("\nfn store({own}: u32, m: u32, n: u32, value: f32) {{\n{decode}{lines}}}\n");
        }
        let members: String = names.iter().map(|name| format!("    {name}: u32,\n")).collect();
        let own: String = names.iter().map(|name| format!("    let {name} = column.{name};\n")).collect();
        let all = names.join(", ");
        format!(
            "\nstruct Column {{\n{members}}}\n\nfn find(n: u32) -> Column {{\n{decode}    return Column({all});\n}}\n\n\
             fn store(batch: u32, cut: u32, m: u32, column: Column, value: f32) {{\n{own}{lines}}}\n"
        )
    }

    /// What the kernels of `shaders/matmul*.wgsl` know of it.
    fn frame(&self, w: &mut Writer, file: &str, text: &mut String, width: u32) -> Result<()> {
        if file == TILED {
            let _ = write!(text, "\nconst A_ALONG_K = {};\nconst B_ALONG_K = {};\n", self.a_along_k, self.b_along_k);
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
        if let Some(wide) = &self.wide {
            return ("matmul_wide", WIDE, wide.cut.tile.count([self.batches, self.m, self.n]));
        }
        let few = elements < 64 * 64 * 2 && self.k < 1024;
        let small = self.m < 16 || self.n < 16 || few || self.k < 8;
        // By a vector, whose terms lie as the matrix's do, so that neighbours read neighbours.
        let vector = self.k >= 256 && (self.n == 1 && self.a_along_k || self.m == 1 && self.b_along_k);
        // A tile costs as much as 64 elements that a workgroup makes each, and parts cost a second kernel.
        let long = self.k >= 1024 && (elements * self.k <= 1 << 23 || elements <= 64 * self.tiles());
        // A few rows or columns whose terms lie together, which one invocation would walk alone.
        let narrow = (self.m < 16 || self.n < 16)
            && self.k >= 256
            && elements * self.k <= 1 << 22
            && self.a_along_k
            && self.b_along_k;
        if small && (vector || narrow) || long {
            return ("matmul_long", LONG, elements);
        }
        if small && self.k < 4096 {
            return ("matmul_small", SMALL, elements.div_ceil(64));
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

/// An operand's element as an expression, given expressions for its indices.
pub fn element(w: &mut Writer, dtype: DType, o: &Operand, indices: &[&str]) -> Result<String> {
    let indices: Vec<(i64, &str)> = o.layout.strides.iter().copied().zip(indices.iter().copied()).collect();
    let place = stage::place(w, o.layout.offset, &indices);
    w.load(o.slot, dtype, &place)
}

fn matmul(w: &mut Writer, c: &Contract, batch: &Dims<usize>, [m, n, k]: [usize; 3], target: Target) -> Result<Product> {
    let rank = batch.len();
    let decode = w.indices("batch", "i", batch, "    ")?;
    let axes: Vec<String> = (0..rank).map(|d| format!("i{d}")).collect();
    let with = |last: [&'static str; 2]| -> Vec<&str> { axes.iter().map(String::as_str).chain(last).collect() };
    let (sa, sb) = (&c.a.layout.strides, &c.b.layout.strides);
    let batches = batch.iter().product();
    let outer = |strides: &[i64]| strides.iter().copied().zip(axes.iter().cloned()).collect();
    let sides = [
        Plain::new(&c.a, &[(m, sa[rank])], &[(k, sa[rank + 1])], outer(&sa[..rank]), &decode),
        Plain::new(&c.b, &[(n, sb[rank + 1])], &[(k, sb[rank])], outer(&sb[..rank]), &decode),
    ];
    let stages = [sides[0].stage(), sides[1].stage()];
    let wide = match Cut::choose([batches, m, n, k], stages, c.dtype, target) {
        Some(cut) => {
            let reaches = [sides[0].reach(w)?, sides[1].reach(w)?];
            Some(Wide::new(w, cut, c.dtype, reaches))
        }
        None => None,
    };
    let a = element(w, c.dtype, &c.a, &with(["m", "k"]))?;
    let b = element(w, c.dtype, &c.b, &with(["k", "n"]))?;
    Ok(Product {
        batches,
        m,
        n,
        k,
        a: format!("{decode}    return {a};\n"),
        b: format!("{decode}    return {b};\n"),
        sizes: batch.iter().copied().chain([m, n]).collect(),
        column: (&["n"], String::new()),
        point: format!("{decode}    let i{rank} = i32(m);\n    let i{} = i32(n);\n", rank + 1),
        a_along_k: sa[rank + 1] == 1,
        b_along_k: sb[rank] == 1 && sb[rank + 1] != 1,
        wide,
    })
}
