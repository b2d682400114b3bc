//! A portable tensor runtime.
#![warn(missing_docs)]

pub mod backend;
pub mod data;
pub mod device;
pub mod dtype;
pub mod error;
pub mod graph;
pub mod metrics;
pub mod plan;
pub mod random;
pub mod shape;

pub use error::{Error, Result};
