//! Buffers: where they come from, and how elements get into them and out again.

use super::super::origins::FLAG_BYTES;
use super::super::words::{narrow, whole_words, widened};
use super::{Core, Health, host};
use crate::device::{Block, BlockSource, Storage};
use crate::dtype::DType;
use crate::error::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes copied to or from the host at a time. Memory that is mapped costs a driver time by the page when it is made, so pieces
/// are small enough to be kept, and large beside what a submission costs.
pub(super) const CHUNK: usize = 8 << 20;

/// Pieces on their way to the host at a time: one is copied while the one before it is taken.
pub(super) const UNDER_WAY: usize = 2;

/// The memory behind a storage.
pub(super) struct Memory {
    /// Unique in the process; bind groups are found again by it.
    pub id: u64,
    pub buffer: wgpu::Buffer,
    health: Health,
    reserved: Arc<AtomicU64>,
}

impl Drop for Memory {
    fn drop(&mut self) {
        // Bind groups that name the buffer would keep its memory; destroyed, it goes as soon as the device is done.
        self.buffer.destroy();
        self.reserved.fetch_sub(self.buffer.size(), Ordering::Relaxed);
    }
}

/// A copy under way to where it can be mapped.
pub(super) struct Copied {
    pub staging: wgpu::Buffer,
    /// Bytes of error flags before the data.
    header: u64,
    pub total: u64,
    #[cfg_attr(target_arch = "wasm32", expect(dead_code, reason = "nothing waits in a browser"))]
    pub index: wgpu::SubmissionIndex,
}

impl BlockSource for Core {
    fn allocate(&self, bytes: usize) -> Result<Block> {
        self.check()?;
        let size = (bytes.max(16) as u64).next_multiple_of(4);
        self.check_size(bytes)?;
        let (device, reserved) = (self.name.clone(), self.reserved.load(Ordering::Relaxed));
        let failed = move |e: wgpu::Error| Error::OutOfMemory {
            device: device.clone(),
            requested: bytes as u64,
            reserved,
            detail: format!("the driver refused: {e}"),
        };
        let health = Health::default();
        let kinds = [wgpu::ErrorFilter::OutOfMemory, wgpu::ErrorFilter::Validation, wgpu::ErrorFilter::Internal];
        let buffer = host::caught(self, &kinds, &health, failed, || {
            self.device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size,
                usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        })?;
        self.check()?;
        static NEXT: AtomicU64 = AtomicU64::new(1);
        self.reserved.fetch_add(size, Ordering::Relaxed);
        let memory =
            Memory { id: NEXT.fetch_add(1, Ordering::Relaxed), buffer, health, reserved: self.reserved.clone() };
        Ok(Block { bytes, memory: Box::new(memory) })
    }
}

/// The buffer behind a storage of any device of this backend; see [`Tensor::gpu_buffer`](crate::tensor::Tensor::gpu_buffer).
pub(crate) fn lent(storage: &Storage) -> Result<Option<&wgpu::Buffer>> {
    let Some(memory) = storage.memory::<Memory>() else { return Ok(None) };
    memory.health.get().map_or(Ok(Some(&memory.buffer)), |error| Err(error.clone()))
}

impl Core {
    /// An error when no single buffer may be this large.
    pub(super) fn check_size(&self, bytes: usize) -> Result<()> {
        let most = self.caps.max_buffer_bytes;
        if bytes as u64 <= most {
            return Ok(());
        }
        Err(Error::OutOfMemory {
            device: self.name.clone(),
            requested: bytes as u64,
            reserved: self.reserved.load(Ordering::Relaxed),
            detail: format!("it grants no buffer of more than {most} bytes"),
        })
    }

    pub(super) fn memory<'a>(&self, storage: &'a Storage) -> Result<&'a Memory> {
        let memory = storage.memory::<Memory>();
        let memory = memory.ok_or_else(|| self.error("a storage of another backend was given to it"))?;
        memory.health.get().map_or(Ok(memory), |error| Err(error.clone()))
    }

    /// See [`Backend::write`](crate::device::Backend::write).
    pub(super) fn write(&self, storage: &Storage, dtype: DType, bytes: &[u8]) -> Result<()> {
        self.check()?;
        let buffer = &self.memory(storage)?.buffer;
        let wide = self.caps.bytes_of(dtype);
        if !bytes.len().is_multiple_of(dtype.bytes()) || bytes.len() / dtype.bytes() * wide > storage.bytes() {
            return Err(self.error(format!("{} bytes of {dtype} do not fit {storage:?}", bytes.len())));
        }
        let mut offset = 0;
        for chunk in bytes.chunks(CHUNK / wide * dtype.bytes()) {
            let words = whole_words(widened(dtype, chunk));
            self.write_words(buffer, offset, &words)?;
            offset += words.len() as u64;
            // wgpu copies with the next submission, and holds what is to be copied until then.
            if self.unsubmitted.fetch_add(words.len(), Ordering::Relaxed) + words.len() >= CHUNK {
                self.unsubmitted.store(0, Ordering::Relaxed);
                self.submit(None)?;
            }
        }
        self.check()
    }

    fn write_words(&self, buffer: &wgpu::Buffer, offset: u64, words: &[u8]) -> Result<()> {
        if !host::BLOCKS {
            // In a browser the next asynchronous read tells of it: a scope for each write would cost more than the write.
            self.queue.write_buffer(buffer, offset, words);
            return Ok(());
        }
        let (name, bytes) = (self.name.clone(), words.len());
        let failed =
            move |e| Error::Backend { device: name.clone(), detail: format!("no memory to copy {bytes} bytes: {e}") };
        host::caught(self, &[wgpu::ErrorFilter::OutOfMemory], &Health::default(), failed, || {
            self.queue.write_buffer(buffer, offset, words);
        })
    }

    /// See [`Backend::copy_from`](crate::device::Backend::copy_from): between buffers of this device, in whole words.
    pub(super) fn copy_from(&self, to: &Storage, from: &Storage, start: usize, bytes: usize) -> Result<bool> {
        let ours = |s: &&Memory| Arc::ptr_eq(&s.reserved, &self.reserved);
        let Some(source) = from.memory::<Memory>().filter(ours) else { return Ok(false) };
        let target = self.memory(to)?;
        if start.checked_add(bytes).is_none_or(|end| end > from.bytes()) || bytes > to.bytes() {
            return Err(self.error(format!("bytes {start}.. ({bytes}) of {from:?} do not fit {to:?}")));
        }
        if source.id == target.id || !start.is_multiple_of(4) || !bytes.is_multiple_of(4) {
            return Ok(false);
        }
        let mut encoder = self.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(&self.memory(from)?.buffer, start as u64, &target.buffer, 0, bytes as u64);
        self.submit(Some(encoder.finish()))?;
        self.check().map(|()| true)
    }

    /// Takes a piece's elements to the beginning of `out`, and gives the rest of it.
    pub(super) fn fill<'a>(&self, out: &'a mut [u8], dtype: DType, words: &[u8]) -> &'a mut [u8] {
        let elements = words.len() / self.caps.bytes_of(dtype);
        // A half may be left that nobody asked for.
        let (piece, rest) = out.split_at_mut((elements * dtype.bytes()).min(out.len()));
        narrow(dtype, words, piece);
        rest
    }

    /// Where the elements lie that fill so many bytes of the host's: the buffer, their first byte and the byte after their last.
    pub(super) fn range<'a>(
        &self,
        storage: &'a Storage,
        dtype: DType,
        start: usize,
        bytes: usize,
    ) -> Result<(&'a wgpu::Buffer, usize, usize)> {
        self.check()?;
        let buffer = &self.memory(storage)?.buffer;
        let (wide, count) = (self.caps.bytes_of(dtype), bytes / dtype.bytes());
        let place = |n: usize| n.checked_mul(wide).filter(|_| bytes.is_multiple_of(dtype.bytes()));
        let end = start.checked_add(count).and_then(place).filter(|&end| end as u64 <= buffer.size());
        let (Some(end), Some(at)) = (end, place(start)) else {
            return Err(self.error(format!("elements {start}.. ({count} of {dtype}) are not all in {storage:?}")));
        };
        Ok((buffer, at, end))
    }

    /// Starts to copy part of a buffer to where it can be mapped, after the error flags if a kernel may have set them.
    /// `None` when there is nothing to copy.
    pub(super) fn copy(&self, source: Option<(&wgpu::Buffer, u64, u64)>) -> Result<Option<Copied>> {
        let flags = self.flags.pending();
        let size = source.map_or(0, |s| s.2);
        let header = if flags { FLAG_BYTES as u64 } else { 0 };
        let total = header + size;
        if total == 0 {
            return Ok(None);
        }
        let staging = self.staging(total)?;
        let mut encoder = self.device.create_command_encoder(&Default::default());
        if flags {
            encoder.copy_buffer_to_buffer(&self.flags.buffer, 0, &staging, 0, header);
        }
        if let Some((buffer, offset, size)) = source.filter(|s| s.2 > 0) {
            encoder.copy_buffer_to_buffer(buffer, offset, &staging, header, size);
        }
        let index = self.queue.submit([encoder.finish()]);
        Ok(Some(Copied { staging, header, total, index }))
    }

    /// Hands out what was copied, once it is mapped.
    pub(super) fn take<T>(&self, copied: Copied, out: impl FnOnce(&[u8]) -> T) -> Result<T> {
        let Copied { staging, header, total, .. } = copied;
        let taken = staging.get_mapped_range(0..total).map(|view| {
            let (flags, data) = view.split_at(header as usize);
            (flags.to_vec(), out(data))
        });
        staging.unmap();
        let (flags, taken) = taken.map_err(|e| self.error(format!("its memory could not be read back: {e}")))?;
        self.keep(staging);
        if header > 0 {
            self.flags.take(&flags, &self.queue)?;
        }
        self.check()?;
        Ok(taken)
    }

    /// Keeps a staging buffer for the next read, if it is among the largest pieces.
    fn keep(&self, staging: wgpu::Buffer) {
        if staging.size() > (CHUNK + FLAG_BYTES) as u64 {
            return;
        }
        let mut kept = self.staging.lock().unwrap_or_else(|e| e.into_inner());
        kept.push(staging);
        kept.sort_by_key(|buffer| std::cmp::Reverse(buffer.size()));
        kept.truncate(UNDER_WAY);
    }

    /// A buffer to map, of at least `bytes`.
    fn staging(&self, bytes: u64) -> Result<wgpu::Buffer> {
        let mut kept = self.staging.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(smallest) = kept.iter().rposition(|buffer| buffer.size() >= bytes) {
            return Ok(kept.remove(smallest));
        }
        drop(kept);
        let name = self.name.clone();
        let failed = move |e| Error::Backend {
            device: name.clone(),
            detail: format!("no memory to read {bytes} bytes back: {e}"),
        };
        host::caught(self, &[wgpu::ErrorFilter::OutOfMemory], &Health::default(), failed, || {
            self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("staging"),
                size: if bytes > CHUNK as u64 { bytes } else { bytes.next_power_of_two().max(4096) },
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        })
    }
}
