//! What differs between a native program and a browser: finding adapters, and waiting.

use super::memory::{CHUNK, Copied, UNDER_WAY};
use super::{Core, Health};
use crate::device::Storage;
use crate::dtype::DType;
use crate::error::{Error, Result};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

/// Whether a wait for the device may block the thread.
pub(super) const BLOCKS: bool = true;

/// Errors that are known late: here none, for what `caught` does not catch ends the device.
#[derive(Default)]
pub(super) struct Late;

impl Late {
    /// An error outside of every scope: what the device computes is not to be trusted any more.
    pub fn uncaught(&self, _device: &str, error: wgpu::Error, lost: &OnceLock<String>) {
        let _ = lost.set(error.to_string());
    }
}

/// The one instance of the process, for the APIs that compute well.
pub(super) fn instance() -> Option<&'static wgpu::Instance> {
    static INSTANCE: LazyLock<Option<wgpu::Instance>> = LazyLock::new(|| {
        let apis = wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12;
        // `Instance::new` panics when it was built for none of them.
        if !wgpu::Instance::enabled_backend_features().intersects(apis) {
            return None;
        }
        Some(wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends: apis,
            flags: wgpu::InstanceFlags::empty(),
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        }))
    });
    INSTANCE.as_ref()
}

/// Every adapter; empty when no driver can be loaded.
pub(super) fn all_adapters() -> Vec<wgpu::Adapter> {
    instance().map_or(Vec::new(), |i| pollster::block_on(i.enumerate_adapters(wgpu::Backends::all())))
}

/// Opens an adapter.
pub(super) fn open(
    adapter: &wgpu::Adapter,
    wanted: &wgpu::DeviceDescriptor<'_>,
) -> Result<(wgpu::Device, wgpu::Queue), wgpu::RequestDeviceError> {
    pollster::block_on(adapter.request_device(wanted))
}

/// Runs `work` and gives what it returned, or the first error of the given kinds that wgpu saw meanwhile, in `explain`'s
/// words. So nothing is ever handed out whose `health` would have to be watched.
pub(super) fn caught<T>(
    core: &Core,
    kinds: &[wgpu::ErrorFilter],
    _health: &Health,
    explain: impl Fn(wgpu::Error) -> Error,
    work: impl FnOnce() -> T,
) -> Result<T> {
    let mut scopes: Vec<_> = kinds.iter().map(|&kind| core.device.push_error_scope(kind)).collect();
    let value = work();
    let mut first = None;
    while let Some(scope) = scopes.pop() {
        first = pollster::block_on(scope.pop()).or(first);
    }
    first.map_or(Ok(value), |error| Err(explain(error)))
}

/// A copy under way that is asked to be mapped: then it is told whether it could be.
struct Asked {
    copied: Copied,
    mapped: Receiver<bool>,
}

impl Core {
    /// Waits for a submission, or for all.
    pub(super) fn wait(&self, submission: Option<wgpu::SubmissionIndex>) -> Result<()> {
        let wait = wgpu::PollType::Wait { submission_index: submission, timeout: None };
        // wgpu panics when a wait finds the device lost; here that is an error like any other.
        let done = catch_unwind(AssertUnwindSafe(|| self.device.poll(wait)));
        self.check()?;
        if matches!(done, Ok(Ok(_))) { Ok(()) } else { Err(self.error("waiting for it failed")) }
    }

    /// See [`Backend::read`](crate::device::Backend::read).
    pub(super) fn read(&self, storage: &Storage, dtype: DType, start: usize, mut out: &mut [u8]) -> Result<()> {
        let (buffer, begin, end) = self.range(storage, dtype, start, out.len())?;
        if begin == end {
            return self.download(None).map(drop);
        }
        // Only whole words can be copied; a half may begin or end within one.
        let (mut at, last) = (begin & !3, end.next_multiple_of(4));
        let mut skip = begin - at;
        let mut under_way = VecDeque::with_capacity(UNDER_WAY);
        loop {
            while at < last && under_way.len() < UNDER_WAY {
                let size = (last - at).min(CHUNK);
                under_way.extend(self.ask(Some((buffer, at as u64, size as u64)))?);
                at += size;
            }
            let Some(asked) = under_way.pop_front() else { return Ok(()) };
            out = self.take(self.answered(asked)?, |words| self.fill(out, dtype, &words[skip..]))?;
            skip = 0;
        }
    }

    /// Copies part of a buffer to the host, after the error flags if a kernel may have set them.
    pub(super) fn download(&self, source: Option<(&wgpu::Buffer, u64, u64)>) -> Result<Vec<u8>> {
        match self.ask(source)? {
            Some(asked) => self.take(self.answered(asked)?, <[u8]>::to_vec),
            None => self.wait(None).map(|()| Vec::new()),
        }
    }

    /// Starts to copy and to map part of a buffer.
    fn ask(&self, source: Option<(&wgpu::Buffer, u64, u64)>) -> Result<Option<Asked>> {
        // After an error nobody sees what kernels reported before.
        let copied = self.copy(source).inspect_err(|_| self.flags.expect(true))?;
        let asked = copied.map(|copied| {
            let (done, mapped) = std::sync::mpsc::channel();
            copied.staging.map_async(wgpu::MapMode::Read, 0..copied.total, move |result| {
                // The receiver is gone only after an error.
                let _ = done.send(result.is_ok());
            });
            Asked { copied, mapped }
        });
        Ok(asked)
    }

    /// Waits until it is mapped.
    fn answered(&self, Asked { copied, mapped }: Asked) -> Result<Copied> {
        self.wait(Some(copied.index.clone()))?;
        // Another thread's wait may have taken the callback up and be about to call it.
        let mapped = loop {
            match mapped.recv_timeout(Duration::from_millis(20)) {
                Err(RecvTimeoutError::Timeout) => self.wait(None)?,
                other => break other,
            }
        };
        if mapped != Ok(true) {
            self.check()?;
            return Err(self.error("its memory could not be read back"));
        }
        Ok(copied)
    }
}
