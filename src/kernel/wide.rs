//! Which products `shaders/matmul_wide.wgsl` makes, in tiles of which shape, and its generated functions.

use super::parts::MOST_SUMS;
use super::stage::{Reach, Stage};
use super::write::Writer;
use super::{Result, Target, Tuning, count, rows};
use crate::dtype::DType;
use std::fmt::Write as _;

/// The file.
pub const WIDE: &str = include_str!("../../shaders/matmul_wide.wgsl");

/// Columns of a tile.
const COLUMNS: usize = 128;

/// The shape of a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tile {
    /// 128×128: 8×16 sums an invocation.
    Large,
    /// 64×128: 8×8 sums an invocation.
    Low,
}

/// Terms of a part, at least: with fewer, a tile is mostly stored.
const LEAST_TERMS: usize = 256;

/// And at most, however few parts are worth it: a driver may stop an invocation that takes too many turns of a loop.
const MOST_TERMS: usize = 1 << 18;

/// Tiles, and into how many parts their sums are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    pub tile: Tile,
    pub parts: usize,
}

impl Cut {
    /// The fastest, as measured on an H100, for a product of so many batches, rows, columns and terms, whose operands fill
    /// tiles by `stages`; none where another kernel is the one for it.
    pub fn choose([batches, m, n, k]: [usize; 4], stages: [Stage; 2], dtype: DType, target: Target) -> Option<Cut> {
        if target.emulated || n < 48 || k < 8 {
            return None;
        }
        let Tuning { wide_room, wide_tiles, large_tiles, .. } = target.tuning;
        // Large ones keep loads one by one waiting, and halves along rows are loaded so too.
        let fast = |stage: Stage| stage == Stage::FourTerms || stage == Stage::FourRows && !dtype.is_half();
        let along_terms = stages.into_iter().all(|stage| stage == Stage::FourTerms);
        let suits = |tile: Tile, tiles: usize, parts: usize| match tile {
            Tile::Large => m > 64 && k >= 512 && tiles >= large_tiles as usize && stages.into_iter().all(fast),
            Tile::Low => (m >= 16 || m >= 8 && k >= 256) && tiles * parts >= wide_tiles as usize,
        };
        let elements = batches * m * n;
        let fewest = k.div_ceil(MOST_TERMS);
        let most = (k / LEAST_TERMS).min(MOST_SUMS / elements.max(1));
        let most = if wide_room > 1 { most.max(fewest) } else { fewest };
        let (mut best, mut least) = (None, f64::INFINITY);
        for tile in [Tile::Large, Tile::Low].into_iter().filter(|tile| target.workgroup_memory >= tile.memory()) {
            let tiles = tile.count([batches, m, n]);
            for parts in (fewest..=most).filter(|&parts| suits(tile, tiles, parts)) {
                let cut = Cut { tile, parts: k.div_ceil(tile.part(k, parts)) };
                let time = cut.time(tiles, k, along_terms, wide_room) + cut.fold_time(elements);
                if time < least {
                    (best, least) = (Some(cut), time);
                }
            }
        }
        best
    }

    /// What its tiles take, in terms of one element on one core, with `room` for so many low tiles at a time, three on a
    /// core. As seen on an H100: there are two large ones on one; a term costs a little less in those unless both operands
    /// lie along the terms; and to store a tile costs as much as some terms.
    fn time(&self, tiles: usize, k: usize, along_terms: bool, room: u32) -> f64 {
        let (together, stored, speed) = match (self.tile, along_terms) {
            (Tile::Large, false) => (2, 40, 1.0),
            (Tile::Large, true) => (2, 40, 0.9),
            (Tile::Low, false) => (3, 15, 0.985),
            (Tile::Low, true) => (3, 15, 0.925),
        };
        let cores = (room as usize / 3).max(1);
        let tiles = tiles * self.parts;
        // What fits at once is spread over all cores, and one that has fewer is a little faster. Later ones go where others
        // end, which is where all do that began together.
        let turns = match (tiles.div_ceil(cores * together), tiles.div_ceil(cores)) {
            (1, on_core) if self.tile == Tile::Low => (on_core + 1) as f64 / 4.0,
            (1, on_core) => (on_core + 8) as f64 / 10.0,
            (turns, _) => turns as f64,
        };
        let terms = (self.tile.part(k, self.parts) + stored) as f64;
        turns * (together * self.tile.rows() * COLUMNS) as f64 * terms / speed
    }

    /// What the fold of its parts takes, in the same unit: one more kernel (13 µs on an H100), and memory for the sums that it
    /// reads and the result that it writes (3 TB/s there).
    fn fold_time(&self, elements: usize) -> f64 {
        if self.parts == 1 { 0.0 } else { 2e6 + 0.2 * (self.parts + 1) as f64 * elements as f64 }
    }
}

impl Tile {
    /// How many of them a product takes.
    pub fn count(self, [batches, m, n]: [usize; 3]) -> usize {
        m.div_ceil(self.rows()) * n.div_ceil(COLUMNS) * batches
    }

    /// Terms of a part, where sums are cut into so many: whole steps.
    fn part(self, k: usize, parts: usize) -> usize {
        if parts == 1 { k } else { k.div_ceil(parts).next_multiple_of(16) }
    }

    fn rows(self) -> usize {
        match self {
            Tile::Large => 128,
            Tile::Low => 64,
        }
    }

    /// Invocations side by side, which share a tile's rows.
    fn across(self) -> usize {
        match self {
            Tile::Large => 8,
            Tile::Low => 16,
        }
    }

    /// Workgroup memory that it takes at most, in bytes.
    fn memory(self) -> u32 {
        let (tiles, tables) = (16 * (self.rows() + 4 + COLUMNS + 4) * 4, 2 * 128 * 8);
        (tiles + tables) as u32
    }
}

/// How the wide kernel makes a product.
pub struct Wide {
    pub cut: Cut,
    pub reaches: [Reach; 2],
}

impl Wide {
    /// Declares vectors of what is loaded by fours. To be called before anything else is loaded.
    pub fn new(w: &mut Writer, cut: Cut, dtype: DType, reaches: [Reach; 2]) -> Wide {
        let fours = reaches.iter().filter(|r| r.stage.by_fours() && !dtype.is_half());
        fours.for_each(|r| w.hold_vectors(r.slot));
        Wide { cut, reaches }
    }

    /// What is generated for sums of `k` terms in `parts` parts, besides what all kernels of products know.
    pub fn functions(&self, w: &mut Writer, dtype: DType, k: usize, parts: usize) -> Result<String> {
        let [a, b] = &self.reaches;
        let tile = self.cut.tile;
        let tile_m = tile.rows();
        let [a_spread, b_spread] = [a, b].map(|reach| reach.stage == Stage::Rows);
        let mut text = format!(
            "\nconst TILE_M = {tile_m}u;\nconst ACROSS = {}u;\nconst A_SPREAD = {a_spread};\n\
             const B_SPREAD = {b_spread};\nconst TABLES = {};\n\n",
            tile.across(),
            !(a.stage.by_fours() && b.stage.by_fours())
        );
        text += &match parts {
            1 => "fn parts() -> u32 {\n    return 1u;\n}\n\n".into(),
            _ => rows::number(w, "parts", count(parts)?),
        };
        text += &rows::number(w, "part", count(tile.part(k, parts))?);
        text += &tile.sums();
        Ok(text + &a.functions(w, dtype, "a", tile_m)? + &b.functions(w, dtype, "b", COLUMNS)?)
    }
}

impl Tile {
    /// `Sums`, `step` and `lay`. The order in which a step visits the sums, to and fro, is the one that was fastest on an H100.
    fn sums(self) -> String {
        const XYZW: [&str; 4] = ["x", "y", "z", "w"];
        let (across, vectors) = (self.across(), COLUMNS / 4 / self.across());
        let columns: Vec<(usize, &str)> = (0..vectors).flat_map(|j| XYZW.map(|c| (j, c))).collect();
        let mut text = String::from("\nstruct Sums {\n");
        for i in 0..8 {
            let row: Vec<String> = columns.iter().map(|(j, c)| format!("s{i}_{j}{c}: f32")).collect();
            let _ = writeln!(text, "    {},", row.join(", "));
        }
        text += "}\n\nfn step(sums: ptr<function, Sums>, row: u32, column: u32, k: u32) {\n";
        for i in 0..2 {
            let _ = writeln!(text, "    let a{i} = a_tile[k * A_PITCH + row + {}u];", self.rows() / 8 * i);
        }
        for j in 0..vectors {
            let _ = writeln!(text, "    let b{j} = b_tile[k * B_PITCH + column + {}u];", across * j);
        }
        for i in 0..8 {
            let line = |(j, c): &(usize, &str)| {
                let _ = writeln!(
                    text,
                    "    (*sums).s{i}_{j}{c} = fma(a{}.{}, b{j}.{c}, (*sums).s{i}_{j}{c});",
                    i / 4,
                    XYZW[i % 4]
                );
            };
            match i % 2 {
                0 => columns.iter().for_each(line),
                _ => columns.iter().rev().for_each(line),
            }
        }
        text += "}\n\nfn lay(sums: ptr<function, Sums>, i: u32, at: u32) {\n    switch (i) {\n";
        for i in 0..8 {
            let case = if i == 7 { "default".to_owned() } else { format!("case {i}u") };
            let _ = writeln!(text, "        {case}: {{");
            for j in 0..vectors {
                let vector = XYZW.map(|c| format!("(*sums).s{i}_{j}{c}")).join(", ");
                let _ = writeln!(text, "            a_tile[at + {}u] = vec4({vector});", across * j);
            }
            text += "        }\n";
        }
        text + "    }\n}\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_are_those_that_were_fast_on_an_h100() {
        let target = Target { workgroup_memory: 48 << 10, ..Target::default() };
        let (rows, terms) = (Stage::FourRows, Stage::FourTerms);
        let cut = |m, n, k, stages| Cut::choose([1, m, n, k], stages, DType::F32, target).unwrap();
        for (m, n, k, stages, tile, parts) in [
            // TFLOP/s of all ways: 39.5 with whole sums and large tiles, 34.3 with low ones.
            (4096, 4096, 4096, [terms, rows], Tile::Large, 1..=1),
            // 38.7, and 26.0.
            (2048, 2048, 2048, [terms, rows], Tile::Large, 1..=1),
            // 39.2, and 29.7 and 36.3 with large tiles in one and two parts.
            (8192, 768, 3072, [terms, rows], Tile::Low, 1..=1),
            (8192, 768, 768, [terms, terms], Tile::Low, 1..=1),
            // 23.7 whole and with large tiles, 31.2 whole and with low ones; 39.9 with those in four parts, 37.1 in five.
            (768, 3072, 8192, [rows, rows], Tile::Low, 4..=5),
            // 14.5 whole, 35.0 in five parts.
            (768, 768, 8192, [rows, rows], Tile::Low, 5..=11),
        ] {
            let got = cut(m, n, k, stages);
            assert!(got.tile == tile && parts.contains(&got.parts), "{m}×{n}×{k}: {got:?}");
        }
        assert_eq!(Cut::choose([1, 64, 128, 64], [terms, rows], DType::F32, target), None);
    }
}
