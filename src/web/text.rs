//! The training of a GPT on a text as a session that a page drives, and what it writes, character by character.

use super::digits::{busy, pace};
use super::pause::{Pauses, now};
use super::{JsResult, fail, from_js, invalid, open, to_js};
use crate::data::{Text, Vocabulary};
use crate::device::Device;
use crate::models::decode::{Decoder, Sampling};
use crate::models::gpt::Gpt;
use crate::models::text::{TextModel, TextOptions, TextTraining};
use js_sys::{Function, Uint8Array};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;
use wasm_bindgen::prelude::*;
use web_sys::AbortSignal;

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/** What a text training is started with; what is left out has its default. */
export interface TextOptions {
  layers?: number; heads?: number; width?: number; context?: number; batch?: number; steps?: number;
  lr?: number; dropout?: number; tied?: boolean; seed?: number;
}

/** How a text training goes. */
export interface TextProgress {
  step: number; totalSteps: number;
  /** Steps since the last report, each with its loss. */ losses: [number, number][];
  tokensPerSecond: number;
}

/** Where a text training stands. */
export interface TextPlace {
  device: string; step: number; totalSteps: number; done: boolean; vocabulary: string;
  layers: number; width: number; context: number;
  /** False when the file was of another text: it writes, but does not go on learning. */ trainable: boolean;
}

/** What is written, and how. */
export interface WriteOptions { prompt?: string; characters?: number; temperature?: number; topK?: number; seed?: number; }
"#;

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Asked {
    layers: Option<usize>,
    heads: Option<usize>,
    width: Option<usize>,
    context: Option<usize>,
    batch: Option<usize>,
    steps: Option<u64>,
    lr: Option<f64>,
    dropout: Option<f64>,
    tied: Option<bool>,
    seed: Option<u64>,
}

impl Asked {
    fn options(&self) -> TextOptions {
        let default = TextOptions::default();
        TextOptions {
            layers: self.layers.unwrap_or(default.layers),
            heads: self.heads.unwrap_or(default.heads),
            width: self.width.unwrap_or(default.width),
            context: self.context.unwrap_or(default.context),
            batch: self.batch.unwrap_or(default.batch),
            steps: self.steps.unwrap_or(default.steps),
            lr: self.lr.unwrap_or(default.lr),
            dropout: self.dropout.unwrap_or(default.dropout),
            tied: self.tied.unwrap_or(default.tied),
            seed: self.seed.unwrap_or(default.seed),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Writing {
    prompt: String,
    characters: Option<u64>,
    temperature: Option<f64>,
    top_k: Option<usize>,
    seed: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Progress {
    step: u64,
    total_steps: u64,
    losses: Vec<(u64, f32)>,
    tokens_per_second: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PlaceInfo {
    device: String,
    step: u64,
    total_steps: u64,
    done: bool,
    vocabulary: String,
    layers: usize,
    width: usize,
    context: usize,
    trainable: bool,
}

/// A network that writes, and, unless it came from a file of another text, its training.
#[wasm_bindgen]
pub struct TextSession {
    device: Device,
    model: Arc<Gpt>,
    vocabulary: Vocabulary,
    training: Option<RefCell<TextTraining>>,
    /// What a session without a training was loaded from.
    file: Vec<u8>,
}

#[wasm_bindgen]
impl TextSession {
    /// A training from the start.
    pub async fn create(
        device: String,
        #[wasm_bindgen(unchecked_param_type = "TextOptions | undefined")] options: JsValue,
        text: String,
    ) -> JsResult<TextSession> {
        let device = open(&device).await?;
        let asked: Asked = from_js(options)?;
        let text = Text::new("the text", &text).map_err(fail)?;
        TextTraining::new(asked.options(), text, &device).map(|t| TextSession::of(t, &device)).map_err(fail)
    }

    /// The session that `save` or the command line's `train text` wrote. It goes on learning where it was from the same
    /// text; given another or none, it writes only.
    pub async fn load(file: Vec<u8>, name: String, device: String, text: Option<String>) -> JsResult<TextSession> {
        let device = open(&device).await?;
        let path = Path::new(&name);
        let TextModel { model, vocabulary } = TextModel::from_bytes(&file, path, &device).map_err(fail)?;
        let same = text.and_then(|text| Text::new("the text", &text).ok());
        if let Some(training) = same.and_then(|t| TextTraining::resume_bytes(&file, path, t, &device).ok()) {
            return Ok(TextSession::of(training, &device));
        }
        Ok(TextSession { device, model: Arc::new(model), vocabulary, training: None, file })
    }

    fn of(training: TextTraining, device: &Device) -> TextSession {
        let (model, vocabulary) = (training.model().clone(), training.text().vocabulary().clone());
        let training = Some(RefCell::new(training));
        TextSession { device: device.clone(), model, vocabulary, training, file: Vec::new() }
    }

    /// Where it stands.
    #[wasm_bindgen(unchecked_return_type = "TextPlace")]
    pub fn place(&self) -> JsResult<JsValue> {
        let config = self.model.config();
        let (step, total_steps) = match &self.training {
            Some(training) => {
                let training = training.try_borrow().map_err(|_| busy())?;
                (training.place().step, training.place().options.steps)
            }
            None => (0, 0),
        };
        to_js(&PlaceInfo {
            device: self.device.name().into(),
            step,
            total_steps,
            done: step >= total_steps,
            vocabulary: self.vocabulary.to_string(),
            layers: config.layers,
            width: config.width,
            context: config.context,
            trainable: self.training.is_some(),
        })
    }

    /// Trains until all steps are done (`true`) or `signal` is aborted (`false`); it may be called again then.
    pub async fn run(
        &self,
        #[wasm_bindgen(unchecked_param_type = "(progress: TextProgress) => void")] on_progress: Function,
        signal: Option<AbortSignal>,
    ) -> JsResult<bool> {
        let training = self.training.as_ref().ok_or_else(|| invalid("this file's training was on another text"))?;
        let mut pauses = Pauses::new();
        let (mut every, mut looked, mut seconds, mut steps) = (1, None::<(f64, u64)>, 0.0, 0.0);
        loop {
            if signal.as_ref().is_some_and(AbortSignal::aborted) {
                return Ok(false);
            }
            let (step, options) = {
                let mut training = training.try_borrow_mut().map_err(|_| busy())?;
                match training.step().map_err(fail)? {
                    Some(step) => (step, training.place().options.clone()),
                    None => return Ok(true),
                }
            };
            if step == options.steps || looked.is_none_or(|(_, at)| step >= at + every) {
                let unread = training.try_borrow_mut().map_err(|_| busy())?.unread();
                let losses = unread.read().await.map_err(fail)?;
                let time = now();
                if let Some((since, at)) = looked {
                    let spent = (time - since).max(0.01);
                    seconds += spent / 1000.0;
                    steps += (step - at) as f64;
                    every = pace(spent / (step - at).max(1) as f64);
                }
                let tokens_per_second = steps * (options.batch * options.context) as f64 / f64::max(seconds, 1e-9);
                let progress = Progress { step, total_steps: options.steps, losses, tokens_per_second };
                on_progress.call1(&JsValue::NULL, &to_js(&progress)?)?;
                looked = Some((now(), step));
            }
            pauses.due().await;
        }
    }

    /// Goes on from a prompt; each character is reported as soon as it is there. Gives all of them; `signal` ends it early.
    pub async fn write(
        &self,
        #[wasm_bindgen(unchecked_param_type = "WriteOptions | undefined")] options: JsValue,
        #[wasm_bindgen(unchecked_param_type = "(character: string) => void")] on_character: Function,
        signal: Option<AbortSignal>,
    ) -> JsResult<String> {
        let asked: Writing = from_js(options)?;
        let default = Sampling::default();
        let sampling = Sampling {
            temperature: asked.temperature.unwrap_or(default.temperature),
            top_k: asked.top_k,
            seed: asked.seed.unwrap_or(default.seed),
        };
        sampling.check().map_err(fail)?;
        let begin = match &asked.prompt[..] {
            "" => vec![self.vocabulary.token('\n').unwrap_or(0)],
            prompt => self.vocabulary.encode(prompt).map_err(fail)?,
        };
        // A copy of the handle: the session may be freed while this writes.
        let (model, vocabulary) = (self.model.clone(), self.vocabulary.clone());
        let mut decoder = Decoder::new(&model, &begin).map_err(fail)?;
        let (mut text, mut pauses) = (String::new(), Pauses::new());
        for index in 0..asked.characters.unwrap_or(400) {
            if signal.as_ref().is_some_and(AbortSignal::aborted) {
                break;
            }
            let logits = decoder.logits_async().await.map_err(fail)?;
            let token = sampling.choose(&logits, index).map_err(fail)?;
            decoder.push(token).map_err(fail)?;
            let character = vocabulary.decode(&[token]);
            on_character.call1(&JsValue::NULL, &JsValue::from_str(&character))?;
            text.push_str(&character);
            pauses.due().await;
        }
        Ok(text)
    }

    /// The file that `load` and the command line take: safetensors.
    pub async fn save(&self) -> JsResult<Uint8Array> {
        let Some(training) = &self.training else { return Ok(Uint8Array::from(&self.file[..])) };
        let checkpoint = training.try_borrow().map_err(|_| busy())?.checkpoint();
        Ok(Uint8Array::from(&checkpoint.to_bytes().await.map_err(fail)?[..]))
    }
}
