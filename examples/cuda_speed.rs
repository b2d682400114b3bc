//! What a GPU does, as `name milliseconds` lines that `examples/peers/speed.py` prints for PyTorch too.
//!
//! `cargo run --release --example cuda_speed [DEVICE [rows|products|attention|train|first|long ..]]`; `first` and `long` are run
//! only when asked for.

use std::collections::BTreeMap;
use std::time::Instant;
use sunstone::device::KernelTime;
use sunstone::models::Digits;
use sunstone::models::gpt::{Gpt, GptConfig};
use sunstone::nn::{Init, Linear, Relu, Sequential};
use sunstone::optim::{Adam, AdamW};
use sunstone::prelude::*;
use sunstone::tensor::AttentionOptions;

fn main() -> Result<()> {
    let began = Instant::now();
    let name = std::env::args().nth(1).unwrap_or("cuda:0".into());
    let device = Device::open(&name)?;
    println!("# {}; {}", device.caps().hardware, device.caps().driver);
    for (library, version) in sunstone::backend::cuda::libraries() {
        println!("# {library}: {version}");
    }
    let wanted: Vec<String> = std::env::args().skip(2).collect();
    let section = |name: &str| wanted.is_empty() || wanted.iter().any(|w| w == name);
    if wanted.iter().any(|w| w == "first") {
        first(&device, began)?;
    }
    if section("rows") {
        rows(&device)?;
    }
    if section("products") {
        products(&device, 512, DType::F32, "")?;
        products(&device, 4096, DType::F32, "")?;
        device.allow_tf32(true);
        products(&device, 4096, DType::F32, "_tf32")?;
        device.allow_tf32(false);
        products(&device, 4096, DType::F16, "_f16")?;
        products(&device, 4096, DType::BF16, "_bf16")?;
    }
    if section("attention") {
        device.allow_tf32(true);
        attention(&device)?;
        device.allow_tf32(false);
    }
    if section("train") {
        train(&device)?;
    }
    if wanted.iter().any(|w| w == "long") {
        long(&device)?;
    }
    Ok(())
}

fn train(device: &Device) -> Result<()> {
    let mlp = |init: &Init| {
        Sequential::new()
            .add(Linear::new(784, 512, init))
            .add(Relu)
            .add(Linear::new(512, 512, init))
            .add(Relu)
            .add(Linear::new(512, 10, init))
    };
    device.allow_tf32(false);
    training(device, "mlp_step", mlp(&Init::new(0, device)), 128)?;
    training(device, "cnn_step", Digits::cnn(&Init::new(0, device)), 256)?;
    device.allow_tf32(true);
    gpt_step(device, "gpt_step_tf32", DType::F32)?;
    gpt_step(device, "gpt_step_bf16", DType::BF16)
}

/// The median over several rounds of the time of `count` calls that end in one wait, a call.
fn time(device: &Device, name: &str, count: u32, mut f: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut times = Vec::new();
    for round in 0..13 {
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

/// What memory bounds: each row with its bytes a second, every operand and result counted once, and the share of a
/// device copy's.
fn rows(device: &Device) -> Result<()> {
    const N: usize = 8192;
    for dtype in [DType::F32, DType::F16] {
        let make = |shape: &[usize]| {
            let x = Generator::new(0).randn(shape, device).cast(dtype);
            x.realize().map(|()| x)
        };
        let (x, tall, weight, bias) = (make(&[N, N])?, make(&[2 * N, N])?, make(&[N])?, make(&[N])?);
        let (targets, more_targets) = (Tensor::arange(N, device), Tensor::arange(2 * N, device).remainder(N as f64));
        targets.realize()?;
        let more_targets = more_targets.cast(DType::I32);
        more_targets.realize()?;
        let tail = if dtype == DType::F32 { "" } else { "_f16" };
        let matrix = (N * N * dtype.bytes()) as f64;
        let copied = device_copy(device, matrix as u64)?;
        println!("copy{tail} {:.5}\n# {copied:.0} GB/s", 2.0 * matrix / copied / 1e6);
        // A plan for each run, so that what lies between two submissions is in it; and what twice as much takes longer.
        let row = |name: &str, bytes: f64, f: &dyn Fn(&Tensor, &Tensor) -> Tensor| -> Result<()> {
            let seconds = time(device, &format!("{name}{tail}"), 20, || f(&x, &targets).realize())?;
            let more =
                time(device, &format!("{name}{tail}_twice"), 20, || f(&tall, &more_targets).realize())? - seconds;
            let (rate, alone) = (bytes / seconds / 1e9, bytes / more / 1e9);
            let (share, share_alone) = (rate / copied, alone / copied);
            println!(
                "# {rate:.0} GB/s, {share:.3} of a device copy; without what a run costs {alone:.0}, {share_alone:.3}"
            );
            Ok(())
        };
        row("scale", 2.0 * matrix, &|x, _| x * 2.0)?;
        row("gelu_chain", 2.0 * matrix, &|x, _| (x * 2.0 + 1.0).gelu())?;
        row("add_row", 2.0 * matrix, &|x, _| x + &bias)?;
        row("softmax", 2.0 * matrix, &|x, _| x.softmax(1))?;
        row("layer_norm", 2.0 * matrix, &|x, _| x.layer_norm(1, 1e-5))?;
        row("layer_norm_affine", 2.0 * matrix, &|x, _| x.layer_norm(1, 1e-5) * &weight + &bias)?;
        row("row_sum", matrix, &|x, _| x.sum(1))?;
        row("column_sum", matrix, &|x, _| x.sum(0))?;
        row("cross_entropy", matrix, &|x, t| x.cross_entropy(t))?;
        row("transpose", 2.0 * matrix, &|x, _| x.t() * 2.0)?;
    }
    Ok(())
}

/// GB/s, read and written, of the device's own copy between two buffers of so many bytes.
fn device_copy(device: &Device, bytes: u64) -> Result<f64> {
    let seconds = if device.name().starts_with("cuda") { cuda_copy(bytes as usize) } else { wgpu_copy(bytes) };
    Ok(2.0 * bytes as f64 / seconds / 1e9)
}

/// The median over several rounds of `copies` that end in one wait, a copy.
fn copies(mut copies: impl FnMut(usize)) -> f64 {
    const COUNT: usize = 20;
    let mut times: Vec<f64> = (0..13)
        .map(|_| {
            let start = Instant::now();
            copies(COUNT);
            start.elapsed().as_secs_f64() / COUNT as f64
        })
        .skip(3)
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn cuda_copy(bytes: usize) -> f64 {
    use cudarc::driver::sys;
    let (mut from, mut to) = (0, 0);
    // SAFETY: the backend has made its context this thread's; both buffers hold so many bytes, and are given back.
    unsafe {
        assert_eq!(sys::cuMemAlloc_v2(&mut from, bytes), sys::CUresult::CUDA_SUCCESS);
        assert_eq!(sys::cuMemAlloc_v2(&mut to, bytes), sys::CUresult::CUDA_SUCCESS);
        let seconds = copies(|count| {
            for _ in 0..count {
                sys::cuMemcpyDtoDAsync_v2(to, from, bytes, std::ptr::null_mut());
            }
            sys::cuCtxSynchronize();
        });
        sys::cuMemFree_v2(from);
        sys::cuMemFree_v2(to);
        seconds
    }
}

fn wgpu_copy(bytes: u64) -> f64 {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions {
        power_preference: wgpu::PowerPreference::HighPerformance,
        ..Default::default()
    }))
    .expect("an adapter");
    let (device, queue) = pollster::block_on(
        adapter.request_device(&wgpu::DeviceDescriptor { required_limits: adapter.limits(), ..Default::default() }),
    )
    .expect("a device");
    let buffer = || {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        device.create_buffer(&wgpu::BufferDescriptor { label: None, size: bytes, usage, mapped_at_creation: false })
    };
    let (from, to) = (buffer(), buffer());
    // A transfer may be far from what the memory can do, so a kernel that copies is the measure.
    let text = format!(
        "@group(0) @binding(0) var<storage, read> x: array<vec4<u32>>;
        @group(0) @binding(1) var<storage, read_write> y: array<vec4<u32>>;
        @compute @workgroup_size(256)
        fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) id: u32) {{
            let i = (group.y * {WIDTH}u + group.x) * 256u + id;
            if (i < arrayLength(&x)) {{ y[i] = x[i]; }}
        }}"
    );
    const WIDTH: u32 = 4096;
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(text.into()),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: None,
        compilation_options: Default::default(),
        cache: None,
    });
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[
            wgpu::BindGroupEntry { binding: 0, resource: from.as_entire_binding() },
            wgpu::BindGroupEntry { binding: 1, resource: to.as_entire_binding() },
        ],
    });
    copies(|count| {
        let mut encoder = device.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            pass.set_pipeline(&pipeline);
            pass.set_bind_group(0, &group, &[]);
            let groups = (bytes / 16).div_ceil(256) as u32;
            (0..count).for_each(|_| pass.dispatch_workgroups(WIDTH, groups.div_ceil(WIDTH), 1));
        }
        queue.submit([encoder.finish()]);
        device.poll(wgpu::PollType::wait_indefinitely()).expect("the copies end");
    })
}

fn products(device: &Device, n: usize, dtype: DType, kind: &str) -> Result<()> {
    let random = |seed| Generator::new(seed).randn([n, n], device).cast(dtype);
    let (a, b) = (random(1), random(2));
    a.realize()?;
    b.realize()?;
    let whole = time(device, &format!("matmul_{n}{kind}"), 10, || a.matmul(&b).realize())?;
    println!("# {:.1} TFLOP/s", 2.0 * (n as f64).powi(3) / whole / 1e12);
    Ok(())
}

/// 16 heads over 4,096 places, forward, and forward with all gradients. Products of halves are made by kernels of
/// `kernels-cuda/` on cuda, as those of f32 are with `SUNSTONE_TF32=1`; rows called `portable` are made by what every GPU
/// runs: those kernels want operands that start on 16 bytes.
fn attention(device: &Device) -> Result<()> {
    const PLACES: usize = 4096;
    for dtype in [DType::F16, DType::BF16, DType::F32] {
        for (head, causal, portable) in [64, 128]
            .into_iter()
            .flat_map(|head| [false, true].map(|causal| (head, causal)))
            .flat_map(|(head, causal)| [false, true].map(|portable| (head, causal, portable)))
        {
            let shift = portable as usize;
            let make = |seed: u64| -> Result<Tensor> {
                let x = Generator::new(seed).randn([1, 16, PLACES, head + shift], device).cast(dtype);
                x.realize()?;
                Ok(x.requires_grad())
            };
            let leaves = [make(1)?, make(2)?, make(3)?];
            let g = Generator::new(4).randn([1, 16, PLACES, head], device).cast(dtype);
            g.realize()?;
            let attend = || {
                let [q, k, v] = [0, 1, 2].map(|i| leaves[i].narrow(-1, shift, head));
                q.scaled_dot_product_attention(&k, &v, AttentionOptions::new().causal(causal))
            };
            let kind = if causal { "causal" } else { "full" };
            let which = if portable { "_portable" } else { "" };
            let precision = if dtype == DType::F32 { "tf32".into() } else { dtype.to_string() };
            let name = format!("attention_{precision}_{head}_{kind}{which}");
            let products = (4 * 16 * PLACES * PLACES * head / (1 + causal as usize)) as f64;
            let count = if portable { 2 } else { 10 };
            let whole = time(device, &name, count, || no_grad(|| attend().realize()))?;
            println!("# {:.1} TFLOP/s", products / whole / 1e12);
            let whole = time(device, &format!("{name}_step"), count, || {
                let grads = (attend().cast(DType::F32) * g.cast(DType::F32)).sum(..).backward()?;
                leaves.iter().filter_map(|x| grads.get(x)).try_for_each(|grad| grad.realize())
            })?;
            println!("# {:.1} TFLOP/s", 3.5 * products / whole / 1e12);
        }
    }
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
    let mut step = || {
        let loss = model.forward(&x).cross_entropy(&targets);
        count += 1;
        optimizer.step(loss.backward()?)?;
        if count % 100 == 0 {
            last = loss.item::<f32>()?;
        }
        Ok(())
    };
    let start = Instant::now();
    step()?;
    device.synchronize()?;
    println!("# the first step took {:.2} s", start.elapsed().as_secs_f64());
    time(device, name, 100, &mut step)?;
    kernels(device, &mut step)?;
    println!("# {} bytes reserved, loss {last}", device.stats().bytes_reserved);
    Ok(())
}

/// A step of AdamW of GPT-2 (124M parameters, the vocabulary padded) on 8 texts of 1,024 tokens.
fn gpt(device: &Device, products: DType) -> Result<impl FnMut() -> Result<()> + use<>> {
    let config =
        GptConfig { vocabulary: 50_304, layers: 12, heads: 12, width: 768, context: 1024, dropout: 0.0, tied: true };
    let model = Gpt::new(config, &Init::new(0, device))?;
    let tokens = |salt: usize| {
        let tokens: Vec<i32> = (0..8 * 1024).map(|i| (i * 7919 + salt) as i32 % 50_257).collect();
        Tensor::from_slice(&tokens, [8, 1024], device)
    };
    let (x, targets) = (tokens(0), tokens(1).reshape([8 * 1024]));
    let mut optimizer = AdamW::new(model.parameters(), 1e-4);
    Ok(move || {
        let loss = autocast(products, || model.forward(&x).reshape([8 * 1024, -1]).cross_entropy(&targets));
        optimizer.step(loss.backward()?)
    })
}

fn gpt_step(device: &Device, name: &str, products: DType) -> Result<()> {
    let mut step = gpt(device, products)?;
    let start = Instant::now();
    step()?;
    device.synchronize()?;
    println!("# the first step took {:.2} s", start.elapsed().as_secs_f64());
    time(device, name, 5, &mut step)?;
    kernels(device, &mut step)?;
    println!("# {} bytes reserved", device.stats().bytes_reserved);
    Ok(())
}

/// The time from the program's start to the end of one step of the digits cnn, and from there to that of GPT-2.
fn first(device: &Device, began: Instant) -> Result<()> {
    let model = Digits::cnn(&Init::new(0, device));
    let x = Generator::new(3).rand([256, 784], device);
    let targets = Tensor::zeros([256], DType::I32, device);
    let loss = model.forward(&x).cross_entropy(&targets);
    Adam::new(model.parameters(), 1e-3).step(loss.backward()?)?;
    device.synchronize()?;
    let small = began.elapsed().as_secs_f64();
    let mut step = gpt(device, DType::BF16)?;
    step()?;
    device.synchronize()?;
    println!(
        "# from the start to the end of a cnn's first step {small:.2} s, then of GPT-2's {:.2} s",
        began.elapsed().as_secs_f64() - small
    );
    Ok(())
}

/// What 2,000 steps hold of the device's memory.
fn long(device: &Device) -> Result<()> {
    const STEPS: usize = 2000;
    let mut step = gpt(device, DType::BF16)?;
    let reserved = |device: &Device| device.synchronize().map(|()| device.stats().bytes_reserved);
    (0..3).try_for_each(|_| step())?;
    let early = reserved(device)?;
    (3..STEPS).try_for_each(|_| step())?;
    println!("# bytes reserved after 3 steps {early}, after {STEPS} {}", reserved(device)?);
    Ok(())
}

/// What each kind of kernel takes in one step.
fn kernels(device: &Device, step: &mut dyn FnMut() -> Result<()>) -> Result<()> {
    let Ok(((), times)) = device.profile(step) else { return Ok(()) };
    if times.len() <= 40 {
        for KernelTime { name, duration, .. } in &times {
            println!("#   {duration:8.2} µs {name}");
        }
    }
    let mut kinds: BTreeMap<&str, (usize, f64)> = BTreeMap::new();
    for KernelTime { name, duration, .. } in &times {
        let kind = kinds.entry(name).or_default();
        *kind = (kind.0 + 1, kind.1 + duration);
    }
    for (name, (count, duration)) in kinds {
        println!("#   {duration:10.1} µs in {count} × {name}");
    }
    println!("# {} kernels, {:.1} µs", times.len(), times.iter().map(|k| k.duration).sum::<f64>());
    Ok(())
}
