//! Picking, placing and ordering elements.

use super::{OpInfo, index, one, op, x};

pub(super) const OPS: &[OpInfo] =
    &[op("gather", r#"{"axis": 0}"#, &[x(&[4, 3]), index(&[2, 3])], |c| one(c.x(0).gather(c.axis("axis"), c.x(1))))];
