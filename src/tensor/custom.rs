//! A user's own kernel applied to tensors.

use super::Tensor;
use crate::error::Caller;
use crate::graph::custom::CustomOp;
use crate::graph::{CustomHandle, Op};
use std::sync::Arc;

/// The results of `op` on `inputs`, which are made contiguous if they are not. Without a gradient: for one, call it in the
/// `forward` of an [`autograd::Function`](crate::autograd::Function).
///
/// At least one input; all on one device.
#[track_caller]
pub fn custom(op: &Arc<dyn CustomOp>, inputs: &[&Tensor]) -> Vec<Tensor> {
    let at = Caller::here();
    if inputs.is_empty() {
        return vec![Tensor::bad(op.name(), at, "needs an input"); 2];
    }
    let inputs: Vec<Tensor> = inputs.iter().map(|t| packed(t)).collect();
    Tensor::apply_all(Op::Custom(CustomHandle(op.clone())), &inputs.iter().collect::<Vec<_>>(), at)
}

/// Data that is there already but with gaps is copied; for everything else the scheduler sees to it.
fn packed(t: &Tensor) -> Tensor {
    match t.value().map(|v| v.realized()) {
        Ok(Some(_)) => t.contiguous(),
        _ => t.clone(),
    }
}
