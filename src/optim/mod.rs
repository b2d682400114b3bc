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

pub use adam::Adam;
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
