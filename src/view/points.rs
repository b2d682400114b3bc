//! Which points does a network have to tell apart? Moons, spirals and rings, two classes each.

use clap::ValueEnum;
use sunstone::random::{normal, philox, uniform};

/// The plane's sets of points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Data {
    /// Two half circles, each reaching into the other.
    Moons,
    /// Two arms wound around each other.
    Spirals,
    /// A disc within a ring.
    Rings,
}

impl Data {
    /// The one after it.
    pub fn next(self) -> Data {
        match self {
            Data::Moons => Data::Spirals,
            Data::Spirals => Data::Rings,
            Data::Rings => Data::Moons,
        }
    }

    /// `count` points between -1 and 1, each with its class.
    pub fn points(self, count: usize, seed: u64) -> Vec<([f32; 2], u8)> {
        (0..count).map(|i| self.point(i as u32, seed)).collect()
    }

    fn point(self, i: u32, seed: u64) -> ([f32; 2], u8) {
        let words = philox([i, self as u32, 0, 2], [seed as u32, (seed >> 32) as u32]);
        let (t, class) = (uniform(words[0]), (i % 2) as u8);
        let side = if class == 0 { 1.0 } else { -1.0 };
        let (at, spread) = match self {
            Data::Moons => {
                let angle = std::f32::consts::PI * t;
                ([side * (0.55 * angle.cos() - 0.27), side * (0.55 * angle.sin() - 0.14)], 0.06)
            }
            Data::Spirals => {
                let (radius, angle) = (0.08 + 0.82 * t.sqrt(), 9.0 * t.sqrt());
                ([side * radius * angle.cos(), side * radius * angle.sin()], 0.02)
            }
            Data::Rings => {
                let (radius, angle) = (if class == 0 { 0.30 } else { 0.75 }, std::f32::consts::TAU * t);
                ([radius * angle.cos(), radius * angle.sin()], 0.08)
            }
        };
        let off = normal(words[1], words[2]);
        ([0, 1].map(|k| (at[k] + spread * off[k]).clamp(-1.0, 1.0)), class)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_classes_lie_on_the_plane_and_a_seed_decides() {
        for data in [Data::Moons, Data::Spirals, Data::Rings] {
            let points = data.points(200, 3);
            assert!(points.iter().all(|(p, _)| p.iter().all(|x| x.abs() <= 1.0)));
            assert_eq!(points.iter().filter(|(_, class)| *class == 1).count(), 100);
            assert_eq!(points, data.points(200, 3));
            assert_ne!(points, data.points(200, 4));
        }
        assert_eq!(Data::Moons.next().next().next(), Data::Moons);
    }
}
