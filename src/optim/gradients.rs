//! What can be done to gradients before a step: clipping, and summing over several batches.

use crate::autograd::{Gradients, no_grad};
use crate::error::{Error, Result};
use crate::tensor::Tensor;

