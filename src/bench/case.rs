//! What is one row made of, and what should it give?

use super::Suite;
use super::report::Work;
use crate::device::Device;
use crate::dtype::DType;
use crate::error::Result;
use crate::random::Generator;
use crate::tensor::{Tensor, realize_all};

/// Elements of each checked part, where two rows have fewer.
const CHECKED: usize = 256;

/// A row before it ran.
pub(super) struct Case {
    pub suite: Suite,
    pub name: String,
    pub dtype: DType,
    pub work: Work,
    pub prepare: Prepare,
}

/// Makes everything that a row needs on a device.
pub(super) type Prepare = Box<dyn FnOnce(&Device) -> Result<Prepared>>;

/// A row ready to be checked and timed.
pub(super) struct Prepared {
    /// Asks the device for the work once; may return before it is done.
    pub call: Box<dyn FnMut() -> Result<()>>,
    /// What belongs to each call besides.
    pub after: After,
    /// The device's results, and what the CPU makes of the same, in `f64`.
    pub pairs: Vec<(Tensor, Tensor)>,
    /// By how much they may differ, as a share of the largest value.
    pub tolerance: f64,
}

/// What each call is followed by, and is not over without. Waits are not part of calls, which may not block in a browser.
pub(super) enum After {
    Nothing,
    Wait,
    Read(Tensor),
}

impl Case {
    pub fn new(suite: Suite, name: impl Into<String>, dtype: DType, work: Work, prepare: Prepare) -> Case {
        Case { suite, name: name.into(), dtype, work, prepare }
    }
}

/// Work that arithmetic and memory both may bound.
pub(super) fn work(flops: f64, bytes: usize) -> Work {
    Work { flops, bytes: bytes as f64, samples: 0.0 }
}

/// What an operand is filled with.
#[derive(Clone, Copy)]
enum Fill {
    /// Numbers evenly from [-1, 1).
    Numbers(DType),
    /// Indices below this.
    Below(i32),
}

/// An operand: its shape, what is in it, and the axis along which it is cut when only a part of the result is wanted.
pub(super) struct Operand {
    shape: Vec<usize>,
    fill: Fill,
    cut: Option<usize>,
}

impl Operand {
    pub fn numbers(dtype: DType, shape: &[usize]) -> Operand {
        Operand { shape: shape.to_vec(), fill: Fill::Numbers(dtype), cut: None }
    }

    pub fn indices(below: usize, shape: &[usize]) -> Operand {
        Operand { shape: shape.to_vec(), fill: Fill::Below(below as i32), cut: None }
    }

    pub fn cut(self, axis: usize) -> Operand {
        Operand { cut: Some(axis), ..self }
    }

    /// The same numbers wherever they are used, because the host makes them.
    pub fn make(&self, seed: u64) -> Result<Tensor> {
        let (random, host) = (Generator::new(seed), Device::cpu());
        let x = match self.fill {
            Fill::Numbers(dtype) => random.uniform(&self.shape[..], -1.0, 1.0, DType::F32, &host).cast(dtype),
            Fill::Below(bound) => random.randint(&self.shape[..], 0..bound, &host),
        };
        x.realize()?;
        Ok(x)
    }

    /// The part that decides elements `start..start + count` of the result, as exact as the CPU can.
    fn part(&self, x: &Tensor, start: usize, count: usize) -> Tensor {
        let part = self.cut.map_or(x.clone(), |axis| x.narrow(axis as isize, start, count));
        match self.fill {
            Fill::Numbers(_) => part.cast(DType::F64),
            Fill::Below(_) => part,
        }
    }
}

/// Prepares `f` of operands. Its results are checked where they begin, in the middle and where they end along `axis`:
/// those parts need only a part of the operands that can be cut, so that the CPU is done soon, however large the whole is.
pub(super) fn op<F>(operands: Vec<Operand>, axis: usize, dtype: DType, f: F) -> Prepare
where
    F: Fn(&[Tensor]) -> Result<Vec<Tensor>> + 'static,
{
    prepare(operands, axis, dtype, Box::new(f))
}

/// What is computed of the operands.
type Compute = Box<dyn Fn(&[Tensor]) -> Result<Vec<Tensor>>>;

/// Apart from [`op`], so that it is compiled once and not for each row: a page downloads it.
fn prepare(operands: Vec<Operand>, axis: usize, dtype: DType, f: Compute) -> Prepare {
    Box::new(move |device| {
        let host: Vec<Tensor> = operands.iter().zip(0..).map(|(o, seed)| o.make(seed)).collect::<Result<_>>()?;
        let here: Vec<Tensor> = host.iter().map(|x| x.to_device(device)).collect::<Result<_>>()?;
        let results = f(&here)?;
        results.iter().try_for_each(Tensor::realize)?;
        let mut pairs = Vec::new();
        let length = results.first().and_then(|r| r.shape().get(axis).copied()).unwrap_or(0);
        let elements = results.first().map_or(0, |r| r.shape().iter().product());
        let count = (CHECKED * length).checked_div(elements).unwrap_or(0).max(2).min(length);
        for start in [0, (length - count) / 2, length - count] {
            let parts: Vec<Tensor> = operands.iter().zip(&host).map(|(o, x)| o.part(x, start, count)).collect();
            for (result, part) in results.iter().zip(f(&parts)?) {
                pairs.push((result.narrow(axis as isize, start, count), part));
            }
        }
        let device = device.clone();
        let call = move || {
            let results = f(&here)?;
            match results.iter().find_map(Tensor::error) {
                Some(error) => Err(error.clone()),
                None => realize_all(&device),
            }
        };
        Ok(Prepared { call: Box::new(call), after: After::Nothing, pairs, tolerance: tolerance(dtype) })
    })
}

/// Much more than rounding, much less than a mistake.
pub(super) fn tolerance(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => 1e-2,
        DType::BF16 => 5e-2,
        _ => 1e-4,
    }
}

/// Prepares the gradients with respect to the first `count` operands of what `f` makes of them, for the last operand as
/// the gradient of its result. Only these are computed, and of `f` only what they need.
pub(super) fn gradients<F>(operands: Vec<Operand>, axis: usize, dtype: DType, wanted: &'static [usize], f: F) -> Prepare
where
    F: Fn(&[Tensor]) -> Tensor + 'static,
{
    op(operands, axis, dtype, move |t| gradients_of(t, wanted, &f))
}

fn gradients_of(t: &[Tensor], wanted: &[usize], f: &dyn Fn(&[Tensor]) -> Tensor) -> Result<Vec<Tensor>> {
    let leaf = |(i, x): (usize, &Tensor)| if wanted.contains(&i) { x.clone().requires_grad() } else { x.clone() };
    let leaves: Vec<Tensor> = t.iter().enumerate().map(leaf).collect();
    let (Some(g), y) = (leaves.last(), f(&leaves)) else { return Ok(Vec::new()) };
    let wide = |x: &Tensor| if x.dtype().is_half() { x.cast(DType::F32) } else { x.clone() };
    let gradients = (wide(&y) * wide(g)).sum(..).backward()?;
    Ok(wanted.iter().filter_map(|&i| gradients.get(&leaves[i])).collect())
}
