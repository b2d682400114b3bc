//! Digits: the network of `train digits` learns, while the user draws a digit for it.

use super::mode::{Colours, Grid, Mode, Shown, Touch, View};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use sunstone::data::loader::{Batches, Loader};
use sunstone::data::{Dataset, DigitsSplit, ImageBatch, ImageDataset, Images};
use sunstone::models::Digits;
use sunstone::models::digits::SIDE;
use sunstone::models::training::Architecture;
use sunstone::nn::Init;
use sunstone::optim::Sgd;
use sunstone::prelude::*;

const PIXELS: usize = SIDE * SIDE;

/// Images a step.
const BATCH: usize = 64;

/// Test images that are looked at together, how many steps lie between two looks, and how many looks count.
const LOOK: usize = 250;
const EVERY: u64 = 5;
const LOOKS: usize = 8;

/// What there is to see.
pub struct Board {
    /// The first layer's weights.
    pub filters: Grid,
    /// Rows are the truth; each row's sum is 1.
    pub confusion: Grid,
    /// The same as counts.
    pub counts: Arc<Vec<u32>>,
    /// What was drawn, or a test image until then.
    pub drawing: Grid,
    /// Whether it is the user's.
    pub drawn: bool,
    /// What the network takes it for.
    pub probabilities: Vec<f32>,
}

/// The mode.
pub struct DigitsMode {
    model: Digits,
    optimizer: Sgd,
    device: Device,
    architecture: Architecture,
    train: Arc<ImageDataset>,
    loader: Loader<ImageDataset, ImageBatch>,
    batches: Option<Batches<ImageDataset, ImageBatch>>,
    epoch: u64,
    step: u64,
    test: ImageDataset,
    /// The test image to be looked at next, and the last looks' counts, `[10, 10]` each.
    next: usize,
    looks: VecDeque<Tensor>,
    seen: u64,
    counts: Arc<Vec<u32>>,
    /// `[1, 784]`: grey values, and as the network likes them.
    drawing: [Tensor; 2],
    drawn: bool,
}

impl DigitsMode {
    /// Learns from `data`.
    pub fn new(
        data: DigitsSplit,
        architecture: Architecture,
        seed: u64,
        lr: f64,
        device: &Device,
    ) -> Result<DigitsMode> {
        if data.train.len() < BATCH || data.test.is_empty() {
            return Err(Error::Invalid(format!("{} images are too few to learn from", data.train.len())));
        }
        let (train, test) = (Arc::new(ImageDataset::new(data.train)), ImageDataset::new(data.test));
        let (model, optimizer) = learner(architecture, seed, lr, device);
        let drawing = tensors(test.images().image(0).to_vec(), device);
        Ok(DigitsMode {
            model,
            optimizer,
            device: device.clone(),
            architecture,
            loader: loader(&train, seed),
            train,
            batches: None,
            epoch: 0,
            step: 0,
            test,
            next: 0,
            looks: VecDeque::new(),
            seen: 0,
            counts: Arc::default(),
            drawing,
            drawn: false,
        })
    }

    fn batch(&mut self) -> Result<ImageBatch> {
        if let Some(batch) = self.batches.as_mut().and_then(Iterator::next) {
            return batch;
        }
        let mut batches = self.loader.epoch(self.epoch).into_iter();
        self.epoch += 1;
        let first = batches.next().ok_or_else(|| Error::Invalid("an epoch without data".into()))?;
        self.batches = Some(batches);
        first
    }

    /// Looks at some more test images: `counts[truth][taken for]`.
    fn look(&mut self) -> Result<()> {
        let images: Vec<_> = (0..LOOK).map(|i| self.test.get((self.next + i) % self.test.len())).collect();
        self.next = (self.next + LOOK) % self.test.len();
        let batch = ImageBatch::collate(images);
        let x = Tensor::from_slice(&batch.pixels, [batch.len, PIXELS], &self.device);
        let truth = Tensor::from_slice(&batch.labels, [batch.len], &self.device).one_hot(10).cast(DType::F32);
        let found = no_grad(|| self.model.forward(&x).argmax(1)).one_hot(10).cast(DType::F32);
        let counts = truth.t().matmul(&found);
        counts.realize()?;
        if self.looks.len() == LOOKS {
            self.looks.pop_front();
        }
        self.looks.push_back(counts);
        let sum = Tensor::stack(&self.looks.iter().collect::<Vec<_>>(), 0).sum(0);
        self.counts = Arc::new(sum.to_vec::<f32>()?.into_iter().map(|n| n as u32).collect());
        Ok(())
    }

    fn accuracy(&self) -> Option<f64> {
        let total: u32 = self.counts.iter().sum();
        let right: u32 = self.counts.iter().step_by(11).sum();
        (total > 0).then(|| right as f64 / total as f64)
    }

    /// All filters in one picture, with a gap around each, scaled to -1 to 1.
    fn filters(&self) -> Result<Grid> {
        let filters = self.model.filters();
        let [count, height, width] = filters.dims::<3>()?;
        let columns = (count as f64).sqrt().ceil() as usize;
        let (rows, gap) = (count.div_ceil(columns), 2.0);
        let scaled = &filters / (filters.abs().max(..) + 1e-6);
        let tiles = scaled.pad(&[(0, (rows * columns - count) as i64), (0, 1), (0, 1)], gap);
        let (h, w) = (height + 1, width + 1);
        let picture = tiles.reshape([rows, columns, h, w]).permute(&[0, 2, 1, 3]).reshape([rows * h, columns * w]);
        Grid::of(&no_grad(|| picture + 0.0), rows * h, columns * w, Colours::Signed)
    }

    fn confusion(&self) -> Result<Grid> {
        let shares = match self.looks.is_empty() {
            true => Tensor::zeros([10, 10], DType::F32, &self.device),
            false => {
                let sum = Tensor::stack(&self.looks.iter().collect::<Vec<_>>(), 0).sum(0);
                &sum / (sum.sum_keepdim(1) + 1e-6)
            }
        };
        Grid::of(&shares, 10, 10, Colours::Share)
    }
}

/// Grey values of an image as a tensor of shares of white, and as the network likes them.
fn tensors(grey: Vec<u8>, device: &Device) -> [Tensor; 2] {
    let shares: Vec<f32> = grey.iter().map(|&g| g as f32 / 255.0).collect();
    let item = ImageDataset::new(Images { height: SIDE, width: SIDE, pixels: grey, labels: vec![0] }).get(0);
    [&shares, &item.pixels].map(|values| Tensor::from_slice(values, [1, PIXELS], device))
}

fn learner(architecture: Architecture, seed: u64, lr: f64, device: &Device) -> (Digits, Sgd) {
    let init = Init::new(seed, device);
    let model = match architecture {
        Architecture::Mlp => Digits::mlp(&init),
        Architecture::Cnn => Digits::cnn(&init),
    };
    let optimizer = Sgd::new(model.parameters(), lr).momentum(0.9);
    (model, optimizer)
}

fn loader(train: &Arc<ImageDataset>, seed: u64) -> Loader<ImageDataset, ImageBatch> {
    Loader::images(train.clone()).batch_size(BATCH).shuffle(seed).drop_last(true).prefetch(2)
}

impl Mode for DigitsMode {
    fn step(&mut self) -> Result<Tensor> {
        let batch = self.batch()?;
        let x = Tensor::from_slice(&batch.pixels, [batch.len, PIXELS], &self.device);
        let y = Tensor::from_slice(&batch.labels, [batch.len], &self.device);
        let loss = self.model.forward(&x).cross_entropy(&y);
        self.optimizer.step(loss.backward()?)?;
        self.step += 1;
        Ok(loss)
    }

    fn show(&mut self, _: Option<Duration>) -> Result<Shown> {
        if self.looks.is_empty() || self.step >= self.seen + EVERY {
            self.look()?;
            self.seen = self.step;
        }
        let [grey, liked] = &self.drawing;
        let probabilities = no_grad(|| self.model.forward(liked).softmax(1)).to_vec::<f32>()?;
        let board = Board {
            filters: self.filters()?,
            confusion: self.confusion()?,
            counts: self.counts.clone(),
            drawing: Grid::of(grey, SIDE, SIDE, Colours::Grey)?,
            drawn: self.drawn,
            probabilities,
        };
        Ok(Shown { quality: self.accuracy(), view: View::Digits(board) })
    }

    fn restart(&mut self, seed: u64) -> Result<()> {
        (self.model, self.optimizer) = learner(self.architecture, seed, self.optimizer.lr(), &self.device);
        self.loader = loader(&self.train, seed);
        (self.batches, self.epoch, self.step, self.next, self.seen) = (None, 0, 0, 0, 0);
        self.looks.clear();
        Ok(())
    }

    fn take(&mut self, touch: Touch) -> Result<()> {
        if let Touch::Drawn(drawing) = touch {
            self.drawn = drawing.is_some();
            let grey = drawing.map_or(vec![0; PIXELS], |d| d.iter().map(|v| (v * 255.0) as u8).collect());
            self.drawing = tensors(grey, &self.device);
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
