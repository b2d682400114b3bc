//! `sunstone tune`

use super::output::line;
use super::session::{bar, catch_interrupt};
use clap::Args as ClapArgs;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use sunstone::backend::wgpu::WgpuBackend;
use sunstone::bench::{self, Trial, Tuned};
use sunstone::device::Backend;
use sunstone::prelude::*;

#[derive(ClapArgs)]
pub struct Args {
    /// Which GPU: wgpu:0, wgpu:1, ...; see `sunstone devices`.
    #[arg(long, value_name = "D", default_value = "wgpu:0")]
    device: String,
    /// Show what would be saved, and save nothing.
    #[arg(long)]
    dry_run: bool,
    /// Forget what was saved for this GPU.
    #[arg(long, conflicts_with = "dry_run")]
    reset: bool,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// Tries, shows and saves; or forgets.
pub fn run(args: &Args) -> Result<()> {
    let unknown = || {
        let known = "wgpu:0, wgpu:1, ... (`sunstone devices` lists them; only their kernels can be tuned)";
        Error::UnknownDevice { name: args.device.clone(), known: known.into() }
    };
    let index = args.device.strip_prefix("wgpu:").and_then(|n| n.parse().ok()).ok_or_else(unknown)?;
    let backend = WgpuBackend::open(index)?;
    if args.reset {
        let there = backend.forget_tuning()?;
        if args.json {
            line(&json!({ "device": args.device, "forgotten": there, "tuning": backend.tuning() }).to_string());
        } else {
            line(if there { "Forgotten." } else { "Nothing was saved for this GPU." });
        }
        return Ok(());
    }
    let Some(found) = find(&backend, args.json)? else {
        eprintln!("interrupted: nothing was saved");
        return Ok(());
    };
    let file = if args.dry_run { None } else { Some(backend.save_tuning()?) };
    if args.json {
        let hardware = &backend.caps().hardware;
        let report = json!({ "device": args.device, "hardware": hardware, "found": found, "file": file });
        line(&report.to_string());
        return Ok(());
    }
    for step in &found.steps {
        let change =
            if step.before == step.after { "kept".into() } else { format!("instead of {}", shown(step.before)) };
        line(&format!("{:<14} {:>6}  {change}", step.number, shown(step.after)));
    }
    match file {
        Some(file) => line(&format!("Saved in {}; `sunstone tune --reset` forgets it.", file.display())),
        None => line("Nothing was saved."),
    }
    Ok(())
}

fn find(backend: &Arc<WgpuBackend>, quiet: bool) -> Result<Option<Tuned>> {
    let (clock, interrupted) = (Instant::now(), catch_interrupt());
    let bar = bar(0, quiet);
    let mut on = |trial: &Trial, place: usize, of: usize| {
        let text = format!("{:<14} {:>6} {:>10.4} ms", trial.number, shown(trial.value), trial.seconds * 1e3);
        if !quiet {
            bar.suspend(|| line(&text));
        }
        bar.set_length(of as u64);
        bar.set_position(place as u64);
        bar.set_message(trial.number);
        !interrupted.load(Ordering::Relaxed)
    };
    let found = bench::tune(backend, &|| clock.elapsed().as_secs_f64(), &mut on);
    bar.finish_and_clear();
    found
}

/// What switches a kernel off is no number.
fn shown(value: u32) -> String {
    if value == u32::MAX { "never".into() } else { value.to_string() }
}
