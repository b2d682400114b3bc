//! How does a program that draws or computes with wgpu itself reach a tensor's memory, without a copy?

use super::Tensor;
use crate::device::Storage;
use crate::error::{Error, Result};
use std::sync::Arc;

/// A tensor's memory on a GPU, lent to the program's own pipelines.
///
/// While it lives, nothing of this crate writes there and the memory goes to nobody else. Work of this crate and of
/// the program is done in the order in which it was submitted to the one queue, so a value may be dropped as soon as what
/// reads it is submitted.
#[derive(Debug, Clone)]
pub struct GpuBuffer {
    buffer: wgpu::Buffer,
    offset: u64,
    size: u64,
    /// Keeps the buffer from being handed out again, updated in place, or destroyed.
    _storage: Arc<Storage>,
}

impl GpuBuffer {
    /// The buffer that the elements lie in. Its usages are `STORAGE | COPY_SRC | COPY_DST`; it may be longer than the tensor.
    pub fn buffer(&self) -> &wgpu::Buffer {
        &self.buffer
    }

    /// The first element's byte. It is 0 unless the tensor is a view; then it need not have the alignment that a binding's
    /// offset must have, and a shader that is bound to the whole buffer adds it.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes from the first element to the end of the last.
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl Tensor {
    /// The memory of a tensor that a wgpu device holds, for pipelines of one's own on the same device. What is pending is
    /// submitted, nothing is waited for and nothing is copied, unless the tensor is a view whose elements do not lie in
    /// row-major order without gaps.
    ///
    /// Elements lie as in [`Tensor::to_vec`], in little-endian words: `f32`, `i32` and `u32` one in a word, `bool` and `u8`
    /// widened to a word, `f16` and `bf16` two in a word. The device is shared by giving one's own to
    /// [`WgpuBackend::from_device`](crate::backend::wgpu::WgpuBackend::from_device); `examples/own_renderer.rs` draws so.
    ///
    /// # Errors
    /// Whatever [`Tensor::realize`] may fail with; [`Error::Unsupported`] for a tensor on another device or without elements.
    ///
    /// ```
    /// use sunstone::prelude::*;
    /// # let Ok(device) = Device::open("wgpu:0") else { return Ok(()) };
    /// let x = Tensor::arange(6, &device).reshape([2, 3]) * 2;
    /// let lent = x.gpu_buffer()?;
    /// assert_eq!((lent.offset(), lent.size()), (0, 24));
    /// let resource = lent.buffer().as_entire_binding(); // for a bind group of the program's own
    /// # drop(resource);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    pub fn gpu_buffer(&self) -> Result<GpuBuffer> {
        let device = self.device();
        let refuse = |what: &str| Error::Unsupported { device: device.name().into(), what: what.into() };
        let realized = self.compact()?.ok_or_else(|| refuse("lending a tensor without elements"))?;
        let buffer = crate::backend::wgpu::lent(&realized.storage)?
            .ok_or_else(|| refuse("lending a tensor's memory to wgpu"))?
            .clone();
        let wide = device.caps().bytes_of(self.dtype()) as u64;
        let (offset, size) = (realized.layout.offset as u64 * wide, self.numel() as u64 * wide);
        Ok(GpuBuffer { buffer, offset, size, _storage: realized.storage })
    }
}
