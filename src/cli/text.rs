//! `sunstone train text`

use super::generate::{beginning, write};
use super::output::line;
use super::session::{LOOK, Losses, Tracing, bar, catch_interrupt, check_target, open};
use clap::Args as ClapArgs;
use indicatif::ProgressBar;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use sunstone::data::Text;
use sunstone::metrics::Mean;
use sunstone::models::decode::Sampling;
use sunstone::models::text::{TextOptions, TextTraining};
use sunstone::prelude::*;

/// Windows of the validation text that a look on the way takes; the last takes all.
const GLANCE: usize = 256;

/// Characters of the sample at the end.
const SAMPLE: u64 = 400;

#[derive(ClapArgs)]
pub struct Args {
    /// A UTF-8 text; its first nine tenths are learned, the rest is kept for validation.
    #[arg(long, value_name = "FILE")]
    text: PathBuf,
    /// Blocks of attention and MLP [default: 4].
    #[arg(long, value_name = "N")]
    layers: Option<usize>,
    /// Heads of each attention [default: 4].
    #[arg(long, value_name = "N")]
    heads: Option<usize>,
    /// Numbers that stand for a character [default: 128].
    #[arg(long, value_name = "N")]
    width: Option<usize>,
    /// Characters that the network sees at once [default: 64].
    #[arg(long, value_name = "N")]
    context: Option<usize>,
    /// Windows of the text in a step [default: 12].
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// Steps in all [default: 2000].
    #[arg(long, value_name = "N")]
    steps: Option<u64>,
    /// The highest learning rate of the schedule [default: 0.002].
    #[arg(long, value_name = "X")]
    lr: Option<f64>,
    /// The share of numbers dropped in training [default: 0].
    #[arg(long, value_name = "P")]
    dropout: Option<f64>,
    /// Decides initial weights, windows and dropout [default: 0].
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// The output layer shares the table of the input layer; this is the default.
    #[arg(long, overrides_with = "no_tie")]
    tie: bool,
    /// The output layer has weights of its own.
    #[arg(long)]
    no_tie: bool,
    /// Where to run: cpu, wgpu:0, ... [default: the best device; see `sunstone devices`].
    #[arg(long, value_name = "D")]
    device: Option<String>,
    /// Steps between two looks at the validation loss; 0 looks only at the end.
    #[arg(long, value_name = "N", default_value_t = 250)]
    eval_every: u64,
    /// Where to keep the network and the state of the training [default: text.safetensors].
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Continue the training kept in FILE, with its options and the same text.
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "layers", "heads", "width", "context", "batch", "steps", "lr", "dropout", "seed", "tie", "no_tie",
    ])]
    resume: Option<PathBuf>,
    /// One JSON object a line instead of a progress bar.
    #[arg(long)]
    json: bool,
    /// Write the loss of each step to FILE, one a line.
    #[arg(long, value_name = "FILE")]
    losses: Option<PathBuf>,
    /// Write every kernel of one replayed step to FILE, in Chrome's trace format.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

impl Args {
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
            tied: !self.no_tie,
            seed: self.seed.unwrap_or(default.seed),
        }
    }

    /// Where to save: what was asked for, else back where it was resumed from.
    fn file(&self) -> PathBuf {
        let default = || PathBuf::from("text.safetensors");
        self.save.clone().or_else(|| self.resume.clone()).unwrap_or_else(default)
    }
}

/// Trains.
pub fn run(args: &Args) -> Result<()> {
    let file = args.file();
    check_target(&file)?;
    let device = open(args.device.as_deref())?;
    let text = Text::load(&args.text)?;
    let mut training = match &args.resume {
        Some(file) => TextTraining::resume(file, text, &device)?,
        None => TextTraining::new(args.options(), text, &device)?,
    };
    let tracing = Tracing::new(args.trace.as_deref())?;
    let mut report = Report::new(args, &device, &training)?;
    report.start(&training);
    let interrupted = catch_interrupt();
    let finished = drive(&mut training, &mut report, args.eval_every, tracing, &interrupted)?;
    training.save(&file)?;
    match finished {
        true => report.done(&training, &file),
        false => {
            report.interrupted(&training, &file);
            Ok(())
        }
    }
}

/// Steps until done (true) or interrupted (false).
fn drive(
    training: &mut TextTraining,
    report: &mut Report,
    every: u64,
    mut tracing: Tracing,
    interrupted: &AtomicBool,
) -> Result<bool> {
    while let Some(step) = tracing.step(&report.device, || training.step())? {
        let look = every > 0 && step % every == 0 && !training.is_done();
        if step % LOOK == 0 || training.is_done() || look {
            report.progress(training)?;
        }
        if look {
            report.validate(training)?;
        }
        if interrupted.load(Ordering::Relaxed) && !training.is_done() {
            report.progress(training)?;
            return Ok(false);
        }
    }
    Ok(true)
}

/// What people or programs see of a training.
struct Report {
    json: bool,
    bar: ProgressBar,
    losses: Losses,
    device: Device,
    first_step: u64,
    /// Time spent in steps, without validation, and when the steps under way began.
    training: Duration,
    since: Instant,
    /// Kernels started by steps, without validation, and the device's count when the steps under way began.
    kernels: u64,
    kernels_since: u64,
    recent: f64,
    /// Of the steps since the last look at the validation loss.
    mean: Mean,
}

impl Report {
    fn new(args: &Args, device: &Device, training: &TextTraining) -> Result<Report> {
        Ok(Report {
            json: args.json,
            bar: bar(training.place().options.steps, args.json),
            losses: Losses::create(args.losses.as_deref())?,
            device: device.clone(),
            first_step: training.place().step,
            training: Duration::ZERO,
            since: Instant::now(),
            kernels: 0,
            kernels_since: 0,
            recent: f64::NAN,
            mean: Mean::default(),
        })
    }

    fn start(&mut self, training: &TextTraining) {
        let (place, text, device) = (training.place(), training.text(), &self.device);
        let parameters = training.model().num_parameters();
        if self.json {
            line(
                &json!({
                    "event": "start", "device": device.name(), "hardware": device.caps().hardware, "text": text.source,
                    "characters": text.vocabulary().len(), "train": text.train().len(),
                    "validation": text.validation().len(), "parameters": parameters, "options": place.options,
                    "step": place.step,
                })
                .to_string(),
            );
        } else {
            line(&format!("{} ({}); {parameters} parameters", device.name(), device.caps().hardware));
            line(&format!(
                "{}: {} characters to learn from, {} to validate with, {} of them different",
                text.source,
                text.train().len(),
                text.validation().len(),
                text.vocabulary().len()
            ));
            if place.step > 0 {
                line(&format!("resumed at step {} of {}", place.step, place.options.steps));
            }
        }
        self.bar.set_position(place.step);
        self.bar.reset_eta();
        self.begin();
    }

    fn begin(&mut self) {
        self.since = Instant::now();
        self.kernels_since = self.device.stats().kernels_launched;
    }

    /// Stops the clock of the steps.
    fn pause(&mut self) {
        self.training += self.since.elapsed();
        self.kernels += self.device.stats().kernels_launched - self.kernels_since;
        self.begin();
    }

    fn tokens_per_second(&self, training: &TextTraining) -> f64 {
        let options = &training.place().options;
        let steps = training.place().step - self.first_step;
        let tokens = steps as f64 * (options.batch * options.context) as f64;
        tokens / (self.training + self.since.elapsed()).as_secs_f64().max(1e-9)
    }

    /// Reads the losses of the last steps and shows how it goes.
    fn progress(&mut self, training: &mut TextTraining) -> Result<()> {
        let losses = training.losses().inspect_err(|_| self.bar.abandon())?;
        for &(_, loss) in &losses {
            self.mean.add(loss as f64, 1.0);
            self.recent = if self.recent.is_nan() { loss as f64 } else { 0.95 * self.recent + 0.05 * loss as f64 };
        }
        self.losses.write(&losses)?;
        self.bar.set_position(training.place().step);
        self.bar.set_prefix("training");
        self.bar.set_message(format!("loss {:.4}  {:.0} tokens/s", self.recent, self.tokens_per_second(training)));
        Ok(())
    }

    fn validate(&mut self, training: &TextTraining) -> Result<()> {
        self.pause();
        let (loss, step) = (training.validation_loss(GLANCE)?, training.place().step);
        let learned = self.mean.mean();
        self.mean = Mean::default();
        if self.json {
            let speed = self.tokens_per_second(training);
            line(
                &json!({
                    "event": "validation", "step": step, "train_loss": learned, "validation_loss": loss,
                    "tokens_per_second": speed,
                })
                .to_string(),
            );
        } else {
            let text = format!("step {step}: loss {learned:.4}, validation loss {loss:.4}");
            self.bar.suspend(|| line(&text));
        }
        self.begin();
        Ok(())
    }

    fn interrupted(&self, training: &TextTraining, file: &Path) {
        self.bar.abandon();
        let step = training.place().step;
        if self.json {
            line(&json!({ "event": "interrupted", "step": step, "file": file }).to_string());
        } else {
            line(&format!("stopped after step {step}; go on with --resume {}", file.display()));
        }
    }

    fn done(&mut self, training: &TextTraining, file: &Path) -> Result<()> {
        self.pause();
        let (speed, stats) = (self.tokens_per_second(training), self.device.stats());
        let (place, run) = (training.place(), (training.place().step - self.first_step).max(1));
        let loss = training.validation_loss(usize::MAX)?;
        self.bar.finish_and_clear();
        let vocabulary = training.text().vocabulary();
        let begin = beginning(vocabulary, "")?;
        let sampling = Sampling { seed: place.options.seed, ..Sampling::default() };
        let sample = write(training.model(), vocabulary, &begin, sampling, SAMPLE, |_| ())?;
        if self.json {
            line(
                &json!({
                    "event": "done", "device": self.device.name(), "steps": place.step,
                    "train_loss": self.recent.is_finite().then_some(self.recent), "validation_loss": loss,
                    "tokens_per_second": speed, "ms_per_step": self.training.as_secs_f64() * 1e3 / run as f64,
                    "plans_built": stats.plans_built, "plans_replayed": stats.plans_replayed,
                    "kernels_per_step": self.kernels as f64 / run as f64,
                    "bytes_reserved": stats.bytes_reserved, "sample": sample, "file": file,
                })
                .to_string(),
            );
            return Ok(());
        }
        line(&format!("{}\n", sample.trim_end()));
        line(&format!(
            "validation loss {loss:.4} after {} steps; {speed:.0} tokens/s on {}; {} plans built, {} replayed",
            place.step,
            self.device.name(),
            stats.plans_built,
            stats.plans_replayed
        ));
        line(&format!("saved {}", file.display()));
        Ok(())
    }
}
