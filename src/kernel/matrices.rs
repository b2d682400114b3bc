//! Matrix products on cooperative matrices (`shaders/matmul_matrices.wgsl`), for devices that have them: of f16, and of f32 as
//! sums of two halves (`split.rs`).

use super::contract::{element, point};
use super::pairs::{Pairs, is_paired, stores_half};
use super::rows::number;
use super::split::{self, Largest};
use super::write::{Body, Writer};
use super::{KernelSource, Result, Target, count, parts, rows, spread};
use crate::dtype::DType;
use crate::plan::{Contract, ContractKind, Loop, Operand, Store};
use crate::shape::Dims;
use std::fmt::Write as _;

const FILE: &str = include_str!("../../shaders/matmul_matrices.wgsl");

/// Rows of a tile, and columns unless numbers are split.
const TILE: usize = 128;
/// Invocations of a workgroup.
const INVOCATIONS: usize = 128;
/// Halves of a row that go through workgroup memory at a time: as many terms, or, of numbers that are split, half as many.
const HALVES: usize = 32;

/// A product that these kernels make.
pub struct Matrices<'a> {
    c: &'a Contract,
    batch: &'a Dims<usize>,
    m: usize,
    n: usize,
    k: usize,
    /// How each operand lies.
    along: [Along; 2],
    /// Whether its numbers are f32.
    split: bool,
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
    /// Rows of a tile.
    tile: usize,
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
        let large = match c.dtype {
            DType::F16 => m >= 32 && n >= 32 && k >= HALVES && m * n >= 64 * 64,
            DType::F32 => {
                target.split
                    && split::pays([batch.iter().product(), m, n, k], target.tuning)
                    && slots(c) < target.buffers
            }
            _ => false,
        };
        (target.multiplies_matrices()
            && apart
            && paired
            && large
            && n % 2 == 0
            && e.outer.last().is_some_and(|size| size % 2 == 0))
        .then_some(Matrices { c, batch, m, n, k, along, split: c.dtype == DType::F32 })
    }

    /// Terms that go through workgroup memory at a time.
    fn step(&self) -> usize {
        if self.split { HALVES / 2 } else { HALVES }
    }

    /// Terms of a turn of the loop.
    fn turn(&self) -> usize {
        2 * self.step()
    }

    /// Columns of a tile. Numbers that are split need registers for the sums of a step besides those of all.
    fn columns(&self) -> usize {
        if self.split { TILE / 2 } else { TILE }
    }

    /// The loops that find what is largest in each operand's rows, to slot `scratch` after the sums of `parts` parts, and how many
    /// numbers they leave there; none where that need not be known.
    pub fn largest(&self, parts: usize, scratch: usize) -> (Vec<Loop>, usize) {
        if !self.split {
            return (Vec::new(), 0);
        }
        let (all, place) = (self.all_largest(), self.place_of_largest(parts));
        (vec![all[0].find(scratch, place), all[1].find(scratch, place + all[0].len())], all[0].len() + all[1].len())
    }

    /// After the sums of parts, where a vector may begin.
    fn place_of_largest(&self, parts: usize) -> usize {
        if parts < 2 { 0 } else { (parts * self.elements()).next_multiple_of(4) }
    }

    fn all_largest(&self) -> [Largest<'_>; 2] {
        self.sides().map(|side| {
            Largest::new(side.operand, self.batch, [side.rows, self.k], side.axes, side.along == Along::Terms)
        })
    }

    fn batches(&self) -> usize {
        self.batch.iter().product()
    }

    fn elements(&self) -> usize {
        self.batches() * self.m * self.n
    }

    fn tiles(&self) -> usize {
        self.m.div_ceil(TILE) * self.n.div_ceil(self.columns()) * self.batches()
    }

    /// Into how many parts its sums are cut; 1 where that does not pay.
    pub fn parts(&self, target: Target) -> usize {
        match self.split {
            false => parts::MATRICES.parts(target.tuning.matrices_room, self.tiles(), self.k),
            true => split::parts(target.tuning.matrices_room, self.tiles(), self.k, self.elements()),
        }
    }

    /// The kernel that makes it whole; `largest` lie in slot `scratch`.
    pub fn kernel(&self, scratch: usize) -> Result<KernelSource> {
        let e = &self.c.epilogue;
        let mut w = Writer::default();
        w.touch_loop(e, |_| false)?;
        self.touch(&mut w)?;
        if self.split {
            w.touch(scratch, DType::F32, false)?;
        }
        let mut text = self.frame(&mut w, 1, scratch)?;
        let (halves, others): (Vec<&Store>, Vec<&Store>) = e.stores.iter().partition(|s| stores_half(e, s));
        let columns = last(e);
        let point = self.point(&mut w)?;
        let pairs = Pairs::new(&mut w, e, &halves, columns, "word_at", "    ");
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
                false => format!("    let n = column;\n{point}    let word_at = u32(i{columns});\n{}", pairs.after),
            },
        );
        self.finish(w, text, self.tiles())
    }

    /// The kernel that makes the sums of `parts` parts, to slot `scratch`: `[parts, elements..]`, before `largest`.
    pub fn sums(&self, parts: usize, scratch: usize) -> Result<KernelSource> {
        let mut w = Writer::default();
        self.touch(&mut w)?;
        w.touch(scratch, DType::F32, true)?;
        let mut text = self.frame(&mut w, parts, scratch)?;
        for (name, n) in [("parts", parts), ("terms", self.k), ("elements", self.elements())] {
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
            w.touch(o.slot, self.c.dtype, false)?;
            if self.split { w.hold_vectors(o.slot) } else { w.hold_halves(o.slot) }
        }
        if self.split {
            w.multiplies_matrices();
        }
        Ok(())
    }

    /// The file with its generated lines; a batch is cut in `parts`, whose sums lie in `scratch` before `largest`.
    fn frame(&self, w: &mut Writer, parts: usize, scratch: usize) -> Result<String> {
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
        let lines = |of: &dyn Fn(usize, usize) -> String| self.pairs().map(|(i, j)| of(i, j)).collect::<String>();
        let sums = lines(&|i, j| format!("    var c{i}{j} = coop_mat16x16<f32, C>();\n"));
        let mut finish = lines(&|i, j| {
            format!(
                "    coopStoreT(c{i}{j}, &result[own_result], RESULT_PITCH);\n    \
                 finish(tile, m0 + row + {}u, n0 + column + {}u, own_result, id % 32u);\n",
                16 * i,
                16 * j
            )
        });
        let mut unscale = String::new();
        if self.split {
            unscale = split::UNSCALE.into();
            finish = format!("    find_units(batch, tile, id);\n{finish}    sum_again(tile, row, column, id % 32u);\n");
        }
        text = text.replace("    sums();\n", &sums).replace("            multiply();\n", &self.multiply());
        text = text.replace("    unscale();\n", &unscale).replace("    finish_all();\n", &finish);
        let _ = write!(text, "\nconst COLUMNS = {}u;\nconst STEP = {}u;\n", self.columns(), self.step());
        if self.split {
            text += &self.split_functions(w, &format!("{terms}{decode}"), (scratch, self.place_of_largest(parts)))?;
        }
        let sizes = [
            ("size_m", self.m),
            ("size_n", self.n),
            ("size_k", if parts == 1 { self.k } else { self.k.div_ceil(parts).next_multiple_of(self.turn()) }),
            ("batches", self.batches() * parts),
        ];
        for (name, size) in sizes {
            text += &rows::number(w, name, count(size)?);
        }
        for Side { name, tile, along, .. } in self.sides() {
            let pitch = tile / 4 + 2;
            let vectors = match along {
                Along::Terms => format!("{tile}u * ALONG_TERMS"),
                Along::Rows => format!("{}u", HALVES * pitch),
            };
            let _ = write!(
                text,
                "\nconst {}_ALONG_ROWS = {pitch}u;\nvar<workgroup> {name}_tile: array<vec4<f16>, {vectors}>;\n",
                name.to_uppercase()
            );
        }
        Ok(text)
    }

    fn sides(&self) -> [Side<'_>; 2] {
        let rank = self.batch.len();
        let [along_a, along_b] = self.along;
        [
            Side {
                name: "a",
                row: "m",
                rows: self.m,
                tile: TILE,
                along: along_a,
                operand: &self.c.a,
                axes: [rank, rank + 1],
            },
            Side {
                name: "b",
                row: "n",
                rows: self.n,
                tile: self.columns(),
                along: along_b,
                operand: &self.c.b,
                axes: [rank + 1, rank],
            },
        ]
    }

    /// [`split::FILE`] and what it asks for: `part` finds a workgroup's part, and what is largest lies in a slot from a place on.
    fn split_functions(&self, w: &mut Writer, part: &str, (slot, mut place): (usize, usize)) -> Result<String> {
        let mut text = split::FILE.to_owned();
        for (side, largest) in self.sides().iter().zip(self.all_largest()) {
            text += &largest.function(w, side.name, slot, place)?;
            place += largest.len();
        }
        let axes: Vec<String> = (0..self.batch.len()).map(|d| format!("u32(i{d})")).collect();
        let with = |last: [&'static str; 2]| -> Vec<&str> { axes.iter().map(String::as_str).chain(last).collect() };
        let a = element(w, self.c.dtype, &self.c.a, &with(["m", "k"]))?;
        let b = element(w, self.c.dtype, &self.c.b, &with(["k", "n"]))?;
        let _ = write!(
            text,
            "\nfn plain(own: u32, m: u32, n: u32) -> f32 {{\n{part}    var sum = 0.0;\n    \
             for (var k = start; k < end; k++) {{\n        sum += {a} * {b};\n    }}\n    return sum;\n}}\n"
        );
        Ok(text)
    }

    /// How an invocation fills its vectors of an operand's tile. Places are found before the walk as far as they can be,
    /// and nothing is limited that cannot be outside: in a product of whole tiles a load is an addition and a load.
    fn fill(&self, w: &mut Writer, side: &Side) -> Fill {
        let Side { name, row, rows, tile, along, operand, axes } = *side;
        let strides: Dims<i64> = operand.layout.strides.iter().map(|s| s / 4).collect();
        let mut start = w.linear(operand.layout.offset / 4, &strides[..self.batch.len()], "i");
        if start.is_empty() {
            start = "0i".into();
        }
        let (fits, whole) = (rows >= tile, self.k.is_multiple_of(self.turn()));
        // Vectors of a row that are loaded in a step, rows that all invocations load together, and how often they do.
        let fours = self.step() / 4;
        let (together, times) = (INVOCATIONS / fours, fours * tile / INVOCATIONS);
        let vector = if self.split { "vec4<f32>" } else { "vec4<f16>" };
        let size = format!("size_{row}()");
        let buffer = w.buffer(operand.slot);
        let (mut before, mut loads, mut stores) = (String::new(), String::new(), String::new());
        let mut load = |i: usize, place: &str, inside: &str| {
            let _ = match whole {
                true => writeln!(loads, "            let {name}_value{i} = {buffer}[{place}];"),
                false => writeln!(
                    loads,
                    "            let {name}_value{i} = select({vector}(), {buffer}[{place}], {inside});"
                ),
            };
        };
        match along {
            // Some invocations have the terms of a row. Which rows those beside them have makes what 16 of them store together
            // lie in different memory banks.
            Along::Terms => {
                let stride = w.int(strides[axes[0]]);
                let own_row = match self.split {
                    false => "id / 8u % 2u * 4u + id / 16u % 4u + id / 64u * 8u",
                    true => "id / 4u % 4u * 2u + id / 16u % 2u + id / 32u * 8u",
                };
                let _ = write!(
                    before,
                    "    let {name}_row = {own_row};\n    let {name}_four = id % {fours}u;\n    \
                     let {name}_to = {name}_row * ALONG_TERMS + {name}_four;\n"
                );
                for i in 0..times {
                    let own = match fits {
                        true => format!("{row}0 + {name}_row + {}u", together * i),
                        false => format!("min({row}0 + {name}_row + {}u, {size} - 1u)", together * i),
                    };
                    if i == 0 || !fits {
                        let _ = writeln!(before, "    let {name}_at{i} = {start} + i32({own}) * {stride};");
                    }
                    if self.split {
                        let _ = writeln!(before, "    let {name}_scale{i} = scale_of(largest_{name}(batch, {own}));");
                    }
                }
                for i in 0..times {
                    match fits {
                        true => load(
                            i,
                            &format!("{name}_at0 + {name}_k + {} * {stride}", together * i),
                            &format!("{name}_in"),
                        ),
                        false => load(i, &format!("{name}_at{i} + {name}_k"), &format!("{name}_in")),
                    }
                    let to = format!("{name}_to + {}u * ALONG_TERMS", together * i);
                    stores += &match self.split {
                        false => stored(name, i, &to),
                        true => split::stored(name, i, &format!("{name}_scale{i}"), &to, &format!("{to} + 4u")),
                    };
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
                let (across, pitch) = (tile / 4, format!("{}_ALONG_ROWS", name.to_uppercase()));
                let together = INVOCATIONS / across;
                let _ = write!(
                    before,
                    "    let {name}_term = id / {across}u;\n    let {name}_four = id % {across}u;\n    \
                     let {name}_to = {name}_term * {pitch} + {name}_four;\n    let {name}_at = {start} + i32({four});\n"
                );
                if self.split {
                    let of = |c: usize| format!("largest_{name}(batch, {name}_first + {c}u)");
                    let _ = write!(
                        before,
                        "    let {name}_first = ({four}) * 4u;\n    \
                         let {name}_scale = vec4(scale_of({}), scale_of({}), scale_of({}), scale_of({}));\n",
                        of(0),
                        of(1),
                        of(2),
                        of(3)
                    );
                }
                for i in 0..times {
                    let term = format!("k0 + {name}_term + {}u", together * i);
                    match whole {
                        true => load(i, &format!("{name}_k + {} * {stride}", together * i), ""),
                        false => load(
                            i,
                            &format!("{name}_at + i32(min({term}, end - 1u)) * {stride}"),
                            &format!("{term} < end"),
                        ),
                    }
                    let to = |term: usize| format!("{name}_to + {term}u * {pitch}");
                    let own = together * i;
                    stores += &match self.split {
                        false => stored(name, i, &to(own)),
                        true => split::stored(name, i, &format!("{name}_scale"), &to(own), &to(own + self.step())),
                    };
                }
                if whole {
                    loads =
                        format!("            let {name}_k = {name}_at + i32(k0 + {name}_term) * {stride};\n") + &loads;
                }
            }
        }
        Fill { before, loads, stores }
    }

    /// Matrices of a subgroup's part of a tile: of four rows of them.
    fn pairs(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let across = self.columns() / 32;
        (0..4).flat_map(move |i| (0..across).map(move |j| (i, j)))
    }

    /// What a subgroup does with the tiles.
    fn multiply(&self) -> String {
        let [a, b] = self.sides().map(|side| {
            let (name, along) = (side.name, side.along);
            let (role, first) = if name == "a" { ('A', "row") } else { ('B', "column") };
            let pitch = format!("{}_ALONG_ROWS", name.to_uppercase());
            // `coopLoadT` is the one for rows of the matrix that lie along memory.
            let load = if (along == Along::Terms) == (name == "a") { "coopLoadT" } else { "coopLoad" };
            move |i: usize, k: usize| {
                let place = match along {
                    Along::Terms => format!("({first} + {}u) * ALONG_TERMS + {}u], ALONG_TERMS", 16 * i, k / 4),
                    Along::Rows => format!("{k}u * {pitch} + {first} / 4u + {}u], {pitch}", 4 * i),
                };
                format!("            let {name}{i}_{k} = {load}<coop_mat16x16<f16, {role}>>(&{name}_tile[{place});\n")
            }
        });
        let across = self.columns() / 32;
        let mut text = String::new();
        if self.split {
            for j in 0..across {
                text += &(b(j, 0) + &b(j, 16));
            }
            for i in 0..4 {
                text += &(a(i, 0) + &a(i, 16));
                text.extend((0..across).map(|j| split::multiply(i, j)));
            }
            return text;
        }
        for k in (0..HALVES).step_by(16) {
            for i in 0..4 {
                text += &a(i, k);
            }
            for j in 0..across {
                text += &b(j, k);
            }
            for (i, j) in self.pairs() {
                let _ = writeln!(text, "            c{i}{j} = coopMultiplyAdd(a{i}_{k}, b{j}_{k}, c{i}{j});");
            }
        }
        text
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
        Ok(w.finish(if self.split { "matmul_split" } else { "matmul_matrices" }, "", &text, dispatch))
    }
}

/// How many slots it touches.
fn slots(c: &Contract) -> usize {
    let e = &c.epilogue;
    let loaded = e.instrs.iter().filter_map(|i| i.kind.slot());
    let mut slots: Vec<usize> = loaded.chain(e.stores.iter().map(|s| s.slot)).chain([c.a.slot, c.b.slot]).collect();
    slots.sort_unstable();
    slots.dedup();
    slots.len()
}

/// The last axis of an epilogue.
fn last(e: &Loop) -> usize {
    e.outer.len().saturating_sub(1)
}

fn indented(lines: &str) -> String {
    lines.lines().map(|line| format!("    {line}\n")).collect()
}

/// A line that stores a vector.
fn stored(name: &str, i: usize, to: &str) -> String {
    format!("            {name}_tile[{to}] = {name}_value{i};\n")
}
