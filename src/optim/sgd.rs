//! Stochastic gradient descent.

use super::group::{Group, Memory};
use super::{Optimizer, OptimizerState};
use crate::autograd::Gradients;
use crate::error::Result;
use crate::nn::Parameter;

/// Stochastic gradient descent as PyTorch's `SGD` does it:
///
/// `g ← g + weight_decay·p`; `b ← momentum·b + (1 − dampening)·g` (at first, `b ← g`);
/// `g ← g + momentum·b` with Nesterov's momentum, else `g ← b`; `p ← p − lr·g`.
#[derive(Debug)]
pub struct Sgd {
    lr: f64,
    momentum: f64,
    dampening: f64,
    weight_decay: f64,
    nesterov: bool,
    group: Group<1>,
}

impl Sgd {
    /// Plain descent with this learning rate.
    pub fn new(parameters: Vec<(String, Parameter)>, lr: f64) -> Sgd {
        let group = Group::new(parameters, ["momentum_buffer"]);
        Sgd { lr, momentum: 0.0, dampening: 0.0, weight_decay: 0.0, nesterov: false, group }
    }

    /// How much of the last step is kept; 0 unless given.
    pub fn momentum(self, momentum: f64) -> Sgd {
        Sgd { momentum, ..self }
    }

    /// How much of the gradient is kept out of the momentum; 0 unless given. Without effect on Nesterov's.
    pub fn dampening(self, dampening: f64) -> Sgd {
        Sgd { dampening, ..self }
    }

    /// The factor of the L2 penalty; 0 unless given.
    pub fn weight_decay(self, weight_decay: f64) -> Sgd {
        Sgd { weight_decay, ..self }
    }

    /// Nesterov's momentum instead of the heavy ball's.
    pub fn nesterov(self, nesterov: bool) -> Sgd {
        Sgd { nesterov, ..self }
    }
}

impl Optimizer for Sgd {
    fn step(&mut self, gradients: Gradients) -> Result<()> {
        let Sgd { lr, momentum, weight_decay, nesterov, .. } = *self;
        // PyTorch refuses dampening together with Nesterov, whose formula has no place for it.
        let dampening = if nesterov { 0.0 } else { self.dampening };
        self.group.step(gradients, |p, g, memory| {
            let g = if weight_decay != 0.0 { g + p * weight_decay } else { g };
            if momentum == 0.0 {
                return (p - g * lr, None);
            }
            let buffer = match memory {
                Some(Memory { tensors: [b], .. }) => b * momentum + &g * (1.0 - dampening),
                None => g.clone(),
            };
            let direction = if nesterov { g + &buffer * momentum } else { buffer.clone() };
            (p - direction * lr, Some(Memory { step: 0, tensors: [buffer] }))
        })
    }

    fn lr(&self) -> f64 {
        self.lr
    }

    fn set_lr(&mut self, lr: f64) {
        self.lr = lr;
    }

    fn state_dict(&self) -> OptimizerState {
        self.group.state(self.lr, false)
    }

    fn load_state_dict(&mut self, state: OptimizerState) -> Result<()> {
        self.group.load(&state, false)?;
        self.lr = state.lr;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Pull, close};
    use super::*;

    /// The formula in f64, several steps of it.
    fn by_hand(pull: &Pull, steps: usize, [lr, momentum, dampening, decay]: [f64; 4], nesterov: bool) -> Vec<f64> {
        let mut p = pull.start.clone();
        let mut buffer: Option<Vec<f64>> = None;
        for _ in 0..steps {
            let g: Vec<f64> = pull.gradient(&p).iter().zip(&p).map(|(g, p)| g + decay * p).collect();
            let b = match &buffer {
                Some(b) => b.iter().zip(&g).map(|(b, g)| momentum * b + (1.0 - dampening) * g).collect(),
                None => g.clone(),
            };
            for i in 0..p.len() {
                p[i] -= lr * if nesterov { g[i] + momentum * b[i] } else { b[i] };
            }
            buffer = Some(b);
        }
        p
    }

    #[test]
    fn follows_pytorchs_formula() {
        for (numbers, nesterov) in [
            ([0.1, 0.0, 0.0, 0.0], false),
            ([0.1, 0.9, 0.0, 0.0], false),
            ([0.05, 0.9, 0.3, 0.01], false),
            ([0.05, 0.8, 0.0, 0.1], true),
        ] {
            let pull = Pull::new();
            let [lr, momentum, dampening, decay] = numbers;
            let mut sgd = Sgd::new(pull.parameters(), lr)
                .momentum(momentum)
                .dampening(dampening)
                .weight_decay(decay)
                .nesterov(nesterov);
            for _ in 0..6 {
                sgd.step(pull.backward()).unwrap();
            }
            close(&pull, &by_hand(&pull, 6, numbers, nesterov));
        }
    }

    #[test]
    fn a_restored_state_continues_exactly() {
        let run = |split: bool| {
            let pull = Pull::new();
            let mut sgd = Sgd::new(pull.parameters(), 0.05).momentum(0.9);
            for step in 0..4 {
                if split && step == 2 {
                    let state = sgd.state_dict();
                    assert_eq!(state.tensors[0].0, "w.momentum_buffer");
                    sgd = Sgd::new(pull.parameters(), 7.0).momentum(0.9);
                    sgd.load_state_dict(state).unwrap();
                }
                sgd.step(pull.backward()).unwrap();
            }
            pull.values()
        };
        assert_eq!(run(false), run(true));
    }
}
