//! What a backward walk gives: one gradient for each variable.

use crate::dtype::{DType, Scalar};
use crate::graph::Value;
use crate::tensor::Tensor;
use std::collections::BTreeMap;

/// Gradients by variable. An optimizer's step takes it by value: what nobody else holds needs no memory of its own.
#[derive(Debug, Default, Clone)]
pub struct Gradients(BTreeMap<u64, Tensor>);

impl Gradients {
    pub(crate) fn insert(&mut self, variable: &Value, grad: Tensor) {
        self.0.insert(variable.node.id, grad);
    }

    /// The gradient of `variable`; `None` if the loss does not depend on it.
    pub fn get(&self, variable: &Tensor) -> Option<Tensor> {
        self.0.get(&variable.value().ok()?.node.id).cloned()
    }

    /// Takes the gradient of `variable` out.
    pub fn remove(&mut self, variable: &Tensor) -> Option<Tensor> {
        self.0.remove(&variable.value().ok()?.node.id)
    }

    /// Replaces the gradient of `variable`.
    pub fn set(&mut self, variable: &Tensor, grad: Tensor) {
        if let Ok(value) = variable.value() {
            self.0.insert(value.node.id, grad);
        }
    }

    /// How many variables have one.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All gradients, in the order in which their variables were made.
    pub fn iter(&self) -> impl Iterator<Item = &Tensor> {
        self.0.values()
    }

    /// Every gradient changed by `f`.
    pub fn map(self, mut f: impl FnMut(Tensor) -> Tensor) -> Gradients {
        super::no_grad(|| Gradients(self.0.into_iter().map(|(id, g)| (id, f(g))).collect()))
    }

    /// The sum with another step's gradients of the same variables.
    pub fn accumulate(mut self, other: Gradients) -> Gradients {
        super::no_grad(|| {
            for (id, grad) in other.0 {
                let sum = match self.0.remove(&id) {
                    Some(mine) => mine + grad,
                    None => grad,
                };
                self.0.insert(id, sum);
            }
        });
        self
    }

    /// All gradients times `factor`.
    pub fn scale(self, factor: impl Into<Scalar>) -> Gradients {
        let factor = factor.into().to_f64();
        self.map(|g| g * factor)
    }

    /// `√(Σ g²)` over all of them, a tensor of shape `[]`; `None` when there is none. That of halves is `f32`: squares
    /// leave their range soon.
    pub fn norm(&self) -> Option<Tensor> {
        let wide = |g: &Tensor| if g.dtype().is_half() { g.cast(DType::F32) } else { g.clone() };
        super::no_grad(|| self.iter().map(|g| wide(g).square().sum(..)).reduce(|a, b| a + b).map(|s| s.sqrt()))
    }

    /// Scaled down, where need be, so that [`Gradients::norm`] is at most `max`; gives that norm as it was, too
    /// (PyTorch's `clip_grad_norm_`). Nothing is read back: the decision is made on the device.
    pub fn clip_norm(self, max: f64) -> (Gradients, Option<Tensor>) {
        let Some(norm) = self.norm() else { return (self, None) };
        let factor = super::no_grad(|| (max / (&norm + 1e-6)).minimum(1.0));
        (self.map(|g| (&g * &factor).cast(g.dtype())), Some(norm))
    }
}
