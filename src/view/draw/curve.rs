//! A curve: a number over the steps, with its latest value in words.

use crate::view::look::{DEEP, LINE, QUIET, TEXT, font};
use crate::view::series::Series;
use egui::{Align2, Color32, Painter, Pos2, Rect, Stroke, pos2, vec2};

/// How values become heights and words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Powers of ten are equally far apart.
    Log,
    /// From 0 to 1, told as percent.
    Share,
    /// As they are, with the unit behind the number.
    Plain(&'static str),
}

impl Scale {
    fn height(self, value: f64) -> f64 {
        match self {
            Scale::Log => value.max(1e-12).log10(),
            _ => value,
        }
    }

    fn text(self, value: f64) -> String {
        match self {
            Scale::Log if value < 0.001 => format!("{value:.1e}"),
            Scale::Log if value < 0.1 => format!("{value:.4}"),
            Scale::Log => format!("{value:.3}"),
            Scale::Share => format!("{:.1} %", 100.0 * value),
            Scale::Plain(unit) => format!("{value:.1} {unit}"),
        }
    }

    /// Heights with a line, and what is written there.
    fn ticks(self, low: f64, high: f64) -> Vec<(f64, String)> {
        let label = |height: f64| match self {
            Scale::Log if height >= -3.001 => format!("{}", (10f64.powf(height) * 1e4).round() / 1e4),
            Scale::Log => format!("{:.0e}", 10f64.powf(height)),
            Scale::Share => format!("{:.0}", 100.0 * height),
            Scale::Plain(_) => format!("{}", (height * 100.0).round() / 100.0),
        };
        let heights = match self {
            Scale::Log => decades(low, high),
            _ => even(low, high),
        };
        heights.into_iter().map(|height| (height, label(height))).collect()
    }
}

/// Powers of ten, and their doubles and fives where there is room.
fn decades(low: f64, high: f64) -> Vec<f64> {
    let digits: &[f64] = if high - low > 2.2 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let all = (low.floor() as i32..=high.ceil() as i32)
        .flat_map(|power| digits.iter().map(move |digit| power as f64 + digit.log10()));
    all.filter(|height| (low..=high).contains(height)).collect()
}

/// Three to six round numbers.
fn even(low: f64, high: f64) -> Vec<f64> {
    let rough = (high - low).max(1e-9) / 4.0;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|d| d * power).into_iter().find(|&s| s >= rough).unwrap_or(10.0 * power);
    let first = (low / step).ceil() as i64;
    (first..).map(|i| i as f64 * step).take_while(|&height| height <= high + 1e-9).collect()
}

/// Draws the curve and its title into a rectangle.
pub fn curve(painter: &Painter, rect: Rect, title: &str, series: &Series, scale: Scale, colour: Color32) {
    painter.rect_filled(rect, 4.0, DEEP);
    let inner = Rect::from_min_max(rect.min + vec2(52.0, 40.0), rect.max - vec2(14.0, 26.0));
    let head = pos2(rect.left() + 10.0, rect.top() + 7.0);
    painter.text(head, Align2::LEFT_TOP, title, font(15.0), QUIET);
    if let Some(last) = series.last() {
        painter.text(pos2(rect.right() - 12.0, head.y), Align2::RIGHT_TOP, scale.text(last), font(15.0), TEXT);
    }
    let points = series.points();
    let (Some(first), Some(end)) = (points.first(), points.last()) else { return };
    if inner.width() < 20.0 || inner.height() < 20.0 {
        return;
    }
    let (low, high) = range(points, scale);
    let place = |[step, value]: [f64; 2]| -> Pos2 {
        let x = (step - first[0]) / (end[0] - first[0]).max(1.0);
        let y = (scale.height(value) - low) / (high - low);
        pos2(inner.left() + x as f32 * inner.width(), inner.bottom() - y as f32 * inner.height())
    };
    let mut free = f32::INFINITY;
    for (height, label) in scale.ticks(low, high) {
        let y = inner.bottom() - ((height - low) / (high - low)) as f32 * inner.height();
        painter.hline(inner.x_range(), y, Stroke::new(1.0, LINE));
        // Labels that would touch are left out.
        if free - y > 15.0 {
            painter.text(pos2(inner.left() - 7.0, y), Align2::RIGHT_CENTER, label, font(13.0), QUIET);
            free = y;
        }
    }
    let below =
        |x: f32, align, text: String| painter.text(pos2(x, inner.bottom() + 5.0), align, text, font(13.0), QUIET);
    below(inner.left(), Align2::LEFT_TOP, "step 1".into());
    below(inner.right(), Align2::RIGHT_TOP, format!("{:.0}", end[0]));
    let line: Vec<Pos2> = points.iter().map(|&point| place(point)).collect();
    match line[..] {
        [only] => painter.circle_filled(only, 2.5, colour),
        _ => painter.line(line, Stroke::new(1.8, colour)),
    };
}

/// Heights that hold all points, with some air.
fn range(points: &[[f64; 2]], scale: Scale) -> (f64, f64) {
    if scale == Scale::Share {
        return (0.0, 1.0);
    }
    let heights = points.iter().map(|&[_, value]| scale.height(value));
    let (low, high) = heights.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| (l.min(x), h.max(x)));
    let air = (0.05 * (high - low)).max(0.05);
    (low - air, high + air)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(even(0.0, 1.0), [0.0, 0.5, 1.0]);
        assert_eq!(even(11.0, 29.0), [15.0, 20.0, 25.0]);
        assert_eq!(decades(-3.5, 0.2), [-3.0, -2.0, -1.0, 0.0]);
        let texts: Vec<String> = Scale::Log.ticks(-1.2, 0.1).into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, ["0.1", "0.2", "0.5", "1"]);
    }
}
