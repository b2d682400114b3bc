#![doc = include_str!("../README.md")]

pub mod autograd;
pub mod backend;
pub mod bench;
pub mod data;
pub mod determinism;
pub mod device;
pub mod dtype;
pub mod error;
pub mod graph;
pub mod io;
#[cfg(any(feature = "cuda", feature = "wgpu"))]
pub mod kernel;
pub mod metrics;
pub mod models;
pub mod nn;
pub mod optim;
mod parallel;
pub mod plan;
pub mod random;
pub mod registry;
mod schedule;
pub mod shape;
pub mod tensor;
#[cfg(all(feature = "web", target_arch = "wasm32"))]
pub mod web;

pub use error::{Error, Result};

/// What most programs need: `use sunstone::prelude::*`.
pub mod prelude {
    pub use crate::autograd::{Gradients, no_grad};
    pub use crate::device::Device;
    pub use crate::dtype::{DType, Element};
    pub use crate::error::{Error, Result};
    pub use crate::graph::ConvSpec;
    pub use crate::nn::Module;
    pub use crate::optim::Optimizer;
    pub use crate::random::Generator;
    pub use crate::shape::Shape;
    pub use crate::tensor::{Tensor, autocast, step};
}
