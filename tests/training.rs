//! Training as a whole: devices agree, a stopped training goes on as if it had not stopped, and memory stands still.

mod common;

use common::private_devices;
use sunstone::data::strokes;
use sunstone::models::training::{Architecture, Options, Training};
use sunstone::prelude::*;

fn losses(options: &Options, device: &Device, steps: u64) -> Result<Vec<f32>> {
    let data = strokes::digits(3, steps as usize * options.batch, 20);
    let mut training = Training::new(options.clone(), data, device)?;
    while training.place().step < steps && training.step()?.is_some() {}
    Ok(training.losses()?.into_iter().map(|(_, loss)| loss).collect())
}

#[test]
fn the_first_fifty_losses_agree_between_devices() -> Result<()> {
    for (model, batch) in [(Architecture::Mlp, 64), (Architecture::Cnn, 8)] {
        let options = Options { model, batch, epochs: 1, ..Options::default() };
        let devices = private_devices();
        let truth = losses(&options, &devices[0], 50)?;
        assert_eq!(truth.len(), 50);
        assert!(truth[49] < truth[0], "{model:?} learns nothing: {truth:?}");
        for device in &devices[1..] {
            for (step, (a, b)) in losses(&options, device, 50)?.iter().zip(&truth).enumerate() {
                assert!((a - b).abs() <= 1e-4 * b.abs(), "{model:?} on {device}, step {step}: {a} instead of {b}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_resumed_training_has_the_losses_of_the_uninterrupted_one_bit_for_bit() -> Result<()> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("stopped.safetensors");
    let data = || strokes::digits(3, 320, 20);
    let device = Device::cpu();
    for model in [Architecture::Mlp, Architecture::Cnn] {
        let options = Options { model, batch: 32, epochs: 3, lr: 0.1 / 3.0, seed: 5 };
        let mut whole = Training::new(options.clone(), data(), &device)?;
        while whole.step()?.is_some() {}
        let expected: Vec<(u64, u32)> = whole.losses()?.into_iter().map(|(s, l)| (s, l.to_bits())).collect();
        assert_eq!(expected.len(), 30);
        // In the middle of an epoch, and between two.
        for stop in [13, 20] {
            let mut first = Training::new(options.clone(), data(), &device)?;
            while first.place().step < stop {
                first.step()?;
            }
            first.save(&file)?;
            let mut second = Training::resume(&file, data(), &device)?;
            while second.step()?.is_some() {}
            let both = first.losses()?.into_iter().chain(second.losses()?);
            assert_eq!(
                both.map(|(s, l)| (s, l.to_bits())).collect::<Vec<_>>(),
                expected,
                "{model:?} stopped at {stop}"
            );
        }
    }
    let other = Training::resume(&file, strokes::digits(4, 320, 20), &device).err().expect("other data");
    assert!(other.to_string().contains("other data"), "{other}");
    Ok(())
}

#[test]
fn a_warm_training_builds_no_plan_and_reserves_no_byte() -> Result<()> {
    for device in private_devices() {
        let options = Options { model: Architecture::Mlp, batch: 16, epochs: 3, ..Options::default() };
        let mut training = Training::new(options, strokes::digits(3, 1600, 20), &device)?;
        let mut warm = None;
        while let Some(step) = training.step()? {
            if step % 10 == 0 {
                training.losses()?;
            }
            let now = (device.stats().plans_built, device.stats().bytes_reserved);
            if step == 20 {
                warm = Some(now);
            }
            assert!(step <= 20 || warm == Some(now), "{device}, step {step}: {warm:?} became {now:?}");
        }
        assert_eq!(training.place().step, 300);
    }
    Ok(())
}

#[test]
fn a_loss_that_is_not_finite_is_found_at_its_step() -> Result<()> {
    let options = Options { model: Architecture::Mlp, batch: 32, epochs: 2, lr: 1e9, seed: 0 };
    let mut training = Training::new(options, strokes::digits(3, 320, 20), &Device::cpu())?;
    while training.step()?.is_some() {}
    let error = training.losses().unwrap_err();
    assert!(matches!(error, Error::NotFinite { step, .. } if step >= 2), "{error}");
    Ok(())
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let good = Options::default();
    for bad in [
        Options { batch: 0, ..good.clone() },
        Options { batch: 1000, ..good.clone() },
        Options { lr: -1.0, ..good.clone() },
        Options { lr: f64::NAN, ..good.clone() },
        Options { epochs: 0, ..good.clone() },
    ] {
        let error = Training::new(bad.clone(), strokes::digits(3, 100, 20), &Device::cpu()).err();
        assert!(matches!(error, Some(Error::Invalid(_))), "{bad:?}");
    }
}
