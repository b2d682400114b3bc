//! What is in the middle of the window? The pictures and curves of a scene, laid out in the room that there is.

mod curve;
mod digits;
mod field;
mod image;

use super::look::{BLUE, ORANGE, QUIET, TEXT, font};
use super::mode::{Grid, Scene, Touch, View};
use super::picture::Pictures;
use curve::{Scale, curve};
pub use digits::Pane;
use egui::{Align2, Rect, Ui, pos2, vec2};

/// Between things.
const GAP: f32 = 12.0;
/// Height of a line of text above a picture.
const CAPTION: f32 = 24.0;

/// Draws a scene; gives what the user did in it.
pub fn scene(ui: &mut Ui, pictures: &Pictures, scene: &Scene, pane: &mut Pane) -> Vec<Touch> {
    let room = ui.available_rect_before_wrap();
    match &scene.view {
        View::Image(canvas) => image::draw(ui, room, pictures, scene, canvas),
        View::Digits(board) => return digits::draw(ui, room, pictures, scene, board, pane),
        View::Field(plane) => return field::draw(ui, room, pictures, scene, plane),
    }
    Vec::new()
}

/// Loss and quality, beside each other where that is wider than high, else one below the other.
fn curves(ui: &Ui, room: Rect, scene: &Scene, losses: &str, quality: &str, scale: Scale) {
    let (first, second) = match room.width() > 1.6 * room.height() {
        true => (left(room, (room.width() - GAP) / 2.0), right(room, (room.width() - GAP) / 2.0)),
        false => (top(room, (room.height() - GAP) / 2.0), bottom(room, (room.height() - GAP) / 2.0)),
    };
    curve(ui.painter(), first, losses, &scene.loss, Scale::Log, ORANGE);
    curve(ui.painter(), second, quality, &scene.quality, scale, BLUE);
}

/// A picture with a caption above it, as large as fits with its cells square; gives where its cells are.
fn captioned(ui: &Ui, room: Rect, pictures: &Pictures, caption: &str, grid: &Grid) -> Rect {
    let painter = ui.painter();
    let text = painter.layout(caption.to_owned(), font(15.0), QUIET, room.width());
    painter.galley(room.min + vec2(0.0, 1.0), text, QUIET);
    let below = bottom(room, room.height() - CAPTION);
    let rect = fitted(ui, below, grid);
    pictures.draw(ui, rect, grid);
    rect
}

/// The largest rectangle with the grid's proportions at the top left of `room`. Where cells are large, each is a whole number of
/// pixels.
fn fitted(ui: &Ui, room: Rect, grid: &Grid) -> Rect {
    let pixels = ui.ctx().pixels_per_point();
    let (columns, rows) = (grid.columns as f32, grid.rows as f32);
    let mut side = (room.width() / columns).min(room.height() / rows).max(0.0) * pixels;
    if side >= 2.0 {
        side = side.floor();
    }
    let min = pos2((room.left() * pixels).round(), (room.top() * pixels).round()) / pixels;
    Rect::from_min_size(min, vec2(columns, rows) * side / pixels)
}

fn label(ui: &Ui, at: egui::Pos2, align: Align2, text: impl Into<String>, size: f32) {
    ui.painter().text(at, align, text.into(), font(size), TEXT);
}

fn left(room: Rect, width: f32) -> Rect {
    Rect::from_min_size(room.min, vec2(width.max(0.0), room.height()))
}

fn right(room: Rect, width: f32) -> Rect {
    Rect::from_min_max(pos2(room.right() - width.max(0.0), room.top()), room.max)
}

fn top(room: Rect, height: f32) -> Rect {
    Rect::from_min_size(room.min, vec2(room.width(), height.max(0.0)))
}

fn bottom(room: Rect, height: f32) -> Rect {
    Rect::from_min_max(pos2(room.left(), room.bottom() - height.max(0.0)), room.max)
}
