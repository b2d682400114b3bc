//! The fused attention against its composition in f64 on the CPU, on every device.

mod common;

use common::{devices, numbers};
use sunstone::prelude::*;
use sunstone::tensor::AttentionOptions;

/// Sizes `[batch, heads, groups, t, s, d, e]`.
type Sizes = [usize; 7];

#[derive(Debug, Clone, Copy)]
struct Case {
    sizes: Sizes,
    causal: bool,
    dtype: DType,
    /// Queries, keys and values are parts of a tensor `[batch, positions, 3, heads, width]`.
    packed: bool,
}

fn case(sizes: Sizes, causal: bool) -> Case {
    Case { sizes, causal, dtype: DType::F32, packed: false }
}

/// Queries, keys, values and the result's gradient, `f32` numbers that the case's type has.
fn operands(c: &Case) -> [Vec<f32>; 4] {
    let [b, h, g, t, s, d, e] = c.sizes;
    let lens = [b * h * t * d, b * g * s * d, b * g * s * e, b * h * t * e];
    let mut salt = 0;
    lens.map(|n| {
        salt += 1;
        let x = Tensor::from_slice(&numbers(n, salt), [n], &Device::cpu());
        x.cast(c.dtype).cast(DType::F32).to_vec().unwrap()
    })
}

/// The result, and the gradients of queries, keys and values.
fn run(c: &Case, device: &Device, dtype: DType, composed: bool) -> Result<[Vec<f32>; 4]> {
    let [b, h, g, t, s, d, e] = c.sizes;
    let [q, k, v, w] = operands(c);
    let make = |x: &[f32], shape: [usize; 4]| Tensor::from_slice(x, shape, device).cast(dtype);
    let leaf = |x: &[f32], shape: [usize; 4]| -> Result<Tensor> {
        let x = make(x, shape);
        let x = if c.packed { x.transpose(1, 2).unsqueeze(2) } else { x };
        let x = if c.packed { Tensor::cat(&[&x, &x, &x], 2) } else { x };
        x.realize()?;
        Ok(x.requires_grad())
    };
    let leaves = [leaf(&q, [b, h, t, d])?, leaf(&k, [b, g, s, d])?, leaf(&v, [b, g, s, e])?];
    let part = |i: usize| match c.packed {
        true => leaves[i].narrow(2, i, 1).squeeze(2).transpose(1, 2),
        false => leaves[i].clone(),
    };
    let (q, k, v) = (part(0), part(1), part(2));
    let options = AttentionOptions::new().enable_gqa(true);
    let seen = Tensor::tril_mask(t, s, if c.causal { 0 } else { s as i32 }, device);
    let y = match composed {
        true => q.scaled_dot_product_attention(&k, &v, options.mask(&seen)),
        false => q.scaled_dot_product_attention(&k, &v, options.causal(c.causal)),
    };
    let wide = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let grads = (y.cast(wide) * make(&w, [b, h, t, e]).cast(wide)).sum(..).backward()?;
    let read = |t: Tensor| t.cast(DType::F32).to_vec::<f32>();
    let grad = |i: usize| {
        let g = grads.get(&leaves[i]).expect("a gradient");
        let g = if c.packed { g.narrow(2, i, 1).squeeze(2).transpose(1, 2) } else { g };
        read(g)
    };
    Ok([read(y)?, grad(0)?, grad(1)?, grad(2)?])
}

/// The largest difference, relative to the largest number of the truth.
fn difference(got: &[f32], truth: &[f32]) -> f64 {
    assert_eq!(got.len(), truth.len());
    let largest = truth.iter().fold(1e-3f32, |m, v| m.max(v.abs())) as f64;
    got.iter().zip(truth).map(|(g, t)| (*g as f64 - *t as f64).abs()).fold(0.0, f64::max) / largest
}

fn check(c: &Case) -> Result<()> {
    let truth = run(c, &Device::cpu(), DType::F64, true)?;
    let tolerance = match c.dtype {
        DType::F16 => 2e-3,
        DType::BF16 => 1.5e-2,
        DType::F64 => 1e-6,
        _ => 2e-5,
    };
    for device in devices().iter().filter(|d| d.caps().dtypes.contains(&c.dtype)) {
        let got = run(c, device, c.dtype, false)?;
        for (what, (got, truth)) in ["result", "dq", "dk", "dv"].iter().zip(got.iter().zip(&truth)) {
            let off = difference(got, truth);
            assert!(off < tolerance, "{device}: {what} of {c:?} is off by {off}");
        }
    }
    Ok(())
}

#[test]
fn results_and_gradients_are_those_of_the_composition() -> Result<()> {
    for causal in [false, true] {
        for sizes in [
            [1, 1, 1, 16, 1, 1, 1],
            [2, 3, 3, 33, 33, 8, 8],
            [1, 2, 2, 130, 70, 7, 5],
            [1, 1, 1, 20, 70, 64, 64],
            [1, 1, 1, 17, 66, 96, 128],
            [1, 1, 1, 65, 20, 128, 40],
            [1, 4, 2, 40, 50, 6, 7],
        ] {
            check(&case(sizes, causal))?;
        }
    }
    Ok(())
}

#[test]
fn views_of_one_projection_are_read_where_they_lie() -> Result<()> {
    for dtype in [DType::F32, DType::BF16] {
        check(&Case { dtype, packed: true, ..case([2, 3, 3, 70, 70, 12, 12], true) })?;
    }
    Ok(())
}

#[test]
fn other_types() -> Result<()> {
    for dtype in [DType::F16, DType::BF16, DType::F64] {
        for (sizes, causal) in
            [([1, 2, 2, 70, 90, 64, 64], false), ([1, 2, 1, 66, 66, 31, 33], true), ([2, 2, 1, 20, 20, 128, 128], true)]
        {
            check(&Case { dtype, ..case(sizes, causal) })?;
        }
    }
    Ok(())
}

#[test]
fn weights_are_never_in_memory() -> Result<()> {
    for device in common::private_devices() {
        let x = Generator::new(1).randn([1, 2, 512, 8], &device);
        x.realize()?;
        let before = device.stats().kernels_launched;
        let y = x.scaled_dot_product_attention(&x, &x, AttentionOptions::new().causal(true));
        y.realize()?;
        assert_eq!(device.stats().kernels_launched - before, 1, "{device}");
    }
    Ok(())
}

#[test]
fn what_is_not_a_number_stays_one_where_it_is_seen() -> Result<()> {
    for device in devices() {
        let mut data = numbers(40 * 4, 1);
        data[20 * 4] = f32::NAN;
        let clean = Tensor::from_slice(&numbers(40 * 4, 2), [1, 40, 4], &device);
        let spoilt = Tensor::from_slice(&data, [1, 40, 4], &device);
        let attend = |q: &Tensor, k: &Tensor, causal: bool| {
            q.scaled_dot_product_attention(k, &clean, AttentionOptions::new().causal(causal)).to_vec::<f32>()
        };
        let nan_rows =
            |y: Vec<f32>| (0..40).filter(|r| y[r * 4..r * 4 + 4].iter().all(|v| v.is_nan())).collect::<Vec<_>>();
        assert_eq!(nan_rows(attend(&spoilt, &clean, false)?), [20], "{device}: a query");
        assert_eq!(nan_rows(attend(&clean, &spoilt, false)?).len(), 40, "{device}: a key");
        assert_eq!(nan_rows(attend(&clean, &spoilt, true)?), (20..40).collect::<Vec<_>>(), "{device}: a later key");
        assert_eq!(attend(&spoilt, &clean, false)?.iter().filter(|v| v.is_nan()).count(), 4);
    }
    Ok(())
}

#[test]
fn nothing_to_see_gives_zeros() -> Result<()> {
    for device in devices() {
        let q = Tensor::ones([2, 20, 4], DType::F32, &device);
        let none = Tensor::zeros([2, 0, 4], DType::F32, &device);
        let y = q.scaled_dot_product_attention(&none, &none, AttentionOptions::new());
        assert_eq!(y.to_vec::<f32>()?, [0.0; 160], "{device}");
        let y = none.scaled_dot_product_attention(&q, &q, AttentionOptions::new());
        assert_eq!(*y.shape(), [2, 0, 4]);
        // Scores of -∞ are keys that are not seen.
        let far = Tensor::full([1, 20, 1], f32::NEG_INFINITY, DType::F32, &device);
        let (one, v) = (Tensor::ones([1, 20, 1], DType::F32, &device), Tensor::ones([1, 20, 1], DType::F32, &device));
        let y = one.scaled_dot_product_attention(&far, &v, AttentionOptions::new());
        assert_eq!(y.to_vec::<f32>()?, [0.0; 20], "{device}");
    }
    Ok(())
}

#[test]
fn every_run_gives_the_same_bits() -> Result<()> {
    for device in devices() {
        let c = case([1, 2, 2, 100, 100, 16, 16], true);
        assert_eq!(run(&c, &device, DType::F32, false)?, run(&c, &device, DType::F32, false)?, "{device}");
    }
    Ok(())
}
