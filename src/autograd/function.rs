//! Functions with a gradient of their own: the seam through which a user's op, or a better rule, enters.

use super::no_grad;
use crate::error::{Caller, Error, Result};
use crate::graph::{Op, Rule, Value};
use crate::tensor::{Tensor, grad_enabled};
use smallvec::SmallVec;
use std::sync::Arc;

/// A differentiable function whose gradient is given, not derived.
///
/// ```
/// use sunstone::prelude::*;
/// use sunstone::autograd::{Function, apply};
///
/// /// Rounds, but lets the gradient pass (the straight-through estimator; Bengio et al., 2013).
/// struct StraightThrough;
/// impl Function for StraightThrough {
///     fn name(&self) -> &'static str {
///         "straight_through"
///     }
///     fn forward(&self, inputs: &[Tensor]) -> sunstone::Result<Vec<Tensor>> {
///         Ok(vec![inputs[0].round()])
///     }
///     fn backward(&self, _: &[Tensor], _: &[Tensor], grads: &[Option<Tensor>]) -> Vec<Option<Tensor>> {
///         vec![grads[0].clone()]
///     }
/// }
///
/// let x = Tensor::from_slice(&[0.4f32, 0.6], [2], &Device::cpu()).requires_grad();
/// let y = apply(StraightThrough, &[&x]).remove(0);
/// assert_eq!(y.to_vec::<f32>()?, [0.0, 1.0]);
/// assert_eq!(y.sum(..).backward()?.get(&x).unwrap().to_vec::<f32>()?, [1.0, 1.0]);
/// # Ok::<(), sunstone::Error>(())
/// ```
pub trait Function: Send + Sync + 'static {
    /// The name in errors.
    fn name(&self) -> &'static str;

    /// The outputs. Runs without recording history.
    fn forward(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, Error>;

    /// One gradient for each input, `None` where there is none, from those of the outputs. Called once for each output
    /// that is used, with the others' gradients `None`; the results are summed. What is built from differentiable ops
    /// on `inputs` can be differentiated again.
    fn backward(&self, inputs: &[Tensor], outputs: &[Tensor], grads: &[Option<Tensor>]) -> Vec<Option<Tensor>>;
}

/// The outputs of `function`, with its gradient attached. An error in `forward` gives two tensors that carry it.
#[track_caller]
pub fn apply(function: impl Function, inputs: &[&Tensor]) -> Vec<Tensor> {
    apply_at(function, inputs, Caller::here())
}

pub(crate) fn apply_at(function: impl Function, inputs: &[&Tensor], at: Caller) -> Vec<Tensor> {
    let owned: Vec<Tensor> = inputs.iter().map(|&t| t.clone()).collect();
    let values: SmallVec<[Value; 2]> = match owned.iter().map(|t| t.value().cloned()).collect() {
        Ok(values) => values,
        Err(error) => return vec![Tensor::failed(error); 2],
    };
    let outputs = match no_grad(|| function.forward(&owned)) {
        Ok(outputs) => outputs,
        Err(error) => return vec![Tensor::failed(error); 2],
    };
    if !grad_enabled() || !owned.iter().any(Tensor::tracks_grad) {
        return outputs;
    }
    let made: SmallVec<[Value; 2]> = match outputs.iter().map(|t| t.value().cloned()).collect() {
        Ok(values) => values,
        Err(error) => return vec![Tensor::failed(error); 2],
    };
    let function: Arc<dyn Function> = Arc::new(function);
    let count = owned.len();
    // Each output becomes a node of its own, an alias of what was computed, that carries the rule.
    let alias = |(index, value): (usize, &Value)| {
        let record = Record { function: function.clone(), count, index, outputs: made.len() };
        let inputs = values.iter().chain(&made).cloned().collect();
        let rule = Rule { inputs, function: Arc::new(record) };
        let op = Op::Reshape(value.meta().shape.clone());
        Tensor::make(&value.node.device, op, SmallVec::from_iter([value.clone()]), Some(rule), at).swap_remove(0)
    };
    made.iter().enumerate().map(alias).collect()
}

/// What a node remembers of the function that made it. The rule's inputs are the function's, then its outputs.
pub(crate) struct Record {
    function: Arc<dyn Function>,
    count: usize,
    index: usize,
    outputs: usize,
}

impl Record {
    /// The gradients of the rule's inputs, from that of this one output.
    pub(crate) fn backward(&self, inputs: &[Value], grads: &[Option<Tensor>]) -> Vec<Option<Tensor>> {
        let tensors: Vec<Tensor> = inputs.iter().cloned().map(Tensor::from_value).collect();
        let (inputs, outputs) = tensors.split_at(self.count);
        let mut all = vec![None; self.outputs];
        all[self.index] = grads[0].clone();
        let mut parts = crate::error::scope(self.function.name(), || self.function.backward(inputs, outputs, &all));
        parts.resize(self.count, None);
        parts
    }
}

