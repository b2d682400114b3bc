//! What is a training that can be watched? Three modes answer; the rest of the view knows only this.

use super::series::Series;
use super::{digits, field, image};
use std::time::Duration;
use sunstone::prelude::*;
use sunstone::tensor::GpuBuffer;

/// A network, what it learns, and what there is to see of it.
pub trait Mode: Send {
    /// One step; gives its loss, which nobody has waited for.
    fn step(&mut self) -> Result<Tensor>;

    /// Computes what is to be seen now, within about `budget` where there is one.
    fn show(&mut self, budget: Option<Duration>) -> Result<Shown>;

    /// Starts again from this seed.
    fn restart(&mut self, seed: u64) -> Result<()>;

    /// Takes what the user did in the picture.
    fn take(&mut self, touch: Touch) -> Result<()>;

    /// The network, to be saved.
    fn model(&self) -> &dyn Module;

    /// The optimizer, whose rate can be changed.
    fn optimizer(&mut self) -> &mut dyn Optimizer;
}

/// What [`Mode::show`] gives.
pub struct Shown {
    /// How good the network is: decibels, or a share from 0 to 1.
    pub quality: Option<f64>,
    /// What to draw.
    pub view: View,
}

/// What to draw. Numbers that make pictures stay on the device; only those that become text are read.
pub enum View {
    /// Target and painting.
    Image(image::Canvas),
    /// Filters, confusion and a drawing.
    Digits(digits::Board),
    /// A decision surface and its points.
    Field(field::Plane),
}

/// What the user did in the picture.
#[derive(Debug, Clone)]
pub enum Touch {
    /// Drew a digit: 784 grey values from 0 to 1; `None` wipes the pane.
    Drawn(Option<Vec<f32>>),
    /// Put a point of class 0 or 1 on the plane, at -1 to 1 in both directions, y upwards.
    Point([f32; 2], u8),
    /// Asked for the next set of data, or for the same without what was added.
    NextData,
    /// Asked for the data without what was added.
    ClearPoints,
}

/// Everything that a frame shows of a training.
pub struct Scene {
    /// Steps done.
    pub step: u64,
    /// Steps a second, lately.
    pub speed: f64,
    /// Each step's loss.
    pub loss: Series,
    /// The quality over the steps.
    pub quality: Series,
    /// What to draw.
    pub view: View,
    /// Why the training has stopped by itself.
    pub trouble: Option<String>,
    /// What was done last, such as saving a file.
    pub notice: Option<String>,
}

/// How a grid of numbers becomes colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    /// Red, green and blue, 0 to 1.
    Rgb = 0,
    /// Black at 0, white at 1.
    Grey = 1,
    /// Blue at -1, dark at 0, orange at 1; beyond 1.5 there is nothing.
    Signed = 2,
    /// Dark at 0, bright at 1.
    Share = 3,
    /// The probability of the second of two classes: blue, orange, and a line between them.
    Classes = 4,
}

/// A picture in the device's memory: strips of rows, each a tensor.
#[derive(Clone)]
pub struct Grid {
    /// The strips, from the top.
    pub strips: Vec<GpuBuffer>,
    /// Rows of each strip but the last, which may have fewer.
    pub strip_rows: usize,
    /// Rows of all.
    pub rows: usize,
    /// Cells in a row.
    pub columns: usize,
    /// What the numbers mean.
    pub colours: Colours,
}

impl Grid {
    /// The picture of one tensor of `rows * columns` cells.
    pub fn of(tensor: &Tensor, rows: usize, columns: usize, colours: Colours) -> Result<Grid> {
        Ok(Grid { strips: vec![tensor.gpu_buffer()?], strip_rows: rows, rows, columns, colours })
    }
}
