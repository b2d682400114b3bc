//! The training of the digits networks as a session that a page drives.

use super::pause::{Pauses, now};
use super::{JsResult, fail, from_js, invalid, open, to_js};
use crate::autograd::no_grad;
use crate::data::{Dataset, DigitsSplit, ImageDataset, Images, idx, strokes};
use crate::device::Device;
use crate::error::Error;
use crate::models::Digits;
use crate::models::training::{Architecture, Options, Training, test};
use crate::tensor::Tensor;
use js_sys::{Array, Float32Array, Function, Uint8Array};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;
use wasm_bindgen::prelude::*;
use web_sys::AbortSignal;

/// Milliseconds between two looks at the losses; each look waits for the device.
const LOOK: f64 = 120.0;

/// The most steps between two looks: as many may be under way at once.
const MOST: u64 = 32;

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/** What a digits training is started with; what is left out has its default. */
export interface DigitsOptions {
  /** `"mlp"` (784-128-10) or `"cnn"`. */ model?: "mlp" | "cnn";
  epochs?: number; batch?: number; lr?: number; seed?: number;
  /** Digits that the program draws itself: how many to learn from and to be tested on. */ train?: number; test?: number;
}

/** A file that the user chose. */
export interface NamedFile { name: string; bytes: Uint8Array; }

/** How a training goes. */
export interface Progress {
  step: number; totalSteps: number; epoch: number; epochs: number;
  /** Steps since the last report, each with its loss. */ losses: [number, number][];
  /** Samples a second, tests left out. */ samplesPerSecond: number;
  /** After an epoch: how much of the test set is right, and what was taken for what. */ accuracy?: number; confusion?: number[][];
}

/** Where a training stands. */
export interface DigitsPlace {
  model: "mlp" | "cnn"; device: string; source: string; step: number; totalSteps: number; epoch: number; epochs: number;
  batch: number; done: boolean;
  /** False when the file was of another training's data: it predicts, but does not go on. */ trainable: boolean;
}
"#;

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Asked {
    model: Option<Architecture>,
    epochs: Option<u64>,
    batch: Option<usize>,
    lr: Option<f64>,
    seed: Option<u64>,
    train: Option<usize>,
    test: Option<usize>,
}

impl Asked {
    fn options(&self) -> Options {
        let default = Options::default();
        Options {
            model: self.model.unwrap_or(default.model),
            epochs: self.epochs.unwrap_or(default.epochs),
            batch: self.batch.unwrap_or(default.batch),
            lr: self.lr.unwrap_or(default.lr),
            seed: self.seed.unwrap_or(default.seed),
        }
    }

    /// The files' digits, else the program's own.
    fn data(&self, files: &Array) -> JsResult<DigitsSplit> {
        if files.length() == 0 {
            // As many as the command line draws, so that a training may go on in the other place.
            return Ok(strokes::digits(0, self.train.unwrap_or(12_000), self.test.unwrap_or(2_000)));
        }
        let files: Vec<(String, Vec<u8>)> = files.iter().map(|file| named(&file)).collect::<JsResult<_>>()?;
        idx::mnist_files(&files).map_err(fail)
    }
}

fn named(file: &JsValue) -> JsResult<(String, Vec<u8>)> {
    let get = |key: &str| js_sys::Reflect::get(file, &key.into());
    let name = get("name")?.as_string().ok_or_else(|| invalid("a file without a name"))?;
    let bytes: Uint8Array = get("bytes")?.dyn_into().map_err(|_| invalid(format!("{name}: no bytes")))?;
    Ok((name, bytes.to_vec()))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Progress {
    step: u64,
    total_steps: u64,
    epoch: u64,
    epochs: u64,
    losses: Vec<(u64, f32)>,
    samples_per_second: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    accuracy: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    confusion: Option<Vec<Vec<u64>>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PlaceInfo {
    model: Architecture,
    device: String,
    source: String,
    step: u64,
    total_steps: u64,
    epoch: u64,
    epochs: u64,
    batch: usize,
    done: bool,
    trainable: bool,
}

/// A digits network and, unless it came from a file of other data, its training.
#[wasm_bindgen]
pub struct DigitsSession {
    device: Device,
    source: String,
    model: Arc<Digits>,
    training: Option<RefCell<Training>>,
    /// What a session without a training was loaded from.
    file: Vec<u8>,
}

#[wasm_bindgen]
impl DigitsSession {
    /// A training from the start, on digits that the program draws or on MNIST's files, which may be gzip.
    pub async fn create(
        device: String,
        #[wasm_bindgen(unchecked_param_type = "DigitsOptions | undefined")] options: JsValue,
        #[wasm_bindgen(unchecked_param_type = "NamedFile[] | undefined")] files: Option<Array>,
    ) -> JsResult<DigitsSession> {
        let device = open(&device).await?;
        let asked: Asked = from_js(options)?;
        let data = asked.data(&files.unwrap_or_default())?;
        let source = data.source.clone();
        let training = Training::new(asked.options(), data, &device).map_err(fail)?;
        Ok(DigitsSession::of(training, source))
    }

    /// The session that `save` or the command line's `train digits` wrote. It goes on training where it was on the same
    /// data, which the files or the options' `train` and `test` tell; on other data it predicts only, and so does a file of
    /// parameters alone.
    pub async fn load(
        file: Vec<u8>,
        name: String,
        device: String,
        #[wasm_bindgen(unchecked_param_type = "DigitsOptions | undefined")] options: JsValue,
        #[wasm_bindgen(unchecked_param_type = "NamedFile[] | undefined")] files: Option<Array>,
    ) -> JsResult<DigitsSession> {
        let device = open(&device).await?;
        let (asked, path): (Asked, _) = (from_js(options)?, Path::new(&name));
        let (state, metadata) = crate::io::safetensors::from_bytes(&file, path, &device).map_err(fail)?;
        let model = Digits::from_state(state, &device).map_err(|e| {
            fail(Error::Malformed { path: path.into(), detail: format!("holds no digits network: {e}") })
        })?;
        if !metadata.is_empty() {
            let data = asked.data(&files.unwrap_or_default())?;
            let source = data.source.clone();
            if let Ok(training) = Training::resume_bytes(&file, path, data, &device) {
                return Ok(DigitsSession::of(training, source));
            }
        }
        Ok(DigitsSession { device, source: name, model: Arc::new(model), training: None, file })
    }

    fn of(training: Training, source: String) -> DigitsSession {
        let (device, model) = (training.device().clone(), training.model().clone());
        DigitsSession { device, source, model, training: Some(RefCell::new(training)), file: Vec::new() }
    }

    /// Where it stands.
    #[wasm_bindgen(unchecked_return_type = "DigitsPlace")]
    pub fn place(&self) -> JsResult<JsValue> {
        let model = if self.model.is_mlp() { Architecture::Mlp } else { Architecture::Cnn };
        let (device, source) = (self.device.name().into(), self.source.clone());
        let info = match &self.training {
            Some(training) => {
                let training = training.try_borrow().map_err(|_| busy())?;
                let place = training.place();
                PlaceInfo {
                    model,
                    device,
                    source,
                    step: place.step,
                    total_steps: training.total_steps(),
                    epoch: place.epoch,
                    epochs: place.options.epochs,
                    batch: place.options.batch,
                    done: training.is_done(),
                    trainable: true,
                }
            }
            None => PlaceInfo {
                model,
                device,
                source,
                step: 0,
                total_steps: 0,
                epoch: 0,
                epochs: 0,
                batch: 0,
                done: true,
                trainable: false,
            },
        };
        to_js(&info)
    }

    /// Trains until all epochs are done (`true`) or `signal` is aborted (`false`); it may be called again then.
    pub async fn run(
        &self,
        #[wasm_bindgen(unchecked_param_type = "(progress: Progress) => void")] on_progress: Function,
        signal: Option<AbortSignal>,
    ) -> JsResult<bool> {
        let training = self.training.as_ref().ok_or_else(|| invalid("this file's training was on other data"))?;
        let mut pauses = Pauses::new();
        // The first step builds the plan and the kernels: the second look tells the speed.
        let (mut every, mut looked, mut seconds, mut samples) = (1, None::<(f64, u64)>, 0.0, 0.0);
        loop {
            if signal.as_ref().is_some_and(AbortSignal::aborted) {
                return Ok(false);
            }
            let (step, ended) = {
                let mut training = training.try_borrow_mut().map_err(|_| busy())?;
                let epoch = training.place().epoch;
                match training.step().map_err(fail)? {
                    Some(step) => (step, training.place().epoch > epoch),
                    None => return Ok(true),
                }
            };
            let due = looked.is_none_or(|(_, at)| step >= at + every);
            if due || ended {
                let unread = training.try_borrow_mut().map_err(|_| busy())?.unread();
                let losses = unread.read().await.map_err(fail)?;
                let time = now();
                if let Some((since, at)) = looked {
                    let spent = (time - since).max(0.01);
                    seconds += spent / 1000.0;
                    samples += (step - at) as f64;
                    every = pace(spent / (step - at).max(1) as f64);
                }
                let mut progress = report(&training.borrow(), losses, samples, seconds);
                if ended {
                    let data = training.borrow().test_data().clone();
                    let (_, confusion) = test(&self.model, &data, &self.device).await.map_err(fail)?;
                    progress.accuracy = Some(confusion.accuracy());
                    let row = |truth| (0..10).map(|found| confusion.count(truth, found)).collect();
                    progress.confusion = Some((0..10).map(row).collect());
                }
                on_progress.call1(&JsValue::NULL, &to_js(&progress)?)?;
                looked = Some((now(), step));
            }
            pauses.due().await;
        }
    }

    /// Ten probabilities for 784 grey values, 0 black to 255 white.
    pub async fn predict(&self, pixels: Vec<u8>) -> JsResult<Float32Array> {
        if pixels.len() != 784 {
            return Err(invalid(format!("a digit has 784 pixels, not {}", pixels.len())));
        }
        let images = Images { height: 28, width: 28, pixels, labels: vec![0] };
        let item = ImageDataset::new(images).get(0);
        let x = Tensor::from_slice(&item.pixels, [1, 784], &self.device);
        let probabilities = no_grad(|| crate::nn::Module::forward(&*self.model, &x).softmax(1));
        Ok(Float32Array::from(&probabilities.to_vec_async::<f32>().await.map_err(fail)?[..]))
    }

    /// The first layer's filters, one after another: 28×28 each for the mlp, 3×3 for the cnn.
    pub async fn filters(&self) -> JsResult<Float32Array> {
        let filters = self.model.filters().to_vec_async::<f32>().await.map_err(fail)?;
        Ok(Float32Array::from(&filters[..]))
    }

    /// How much of the test set is right.
    pub async fn accuracy(&self) -> JsResult<f64> {
        let data = match &self.training {
            Some(training) => training.try_borrow().map_err(|_| busy())?.test_data().clone(),
            None => ImageDataset::new(strokes::digits(0, 0, 2_000).test),
        };
        let (_, confusion) = test(&self.model, &data, &self.device).await.map_err(fail)?;
        Ok(confusion.accuracy())
    }

    /// Test image number `i`: 784 grey values, then its class.
    #[wasm_bindgen(js_name = testImage)]
    pub fn test_image(&self, i: usize) -> JsResult<Vec<u8>> {
        let training = self.training.as_ref().ok_or_else(|| invalid("this file came without data"))?;
        let training = training.try_borrow().map_err(|_| busy())?;
        let images = training.test_images();
        if i >= images.len() {
            return Err(invalid(format!("there are {} test images", images.len())));
        }
        Ok(images.image(i).iter().copied().chain([images.labels[i]]).collect())
    }

    /// The file that `load` and the command line's `--resume` take: safetensors.
    pub async fn save(&self) -> JsResult<Uint8Array> {
        let Some(training) = &self.training else { return Ok(Uint8Array::from(&self.file[..])) };
        let checkpoint = training.try_borrow().map_err(|_| busy())?.checkpoint();
        Ok(Uint8Array::from(&checkpoint.to_bytes().await.map_err(fail)?[..]))
    }
}

pub(super) fn busy() -> JsValue {
    invalid("the session is in the middle of a step")
}

/// Steps until the next look, a power of two, so that few plans are made for it.
pub(super) fn pace(milliseconds_a_step: f64) -> u64 {
    let steps = (LOOK / milliseconds_a_step).clamp(1.0, MOST as f64) as u64;
    1 << steps.ilog2()
}

fn report(training: &Training, losses: Vec<(u64, f32)>, steps: f64, seconds: f64) -> Progress {
    let place = training.place();
    Progress {
        step: place.step,
        total_steps: training.total_steps(),
        epoch: place.epoch,
        epochs: place.options.epochs,
        losses,
        samples_per_second: steps * place.options.batch as f64 / f64::max(seconds, 1e-9),
        accuracy: None,
        confusion: None,
    }
}
