//! Blocks of random elements.

use super::simd::vectorised;
use super::walk::Run;
use crate::random::{Distribution, normal, philox, uniform};

/// The seed's two words and the stream.
pub type Source = [u32; 3];

/// Groups of four that are made at once, one to a vector lane.
const LANES: usize = 8;

/// What [`philox`] gives for the groups from number `first` on, word by word. Each word has 64 bits to itself, so that
/// products need no shuffling between lanes.
#[inline(always)]
fn groups(first: u64, [lo, hi, stream]: Source) -> [[u64; LANES]; 4] {
    const LOW: u64 = u32::MAX as u64;
    let (mut a, mut b, mut c, mut d) = ([0; LANES], [0; LANES], [stream as u64; LANES], [0; LANES]);
    for i in 0..LANES {
        let group = first.wrapping_add(i as u64);
        (a[i], b[i]) = (group & LOW, group >> 32);
    }
    let mut key = [lo, hi];
    for _ in 0..10 {
        for i in 0..LANES {
            let (p, q) = ((a[i] & LOW) * 0xD251_1F53, (c[i] & LOW) * 0xCD9E_8D57);
            a[i] = (q >> 32) ^ b[i] ^ key[0] as u64;
            b[i] = q & LOW;
            c[i] = (p >> 32) ^ d[i] ^ key[1] as u64;
            d[i] = p & LOW;
        }
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    [a, b, c, d]
}

/// A group's words as elements.
#[inline(always)]
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

/// One element.
fn single(distribution: Distribution, [lo, hi, stream]: Source, element: u64) -> u32 {
    let group = element / 4;
    let words = philox([group as u32, (group >> 32) as u32, stream, 0], [lo, hi]);
    shape(distribution, words)[(element % 4) as usize]
}

vectorised! {
    /// Whole groups from number `first` on.
    pub fn fill_groups(distribution: Distribution, source: Source, first: u64, dst: &mut [[u32; 4]]) {
        for (i, part) in (0..).zip(dst.chunks_mut(LANES)) {
            let [a, b, c, d] = groups(first.wrapping_add(i * LANES as u64), source);
            for (j, group) in part.iter_mut().enumerate() {
                *group = shape(distribution, [a[j] as u32, b[j] as u32, c[j] as u32, d[j] as u32]);
            }
        }
    }
}

/// The elements of a run, as bits of `u32` or `f32`.
pub fn fill(distribution: Distribution, source: Source, run: Run, dst: &mut [u32]) {
    let element = |i: usize| run.first.wrapping_add((i as i64).wrapping_mul(run.stride)) as u64;
    let head = match run.stride {
        1 => (element(0).wrapping_neg() % 4).min(dst.len() as u64) as usize,
        _ => dst.len(),
    };
    let whole = (dst.len() - head) / 4 * 4;
    let singles = |from: usize, dst: &mut [u32]| {
        dst.iter_mut().enumerate().for_each(|(i, d)| *d = single(distribution, source, element(from + i)));
    };
    singles(0, &mut dst[..head]);
    if whole > 0 {
        fill_groups(distribution, source, element(head) / 4, dst[head..head + whole].as_chunks_mut().0);
    }
    singles(head + whole, &mut dst[head + whole..]);
}
