//! How is the view looked at where there is no display? Its frames are drawn into a texture; the last becomes a PNG.

use super::Options;
use super::face::Face;
use super::gpu::Gpu;
use super::look;
use super::mode::Scene;
use super::painter::Painter;
use super::trainer::Trainer;
use egui::{Pos2, RawInput, Rect, ViewportId, vec2};
use std::path::Path;
use sunstone::prelude::*;

/// See [`super::offscreen`].
pub fn run(options: &Options, frames: u64, file: &Path, mut told: impl FnMut(&Scene)) -> Result<()> {
    let gpu = Gpu::open(options.device.as_deref(), None)?;
    let mut trainer = Trainer::new(options.mode(&gpu.tensors)?, options.steps);
    let mut stage = Stage::new(options, &gpu)?;
    let mut last = None;
    for _ in 0..frames {
        let scene = trainer.frame(None)?;
        told(&scene);
        stage.draw(&scene);
        last = Some(scene);
    }
    // Widths that one frame finds out are those of the next one.
    last.map_or(Ok(()), |scene| stage.save(&scene, file))
}

/// A texture in the place of a window.
struct Stage {
    painter: Painter,
    egui: egui::Context,
    face: Face,
    target: wgpu::Texture,
    scale: f32,
    size: [u32; 2],
}

impl Stage {
    fn new(options: &Options, gpu: &Gpu) -> Result<Stage> {
        let scale = options.scale.unwrap_or(1.0);
        let size = options.size.map(|side| (side as f32 * scale).round() as u32);
        let most = gpu.device.limits().max_texture_dimension_2d;
        if size.iter().any(|side| !(1..=most).contains(side)) {
            let [width, height] = size;
            return Err(Error::Invalid(format!(
                "{width} x {height} pixels; the device draws 1 to {most} in each direction"
            )));
        }
        let painter = Painter::new(gpu, wgpu::TextureFormat::Rgba8Unorm);
        let egui = egui::Context::default();
        look::apply(&egui);
        let target = painter.target(size);
        Ok(Stage { face: Face::new(options, gpu), painter, egui, target, scale, size })
    }

    fn frame(&mut self, scene: &Scene) -> super::painter::Frame {
        let [width, height] = self.size.map(|side| side as f32 / self.scale);
        let mut input = RawInput {
            screen_rect: Some(Rect::from_min_size(Pos2::ZERO, vec2(width, height))),
            max_texture_side: Some(self.painter.most_pixels()),
            ..RawInput::default()
        };
        input.viewports.entry(ViewportId::ROOT).or_default().native_pixels_per_point = Some(self.scale);
        let Stage { face, painter, .. } = self;
        let output = self.egui.run_ui(input, |ui| {
            // There is nobody to wish for anything.
            face.show(ui, Some(scene), &painter.pictures);
        });
        self.painter.frame(&self.egui, output, self.size)
    }

    fn draw(&mut self, scene: &Scene) {
        let frame = self.frame(scene);
        self.painter.draw(&frame, &self.target.create_view(&Default::default()));
        self.painter.done(frame);
    }

    fn save(&mut self, scene: &Scene, file: &Path) -> Result<()> {
        let frame = self.frame(scene);
        let saved = self.painter.save(&frame, file);
        self.painter.done(frame);
        saved
    }
}
