//! Two networks that recognise handwritten digits of 28×28 pixels.

use crate::device::Device;
use crate::error::{Error, Result};
use crate::nn::{Conv2d, Flatten, Init, Linear, MaxPool2d, Module, Relu, Sequential, StateDict, Visitor};
use crate::tensor::Tensor;

/// Height and width of an image.
pub const SIDE: usize = 28;

/// Takes `[n, 784]` or `[n, 1, 28, 28]`, gives the logits `[n, 10]`.
///
/// ```
/// use sunstone::prelude::*;
/// use sunstone::models::Digits;
/// use sunstone::nn::Init;
/// let device = Device::cpu();
/// for model in [Digits::mlp(&Init::new(0, &device)), Digits::cnn(&Init::new(0, &device))] {
///     assert_eq!(model.forward(&Tensor::zeros([2, 784], DType::F32, &device)).dims::<2>()?, [2, 10]);
///     assert_eq!(model.forward(&Tensor::zeros([2, 1, 28, 28], DType::F32, &device)).dims::<2>()?, [2, 10]);
/// }
/// # Ok::<(), sunstone::Error>(())
/// ```
#[derive(Debug)]
pub struct Digits {
    layers: Sequential,
    flat: bool,
}

impl Digits {
    /// Two linear layers, 784-128-10, with a ReLU between: 101,770 parameters.
    pub fn mlp(init: &Init) -> Digits {
        let layers = Sequential::new()
            .named("fc1", Linear::new(SIDE * SIDE, 128, init))
            .named("relu", Relu)
            .named("fc2", Linear::new(128, 10, init));
        Digits { layers, flat: true }
    }

    /// Two 3×3 convolutions of 16 and 32 channels, each halved by a maximum, then two linear layers (after LeCun et
    /// al., 1998): 206,922 parameters.
    pub fn cnn(init: &Init) -> Digits {
        let layers = Sequential::new()
            .named("conv1", Conv2d::builder(1, 16, 3).padding(1).build(init))
            .named("relu1", Relu)
            .named("pool1", MaxPool2d::new(2))
            .named("conv2", Conv2d::builder(16, 32, 3).padding(1).build(init))
            .named("relu2", Relu)
            .named("pool2", MaxPool2d::new(2))
            .named("flatten", Flatten::default())
            .named("fc1", Linear::new(32 * 7 * 7, 128, init))
            .named("relu3", Relu)
            .named("fc2", Linear::new(128, 10, init));
        Digits { layers, flat: false }
    }

    /// The network that these tensors are the parameters of, which their names tell. Tensors of an optimizer, as a
    /// checkpoint has them, are passed over.
    ///
    /// # Errors
    /// [`Error::Invalid`] lists what does not fit.
    pub fn from_state(state: StateDict, device: &Device) -> Result<Digits> {
        let own: StateDict = state.into_iter().filter(|(name, _)| !name.starts_with("optimizer.")).collect();
        let init = Init::new(0, device);
        let model = match own.iter().any(|(name, _)| name == "conv1.weight") {
            true => Digits::cnn(&init),
            false => Digits::mlp(&init),
        };
        model.load_state_dict(&own)?;
        Ok(model)
    }

    /// True for [`Digits::mlp`].
    pub fn is_mlp(&self) -> bool {
        self.flat
    }

    /// The filters of the first layer, `[filters, height, width]`.
    pub fn filters(&self) -> Tensor {
        let first = self.layers.state_dict().into_iter().find(|(name, _)| name.ends_with(".weight"));
        let weight = first.map_or_else(|| Tensor::failed(Error::Invalid("no filters".into())), |(_, weight)| weight);
        match self.flat {
            true => weight.reshape([weight.shape().first().copied().unwrap_or(0), SIDE, SIDE]),
            false => weight.squeeze(1),
        }
    }
}

impl Module for Digits {
    fn forward(&self, x: &Tensor) -> Tensor {
        let Some(&n) = x.shape().first() else {
            return self.layers.forward(x);
        };
        let x = if self.flat { x.reshape([n, SIDE * SIDE]) } else { x.reshape([n, 1, SIDE, SIDE]) };
        self.layers.forward(&x)
    }

    fn visit(&self, visitor: &mut Visitor<'_>) {
        self.layers.visit(visitor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;

    fn shapes(model: &Digits) -> Vec<(String, Vec<usize>)> {
        model.state_dict().into_iter().map(|(name, t)| (name, t.shape().to_vec())).collect()
    }

    #[test]
    fn names_and_shapes_are_pytorchs() {
        let init = Init::new(0, &Device::cpu());
        let expect =
            |list: &[(&str, &[usize])]| list.iter().map(|(n, s)| (n.to_string(), s.to_vec())).collect::<Vec<_>>();
        let mlp = Digits::mlp(&init);
        assert_eq!(
            shapes(&mlp),
            expect(&[
                ("fc1.weight", &[128, 784]),
                ("fc1.bias", &[128]),
                ("fc2.weight", &[10, 128]),
                ("fc2.bias", &[10])
            ])
        );
        assert_eq!(mlp.num_parameters(), 101_770);
        let cnn = Digits::cnn(&init);
        assert_eq!(
            shapes(&cnn),
            expect(&[
                ("conv1.weight", &[16, 1, 3, 3]),
                ("conv1.bias", &[16]),
                ("conv2.weight", &[32, 16, 3, 3]),
                ("conv2.bias", &[32]),
                ("fc1.weight", &[128, 1568]),
                ("fc1.bias", &[128]),
                ("fc2.weight", &[10, 128]),
                ("fc2.bias", &[10]),
            ])
        );
        assert_eq!(cnn.num_parameters(), 206_922);
    }

    #[test]
    fn the_seed_decides() {
        let device = Device::cpu();
        let x = Tensor::ones([1, SIDE * SIDE], DType::F32, &device);
        let logits = |seed| Digits::cnn(&Init::new(seed, &device)).forward(&x).to_vec::<f32>().unwrap();
        assert_eq!(logits(1), logits(1));
        assert_ne!(logits(1), logits(2));
    }

    #[test]
    fn an_image_of_another_size_is_an_error() {
        let device = Device::cpu();
        let model = Digits::cnn(&Init::new(0, &device));
        assert!(model.forward(&Tensor::zeros([2, 32, 32], DType::F32, &device)).realize().is_err());
        assert!(model.forward(&Tensor::zeros([], DType::F32, &device)).realize().is_err());
    }
}
