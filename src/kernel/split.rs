//! Products of f32 on cooperative matrices, each number as the sum of two halves (`shaders/matmul_split.wgsl`): what they add
//! to those of f16 (`matrices.rs`).

use super::parts::MOST_SUMS;
use super::write::Writer;
use super::{Result, Tuning, count};
use crate::dtype::DType;
use crate::graph::{ReduceOp, UnaryOp};
use crate::plan::{Affine, Instr, InstrKind, Level, Loop, Operand, Store};
use crate::shape::{Dims, Shape};

/// The file.
pub const FILE: &str = include_str!("../../shaders/matmul_split.wgsl");

/// Lines that finish the two sums of an element and its neighbour.
pub const UNSCALE: &str =
    "    if (!is_split(tile, row, column)) {\n        return;\n    }\n    two = unscaled(tile, row, column, sums);\n";

/// Terms of a product, and of a part, at least: so many that two more kernels and the tile's store pay.
const LEAST_TERMS: usize = 256;

/// Parts of an operand's terms of which the largest are found apart where rows lie side by side: few invocations share a
/// column.
const APART: usize = 8;

/// True where a product of so many batches, rows, columns and terms is worth it.
pub fn pays([batches, m, n, k]: [usize; 4], tuning: Tuning) -> bool {
    let work = [batches, m, n, k].into_iter().fold(1usize, usize::saturating_mul) >> 20;
    m >= 64 && n >= 64 && k >= LEAST_TERMS && tuning.split_work < u32::MAX && work >= tuning.split_work as usize
}

/// Into how many parts sums of `k` terms are cut, of so many tiles and elements, where `cores` have room for two workgroups
/// each. Times are in terms of one tile, of which an H100 makes 17 in a microsecond: to begin and to store a tile takes as
/// long as 115, one more kernel 230.
pub fn parts(cores: u32, tiles: usize, k: usize, elements: usize) -> usize {
    let fewest = k.div_ceil(1 << 20);
    if cores <= 1 {
        return fewest;
    }
    let most = (k / LEAST_TERMS).min(MOST_SUMS / elements.max(1)).max(fewest);
    let time = |parts: usize| {
        let waves = (tiles * parts).div_ceil(2 * cores as usize);
        let fold = if parts == 1 { 0.0 } else { 230.0 + 2.3e-5 * ((parts + 1) * elements) as f64 };
        waves as f64 * (k.div_ceil(parts) + 115) as f64 + fold
    };
    (fewest..=most).min_by(|&x, &y| time(x).total_cmp(&time(y))).unwrap_or(fewest)
}

/// The largest magnitudes in the rows of an operand, NaN where there is one.
pub struct Largest<'a> {
    operand: &'a Operand,
    /// Sizes of the batch, how many parts of the terms are looked at apart, and the rows.
    shape: Dims<usize>,
    strides: Dims<i64>,
    /// Terms of a part, and how far apart they lie.
    terms: usize,
    stride: i64,
}

impl Largest<'_> {
    /// Those of an operand of so many rows and terms, `axes` being where these are among its axes; terms that are not `together`
    /// in memory are looked at in parts.
    pub fn new<'a>(
        operand: &'a Operand,
        batch: &[usize],
        [rows, terms]: [usize; 2],
        axes: [usize; 2],
        together: bool,
    ) -> Largest<'a> {
        let apart = if !together && terms.is_multiple_of(APART) { APART } else { 1 };
        let [row, term] = axes.map(|axis| operand.layout.strides[axis]);
        let outer = operand.layout.strides[..batch.len()].iter().copied();
        Largest {
            operand,
            shape: batch.iter().copied().chain([apart, rows]).collect(),
            strides: outer.chain([term * (terms / apart) as i64, row]).collect(),
            terms: terms / apart,
            stride: term,
        }
    }

    /// How many numbers there are, of every part, and what is left of a vector.
    pub fn len(&self) -> usize {
        self.shape.iter().product::<usize>().next_multiple_of(4)
    }

    /// The loop that finds them, to a slot from `place` on.
    pub fn find(&self, slot: usize, place: usize) -> Loop {
        let with = |strides: &[i64], stride: i64| strides.iter().copied().chain([stride]).collect();
        let load = Affine { offset: self.operand.layout.offset, strides: with(&self.strides, self.stride) };
        let store = Affine { offset: place as i64, strides: with(&Shape::from(&self.shape[..]).strides(), 0) };
        let instr = |kind: InstrKind, level: Level| Instr { kind, dtype: DType::F32, level };
        Loop {
            outer: self.shape.clone(),
            inner: Dims::from_elem(self.terms, 1),
            instrs: vec![
                instr(InstrKind::Load { slot: self.operand.slot, at: load, guard: None }, Level::Inner),
                instr(InstrKind::Unary { op: UnaryOp::Abs, src: 0 }, Level::Inner),
                instr(InstrKind::Reduce { op: ReduceOp::Max, src: 1 }, Level::Outer),
            ],
            stores: vec![Store { slot, at: store, value: 2 }],
        }
    }

    /// Function `largest_{name}(batch, row)`, which reads them from there. As numbers without a sign they have the order of
    /// their bits, NaN last.
    pub fn function(&self, w: &mut Writer, name: &str, slot: usize, place: usize) -> Result<String> {
        let buffer = w.buffer(slot);
        let (apart, rows) = (self.shape[self.shape.len() - 2], self.shape[self.shape.len() - 1]);
        let (place, rows) = (w.count(count(place)?), w.count(count(rows)?));
        Ok(format!(
            "\nfn largest_{name}(batch: u32, row: u32) -> f32 {{\n    var bits = 0u;\n    \
             for (var part = 0u; part < {apart}u; part++) {{\n        \
             let own = {buffer}[{place} + (batch * {apart}u + part) * {rows} + row];\n        \
             bits = max(bits, bitcast<u32>(own) & 0x7fffffffu);\n    }}\n    return bitcast<f32>(bits);\n}}\n"
        ))
    }
}

/// Lines that store the two halves of a vector's numbers.
pub fn stored(name: &str, i: usize, scale: &str, to: &str, low_to: &str) -> String {
    format!(
        "            let {name}_scaled{i} = {name}_value{i} * {scale};\n            \
         let {name}_high{i} = high({name}_scaled{i});\n            \
         {name}_tile[{to}] = vec4<f16>({name}_high{i});\n            \
         {name}_tile[{low_to}] = vec4<f16>({name}_scaled{i} - {name}_high{i});\n"
    )
}

/// Lines that add the product of matrix `i` of a and matrix `j` of b up: what is small first.
pub fn multiply(i: usize, j: usize) -> String {
    let mut sum = String::from("coop_mat16x16<f32, C>()");
    for (a, b) in [(16, 0), (0, 16), (0, 0)] {
        sum = format!("coopMultiplyAdd(a{i}_{a}, b{j}_{b}, {sum})");
    }
    format!("            let t{i}{j} = {sum};\n            c{i}{j} = c{i}{j} + t{i}{j};\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_fill_the_device_and_no_more() {
        let on_h100 = |[m, n, k]: [usize; 3]| parts(132, m.div_ceil(128) * n.div_ceil(64), k, m * n);
        assert_eq!(on_h100([768, 768, 8192]), 7);
        assert_eq!(on_h100([512, 512, 4096]), 8);
        assert_eq!([on_h100([8192, 768, 768]), on_h100([4096, 4096, 4096])], [1, 1]);
        // Where tuning says so, whole; but no part has more terms than a driver allows, however many elements there are.
        assert_eq!(parts(1, 72, 8192, 768 * 768), 1);
        assert_eq!([parts(1, 72, 3 << 20, 768 * 768), parts(132, 1, 3 << 20, 1 << 25)], [3, 3]);
    }

    #[test]
    fn only_what_is_large_and_has_many_terms_pays() {
        let tuning = Tuning { split_work: 1024, ..Tuning::default() };
        assert!(pays([1, 1024, 1024, 1024], tuning) && pays([64, 256, 256, 256], tuning));
        assert!(!pays([1, 1024, 1024, 1020], tuning) && !pays([1, 8192, 8192, 128], tuning));
        assert!(!pays([1, 4096, 4096, 4096], Tuning { split_work: u32::MAX, ..tuning }));
    }
}
