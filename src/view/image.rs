//! Image: a network learns a picture as a function from a place to a colour (Tancik et al., *Fourier Features Let Networks
//! Learn High Frequency Functions in Low Dimensional Domains*, 2020).

use super::mode::{Colours, Grid, Mode, Shown, Touch, View};
use super::scenery;
use std::path::Path;
use std::time::{Duration, Instant};
use sunstone::nn::{Init, Linear, Parameter, Relu, Sequential, Visitor};
use sunstone::optim::Adam;
use sunstone::prelude::*;

/// The longer side of a picture at most; larger ones are made smaller.
const MOST_PIXELS: usize = 512;

/// Waves that a place is told by, their spread, and the width of the layers behind them.
const WAVES: usize = 96;
const SPREAD: f64 = 9.0;
const WIDTH: usize = 96;

/// Strips that the painting is cut into, so that a slow device paints some of it in each frame.
const STRIPS: usize = 16;

/// A picture: red, green and blue from 0 to 1, row by row.
pub struct Pixels {
    pub width: usize,
    pub height: usize,
    pub values: Vec<f32>,
}

impl Pixels {
    /// Reads a PNG or JPEG.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is neither or cannot be read.
    pub fn load(path: &Path) -> Result<Pixels> {
        let malformed = |detail: String| Error::Malformed { path: path.into(), detail };
        let read = || image::ImageReader::open(path)?.with_guessed_format()?.decode();
        let picture = read().map_err(|e| malformed(format!("is no PNG or JPEG that can be read: {e}")))?;
        let most = MOST_PIXELS as u32;
        let picture = match picture.width().max(picture.height()) > most {
            true => picture.resize(most, most, image::imageops::FilterType::Triangle),
            false => picture,
        };
        let picture = picture.to_rgb32f();
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        if width == 0 || height == 0 {
            return Err(malformed("has no pixels".into()));
        }
        Ok(Pixels { width, height, values: picture.into_raw() })
    }
}

/// What there is to see.
pub struct Canvas {
    pub target: Grid,
    pub painted: Grid,
}

/// `[n, 2]` places to `[n, 3]` colours.
#[derive(Debug)]
struct Painter {
    /// `[2, WAVES]`, fixed.
    waves: Parameter,
    layers: Sequential,
}

impl Painter {
    fn new(seed: u64, device: &Device) -> Painter {
        let init = Init::new(seed, device);
        let waves = init.normal([2, WAVES], 0.0, SPREAD * std::f64::consts::TAU);
        let layers = Sequential::new()
            .named("fc1", Linear::new(2 * WAVES, WIDTH, &init))
            .named("relu1", Relu)
            .named("fc2", Linear::new(WIDTH, WIDTH, &init))
            .named("relu2", Relu)
            .named("fc3", Linear::new(WIDTH, 3, &init));
        Painter { waves: Parameter::new(waves), layers }
    }
}

impl Module for Painter {
    fn forward(&self, places: &Tensor) -> Tensor {
        let phases = places.matmul(&self.waves.get().detach());
        self.layers.forward(&Tensor::cat(&[&phases.sin(), &phases.cos()], 1)).sigmoid()
    }

    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.parameter("waves", &self.waves);
        visitor.module("layers", &self.layers);
    }
}

/// A strip of the painting and of the target.
struct Strip {
    places: Tensor,
    target: Tensor,
    painted: Tensor,
    error: f64,
}

/// The mode.
pub struct Image {
    painter: Painter,
    optimizer: Adam,
    generator: Generator,
    device: Device,
    /// Pixels that a step looks at.
    batch: usize,
    /// `[pixels, 2]` and `[pixels, 3]`.
    places: Tensor,
    target: Tensor,
    size: [usize; 2],
    strips: Vec<Strip>,
    strip_rows: usize,
    /// The strip to be painted next, and how many a frame has time for.
    next: usize,
    count: usize,
}

impl Image {
    /// Learns `pixels`, or a picture that the program makes.
    pub fn new(pixels: Option<&Pixels>, seed: u64, lr: f64, device: &Device) -> Result<Image> {
        let own;
        let &Pixels { width, height, ref values } = match pixels {
            Some(pixels) => pixels,
            None => {
                own = scenery::picture(256);
                &own
            }
        };
        let target = Tensor::from_slice(values, [height * width, 3], device);
        // Both directions in the same measure, so that waves are as long in one as in the other.
        let longer = width.max(height) as f32;
        let place = |i: usize| [((i % width) as f32 + 0.5) / longer, ((i / width) as f32 + 0.5) / longer];
        let places: Vec<f32> = (0..width * height).flat_map(place).collect();
        let places = Tensor::from_slice(&places, [height * width, 2], device);
        let strip_rows = height.div_ceil(STRIPS);
        let strip = |first: usize| {
            let (start, len) = (first * width, strip_rows.min(height - first) * width);
            let [places, target] = [&places, &target].map(|t| t.narrow(0, start, len) + 0.0);
            let painted = Tensor::zeros([len, 3], DType::F32, device);
            Strip { places, target, painted, error: f64::NAN }
        };
        let strips: Vec<Strip> = (0..height).step_by(strip_rows).map(strip).collect();
        let (painter, optimizer, generator) = Image::learner(seed, lr, device);
        let batch = if device.caps().software { 512 } else { 16_384 };
        let size = [height, width];
        let device = device.clone();
        Ok(Image {
            painter,
            optimizer,
            generator,
            device,
            batch,
            places,
            target,
            size,
            strips,
            strip_rows,
            next: 0,
            count: 1,
        })
    }

    fn learner(seed: u64, lr: f64, device: &Device) -> (Painter, Adam, Generator) {
        let painter = Painter::new(seed, device);
        let trained = painter.parameters().into_iter().filter(|(name, _)| name != "waves").collect();
        (painter, Adam::new(trained, lr), Generator::new(seed))
    }

    /// Paints the next `count` strips and learns how far off each is.
    fn paint(&mut self, count: usize) -> Result<()> {
        let order: Vec<usize> = (0..count).map(|i| (self.next + i) % self.strips.len()).collect();
        let mut errors = Vec::with_capacity(count);
        for &i in &order {
            let strip = &mut self.strips[i];
            strip.painted = no_grad(|| self.painter.forward(&strip.places));
            errors.push((&strip.painted - &strip.target).square().mean(..).reshape([1]));
            // One plan for all strips, instead of a new one for each number of them.
            strip.painted.realize()?;
        }
        let errors = Tensor::cat(&errors.iter().collect::<Vec<_>>(), 0).to_vec::<f32>()?;
        for (&i, error) in order.iter().zip(errors) {
            self.strips[i].error = error as f64;
        }
        self.next = (self.next + count) % self.strips.len();
        Ok(())
    }

    /// Decibels between painting and target; `None` before all of it is painted.
    fn psnr(&self) -> Option<f64> {
        let pixels = |s: &Strip| s.painted.shape()[0] as f64;
        let sum: f64 = self.strips.iter().map(|s| s.error * pixels(s)).sum();
        let mean = sum / self.strips.iter().map(pixels).sum::<f64>();
        (mean > 0.0).then(|| -10.0 * mean.log10())
    }

    fn grid(&self, strips: Vec<sunstone::tensor::GpuBuffer>, strip_rows: usize) -> Grid {
        let [rows, columns] = self.size;
        Grid { strips, strip_rows, rows, columns, colours: Colours::Rgb }
    }
}

impl Mode for Image {
    fn step(&mut self) -> Result<Tensor> {
        let pixels = self.generator.randint([self.batch], 0..self.places.shape()[0] as i32, &self.device);
        let [places, target] = [&self.places, &self.target].map(|t| t.index_select(0, &pixels));
        let loss = self.painter.forward(&places).mse_loss(&target);
        self.optimizer.step(loss.backward()?)?;
        Ok(loss)
    }

    fn show(&mut self, budget: Option<Duration>) -> Result<Shown> {
        let start = Instant::now();
        let all = self.strips.len();
        self.paint(if budget.is_some() { self.count } else { all })?;
        if let Some(budget) = budget {
            let fitting = self.count as f64 * budget.as_secs_f64() / start.elapsed().as_secs_f64().max(1e-6);
            self.count = (fitting as usize).clamp(1, all).min(2 * self.count);
        }
        let lent: Result<Vec<_>> = self.strips.iter().map(|s| s.painted.gpu_buffer()).collect();
        let painted = self.grid(lent?, self.strip_rows);
        let target = self.grid(vec![self.target.gpu_buffer()?], self.size[0]);
        Ok(Shown { quality: self.psnr(), view: View::Image(Canvas { target, painted }) })
    }

    fn restart(&mut self, seed: u64) -> Result<()> {
        (self.painter, self.optimizer, self.generator) = Image::learner(seed, self.optimizer.lr(), &self.device);
        self.count = 1;
        Ok(())
    }

    fn take(&mut self, _: Touch) -> Result<()> {
        Ok(())
    }

    fn model(&self) -> &dyn Module {
        &self.painter
    }

    fn optimizer(&mut self) -> &mut dyn Optimizer {
        &mut self.optimizer
    }
}
