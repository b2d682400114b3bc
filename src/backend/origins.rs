//! What error flags mean: the numbers by which kernels call the places of a program that asked for an index.

use crate::error::{Error, Result};
use crate::plan::Origin;
use rustc_hash::FxHashMap;
use std::sync::{Mutex, MutexGuard};

/// Size of the flags: origin, index, size, and one word unused.
pub const FLAG_BYTES: usize = 16;

/// Origin number `i` is called `i + 1` on the device. There are as many as places in the program that call such ops.
#[derive(Default)]
pub struct Origins(Mutex<Known>);

#[derive(Default)]
struct Known {
    list: Vec<Origin>,
    numbers: FxHashMap<(&'static str, String), u32>,
}

impl Origins {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// What the device calls an origin.
    pub fn tag(&self, origin: &Origin) -> u32 {
        let mut known = self.known();
        let next = known.list.len() as u32 + 1;
        let tag = *known.numbers.entry((origin.op, origin.at.to_string())).or_insert(next);
        if tag == next {
            known.list.push(origin.clone());
        }
        tag
    }

    /// The error that these flags tell of, if they tell of one.
    pub fn error(&self, device: &str, flags: &[u8]) -> Result<()> {
        let word = |i: usize| flags.get(4 * i..4 * i + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        let Some(i) = word(0).checked_sub(1) else {
            return Ok(());
        };
        match self.known().list.get(i as usize) {
            Some(origin) => Err(Error::IndexOutOfRange {
                op: origin.op,
                index: word(1) as i32 as i64,
                size: word(2) as usize,
                at: origin.at,
            }),
            None => Err(Error::Backend { device: device.into(), detail: format!("unknown error flag {}", word(0)) }),
        }
    }
}
