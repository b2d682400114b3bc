//! What every training at a terminal has in common: a device, a way to stop it, a file of losses, a bar.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use sunstone::bench::Trace;
use sunstone::prelude::*;

/// Steps between two looks at the losses: each look waits for the device.
pub const LOOK: u64 = 10;

/// The device of this name, or the best.
pub fn open(name: Option<&str>) -> Result<Device> {
    match name {
        Some(name) => Device::open(name),
        None => Device::best(),
    }
}

/// A flag that Ctrl-C raises; pressed again, it ends the program at once.
pub fn catch_interrupt() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let raised = flag.clone();
    // Without a handler Ctrl-C ends the program without saving, which is no reason not to train.
    let _ = ctrlc::set_handler(move || {
        if raised.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    });
    flag
}

/// A bar of `total` steps on standard error; invisible where programs read.
pub fn bar(total: u64, json: bool) -> ProgressBar {
    let target = if json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some(total), target);
    if let Ok(style) = ProgressStyle::with_template("{prefix} {bar:32} {pos}/{len} steps  {msg}  {eta} left") {
        bar.set_style(style);
    }
    bar
}

/// The file of losses, if one was asked for.
pub struct Losses(Option<(PathBuf, BufWriter<File>)>);

impl Losses {
    pub fn create(path: Option<&Path>) -> Result<Losses> {
        let open = |path: &Path| match File::create(path) {
            Ok(file) => Ok((path.to_owned(), BufWriter::new(file))),
            Err(source) => Err(io(path, source)),
        };
        path.map(open).transpose().map(Losses)
    }

    /// One loss a line, with every digit that it takes to read the same number back.
    pub fn write(&mut self, losses: &[(u64, f32)]) -> Result<()> {
        let Some((path, file)) = &mut self.0 else { return Ok(()) };
        let mut write = || {
            losses.iter().try_for_each(|(_, loss)| writeln!(file, "{loss:?}"))?;
            file.flush()
        };
        write().map_err(|source| io(path, source))
    }
}

/// The file of one step's kernels, if one was asked for.
pub struct Tracing {
    file: Option<PathBuf>,
    steps: u64,
}

impl Tracing {
    /// The step that is traced, counted from where the training begins or resumes: the first makes the plan, the second
    /// may record it, from then on it is replayed.
    const STEP: u64 = 3;

    pub fn new(file: Option<&Path>) -> Result<Tracing> {
        file.map_or(Ok(()), check_target)?;
        Ok(Tracing { file: file.map(Path::to_owned), steps: 0 })
    }

    /// Makes a step, traced if it is its turn.
    pub fn step<T>(&mut self, device: &Device, step: impl FnOnce() -> Result<T>) -> Result<T> {
        self.steps += 1;
        let Some(file) = self.file.as_ref().filter(|_| self.steps == Tracing::STEP) else { return step() };
        let (value, kernels) = device.profile(step)?;
        // A training that is over already runs nothing.
        if !kernels.is_empty() {
            let mut trace = Trace::default();
            trace.add(device, &format!("step {}", self.steps), &kernels);
            trace.save(file)?;
            self.file = None;
        }
        Ok(value)
    }
}

impl Drop for Tracing {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            let (least, file) = (Tracing::STEP, file.display());
            eprintln!("note: fewer than {least} steps were made, so no step was traced and {file} is not written");
        }
    }
}

/// An error now, and not after hours of training, where a file cannot be put at `path`.
pub fn check_target(path: &Path) -> Result<()> {
    let folder = path.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if path.is_dir() || path.file_name().is_none() {
        return Err(Error::Invalid(format!("{}: is a folder, not a file to save to", path.display())));
    }
    match folder.is_dir() {
        true => Ok(()),
        false => Err(Error::Invalid(format!("{}: there is no folder to save to", path.display()))),
    }
}

fn io(path: &Path, source: std::io::Error) -> Error {
    Error::Io { path: path.to_owned(), source: Arc::new(source) }
}
