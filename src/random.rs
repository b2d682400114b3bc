//! Counter-based random numbers: Philox4x32-10 (Salmon et al., *Parallel random numbers: as easy as 1, 2, 3*, SC 2011).
//!
//! Element `i` of a random tensor is word `i % 4` of `philox([i / 4, i / 4 >> 32, stream, 0], key)`, so every element can
//! be made by itself, on any device, in any order. The key is the generator's seed; the stream counts its calls.

use std::sync::Mutex;

/// The ten rounds over one counter.
///
/// ```
/// // Known answer from the authors' Random123 test vectors.
/// assert_eq!(sunstone::random::philox([0; 4], [0; 2]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
/// ```
pub fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let p0 = counter[0] as u64 * 0xD251_1F53;
        let p1 = counter[2] as u64 * 0xCD9E_8D57;
        counter =
            [(p1 >> 32) as u32 ^ counter[1] ^ key[0], p1 as u32, (p0 >> 32) as u32 ^ counter[3] ^ key[1], p0 as u32];
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    counter
}

/// A uniform number in `[0, 1)` with 24 random bits.
pub fn uniform(word: u32) -> f32 {
    (word >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// Two independent standard normal numbers from two words (Box and Muller, 1958).
pub fn normal(a: u32, b: u32) -> [f32; 2] {
    // 1 - u lies in (0, 1], so the logarithm is finite.
    let radius = (-2.0 * (1.0 - uniform(a)).ln()).sqrt();
    let angle = std::f32::consts::TAU * uniform(b);
    [radius * angle.cos(), radius * angle.sin()]
}

/// The numbers `0..n`, if there is room for them, in an order that `state` alone decides (Fisher and Yates; Durstenfeld,
/// 1964). Sixty-four bits for each swap keep the bias under `n / 2^64`.
pub(crate) fn shuffled(n: i32, state: GeneratorState) -> Option<Vec<i32>> {
    let key = [state.seed as u32, (state.seed >> 32) as u32];
    let mut order: Vec<i32> = Vec::new();
    order.try_reserve_exact(n.max(0) as usize).ok()?;
    order.extend(0..n);
    for i in (1..order.len()).rev() {
        let words = philox([i as u32, 0, state.stream, 0], key);
        let bits = (words[0] as u64) << 32 | words[1] as u64;
        order.swap(i, ((bits as u128 * (i as u128 + 1)) >> 64) as usize);
    }
    Some(order)
}

/// How raw words become elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Distribution {
    /// The raw 32 bits, as `u32`.
    Bits,
    /// Uniform in `[0, 1)`, as `f32`.
    Uniform,
    /// Standard normal, as `f32`.
    Normal,
}

/// A seed and the number of calls made so far: all the state there is, so it can be saved and restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct GeneratorState {
    /// The Philox key.
    pub seed: u64,
    /// The stream of the next call.
    pub stream: u32,
}

/// A source of random tensors. Each call to `rand` and its kin takes the next stream.
///
/// ```
/// use sunstone::prelude::*;
/// let device = Device::cpu();
/// let a = Generator::new(7).rand([4], &device).to_vec::<f32>()?;
/// let b = Generator::new(7).rand([4], &device).to_vec::<f32>()?;
/// assert_eq!(a, b);
/// # Ok::<(), sunstone::Error>(())
/// ```
#[derive(Debug)]
pub struct Generator(Mutex<GeneratorState>);

impl Generator {
    /// A generator whose numbers depend on `seed` alone.
    pub fn new(seed: u64) -> Generator {
        Generator(Mutex::new(GeneratorState { seed, stream: 0 }))
    }

    /// What to save so that [`Generator::restore`] continues from here.
    pub fn state(&self) -> GeneratorState {
        *self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Continues from a saved state.
    pub fn restore(&self, state: GeneratorState) {
        *self.0.lock().unwrap_or_else(|e| e.into_inner()) = state;
    }

    /// The state for one call; the next call gets another stream.
    pub(crate) fn next(&self) -> GeneratorState {
        let mut state = self.0.lock().unwrap_or_else(|e| e.into_inner());
        let current = *state;
        state.stream = state.stream.wrapping_add(1);
        current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The other two known answers of Random123's `kat_vectors` for philox4x32-10.
    #[test]
    fn known_answers() {
        assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
        assert_eq!(
            philox([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0]),
            [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]
        );
    }

    #[test]
    fn all_orders_of_three_are_as_likely() {
        let mut counts = std::collections::BTreeMap::new();
        for stream in 0..6000 {
            *counts.entry(shuffled(3, GeneratorState { seed: 5, stream }).unwrap()).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 6);
        // Six standard deviations of a binomial of 6000 trials at 1/6 are 173.
        assert!(counts.values().all(|&c: &i32| (c - 1000).abs() < 173), "{counts:?}");
    }

    #[test]
    fn uniforms_stay_below_one_and_normals_stay_finite() {
        assert!(uniform(u32::MAX) < 1.0);
        assert!(normal(u32::MAX, u32::MAX).iter().all(|z| z.is_finite()));
    }
}
