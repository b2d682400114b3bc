//! Is a row right, and how long does it take?

use super::case::{After, Case, Prepared};
use super::report::{Outcome, Time, Timed};
use crate::device::{Device, KernelTime};
use crate::dtype::DType;
use crate::error::Result;
use crate::tensor::Tensor;

/// Seconds since any moment.
pub type Clock<'a> = &'a dyn Fn() -> f64;

/// A sample is at least this long, so that the wait at its end and the clock's steps are a small part of it.
const SAMPLE: f64 = 20e-3;

/// A GPU lowers its clock while the CPU computes what a row is checked by, and needs so many seconds of work to raise it
/// again: on an H100, kernels took two and a half times as long without.
const WARM_UP: f64 = 0.3;
const MIN_SAMPLES: usize = 3;
const MAX_SAMPLES: usize = 100;
const MAX_CALLS: u32 = 4096;

/// A row is measured by the device's own clock in at most so many calls.
const MAX_PROFILES: usize = 9;

/// Checks a row, then times it; gives one call's kernels too, where the device tells their times.
pub(super) async fn outcome(
    device: &Device,
    case: Case,
    budget: f64,
    clock: Clock<'_>,
) -> Result<(Outcome, Vec<KernelTime>)> {
    let mut prepared = (case.prepare)(device)?;
    let error = match check(&prepared.pairs).await? {
        Some(error) if error > prepared.tolerance || error.is_nan() => {
            let reason = format!("off by {error:.2e} of the largest value, more than {:.0e}", prepared.tolerance);
            return Ok((Outcome::Wrong { reason }, Vec::new()));
        }
        error => error,
    };
    prepared.pairs.clear();
    let (time, host, launched) = timed(device, budget, clock, &mut prepared).await?;
    let (seconds, times) = profiled(device, budget, clock, &mut *prepared.call).unwrap_or_default();
    let kernels = if times.is_empty() { launched } else { times.len() as f64 };
    let outcome = Outcome::Timed(Timed {
        time,
        host,
        device: (seconds > 0.0).then_some(seconds),
        kernels: (kernels > 0.0).then_some(kernels),
        error,
        of_peak: None,
    });
    Ok((outcome, times))
}

/// Median seconds of a call on the device's own clock, all its kernels together, and the kernels of the last call;
/// nothing where the device does not tell.
fn profiled(
    device: &Device,
    budget: f64,
    clock: Clock<'_>,
    call: &mut dyn FnMut() -> Result<()>,
) -> Option<(f64, Vec<KernelTime>)> {
    let began = clock();
    let (mut sums, mut last) = (Vec::new(), Vec::new());
    while sums.is_empty() || (sums.len() < MAX_PROFILES && clock() - began < budget) {
        last = device.profile(&mut *call).ok()?.1;
        sums.push(last.iter().map(|k| k.duration).sum::<f64>() / 1e6);
    }
    sums.sort_by(f64::total_cmp);
    Some((sums[sums.len() / 2], last))
}

/// Until everything asked of the device is done.
async fn wait(device: &Device) -> Result<()> {
    device.synchronize_async().await
}

/// The largest difference, as a share of the largest value; NaN where one side has what the other lacks.
async fn check(pairs: &[(Tensor, Tensor)]) -> Result<Option<f64>> {
    let mut worst: Option<f64> = None;
    for (result, expected) in pairs {
        let (result, expected) =
            (result.cast(DType::F32).to_vec_async::<f32>().await?, expected.cast(DType::F64).to_vec::<f64>()?);
        let error = difference(&result, &expected);
        worst = Some(worst.map_or(error, |w| if w.is_nan() || w > error { w } else { error }));
    }
    Ok(worst)
}

fn difference(result: &[f32], expected: &[f64]) -> f64 {
    if result.len() != expected.len() {
        return f64::NAN;
    }
    let largest = expected.iter().fold(1e-30f64, |m, x| m.max(x.abs()));
    let differences = result.iter().zip(expected).map(|(&a, b)| (a as f64 - b).abs());
    // `f64::max` would lose a NaN.
    differences.fold(0.0, |m: f64, d| if d > m || d.is_nan() { d } else { m }) / largest
}

/// Median and spread of a call's time, the median of what the host takes to ask for it, and how many kernels it starts.
async fn timed(device: &Device, budget: f64, clock: Clock<'_>, row: &mut Prepared) -> Result<(Time, f64, f64)> {
    let mut calls = 1;
    // Plans and kernels are made at first, recorded at the second time.
    for _ in 0..2 {
        sample(device, 1, clock, row).await?;
    }
    let (warm_up, began) = (if is_clocked_down(device) { WARM_UP } else { 0.0 }, clock());
    loop {
        let (whole, _) = sample(device, calls, clock, row).await?;
        if whole < SAMPLE && calls < MAX_CALLS {
            calls = (calls * 2).max((calls as f64 * SAMPLE / whole.max(1e-6)) as u32).min(MAX_CALLS);
        } else if clock() - began >= warm_up {
            break;
        }
    }
    let (mut times, mut hosts) = (Vec::new(), Vec::new());
    let (began, before) = (clock(), device.stats().kernels_launched);
    while times.len() < MIN_SAMPLES || (times.len() < MAX_SAMPLES && clock() - began < budget) {
        let (whole, host) = sample(device, calls, clock, row).await?;
        // A clock may stand still for longer than a sample takes.
        times.push((whole / calls as f64).max(1e-9));
        hosts.push(host / calls as f64);
    }
    let launched = (device.stats().kernels_launched - before) as f64 / (times.len() as f64 * calls as f64);
    times.sort_by(f64::total_cmp);
    hosts.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
    let time = Time { median: at(0.5), q1: at(0.25), q3: at(0.75), best: at(0.0), samples: times.len() as u32, calls };
    Ok((time, hosts[hosts.len() / 2], launched))
}

/// Whether the device is one that rests while the CPU works.
fn is_clocked_down(device: &Device) -> bool {
    !device.caps().software && device.name() != "cpu"
}

/// Seconds of so many calls and the wait for them, and of the calls alone.
async fn sample(device: &Device, calls: u32, clock: Clock<'_>, row: &mut Prepared) -> Result<(f64, f64)> {
    let (began, mut asked) = (clock(), 0.0);
    if let After::Nothing = row.after {
        (0..calls).try_for_each(|_| (row.call)())?;
        asked = clock() - began;
    } else {
        for _ in 0..calls {
            let before = clock();
            (row.call)()?;
            asked += clock() - before;
            match &row.after {
                After::Nothing => {}
                After::Wait => wait(device).await?,
                After::Read(x) => drop(x.to_vec_async::<f32>().await?),
            }
        }
    }
    wait(device).await?;
    Ok((clock() - began, asked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_a_share_of_the_largest_and_no_nan_is_lost() {
        assert_eq!(difference(&[1.0, 4.5], &[1.0, 5.0]), 0.1);
        assert!(difference(&[f32::NAN, 1.0], &[0.0, 1.0]).is_nan());
        assert!(difference(&[1.0], &[1.0, 2.0]).is_nan());
        assert_eq!(difference(&[], &[]), 0.0);
    }

    #[test]
    fn a_quick_call_is_repeated_until_it_can_be_timed() {
        let device = Device::cpu();
        let now = std::rc::Rc::new(std::cell::Cell::new(0.0));
        let then = now.clone();
        let clock = || now.get();
        let call = move || {
            then.set(then.get() + 1e-3);
            Ok(())
        };
        let mut row = Prepared { call: Box::new(call), after: After::Nothing, pairs: Vec::new(), tolerance: 0.0 };
        let (time, host, _) = crate::bench::ready(timed(&device, 0.0, &clock, &mut row)).unwrap().unwrap();
        assert!(time.calls >= 20 && time.samples == 3, "{time:?}");
        assert!((time.median - 1e-3).abs() < 1e-9 && (host - 1e-3).abs() < 1e-9);
    }
}
