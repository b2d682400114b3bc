//! Where one kernel of products gives way to the next on a device: what depends on its size, and on nothing that it can be asked.

use serde::{Deserialize, Serialize};

/// The numbers that decide. Whatever they are, every kernel gives the right result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuning {
    /// Workgroups that the device has room for at once, of the kernel in tiles of 64×64: long sums are cut into parts until
    /// there are so many.
    pub tiled_room: u32,
    /// The same of the kernel that takes a workgroup for an element.
    pub long_room: u32,
    /// The same of the wide kernel in tiles of 64×128, three on a core, from which follows what tiles and parts take; 1 where
    /// sums are to be whole.
    pub wide_room: u32,
    /// The same of the kernel on cooperative matrices; with numbers that are split, twice as many are taken to fit. 1 where sums
    /// are to be whole.
    pub matrices_room: u32,
    /// Tiles of 64×128, parts counted, from which on the wide kernel makes a product.
    pub wide_tiles: u32,
    /// Tiles of 128×128 from which on it may take those.
    pub large_tiles: u32,
    /// Multiplications of a product of f32, in units of 2^20, from which on it is made on cooperative matrices, each number
    /// as the sum of two halves, if that is allowed; `u32::MAX` for never.
    pub split_work: u32,
}

/// Kinds of devices that are alike enough to share numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A GPU for data centres, known by its name.
    Server,
    /// Another GPU with memory of its own.
    Discrete,
    /// A GPU that shares the CPU's memory, or one that does not tell what it is, as in a browser.
    Integrated,
    /// A CPU that runs a GPU's kernels.
    Software,
}

/// The numbers of each class. The server's were found on an H100: three workgroups of the wide kernel on each of 132 cores, one
/// of that on matrices, for two hold each other up where they store sums (1024³ takes 47 µs in two parts and 73 in four). The
/// software's are what `sunstone tune` found on lavapipe with two cores. The two between were not measured: they are the
/// server's, for the cores that such GPUs have; but their matrix units are not six times as fast as their f32, as the server's are,
/// so that three products of halves for one would gain nothing.
const SHIPPED: [(Class, Tuning); 4] = [
    (
        Class::Server,
        Tuning {
            tiled_room: 512,
            long_room: 4096,
            wide_room: 396,
            matrices_room: 132,
            wide_tiles: 96,
            large_tiles: 120,
            split_work: 1024,
        },
    ),
    (
        Class::Discrete,
        Tuning {
            tiled_room: 256,
            long_room: 2048,
            wide_room: 144,
            matrices_room: 48,
            wide_tiles: 40,
            large_tiles: 48,
            split_work: u32::MAX,
        },
    ),
    (
        Class::Integrated,
        Tuning {
            tiled_room: 64,
            long_room: 512,
            wide_room: 48,
            matrices_room: 16,
            wide_tiles: 16,
            large_tiles: 16,
            split_work: u32::MAX,
        },
    ),
    (
        Class::Software,
        Tuning {
            tiled_room: 8,
            long_room: 1,
            wide_room: 8,
            matrices_room: 8,
            wide_tiles: 1,
            large_tiles: 4,
            split_work: u32::MAX,
        },
    ),
];

impl Tuning {
    /// What is shipped for a class of devices.
    pub fn of(class: Class) -> Tuning {
        SHIPPED.iter().find(|(of, _)| *of == class).map_or_else(Tuning::default, |(_, tuning)| *tuning)
    }
}

impl Default for Tuning {
    fn default() -> Tuning {
        SHIPPED[0].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_numbers_and_they_go_through_json() {
        for class in [Class::Server, Class::Discrete, Class::Integrated, Class::Software] {
            assert!(SHIPPED.iter().any(|(of, _)| *of == class), "{class:?}");
            let tuning = Tuning::of(class);
            let text = serde_json::to_string(&tuning).unwrap();
            assert_eq!(serde_json::from_str::<Tuning>(&text).unwrap(), tuning);
        }
        assert!(serde_json::from_str::<Tuning>(r#"{"tiled_room": 1}"#).is_err());
    }
}
