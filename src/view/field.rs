//! Field: a small network learns to which of two classes a point of the plane belongs.

use super::mode::{Colours, Grid, Mode, Shown, Touch, View};
use super::points::Data;
use std::sync::Arc;
use std::time::Duration;
use sunstone::nn::{Init, Linear, Sequential, Tanh};
use sunstone::optim::Adam;
use sunstone::prelude::*;
use sunstone::tensor::{BceWithLogits, Reduction};

/// Points to begin with, and the most that fit. The tensors always have room for all, so that a click builds no plan.
const POINTS: usize = 400;
const ROOM: usize = 1024;

/// Cells of the surface in a row, on a GPU and where a CPU stands in for one.
const SIDE: usize = 160;
const SOFTWARE_SIDE: usize = 80;

const WIDTH: usize = 32;

/// A point and its class.
pub type Point = ([f32; 2], u8);

/// What there is to see.
pub struct Plane {
    pub surface: Grid,
    pub points: Arc<Vec<Point>>,
    pub data: Data,
}

/// The mode.
pub struct Field {
    model: Sequential,
    optimizer: Adam,
    device: Device,
    seed: u64,
    data: Data,
    points: Arc<Vec<Point>>,
    batch: Batch,
    /// Cells of the surface in a row, and their places, `[side * side, 2]`.
    side: usize,
    cells: Tensor,
}

/// The points as tensors; places without a point weigh nothing.
struct Batch {
    /// `[ROOM, 2]`
    places: Tensor,
    /// `[ROOM, 1]`
    classes: Tensor,
    /// `[ROOM, 1]`; the sum is 1.
    weights: Tensor,
}

impl Batch {
    fn new(points: &[Point], device: &Device) -> Batch {
        let filled = |f: &dyn Fn(&Point) -> Vec<f32>, width: usize| {
            let mut values: Vec<f32> = points.iter().flat_map(f).collect();
            values.resize(ROOM * width, 0.0);
            Tensor::from_slice(&values, [ROOM, width], device)
        };
        let weight = 1.0 / points.len().max(1) as f32;
        Batch {
            places: filled(&|(at, _)| at.to_vec(), 2),
            classes: filled(&|(_, class)| vec![*class as f32], 1),
            weights: filled(&|_| vec![weight], 1),
        }
    }
}

impl Field {
    /// Learns `data`.
    pub fn new(data: Data, seed: u64, lr: f64, device: &Device) -> Result<Field> {
        let points = Arc::new(data.points(POINTS, seed));
        let side = if device.caps().software { SOFTWARE_SIDE } else { SIDE };
        let middle = |i: usize| (i as f32 + 0.5) / side as f32 * 2.0 - 1.0;
        // Rows go down, y goes up.
        let cells: Vec<f32> = (0..side * side).flat_map(|i| [middle(i % side), -middle(i / side)]).collect();
        let (model, optimizer) = Field::learner(seed, lr, device);
        Ok(Field {
            model,
            optimizer,
            device: device.clone(),
            seed,
            data,
            batch: Batch::new(&points, device),
            points,
            side,
            cells: Tensor::from_slice(&cells, [side * side, 2], device),
        })
    }

    fn learner(seed: u64, lr: f64, device: &Device) -> (Sequential, Adam) {
        let init = Init::new(seed, device);
        let model = Sequential::new()
            .named("fc1", Linear::new(2, WIDTH, &init))
            .named("tanh1", Tanh)
            .named("fc2", Linear::new(WIDTH, WIDTH, &init))
            .named("tanh2", Tanh)
            .named("fc3", Linear::new(WIDTH, 1, &init));
        let optimizer = Adam::new(model.parameters(), lr);
        (model, optimizer)
    }

    fn set(&mut self, points: Vec<Point>) {
        self.batch = Batch::new(&points, &self.device);
        self.points = Arc::new(points);
    }
}

impl Mode for Field {
    fn step(&mut self) -> Result<Tensor> {
        let Batch { places, classes, weights } = &self.batch;
        let spec = BceWithLogits { weight: Some(weights.clone()), reduction: Reduction::Sum, ..Default::default() };
        let loss = self.model.forward(places).binary_cross_entropy_with_logits(classes, spec);
        self.optimizer.step(loss.backward()?)?;
        Ok(loss)
    }

    fn show(&mut self, _: Option<Duration>) -> Result<Shown> {
        let Batch { places, classes, weights } = &self.batch;
        let (surface, right) = no_grad(|| {
            let second = self.model.forward(places).gt(0.0).cast(DType::F32);
            let right = second.eq(classes).cast(DType::F32) * weights;
            (self.model.forward(&self.cells).sigmoid(), right.sum(..))
        });
        let quality = Some(right.item::<f32>()? as f64);
        let surface = Grid::of(&surface, self.side, self.side, Colours::Classes)?;
        Ok(Shown { quality, view: View::Field(Plane { surface, points: self.points.clone(), data: self.data }) })
    }

    fn restart(&mut self, seed: u64) -> Result<()> {
        (self.model, self.optimizer) = Field::learner(seed, self.optimizer.lr(), &self.device);
        self.seed = seed;
        // Points that the user put there stay.
        let added = self.points[POINTS.min(self.points.len())..].to_vec();
        self.set(self.data.points(POINTS, seed).into_iter().chain(added).collect());
        Ok(())
    }

    fn take(&mut self, touch: Touch) -> Result<()> {
        match touch {
            // There is room for hundreds; the last one then moves.
            Touch::Point(at, class) => {
                let kept = self.points.iter().take(ROOM - 1).copied();
                self.set(kept.chain([(at, class)]).collect());
            }
            Touch::NextData => {
                self.data = self.data.next();
                self.set(self.data.points(POINTS, self.seed));
            }
            Touch::ClearPoints => self.set(self.data.points(POINTS, self.seed)),
            Touch::Drawn(_) => (),
        }
        Ok(())
    }

    fn model(&self) -> &dyn Module {
        &self.model
    }

    fn optimizer(&mut self) -> &mut dyn Optimizer {
        &mut self.optimizer
    }
}
