//! Every public op by its name: what it takes, and how to call it with arguments from a file or a page.
//!
//! The table of dtypes below, the cases that are compared with PyTorch, the fuzzing of parameters and the browser's op
//! tests all derive from this one list; a test fails when a public op of [`Tensor`] is not in it.
//!
//! An entry is a line in the file of its group:
//!
//! ```ignore
//! op("softmax", r#"{"axis": -1}"#, &[x(&[3, 5])], |c| one(c.x(0).softmax(c.axis("axis")))),
//! ```
//!
//! its name (PyTorch's where PyTorch has it), its parameters with their defaults as JSON, an example of its operands, and
//! the call.
//!
//! # The ops
//!
//! For each dtype: where the op takes it. `cpu` is the CPU backend, `gpu` any device that runs WGSL. Parameters are shown
//! with their defaults.
#![doc = include_str!("ops.md")]

mod call;
mod contract;
mod create;
mod index;
mod map;
mod reduce;
mod rows;
mod shape;
mod table;

pub use call::{Args, Call};
pub use table::markdown;

use crate::device::Device;
use crate::dtype::DType;
use crate::error::{Caller, Error, Result};
use crate::tensor::Tensor;

/// One public op.
#[derive(Debug)]
pub struct OpInfo {
    /// PyTorch's name for it, where PyTorch has it.
    pub name: &'static str,
    /// The parameters and their defaults, a JSON object; `null` is a parameter that may be left out.
    pub defaults: &'static str,
    /// An example of its operands; with the defaults it is a valid call.
    pub inputs: &'static [Input],
    /// The results depend on a random seed, so there is nothing to compare them with bit for bit.
    pub random: bool,
    /// Takes any number of operands, as `cat` does.
    pub variadic: bool,
    call: fn(&Call) -> Vec<Tensor>,
}

/// An operand of the example.
#[derive(Debug, Clone, Copy)]
pub struct Input {
    /// What it is.
    pub kind: InputKind,
    /// Its shape.
    pub shape: &'static [usize],
}

/// What an operand is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputKind {
    /// Elements of the dtype that the op is asked about.
    Data,
    /// `i32`, small and not negative.
    Index,
    /// `bool`.
    Mask,
}

const fn op(
    name: &'static str,
    defaults: &'static str,
    inputs: &'static [Input],
    call: fn(&Call) -> Vec<Tensor>,
) -> OpInfo {
    OpInfo { name, defaults, inputs, random: false, variadic: false, call }
}

const fn x(shape: &'static [usize]) -> Input {
    Input { kind: InputKind::Data, shape }
}

const fn index(shape: &'static [usize]) -> Input {
    Input { kind: InputKind::Index, shape }
}

const fn mask(shape: &'static [usize]) -> Input {
    Input { kind: InputKind::Mask, shape }
}

fn one(tensor: Tensor) -> Vec<Tensor> {
    vec![tensor]
}

impl OpInfo {
    const fn random(mut self) -> OpInfo {
        self.random = true;
        self
    }

    const fn variadic(mut self) -> OpInfo {
        self.variadic = true;
        self
    }

    /// Calls the op. `args` may leave out any parameter that has a default.
    ///
    /// # Errors
    /// A wrong number of operands, or an argument of the wrong kind. What the op itself has against its operands is
    /// carried by the tensors.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// use sunstone::registry::{Args, find};
    /// let device = Device::cpu();
    /// let x = Tensor::from_slice(&[1.0f32, 3.0], [2], &device);
    /// let args = Args::parse(r#"{"max": 2.0}"#)?;
    /// let y = find("clamp").unwrap().call(&device, &[x], &args)?;
    /// assert_eq!(y[0].to_vec::<f32>()?, [1.0, 2.0]);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn call(&self, device: &Device, inputs: &[Tensor], args: &Args) -> Result<Vec<Tensor>> {
        let at = Caller::here();
        let count = self.inputs.len();
        if inputs.len() != count && (inputs.is_empty() || !self.variadic) {
            return Err(Error::op(self.name, at, format!("takes {count} tensors, {} were given", inputs.len())));
        }
        let call = Call::new(self, device, inputs, args).map_err(|detail| Error::op(self.name, at, detail))?;
        let results = (self.call)(&call);
        match call.complaint() {
            Some(detail) => Err(Error::op(self.name, at, detail)),
            None => Ok(results),
        }
    }

    /// The dtypes that it takes on `device`; found by asking it, nothing is computed.
    pub fn dtypes(&self, device: &Device) -> Vec<DType> {
        DType::ALL.into_iter().filter(|&dtype| table::works(self, dtype, device)).collect()
    }

    /// The group it is listed under.
    pub fn group(&self) -> &'static str {
        GROUPS.iter().find(|(_, ops)| ops.iter().any(|o| o.name == self.name)).map_or("", |(group, _)| group)
    }
}

/// The groups with their ops.
pub static GROUPS: &[(&str, &[OpInfo])] = &[
    ("create", create::OPS),
    ("map", map::OPS),
    ("shape", shape::OPS),
    ("reduce", reduce::OPS),
    ("index", index::OPS),
    ("contract", contract::OPS),
    ("rows", rows::OPS),
];

/// Every op, group after group.
pub fn all() -> impl Iterator<Item = &'static OpInfo> {
    GROUPS.iter().flat_map(|(_, ops)| ops.iter())
}

/// The op of that name.
pub fn find(name: &str) -> Option<&'static OpInfo> {
    all().find(|op| op.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_defaults_are_json() {
        let mut names: Vec<&str> = all().map(|o| o.name).collect();
        names.sort_unstable();
        assert_eq!(names.windows(2).find(|w| w[0] == w[1]), None);
        for op in all() {
            Args::parse(op.defaults).unwrap_or_else(|e| panic!("{}: {e}", op.name));
        }
    }

    #[test]
    fn every_example_is_a_valid_call() {
        let device = Device::cpu();
        for op in all() {
            let works = DType::ALL.iter().any(|&dtype| table::works(op, dtype, &device));
            assert!(works, "{}: the example does not work for any dtype", op.name);
        }
    }

    #[test]
    fn a_wrong_argument_is_named() {
        let x = [Tensor::zeros([2], DType::F32, &Device::cpu())];
        let call = |text: &str| {
            let args = Args::parse(text).unwrap();
            find("softmax").unwrap().call(&Device::cpu(), &x, &args).unwrap_err().to_string()
        };
        assert!(call(r#"{"axis": "last"}"#).contains("axis"));
        assert!(call(r#"{"axes": 1}"#).contains("axes"));
        assert!(find("softmax").unwrap().call(&Device::cpu(), &[], &Args::default()).is_err());
    }
}
