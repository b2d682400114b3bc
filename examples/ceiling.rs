//! How near the CPU backend comes to what the machine can do: a matrix product beside the GEMM crate alone, and a fused
//! chain of eight maps beside a copy into memory that is already there.
//!
//! `cargo run --release --example ceiling`

use std::time::Instant;
use sunstone::prelude::*;

fn main() -> Result<()> {
    let device = Device::cpu();
    println!("{}; {}", device.caps().hardware, device.caps().driver);
    matmul(&device, 512)?;
    chain(&device, 16 << 20)
}

/// The median of `runs` timings of `f`, in seconds, after three warm-ups.
fn median(runs: usize, mut f: impl FnMut() -> Result<()>) -> Result<f64> {
    for _ in 0..3 {
        f()?;
    }
    let mut times = Vec::with_capacity(runs);
    for _ in 0..runs {
        let start = Instant::now();
        f()?;
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(times[runs / 2])
}

fn matmul(device: &Device, n: usize) -> Result<()> {
    let numbers: Vec<f32> = (0..n * n).map(|i| (i % 17) as f32 - 8.0).collect();
    let (a, b) = (Tensor::from_slice(&numbers, [n, n], device), Tensor::from_slice(&numbers, [n, n], device));
    let ours = median(101, || a.matmul(&b).realize())?;
    let mut c = vec![0f32; n * n];
    let s = n as isize;
    let alone = median(101, || {
        let (c, a, b) = (c.as_mut_ptr(), numbers.as_ptr(), numbers.as_ptr());
        // SAFETY: the three matrices are n by n, row-major, and c is no other's memory.
        unsafe {
            let threads = gemm::Parallelism::Rayon(0);
            gemm::gemm(n, n, n, c, 1, s, false, a, 1, s, b, 1, s, 0.0, 1.0, false, false, false, threads);
        }
        Ok(())
    })?;
    let rate = |t: f64| 2.0 * (n as f64).powi(3) / t / 1e9;
    println!(
        "f32 matmul {n}^3: {:.1} GFLOP/s; the GEMM crate alone {:.1}: {:.0}%",
        rate(ours),
        rate(alone),
        100.0 * alone / ours
    );
    Ok(())
}

fn chain(device: &Device, n: usize) -> Result<()> {
    let numbers: Vec<f32> = (0..n).map(|i| (i % 1013) as f32 * 0.01 - 5.0).collect();
    let x = Tensor::from_slice(&numbers, [n], device);
    let fused = median(21, || {
        let y = -((((&x + 1.5) * 0.5).relu().maximum(0.25) - 2.0).abs().minimum(1.75));
        y.realize()
    })?;
    let mut target = vec![0f32; n];
    let threads = rayon::current_num_threads();
    let copy = median(21, || {
        let size = n.div_ceil(threads);
        rayon::scope(|s| {
            for (to, from) in target.chunks_mut(size).zip(numbers.chunks(size)) {
                s.spawn(move |_| to.copy_from_slice(from));
            }
        });
        Ok(())
    })?;
    let alone = median(21, || {
        target.copy_from_slice(&numbers);
        Ok(())
    })?;
    let bytes = 8.0 * n as f64;
    println!(
        "add mul relu max sub abs min neg over {n} f32: {:.1} ms; copy {:.1} ms on {threads} threads ({:.2} times), {:.1} ms on one ({:.2} times); {:.1} GB/s",
        fused * 1e3,
        copy * 1e3,
        fused / copy,
        alone * 1e3,
        fused / alone,
        bytes / fused / 1e9
    );
    Ok(())
}
