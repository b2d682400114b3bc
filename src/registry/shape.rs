//! Views and layout.

use super::{OpInfo, one, op, x};
use crate::tensor::Tensor;

pub(super) const OPS: &[OpInfo] = &[
    op("transpose", r#"{"dim0": 0, "dim1": 1}"#, &[x(&[3, 5])], |c| {
        one(c.x(0).transpose(c.axis("dim0"), c.axis("dim1")))
    }),
    op("cat", r#"{"axis": 0}"#, &[x(&[3, 5]), x(&[2, 5])], |c| one(Tensor::cat(&c.all(), c.axis("axis")))).variadic(),
];
