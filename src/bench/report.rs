//! What was measured, as data: the JSON that `sunstone bench` writes, version 1.
//!
//! Times are in seconds, work in floating-point operations and bytes of one call. A reader must refuse another
//! [`FORMAT`] or a newer [`VERSION`]; fields may be added within a version.

use super::peak;
use crate::device::{Caps, Device};
use crate::error::{Error, Result};
use crate::io::atomic;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// What such a file calls itself.
pub const FORMAT: &str = "sunstone-bench";
/// The version that is written, and the newest that is read.
pub const VERSION: u32 = 1;

const MAX_BYTES: u64 = 16 << 20;
const MAX_RUNS: usize = 64;
const MAX_ROWS: usize = 10_000;
const MAX_TEXT: usize = 400;

/// A file of measurements.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
    /// The program that measured, with its version.
    pub program: String,
    /// When it began, in UTC: `2026-01-31T12:00:00Z`.
    pub date: String,
    /// Whether it measured the small sizes.
    pub quick: bool,
    /// One for each device.
    pub runs: Vec<Run>,
}

/// What was measured on one device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The device.
    pub device: About,
    /// The most that it was seen to do.
    pub peak: Peak,
    /// In the order in which they were measured.
    pub rows: Vec<Row>,
}

/// A device, for people and for comparisons.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// Its name on its machine: `wgpu:0`.
    pub name: String,
    /// The hardware's own name.
    pub hardware: String,
    /// The driver, its version and the API.
    pub driver: String,
    /// `cpu`, `wgpu`, `cuda`.
    pub backend: String,
    /// True when a CPU pretends to be a GPU.
    pub software: bool,
    /// The machine's operating system and processor family.
    pub machine: String,
    /// Element types that it computes with.
    #[serde(default)]
    pub dtypes: Vec<String>,
    /// Limits and features by name.
    #[serde(default)]
    pub limits: BTreeMap<String, String>,
}

/// The most that a device was seen to do.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Peak {
    /// Bytes a second, read and written: the best of copy, scale and triad.
    pub bytes: Option<f64>,
    /// Operations a second by dtype: the best of all rows, of which large products and chained multiply-adds come first.
    pub flops: BTreeMap<String, f64>,
}

/// One measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The suite that it belongs to.
    pub suite: String,
    /// Its name, unique in the suite together with the dtype.
    pub name: String,
    /// What it computes with.
    pub dtype: String,
    /// What one call does.
    pub work: Work,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What one call does; 0 where that says nothing about it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// Floating-point operations, a multiply-add as two.
    pub flops: f64,
    /// Bytes of operands and results, each counted once.
    pub bytes: f64,
    /// Examples (for texts: tokens) of a training step.
    #[serde(default)]
    pub samples: f64,
}

/// What came of a row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It was right, and timed.
    Timed(Timed),
    /// It does not run on this device, or was not reached.
    Skipped {
        /// Why.
        reason: String,
    },
    /// It gave other results than the CPU, so its time means nothing.
    Wrong {
        /// What differs.
        reason: String,
    },
}

/// The times of a row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Timed {
    /// Seconds of one call, the wait for its end shared by the calls of a sample.
    pub time: Time,
    /// Median seconds of one call that the host was busy with asking.
    pub host: f64,
    /// Seconds of one call on the device's own clock, all kernels together, where it has one.
    #[serde(default)]
    pub device: Option<f64>,
    /// Kernels of one call.
    #[serde(default)]
    pub kernels: Option<f64>,
    /// The largest difference from the CPU's result, as a share of the largest value; none where there is no result.
    #[serde(default)]
    pub error: Option<f64>,
    /// The time that the device's peak allows, as a share of the time it took.
    #[serde(default)]
    pub of_peak: Option<f64>,
}

/// Median and spread of the samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Time {
    /// Half of the samples took longer.
    pub median: f64,
    /// A quarter of the samples took less.
    pub q1: f64,
    /// A quarter of the samples took longer.
    pub q3: f64,
    /// The shortest.
    pub best: f64,
    /// How many samples there are.
    pub samples: u32,
    /// Calls in each.
    pub calls: u32,
}

impl Timed {
    /// Seconds of one call, by the device's own clock where it has one.
    pub fn seconds(&self) -> f64 {
        self.device.unwrap_or(self.time.median)
    }
}

impl About {
    /// What is known of a device.
    pub fn of(device: &Device) -> About {
        let Caps { hardware, driver, software, dtypes, max_buffer_bytes, max_buffers_per_kernel, notes, .. } =
            device.caps();
        let mut limits: BTreeMap<String, String> = notes.iter().map(|(k, v)| (tidy(k), tidy(v))).collect();
        limits.insert("max_buffer_bytes".into(), max_buffer_bytes.to_string());
        limits.insert("max_buffers_per_kernel".into(), max_buffers_per_kernel.to_string());
        About {
            name: tidy(device.name()),
            hardware: tidy(hardware),
            driver: tidy(driver),
            backend: tidy(device.name().split(':').next().unwrap_or_default()),
            software: *software,
            machine: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            dtypes: dtypes.iter().map(|d| d.name().to_owned()).collect(),
            limits,
        }
    }
}

impl Peak {
    /// Takes a row into account. Of memory only the plainest rows tell: others' bytes may never leave a cache.
    pub(super) fn learn(&mut self, row: &Row) {
        let Outcome::Timed(timed) = &row.outcome else { return };
        if row.suite == "peak" && matches!(row.name.as_str(), "copy" | "scale" | "triad") {
            let rate = row.work.bytes / timed.seconds();
            self.bytes = Some(self.bytes.map_or(rate, |best| best.max(rate)));
        } else if row.work.flops > 0.0 {
            let best = self.flops.entry(row.dtype.clone()).or_default();
            *best = best.max(row.work.flops / timed.seconds());
        }
    }

    /// Writes into a row which share of this peak it reaches: of memory or of arithmetic, whichever bounds it.
    pub(super) fn judge(&self, row: &mut Row) {
        let Work { flops, bytes, .. } = row.work;
        let arithmetic = self.flops.get(&row.dtype).map_or(0.0, |peak| flops / peak);
        let memory = self.bytes.map_or(0.0, |peak| bytes / peak);
        let elsewhere = matches!(row.name.as_str(), "upload" | "download" | peak::WORKGROUP);
        if let Outcome::Timed(timed) = &mut row.outcome {
            let bound = arithmetic.max(memory);
            timed.of_peak = (bound > 0.0 && !elsewhere).then(|| bound / timed.seconds());
        }
    }
}

impl Report {
    /// An empty one of this program; `date` as [`date`] gives it.
    pub fn new(date: String, quick: bool) -> Report {
        let debug = if cfg!(debug_assertions) { ", debug build" } else { "" };
        let program = format!("sunstone {}{debug}", env!("CARGO_PKG_VERSION"));
        Report { format: FORMAT.into(), version: VERSION, program, date, quick, runs: Vec::new() }
    }

    /// It as JSON: a file's content.
    ///
    /// # Errors
    /// None that a report can cause.
    pub fn json(&self) -> Result<String> {
        let json = serde_json::to_string_pretty(self).map_err(|e| Error::Invalid(e.to_string()))?;
        Ok(json + "\n")
    }

    /// Writes it as JSON, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, path: &Path) -> Result<()> {
        atomic::write(path, &[self.json()?.as_bytes()])
    }

    /// Reads a file, from whomever it may be.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Malformed`] where it is too large, no such file, or says what cannot be.
    pub fn load(path: &Path) -> Result<Report> {
        let file = std::fs::File::open(path).map_err(|e| Error::io(path, e))?;
        let mut bytes = Vec::new();
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|e| Error::io(path, e))?;
        Report::parse(&bytes).map_err(|detail| Error::malformed(path, detail))
    }

    /// Reads such a file's content, or says what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Report, String> {
        #[derive(Deserialize)]
        struct Head {
            format: String,
            version: u32,
        }
        if bytes.len() as u64 > MAX_BYTES {
            return Err(format!("more than {MAX_BYTES} bytes"));
        }
        let head: Head = serde_json::from_slice(bytes).map_err(|e| format!("not a file of measurements: {e}"))?;
        if head.format != FORMAT || head.version != VERSION {
            return Err(format!("version {} of '{}', not {VERSION} of '{FORMAT}'", head.version, tidy(&head.format)));
        }
        let report: Report = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        report.check()?;
        Ok(report)
    }

    fn check(&self) -> Result<(), String> {
        texts([&self.program, &self.date])?;
        most("devices", self.runs.len(), MAX_RUNS)?;
        self.runs.iter().try_for_each(Run::check)
    }
}

impl Run {
    fn check(&self) -> Result<(), String> {
        let About { name, hardware, driver, backend, machine, dtypes, limits, .. } = &self.device;
        texts([name, hardware, driver, backend, machine])?;
        texts(dtypes.iter().chain(limits.keys()).chain(limits.values()))?;
        most("rows", self.rows.len(), MAX_ROWS)?;
        texts(self.peak.flops.keys())?;
        self.peak.flops.values().chain(&self.peak.bytes).try_for_each(|&n| positive("peak", n))?;
        self.rows.iter().try_for_each(Row::check)
    }
}

impl Row {
    fn check(&self) -> Result<(), String> {
        texts([&self.suite, &self.name, &self.dtype])?;
        for n in [self.work.flops, self.work.bytes, self.work.samples] {
            if !(0.0..=1e30).contains(&n) {
                return Err(format!("{}: work of {n}", self.name));
            }
        }
        match &self.outcome {
            Outcome::Timed(Timed { time, host, device, kernels, error, of_peak }) => {
                for n in [time.median, time.q1, time.q3, time.best] {
                    positive(&self.name, n)?;
                }
                if !(time.best <= time.q1 && time.q1 <= time.median && time.median <= time.q3) {
                    return Err(format!("{}: its times are out of order", self.name));
                }
                device.map_or(Ok(()), |n| positive(&self.name, n))?;
                let more = [device, kernels, error, of_peak].into_iter().flatten();
                match more.chain([host]).find(|n| !(0.0..=1e30).contains(*n)) {
                    Some(n) => Err(format!("{}: a number {n}", self.name)),
                    None => Ok(()),
                }
            }
            Outcome::Skipped { reason } | Outcome::Wrong { reason } => texts([reason]),
        }
    }
}

fn most(what: &str, count: usize, most: usize) -> Result<(), String> {
    if count <= most { Ok(()) } else { Err(format!("{count} {what}, more than {most}")) }
}

fn positive(what: &str, n: f64) -> Result<(), String> {
    if n > 1e-12 && n < 1e30 { Ok(()) } else { Err(format!("{what}: {n} where a positive number belongs")) }
}

/// Texts go to terminals: escape sequences have no place in them.
fn texts<'a>(texts: impl IntoIterator<Item = &'a String>) -> Result<(), String> {
    match texts.into_iter().find(|t| t.len() > MAX_TEXT || t.chars().any(char::is_control)) {
        Some(text) => Err(format!("a text that is too long or not printable: {}", tidy(text))),
        None => Ok(()),
    }
}

/// A text as a file may hold it: one line, not too long.
pub(crate) fn tidy(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        if out.len() + c.len_utf8() > MAX_TEXT {
            break;
        }
        out.push(c);
    }
    out
}

/// Seconds since 1970 as a date in UTC (Hinnant, "chrono-compatible low-level date algorithms").
///
/// ```
/// assert_eq!(sunstone::bench::date(951_782_400), "2000-02-29T00:00:00Z");
/// ```
pub fn date(unix: u64) -> String {
    let (days, seconds) = (unix / 86_400 + 719_468, unix % 86_400);
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year + era * 400 + (month <= 2) as u64;
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        let time = Time { median: 2.0, q1: 1.5, q3: 3.0, best: 1.0, samples: 5, calls: 2 };
        let timed = Timed { time, host: 0.5, device: None, kernels: Some(1.0), error: Some(1e-7), of_peak: None };
        let work = Work { flops: 8.0, bytes: 2.0, samples: 0.0 };
        Row { suite: "peak".into(), name: "x".into(), dtype: "f32".into(), work, outcome: Outcome::Timed(timed) }
    }

    fn report() -> Report {
        let rows = vec![row(), Row { outcome: Outcome::Skipped { reason: "no".into() }, ..row() }];
        let run = Run { device: About::default(), peak: Peak::default(), rows };
        Report { runs: vec![run], ..Report::new(date(0), true) }
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = serde_json::to_vec(&report()).unwrap();
        assert_eq!(Report::parse(&bytes).unwrap(), report());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let spoil = |f: &dyn Fn(&mut Report)| {
            let mut report = report();
            f(&mut report);
            Report::parse(&serde_json::to_vec(&report).unwrap()).unwrap_err()
        };
        let timed = |report: &mut Report, f: &dyn Fn(&mut Timed)| {
            if let Outcome::Timed(timed) = &mut report.runs[0].rows[0].outcome {
                f(timed)
            }
        };
        assert!(spoil(&|r| r.version = 2).contains("version 2"));
        assert!(spoil(&|r| r.format = "other".into()).contains("other"));
        assert!(spoil(&|r| r.date = "\u{1b}[2J".into()).contains("not printable"));
        assert!(spoil(&|r| r.program = "x".repeat(401)).contains("too long"));
        assert!(spoil(&|r| r.runs = vec![r.runs[0].clone(); 65]).contains("65 devices"));
        assert!(spoil(&|r| r.runs[0].rows[0].work.flops = -1.0).contains("work of -1"));
        assert!(spoil(&|r| timed(r, &|t| t.time.median = 0.0)).contains("positive"));
        assert!(spoil(&|r| timed(r, &|t| t.time.q3 = 0.1)).contains("out of order"));
        assert!(Report::parse(b"{}").unwrap_err().contains("not a file of measurements"));
        assert!(Report::parse(&vec![b' '; (MAX_BYTES + 1) as usize]).unwrap_err().contains("more than"));
    }

    #[test]
    fn the_peak_is_the_best_and_the_share_that_of_what_bounds() {
        let mut peak = Peak::default();
        peak.learn(&row());
        peak.learn(&Row { name: "copy".into(), work: Work { bytes: 4.0, ..Work::default() }, ..row() });
        assert_eq!((peak.flops["f32"], peak.bytes), (4.0, Some(2.0)));
        let mut judged = Row { work: Work { flops: 4.0, bytes: 1.0, samples: 0.0 }, ..row() };
        peak.judge(&mut judged);
        let Outcome::Timed(timed) = judged.outcome else { panic!() };
        assert_eq!(timed.of_peak, Some(0.5));
    }
}
