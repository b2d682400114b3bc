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

/// One run of a plan.
#[derive(Debug)]
struct Entry {
    kernels: usize,
    /// Seconds of the run that its step asked for, after other work of the host.
    first: f64,
    /// Of the same once more, and of its dispatches asked for again: both with all that they need in the CPU's caches.
    again: f64,
    floor: f64,
}

type Log = Arc<Mutex<Vec<Entry>>>;

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
        let first = timed(&|| self.0.run(slots, scalars))?;
        let numbers = self.0.numbers(scalars);
        let floor = timed(&|| self.0.floor(&numbers))?;
        // Other numbers than those that are there, as in a step of an optimizer that counts its steps.
        self.0.forget_numbers();
        let again = timed(&|| self.0.run(slots, scalars))?;
        self.2.lock().unwrap().push(Entry { kernels: self.plan().kernels(), first, again, floor });
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
    fn read(&self, storage: &Storage, dtype: DType, start: usize, out: &mut [u8]) -> Result<()> {
        self.0.read(storage, dtype, start, out)
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
    println!(
        "µs a kernel{:>9}{:>9}{:>9}{:>9}{:>16}{:>12}",
        "kernels", "floor", "run", "ratio", "run in a step", "whole step"
    );
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
        let kernels = log.last().map_or(0, |last| last.kernels);
        let replayed: Vec<_> = log.into_iter().filter(|entry| entry.kernels == kernels).skip(5).collect();
        let each = |seconds: f64| seconds * 1e6 / kernels as f64;
        let of = |time: fn(&Entry) -> f64| each(median(replayed.iter().map(time).collect()));
        let (first, again, floor) = (of(|e| e.first), of(|e| e.again), of(|e| e.floor));
        let ratio = again / floor;
        println!("{name:<11}{kernels:>9}{floor:>9.2}{again:>9.2}{ratio:>9.2}{first:>16.2}{:>12.2}", each(whole));
    }
    Ok(())
}
