//! Which random choices follow from a seed?

use crate::random::{philox, uniform};

/// What a row of words is for. Tensors drawn by a `Generator` have 0 here, so no row is ever theirs.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    Permutation = 1,
    TrainDigit = 2,
    TestDigit = 3,
    TextWindow = 4,
}

/// A row of random words that `(seed, stream, purpose)` fixes, however many threads draw other rows meanwhile.
pub(super) struct Words {
    key: [u32; 2],
    counter: [u32; 4],
    block: [u32; 4],
    used: usize,
}

impl Words {
    pub fn new(seed: u64, stream: u64, purpose: Purpose) -> Words {
        Words {
            key: [seed as u32, (seed >> 32) as u32],
            counter: [0, stream as u32, (stream >> 32) as u32, purpose as u32],
            block: [0; 4],
            used: 4,
        }
    }

    pub fn next(&mut self) -> u32 {
        if self.used == 4 {
            self.block = philox(self.counter, self.key);
            self.counter[0] = self.counter[0].wrapping_add(1);
            self.used = 0;
        }
        self.used += 1;
        self.block[self.used - 1]
    }

    /// Uniform in `[low, high)`.
    pub fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * uniform(self.next())
    }

    /// Below `n`. Sixty-four random bits keep the bias under `n / 2^64`.
    pub fn below(&mut self, n: usize) -> usize {
        let bits = (self.next() as u64) << 32 | self.next() as u64;
        ((bits as u128 * n as u128) >> 64) as usize
    }
}

/// The numbers `0..n` in an order that depends on `n`, `seed` and `stream` alone (Fisher and Yates, by Philox).
/// Shuffling by epoch takes the epoch as its stream.
///
/// ```
/// let mut order = sunstone::data::permutation(100, 7, 0);
/// assert_ne!(order, sunstone::data::permutation(100, 7, 1));
/// order.sort();
/// assert_eq!(order, (0..100).collect::<Vec<u32>>());
/// ```
///
/// # Panics
/// When `n` exceeds `u32::MAX`.
pub fn permutation(n: usize, seed: u64, stream: u64) -> Vec<u32> {
    let last = u32::try_from(n).expect("a permutation of more than u32::MAX numbers");
    let mut words = Words::new(seed, stream, Purpose::Permutation);
    let mut order: Vec<u32> = (0..last).collect();
    for i in (1..n).rev() {
        order.swap(i, words.below(i + 1));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_once() {
        for n in [0, 1, 2, 3, 1000] {
            let mut order = permutation(n, 1, 2);
            order.sort_unstable();
            assert!(order.iter().copied().eq(0..n as u32), "n = {n}");
        }
    }

    #[test]
    fn seed_and_stream_change_the_order() {
        let base = permutation(1000, 1, 0);
        assert_eq!(base, permutation(1000, 1, 0));
        for (seed, stream) in [(2, 0), (1, 1), (1 << 40, 0), (1, 1 << 40)] {
            assert_ne!(base, permutation(1000, seed, stream), "seed {seed}, stream {stream}");
        }
    }

    #[test]
    fn all_orders_of_three_are_as_likely() {
        let mut counts = std::collections::BTreeMap::new();
        for stream in 0..6000 {
            *counts.entry(permutation(3, 5, stream)).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 6);
        // Six standard deviations of a binomial of 6000 trials at 1/6 are 173.
        assert!(counts.values().all(|&c: &i32| (c - 1000).abs() < 173), "{counts:?}");
    }
}
