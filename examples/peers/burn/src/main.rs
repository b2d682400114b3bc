//! Rows of `sunstone bench` in Burn on Vulkan, as the same JSON, so that `sunstone bench compare` shows both.
//!
//! `cargo run --release -- [--quick] --json FILE`, in this folder. Names, sizes, work and the way of timing are those of
//! src/bench; results are not checked. Only `f32`, and only what Burn has an op or a module for.

use burn::backend::{Autodiff, Vulkan, wgpu::WgpuDevice};
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d, Relu};
use burn::optim::{AdamWConfig, GradientsParams, Optimizer};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Distribution, Int, Tensor, activation};
use serde_json::{Value, json};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

type B = Vulkan;
type Matrix = Tensor<B, 2>;

const SAMPLE: f64 = 5e-3;
const MAX_CALLS: u32 = 4096;

struct Bench {
    device: WgpuDevice,
    quick: bool,
    rows: Vec<Value>,
    bytes: f64,
    flops: f64,
}

impl Bench {
    fn numbers(&self, rows: usize, columns: usize) -> Matrix {
        Tensor::random([rows, columns], Distribution::Uniform(-1.0, 1.0), &self.device)
    }

    /// Seconds of so many calls and the wait for them, and of the calls alone.
    fn sample(&self, calls: u32, call: &mut dyn FnMut()) -> (f64, f64) {
        let began = Instant::now();
        (0..calls).for_each(|_| call());
        let asked = began.elapsed().as_secs_f64();
        let _ = B::sync(&self.device);
        (began.elapsed().as_secs_f64(), asked)
    }

    fn row(&mut self, [suite, name]: [&str; 2], [flops, bytes, samples]: [f64; 3], mut call: impl FnMut()) {
        let mut calls = 1;
        // The first calls choose kernels.
        (0..3).for_each(|_| drop(self.sample(1, &mut call)));
        loop {
            let (whole, _) = self.sample(calls, &mut call);
            if whole >= SAMPLE || calls >= MAX_CALLS {
                break;
            }
            calls = (calls * 2).max((calls as f64 * SAMPLE / whole.max(1e-6)) as u32).min(MAX_CALLS);
        }
        let (mut times, mut hosts, began) = (Vec::new(), Vec::new(), Instant::now());
        let budget = if self.quick { 0.1 } else { 1.0 };
        while times.len() < 3 || (times.len() < 100 && began.elapsed().as_secs_f64() < budget) {
            let (whole, asked) = self.sample(calls, &mut call);
            times.push(whole / calls as f64);
            hosts.push(asked / calls as f64);
        }
        times.sort_by(f64::total_cmp);
        hosts.sort_by(f64::total_cmp);
        let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
        println!("{suite:<9} {name:<44} {:>12.4} ms", at(0.5) * 1e3);
        if ["scale", "triad"].contains(&name) {
            self.bytes = self.bytes.max(bytes / at(0.5));
        }
        self.flops = self.flops.max(flops / at(0.5));
        self.rows.push(json!({
            "suite": suite, "name": name, "dtype": "f32",
            "work": { "flops": flops, "bytes": bytes, "samples": samples }, "outcome": "timed",
            "time": {
                "median": at(0.5), "q1": at(0.25), "q3": at(0.75), "best": times[0],
                "samples": times.len(), "calls": calls,
            },
            "host": hosts[hosts.len() / 2],
        }));
    }

    fn peak(&mut self) {
        let long = if self.quick { 1 << 22 } else { 1 << 26 };
        let line = || Tensor::<B, 1>::random([long], Distribution::Uniform(-1.0, 1.0), &WgpuDevice::default());
        let (x, y) = (line(), line());
        self.row(["peak", "scale"], [0.0, 8.0 * long as f64, 0.0], || drop(x.clone() * 2.0));
        self.row(["peak", "triad"], [0.0, 12.0 * long as f64, 0.0], || drop(x.clone() + y.clone() * 2.0));
        let n = if self.quick { 256 } else { 4096 };
        self.product("peak", &format!("product {n}"), [n, n, n], false, false);
    }

    fn product(&mut self, suite: &str, name: &str, [m, k, n]: [usize; 3], left: bool, right: bool) {
        let a = if left { self.numbers(k, m).transpose() } else { self.numbers(m, k) };
        let b = if right { self.numbers(n, k).transpose() } else { self.numbers(k, n) };
        let work = [2.0 * (m * k) as f64 * n as f64, 4.0 * (m * k + k * n + m * n) as f64, 0.0];
        self.row([suite, name], work, || drop(a.clone().matmul(b.clone())));
    }

    fn matmul(&mut self) {
        let sizes: &[usize] = if self.quick { &[128] } else { &[256, 512, 1024, 2048, 4096, 8192] };
        for (layout, left, right) in [("nn", false, false), ("nt", false, true), ("tn", true, false)] {
            for &n in sizes {
                self.product("matmul", &format!("{layout} {n}"), [n, n, n], left, right);
            }
        }
        let n = if self.quick { 512 } else { 8192 };
        self.product("matmul", &format!("{n} by 1 column"), [n, n, 1], false, false);
        self.product("matmul", &format!("{n} by 16 columns"), [n, n, 16], false, false);
    }

    fn rows_and_maps(&mut self) {
        let n = if self.quick { 1024 } else { 8192 };
        let (x, row, column) = (self.numbers(n, n), self.numbers(1, n), self.numbers(n, 1));
        let matrix = 4.0 * (n * n) as f64;
        let mut case = |suite: &str, name: &str, touched: f64, f: &dyn Fn(Matrix) -> Matrix| {
            self.row([suite, &format!("{name} {n}")], [0.0, touched * matrix, 0.0], || drop(f(x.clone())));
        };
        case("rows", "softmax", 2.0, &|x| activation::softmax(x, 1));
        case("rows", "log softmax", 2.0, &|x| activation::log_softmax(x, 1));
        case("rows", "row sum", 1.0, &|x| x.sum_dim(1));
        case("rows", "row max", 1.0, &|x| x.max_dim(1));
        case("rows", "column sum", 1.0, &|x| x.sum_dim(0));
        case("map", "gelu(2x + 1)", 2.0, &|x| activation::gelu(x * 2.0 + 1.0));
        case("map", "add a row", 2.0, &|x| x + row.clone());
        case("map", "add a column", 2.0, &|x| x + column.clone());
        case("map", "transpose and scale", 2.0, &|x| x.transpose() * 2.0);
    }

    fn train(&mut self) {
        let batch = if self.quick { 8 } else { 256 };
        let mlp = Mlp::<Autodiff<B>>::new(&self.device);
        self.training("mlp", batch, mlp, |model, x| model.forward(x));
        let cnn = Cnn::<Autodiff<B>>::new(&self.device);
        self.training("cnn", batch, cnn, |model, x| model.forward(x));
    }

    fn training<M>(&mut self, name: &str, batch: usize, model: M, forward: fn(&M, Tensor<Autodiff<B>, 2>) -> Tensor<Autodiff<B>, 2>)
    where
        M: burn::module::AutodiffModule<Autodiff<B>>,
    {
        let x = Tensor::<Autodiff<B>, 2>::random([batch, 784], Distribution::Uniform(0.0, 1.0), &self.device);
        let classes: Vec<i32> = (0..batch).map(|i| (i * 7919 % 10) as i32).collect();
        let targets = Tensor::<Autodiff<B>, 1, Int>::from_ints(classes.as_slice(), &self.device);
        let loss = CrossEntropyLossConfig::new().init(&self.device);
        let (mut optimizer, mut model) = (AdamWConfig::new().init::<Autodiff<B>, M>(), Some(model));
        let step = || {
            if let Some(old) = model.take() {
                let loss = loss.forward(forward(&old, x.clone()), targets.clone());
                let gradients = GradientsParams::from_grads(loss.backward(), &old);
                model = Some(optimizer.step(1e-3, old, gradients));
            }
        };
        self.row(["train", &format!("digits {name}, batch {batch}")], [0.0, 0.0, batch as f64], step);
    }
}

#[derive(Module, Debug)]
struct Mlp<B: Backend> {
    fc1: Linear<B>,
    fc2: Linear<B>,
}

impl<B: AutodiffBackend> Mlp<B> {
    fn new(device: &B::Device) -> Mlp<B> {
        Mlp { fc1: LinearConfig::new(784, 128).init(device), fc2: LinearConfig::new(128, 10).init(device) }
    }

    fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        self.fc2.forward(Relu::new().forward(self.fc1.forward(x)))
    }
}

#[derive(Module, Debug)]
struct Cnn<B: Backend> {
    conv1: Conv2d<B>,
    conv2: Conv2d<B>,
    pool: MaxPool2d,
    fc1: Linear<B>,
    fc2: Linear<B>,
}

impl<B: AutodiffBackend> Cnn<B> {
    fn new(device: &B::Device) -> Cnn<B> {
        let conv = |channels| Conv2dConfig::new(channels, [3, 3]).with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));
        Cnn {
            conv1: conv([1, 16]).init(device),
            conv2: conv([16, 32]).init(device),
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            fc1: LinearConfig::new(32 * 7 * 7, 128).init(device),
            fc2: LinearConfig::new(128, 10).init(device),
        }
    }

    fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let (relu, [batch, _]) = (Relu::new(), x.dims());
        let x = self.pool.forward(relu.forward(self.conv1.forward(x.reshape([batch, 1, 28, 28]))));
        let x = self.pool.forward(relu.forward(self.conv2.forward(x)));
        self.fc2.forward(relu.forward(self.fc1.forward(x.reshape([batch, 32 * 7 * 7]))))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let quick = arguments.iter().any(|a| a == "--quick");
    let file = arguments.iter().position(|a| a == "--json").and_then(|i| arguments.get(i + 1));
    let mut bench = Bench { device: WgpuDevice::default(), quick, rows: Vec::new(), bytes: 0.0, flops: 0.0 };
    bench.peak();
    bench.matmul();
    bench.rows_and_maps();
    bench.train();
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let report = json!({
        "format": "sunstone-bench", "version": 1, "program": "Burn 0.21", "date": format!("{seconds} s after 1970"),
        "quick": quick,
        "runs": [{
            "device": {
                "name": "vulkan", "hardware": format!("{:?}", bench.device), "driver": "", "backend": "wgpu",
                "software": false, "machine": format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            },
            "peak": { "bytes": bench.bytes, "flops": { "f32": bench.flops } },
            "rows": bench.rows,
        }],
    });
    match file {
        Some(file) => Ok(std::fs::write(file, serde_json::to_vec_pretty(&report)?)?),
        None => Ok(()),
    }
}
