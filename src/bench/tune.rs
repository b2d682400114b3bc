//! Which of a device's numbers ([`Tuning`]) should be larger or smaller? Each is tried in turn, on products that it decides about.

use super::case::{Case, Operand, op, work};
use super::measure::{self, Clock};
use super::{Outcome, Suite, ready};
use crate::backend::wgpu::WgpuBackend;
use crate::device::{Backend, Device};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::kernel::Tuning;
use serde::Serialize;
use std::sync::Arc;

/// By how much another value must be faster to be taken: less is chance.
const WORTH: f64 = 0.97;

/// Seconds that each product is measured for.
const BUDGET: f64 = 0.05;

/// A number, and what it decides about.
struct Number {
    name: &'static str,
    of: fn(&mut Tuning) -> &mut u32,
    /// The value that switches off what it decides about, and what is tried where it is off.
    off: u32,
    from_off: &'static [u32],
    dtype: DType,
    /// Whether it is about kernels on cooperative matrices.
    matrices: bool,
    /// Rows, terms and columns.
    products: &'static [[usize; 3]],
    /// Smaller ones for a CPU in a GPU's place, which takes a second where a GPU takes a millisecond.
    small: &'static [[usize; 3]],
}

const NUMBERS: [Number; 7] = [
    Number {
        name: "wide_tiles",
        of: |t| &mut t.wide_tiles,
        off: u32::MAX,
        from_off: &FROM_OFF,
        dtype: DType::F32,
        matrices: false,
        products: &[[256, 256, 256], [384, 384, 384], [512, 512, 512], [1024, 128, 256]],
        small: &[[64, 128, 64], [96, 96, 96], [128, 128, 128]],
    },
    Number {
        name: "large_tiles",
        of: |t| &mut t.large_tiles,
        off: u32::MAX,
        from_off: &FROM_OFF,
        dtype: DType::F32,
        matrices: false,
        products: &[[1024, 1024, 1024], [1536, 1024, 1536], [2048, 1024, 2048]],
        small: &[[128, 512, 128], [256, 512, 256], [384, 512, 384]],
    },
    Number {
        name: "wide_room",
        of: |t| &mut t.wide_room,
        off: 1,
        from_off: &FROM_OFF,
        dtype: DType::F32,
        matrices: false,
        products: &[[128, 16384, 128], [256, 4096, 256], [512, 2048, 512]],
        small: &[[64, 8192, 64], [128, 4096, 128], [256, 1024, 256]],
    },
    Number {
        name: "tiled_room",
        of: |t| &mut t.tiled_room,
        off: 1,
        from_off: &FROM_OFF,
        dtype: DType::F32,
        matrices: false,
        products: &[[64, 16384, 32], [256, 8192, 32], [1024, 2048, 40]],
        small: &[[64, 8192, 32], [128, 4096, 32], [256, 2048, 40]],
    },
    Number {
        name: "long_room",
        of: |t| &mut t.long_room,
        off: 1,
        from_off: &FROM_OFF,
        dtype: DType::F32,
        matrices: false,
        products: &[[1, 1 << 20, 4], [4, 1 << 18, 4], [1, 1 << 16, 64]],
        small: &[[1, 1 << 17, 4], [4, 1 << 16, 4], [1, 1 << 14, 64]],
    },
    Number {
        name: "matrices_room",
        of: |t| &mut t.matrices_room,
        off: 1,
        from_off: &FROM_OFF,
        dtype: DType::F16,
        matrices: true,
        products: &[[256, 8192, 256], [512, 4096, 512], [1024, 4096, 1024]],
        small: &[[256, 1024, 256], [512, 512, 512]],
    },
    Number {
        name: "split_work",
        of: |t| &mut t.split_work,
        off: u32::MAX,
        // As much work as each of the products has.
        from_off: &[256, 512, 1024, 2048, 4096],
        dtype: DType::F32,
        matrices: true,
        products: &[[1024, 256, 1024], [1024, 512, 1024], [1024, 1024, 1024], [2048, 512, 2048], [2048, 1024, 2048]],
        small: &[[128, 256, 128], [256, 256, 256]],
    },
];

/// Of most numbers.
const FROM_OFF: [u32; 4] = [4, 16, 64, 256];

/// A value that was tried.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Trial {
    /// The number's name.
    pub number: &'static str,
    /// Its value.
    pub value: u32,
    /// Seconds of its products, their geometric mean.
    pub seconds: f64,
}

/// A number that was decided.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// Its name.
    pub number: &'static str,
    /// What it was, and what it is to be.
    pub before: u32,
    pub after: u32,
    /// All that was tried; that which was there first.
    pub trials: Vec<Trial>,
}

/// What [`tune`] found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tuned {
    /// The numbers to keep.
    pub tuning: Tuning,
    /// How each was decided; those that do not matter on this device are not there.
    pub steps: Vec<Step>,
}

/// Tries each number of a device at a quarter, half, twice and four times its value and switched off, and takes what is
/// fastest by more than chance; for products of halves as if they were allowed ([`Device::allow_split`]). The backend has what
/// was found in the end; nothing is saved. `clock` gives seconds since any moment; `on` hears of each trial, which it is and of
/// how many, and may end it all by returning false: then nothing is given and the backend is as it was. What other devices over
/// the same backend compile meanwhile is compiled for the values that are being tried.
///
/// # Errors
/// Those of the device; [`Error::Backend`] when a product is wrong.
pub fn tune(backend: &Arc<WgpuBackend>, clock: Clock<'_>, on: On<'_>) -> Result<Option<Tuned>> {
    let (before, splits) = (backend.tuning(), backend.splits());
    backend.allow_split(true);
    let found = steps(backend, before, clock, on);
    backend.allow_split(splits);
    backend.set_tuning(found.as_ref().ok().and_then(|f| f.as_ref()).map_or(before, |found| found.tuning));
    found
}

/// What hears of each trial: its place from 1 on, and how many there are.
pub type On<'a> = &'a mut dyn FnMut(&Trial, usize, usize) -> bool;

fn steps(backend: &Arc<WgpuBackend>, mut tuning: Tuning, clock: Clock<'_>, on: On<'_>) -> Result<Option<Tuned>> {
    let numbers = || NUMBERS.iter().filter(|n| !n.matrices || backend.has_matrices());
    let of = numbers().map(|n| n.values(*(n.of)(&mut tuning)).len()).sum();
    let (mut steps, mut place) = (Vec::new(), 0);
    for number in numbers() {
        let before = *(number.of)(&mut tuning);
        let mut trials: Vec<Trial> = Vec::new();
        for value in number.values(before) {
            let trial = tried(backend, tuning, number, value, clock)?;
            trials.push(trial);
            place += 1;
            if !on(&trial, place, of) {
                return Ok(None);
            }
        }
        let mut after = best(&trials);
        if after != before {
            // The best of several is so by chance, too: both once more.
            let [first, second] = [before, after].map(|value| tried(backend, tuning, number, value, clock));
            after = best(&[first?, second?]);
        }
        *(number.of)(&mut tuning) = after;
        steps.push(Step { number: number.name, before, after, trials });
    }
    Ok(Some(Tuned { tuning, steps }))
}

/// How long a number's products take with this value of it.
fn tried(
    backend: &Arc<WgpuBackend>,
    mut tuning: Tuning,
    number: &Number,
    value: u32,
    clock: Clock<'_>,
) -> Result<Trial> {
    // What is made of halves is decided last, by itself.
    tuning.split_work = u32::MAX;
    *(number.of)(&mut tuning) = value;
    backend.set_tuning(tuning);
    Ok(Trial { number: number.name, value, seconds: seconds(backend, number, clock)? })
}

impl Number {
    /// What to try: first what there is.
    fn values(&self, now: u32) -> Vec<u32> {
        if now == self.off {
            return [&[now], self.from_off].concat();
        }
        let mut values = vec![now, now / 4, now / 2, now.saturating_mul(2), now.saturating_mul(4), self.off];
        values.retain(|v| *v > 0);
        let mut seen = Vec::new();
        values.retain(|v| !seen.contains(v) && (seen.push(*v), true).1);
        values
    }
}

/// The fastest, if it is faster than the first by more than chance.
fn best(trials: &[Trial]) -> u32 {
    let Some((first, others)) = trials.split_first() else { return 0 };
    let fastest = others.iter().min_by(|a, b| a.seconds.total_cmp(&b.seconds));
    fastest.filter(|t| t.seconds < first.seconds * WORTH).unwrap_or(first).value
}

/// The geometric mean of a number's products; each is checked first. A device of its own forgets the plans made before.
fn seconds(backend: &Arc<WgpuBackend>, number: &Number, clock: Clock<'_>) -> Result<f64> {
    let device = Device::new("tuned", backend.clone());
    let products = if device.caps().software { number.small } else { number.products };
    let mut logs = 0.0;
    for &[m, k, n] in products {
        let operands = vec![Operand::numbers(number.dtype, &[m, k]).cut(0), Operand::numbers(number.dtype, &[k, n])];
        let prepare = op(operands, 0, number.dtype, |t| Ok(vec![t[0].matmul(&t[1])]));
        let case = Case::new(Suite::Matmul, "tune", number.dtype, work(0.0, 0), prepare);
        let wrong = |detail: String| Error::Backend { device: "tune".into(), detail };
        match ready(measure::outcome(&device, case, BUDGET, clock)).transpose()? {
            Some((Outcome::Timed(timed), _)) => logs += timed.seconds().ln(),
            Some((Outcome::Wrong { reason }, _)) => {
                return Err(wrong(format!(
                    "the product of {m}×{k} and {k}×{n} is wrong with {}: {reason}",
                    number.name
                )));
            }
            _ => return Err(wrong("a product did not end".into())),
        }
    }
    Ok((logs / products.len() as f64).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_value_is_taken_only_where_it_is_faster_by_more_than_chance() {
        let trial = |value, seconds| Trial { number: "wide_room", value, seconds };
        assert_eq!(best(&[trial(8, 1.0), trial(2, 0.98), trial(16, 1.5)]), 8);
        assert_eq!(best(&[trial(8, 1.0), trial(2, 0.9), trial(16, 0.8)]), 16);
    }

    #[test]
    fn what_is_tried_begins_with_what_there_is_and_is_never_nothing() {
        let number = |name| NUMBERS.iter().find(|n| n.name == name).unwrap();
        assert_eq!(number("wide_room").values(8), [8, 2, 4, 16, 32, 1]);
        assert_eq!(number("wide_room").values(2), [2, 1, 4, 8]);
        assert_eq!(number("wide_tiles").values(u32::MAX), [u32::MAX, 4, 16, 64, 256]);
        assert_eq!(number("wide_tiles").values(96).last(), Some(&u32::MAX));
        assert_eq!(number("split_work").values(u32::MAX), [u32::MAX, 256, 512, 1024, 2048, 4096]);
    }

    #[test]
    fn a_gpu_keeps_what_was_found_and_gives_it_up_when_interrupted() {
        let Ok(backend) = WgpuBackend::open(0) else {
            eprintln!("skipped: no GPU driver");
            return;
        };
        let (before, clock) = (Tuning { wide_tiles: 3, ..Tuning::default() }, std::time::Instant::now());
        backend.set_tuning(before);
        let splits = backend.splits();
        let mut tried = Vec::new();
        let stopped = tune(&backend, &|| clock.elapsed().as_secs_f64(), &mut |trial, place, of| {
            assert!(trial.seconds > 0.0 && place <= of);
            tried.push(trial.value);
            tried.len() < 2
        });
        assert_eq!(stopped.unwrap(), None);
        assert_eq!(backend.splits(), splits);
        assert_eq!((backend.tuning(), tried.len()), (before, 2));
        assert_eq!(tried[0], 3);
    }
}
