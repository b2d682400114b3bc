//! What only a machine with an NVIDIA GPU can tell; elsewhere these tests say so and pass.

use super::CudaBackend;
use crate::backend::CachingManager;
use crate::device::{Backend, MemoryManager, Storage};
use crate::graph::ConvSpec;
use crate::prelude::*;
use std::sync::Arc;

/// A device of the test's own and what runs it, or none where there is no GPU.
fn gpu() -> Option<(Device, Arc<CudaBackend>)> {
    numbered(0)
}

fn numbered(index: usize) -> Option<(Device, Arc<CudaBackend>)> {
    match CudaBackend::open(index) {
        Ok(backend) => Some((Device::new(format!("private cuda:{index}"), backend.clone()), backend)),
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

type Case = fn(&dyn Fn(&[usize], u32) -> Tensor) -> Tensor;

/// Each case on both devices, from operands of `dtype`: started one by one, recorded, replayed.
fn agree(gpu: &Device, cases: &[(&str, Case)], dtype: DType, most: f32) -> Result<()> {
    for (name, case) in cases {
        let on = |device: &Device| {
            let result = case(&|shape, salt| tensor(shape, salt, device).cast(dtype));
            result.cast(DType::F32).to_vec::<f32>()
        };
        let truth = on(&Device::cpu())?;
        for _ in 0..3 {
            let error = difference(&on(gpu)?, &truth);
            assert!(error < most, "{name} in {dtype}: off by {error}");
        }
    }
    Ok(())
}

#[test]
fn products_of_every_layout_agree_with_the_cpu() -> Result<()> {
    let Some((gpu, _)) = gpu() else { return Ok(()) };
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
    for (tf32, most) in [(false, 2e-5), (true, 2e-2)] {
        gpu.allow_tf32(tf32);
        agree(&gpu, cases, DType::F32, most)?;
    }
    // Two results that round apart are a unit of the last place apart; sums of them a few.
    agree(&gpu, cases, DType::F16, 2e-2)?;
    agree(&gpu, cases, DType::BF16, 1e-1)
}

#[test]
fn convolutions_and_their_gradients_agree_with_the_cpu() -> Result<()> {
    let Some((gpu, _)) = gpu() else { return Ok(()) };
    fn all(x: Tensor, w: Tensor, bias: Tensor, spec: ConvSpec) -> Tensor {
        let (x, w) = (x.requires_grad(), w.requires_grad());
        let y = (x.conv2d(&w, spec) + bias).relu();
        let loss = (&y * &y).cast(DType::F32).mean(..);
        let Ok(gradients) = loss.backward() else { return y };
        let (Some(dx), Some(dw)) = (gradients.get(&x), gradients.get(&w)) else { return y };
        let flat = |t: Tensor| t.cast(DType::F32).reshape([-1]);
        Tensor::cat(&[&flat(y), &flat(dx), &flat(dw)], 0)
    }
    let cases: &[(&str, Case)] = &[
        ("plain", |t| all(t(&[2, 3, 9, 8], 1), t(&[4, 3, 3, 3], 2), t(&[4, 1, 1], 3), ConvSpec::default())),
        ("one channel", |t| {
            let spec = ConvSpec { padding: [1, 1], ..ConvSpec::default() };
            all(t(&[16, 1, 28, 28], 1), t(&[16, 1, 3, 3], 2), t(&[16, 1, 1], 3), spec)
        }),
        ("strides, padding, dilation", |t| {
            let spec = ConvSpec { stride: [2, 3], padding: [2, 1], dilation: [2, 1], groups: 1 };
            all(t(&[3, 8, 17, 19], 1), t(&[5, 8, 3, 2], 2), t(&[5, 1, 1], 3), spec)
        }),
        ("groups", |t| {
            let spec = ConvSpec { padding: [1, 1], groups: 4, ..ConvSpec::default() };
            all(t(&[2, 8, 10, 10], 1), t(&[12, 2, 3, 3], 2), t(&[12, 1, 1], 3), spec)
        }),
        ("depthwise", |t| {
            let spec = ConvSpec { padding: [1, 1], groups: 8, ..ConvSpec::default() };
            all(t(&[2, 8, 10, 10], 1), t(&[8, 1, 3, 3], 2), t(&[8, 1, 1], 3), spec)
        }),
        ("1 by 1", |t| all(t(&[2, 16, 7, 5], 1), t(&[24, 16, 1, 1], 2), t(&[24, 1, 1], 3), ConvSpec::default())),
        ("a permuted input", |t| {
            let x = t(&[2, 9, 8, 3], 1).permute(&[0, 3, 1, 2]);
            all(x, t(&[4, 3, 3, 3], 2), t(&[4, 1, 1], 3), ConvSpec::default())
        }),
        ("a broadcast input", |t| {
            let x = t(&[2, 1, 9, 8], 1).expand([2, 3, 9, 8]);
            all(x, t(&[4, 3, 3, 3], 2), t(&[4, 1, 1], 3), ConvSpec::default())
        }),
        ("a slice", |t| {
            let x = t(&[2, 5, 12, 12], 1).slice((.., 1..4, 2..11, 1..9));
            all(x, t(&[4, 3, 3, 3], 2), t(&[4, 1, 1], 3), ConvSpec::default())
        }),
    ];
    for (tf32, most) in [(false, 5e-5), (true, 2e-2)] {
        gpu.allow_tf32(tf32);
        agree(&gpu, cases, DType::F32, most)?;
    }
    agree(&gpu, cases, DType::F16, 2e-2)?;
    agree(&gpu, cases, DType::BF16, 1e-1)
}

#[test]
fn kernels_are_timed() -> Result<()> {
    let Some((gpu, _)) = gpu() else { return Ok(()) };
    let x = tensor(&[512, 512], 1, &gpu);
    x.realize()?;
    let (_, times) = gpu.profile(|| x.matmul(&x).softmax(1).sum(..).item::<f32>())?;
    assert!(times.len() >= 2, "{times:?}");
    assert!(times.iter().all(|k| k.duration > 0.0) && times.windows(2).all(|k| k[0].start < k[1].start), "{times:?}");
    Ok(())
}

#[test]
fn attention_is_tf32_where_that_is_allowed_and_only_there() -> Result<()> {
    let Some((gpu, backend)) = gpu() else { return Ok(()) };
    for head in [64, 128] {
        let run = |device: &Device| -> Result<Vec<f32>> {
            let [q, k, v] = [1, 2, 3].map(|salt| tensor(&[2, 3, 150, head], salt, device).requires_grad());
            let y = q.scaled_dot_product_attention(&k, &v, crate::tensor::AttentionOptions::new().causal(true));
            let grads = (&y * tensor(&[2, 3, 150, head], 4, device)).sum(..).backward()?;
            let all = [&q, &k, &v].map(|x| grads.get(x)).into_iter().flatten().chain([y]);
            all.map(|t| t.to_vec::<f32>()).collect::<Result<Vec<_>>>().map(|parts| parts.concat())
        };
        let truth = run(&Device::cpu())?;
        for (tf32, most) in [(false, 2e-5), (true, 5e-3)] {
            backend.allow_tf32(tf32);
            let off = difference(&run(&gpu)?, &truth);
            assert!(off < most, "heads of {head}, TF32 {tf32}: off by {off}");
            assert!(!tf32 || off > 2e-5, "heads of {head}: TF32 was not used");
        }
    }
    Ok(())
}

#[test]
fn strict_products_are_not_tf32() -> Result<()> {
    let Some((gpu, _)) = gpu() else { return Ok(()) };
    // 1 + 2^-12 has 12 bits of mantissa; TF32 keeps 10.
    let x = Tensor::from_slice(&[1.0 + 1.0 / 4096.0f32; 256 * 256], [256, 256], &gpu);
    let eye = Tensor::from_slice(&[1.0 / 256.0f32; 256 * 256], [256, 256], &gpu);
    assert_eq!(x.matmul(&eye).to_vec::<f32>()?[0], 1.0 + 1.0 / 4096.0);
    gpu.allow_tf32(true);
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

#[test]
fn tensors_go_from_one_backend_to_another_without_the_host() -> Result<()> {
    // Two backends on one GPU have streams of their own, as two GPUs do.
    let (Some((one, _)), Some((two, backend))) = (gpu(), numbered(1).or_else(gpu)) else { return Ok(()) };
    println!("from {one} to {two}");
    assert!((Tensor::zeros([1], DType::F32, &one) + Tensor::zeros([1], DType::F32, &two)).realize().is_err());
    for round in 0..20 {
        let x = tensor(&[300, 700], round, &one) * 2.0;
        let part = x.slice((5..295, 3..)).t();
        let y = part.to_device(&two)? + 1.0;
        let expected = (part + 1.0).to_vec::<f32>()?;
        drop(x);
        assert_eq!(y.to_vec::<f32>()?, expected);
    }
    let to = backend.allocate(16)?;
    let storage = Storage::new(32, &(Arc::new(CachingManager::new()) as Arc<dyn MemoryManager>), &*backend.core)?;
    assert!(backend.copy_from(&to, &storage, 0, 32).is_err(), "too large");
    assert!(backend.copy_from(&to, &storage, 24, 16).is_err(), "past the end");
    Ok(())
}
