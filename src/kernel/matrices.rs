//! Matrix products of f16 on cooperative matrices (`shaders/matmul_matrices.wgsl`), for devices that have them.

use super::contract::point;
use super::pairs::{Pairs, is_paired, stores_half};
use super::rows::number;
use super::stage::place;
use super::write::{Body, Writer};
use super::{KernelSource, Result, Target, count, parts, rows, spread};
use crate::dtype::DType;
use crate::plan::{Contract, ContractKind, Loop, Operand, Store};
use crate::shape::Dims;
use std::fmt::Write as _;

const FILE: &str = include_str!("../../shaders/matmul_matrices.wgsl");

/// Rows and columns of a tile.
const TILE: usize = 128;
/// Terms that go through workgroup memory at a time.
const TERMS: usize = 32;

/// A product that these kernels make.
pub struct Matrices<'a> {
    c: &'a Contract,
    batch: &'a Dims<usize>,
    m: usize,
    n: usize,
    k: usize,
    /// How each operand lies.
    along: [Along; 2],
}

/// What four neighbours of an operand in memory differ in. Its rows are what is no term: m of a, n of b.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Along {
    Rows,
    Terms,
}

impl Along {
    /// That of an operand of so many rows and terms, `axes` being where these are among its axes; none where it has no fours.
    fn of(o: &Operand, [rows, terms]: [usize; 2], axes: [usize; 2]) -> Option<Along> {
        let strides = &o.layout.strides;
        let whole = |axis: usize, size: usize| {
            let others = strides.iter().enumerate().all(|(d, s)| d == axis || s % 4 == 0);
            strides[axis] == 1 && size.is_multiple_of(4) && others && o.layout.offset % 4 == 0
        };
        match () {
            _ if whole(axes[0], rows) => Some(Along::Rows),
            _ if whole(axes[1], terms) => Some(Along::Terms),
            _ => None,
        }
    }
}

impl<'a> Matrices<'a> {
    /// None where another kernel has to make it: other numbers, operands that cannot be loaded by fours or are needed a second
    /// time by what is done with the result, results whose halves are no pairs, and what is too small for a tile to pay.
    pub fn of(c: &'a Contract, target: Target) -> Option<Matrices<'a>> {
        let ContractKind::Matmul { batch, m, n, k } = &c.kind else { return None };
        let (m, n, k, rank) = (*m, *n, *k, batch.len());
        let along = [Along::of(&c.a, [m, k], [rank, rank + 1])?, Along::of(&c.b, [n, k], [rank + 1, rank])?];
        let e = &c.epilogue;
        let operand = |slot: usize| slot == c.a.slot || slot == c.b.slot;
        let apart = !e.instrs.iter().filter_map(|i| i.kind.slot()).chain(e.stores.iter().map(|s| s.slot)).any(operand);
        let paired = e.stores.iter().filter(|s| stores_half(e, s)).all(|s| is_paired(e, s, last(e)));
        let large = m >= 32 && n >= 32 && k >= TERMS && m * n >= 64 * 64;
        (target.matrices
            && c.dtype == DType::F16
            && apart
            && paired
            && large
            && n % 2 == 0
            && e.outer.last().is_some_and(|size| size % 2 == 0))
        .then_some(Matrices { c, batch, m, n, k, along })
    }

    fn batches(&self) -> usize {
        self.batch.iter().product()
    }

    fn tiles(&self) -> usize {
        self.m.div_ceil(TILE) * self.n.div_ceil(TILE) * self.batches()
    }

    /// Into how many parts its sums are cut; 1 where that does not pay.
    pub fn parts(&self) -> usize {
        parts::MATRICES.parts(self.tiles(), self.k)
    }

    /// The kernel that makes it whole.
    pub fn kernel(&self) -> Result<KernelSource> {
        let e = &self.c.epilogue;
        let mut w = Writer::default();
        w.touch_loop(e, |_| false)?;
        self.touch(&mut w)?;
        let mut text = self.frame(&mut w, 1)?;
        let (halves, others): (Vec<&Store>, Vec<&Store>) = e.stores.iter().partition(|s| stores_half(e, s));
        let split = last(e);
        let point = self.point(&mut w)?;
        let pairs = Pairs::new(&mut w, e, &halves, split, "word_at", "    ");
        let (mut body, mut lines) = Body::new(&mut w, e, "        ");
        for r in 0..e.instrs.len() {
            lines += &body.instr(r, "        ")?;
        }
        for s in others {
            lines += &body.store(s, "        ")?;
        }
        // Where words lie is told by the indices of a pair's first half; those of the loop are others.
        let _ = write!(
            text,
            "\nfn store_two(batch: u32, m: u32, column: u32, first: f32, second: f32) {{\n{before}    for (var k = 0u; k < 2u; k++) {{\n        \
             let n = column + k;\n        let value = select(first, second, k == 1u);\n{inner}{lines}{each}    }}\n{after}}}\n",
            before = pairs.before,
            inner = indented(&point),
            each = pairs.each,
            after = match halves.is_empty() {
                true => String::new(),
                false => format!("    let n = column;\n{point}    let word_at = u32(i{split});\n{}", pairs.after),
            },
        );
        self.finish(w, text, self.tiles())
    }

    /// The kernel that makes the sums of `parts` parts, to slot `scratch`: `[parts, elements..]`.
    pub fn sums(&self, parts: usize, scratch: usize) -> Result<KernelSource> {
        let mut w = Writer::default();
        self.touch(&mut w)?;
        w.touch(scratch, DType::F32, true)?;
        let mut text = self.frame(&mut w, parts)?;
        for (name, n) in [("parts", parts), ("terms", self.k), ("elements", self.batches() * self.m * self.n)] {
            text += &number(&mut w, name, count(n)?);
        }
        let buffer = w.buffer(scratch);
        let _ = write!(
            text,
            "fn store_two(own: u32, m: u32, n: u32, first: f32, second: f32) {{\n    \
             let place = own % parts() * elements() + (own / parts() * size_m() + m) * size_n() + n;\n    \
             {buffer}[place] = first;\n    {buffer}[place + 1u] = second;\n}}\n"
        );
        self.finish(w, text, self.tiles() * parts)
    }

    fn touch(&self, w: &mut Writer) -> Result<()> {
        for o in [&self.c.a, &self.c.b] {
            w.touch(o.slot, DType::F16, false)?;
            w.hold_halves(o.slot);
        }
        Ok(())
    }

    /// The file, and the functions that the kernel reaches its operands through; a batch is cut in `parts`.
    fn frame(&self, w: &mut Writer, parts: usize) -> Result<String> {
        let mut text = FILE.replace("    sums();\n", &sums());
        text = text.replace("        multiply();\n", &multiply(self.along));
        text = text.replace("    finish_all();\n", &finish_all());
        text += &stage("a", self.along[0]);
        text += &stage("b", self.along[1]);
        let terms = self.k.div_ceil(parts).next_multiple_of(TERMS);
        let sizes = [
            ("size_m", self.m),
            ("size_n", self.n),
            ("size_k", if parts == 1 { self.k } else { terms }),
            ("batches", self.batches() * parts),
        ];
        for (name, size) in sizes {
            text += &rows::number(w, name, count(size)?);
        }
        let decode = w.indices("batch", "i", self.batch, "    ")?;
        let axes: Vec<String> = (0..self.batch.len()).map(|d| format!("i{d}")).collect();
        let all =
            [("a", "m: u32, k: u32", &self.c.a, ["m", "term"]), ("b", "n: u32, k: u32", &self.c.b, ["term", "n"])];
        for (name, args, o, last) in all {
            let strides = o.layout.strides.iter().copied();
            let indices: Vec<(i64, &str)> = strides.zip(axes.iter().map(String::as_str).chain(last)).collect();
            let place = place(w, o.layout.offset, &indices);
            let buffer = w.buffer(o.slot);
            // Loads without a branch, so that all of a stage are under way at once.
            let lines = match parts {
                1 => format!(
                    "    let term = min(k, size_k() - 1u){};\n    let inside = k < size_k();\n",
                    self.whole_fours(name)
                ),
                _ => format!(
                    "    let batch = own / parts();\n    let wanted = own % parts() * size_k() + k;\n    \
                     let term = min(wanted, terms() - 1u){};\n    let inside = wanted < terms();\n",
                    self.whole_fours(name)
                ),
            };
            let own = if parts == 1 { "batch" } else { "own" };
            let _ = write!(
                text,
                "fn four_{name}({own}: u32, {args}) -> vec4<f16> {{\n{lines}{decode}    \
                 return select(vec4<f16>(), {buffer}[({place}) >> 2u], inside);\n}}\n\n"
            );
        }
        Ok(text)
    }

    /// What keeps the first of four terms a multiple of four, where an operand's lie together.
    fn whole_fours(&self, name: &str) -> &'static str {
        let along = self.along[if name == "a" { 0 } else { 1 }];
        if along == Along::Terms { " & ~3u" } else { "" }
    }

    /// Lines that find the point of the epilogue for element (batch, m, n).
    fn point(&self, w: &mut Writer) -> Result<String> {
        let rank = self.batch.len();
        let sizes: Dims<usize> = self.batch.iter().copied().chain([self.m, self.n]).collect();
        let decode = w.indices("batch", "i", self.batch, "    ")?;
        let own = format!("{decode}    let i{rank} = i32(m);\n    let i{} = i32(n);\n", rank + 1);
        point(w, &sizes, &own, &self.c.epilogue.outer)
    }

    fn finish(&self, mut w: Writer, mut text: String, groups: usize) -> Result<KernelSource> {
        let dispatch = spread(groups)?;
        text += "\n";
        text += &number(&mut w, "groups_x", dispatch[0]);
        Ok(w.finish("matmul_matrices", "", &text, dispatch))
    }
}

/// The last axis of an epilogue.
fn last(e: &Loop) -> usize {
    e.outer.len().saturating_sub(1)
}

fn indented(lines: &str) -> String {
    lines.lines().map(|line| format!("    {line}\n")).collect()
}

/// The function `stage_{name}`: eight vectors of an operand for each invocation, loaded before any is stored.
fn stage(name: &str, along: Along) -> String {
    let (row, size) = if name == "a" { ("m", "size_m") } else { ("n", "size_n") };
    let mut text = format!("\nfn stage_{name}(batch: u32, {row}0: u32, k0: u32, id: u32) {{\n");
    let (mut loads, mut stores) = (String::new(), String::new());
    match along {
        // Eight invocations have the terms of a row. Those beside them have the row after the next four, so that what 16 of
        // them store together lies in different memory banks.
        Along::Terms => {
            text += "    let at = id / 8u % 2u * 4u + id / 16u % 4u + id / 64u * 8u;\n    let four = id % 8u;\n    let k = k0 + four * 4u;\n";
            let _ = writeln!(text, "    let last = {size}() - 1u;");
            for i in 0..8 {
                let _ = writeln!(loads, "    let r{i} = four_{name}(batch, min({row}0 + at + {}u, last), k);", 16 * i);
                let _ = writeln!(stores, "    {name}_tile[(at + {}u) * ALONG_TERMS + four] = r{i};", 16 * i);
            }
        }
        Along::Rows => {
            text += "    let at = id / 32u;\n    let four = id % 32u;\n";
            let _ = writeln!(text, "    let {row} = min({row}0 + four * 4u, {size}() - 4u);");
            for i in 0..8 {
                let _ = writeln!(loads, "    let r{i} = four_{name}(batch, {row}, k0 + at + {}u);", 4 * i);
                let _ = writeln!(stores, "    {name}_tile[(at + {}u) * ALONG_ROWS + four] = r{i};", 4 * i);
            }
        }
    }
    text + &loads + &stores + "}\n"
}

fn sums() -> String {
    let mut text = String::new();
    for (i, j) in pairs() {
        let _ = writeln!(text, "    var c{i}{j} = coop_mat16x16<f32, C>();");
    }
    text
}

fn pairs() -> impl Iterator<Item = (usize, usize)> {
    (0..4).flat_map(|i| (0..4).map(move |j| (i, j)))
}

/// What a subgroup does with the tiles. `coopLoadT` is the one for rows of the matrix that lie along memory.
fn multiply(along: [Along; 2]) -> String {
    let mut text = String::new();
    let [a, b] = along.map(|along| along == Along::Terms);
    for k in (0..TERMS).step_by(16) {
        for i in 0..4 {
            let _ = match a {
                true => writeln!(
                    text,
                    "        let a{i}_{k} = coopLoadT<coop_mat16x16<f16, A>>(&a_tile[(row + {}u) * ALONG_TERMS + {}u], ALONG_TERMS);",
                    16 * i,
                    k / 4
                ),
                false => writeln!(
                    text,
                    "        let a{i}_{k} = coopLoad<coop_mat16x16<f16, A>>(&a_tile[{k}u * ALONG_ROWS + row / 4u + {}u], ALONG_ROWS);",
                    4 * i
                ),
            };
        }
        for j in 0..4 {
            let _ = match b {
                true => writeln!(
                    text,
                    "        let b{j}_{k} = coopLoad<coop_mat16x16<f16, B>>(&b_tile[(column + {}u) * ALONG_TERMS + {}u], ALONG_TERMS);",
                    16 * j,
                    k / 4
                ),
                false => writeln!(
                    text,
                    "        let b{j}_{k} = coopLoadT<coop_mat16x16<f16, B>>(&b_tile[{k}u * ALONG_ROWS + column / 4u + {}u], ALONG_ROWS);",
                    4 * j
                ),
            };
        }
        for (i, j) in pairs() {
            let _ = writeln!(text, "        c{i}{j} = coopMultiplyAdd(a{i}_{k}, b{j}_{k}, c{i}{j});");
        }
    }
    text
}

fn finish_all() -> String {
    let mut text = String::new();
    for (i, j) in pairs() {
        let _ = write!(
            text,
            "    coopStoreT(c{i}{j}, &result[own], RESULT_PITCH);\n    \
             finish(batch, m0 + row + {}u, n0 + column + {}u, own, id % 32u);\n",
            16 * i,
            16 * j
        );
    }
    text
}
