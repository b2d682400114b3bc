//! The affine map.

use super::{Init, Module, Parameter, Visitor};
use crate::tensor::Tensor;

/// `y = x·Wᵀ + b` with `weight` of shape `[outputs, inputs]` and `bias` of shape `[outputs]`.
///
/// Takes `[.., inputs]`, gives `[.., outputs]`.
///
/// ```
/// use sunstone::prelude::*;
/// use sunstone::nn::{Init, Linear};
/// let layer = Linear::new(3, 2, &Init::new(0, &Device::cpu()));
/// let y = layer.forward(&Tensor::ones([5, 7, 3], DType::F32, &Device::cpu()));
/// assert_eq!(y.dims::<3>()?, [5, 7, 2]);
/// # Ok::<(), sunstone::Error>(())
/// ```
#[derive(Debug)]
pub struct Linear {
    weight: Parameter,
    bias: Option<Parameter>,
}

impl Linear {
    /// A layer initialised as PyTorch does: every number uniform in ±1/√inputs.
    pub fn new(inputs: usize, outputs: usize, init: &Init) -> Linear {
        let weight = Parameter::new(init.layer_weight([outputs, inputs]));
        Linear { weight, bias: Some(Parameter::new(init.layer_bias(outputs, inputs))) }
    }

    /// The same without a bias.
    pub fn without_bias(inputs: usize, outputs: usize, init: &Init) -> Linear {
        Linear { weight: Parameter::new(init.layer_weight([outputs, inputs])), bias: None }
    }

    /// `[outputs, inputs]`.
    pub fn weight(&self) -> &Parameter {
        &self.weight
    }

    /// `[outputs]`, if there is one.
    pub fn bias(&self) -> Option<&Parameter> {
        self.bias.as_ref()
    }
}

impl Module for Linear {
    fn forward(&self, x: &Tensor) -> Tensor {
        let y = x.matmul(&self.weight.get().t());
        match &self.bias {
            // A bias of `f32` takes the type that the product has within `autocast`.
            Some(bias) => &y + bias.get().cast(y.dtype()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;

    #[test]
    fn matches_the_formula() {
        let device = Device::cpu();
        let layer = Linear::new(2, 3, &Init::new(0, &device));
        layer.weight.set(Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0], [3, 2], &device));
        layer.bias().unwrap().set(Tensor::from_slice(&[0.5f32, 0.0, -0.5], [3], &device));
        let x = Tensor::from_slice(&[1.0f32, -1.0, 2.0, 0.5], [2, 2], &device);
        let expected = [-0.5, -1.0, -1.5, 3.5, 8.0, 12.5];
        assert_eq!(layer.forward(&x).to_vec::<f32>().unwrap(), expected);
        assert_eq!(layer.forward(&x.reshape([2, 1, 2])).dims::<3>().unwrap(), [2, 1, 3]);
        assert_eq!(layer.forward(&x.narrow(0, 0, 1).reshape([2])).to_vec::<f32>().unwrap(), expected[..3]);
    }

    #[test]
    fn a_wrong_width_says_so() {
        let device = Device::cpu();
        let layer = Linear::new(2, 3, &Init::new(0, &device));
        let x = Tensor::ones([4, 5], crate::dtype::DType::F32, &device);
        let message = layer.forward(&x).realize().unwrap_err().to_string();
        assert!(message.contains("[4, 5]") && message.contains("[2, 3]"), "{message}");
    }
}
