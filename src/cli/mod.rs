//! The command line: what may be asked, and how errors come out.

mod bench;
mod devices;
mod digits;
mod generate;
mod ops;
mod output;
mod session;
mod text;
#[cfg(feature = "wgpu")]
mod tune;
#[cfg(feature = "view")]
mod view;
mod web;

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use sunstone::Error;

/// A portable tensor runtime: trains on any GPU that Vulkan, Metal or DX12 reaches, and on the CPU.
#[derive(Parser)]
#[command(version, about, long_about = None, after_help = "Without a command: sunstone train digits, on the best device.")]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// List every device, what it grants, and which one is picked by default.
    Devices {
        /// One JSON object instead of text.
        #[arg(long)]
        json: bool,
    },
    /// List every op, its parameters, and the dtypes that it takes on each device.
    Ops {
        /// One JSON object instead of Markdown tables.
        #[arg(long)]
        json: bool,
    },
    /// Serve the page that trains in a browser, on this machine alone.
    Web(web::Args),
    /// Watch a network learn, in a window.
    #[cfg(feature = "view")]
    View(view::Args),
    /// Train a network.
    Train {
        #[command(subcommand)]
        what: Train,
    },
    /// Write text with a network that `train text` trained.
    Generate(generate::Args),
    /// Measure devices: each row checked against the CPU, then timed.
    Bench(bench::Args),
    /// Find out which kernels of products suit a GPU, and remember it for this machine.
    #[cfg(feature = "wgpu")]
    Tune(tune::Args),
}

#[derive(Subcommand)]
enum Train {
    /// Learn to recognise handwritten digits.
    Digits(digits::Args),
    /// Learn to write like a text, one character after the other.
    Text(text::Args),
}

/// Runs what the arguments ask for. Exit code 2: the input was at fault; 1: the training failed, or the device did.
pub fn run() -> ExitCode {
    let command =
        Cli::parse().command.unwrap_or_else(|| Command::Train { what: Train::Digits(digits::Args::default()) });
    let result = match command {
        Command::Devices { json } => devices::run(json),
        Command::Ops { json } => ops::run(json),
        Command::Web(args) => web::run(&args),
        #[cfg(feature = "view")]
        Command::View(args) => view::run(&args),
        Command::Train { what: Train::Digits(args) } => digits::run(&args),
        Command::Train { what: Train::Text(args) } => text::run(&args),
        Command::Generate(args) => generate::run(&args),
        Command::Bench(args) => bench::run(&args),
        #[cfg(feature = "wgpu")]
        Command::Tune(args) => tune::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(if matches!(error, Error::NotFinite { .. } | Error::Backend { .. }) { 1 } else { 2 })
        }
    }
}
