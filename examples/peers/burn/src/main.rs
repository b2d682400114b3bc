//! Rows of `sunstone bench` in Burn on Vulkan, as the same JSON, so that `sunstone bench compare` shows both.
//!
//! `cargo run --release -- [SUITE...] [--quick] [--only PART-OF-A-NAME] [--json FILE]`, in this folder. Names, sizes, work and
//! the way of timing are those of src/bench; results are not checked. Only `f32`, and only what Burn has an op or a module
//! for. The first calls of a row are long: Burn tries kernels when it meets a shape for the first time, and keeps what it
//! found in the user's cache folder.

use burn::backend::wgpu::{CubeBackend, RuntimeOptions, WgpuDevice, WgpuRuntime, graphics, init_setup};
use burn::backend::{Autodiff, Vulkan};
use burn::module::{AutodiffModule, Module};
use burn::nn::attention::{MhaInput, MultiHeadAttention, MultiHeadAttentionConfig, generate_autoregressive_mask};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{
    Embedding, EmbeddingConfig, Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig, PaddingConfig2d, Relu,
};
use burn::optim::{AdamConfig, AdamWConfig, GradientsParams, Optimizer};
use burn::tensor::backend::Backend;
use burn::tensor::{Bool, Distribution, Int, Tensor, activation};
use serde_json::{Value, json};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

type B = Vulkan;
/// What `B` hands its ops to, when it has fused what it can.
type Unfused = CubeBackend<WgpuRuntime, f32, i32, u8>;
type A = Autodiff<B>;
type Matrix = Tensor<B, 2>;
type Call = Box<dyn FnMut()>;

const SUITES: [&str; 5] = ["peak", "matmul", "rows", "map", "train"];
const SAMPLE: f64 = 20e-3;
const WARM_UP: f64 = 0.3;
const MAX_CALLS: u32 = 4096;

struct Bench {
    device: WgpuDevice,
    quick: bool,
    suites: Vec<String>,
    /// Rows whose names hold it.
    only: String,
    rows: Vec<Value>,
    bytes: Option<f64>,
    flops: f64,
}

fn numbers<const D: usize>(shape: [usize; D]) -> Tensor<B, D> {
    Tensor::random(shape, Distribution::Uniform(-1.0, 1.0), &WgpuDevice::default())
}

/// Has a result computed now. Left in the queue and let go, it and many after it become one kernel that stores none of
/// them.
fn compute<const D: usize>(x: Tensor<B, D>) {
    let x = x.into_primitive().tensor();
    drop(x.client.clone().resolve_tensor_float::<Unfused>(x));
}

impl Bench {
    /// Seconds of so many calls and the wait for them, and of the calls alone.
    fn sample(&self, calls: u32, call: &mut dyn FnMut()) -> (f64, f64) {
        let began = Instant::now();
        (0..calls).for_each(|_| call());
        let asked = began.elapsed().as_secs_f64();
        B::sync(&self.device).expect("the device goes on");
        (began.elapsed().as_secs_f64(), asked)
    }

    /// Times what `prepare` gives; what it or the device panics with becomes the reason why the row is skipped.
    fn row(&mut self, [suite, name]: [&str; 2], work: [f64; 3], prepare: impl FnOnce() -> Call) {
        if !self.suites.iter().any(|s| s == suite) || !name.contains(&self.only) {
            return;
        }
        let [flops, bytes, samples] = work;
        let mut row = json!({
            "suite": suite, "name": name, "dtype": "f32",
            "work": { "flops": flops, "bytes": bytes, "samples": samples },
        });
        match catch_unwind(AssertUnwindSafe(|| self.timed(&mut *prepare()))) {
            Ok((time, host)) => {
                let median = time["median"].as_f64().unwrap_or(f64::NAN);
                println!("{suite:<9} {name:<44} {:>12.4} ms", median * 1e3);
                if ["scale", "triad"].contains(&name) {
                    self.bytes = Some(self.bytes.unwrap_or(0.0).max(bytes / median));
                }
                self.flops = self.flops.max(flops / median);
                row["outcome"] = "timed".into();
                row["time"] = time;
                row["host"] = host.into();
            }
            Err(panic) => {
                let reason = reason(panic);
                println!("{suite:<9} {name:<44} -  {reason}");
                row["outcome"] = "skipped".into();
                row["reason"] = reason.into();
            }
        }
        self.rows.push(row);
        // Else blocks of a size that no later row asks for stay.
        let _ = catch_unwind(|| B::memory_cleanup(&WgpuDevice::default()));
    }

    fn timed(&self, call: &mut dyn FnMut()) -> (Value, f64) {
        let mut calls = 1;
        // The first calls choose kernels.
        for _ in 0..3 {
            self.sample(1, call);
        }
        // An idle GPU has lowered its clock.
        let began = Instant::now();
        loop {
            let (whole, _) = self.sample(calls, call);
            if whole < SAMPLE && calls < MAX_CALLS {
                calls = (calls * 2).max((calls as f64 * SAMPLE / whole.max(1e-6)) as u32).min(MAX_CALLS);
            } else if began.elapsed().as_secs_f64() >= WARM_UP {
                break;
            }
        }
        let (mut times, mut hosts, began) = (Vec::new(), Vec::new(), Instant::now());
        let budget = if self.quick { 0.1 } else { 1.0 };
        while times.len() < 3 || (times.len() < 100 && began.elapsed().as_secs_f64() < budget) {
            let (whole, asked) = self.sample(calls, call);
            times.push(whole / calls as f64);
            hosts.push(asked / calls as f64);
        }
        times.sort_by(f64::total_cmp);
        hosts.sort_by(f64::total_cmp);
        let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
        let time = json!({
            "median": at(0.5), "q1": at(0.25), "q3": at(0.75), "best": times[0], "samples": times.len(), "calls": calls,
        });
        (time, hosts[hosts.len() / 2])
    }

    fn peak(&mut self) {
        let long = if self.quick { 1 << 22 } else { 1 << 26 };
        self.row(["peak", "scale"], [0.0, 8.0 * long as f64, 0.0], || {
            let x = numbers([long]);
            Box::new(move || compute(x.clone() * 2.0))
        });
        self.row(["peak", "triad"], [0.0, 12.0 * long as f64, 0.0], || {
            let (x, y) = (numbers([long]), numbers([long]));
            Box::new(move || compute(x.clone() + y.clone() * 2.0))
        });
        let n = if self.quick { 256 } else { 4096 };
        self.product("peak", &format!("product {n}"), [1, n, n, n], [false, false]);
    }

    /// The operands that are named lie transposed in memory.
    fn product(&mut self, suite: &str, name: &str, [batch, m, k, n]: [usize; 4], [left, right]: [bool; 2]) {
        let number = |n: usize| n as f64;
        let bytes = 4.0 * number(batch * (m * k + k * n + m * n));
        self.row([suite, name], [2.0 * number(batch * m * k) * number(n), bytes, 0.0], || {
            let operand = |rows, columns, turned| match turned {
                true => numbers([batch, columns, rows]).transpose(),
                false => numbers([batch, rows, columns]),
            };
            let (a, b) = (operand(m, k, left), operand(k, n, right));
            if batch > 1 {
                return Box::new(move || compute(a.clone().matmul(b.clone())));
            }
            let (a, b) = (a.squeeze_dim::<2>(0), b.squeeze_dim::<2>(0));
            Box::new(move || compute(a.clone().matmul(b.clone())))
        });
    }

    fn matmul(&mut self) {
        let sizes: &[usize] = if self.quick { &[128] } else { &[256, 512, 1024, 2048, 4096, 8192] };
        for (layout, turned) in [("nn", [false, false]), ("nt", [false, true]), ("tn", [true, false])] {
            for &n in sizes {
                self.product("matmul", &format!("{layout} {n}"), [1, n, n, n], turned);
            }
        }
        let (batch, n) = if self.quick { (4, 128) } else { (64, 512) };
        self.product("matmul", &format!("batch {batch} of {n}"), [batch, n, n, n], [false, false]);
        let n = if self.quick { 512 } else { 8192 };
        self.product("matmul", &format!("{n} by 1 column"), [1, n, n, 1], [false, false]);
        self.product("matmul", &format!("{n} by 16 columns"), [1, n, n, 16], [false, false]);
    }

    fn rows_and_maps(&mut self) {
        let n = if self.quick { 1024 } else { 8192 };
        let matrix = 4.0 * (n * n) as f64;
        let mut case = |suite: &str, name: &str, touched: f64, f: fn(Matrix, Matrix) -> Matrix, other: [usize; 2]| {
            self.row([suite, &format!("{name} {n}")], [0.0, touched * matrix, 0.0], || {
                let (x, y) = (numbers([n, n]), numbers(other));
                Box::new(move || compute(f(x.clone(), y.clone())))
            });
        };
        let (none, row, column) = ([1, 1], [1, n], [n, 1]);
        case("rows", "softmax", 2.0, |x, _| activation::softmax(x, 1), none);
        case("rows", "log softmax", 2.0, |x, _| activation::log_softmax(x, 1), none);
        case("rows", "row sum", 1.0, |x, _| x.sum_dim(1), none);
        case("rows", "row max", 1.0, |x, _| x.max_dim(1), none);
        case("rows", "column sum", 1.0, |x, _| x.sum_dim(0), none);
        case("map", "gelu(2x + 1)", 2.0, |x, _| activation::gelu(x * 2.0 + 1.0), none);
        case("map", "add a row", 2.0, |x, y| x + y, row);
        case("map", "add a column", 2.0, |x, y| x + y, column);
        case("map", "transpose and scale", 2.0, |x, _| x.transpose() * 2.0, none);
    }

    fn train(&mut self) {
        let batch = if self.quick { 8 } else { 256 };
        let device = self.device.clone();
        self.training(&format!("digits mlp, batch {batch}"), [batch, 10], || {
            (Mlp::new(&[784, 128, 10], &device), adamw().init(), images(batch, &device), Mlp::forward)
        });
        self.training(&format!("digits cnn, batch {batch}"), [batch, 10], || {
            (Cnn::new(&device), adamw().init(), images(batch, &device), Cnn::forward)
        });
        self.training("mlp 784-512-512-10, batch 128", [128, 10], || {
            let optimizer = AdamConfig::new().with_epsilon(1e-8).init();
            (Mlp::new(&[784, 512, 512, 10], &device), optimizer, images(128, &device), Mlp::forward)
        });
        let sizes: &[(usize, [usize; 4])] = match self.quick {
            true => &[(2, [2, 2, 64, 64])],
            false => &[(16, [4, 4, 128, 128]), (64, [6, 6, 384, 256]), (8, [12, 12, 768, 1024])],
        };
        for &(batch, [layers, heads, width, context]) in sizes {
            let words = if width < 768 { 96 } else { 50_304 };
            let name = format!("gpt {layers}×{width}, context {context}, batch {batch}");
            self.training(&name, [batch * context, words], || {
                let model = Gpt::new(words, [layers, heads, width, context], batch, &device);
                let tokens = classes(batch * context, words, &device).reshape([batch, context]);
                (model, adamw().init(), tokens, Gpt::forward)
            });
        }
    }

    /// Steps of what `make` gives: a network, its optimizer, what it is shown, and how it makes logits of it. A step
    /// need not be asked for, as other results are: the next one needs what it leaves.
    fn training<M, O, X>(
        &mut self,
        name: &str,
        [samples, known]: [usize; 2],
        make: impl FnOnce() -> (M, O, X, fn(&M, X) -> Tensor<A, 2>),
    ) where
        M: AutodiffModule<A> + 'static,
        O: Optimizer<M, A> + 'static,
        X: Clone + 'static,
    {
        let device = self.device.clone();
        self.row(["train", name], [0.0, 0.0, samples as f64], || {
            let (model, mut optimizer, x, forward) = make();
            let (targets, loss) = (classes(samples, known, &device), CrossEntropyLossConfig::new().init(&device));
            let mut model = Some(model);
            Box::new(move || {
                model = model.take().map(|old| {
                    let loss = loss.forward(forward(&old, x.clone()), targets.clone());
                    let gradients = GradientsParams::from_grads(loss.backward(), &old);
                    optimizer.step(1e-3, old, gradients)
                });
            })
        });
    }
}

/// With the numbers of the others; Burn's own defaults differ.
fn adamw() -> AdamWConfig {
    AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(0.01)
}

fn images(batch: usize, device: &WgpuDevice) -> Tensor<A, 2> {
    Tensor::random([batch, 784], Distribution::Uniform(0.0, 1.0), device)
}

/// Classes in an order without much sense.
fn classes(count: usize, classes: usize, device: &WgpuDevice) -> Tensor<A, 1, Int> {
    let classes: Vec<i32> = (0..count).map(|i| (i * 7919 % classes) as i32).collect();
    Tensor::from_ints(classes.as_slice(), device)
}

/// What a panic says, as a reason in a table.
fn reason(panic: Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| s.to_string())).unwrap_or("a panic".into());
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().filter(|c| !c.is_control()).take(200).collect()
}

/// Linear layers with a ReLU between.
#[derive(Module, Debug)]
struct Mlp<B: Backend> {
    layers: Vec<Linear<B>>,
}

impl<B: Backend> Mlp<B> {
    fn new(widths: &[usize], device: &B::Device) -> Mlp<B> {
        Mlp { layers: widths.windows(2).map(|w| LinearConfig::new(w[0], w[1]).init(device)).collect() }
    }

    fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let forward =
            |x, (i, layer): (usize, &Linear<B>)| layer.forward(if i > 0 { Relu::new().forward(x) } else { x });
        self.layers.iter().enumerate().fold(x, forward)
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

impl<B: Backend> Cnn<B> {
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

/// GPT-2's: attention and an MLP of four times the width, each after a norm and added. Queries, keys and values come
/// from a layer each, as Burn's attention has it, and not from one of three times the width.
#[derive(Module, Debug)]
struct Block<B: Backend> {
    ln_1: LayerNorm<B>,
    attention: MultiHeadAttention<B>,
    ln_2: LayerNorm<B>,
    fc: Linear<B>,
    proj: Linear<B>,
}

impl<B: Backend> Block<B> {
    fn new(heads: usize, width: usize, device: &B::Device) -> Block<B> {
        Block {
            ln_1: LayerNormConfig::new(width).init(device),
            attention: MultiHeadAttentionConfig::new(width, heads).with_dropout(0.0).init(device),
            ln_2: LayerNormConfig::new(width).init(device),
            fc: LinearConfig::new(width, 4 * width).init(device),
            proj: LinearConfig::new(4 * width, width).init(device),
        }
    }

    fn forward(&self, x: Tensor<B, 3>, hidden: Tensor<B, 3, Bool>) -> Tensor<B, 3> {
        let seen = MhaInput::self_attn(self.ln_1.forward(x.clone())).mask_attn(hidden);
        let x = x + self.attention.forward(seen).context;
        let y = activation::gelu(self.fc.forward(self.ln_2.forward(x.clone())));
        x + self.proj.forward(y)
    }
}

/// The head is the embedding's table.
#[derive(Module, Debug)]
struct Gpt<B: Backend> {
    wte: Embedding<B>,
    wpe: Embedding<B>,
    blocks: Vec<Block<B>>,
    norm: LayerNorm<B>,
    hidden: Tensor<B, 3, Bool>,
}

impl<B: Backend> Gpt<B> {
    fn new(words: usize, [layers, heads, width, context]: [usize; 4], batch: usize, device: &B::Device) -> Gpt<B> {
        let table = |count| {
            let normal = Initializer::Normal { mean: 0.0, std: 0.02 };
            EmbeddingConfig::new(count, width).with_initializer(normal).init(device)
        };
        Gpt {
            wte: table(words),
            wpe: table(context),
            blocks: (0..layers).map(|_| Block::new(heads, width, device)).collect(),
            norm: LayerNormConfig::new(width).init(device),
            hidden: generate_autoregressive_mask(batch, context, device),
        }
    }

    fn forward(&self, tokens: Tensor<B, 2, Int>) -> Tensor<B, 2> {
        let x = self.wte.forward(tokens) + self.wpe.weight.val().unsqueeze::<3>();
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x, self.hidden.clone()));
        self.norm.forward(x).flatten::<2>(0, 1).matmul(self.wte.weight.val().transpose())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut suites, mut quick, mut file, mut only) = (Vec::new(), false, None, String::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => quick = true,
            "--json" => file = Some(arguments.next().ok_or("--json wants a file")?),
            "--only" => only = arguments.next().ok_or("--only wants a part of a row's name")?,
            suite if SUITES.contains(&suite) => suites.push(argument),
            unknown => {
                return Err(format!("unknown: {unknown}; there are {}, --quick, --only, --json", SUITES.join(", ")).into());
            }
        }
    }
    if suites.is_empty() {
        suites = SUITES.map(String::from).into();
    }
    let device = WgpuDevice::default();
    let about = init_setup::<graphics::Vulkan>(&device, RuntimeOptions::default()).adapter.get_info();
    println!("{} ({} {})", about.name, about.driver, about.driver_info);
    let mut bench = Bench { device, quick, suites, only, rows: Vec::new(), bytes: None, flops: 0.0 };
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    for suite in [Bench::peak, Bench::matmul, Bench::rows_and_maps, Bench::train] {
        suite(&mut bench);
        let flops = if bench.flops > 0.0 { json!({ "f32": bench.flops }) } else { json!({}) };
        let report = json!({
            "format": "sunstone-bench", "version": 1, "program": "Burn 0.21", "date": format!("{seconds} s after 1970"),
            "quick": quick,
            "runs": [{
                "device": {
                    "name": "vulkan", "hardware": about.name, "backend": "wgpu",
                    "driver": format!("{} {}", about.driver, about.driver_info),
                    "software": format!("{:?}", about.device_type) == "Cpu",
                    "machine": format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
                },
                "peak": { "bytes": bench.bytes, "flops": flops },
                "rows": bench.rows,
            }],
        });
        // After each suite, so that one that ends the program leaves the others.
        if let Some(file) = &file {
            std::fs::write(file, serde_json::to_vec_pretty(&report)?)?;
        }
    }
    Ok(())
}
