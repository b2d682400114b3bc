//! Optimizers: what becomes of the parameters once the gradients are there.
//!
//! ```
//! use sunstone::prelude::*;
//! use sunstone::nn::{Init, Linear};
//! use sunstone::optim::{Optimizer, Sgd};
//! let device = Device::cpu();
//! let model = Linear::new(1, 1, &Init::new(0, &device));
//! let mut optimizer = Sgd::new(model.parameters(), 0.1).momentum(0.5);
//! let x = Tensor::from_slice(&[0.0f32, 1.0, 2.0, 3.0], [4, 1], &device);
//! let y = &x * 2.0 - 1.0;
//! for _ in 0..200 {
//!     let error = model.forward(&x) - &y;
//!     let loss = (&error * &error).mean(..);
//!     optimizer.step(loss.backward()?)?;
//! }
//! assert!((model.weight().get().item::<f32>()? - 2.0).abs() < 1e-3);
//! # Ok::<(), sunstone::Error>(())
//! ```

mod adam;
mod clip;
mod group;
pub mod schedule;
mod sgd;
#[cfg(test)]
mod testing;

pub use adam::{Adam, AdamW, Moments};
pub use clip::clip_value;
pub use group::OptimizerState;
pub use schedule::Schedule;
pub use sgd::Sgd;

use crate::autograd::Gradients;
use crate::error::Result;
use std::fmt::Debug;

/// Moves parameters along their gradients.
pub trait Optimizer: Debug {
    /// Updates every parameter that has a gradient, then computes everything that this thread has pending: with the
    /// gradients gone and the old parameters let go, that is the whole step in one plan, which updates in place.
    ///
    /// # Errors
    /// Whatever went wrong in a tensor that the step needs. If a gradient carries an error, nothing is changed.
    fn step(&mut self, gradients: Gradients) -> Result<()>;

    /// The learning rate.
    fn lr(&self) -> f64;

    /// Changes the learning rate; no new plan is needed for it.
    fn set_lr(&mut self, lr: f64);

    /// What to save: learning rate, step counts and moments.
    fn state_dict(&self) -> OptimizerState;

    /// Continues from a saved state.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) lists everything that does not fit the parameters; nothing is changed then.
    fn load_state_dict(&mut self, state: OptimizerState) -> Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::cpu::CpuBackend;
    use crate::device::Device;
    use crate::dtype::DType;
    use crate::nn::{Init, Linear, Module, Relu, Sequential};
    use crate::tensor::Tensor;

    fn model(device: &Device) -> Sequential {
        let init = Init::new(0, device);
        Sequential::new().add(Linear::new(6, 5, &init)).add(Relu).add(Linear::new(5, 3, &init))
    }

    fn step(model: &Sequential, optimizer: &mut dyn Optimizer, batch: usize) -> Tensor {
        let device = model.parameters()[0].1.get().device();
        let values: Vec<f32> = (0..24).map(|i| ((i * 7 + batch * 5) % 11) as f32 / 11.0).collect();
        let x = Tensor::from_slice(&values, [4, 6], &device);
        let loss = model.forward(&x).cross_entropy(&Tensor::from_slice(&[0, 1, 2, 0], [4], &device));
        optimizer.step(loss.backward().unwrap()).unwrap();
        loss
    }

    #[test]
    fn steps_settle_on_one_plan_and_on_constant_memory() {
        type Make = fn(&Sequential) -> Box<dyn Optimizer>;
        let make: [Make; 3] = [
            |m| Box::new(Sgd::new(m.parameters(), 0.1)),
            |m| Box::new(Sgd::new(m.parameters(), 0.1).momentum(0.9).nesterov(true)),
            |m| Box::new(AdamW::new(m.parameters(), 0.01)),
        ];
        for make in make {
            // A device of its own, because tests run side by side.
            let device = Device::new("cpu", CpuBackend::new());
            let model = model(&device);
            let mut optimizer = make(&model);
            let mut losses = Vec::new();
            let mut settled = None;
            for i in 0..12 {
                optimizer.set_lr(optimizer.lr() * 0.99);
                losses.push(step(&model, &mut *optimizer, i).item::<f32>().unwrap());
                let stats = device.stats();
                let now = (stats.plans_built, stats.bytes_reserved, stats.bytes_in_use);
                if i >= 3 {
                    assert_eq!(*settled.get_or_insert(now), now, "step {i}");
                }
            }
            assert!(losses.iter().all(|l| l.is_finite()) && losses[11] < losses[0], "{losses:?}");
        }
    }

    #[test]
    fn a_weight_that_the_user_holds_keeps_its_numbers() {
        let device = Device::cpu();
        let model = model(&device);
        let mut optimizer = Adam::new(model.parameters(), 0.1);
        step(&model, &mut optimizer, 0);
        let held = model.parameters()[0].1.get();
        let before = held.to_vec::<f32>().unwrap();
        step(&model, &mut optimizer, 1);
        step(&model, &mut optimizer, 2);
        assert_eq!(held.to_vec::<f32>().unwrap(), before);
        assert_ne!(model.parameters()[0].1.get().to_vec::<f32>().unwrap(), before);
    }

    #[test]
    fn accumulated_gradients_are_those_of_the_whole_batch() {
        let device = Device::cpu();
        let model = Linear::new(2, 1, &Init::new(0, &device));
        let x = Tensor::from_slice(&[1.0f32, 2.0, -1.0, 0.5, 3.0, -2.0, 0.0, 1.0], [4, 2], &device);
        let gradients = |x: Tensor| (model.forward(&x).square().sum(..) * 0.25).backward().unwrap();
        let whole = gradients(x.clone());
        let halves = gradients(x.narrow(0, 0, 2)).accumulate(gradients(x.narrow(0, 2, 2)));
        let weight = model.weight().get();
        let [whole, halves] = [whole, halves].map(|g| g.get(&weight).unwrap().to_vec::<f32>().unwrap());
        assert!(whole.iter().zip(&halves).all(|(a, b)| (a - b).abs() < 1e-5), "{whole:?} and {halves:?}");
    }

    #[test]
    fn clipping_by_norm_shortens_and_keeps_the_direction() {
        let device = Device::cpu();
        let p = Tensor::from_slice(&[3.0f32, 4.0], [2], &device).requires_grad();
        let gradients = || (p.square().sum(..) * 0.5).backward().unwrap();
        let (clipped, norm) = gradients().clip_norm(1.0);
        assert_eq!(norm.unwrap().item::<f32>().unwrap(), 5.0);
        let clipped = clipped.get(&p).unwrap().to_vec::<f32>().unwrap();
        assert!((clipped[0] - 0.6).abs() < 1e-6 && (clipped[1] - 0.8).abs() < 1e-6, "{clipped:?}");
        let (kept, _) = gradients().clip_norm(10.0);
        assert_eq!(kept.get(&p).unwrap().to_vec::<f32>().unwrap(), [3.0, 4.0]);
    }

    #[test]
    fn a_gradient_with_an_error_changes_nothing() {
        let device = Device::cpu();
        let model = Linear::new(2, 1, &Init::new(0, &device));
        let before = model.weight().get().to_vec::<f32>().unwrap();
        let mut optimizer = Sgd::new(model.parameters(), 0.1);
        let loss = model.forward(&Tensor::ones([1, 2], DType::F32, &device)).sum(..);
        let broken = loss.backward().unwrap().map(|g| g.reshape([99]));
        assert!(optimizer.step(broken).is_err());
        assert_eq!(model.weight().get().to_vec::<f32>().unwrap(), before);
    }
}
