//! Element by element.

use super::{OpInfo, mask, one, op, x};

pub(super) const OPS: &[OpInfo] = &[
    op("exp", "{}", &[x(&[3, 5])], |c| one(c.x(0).exp())),
    op("add", "{}", &[x(&[3, 5]), x(&[5])], |c| one(c.x(0) + c.x(1))),
    op("clamp", r#"{"min": null, "max": null}"#, &[x(&[3, 5])], |c| {
        let low = c.optional("min", |c| c.float("min")).unwrap_or(f64::NEG_INFINITY);
        let high = c.optional("max", |c| c.float("max")).unwrap_or(f64::INFINITY);
        one(c.x(0).clamp(low, high))
    }),
    op("where", "{}", &[mask(&[3, 5]), x(&[3, 5]), x(&[5])], |c| one(c.x(1).where_(c.x(0), c.x(2)))),
];
