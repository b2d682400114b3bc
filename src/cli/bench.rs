//! `sunstone bench`

use super::output::line;
use super::session::{bar, catch_interrupt, check_target, open};
use clap::{Args as ClapArgs, Subcommand};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use sunstone::backend::DeviceState;
use sunstone::bench::{self, Event, Options, Outcome, Report, Row, Run, Suite, Timed, Trace, Work};
use sunstone::prelude::*;

#[derive(ClapArgs)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    measure: Measure,
}

#[derive(Subcommand)]
enum Command {
    /// Show the rows of several files side by side, with how many times faster each is than the first.
    Compare {
        /// Files that `bench --json` wrote.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Draw the devices of several files as one picture: a roofline and grouped bars.
    Plot {
        /// Files that `bench --json` wrote.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Where to put the picture, as SVG.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

#[derive(ClapArgs)]
struct Measure {
    /// What to measure, of peak, matmul, rows, map, conv, attention, train [default: all]; peak always comes first.
    #[arg(value_name = "SUITE")]
    suites: Vec<Suite>,
    /// Where: cpu, wgpu:0, ..., or all [default: the best device; see `sunstone devices`].
    #[arg(long, value_name = "D")]
    device: Option<String>,
    /// Small sizes and few rows: at most a minute for each device.
    #[arg(long)]
    quick: bool,
    /// Measure each row for S seconds, and at least three times [default: 1; with --quick 0.1].
    #[arg(long, value_name = "S", value_parser = seconds)]
    budget: Option<f64>,
    /// Write all measurements to FILE.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write every kernel of one call of each row to FILE, in Chrome's trace format.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

fn seconds(text: &str) -> std::result::Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|e| format!("{e}"))?;
    if (0.0..=3600.0).contains(&seconds) { Ok(seconds) } else { Err("not between 0 and 3600 seconds".into()) }
}

/// Measures, or shows what was measured.
pub fn run(args: &Args) -> Result<()> {
    match &args.command {
        Some(Command::Compare { files }) => compare(&load(files)?),
        Some(Command::Plot { files, out }) => {
            check_target(out)?;
            bench::plot(&load(files)?, out)
        }
        None => measure(&args.measure),
    }
}

fn measure(args: &Measure) -> Result<()> {
    args.json.iter().chain(&args.trace).try_for_each(|file| check_target(file))?;
    let devices = devices(args.device.as_deref())?;
    let mut options = if args.quick { Options::quick() } else { Options::full() };
    if !args.suites.is_empty() {
        options.suites.clone_from(&args.suites);
    }
    options.budget = args.budget.unwrap_or(options.budget);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let mut report = Report::new(bench::date(now), args.quick);
    if cfg!(debug_assertions) {
        eprintln!("note: this is a debug build, whose times on the CPU and the host mean little");
    }
    let (interrupted, mut trace) = (catch_interrupt(), Trace::default());
    for device in &devices {
        report.runs.extend(one(device, &options, &interrupted, &mut trace));
        if let Some(file) = &args.json {
            report.save(file)?;
        }
        if interrupted.load(Ordering::Relaxed) {
            break;
        }
    }
    if let (Some(file), Some(device)) = (&args.trace, devices.last()) {
        trace.check(device)?;
        trace.save(file)?;
    }
    let wrong =
        report.runs.iter().flat_map(|run| &run.rows).filter(|r| matches!(r.outcome, Outcome::Wrong { .. })).count();
    match wrong {
        0 => Ok(()),
        n => Err(Error::Backend { device: "bench".into(), detail: format!("wrong results in rows: {n}") }),
    }
}

/// The device of this name, the best one, or all that open.
fn devices(name: Option<&str>) -> Result<Vec<Device>> {
    if name != Some("all") {
        return Ok(vec![open(name)?]);
    }
    let opened = Device::list().into_iter().filter(|d| matches!(d.state, DeviceState::Caps(_)));
    opened.map(|d| Device::open(&d.name)).collect()
}

/// Measures one device, showing each row as it is done.
fn one(device: &Device, options: &Options, interrupted: &AtomicBool, trace: &mut Trace) -> Option<Run> {
    let caps = device.caps();
    line(&format!("{}: {}; {}", device.name(), caps.hardware, caps.driver));
    line(&format!("{:<60} {:>11} {:>6} {:>18} {:>8}", "", "median", "spread", "rate", "of peak"));
    let clock = Instant::now();
    let bar = bar(0, false);
    let mut on = |event: Event<'_>| {
        match event {
            Event::Start { place, of, suite, name } => {
                bar.set_length(of as u64);
                bar.set_position(place as u64);
                bar.set_prefix(suite);
                bar.set_message(name.to_owned());
            }
            Event::Done { row, kernels } => {
                bar.suspend(|| line(&shown(row)));
                if !kernels.is_empty() {
                    trace.add(device, &format!("{}: {}, {}", row.suite, row.name, row.dtype), kernels);
                }
            }
        }
        !interrupted.load(Ordering::Relaxed)
    };
    let run = bench::ready(bench::run(device, options, &|| clock.elapsed().as_secs_f64(), &mut on));
    bar.finish_and_clear();
    if let Some(run) = &run {
        let memory = run.peak.bytes.map(|rate| format!("{:.1} GB/s", rate / 1e9));
        let arithmetic = run.peak.flops.iter().map(|(dtype, rate)| format!("{:.1} GFLOP/s of {dtype}", rate / 1e9));
        let peaks: Vec<String> = memory.into_iter().chain(arithmetic).collect();
        line(&format!(
            "Peak: {}. {} rows in {:.0} s.\n",
            peaks.join(", "),
            run.rows.len(),
            clock.elapsed().as_secs_f64()
        ));
    }
    run
}

/// A row as a line of the table.
fn shown(row: &Row) -> String {
    let what = format!("{:<9} {:<44} {:<5}", row.suite, row.name, row.dtype);
    match &row.outcome {
        Outcome::Skipped { reason } => format!("{what} -  {reason}"),
        Outcome::Wrong { reason } => format!("{what} WRONG: {reason}"),
        Outcome::Timed(timed) => {
            let Timed { time, host, kernels, of_peak, .. } = timed;
            let spread = format!("{:.0}%", (time.q3 - time.q1) / time.median * 100.0);
            let last = match (of_peak, kernels) {
                (Some(share), _) => format!("{:.1}%", share * 100.0),
                (None, Some(kernels)) if row.work.samples > 0.0 => {
                    format!("{kernels:.0} kernels, asked for in {}", duration(*host))
                }
                (None, _) => String::new(),
            };
            let rate = rate(&row.work, timed);
            format!("{what} {:>11} {spread:>6} {rate:>18} {last:>8}", duration(time.median)).trim_end().to_owned()
        }
    }
}

/// Arithmetic where there is enough of it to be what bounds, else memory, both by the device's own clock where it has
/// one; else samples.
fn rate(Work { flops, bytes, samples }: &Work, timed: &Timed) -> String {
    let seconds = timed.seconds();
    match () {
        () if *flops > 4.0 * bytes || (*bytes == 0.0 && *flops > 0.0) => {
            format!("{:.2} GFLOP/s", flops / seconds / 1e9)
        }
        () if *bytes > 0.0 => format!("{:.2} GB/s", bytes / seconds / 1e9),
        () if *samples > 0.0 => format!("{:.0} samples/s", samples / timed.time.median),
        () => String::new(),
    }
}

fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 1e-3 => format!("{:.2} µs", s * 1e6),
        s if s < 1.0 => format!("{:.3} ms", s * 1e3),
        s => format!("{s:.3} s"),
    }
}

fn load(files: &[PathBuf]) -> Result<Vec<Report>> {
    files.iter().map(|file| Report::load(file)).collect()
}

/// The rows of all files, the first device's beside each other's.
fn compare(reports: &[Report]) -> Result<()> {
    let joined = bench::compare(reports);
    let letter = |i: usize| format!("[{}]", i + 1);
    for (i, column) in joined.columns.iter().enumerate() {
        line(&format!("{} {column}", letter(i)));
    }
    let heads: String = (0..joined.columns.len()).map(|i| format!(" {:>20}", letter(i))).collect();
    line(&format!("{:<60}{heads}", ""));
    for row in &joined.lines {
        let [suite, name, dtype] = &row.key;
        let cell = |(i, time): (usize, &Option<f64>)| {
            let text = time.map_or("-".into(), duration);
            let ratio = row.ratio(i).filter(|_| i > 0).map_or(String::new(), |r| format!("{r:.2}×"));
            format!(" {text:>11} {ratio:>8}")
        };
        let cells: String = row.times.iter().enumerate().map(cell).collect();
        line(format!("{suite:<9} {name:<44} {dtype:<5}{cells}").trim_end());
    }
    for i in 1..joined.columns.len() {
        match joined.mean(i) {
            Some((mean, count)) => {
                line(&format!("{}: {mean:.2} times as fast as [1], the geometric mean of {count} rows", letter(i)))
            }
            None => line(&format!("{}: no row in common with [1]", letter(i))),
        }
    }
    Ok(())
}
