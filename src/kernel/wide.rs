//! The generated functions of `shaders/matmul_wide.wgsl`: how a tile is filled, and the sums of an invocation.

use super::write::Writer;
use super::{Result, ops};
use crate::dtype::DType;
use crate::plan::Operand;
use std::fmt::Write as _;

/// The file.
pub const WIDE: &str = include_str!("../../shaders/matmul_wide.wgsl");

/// Workgroup memory that it takes, in bytes.
pub const MEMORY: u32 = 2 * 528 * 16;

/// How an operand lies in memory, and so how its tile is filled. Its rows are what is no term: m of a, n of b.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Four neighbours along its rows at a time.
    FourRows,
    /// Four neighbours along the terms at a time.
    FourTerms,
    /// Neither is possible, and the wide kernel not for it.
    Single,
}

impl Stage {
    /// That of an operand of a matrix product, of so many rows and terms; `axes` are where these are among its axes.
    pub fn of(o: &Operand, [rows, terms]: [usize; 2], axes: [usize; 2]) -> Stage {
        let strides = &o.layout.strides;
        let whole = |axis: usize, size: usize| {
            let others = strides.iter().enumerate().all(|(d, s)| d == axis || s % 4 == 0);
            strides[axis] == 1 && size.is_multiple_of(4) && others && o.layout.offset % 4 == 0
        };
        match () {
            _ if whole(axes[0], rows) => Stage::FourRows,
            _ if whole(axes[1], terms) => Stage::FourTerms,
            _ => Stage::Single,
        }
    }

    /// Whether elements are loaded by fours.
    pub fn by_fours(self) -> bool {
        self != Stage::Single
    }

    /// The function `stage_{name}`, which calls `four_{name}`.
    pub fn function(self, name: &str) -> String {
        let (size, args) = if name == "a" { ("size_m", "batch, row, k") } else { ("size_n", "batch, k, row") };
        let four = |place: &str| args.replace("row", place);
        let lines = match self {
            Stage::FourRows => format!(
                "    for (var i = 0u; i < 4u; i++) {{
        let at = i * 4u + id / 32u;
        let k = k0 + at;
        let row = min(row0 + id % 32u * 4u, {size}() - 4u);
        var four = vec4<f32>();
        if (k < size_k()) {{
            four = four_{name}({args});
        }}
        {name}_tile[at * PITCH + id % 32u] = four;
    }}
"
            ),
            Stage::FourTerms => format!(
                "    let at = id % 4u * 4u;
    let k = k0 + at;
    let row = row0 + id / 4u * 4u;
    let last = {size}() - 1u;
    var r0 = vec4<f32>();
    var r1 = vec4<f32>();
    var r2 = vec4<f32>();
    var r3 = vec4<f32>();
    if (k < size_k()) {{
        r0 = four_{name}({});
        r1 = four_{name}({});
        r2 = four_{name}({});
        r3 = four_{name}({});
    }}
    {name}_tile[at * PITCH + id / 4u] = vec4(r0.x, r1.x, r2.x, r3.x);
    {name}_tile[(at + 1u) * PITCH + id / 4u] = vec4(r0.y, r1.y, r2.y, r3.y);
    {name}_tile[(at + 2u) * PITCH + id / 4u] = vec4(r0.z, r1.z, r2.z, r3.z);
    {name}_tile[(at + 3u) * PITCH + id / 4u] = vec4(r0.w, r1.w, r2.w, r3.w);
",
                four("min(row, last)"),
                four("min(row + 1u, last)"),
                four("min(row + 2u, last)"),
                four("min(row + 3u, last)")
            ),
            Stage::Single => String::new(),
        };
        format!("\nfn stage_{name}(batch: u32, row0: u32, k0: u32, id: u32) {{\n{lines}}}\n")
    }
}

/// An expression for four neighbours from `place` on, which is a multiple of four, of a slot that is declared as vectors
/// unless it holds halves.
pub fn four(w: &mut Writer, slot: usize, dtype: DType, place: &str) -> Result<String> {
    let buffer = w.buffer(slot);
    if !dtype.is_half() {
        let vector = format!("{buffer}[({place}) >> 2u]");
        let stored = ops::stored_type(dtype)?;
        return Ok(if w.word_type(slot) == stored { vector } else { format!("bitcast<vec4<{stored}>>({vector})") });
    }
    let word = |k: usize| if k == 0 { "words.x".to_owned() } else { "words.y".into() };
    let all = (0..4).map(|k| w.component(slot, dtype, word, k)).collect::<Result<Vec<_>>>()?;
    Ok(format!("vec4<f32>({})", all.join(", ")))
}

/// `Sums`, `step` and `strip`. The order in which a step visits the sums, to and fro, is the one that was fastest on an H100.
pub fn sums() -> String {
    const XYZW: [&str; 4] = ["x", "y", "z", "w"];
    let columns: Vec<(usize, &str)> = (0..4).flat_map(|j| XYZW.map(|c| (j, c))).collect();
    let mut text = String::from("\nstruct Sums {\n");
    for i in 0..8 {
        let row: Vec<String> = columns.iter().map(|(j, c)| format!("s{i}_{j}{c}: f32")).collect();
        let _ = writeln!(text, "    {},", row.join(", "));
    }
    text += "}\n\nfn step(sums: ptr<function, Sums>, row: u32, column: u32, k: u32) {\n";
    for i in 0..2 {
        let _ = writeln!(text, "    let a{i} = a_tile[k * PITCH + row + {}u];", 16 * i);
    }
    for j in 0..4 {
        let _ = writeln!(text, "    let b{j} = b_tile[k * PITCH + column + {}u];", 8 * j);
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
    text += "}\n\nfn strip(sums: ptr<function, Sums>, i: u32) -> array<vec4<f32>, 4> {\n    switch (i) {\n";
    for i in 0..8 {
        let vectors: Vec<String> =
            (0..4).map(|j| format!("vec4({})", XYZW.map(|c| format!("(*sums).s{i}_{j}{c}")).join(", "))).collect();
        let case = if i == 7 { "default".to_owned() } else { format!("case {i}u") };
        let _ = writeln!(
            text,
            "        {case}: {{\n            return array<vec4<f32>, 4>({});\n        }}",
            vectors.join(", ")
        );
    }
    text + "    }\n}\n"
}
