//! The arguments of a call by name, and how an op reads them.

use super::OpInfo;
use crate::device::Device;
use crate::dtype::{DType, Scalar};
use crate::error::{Error, Result};
use crate::shape::Shape;
use crate::tensor::{Reduction, Tensor};
use serde_json::{Map, Value};
use std::cell::RefCell;

/// Arguments by name: numbers, truth values, text and lists of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Args(Map<String, Value>);

impl Args {
    /// From a JSON object. `"inf"`, `"-inf"` and `"nan"` stand for the floats that JSON lacks.
    ///
    /// # Errors
    /// If `text` is no JSON object.
    pub fn parse(text: &str) -> Result<Args> {
        let map = serde_json::from_str(text);
        map.map(Args).map_err(|e| Error::Invalid(format!("the arguments are no JSON object: {e}")))
    }

    /// With one argument more, or another value for it.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Args {
        self.0.insert(name.into(), value.into());
        self
    }

    /// The names and values, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.0.iter()
    }
}

impl From<Map<String, Value>> for Args {
    fn from(map: Map<String, Value>) -> Args {
        Args(map)
    }
}

/// A call under way: operands, and arguments with the defaults filled in.
///
/// The getters do not fail: a wrong kind of argument is noted, and the call then ends with an error.
pub struct Call<'a> {
    device: &'a Device,
    inputs: &'a [Tensor],
    args: Map<String, Value>,
    complaint: RefCell<Option<String>>,
}

impl<'a> Call<'a> {
    pub(super) fn new(
        op: &OpInfo,
        device: &'a Device,
        inputs: &'a [Tensor],
        given: &Args,
    ) -> std::result::Result<Call<'a>, String> {
        let mut args: Map<String, Value> = serde_json::from_str(op.defaults).map_err(|e| e.to_string())?;
        for (name, value) in &given.0 {
            match args.get_mut(name) {
                Some(place) => *place = value.clone(),
                None => return Err(format!("has no parameter `{name}`; it has {:?}", args.keys().collect::<Vec<_>>())),
            }
        }
        Ok(Call { device, inputs, args, complaint: RefCell::new(None) })
    }

    pub(super) fn complaint(&self) -> Option<String> {
        self.complaint.borrow().clone()
    }

    /// Operand `i`.
    pub fn x(&self, i: usize) -> &Tensor {
        &self.inputs[i]
    }

    /// All operands.
    pub fn all(&self) -> Vec<&Tensor> {
        self.inputs.iter().collect()
    }

    /// Where new tensors go.
    pub fn device(&self) -> &Device {
        self.device
    }

    /// The argument, read by `f`; a complaint and the type's default if `f` cannot.
    fn read<T: Default>(&self, name: &str, kind: &str, f: impl Fn(&Value) -> Option<T>) -> T {
        let value = self.args.get(name).unwrap_or(&Value::Null);
        f(value).unwrap_or_else(|| {
            self.complaint.borrow_mut().get_or_insert_with(|| format!("`{name}` must be {kind}, not {value}"));
            T::default()
        })
    }

    /// An integer.
    pub fn int(&self, name: &str) -> i64 {
        self.read(name, "an integer", Value::as_i64)
    }

    /// An axis: an integer, negative from the back.
    pub fn axis(&self, name: &str) -> isize {
        self.int(name) as isize
    }

    /// A size: an integer that is not negative.
    pub fn size(&self, name: &str) -> usize {
        self.read(name, "a size", size)
    }

    /// A float.
    pub fn float(&self, name: &str) -> f64 {
        self.read(name, "a number", float)
    }

    /// A number: an integer if it is written as one.
    pub fn number(&self, name: &str) -> Scalar {
        let read = |v: &Value| v.as_i64().map(Scalar::Int).or_else(|| float(v).map(Scalar::Float));
        self.read(name, "a number", |v| read(v).map(Some)).unwrap_or(Scalar::Int(0))
    }

    /// An integer of 32 bits.
    pub fn int32(&self, name: &str) -> i32 {
        self.read(name, "an integer of 32 bits", |v| v.as_i64().and_then(|n| i32::try_from(n).ok()))
    }

    /// A list of numbers as an `f32` vector.
    pub fn vector(&self, name: &str) -> Tensor {
        let floats = |v: &Value| v.as_array()?.iter().map(|v| float(v).map(|f| f as f32)).collect::<Option<Vec<f32>>>();
        Tensor::from_vec(self.read(name, "a list of numbers", floats), self.device)
    }

    /// How the losses of single elements are reduced, as PyTorch names it.
    pub fn reduction(&self) -> Reduction {
        self.read("reduction", "mean, sum, none or batchmean", |v| match v.as_str()? {
            "mean" => Some(Reduction::Mean),
            "sum" => Some(Reduction::Sum),
            "none" => Some(Reduction::None),
            "batchmean" => Some(Reduction::BatchMean),
            _ => None,
        })
    }

    /// A truth value.
    pub fn flag(&self, name: &str) -> bool {
        self.read(name, "true or false", Value::as_bool)
    }

    /// Text.
    pub fn text(&self, name: &str) -> String {
        self.read(name, "text", |v| v.as_str().map(String::from))
    }

    /// A dtype by its name.
    pub fn dtype(&self, name: &str) -> DType {
        let text = self.text(name);
        DType::ALL.into_iter().find(|d| d.name() == text).unwrap_or_else(|| {
            self.complaint.borrow_mut().get_or_insert_with(|| format!("`{name}`: there is no dtype `{text}`"));
            DType::F32
        })
    }

    /// Integers.
    pub fn ints(&self, name: &str) -> Vec<i64> {
        self.read(name, "a list of integers", |v| v.as_array()?.iter().map(Value::as_i64).collect())
    }

    /// Sizes.
    pub fn sizes(&self, name: &str) -> Vec<usize> {
        self.read(name, "a list of sizes", |v| v.as_array()?.iter().map(size).collect())
    }

    /// Sizes, exactly `N` of them.
    pub fn sizes_of<const N: usize>(&self, name: &str) -> [usize; N] {
        let sizes = self.sizes(name);
        <[usize; N]>::try_from(&sizes[..]).unwrap_or_else(|_| {
            self.complaint.borrow_mut().get_or_insert_with(|| format!("`{name}` must be {N} sizes, not {sizes:?}"));
            [1; N]
        })
    }

    /// A shape.
    pub fn shape(&self, name: &str) -> Shape {
        Shape::from(&self.sizes(name)[..])
    }

    /// The axes of a reduction: a list, or `null` for all.
    pub fn axes(&self, name: &str) -> crate::tensor::Axes {
        match self.optional(name, |c| c.ints(name)) {
            Some(axes) => (&axes[..]).into(),
            None => (..).into(),
        }
    }

    /// What `get` reads, or `None` where the argument is `null`.
    pub fn optional<T>(&self, name: &str, get: impl FnOnce(&Call) -> T) -> Option<T> {
        self.args.get(name).is_some_and(|v| !v.is_null()).then(|| get(self))
    }
}

fn size(v: &Value) -> Option<usize> {
    v.as_u64().and_then(|n| usize::try_from(n).ok())
}

fn float(v: &Value) -> Option<f64> {
    match v.as_str() {
        Some("inf") => Some(f64::INFINITY),
        Some("-inf") => Some(f64::NEG_INFINITY),
        Some("nan") => Some(f64::NAN),
        _ => v.as_f64(),
    }
}
