//! A small problem that optimizers are tested on: `½·Σ k·(w − target)²`, whose gradient is `k·(w − target)`.

use crate::autograd::Gradients;
use crate::device::Device;
use crate::nn::Parameter;
use crate::tensor::Tensor;

pub struct Pull {
    pub start: Vec<f64>,
    stiffness: Vec<f64>,
    target: Vec<f64>,
    w: Parameter,
}

fn tensor(values: &[f64]) -> Tensor {
    let values: Vec<f32> = values.iter().map(|&v| v as f32).collect();
    Tensor::from_slice(&values, [values.len()], &Device::cpu())
}

impl Pull {
    pub fn new() -> Pull {
        let start = vec![1.0, -2.0, 0.25];
        let w = Parameter::new(tensor(&start));
        Pull { start, stiffness: vec![1.0, 0.5, 3.0], target: vec![0.0, 1.0, -1.0], w }
    }

    pub fn parameters(&self) -> Vec<(String, Parameter)> {
        vec![("w".into(), self.w.clone())]
    }

    pub fn loss(&self) -> Tensor {
        let away = self.w.get() - tensor(&self.target);
        (&away * &away * tensor(&self.stiffness)).sum(..) * 0.5
    }

    pub fn backward(&self) -> Gradients {
        self.loss().backward().unwrap()
    }

    pub fn gradient(&self, w: &[f64]) -> Vec<f64> {
        (w.iter().zip(&self.target).zip(&self.stiffness)).map(|((w, t), k)| k * (w - t)).collect()
    }

    pub fn values(&self) -> Vec<f32> {
        self.w.get().to_vec().unwrap()
    }
}

/// The parameter is what was computed by hand, within what single precision allows.
pub fn close(pull: &Pull, expected: &[f64]) {
    for (actual, expected) in pull.values().iter().zip(expected) {
        assert!((*actual as f64 - expected).abs() < 2e-6, "{:?} instead of {expected:?}", pull.values());
    }
}
