//! What a module is: a function of a tensor, and a tree that can be walked to its parameters by name.

use super::{Buffer, Mode, Parameter};
use crate::error::{Error, Result};
use crate::random::{Generator, GeneratorState};
use crate::tensor::Tensor;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

/// Names and tensors, in the order in which the modules are visited.
pub type StateDict = Vec<(String, Tensor)>;

/// A layer, or a network of them.
///
/// One's own network lists its parts once, in [`Module::visit`]; names, saving, loading and the training mode follow.
///
/// ```
/// use sunstone::prelude::*;
/// use sunstone::nn::{Init, Linear, Visitor};
///
/// #[derive(Debug)]
/// struct Residual { inner: Linear }
///
/// impl Module for Residual {
///     fn forward(&self, x: &Tensor) -> Tensor {
///         x + self.inner.forward(x).relu()
///     }
///     fn visit(&self, visitor: &mut Visitor) {
///         visitor.module("inner", &self.inner);
///     }
/// }
///
/// let model = Residual { inner: Linear::new(4, 4, &Init::new(0, &Device::cpu())) };
/// assert_eq!(model.num_parameters(), 20);
/// assert_eq!(model.state_dict()[1].0, "inner.bias");
/// ```
pub trait Module: Debug + Send + Sync {
    /// The result for `x`. What does not fit gives a tensor that carries the error.
    fn forward(&self, x: &Tensor) -> Tensor;

    /// Shows every part to `visitor`, in a fixed order.
    fn visit(&self, visitor: &mut Visitor<'_>);

    /// Every parameter and its name (`"fc1.weight"`). A parameter that occurs twice is listed under its first name.
    fn parameters(&self) -> Vec<(String, Parameter)> {
        let mut found: Vec<(String, Parameter)> = Vec::new();
        self.visit(&mut Visitor::new(&mut |name, part| {
            if let Part::Parameter(p) = part
                && !found.iter().any(|(_, known)| known.is(p))
            {
                found.push((name.to_owned(), p.clone()));
            }
        }));
        found
    }

    /// How many numbers the parameters hold.
    fn num_parameters(&self) -> usize {
        self.parameters().iter().map(|(_, p)| p.get().shape().numel()).sum()
    }

    /// Every parameter and buffer by name, as PyTorch names them, detached from differentiation.
    /// `num_batches_tracked`, which PyTorch counts and does not use, is left out.
    fn state_dict(&self) -> StateDict {
        slots(self).into_iter().map(|(name, slot)| (name, slot.get().detach())).collect()
    }

    /// Replaces every parameter and buffer.
    ///
    /// # Errors
    /// [`Error::Invalid`] lists all names that are missing, unexpected or given twice, and all shapes and dtypes that
    /// differ; an errored tensor gives its own error. In either case nothing is replaced. Entries called
    /// `num_batches_tracked` are passed over.
    fn load_state_dict(&self, state: &[(String, Tensor)]) -> Result<()> {
        let slots = slots(self);
        let found = matched(&slots, state)?;
        let mut moved = Vec::with_capacity(found.len());
        for ((_, slot), new) in slots.iter().zip(found) {
            new.realize()?;
            moved.push(new.to_device(&slot.get().device())?);
        }
        for ((_, slot), tensor) in slots.iter().zip(moved) {
            slot.set(tensor);
        }
        Ok(())
    }

    /// Switches dropout and batch normalization between training (`true`, the start) and use.
    fn train(&self, training: bool) {
        self.visit(&mut Visitor::new(&mut |_, part| {
            if let Part::Mode(mode) = part {
                mode.set(training);
            }
        }));
    }

    /// The same as `train(false)`.
    fn eval(&self) {
        self.train(false);
    }

    /// The state of every random generator inside (dropout's), by name: what a checkpoint needs besides
    /// [`Module::state_dict`].
    fn generators(&self) -> BTreeMap<String, GeneratorState> {
        let mut found = BTreeMap::new();
        self.visit(&mut Visitor::new(&mut |name, part| {
            if let Part::Generator(g) = part {
                found.insert(name.to_owned(), g.state());
            }
        }));
        found
    }

    /// Continues every random generator inside from a saved state.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `states` names other generators than the module has; nothing is changed then.
    fn restore_generators(&self, states: &BTreeMap<String, GeneratorState>) -> Result<()> {
        let mine = self.generators();
        if !mine.keys().eq(states.keys()) {
            let names = |s: &BTreeMap<String, GeneratorState>| s.keys().cloned().collect::<Vec<_>>().join(", ");
            return Err(Error::Invalid(format!(
                "the saved random generators [{}] are not the model's [{}]",
                names(states),
                names(&mine)
            )));
        }
        self.visit(&mut Visitor::new(&mut |name, part| {
            if let (Part::Generator(g), Some(&state)) = (part, states.get(name)) {
                g.restore(state);
            }
        }));
        Ok(())
    }
}

/// One thing that a [`Visitor`] is shown.
#[derive(Debug, Clone, Copy)]
pub enum Part<'a> {
    /// Trained.
    Parameter(&'a Parameter),
    /// Saved, not trained.
    Buffer(&'a Buffer),
    /// The switch between training and use.
    Mode(&'a Mode),
    /// A source of random numbers.
    Generator(&'a Generator),
}

/// Walks a tree of modules and keeps the path to where it is.
pub struct Visitor<'a> {
    path: String,
    found: &'a mut dyn FnMut(&str, Part<'_>),
}

impl<'a> Visitor<'a> {
    /// Calls `found` with the dotted name and the part, for each part.
    pub fn new(found: &'a mut dyn FnMut(&str, Part<'_>)) -> Visitor<'a> {
        Visitor { path: String::new(), found }
    }

    /// Shows a parameter.
    pub fn parameter(&mut self, name: &str, parameter: &Parameter) {
        self.at(name, |v| (v.found)(&v.path, Part::Parameter(parameter)));
    }

    /// Shows a buffer.
    pub fn buffer(&mut self, name: &str, buffer: &Buffer) {
        self.at(name, |v| (v.found)(&v.path, Part::Buffer(buffer)));
    }

    /// Shows the training switch of the module itself.
    pub fn mode(&mut self, mode: &Mode) {
        (self.found)(&self.path, Part::Mode(mode));
    }

    /// Shows a random generator.
    pub fn generator(&mut self, name: &str, generator: &Generator) {
        self.at(name, |v| (v.found)(&v.path, Part::Generator(generator)));
    }

    /// Walks into a module.
    pub fn module(&mut self, name: &str, module: &dyn Module) {
        self.at(name, |v| module.visit(v));
    }

    fn at(&mut self, name: &str, body: impl FnOnce(&mut Self)) {
        let outer = self.path.len();
        if outer > 0 {
            self.path.push('.');
        }
        self.path.push_str(name);
        body(self);
        self.path.truncate(outer);
    }
}

/// A named place in a module's state.
enum Slot {
    Parameter(Parameter),
    Buffer(Buffer),
}

impl Slot {
    fn get(&self) -> Tensor {
        match self {
            Slot::Parameter(p) => p.get(),
            Slot::Buffer(b) => b.get(),
        }
    }

    fn set(&self, value: Tensor) {
        match self {
            Slot::Parameter(p) => p.set(value),
            Slot::Buffer(b) => b.set(value),
        }
    }
}

fn slots<M: Module + ?Sized>(module: &M) -> Vec<(String, Slot)> {
    let mut found = Vec::new();
    module.visit(&mut Visitor::new(&mut |name, part| match part {
        Part::Parameter(p) => found.push((name.to_owned(), Slot::Parameter(p.clone()))),
        Part::Buffer(b) => found.push((name.to_owned(), Slot::Buffer(b.clone()))),
        Part::Mode(_) | Part::Generator(_) => {}
    }));
    found
}

/// For each slot the tensor of its name, or everything that does not fit.
fn matched<'s>(slots: &[(String, Slot)], state: &'s [(String, Tensor)]) -> Result<Vec<&'s Tensor>> {
    if let Some(error) = state.iter().find_map(|(_, t)| t.error()) {
        return Err(error.clone());
    }
    let mut complaints = Vec::new();
    let mut given = BTreeMap::new();
    for (name, tensor) in state.iter().filter(|(name, _)| !name.ends_with("num_batches_tracked")) {
        if given.insert(name.as_str(), tensor).is_some() {
            complaints.push(format!("'{name}' is given twice"));
        }
    }
    let mut found = Vec::with_capacity(slots.len());
    for (name, slot) in slots {
        let own = slot.get();
        match given.get(name.as_str()) {
            None => complaints.push(format!("'{name}' is missing")),
            Some(new) if new.shape() != own.shape() || new.dtype() != own.dtype() => complaints.push(format!(
                "'{name}' is {} {}, the model has {} {}",
                new.dtype(),
                new.shape(),
                own.dtype(),
                own.shape()
            )),
            Some(new) => found.push(*new),
        }
    }
    let known: BTreeSet<&str> = slots.iter().map(|(name, _)| name.as_str()).collect();
    complaints.extend(given.keys().filter(|name| !known.contains(*name)).map(|name| format!("'{name}' is unexpected")));
    match complaints.is_empty() {
        true => Ok(found),
        false => Err(Error::Invalid(format!("the state does not fit the model: {}", complaints.join("; ")))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Dropout, Init, Linear, Sequential};
    use super::*;
    use crate::device::Device;
    use crate::dtype::DType;

    fn model(seed: u64) -> Sequential {
        let init = Init::new(seed, &Device::cpu());
        Sequential::new()
            .named("fc1", Linear::new(3, 2, &init))
            .named("drop", Dropout::new(0.5, &init))
            .named("fc2", Linear::new(2, 1, &init))
    }

    #[test]
    fn a_state_dict_carries_every_number_over() {
        let (a, b) = (model(1), model(2));
        let x = Tensor::ones([4, 3], DType::F32, &Device::cpu());
        a.eval();
        b.eval();
        let before = b.forward(&x).to_vec::<f32>().unwrap();
        b.load_state_dict(&a.state_dict()).unwrap();
        let after = b.forward(&x).to_vec::<f32>().unwrap();
        assert_eq!(after, a.forward(&x).to_vec::<f32>().unwrap());
        assert_ne!(before, after);
    }

    #[test]
    fn a_state_that_does_not_fit_names_everything_and_changes_nothing() {
        let model = model(1);
        let before = model.state_dict();
        let mut state = self::model(2).state_dict();
        state.remove(0);
        state[0].1 = Tensor::zeros([5], DType::F32, &Device::cpu());
        state[1].1 = Tensor::zeros([1, 2], DType::I32, &Device::cpu());
        state.push(("fc9.weight".into(), Tensor::zeros([1], DType::F32, &Device::cpu())));
        let message = model.load_state_dict(&state).unwrap_err().to_string();
        for part in [
            "'fc1.weight' is missing",
            "'fc1.bias' is f32 [5], the model has f32 [2]",
            "'fc2.weight' is i32 [1, 2], the model has f32 [1, 2]",
            "'fc9.weight' is unexpected",
        ] {
            assert!(message.contains(part), "{part:?} is not in {message:?}");
        }
        for ((name, a), (_, b)) in before.iter().zip(model.state_dict()) {
            assert_eq!(a.to_vec::<f32>().unwrap(), b.to_vec::<f32>().unwrap(), "{name}");
        }
    }

    #[test]
    fn generators_continue_where_they_were_saved() {
        let (a, b) = (model(1), model(2));
        let x = Tensor::ones([4, 3], DType::F32, &Device::cpu());
        a.forward(&x).realize().unwrap();
        b.load_state_dict(&a.state_dict()).unwrap();
        b.restore_generators(&a.generators()).unwrap();
        assert_eq!(a.forward(&x).to_vec::<f32>().unwrap(), b.forward(&x).to_vec::<f32>().unwrap());
        assert!(b.restore_generators(&BTreeMap::new()).is_err());
    }

    #[test]
    fn tied_parameters_are_listed_once_and_saved_twice() {
        #[derive(Debug)]
        struct Tied(Linear);
        impl Module for Tied {
            fn forward(&self, x: &Tensor) -> Tensor {
                self.0.forward(&self.0.forward(x))
            }
            fn visit(&self, visitor: &mut Visitor<'_>) {
                visitor.module("a", &self.0);
                visitor.module("b", &self.0);
            }
        }
        let tied = Tied(Linear::new(2, 2, &Init::new(0, &Device::cpu())));
        assert_eq!(tied.parameters().len(), 2);
        assert_eq!(tied.state_dict().len(), 4);
    }
}
