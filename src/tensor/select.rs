//! Reads of elements for where one may not block, which is in a browser.
//!
//! Every wait for the device in an `async` function is in [`Tensor::bytes_async`]. Where threads may block (everywhere but
//! in a browser) it is over at once, so that any executor, or a single poll, will do.

use super::Tensor;
use crate::dtype::Element;
use crate::error::{Caller, Error, Result};

impl Tensor {
    async fn read<T: Element>(&self, name: &'static str, at: Caller) -> Result<Vec<T>> {
        let dtype = self.value()?.meta().dtype;
        if dtype != T::DTYPE {
            return Err(Error::op(name, at, format!("the tensor is {dtype}, not {}", T::DTYPE)));
        }
        Ok(T::from_bytes(&self.bytes_async().await?))
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
}
