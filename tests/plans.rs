//! The scheduler's promises: what is fused, what is replayed, what may be overwritten, and the traps around them.

mod common;

use common::{assert_close, devices, numbers, private_devices};
use sunstone::prelude::*;
use sunstone::tensor::realize_all;

/// A perceptron by hand, so that these tests see nothing but tensors.
struct Mlp {
    w1: Tensor,
    b1: Tensor,
    w2: Tensor,
    b2: Tensor,
}

impl Mlp {
    fn new(device: &Device, sizes: [usize; 3]) -> Mlp {
        let leaf = |shape: &[usize], salt| {
            let n = shape.iter().product();
            let data: Vec<f32> = numbers(n, salt).iter().map(|v| v * 0.1).collect();
            Tensor::from_slice(&data, shape, device).requires_grad()
        };
        let [i, h, o] = sizes;
        Mlp { w1: leaf(&[i, h], 1), b1: leaf(&[h], 2), w2: leaf(&[h, o], 3), b2: leaf(&[o], 4) }
    }

    fn loss(&self, x: &Tensor, y: &Tensor) -> Tensor {
        ((x.matmul(&self.w1) + &self.b1).relu().matmul(&self.w2) + &self.b2).cross_entropy(y)
    }

    /// One step of gradient descent, in one plan.
    fn update(&mut self, mut grads: Gradients, lr: f64) -> Result<()> {
        let device = self.w1.device();
        for w in [&mut self.w1, &mut self.b1, &mut self.w2, &mut self.b2] {
            if let Some(g) = grads.remove(w) {
                *w = no_grad(|| &*w - g * lr).requires_grad();
            }
        }
        drop(grads);
        realize_all(&device)
    }
}

fn batch(device: &Device, n: usize, inputs: usize, classes: usize, salt: u64) -> (Tensor, Tensor) {
    let y: Vec<i32> = (0..n).map(|i| ((i * 7 + salt as usize) % classes) as i32).collect();
    (Tensor::from_slice(&numbers(n * inputs, salt), [n, inputs], device), Tensor::from_slice(&y, [n], device))
}

/// What the losses of a few steps are when nothing is shared, replayed or overwritten: computed afresh in f64 by hand.
fn reference_losses(sizes: [usize; 3], n: usize, steps: usize, lr: f64) -> Vec<f64> {
    let [i, h, o] = sizes;
    let init = |n: usize, salt| numbers(n, salt).iter().map(|v| (v * 0.1) as f64).collect::<Vec<f64>>();
    let (mut w1, mut b1, mut w2, mut b2) = (init(i * h, 1), init(h, 2), init(h * o, 3), init(o, 4));
    let mut losses = Vec::new();
    for step in 0..steps {
        let x: Vec<f64> = numbers(n * i, step as u64).iter().map(|&v| v as f64).collect();
        let y: Vec<usize> = (0..n).map(|k| (k * 7 + step) % o).collect();
        let mut hidden = vec![0.0; n * h];
        let mut slope = vec![0.0; n * o];
        let mut loss = 0.0;
        for r in 0..n {
            for c in 0..h {
                let sum: f64 = (0..i).map(|k| x[r * i + k] * w1[k * h + c]).sum();
                hidden[r * h + c] = (sum + b1[c]).max(0.0);
            }
            let logits: Vec<f64> =
                (0..o).map(|c| (0..h).map(|k| hidden[r * h + k] * w2[k * o + c]).sum::<f64>() + b2[c]).collect();
            let max = logits.iter().cloned().fold(f64::MIN, f64::max);
            let sum: f64 = logits.iter().map(|l| (l - max).exp()).sum();
            loss += (sum.ln() + max - logits[y[r]]) / n as f64;
            for c in 0..o {
                slope[r * o + c] = ((logits[c] - max).exp() / sum - (c == y[r]) as u8 as f64) / n as f64;
            }
        }
        let mut back = vec![0.0; n * h];
        for r in 0..n {
            for c in (0..h).filter(|&c| hidden[r * h + c] > 0.0) {
                back[r * h + c] = (0..o).map(|k| slope[r * o + k] * w2[c * o + k]).sum();
            }
        }
        for c in 0..o {
            for k in 0..h {
                w2[k * o + c] -= lr * (0..n).map(|r| hidden[r * h + k] * slope[r * o + c]).sum::<f64>();
            }
            b2[c] -= lr * (0..n).map(|r| slope[r * o + c]).sum::<f64>();
        }
        for c in 0..h {
            for k in 0..i {
                w1[k * h + c] -= lr * (0..n).map(|r| x[r * i + k] * back[r * h + c]).sum::<f64>();
            }
            b1[c] -= lr * (0..n).map(|r| back[r * h + c]).sum::<f64>();
        }
        losses.push(loss);
    }
    losses
}

const SMALL: [usize; 3] = [12, 16, 5];

#[test]
fn losses_kept_from_every_step_and_read_at_the_end() -> Result<()> {
    let expected = reference_losses(SMALL, 8, 20, 0.3);
    for device in devices() {
        let mut model = Mlp::new(&device, SMALL);
        let mut kept = Vec::new();
        for step in 0..20 {
            let (x, y) = batch(&device, 8, SMALL[0], SMALL[2], step);
            let loss = model.loss(&x, &y);
            model.update(loss.backward()?, 0.3)?;
            kept.push(loss);
        }
        for (step, (loss, e)) in kept.iter().zip(&expected).enumerate() {
            let got = loss.item::<f32>()? as f64;
            assert!(common::close(got, *e, 1e-4), "{device} step {step}: {got} instead of {e}");
        }
    }
    Ok(())
}

#[test]
fn a_loss_may_be_read_before_and_after_backward_and_after_the_update() -> Result<()> {
    let expected = reference_losses(SMALL, 8, 4, 0.3);
    for device in devices() {
        let mut model = Mlp::new(&device, SMALL);
        for (step, &e) in expected.iter().enumerate() {
            let (x, y) = batch(&device, 8, SMALL[0], SMALL[2], step as u64);
            let loss = model.loss(&x, &y);
            let before = loss.item::<f32>()?;
            let grads = loss.backward()?;
            let between = loss.item::<f32>()?;
            model.update(grads, 0.3)?;
            let after = loss.item::<f32>()?;
            assert_eq!((before, between), (between, after), "{device}");
            assert!(common::close(before as f64, e, 1e-4), "{device} step {step}: {before} instead of {e}");
        }
    }
    Ok(())
}

#[test]
fn a_weight_held_by_the_user_survives_the_update() -> Result<()> {
    for device in devices() {
        let mut model = Mlp::new(&device, SMALL);
        let (x, y) = batch(&device, 8, SMALL[0], SMALL[2], 0);
        for _ in 0..3 {
            let held = model.w1.clone();
            let transposed = model.w2.t();
            let before = (held.to_vec::<f32>()?, model.w2.to_vec::<f32>()?);
            let grads = model.loss(&x, &y).backward()?;
            model.update(grads, 0.5)?;
            assert_eq!(held.to_vec::<f32>()?, before.0, "{device}: the held weight changed");
            assert_eq!(transposed.t().to_vec::<f32>()?, before.1, "{device}: a view of the old weight changed");
            assert_ne!(model.w1.to_vec::<f32>()?, before.0, "{device}: the update did nothing");
        }
    }
    Ok(())
}

#[test]
fn updates_are_in_place_when_nobody_else_looks() -> Result<()> {
    for device in private_devices() {
        let mut model = Mlp::new(&device, SMALL);
        for step in 0..3 {
            let (x, y) = batch(&device, 8, SMALL[0], SMALL[2], step);
            model.update(model.loss(&x, &y).backward()?, 0.1)?;
        }
        let before = device.stats().bytes_in_use;
        for step in 0..20 {
            let (x, y) = batch(&device, 8, SMALL[0], SMALL[2], step);
            model.update(model.loss(&x, &y).backward()?, 0.1)?;
        }
        assert_eq!(device.stats().bytes_in_use, before, "{device}");
    }
    Ok(())
}

#[test]
fn the_same_graph_over_other_buffers_the_same_buffer_twice_and_transposed_leaves() -> Result<()> {
    for device in devices() {
        let a = Tensor::from_slice(&numbers(9, 1), [3, 3], &device);
        let b = Tensor::from_slice(&numbers(9, 2), [3, 3], &device);
        let (va, vb) = (numbers(9, 1), numbers(9, 2));
        let f = |x: &Tensor, y: &Tensor| (x * y + x).to_vec::<f32>();
        let expect = |x: &dyn Fn(usize) -> f32, y: &dyn Fn(usize) -> f32| {
            (0..9).map(|i| x(i) * y(i) + x(i)).collect::<Vec<f32>>()
        };
        let (at, bt) = (|i: usize| va[i % 3 * 3 + i / 3], |i: usize| vb[i % 3 * 3 + i / 3]);
        for _ in 0..2 {
            assert_close("a b", &f(&a, &b)?, &expect(&|i| va[i], &|i| vb[i]), 1e-6);
            assert_close("b a", &f(&b, &a)?, &expect(&|i| vb[i], &|i| va[i]), 1e-6);
            assert_close("a a", &f(&a, &a)?, &expect(&|i| va[i], &|i| va[i]), 1e-6);
            assert_close("at b", &f(&a.t(), &b)?, &expect(&at, &|i| vb[i]), 1e-6);
            assert_close("a bt", &f(&a, &b.t())?, &expect(&|i| va[i], &bt), 1e-6);
            assert_close("at a", &f(&a.t(), &a)?, &expect(&at, &|i| va[i]), 1e-6);
        }
    }
    Ok(())
}

#[test]
fn graphs_that_differ_only_in_numbers_share_a_plan() -> Result<()> {
    let device = private_devices().remove(0);
    let x = Tensor::from_slice(&numbers(100, 1), [100], &device);
    for k in 0..5 {
        let y = (&x * k as f64 + 1.0).to_vec::<f32>()?;
        assert!(common::close(y[3] as f64, numbers(100, 1)[3] as f64 * k as f64 + 1.0, 1e-6));
    }
    let stats = device.stats();
    assert_eq!((stats.plans_built, stats.plans_replayed), (1, 4));
    // Other shapes and other ops are other plans.
    (&x + 1.0).realize()?;
    (x.slice(..50) + 1.0).realize()?;
    assert_eq!(device.stats().plans_built, 3);
    Ok(())
}

#[test]
fn the_plan_cache_is_bounded() -> Result<()> {
    let device = private_devices().remove(0);
    for n in 1..600 {
        (Tensor::arange(n, &device) + 1).realize()?;
    }
    let built = device.stats().plans_built;
    assert_eq!(built, 599);
    // The oldest were forgotten, the youngest were not.
    (Tensor::arange(599, &device) + 1).realize()?;
    assert_eq!(device.stats().plans_built, built);
    (Tensor::arange(1, &device) + 1).realize()?;
    assert_eq!(device.stats().plans_built, built + 1);
    Ok(())
}

#[test]
fn two_threads_share_a_device() -> Result<()> {
    for device in devices() {
        let expected = reference_losses(SMALL, 8, 10, 0.3);
        let work = |device: Device| -> Result<Vec<f32>> {
            let mut model = Mlp::new(&device, SMALL);
            let mut losses = Vec::new();
            for step in 0..10 {
                let (x, y) = batch(&device, 8, SMALL[0], SMALL[2], step);
                let loss = model.loss(&x, &y);
                model.update(loss.backward()?, 0.3)?;
                losses.push(loss.item::<f32>()?);
            }
            Ok(losses)
        };
        let all: Vec<Vec<f32>> = std::thread::scope(|s| {
            let threads: Vec<_> = (0..2).map(|_| s.spawn(|| work(device.clone()))).collect();
            threads.into_iter().map(|t| t.join().expect("no panic")).collect::<Result<_>>()
        })?;
        for losses in all {
            for (got, e) in losses.iter().zip(&expected) {
                assert!(common::close(*got as f64, *e, 1e-4), "{device}: {got} instead of {e}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_tensor_may_be_finished_by_another_thread() -> Result<()> {
    for device in devices() {
        let x = Tensor::from_slice(&numbers(10, 3), [10], &device) * 2.0;
        let y = std::thread::spawn(move || (x + 1.0).to_vec::<f32>()).join().expect("no panic")?;
        let expected: Vec<f32> = numbers(10, 3).iter().map(|v| v * 2.0 + 1.0).collect();
        assert_close("moved", &y, &expected, 1e-6);
    }
    Ok(())
}

#[test]
fn a_long_history_is_dropped_and_computed_without_recursion() -> Result<()> {
    let device = Device::cpu();
    let mut x = Tensor::zeros([2], DType::F32, &device);
    for _ in 0..50_000 {
        x = x + 1.0;
    }
    assert_eq!(x.to_vec::<f32>()?, [50_000.0; 2]);
    let mut y = Tensor::zeros([2], DType::F32, &device).requires_grad();
    for _ in 0..50_000 {
        y = y * 1.0;
    }
    drop(y);
    Ok(())
}

#[test]
fn a_training_step_of_the_small_perceptron_is_at_most_twelve_kernels() -> Result<()> {
    for device in private_devices() {
        let mut model = Mlp::new(&device, [784, 128, 10]);
        let mut kernels = 0;
        for step in 0..3 {
            let (x, y) = batch(&device, 64, 784, 10, step);
            let before = device.stats().kernels_launched;
            let loss = model.loss(&x, &y);
            model.update(loss.backward()?, 0.1)?;
            kernels = device.stats().kernels_launched - before;
        }
        assert!(kernels <= 12, "{device} took {kernels} kernels:\n{}", device.last_plan().expect("a plan ran"));
    }
    Ok(())
}

#[test]
fn a_thousand_steps_build_no_plan_and_reserve_no_byte_once_warm() -> Result<()> {
    for device in private_devices() {
        let mut model = Mlp::new(&device, SMALL);
        let mut warm = None;
        for step in 0..1000u64 {
            let (x, y) = batch(&device, 8, SMALL[0], SMALL[2], step);
            let loss = model.loss(&x, &y);
            model.update(loss.backward()?, 0.01)?;
            if step % 10 == 0 {
                assert!(loss.item::<f32>()?.is_finite());
            }
            let stats = device.stats();
            if step == 12 {
                warm = Some((stats.plans_built, stats.bytes_reserved));
            } else if let Some(warm) = warm {
                assert_eq!((stats.plans_built, stats.bytes_reserved), warm, "{device} at step {step}");
            }
        }
    }
    Ok(())
}

#[test]
fn intermediate_values_held_by_a_handle_are_stored() -> Result<()> {
    for device in devices() {
        let x = Tensor::from_slice(&numbers(6, 1), [2, 3], &device);
        let doubled = &x * 2.0;
        let sum = doubled.sum(0);
        let view = doubled.t();
        let result = &sum + 1.0;
        result.realize()?;
        let v = numbers(6, 1);
        assert_close("doubled", &doubled.to_vec::<f32>()?, &v.iter().map(|v| v * 2.0).collect::<Vec<_>>(), 1e-6);
        assert_close("view", &view.to_vec::<f32>()?, &[0, 3, 1, 4, 2, 5].map(|i| v[i] * 2.0), 1e-6);
        let sums: Vec<f32> = (0..3).map(|c| 2.0 * (v[c] + v[c + 3])).collect();
        assert_close("sum", &sum.to_vec::<f32>()?, &sums, 1e-6);
    }
    Ok(())
}

#[test]
fn a_reshape_made_before_its_source_became_a_computed_view() -> Result<()> {
    for device in devices() {
        let x = Tensor::from_slice(&numbers(24, 1), [8, 3], &device);
        let transposed = x.t();
        let reshaped = transposed.reshape([4, 6]) * 2.0;
        let plain = transposed.reshape([4, 6]);
        transposed.realize()?;
        let v = numbers(24, 1);
        let expected: Vec<f32> = (0..24).map(|i| v[i % 8 * 3 + i / 8]).collect();
        assert_close("plain", &plain.to_vec::<f32>()?, &expected, 0.0);
        let doubled: Vec<f32> = expected.iter().map(|v| v * 2.0).collect();
        assert_close("reshaped", &reshaped.to_vec::<f32>()?, &doubled, 1e-6);
    }
    Ok(())
}

#[test]
fn a_recurrence_that_reads_its_neighbours_is_planned_in_time() -> Result<()> {
    // Each step reads the one before at three offsets: pulled into one kernel, the last would have 3^60 terms.
    for device in common::devices() {
        let x = Tensor::ones([8], DType::F32, &device).requires_grad();
        let step = |x: Tensor| {
            let around = x.pad(&[(1, 1)], 0.0);
            (around.narrow(0, 0, 8) + x + around.narrow(0, 2, 8)) * (1.0 / 3.0)
        };
        let y = (0..60).fold(x.clone(), |x, _| step(x));
        let sum = y.sum(..);
        let grad = sum.backward()?.get(&x).expect("a gradient").to_vec::<f32>()?;
        // The step is symmetric, so the gradient of the sum is the result for ones.
        common::assert_close("gradient", &grad, &y.to_vec::<f32>()?, 1e-5);
    }
    Ok(())
}
