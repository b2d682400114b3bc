//! Folds over axes.

use super::{OpInfo, one, op, x};

pub(super) const OPS: &[OpInfo] = &[op("sum", r#"{"axes": null, "keepdim": false}"#, &[x(&[3, 5])], |c| {
    one(if c.flag("keepdim") { c.x(0).sum_keepdim(c.axes("axes")) } else { c.x(0).sum(c.axes("axes")) })
})];
