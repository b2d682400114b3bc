//! What does a trained [`Gpt`] write? One token at a time, each chosen from the logits that the text so far gives.

use super::gpt::{Gpt, KeysValues};
use crate::autograd::no_grad;
use crate::device::at_once;
use crate::error::{Error, Result};
use crate::nn::Module;
use crate::random::philox;
use crate::tensor::{Tensor, realize_all};

/// What remains of the text when the context is full: its last half. The rest of the context is then free for new
/// tokens, so that keys and values can be reused until it is full again.
fn kept(context: usize) -> usize {
    context / 2
}

/// The text so far, and what follows it.
///
/// Keys and values of the tokens before are kept on the device and updated in place. One plan reads a text whole, one
/// adds a token to it (its position is a parameter of the plan), and no further ones are made, however long the text.
///
/// ```
/// use sunstone::prelude::*;
/// use sunstone::models::decode::{Decoder, Sampling};
/// use sunstone::models::gpt::{Gpt, GptConfig};
/// use sunstone::nn::Init;
/// let config = GptConfig { vocabulary: 5, layers: 1, heads: 1, width: 4, context: 4, dropout: 0.0, tied: true };
/// let model = Gpt::new(config, &Init::new(0, &Device::cpu()))?;
/// let sampling = Sampling::default();
/// let (mut decoder, mut written) = (Decoder::new(&model, &[0])?, Vec::new());
/// for i in 0..9 {
///     let token = sampling.choose(&decoder.logits()?, i)?;
///     decoder.push(token)?;
///     written.push(token);
/// }
/// assert!(written.iter().all(|t| (0..5).contains(t)));
/// # Ok::<(), sunstone::Error>(())
/// ```
#[derive(Debug)]
pub struct Decoder<'a> {
    model: &'a Gpt,
    /// What the next token is guessed from, never empty.
    window: Vec<i32>,
    /// Of each layer for the first `known` tokens of the window; arbitrary beyond.
    memory: Vec<KeysValues>,
    known: usize,
    cached: bool,
}

impl<'a> Decoder<'a> {
    /// Begins with `prompt`, and switches the model's dropout off.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an empty prompt and for tokens that the model does not know.
    pub fn new(model: &'a Gpt, prompt: &[i32]) -> Result<Decoder<'a>> {
        model.eval();
        let mut decoder = Decoder { model, window: Vec::new(), memory: Vec::new(), known: 0, cached: true };
        if prompt.is_empty() {
            return Err(Error::Invalid("a text needs at least one character to begin with".into()));
        }
        prompt.iter().try_for_each(|&token| decoder.push(token))?;
        Ok(decoder)
    }

    /// The same, but every token is guessed from the whole text so far: slow, and what the cached way is judged by.
    ///
    /// # Errors
    /// As [`Decoder::new`].
    pub fn uncached(model: &'a Gpt, prompt: &[i32]) -> Result<Decoder<'a>> {
        Ok(Decoder { cached: false, ..Decoder::new(model, prompt)? })
    }

    /// Appends a token.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the model does not know it.
    pub fn push(&mut self, token: i32) -> Result<()> {
        let (known, context) = (self.model.config().vocabulary, self.model.config().context);
        if !usize::try_from(token).is_ok_and(|t| t < known) {
            return Err(Error::Invalid(format!("token {token} is none of the model's {known}")));
        }
        if self.window.len() == context {
            self.window.drain(..context - kept(context));
            self.known = 0;
        }
        self.window.push(token);
        Ok(())
    }

    /// The logit of each token to be the next.
    ///
    /// # Errors
    /// Whatever the device fails with.
    pub fn logits(&mut self) -> Result<Vec<f32>> {
        at_once(self.logits_async())
    }

    /// [`Decoder::logits`] for where one may not block.
    ///
    /// # Errors
    /// Those of [`Decoder::logits`].
    pub async fn logits_async(&mut self) -> Result<Vec<f32>> {
        let missing = self.window.len() - self.known;
        match self.cached && missing <= 1 && self.known > 0 {
            true => self.read_one().await,
            false => self.read_whole().await,
        }
    }

    /// Reads the window padded to the whole context, so that one plan does for all lengths. No token sees the padding.
    async fn read_whole(&mut self) -> Result<Vec<f32>> {
        let context = self.model.config().context;
        let mut tokens = self.window.clone();
        tokens.resize(context, 0);
        let tokens = Tensor::from_slice(&tokens, [1, context], self.model.device());
        self.memory.clear();
        let memory = &mut self.memory;
        let logits = no_grad(|| {
            self.model.run_whole(&tokens, &mut |_, made| {
                memory.push(made.clone().map(|t| t.contiguous()));
                made
            })
        });
        let all = self.compute(logits).await?;
        let (last, vocabulary) = (self.window.len() - 1, self.model.config().vocabulary);
        Ok(all[last * vocabulary..][..vocabulary].to_vec())
    }

    /// Reads the last token, with the others as they are remembered.
    async fn read_one(&mut self) -> Result<Vec<f32>> {
        let device = self.model.device();
        let Some((&token, before)) = self.window.split_last() else { return self.read_whole().await };
        let position = Tensor::scalar(before.len() as i32, device);
        let here = Tensor::arange(self.model.config().context, device).reshape([-1, 1]).eq(&position);
        let memory = &mut self.memory;
        let logits = no_grad(|| {
            let token = Tensor::scalar(token, device).reshape([1, 1]);
            self.model.run_one(&token, &position, &mut |layer, [k, v]| {
                let [old_k, old_v] = &memory[layer];
                memory[layer] = [k.where_(&here, old_k), v.where_(&here, old_v)];
                memory[layer].clone()
            })
        });
        self.compute(logits).await
    }

    /// All that is pending in one plan: nobody holds the former memory any more, so it is overwritten.
    async fn compute(&mut self, logits: Tensor) -> Result<Vec<f32>> {
        realize_all(self.model.device())?;
        self.known = self.window.len();
        logits.to_vec_async::<f32>().await
    }
}

/// How a token is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// What logits are divided by: below 1 the likely becomes likelier; with 0, the likeliest is always taken.
    pub temperature: f64,
    /// How many of the likeliest tokens have a chance; all, where it is `None` or there are not more.
    pub top_k: Option<usize>,
    /// Decides all choices.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Sampling {
        Sampling { temperature: 0.8, top_k: None, seed: 0 }
    }
}

impl Sampling {
    /// An error unless the temperature is finite and not negative, and `top_k` not 0.
    pub fn check(&self) -> Result<()> {
        if !self.temperature.is_finite() || self.temperature < 0.0 {
            return Err(Error::Invalid(format!("the temperature must be 0 or more, not {}", self.temperature)));
        }
        if self.top_k == Some(0) {
            return Err(Error::Invalid("top-k must be at least 1".into()));
        }
        Ok(())
    }

    /// The choice number `index` of a text; of equals the first comes first.
    ///
    /// # Errors
    /// As [`Sampling::check`]; [`Error::Invalid`] for logits of which none is a number.
    pub fn choose(&self, logits: &[f32], index: u64) -> Result<i32> {
        self.check()?;
        let mut order: Vec<usize> = (0..logits.len()).filter(|&i| !logits[i].is_nan()).collect();
        order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
        let Some(&best) = order.first() else {
            return Err(Error::Invalid("the model's logits are not numbers".into()));
        };
        if self.temperature == 0.0 {
            return Ok(best as i32);
        }
        order.truncate(self.top_k.unwrap_or(usize::MAX));
        let weight = |&i: &usize| (((logits[i] - logits[best]) as f64) / self.temperature).exp();
        let mut left = self.uniform(index) * order.iter().map(weight).sum::<f64>();
        let chosen = order.iter().find(|i| {
            left -= weight(i);
            left < 0.0
        });
        // Rounding may leave a trace beyond the last.
        Ok(*chosen.unwrap_or(&best) as i32)
    }

    /// In `[0, 1)`. The last word keeps it apart from what tensors and data are drawn from.
    fn uniform(&self, index: u64) -> f64 {
        let [a, b, ..] =
            philox([index as u32, (index >> 32) as u32, 0, 5], [self.seed as u32, (self.seed >> 32) as u32]);
        (((a as u64) << 32 | b as u64) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_follow_the_distribution() {
        let logits = [0.0f32, 1.0, f32::NAN, 2.0];
        let n = 20_000;
        for (temperature, top_k) in [(1.0, None), (0.5, None), (1.0, Some(2)), (2.0, Some(99))] {
            let sampling = Sampling { temperature, top_k, seed: 4 };
            let mut counts = [0.0; 4];
            (0..n).for_each(|i| counts[sampling.choose(&logits, i).unwrap() as usize] += 1.0 / n as f64);
            let weight = |i: usize| match i {
                2 => 0.0,
                0 if top_k == Some(2) => 0.0,
                _ => (logits[i] as f64 / temperature).exp(),
            };
            let sum: f64 = (0..4).map(weight).sum();
            for (i, share) in counts.iter().enumerate() {
                // Six standard deviations at most.
                assert!((share - weight(i) / sum).abs() < 0.022, "{temperature} {top_k:?} {i}: {share}");
            }
        }
    }

    #[test]
    fn without_temperature_the_first_of_the_best_is_taken() {
        let sampling = Sampling { temperature: 0.0, ..Sampling::default() };
        assert_eq!(sampling.choose(&[1.0, 3.0, f32::NAN, 3.0], 0).unwrap(), 1);
        let one = Sampling { top_k: Some(1), temperature: 5.0, seed: 1 };
        assert!((0..50).all(|i| one.choose(&[1.0, 3.0, 2.0], i).unwrap() == 1));
    }

    #[test]
    fn what_cannot_be_sampled_is_refused() {
        let good = Sampling::default();
        for bad in [
            Sampling { temperature: -0.1, ..good },
            Sampling { temperature: f64::NAN, ..good },
            Sampling { temperature: f64::INFINITY, ..good },
            Sampling { top_k: Some(0), ..good },
        ] {
            assert!(bad.choose(&[1.0], 0).is_err(), "{bad:?}");
        }
        assert!(good.choose(&[f32::NAN], 0).is_err() && good.choose(&[], 0).is_err());
    }
}
