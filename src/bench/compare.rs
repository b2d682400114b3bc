//! The same rows of several devices, side by side.

use super::report::{Outcome, Report, Row, Work};

/// Rows of several runs, joined by suite, name and dtype.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// What each column is: the program, the device.
    pub columns: Vec<String>,
    /// In the order in which they were first met.
    pub lines: Vec<Line>,
}

/// One row on several devices.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Suite, name and dtype.
    pub key: [String; 3],
    /// What one call does.
    pub work: Work,
    /// Median seconds in each column, where it was timed.
    pub times: Vec<Option<f64>>,
}

/// Joins all runs of all reports; the first one's first run is what the others are held against.
pub fn compare(reports: &[Report]) -> Comparison {
    let runs: Vec<(&Report, &super::Run)> =
        reports.iter().flat_map(|r| r.runs.iter().map(move |run| (r, run))).collect();
    let column = |(report, run): &(&Report, &super::Run)| {
        let quick = if report.quick { ", quick" } else { "" };
        format!("{} on {} ({}{quick})", report.program, run.device.hardware, run.device.name)
    };
    let mut lines: Vec<Line> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for (i, (_, run)) in runs.iter().enumerate() {
        for row in &run.rows {
            let key = [row.suite.clone(), row.name.clone(), row.dtype.clone()];
            let place = *places.entry(key.clone()).or_insert_with(|| {
                lines.push(Line { key, work: row.work, times: vec![None; runs.len()] });
                lines.len() - 1
            });
            lines[place].times[i] = median(row);
        }
    }
    Comparison { columns: runs.iter().map(column).collect(), lines }
}

fn median(row: &Row) -> Option<f64> {
    match &row.outcome {
        Outcome::Timed(timed) => Some(timed.time.median),
        _ => None,
    }
}

impl Line {
    /// How many times faster column `i` is than the first.
    pub fn ratio(&self, i: usize) -> Option<f64> {
        Some(self.times.first().copied().flatten()? / self.times.get(i).copied().flatten()?)
    }
}

impl Comparison {
    /// The geometric mean of column `i`'s ratios, and of how many rows.
    pub fn mean(&self, i: usize) -> Option<(f64, usize)> {
        let ratios: Vec<f64> = self.lines.iter().filter_map(|line| line.ratio(i)).collect();
        let logs: f64 = ratios.iter().map(|r| r.ln()).sum();
        (!ratios.is_empty()).then(|| ((logs / ratios.len() as f64).exp(), ratios.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::{About, Peak, Time, Timed};

    fn report(times: &[(&str, f64)]) -> Report {
        let row = |&(name, median): &(&str, f64)| {
            let time = Time { median, q1: median, q3: median, best: median, samples: 3, calls: 1 };
            let timed = Timed { time, host: 0.0, device: None, kernels: None, error: None, of_peak: None };
            let outcome = Outcome::Timed(timed);
            Row { suite: "map".into(), name: name.into(), dtype: "f32".into(), work: Work::default(), outcome }
        };
        let rows = times.iter().map(row).collect();
        let run = crate::bench::Run { device: About::default(), peak: Peak::default(), rows };
        Report { runs: vec![run], ..Report::new("now".into(), false) }
    }

    #[test]
    fn rows_meet_by_name_and_the_first_is_the_measure() {
        let joined = compare(&[report(&[("a", 4.0), ("b", 1.0)]), report(&[("c", 1.0), ("b", 2.0), ("a", 1.0)])]);
        let names: Vec<&str> = joined.lines.iter().map(|l| l.key[1].as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(joined.lines.iter().map(|l| l.ratio(1)).collect::<Vec<_>>(), [Some(4.0), Some(0.5), None]);
        let (mean, count) = joined.mean(1).unwrap();
        assert!((mean - 2f64.sqrt()).abs() < 1e-12 && count == 2);
    }
}
