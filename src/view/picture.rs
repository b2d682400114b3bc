//! How does a tensor get onto the screen? Its buffer is bound by a render pipeline: no copy to the host or to a texture.

use super::mode::Grid;
use egui_wgpu::{Callback, CallbackResources, CallbackTrait};
use std::sync::Arc;
use sunstone::tensor::GpuBuffer;
use wgpu::util::DeviceExt;

/// The pipeline that draws grids.
pub struct Pictures {
    device: wgpu::Device,
    pipeline: wgpu::RenderPipeline,
    layout: wgpu::BindGroupLayout,
}

/// The shader's `Look`.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Look {
    columns: u32,
    rows: u32,
    first: u32,
    strip: u32,
    offset: u32,
    colours: u32,
}

impl Pictures {
    /// For targets of this format.
    pub fn new(device: &wgpu::Device, format: wgpu::TextureFormat) -> Pictures {
        let label = Some("picture");
        let module = device.create_shader_module(wgpu::include_wgsl!("picture.wgsl"));
        let entry = |binding, ty, visibility| wgpu::BindGroupLayoutEntry {
            binding,
            visibility,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
            count: None,
        };
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label,
            entries: &[
                entry(0, wgpu::BufferBindingType::Storage { read_only: true }, wgpu::ShaderStages::FRAGMENT),
                entry(1, wgpu::BufferBindingType::Uniform, wgpu::ShaderStages::VERTEX_FRAGMENT),
            ],
        });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label,
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let constants = [("linear", f64::from(u8::from(format.is_srgb())))];
        let compilation_options = wgpu::PipelineCompilationOptions { constants: &constants, ..Default::default() };
        let pipeline = device.create_render_pipeline(&wgpu::RenderPipelineDescriptor {
            label,
            layout: Some(&pipeline_layout),
            vertex: wgpu::VertexState {
                module: &module,
                entry_point: Some("corner"),
                compilation_options: compilation_options.clone(),
                buffers: &[],
            },
            primitive: wgpu::PrimitiveState { topology: wgpu::PrimitiveTopology::TriangleStrip, ..Default::default() },
            depth_stencil: None,
            multisample: wgpu::MultisampleState::default(),
            fragment: Some(wgpu::FragmentState {
                module: &module,
                entry_point: Some("shade"),
                compilation_options,
                targets: &[Some(format.into())],
            }),
            multiview_mask: None,
            cache: None,
        });
        Pictures { device: device.clone(), pipeline, layout }
    }

    /// Draws a grid into a rectangle of the window.
    pub fn draw(&self, ui: &egui::Ui, rect: egui::Rect, grid: &Grid) {
        let strips = (grid.strips.iter().zip((0..).step_by(grid.strip_rows)))
            .map(|(buffer, first)| self.strip(grid, buffer, first))
            .collect();
        let drawn = Drawn { pipeline: self.pipeline.clone(), strips };
        ui.painter().add(Callback::new_paint_callback(rect, drawn));
    }

    fn strip(&self, grid: &Grid, buffer: &GpuBuffer, first: usize) -> Strip {
        let look = Look {
            columns: grid.columns as u32,
            rows: grid.rows as u32,
            first: first as u32,
            strip: grid.strip_rows.min(grid.rows - first) as u32,
            offset: (buffer.offset() / 4) as u32,
            colours: grid.colours as u32,
        };
        let look = self.device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: Some("look"),
            contents: bytemuck::bytes_of(&look),
            usage: wgpu::BufferUsages::UNIFORM,
        });
        let group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("picture"),
            layout: &self.layout,
            entries: &[
                wgpu::BindGroupEntry { binding: 0, resource: buffer.buffer().as_entire_binding() },
                wgpu::BindGroupEntry { binding: 1, resource: look.as_entire_binding() },
            ],
        });
        Strip { group, _lent: buffer.clone() }
    }
}

/// One grid in one frame.
struct Drawn {
    pipeline: wgpu::RenderPipeline,
    strips: Arc<[Strip]>,
}

struct Strip {
    group: wgpu::BindGroup,
    /// The memory stays the tensor's until the frame is submitted.
    _lent: GpuBuffer,
}

impl CallbackTrait for Drawn {
    fn paint(&self, _: egui::PaintCallbackInfo, pass: &mut wgpu::RenderPass<'static>, _: &CallbackResources) {
        pass.set_pipeline(&self.pipeline);
        for strip in self.strips.iter() {
            pass.set_bind_group(0, &strip.group, &[]);
            pass.draw(0..4, 0..1);
        }
    }
}
