//! Whole networks.

pub mod decode;
pub mod digits;
pub mod gpt;
pub mod text;
pub mod training;

pub use digits::Digits;
pub use gpt::Gpt;
