//! Tensors from nothing: constants, ranges, host data, random numbers.

use super::Tensor;
use crate::device::Device;
use crate::dtype::{DType, Element, Scalar};
use crate::error::{Caller, Error};
use crate::graph::{Meta, Op, Param};
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
        Tensor::number(Shape::scalar(), value, dtype, device, at).broadcast(&shape, "full", at)
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

    /// Every element `value`; shape, dtype and device of `self`.
    #[track_caller]
    pub fn full_like(&self, value: impl Into<Scalar>) -> Tensor {
        self.constant_like(value, Caller::here())
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

    /// `start, start + step, …` up to but not including `end`, shape `[⌈(end - start)/step⌉]`. Of integers alone exact,
    /// else in `f32` (in `f64` for that dtype). An error for a step of 0, one that leads away from `end`, or NaN.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// assert_eq!(Tensor::arange_by(5, 0, -2, DType::I32, &Device::cpu()).to_vec::<i32>()?, [5, 3, 1]);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn arange_by(
        start: impl Into<Scalar>,
        end: impl Into<Scalar>,
        step: impl Into<Scalar>,
        dtype: DType,
        device: &Device,
    ) -> Tensor {
        let at = Caller::here();
        let (start, end, step) = (start.into(), end.into(), step.into());
        let count = match (start, end, step) {
            (Scalar::Int(a), Scalar::Int(b), Scalar::Int(s)) if s != 0 => {
                let (way, s) =
                    if s > 0 { (b as i128 - a as i128, s) } else { (a as i128 - b as i128, s.saturating_neg()) };
                if way < 0 { -1.0 } else { ((way + s as i128 - 1) / s as i128) as f64 }
            }
            _ => ((end.to_f64() - start.to_f64()) / step.to_f64()).ceil(),
        };
        // The comparison is also false for NaN.
        if !(0.0..=i32::MAX as f64).contains(&count) {
            let detail = format!("no range leads from {start:?} to {end:?} by {step:?} in at most 2^31 - 1 steps");
            return Tensor::bad("arange", at, detail);
        }
        let iota = Tensor::source(Op::Iota { shape: [count as usize].into(), axis: 0 }, device, at);
        let whole = [start, step].iter().all(|s| matches!(s, Scalar::Int(_))) && dtype.is_int();
        let working = if whole || dtype == DType::F64 { dtype } else { DType::F32 };
        let [start, step] = [start, step].map(|value| Tensor::constant(Shape::scalar(), value, working, device, at));
        (iota.cast(working) * step + start).cast(dtype)
    }

    /// `steps` numbers from `start` to `end`, both included, evenly apart; from whichever end is nearer, so that both are exact.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// assert_eq!(Tensor::linspace(0.0, 1.0, 5, DType::F32, &Device::cpu()).to_vec::<f32>()?, [0.0, 0.25, 0.5, 0.75, 1.0]);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn linspace(start: f64, end: f64, steps: usize, dtype: DType, device: &Device) -> Tensor {
        let at = Caller::here();
        if steps > i32::MAX as usize {
            return Tensor::bad("linspace", at, format!("{steps} steps are beyond i32"));
        }
        let working = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
        let step = if steps > 1 { (end - start) / (steps - 1) as f64 } else { 0.0 };
        let index = Tensor::source(Op::Iota { shape: [steps].into(), axis: 0 }, device, at);
        let forward = index.cast(working) * step + start;
        let backward = (steps as i32 - 1 - &index).cast(working) * -step + end;
        forward.where_(&index.lt((steps as i32 / 2).max(1)), backward).cast(dtype)
    }

    /// The identity matrix, `[n, n]`.
    #[track_caller]
    pub fn eye(n: usize, dtype: DType, device: &Device) -> Tensor {
        Tensor::eye_of(n, n, dtype, device)
    }

    /// `[rows, columns]` with ones where the row is the column, zeros elsewhere.
    #[track_caller]
    pub fn eye_of(rows: usize, columns: usize, dtype: DType, device: &Device) -> Tensor {
        let (row, column) = positions(rows, columns, device, Caller::here());
        row.eq(column).cast(dtype)
    }

    /// `bool` `[rows, columns]`: true on and below the given diagonal (0 the main one, positive above it).
    #[track_caller]
    pub fn tril_mask(rows: usize, columns: usize, diagonal: i32, device: &Device) -> Tensor {
        let (row, column) = positions(rows, columns, device, Caller::here());
        (column - row).le(diagonal)
    }

    /// `bool` `[rows, columns]`: true on and above the given diagonal (0 the main one, positive above it).
    #[track_caller]
    pub fn triu_mask(rows: usize, columns: usize, diagonal: i32, device: &Device) -> Tensor {
        let (row, column) = positions(rows, columns, device, Caller::here());
        (column - row).ge(diagonal)
    }

    /// The elements of a vector, shape `[n]`; see [`Tensor::from_slice`].
    #[track_caller]
    pub fn from_vec<T: Element>(data: Vec<T>, device: &Device) -> Tensor {
        Tensor::from_slice(&data, [data.len()], device)
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
        let meta = Meta { shape: shape.into(), dtype: T::DTYPE };
        Tensor::from_bytes(&T::to_bytes(data), meta, device, Caller::here())
    }

    /// One number, shape `[]`.
    #[track_caller]
    pub fn scalar<T: Element>(value: T, device: &Device) -> Tensor {
        Tensor::number(Shape::scalar(), value.to_scalar(), T::DTYPE, device, Caller::here())
    }

    /// One number for every element of `shape`. Where it is stored as it is, it takes the memory of all its elements:
    /// see [`Tensor::constant`].
    pub(crate) fn number(shape: Shape, value: Scalar, dtype: DType, device: &Device, at: Caller) -> Tensor {
        Tensor::source(Op::Scalar { dtype, shape, value: Param(value) }, device, at)
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

/// The row and the column of every element of a matrix.
fn positions(rows: usize, columns: usize, device: &Device, at: Caller) -> (Tensor, Tensor) {
    if rows.max(columns) > i32::MAX as usize {
        let bad = Tensor::bad("iota", at, format!("{rows} by {columns} is beyond i32"));
        return (bad.clone(), bad);
    }
    let along = |axis| Tensor::source(Op::Iota { shape: [rows, columns].into(), axis }, device, at);
    (along(0), along(1))
}
