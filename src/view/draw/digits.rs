//! Digits: a pane to draw in with what the network takes it for, its filters, what it confuses, and the curves.

use super::{CAPTION, GAP, Scale, bottom, captioned, curves, label, left, right, top};
use crate::view::digits::Board;
use crate::view::look::{BLUE, DEEP, ORANGE, QUIET, font};
use crate::view::mode::{Scene, Touch};
use crate::view::picture::Pictures;
use egui::{Align2, Color32, PointerButton, Pos2, Rect, Sense, Ui, pos2, vec2};

const SIDE: usize = 28;

/// How thick the pen is, in pixels of the digit.
const PEN: f32 = 1.35;

/// What the user has drawn, and where the pen was last.
#[derive(Default)]
pub struct Pane {
    drawn: Option<Vec<f32>>,
    pen: Option<Pos2>,
}

impl Pane {
    /// Wipes it.
    pub fn clear(&mut self) -> Touch {
        *self = Pane::default();
        Touch::Drawn(None)
    }

    /// Draws a line to `at` from where the pen was.
    fn draw(&mut self, at: Pos2) {
        let drawn = self.drawn.get_or_insert_with(|| vec![0.0; SIDE * SIDE]);
        let from = self.pen.replace(at).unwrap_or(at);
        for (i, value) in drawn.iter_mut().enumerate() {
            let pixel = pos2((i % SIDE) as f32 + 0.5, (i / SIDE) as f32 + 0.5);
            let ink = (PEN + 0.5 - distance(pixel, from, at)).clamp(0.0, 1.0);
            *value = value.max(ink);
        }
    }
}

/// From a point to the line between two others.
fn distance(point: Pos2, a: Pos2, b: Pos2) -> f32 {
    let along = b - a;
    let t = ((point - a).dot(along) / along.length_sq().max(1e-9)).clamp(0.0, 1.0);
    (point - (a + t * along)).length()
}

pub fn draw(ui: &Ui, room: Rect, pictures: &Pictures, scene: &Scene, board: &Board, pane: &mut Pane) -> Vec<Touch> {
    let upper = top(room, (room.height() - GAP) * 0.52);
    let lower = bottom(room, (room.height() - GAP) * 0.48);
    let bars = (0.2 * room.width()).clamp(110.0, 190.0);
    let side = (upper.height() - CAPTION).min((room.width() - bars - 2.0 * GAP) / 2.0);
    let name = if board.drawn { "your digit" } else { "draw a digit here" };
    let drawing = captioned(ui, left(upper, side), pictures, name, &board.drawing);
    let beside = Rect::from_min_size(pos2(drawing.right() + GAP, upper.top()), vec2(bars, upper.height()));
    probabilities(ui, beside, drawing, &board.probabilities);
    let rest = right(upper, upper.right() - beside.right() - GAP);
    captioned(ui, rest, pictures, "first layer's filters: blue below 0, orange above", &board.filters);

    let side = (lower.height() - CAPTION - 16.0).min(0.5 * room.width());
    let square = Rect::from_min_size(lower.min + vec2(18.0, 0.0), vec2(side, side + CAPTION));
    let grid = captioned(ui, square, pictures, "down: is; across: taken for", &board.confusion);
    counts(ui, grid, &board.counts);
    curves(ui, right(lower, lower.right() - grid.right() - GAP), scene, "loss", "test images right", Scale::Share);
    touches(ui, drawing, pane)
}

/// A bar for each digit, as high as the picture beside it.
fn probabilities(ui: &Ui, room: Rect, beside: Rect, values: &[f32]) {
    let best = values.iter().copied().fold(0.0, f32::max);
    ui.painter().text(room.min + vec2(0.0, 1.0), Align2::LEFT_TOP, "is taken for", font(15.0), QUIET);
    let height = beside.height() / values.len().max(1) as f32;
    for (digit, &share) in values.iter().enumerate() {
        let row =
            Rect::from_min_size(pos2(room.left(), beside.top() + digit as f32 * height), vec2(room.width(), height));
        let size = (0.75 * height).clamp(9.0, 16.0);
        label(ui, row.left_center(), Align2::LEFT_CENTER, digit.to_string(), size);
        let track = Rect::from_min_max(row.min + vec2(16.0, 0.15 * height), row.max - vec2(44.0, 0.15 * height));
        ui.painter().rect_filled(track, 2.0, DEEP);
        let colour = if share == best { ORANGE } else { BLUE };
        ui.painter().rect_filled(left(track, share * track.width()), 2.0, colour);
        let percent = format!("{:.0} %", 100.0 * share);
        label(ui, row.right_center(), Align2::RIGHT_CENTER, percent, size.min(14.0));
    }
}

/// The counts as numbers in the picture's cells, where they can be read, and the digits around it.
fn counts(ui: &Ui, grid: Rect, counts: &[u32]) {
    let cell = grid.width() / 10.0;
    let size = (0.62 * cell).clamp(9.0, 14.0);
    for i in 0..10 {
        let middle = (i as f32 + 0.5) * cell;
        label(ui, pos2(grid.left() - 9.0, grid.top() + middle), Align2::CENTER_CENTER, i.to_string(), 13.0);
        label(ui, pos2(grid.left() + middle, grid.bottom() + 9.0), Align2::CENTER_CENTER, i.to_string(), 13.0);
    }
    if cell < 17.0 {
        return;
    }
    let total = |row: usize| counts[10 * row..][..10].iter().sum::<u32>().max(1);
    for (i, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let centre = grid.min + vec2((i % 10) as f32 + 0.5, (i / 10) as f32 + 0.5) * cell;
        // Bright cells need dark numbers.
        let bright = count as f32 / total(i / 10) as f32 > 0.45;
        let colour = if bright { Color32::BLACK } else { Color32::WHITE };
        ui.painter().text(centre, Align2::CENTER_CENTER, count.to_string(), font(size), colour);
    }
}

/// Left draws, right wipes.
fn touches(ui: &Ui, drawing: Rect, pane: &mut Pane) -> Vec<Touch> {
    let response = ui.interact(drawing, ui.scope_id().with("pane"), Sense::click_and_drag());
    if response.clicked_by(PointerButton::Secondary) {
        return vec![pane.clear()];
    }
    let drawing_now = response.is_pointer_button_down_on() && ui.input(|i| i.pointer.primary_down());
    match response.interact_pointer_pos().filter(|_| drawing_now) {
        None => pane.pen = None,
        Some(at) => {
            let at = ((at - drawing.min) / drawing.size() * SIDE as f32).to_pos2();
            if pane.pen != Some(at) {
                pane.draw(at);
                return vec![Touch::Drawn(pane.drawn.clone())];
            }
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pen_leaves_ink_along_its_way() {
        let mut pane = Pane::default();
        pane.draw(pos2(5.0, 14.0));
        pane.draw(pos2(23.0, 14.0));
        let drawn = pane.drawn.as_ref().unwrap();
        assert!((6..22).all(|x| drawn[13 * SIDE + x] == 1.0 && drawn[2 * SIDE + x] == 0.0));
        assert!(drawn.iter().all(|v| (0.0..=1.0).contains(v)));
        assert!(matches!(pane.clear(), Touch::Drawn(None)) && pane.drawn.is_none());
    }
}
