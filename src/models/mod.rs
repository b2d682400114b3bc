//! Whole networks.

pub mod digits;

pub use digits::Digits;
