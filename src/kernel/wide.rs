//! Which products `shaders/matmul_wide.wgsl` makes, in tiles of which shape, and its generated functions.

use super::stage::{Reach, Stage};
use super::write::Writer;
use super::{Result, Target, Tuning, count, parts, rows};
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

impl Tile {
    /// That for a product of so many batches, rows, columns and terms, whose operands fill it by `stages`, as measured on an
    /// H100; none where another kernel is the one for it. Large ones keep loads one by one waiting, have halves along rows do
    /// so too, and take as long as many terms to store.
    pub fn choose([batches, m, n, k]: [usize; 4], stages: [Stage; 2], dtype: DType, target: Target) -> Option<Tile> {
        if target.emulated || n < 48 || k < 8 {
            return None;
        }
        let Tuning { wide_tiles, large_tiles, .. } = target.tuning;
        let fast = |stage: Stage| stage == Stage::FourTerms || stage == Stage::FourRows && !dtype.is_half();
        let suits = |tile: &Tile| {
            let groups = tile.count([batches, m, n]);
            let worth = match tile {
                Tile::Large => m > 64 && k >= 512 && groups >= large_tiles as usize && stages.into_iter().all(fast),
                Tile::Low => {
                    (m >= 16 || m >= 8 && k >= 256)
                        && groups * tile.parts(groups, k, target.tuning) >= wide_tiles as usize
                }
            };
            worth && target.workgroup_memory >= tile.memory()
        };
        [Tile::Large, Tile::Low].into_iter().find(suits)
    }

    /// How many of them a product takes.
    pub fn count(self, [batches, m, n]: [usize; 3]) -> usize {
        m.div_ceil(self.rows()) * n.div_ceil(COLUMNS) * batches
    }

    /// Into how many parts sums of so many terms are cut, where whole ones take so many workgroups.
    pub fn parts(self, groups: usize, k: usize, tuning: Tuning) -> usize {
        k.div_ceil(self.part(k, parts::WIDE.parts(tuning.wide_room, groups, k)))
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
    pub tile: Tile,
    pub reaches: [Reach; 2],
}

impl Wide {
    /// Declares vectors of what is loaded by fours. To be called before anything else is loaded.
    pub fn new(w: &mut Writer, tile: Tile, dtype: DType, reaches: [Reach; 2]) -> Wide {
        let fours = reaches.iter().filter(|r| r.stage.by_fours() && !dtype.is_half());
        fours.for_each(|r| w.hold_vectors(r.slot));
        Wide { tile, reaches }
    }

    /// What is generated for sums of `k` terms in `parts` parts, besides what all kernels of products know.
    pub fn functions(&self, w: &mut Writer, dtype: DType, k: usize, parts: usize) -> Result<String> {
        let [a, b] = &self.reaches;
        let tile_m = self.tile.rows();
        let [a_spread, b_spread] = [a, b].map(|reach| reach.stage == Stage::Rows);
        let mut text = format!(
            "\nconst TILE_M = {tile_m}u;\nconst ACROSS = {}u;\nconst A_SPREAD = {a_spread};\n\
             const B_SPREAD = {b_spread};\nconst TABLES = {};\n\n",
            self.tile.across(),
            !(a.stage.by_fours() && b.stage.by_fours())
        );
        text += &match parts {
            1 => "fn parts() -> u32 {\n    return 1u;\n}\n\n".into(),
            _ => rows::number(w, "parts", count(parts)?),
        };
        text += &rows::number(w, "part", count(self.tile.part(k, parts))?);
        text += &self.tile.sums();
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
