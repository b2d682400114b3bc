//! When did each pass of a submission begin and end, on the device's own clock?

use super::Core;
use crate::error::{Error, Result};

/// Passes whose two timestamps one set of queries holds.
const PASSES: usize = wgpu::QUERY_SET_MAX_QUERIES as usize / 2;
/// Bytes of a pass's two timestamps.
const BYTES: usize = 16;

/// The beginnings and ends of so many passes.
pub(super) struct Timestamps {
    sets: Vec<(wgpu::QuerySet, u32)>,
    buffer: wgpu::Buffer,
    passes: usize,
}

impl Timestamps {
    /// Fails with [`Error::Unsupported`] where the device has no such clock.
    pub fn new(core: &Core, passes: usize) -> Result<Timestamps> {
        if !core.device.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            let what = "timestamps, and so not the times of single kernels".into();
            return Err(Error::Unsupported { device: core.name.clone(), what });
        }
        let set = |first: usize| {
            let count = 2 * (passes - first).min(PASSES) as u32;
            let kind = wgpu::QueryType::Timestamp;
            (core.device.create_query_set(&wgpu::QuerySetDescriptor { label: None, ty: kind, count }), count)
        };
        let sets = (0..passes).step_by(PASSES).map(set).collect();
        let buffer = core.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("timestamps"),
            size: (passes.max(1) * BYTES) as u64,
            usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        Ok(Timestamps { sets, buffer, passes })
    }

    /// What pass number `pass` is to write.
    pub fn around(&self, pass: usize) -> Option<wgpu::ComputePassTimestampWrites<'_>> {
        let (query_set, _) = self.sets.get(pass / PASSES)?;
        let first = 2 * (pass % PASSES) as u32;
        Some(wgpu::ComputePassTimestampWrites {
            query_set,
            beginning_of_pass_write_index: Some(first),
            end_of_pass_write_index: Some(first + 1),
        })
    }

    /// To be asked after the last pass.
    pub fn resolve(&self, encoder: &mut wgpu::CommandEncoder) {
        for (i, (set, count)) in self.sets.iter().enumerate() {
            encoder.resolve_query_set(set, 0..*count, &self.buffer, (i * PASSES * BYTES) as u64);
        }
    }

    /// Waits, and gives each pass's beginning and end in microseconds since the first one began.
    pub fn read(&self, core: &Core) -> Result<Vec<[f64; 2]>> {
        let source = (self.passes > 0).then_some((&self.buffer, 0, (self.passes * BYTES) as u64));
        let bytes = core.download(source)?;
        let period = core.queue.get_timestamp_period() as f64 / 1e3;
        let tick = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
        let ticks: Vec<u64> = bytes.chunks_exact(8).map(tick).collect();
        let since = |tick: u64| tick.saturating_sub(ticks[0]) as f64 * period;
        Ok(ticks.chunks_exact(2).map(|pair| [since(pair[0]), since(pair[1])]).collect())
    }
}
