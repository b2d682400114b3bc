//! Compiled kernels, one for each text.

use super::{Core, Health, host};
use crate::error::{Error, Result};
use crate::kernel::{self, KernelSource};
use rustc_hash::FxHashMap;
use std::sync::{Arc, Mutex};

/// A kernel that the driver has compiled.
pub(super) struct Pipeline {
    pub pipeline: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
    pub health: Health,
}

/// By text and entry point.
#[derive(Default)]
pub(super) struct Pipelines(Mutex<FxHashMap<(String, String), Arc<Pipeline>>>);

impl Core {
    /// The pipeline of a kernel. Fails with [`Error::Shader`] when the driver does not take it.
    pub(super) fn pipeline(&self, source: &KernelSource) -> Result<Arc<Pipeline>> {
        let key = (source.wgsl.clone(), source.entry.clone());
        let known = |p: &Pipelines| p.0.lock().unwrap_or_else(|e| e.into_inner()).get(&key).cloned();
        if let Some(pipeline) = known(&self.pipelines) {
            return Ok(pipeline);
        }
        let pipeline = Arc::new(self.build(source)?);
        self.pipelines.0.lock().unwrap_or_else(|e| e.into_inner()).insert(key, pipeline.clone());
        #[cfg(not(target_arch = "wasm32"))]
        self.stored.iter().for_each(|stored| stored.save());
        Ok(pipeline)
    }

    fn build(&self, source: &KernelSource) -> Result<Pipeline> {
        // A browser validates by itself, and would have to download naga.
        #[cfg(all(debug_assertions, not(target_arch = "wasm32")))]
        if source.trusted {
            crate::kernel::validate(source.name, &source.wgsl, true)?;
        }
        let kinds = [wgpu::ErrorFilter::Validation, wgpu::ErrorFilter::Internal, wgpu::ErrorFilter::OutOfMemory];
        let (name, health) = (source.name, Health::default());
        let failed = move |e: wgpu::Error| Error::Shader { name: name.into(), message: e.to_string() };
        let built = host::caught(self, &kinds, &health, failed, || self.build_unchecked(source));
        self.check()?;
        built.map(|(pipeline, layout)| Pipeline { pipeline, layout, health })
    }

    fn build_unchecked(&self, source: &KernelSource) -> (wgpu::ComputePipeline, wgpu::BindGroupLayout) {
        let label = Some(source.name);
        let native = source.trusted && self.has_native_functions();
        let native = native
            .then(|| kernel::with_native_exp(&kernel::with_native_halves(&source.wgsl, kernel::Rounding::Adding)));
        let wgsl = native.as_ref().unwrap_or(&source.wgsl);
        #[cfg(test)]
        let wgsl = &match source.matrices && !super::adapters::has_matrices(&self.device) {
            true => super::tests::emulated(wgsl),
            false => wgsl.clone(),
        };
        let text = wgpu::ShaderModuleDescriptor { label, source: wgpu::ShaderSource::Wgsl(wgsl[..].into()) };
        let module = if source.trusted {
            // SAFETY: generated modules stay in bounds by construction: indices are computed from a domain whose every
            // point lies inside its slots, other indices are compared with their axis first; every loop counts up to a
            // number given from outside or waits for one exchange; no integer is divided by 0, and none overflows
            // that way (`shaders/int.wgsl`).
            unsafe { self.device.create_shader_module_trusted(text, wgpu::ShaderRuntimeChecks::unchecked()) }
        } else {
            self.device.create_shader_module(text)
        };
        let layout = self.layout(source);
        let pipeline_layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label,
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label,
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some(&source.entry),
            compilation_options: wgpu::PipelineCompilationOptions {
                // Generated modules write their workgroup memory before they read it.
                zero_initialize_workgroup_memory: !source.trusted,
                ..Default::default()
            },
            cache: self.cache(),
        });
        (pipeline, layout)
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn cache(&self) -> Option<&wgpu::PipelineCache> {
        self.stored.as_ref().map(|stored| stored.cache())
    }

    /// A browser keeps its own.
    #[cfg(target_arch = "wasm32")]
    fn cache(&self) -> Option<&wgpu::PipelineCache> {
        None
    }

    /// Whether the device's own conversions between f16 and f32 are exact, and its power of two is nearly so, which no API
    /// can tell: NVIDIA's Vulkan driver passed the tests of halves and of elementary functions with them.
    fn has_native_functions(&self) -> bool {
        const NVIDIA: u32 = 0x10de;
        let info = self.device.adapter_info();
        cfg!(not(target_arch = "wasm32")) && info.vendor == NVIDIA && info.backend == wgpu::Backend::Vulkan
    }

    fn layout(&self, source: &KernelSource) -> wgpu::BindGroupLayout {
        let storage = |read_only| wgpu::BufferBindingType::Storage { read_only };
        let kinds = (source.bindings.iter().map(|b| storage(!b.writes)))
            .chain(source.flags.then(|| storage(false)))
            .chain((!source.numbers.is_empty()).then_some(wgpu::BufferBindingType::Uniform));
        let entries: Vec<_> = kinds
            .zip(0..)
            .map(|(ty, binding)| wgpu::BindGroupLayoutEntry {
                binding,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
                count: None,
            })
            .collect();
        self.device
            .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(source.name), entries: &entries })
    }
}
