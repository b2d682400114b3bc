//! What do several devices' measurements look like? A roofline and grouped bars as SVG, readable in print.

use super::report::{Outcome, Report, Row, Run, Timed, tidy};
use crate::error::{Error, Result};
use crate::io::atomic;
use plotters::coord::Shift;
use plotters::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;

/// Runs that one picture can hold apart.
pub const MAX_RUNS: usize = 6;

const WIDTH: u32 = 1000;
const ROOFLINE: u32 = 560;
const BARS: u32 = 380;
/// Told apart by the colour-blind and, by their brightness, in grey (Okabe and Ito, 2008).
const COLORS: [RGBColor; MAX_RUNS] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(213, 94, 0),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = std::result::Result<(), Box<dyn std::error::Error>>;

/// Draws all runs of all reports: each row's arithmetic under its device's roof, each suite's share of that roof, and,
/// where there are several runs, how many times as fast each is as the first.
///
/// # Errors
/// [`Error::Invalid`] where there is nothing to draw, or more than [`MAX_RUNS`] runs; [`Error::Io`].
pub fn plot(reports: &[Report], path: &Path) -> Result<()> {
    atomic::write(path, &[svg(reports)?.as_bytes()])
}

/// The picture's text.
fn svg(reports: &[Report]) -> Result<String> {
    let runs: Vec<Shown> = reports.iter().flat_map(|r| r.runs.iter().map(move |run| Shown::new(r, run))).collect();
    if runs.is_empty() || runs.len() > MAX_RUNS {
        return Err(Error::Invalid(format!("{} devices to draw; a picture holds 1 to {MAX_RUNS}", runs.len())));
    }
    let shares = groups(&runs, |row, _| share(row));
    let first: BTreeMap<Key, f64> = runs[0].timed().map(|(row, timed)| (key(row), timed.time.median)).collect();
    let ratios = groups(&runs, |row, timed| Some(first.get(&key(row))? / timed.time.median));
    let panels = 1 + (runs.len() > 1) as u32;
    let mut text = String::new();
    draw(&mut text, &runs, &shares, &ratios, panels).map_err(|e| Error::Invalid(format!("it cannot be drawn: {e}")))?;
    Ok(text)
}

fn draw(text: &mut String, runs: &[Shown], shares: &[Group], ratios: &[Group], panels: u32) -> Drawn {
    let legend = 16 + 22 * runs.len() as u32;
    let root = SVGBackend::with_string(text, (WIDTH, legend + ROOFLINE + BARS * panels)).into_drawing_area();
    root.fill(&WHITE)?;
    let (top, rest) = root.split_vertically(legend);
    names(&top, runs)?;
    let (roof, rest) = rest.split_vertically(ROOFLINE);
    roofline(&roof, runs)?;
    let (share, ratio) = rest.split_vertically(BARS);
    let titles = ["Share of the device's own peak", "of peak, geometric mean of rows"];
    bars(&share, titles, shares, Scale::Share)?;
    if panels > 1 {
        bars(&ratio, ["Speed beside [1]", "times as fast, geometric mean of rows"], ratios, Scale::Ratio)?;
    }
    root.present()?;
    drop((share, ratio, roof, top, rest));
    Ok(())
}

/// A run and what it is called.
struct Shown<'a> {
    run: &'a Run,
    name: String,
}

impl<'a> Shown<'a> {
    fn new(report: &Report, run: &'a Run) -> Shown<'a> {
        let quick = if report.quick { ", quick" } else { "" };
        let name = format!("{} on {} ({}{quick})", report.program, run.device.hardware, run.device.name);
        Shown { run, name: tidy(&name).chars().take(110).collect() }
    }

    fn timed(&self) -> impl Iterator<Item = (&'a Row, &'a Timed)> {
        self.run.rows.iter().filter_map(|row| match &row.outcome {
            Outcome::Timed(timed) => Some((row, timed)),
            _ => None,
        })
    }

    /// Operations for each byte and operations a second, of rows that have both.
    fn points(&self) -> Vec<(&'a str, f64, f64)> {
        let of = |(row, timed): (&'a Row, &Timed)| {
            let (intensity, rate) = (row.work.flops / row.work.bytes, row.work.flops / timed.seconds());
            let fits = |n: f64| (1e-6..1e30).contains(&n);
            (fits(intensity) && fits(rate)).then_some((&row.dtype[..], intensity, rate))
        };
        self.timed().filter_map(of).collect()
    }
}

type Key = [String; 3];

fn key(row: &Row) -> Key {
    [row.suite.clone(), row.name.clone(), row.dtype.clone()]
}

fn share(row: &Row) -> Option<f64> {
    match &row.outcome {
        Outcome::Timed(timed) => timed.of_peak.filter(|_| row.suite != "peak"),
        _ => None,
    }
}

/// Rows of one suite and dtype: for each run, the geometric mean of what its rows give.
struct Group {
    name: String,
    values: Vec<Option<f64>>,
}

fn groups(runs: &[Shown], value: impl Fn(&Row, &Timed) -> Option<f64>) -> Vec<Group> {
    /// As many as can be read beside each other.
    const MAX: usize = 16;
    let mut groups: Vec<(String, Vec<(f64, u32)>)> = Vec::new();
    for (i, shown) in runs.iter().enumerate() {
        for (row, timed) in shown.timed() {
            let Some(value) = value(row, timed).filter(|v| (1e-9..1e9).contains(v)) else { continue };
            let name: String = format!("{} {}", row.suite, row.dtype).chars().take(16).collect();
            let place = groups.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
                groups.push((name, vec![(0.0, 0); runs.len()]));
                groups.len() - 1
            });
            let (sum, count) = &mut groups[place].1[i];
            (*sum, *count) = (*sum + value.ln(), *count + 1);
        }
    }
    let mean = |(sum, count): (f64, u32)| (count > 0).then(|| (sum / count as f64).exp());
    let group = |(name, sums): (String, Vec<(f64, u32)>)| Group { name, values: sums.into_iter().map(mean).collect() };
    groups.into_iter().take(MAX).map(group).collect()
}

/// What each colour and mark stands for.
fn names(area: &Area<'_>, runs: &[Shown]) -> Drawn {
    for (i, shown) in runs.iter().enumerate() {
        let y = 20 + 22 * i as i32;
        area.draw(&Rectangle::new([(20, y - 5), (44, y + 5)], COLORS[i].filled()))?;
        mark(area, i, (56, y))?;
        let style = ("sans-serif", 15).into_font().color(&BLACK);
        area.draw_text(&format!("[{}] {}", i + 1, shown.name), &style, (70, y - 8))?;
    }
    Ok(())
}

/// Each run's own mark, so that a print without colours tells them apart too.
fn mark(area: &Area<'_>, run: usize, at: (i32, i32)) -> Drawn {
    let color = COLORS[run];
    match run {
        0 => area.draw(&Circle::new(at, 4, color.filled()))?,
        1 => area.draw(&TriangleMarker::new(at, 5, color.filled()))?,
        2 => area.draw(&Cross::new(at, 4, color.stroke_width(2)))?,
        3 => area.draw(&Circle::new(at, 4, color.stroke_width(2)))?,
        4 => area.draw(&TriangleMarker::new(at, 5, color.stroke_width(2)))?,
        _ => area.draw(&Rectangle::new([(at.0 - 3, at.1 - 3), (at.0 + 3, at.1 + 3)], color.filled()))?,
    }
    Ok(())
}

/// Every row with arithmetic and bytes, under the roofs of its device (Williams et al., 2009).
fn roofline(area: &Area<'_>, runs: &[Shown]) -> Drawn {
    let points: Vec<Vec<(&str, f64, f64)>> = runs.iter().map(Shown::points).collect();
    let all = || points.iter().flatten();
    let Some(x) = decades(all().map(|p| p.1)) else {
        return Ok(area.draw_text(
            "No rows with arithmetic.",
            &("sans-serif", 16).into_font().color(&BLACK),
            (76, 30),
        )?);
    };
    let peaks = runs.iter().flat_map(|s| s.run.peak.flops.values().copied());
    let y = decades(all().map(|p| p.2).chain(peaks)).unwrap_or((1.0, 10.0));
    let mut chart = ChartBuilder::on(area)
        .margin(14)
        .caption("Roofline", ("sans-serif", 20))
        .x_label_area_size(46)
        .y_label_area_size(84)
        .build_cartesian_2d((x.0..x.1).log_scale(), (y.0..y.1).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("operations for each byte of operands and results")
        .y_desc("operations a second")
        .x_label_formatter(&|n| number(*n))
        .y_label_formatter(&|n| number(*n))
        .bold_line_style(BLACK.mix(0.2))
        .light_line_style(BLACK.mix(0.05))
        .label_style(("sans-serif", 14))
        .axis_desc_style(("sans-serif", 15))
        .draw()?;
    for (i, shown) in runs.iter().enumerate() {
        for (dtype, &flops) in &shown.run.peak.flops {
            let roof = |x: f64| shown.run.peak.bytes.map_or(flops, |bytes| (bytes * x).min(flops));
            // Where it enters the picture, and where arithmetic takes over from memory.
            let bends = shown.run.peak.bytes.map_or([x.0, x.0], |bytes| [y.0 / bytes, flops / bytes]);
            let line = [x.0, bends[0], bends[1], x.1].map(|at| at.clamp(x.0, x.1)).map(|at| (at, roof(at)));
            let line = line.into_iter().filter(|(_, rate)| *rate >= y.0 * 0.999);
            let style = COLORS[i].stroke_width(if dtype == "f32" { 2 } else { 1 });
            chart.draw_series(LineSeries::new(line, style))?;
            let label = format!("[{}] {dtype}", i + 1).chars().take(12).collect::<String>();
            let right = chart.backend_coord(&(x.1, flops.clamp(y.0, y.1)));
            let font = ("sans-serif", 12).into_font().color(&COLORS[i]);
            let origin = area.get_base_pixel();
            // Each run's names in a column of their own: roofs may be close.
            let at = (right.0 - origin.0 - 60 - 64 * i as i32, right.1 - origin.1 - 15);
            area.draw_text(&label, &font, at)?;
        }
        for &(_, x, y) in &points[i] {
            let (px, py) = chart.backend_coord(&(x, y));
            let origin = area.get_base_pixel();
            mark(area, i, (px - origin.0, py - origin.1))?;
        }
    }
    Ok(())
}

/// What the bars of a panel are, and how their axis reads.
#[derive(Clone, Copy, PartialEq)]
enum Scale {
    /// Of 1, from 0 on.
    Share,
    /// Beside 1, in decades; the first run, which is 1 everywhere, is left out.
    Ratio,
}

impl Scale {
    fn place(self, value: f64) -> f64 {
        if self == Scale::Share { value } else { value.log10() }
    }

    fn text(self, place: f64) -> String {
        match (self, 10f64.powf(place)) {
            (Scale::Share, _) => format!("{:.0}%", place * 100.0),
            (Scale::Ratio, n) if n < 0.0995 => format!("{n:.3}×"),
            (Scale::Ratio, n) if n < 9.95 => format!("{n:.2}×"),
            (Scale::Ratio, n) => format!("{n:.0}×"),
        }
    }
}

/// One group for each suite and dtype, one bar for each run.
fn bars(area: &Area<'_>, [title, axis]: [&str; 2], groups: &[Group], scale: Scale) -> Drawn {
    let first = (scale == Scale::Ratio) as usize;
    let places = groups.iter().flat_map(|g| g.values[first..].iter().flatten().map(|&v| scale.place(v)));
    let (low, high) = places.fold((0.0f64, 0.0f64), |(low, high), n| (low.min(n), high.max(n)));
    let range = match scale {
        Scale::Share => 0.0..high.max(1.0) * 1.05,
        Scale::Ratio => low * 1.1 - 0.1..high * 1.1 + 0.1,
    };
    let count = groups.len().max(1);
    let mut chart = ChartBuilder::on(area)
        .margin(14)
        .caption(title, ("sans-serif", 20))
        .x_label_area_size(48)
        .y_label_area_size(84)
        .build_cartesian_2d(0.0..count as f64, range.clone())?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .disable_x_axis()
        .y_desc(axis)
        .y_label_formatter(&|n| scale.text(*n))
        .bold_line_style(BLACK.mix(0.2))
        .light_line_style(WHITE)
        .label_style(("sans-serif", 14))
        .axis_desc_style(("sans-serif", 15))
        .draw()?;
    let (left, top) = area.get_base_pixel();
    let write = |text: &str, size: i32, (x, y): (i32, i32)| {
        area.draw_text(text, &("sans-serif", size).into_font().color(&BLACK), (x - left, y - top))
    };
    for (g, group) in groups.iter().enumerate() {
        let width = 0.8 / (group.values.len() - first).max(1) as f64;
        for (i, value) in group.values.iter().enumerate().skip(first) {
            let Some(place) = value.map(|v| scale.place(v)) else { continue };
            let at = g as f64 + 0.1 + width * (i - first) as f64;
            let corners = [(at, 0.0), (at + width * 0.92, place)];
            chart
                .draw_series([COLORS[i].filled(), BLACK.stroke_width(1)].map(|style| Rectangle::new(corners, style)))?;
            let (x, y) = chart.backend_coord(&(at, place));
            if chart.backend_coord(&(at + width, place)).0 - x >= 26 {
                write(&scale.text(place), 11, (x, if place < 0.0 { y + 2 } else { y - 13 }))?;
            }
        }
        let (x, y) = chart.backend_coord(&(g as f64 + 0.1, range.start));
        for (line, word) in (0..).zip(group.name.split(' ')) {
            write(word, 13, (x, y + 6 + 15 * line))?;
        }
    }
    if scale == Scale::Ratio {
        chart.draw_series(LineSeries::new([(0.0, 0.0), (count as f64, 0.0)], BLACK.stroke_width(1)))?;
    }
    Ok(())
}

/// The powers of ten around numbers.
fn decades(numbers: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let (mut least, mut most) = (f64::INFINITY, 0.0f64);
    for n in numbers.filter(|n| n.is_finite() && *n > 0.0) {
        (least, most) = (least.min(n), most.max(n));
    }
    let (low, high) = (least.log10().floor(), (most * 1.2).log10().ceil());
    (least <= most).then(|| (10f64.powf(low), 10f64.powf(high.max(low + 1.0))))
}

/// `2.0 G`: a number with a prefix of the SI.
fn number(n: f64) -> String {
    const PREFIXES: [(f64, &str); 6] = [(1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    match PREFIXES.iter().find(|(unit, _)| n >= *unit * 0.999) {
        Some((unit, prefix)) => format!("{:.0} {prefix}", n / unit),
        None if n >= 0.999 => format!("{n:.0}"),
        None => format!("{n:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::{About, Peak, Time, Work};

    fn report(times: &[(&str, f64)]) -> Report {
        let row = |&(suite, median): &(&str, f64)| {
            let time = Time { median, q1: median, q3: median, best: median, samples: 3, calls: 1 };
            let timed = Timed { time, host: 0.0, device: None, kernels: None, error: None, of_peak: Some(0.5) };
            let work = Work { flops: 8e9, bytes: 1e9, samples: 0.0 };
            Row { suite: suite.into(), name: "a".into(), dtype: "f32".into(), work, outcome: Outcome::Timed(timed) }
        };
        let device = About { hardware: "<b> & \u{1F600}".into(), ..About::default() };
        let peak = Peak { bytes: Some(1e9), flops: [("f32".to_owned(), 1e10)].into() };
        let run = Run { device, peak, rows: times.iter().map(row).collect() };
        Report { runs: vec![run], ..Report::new("now".into(), false) }
    }

    #[test]
    fn a_picture_has_a_roof_bars_and_no_markup_of_strangers() {
        let one = svg(&[report(&[("map", 1.0)])]).unwrap();
        assert!(one.starts_with("<svg") && one.trim_end().ends_with("</svg>"));
        assert!(one.contains("Roofline") && one.contains("&lt;b&gt; &amp;") && !one.contains("<b>"));
        assert!(!one.contains("Speed beside [1]"));
        let two = svg(&[report(&[("map", 1.0), ("rows", 1.0)]), report(&[("map", 0.25)])]).unwrap();
        assert!(two.contains("Speed beside [1]") && two.contains("4.00×"), "{two}");
    }

    #[test]
    fn extremes_are_drawn_and_too_much_is_refused() {
        for median in [1.1e-12, 9e29] {
            svg(&[report(&[("map", median)]), report(&[("map", 1.0)])]).unwrap();
        }
        svg(&[report(&[])]).unwrap();
        let mut empty = report(&[("map", 1.0)]);
        empty.runs[0].peak = Peak { bytes: Some(1e-11), flops: [("f32".to_owned(), 9e29)].into() };
        svg(&[empty]).unwrap();
        assert!(svg(&[]).unwrap_err().to_string().contains("0 devices"));
        assert!(svg(&vec![report(&[]); MAX_RUNS + 1]).unwrap_err().to_string().contains("7 devices"));
    }

    #[test]
    fn a_group_is_the_geometric_mean_of_its_rows() {
        let reports = [report(&[("map", 1.0), ("map", 4.0), ("rows", 2.0)])];
        let runs: Vec<Shown> = reports.iter().map(|r| Shown::new(r, &r.runs[0])).collect();
        let groups = groups(&runs, |_, timed| Some(timed.time.median));
        let values: Vec<(&str, Option<f64>)> = groups.iter().map(|g| (&g.name[..], g.values[0])).collect();
        assert_eq!(values, [("map f32", Some(2.0)), ("rows f32", Some(2.0))]);
    }
}
