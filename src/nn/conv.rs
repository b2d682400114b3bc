//! Convolution over one, two and three axes.

use super::{Init, Module, Parameter, Visitor, refuse};
use crate::error::Caller;
use crate::tensor::{ConvOptions, Padding, Sizes, Tensor};

/// Cross-correlation of `[n, inputs, l]` with `weight` `[outputs, inputs/groups, k]`, plus `bias` `[outputs]`.
pub type Conv1d = Conv<1>;

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
pub type Conv2d = Conv<2>;

/// Cross-correlation of `[n, inputs, d, h, w]` with `weight` `[outputs, inputs/groups, kd, kh, kw]`, plus `bias` `[outputs]`.
pub type Conv3d = Conv<3>;

/// The options of a [`Conv1d`].
pub type Conv1dBuilder = ConvBuilder<1>;
/// The options of a [`Conv2d`].
pub type Conv2dBuilder = ConvBuilder<2>;
/// The options of a [`Conv3d`].
pub type Conv3dBuilder = ConvBuilder<3>;

/// A convolution over `D` axes, 1 to 3; known by the names [`Conv1d`], [`Conv2d`] and [`Conv3d`].
#[derive(Debug)]
pub struct Conv<const D: usize> {
    weight: Parameter,
    bias: Option<Parameter>,
    options: ConvOptions<D>,
}

impl<const D: usize> Conv<D> {
    /// Stride 1, no padding, with a bias; initialised as PyTorch does.
    #[track_caller]
    pub fn new(inputs: usize, outputs: usize, kernel: impl Into<Sizes<D>>, init: &Init) -> Conv<D> {
        Conv::builder(inputs, outputs, kernel).build(init)
    }

    /// The same with options.
    pub fn builder(inputs: usize, outputs: usize, kernel: impl Into<Sizes<D>>) -> ConvBuilder<D> {
        ConvBuilder { inputs, outputs, kernel: kernel.into().0, options: ConvOptions::new(), groups: 1, bias: true }
    }

    /// `[outputs, inputs/groups, kernel..]`.
    pub fn weight(&self) -> &Parameter {
        &self.weight
    }

    /// `[outputs]`, if there is one.
    pub fn bias(&self) -> Option<&Parameter> {
        self.bias.as_ref()
    }
}

impl<const D: usize> Module for Conv<D> {
    fn forward(&self, x: &Tensor) -> Tensor {
        let options = match &self.bias {
            Some(bias) => self.options.clone().bias(&bias.get()),
            None => self.options.clone(),
        };
        x.conv(["conv", "conv1d", "conv2d", "conv3d"][D % 4], &self.weight.get(), options, Caller::here())
    }

    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.parameter("weight", &self.weight);
        if let Some(bias) = &self.bias {
            visitor.parameter("bias", bias);
        }
    }
}

/// The options of a convolution over `D` axes.
#[derive(Debug, Clone)]
#[must_use]
pub struct ConvBuilder<const D: usize> {
    inputs: usize,
    outputs: usize,
    kernel: [usize; D],
    options: ConvOptions<D>,
    groups: usize,
    bias: bool,
}

impl<const D: usize> ConvBuilder<D> {
    /// The step between windows; 1 unless given.
    pub fn stride(mut self, stride: impl Into<Sizes<D>>) -> ConvBuilder<D> {
        self.options = self.options.stride(stride);
        self
    }

    /// Zeros beyond each edge, or [`Padding::Same`]; none unless given.
    pub fn padding(mut self, padding: impl Into<Padding<D>>) -> ConvBuilder<D> {
        self.options = self.options.padding(padding);
        self
    }

    /// The distance between a kernel's elements; 1 unless given.
    pub fn dilation(mut self, dilation: impl Into<Sizes<D>>) -> ConvBuilder<D> {
        self.options = self.options.dilation(dilation);
        self
    }

    /// Groups of channels that do not see each other; both channel counts must be multiples of it. 1 unless given.
    pub fn groups(mut self, groups: usize) -> ConvBuilder<D> {
        self.groups = groups;
        self
    }

    /// Whether a bias is added; it is unless `false` is given.
    pub fn bias(mut self, bias: bool) -> ConvBuilder<D> {
        self.bias = bias;
        self
    }

    /// The layer. With channels that `groups` does not divide, its weight carries the error.
    #[track_caller]
    pub fn build(self, init: &Init) -> Conv<D> {
        let ConvBuilder { inputs, outputs, kernel, options, groups, bias } = self;
        let options = options.groups(groups);
        let divides = |n: usize| n.checked_rem(groups) == Some(0);
        if !divides(inputs) || !divides(outputs) {
            let detail = format!("{inputs} and {outputs} channels cannot be divided into {groups} group(s)");
            return Conv { weight: Parameter::new(refuse("Conv", detail)), bias: None, options };
        }
        let shape: Vec<usize> = [outputs, inputs / groups].into_iter().chain(kernel).collect();
        let fan_in = shape[1..].iter().fold(1, |n: usize, &d| n.saturating_mul(d));
        let weight = Parameter::new(init.layer_weight(shape));
        Conv { weight, bias: bias.then(|| Parameter::new(init.layer_bias(outputs, fan_in))), options }
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
