//! The user's tensor: a handle on an output of the lazy graph, or the error that took its place.

mod activation;
mod arith;
mod arrange;
mod attention;
mod autocast;
mod axes;
mod contract;
mod conv;
mod create;
mod ctc;
mod custom;
mod diagonal;
mod display;
mod draw;
mod einsum;
mod fit;
#[cfg(feature = "wgpu")]
mod gpu_buffer;
mod half;
mod index;
mod interpolate;
mod loss;
mod map;
mod norm;
mod order;
mod pad;
mod pool;
mod pool_adaptive;
mod put;
mod reduce;
mod rows;
mod scan;
mod select;
mod shaping;
mod sizes;
mod slice;
mod statistics;
mod views;

pub use arrange::Indexing;
pub use attention::AttentionOptions;
pub use autocast::autocast;
pub use axes::Axes;
pub use conv::{ConvOptions, ConvTransposeOptions, Padding};
pub use ctc::CtcLoss;
pub use custom::custom;
#[cfg(feature = "wgpu")]
pub use gpu_buffer::GpuBuffer;
pub use interpolate::{InterpolateMode, InterpolateOptions};
pub use loss::{BceWithLogits, CrossEntropy, NllLoss, Reduction};
pub use map::Operand;
pub use pad::PadMode;
pub use pool::PoolOptions;
pub use shaping::IntoSizes;
pub use sizes::Sizes;
pub use slice::{Index, IntoIndices, step};

use crate::device::Device;
use crate::dtype::{DType, Element, Scalar};
use crate::error::{Caller, Error, Result};
use crate::graph::program::Program;
use crate::graph::{GradMode, Meta, Node, Op, Param, Realized, Rule, Value, infer};
use crate::schedule::{self, History};
use crate::shape::{Layout, Shape};
use bytemuck::{Pod, cast_slice_mut};
use smallvec::SmallVec;
use std::cell::Cell;
use std::sync::{Arc, OnceLock};

/// An n-dimensional array on a device. Cheap to clone; clones are the same tensor.
///
/// Ops check shapes and dtypes at once but run later: when somebody reads a result ([`Tensor::to_vec`],
/// [`Tensor::item`]), asks for it ([`Tensor::realize`]), or an optimizer finishes its step.
///
/// An op that cannot take its operands gives a tensor that carries the [`Error`]; so does every tensor made from it,
/// and the first fallible call returns it:
///
/// ```
/// use sunstone::prelude::*;
/// let device = Device::cpu();
/// let a = Tensor::zeros([2, 3], DType::F32, &device);
/// let b = Tensor::zeros([4, 5], DType::F32, &device);
/// let error = (a.matmul(&b) + 1.0).relu().to_vec::<f32>().unwrap_err().to_string();
/// assert!(error.starts_with("matmul: cannot multiply [2, 3] by [4, 5]"), "{error}");
/// ```
#[derive(Clone)]
pub struct Tensor(Result<Handle, Arc<Error>>);

/// A counted reference to a value: the scheduler stores whatever has one.
struct Handle(Value);

impl Handle {
    fn new(value: Value) -> Handle {
        value.node.add_handle(value.out);
        Handle(value)
    }
}

impl Clone for Handle {
    fn clone(&self) -> Handle {
        Handle::new(self.0.clone())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.node.drop_handle(self.0.out);
    }
}

/// The most outputs that an op here has; a user's may have more.
const MOST_OUTPUTS: usize = 3;

thread_local! {
    static GRAD: Cell<bool> = const { Cell::new(true) };
}

/// True unless inside [`crate::autograd::no_grad`].
pub(crate) fn grad_enabled() -> bool {
    GRAD.get()
}

/// Switches the recording of history on or off for this thread; gives the former setting.
pub(crate) fn set_grad_enabled(on: bool) -> bool {
    GRAD.replace(on)
}

/// `SUNSTONE_EAGER=1`: every op runs at once.
fn eager() -> bool {
    static EAGER: OnceLock<bool> = OnceLock::new();
    *EAGER.get_or_init(|| std::env::var("SUNSTONE_EAGER").is_ok_and(|v| v == "1"))
}

impl Tensor {
    /// The tensor that stands for an error.
    pub(crate) fn failed(error: Error) -> Tensor {
        Tensor(Err(Arc::new(error)))
    }

    /// A tensor that fails with a detail about `op`.
    pub(crate) fn bad(op: &'static str, at: Caller, detail: impl Into<String>) -> Tensor {
        Tensor::failed(Error::op(op, at, detail))
    }

    pub(crate) fn from_result(result: Result<Tensor>) -> Tensor {
        result.unwrap_or_else(Tensor::failed)
    }

    pub(crate) fn from_value(value: Value) -> Tensor {
        Tensor(Ok(Handle::new(value)))
    }

    /// The graph's side of the tensor.
    pub(crate) fn value(&self) -> Result<&Value> {
        match &self.0 {
            Ok(handle) => Ok(&handle.0),
            Err(error) => Err((**error).clone()),
        }
    }

    /// A tensor over data in a storage.
    pub(crate) fn leaf(device: &Device, meta: Meta, realized: Realized, at: Caller) -> Tensor {
        Tensor::from_value(Value { node: Node::leaf(device, meta, realized, at), out: 0 })
    }

    /// A node of `op` over tensors of one device, one tensor for each of its outputs.
    pub(crate) fn apply_all(op: Op, srcs: &[&Tensor], at: Caller) -> Vec<Tensor> {
        let mut values: SmallVec<[Value; 2]> = SmallVec::new();
        for src in srcs {
            match src.value() {
                Ok(value) => values.push(value.clone()),
                Err(_) => return vec![(*src).clone(); MOST_OUTPUTS],
            }
        }
        let device = values[0].node.device.clone();
        Tensor::make(&device, op, values, None, at)
    }

    /// A program's results, from operands of one shape and dtype. Halves are `f32` in between. No gradient flows back.
    pub(crate) fn program<const R: usize>(
        program: &Arc<Program>,
        operands: &[&Tensor],
        numbers: &[f64],
        at: Caller,
    ) -> [Tensor; R] {
        let dtype = operands[0].dtype();
        let wide: SmallVec<[Tensor; 4]> = match dtype.is_half() {
            true => operands.iter().map(|t| t.cast_at(DType::F32, at)).collect(),
            false => operands.iter().map(|t| (*t).clone()).collect(),
        };
        let numbers = Param(numbers.iter().map(|&n| Scalar::Float(n)).collect());
        let op = Op::Program { program: program.clone(), numbers };
        let mut results = Tensor::apply_all(op, &wide.iter().collect::<SmallVec<[&Tensor; 4]>>(), at).into_iter();
        std::array::from_fn(|_| match results.next() {
            Some(result) => result.cast_at(dtype, at),
            None => Tensor::bad("program", at, "has fewer results than were asked for"),
        })
    }

    /// The first output of `op`.
    pub(crate) fn apply(op: Op, srcs: &[&Tensor], at: Caller) -> Tensor {
        Tensor::apply_all(op, srcs, at).swap_remove(0)
    }

    /// The first output of an `op` without operands.
    pub(crate) fn source(op: Op, device: &Device, at: Caller) -> Tensor {
        Tensor::make(device, op, SmallVec::new(), None, at).swap_remove(0)
    }

    /// A new node and handles on its outputs. On an error as many failed tensors as any caller may want.
    pub(crate) fn make(
        device: &Device,
        op: Op,
        srcs: SmallVec<[Value; 2]>,
        rule: Option<Rule>,
        at: Caller,
    ) -> Vec<Tensor> {
        match Tensor::try_make(device, op, srcs, rule, at) {
            Ok(tensors) => tensors,
            Err(error) => vec![Tensor::failed(error); MOST_OUTPUTS],
        }
    }

    fn try_make(
        device: &Device,
        op: Op,
        srcs: SmallVec<[Value; 2]>,
        rule: Option<Rule>,
        at: Caller,
    ) -> Result<Vec<Tensor>> {
        if let Some(other) = srcs.iter().find(|v| v.node.device != *device) {
            let detail = format!("operands are on different devices, {device} and {}", other.node.device);
            return Err(Error::op(op.name(), at, detail));
        }
        let outs = infer(&op, &srcs.iter().map(Value::meta).collect::<SmallVec<[&Meta; 4]>>())
            .map_err(|detail| Error::op(op.name(), at, detail))?;
        for out in &outs {
            device.check_dtype(out.dtype).map_err(|e| Error::op(op.name(), at, e.to_string()))?;
        }
        let from = rule.as_ref().map_or(&srcs, |r| &r.inputs);
        let tracks = from.iter().any(|v| v.node.grad() != GradMode::None);
        let differentiable = outs.iter().any(|m| m.dtype.is_float());
        let grad = if GRAD.get() && tracks && differentiable { GradMode::Interior } else { GradMode::None };
        let rule = rule.filter(|_| grad == GradMode::Interior);
        let node = Node::pending(device, op, srcs, outs.into(), grad, rule, at);
        let pending = schedule::register(&node);
        let tensors = (0..node.outs.len()).map(|out| Tensor::from_value(Value { node: node.clone(), out })).collect();
        if eager() {
            schedule::realize(device, vec![node], History::Keep)?;
        } else if pending > schedule::flush_limit() {
            schedule::realize_all(device)?;
        }
        Ok(tensors)
    }

    /// The sizes of its axes; empty for a tensor that carries an error (see [`Tensor::dims`]).
    pub fn shape(&self) -> &Shape {
        static EMPTY: OnceLock<Shape> = OnceLock::new();
        match &self.0 {
            Ok(handle) => &handle.0.meta().shape,
            Err(_) => EMPTY.get_or_init(Shape::scalar),
        }
    }

    /// The sizes of its `N` axes.
    ///
    /// # Errors
    /// If it has another number of axes, or carries an error.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let [rows, columns] = Tensor::zeros([2, 3], DType::F32, &Device::cpu()).dims()?;
    /// assert_eq!((rows, columns), (2, 3));
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn dims<const N: usize>(&self) -> Result<[usize; N]> {
        let shape = &self.value()?.meta().shape;
        let at = Caller::here();
        shape[..].try_into().map_err(|_| Error::op("dims", at, format!("expected {N} axes, found shape {shape}")))
    }

    /// The number of axes.
    pub fn rank(&self) -> usize {
        self.shape().rank()
    }

    /// The number of elements.
    pub fn numel(&self) -> usize {
        self.shape().numel()
    }

    /// The element type; `f32` for a tensor that carries an error.
    pub fn dtype(&self) -> DType {
        self.0.as_ref().map_or(DType::F32, |h| h.0.meta().dtype)
    }

    /// Where it lives; the CPU for a tensor that carries an error.
    pub fn device(&self) -> Device {
        self.0.as_ref().map_or_else(|_| Device::cpu(), |h| h.0.node.device.clone())
    }

    /// The error it carries.
    pub fn error(&self) -> Option<&Error> {
        self.0.as_ref().err().map(|e| &**e)
    }

    /// Computes it now, if it is not computed yet.
    ///
    /// # Errors
    /// Its own, or the device's: out of memory, lost, a kernel that did not compile, an index out of range.
    pub fn realize(&self) -> Result<()> {
        self.realized().map(|_| ())
    }

    pub(crate) fn realized(&self) -> Result<Realized> {
        let value = self.value()?;
        if let Some(realized) = value.realized() {
            return Ok(realized);
        }
        schedule::realize(&value.node.device, vec![value.node.clone()], History::Keep)?;
        value.realized().ok_or_else(|| Error::Backend {
            device: value.node.device.name().into(),
            detail: "a plan ran but gave no result".into(),
        })
    }

    /// The elements in row-major order, in the host's representation; `B` is the type of an element, or of its bytes.
    fn bits<B: Pod>(&self) -> Result<Vec<B>> {
        let Some(Realized { storage, layout }) = self.compact()? else { return Ok(Vec::new()) };
        let (device, dtype, mut bits) = (self.device(), self.dtype(), self.room());
        device.backend().read(&storage, dtype, layout.offset as usize, cast_slice_mut(&mut bits))?;
        Ok(bits)
    }

    /// [`Tensor::bits`] for where one may not block: the one place that waits for elements.
    pub(crate) async fn bits_async<B: Pod + Send>(&self) -> Result<Vec<B>> {
        let Some(Realized { storage, layout }) = self.compact()? else { return Ok(Vec::new()) };
        let (device, dtype, mut bits) = (self.device(), self.dtype(), self.room());
        device.backend().read_async(&storage, dtype, layout.offset as usize, cast_slice_mut(&mut bits)).await?;
        Ok(bits)
    }

    /// Where all its elements fit.
    fn room<B: Pod>(&self) -> Vec<B> {
        vec![B::zeroed(); self.numel() * self.dtype().bytes() / size_of::<B>()]
    }

    /// The elements computed, in row-major order without gaps; `None` when there are none.
    fn compact(&self) -> Result<Option<Realized>> {
        let shape = &self.value()?.meta().shape;
        if shape.numel() == 0 {
            return Ok(None);
        }
        let realized = self.realized()?;
        if realized.layout.is_contiguous(shape) {
            return Ok(Some(realized));
        }
        crate::autograd::no_grad(|| self.contiguous()).realized().map(Some)
    }

    /// The elements in row-major order.
    ///
    /// # Errors
    /// If `T` is not the tensor's dtype, and whatever [`Tensor::realize`] may fail with.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let x = Tensor::arange(6, &Device::cpu()).reshape([2, 3]);
    /// assert_eq!(x.t().to_vec::<i32>()?, [0, 3, 1, 4, 2, 5]);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        let at = Caller::here();
        let dtype = self.value()?.meta().dtype;
        if dtype != T::DTYPE {
            return Err(Error::op("to_vec", at, format!("the tensor is {dtype}, not {}", T::DTYPE)));
        }
        self.bits().map(T::of_bits)
    }

    /// The one element.
    ///
    /// # Errors
    /// If there are more or none, if `T` is not the tensor's dtype, and whatever [`Tensor::realize`] may fail with.
    #[track_caller]
    pub fn item<T: Element>(&self) -> Result<T> {
        let at = Caller::here();
        let shape = &self.value()?.meta().shape;
        if shape.numel() != 1 {
            return Err(Error::op("item", at, format!("shape {shape} does not have exactly one element")));
        }
        let all = self.to_vec::<T>()?;
        all.first().copied().ok_or_else(|| Error::op("item", at, "no element"))
    }

    /// The same elements in row-major order without gaps: a copy where they lie otherwise.
    pub(crate) fn contiguous(&self) -> Tensor {
        let Ok(value) = self.value() else { return self.clone() };
        let at = value.node.at;
        match value.realized() {
            Some(r) if r.layout.offset == 0 && r.layout.is_contiguous(self.shape()) => self.clone(),
            _ => Tensor::apply(Op::Cast(self.dtype()), &[self], at),
        }
    }

    /// The same tensor on another device; itself if it is there already. Between two GPUs of NVIDIA's it is copied
    /// directly, else by way of the host. No gradient flows back.
    ///
    /// # Errors
    /// Whatever [`Tensor::realize`] may fail with, or the other device's own.
    #[track_caller]
    pub fn to_device(&self, device: &Device) -> Result<Tensor> {
        let at = Caller::here();
        let value = self.value()?;
        if value.node.device == *device {
            return Ok(self.clone());
        }
        match self.copied_to(device, at)? {
            Some(copy) => Ok(copy),
            None => Tensor::upload(&self.bits::<u8>()?, value.meta().clone(), device, at),
        }
    }

    /// A copy that the other device makes without the host, if it can.
    fn copied_to(&self, device: &Device, at: Caller) -> Result<Option<Tensor>> {
        let value = self.value()?;
        let Meta { shape, dtype } = value.meta();
        let wide = device.caps().bytes_of(*dtype);
        if shape.numel() == 0
            || wide != value.node.device.caps().bytes_of(*dtype)
            || device.check_dtype(*dtype).is_err()
        {
            return Ok(None);
        }
        let mut from = self.realized()?;
        if !from.layout.is_contiguous(shape) {
            from = crate::autograd::no_grad(|| self.contiguous()).realized()?;
        }
        let bytes = shape.numel() * wide;
        let storage = device.backend().allocate(bytes)?;
        let start = from.layout.offset as usize * wide;
        let copied = device.backend().copy_from(&storage, &from.storage, start, bytes)?;
        let realized = Realized { storage: Arc::new(storage), layout: Layout::contiguous(shape) };
        Ok(copied.then(|| Tensor::leaf(device, value.meta().clone(), realized, at)))
    }

    /// A tensor of the given bytes: one element after another in the host's representation.
    pub(crate) fn upload(bytes: &[u8], meta: Meta, device: &Device, at: Caller) -> Result<Tensor> {
        device.check_dtype(meta.dtype).map_err(|e| Error::op("from_slice", at, e.to_string()))?;
        let size = meta.shape.numel() * device.caps().bytes_of(meta.dtype);
        let storage = device.backend().allocate(size)?;
        device.backend().write(&storage, meta.dtype, bytes)?;
        let layout = Layout::contiguous(&meta.shape);
        Ok(Tensor::leaf(device, meta, Realized { storage: Arc::new(storage), layout }, at))
    }

    /// Makes it a variable that [`Tensor::backward`] gives a gradient for.
    ///
    /// Where other handles on the tensor exist, the variable is a new tensor with the same elements, so that theirs stays as it was.
    /// An error for anything but floats.
    #[track_caller]
    pub fn requires_grad(self) -> Tensor {
        let at = Caller::here();
        let Ok(value) = self.value() else { return self };
        if !self.dtype().is_float() {
            return Tensor::bad("requires_grad", at, format!("only floats have gradients, not {}", self.dtype()));
        }
        let node = &value.node;
        if node.outs.len() == 1 && node.all_handles() == 1 && node.grad() == GradMode::None {
            node.set_leaf();
            return self;
        }
        let alias = self.detach();
        if let Ok(value) = alias.value() {
            value.node.set_leaf();
        }
        alias
    }

    /// True if a gradient flows into or through it.
    pub fn tracks_grad(&self) -> bool {
        self.value().is_ok_and(|v| v.node.grad() != GradMode::None)
    }

    /// The same elements without history: no gradient flows through.
    #[track_caller]
    pub fn detach(&self) -> Tensor {
        let at = Caller::here();
        crate::autograd::no_grad(|| Tensor::apply(Op::Reshape(self.shape().clone()), &[self], at))
    }
}

/// Computes everything that this thread has pending on `device` in one plan, and lets all history go: the end of a
/// training step. Optimizers call it.
pub fn realize_all(device: &Device) -> Result<()> {
    schedule::realize_all(device)
}
