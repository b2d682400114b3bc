//! What a GPU does, as `name milliseconds` lines that `examples/peers/speed.py` prints for PyTorch too.
//!
//! `cargo run --release --example cuda_speed [DEVICE]`

use std::time::Instant;
use sunstone::models::Digits;
use sunstone::nn::{Init, Linear, Relu, Sequential};
use sunstone::optim::Adam;
use sunstone::prelude::*;

fn main() -> Result<()> {
    let name = std::env::args().nth(1).unwrap_or("cuda:0".into());
    let device = Device::open(&name)?;
    println!("# {}; {}", device.caps().hardware, device.caps().driver);
    for (library, version) in sunstone::backend::cuda::libraries() {
        println!("# {library}: {version}");
    }
    rows(&device)?;
    if std::env::args().nth(2).as_deref() != Some("rows") {
        for n in [512, 4096] {
            products(&device, n)?;
        }
    }
    let mlp = |init: &Init| {
        Sequential::new()
            .add(Linear::new(784, 512, init))
            .add(Relu)
            .add(Linear::new(512, 512, init))
            .add(Relu)
            .add(Linear::new(512, 10, init))
    };
    training(&device, "mlp_step", mlp(&Init::new(0, &device)), 128)?;
    training(&device, "cnn_step", Digits::cnn(&Init::new(0, &device)), 256)
}

/// The median over `rounds` of the time of `count` calls that end in one wait, a call.
fn time(device: &Device, name: &str, count: u32, mut f: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut times = Vec::new();
    for round in 0..8 {
        let start = Instant::now();
        (0..count).try_for_each(|_| f())?;
        let asked = start.elapsed().as_secs_f64();
        device.synchronize()?;
        if round >= 3 {
            times.push((start.elapsed().as_secs_f64() / count as f64, asked / count as f64));
        }
    }
    times.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (whole, asked) = times[times.len() / 2];
    println!("{name} {:.5} (host {:.5})", whole * 1e3, asked * 1e3);
    Ok(whole)
}

fn rows(device: &Device) -> Result<()> {
    let x = Generator::new(0).randn([8192, 8192], device);
    x.realize()?;
    time(device, "scale", 20, || (&x * 2.0).realize())?;
    time(device, "gelu_chain", 20, || (&x * 2.0 + 1.0).gelu().realize())?;
    time(device, "softmax", 20, || x.softmax(1).realize())?;
    time(device, "layer_norm", 20, || x.layer_norm(1, 1e-5).realize())?;
    time(device, "row_sum", 20, || x.sum(1).realize())?;
    time(device, "column_sum", 20, || x.sum(0).realize())?;
    Ok(())
}

fn products(device: &Device, n: usize) -> Result<()> {
    let (a, b) = (Generator::new(1).randn([n, n], device), Generator::new(2).randn([n, n], device));
    a.realize()?;
    b.realize()?;
    let whole = time(device, &format!("matmul_{n}"), 10, || a.matmul(&b).realize())?;
    println!("# {:.1} TFLOP/s", 2.0 * (n as f64).powi(3) / whole / 1e12);
    Ok(())
}

/// Steps of Adam on inputs that are on the device; the loss is read at the end of every hundred.
fn training(device: &Device, name: &str, model: impl Module, batch: usize) -> Result<()> {
    let x = Generator::new(3).rand([batch, 784], device);
    x.realize()?;
    let targets: Vec<i32> = (0..batch as i32).map(|i| i % 10).collect();
    let targets = Tensor::from_slice(&targets, [batch], device);
    let mut optimizer = Adam::new(model.parameters(), 1e-3);
    let (mut count, mut last) = (0, 0.0);
    let before = device.stats().kernels_launched;
    time(device, name, 100, || {
        let loss = model.forward(&x).cross_entropy(&targets);
        count += 1;
        optimizer.step(loss.backward()?)?;
        if count % 100 == 0 {
            last = loss.item::<f32>()?;
        }
        Ok(())
    })?;
    let kernels = device.stats().kernels_launched - before;
    println!(
        "# {:.1} kernels a step, {} bytes reserved, loss {last}",
        kernels as f64 / count as f64,
        device.stats().bytes_reserved
    );
    Ok(())
}
