//! `sunstone view`

use super::output::line;
use super::session::check_target;
use crate::view::{self, Data, MOST_STEPS, Options, Pixels, Scene, Subject, keys};
use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use sunstone::data::idx;
use sunstone::models::training::Architecture;
use sunstone::prelude::*;

#[derive(ClapArgs)]
#[command(after_help = keys::help())]
pub struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// The GPU that trains and draws: wgpu:0, wgpu:1, ... [default: the first that can].
    #[arg(long, value_name = "D", global = true)]
    device: Option<String>,
    /// The learning rate [default: 0.005 for image, 0.02 for digits, 0.01 for field].
    #[arg(long, value_name = "X", global = true)]
    lr: Option<f64>,
    /// Decides initial weights and the order of the data.
    #[arg(long, value_name = "N", global = true, default_value_t = 0)]
    seed: u64,
    /// Steps a frame: in a window at most, as a frame has time; without one always.
    #[arg(long, value_name = "N", global = true, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=MOST_STEPS as u64))]
    steps: u64,
    /// How large text and controls are: 1, 2, ... [default: as the display wants].
    #[arg(long, value_name = "S", global = true)]
    scale: Option<f32>,
    /// Size of the window before it is scaled.
    #[arg(long, value_name = "WxH", global = true, default_value = "1120x700", value_parser = size)]
    size: [u32; 2],
    /// Open no window: draw N frames and stop.
    #[arg(long, value_name = "N", global = true, value_parser = clap::value_parser!(u64).range(1..))]
    frames: Option<u64>,
    /// Where the last of the N frames is written, as a PNG.
    #[arg(long, value_name = "FILE", global = true)]
    screenshot: Option<PathBuf>,
    /// With --frames: one JSON object for each frame.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand, Clone)]
enum What {
    /// A network learns to paint a picture, as a function from a place to a colour.
    #[command(after_help = keys::help())]
    Image {
        /// A PNG or JPEG [default: a picture that the program makes].
        file: Option<PathBuf>,
    },
    /// The network of `train digits` learns, while you draw digits for it.
    #[command(after_help = keys::help())]
    Digits {
        /// Folder with MNIST's idx files, plain or gzip [default: digits that the program draws itself].
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
        /// The network.
        #[arg(long, default_value = "mlp")]
        model: Model,
    },
    /// A network learns to which of two classes a point belongs; clicks add points.
    #[command(after_help = keys::help())]
    Field {
        /// Which points.
        #[arg(default_value = "spirals")]
        points: Data,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Model {
    /// Two linear layers, 784-128-10.
    Mlp,
    /// Two convolutions and two linear layers.
    Cnn,
}

fn size(text: &str) -> std::result::Result<[u32; 2], String> {
    let sides = text.split_once(['x', 'X']).and_then(|(w, h)| Some([w.parse().ok()?, h.parse().ok()?]));
    let fits = |sides: &[u32; 2]| sides[0] >= 640 && sides[1] >= 420 && sides.iter().all(|&side| side <= 16_384);
    sides.filter(fits).ok_or_else(|| "wants width x height, from 640x420 to 16384x16384".into())
}

impl Args {
    /// All that can be wrong with files is found here, before a window opens.
    fn options(&self) -> Result<Options> {
        if let Some(lr) = self.lr.filter(|lr| !(lr.is_finite() && *lr > 0.0)) {
            return Err(Error::Invalid(format!("a learning rate of {lr}")));
        }
        if let Some(scale) = self.scale.filter(|scale| !(0.5..=4.0).contains(scale)) {
            return Err(Error::Invalid(format!("a scale of {scale}; it may be 0.5 to 4")));
        }
        let subject = match self.what.clone().unwrap_or(What::Image { file: None }) {
            What::Image { file } => Subject::Image(file.map(|f| Pixels::load(&f)).transpose()?.map(Arc::new)),
            What::Digits { data, model } => {
                let data = data.map(|dir| idx::mnist(&dir)).transpose()?.map(Arc::new);
                let architecture = if model == Model::Mlp { Architecture::Mlp } else { Architecture::Cnn };
                Subject::Digits(data, architecture)
            }
            What::Field { points } => Subject::Field(points),
        };
        Ok(Options {
            subject,
            device: self.device.clone(),
            lr: self.lr,
            seed: self.seed,
            steps: self.steps as usize,
            scale: self.scale,
            size: self.size,
        })
    }
}

/// Watches.
pub fn run(args: &Args) -> Result<()> {
    let (frames, file) = match (args.frames, &args.screenshot) {
        (None, None) => return view::window(args.options()?),
        (Some(frames), Some(file)) => (frames, file),
        _ => return Err(Error::Invalid("--frames N and --screenshot FILE.png go together".into())),
    };
    check_target(file)?;
    let (mut frame, mut last) = (0, String::new());
    view::offscreen(&args.options()?, frames, file, |scene| {
        frame += 1;
        last = said(scene);
        if args.json {
            line(&told(frame, scene).to_string());
        }
    })?;
    if !args.json {
        line(&format!("{last}; {}", file.display()));
    }
    Ok(())
}

fn said(scene: &Scene) -> String {
    let number = |n: Option<f64>| n.map_or("none".into(), |n| format!("{n:.4}"));
    format!("step {}, loss {}, quality {}", scene.step, number(scene.loss.last()), number(scene.quality.last()))
}

fn told(frame: u64, scene: &Scene) -> serde_json::Value {
    json!({ "frame": frame, "step": scene.step, "loss": scene.loss.last(), "quality": scene.quality.last(), "trouble": scene.trouble })
}
