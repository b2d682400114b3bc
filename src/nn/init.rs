//! First values of parameters, all drawn from one seed.

use super::refuse;
use crate::device::Device;
use crate::dtype::DType;
use crate::random::{Generator, philox, uniform};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// Where new parameters are put, of which dtype, and the random numbers they are drawn from.
///
/// The same seed and the same sequence of calls give the same values (normals within 1e-6) on every device.
///
/// ```
/// use sunstone::prelude::*;
/// let draw = || sunstone::nn::Init::new(7, &Device::cpu()).kaiming_uniform([3, 2], 0.0).to_vec::<f32>();
/// assert_eq!(draw()?, draw()?);
/// # Ok::<(), sunstone::Error>(())
/// ```
#[derive(Debug)]
pub struct Init {
    generator: Generator,
    device: Device,
    dtype: DType,
}

/// Inputs and outputs of one unit of a weight `[outputs, inputs, kernel..]`, each times the kernel's size.
/// Missing axes count as 1, so that a bias has fans too.
fn fans(shape: &Shape) -> (f64, f64) {
    let size = |axis: usize| shape.get(axis).map_or(1.0, |&n| n as f64);
    let kernel: f64 = shape.iter().skip(2).map(|&n| n as f64).product();
    (size(1) * kernel, size(0) * kernel)
}

/// `scale/√fan`, and 0 where there is nothing to scale by.
fn over_root(scale: f64, fan: f64) -> f64 {
    if fan > 0.0 { scale / fan.sqrt() } else { 0.0 }
}

/// The gain of a leaky ReLU of slope `a`: `√(2/(1 + a²))`; `√2` for a ReLU.
fn leaky_gain(a: f64) -> f64 {
    (2.0 / (1.0 + a * a)).sqrt()
}

impl Init {
    /// `f32` parameters on `device`, from this seed.
    pub fn new(seed: u64, device: &Device) -> Init {
        Init { generator: Generator::new(seed), device: device.clone(), dtype: DType::F32 }
    }

    /// Parameters of another float type; the numbers drawn are those of `f32`.
    pub fn dtype(self, dtype: DType) -> Init {
        Init { dtype, ..self }
    }

    /// Where parameters are put.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// A seed for somebody who needs random numbers of their own; each call gives another.
    pub fn seed(&self) -> u64 {
        let state = self.generator.next();
        let [a, b, ..] = philox([0, 0, state.stream, 1], key(state.seed));
        ((a as u64) << 32) | b as u64
    }

    /// All 0.
    pub fn zeros(&self, shape: impl Into<Shape>) -> Tensor {
        Tensor::zeros(shape, self.dtype, &self.device)
    }

    /// All 1.
    pub fn ones(&self, shape: impl Into<Shape>) -> Tensor {
        Tensor::ones(shape, self.dtype, &self.device)
    }

    /// Uniform in `[low, high)`.
    pub fn uniform(&self, shape: impl Into<Shape>, low: f64, high: f64) -> Tensor {
        self.generator.rand(shape, &self.device).cast(self.dtype) * (high - low) + low
    }

    /// Normal with this mean and standard deviation.
    pub fn normal(&self, shape: impl Into<Shape>, mean: f64, std: f64) -> Tensor {
        self.generator.randn(shape, &self.device).cast(self.dtype) * std + mean
    }

    /// Normal with this mean and standard deviation, as it is given that it lies in `[low, high]`
    /// (by inverting the distribution function).
    #[track_caller]
    pub fn truncated_normal(&self, shape: impl Into<Shape>, mean: f64, std: f64, low: f64, high: f64) -> Tensor {
        let shape = shape.into();
        let mut values: Vec<f32> = Vec::new();
        let count = shape.checked_numel().unwrap_or(usize::MAX);
        if values.try_reserve_exact(count).is_err() {
            return refuse("truncated_normal", format!("the host has no room for {shape}"));
        }
        let state = self.generator.next();
        // 2Φ(z) − 1 = erf(z/√2), of both ends.
        let [from, to] = [low, high].map(|end| erf((end - mean) / (std * std::f64::consts::SQRT_2)));
        values.extend((0..count).map(|i| {
            let block = (i / 4) as u64;
            let words = philox([block as u32, (block >> 32) as u32, state.stream, 0], key(state.seed));
            let z = erfinv(from + (to - from) * uniform(words[i % 4]) as f64) * std::f64::consts::SQRT_2;
            (mean + std * z).max(low).min(high) as f32
        }));
        Tensor::from_slice(&values, shape, &self.device).cast(self.dtype)
    }

    /// Uniform in ±√3·gain/√fan_in with the gain of a leaky ReLU of slope `a` (He et al., 2015); 0 for a ReLU.
    /// `shape` is `[outputs, inputs, kernel..]`.
    pub fn kaiming_uniform(&self, shape: impl Into<Shape>, a: f64) -> Tensor {
        let shape = shape.into();
        let bound = over_root(leaky_gain(a) * 3f64.sqrt(), fans(&shape).0);
        self.uniform(shape, -bound, bound)
    }

    /// Normal with standard deviation gain/√fan_in; see [`Init::kaiming_uniform`].
    pub fn kaiming_normal(&self, shape: impl Into<Shape>, a: f64) -> Tensor {
        let shape = shape.into();
        let std = over_root(leaky_gain(a), fans(&shape).0);
        self.normal(shape, 0.0, std)
    }

    /// Uniform in ±gain·√(6/(fan_in + fan_out)) (Glorot and Bengio, 2010). `shape` is `[outputs, inputs, kernel..]`.
    pub fn xavier_uniform(&self, shape: impl Into<Shape>, gain: f64) -> Tensor {
        let shape = shape.into();
        let (fan_in, fan_out) = fans(&shape);
        let bound = over_root(gain * 6f64.sqrt(), fan_in + fan_out);
        self.uniform(shape, -bound, bound)
    }

    /// Normal with standard deviation gain·√(2/(fan_in + fan_out)); see [`Init::xavier_uniform`].
    pub fn xavier_normal(&self, shape: impl Into<Shape>, gain: f64) -> Tensor {
        let shape = shape.into();
        let (fan_in, fan_out) = fans(&shape);
        self.normal(shape, 0.0, over_root(gain * 2f64.sqrt(), fan_in + fan_out))
    }

    /// PyTorch's default for the weight of a linear or convolution layer.
    pub(super) fn layer_weight(&self, shape: impl Into<Shape>) -> Tensor {
        self.kaiming_uniform(shape, 5f64.sqrt())
    }

    /// PyTorch's default for its bias: uniform in ±1/√fan_in.
    pub(super) fn layer_bias(&self, outputs: usize, fan_in: usize) -> Tensor {
        let bound = over_root(1.0, fan_in as f64);
        self.uniform([outputs], -bound, bound)
    }
}

fn key(seed: u64) -> [u32; 2] {
    [seed as u32, (seed >> 32) as u32]
}

/// The error function within 1.5e-7 (Abramowitz and Stegun, 7.1.26).
fn erf(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.3275911 * x.abs());
    let poly = [1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592].iter().fold(0.0, |p, c| (p + c) * t);
    (1.0 - poly * (-x * x).exp()).copysign(x)
}

/// Its inverse within 4e-7 relative (Giles, *Approximating the erfinv function*, 2012).
fn erfinv(y: f64) -> f64 {
    const CENTRE: [f64; 9] = [
        2.81022636e-08,
        3.43273939e-07,
        -3.5233877e-06,
        -4.39150654e-06,
        0.00021858087,
        -0.00125372503,
        -0.00417768164,
        0.246640727,
        1.50140941,
    ];
    const TAIL: [f64; 9] = [
        -0.000200214257,
        0.000100950558,
        0.00134934322,
        -0.00367342844,
        0.00573950773,
        -0.0076224613,
        0.00943887047,
        1.00167406,
        2.83297682,
    ];
    // At ±1 the answer is infinite; stopping just short keeps the arithmetic finite, and the caller clamps.
    let y = y.clamp(-1.0 + 1e-12, 1.0 - 1e-12);
    let w = -((1.0 - y) * (1.0 + y)).ln();
    let (coefficients, w) = if w < 5.0 { (CENTRE, w - 2.5) } else { (TAIL, w.sqrt() - 3.0) };
    coefficients.iter().fold(0.0, |p, c| p * w + c) * y
}

#[cfg(test)]
mod tests {
    use super::*;

    fn init() -> Init {
        Init::new(11, &Device::cpu())
    }

    /// Mean and standard deviation, smallest and largest.
    fn stats(t: Tensor) -> [f64; 4] {
        let v: Vec<f64> = t.to_vec::<f32>().unwrap().into_iter().map(f64::from).collect();
        let n = v.len() as f64;
        let mean = v.iter().sum::<f64>() / n;
        let std = (v.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
        [
            mean,
            std,
            v.iter().copied().fold(f64::INFINITY, f64::min),
            v.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        ]
    }

    /// 16,384 draws of standard deviation `std` have a mean within 5·std/128 and a standard deviation within 4 %.
    fn check(t: Tensor, mean: f64, std: f64, bounds: [f64; 2]) {
        let [m, s, low, high] = stats(t);
        assert!((m - mean).abs() < 5.0 * std / 128.0, "mean {m} instead of {mean}");
        assert!((s / std - 1.0).abs() < 0.04, "standard deviation {s} instead of {std}");
        assert!(low >= bounds[0] - 1e-6 && high <= bounds[1] + 1e-6, "[{low}, {high}] is not in {bounds:?}");
    }

    const FREE: [f64; 2] = [f64::NEG_INFINITY, f64::INFINITY];

    #[test]
    fn each_distribution_has_its_moments() {
        let shape = [64, 256];
        check(init().uniform(shape, -1.0, 3.0), 1.0, 4.0 / 12f64.sqrt(), [-1.0, 3.0]);
        check(init().normal(shape, 2.0, 0.5), 2.0, 0.5, FREE);
        // A standard normal cut at ±2 has standard deviation 0.87963.
        check(init().truncated_normal(shape, 1.0, 0.02, 0.96, 1.04), 1.0, 0.02 * 0.87963, [0.96, 1.04]);
    }

    #[test]
    fn fans_scale_the_weights() {
        // fan_in 8·16, fan_out 128·16.
        let shape = [128, 8, 4, 4];
        let (fan_in, fan_out) = (128.0f64, 2048.0f64);
        let bound = |b: f64| [-b, b];
        let b = (6.0 / fan_in).sqrt();
        check(init().kaiming_uniform(shape, 0.0), 0.0, b / 3f64.sqrt(), bound(b));
        check(init().kaiming_normal(shape, 0.0), 0.0, (2.0 / fan_in).sqrt(), FREE);
        let b = (6.0 / (fan_in + fan_out)).sqrt();
        check(init().xavier_uniform(shape, 1.0), 0.0, b / 3f64.sqrt(), bound(b));
        check(init().xavier_normal(shape, 2.0), 0.0, 2.0 * (2.0 / (fan_in + fan_out)).sqrt(), FREE);
        let b = 1.0 / fan_in.sqrt();
        check(init().layer_weight(shape), 0.0, b / 3f64.sqrt(), bound(b));
        check(init().layer_bias(16_384, 128), 0.0, b / 3f64.sqrt(), bound(b));
    }

    #[test]
    fn a_shape_beyond_memory_is_an_error() {
        for size in [1 << 60, usize::MAX] {
            assert!(init().truncated_normal([size], 0.0, 1.0, -2.0, 2.0).realize().is_err());
        }
    }

    #[test]
    fn nothing_to_divide_by_gives_zeros_not_nan() {
        assert!(init().kaiming_uniform([3, 0], 0.0).to_vec::<f32>().unwrap().is_empty());
        assert_eq!(init().layer_bias(2, 0).to_vec::<f32>().unwrap(), [0.0, 0.0]);
    }

    #[test]
    fn the_inverse_error_function_inverts() {
        for i in -30..=30 {
            let x = i as f64 / 10.0;
            assert!((erfinv(erf(x)) - x).abs() < 2e-3 * (1.0 + x.abs().powi(4)), "{x}: {}", erfinv(erf(x)));
        }
        assert!(erf(0.0).abs() < 1e-6);
    }

    #[test]
    fn seeds_differ_from_call_to_call() {
        let init = init();
        assert_ne!(init.seed(), init.seed());
        assert_eq!(Init::new(11, &Device::cpu()).seed(), Init::new(11, &Device::cpu()).seed());
    }
}
