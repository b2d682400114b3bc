//! Which pipelines did the driver compile in an earlier run? Its cache, kept on disk where it can be had: on Vulkan.

use super::super::disk;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What is built meanwhile waits for the next time, which may be the next start: the cache is written whole.
const PAUSE: Duration = Duration::from_secs(2);

/// The driver's cache, and the file that it came from and goes to.
pub(super) struct Stored {
    cache: wgpu::PipelineCache,
    file: Option<(PathBuf, String)>,
    saved: Mutex<Option<Instant>>,
}

impl Stored {
    /// The device's cache, with what the disk has for this hardware and driver; nothing where there are no such caches.
    pub fn new(device: &wgpu::Device) -> Option<Stored> {
        let info = device.adapter_info();
        let adapter = wgpu::util::pipeline_cache_key(&info)?;
        if !device.features().contains(wgpu::Features::PIPELINE_CACHE) {
            return None;
        }
        let key = format!("{adapter}: {}, {}, {}", info.name, info.driver, info.driver_info);
        let file = disk::path("pipelines", &key).map(|path| (path, key));
        let data = file.as_ref().and_then(|(path, key)| disk::stored(path, key));
        let wanted = wgpu::PipelineCacheDescriptor { label: Some("sunstone"), data: data.as_deref(), fallback: true };
        // SAFETY: the data is what `get_data` gave for this hardware and driver: the file is whole, by its hash, and
        // lies in a folder of the user's own. wgpu and the driver check their own headers besides.
        let cache = unsafe { device.create_pipeline_cache(&wanted) };
        Some(Stored { cache, file, saved: Mutex::new(None) })
    }

    /// For the making of a pipeline.
    pub fn cache(&self) -> &wgpu::PipelineCache {
        &self.cache
    }

    /// Writes the cache, after something was built, unless it just was written.
    pub fn save(&self) {
        let mut saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((path, key)) = self.file.as_ref().filter(|_| saved.is_none_or(|at| at.elapsed() > PAUSE)) else {
            return;
        };
        if let Some(data) = self.cache.get_data() {
            // A cache that cannot be written costs time, nothing else.
            let _ = disk::store(path, key, &data);
        }
        *saved = Some(Instant::now());
    }
}
