//! Opens devices by name, lists them, and picks the best. A name opens the same device every time.

use super::cpu::CpuBackend;
#[cfg(feature = "wgpu")]
use super::wgpu::WgpuBackend;
#[cfg(all(feature = "wgpu", not(target_arch = "wasm32")))]
use super::wgpu::adapters;
use crate::device::{Caps, Device};
use crate::error::{Error, Result};
use std::collections::BTreeMap;
#[cfg(all(feature = "wgpu", not(target_arch = "wasm32")))]
use std::sync::OnceLock;
use std::sync::{Mutex, MutexGuard};

/// What [`Device::list`] says of a device.
#[derive(Debug, Clone, serde::Serialize)]
pub struct DeviceInfo {
    /// What [`Device::open`] takes.
    pub name: String,
    /// What it grants, or why it does not open.
    #[serde(flatten)]
    pub state: DeviceState,
}

/// Whether a device can be used.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceState {
    /// It opens.
    Caps(Caps),
    /// It is there, but does not open.
    Error(String),
}

impl Device {
    /// The CPU: always there, and the judge of all others.
    pub fn cpu() -> Device {
        static CPU: std::sync::OnceLock<Device> = std::sync::OnceLock::new();
        CPU.get_or_init(|| Device::new("cpu", CpuBackend::new())).clone()
    }

    /// The device of this name: `cpu`, `wgpu:0`, `wgpu:1`, …; `wgpu` is `wgpu:0`, `best` is [`Device::best`].
    ///
    /// # Errors
    /// [`Error::UnknownDevice`] with the names that exist; or why it does not open.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// assert_eq!(Device::open("cpu")?, Device::cpu());
    /// assert!(Device::open("abacus").unwrap_err().to_string().contains("unknown device 'abacus'"));
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    pub fn open(name: &str) -> Result<Device> {
        let unknown = || Error::UnknownDevice { name: name.into(), known: names().join(", ") };
        match name {
            "cpu" => return Ok(Device::cpu()),
            "best" => return Device::best(),
            _ => {}
        }
        let full = if name == "wgpu" { "wgpu:0" } else { name };
        let index = full.strip_prefix("wgpu:").and_then(|i| i.parse::<usize>().ok()).ok_or_else(unknown)?;
        if index >= gpus().len() {
            return Err(unknown());
        }
        let mut open = opened();
        if let Some(device) = open.get(full) {
            return Ok(device.clone());
        }
        let device = open_gpu(index)?;
        open.insert(full.into(), device.clone());
        Ok(device)
    }

    /// [`Device::open`] for where one may not block: in a browser a GPU opens this way only, and is then known to
    /// [`Device::open`] too. One that was lost is opened anew.
    ///
    /// # Errors
    /// Those of [`Device::open`].
    #[cfg(not(all(target_arch = "wasm32", feature = "wgpu")))]
    pub async fn open_async(name: &str) -> Result<Device> {
        Device::open(name)
    }

    /// [`Device::open`] for where one may not block: in a browser a GPU opens this way only, and is then known to
    /// [`Device::open`] too. One that was lost is opened anew.
    ///
    /// # Errors
    /// Those of [`Device::open`].
    #[cfg(all(target_arch = "wasm32", feature = "wgpu"))]
    pub async fn open_async(name: &str) -> Result<Device> {
        if !matches!(name, "wgpu" | "wgpu:0") {
            return Device::open(name);
        }
        let known = opened().get("wgpu:0").cloned();
        if let Some(device) = known
            && !matches!(device.backend().allocate(4), Err(Error::DeviceLost { .. }))
        {
            return Ok(device);
        }
        let device = Device::new("wgpu:0", WgpuBackend::open_async(false).await?);
        opened().insert("wgpu:0".into(), device.clone());
        Ok(device)
    }

    /// What to run on unless told otherwise: the device that `SUNSTONE_DEVICE` names; else the first hardware GPU that
    /// opens; else the CPU. A CPU that pretends to be a GPU is never picked, only opened by name.
    ///
    /// # Errors
    /// Only if `SUNSTONE_DEVICE` names a device that does not exist or does not open.
    pub fn best() -> Result<Device> {
        Ok(Device::best_with_reason()?.0)
    }

    /// [`Device::best`], and why it is that one.
    pub fn best_with_reason() -> Result<(Device, String)> {
        if let Ok(name) = std::env::var("SUNSTONE_DEVICE")
            && name != "best"
        {
            return Ok((Device::open(&name)?, format!("SUNSTONE_DEVICE={name}")));
        }
        let hardware = gpus().into_iter().enumerate().filter(|(_, software)| !software);
        for (i, _) in hardware {
            if let Ok(device) = Device::open(&format!("wgpu:{i}")) {
                return Ok((device, "the first hardware GPU".into()));
            }
        }
        Ok((Device::cpu(), "no hardware GPU was found".into()))
    }

    /// Every device, with what it grants.
    pub fn list() -> Vec<DeviceInfo> {
        let describe = |name: String| {
            let state = match Device::open(&name) {
                Ok(device) => DeviceState::Caps(device.caps().clone()),
                Err(error) => DeviceState::Error(error.to_string()),
            };
            DeviceInfo { name, state }
        };
        names().into_iter().map(describe).collect()
    }
}

/// The GPUs that are open.
fn opened() -> MutexGuard<'static, BTreeMap<String, Device>> {
    static OPEN: Mutex<BTreeMap<String, Device>> = Mutex::new(BTreeMap::new());
    OPEN.lock().unwrap_or_else(|e| e.into_inner())
}

fn names() -> Vec<String> {
    let gpus = (0..gpus().len()).map(|i| format!("wgpu:{i}"));
    std::iter::once("cpu".to_owned()).chain(gpus).collect()
}

/// For each adapter, whether it is software.
#[cfg(all(feature = "wgpu", target_arch = "wasm32"))]
fn gpus() -> Vec<bool> {
    opened().values().map(|device| device.caps().software).collect()
}

/// For each adapter, whether it is software.
#[cfg(all(feature = "wgpu", not(target_arch = "wasm32")))]
fn gpus() -> Vec<bool> {
    static FOUND: OnceLock<Vec<bool>> = OnceLock::new();
    FOUND.get_or_init(|| adapters().iter().map(|a| a.software).collect()).clone()
}

#[cfg(not(feature = "wgpu"))]
fn gpus() -> Vec<bool> {
    Vec::new()
}

#[cfg(all(feature = "wgpu", not(target_arch = "wasm32")))]
fn open_gpu(index: usize) -> Result<Device> {
    Ok(Device::new(format!("wgpu:{index}"), WgpuBackend::open(index)?))
}

#[cfg(not(all(feature = "wgpu", not(target_arch = "wasm32"))))]
fn open_gpu(_: usize) -> Result<Device> {
    Err(Error::Invalid("no GPU opens without waiting in this build".into()))
}
