//! Matrix products of f16 on cooperative matrices (`shaders/matmul_matrices.wgsl`), for devices that have them.

use super::contract::point;
use super::pairs::{Pairs, is_paired, stores_half};
use super::rows::number;
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
/// Terms of a turn of the loop.
const TURN: usize = 2 * TERMS;

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

/// An operand as a tile is filled from it.
struct Side<'a> {
    name: &'static str,
    /// What counts its rows, and how many there are.
    row: &'static str,
    rows: usize,
    along: Along,
    operand: &'a Operand,
    /// Its axes of rows and of terms.
    axes: [usize; 2],
}

/// Lines that fill a tile: those before the walk over the terms, and in each step the loads and then the stores.
struct Fill {
    before: String,
    loads: String,
    stores: String,
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
        (target.multiplies_matrices()
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
    pub fn parts(&self, target: Target) -> usize {
        parts::MATRICES.parts(target.tuning.matrices_room, self.tiles(), self.k)
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

    /// The file with its generated lines; a batch is cut in `parts`.
    fn frame(&self, w: &mut Writer, parts: usize) -> Result<String> {
        let decode = w.indices("batch", "i", self.batch, "    ")?;
        let [a, b] = self.sides().map(|side| self.fill(w, &side));
        let terms = match parts {
            1 => "    let batch = own;\n    let start = 0u;\n    let end = size_k();\n",
            _ => {
                "    let batch = own / parts();\n    let start = own % parts() * size_k();\n    let end = min(start + size_k(), terms());\n"
            }
        };
        let mut text = FILE.replace("    terms();\n", &format!("{terms}{decode}{}{}", a.before, b.before));
        text = text.replace("            stage();\n", &[a.loads, b.loads, a.stores, b.stores].concat());
        text = text.replace("    sums();\n", &sums());
        text = text.replace("            multiply();\n", &multiply(self.along));
        text = text.replace("    finish_all();\n", &finish_all());
        let sizes = [
            ("size_m", self.m),
            ("size_n", self.n),
            ("size_k", if parts == 1 { self.k } else { self.k.div_ceil(parts).next_multiple_of(TURN) }),
            ("batches", self.batches() * parts),
        ];
        for (name, size) in sizes {
            text += &rows::number(w, name, count(size)?);
        }
        for side in self.sides() {
            let vectors = match side.along {
                Along::Terms => "128u * ALONG_TERMS",
                Along::Rows => "32u * ALONG_ROWS",
            };
            let _ = writeln!(text, "\nvar<workgroup> {}_tile: array<vec4<f16>, {vectors}>;", side.name);
        }
        Ok(text)
    }

    fn sides(&self) -> [Side<'_>; 2] {
        let rank = self.batch.len();
        let [along_a, along_b] = self.along;
        [
            Side { name: "a", row: "m", rows: self.m, along: along_a, operand: &self.c.a, axes: [rank, rank + 1] },
            Side { name: "b", row: "n", rows: self.n, along: along_b, operand: &self.c.b, axes: [rank + 1, rank] },
        ]
    }

    /// How an invocation fills its eight vectors of an operand's tile. Places are found before the walk as far as they can be,
    /// and nothing is limited that cannot be outside: in a product of whole tiles a load is an addition and a load.
    fn fill(&self, w: &mut Writer, side: &Side) -> Fill {
        let Side { name, row, rows, along, operand, axes } = *side;
        let strides: Dims<i64> = operand.layout.strides.iter().map(|s| s / 4).collect();
        let mut start = w.linear(operand.layout.offset / 4, &strides[..self.batch.len()], "i");
        if start.is_empty() {
            start = "0i".into();
        }
        let (fits, whole) = (rows >= TILE, self.k.is_multiple_of(TURN));
        let size = format!("size_{row}()");
        let buffer = w.buffer(operand.slot);
        let (mut before, mut loads, mut stores) = (String::new(), String::new(), String::new());
        let mut load = |i: usize, place: &str, inside: &str| {
            let _ = match whole {
                true => writeln!(loads, "            let {name}_value{i} = {buffer}[{place}];"),
                false => writeln!(
                    loads,
                    "            let {name}_value{i} = select(vec4<f16>(), {buffer}[{place}], {inside});"
                ),
            };
        };
        match along {
            // Eight invocations have the terms of a row. Those beside them have the row after the next four, so that what 16 of
            // them store together lies in different memory banks.
            Along::Terms => {
                let stride = w.int(strides[axes[0]]);
                let _ = write!(
                    before,
                    "    let {name}_row = id / 8u % 2u * 4u + id / 16u % 4u + id / 64u * 8u;\n    let {name}_four = id % 8u;\n    \
                     let {name}_to = {name}_row * ALONG_TERMS + {name}_four;\n"
                );
                for i in 0..if fits { 1 } else { 8 } {
                    let own = match fits {
                        true => format!("{row}0 + {name}_row"),
                        false => format!("min({row}0 + {name}_row + {}u, {size} - 1u)", 16 * i),
                    };
                    let _ = writeln!(before, "    let {name}_at{i} = {start} + i32({own}) * {stride};");
                }
                for i in 0..8 {
                    match fits {
                        true => {
                            load(i, &format!("{name}_at0 + {name}_k + {} * {stride}", 16 * i), &format!("{name}_in"))
                        }
                        false => load(i, &format!("{name}_at{i} + {name}_k"), &format!("{name}_in")),
                    }
                    let _ = writeln!(
                        stores,
                        "            {name}_tile[{name}_to + {}u * ALONG_TERMS] = {name}_value{i};",
                        16 * i
                    );
                }
                let four = format!("k0 / 4u + {name}_four");
                loads = match whole {
                    true => format!("            let {name}_k = i32({four});\n"),
                    false => format!(
                        "            let {name}_in = {four} < end / 4u;\n            let {name}_k = i32(min({four}, end / 4u - 1u));\n"
                    ),
                } + &loads;
            }
            Along::Rows => {
                let stride = w.int(strides[axes[1]]);
                let four = match fits {
                    true => format!("{row}0 / 4u + {name}_four"),
                    false => format!("min({row}0 / 4u + {name}_four, {size} / 4u - 1u)"),
                };
                let _ = write!(
                    before,
                    "    let {name}_term = id / 32u;\n    let {name}_four = id % 32u;\n    \
                     let {name}_to = {name}_term * ALONG_ROWS + {name}_four;\n    let {name}_at = {start} + i32({four});\n"
                );
                for i in 0..8 {
                    let term = format!("k0 + {name}_term + {}u", 4 * i);
                    match whole {
                        true => load(i, &format!("{name}_k + {} * {stride}", 4 * i), ""),
                        false => load(
                            i,
                            &format!("{name}_at + i32(min({term}, end - 1u)) * {stride}"),
                            &format!("{term} < end"),
                        ),
                    }
                    let _ = writeln!(
                        stores,
                        "            {name}_tile[{name}_to + {}u * ALONG_ROWS] = {name}_value{i};",
                        4 * i
                    );
                }
                if whole {
                    loads =
                        format!("            let {name}_k = {name}_at + i32(k0 + {name}_term) * {stride};\n") + &loads;
                }
            }
        }
        Fill { before, loads, stores }
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
                    "            let a{i}_{k} = coopLoadT<coop_mat16x16<f16, A>>(&a_tile[(row + {}u) * ALONG_TERMS + {}u], ALONG_TERMS);",
                    16 * i,
                    k / 4
                ),
                false => writeln!(
                    text,
                    "            let a{i}_{k} = coopLoad<coop_mat16x16<f16, A>>(&a_tile[{k}u * ALONG_ROWS + row / 4u + {}u], ALONG_ROWS);",
                    4 * i
                ),
            };
        }
        for j in 0..4 {
            let _ = match b {
                true => writeln!(
                    text,
                    "            let b{j}_{k} = coopLoad<coop_mat16x16<f16, B>>(&b_tile[(column + {}u) * ALONG_TERMS + {}u], ALONG_TERMS);",
                    16 * j,
                    k / 4
                ),
                false => writeln!(
                    text,
                    "            let b{j}_{k} = coopLoadT<coop_mat16x16<f16, B>>(&b_tile[{k}u * ALONG_ROWS + column / 4u + {}u], ALONG_ROWS);",
                    4 * j
                ),
            };
        }
        for (i, j) in pairs() {
            let _ = writeln!(text, "            c{i}{j} = coopMultiplyAdd(a{i}_{k}, b{j}_{k}, c{i}{j});");
        }
    }
    text
}

fn finish_all() -> String {
    let mut text = String::new();
    for (i, j) in pairs() {
        let _ = write!(
            text,
            "    coopStoreT(c{i}{j}, &result[place], RESULT_PITCH);\n    \
             finish(tile, m0 + row + {}u, n0 + column + {}u, place, id % 32u);\n",
            16 * i,
            16 * j
        );
    }
    text
}
