//! Whose is the device? The view opens it, draws with it, and lends it to the training: one device, one queue.

use std::sync::Arc;
use sunstone::backend::wgpu::{WgpuBackend, adapter, adapters};
use sunstone::prelude::*;

/// A GPU that trains and draws.
pub struct Gpu {
    pub adapter: wgpu::Adapter,
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    /// The same as a device for tensors.
    pub tensors: Device,
    #[cfg(test)]
    pub backend: Arc<WgpuBackend>,
}

impl Gpu {
    /// Opens the device of this name, or the first, or the first that draws to a surface.
    ///
    /// # Errors
    /// [`Error::UnknownDevice`] when there is none, [`Error::Unsupported`] for one that cannot draw.
    pub fn open(name: Option<&str>, surface: Option<&wgpu::Surface<'_>>) -> Result<Gpu> {
        let able = |index: &usize| match (adapter(*index), surface) {
            (Ok(adapter), Some(surface)) => adapter.is_surface_supported(surface),
            (found, _) => found.is_ok(),
        };
        let index = match name {
            None => (0..adapters().len()).find(able).ok_or_else(none)?,
            Some(name) => index(name)?,
        };
        let adapter = adapter(index)?;
        let wanted = wgpu::DeviceDescriptor {
            label: Some("sunstone view"),
            required_limits: adapter.limits(),
            ..Default::default()
        };
        let name = format!("wgpu:{index}");
        let failed = |e: wgpu::RequestDeviceError| Error::Backend { device: name.clone(), detail: e.to_string() };
        let (device, queue) = pollster::block_on(adapter.request_device(&wanted)).map_err(failed)?;
        let backend: Arc<WgpuBackend> = WgpuBackend::from_device(device.clone(), queue.clone());
        let tensors = Device::new(name, backend.clone());
        Ok(Gpu {
            adapter,
            device,
            queue,
            tensors,
            #[cfg(test)]
            backend,
        })
    }

    /// The hardware's name, and that it is none where a CPU stands in.
    pub fn label(&self) -> String {
        let caps = self.tensors.caps();
        let software = if caps.software { ", software" } else { "" };
        format!("{} ({}{software})", self.tensors.name(), caps.hardware)
    }
}

fn none() -> Error {
    let what = "a GPU driver (Vulkan, Metal or DX12), which `view` draws with".to_owned();
    Error::Unsupported { device: "this machine".into(), what }
}

fn index(name: &str) -> Result<usize> {
    let number = name.strip_prefix("wgpu:").and_then(|n| n.parse().ok());
    number.ok_or_else(|| match name {
        "wgpu" => Error::Invalid("which one? wgpu:0, wgpu:1, ...; see `sunstone devices`".into()),
        _ => {
            let what = "being drawn from: `view` wants the memory of wgpu:0, wgpu:1, ...".to_owned();
            Error::Unsupported { device: name.into(), what }
        }
    })
}
