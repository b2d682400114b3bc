//! The training of the digits networks as a thing that can be driven step by step, stopped, saved and resumed. The
//! command line and any other face show what it reports; it prints nothing itself.

use super::Digits;
use super::digits::SIDE;
use crate::autograd::no_grad;
use crate::data::loader::{Batches, Loader};
use crate::data::{DigitsSplit, ImageBatch, ImageDataset, Images};
use crate::device::{Device, at_once};
use crate::error::{Error, Result};
use crate::io::Checkpoint;
use crate::metrics::Confusion;
use crate::nn::{Init, Module};
use crate::optim::schedule::{Cosine, Schedule};
use crate::optim::{Optimizer, Sgd};
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};
use std::hash::{Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

/// Which network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Architecture {
    /// [`Digits::mlp`]
    Mlp,
    /// [`Digits::cnn`]
    Cnn,
}

/// What is fixed for a whole training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// Which network.
    pub model: Architecture,
    /// Passes over the training data.
    pub epochs: u64,
    /// Images a step.
    pub batch: usize,
    /// The highest learning rate; it rises over a tenth of an epoch and falls to 0 as half a cosine.
    pub lr: f64,
    /// Decides the initial weights and the order of the data.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options { model: Architecture::Cnn, epochs: 4, batch: 64, lr: 0.05, seed: 0 }
    }
}

impl Options {
    fn check(&self, examples: usize) -> Result<()> {
        let bad = |what: String| Err(Error::Invalid(what));
        if self.batch == 0 || self.batch > examples {
            return bad(format!("a batch of {} does not fit {examples} training images", self.batch));
        }
        if !self.lr.is_finite() || self.lr <= 0.0 {
            return bad(format!("the learning rate must be positive, not {}", self.lr));
        }
        match self.epochs {
            1..=100_000 => Ok(()),
            n => bad(format!("the number of epochs must be from 1 to 100000, not {n}")),
        }
    }
}

/// Where a training stands; part of its checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// What it was started with. The learning rate is kept as its bits, which JSON would round.
    pub options: Options,
    lr_bits: u64,
    /// The epoch under way, from 0.
    pub epoch: u64,
    /// Batches of it that are done.
    pub batch: usize,
    /// Steps done in all.
    pub step: u64,
    /// A fingerprint of the data.
    pub data: u64,
}

/// A training under way.
pub struct Training {
    model: Arc<Digits>,
    optimizer: Sgd,
    loader: Loader<ImageDataset, ImageBatch>,
    batches: Option<Batches<ImageDataset, ImageBatch>>,
    test: ImageDataset,
    device: Device,
    place: Place,
    unread: Vec<(u64, Tensor)>,
}

impl Training {
    /// A training from the start.
    ///
    /// # Errors
    /// For options that make no sense with this data.
    pub fn new(options: Options, data: DigitsSplit, device: &Device) -> Result<Training> {
        options.check(data.train.len())?;
        let fingerprint = fingerprint(&data);
        let init = Init::new(options.seed, device);
        let model = Arc::new(match options.model {
            Architecture::Mlp => Digits::mlp(&init),
            Architecture::Cnn => Digits::cnn(&init),
        });
        let optimizer = Sgd::new(model.parameters(), options.lr).momentum(0.9);
        let loader = Loader::images(ImageDataset::new(data.train))
            .batch_size(options.batch)
            .shuffle(options.seed)
            .drop_last(true)
            .prefetch(2);
        let lr_bits = options.lr.to_bits();
        let place = Place { options, lr_bits, epoch: 0, batch: 0, step: 0, data: fingerprint };
        let (device, test) = (device.clone(), ImageDataset::new(data.test));
        Ok(Training { model, optimizer, loader, batches: None, test, device, place, unread: Vec::new() })
    }

    /// Continues where the checkpoint at `path` stopped, with its options; on the CPU the losses that follow are those of
    /// the uninterrupted training, bit for bit.
    ///
    /// # Errors
    /// If the file is no checkpoint of such a training, or was made with other data.
    pub fn resume(path: &Path, data: DigitsSplit, device: &Device) -> Result<Training> {
        Training::go_on(Checkpoint::load(path, device)?, path, data, device)
    }

    /// [`Training::resume`] from memory; `path` is the name that errors tell.
    ///
    /// # Errors
    /// As [`Training::resume`].
    pub fn resume_bytes(bytes: &[u8], path: &Path, data: DigitsSplit, device: &Device) -> Result<Training> {
        Training::go_on(Checkpoint::from_bytes(bytes, path, device)?, path, data, device)
    }

    fn go_on(checkpoint: Checkpoint<Place>, path: &Path, data: DigitsSplit, device: &Device) -> Result<Training> {
        let mut place = checkpoint.place.clone();
        place.options.lr = f64::from_bits(place.lr_bits);
        let mut training = Training::new(place.options.clone(), data, device)?;
        if place.data != training.place.data {
            return Err(Error::malformed(path, "is a checkpoint of a training on other data"));
        }
        if place.batch > training.loader.batches() || place.epoch > place.options.epochs {
            return Err(Error::malformed(path, "its place in the data does not exist"));
        }
        checkpoint.restore(&*training.model, &mut training.optimizer)?;
        training.place = place;
        Ok(training)
    }

    /// Options, epoch, batch and step.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The network.
    pub fn model(&self) -> &Arc<Digits> {
        &self.model
    }

    /// Steps that make an epoch.
    pub fn steps_per_epoch(&self) -> usize {
        self.loader.batches()
    }

    /// Steps that make the training.
    pub fn total_steps(&self) -> u64 {
        self.place.options.epochs * self.loader.batches() as u64
    }

    /// True when every epoch is done.
    pub fn is_done(&self) -> bool {
        self.place.epoch >= self.place.options.epochs
    }

    /// One step; gives its number, from 1, or `None` when all are done. The loss is kept until [`Training::losses`] reads it.
    ///
    /// # Errors
    /// Whatever the data or the device fail with.
    pub fn step(&mut self) -> Result<Option<u64>> {
        if self.is_done() {
            return Ok(None);
        }
        let batch = match self.batches.as_mut().and_then(Iterator::next) {
            Some(batch) => batch?,
            None => {
                let mut batches = self.loader.epoch(self.place.epoch).start_at(self.place.batch).into_iter();
                let first = batches.next().ok_or_else(|| Error::Invalid("an epoch without data".into()))?;
                self.batches = Some(batches);
                first?
            }
        };
        let total = self.total_steps();
        let warmup = (self.steps_per_epoch() as u64 / 10).max(1);
        let schedule = Cosine { peak: self.place.options.lr, floor: 0.0, warmup, total };
        self.optimizer.set_lr(schedule.lr(self.place.step));
        let x = Tensor::from_slice(&batch.pixels, [batch.len, SIDE * SIDE], &self.device);
        let y = Tensor::from_slice(&batch.labels, [batch.len], &self.device);
        let loss = self.model.forward(&x).cross_entropy(&y);
        self.optimizer.step(loss.backward()?)?;
        self.place.step += 1;
        self.place.batch += 1;
        if self.place.batch == self.steps_per_epoch() {
            self.place.epoch += 1;
            self.place.batch = 0;
            self.batches = None;
        }
        self.unread.push((self.place.step, loss));
        Ok(Some(self.place.step))
    }

    /// The losses of the steps since the last call, with their numbers.
    ///
    /// # Errors
    /// [`Error::NotFinite`] for the first that is NaN or infinite.
    pub fn losses(&mut self) -> Result<Vec<(u64, f32)>> {
        let read = |(step, loss): (u64, Tensor)| finite(step, loss.item()?);
        std::mem::take(&mut self.unread).into_iter().map(read).collect()
    }

    /// The losses that [`Training::losses`] would read, to be read without holding the training.
    pub fn unread(&mut self) -> Unread {
        Unread(std::mem::take(&mut self.unread))
    }

    /// The images that are tested on.
    pub fn test_images(&self) -> &Images {
        self.test.images()
    }

    /// The same as a dataset.
    pub fn test_data(&self) -> &ImageDataset {
        &self.test
    }

    /// Where it runs.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What the network takes each test image for, and how often that is right.
    ///
    /// # Errors
    /// Whatever the device fails with.
    pub fn test(&self) -> Result<(Vec<i32>, Confusion)> {
        at_once(test(&self.model, &self.test, &self.device))
    }

    /// Writes the network, the optimizer and the place; the file appears whole or not at all.
    ///
    /// # Errors
    /// Whatever the file system or the device fail with.
    pub fn save(&self, path: &Path) -> Result<()> {
        self.checkpoint().save(path)
    }

    /// What [`Training::save`] writes.
    pub fn checkpoint(&self) -> Checkpoint<Place> {
        Checkpoint::capture(&*self.model, &self.optimizer, self.place.clone())
    }
}

/// Losses that the device may still be computing, each with its step.
pub struct Unread(pub(super) Vec<(u64, Tensor)>);

impl Unread {
    /// Reads them, in one transfer.
    ///
    /// # Errors
    /// Those of [`Training::losses`].
    pub async fn read(self) -> Result<Vec<(u64, f32)>> {
        if self.0.is_empty() {
            return Ok(Vec::new());
        }
        let losses: Vec<Tensor> = self.0.iter().map(|(_, loss)| loss.detach().reshape([1])).collect();
        let values = Tensor::cat(&losses.iter().collect::<Vec<_>>(), 0).to_vec_async::<f32>().await?;
        self.0.iter().zip(values).map(|((step, _), value)| finite(*step, value)).collect()
    }
}

pub(super) fn finite(step: u64, value: f32) -> Result<(u64, f32)> {
    match value.is_finite() {
        true => Ok((step, value)),
        false => Err(Error::NotFinite { step, value: value as f64 }),
    }
}

/// What `model` takes each image for, and how often that is right.
///
/// # Errors
/// Whatever the device fails with.
pub async fn test(model: &Digits, data: &ImageDataset, device: &Device) -> Result<(Vec<i32>, Confusion)> {
    let loader = Loader::images(data.clone()).batch_size(500);
    let mut predictions = Vec::with_capacity(data.images().len());
    let mut confusion = Confusion::new(10);
    model.eval();
    for batch in loader.epoch(0) {
        let batch = batch?;
        let x = Tensor::from_slice(&batch.pixels, [batch.len, SIDE * SIDE], device);
        let found = no_grad(|| model.forward(&x).argmax(1)).to_vec_async::<i32>().await?;
        for (&truth, &p) in batch.labels.iter().zip(&found) {
            confusion.add(truth as usize, p as usize);
        }
        predictions.extend(found);
    }
    model.train(true);
    Ok((predictions, confusion))
}

fn fingerprint(data: &DigitsSplit) -> u64 {
    let mut hasher = rustc_hash::FxHasher::default();
    for images in [&data.train, &data.test] {
        images.labels.hash(&mut hasher);
        images.pixels.hash(&mut hasher);
    }
    // JSON readers in other languages hold integers only to 53 bits.
    hasher.finish() >> 11
}
