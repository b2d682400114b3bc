//! What would digits look like if a program wrote them by hand?
//!
//! Each digit has a few writing styles, given as strokes through control points. A sample jitters the points, bends and
//! slants the whole, and runs a pen of some thickness along it. Only `+ - * /` and `sqrt` are used, which IEEE 754
//! rounds in one way only, so a seed gives the same bytes on every machine.

use super::images::{DigitsSplit, Images};
use super::order::{Purpose, Words, permutation};
use super::styles::{Stroke, styles};
use crate::parallel::*;

const SIDE: usize = 28;
const PIXELS: usize = SIDE * SIDE;
/// Straight pieces between two control points.
const PIECES: usize = 6;
/// How far a digit lies off the middle at most, and how near its path comes to the frame, in pixels.
const SHIFT: f32 = 1.5;
const MARGIN: f32 = 3.0;

/// Draws `train` digits to learn from and `test` others; each class comes as often as the others (give or take one).
/// Sample `i` of either depends on `seed` and its number alone.
///
/// ```
/// let digits = sunstone::data::strokes::digits(7, 20, 10);
/// assert_eq!((digits.train.len(), digits.test.len()), (20, 10));
/// assert_eq!(digits, sunstone::data::strokes::digits(7, 20, 10));
/// ```
pub fn digits(seed: u64, train: usize, test: usize) -> DigitsSplit {
    DigitsSplit {
        train: draw_all(seed, train, Purpose::TrainDigit),
        test: draw_all(seed, test, Purpose::TestDigit),
        source: format!("digits drawn by the program (seed {seed})"),
    }
}

fn draw_all(seed: u64, count: usize, purpose: Purpose) -> Images {
    // Number `n` is a digit `n % 10`: balanced by construction, and the permutation hides the pattern.
    let order = permutation(count, seed, purpose as u64);
    let labels: Vec<u8> = order.iter().map(|n| (n % 10) as u8).collect();
    let mut pixels = vec![0; count * PIXELS];
    pixels.par_chunks_exact_mut(PIXELS).zip(&order).for_each(|(image, &n)| {
        draw((n % 10) as usize, &mut Words::new(seed, n as u64, purpose), image);
    });
    Images { height: SIDE, width: SIDE, pixels, labels }
}

/// A point of a pen's path.
#[derive(Clone, Copy)]
struct Point {
    x: f32,
    y: f32,
}

impl Point {
    fn map(self, f: impl Fn(f32, f32) -> [f32; 2]) -> Point {
        let [x, y] = f(self.x, self.y);
        Point { x, y }
    }
}

fn draw(digit: usize, words: &mut Words, image: &mut [u8]) {
    let choices = styles(digit);
    let style = choices[words.below(choices.len())];
    let sloppiness = words.range(0.2, 1.0);
    let mut lines: Vec<Vec<Point>> = style.iter().map(|stroke| trace(stroke, sloppiness, words)).collect();
    distort(&mut lines, words);
    place(&mut lines, words);
    let mut ink = run_pen(&lines, words);
    blur(&mut ink, words.range(0.0, 0.12));
    expose(&ink, words, image);
}

/// About normal with deviation 1, within ±3.5: the sum of four uniform numbers, because logarithms and cosines differ
/// in their last bit from machine to machine.
fn bell(words: &mut Words) -> f32 {
    let sum: f32 = (0..4).map(|_| words.range(-1.0, 1.0)).sum();
    sum * 0.866_025_4
}

/// The path through a stroke's control points, once they are jittered: straight to corners, Catmull and Rom's curve
/// (1974) elsewhere.
fn trace(stroke: &Stroke, sloppiness: f32, words: &mut Words) -> Vec<Point> {
    let shift = Point { x: 0.03 * sloppiness * bell(words), y: 0.03 * sloppiness * bell(words) };
    let mut jitter = |at: f32, shift: f32| at + shift + 0.036 * sloppiness * bell(words);
    let points: Vec<(Point, bool)> = stroke
        .iter()
        .map(|knot| (Point { x: jitter(knot.x, shift.x), y: jitter(knot.y, shift.y) }, knot.corner))
        .collect();
    let mut line = vec![points[0].0];
    for i in 1..points.len() {
        let ((from, from_corner), (to, to_corner)) = (points[i - 1], points[i]);
        // At a corner or an end the curve has no neighbour to lean on.
        let before = if from_corner || i == 1 { from } else { points[i - 2].0 };
        let after = if to_corner || i + 1 == points.len() { to } else { points[i + 1].0 };
        line.extend((1..=PIECES).map(|k| {
            let t = k as f32 / PIECES as f32;
            let on = |a, b, c, d| catmull_rom(a, b, c, d, t);
            Point { x: on(before.x, from.x, to.x, after.x), y: on(before.y, from.y, to.y, after.y) }
        }));
    }
    line
}

fn catmull_rom(a: f32, b: f32, c: f32, d: f32, t: f32) -> f32 {
    let (linear, square, cube) = (c - a, 2.0 * a - 5.0 * b + 4.0 * c - d, 3.0 * (b - c) + d - a);
    b + 0.5 * t * (linear + t * (square + t * cube))
}

/// Bends, stretches, slants and turns the digit about the middle of its square.
fn distort(lines: &mut [Vec<Point>], words: &mut Words) {
    let (bend_x, bend_y) = (0.06 * bell(words), 0.06 * bell(words));
    // Which of the digit's halves is the wider, and which the taller.
    let (taper, lift) = (0.22 * bell(words), 0.22 * bell(words));
    let stretch = words.range(0.75, 1.3);
    // Hands slant to the right more often than to the left.
    let slant = 0.08 + 0.16 * bell(words);
    // The tangent of half the angle, up to 7.5 degrees either way, gives sine and cosine by arithmetic alone.
    let t = words.range(-0.131_65, 0.131_65);
    let (sin, cos) = (2.0 * t / (1.0 + t * t), (1.0 - t * t) / (1.0 + t * t));
    for point in lines.iter_mut().flatten() {
        *point = point.map(|x, y| {
            let (x, y) = (x - 0.5, y - 0.5);
            let (x, y) = (x + bend_x * (4.0 * y * y - 0.5), y + bend_y * (4.0 * x * x - 0.5));
            let (x, y) = (x * (1.0 + taper * y), y + lift * (y * y - 0.25));
            let x = stretch * x - slant * y;
            [cos * x - sin * y, sin * x + cos * y]
        });
    }
}

/// Scales the digit to about 20 pixels and puts its centre of mass near the frame's, both as MNIST does.
fn place(lines: &mut [Vec<Point>], words: &mut Words) {
    let points = || lines.iter().flatten();
    let extent =
        |of: fn(&Point) -> f32| points().map(of).fold((f32::MAX, f32::MIN), |(low, high), v| (low.min(v), high.max(v)));
    let (left, right) = extent(|p| p.x);
    let (top, bottom) = extent(|p| p.y);
    // The pen adds its own thickness to the 18 pixels.
    let scale = 18.0 * words.range(0.75, 1.1) / (right - left).max(bottom - top);
    let mass = centre_of_mass(lines);
    let mut offset = |mass: f32, low: f32, high: f32| {
        let wanted = SIDE as f32 / 2.0 - scale * mass + words.range(-SHIFT, SHIFT);
        wanted.clamp(MARGIN - scale * low, SIDE as f32 - MARGIN - scale * high)
    };
    let (dx, dy) = (offset(mass.x, left, right), offset(mass.y, top, bottom));
    for point in lines.iter_mut().flatten() {
        *point = point.map(|x, y| [scale * x + dx, scale * y + dy]);
    }
}

/// Of an even line: each straight piece weighs as much as it is long.
fn centre_of_mass(lines: &[Vec<Point>]) -> Point {
    let (mut x, mut y, mut mass) = (0.0, 0.0, 1e-12);
    for (a, b) in lines.iter().flat_map(|line| line.windows(2)).map(|ends| (ends[0], ends[1])) {
        let length = ((b.x - a.x) * (b.x - a.x) + (b.y - a.y) * (b.y - a.y)).sqrt();
        x += length * (a.x + b.x) / 2.0;
        y += length * (a.y + b.y) / 2.0;
        mass += length;
    }
    Point { x: x / mass, y: y / mass }
}

/// The share of each pixel that the pen covers, 0 to 1.
fn run_pen(lines: &[Vec<Point>], words: &mut Words) -> [f32; PIXELS] {
    let radius = words.range(0.75, 1.9);
    let softness = words.range(0.5, 1.1);
    // Pressure grows or fades along each stroke.
    let fade = 0.25 * radius * words.range(-1.0, 1.0);
    let mut depth = [f32::MIN; PIXELS];
    for line in lines {
        let pieces = line.len() as f32;
        for (i, ends) in line.windows(2).enumerate() {
            press(&mut depth, ends[0], ends[1], radius + fade * (i as f32 / pieces - 0.5), softness);
        }
    }
    depth.map(|d| {
        let t = (0.5 + d / (2.0 * softness)).clamp(0.0, 1.0);
        t * t * (3.0 - 2.0 * t)
    })
}

/// Raises `depth` (how far inside the ink a pixel's centre lies, in pixels) by one straight piece of the path.
fn press(depth: &mut [f32; PIXELS], a: Point, b: Point, radius: f32, softness: f32) {
    let reach = radius + softness;
    let span = |u: f32, v: f32| {
        let first = (u.min(v) - reach).max(0.0) as usize;
        first..((u.max(v) + reach).max(0.0) as usize + 1).min(SIDE)
    };
    let (dx, dy) = (b.x - a.x, b.y - a.y);
    let square = (dx * dx + dy * dy).max(1e-12);
    for row in span(a.y, b.y) {
        for column in span(a.x, b.x) {
            let (px, py) = (column as f32 + 0.5 - a.x, row as f32 + 0.5 - a.y);
            let t = ((px * dx + py * dy) / square).clamp(0.0, 1.0);
            let (ex, ey) = (px - t * dx, py - t * dy);
            let pixel = &mut depth[row * SIDE + column];
            *pixel = pixel.max(radius - (ex * ex + ey * ey).sqrt());
        }
    }
}

/// Gives each pixel the share `amount` of either neighbour, along rows and then along columns.
fn blur(ink: &mut [f32; PIXELS], amount: f32) {
    for step in [1, SIDE] {
        let sharp = *ink;
        // The frame's outermost pixels are empty or nearly so, and may stay as they are.
        for i in SIDE..PIXELS - SIDE {
            ink[i] = sharp[i] + amount * (sharp[i - step] - 2.0 * sharp[i] + sharp[i + step]);
        }
    }
}

/// Turns ink into grey values with some grain, more of it where there is ink.
fn expose(ink: &[f32; PIXELS], words: &mut Words, image: &mut [u8]) {
    let brightness = words.range(225.0, 275.0);
    let grain = words.range(0.0, 24.0);
    for (grey, ink) in image.iter_mut().zip(ink) {
        let noise = grain * (0.2 + ink) * words.range(-1.0, 1.0);
        // A conversion to u8 saturates.
        *grey = (brightness * ink + noise) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_and_another_seed_does_not() {
        let a = digits(1, 300, 50);
        assert_eq!(a, digits(1, 300, 50));
        assert_ne!(a.train.pixels, digits(2, 300, 50).train.pixels);
        assert_ne!(a.train.pixels[..50 * PIXELS], a.test.pixels[..]);
    }

    #[test]
    fn a_sample_depends_on_its_number_alone() {
        let on_one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(on_one_thread.install(|| digits(3, 100, 0)), digits(3, 100, 0));
        let mut alone = [0; PIXELS];
        draw(7, &mut Words::new(3, 47, Purpose::TrainDigit), &mut alone);
        let all = digits(3, 100, 0).train;
        let place = permutation(100, 3, Purpose::TrainDigit as u64).iter().position(|&n| n == 47).unwrap();
        assert_eq!(all.image(place), alone);
    }

    #[test]
    fn classes_are_balanced_and_mixed() {
        let train = digits(5, 1003, 0).train;
        let mut counts = [0; 10];
        train.labels.iter().for_each(|&label| counts[label as usize] += 1);
        assert!(counts.iter().all(|&c| c == 100 || c == 101), "{counts:?}");
        assert!(train.labels[..50].windows(2).any(|w| (w[0] + 1) % 10 != w[1]));
    }

    #[test]
    fn every_digit_has_ink_and_stays_in_the_frame() {
        let train = digits(9, 2000, 0).train;
        for i in 0..train.len() {
            let image = train.image(i);
            let ink: usize = image.iter().filter(|&&grey| grey > 128).count();
            assert!((15..330).contains(&ink), "sample {i}, a {}: {ink} pixels", train.labels[i]);
            let on_edge = |p: &usize| [p / SIDE, p % SIDE].iter().any(|&at| at == 0 || at == SIDE - 1);
            let edge = (0..PIXELS).filter(on_edge).map(|p| image[p]).max().unwrap();
            assert!(edge < 128, "sample {i}, a {}, touches the edge: {edge}", train.labels[i]);
        }
    }

    /// Guards the promise that a seed means the same bytes everywhere and for ever.
    #[test]
    fn the_bytes_are_these() {
        let digits = digits(0, 200, 0).train;
        let hash = digits
            .pixels
            .iter()
            .fold(0xcbf2_9ce4_8422_2325u64, |hash, &byte| (hash ^ byte as u64).wrapping_mul(0x0100_0000_01b3));
        assert_eq!(hash, 0xe0ef_89c3_fe71_1a9f, "{hash:#018x}");
    }
}
