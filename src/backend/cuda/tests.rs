//! What only a machine with an NVIDIA GPU can tell; elsewhere these tests say so and pass.

use super::CudaBackend;
use crate::prelude::*;
use std::sync::Arc;

/// A device of the test's own and what runs it, or none where there is no GPU.
fn gpu() -> Option<(Device, Arc<CudaBackend>)> {
    match CudaBackend::open(0) {
        Ok(backend) => Some((Device::new("private cuda:0", backend.clone()), backend)),
        Err(e) => {
            println!("not tested: {e}");
            None
        }
    }
}

fn numbers(n: usize, salt: u32) -> Vec<f32> {
    let block = |i| crate::random::philox([i, 0, salt, 0], [5, 0])[0];
    (0..n as u32).map(|i| crate::random::uniform(block(i)) * 2.0 - 1.0).collect()
}

fn tensor(shape: &[usize], salt: u32, device: &Device) -> Tensor {
    Tensor::from_slice(&numbers(shape.iter().product(), salt), shape, device)
}

/// The largest difference, relative to 1 or the number.
fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| if a == b { 0.0 } else { (a - b).abs() / b.abs().max(1.0) }).fold(0.0, f32::max)
}

#[test]
fn products_of_every_layout_agree_with_the_cpu() -> Result<()> {
    let Some((gpu, backend)) = gpu() else { return Ok(()) };
    type Case = fn(&dyn Fn(&[usize], u32) -> Tensor) -> Tensor;
    let cases: &[(&str, Case)] = &[
        ("plain", |t| t(&[65, 33], 1).matmul(&t(&[33, 70], 2))),
        ("both transposed", |t| t(&[33, 65], 1).t().matmul(&t(&[70, 33], 2).t())),
        ("a row", |t| t(&[1, 129], 1).matmul(&t(&[129, 70], 2))),
        ("a column", |t| t(&[129, 70], 1).matmul(&t(&[70, 1], 2))),
        ("an outer product", |t| t(&[129, 1], 1).matmul(&t(&[1, 70], 2))),
        ("a bias", |t| t(&[64, 96], 1).matmul(&t(&[96, 80], 2)) + t(&[80], 3)),
        ("a bias and relu", |t| (t(&[64, 96], 1).matmul(&t(&[96, 80], 2)) + t(&[80], 3)).relu()),
        ("a column of biases", |t| t(&[64, 96], 1).matmul(&t(&[96, 80], 2)) + t(&[64, 1], 3)),
        ("batches", |t| t(&[3, 2, 20, 30], 1).matmul(&t(&[3, 2, 30, 40], 2))),
        ("a broadcast batch", |t| t(&[3, 2, 20, 30], 1).matmul(&t(&[30, 40], 2))),
        ("batches that are not one", |t| {
            let x = t(&[2, 16, 3, 24], 1).permute(&[0, 2, 1, 3]);
            x.matmul(&t(&[2, 16, 3, 24], 2).permute(&[0, 2, 3, 1]))
        }),
        ("slices", |t| t(&[70, 70], 1).slice((1..66, 3..36)).matmul(&t(&[70, 71], 2).slice((2..35, 1..68)))),
        ("a result that is used twice", |t| {
            let y = t(&[64, 96], 1).matmul(&t(&[96, 80], 2));
            (&y * 2.0).sum(0) + y.sum(0)
        }),
    ];
    for tf32 in [false, true] {
        backend.allow_tf32(tf32);
        for (name, case) in cases {
            let truth = case(&|shape, salt| tensor(shape, salt, &Device::cpu())).to_vec::<f32>()?;
            // Started one by one, recorded, replayed.
            for _ in 0..3 {
                let got = case(&|shape, salt| tensor(shape, salt, &gpu)).to_vec::<f32>()?;
                let error = difference(&got, &truth);
                let most = if tf32 { 2e-2 } else { 2e-5 };
                assert!(error < most, "{name}, TF32 {tf32}: off by {error}");
            }
        }
    }
    Ok(())
}

#[test]
fn strict_products_are_not_tf32() -> Result<()> {
    let Some((gpu, backend)) = gpu() else { return Ok(()) };
    // 1 + 2^-12 has 12 bits of mantissa; TF32 keeps 10.
    let x = Tensor::from_slice(&[1.0 + 1.0 / 4096.0f32; 256 * 256], [256, 256], &gpu);
    let eye = Tensor::from_slice(&[1.0 / 256.0f32; 256 * 256], [256, 256], &gpu);
    assert_eq!(x.matmul(&eye).to_vec::<f32>()?[0], 1.0 + 1.0 / 4096.0);
    backend.allow_tf32(true);
    assert_ne!(x.matmul(&eye).to_vec::<f32>()?[0], 1.0 + 1.0 / 4096.0);
    Ok(())
}

#[test]
fn replays_take_new_numbers_new_inputs_and_new_addresses() -> Result<()> {
    let Some((gpu, _)) = gpu() else { return Ok(()) };
    let cpu = Device::cpu();
    let mut kept = Vec::new();
    for step in 0..40u32 {
        let run = |device: &Device| -> Result<Vec<f32>> {
            let x = tensor(&[32, 48], step, device);
            let h = (x.matmul(&tensor(&[48, 64], 1, device)) * (step as f64 + 0.5)).tanh();
            let y = h.softmax(1).matmul(&tensor(&[64, 16], 2, device)) + step as f64;
            (y.sum(1) * h.sum(1)).to_vec::<f32>()
        };
        if step % 3 == 0 {
            // Other memory is in use from time to time.
            let held = tensor(&[32, 16], step, &gpu) + 1.0;
            held.realize()?;
            kept.push(held);
        }
        let (got, truth) = (run(&gpu)?, run(&cpu)?);
        assert!(difference(&got, &truth) < 1e-3, "step {step}: {}", difference(&got, &truth));
    }
    let stats = gpu.stats();
    assert!(stats.plans_replayed >= 38, "{stats:?}");
    Ok(())
}

#[test]
fn exact_arithmetic_is_exact() -> Result<()> {
    let Some((gpu, _)) = gpu() else { return Ok(()) };
    // A fused product and sum would give the rounding error of the product instead of 0.
    let a = tensor(&[10_000], 1, &gpu);
    let b = tensor(&[10_000], 2, &gpu);
    let product = &a * &b;
    product.realize()?;
    assert!((&a * &b - &product).to_vec::<f32>()?.iter().all(|d| *d == 0.0));
    let (x, y) = (numbers(10_000, 1), numbers(10_000, 2));
    let quotients: Vec<f32> = x.iter().zip(&y).map(|(x, y)| x / y).collect();
    assert_eq!((&a / &b).to_vec::<f32>()?, quotients, "division rounds correctly");
    let roots: Vec<f32> = x.iter().map(|x| x.abs().sqrt()).collect();
    assert_eq!(a.abs().sqrt().to_vec::<f32>()?, roots, "and so do roots");
    Ok(())
}
