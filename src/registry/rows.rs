//! Softmax, norms and losses.

use super::{OpInfo, one, op, x};

pub(super) const OPS: &[OpInfo] =
    &[op("softmax", r#"{"axis": -1}"#, &[x(&[3, 5])], |c| one(c.x(0).softmax(c.axis("axis"))))];
