//! Files: tensors by name (safetensors), and checkpoints from which training resumes.

pub mod atomic;
pub mod checkpoint;
pub mod safetensors;

pub use checkpoint::Checkpoint;
pub use safetensors::{load, save};
