//! For the tests of all backends.

use crate::device::{Backend, Storage};
use crate::dtype::DType;
use crate::error::Result;

/// So many elements from element `start` on.
pub fn read(backend: &dyn Backend, storage: &Storage, dtype: DType, start: usize, count: usize) -> Result<Vec<u8>> {
    let mut out = vec![0; count * dtype.bytes()];
    backend.read(storage, dtype, start, &mut out).map(|()| out)
}
