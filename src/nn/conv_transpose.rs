//! Transposed convolution over one, two and three axes.

use super::{Init, Module, Parameter, Visitor, refuse};
use crate::error::Caller;
use crate::tensor::{ConvTransposeOptions, Sizes, Tensor};

/// The transpose of a convolution: `[n, inputs, l]` with `weight` `[inputs, outputs/groups, k]`, plus `bias` `[outputs]`.
pub type ConvTranspose1d = ConvTranspose<1>;

/// The transpose of a convolution: `[n, inputs, h, w]` with `weight` `[inputs, outputs/groups, kh, kw]`, plus `bias`
/// `[outputs]`.
///
/// ```
/// use sunstone::prelude::*;
/// use sunstone::nn::{ConvTranspose2d, Init};
/// let init = Init::new(0, &Device::cpu());
/// let x = Tensor::ones([2, 4, 5, 5], DType::F32, &Device::cpu());
/// let twice = ConvTranspose2d::builder(4, 6, 3).stride(2).padding(1).output_padding(1).build(&init);
/// assert_eq!(twice.forward(&x).dims::<4>()?, [2, 6, 10, 10]);
/// # Ok::<(), sunstone::Error>(())
/// ```
pub type ConvTranspose2d = ConvTranspose<2>;

/// The transpose of a convolution: `[n, inputs, d, h, w]` with `weight` `[inputs, outputs/groups, kd, kh, kw]`, plus
/// `bias` `[outputs]`.
pub type ConvTranspose3d = ConvTranspose<3>;

/// The options of a [`ConvTranspose1d`].
pub type ConvTranspose1dBuilder = ConvTransposeBuilder<1>;
/// The options of a [`ConvTranspose2d`].
pub type ConvTranspose2dBuilder = ConvTransposeBuilder<2>;
/// The options of a [`ConvTranspose3d`].
pub type ConvTranspose3dBuilder = ConvTransposeBuilder<3>;

/// A transposed convolution over `D` axes, 1 to 3; known by the names [`ConvTranspose1d`], [`ConvTranspose2d`] and
/// [`ConvTranspose3d`].
#[derive(Debug)]
pub struct ConvTranspose<const D: usize> {
    weight: Parameter,
    bias: Option<Parameter>,
    options: ConvTransposeOptions<D>,
}

impl<const D: usize> ConvTranspose<D> {
    /// Stride 1, no padding, with a bias; initialised as PyTorch does.
    #[track_caller]
    pub fn new(inputs: usize, outputs: usize, kernel: impl Into<Sizes<D>>, init: &Init) -> ConvTranspose<D> {
        ConvTranspose::builder(inputs, outputs, kernel).build(init)
    }

    /// The same with options.
    pub fn builder(inputs: usize, outputs: usize, kernel: impl Into<Sizes<D>>) -> ConvTransposeBuilder<D> {
        let options = ConvTransposeOptions::new();
        ConvTransposeBuilder { inputs, outputs, kernel: kernel.into().0, options, groups: 1, bias: true }
    }

    /// `[inputs, outputs/groups, kernel..]`.
    pub fn weight(&self) -> &Parameter {
        &self.weight
    }

    /// `[outputs]`, if there is one.
    pub fn bias(&self) -> Option<&Parameter> {
        self.bias.as_ref()
    }
}

impl<const D: usize> Module for ConvTranspose<D> {
    fn forward(&self, x: &Tensor) -> Tensor {
        let options = match &self.bias {
            Some(bias) => self.options.clone().bias(&bias.get()),
            None => self.options.clone(),
        };
        let name = ["conv_transpose", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"][D % 4];
        x.conv_transpose(name, &self.weight.get(), options, Caller::here())
    }

    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.parameter("weight", &self.weight);
        if let Some(bias) = &self.bias {
            visitor.parameter("bias", bias);
        }
    }
}

/// The options of a transposed convolution over `D` axes.
#[derive(Debug, Clone)]
#[must_use]
pub struct ConvTransposeBuilder<const D: usize> {
    inputs: usize,
    outputs: usize,
    kernel: [usize; D],
    options: ConvTransposeOptions<D>,
    groups: usize,
    bias: bool,
}

impl<const D: usize> ConvTransposeBuilder<D> {
    /// How far apart the inputs' contributions lie; 1 unless given.
    pub fn stride(mut self, stride: impl Into<Sizes<D>>) -> ConvTransposeBuilder<D> {
        self.options = self.options.stride(stride);
        self
    }

    /// How much is cut from both ends of each axis; nothing unless given.
    pub fn padding(mut self, padding: impl Into<Sizes<D>>) -> ConvTransposeBuilder<D> {
        self.options = self.options.padding(padding);
        self
    }

    /// How much longer the output is at its end; nothing unless given.
    pub fn output_padding(mut self, padding: impl Into<Sizes<D>>) -> ConvTransposeBuilder<D> {
        self.options = self.options.output_padding(padding);
        self
    }

    /// The distance between a kernel's elements; 1 unless given.
    pub fn dilation(mut self, dilation: impl Into<Sizes<D>>) -> ConvTransposeBuilder<D> {
        self.options = self.options.dilation(dilation);
        self
    }

    /// Groups of channels that do not see each other; both channel counts must be multiples of it. 1 unless given.
    pub fn groups(mut self, groups: usize) -> ConvTransposeBuilder<D> {
        self.groups = groups;
        self
    }

    /// Whether a bias is added; it is unless `false` is given.
    pub fn bias(mut self, bias: bool) -> ConvTransposeBuilder<D> {
        self.bias = bias;
        self
    }

    /// The layer. With channels that `groups` does not divide, its weight carries the error.
    #[track_caller]
    pub fn build(self, init: &Init) -> ConvTranspose<D> {
        let ConvTransposeBuilder { inputs, outputs, kernel, options, groups, bias } = self;
        let options = options.groups(groups);
        let divides = |n: usize| n.checked_rem(groups) == Some(0);
        if !divides(inputs) || !divides(outputs) {
            let detail = format!("{inputs} and {outputs} channels cannot be divided into {groups} group(s)");
            return ConvTranspose { weight: Parameter::new(refuse("ConvTranspose", detail)), bias: None, options };
        }
        let shape: Vec<usize> = [inputs, outputs / groups].into_iter().chain(kernel).collect();
        let fan_in = shape[1..].iter().fold(1, |n: usize, &d| n.saturating_mul(d));
        let weight = Parameter::new(init.layer_weight(shape));
        ConvTranspose { weight, bias: bias.then(|| Parameter::new(init.layer_bias(outputs, fan_in))), options }
    }
}
