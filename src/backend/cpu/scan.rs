//! Running folds along an axis: one row after the other in order, rows on all threads.

use super::broken;
use super::copy::{elements, elements_mut};
use super::maps::with_type;
use super::num::Num;
use super::scatter::packed;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::ScanOp;
use crate::parallel::*;
use crate::plan::Scan;

/// Folds `srcs` into `out`, and writes the positions to `found` if the op has them.
pub fn run(s: &Scan, srcs: &[&[u8]], out: &mut [u8], found: Option<&mut [u8]>) -> Result<()> {
    let wanted = if s.op == ScanOp::Linear { 2 } else { 1 };
    let fits = s.axis < s.shape.len() && s.srcs.iter().all(|o| o.layout.strides.len() == s.shape.len());
    if !fits || srcs.len() != wanted || s.srcs.len() != wanted || found.is_some() != s.op.finds() {
        return Err(broken("a scan whose operands do not fit"));
    }
    if s.op == ScanOp::LogSumExp {
        return match s.dtype {
            DType::F32 => log_sums::<f32>(s, srcs[0], out),
            DType::F64 => log_sums::<f64>(s, srcs[0], out),
            other => Err(broken(format!("a logcumsumexp of {other}"))),
        };
    }
    with_type!(s.dtype, T => {
        let x = packed(elements::<T>(srcs[0]), &s.srcs[0].layout, &s.shape)?;
        let out = results::<T>(s, out)?;
        match s.op {
            ScanOp::Prod => walk(s, T::ONE.widen(), &x, out, |product, v: T| {
                *product = product.mul(v.widen());
                T::narrow(*product)
            }),
            ScanOp::Max | ScanOp::Min => {
                let least = s.op == ScanOp::Min;
                let start = Best { value: if least { T::HIGHEST } else { T::LOWEST }, at: 0, next: 0 };
                if let Some(found) = found {
                    walk(s, start, &x, results::<i32>(s, found)?, |best, v: T| best.see(v, least).at)?;
                }
                walk(s, start, &x, out, |best, v: T| best.see(v, least).value)
            }
            ScanOp::Linear => {
                let b = packed(elements::<T>(srcs[1]), &s.srcs[1].layout, &s.shape)?;
                let pairs: Vec<(T, T)> = x.iter().copied().zip(b.iter().copied()).collect();
                walk(s, T::ZERO.widen(), &pairs, out, |y, (a, b): (T, T)| {
                    *y = y.mul(a.widen()).add(b.widen());
                    T::narrow(*y)
                })
            }
            _ => walk(s, T::ZERO.widen(), &x, out, |sum, v: T| {
                *sum = sum.add(v.widen());
                T::narrow(*sum)
            }),
        }
    })
}

fn log_sums<T: Num<Wide = f64>>(s: &Scan, src: &[u8], out: &mut [u8]) -> Result<()> {
    let x = packed(elements::<T>(src), &s.srcs[0].layout, &s.shape)?;
    walk(s, f64::NEG_INFINITY, &x, results(s, out)?, |sum, v: T| {
        *sum = log_add(*sum, v.widen());
        T::narrow(*sum)
    })
}

fn results<'o, T: Num>(s: &Scan, out: &'o mut [u8]) -> Result<&'o mut [T]> {
    elements_mut(out).get_mut(..s.shape.iter().product()).ok_or_else(outside)
}

fn outside() -> Error {
    broken("a scan reaches outside of a slot")
}

/// Steps through every row, each with a state of its own that begins as `start`.
fn walk<S: Copy + Sync, X: Copy + Sync, Y: Send>(
    s: &Scan,
    start: S,
    x: &[X],
    out: &mut [Y],
    step: impl Fn(&mut S, X) -> Y + Sync,
) -> Result<()> {
    let post: usize = s.shape[s.axis + 1..].iter().product();
    let lane = s.shape[s.axis] * post;
    if out.is_empty() {
        return Ok(());
    }
    out.par_chunks_mut(lane).zip(x.par_chunks(lane)).for_each(|(out, x)| {
        let mut states = vec![start; post];
        for (out, x) in out.chunks_mut(post).zip(x.chunks(post)) {
            for ((y, &v), state) in out.iter_mut().zip(x).zip(&mut states) {
                *y = step(state, v);
            }
        }
    });
    Ok(())
}

/// The extreme so far. Of equals the last counts, and NaN is more extreme than all, as in PyTorch.
#[derive(Clone, Copy)]
struct Best<T> {
    value: T,
    at: i32,
    next: i32,
}

impl<T: Num> Best<T> {
    fn see(&mut self, v: T, least: bool) -> Best<T> {
        let reaches = if least { v <= self.value } else { v >= self.value };
        if v.is_nan() || (reaches && !self.value.is_nan()) {
            (self.value, self.at) = (v, self.next);
        }
        self.next += 1;
        *self
    }
}

/// `ln(eᵃ + eᵇ)`
fn log_add(a: f64, b: f64) -> f64 {
    let largest = Num::max(a, b);
    if largest.is_infinite() { largest } else { largest + (-(a - b).abs()).exp().ln_1p() }
}

#[cfg(test)]
mod tests {
    use super::log_add;

    #[test]
    fn logarithms_add_also_at_infinity() {
        let inf = f64::INFINITY;
        assert_eq!(log_add(-inf, -inf), -inf);
        assert_eq!(log_add(-inf, 2.0), 2.0);
        assert_eq!(log_add(inf, 3.0), inf);
        assert!((log_add(0.0, 0.0) - 2f64.ln()).abs() < 1e-15);
        assert!(log_add(f64::NAN, 1.0).is_nan());
    }
}
