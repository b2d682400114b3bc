//! Tensors from nothing: constants, ranges, host data, random numbers.

use super::Tensor;
use crate::device::Device;
use crate::dtype::{DType, Element, Scalar};
use crate::error::{Caller, Error};
use crate::graph::{Meta, Op, Param};
use crate::random::{Distribution, Generator};
use crate::shape::Shape;

impl Tensor {
    /// Zeros.
    #[track_caller]
    pub fn zeros(shape: impl Into<Shape>, dtype: DType, device: &Device) -> Tensor {
        Tensor::constant(shape.into(), Scalar::Int(0), dtype, device, Caller::here())
    }

    /// Ones.
    #[track_caller]
    pub fn ones(shape: impl Into<Shape>, dtype: DType, device: &Device) -> Tensor {
        Tensor::constant(shape.into(), Scalar::Int(1), dtype, device, Caller::here())
    }

    /// Every element `value`, converted to `dtype`.
    #[track_caller]
    pub fn full(shape: impl Into<Shape>, value: impl Into<Scalar>, dtype: DType, device: &Device) -> Tensor {
        Tensor::constant(shape.into(), value.into(), dtype, device, Caller::here())
    }

    /// A constant of `shape`; it costs no memory until something stores it.
    pub(crate) fn constant(shape: Shape, value: Scalar, dtype: DType, device: &Device, at: Caller) -> Tensor {
        let scalar = Tensor::source(Op::Scalar { dtype, value: Param(value) }, device, at);
        scalar.broadcast(&shape, "full", at)
    }

    /// A constant of the shape, dtype and device of `self`.
    pub(crate) fn constant_like(&self, value: impl Into<Scalar>, at: Caller) -> Tensor {
        match self.value() {
            Ok(v) => Tensor::constant(self.shape().clone(), value.into(), self.dtype(), &v.node.device, at),
            Err(_) => self.clone(),
        }
    }

    /// Zeros of the shape, dtype and device of `self`.
    #[track_caller]
    pub fn zeros_like(&self) -> Tensor {
        self.constant_like(0, Caller::here())
    }

    /// Ones of the shape, dtype and device of `self`.
    #[track_caller]
    pub fn ones_like(&self) -> Tensor {
        self.constant_like(1, Caller::here())
    }

    /// `0, 1, …, n - 1` as `i32`, shape `[n]`.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// assert_eq!(Tensor::arange(4, &Device::cpu()).to_vec::<i32>()?, [0, 1, 2, 3]);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn arange(n: usize, device: &Device) -> Tensor {
        let at = Caller::here();
        if n > i32::MAX as usize {
            return Tensor::bad("arange", at, format!("{n} is beyond i32"));
        }
        Tensor::source(Op::Iota { shape: Shape::from([n]), axis: 0 }, device, at)
    }

    /// The identity matrix, `[n, n]`.
    #[track_caller]
    pub fn eye(n: usize, dtype: DType, device: &Device) -> Tensor {
        let at = Caller::here();
        let iota = |axis| Tensor::source(Op::Iota { shape: Shape::from([n, n]), axis }, device, at);
        iota(0).eq(iota(1)).cast(dtype)
    }

    /// The given elements in row-major order, copied to the device.
    ///
    /// An error if their number is not that of `shape`, or the device lacks their type or the room.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let x = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0], [2, 2], &Device::cpu());
    /// assert_eq!(x.sum(0).to_vec::<f32>()?, [4.0, 6.0]);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn from_slice<T: Element>(data: &[T], shape: impl Into<Shape>, device: &Device) -> Tensor {
        let mut bytes = Vec::with_capacity(std::mem::size_of_val(data));
        T::extend_bytes(data, &mut bytes);
        Tensor::from_bytes(&bytes, Meta { shape: shape.into(), dtype: T::DTYPE }, device, Caller::here())
    }

    /// One number, shape `[]`.
    #[track_caller]
    pub fn scalar<T: Element>(value: T, device: &Device) -> Tensor {
        let op = Op::Scalar { dtype: T::DTYPE, value: Param(value.to_scalar()) };
        Tensor::source(op, device, Caller::here())
    }

    /// Elements in the host's representation, checked against the shape.
    pub(crate) fn from_bytes(bytes: &[u8], meta: Meta, device: &Device, at: Caller) -> Tensor {
        let size = meta.dtype.bytes();
        if meta.shape.checked_numel().is_none_or(|n| n * size != bytes.len()) {
            let detail = format!("{} elements do not fill shape {}", bytes.len() / size, meta.shape);
            return Tensor::failed(Error::op("from_slice", at, detail));
        }
        Tensor::from_result(Tensor::upload(bytes, meta, device, at))
    }
}

/// Random tensors are made where they live; see [`crate::random`] for what is the same on every device.
impl Generator {
    /// Uniform in `[0, 1)`, `f32`.
    #[track_caller]
    pub fn rand(&self, shape: impl Into<Shape>, device: &Device) -> Tensor {
        self.draw(shape.into(), Distribution::Uniform, device, Caller::here())
    }

    /// Standard normal, `f32`.
    #[track_caller]
    pub fn randn(&self, shape: impl Into<Shape>, device: &Device) -> Tensor {
        self.draw(shape.into(), Distribution::Normal, device, Caller::here())
    }

    /// 32 random bits each, `u32`.
    #[track_caller]
    pub fn bits(&self, shape: impl Into<Shape>, device: &Device) -> Tensor {
        self.draw(shape.into(), Distribution::Bits, device, Caller::here())
    }

    fn draw(&self, shape: Shape, distribution: Distribution, device: &Device, at: Caller) -> Tensor {
        Tensor::source(Op::Random { shape, distribution, state: Param(self.next()) }, device, at)
    }
}
