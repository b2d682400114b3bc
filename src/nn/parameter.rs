//! The cells in which a module keeps what changes: parameters, buffers, and whether it is training.

use crate::tensor::Tensor;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// A trained tensor of a module. Clones are handles on the same cell, which is how an optimizer reaches the model.
///
/// ```
/// use sunstone::prelude::*;
/// let p = sunstone::nn::Parameter::new(Tensor::ones([2], DType::F32, &Device::cpu()));
/// let handle = p.clone();
/// handle.set(p.get() * 3.0);
/// assert_eq!(p.get().to_vec::<f32>()?, [3.0, 3.0]);
/// # Ok::<(), sunstone::Error>(())
/// ```
#[derive(Clone)]
pub struct Parameter(Arc<RwLock<Tensor>>);

impl Parameter {
    /// A parameter with this first value, which becomes a variable whatever it was made from.
    pub fn new(value: Tensor) -> Parameter {
        Parameter(Arc::new(RwLock::new(value.requires_grad())))
    }

    /// The current value, a variable of differentiation.
    pub fn get(&self) -> Tensor {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the value, which becomes a variable; whoever holds the old tensor keeps the old numbers.
    pub fn set(&self, value: Tensor) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = value.requires_grad();
    }

    /// True when both are handles on one cell (tied weights).
    pub fn is(&self, other: &Parameter) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.get();
        write!(f, "Parameter({} {})", value.shape(), value.dtype())
    }
}

/// A tensor that belongs to a module's state but is not trained: running statistics.
#[derive(Clone)]
pub struct Buffer(Arc<RwLock<Tensor>>);

impl Buffer {
    /// A buffer with this first value.
    pub fn new(value: Tensor) -> Buffer {
        Buffer(Arc::new(RwLock::new(untracked(value))))
    }

    /// The current value; no gradient flows into it.
    pub fn get(&self) -> Tensor {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the value.
    pub fn set(&self, value: Tensor) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = untracked(value);
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.get();
        write!(f, "Buffer({} {})", value.shape(), value.dtype())
    }
}

/// A value that has no history is taken as it is: another node on it would only lengthen the graph.
fn untracked(value: Tensor) -> Tensor {
    if value.tracks_grad() { value.detach() } else { value }
}

/// Whether a module that behaves differently in training (dropout, batch normalization) is being trained.
#[derive(Debug)]
pub struct Mode(AtomicBool);

impl Mode {
    /// True while training, which is how modules start.
    pub fn is_training(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Switches.
    pub fn set(&self, training: bool) {
        self.0.store(training, Ordering::Relaxed);
    }
}

impl Default for Mode {
    fn default() -> Mode {
        Mode(AtomicBool::new(true))
    }
}
