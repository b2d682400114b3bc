//! How fast is a device? The same rows for every device, each checked before it is timed.
//!
//! ```
//! use sunstone::bench::{self, Options, Suite};
//! use sunstone::prelude::*;
//! let options = Options { suites: vec![Suite::Map], budget: 0.0, ..Options::quick() };
//! let clock = std::time::Instant::now();
//! let mut rows = 0;
//! let mut on = |event: bench::Event<'_>| {
//!     rows += matches!(event, bench::Event::Done { .. }) as usize;
//!     rows < 2
//! };
//! let seconds = || clock.elapsed().as_secs_f64();
//! let run = bench::ready(bench::run(&Device::cpu(), &options, &seconds, &mut on)).expect("no wait outside a browser");
//! assert_eq!(run.rows.len(), 2);
//! ```
//!
//! Nothing here reads a clock, starts a thread, or blocks other than by `wait`, so that a page can run it too.

mod attention;
mod case;
mod compare;
mod conv;
mod map;
mod matmul;
mod measure;
mod peak;
#[cfg(feature = "cli")]
mod plot;
pub(crate) mod report;
mod rows;
mod trace;
mod train;
#[cfg(all(feature = "wgpu", not(target_arch = "wasm32")))]
mod tune;
mod workgroup;

pub use compare::{Comparison, Line, compare};
#[cfg(feature = "cli")]
pub use plot::{MAX_RUNS, plot};
pub use report::{About, FORMAT, Outcome, Peak, Report, Row, Time, Timed, VERSION, Work, date};
pub use trace::Trace;
#[cfg(all(feature = "wgpu", not(target_arch = "wasm32")))]
pub use tune::{On, Step, Trial, Tuned, tune};

use crate::device::{Device, KernelTime};
use crate::error::Error;
use case::Case;
use measure::Clock;
use std::pin::pin;
use std::str::FromStr;
use std::task::{Context, Poll, Waker};

/// A group of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Suite {
    /// What the device can do at most: memory, arithmetic, latencies, transfers. Always runs, as the measure of the rest.
    Peak,
    /// Matrix products.
    Matmul,
    /// Folds along rows and columns, and what is made of them.
    Rows,
    /// What touches every element once.
    Map,
    /// ResNet-50's layers, forward and both gradients.
    Conv,
    /// Attention, forward and with its gradients.
    Attention,
    /// Whole training steps.
    Train,
}

impl Suite {
    /// All of them, in the order in which they run.
    pub const ALL: [Suite; 7] =
        [Suite::Peak, Suite::Matmul, Suite::Rows, Suite::Map, Suite::Conv, Suite::Attention, Suite::Train];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Suite::Peak => "peak",
            Suite::Matmul => "matmul",
            Suite::Rows => "rows",
            Suite::Map => "map",
            Suite::Conv => "conv",
            Suite::Attention => "attention",
            Suite::Train => "train",
        }
    }

    fn cases(self, quick: bool) -> Vec<Case> {
        match self {
            Suite::Peak => peak::cases(quick),
            Suite::Matmul => matmul::cases(quick),
            Suite::Rows => rows::cases(quick),
            Suite::Map => map::cases(quick),
            Suite::Conv => conv::cases(quick),
            Suite::Attention => attention::cases(quick),
            Suite::Train => train::cases(quick),
        }
    }
}

impl FromStr for Suite {
    type Err = Error;

    fn from_str(name: &str) -> Result<Suite, Error> {
        let known = || Suite::ALL.map(Suite::name).join(", ");
        let found = Suite::ALL.into_iter().find(|s| s.name() == name);
        found.ok_or_else(|| Error::Invalid(format!("unknown suite '{name}'; there are {}", known())))
    }
}

/// What to run, and for how long.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The suites; [`Suite::Peak`] comes first, asked for or not.
    pub suites: Vec<Suite>,
    /// Small sizes and few rows. What is read from memory may then lie in a cache.
    pub quick: bool,
    /// Seconds that are measured for each row, at least three samples.
    pub budget: f64,
    /// Seconds for all rows; those that would begin later are listed as skipped.
    pub limit: f64,
}

impl Options {
    /// Every suite, as large as a GPU wants it.
    pub fn full() -> Options {
        Options { suites: Suite::ALL.to_vec(), quick: false, budget: 1.0, limit: f64::INFINITY }
    }

    /// Every suite, small: over within a minute, also where the device is a CPU of two cores.
    pub fn quick() -> Options {
        Options { suites: Suite::ALL.to_vec(), quick: true, budget: 0.1, limit: 45.0 }
    }
}

/// What [`run`] tells while it goes on.
#[derive(Debug)]
pub enum Event<'a> {
    /// A row begins: its place, how many there are, suite and name.
    Start { place: usize, of: usize, suite: &'static str, name: &'a str },
    /// A row is done; of one call's kernels, each with its time, where the device tells.
    Done { row: &'a Row, kernels: &'a [KernelTime] },
}

/// Runs the rows one by one. `clock` gives seconds since any moment; `on` hears of each row and may end the run by
/// returning false.
pub async fn run(
    device: &Device,
    options: &Options,
    clock: Clock<'_>,
    on: &mut dyn FnMut(Event<'_>) -> bool,
) -> report::Run {
    run_pausing(device, options, clock, on, async || {}).await
}

/// As [`run`], and awaits `pause` before each row. A page hears the user's wish to stop only there: on a device that has
/// nothing to wait for, its one thread would else go on to the end.
pub async fn run_pausing(
    device: &Device,
    options: &Options,
    clock: Clock<'_>,
    on: &mut dyn FnMut(Event<'_>) -> bool,
    pause: impl AsyncFn(),
) -> report::Run {
    let wanted = |s: &Suite| *s == Suite::Peak || options.suites.contains(s);
    let mut cases = Vec::new();
    Suite::ALL.into_iter().filter(wanted).for_each(|suite| cases.extend(suite.cases(options.quick)));
    let mut run = report::Run { device: About::of(device), peak: Peak::default(), rows: Vec::new() };
    let (began, of) = (clock(), cases.len());
    let mut lost: Option<String> = None;
    for (place, case) in cases.into_iter().enumerate() {
        pause().await;
        if !on(Event::Start { place, of, suite: case.suite.name(), name: &case.name }) {
            break;
        }
        let (suite, name, dtype, work) = (case.suite, case.name.clone(), case.dtype, case.work);
        let skipped = |reason: &str| (Outcome::Skipped { reason: report::tidy(reason) }, Vec::new());
        let (outcome, kernels) = match &lost {
            Some(reason) => skipped(reason),
            None if clock() - began > options.limit => {
                skipped(&format!("the {} s for all rows were over", options.limit))
            }
            None => measure::outcome(device, case, options.budget, clock).await.unwrap_or_else(|error| {
                if matches!(error, Error::DeviceLost { .. }) {
                    lost = Some(error.to_string());
                }
                skipped(&error.to_string())
            }),
        };
        let mut row = Row { suite: suite.name().into(), name, dtype: dtype.name().into(), work, outcome };
        run.peak.learn(&row);
        run.peak.judge(&mut row);
        let go_on = on(Event::Done { row: &row, kernels: &kernels });
        run.rows.push(row);
        if !go_on {
            break;
        }
    }
    // The first rows were timed before the highest was known.
    let peak = run.peak.clone();
    run.rows.iter_mut().for_each(|row| peak.judge(row));
    run
}

/// The value of a future that has nothing to wait for, as all here outside a browser.
pub fn ready<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

pub use report::Run;
