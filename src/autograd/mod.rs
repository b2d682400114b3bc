//! Differentiation: it walks the lazy graph backwards and builds more of it. There is no second tape.

mod check;
pub mod function;
mod gradients;
mod order;
mod rules;

pub use check::{GradCheck, gradcheck};
pub use function::{Function, apply};
pub use gradients::Gradients;
pub(crate) use rules::fold;

use crate::error::{Caller, Error, Result};
use crate::graph::{GradMode, Node, Value};
use crate::tensor::{Tensor, set_grad_enabled};
use function::Record;
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::BinaryHeap;
use std::sync::Arc;

/// Runs `body` without recording history: nothing made in it has a gradient.
///
/// ```
/// # use sunstone::prelude::*;
/// let x = Tensor::ones([2], DType::F32, &Device::cpu()).requires_grad();
/// assert!(!no_grad(|| &x * 2.0).tracks_grad());
/// ```
pub fn no_grad<T>(body: impl FnOnce() -> T) -> T {
    with_grad(false, body)
}

fn with_grad<T>(on: bool, body: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            set_grad_enabled(self.0);
        }
    }
    let _restore = Restore(set_grad_enabled(on));
    body()
}

impl Tensor {
    /// The gradient of this one number with respect to every variable behind it.
    ///
    /// The history is used up, as in PyTorch: it is let go as soon as nothing pending needs it. To go through it again
    /// or to differentiate the gradients themselves, use [`Tensor::backward_graph`].
    ///
    /// # Errors
    /// If the tensor has not exactly one element, no history, or one that was used up; or its own.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let x = Tensor::from_slice(&[1.0f32, 2.0], [2], &Device::cpu()).requires_grad();
    /// let grads = (&x * &x).sum(..).backward()?;
    /// assert_eq!(grads.get(&x).unwrap().to_vec::<f32>()?, [2.0, 4.0]);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn backward(&self) -> Result<Gradients> {
        let at = Caller::here();
        let seed = no_grad(|| self.constant_like(1, at));
        let grads = no_grad(|| walk(self, seed, true, at))?;
        Ok(grads)
    }

    /// Like [`Tensor::backward`], but the gradients are themselves part of the graph and the history stays.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let x = Tensor::from_slice(&[3.0f32], [1], &Device::cpu()).requires_grad();
    /// let first = x.powf(3.0).sum(..).backward_graph()?.get(&x).unwrap();
    /// let second = first.sum(..).backward()?.get(&x).unwrap();
    /// assert_eq!(second.to_vec::<f32>()?, [18.0]);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn backward_graph(&self) -> Result<Gradients> {
        let at = Caller::here();
        let seed = self.constant_like(1, at);
        with_grad(true, || walk(self, seed, false, at))
    }
}

/// A node whose gradient is known as far as it was reached; the youngest comes first, so every user before its source.
struct Reached(Arc<Node>);

impl PartialEq for Reached {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}
impl Eq for Reached {}
impl PartialOrd for Reached {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Reached {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.id.cmp(&other.0.id)
    }
}

fn walk(loss: &Tensor, seed: Tensor, consume: bool, at: Caller) -> Result<Gradients> {
    let root = loss.value()?;
    if loss.numel() != 1 {
        return Err(Error::op("backward", at, format!("needs exactly one element, not shape {}", loss.shape())));
    }
    if root.node.grad() == GradMode::None {
        return Err(Error::op(
            "backward",
            at,
            "no variable is behind this tensor (see requires_grad, no_grad, detach)",
        ));
    }
    let mut grads: FxHashMap<(u64, usize), Tensor> = FxHashMap::default();
    let mut queue = BinaryHeap::from([Reached(root.node.clone())]);
    let mut seen = FxHashSet::from_iter([root.node.id]);
    grads.insert((root.node.id, root.out), seed);
    let mut result = Gradients::default();
    let mut passed = Vec::new();
    while let Some(Reached(node)) = queue.pop() {
        let outs: Vec<Option<Tensor>> = (0..node.outs.len()).map(|out| grads.remove(&(node.id, out))).collect();
        match node.grad() {
            GradMode::None => continue,
            GradMode::Consumed => {
                let detail = "its history was used up by an earlier backward; use backward_graph for the earlier one";
                return Err(Error::op("backward", at, detail));
            }
            GradMode::Leaf => {
                if let Some(grad) = outs.into_iter().next().flatten() {
                    result.insert(&Value { node, out: 0 }, grad);
                }
                continue;
            }
            GradMode::Interior => {}
        }
        for (src, grad) in contributions(&node, &outs) {
            if let Some(error) = grad.error() {
                return Err(error.clone());
            }
            if seen.insert(src.node.id) {
                queue.push(Reached(src.node.clone()));
            }
            let key = (src.node.id, src.out);
            let sum = match grads.remove(&key) {
                Some(sum) => sum + grad,
                None => grad,
            };
            grads.insert(key, sum);
        }
        passed.push(node);
    }
    if consume {
        passed.iter().for_each(|node| node.consume());
    }
    Ok(result)
}

/// What one node passes on to its sources.
fn contributions(node: &Arc<Node>, grads: &[Option<Tensor>]) -> Vec<(Value, Tensor)> {
    if grads.iter().all(Option::is_none) {
        return vec![];
    }
    let (srcs, rule) = {
        let state = node.state();
        (state.srcs.clone(), state.rule.clone())
    };
    let tracked = |v: &Value| v.node.grad() != GradMode::None && v.meta().dtype.is_float();
    let (inputs, parts) = match rule {
        Some(rule) => match rule.function.downcast_ref::<Record>() {
            Some(record) => {
                let parts = record.backward(&rule.inputs, grads);
                (rule.inputs, parts)
            }
            None => return vec![],
        },
        None => {
            let wanted: Vec<bool> = srcs.iter().map(tracked).collect();
            let parts = rules::gradient(node, &srcs, grads, &wanted);
            (srcs, parts)
        }
    };
    inputs.into_iter().zip(parts).filter(|(v, _)| tracked(v)).filter_map(|(v, g)| Some((v, g?))).collect()
}
