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
    if std::env::args().nth(2).as_deref() == Some("rows") {
        return Ok(());
    }
    for n in [512, 4096] {
        products(&device, n)?;
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

/// The best of several rounds of the time of `count` calls that end in one wait, a call: whatever else the machine does
/// only adds to it.
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
    let (whole, asked) = times[0];
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

/// The best of several rounds of `copies` that end in one wait, a copy.
fn copies(mut copies: impl FnMut(usize)) -> f64 {
    const COUNT: usize = 20;
    let times = (0..13)
        .map(|_| {
            let start = Instant::now();
            copies(COUNT);
            start.elapsed().as_secs_f64() / COUNT as f64
        })
        .skip(3);
    times.fold(f64::INFINITY, f64::min)
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
