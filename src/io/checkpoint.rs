//! Everything that training needs to go on as if it had never stopped, in one safetensors file.
//!
//! Parameters and buffers lie in it under their own names, so that it can be loaded as a model by itself; the
//! optimizer's tensors are prefixed with `optimizer.`, and the rest is one JSON text in the metadata.

use super::safetensors;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::nn::{Module, StateDict};
use crate::optim::{Optimizer, OptimizerState};
use crate::random::GeneratorState;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

const PREFIX: &str = "optimizer.";
const KEY: &str = "sunstone.checkpoint";
const VERSION: u32 = 1;

/// A moment of training. `P` is the caller's place in it: epoch, position in the data, seed, options.
///
/// Integers in `P` come back exactly; a float that must, is better kept as text or as its bits.
///
/// ```
/// use sunstone::prelude::*;
/// use sunstone::io::Checkpoint;
/// use sunstone::nn::{Init, Linear};
/// use sunstone::optim::{Optimizer, Sgd};
/// let folder = tempfile::tempdir().unwrap();
/// let (path, device) = (folder.path().join("run.safetensors"), Device::cpu());
/// let model = Linear::new(2, 1, &Init::new(0, &device));
/// let mut optimizer = Sgd::new(model.parameters(), 0.1);
/// Checkpoint::capture(&model, &optimizer, 42u64).save(&path)?;
///
/// let checkpoint = Checkpoint::<u64>::load(&path, &device)?;
/// checkpoint.restore(&model, &mut optimizer)?;
/// assert_eq!(checkpoint.place, 42);
/// # Ok::<(), sunstone::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Checkpoint<P> {
    /// Parameters and buffers.
    pub model: StateDict,
    /// The model's random generators.
    pub generators: BTreeMap<String, GeneratorState>,
    /// The optimizer's memory.
    pub optimizer: OptimizerState,
    /// Where in the training this is.
    pub place: P,
}

/// What is not a tensor.
#[derive(Serialize, Deserialize)]
struct Header<P> {
    version: u32,
    /// As text, because JSON's numbers are not read back to the last bit.
    lr: String,
    steps: BTreeMap<String, u64>,
    generators: BTreeMap<String, GeneratorState>,
    place: P,
}

impl<P> Checkpoint<P> {
    /// The state of a model and its optimizer as they are now.
    pub fn capture(model: &dyn Module, optimizer: &dyn Optimizer, place: P) -> Checkpoint<P> {
        Checkpoint {
            model: model.state_dict(),
            generators: model.generators(),
            optimizer: optimizer.state_dict(),
            place,
        }
    }

    /// Puts the state back into a model and an optimizer made like those it was taken from.
    ///
    /// # Errors
    /// [`Error::Invalid`] says what does not fit; the model may have been restored and the optimizer not.
    pub fn restore(&self, model: &dyn Module, optimizer: &mut dyn Optimizer) -> Result<()> {
        model.load_state_dict(&self.model)?;
        model.restore_generators(&self.generators)?;
        optimizer.load_state_dict(self.optimizer.clone())
    }
}

impl<P: Serialize> Checkpoint<P> {
    /// Writes it. The file appears whole or not at all.
    ///
    /// # Errors
    /// As [`safetensors::save`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let (tensors, metadata) = self.parts()?;
        safetensors::save(path, &tensors, &metadata)
    }

    /// What [`Checkpoint::save`] writes; in a browser it must be awaited, elsewhere it is there at once.
    ///
    /// # Errors
    /// As [`safetensors::save`].
    pub async fn to_bytes(&self) -> Result<Vec<u8>> {
        let (tensors, metadata) = self.parts()?;
        safetensors::to_bytes(&tensors, &metadata).await
    }

    fn parts(&self) -> Result<(StateDict, BTreeMap<String, String>)> {
        let header = Header {
            version: VERSION,
            lr: self.optimizer.lr.to_string(),
            steps: self.optimizer.steps.clone(),
            generators: self.generators.clone(),
            place: &self.place,
        };
        let text = serde_json::to_string(&header)
            .map_err(|e| Error::Invalid(format!("the place in the training cannot be written as JSON: {e}")))?;
        let mut tensors = self.model.clone();
        let moments = self.optimizer.tensors.iter();
        tensors.extend(moments.map(|(name, tensor)| (format!("{PREFIX}{name}"), tensor.clone())));
        Ok((tensors, BTreeMap::from([(KEY.into(), text)])))
    }
}

impl<P: DeserializeOwned> Checkpoint<P> {
    /// Reads what [`Checkpoint::save`] wrote.
    ///
    /// # Errors
    /// As [`safetensors::load`]; [`Error::Malformed`] for a file that holds tensors but is no checkpoint.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Checkpoint<P>> {
        let path = path.as_ref();
        Checkpoint::of(path, safetensors::load(path, device)?)
    }

    /// [`Checkpoint::load`] from memory; `path` is the name that errors tell.
    ///
    /// # Errors
    /// As [`Checkpoint::load`].
    pub fn from_bytes(bytes: &[u8], path: impl AsRef<Path>, device: &Device) -> Result<Checkpoint<P>> {
        let path = path.as_ref();
        Checkpoint::of(path, safetensors::from_bytes(bytes, path, device)?)
    }

    fn of(path: &Path, (tensors, metadata): (StateDict, BTreeMap<String, String>)) -> Result<Checkpoint<P>> {
        let Some(text) = metadata.get(KEY) else {
            return Err(Error::malformed(path, "is not a checkpoint: it holds tensors, but no state of a training"));
        };
        let header: Header<P> =
            serde_json::from_str(text).map_err(|e| Error::malformed(path, format!("the checkpoint's state: {e}")))?;
        if header.version != VERSION {
            return Err(Error::malformed(
                path,
                format!("is a checkpoint of version {}, not {VERSION}", header.version),
            ));
        }
        let lr = header.lr.parse().map_err(|_| Error::malformed(path, "the learning rate is no number"))?;
        let mut model = StateDict::new();
        let mut moments = StateDict::new();
        for (name, tensor) in tensors {
            match name.strip_prefix(PREFIX) {
                Some(own) => moments.push((own.to_owned(), tensor)),
                None => model.push((name, tensor)),
            }
        }
        let optimizer = OptimizerState { lr, steps: header.steps, tensors: moments };
        Ok(Checkpoint { model, generators: header.generators, optimizer, place: header.place })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{BatchNorm2d, Conv2d, Dropout, Flatten, Init, Linear, Sequential};
    use crate::optim::{Adam, AdamW};
    use crate::random::Generator;

    fn model(seed: u64) -> Sequential {
        let init = Init::new(seed, &Device::cpu());
        Sequential::new()
            .named("conv", Conv2d::new(1, 2, 3, &init))
            .named("norm", BatchNorm2d::new(2, &init))
            .named("drop", Dropout::new(0.3, &init))
            .named("flat", Flatten::default())
            .named("fc", Linear::new(2 * 2 * 2, 3, &init))
    }

    fn train(model: &Sequential, optimizer: &mut AdamW, steps: std::ops::Range<u64>) -> Vec<u32> {
        steps
            .map(|step| {
                let x = Generator::new(step).randn([4, 1, 4, 4], &Device::cpu());
                let y = model.forward(&x);
                let loss = (&y * &y).mean(..);
                optimizer.step(loss.backward().unwrap()).unwrap();
                loss.item::<f32>().unwrap().to_bits()
            })
            .collect()
    }

    #[test]
    fn a_resumed_training_is_the_uninterrupted_one_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.safetensors");
        let (a, mut adam) = (model(1), 0.1 / 3.0);
        let mut optimizer = AdamW::new(a.parameters(), adam);
        let mut losses = train(&a, &mut optimizer, 0..3);
        adam /= 7.0;
        optimizer.set_lr(adam);
        Checkpoint::capture(&a, &optimizer, (3u64, "epoch".to_string())).save(&path).unwrap();
        losses.extend(train(&a, &mut optimizer, 3..6));

        let b = model(2);
        let mut resumed = AdamW::new(b.parameters(), 1.0);
        let checkpoint = Checkpoint::<(u64, String)>::load(&path, &Device::cpu()).unwrap();
        checkpoint.restore(&b, &mut resumed).unwrap();
        assert_eq!(checkpoint.place, (3, "epoch".to_string()));
        assert_eq!(resumed.lr().to_bits(), adam.to_bits());
        assert_eq!(train(&b, &mut resumed, 3..6), losses[3..]);
    }

    #[test]
    fn a_plain_model_file_is_no_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.safetensors");
        safetensors::save(&path, &model(1).state_dict(), &BTreeMap::new()).unwrap();
        let error = Checkpoint::<u64>::load(&path, &Device::cpu()).unwrap_err();
        assert!(error.to_string().contains("is not a checkpoint"), "{error}");
    }

    #[test]
    fn a_checkpoint_of_another_model_is_refused() {
        let init = Init::new(0, &Device::cpu());
        let small = Linear::new(2, 2, &init);
        let checkpoint = Checkpoint::capture(&small, &Adam::new(small.parameters(), 0.1), ());
        let other = model(1);
        let mut optimizer = Adam::new(other.parameters(), 0.1);
        let message = checkpoint.restore(&other, &mut optimizer).unwrap_err().to_string();
        assert!(message.contains("'conv.weight' is missing"), "{message}");
    }
}
