//! Whole networks.

pub mod digits;
pub mod training;

pub use digits::Digits;
