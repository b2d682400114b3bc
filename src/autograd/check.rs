//! Gradient checking: what `backward` says against central differences, in `f64`.

use crate::device::Device;
use crate::dtype::DType;
use crate::error::{Caller, Error, Result};
use crate::tensor::Tensor;

/// How a check is made; see [`gradcheck`].
#[derive(Debug, Clone, Copy)]
pub struct GradCheck {
    /// The step of the differences.
    pub step: f64,
    /// The error allowed, absolute plus relative.
    pub tolerance: f64,
    /// Also differentiate the gradient and check that.
    pub second: bool,
}

impl Default for GradCheck {
    /// Steps of 1e-5: the error of a central difference, h² against ε/h, is then about 1e-10 for functions of size 1.
    fn default() -> GradCheck {
        GradCheck { step: 1e-5, tolerance: 1e-6, second: false }
    }
}

/// Compares the gradient of `Σ w·f(inputs)`, with fixed weights `w` that differ from element to element, against central
/// differences, input element by input element. Runs on the CPU in `f64`; `inputs` must be `f64`.
///
/// # Errors
/// The first element that disagrees, with both numbers; or whatever `f` fails with.
///
/// ```
/// # use sunstone::prelude::*;
/// use sunstone::autograd::{GradCheck, gradcheck};
/// let x = Tensor::from_slice(&[0.3f64, -1.2, 2.0], [3], &Device::cpu());
/// gradcheck(|v| v[0].tanh() * v[0].exp(), &[x], GradCheck { second: true, ..GradCheck::default() })?;
/// # Ok::<(), sunstone::Error>(())
/// ```
#[track_caller]
pub fn gradcheck(f: impl Fn(&[Tensor]) -> Tensor, inputs: &[Tensor], options: GradCheck) -> Result<()> {
    let at = Caller::here();
    for x in inputs {
        if x.value()?.meta().dtype != DType::F64 {
            return Err(Error::op("gradcheck", at, format!("inputs must be f64, not {}", x.dtype())));
        }
    }
    let scalar = |v: &[Tensor]| weighted(&f(v));
    compare(&scalar, inputs, options, "gradient", at)?;
    if options.second {
        let slope = |v: &[Tensor]| {
            let vars: Vec<Tensor> = v.iter().map(|x| if x.tracks_grad() { x.clone() } else { x.clone().requires_grad() }).collect();
            let grads = match scalar(&vars).backward_graph() {
                Ok(grads) => grads,
                Err(error) => return Tensor::failed(error),
            };
            let parts = vars.iter().map(|x| weighted(&grads.get(x).unwrap_or_else(|| x.zeros_like())));
            // The terms without x keep a function that is linear in it differentiable.
            let ground = vars.iter().map(|x| (x * 0.0).sum(..));
            parts.chain(ground).reduce(|a, b| a + b).unwrap_or_else(|| Tensor::scalar(0.0f64, &Device::cpu()))
        };
        let looser = GradCheck { tolerance: options.tolerance * 10.0, ..options };
        compare(&slope, inputs, looser, "second gradient", at)?;
    }
    Ok(())
}

/// `Σ w·y` with weights that make neighbouring elements count differently.
fn weighted(y: &Tensor) -> Tensor {
    if y.error().is_some() {
        return y.clone();
    }
    let weights: Vec<f64> = (0..y.numel()).map(|i| 0.5 + (i as f64 * 0.618_034).fract()).collect();
    (y * Tensor::from_slice(&weights, y.shape(), &y.device())).sum(..)
}

fn compare(
    f: &dyn Fn(&[Tensor]) -> Tensor,
    inputs: &[Tensor],
    options: GradCheck,
    what: &str,
    at: Caller,
) -> Result<()> {
    let vars: Vec<Tensor> = inputs.iter().map(|x| x.detach().requires_grad()).collect();
    let y = f(&vars);
    y.value()?;
    let grads = y.backward()?;
    for (k, x) in inputs.iter().enumerate() {
        let data = x.to_vec::<f64>()?;
        let claimed = match grads.get(&vars[k]) {
            Some(g) => g.to_vec::<f64>()?,
            None => vec![0.0; data.len()],
        };
        for i in 0..data.len() {
            let moved = |by: f64| -> Result<f64> {
                let mut data = data.clone();
                data[i] += by;
                let mut all = inputs.to_vec();
                all[k] = Tensor::from_slice(&data, x.shape(), &x.device());
                f(&all).item::<f64>()
            };
            let slope = (moved(options.step)? - moved(-options.step)?) / (2.0 * options.step);
            let error = (slope - claimed[i]).abs();
            if error.is_nan() || error > options.tolerance * (1.0 + slope.abs().max(claimed[i].abs())) {
                let detail = format!(
                    "{what} of input {k} at element {i}: backward says {}, differences say {slope}",
                    claimed[i]
                );
                return Err(Error::op("gradcheck", at, detail));
            }
        }
    }
    Ok(())
}
