//! What kernels report: the first index outside its axis, as words that the next read sees before its data.

use super::super::origins::{FLAG_BYTES, Origins};
use crate::error::Result;
use crate::plan::Origin;
use std::sync::atomic::{AtomicBool, Ordering};

pub(super) struct Flags {
    pub buffer: wgpu::Buffer,
    /// A kernel that reports has run since the flags were last read.
    pending: AtomicBool,
    origins: Origins,
}

impl Flags {
    pub fn new(device: &wgpu::Device) -> Flags {
        // A new buffer is all zeros.
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("flags"),
            size: FLAG_BYTES as u64,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        Flags { buffer, pending: AtomicBool::new(false), origins: Origins::default() }
    }

    /// What the device calls an origin.
    pub fn tag(&self, origin: &Origin) -> u32 {
        self.origins.tag(origin)
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
        let told = self.origins.error("wgpu", bytes);
        if told.is_err() {
            queue.write_buffer(&self.buffer, 0, &[0; FLAG_BYTES]);
        }
        told
    }
}
