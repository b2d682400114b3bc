//! What differs between a native program and a browser: finding adapters, and waiting.

use super::{Core, Health};
use crate::error::{Error, Result};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{LazyLock, OnceLock};

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

/// Waits for a submission, or for all of them. False when the device is gone.
pub(super) fn wait(device: &wgpu::Device, submission: Option<wgpu::SubmissionIndex>) -> bool {
    let wait = wgpu::PollType::Wait { submission_index: submission, timeout: None };
    // wgpu panics when a wait finds the device lost; here that is an error like any other.
    matches!(catch_unwind(AssertUnwindSafe(|| device.poll(wait))), Ok(Ok(_)))
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
