//! Opens devices by name, lists them, and picks the best. A name opens the same device every time.

use super::cpu::CpuBackend;
#[cfg(feature = "cuda")]
use super::cuda::{self, CudaBackend};
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

    /// The device of this name: `cpu`, `cuda:0`, `wgpu:0`, `wgpu:1`, …; `cuda` is `cuda:0`, `wgpu` is `wgpu:0`, `best` is
    /// [`Device::best`].
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
        let full = match name {
            "cuda" | "wgpu" => format!("{name}:0"),
            _ => name.to_owned(),
        };
        if let Some(device) = opened().get(&full) {
            return Ok(device.clone());
        }
        if !names().contains(&full) {
            return Err(unknown());
        }
        let mut open = opened();
        // Another thread may have been faster.
        if let Some(device) = open.get(&full) {
            return Ok(device.clone());
        }
        let device = open_gpu(&full)?;
        open.insert(full, device.clone());
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

    /// What to run on unless told otherwise: the device that `SUNSTONE_DEVICE` names; else the first NVIDIA GPU that opens
    /// through its own driver; else the first hardware GPU that opens; else the CPU. A CPU that pretends to be a GPU is
    /// never picked, only opened by name.
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
        for name in cuda_names() {
            if let Ok(device) = Device::open(&name) {
                return Ok((device, "the first NVIDIA GPU, through its own driver".into()));
            }
        }
        let hardware = adapters_are_software().into_iter().enumerate().filter(|(_, software)| !software);
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
    let adapters = (0..adapters_are_software().len()).map(|i| format!("wgpu:{i}"));
    std::iter::once("cpu".to_owned()).chain(cuda_names()).chain(adapters).collect()
}

#[cfg(feature = "cuda")]
fn cuda_names() -> Vec<String> {
    (0..cuda::count()).map(|i| format!("cuda:{i}")).collect()
}

#[cfg(not(feature = "cuda"))]
fn cuda_names() -> Vec<String> {
    Vec::new()
}

/// For each adapter of wgpu, whether it is software.
#[cfg(all(feature = "wgpu", target_arch = "wasm32"))]
fn adapters_are_software() -> Vec<bool> {
    opened().values().map(|device| device.caps().software).collect()
}

/// For each adapter of wgpu, whether it is software.
#[cfg(all(feature = "wgpu", not(target_arch = "wasm32")))]
fn adapters_are_software() -> Vec<bool> {
    static FOUND: OnceLock<Vec<bool>> = OnceLock::new();
    FOUND.get_or_init(|| adapters().iter().map(|a| a.software).collect()).clone()
}

#[cfg(not(feature = "wgpu"))]
fn adapters_are_software() -> Vec<bool> {
    Vec::new()
}

/// Opens the GPU of this name, which [`names`] lists.
fn open_gpu(name: &str) -> Result<Device> {
    match name.split_once(':').map(|(kind, index)| (kind, index.parse::<usize>())) {
        #[cfg(feature = "cuda")]
        Some(("cuda", Ok(index))) => Ok(Device::new(name, CudaBackend::open(index)?)),
        #[cfg(all(feature = "wgpu", not(target_arch = "wasm32")))]
        Some(("wgpu", Ok(index))) => Ok(Device::new(name, WgpuBackend::open(index)?)),
        _ => Err(Error::Invalid(format!("this build cannot open '{name}' without waiting"))),
    }
}
