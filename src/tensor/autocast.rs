//! In which type are products computed? As PyTorch's `autocast`: weights stay `f32`, matrix units get halves.

use super::Tensor;
use crate::dtype::DType;
use crate::error::Caller;
use std::cell::Cell;

thread_local! {
    static HALF: Cell<Option<DType>> = const { Cell::new(None) };
}

/// Runs `body` with the operands of matrix products, convolutions and attention rounded from `f32` to `dtype`, which is
/// [`DType::BF16`] or [`DType::F16`] (any other changes nothing). Their results are of that type, too; sums, means, norms,
/// softmax and losses of halves stay `f32` inside. Gradients follow the types of what they are gradients of, so `backward`
/// may be called outside, and parameters and their optimizer stay `f32`.
///
/// `f16` has few exponents: gradients below 6e-8 vanish unless the loss is scaled up before and they are scaled down again.
///
/// ```
/// # use sunstone::prelude::*;
/// let x = Tensor::ones([2, 2], DType::F32, &Device::cpu());
/// assert_eq!(autocast(DType::BF16, || x.matmul(&x)).dtype(), DType::BF16);
/// assert_eq!(autocast(DType::BF16, || x.matmul(&x).softmax(1)).dtype(), DType::F32);
/// assert_eq!(x.matmul(&x).dtype(), DType::F32);
/// ```
pub fn autocast<R>(dtype: DType, body: impl FnOnce() -> R) -> R {
    struct Restore(Option<DType>);
    impl Drop for Restore {
        fn drop(&mut self) {
            HALF.set(self.0);
        }
    }
    let _restore = Restore(HALF.replace(Some(dtype).filter(|d| d.is_half())));
    body()
}

/// Whether halves go on as `f32` where they go through it.
pub(super) fn keeps_wide() -> bool {
    HALF.get().is_some()
}

impl Tensor {
    /// An operand of a product, in the type that products are computed in.
    pub(super) fn factor(&self, at: Caller) -> Tensor {
        match HALF.get() {
            Some(half) if self.dtype() == DType::F32 => self.cast_at(half, at),
            _ => self.clone(),
        }
    }
}
