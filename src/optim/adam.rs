//! Adam (Kingma and Ba, 2015) and AdamW (Loshchilov and Hutter, 2019).

use super::group::{Group, Memory};
use super::{Optimizer, OptimizerState};
use crate::autograd::Gradients;
use crate::error::Result;
use crate::nn::Parameter;

/// Adam as PyTorch does it: with `m ← β₁·m + (1 − β₁)·g` and `v ← β₂·v + (1 − β₂)·g²` after `t` steps,
/// `p ← p − lr/(1 − β₁ᵗ) · m / (√v/√(1 − β₂ᵗ) + eps)`.
///
/// Weight decay is decoupled (`p ← (1 − lr·weight_decay)·p`) in [`AdamW`] and an L2 penalty (`g ← g + weight_decay·p`)
/// in [`Adam`].
///
/// ```
/// use sunstone::prelude::*;
/// use sunstone::nn::{Init, Linear};
/// use sunstone::optim::AdamW;
/// let model = Linear::new(4, 2, &Init::new(0, &Device::cpu()));
/// let mut optimizer = AdamW::new(model.parameters(), 1e-3).betas(0.9, 0.95).weight_decay(0.1);
/// let loss = model.forward(&Tensor::ones([1, 4], DType::F32, &Device::cpu())).sum(..);
/// optimizer.step(loss.backward()?)?;
/// assert_eq!(optimizer.state_dict().steps["weight"], 1);
/// # Ok::<(), sunstone::Error>(())
/// ```
#[derive(Debug)]
pub struct Moments<const DECOUPLED: bool> {
    lr: f64,
    betas: [f64; 2],
    eps: f64,
    weight_decay: f64,
    /// Parameters of fewer axes do not decay.
    decay_rank: usize,
    group: Group<2>,
}

/// Adam with an L2 penalty, if any.
pub type Adam = Moments<false>;

/// Adam with decoupled weight decay.
pub type AdamW = Moments<true>;

impl<const DECOUPLED: bool> Moments<DECOUPLED> {
    /// β 0.9 and 0.999, eps 1e-8; the weight decay is 0.01 for [`AdamW`] and 0 for [`Adam`].
    pub fn new(parameters: Vec<(String, Parameter)>, lr: f64) -> Self {
        let group = Group::new(parameters, ["exp_avg", "exp_avg_sq"]);
        let weight_decay = if DECOUPLED { 0.01 } else { 0.0 };
        Moments { lr, betas: [0.9, 0.999], eps: 1e-8, weight_decay, decay_rank: 0, group }
    }

    /// How slowly the mean and the mean square of the gradient move.
    pub fn betas(self, mean: f64, square: f64) -> Self {
        Moments { betas: [mean, square], ..self }
    }

    /// What is added to the denominator.
    pub fn eps(self, eps: f64) -> Self {
        Moments { eps, ..self }
    }

    /// The factor of the weight decay.
    pub fn weight_decay(self, weight_decay: f64) -> Self {
        Moments { weight_decay, ..self }
    }

    /// Leaves biases and the scales of norms, everything of fewer than two axes, without weight decay.
    pub fn decay_matrices_only(self) -> Self {
        Moments { decay_rank: 2, ..self }
    }
}

impl<const DECOUPLED: bool> Optimizer for Moments<DECOUPLED> {
    fn step(&mut self, gradients: Gradients) -> Result<()> {
        let Moments { lr, betas: [b1, b2], eps, weight_decay, decay_rank, .. } = *self;
        self.group.step(gradients, |p, g, memory| {
            let weight_decay = if p.rank() < decay_rank { 0.0 } else { weight_decay };
            let g = if weight_decay != 0.0 && !DECOUPLED { g + p * weight_decay } else { g };
            let p = if weight_decay != 0.0 && DECOUPLED { p * (1.0 - lr * weight_decay) } else { p.clone() };
            let squared = &g * &g * (1.0 - b2);
            let (t, m, v) = match memory {
                Some(Memory { step, tensors: [m, v] }) => (step + 1, m * b1 + g * (1.0 - b1), v * b2 + squared),
                None => (1, g * (1.0 - b1), squared),
            };
            let correction = |beta: f64| 1.0 - beta.powf(t as f64);
            let denominator = v.sqrt() * (1.0 / correction(b2).sqrt()) + eps;
            let p = p - &m / denominator * (lr / correction(b1));
            (p, Some(Memory { step: t, tensors: [m, v] }))
        })
    }

    fn lr(&self) -> f64 {
        self.lr
    }

    fn set_lr(&mut self, lr: f64) {
        self.lr = lr;
    }

    fn state_dict(&self) -> OptimizerState {
        self.group.state(self.lr, true)
    }

    fn load_state_dict(&mut self, state: OptimizerState) -> Result<()> {
        self.group.load(&state, true)?;
        self.lr = state.lr;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Pull, close};
    use super::*;
    use crate::device::Device;
    use crate::dtype::DType;
    use crate::tensor::Tensor;

    fn by_hand(pull: &Pull, steps: i32, [lr, b1, b2, eps, decay]: [f64; 5], decoupled: bool) -> Vec<f64> {
        let mut p = pull.start.clone();
        let (mut m, mut v) = (vec![0.0; p.len()], vec![0.0; p.len()]);
        for t in 1..=steps {
            let g = pull.gradient(&p);
            for i in 0..p.len() {
                let mut g = g[i];
                if decoupled {
                    p[i] *= 1.0 - lr * decay;
                } else {
                    g += decay * p[i];
                }
                m[i] = b1 * m[i] + (1.0 - b1) * g;
                v[i] = b2 * v[i] + (1.0 - b2) * g * g;
                let (c1, c2) = (1.0 - b1.powi(t), 1.0 - b2.powi(t));
                p[i] -= lr / c1 * m[i] / ((v[i] / c2).sqrt() + eps);
            }
        }
        p
    }

    #[test]
    fn follows_pytorchs_formula() {
        for (numbers, decoupled) in [
            ([0.1, 0.9, 0.999, 1e-8, 0.0], false),
            ([0.05, 0.8, 0.9, 1e-3, 0.2], false),
            ([0.05, 0.8, 0.9, 1e-3, 0.2], true),
        ] {
            let pull = Pull::new();
            let [lr, b1, b2, eps, decay] = numbers;
            let mut adam: Box<dyn Optimizer> = match decoupled {
                true => Box::new(AdamW::new(pull.parameters(), lr).betas(b1, b2).eps(eps).weight_decay(decay)),
                false => Box::new(Adam::new(pull.parameters(), lr).betas(b1, b2).eps(eps).weight_decay(decay)),
            };
            for _ in 0..6 {
                adam.step(pull.backward()).unwrap();
            }
            close(&pull, &by_hand(&pull, 6, numbers, decoupled));
        }
    }

    #[test]
    fn a_restored_state_continues_exactly() {
        let run = |split: bool| {
            let pull = Pull::new();
            let mut adam = AdamW::new(pull.parameters(), 0.05);
            for step in 0..4 {
                if split && step == 2 {
                    let state = adam.state_dict();
                    adam = AdamW::new(pull.parameters(), 7.0);
                    adam.load_state_dict(state).unwrap();
                }
                adam.step(pull.backward()).unwrap();
            }
            pull.values()
        };
        assert_eq!(run(false), run(true));
    }

    #[test]
    fn a_state_that_does_not_fit_is_refused_whole() {
        let pull = Pull::new();
        let mut adam = Adam::new(pull.parameters(), 0.1);
        adam.step(pull.backward()).unwrap();
        let good = adam.state_dict();
        let mut bad = good.clone();
        bad.steps.clear();
        bad.tensors[0].1 = Tensor::zeros([9], DType::F32, &Device::cpu());
        bad.tensors[1].0 = "x.exp_avg_sq".into();
        let message = adam.load_state_dict(bad).unwrap_err().to_string();
        for part in [
            "the step count of 'w' is missing",
            "'w.exp_avg' is f32 [9], the parameter is f32 [3]",
            "'w.exp_avg_sq' is missing",
            "'x.exp_avg_sq' is unexpected",
        ] {
            assert!(message.contains(part), "{part:?} is not in {message:?}");
        }
        assert_eq!(adam.state_dict().steps, good.steps);
    }
}
