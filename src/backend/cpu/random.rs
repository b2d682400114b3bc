//! Blocks of random elements.

use super::simd::vectorised;
use super::walk::Run;
use crate::random::{Distribution, normal, philox, uniform};

/// The seed's two words and the stream.
pub type Source = [u32; 3];

/// Word `element % 4` of the group that holds `element`.
fn group(element: u64, [lo, hi, stream]: Source) -> [u32; 4] {
    let g = element / 4;
    philox([g as u32, (g >> 32) as u32, stream, 0], [lo, hi])
}

fn shape(distribution: Distribution, words: [u32; 4]) -> [u32; 4] {
    match distribution {
        Distribution::Bits => words,
        Distribution::Uniform => words.map(|w| uniform(w).to_bits()),
        Distribution::Normal => {
            let ([a, b], [c, d]) = (normal(words[0], words[1]), normal(words[2], words[3]));
            [a, b, c, d].map(f32::to_bits)
        }
    }
}

vectorised! {
    /// The elements of a run, as bits of `u32` or `f32`.
    pub fn fill(distribution: Distribution, source: Source, run: Run, dst: &mut [u32]) {
        let mut i = 0;
        while i < dst.len() {
            let element = run.first.wrapping_add((i as i64).wrapping_mul(run.stride)) as u64;
            let words = shape(distribution, group(element, source));
            let from = (element % 4) as usize;
            // Neighbours share their group.
            let count = if run.stride == 1 { (4 - from).min(dst.len() - i) } else { 1 };
            dst[i..i + count].copy_from_slice(&words[from..from + count]);
            i += count;
        }
    }
}
