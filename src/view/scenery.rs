//! What does the network paint when no picture is given? An evening by a lake, made by the program.

use super::image::Pixels;
use sunstone::random::{philox, uniform};

/// A square picture of `side` pixels: sky and sun, mountains with a rough surface, their reflection in water.
pub fn picture(side: usize) -> Pixels {
    let mut values = Vec::with_capacity(side * side * 3);
    for y in 0..side {
        for x in 0..side {
            let [u, v] = [x, y].map(|p| (p as f32 + 0.5) / side as f32);
            values.extend(colour(u, v).map(|c| c.clamp(0.0, 1.0)));
        }
    }
    Pixels { width: side, height: side, values }
}

/// Where water begins.
const SHORE: f32 = 0.66;

fn colour(u: f32, v: f32) -> [f32; 3] {
    if v < SHORE {
        return land(u, v);
    }
    // Waves grow towards the observer, and the water swallows some of the light.
    let depth = (v - SHORE) / (1.0 - SHORE);
    let wave = noise(6.0 * u, 60.0 * v * (1.3 - 0.6 * depth), 7) - 0.5;
    let seen = land(u + 0.05 * depth * wave, (SHORE - 0.9 * (v - SHORE) + 0.03 * depth * wave).max(0.0));
    let glint = 0.12 * smooth(0.62, 0.8, wave + 0.5) * (1.0 - depth);
    mix(scale(seen, 0.74), [0.05, 0.14, 0.22], 0.25 + 0.25 * depth).map(|c| c + glint)
}

/// Everything above the shore.
fn land(u: f32, v: f32) -> [f32; 3] {
    let mut seen = sky(u, v);
    // From the farthest ridge to the nearest: height, roughness, colour in shade and in light.
    let ridges = [
        (0.43, 0.16, [0.42, 0.36, 0.50], [0.78, 0.58, 0.56], 1),
        (0.53, 0.15, [0.22, 0.23, 0.36], [0.55, 0.42, 0.42], 2),
        (0.63, 0.10, [0.07, 0.12, 0.13], [0.30, 0.30, 0.18], 3),
    ];
    for (height, rough, shade, light, seed) in ridges {
        let top = height - rough * (hills(4.0 * u, seed) - 0.35);
        let surface = rocks(14.0 * u + 3.0 * v, 22.0 * v, seed + 10);
        let lit = smooth(0.35, 0.75, surface) * (0.4 + 0.6 * smooth(0.9, 0.2, (u - 0.68).abs()));
        let stone = mix(shade, light, lit);
        // Mist gathers low between the ridges.
        let mist = mix(stone, [0.80, 0.66, 0.62], 0.35 * smooth(0.0, 0.2, v - top) * (SHORE - height) * 3.0);
        seen = mix(seen, mist, smooth(-0.003, 0.003, v - top));
    }
    seen
}

fn sky(u: f32, v: f32) -> [f32; 3] {
    let air = mix([0.16, 0.26, 0.50], [0.98, 0.72, 0.45], smooth(0.0, 0.55, v));
    let far = ((u - 0.68).powi(2) + (v - 0.30).powi(2)).sqrt();
    let glow = mix(air, [1.0, 0.86, 0.58], 0.75 * (-9.0 * far).exp());
    let sun = mix(glow, [1.0, 0.97, 0.86], smooth(0.066, 0.058, far));
    let cloud = smooth(0.50, 0.78, rocks(3.0 * u + 1.5 * v, 11.0 * v, 30)) * smooth(0.5, 0.15, v);
    mix(sun, [0.96, 0.66, 0.60], 0.7 * cloud)
}

/// Noise of a few sizes, the finer the weaker; 0 to 1.
fn rocks(x: f32, y: f32, seed: u32) -> f32 {
    let octave = |i: i32| noise(x * 2f32.powi(i), y * 2f32.powi(i), seed + i as u32) * 0.5f32.powi(i + 1);
    (0..4).map(octave).sum::<f32>() / 0.9375
}

fn hills(x: f32, seed: u32) -> f32 {
    rocks(x, 0.5, seed * 17)
}

/// Numbers at whole places, smooth between them; 0 to 1.
fn noise(x: f32, y: f32, seed: u32) -> f32 {
    let at = |i: f32, j: f32| uniform(philox([i as i32 as u32, j as i32 as u32, seed, 0], [0x5ee, 0])[0]);
    let (i, j) = (x.floor(), y.floor());
    let (a, b) = (smooth(0.0, 1.0, x - i), smooth(0.0, 1.0, y - j));
    let row = |j: f32| at(i, j) * (1.0 - a) + at(i + 1.0, j) * a;
    row(j) * (1.0 - b) + row(j + 1.0) * b
}

/// 0 before `from`, 1 behind `to`, smooth between; `from` may be the larger.
fn smooth(from: f32, to: f32, x: f32) -> f32 {
    let t = ((x - from) / (to - from)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

fn mix(a: [f32; 3], b: [f32; 3], t: f32) -> [f32; 3] {
    std::array::from_fn(|i| a[i] * (1.0 - t) + b[i] * t)
}

fn scale(a: [f32; 3], by: f32) -> [f32; 3] {
    a.map(|c| c * by)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_photo_has_light_dark_and_detail() {
        let picture = picture(64);
        assert_eq!(picture.values.len(), 64 * 64 * 3);
        let (dark, light) = (0.2, 0.8);
        assert!(picture.values.iter().any(|&v| v < dark) && picture.values.iter().any(|&v| v > light));
        let steps: f32 = picture
            .values
            .chunks_exact(3)
            .map(|p| p[0])
            .collect::<Vec<_>>()
            .windows(2)
            .map(|w| (w[0] - w[1]).abs())
            .sum();
        assert!(steps / 4096.0 > 0.01, "{}", steps / 4096.0);
    }
}
