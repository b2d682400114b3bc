//! Field: the plane with the network's decision and the points, and the curves beside it.

use super::{GAP, Scale, captioned, curves, right};
use crate::view::field::{Plane, Point};
use crate::view::look::{BLUE, ORANGE};
use crate::view::mode::{Scene, Touch};
use crate::view::picture::Pictures;
use egui::{Color32, Painter, PointerButton, Pos2, Rect, Sense, Stroke, Ui, pos2, vec2};

pub fn draw(ui: &Ui, room: Rect, pictures: &Pictures, scene: &Scene, plane: &Plane) -> Vec<Touch> {
    let side = (room.height() - super::CAPTION).min(0.64 * room.width());
    let place = Rect::from_min_size(room.min, vec2(side, side + super::CAPTION));
    let name = format!("{:?}, {} points; click to add: left blue, right orange", plane.data, plane.points.len());
    let surface = captioned(ui, place, pictures, &name, &plane.surface);
    let painter = ui.painter().with_clip_rect(surface);
    plane.points.iter().for_each(|point| mark(&painter, surface, point));
    let beside = right(room, room.right() - surface.right() - GAP);
    curves(ui, beside, scene, "loss", "right", Scale::Share);
    let response = ui.interact(surface, ui.scope_id().with("plane"), Sense::click());
    let button = |button, class| response.clicked_by(button).then_some(class);
    let class = button(PointerButton::Primary, 0).or(button(PointerButton::Secondary, 1));
    let touch =
        class.zip(response.interact_pointer_pos()).map(|(class, at)| Touch::Point(on_plane(surface, at), class));
    touch.into_iter().collect()
}

/// Discs are blue, squares orange: the shape tells as much as the colour.
fn mark(painter: &Painter, surface: Rect, &(at, class): &Point) {
    let centre = on_screen(surface, at);
    let edge = Stroke::new(1.0, Color32::from_black_alpha(210));
    let size = (surface.width() / 130.0).clamp(2.5, 5.0);
    match class {
        0 => painter.circle(centre, size, BLUE, edge),
        _ => painter.rect(
            Rect::from_center_size(centre, vec2(1.8, 1.8) * size),
            0.0,
            ORANGE,
            edge,
            egui::StrokeKind::Outside,
        ),
    };
}

fn on_screen(surface: Rect, [x, y]: [f32; 2]) -> Pos2 {
    surface.min + vec2((x + 1.0) / 2.0 * surface.width(), (1.0 - y) / 2.0 * surface.height())
}

fn on_plane(surface: Rect, at: Pos2) -> [f32; 2] {
    let at = (at - surface.min) / surface.size();
    let pos = pos2(2.0 * at.x - 1.0, 1.0 - 2.0 * at.y);
    [pos.x, pos.y]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_click_is_where_its_point_is_drawn() {
        let surface = Rect::from_min_size(pos2(10.0, 20.0), vec2(300.0, 300.0));
        for at in [[0.0, 0.0], [-1.0, 1.0], [0.5, -0.25]] {
            let [x, y] = on_plane(surface, on_screen(surface, at));
            assert!((x - at[0]).abs() < 1e-5 && (y - at[1]).abs() < 1e-5);
        }
        assert_eq!(on_screen(surface, [-1.0, 1.0]), surface.min);
    }
}
