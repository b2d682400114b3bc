//! What a training step costs the host alone: the same steps as `cuda_speed`, on a device that computes nothing.
//!
//! `cargo run --release --example host_speed`

use std::fmt;
use std::sync::Arc;
use std::time::Instant;
use sunstone::backend::cpu::CpuBackend;
use sunstone::device::{Backend, Caps, Executable, MemoryStats, Storage};
use sunstone::dtype::Scalar;
use sunstone::models::Digits;
use sunstone::models::gpt::{Gpt, GptConfig};
use sunstone::nn::{Init, Linear, Relu, Sequential};
use sunstone::optim::Adam;
use sunstone::plan::Plan;
use sunstone::prelude::*;

/// Memory and nothing else.
struct Idle(Arc<CpuBackend>);

struct Nothing(Arc<Plan>);

impl Executable for Nothing {
    fn plan(&self) -> &Arc<Plan> {
        &self.0
    }

    fn run(&self, _: &[Arc<Storage>], _: &[Scalar]) -> Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Idle")
    }
}

impl Backend for Idle {
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
        Ok(Box::new(Nothing(plan)))
    }

    fn synchronize(&self) -> Result<()> {
        Ok(())
    }

    fn memory(&self) -> MemoryStats {
        self.0.memory()
    }
}

fn main() -> Result<()> {
    let device = Device::new("idle", Arc::new(Idle(CpuBackend::new())));
    let init = &Init::new(0, &device);
    let mlp = Sequential::new()
        .add(Linear::new(784, 512, init))
        .add(Relu)
        .add(Linear::new(512, 512, init))
        .add(Relu)
        .add(Linear::new(512, 10, init));
    let flat = || Tensor::zeros([128, 784], DType::F32, &device);
    let classes = Tensor::zeros([128], DType::I32, &device);
    steps("mlp", &device, &mlp, &flat(), &classes)?;
    steps("cnn", &device, &Digits::cnn(init), &flat(), &classes)?;
    let config = GptConfig { vocabulary: 96, layers: 12, heads: 4, width: 32, context: 16, dropout: 0.0, tied: true };
    let gpt = Gpt::new(config, init)?;
    let (tokens, targets) = (Tensor::zeros([1, 16], DType::I32, &device), Tensor::zeros([16], DType::I32, &device));
    steps("gpt, 12 layers", &device, &gpt, &tokens, &targets)
}

/// The median of a step's time, and how many kernels it would have run.
fn steps(name: &str, device: &Device, model: &dyn Module, x: &Tensor, targets: &Tensor) -> Result<()> {
    x.realize()?;
    targets.realize()?;
    let mut optimizer = Adam::new(model.parameters(), 1e-3);
    let mut times = Vec::new();
    for _ in 0..300 {
        let start = Instant::now();
        let logits = model.forward(x);
        let classes = logits.shape().last().copied().unwrap_or(1) as i64;
        optimizer.step(logits.reshape([-1, classes]).cross_entropy(targets).backward()?)?;
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    let kernels = device.last_plan().map_or(0, |p| p.kernels());
    println!("{name}: {:.1} µs a step of {kernels} kernels", times[times.len() / 2] * 1e6);
    Ok(())
}
