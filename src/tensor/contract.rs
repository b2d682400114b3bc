//! What is the product of two matrices, batches of them, or vectors?

use super::Tensor;
use crate::error::Caller;
use crate::graph::{BinaryOp, Op, ReduceOp};
use crate::shape::Shape;

impl Tensor {
    /// The matrix product over the last two axes, `[.., m, k] × [.., k, n]`; batch axes broadcast. A vector counts as a row
    /// on the left and as a column on the right, and its axis goes, as in PyTorch and NumPy. Transposed operands are not copied.
    /// Integers are multiplied and summed exactly (they wrap); `bool` has no product.
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
        if dtype == crate::dtype::DType::Bool {
            return Tensor::bad("matmul", at, "is not defined for bool; cast first");
        }
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
        let product = |a: &Tensor, b: &Tensor| match a.dtype().is_float() {
            true => Tensor::apply(Op::Matmul, &[a, b], at),
            false => Tensor::integer_product(a, b, at),
        };
        if rb == 2 && ra > 2 && a.shape()[ra - 1] == b.shape()[0] {
            // One product with more rows instead of many products.
            let rows = a.shape()[..ra - 1].iter().product();
            let flat = a.reshape_to([rows, a.shape()[ra - 1]].into(), at);
            let shape = a.shape()[..ra - 1].iter().copied().chain([b.shape()[1]]).collect();
            return product(&flat, b).reshape_to(shape, at);
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
        product(&spread(a), &spread(b))
    }

    /// The devices' matrix products are for floats; a fold over the products of integers is exact.
    fn integer_product(a: &Tensor, b: &Tensor, at: Caller) -> Tensor {
        let rank = a.rank();
        if a.shape()[rank - 1] != b.shape()[rank - 2] {
            let detail = format!("cannot multiply {} by {}: the inner sizes differ", a.shape(), b.shape());
            return Tensor::bad("matmul", at, detail);
        }
        let products = a.insert_axis(rank, at).binary(BinaryOp::Mul, b.insert_axis(rank - 2, at).into(), at);
        products.reduce(ReduceOp::Sum, (rank - 1).into(), false, at)
    }
}
