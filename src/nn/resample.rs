//! Layers that change how many places an image has.

use super::{Module, Visitor};
use crate::tensor::{InterpolateOptions, Tensor};

/// Resamples `[n, c, ..]`; see [`Tensor::interpolate`].
///
/// ```
/// use sunstone::prelude::*;
/// use sunstone::{nn::Upsample, tensor::InterpolateOptions};
/// let x = Tensor::ones([1, 2, 3, 3], DType::F32, &Device::cpu());
/// let twice = Upsample::new(InterpolateOptions::scale_factor([2.0]));
/// assert_eq!(twice.forward(&x).dims::<4>()?, [1, 2, 6, 6]);
/// # Ok::<(), sunstone::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Upsample(InterpolateOptions);

impl Upsample {
    /// A layer with these options.
    pub fn new(options: InterpolateOptions) -> Upsample {
        Upsample(options)
    }
}

impl Module for Upsample {
    fn forward(&self, x: &Tensor) -> Tensor {
        x.interpolate(&self.0)
    }
    fn visit(&self, _: &mut Visitor<'_>) {}
}

/// `[.., c·r², h, w]` to `[.., c, h·r, w·r]` (Shi et al., 2016).
#[derive(Debug, Clone)]
pub struct PixelShuffle(pub usize);

impl Module for PixelShuffle {
    fn forward(&self, x: &Tensor) -> Tensor {
        x.pixel_shuffle(self.0)
    }
    fn visit(&self, _: &mut Visitor<'_>) {}
}

/// `[.., c, h·r, w·r]` to `[.., c·r², h, w]`.
#[derive(Debug, Clone)]
pub struct PixelUnshuffle(pub usize);

impl Module for PixelUnshuffle {
    fn forward(&self, x: &Tensor) -> Tensor {
        x.pixel_unshuffle(self.0)
    }
    fn visit(&self, _: &mut Visitor<'_>) {}
}
