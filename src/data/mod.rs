//! Where do the training examples come from, and in which order?
//!
//! [`idx`] reads MNIST's files and [`strokes`] draws digits of its own; [`dataset`] makes them (or anything else) into
//! a [`Dataset`], and [`loader`] cuts a dataset into the batches of an epoch. [`text`] reads a text and cuts windows from it.

pub mod dataset;
pub mod idx;
pub mod images;
pub mod loader;
mod order;
pub mod strokes;
mod styles;
pub mod text;

pub use dataset::{Dataset, ImageBatch, ImageDataset, ImageItem};
pub use images::{DigitsSplit, Images};
pub use loader::{Loader, Prefetch};
pub use order::permutation;
pub use text::{Text, TextBatch, Vocabulary};
