//! Matrix products, convolutions, pooling, attention.

use super::{OpInfo, one, op, x};

pub(super) const OPS: &[OpInfo] = &[op("matmul", "{}", &[x(&[3, 4]), x(&[4, 5])], |c| one(c.x(0).matmul(c.x(1))))];
