//! `sunstone train digits`

use super::output::line;
use super::session::{LOOK, Losses, Tracing, bar, catch_interrupt, check_target, open};
use clap::{Args as ClapArgs, ValueEnum};
use indicatif::ProgressBar;
use serde_json::json;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use sunstone::data::{DigitsSplit, idx, strokes};
use sunstone::metrics::{Confusion, ascii};
use sunstone::models::training::{Architecture, Options, Training};
use sunstone::prelude::*;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Model {
    /// Two linear layers, 784-128-10.
    Mlp,
    /// Two convolutions and two linear layers.
    Cnn,
}

#[derive(ClapArgs, Default)]
pub struct Args {
    /// Folder with MNIST's idx files, plain or gzip [default: digits that the program draws itself].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The network [default: cnn].
    #[arg(long)]
    model: Option<Model>,
    /// Where to run: cpu, wgpu:0, ... [default: the best device; see `sunstone devices`].
    #[arg(long, value_name = "D")]
    device: Option<String>,
    /// Passes over the training data [default: 4].
    #[arg(long, value_name = "N")]
    epochs: Option<u64>,
    /// Images a step [default: 64].
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// The highest learning rate of the schedule [default: 0.05].
    #[arg(long, value_name = "X")]
    lr: Option<f64>,
    /// Decides initial weights and order of the data [default: 0].
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Where to keep the network and the state of the training [default: digits.safetensors].
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Continue the training kept in FILE, with its options.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["model", "epochs", "batch", "lr", "seed"])]
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
    fn options(&self) -> Options {
        let default = Options::default();
        Options {
            model: match self.model {
                Some(Model::Mlp) => Architecture::Mlp,
                Some(Model::Cnn) => Architecture::Cnn,
                None => default.model,
            },
            epochs: self.epochs.unwrap_or(default.epochs),
            batch: self.batch.unwrap_or(default.batch),
            lr: self.lr.unwrap_or(default.lr),
            seed: self.seed.unwrap_or(default.seed),
        }
    }

    /// Where to save: what was asked for, else back where it was resumed from.
    fn file(&self) -> PathBuf {
        let default = || PathBuf::from("digits.safetensors");
        self.save.clone().or_else(|| self.resume.clone()).unwrap_or_else(default)
    }
}

/// Trains.
pub fn run(args: &Args) -> Result<()> {
    check_target(&args.file())?;
    let device = open(args.device.as_deref())?;
    let data = load(args)?;
    let (train, test, source) = (data.train.len(), data.test.len(), data.source.clone());
    let mut training = match &args.resume {
        Some(file) => Training::resume(file, data, &device)?,
        None => Training::new(args.options(), data, &device)?,
    };
    let tracing = Tracing::new(args.trace.as_deref())?;
    let mut report = Report::new(args, &device, &training)?;
    report.start(&source, train, test, &device, &training);
    let interrupted = catch_interrupt();
    let finished = drive(&mut training, &mut report, tracing, &interrupted)?;
    let file = args.file();
    training.save(&file)?;
    if finished {
        let (predictions, confusion) = training.test()?;
        report.done(&training, &device, &predictions, &confusion, &file);
    } else {
        report.interrupted(&training, &file);
    }
    Ok(())
}

/// All that can fail about the data fails here, before anything is shown or written.
fn load(args: &Args) -> Result<DigitsSplit> {
    match &args.data {
        Some(dir) => idx::mnist(dir),
        None => Ok(strokes::digits(0, 12_000, 2_000)),
    }
}

/// Steps until done (true) or interrupted (false).
fn drive(training: &mut Training, report: &mut Report, mut tracing: Tracing, interrupted: &AtomicBool) -> Result<bool> {
    let mut epoch = training.place().epoch;
    while let Some(step) = tracing.step(&report.device, || training.step())? {
        let ended = training.place().epoch > epoch;
        if step % LOOK == 0 || ended {
            report.progress(training)?;
        }
        if ended {
            epoch = training.place().epoch;
            report.epoch(training, epoch)?;
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
    first_step: u64,
    /// Time spent in steps, without tests.
    training: Duration,
    since: Instant,
    /// Kernels started by steps, without tests, and the device's count when the steps under way began.
    kernels: u64,
    kernels_since: u64,
    device: Device,
    recent: f64,
    mean: sunstone::metrics::Mean,
    epoch_loss: f64,
}

impl Report {
    fn new(args: &Args, device: &Device, training: &Training) -> Result<Report> {
        Ok(Report {
            json: args.json,
            bar: bar(training.total_steps(), args.json),
            losses: Losses::create(args.losses.as_deref())?,
            first_step: training.place().step,
            training: Duration::ZERO,
            since: Instant::now(),
            kernels: 0,
            kernels_since: 0,
            device: device.clone(),
            recent: f64::NAN,
            mean: Default::default(),
            epoch_loss: f64::NAN,
        })
    }

    fn start(&mut self, source: &str, train: usize, test: usize, device: &Device, training: &Training) {
        let place = training.place();
        if self.json {
            line(
                &json!({
                    "event": "start", "device": device.name(), "hardware": device.caps().hardware, "data": source,
                    "train": train, "test": test, "options": place.options, "step": place.step,
                })
                .to_string(),
            );
        } else {
            line(&format!("{} ({})", device.name(), device.caps().hardware));
            line(&format!("{source}: {train} to learn from, {test} to be tested on"));
            if place.step > 0 {
                line(&format!("resumed at step {} of {}", place.step, training.total_steps()));
            }
        }
        self.bar.set_position(place.step);
        self.bar.reset_eta();
        self.since = Instant::now();
        self.kernels_since = device.stats().kernels_launched;
    }

    fn images_per_second(&self, training: &Training) -> f64 {
        let steps = training.place().step - self.first_step;
        let seconds = (self.training + self.since.elapsed()).as_secs_f64();
        steps as f64 * training.place().options.batch as f64 / seconds.max(1e-9)
    }

    /// Reads the losses of the last steps and shows how it goes.
    fn progress(&mut self, training: &mut Training) -> Result<()> {
        let losses = training.losses();
        let losses = match losses {
            Ok(losses) => losses,
            Err(error) => {
                self.bar.abandon();
                return Err(error);
            }
        };
        for &(_, loss) in &losses {
            self.mean.add(loss as f64, 1.0);
            self.recent = if self.recent.is_nan() { loss as f64 } else { 0.95 * self.recent + 0.05 * loss as f64 };
        }
        self.losses.write(&losses)?;
        let place = training.place();
        self.bar.set_position(place.step);
        self.bar.set_prefix(format!("epoch {}/{}", (place.epoch + 1).min(place.options.epochs), place.options.epochs));
        self.bar.set_message(format!("loss {:.4}  {:.0} images/s", self.recent, self.images_per_second(training)));
        Ok(())
    }

    fn epoch(&mut self, training: &Training, epoch: u64) -> Result<()> {
        self.training += self.since.elapsed();
        self.kernels += self.device.stats().kernels_launched - self.kernels_since;
        self.epoch_loss = self.mean.mean();
        self.mean = Default::default();
        let (_, confusion) = training.test()?;
        if self.json {
            line(
                &json!({
                    "event": "epoch", "epoch": epoch, "step": training.place().step, "train_loss": self.epoch_loss,
                    "test_accuracy": confusion.accuracy(),
                })
                .to_string(),
            );
        } else {
            let text = format!(
                "epoch {epoch}: loss {:.4}, {:.2}% of the test images right",
                self.epoch_loss,
                100.0 * confusion.accuracy()
            );
            self.bar.suspend(|| line(&text));
        }
        self.since = Instant::now();
        self.kernels_since = self.device.stats().kernels_launched;
        Ok(())
    }

    fn interrupted(&self, training: &Training, file: &std::path::Path) {
        self.bar.abandon();
        let step = training.place().step;
        if self.json {
            line(&json!({ "event": "interrupted", "step": step, "file": file }).to_string());
        } else {
            line(&format!("stopped after step {step}; go on with --resume {}", file.display()));
        }
    }

    fn done(
        &self,
        training: &Training,
        device: &Device,
        predictions: &[i32],
        confusion: &Confusion,
        file: &std::path::Path,
    ) {
        self.bar.finish_and_clear();
        let steps = training.place().step;
        let stats = device.stats();
        let run = (steps - self.first_step).max(1);
        let speed = run as f64 * training.place().options.batch as f64 / self.training.as_secs_f64().max(1e-9);
        if self.json {
            let loss = if self.epoch_loss.is_nan() { None } else { Some(self.epoch_loss) };
            line(
                &json!({
                    "event": "done", "device": device.name(), "epochs": training.place().epoch,
                    "test_accuracy": confusion.accuracy(), "train_loss": loss, "images_per_second": speed,
                    "steps": steps, "plans_built": stats.plans_built, "plans_replayed": stats.plans_replayed,
                    "kernels_per_step": self.kernels as f64 / run as f64,
                    "bytes_reserved": stats.bytes_reserved, "file": file,
                })
                .to_string(),
            );
            return;
        }
        let wrong = confusion.most_confused(5);
        if !wrong.is_empty() {
            let pairs: Vec<String> = wrong.iter().map(|(t, p, n)| format!("{t} taken for {p}: {n}")).collect();
            line(&format!("commonest confusions: {}", pairs.join(", ")));
        }
        line(&gallery(training, predictions));
        line(&format!(
            "{:.2}% of {} test images right; {speed:.0} images/s on {}; {} plans built, {} replayed",
            100.0 * confusion.accuracy(),
            confusion.total(),
            self.device.name(),
            stats.plans_built,
            stats.plans_replayed
        ));
        line(&format!("saved {}", file.display()));
    }
}

/// A few test images side by side, drawn with characters, with what the network takes them for; mistakes first.
fn gallery(training: &Training, predictions: &[i32]) -> String {
    let images = training.test_images();
    let mut shown: Vec<usize> = (0..images.len()).collect();
    shown.sort_by_key(|&i| predictions[i] == images.labels[i] as i32);
    let wrong = shown.iter().take_while(|&&i| predictions[i] != images.labels[i] as i32).count().min(1);
    let rights = shown.iter().copied().filter(|&i| predictions[i] == images.labels[i] as i32).take(4 - wrong);
    let shown: Vec<usize> = shown.iter().copied().take(wrong).chain(rights).collect();
    let drawn: Vec<Vec<String>> =
        shown.iter().map(|&i| ascii(images.image(i), images.width).lines().map(str::to_owned).collect()).collect();
    let rows = drawn.iter().map(Vec::len).max().unwrap_or(0);
    let empty = String::new();
    let mut text = String::new();
    for row in 0..rows {
        let cells: Vec<String> = drawn.iter().map(|d| format!("{:<28}", d.get(row).unwrap_or(&empty))).collect();
        text.push_str(cells.join(" ").trim_end());
        text.push('\n');
    }
    let captions: Vec<String> = shown
        .iter()
        .map(|&i| {
            let (p, t) = (predictions[i], images.labels[i]);
            format!("{:^28}", if p == t as i32 { format!("{p}") } else { format!("{p}, but it is {t}") })
        })
        .collect();
    text.push_str(captions.join(" ").trim_end());
    text
}
