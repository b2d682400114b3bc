//! What differs in a browser: nothing may block, so adapters, errors and elements come by promises.

use super::memory::{CHUNK, Copied};
use super::{Core, Health};
use crate::device::Storage;
use crate::dtype::DType;
use crate::error::{Error, Result};
use js_sys::{Object, Promise, Reflect};
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Waker};
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::JsFuture;

/// Whether a wait for the device may block the thread.
pub(super) const BLOCKS: bool = false;

/// An answer that is still to come: the error, if there was one.
type Answer = Pin<Box<dyn Future<Output = Option<Error>> + Send>>;

/// Errors that are known late: what has been asked, and the first that came without having been asked for.
#[derive(Default)]
pub(super) struct Late {
    asked: Mutex<Vec<Answer>>,
    uncaught: Mutex<Option<Error>>,
}

impl Late {
    /// An error outside of every scope. It says nothing about what comes after it, so the device is not given up.
    pub fn uncaught(&self, device: &str, error: wgpu::Error, _lost: &OnceLock<String>) {
        let error = Error::Backend { device: device.into(), detail: error.to_string() };
        self.uncaught.lock().unwrap_or_else(|e| e.into_inner()).get_or_insert(error);
    }
}

/// The adapter that the browser offers, and its name, which wgpu does not ask for.
pub(super) async fn adapter() -> Option<(wgpu::Adapter, String)> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: wgpu::Backends::BROWSER_WEBGPU,
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let wanted =
        wgpu::RequestAdapterOptions { power_preference: wgpu::PowerPreference::HighPerformance, ..Default::default() };
    let adapter = instance.request_adapter(&wanted).await.ok()?;
    Some((adapter, name().await.unwrap_or_default()))
}

/// Vendor, architecture and description, as far as the browser tells them.
async fn name() -> Option<String> {
    let get = |from: &wasm_bindgen::JsValue, key: &str| Reflect::get(from, &key.into()).ok();
    let gpu = get(&get(&js_sys::global(), "navigator")?, "gpu")?;
    let wanted = Object::new();
    Reflect::set(&wanted, &"powerPreference".into(), &"high-performance".into()).ok()?;
    let request: js_sys::Function = get(&gpu, "requestAdapter")?.dyn_into().ok()?;
    let promise: Promise = request.call1(&gpu, &wanted).ok()?.dyn_into().ok()?;
    let info = get(&JsFuture::from(promise).await.ok()?, "info")?;
    let words = ["vendor", "architecture", "device", "description"].map(|key| get(&info, key)?.as_string());
    let mut words: Vec<String> = words.into_iter().flatten().filter(|w| !w.is_empty()).collect();
    words.dedup();
    Some(words.join(" "))
}

/// Opens an adapter.
pub(super) async fn open(
    adapter: &wgpu::Adapter,
    wanted: &wgpu::DeviceDescriptor<'_>,
) -> Result<(wgpu::Device, wgpu::Queue), wgpu::RequestDeviceError> {
    adapter.request_device(wanted).await
}

/// No adapter is known before it is asked for.
pub(super) fn all_adapters() -> Vec<wgpu::Adapter> {
    Vec::new()
}

/// Runs `work`. The first error of the given kinds, in `explain`'s words, is known to `health`, and returned by an
/// asynchronous read, once that read has waited.
pub(super) fn caught<T>(
    core: &Core,
    kinds: &[wgpu::ErrorFilter],
    health: &Health,
    explain: impl Fn(wgpu::Error) -> Error + Send + 'static,
    work: impl FnOnce() -> T,
) -> Result<T> {
    let mut scopes: Vec<_> = kinds.iter().map(|&kind| core.device.push_error_scope(kind)).collect();
    let value = work();
    let mut answers = Vec::new();
    while let Some(scope) = scopes.pop() {
        answers.push(scope.pop());
    }
    let health = health.clone();
    let asked = async move {
        let mut first = None;
        for answer in answers {
            first = first.or(answer.await);
        }
        let error = explain(first?);
        // A second error of the same thing adds nothing.
        let _ = health.set(error.clone());
        Some(error)
    };
    core.late.asked.lock().unwrap_or_else(|e| e.into_inner()).push(Box::pin(asked));
    Ok(value)
}

impl Core {
    /// Nothing here waits.
    pub(super) fn wait(&self, _: Option<wgpu::SubmissionIndex>) -> Result<()> {
        let what = "waiting in a browser; use the functions that end in `_async`, such as `to_vec_async`".into();
        Err(Error::Unsupported { device: self.name.clone(), what })
    }

    /// See [`Backend::read`](crate::device::Backend::read).
    pub(super) fn read(&self, _: &Storage, _: DType, _: usize, _: &mut [u8]) -> Result<()> {
        self.wait(None)
    }

    /// The same.
    pub(super) fn download(&self, _: Option<(&wgpu::Buffer, u64, u64)>) -> Result<Vec<u8>> {
        self.wait(None).map(|()| Vec::new())
    }

    /// Waits for the answers to what was asked so far, and gives the first error.
    async fn settle(&self) -> Result<()> {
        let asked = std::mem::take(&mut *self.late.asked.lock().unwrap_or_else(|e| e.into_inner()));
        let mut first = None;
        for answer in asked {
            let error = answer.await;
            first = first.or(error);
        }
        let uncaught = self.late.uncaught.lock().unwrap_or_else(|e| e.into_inner()).take();
        // The loss of the device is the cause of all else.
        self.check()?;
        first.or(uncaught).map_or(Ok(()), Err)
    }

    /// See [`Backend::read_async`](crate::device::Backend::read_async).
    pub(super) async fn read_async(
        &self,
        storage: &Storage,
        dtype: DType,
        start: usize,
        mut out: &mut [u8],
    ) -> Result<()> {
        let (buffer, begin, end) = self.range(storage, dtype, start, out.len())?;
        // Only whole words can be copied; a half may begin or end within one.
        let (mut at, last) = (begin & !3, end.next_multiple_of(4));
        let mut skip = begin - at;
        loop {
            let size = (last - at).min(CHUNK);
            let words = self.download_async(Some((buffer, at as u64, size as u64))).await?;
            out = self.fill(out, dtype, &words[skip.min(words.len())..]);
            (at, skip) = (at + size, 0);
            if at == last {
                return Ok(());
            }
        }
    }

    /// Copies part of a buffer to the host, after the error flags; gives every error that came before.
    pub(super) async fn download_async(&self, source: Option<(&wgpu::Buffer, u64, u64)>) -> Result<Vec<u8>> {
        self.check()?;
        let bytes = match self.copy(source)? {
            None => {
                let done = Signal::default();
                let set = done.clone();
                self.queue.on_submitted_work_done(move || set.set(true));
                done.await;
                Ok(Vec::new())
            }
            Some(copied) => self.mapped(copied).await,
        };
        self.settle().await?;
        bytes
    }

    async fn mapped(&self, copied: Copied) -> Result<Vec<u8>> {
        let mapped = Signal::default();
        let set = mapped.clone();
        copied.staging.map_async(wgpu::MapMode::Read, 0..copied.total, move |result| set.set(result.is_ok()));
        match mapped.await {
            true => self.take(copied, <[u8]>::to_vec),
            // Only a device that is gone refuses; the news of it may come later than the refusal.
            false => {
                let reason = self.lost.get_or_init(|| "it no longer gives its memory back".into()).clone();
                Err(Error::DeviceLost { device: self.name.clone(), reason })
            }
        }
    }
}

/// A truth value that a callback gives.
#[derive(Clone, Default)]
struct Signal(Arc<Mutex<(Option<bool>, Option<Waker>)>>);

impl Signal {
    fn set(&self, value: bool) {
        let mut state = self.0.lock().unwrap_or_else(|e| e.into_inner());
        state.0 = Some(value);
        if let Some(waker) = state.1.take() {
            waker.wake();
        }
    }
}

impl Future for Signal {
    type Output = bool;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<bool> {
        let mut state = self.0.lock().unwrap_or_else(|e| e.into_inner());
        match state.0 {
            Some(value) => Poll::Ready(value),
            None => {
                state.1 = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
