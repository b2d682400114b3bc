//! Image: left the target, right what the network paints now, below the curves.

use super::{CAPTION, GAP, Scale, bottom, captioned, curves, left, right, top};
use crate::view::image::Canvas;
use crate::view::mode::Scene;
use crate::view::picture::Pictures;
use egui::{Rect, Ui};

pub fn draw(ui: &Ui, room: Rect, pictures: &Pictures, scene: &Scene, canvas: &Canvas) {
    let half = (room.width() - GAP) / 2.0;
    let shape = canvas.target.rows as f32 / canvas.target.columns as f32;
    // The curves have a quarter of the height at least.
    let height = (CAPTION + half * shape).min(0.74 * room.height());
    let above = top(room, height);
    captioned(ui, left(above, half), pictures, "target", &canvas.target);
    captioned(ui, right(above, half), pictures, "what the network paints now", &canvas.painted);
    let below = bottom(room, room.height() - height - GAP);
    curves(ui, below, scene, "loss (squared error)", "PSNR (higher is nearer)", Scale::Plain("dB"));
}
