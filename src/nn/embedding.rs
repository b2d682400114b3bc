//! A table of vectors.

use super::{Init, Module, Parameter, Visitor};
use crate::tensor::Tensor;

/// Row `i` of `weight` `[count, width]` for each index `i`: `i32 [..]` to `[.., width]`.
///
/// ```
/// use sunstone::prelude::*;
/// use sunstone::nn::{Embedding, Init};
/// let device = Device::cpu();
/// let table = Embedding::new(10, 4, &Init::new(0, &device));
/// assert_eq!(table.forward(&Tensor::from_slice(&[3i32, 3, 9], [3], &device)).dims::<2>()?, [3, 4]);
/// assert!(table.forward(&Tensor::from_slice(&[10i32], [1], &device)).to_vec::<f32>().is_err());
/// # Ok::<(), sunstone::Error>(())
/// ```
#[derive(Debug)]
pub struct Embedding {
    weight: Parameter,
}

impl Embedding {
    /// A table of `count` rows, standard normal as PyTorch's.
    pub fn new(count: usize, width: usize, init: &Init) -> Embedding {
        Embedding { weight: Parameter::new(init.normal([count, width], 0.0, 1.0)) }
    }

    /// `[count, width]`.
    pub fn weight(&self) -> &Parameter {
        &self.weight
    }
}

impl Module for Embedding {
    fn forward(&self, index: &Tensor) -> Tensor {
        self.weight.get().embedding(index)
    }

    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.parameter("weight", &self.weight);
    }
}
