//! The training of a [`Gpt`] on a text as a thing that can be driven step by step, stopped, saved and resumed; and a
//! trained one, read back. It prints nothing itself.

use super::gpt::{Gpt, GptConfig};
use super::training::{Unread, finite};
use crate::autograd::no_grad;
use crate::data::{Text, TextBatch, Vocabulary};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::io::Checkpoint;
use crate::nn::{Init, Module};
use crate::optim::schedule::{Cosine, Schedule};
use crate::optim::{AdamW, Optimizer};
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;

/// Characters in a batch that is only validated with.
const VALIDATION_TOKENS: usize = 4096;

/// The most characters in a step.
const MAX_TOKENS: usize = 1 << 22;

/// What is fixed for a whole training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TextOptions {
    /// Blocks of attention and MLP.
    pub layers: usize,
    /// Heads of each attention.
    pub heads: usize,
    /// Numbers that stand for a character.
    pub width: usize,
    /// Characters that the network sees at once.
    pub context: usize,
    /// Windows of the text in a step.
    pub batch: usize,
    /// Steps in all.
    pub steps: u64,
    /// The highest learning rate; it rises over a twentieth of the steps and falls to a tenth as half a cosine.
    pub lr: f64,
    /// The share of numbers dropped in training.
    pub dropout: f64,
    /// Whether the head is the embedding's table.
    pub tied: bool,
    /// Decides the initial weights, the windows and what is dropped.
    pub seed: u64,
}

impl Default for TextOptions {
    fn default() -> TextOptions {
        TextOptions {
            layers: 4,
            heads: 4,
            width: 128,
            context: 64,
            batch: 12,
            steps: 2000,
            lr: 2e-3,
            dropout: 0.0,
            tied: true,
            seed: 0,
        }
    }
}

impl TextOptions {
    /// The sizes of the network that learns a text of this vocabulary.
    pub fn config(&self, vocabulary: &Vocabulary) -> GptConfig {
        let &TextOptions { layers, heads, width, context, dropout, tied, .. } = self;
        GptConfig { vocabulary: vocabulary.len(), layers, heads, width, context, dropout, tied }
    }

    fn check(&self) -> Result<()> {
        let bad = |what: String| Err(Error::Invalid(what));
        if !self.batch.checked_mul(self.context).is_some_and(|n| (1..=MAX_TOKENS).contains(&n)) {
            let (batch, context) = (self.batch, self.context);
            return bad(format!("a batch of {batch} times a context of {context} must be from 1 to {MAX_TOKENS}"));
        }
        if !self.lr.is_finite() || self.lr <= 0.0 {
            return bad(format!("the learning rate must be positive, not {}", self.lr));
        }
        match self.steps {
            1..=1_000_000_000 => Ok(()),
            n => bad(format!("the number of steps must be from 1 to 1000000000, not {n}")),
        }
    }
}

/// Where a training stands; part of its checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TextPlace {
    /// What it was started with.
    pub options: TextOptions,
    /// Learning rate and dropout as their bits, which JSON would round.
    exact: [u64; 2],
    /// Steps done.
    pub step: u64,
    /// All characters of the text, in order.
    pub vocabulary: String,
    /// A fingerprint of the text.
    pub text: u64,
}

/// A trained network and the characters that its tokens stand for.
#[derive(Debug)]
pub struct TextModel {
    /// The network.
    pub model: Gpt,
    /// The characters.
    pub vocabulary: Vocabulary,
}

impl TextModel {
    /// Reads what [`TextTraining::save`] wrote.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Malformed`], if the file is no such checkpoint or its parts do not fit each other.
    pub fn load(path: &Path, device: &Device) -> Result<TextModel> {
        TextModel::restore(Checkpoint::load(path, device)?, path, device)
    }

    /// [`TextModel::load`] from memory; `path` is the name that errors tell.
    ///
    /// # Errors
    /// As [`TextModel::load`].
    pub fn from_bytes(bytes: &[u8], path: &Path, device: &Device) -> Result<TextModel> {
        TextModel::restore(Checkpoint::from_bytes(bytes, path, device)?, path, device)
    }

    fn restore(checkpoint: Checkpoint<TextPlace>, path: &Path, device: &Device) -> Result<TextModel> {
        let (checkpoint, vocabulary) = exact(checkpoint, path)?;
        let restore = || {
            let config = checkpoint.place.options.config(&vocabulary);
            let model = Gpt::new(config, &Init::new(0, device))?;
            model.load_state_dict(&checkpoint.model).map(|()| model)
        };
        let model = restore().map_err(|e| fault(path, e))?;
        Ok(TextModel { model, vocabulary })
    }
}

/// With the options that JSON rounds as they were, and the vocabulary.
fn exact(mut checkpoint: Checkpoint<TextPlace>, path: &Path) -> Result<(Checkpoint<TextPlace>, Vocabulary)> {
    let place = &mut checkpoint.place;
    [place.options.lr, place.options.dropout] = place.exact.map(f64::from_bits);
    let vocabulary = Vocabulary::parse(&place.vocabulary).map_err(|e| fault(path, e))?;
    Ok((checkpoint, vocabulary))
}

/// What is invalid in a file is the file's fault.
fn fault(path: &Path, error: Error) -> Error {
    match error {
        Error::Invalid(detail) => Error::malformed(path, detail),
        other => other,
    }
}

/// A training under way.
#[derive(Debug)]
pub struct TextTraining {
    model: Arc<Gpt>,
    optimizer: AdamW,
    text: Text,
    device: Device,
    place: TextPlace,
    unread: Vec<(u64, Tensor)>,
}

impl TextTraining {
    /// A training from the start.
    ///
    /// # Errors
    /// For options that make no sense, by themselves or with this text.
    pub fn new(options: TextOptions, text: Text, device: &Device) -> Result<TextTraining> {
        options.check()?;
        text.fits(options.context)?;
        let model = Arc::new(Gpt::new(options.config(text.vocabulary()), &Init::new(options.seed, device))?);
        let optimizer =
            AdamW::new(model.parameters(), options.lr).betas(0.9, 0.99).weight_decay(0.1).decay_matrices_only();
        let exact = [options.lr, options.dropout].map(f64::to_bits);
        let (vocabulary, fingerprint) = (text.vocabulary().to_string(), text.fingerprint());
        let place = TextPlace { options, exact, step: 0, vocabulary, text: fingerprint };
        Ok(TextTraining { model, optimizer, text, device: device.clone(), place, unread: Vec::new() })
    }

    /// Continues where the checkpoint at `path` stopped, with its options; on the CPU the losses that follow are those of
    /// the uninterrupted training, bit for bit.
    ///
    /// # Errors
    /// If the file is no checkpoint of such a training, or was made with another text.
    pub fn resume(path: &Path, text: Text, device: &Device) -> Result<TextTraining> {
        TextTraining::go_on(Checkpoint::load(path, device)?, path, text, device)
    }

    /// [`TextTraining::resume`] from memory; `path` is the name that errors tell.
    ///
    /// # Errors
    /// As [`TextTraining::resume`].
    pub fn resume_bytes(bytes: &[u8], path: &Path, text: Text, device: &Device) -> Result<TextTraining> {
        TextTraining::go_on(Checkpoint::from_bytes(bytes, path, device)?, path, text, device)
    }

    fn go_on(checkpoint: Checkpoint<TextPlace>, path: &Path, text: Text, device: &Device) -> Result<TextTraining> {
        let (checkpoint, vocabulary) = exact(checkpoint, path)?;
        let place = checkpoint.place.clone();
        if vocabulary != *text.vocabulary() || place.text != text.fingerprint() {
            return Err(Error::malformed(
                path,
                format!("is a checkpoint of a training on another text than {}", text.source),
            ));
        }
        if place.step > place.options.steps {
            return Err(Error::malformed(path, "its place in the training does not exist"));
        }
        let restore = || {
            let mut training = TextTraining::new(place.options.clone(), text, device)?;
            checkpoint.restore(&*training.model, &mut training.optimizer)?;
            training.place = place;
            Ok(training)
        };
        restore().map_err(|e| fault(path, e))
    }

    /// Options and step.
    pub fn place(&self) -> &TextPlace {
        &self.place
    }

    /// The network.
    pub fn model(&self) -> &Arc<Gpt> {
        &self.model
    }

    /// What it learns.
    pub fn text(&self) -> &Text {
        &self.text
    }

    /// True when every step is done.
    pub fn is_done(&self) -> bool {
        self.place.step >= self.place.options.steps
    }

    /// One step; gives its number, from 1, or `None` when all are done. The loss is kept until [`TextTraining::losses`]
    /// reads it.
    ///
    /// # Errors
    /// Whatever the device fails with.
    pub fn step(&mut self) -> Result<Option<u64>> {
        if self.is_done() {
            return Ok(None);
        }
        let &TextOptions { context, batch, steps, lr, seed, .. } = &self.place.options;
        self.model.train(true);
        let schedule = Cosine { peak: lr, floor: lr / 10.0, warmup: (steps / 20).max(1), total: steps };
        self.optimizer.set_lr(schedule.lr(self.place.step));
        let loss = self.loss(&self.text.batch(batch, context, seed, self.place.step));
        let (gradients, _) = loss.backward()?.clip_norm(1.0);
        self.optimizer.step(gradients)?;
        self.place.step += 1;
        self.unread.push((self.place.step, loss));
        Ok(Some(self.place.step))
    }

    fn loss(&self, batch: &TextBatch) -> Tensor {
        let tokens = batch.inputs.len();
        let x = Tensor::from_slice(&batch.inputs, [batch.len, tokens / batch.len.max(1)], &self.device);
        let y = Tensor::from_slice(&batch.targets, [tokens], &self.device);
        self.model.forward(&x).reshape([tokens, self.model.config().vocabulary]).cross_entropy(&y)
    }

    /// The losses of the steps since the last call, with their numbers.
    ///
    /// # Errors
    /// [`Error::NotFinite`] for the first that is NaN or infinite.
    pub fn losses(&mut self) -> Result<Vec<(u64, f32)>> {
        let read = |(step, loss): (u64, Tensor)| finite(step, loss.item()?);
        std::mem::take(&mut self.unread).into_iter().map(read).collect()
    }

    /// The losses that [`TextTraining::losses`] would read, to be read without holding the training.
    pub fn unread(&mut self) -> Unread {
        Unread(std::mem::take(&mut self.unread))
    }

    /// The mean loss of the characters in the validation text's windows, or in at most `most` of them.
    ///
    /// # Errors
    /// Whatever the device fails with.
    pub fn validation_loss(&self, most: usize) -> Result<f64> {
        let context = self.place.options.context;
        self.model.eval();
        let (mut sum, mut count) = (0.0, 0);
        for batch in self.text.validation_batches((VALIDATION_TOKENS / context).max(1), context, most) {
            sum += no_grad(|| self.loss(&batch)).item::<f32>()? as f64 * batch.len as f64;
            count += batch.len;
        }
        Ok(sum / count as f64)
    }

    /// Writes the network, the characters, the optimizer and the place; the file appears whole or not at all.
    ///
    /// # Errors
    /// Whatever the file system or the device fail with.
    pub fn save(&self, path: &Path) -> Result<()> {
        self.checkpoint().save(path)
    }

    /// What [`TextTraining::save`] writes.
    pub fn checkpoint(&self) -> Checkpoint<TextPlace> {
        Checkpoint::capture(&*self.model, &self.optimizer, self.place.clone())
    }
}
