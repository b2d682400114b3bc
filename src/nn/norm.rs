//! Normalization: over a batch (Ioffe and Szegedy, 2015) and over features (Ba, Kiros and Hinton, 2016).

use super::{Buffer, Init, Mode, Module, Parameter, Visitor, refuse};
use crate::autograd::no_grad;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// Normalizes each channel of `[n, channels, h, w]`, then multiplies by `weight` and adds `bias` (`[channels]` both).
///
/// In training with the batch's own mean and (biased) variance, which also move `running_mean` and `running_var` (the
/// latter by the unbiased variance); else with those running statistics.
///
/// ```
/// use sunstone::prelude::*;
/// use sunstone::nn::{BatchNorm2d, Init};
/// let norm = BatchNorm2d::new(3, &Init::new(0, &Device::cpu()));
/// let names: Vec<String> = norm.state_dict().into_iter().map(|(name, _)| name).collect();
/// assert_eq!(names, ["weight", "bias", "running_mean", "running_var"]);
/// ```
#[derive(Debug)]
pub struct BatchNorm2d {
    weight: Parameter,
    bias: Parameter,
    running_mean: Buffer,
    running_var: Buffer,
    mode: Mode,
    momentum: f64,
    eps: f64,
}

impl BatchNorm2d {
    /// Weight 1, bias 0, momentum 0.1, eps 1e-5.
    pub fn new(channels: usize, init: &Init) -> BatchNorm2d {
        BatchNorm2d {
            weight: Parameter::new(init.ones([channels])),
            bias: Parameter::new(init.zeros([channels])),
            running_mean: Buffer::new(init.zeros([channels])),
            running_var: Buffer::new(init.ones([channels])),
            mode: Mode::default(),
            momentum: 0.1,
            eps: 1e-5,
        }
    }

    /// How much of each batch's statistics goes into the running ones.
    pub fn momentum(self, momentum: f64) -> BatchNorm2d {
        BatchNorm2d { momentum, ..self }
    }

    /// What is added to a variance before its root.
    pub fn eps(self, eps: f64) -> BatchNorm2d {
        BatchNorm2d { eps, ..self }
    }

    fn observe(&self, mean: &Tensor, var: &Tensor, count: usize) {
        let unbiased = count as f64 / (count as f64 - 1.0);
        let mix = |old: Tensor, new: Tensor| old * (1.0 - self.momentum) + new * self.momentum;
        no_grad(|| {
            let channels = self.running_mean.get().shape().clone();
            let [mean, var] = [mean, var].map(|t| t.detach().reshape(&channels));
            self.running_mean.set(mix(self.running_mean.get(), mean));
            self.running_var.set(mix(self.running_var.get(), var * unbiased));
        });
    }
}

impl Module for BatchNorm2d {
    fn forward(&self, x: &Tensor) -> Tensor {
        let [n, c, h, w] = match x.dims::<4>() {
            Ok(dims) => dims,
            Err(error) => return Tensor::failed(error),
        };
        let weight = self.weight.get();
        if weight.shape() != &[c][..] && weight.error().is_none() {
            let detail = format!("the input {} has {c} channels, the layer {}", x.shape(), weight.shape().numel());
            return refuse("BatchNorm2d", detail);
        }
        let per_channel = |t: Tensor| t.reshape([c, 1, 1]);
        let (mean, var) = if self.mode.is_training() {
            let count = n * h * w;
            if count < 2 {
                let detail = format!("training needs more than one value per channel, the input is {}", x.shape());
                return refuse("BatchNorm2d", detail);
            }
            let (mean, var) = (x.mean_keepdim([0, 2, 3]), x.var_keepdim([0, 2, 3], 0.0));
            self.observe(&mean, &var, count);
            (mean, var)
        } else {
            (per_channel(self.running_mean.get()), per_channel(self.running_var.get()))
        };
        (x - mean) / (var + self.eps).sqrt() * per_channel(weight) + per_channel(self.bias.get())
    }

    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.parameter("weight", &self.weight);
        visitor.parameter("bias", &self.bias);
        visitor.buffer("running_mean", &self.running_mean);
        visitor.buffer("running_var", &self.running_var);
        visitor.mode(&self.mode);
    }
}

/// Normalizes over the last axes, which have the shape of `weight` and `bias`: `(x − mean)/√(var + eps)·weight + bias`.
///
/// ```
/// use sunstone::prelude::*;
/// use sunstone::nn::{Init, LayerNorm};
/// let norm = LayerNorm::new([2], &Init::new(0, &Device::cpu())).eps(0.0);
/// let x = Tensor::from_slice(&[1.0f32, 3.0, 5.0, 5.5], [2, 2], &Device::cpu());
/// assert_eq!(norm.forward(&x).to_vec::<f32>()?, [-1.0, 1.0, -1.0, 1.0]);
/// # Ok::<(), sunstone::Error>(())
/// ```
#[derive(Debug)]
pub struct LayerNorm {
    weight: Parameter,
    bias: Parameter,
    shape: Shape,
    eps: f64,
}

impl LayerNorm {
    /// Over the last axes of this shape; weight 1, bias 0, eps 1e-5.
    pub fn new(shape: impl Into<Shape>, init: &Init) -> LayerNorm {
        let shape = shape.into();
        let (weight, bias) = (Parameter::new(init.ones(&shape)), Parameter::new(init.zeros(&shape)));
        LayerNorm { weight, bias, shape, eps: 1e-5 }
    }

    /// What is added to a variance before its root.
    pub fn eps(self, eps: f64) -> LayerNorm {
        LayerNorm { eps, ..self }
    }
}

impl Module for LayerNorm {
    fn forward(&self, x: &Tensor) -> Tensor {
        if x.error().is_some() {
            return x.clone();
        }
        if !x.shape().ends_with(&self.shape) {
            let detail = format!("the input {} does not end with {}", x.shape(), self.shape);
            return refuse("LayerNorm", detail);
        }
        x.layer_norm(self.shape.rank(), self.eps) * self.weight.get() + self.bias.get()
    }

    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.parameter("weight", &self.weight);
        visitor.parameter("bias", &self.bias);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;
    use crate::dtype::DType;

    fn close(actual: &Tensor, expected: &[f64]) {
        let actual = actual.to_vec::<f32>().unwrap();
        assert_eq!(actual.len(), expected.len());
        for (i, (&a, &e)) in actual.iter().zip(expected).enumerate() {
            assert!((a as f64 - e).abs() < 1e-5, "element {i}: {a} instead of {e}");
        }
    }

    /// Mean and sum of squared deviations of channel `c` of `[n, 2, hw]` values.
    fn moments(x: &[f32], c: usize, hw: usize) -> (f64, f64, f64) {
        let values: Vec<f64> = x.chunks(hw).skip(c).step_by(2).flatten().map(|&v| v as f64).collect();
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        (mean, values.iter().map(|v| (v - mean).powi(2)).sum(), count)
    }

    #[test]
    fn batch_norm_uses_the_batch_in_training_and_the_past_afterwards() {
        let device = Device::cpu();
        let init = Init::new(4, &device);
        let norm = BatchNorm2d::new(2, &init).momentum(0.2).eps(1e-3);
        norm.weight.set(Tensor::from_slice(&[2.0f32, -1.0], [2], &device));
        norm.bias.set(Tensor::from_slice(&[0.5f32, 3.0], [2], &device));
        let (gain, shift) = ([2.0, -1.0], [0.5, 3.0]);
        let (mut running_mean, mut running_var) = ([0.0; 2], [1.0; 2]);
        for step in 0..3 {
            let x = init.normal([3, 2, 2, 2], step as f64, 2.0);
            let values = x.to_vec::<f32>().unwrap();
            let stats = [0, 1].map(|c| moments(&values, c, 4));
            let expected: Vec<f64> = (values.iter().enumerate())
                .map(|(i, &v)| {
                    let c = i / 4 % 2;
                    let (mean, squares, count) = stats[c];
                    (v as f64 - mean) / (squares / count + 1e-3).sqrt() * gain[c] + shift[c]
                })
                .collect();
            close(&norm.forward(&x), &expected);
            for c in 0..2 {
                let (mean, squares, count) = stats[c];
                running_mean[c] = 0.8 * running_mean[c] + 0.2 * mean;
                running_var[c] = 0.8 * running_var[c] + 0.2 * squares / (count - 1.0);
            }
        }
        close(&norm.running_mean.get(), &running_mean);
        close(&norm.running_var.get(), &running_var);

        norm.eval();
        let x = init.normal([1, 2, 1, 2], 0.0, 1.0);
        let values = x.to_vec::<f32>().unwrap();
        let expected: Vec<f64> = (values.iter().enumerate())
            .map(|(i, &v)| {
                let c = i / 2;
                (v as f64 - running_mean[c]) / (running_var[c] + 1e-3).sqrt() * gain[c] + shift[c]
            })
            .collect();
        close(&norm.forward(&x), &expected);
        close(&norm.running_mean.get(), &running_mean);
    }

    #[test]
    fn batch_norm_refuses_what_it_cannot_normalize() {
        let device = Device::cpu();
        let norm = BatchNorm2d::new(2, &Init::new(0, &device));
        for (shape, part) in [([1, 2, 1, 1], "more than one value"), ([1, 3, 2, 2], "3 channels, the layer 2")] {
            let message = norm.forward(&Tensor::ones(shape, DType::F32, &device)).realize().unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
        assert!(norm.forward(&Tensor::ones([2, 2], DType::F32, &device)).realize().is_err());
    }

    #[test]
    fn layer_norm_matches_the_formula() {
        let device = Device::cpu();
        let init = Init::new(4, &device);
        let norm = LayerNorm::new([2, 3], &init);
        let x = init.normal([4, 2, 3], 1.0, 3.0);
        let values = x.to_vec::<f32>().unwrap();
        let expected: Vec<f64> = (values.chunks(6))
            .flat_map(|row| {
                let mean = row.iter().map(|&v| v as f64).sum::<f64>() / 6.0;
                let var = row.iter().map(|&v| (v as f64 - mean).powi(2)).sum::<f64>() / 6.0;
                row.iter().map(move |&v| (v as f64 - mean) / (var + 1e-5).sqrt()).collect::<Vec<_>>()
            })
            .collect();
        close(&norm.forward(&x), &expected);
        let message = norm.forward(&x.reshape([4, 6])).realize().unwrap_err().to_string();
        assert!(message.contains("does not end with [2, 3]"), "{message}");
    }
}
