//! The times of kernels: one for each that ran, in order, with its step's place in the plan, on every device.

mod common;

use sunstone::prelude::*;

/// Three kernels: a product, softmax over its rows, and a sum of all.
fn work(x: &Tensor) -> Result<f32> {
    let y = x.matmul(x);
    y.realize()?;
    y.softmax(1).sum(..).item::<f32>()
}

#[test]
fn every_kernel_has_a_time_a_name_and_a_step() -> Result<()> {
    for device in common::private_devices() {
        let x = Tensor::ones([96, 96], DType::F32, &device);
        let expected = work(&x)?;
        let before = device.stats().kernels_launched;
        let (value, times) = device.profile(|| work(&x))?;
        let launched = device.stats().kernels_launched - before;
        assert_eq!(value, expected, "{device}: timing changes no result");
        assert!(times.len() >= 2, "{device}: {times:?}");
        assert!(times.len() as u64 >= launched || device.name().contains("cuda"), "{device}: {launched} {times:?}");
        assert!(times[0].name.contains("matmul") && times[0].what.starts_with("Matmul"), "{device}: {times:?}");
        let runs: Vec<usize> = times.iter().map(|t| t.run).collect();
        assert!(runs.is_sorted() && runs[0] == 0 && runs[runs.len() - 1] == 1, "{device}: {runs:?}");
        for pair in times.windows(2).filter(|pair| pair[0].run == pair[1].run) {
            assert!(pair[0].step <= pair[1].step && pair[0].start <= pair[1].start, "{device}: {pair:?}");
        }
        assert!(times.iter().all(|t| t.duration >= 0.0 && t.duration < 60e6), "{device}: {times:?}");
        assert!(times.iter().map(|t| t.duration).sum::<f64>() > 0.0, "{device}: {times:?}");
        let after = device.profile(|| Ok(()))?.1;
        assert!(after.is_empty(), "{device}: an earlier profile is over");
    }
    Ok(())
}

#[test]
fn a_plan_of_more_kernels_than_one_set_of_queries_holds() -> Result<()> {
    for device in common::private_devices().into_iter().filter(|d| d.name().contains("wgpu")) {
        // Each product waits for the one before, and nothing fuses them.
        let x = Tensor::ones([4, 4], DType::F32, &device) * 0.25;
        x.realize()?;
        let (value, times) = device.profile(|| (0..2100).fold(x.clone(), |y, _| y.matmul(&x)).to_vec::<f32>())?;
        assert!((value[0] - 0.25).abs() < 1e-3, "{device}: {value:?}");
        assert!(times.len() >= 2100, "{device}: {}", times.len());
        assert!(times.windows(2).all(|pair| pair[0].start <= pair[1].start), "{device}");
    }
    Ok(())
}
