//! Clipping gradients by value; by norm it is [`Gradients::clip_norm`].

use crate::autograd::Gradients;

/// Every element held to `±limit` (PyTorch's `clip_grad_value_`).
///
/// ```
/// use sunstone::prelude::*;
/// let x = Tensor::from_slice(&[0.1f32, -3.0], [2], &Device::cpu()).requires_grad();
/// let gradients = sunstone::optim::clip_value((&x * &x).sum(..).backward()?, 1.0);
/// assert_eq!(gradients.get(&x).unwrap().to_vec::<f32>()?, [0.2, -1.0]);
/// # Ok::<(), sunstone::Error>(())
/// ```
pub fn clip_value(gradients: Gradients, limit: f64) -> Gradients {
    gradients.map(|g| g.clamp(-limit, limit))
}
