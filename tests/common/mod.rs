//! What the tests share: the devices of this machine, and comparing numbers.
#![allow(dead_code)]

use sunstone::prelude::*;

/// Every device of this machine, the CPU first, then CUDA's, then wgpu's. Says which kinds are missing.
pub fn devices() -> Vec<Device> {
    let names: Vec<String> = Device::list().into_iter().map(|d| d.name).collect();
    if names.iter().all(|n| !n.starts_with("wgpu")) {
        println!("skipped on wgpu: no Vulkan, Metal or DX12 adapter on this machine");
    }
    if names.iter().all(|n| !n.starts_with("cuda")) {
        println!("skipped on cuda: no NVIDIA GPU with a driver on this machine");
    }
    names
        .iter()
        .filter_map(|n| match Device::open(n) {
            // A driver without NVRTC is a machine without CUDA.
            Err(e) if n.starts_with("cuda") => {
                println!("skipped on {n}: {e}");
                None
            }
            opened => Some(opened.unwrap_or_else(|e| panic!("{n}: {e}"))),
        })
        .collect()
}

/// The devices of one kind: `cuda` or `wgpu`.
pub fn devices_of(kind: &str) -> Vec<Device> {
    devices().into_iter().filter(|d| d.name().starts_with(kind)).collect()
}

/// The same devices opened afresh, so that their counters and memory are this test's alone.
pub fn private_devices() -> Vec<Device> {
    let all = vec![Device::new("private cpu", sunstone::backend::cpu::CpuBackend::new())];
    #[cfg(feature = "cuda")]
    let all = all.into_iter().chain((0..devices_of("cuda").len()).map(|i| {
        let backend = sunstone::backend::cuda::CudaBackend::open(i).unwrap_or_else(|e| panic!("cuda:{i}: {e}"));
        Device::new(format!("private cuda:{i}"), backend)
    }));
    #[cfg(feature = "wgpu")]
    let all = all.into_iter().chain((0..devices_of("wgpu").len()).map(|i| {
        let backend = sunstone::backend::wgpu::WgpuBackend::open(i).unwrap_or_else(|e| panic!("wgpu:{i}: {e}"));
        Device::new(format!("private wgpu:{i}"), backend)
    }));
    all.into_iter().collect()
}

/// The first GPU, software or not.
pub fn gpu() -> Option<Device> {
    devices().into_iter().nth(1)
}

/// Relative to the larger of the two, and to 1: what f32 arithmetic in another order may differ by.
pub fn close(a: f64, b: f64, tolerance: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= tolerance * a.abs().max(b.abs()).max(1.0)
}

/// Panics at the first element that differs by more than `tolerance`.
#[track_caller]
pub fn assert_close(what: &str, got: &[f32], expected: &[f32], tolerance: f64) {
    assert_eq!(got.len(), expected.len(), "{what}: number of elements");
    for (i, (&g, &e)) in got.iter().zip(expected).enumerate() {
        assert!(close(g as f64, e as f64, tolerance), "{what}: element {i} is {g}, expected {e}");
    }
}

/// Reproducible numbers in [-2, 2) with some structure, no two neighbours alike.
pub fn numbers(n: usize, salt: u64) -> Vec<f32> {
    (0..n as u64)
        .map(|i| {
            let h = (i + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(salt.wrapping_mul(0xD1B5_4A32_D192_ED03));
            let h = (h ^ (h >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            ((h >> 40) as f32 / (1u64 << 24) as f32) * 4.0 - 2.0
        })
        .collect()
}

/// A text of `n` words with a grammar: an article, an adjective, a noun, a verb, and so on.
pub fn sentences(n: usize) -> String {
    const WORDS: [[&str; 4]; 4] = [
        ["the", "a", "this", "no"],
        ["old", "grey", "kind", "small"],
        ["cat", "queen", "wizard", "fox"],
        ["sees.\n", "jumps.\n", "waits.\n", "hides.\n"],
    ];
    let choices = numbers(n, 11).into_iter().map(|x| (x + 2.0) as usize);
    let words: Vec<&str> = choices.enumerate().map(|(i, choice)| WORDS[i % 4][choice]).collect();
    words.join(" ")
}
