//! Which GPUs there are, and what one of them grants.

use super::host;
use crate::device::Caps;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::kernel::Class;

/// A GPU, or a CPU that pretends to be one, as [`adapters`] lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterInfo {
    /// The hardware's own name.
    pub name: String,
    /// The driver, its version, and the API it is reached through.
    pub driver: String,
    /// The API: `vulkan`, `metal` or `dx12`.
    pub api: String,
    /// What kind of hardware it is: `DiscreteGpu`, `IntegratedGpu`, `VirtualGpu`, `Cpu` or `Other`.
    pub kind: String,
    /// True when a CPU pretends to be a GPU.
    pub software: bool,
}

impl AdapterInfo {
    fn new(info: &wgpu::AdapterInfo) -> AdapterInfo {
        AdapterInfo {
            name: info.name.clone(),
            driver: driver(info),
            api: info.backend.to_str().to_owned(),
            kind: format!("{:?}", info.device_type),
            software: info.device_type == wgpu::DeviceType::Cpu,
        }
    }
}

/// All adapters, hardware first; the place in this list is the number in `wgpu:0`. Empty where there is no driver.
pub fn adapters() -> Vec<AdapterInfo> {
    listed().iter().map(|a| AdapterInfo::new(&a.get_info())).collect()
}

/// Adapters that can compute, in the order of their numbers: hardware before software, else as the system lists them.
fn listed() -> Vec<wgpu::Adapter> {
    let mut all = host::all_adapters();
    all.retain(|a| a.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS));
    all.sort_by_key(|a| rank(a.get_info().device_type));
    all
}

fn rank(kind: wgpu::DeviceType) -> u32 {
    match kind {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    }
}

/// Opens the one adapter that a browser offers, with all its limits or with WebGPU's defaults; gives its name too.
#[cfg(target_arch = "wasm32")]
pub(super) async fn open_async(default_limits: bool) -> Result<(wgpu::Device, wgpu::Queue, String)> {
    let unknown = || Error::UnknownDevice { name: "wgpu:0".into(), known: "cpu; this browser offers no WebGPU".into() };
    let (adapter, name) = host::adapter().await.ok_or_else(unknown)?;
    let required_limits = if default_limits { wgpu::Limits::default() } else { adapter.limits() };
    let wanted = wgpu::DeviceDescriptor { label: Some("sunstone"), required_limits, ..Default::default() };
    let (device, queue) = host::open(&adapter, &wanted)
        .await
        .map_err(|e| Error::Backend { device: "wgpu:0".into(), detail: e.to_string() })?;
    Ok((device, queue, name))
}

/// What finds the adapters, for a program that wants surfaces for its windows from it; `None` where wgpu was built for no
/// API of this system.
#[cfg(not(target_arch = "wasm32"))]
pub fn instance() -> Option<&'static wgpu::Instance> {
    host::instance()
}

/// Number `index` of [`adapters()`], for a program that opens the device itself and gives it to
/// [`WgpuBackend::from_device`](super::WgpuBackend::from_device).
///
/// # Errors
/// [`Error::UnknownDevice`] when there are not so many.
#[cfg(not(target_arch = "wasm32"))]
pub fn adapter(index: usize) -> Result<wgpu::Adapter> {
    let mut all = listed();
    if index >= all.len() {
        let known = match all.len() {
            0 => "no GPU driver (Vulkan, Metal or DX12)".into(),
            n => (0..n).map(|i| format!("wgpu:{i}")).collect::<Vec<_>>().join(", "),
        };
        return Err(Error::UnknownDevice { name: format!("wgpu:{index}"), known });
    }
    Ok(all.swap_remove(index))
}

/// What kernels on cooperative matrices need of a device.
const MATRICES: wgpu::Features = wgpu::Features::SHADER_F16.union(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX);

/// Whether a device was opened for kernels on cooperative matrices, which are written for subgroups of 32.
pub(super) fn has_matrices(device: &wgpu::Device) -> bool {
    let info = device.adapter_info();
    device.features().contains(MATRICES) && (info.subgroup_min_size, info.subgroup_max_size) == (32, 32)
}

/// Invocations of every subgroup, where a device was opened for kernels that exchange values within one and all have as
/// many; else 0.
pub(super) fn subgroup(device: &wgpu::Device) -> u32 {
    let info = device.adapter_info();
    let granted = device.features().contains(wgpu::Features::SUBGROUP);
    if granted && info.subgroup_min_size == info.subgroup_max_size { info.subgroup_max_size } else { 0 }
}

/// Whether an adapter has the matrices that those kernels are written for.
#[cfg(not(target_arch = "wasm32"))]
fn offers_matrices(adapter: &wgpu::Adapter) -> bool {
    use wgpu::CooperativeScalarType as Type;
    adapter.features().contains(MATRICES)
        && adapter
            .cooperative_matrix_properties()
            .iter()
            .any(|p| [p.m_size, p.n_size, p.k_size] == [16; 3] && (p.ab_type, p.cr_type) == (Type::F16, Type::F32))
}

/// Opens adapter number `index` with all the limits it has.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn open(index: usize) -> Result<(wgpu::Device, wgpu::Queue)> {
    let adapter = adapter(index)?;
    let useful = wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::PIPELINE_CACHE | wgpu::Features::SUBGROUP;
    let mut wanted = adapter.features() & useful;
    let mut experimental_features = wgpu::ExperimentalFeatures::disabled();
    if offers_matrices(&adapter) {
        wanted |= MATRICES;
        // SAFETY: what wgpu has not tested yet may have undefined behaviour; the only modules that use it are those
        // that are written here (`matmul_matrices.wgsl`, with `matmul_split.wgsl` or without, `attention_matrices.wgsl`,
        // `attention_grad_matrices.wgsl`), which stay in bounds as all others do.
        experimental_features = unsafe { wgpu::ExperimentalFeatures::enabled() };
    }
    host::open(
        &adapter,
        &wgpu::DeviceDescriptor {
            label: Some("sunstone"),
            required_features: wanted,
            required_limits: adapter.limits(),
            experimental_features,
            ..Default::default()
        },
    )
    .map_err(|e| Error::Backend { device: format!("wgpu:{index}"), detail: e.to_string() })
}

fn driver(info: &wgpu::AdapterInfo) -> String {
    let words = [&info.driver[..], &info.driver_info].join(" ");
    format!("{} ({})", words.trim(), info.backend.to_str())
}

/// Whether kernels are to be shaped for a CPU. Of the CPUs that emulate GPUs this is SwiftShader only, which a browser
/// falls back to: others, such as lavapipe, are there to test the GPUs' kernels.
pub(super) fn emulated(caps: &Caps) -> bool {
    caps.hardware.to_lowercase().contains("swiftshader")
}

/// Which devices it is like.
pub(super) fn class(device: &wgpu::Device, caps: &Caps) -> Class {
    const SERVER: [&str; 10] = ["A100", "A800", "B100", "B200", "GH200", "H100", "H200", "MI210", "MI250", "MI300"];
    match device.adapter_info().device_type {
        _ if caps.software => Class::Software,
        _ if SERVER.iter().any(|name| caps.hardware.contains(name)) => Class::Server,
        wgpu::DeviceType::DiscreteGpu | wgpu::DeviceType::VirtualGpu => Class::Discrete,
        _ => Class::Integrated,
    }
}

/// What a device grants. `hardware` is its name, where the device does not know it.
pub(super) fn caps(device: &wgpu::Device, hardware: Option<String>) -> Caps {
    let (info, limits) = (device.adapter_info(), device.limits());
    let hardware = hardware.filter(|name| !name.is_empty()).unwrap_or_else(|| info.name.clone());
    let software = info.device_type == wgpu::DeviceType::Cpu || hardware.to_lowercase().contains("swiftshader");
    let note = |name: &str, value: u64| (name.to_owned(), value.to_string());
    // One binding is kept for the error flags; more than a handful of buffers only costs time to bind.
    let buffers = limits.max_storage_buffers_per_shader_stage.saturating_sub(1).min(31) as usize;
    Caps {
        hardware,
        driver: driver(&info),
        software,
        dtypes: vec![DType::Bool, DType::U8, DType::U32, DType::I32, DType::F16, DType::BF16, DType::F32],
        max_buffers_per_kernel: buffers,
        max_buffer_bytes: largest_buffer(limits.max_storage_buffer_binding_size.min(limits.max_buffer_size)),
        wide_bytes: true,
        notes: vec![
            ("kind".into(), format!("{:?}", info.device_type)),
            note("max_storage_buffer_binding_size", limits.max_storage_buffer_binding_size),
            note("max_buffer_size", limits.max_buffer_size),
            note("max_compute_workgroup_storage_size", limits.max_compute_workgroup_storage_size as u64),
            note("max_compute_invocations_per_workgroup", limits.max_compute_invocations_per_workgroup as u64),
            note("max_compute_workgroups_per_dimension", limits.max_compute_workgroups_per_dimension as u64),
            ("cooperative_matrices".into(), has_matrices(device).to_string()),
            ("subgroup_size".into(), format!("{} to {}", info.subgroup_min_size, info.subgroup_max_size)),
        ],
    }
}

/// Memory managers round requests up to an eighth of a power of two; what is granted must survive that. Kernels count
/// bytes and elements in 31 bits and their buffers in words.
fn largest_buffer(limit: u64) -> u64 {
    let limit = limit.min(i32::MAX as u64 * 4);
    match limit.checked_ilog2() {
        Some(log) if log >= 5 => limit & !((1 << (log - 3)) - 1),
        _ => limit & !3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_buffer_is_a_bucket_of_the_memory_manager() {
        assert_eq!(largest_buffer(1 << 27), 1 << 27);
        assert_eq!(largest_buffer(i32::MAX as u64), 15 << 27);
        assert_eq!(largest_buffer((1 << 28) + 5), 1 << 28);
    }
}
