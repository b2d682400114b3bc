//! How does a frame get from egui's shapes and the tensors' pictures into a texture?

use super::gpu::Gpu;
use super::picture::Pictures;
use egui_wgpu::{Renderer, RendererOptions, ScreenDescriptor};
use std::io::Cursor;
use std::path::Path;
use sunstone::io::atomic;
use sunstone::prelude::*;

/// Draws frames for targets of one format.
pub struct Painter {
    device: wgpu::Device,
    queue: wgpu::Queue,
    renderer: Renderer,
    format: wgpu::TextureFormat,
    pub pictures: Pictures,
}

/// A frame, ready to be drawn any number of times.
pub struct Frame {
    shapes: Vec<egui::ClippedPrimitive>,
    screen: ScreenDescriptor,
    done: Vec<egui::TextureId>,
}

impl Painter {
    /// For targets of this format.
    pub fn new(gpu: &Gpu, format: wgpu::TextureFormat) -> Painter {
        Painter {
            device: gpu.device.clone(),
            queue: gpu.queue.clone(),
            renderer: Renderer::new(&gpu.device, format, RendererOptions::default()),
            format,
            pictures: Pictures::new(&gpu.device, format),
        }
    }

    /// Takes up what egui made of a frame of this size in pixels.
    pub fn frame(&mut self, egui: &egui::Context, output: egui::FullOutput, size: [u32; 2]) -> Frame {
        let mut textures = output.textures_delta;
        for (id, deltas) in textures.set.drain() {
            deltas.iter().for_each(|delta| self.renderer.update_texture(&self.device, &self.queue, id, delta));
        }
        let shapes = egui.tessellate(output.shapes, output.pixels_per_point);
        let screen = ScreenDescriptor { size_in_pixels: size, pixels_per_point: output.pixels_per_point };
        Frame { shapes, screen, done: textures.free.drain().collect() }
    }

    /// Draws a frame and submits it.
    pub fn draw(&mut self, frame: &Frame, target: &wgpu::TextureView) {
        let mut encoder = self.device.create_command_encoder(&Default::default());
        let Frame { shapes, screen, .. } = frame;
        let mut commands = self.renderer.update_buffers(&self.device, &self.queue, &mut encoder, shapes, screen);
        let attachment = wgpu::RenderPassColorAttachment {
            view: target,
            depth_slice: None,
            resolve_target: None,
            ops: wgpu::Operations { load: wgpu::LoadOp::Clear(wgpu::Color::BLACK), store: wgpu::StoreOp::Store },
        };
        let pass = encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
            label: Some("view"),
            color_attachments: &[Some(attachment)],
            ..Default::default()
        });
        self.renderer.render(&mut pass.forget_lifetime(), shapes, screen);
        commands.push(encoder.finish());
        self.queue.submit(commands);
    }

    /// Lets go of what only this frame needed.
    pub fn done(&mut self, frame: Frame) {
        frame.done.iter().for_each(|id| self.renderer.free_texture(id));
    }

    /// Draws a frame into a texture of its own and writes that to a PNG.
    ///
    /// # Errors
    /// When the device or the file system fails.
    pub fn save(&mut self, frame: &Frame, path: &Path) -> Result<()> {
        let [width, height] = frame.screen.size_in_pixels;
        let target = self.target([width, height]);
        self.draw(frame, &target.create_view(&Default::default()));
        let pixels = self.read(&target)?;
        let mut png = Cursor::new(Vec::new());
        let kind = (image::ExtendedColorType::Rgba8, image::ImageFormat::Png);
        image::write_buffer_with_format(&mut png, &pixels, width, height, kind.0, kind.1)
            .map_err(|e| Error::Backend { device: "view".into(), detail: e.to_string() })?;
        atomic::write(path, &[png.get_ref()])
    }

    /// Pixels of a texture at most, in each direction.
    pub fn most_pixels(&self) -> usize {
        self.device.limits().max_texture_dimension_2d as usize
    }

    /// A texture to draw to, in the place of a window's.
    pub fn target(&self, [width, height]: [u32; 2]) -> wgpu::Texture {
        self.device.create_texture(&wgpu::TextureDescriptor {
            label: Some("view"),
            size: wgpu::Extent3d { width, height, depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: self.format,
            usage: wgpu::TextureUsages::RENDER_ATTACHMENT | wgpu::TextureUsages::COPY_SRC,
            view_formats: &[],
        })
    }

    /// The pixels as red, green, blue and alpha.
    fn read(&self, texture: &wgpu::Texture) -> Result<Vec<u8>> {
        let failed = |detail: String| Error::Backend { device: "view".into(), detail };
        let (size, row) = (texture.size(), texture.width() as usize * 4);
        let padded = row.next_multiple_of(wgpu::COPY_BYTES_PER_ROW_ALIGNMENT as usize);
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("screenshot"),
            size: (padded * size.height as usize) as u64,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let layout =
            wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(padded as u32), rows_per_image: None };
        let mut encoder = self.device.create_command_encoder(&Default::default());
        encoder.copy_texture_to_buffer(
            texture.as_image_copy(),
            wgpu::TexelCopyBufferInfo { buffer: &buffer, layout },
            size,
        );
        self.queue.submit([encoder.finish()]);
        let (send, receive) = std::sync::mpsc::channel();
        buffer.map_async(wgpu::MapMode::Read, .., move |result| {
            // Nobody listens only after an error.
            let _ = send.send(result);
        });
        self.device.poll(wgpu::PollType::wait_indefinitely()).map_err(|e| failed(e.to_string()))?;
        let mapped = receive.recv().map_err(|e| failed(e.to_string()))?;
        mapped.map_err(|e| failed(e.to_string()))?;
        let bytes = buffer.get_mapped_range(..).map_err(|e| failed(e.to_string()))?.to_vec();
        let mut pixels: Vec<u8> = bytes.chunks_exact(padded).flat_map(|line| line[..row].iter().copied()).collect();
        if matches!(self.format, wgpu::TextureFormat::Bgra8Unorm | wgpu::TextureFormat::Bgra8UnormSrgb) {
            pixels.chunks_exact_mut(4).for_each(|pixel| pixel.swap(0, 2));
        }
        Ok(pixels)
    }
}
