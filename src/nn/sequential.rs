//! Modules one after the other.

use super::{Module, Visitor};
use crate::error::scope;
use crate::tensor::Tensor;

/// Feeds each module's result to the next. Modules are called `"0"`, `"1"`, …, or as [`Sequential::named`] says.
///
/// ```
/// use sunstone::prelude::*;
/// use sunstone::nn::{Init, Linear, Relu, Sequential};
/// let init = Init::new(0, &Device::cpu());
/// let model = Sequential::new().named("fc1", Linear::new(2, 3, &init)).add(Relu).named("fc2", Linear::new(4, 1, &init));
/// let error = model.forward(&Tensor::ones([1, 2], DType::F32, &Device::cpu())).realize().unwrap_err();
/// assert!(error.to_string().contains("in module fc2"));
/// ```
#[derive(Debug, Default)]
pub struct Sequential(Vec<(String, Box<dyn Module>)>);

impl Sequential {
    /// None yet; forward gives back what it gets.
    pub fn new() -> Sequential {
        Sequential::default()
    }

    /// Appends a module under its position's name.
    #[allow(clippy::should_implement_trait)]
    pub fn add(self, module: impl Module + 'static) -> Sequential {
        let name = self.0.len().to_string();
        self.named(name, module)
    }

    /// Appends a module under this name.
    pub fn named(mut self, name: impl Into<String>, module: impl Module + 'static) -> Sequential {
        self.0.push((name.into(), Box::new(module)));
        self
    }

    /// How many modules.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Module for Sequential {
    fn forward(&self, x: &Tensor) -> Tensor {
        self.0.iter().fold(x.clone(), |x, (name, module)| scope(name, || module.forward(&x)))
    }

    fn visit(&self, visitor: &mut Visitor<'_>) {
        for (name, module) in &self.0 {
            visitor.module(name, module.as_ref());
        }
    }
}

/// Joins the axes from `start` to `end` into one; `Flatten::default()` keeps the batch axis and joins the rest.
#[derive(Debug, Clone, Copy)]
pub struct Flatten {
    /// The first axis to join; negative counts from the end.
    pub start: isize,
    /// The last axis to join; negative counts from the end.
    pub end: isize,
}

impl Default for Flatten {
    fn default() -> Flatten {
        Flatten { start: 1, end: -1 }
    }
}

impl Module for Flatten {
    fn forward(&self, x: &Tensor) -> Tensor {
        x.flatten(self.start, self.end)
    }

    fn visit(&self, _: &mut Visitor<'_>) {}
}
