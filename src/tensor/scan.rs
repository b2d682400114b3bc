//! Running sums, products and extremes along an axis.

use super::Tensor;
use super::axes::resolve;
use crate::dtype::DType;
use crate::error::Caller;
use crate::graph::{Op, ScanOp};

impl Tensor {
    fn scan(&self, op: ScanOp, axis: isize, at: Caller) -> Vec<Tensor> {
        let counts = matches!(op, ScanOp::Sum | ScanOp::Prod) && self.dtype() == DType::Bool;
        let x = if counts { self.cast_at(DType::I32, at) } else { self.clone() };
        match resolve(axis as i64, self.rank()) {
            _ if self.error().is_some() => vec![self.clone(); 2],
            Ok(axis) => x.widened_all(at, |x| Tensor::apply_all(Op::Scan { op, axis }, &[x], at)),
            Err(detail) => vec![Tensor::bad(op.name(), at, detail); 2],
        }
    }

    fn scan_with_indices(&self, op: ScanOp, axis: isize, at: Caller) -> (Tensor, Tensor) {
        let mut both = self.scan(op, axis, at).into_iter();
        match (both.next(), both.next()) {
            (Some(values), Some(indices)) => (values, indices),
            _ => (self.clone(), self.clone()),
        }
    }

    /// `y_i = x_0 + … + x_i` along `axis`; bools are counted as `i32`, other integers wrap.
    ///
    /// An error if there is no such axis.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let x = Tensor::arange(6, &Device::cpu()).reshape([2, 3]);
    /// assert_eq!(x.cumsum(1).to_vec::<i32>()?, [0, 1, 3, 3, 7, 12]);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn cumsum(&self, axis: isize) -> Tensor {
        self.scan(ScanOp::Sum, axis, Caller::here()).swap_remove(0)
    }

    /// `y_i = x_0 · … · x_i` along `axis`; bools are taken as `i32`, other integers wrap. Its gradient is right also where
    /// elements are 0.
    #[track_caller]
    pub fn cumprod(&self, axis: isize) -> Tensor {
        self.scan(ScanOp::Prod, axis, Caller::here()).swap_remove(0)
    }

    /// The largest so far along `axis`, and where it is (`i32`). Of equals the last counts, and once there is a NaN the
    /// result is NaN (PyTorch's `cummax`). The gradient goes to that place alone.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let x = Tensor::from_slice(&[1.0f32, 3.0, 3.0, 2.0], [4], &Device::cpu());
    /// let (values, indices) = x.cummax(0);
    /// assert_eq!(values.to_vec::<f32>()?, [1.0, 3.0, 3.0, 3.0]);
    /// assert_eq!(indices.to_vec::<i32>()?, [0, 1, 2, 2]);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn cummax(&self, axis: isize) -> (Tensor, Tensor) {
        self.scan_with_indices(ScanOp::Max, axis, Caller::here())
    }

    /// The smallest so far along `axis`, and where it is, as [`Tensor::cummax`].
    #[track_caller]
    pub fn cummin(&self, axis: isize) -> (Tensor, Tensor) {
        self.scan_with_indices(ScanOp::Min, axis, Caller::here())
    }

    /// `y_i = ln(exp x_0 + … + exp x_i)` along `axis`, without overflow. Floats only.
    #[track_caller]
    pub fn logcumsumexp(&self, axis: isize) -> Tensor {
        self.scan(ScanOp::LogSumExp, axis, Caller::here()).swap_remove(0)
    }

    /// The linear recurrence `y_i = a_i·y_{i-1} + x_i` along `axis`, `x` being `self` and `y_{-1}` 0; `a` broadcasts to
    /// `self`'s shape and has its dtype (a first-order filter, or a state space's scan; Blelloch, 1990).
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let x = Tensor::ones([4], DType::F32, &Device::cpu());
    /// let a = Tensor::full([4], 0.5f32, DType::F32, &Device::cpu());
    /// assert_eq!(x.linear_scan(&a, 0).to_vec::<f32>()?, [1.0, 1.5, 1.75, 1.875]);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn linear_scan(&self, a: &Tensor, axis: isize) -> Tensor {
        let at = Caller::here();
        match resolve(axis as i64, self.rank()) {
            _ if self.error().is_some() => self.clone(),
            Ok(axis) => {
                let a = a.broadcast(self.shape(), "linear_scan", at);
                self.widened(at, |x| {
                    let a = if a.dtype() == self.dtype() { a.cast_at(x.dtype(), at) } else { a };
                    Tensor::apply(Op::Scan { op: ScanOp::Linear, axis }, &[&a, x], at)
                })
            }
            Err(detail) => Tensor::bad("linear_scan", at, detail),
        }
    }
}
