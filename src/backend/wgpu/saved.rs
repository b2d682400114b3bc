//! What did `sunstone tune` find for this device? A small file for each device and driver.

use super::super::disk;
use crate::error::{Error, Result};
use crate::kernel::Tuning;
use std::path::PathBuf;

fn file(device: &wgpu::Device) -> Option<(PathBuf, String)> {
    let info = device.adapter_info();
    let key = format!("1, {}, {}, {}, {}", info.name, info.backend, info.driver, info.driver_info);
    disk::path("tuning", &key).map(|path| (path, key))
}

/// What was saved; none where nothing was, or it cannot be read.
pub(super) fn tuning(device: &wgpu::Device) -> Option<Tuning> {
    let (path, key) = file(device)?;
    serde_json::from_slice(&disk::stored(&path, &key)?).ok()
}

pub(super) fn save(device: &wgpu::Device, tuning: Tuning) -> Result<PathBuf> {
    let (path, key) = file(device).ok_or_else(|| Error::Invalid("no folder to save the tuning in: no HOME".into()))?;
    let content = serde_json::to_vec(&tuning).map_err(|e| Error::Invalid(format!("the tuning: {e}")))?;
    disk::store(&path, &key, &content).map_err(|e| Error::io(&path, e))?;
    Ok(path)
}

/// Whether there was anything to forget.
pub(super) fn forget(device: &wgpu::Device) -> Result<bool> {
    let Some((path, _)) = file(device) else { return Ok(false) };
    match std::fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(Error::io(path, e)),
    }
}
