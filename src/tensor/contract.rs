//! Contractions and pooling: matrix products, 2-d convolution, max and average pools.

use super::Tensor;
use crate::dtype::{DType, Scalar};
use crate::error::Caller;
use crate::graph::{BinaryOp, ConvSpec, Op, ReduceOp};
use crate::shape::{Dims, Shape};

impl Tensor {
    /// The matrix product over the last two axes, `[.., m, k] × [.., k, n]`; batch axes broadcast. A vector counts as a row
    /// on the left and as a column on the right, and its axis goes, as in PyTorch and NumPy. Transposed operands are not copied.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let a = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0], [2, 2], &Device::cpu());
    /// assert_eq!(a.matmul(&a.t()).to_vec::<f32>()?, [5.0, 11.0, 11.0, 25.0]);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn matmul(&self, other: &Tensor) -> Tensor {
        let at = Caller::here();
        for t in [self, other] {
            if t.error().is_some() {
                return t.clone();
            }
        }
        if self.rank() == 0 || other.rank() == 0 {
            let detail = format!("cannot multiply {} by {}", self.shape(), other.shape());
            return Tensor::bad("matmul", at, detail);
        }
        let dtype = self.dtype().promote(other.dtype());
        let dtype = if dtype.is_float() { dtype } else { DType::F32 };
        let a = self.cast_at(dtype, at);
        let b = other.cast_at(dtype, at);
        let a = if a.rank() == 1 { a.reshape_to([1, a.numel()].into(), at) } else { a };
        let b = if b.rank() == 1 { b.reshape_to([b.numel(), 1].into(), at) } else { b };
        let product = Tensor::batched(&a, &b, at);
        let mut shape = product.shape().clone();
        if product.error().is_none() {
            let rank = shape.rank();
            if other.rank() == 1 {
                shape.dims_mut().remove(rank - 1);
            }
            if self.rank() == 1 {
                shape.dims_mut().remove(rank - 2);
            }
        }
        product.reshape_to(shape, at)
    }

    /// Both of rank 2 or more.
    fn batched(a: &Tensor, b: &Tensor, at: Caller) -> Tensor {
        let (ra, rb) = (a.rank(), b.rank());
        let tail = |t: &Tensor| Shape::from(&t.shape()[t.rank() - 2..]);
        if rb == 2 && ra > 2 && a.shape()[ra - 1] == b.shape()[0] {
            // One product with more rows instead of many products.
            let rows = a.shape()[..ra - 1].iter().product();
            let flat = a.reshape_to([rows, a.shape()[ra - 1]].into(), at);
            let shape = a.shape()[..ra - 1].iter().copied().chain([b.shape()[1]]).collect();
            return Tensor::apply(Op::Matmul, &[&flat, b], at).reshape_to(shape, at);
        }
        let (batch_a, batch_b) = (Shape::from(&a.shape()[..ra - 2]), Shape::from(&b.shape()[..rb - 2]));
        let Some(batch) = batch_a.broadcast(&batch_b) else {
            let detail = format!("cannot multiply {} by {}: batch axes do not broadcast", a.shape(), b.shape());
            return Tensor::bad("matmul", at, detail);
        };
        let spread = |t: &Tensor| {
            let shape: Shape = batch.iter().chain(tail(t).iter()).copied().collect();
            t.broadcast(&shape, "matmul", at)
        };
        Tensor::apply(Op::Matmul, &[&spread(a), &spread(b)], at)
    }

    /// The cross-correlation of `self [n, c, h, w]` with `weight [o, c/groups, kh, kw]`, giving `[n, o, oh, ow]` (what deep
    /// learning calls convolution).
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let x = Tensor::ones([1, 1, 4, 4], DType::F32, &Device::cpu());
    /// let w = Tensor::ones([1, 1, 3, 3], DType::F32, &Device::cpu());
    /// let y = x.conv2d(&w, ConvSpec { padding: [1, 1], ..ConvSpec::default() });
    /// assert_eq!(y.slice((0, 0, 0)).to_vec::<f32>()?, [4.0, 6.0, 6.0, 4.0]);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn conv2d(&self, weight: &Tensor, spec: ConvSpec) -> Tensor {
        Tensor::apply(Op::Conv(spec), &[self, weight], Caller::here())
    }

    /// `[.., h, w]` as windows `[.., oh, ow, kh, kw]`, padded with `fill`.
    fn windows(
        &self,
        name: &'static str,
        kernel: [usize; 2],
        stride: [usize; 2],
        padding: [usize; 2],
        fill: f64,
        at: Caller,
    ) -> Tensor {
        if self.error().is_some() {
            return self.clone();
        }
        let rank = self.rank();
        if rank < 2 || kernel.contains(&0) || stride.contains(&0) || (0..2).any(|d| padding[d] * 2 > kernel[d]) {
            let detail = format!(
                "kernel {kernel:?}, stride {stride:?} and padding {padding:?} do not fit {} (padding is at most half the kernel)",
                self.shape()
            );
            return Tensor::bad(name, at, detail);
        }
        let mut pad: Dims<usize> = Dims::from_elem(0, rank);
        pad[rank - 2..].copy_from_slice(&padding);
        let x = self.pad_with(pad.clone(), pad, Scalar::Float(fill), at);
        let window = |x: &Tensor, d: usize| {
            let op = Op::Unfold { axis: rank - 2 + d, size: kernel[d], step: stride[d], dilation: 1 };
            Tensor::apply(op, &[x], at)
        };
        window(&window(&x, 0), 1)
    }

    /// The largest element of each `kernel` window, `[.., h, w]` to `[.., oh, ow]`. The gradient goes to the first largest.
    #[track_caller]
    pub fn max_pool2d(&self, kernel: [usize; 2], stride: [usize; 2], padding: [usize; 2]) -> Tensor {
        let at = Caller::here();
        let windows = self.windows("max_pool2d", kernel, stride, padding, f64::NEG_INFINITY, at);
        if windows.error().is_some() {
            return windows;
        }
        let rank = windows.rank();
        let axes = [rank - 2, rank - 1].into_iter().collect();
        Tensor::apply(Op::ArgReduce { op: ReduceOp::Max, axes }, &[&windows], at)
    }

    /// The mean of each `kernel` window, padding counted as zeros (PyTorch's default), `[.., h, w]` to `[.., oh, ow]`.
    #[track_caller]
    pub fn avg_pool2d(&self, kernel: [usize; 2], stride: [usize; 2], padding: [usize; 2]) -> Tensor {
        let at = Caller::here();
        let windows = self.windows("avg_pool2d", kernel, stride, padding, 0.0, at);
        if windows.error().is_some() {
            return windows;
        }
        let rank = windows.rank();
        windows.widened(at, |windows| {
            let sum = windows.reduce_axes(ReduceOp::Sum, [rank - 2, rank - 1].into_iter().collect(), false, at);
            sum.binary(BinaryOp::Mul, (1.0 / (kernel[0] * kernel[1]) as f64).into(), at)
        })
    }
}
