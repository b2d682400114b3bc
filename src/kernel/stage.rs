//! How the wide kernel fills the tile of an operand: the generated functions through which it reaches one.
//!
//! Its rows are what is no term: m of a, n of b. An element lies where two places add up to, that of its row and that of its
//! term, so that neither has to be found again for each element. A convolution's image has elements that are not there, in
//! its padding: then one of both has a bit for each place of the kernel that is there, and the other needs some of these bits.

use super::write::Writer;
use super::{Result, count, ops};
use crate::dtype::DType;
use crate::plan::Operand;
use std::fmt::Write as _;

/// The bits that rows and terms have, and need, where every element is there.
const THERE: &str = "1u";

/// The bit that no one has, for terms past the end.
const PAST: u32 = 1 << 31;

/// How a tile is filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Four neighbours along its rows at a time.
    FourRows,
    /// Four neighbours along the terms at a time.
    FourTerms,
    /// One by one: neighbouring invocations have neighbouring rows, which have the bits. The terms are in a table. Vectors of
    /// the tile are of rows a quarter of it apart: each is written by one invocation, as components by several would be a race.
    Rows,
    /// One by one: neighbouring invocations have neighbouring terms, which have the bits. The rows are in a table.
    Terms,
}

impl Stage {
    /// Whether elements are loaded by fours.
    pub fn by_fours(self) -> bool {
        matches!(self, Stage::FourRows | Stage::FourTerms)
    }
}

/// An operand all of whose elements are there: axes of its rows and of its terms, as sizes and strides, the outermost first.
pub struct Plain<'a> {
    operand: &'a Operand,
    rows: Vec<(usize, i64)>,
    terms: Vec<(usize, i64)>,
    /// The stride and name of each index that the batch stands for, and lines that find them.
    batch: Vec<(i64, String)>,
    decode: String,
}

impl<'a> Plain<'a> {
    pub fn new(
        operand: &'a Operand,
        rows: &[(usize, i64)],
        terms: &[(usize, i64)],
        batch: Vec<(i64, String)>,
        decode: &str,
    ) -> Plain<'a> {
        Plain { operand, rows: merged(rows), terms: merged(terms), batch, decode: decode.into() }
    }

    /// How it fills a tile.
    pub fn stage(&self) -> Stage {
        let along = |axes: &[(usize, i64)]| axes.last().map_or(i64::MAX, |axis| axis.1.abs());
        let whole = |axes: &[(usize, i64)], others: &[(usize, i64)]| {
            let (last, outer) = axes.split_last().map_or((&(0, 0), axes), |(last, outer)| (last, outer));
            let strides = outer.iter().chain(others).map(|axis| axis.1).chain(self.batch.iter().map(|b| b.0));
            let places = strides.chain([self.operand.layout.offset]).all(|place| place % 4 == 0);
            last.1 == 1 && last.0 > 0 && last.0.is_multiple_of(4) && places
        };
        match () {
            _ if whole(&self.rows, &self.terms) => Stage::FourRows,
            _ if whole(&self.terms, &self.rows) => Stage::FourTerms,
            _ if along(&self.rows) < along(&self.terms) => Stage::Rows,
            _ => Stage::Terms,
        }
    }

    /// What is generated for it.
    pub fn reach(&self, w: &mut Writer) -> Result<Reach> {
        let batch: Vec<(i64, &str)> = self.batch.iter().map(|(stride, index)| (*stride, &index[..])).collect();
        Ok(Reach {
            stage: self.stage(),
            slot: self.operand.slot,
            row: self.decode.clone() + &axes(w, "row", &self.rows, self.operand.layout.offset, &batch)?,
            term: axes(w, "k", &self.terms, 0, &[])?,
        })
    }
}

/// The same axes without those of one element, and with one for those that one stride goes through.
fn merged(axes: &[(usize, i64)]) -> Vec<(usize, i64)> {
    let mut all: Vec<(usize, i64)> = Vec::new();
    for &(size, stride) in axes.iter().filter(|axis| axis.0 != 1) {
        match all.last_mut() {
            Some(outer) if outer.1 == stride * size as i64 => *outer = (outer.0 * size, stride),
            _ => all.push((size, stride)),
        }
    }
    all
}

/// The body of a function that gives the place of element `linear` of `axes`.
fn axes(w: &mut Writer, linear: &str, axes: &[(usize, i64)], offset: i64, others: &[(i64, &str)]) -> Result<String> {
    let names: Vec<String> = (0..axes.len()).map(|d| format!("{linear}{d}")).collect();
    let sizes: Vec<usize> = axes.iter().map(|axis| axis.0).collect();
    let text = split(w, linear, &names, &sizes)?;
    let own = axes.iter().zip(&names).map(|(axis, name)| (axis.1, &name[..]));
    let all: Vec<(i64, &str)> = others.iter().copied().chain(own).collect();
    let place = place(w, offset, &all);
    Ok(format!("{text}    return At({place}, {THERE});\n"))
}

/// `offset` and a sum of strides times indices, which are `u32` expressions.
pub fn place(w: &mut Writer, offset: i64, indices: &[(i64, &str)]) -> String {
    let mut terms = Vec::new();
    if offset != 0 {
        terms.push(w.int(offset));
    }
    for &(stride, index) in indices.iter().filter(|(stride, _)| *stride != 0) {
        terms.push(if stride == 1 { format!("i32({index})") } else { format!("i32({index}) * {}", w.int(stride)) });
    }
    if terms.is_empty() { "0i".into() } else { terms.join(" + ") }
}

/// Lines `let {names[d]} = ..;` that split `linear` over `sizes`, as `u32`.
pub fn split(w: &mut Writer, linear: &str, names: &[impl AsRef<str>], sizes: &[usize]) -> Result<String> {
    let mut text = String::new();
    let mut rest = linear.to_owned();
    for (name, &size) in names.iter().zip(sizes).skip(1).rev() {
        let size = w.count(count(size.max(1))?);
        let _ = writeln!(text, "    let {} = {rest} % {size};", name.as_ref());
        rest = format!("({rest} / {size})");
    }
    if let Some(first) = names.first() {
        let _ = writeln!(text, "    let {} = {rest};", first.as_ref());
    }
    Ok(text)
}

/// What is generated for an operand.
pub struct Reach {
    pub stage: Stage,
    pub slot: usize,
    /// Bodies of `row_{name}(batch, row)` and `term_{name}(k)`: the place, and the bits that it has or needs.
    pub row: String,
    pub term: String,
}

impl Reach {
    /// `hold_{name}`, `terms_{name}`, `stage_{name}` and what they call, for tiles of so many rows.
    pub fn functions(&self, w: &mut Writer, dtype: DType, name: &str, rows: usize) -> Result<String> {
        let size = if name == "a" { "size_m" } else { "size_n" };
        let mut text = format!(
            "\nfn row_{name}(batch: u32, row: u32) -> At {{\n{}}}\n\nfn term_{name}(k: u32) -> At {{\n{}}}\n",
            self.row, self.term
        );
        let load = if self.stage.by_fours() { four(w, self.slot, dtype)? } else { element(w, self.slot, dtype)? };
        let _ = write!(text, "\nfn load_{name}(place: i32) -> {load}");
        if !self.stage.by_fours() {
            let table = if self.stage == Stage::Rows { 128 } else { rows };
            let _ = write!(text, "\nvar<workgroup> {name}_table: array<At, {table}>;\n");
        }
        let (held, hold, terms, stage) = match self.stage {
            Stage::FourRows => four_rows(name, size, rows),
            Stage::FourTerms => four_terms(name, size, rows),
            Stage::Rows => by_rows(name, size, rows),
            Stage::Terms => by_terms(name, size, rows),
        };
        let _ = write!(
            text,
            "\nfn hold_{name}(batch: u32, row0: u32, id: u32) -> {held} {{\n{hold}}}\n\n\
             fn terms_{name}(k0: u32, end: u32, id: u32) {{\n{terms}}}\n\n\
             fn stage_{name}(held: {held}, k0: u32, end: u32, id: u32) {{\n{stage}}}\n"
        );
        Ok(text)
    }
}

/// Type and body of a function that gives the element at `place`.
fn element(w: &Writer, slot: usize, dtype: DType) -> Result<String> {
    Ok(format!("f32 {{\n    return {};\n}}\n", w.load(slot, dtype, "place")?))
}

/// The same of four neighbours from `place` on, which is a multiple of four, of a slot that is declared as vectors unless it
/// holds halves.
fn four(w: &Writer, slot: usize, dtype: DType) -> Result<String> {
    let buffer = w.buffer(slot);
    if !dtype.is_half() {
        let stored = ops::stored_type(dtype)?;
        let vector = format!("{buffer}[place >> 2u]");
        let same = w.word_type(slot) == stored;
        let vector = if same { vector } else { format!("bitcast<vec4<{stored}>>({vector})") };
        return Ok(format!("vec4<f32> {{\n    return {vector};\n}}\n"));
    }
    let word = |k: usize| if k == 0 { "words.x".to_owned() } else { "words.y".into() };
    let all = (0..4).map(|k| w.component(slot, dtype, word, k)).collect::<Result<Vec<_>>>()?.join(", ");
    Ok(format!(
        "vec4<f32> {{\n    let at = place >> 1u;\n    let words = vec2({buffer}[at], {buffer}[at + 1i]);\n    \
         return vec4<f32>({all});\n}}\n"
    ))
}

/// The type of what an invocation holds, and the bodies of `hold`, `terms` and `stage`.
type Bodies = (&'static str, String, String, String);

fn four_rows(name: &str, size: &str, rows: usize) -> Bodies {
    let quads = rows / 4;
    let stage = format!(
        "    for (var i = 0u; i < {}u; i++) {{
        let at = i * {}u + id / {quads}u;
        var four = vec4<f32>();
        if (k0 + at < end) {{
            four = load_{name}(held + term_{name}(k0 + at).place);
        }}
        {name}_tile[at * {}u + id % {quads}u] = four;
    }}
",
        quads / 8,
        128 / quads,
        quads + 1
    );
    let hold = format!("    return row_{name}(batch, min(row0 + id % {quads}u * 4u, {size}() - 4u)).place;\n");
    ("i32", hold, String::new(), stage)
}

fn four_terms(name: &str, size: &str, rows: usize) -> Bodies {
    let pitch = rows / 4 + 1;
    let row = |j: usize| format!("row_{name}(batch, min(row + {j}u, {size}() - 1u)).place");
    let hold = format!(
        "    let row = row0 + id / 4u * 4u;\n    return vec4({}, {}, {}, {});\n",
        row(0),
        row(1),
        row(2),
        row(3)
    );
    let fill = format!(
        "let quad = id / 4u;
    let at = id % 4u * 4u;
    var r0 = vec4<f32>();
    var r1 = vec4<f32>();
    var r2 = vec4<f32>();
    var r3 = vec4<f32>();
    if (k0 + at < end) {{
        let term = term_{name}(k0 + at).place;
        r0 = load_{name}(held.x + term);
        r1 = load_{name}(held.y + term);
        r2 = load_{name}(held.z + term);
        r3 = load_{name}(held.w + term);
    }}
    {name}_tile[at * {pitch}u + quad] = vec4(r0.x, r1.x, r2.x, r3.x);
    {name}_tile[(at + 1u) * {pitch}u + quad] = vec4(r0.y, r1.y, r2.y, r3.y);
    {name}_tile[(at + 2u) * {pitch}u + quad] = vec4(r0.z, r1.z, r2.z, r3.z);
    {name}_tile[(at + 3u) * {pitch}u + quad] = vec4(r0.w, r1.w, r2.w, r3.w);
"
    );
    let stage = match rows {
        128 => format!("    {fill}"),
        _ => format!("    if (id < {rows}u) {{\n        {}    }}\n", fill.replace("\n    ", "\n        ")),
    };
    ("vec4<i32>", hold, String::new(), stage)
}

fn by_rows(name: &str, size: &str, rows: usize) -> Bodies {
    let (quads, pitch) = (rows / 4, rows / 4 + 1);
    let each = quads / 8;
    let row = |c: usize| format!("row_{name}(batch, min(row + {}u, {size}() - 1u))", c * quads);
    let hold = format!(
        "    let row = row0 + id % {quads}u;\n    return array<At, 4>({}, {}, {}, {});\n",
        row(0),
        row(1),
        row(2),
        row(3)
    );
    let terms = format!(
        "    let k = k0 + id;
    var term = At(0i, {PAST}u);
    if (k < end) {{
        term = term_{name}(k);
    }}
    {name}_table[k % 128u] = term;
"
    );
    let mut stage = format!(
        "    let quad = id % {quads}u;
    let at = id / {quads}u * {each}u;
    let first = k0 % 128u + at;
"
    );
    for i in 0..each {
        let _ = writeln!(stage, "    let t{i} = {name}_table[first + {i}u];");
        for (c, x) in XYZW.iter().enumerate() {
            stage += &checked(name, &format!("v{i}{x}"), &format!("held[{c}]"), &format!("t{i}"));
        }
    }
    for i in 0..each {
        let _ = writeln!(stage, "    {name}_tile[(at + {i}u) * {pitch}u + quad] = {};", vector(i));
    }
    ("array<At, 4>", hold, terms, stage)
}

fn by_terms(name: &str, size: &str, rows: usize) -> Bodies {
    let pitch = rows / 4 + 1;
    let put = format!("{name}_table[id] = row_{name}(batch, min(row0 + id, {size}() - 1u));");
    let put =
        if rows == 128 { format!("    {put}\n") } else { format!("    if (id < {rows}u) {{\n        {put}\n    }}\n") };
    let mut stage = format!(
        "    let at = id % 16u;
    let quad = id / 16u;
    var term = At();
    if (k0 + at < end) {{
        term = term_{name}(k0 + at);
    }}
"
    );
    // Eight quads at a time.
    for i in 0..rows / 32 {
        for (c, x) in XYZW.iter().enumerate() {
            let _ = writeln!(stage, "    let t{i}{x} = {name}_table[quad * 4u + {}u];", 32 * i + c);
            stage += &checked(name, &format!("v{i}{x}"), "term", &format!("t{i}{x}"));
        }
    }
    for i in 0..rows / 32 {
        let _ = writeln!(stage, "    {name}_tile[at * {pitch}u + quad + {}u] = {};", 8 * i, vector(i));
    }
    ("u32", format!("{put}    return 0u;\n"), String::new(), stage)
}

const XYZW: [&str; 4] = ["x", "y", "z", "w"];

/// Lines that load an element if it is there, into variable `value`.
fn checked(name: &str, value: &str, has: &str, needs: &str) -> String {
    format!(
        "    var {value} = 0.0;\n    if (({has}.bits & {needs}.bits) == {needs}.bits) {{\n        \
         {value} = load_{name}({has}.place + {needs}.place);\n    }}\n"
    )
}

/// The four elements number `i`.
fn vector(i: usize) -> String {
    format!("vec4({})", XYZW.map(|x| format!("v{i}{x}")).join(", "))
}
