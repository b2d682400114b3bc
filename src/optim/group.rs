//! The parameters of an optimizer and what it remembers of each; the part of a step that all optimizers share.

use crate::autograd::{Gradients, no_grad};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::nn::Parameter;
use crate::tensor::{Tensor, realize_all};
use std::collections::{BTreeMap, BTreeSet};

/// What an optimizer remembers, in a form that can be saved.
#[derive(Debug, Clone, Default)]
pub struct OptimizerState {
    /// The learning rate.
    pub lr: f64,
    /// Updates so far, by the parameter's name, where the optimizer counts them.
    pub steps: BTreeMap<String, u64>,
    /// Moments, named as PyTorch names them after the parameter's name: `fc1.weight.exp_avg`.
    pub tensors: Vec<(String, Tensor)>,
}

/// What is remembered of one parameter: some tensors of its shape, and a count.
#[derive(Debug, Clone)]
pub(super) struct Memory<const N: usize> {
    pub step: u64,
    pub tensors: [Tensor; N],
}

#[derive(Debug)]
struct Entry<const N: usize> {
    name: String,
    parameter: Parameter,
    memory: Option<Memory<N>>,
}

/// Parameters, with `N` tensors remembered of each once it was updated.
#[derive(Debug)]
pub(super) struct Group<const N: usize> {
    names: [&'static str; N],
    entries: Vec<Entry<N>>,
}

impl<const N: usize> Group<N> {
    /// Remembers nothing yet; `names` are those of the tensors in a state dict.
    pub fn new(parameters: Vec<(String, Parameter)>, names: [&'static str; N]) -> Group<N> {
        let entries = parameters.into_iter().map(|(name, parameter)| Entry { name, parameter, memory: None }).collect();
        Group { names, entries }
    }

    /// Replaces each parameter `p` that has a gradient `g` by what `update(p, g, memory)` gives, and computes it.
    pub fn step(
        &mut self,
        gradients: Gradients,
        update: impl Fn(&Tensor, Tensor, Option<&Memory<N>>) -> (Tensor, Option<Memory<N>>),
    ) -> Result<()> {
        let updates: Vec<_> = no_grad(|| {
            (self.entries.iter())
                .map(|e| {
                    let value = e.parameter.get();
                    gradients.get(&value).map(|gradient| update(&value, gradient, e.memory.as_ref()))
                })
                .collect()
        });
        // Gradients that nobody holds need no memory of their own.
        drop(gradients);
        if let Some(error) = updates.iter().flatten().find_map(|(value, _)| value.error()) {
            return Err(error.clone());
        }
        for (entry, (value, memory)) in self.entries.iter_mut().zip(updates).filter_map(|(e, u)| Some((e, u?))) {
            entry.parameter.set(value);
            entry.memory = memory;
        }
        self.devices().iter().try_for_each(realize_all)
    }

    fn devices(&self) -> Vec<Device> {
        let mut devices: Vec<Device> = Vec::new();
        for entry in &self.entries {
            let device = entry.parameter.get().device();
            if !devices.contains(&device) {
                devices.push(device);
            }
        }
        devices
    }

    /// Everything remembered. Counts are left out where they are never used (`counted` is false).
    pub fn state(&self, lr: f64, counted: bool) -> OptimizerState {
        let mut state = OptimizerState { lr, ..OptimizerState::default() };
        for Entry { name, memory, .. } in &self.entries {
            let Some(memory) = memory else { continue };
            if counted {
                state.steps.insert(name.clone(), memory.step);
            }
            let named = self.names.iter().zip(&memory.tensors);
            state.tensors.extend(named.map(|(kind, tensor)| (format!("{name}.{kind}"), tensor.clone())));
        }
        state
    }

    /// Remembers what `state` says, or lists everything in it that does not fit.
    pub fn load(&mut self, state: &OptimizerState, counted: bool) -> Result<()> {
        let mut complaints = Vec::new();
        let given: BTreeMap<&str, &Tensor> = state.tensors.iter().map(|(name, t)| (name.as_str(), t)).collect();
        let mut used = BTreeSet::new();
        let mut memories = Vec::with_capacity(self.entries.len());
        for Entry { name, parameter, .. } in &self.entries {
            let value = parameter.get();
            let found: Vec<(String, Option<&Tensor>)> = (self.names.iter())
                .map(|kind| format!("{name}.{kind}"))
                .map(|full| (full.clone(), given.get(full.as_str()).copied()))
                .collect();
            let step = state.steps.get(name).copied();
            if found.iter().all(|(_, t)| t.is_none()) && step.is_none() {
                memories.push(None);
                continue;
            }
            if counted && step.is_none() {
                complaints.push(format!("the step count of '{name}' is missing"));
            }
            let mut tensors = Vec::with_capacity(N);
            for (full, tensor) in found {
                match tensor {
                    None => complaints.push(format!("'{full}' is missing")),
                    Some(t) => {
                        if let Some(error) = t.error() {
                            return Err(error.clone());
                        }
                        if t.shape() != value.shape() || t.dtype() != value.dtype() {
                            let (d, s) = (value.dtype(), value.shape());
                            complaints.push(format!(
                                "'{full}' is {} {}, the parameter is {d} {s}",
                                t.dtype(),
                                t.shape()
                            ));
                        }
                        t.realize()?;
                        tensors.push(t.to_device(&value.device())?);
                    }
                }
                used.insert(full);
            }
            memories.push(tensors.try_into().ok().map(|tensors| Memory { step: step.unwrap_or(0), tensors }));
        }
        let known: BTreeSet<&String> = self.entries.iter().map(|e| &e.name).collect();
        complaints.extend(given.keys().filter(|n| !used.contains(**n)).map(|n| format!("'{n}' is unexpected")));
        complaints.extend(
            state.steps.keys().filter(|n| !known.contains(n)).map(|n| format!("the step count of '{n}' is unexpected")),
        );
        if !complaints.is_empty() {
            return Err(Error::Invalid(format!("the state does not fit the optimizer: {}", complaints.join("; "))));
        }
        for (entry, memory) in self.entries.iter_mut().zip(memories) {
            entry.memory = memory;
        }
        Ok(())
    }
}
