//! Results whose size depends on the data: the host must learn it, so these are `async`, as are reads of elements.
//!
//! Every wait for the device in an `async` function is in [`Tensor::bits_async`]. Where threads may block (everywhere but
//! in a browser) it is over at once, so that any executor, or a single poll, will do.

use super::Tensor;
use crate::autograd::no_grad;
use crate::dtype::{DType, Element};
use crate::error::{Caller, Error, Result};
use crate::graph::Op;

impl Tensor {
    async fn read<T: Element>(&self, name: &'static str, at: Caller) -> Result<Vec<T>> {
        let dtype = self.value()?.meta().dtype;
        if dtype != T::DTYPE {
            return Err(Error::op(name, at, format!("the tensor is {dtype}, not {}", T::DTYPE)));
        }
        self.bits_async().await.map(T::of_bits)
    }

    /// [`Tensor::to_vec`] for where one may not block.
    ///
    /// # Errors
    /// Those of [`Tensor::to_vec`].
    #[track_caller]
    pub fn to_vec_async<T: Element>(&self) -> impl Future<Output = Result<Vec<T>>> + use<T> {
        let (x, at) = (self.clone(), Caller::here());
        async move { x.read::<T>("to_vec_async", at).await }
    }

    /// [`Tensor::item`] for where one may not block.
    ///
    /// # Errors
    /// Those of [`Tensor::item`].
    #[track_caller]
    pub fn item_async<T: Element>(&self) -> impl Future<Output = Result<T>> + use<T> {
        let (x, at) = (self.clone(), Caller::here());
        async move {
            let shape = &x.value()?.meta().shape;
            let many = || Error::op("item_async", at, format!("shape {shape} does not have exactly one element"));
            if shape.numel() != 1 {
                return Err(many());
            }
            x.read::<T>("item_async", at).await?.first().copied().ok_or_else(many)
        }
    }

    /// Where the elements are that are not 0, in row-major order: `i32 [count, rank]` (PyTorch's `nonzero`).
    /// Only their number is read back.
    ///
    /// # Errors
    /// The tensor's own, and whatever [`Tensor::realize`] may fail with.
    #[track_caller]
    pub fn nonzero(&self) -> impl Future<Output = Result<Tensor>> + use<> {
        let (x, at) = (self.clone(), Caller::here());
        async move {
            let places = x.places_of_true(at).await?;
            let count = places.numel();
            let mut rest = places;
            let mut columns = Vec::new();
            for &n in x.shape().iter().rev() {
                columns.push(rest.remainder(n.max(1) as i32).reshape_to([count, 1].into(), at));
                rest = rest.floor_divide(n.max(1) as i32);
            }
            columns.reverse();
            match columns.is_empty() {
                true => Ok(Tensor::constant([count, 0].into(), 0.into(), DType::I32, &x.device(), at)),
                false => Ok(Tensor::cat(&columns.iter().collect::<Vec<_>>(), 1)),
            }
        }
    }

    /// The elements at which `mask` is true, in row-major order; both broadcast (PyTorch's `masked_select`). The gradient
    /// goes back to where they were.
    ///
    /// # Errors
    /// If the mask is not `bool` or the shapes do not broadcast, the tensors' own, and whatever [`Tensor::realize`] may fail
    /// with.
    #[track_caller]
    pub fn masked_select(&self, mask: &Tensor) -> impl Future<Output = Result<Tensor>> + use<> {
        let (x, mask, at) = (self.clone(), mask.clone(), Caller::here());
        async move {
            x.value()?;
            mask.value()?;
            let fail = |detail: String| Err(Error::op("masked_select", at, detail));
            if mask.dtype() != DType::Bool {
                return fail(format!("the mask must be bool, not {}", mask.dtype()));
            }
            let Some(shape) = x.shape().broadcast(mask.shape()) else {
                return fail(format!("shapes {} and {} do not broadcast", x.shape(), mask.shape()));
            };
            let places = mask.broadcast(&shape, "masked_select", at).places_of_true(at).await?;
            let x = x.broadcast(&shape, "masked_select", at).flat(at);
            let picked = Tensor::apply(Op::Gather { axis: 0 }, &[&x, &places], at);
            picked.value()?;
            Ok(picked)
        }
    }

    /// The row-major positions of what is not 0, `i32 [count]`: position `k` is the first at which the running count
    /// reaches `k + 1`, which a binary search finds without writing anywhere.
    async fn places_of_true(&self, at: Caller) -> Result<Tensor> {
        let device = self.value()?.node.device.clone();
        let n = self.numel();
        if n > i32::MAX as usize {
            return Err(Error::op("nonzero", at, format!("{n} elements are beyond i32")));
        }
        if n == 0 {
            return Ok(Tensor::constant([0].into(), 0.into(), DType::I32, &device, at));
        }
        let counts = no_grad(|| self.cast_at(DType::Bool, at).flat(at).cumsum(0));
        // Held until the search, so that it is computed once.
        let count = counts.narrow(0, n - 1, 1).read::<i32>("nonzero", at).await?;
        let count = count.first().map_or(0, |&c| c as usize);
        let wanted = no_grad(|| Tensor::source(Op::Iota { shape: [count].into(), axis: 0 }, &device, at) + 1);
        Ok(counts.searchsorted(&wanted, false))
    }
}
