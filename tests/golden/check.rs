//! Does a device do what PyTorch did? Reads without blocking, so that a browser can be asked too.

use crate::file::{Case, numbers};
use sunstone::prelude::*;
use sunstone::registry;

/// How far a result may be from PyTorch's: `relative · |expected| + absolute`, with the reason.
fn tolerance(dtype: DType) -> (f64, f64) {
    match dtype {
        // Transcendental functions of both sides are good to a few units in the last place (6e-8); sums are taken in another order.
        DType::F32 => (1e-5, 2e-6),
        DType::F64 => (1e-11, 1e-12),
        // Two units in the last place: one of rounding, one where the f32 arithmetic before it fell on the other side.
        DType::F16 => (2e-3, 1e-4),
        DType::BF16 => (1.6e-2, 1e-3),
        _ => (0.0, 0.0),
    }
}

/// The first element that is too far off.
async fn difference(got: &Tensor, expected: &Tensor, factor: f64) -> Result<Option<String>> {
    if got.shape() != expected.shape() || got.dtype() != expected.dtype() {
        let show = |t: &Tensor| format!("{} {}", t.dtype(), t.shape());
        if let Some(error) = got.error() {
            return Ok(Some(error.to_string()));
        }
        return Ok(Some(format!("{} instead of {}", show(got), show(expected))));
    }
    let (relative, absolute) = tolerance(got.dtype());
    let (got, expected) = (numbers(got).await?, numbers(expected).await?);
    let far = |g: f64, e: f64| {
        // Below the normal numbers of f32 a GPU may give 0.
        let tiny = g.abs() < 1.2e-38 && e.abs() < 1.2e-38;
        !(g == e || (g.is_nan() && e.is_nan()) || tiny)
            && (g.is_nan() || e.is_nan() || e.is_infinite() || (g - e).abs() > factor * (relative * e.abs() + absolute))
    };
    let found = got.iter().zip(&expected).position(|(&g, &e)| far(g, e));
    Ok(found.map(|i| format!("element {i} is {:?}, PyTorch says {:?}", got[i], expected[i])))
}

/// What is wrong with the case on `device`, if anything.
pub async fn check(case: &Case, device: &Device) -> Result<Option<String>> {
    let info =
        registry::find(&case.op).ok_or_else(|| Error::Invalid(format!("no op `{}` in the registry", case.op)))?;
    let inputs: Vec<Tensor> = case.inputs.iter().map(|t| t.to_device(device)).collect::<Result<_>>()?;
    let wanted = |i: usize| case.grads.get(i).is_some_and(Option::is_some);
    let inputs: Vec<Tensor> =
        inputs.into_iter().enumerate().map(|(i, t)| if wanted(i) { t.requires_grad() } else { t }).collect();
    let outputs = match (&case.op[..], &inputs[..]) {
        // Their size depends on the data, and the registry does not wait.
        ("nonzero", [x]) if cfg!(target_arch = "wasm32") => vec![x.nonzero().await?],
        ("masked_select", [x, mask]) if cfg!(target_arch = "wasm32") => vec![x.masked_select(mask).await?],
        _ => info.call(device, &inputs, &case.args)?,
    };
    if outputs.len() != case.outputs.len() {
        return Ok(Some(format!("{} results instead of {}", outputs.len(), case.outputs.len())));
    }
    for (k, (got, expected)) in outputs.iter().zip(&case.outputs).enumerate() {
        if let Some(why) = difference(got, expected, case.factor).await? {
            return Ok(Some(format!("result {k}: {why}")));
        }
    }
    if case.grads.iter().all(Option::is_none) {
        return Ok(None);
    }
    let weighted = |t: &Tensor| {
        let weights: Vec<f32> = (0..t.numel()).map(|i| ((i * 7 + 3) % 11) as f32 / 4.0 - 1.25).collect();
        (t.cast(DType::F32) * Tensor::from_slice(&weights, t.shape().clone(), device)).sum(..)
    };
    let Some(total) = outputs.iter().filter(|t| t.tracks_grad()).map(weighted).reduce(|a, b| a + b) else {
        return Ok(Some("PyTorch gives a gradient, Sunstone none".into()));
    };
    let grads = total.backward()?;
    for (i, expected) in case.grads.iter().enumerate() {
        let Some(expected) = expected else { continue };
        let got = grads.get(&inputs[i]).unwrap_or_else(|| inputs[i].detach().zeros_like());
        // A gradient is a sum over more terms than its result.
        if let Some(why) = difference(&got, expected, case.factor * 10.0).await? {
            return Ok(Some(format!("gradient of input {i}: {why}")));
        }
    }
    Ok(None)
}
