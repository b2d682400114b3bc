//! `sunstone view`: how does one watch a network learn? In a window, or off-screen in a picture.
//!
//! What is drawn lies in tensors, and the tensors' buffers are bound by the render pipeline (`picture`): training and drawing
//! share one device and one queue, and no picture passes through the host. A mode (`image`, `digits`, `field`) is a
//! training that can be watched; `trainer` drives it frame by frame; `worker` gives it a thread, so that the window
//! (`window`) never waits for it; `face` and `draw` are what a frame shows; `painter` gets a frame into a texture.

mod digits;
mod draw;
mod face;
mod field;
mod gpu;
mod image;
pub mod keys;
mod look;
mod mode;
mod offscreen;
mod painter;
mod picture;
mod points;
mod scenery;
mod screen;
mod series;
mod trainer;
mod window;
mod worker;

pub use face::MOST_STEPS;
pub use image::Pixels;
pub use mode::Scene;
pub use points::Data;

use mode::Mode;
use std::path::Path;
use std::sync::Arc;
use sunstone::data::{DigitsSplit, strokes};
use sunstone::models::training::Architecture;
use sunstone::prelude::*;

/// What is learned.
#[derive(Clone)]
pub enum Subject {
    /// A picture; without one, a picture that the program makes.
    Image(Option<Arc<Pixels>>),
    /// Handwritten digits; without any, digits that the program draws itself.
    Digits(Option<Arc<DigitsSplit>>, Architecture),
    /// Two classes of points.
    Field(Data),
}

/// How a training begins, and what it looks like.
#[derive(Clone)]
pub struct Options {
    pub subject: Subject,
    /// `wgpu:N`; else the first device that can draw.
    pub device: Option<String>,
    /// The learning rate; else one that suits the subject.
    pub lr: Option<f64>,
    pub seed: u64,
    /// Steps a frame, at most.
    pub steps: usize,
    /// Pixels to a point; else as the display wants it.
    pub scale: Option<f32>,
    /// Width and height of the window, in points.
    pub size: [u32; 2],
}

impl Options {
    /// One word for it.
    fn title(&self) -> &'static str {
        match self.subject {
            Subject::Image(_) => "image",
            Subject::Digits(..) => "digits",
            Subject::Field(_) => "field",
        }
    }

    fn rate(&self) -> f64 {
        self.lr.unwrap_or(match self.subject {
            Subject::Image(_) => 0.005,
            Subject::Digits(..) => 0.02,
            Subject::Field(_) => 0.01,
        })
    }

    fn mode(&self, device: &Device) -> Result<Box<dyn Mode>> {
        let (seed, lr) = (self.seed, self.rate());
        Ok(match &self.subject {
            Subject::Image(pixels) => Box::new(image::Image::new(pixels.as_deref(), seed, lr, device)?),
            Subject::Digits(data, architecture) => {
                let data = data.as_deref().cloned().unwrap_or_else(|| strokes::digits(0, 12_000, 2_000));
                Box::new(digits::DigitsMode::new(data, *architecture, seed, lr, device)?)
            }
            Subject::Field(data) => Box::new(field::Field::new(*data, seed, lr, device)?),
        })
    }
}

/// Opens a window and trains until it is closed.
///
/// # Errors
/// [`Error::Unsupported`] without a display; whatever the device fails with, unless opening it again helps.
pub fn window(options: Options) -> Result<()> {
    window::run(options)
}

/// Trains for `frames` frames without a window, each with all the steps that were asked for, and writes the last one as a PNG.
/// `told` hears of each frame.
///
/// # Errors
/// Whatever the device or the file system fails with.
pub fn offscreen(options: &Options, frames: u64, file: &Path, told: impl FnMut(&Scene)) -> Result<()> {
    offscreen::run(options, frames, file, told)
}
