//! What does a kernel cost the host? A measurement, and so no test that could fail:
//! `cargo test --lib wgpu::tests::host -- --ignored --nocapture`.

use super::super::executable::WgpuExecutable;
use super::*;
use crate::device::Device;
use crate::models::Digits;
use crate::models::gpt::{Gpt, GptConfig};
use crate::nn::{Init, Module};
use crate::optim::{AdamW, Optimizer};
use crate::tensor::Tensor;
use std::time::Instant;

/// Seconds of each run of a plan, of the same dispatches asked for again, and how many these are.
type Log = Arc<Mutex<Vec<(f64, f64, usize)>>>;

/// The backend, with a clock around its runs.
#[derive(Debug)]
struct Watched(Arc<WgpuBackend>, Log);

struct WatchedPlan(WgpuExecutable, Arc<WgpuBackend>, Log);

impl Executable for WatchedPlan {
    fn plan(&self) -> &Arc<Plan> {
        self.0.plan()
    }

    fn run(&self, slots: &[Arc<Storage>], scalars: &[Scalar]) -> Result<()> {
        let timed = |work: &dyn Fn() -> Result<()>| {
            // On an idle device, so that only the host's own work is in it.
            self.1.synchronize()?;
            let began = Instant::now();
            work().map(|()| began.elapsed().as_secs_f64())
        };
        let run = timed(&|| self.0.run(slots, scalars))?;
        let numbers = self.0.numbers(scalars);
        let floor = timed(&|| self.0.floor(&numbers))?;
        self.2.lock().unwrap().push((run, floor, self.plan().kernels()));
        Ok(())
    }
}

impl Backend for Watched {
    fn caps(&self) -> &Caps {
        self.0.caps()
    }
    fn allocate(&self, bytes: usize) -> Result<Storage> {
        self.0.allocate(bytes)
    }
    fn write(&self, storage: &Storage, dtype: DType, bytes: &[u8]) -> Result<()> {
        self.0.write(storage, dtype, bytes)
    }
    fn read(&self, storage: &Storage, dtype: DType, start: usize, count: usize) -> Result<Vec<u8>> {
        self.0.read(storage, dtype, start, count)
    }
    fn compile(&self, plan: Arc<Plan>) -> Result<Box<dyn Executable>> {
        Ok(Box::new(WatchedPlan(WgpuExecutable::new(&self.0, plan)?, self.0.clone(), self.1.clone())))
    }
    fn synchronize(&self) -> Result<()> {
        self.0.synchronize()
    }
    fn memory(&self) -> MemoryStats {
        self.0.memory()
    }
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// Seconds of whole steps, each on an idle device.
fn steps(device: &Device, model: &dyn Module, x: &Tensor, classes: i64) -> Result<f64> {
    let mut optimizer = AdamW::new(model.parameters(), 1e-3);
    let targets = Tensor::zeros(
        [x.shape().iter().product::<usize>() / if x.dtype() == DType::I32 { 1 } else { 784 }],
        DType::I32,
        device,
    );
    let mut times = Vec::new();
    for _ in 0..30 {
        device.synchronize()?;
        let began = Instant::now();
        let loss = model.forward(x).reshape([-1, classes]).cross_entropy(&targets);
        optimizer.step(loss.backward()?)?;
        times.push(began.elapsed().as_secs_f64());
    }
    Ok(median(times.split_off(5)))
}

#[test]
#[ignore = "a measurement"]
fn host_time_of_a_replayed_plan_beside_the_floor() -> Result<()> {
    let Some(backend) = fresh() else { return Ok(()) };
    let log = Log::default();
    let plain = Device::new("plain", backend.clone());
    let watched = Device::new("watched", Arc::new(Watched(backend, log.clone())));
    println!("{:<10} {:>7} {:>14} {:>14} {:>7} {:>14}", "", "kernels", "floor", "run", "ratio", "whole step");
    for name in ["mlp", "cnn", "gpt 2×64"] {
        let measure = |device: &Device| {
            let init = Init::new(0, device);
            let config =
                GptConfig { vocabulary: 96, layers: 2, heads: 2, width: 64, context: 16, dropout: 0.0, tied: true };
            match name {
                "mlp" => steps(device, &Digits::mlp(&init), &Tensor::ones([2, 784], DType::F32, device), 10),
                "cnn" => steps(device, &Digits::cnn(&init), &Tensor::ones([1, 784], DType::F32, device), 10),
                _ => steps(device, &Gpt::new(config, &init)?, &Tensor::zeros([1, 16], DType::I32, device), 96),
            }
        };
        log.lock().unwrap().clear();
        measure(&watched)?;
        let whole = measure(&plain)?;
        let log = std::mem::take(&mut *log.lock().unwrap());
        // The plan of a step is the last and the longest.
        let kernels = log.last().map_or(0, |last| last.2);
        let replayed: Vec<_> = log.into_iter().filter(|entry| entry.2 == kernels).skip(5).collect();
        let each = |seconds: f64| seconds * 1e6 / kernels as f64;
        let run = each(median(replayed.iter().map(|r| r.0).collect()));
        let floor = each(median(replayed.iter().map(|r| r.1).collect()));
        let ratio = run / floor;
        println!("{name:<10} {kernels:>7} {floor:>11.2} µs {run:>11.2} µs {ratio:>7.2} {:>11.2} µs", each(whole));
    }
    Ok(())
}
