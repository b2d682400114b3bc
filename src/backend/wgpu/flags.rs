//! What kernels report: the first index outside its axis, as words that the next read sees before its data.

use crate::error::{Error, Result};
use crate::plan::Origin;
use rustc_hash::FxHashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

/// Size of the flags: origin, index, size, and one word unused.
pub(super) const BYTES: u64 = 16;

pub(super) struct Flags {
    pub buffer: wgpu::Buffer,
    /// A kernel that reports has run since the flags were last read.
    pending: AtomicBool,
    origins: Mutex<Origins>,
}

/// Origin number `i` is called `i + 1` on the device. There are as many as places in the program that call such ops.
#[derive(Default)]
struct Origins {
    list: Vec<Origin>,
    known: FxHashMap<(&'static str, String), u32>,
}

impl Flags {
    pub fn new(device: &wgpu::Device) -> Flags {
        // A new buffer is all zeros.
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("flags"),
            size: BYTES,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        Flags { buffer, pending: AtomicBool::new(false), origins: Mutex::default() }
    }

    fn origins(&self) -> MutexGuard<'_, Origins> {
        self.origins.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// What the device calls an origin.
    pub fn tag(&self, origin: &Origin) -> u32 {
        let mut origins = self.origins();
        let next = origins.list.len() as u32 + 1;
        let tag = *origins.known.entry((origin.op, origin.at.to_string())).or_insert(next);
        if tag == next {
            origins.list.push(origin.clone());
        }
        tag
    }

    /// Says whether kernels that report are being submitted.
    pub fn expect(&self, reports: bool) {
        self.pending.fetch_or(reports, Ordering::AcqRel);
    }

    /// True once after that.
    pub fn pending(&self) -> bool {
        self.pending.swap(false, Ordering::AcqRel)
    }

    /// The error that these flags tell of; the device's own are cleared for the next.
    pub fn take(&self, bytes: &[u8], queue: &wgpu::Queue) -> Result<()> {
        let word = |i: usize| bytes.get(4 * i..4 * i + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        let Some(i) = word(0).checked_sub(1) else {
            return Ok(());
        };
        queue.write_buffer(&self.buffer, 0, &[0; BYTES as usize]);
        match self.origins().list.get(i as usize) {
            Some(origin) => Err(Error::IndexOutOfRange {
                op: origin.op,
                index: word(1) as i32 as i64,
                size: word(2) as usize,
                at: origin.at,
            }),
            None => Err(Error::Backend { device: "wgpu".into(), detail: format!("unknown error flag {}", word(0)) }),
        }
    }
}
