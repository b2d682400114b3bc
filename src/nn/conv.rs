//! Two-dimensional convolution.

use super::{Init, Module, Pair, Parameter, Visitor, refuse};
use crate::graph::ConvSpec;
use crate::tensor::Tensor;

/// Cross-correlation of `[n, inputs, h, w]` with `weight` `[outputs, inputs/groups, kh, kw]`, plus `bias` `[outputs]`.
///
/// ```
/// use sunstone::prelude::*;
/// use sunstone::nn::{Conv2d, Init};
/// let init = Init::new(0, &Device::cpu());
/// let x = Tensor::ones([2, 4, 9, 9], DType::F32, &Device::cpu());
/// assert_eq!(Conv2d::new(4, 6, 3, &init).forward(&x).dims::<4>()?, [2, 6, 7, 7]);
/// let strided = Conv2d::builder(4, 6, [3, 5]).stride(2).padding([1, 2]).groups(2).bias(false).build(&init);
/// assert_eq!(strided.forward(&x).dims::<4>()?, [2, 6, 5, 5]);
/// # Ok::<(), sunstone::Error>(())
/// ```
#[derive(Debug)]
pub struct Conv2d {
    weight: Parameter,
    bias: Option<Parameter>,
    spec: ConvSpec,
}

impl Conv2d {
    /// Stride 1, no padding, with a bias; initialised as PyTorch does.
    pub fn new(inputs: usize, outputs: usize, kernel: impl Into<Pair>, init: &Init) -> Conv2d {
        Conv2d::builder(inputs, outputs, kernel).build(init)
    }

    /// The same with options.
    pub fn builder(inputs: usize, outputs: usize, kernel: impl Into<Pair>) -> Conv2dBuilder {
        Conv2dBuilder { inputs, outputs, kernel: kernel.into().0, spec: ConvSpec::default(), bias: true }
    }

    /// `[outputs, inputs/groups, kh, kw]`.
    pub fn weight(&self) -> &Parameter {
        &self.weight
    }

    /// `[outputs]`, if there is one.
    pub fn bias(&self) -> Option<&Parameter> {
        self.bias.as_ref()
    }
}

impl Module for Conv2d {
    fn forward(&self, x: &Tensor) -> Tensor {
        let y = x.conv2d(&self.weight.get(), self.spec);
        match &self.bias {
            Some(bias) => y + bias.get().reshape([bias.get().shape().numel(), 1, 1]),
            None => y,
        }
    }

    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.parameter("weight", &self.weight);
        if let Some(bias) = &self.bias {
            visitor.parameter("bias", bias);
        }
    }
}

/// The options of a [`Conv2d`].
#[derive(Debug, Clone)]
#[must_use]
pub struct Conv2dBuilder {
    inputs: usize,
    outputs: usize,
    kernel: [usize; 2],
    spec: ConvSpec,
    bias: bool,
}

impl Conv2dBuilder {
    /// The step between windows; 1 unless given.
    pub fn stride(mut self, stride: impl Into<Pair>) -> Conv2dBuilder {
        self.spec.stride = stride.into().0;
        self
    }

    /// Zeros beyond each edge; none unless given.
    pub fn padding(mut self, padding: impl Into<Pair>) -> Conv2dBuilder {
        self.spec.padding = padding.into().0;
        self
    }

    /// The distance between a kernel's elements; 1 unless given.
    pub fn dilation(mut self, dilation: impl Into<Pair>) -> Conv2dBuilder {
        self.spec.dilation = dilation.into().0;
        self
    }

    /// Groups of channels that do not see each other; both channel counts must be multiples of it. 1 unless given.
    pub fn groups(mut self, groups: usize) -> Conv2dBuilder {
        self.spec.groups = groups;
        self
    }

    /// Whether a bias is added; it is unless `false` is given.
    pub fn bias(mut self, bias: bool) -> Conv2dBuilder {
        self.bias = bias;
        self
    }

    /// The layer. With channels that `groups` does not divide, its weight carries the error.
    #[track_caller]
    pub fn build(self, init: &Init) -> Conv2d {
        let Conv2dBuilder { inputs, outputs, kernel: [kh, kw], spec, bias } = self;
        let divides = |n: usize| n.checked_rem(spec.groups) == Some(0);
        if !divides(inputs) || !divides(outputs) {
            let detail = format!("{inputs} and {outputs} channels cannot be divided into {} group(s)", spec.groups);
            return Conv2d { weight: Parameter::new(refuse("Conv2d", detail)), bias: None, spec };
        }
        let shape = [outputs, inputs / spec.groups, kh, kw];
        let fan_in = shape[1].saturating_mul(kh).saturating_mul(kw);
        let weight = Parameter::new(init.layer_weight(shape));
        Conv2d { weight, bias: bias.then(|| Parameter::new(init.layer_bias(outputs, fan_in))), spec }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;
    use crate::dtype::DType;

    #[test]
    fn matches_nested_loops() {
        let device = Device::cpu();
        let init = Init::new(5, &device);
        let layer =
            Conv2d::builder(4, 6, [3, 2]).stride([2, 1]).padding([1, 0]).dilation([1, 2]).groups(2).build(&init);
        let x = init.normal([2, 4, 5, 6], 0.0, 1.0);
        let [n, o, oh, ow] = layer.forward(&x).dims::<4>().unwrap();
        assert_eq!([n, o, oh, ow], [2, 6, 3, 4]);
        let y = layer.forward(&x).to_vec::<f32>().unwrap();
        let (x, w, b) = (
            x.to_vec::<f32>().unwrap(),
            layer.weight.get().to_vec::<f32>().unwrap(),
            layer.bias().unwrap().get().to_vec::<f32>().unwrap(),
        );
        for (i, &y) in y.iter().enumerate() {
            let (b0, oc, oy, ox) = (i / (o * oh * ow), i / (oh * ow) % o, i / ow % oh, i % ow);
            let mut sum = b[oc] as f64;
            for (c, ky, kx) in (0..12).map(|k| (k / 6, k / 2 % 3, k % 2)) {
                let (iy, ix) = ((oy * 2 + ky).wrapping_sub(1), ox + kx * 2);
                if iy < 5 && ix < 6 {
                    let channel = oc / 3 * 2 + c;
                    sum +=
                        x[((b0 * 4 + channel) * 5 + iy) * 6 + ix] as f64 * w[((oc * 2 + c) * 3 + ky) * 2 + kx] as f64;
                }
            }
            assert!((y as f64 - sum).abs() < 1e-5, "element {i}: {y} instead of {sum}");
        }
    }

    #[test]
    fn groups_that_do_not_divide_are_an_error_not_a_panic() {
        let init = Init::new(0, &Device::cpu());
        let x = Tensor::ones([1, 4, 3, 3], DType::F32, &Device::cpu());
        for groups in [0, 3] {
            let layer = Conv2d::builder(4, 6, 3).groups(groups).build(&init);
            let message = layer.forward(&x).realize().unwrap_err().to_string();
            assert!(message.contains("group(s)"), "{message}");
        }
    }
}
