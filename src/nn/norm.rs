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

    fn observe(&self, mean: Tensor, var: Tensor) {
        let mix = |old: Tensor, new: Tensor| old * (1.0 - self.momentum) + new * self.momentum;
        no_grad(|| {
            self.running_mean.set(mix(self.running_mean.get(), mean));
            self.running_var.set(mix(self.running_var.get(), var));
        });
    }
}

impl Module for BatchNorm2d {
    fn forward(&self, x: &Tensor) -> Tensor {
        let c = match x.dims::<4>() {
            Ok([_, c, ..]) => c,
            Err(error) => return Tensor::failed(error),
        };
        let (weight, bias) = (self.weight.get(), self.bias.get());
        if weight.shape() != &[c][..] && weight.error().is_none() {
            let detail = format!("the input {} has {c} channels, the layer {}", x.shape(), weight.shape().numel());
            return refuse("BatchNorm2d", detail);
        }
        if !self.mode.is_training() {
            let (mean, var) = (self.running_mean.get(), self.running_var.get());
            return x.batch_norm(&mean, &var, Some(&weight), Some(&bias), self.eps);
        }
        let (y, mean, var) = x.batch_norm_training(Some(&weight), Some(&bias), self.eps);
        if y.error().is_none() {
            self.observe(mean, var);
        }
        y
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
        x.layer_norm_with(self.shape.rank(), Some(&self.weight.get()), Some(&self.bias.get()), self.eps)
    }

    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.parameter("weight", &self.weight);
        visitor.parameter("bias", &self.bias);
    }
}

/// Divides by the root of the mean square over the last axes, which have the shape of `weight`:
/// `x/√(mean(x²) + eps)·weight` (Zhang and Sennrich, 2019).
///
/// ```
/// use sunstone::prelude::*;
/// use sunstone::nn::{Init, RmsNorm};
/// let norm = RmsNorm::new([2], &Init::new(0, &Device::cpu())).eps(0.0);
/// let x = Tensor::from_slice(&[1.0f32, 7.0], [1, 2], &Device::cpu());
/// assert_eq!(norm.forward(&x).to_vec::<f32>()?, [0.2, 1.4]);
/// # Ok::<(), sunstone::Error>(())
/// ```
#[derive(Debug)]
pub struct RmsNorm {
    weight: Parameter,
    eps: f64,
}

impl RmsNorm {
    /// Over the last axes of this shape; weight 1, eps 1e-6.
    pub fn new(shape: impl Into<Shape>, init: &Init) -> RmsNorm {
        RmsNorm { weight: Parameter::new(init.ones(shape)), eps: 1e-6 }
    }

    /// What is added to a mean square before its root.
    pub fn eps(self, eps: f64) -> RmsNorm {
        RmsNorm { eps, ..self }
    }
}

impl Module for RmsNorm {
    fn forward(&self, x: &Tensor) -> Tensor {
        let weight = self.weight.get();
        x.rms_norm(weight.rank(), Some(&weight), self.eps)
    }

    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.parameter("weight", &self.weight);
    }
}

/// Normalizes each group of channels of each element of `[n, channels, ..]`, then multiplies by `weight` and adds `bias`
/// (`[channels]` both) (Wu and He, 2018).
#[derive(Debug)]
pub struct GroupNorm {
    weight: Parameter,
    bias: Parameter,
    groups: usize,
    eps: f64,
}

impl GroupNorm {
    /// Weight 1, bias 0, eps 1e-5. `groups` has to divide `channels`, or `forward` gives an error.
    pub fn new(groups: usize, channels: usize, init: &Init) -> GroupNorm {
        let (weight, bias) = (Parameter::new(init.ones([channels])), Parameter::new(init.zeros([channels])));
        GroupNorm { weight, bias, groups, eps: 1e-5 }
    }

    /// What is added to a variance before its root.
    pub fn eps(self, eps: f64) -> GroupNorm {
        GroupNorm { eps, ..self }
    }
}

impl Module for GroupNorm {
    fn forward(&self, x: &Tensor) -> Tensor {
        x.group_norm(self.groups, Some(&self.weight.get()), Some(&self.bias.get()), self.eps)
    }

    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.parameter("weight", &self.weight);
        visitor.parameter("bias", &self.bias);
    }
}

/// Normalizes each channel of each element of `[n, channels, h, w]` by itself (Ulyanov et al., 2016). As PyTorch's, it has
/// no parameters unless asked for.
#[derive(Debug)]
pub struct InstanceNorm2d {
    affine: Option<(Parameter, Parameter)>,
    channels: usize,
    eps: f64,
}

impl InstanceNorm2d {
    /// Without parameters, eps 1e-5.
    pub fn new(channels: usize) -> InstanceNorm2d {
        InstanceNorm2d { affine: None, channels, eps: 1e-5 }
    }

    /// With a `weight` of 1 and a `bias` of 0, `[channels]` both.
    pub fn affine(self, init: &Init) -> InstanceNorm2d {
        let channels = [self.channels];
        let parameters = (Parameter::new(init.ones(channels)), Parameter::new(init.zeros(channels)));
        InstanceNorm2d { affine: Some(parameters), ..self }
    }

    /// What is added to a variance before its root.
    pub fn eps(self, eps: f64) -> InstanceNorm2d {
        InstanceNorm2d { eps, ..self }
    }
}

impl Module for InstanceNorm2d {
    fn forward(&self, x: &Tensor) -> Tensor {
        match x.dims::<4>() {
            Ok([_, c, ..]) if c == self.channels => {}
            Ok([_, c, ..]) => {
                let detail = format!("the input {} has {c} channels, the layer {}", x.shape(), self.channels);
                return refuse("InstanceNorm2d", detail);
            }
            Err(error) => return Tensor::failed(error),
        }
        let affine = self.affine.as_ref().map(|(weight, bias)| (weight.get(), bias.get()));
        let (weight, bias) = (affine.as_ref().map(|a| &a.0), affine.as_ref().map(|a| &a.1));
        x.instance_norm(weight, bias, self.eps)
    }

    fn visit(&self, visitor: &mut Visitor<'_>) {
        if let Some((weight, bias)) = &self.affine {
            visitor.parameter("weight", weight);
            visitor.parameter("bias", bias);
        }
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
