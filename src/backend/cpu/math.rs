//! How the CPU computes exponentials and their kin: straight-line code without tables or calls, so that loops over
//! it become vector instructions. Relative errors stay below a few units in the last place.
//!
//! The polynomials are least-squares fits of this project's own on Chebyshev nodes. Products and sums are kept apart (no fused
//! multiply-add), so that every CPU gives the same bits.

use std::f32::consts::{LOG2_E, SQRT_2};

/// `2ⁿ` in two factors, so that results below the normal range round to denormals instead of vanishing.
#[inline(always)]
fn scale(y: f32, n: i32) -> f32 {
    let half = n >> 1;
    let power = |e: i32| f32::from_bits((e.wrapping_add(127) as u32) << 23);
    y * power(half) * power(n.wrapping_sub(half))
}

/// `eˣ`
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Beyond these bounds the result is 0 or infinite anyway; NaN passes both comparisons.
    let x = if x > 89.0 { 89.0 } else { x };
    let x = if x < -104.0 { -104.0 } else { x };
    // Adding 1.5·2²³ rounds to an integer and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let shifted = x * LOG2_E + ROUND;
    let n = shifted - ROUND;
    // ln 2 in two parts, the first with few enough bits that n times it is exact.
    let r = x - n * 0.693_359_4 - n * -2.121_944_4e-4;
    let p = 0.001_394_760_6;
    let p = p * r + 0.008_369_873;
    let p = p * r + 0.041_666_247;
    let p = p * r + 0.166_665_09;
    let p = p * r + 0.5;
    let y = p * r * r + r + 1.0;
    scale(y, (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32))
}

/// Natural logarithm.
#[inline(always)]
pub fn log(x: f32) -> f32 {
    let tiny = x < f32::MIN_POSITIVE;
    let scaled = if tiny { x * 8_388_608.0 } else { x };
    let bits = scaled.to_bits() as i32;
    // x = m·2ᵉ with m in [√½, √2)
    let offset = (SQRT_2 * 0.5).to_bits() as i32;
    let e = bits.wrapping_sub(offset) >> 23;
    let m = f32::from_bits(bits.wrapping_sub(e << 23) as u32);
    let e = e as f32 - if tiny { 23.0 } else { 0.0 };
    let f = m - 1.0;
    let p = 0.068_009_12;
    let p = p * f - 0.117_266_05;
    let p = p * f + 0.118_909_895;
    let p = p * f - 0.123_964_45;
    let p = p * f + 0.142_177_63;
    let p = p * f - 0.166_685_12;
    let p = p * f + 0.200_022_46;
    let p = p * f - 0.25;
    let p = p * f + 0.333_333_1;
    let s = f * f;
    let y = f + (p * f * s + e * -2.121_944_4e-4 - 0.5 * s) + e * 0.693_359_4;
    let y = if x == f32::INFINITY { x } else { y };
    let y = if x == 0.0 { f32::NEG_INFINITY } else { y };
    if x < 0.0 || x.is_nan() { f32::NAN } else { y }
}

/// `1/(1 + e⁻ˣ)`; the exponential is taken of `-|x|`, which never overflows.
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    let z = exp(-x.abs());
    let top = if x < 0.0 { z } else { 1.0 };
    top / (1.0 + z)
}

/// Hyperbolic tangent.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let t = x.abs();
    let s = x * x;
    let p = -0.005_647_459;
    let p = p * s + 0.020_588_653;
    let p = p * s - 0.053_724_57;
    let p = p * s + 0.133_312_64;
    let p = p * s - 0.333_332_75;
    let near = p * s * x + x;
    let far = (1.0 - 2.0 / (exp(2.0 * t) + 1.0)).copysign(x);
    // NaN takes the first branch.
    if t > 0.625 { far } else { near }
}

/// Error function: a polynomial near 0, else `1 - e^q` where `q` fits the logarithm of `1 - erf`.
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    let t = x.abs();
    let s = x * x;
    let p = 8.287_424e-5;
    let p = p * s - 8.123_467_6e-4;
    let p = p * s + 0.005_199_377;
    let p = p * s - 0.026_858_753;
    let p = p * s + 0.112_836_845;
    let p = p * s - 0.376_126_32;
    let p = p * s + 0.128_379_17;
    let near = p * x + x;
    // From 4 on the result is 1, and the fit ends there.
    let u = if t > 4.0 { 4.0 } else { t };
    let q = 1.187_762_1e-5;
    let q = q * u - 3.289_727_3e-4;
    let q = q * u + 0.003_666_331;
    let q = q * u - 0.023_810_036;
    let q = q * u + 0.106_289_73;
    let q = q * u + 0.635_121;
    let q = q * u + 0.128_655_57;
    let far = (1.0 - exp(-(q * u + u))).copysign(x);
    if t > 0.9375 { far } else { near }
}

/// Error function to about 1e-15: a series without cancellation below 3, Laplace's continued fraction above.
pub fn erf_f64(x: f64) -> f64 {
    let t = x.abs();
    if x.is_nan() {
        return x;
    }
    if t < 3.0 {
        // erf x = 2/√π e^(-x²) Σ 2ⁿ x^(2n+1) / (1·3·5 … (2n+1))
        let (mut term, mut sum) = (x, x);
        let mut odd = 1.0;
        while term.abs() > 1e-17 * sum.abs() {
            odd += 2.0;
            term *= 2.0 * x * x / odd;
            sum += term;
        }
        return std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum;
    }
    if t > 6.0 {
        return 1f64.copysign(x);
    }
    // 1 - erf t = e^(-t²)/√π · 1/(t + (1/2)/(t + 1/(t + (3/2)/(t + …))))
    let fraction = (1..=60).rev().fold(t, |tail, n| t + 0.5 * n as f64 / tail);
    (1.0 - 0.5 * std::f64::consts::FRAC_2_SQRT_PI * (-t * t).exp() / fraction).copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The error in units of the last place of the f32 nearest to the truth.
    fn ulps(got: f32, want: f64) -> f64 {
        let near = want as f32;
        if got == near || (got.is_nan() && want.is_nan()) {
            return 0.0;
        }
        let unit = (f32::from_bits(near.abs().to_bits() + 1) - near.abs()) as f64;
        (got as f64 - want).abs() / unit
    }

    fn worst(f: fn(f32) -> f32, truth: fn(f64) -> f64, lo: f32, hi: f32) -> f64 {
        let n = 200_000;
        let points = (0..=n).map(|i| lo + (hi - lo) * (i as f32 / n as f32));
        points.map(|x| ulps(f(x), truth(x as f64))).fold(0.0, f64::max)
    }

    #[test]
    fn errors_are_a_few_units_in_the_last_place() {
        let sigmoid_f64 = |x: f64| 1.0 / (1.0 + (-x).exp());
        assert!(worst(exp, f64::exp, -103.0, 88.7) < 2.0, "exp {}", worst(exp, f64::exp, -103.0, 88.7));
        assert!(worst(log, f64::ln, 1e-3, 10.0) < 2.0, "log {}", worst(log, f64::ln, 1e-3, 10.0));
        assert!(worst(log, f64::ln, 1e-40, 1e-36) < 2.0);
        assert!(worst(tanh, f64::tanh, -10.0, 10.0) < 3.0, "tanh {}", worst(tanh, f64::tanh, -10.0, 10.0));
        assert!(worst(erf, erf_f64, -5.0, 5.0) < 3.0, "erf {}", worst(erf, erf_f64, -5.0, 5.0));
        let s = worst(sigmoid, sigmoid_f64, -80.0, 80.0);
        assert!(s < 3.0, "sigmoid {s}");
    }

    #[test]
    fn the_edges_are_right() {
        let inf = f32::INFINITY;
        assert_eq!((exp(inf), exp(-inf), exp(0.0), exp(90.0), exp(-105.0)), (inf, 0.0, 1.0, inf, 0.0));
        assert_eq!((log(inf), log(0.0), log(-0.0), log(1.0)), (inf, -inf, -inf, 0.0));
        assert!(log(-1.0).is_nan() && log(-inf).is_nan());
        assert_eq!((tanh(inf), tanh(-inf), sigmoid(inf), sigmoid(-inf)), (1.0, -1.0, 1.0, 0.0));
        assert_eq!((erf(inf), erf(-inf), erf(0.0)), (1.0, -1.0, 0.0));
        assert!([exp, log, tanh, sigmoid, erf].iter().all(|f| f(f32::NAN).is_nan()));
        assert!(exp(-100.0) > 0.0 && exp(-100.0) < f32::MIN_POSITIVE, "denormals do not vanish");
    }

    #[test]
    fn erf_in_double_precision() {
        // From arithmetic with thirty digits.
        for (x, want) in [
            (0.5, 0.520_499_877_813_046_5),
            (1.0, 0.842_700_792_949_714_9),
            (2.0, 0.995_322_265_018_952_7),
            (2.999, 0.999_977_769_831_400_2),
            (3.5, 0.999_999_256_901_627_7),
        ] {
            assert!((erf_f64(x) - want).abs() < 2e-15, "{x}: {} {want}", erf_f64(x));
            assert_eq!(erf_f64(-x), -erf_f64(x));
        }
        assert!(erf_f64(f64::NAN).is_nan());
        assert_eq!(erf_f64(f64::INFINITY), 1.0);
    }
}
