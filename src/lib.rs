//! A portable tensor runtime.
#![warn(missing_docs)]

pub mod backend;
pub mod device;
pub mod dtype;
pub mod error;
pub mod graph;
#[cfg(feature = "wgpu")]
pub mod kernel;
pub mod plan;
pub mod random;
pub mod shape;

pub use error::{Error, Result};
