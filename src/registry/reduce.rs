//! Folds over axes.

use super::{OpInfo, one, op, x};

/// `$keep` or `$plain` over the axes, as `keepdim` says.
macro_rules! fold {
    ($name:literal, $plain:ident, $keep:ident) => {
        op($name, r#"{"axes": null, "keepdim": false}"#, &[x(&[3, 5])], |c| {
            one(if c.flag("keepdim") { c.x(0).$keep(c.axes("axes")) } else { c.x(0).$plain(c.axes("axes")) })
        })
    };
}

pub(super) const OPS: &[OpInfo] = &[
    fold!("sum", sum, sum_keepdim),
    fold!("prod", prod, prod_keepdim),
    fold!("amax", max, max_keepdim),
    fold!("amin", min, min_keepdim),
    fold!("mean", mean, mean_keepdim),
    fold!("any", any, any_keepdim),
    fold!("all", all, all_keepdim),
    fold!("logsumexp", logsumexp, logsumexp_keepdim),
    op("var", r#"{"axes": null, "correction": 1.0, "keepdim": false}"#, &[x(&[3, 5])], |c| {
        let (axes, correction) = (c.axes("axes"), c.float("correction"));
        one(if c.flag("keepdim") { c.x(0).var_keepdim(axes, correction) } else { c.x(0).var(axes, correction) })
    }),
    op("std", r#"{"axes": null, "correction": 1.0, "keepdim": false}"#, &[x(&[3, 5])], |c| {
        let (axes, correction) = (c.axes("axes"), c.float("correction"));
        one(if c.flag("keepdim") { c.x(0).std_keepdim(axes, correction) } else { c.x(0).std(axes, correction) })
    }),
    op("var_mean", r#"{"axes": null, "correction": 1.0}"#, &[x(&[3, 5])], |c| {
        let (var, mean) = c.x(0).var_mean(c.axes("axes"), c.float("correction"));
        vec![var, mean]
    }),
    op("std_mean", r#"{"axes": null, "correction": 1.0}"#, &[x(&[3, 5])], |c| {
        let (std, mean) = c.x(0).std_mean(c.axes("axes"), c.float("correction"));
        vec![std, mean]
    }),
    op("norm", r#"{"p": 2.0, "axes": null, "keepdim": false}"#, &[x(&[3, 5])], |c| {
        let (p, axes) = (c.float("p"), c.axes("axes"));
        one(if c.flag("keepdim") { c.x(0).norm_keepdim(p, axes) } else { c.x(0).norm(p, axes) })
    }),
    op("argmax", r#"{"axes": null}"#, &[x(&[3, 5])], |c| one(c.x(0).argmax(c.axes("axes")))),
    op("argmin", r#"{"axes": null}"#, &[x(&[3, 5])], |c| one(c.x(0).argmin(c.axes("axes")))),
    op("max", r#"{"axes": [-1]}"#, &[x(&[3, 5])], |c| {
        let (values, indices) = c.x(0).max_with_indices(c.axes("axes"));
        vec![values, indices]
    }),
    op("min", r#"{"axes": [-1]}"#, &[x(&[3, 5])], |c| {
        let (values, indices) = c.x(0).min_with_indices(c.axes("axes"));
        vec![values, indices]
    }),
    op("count_nonzero", r#"{"axes": null}"#, &[x(&[3, 5])], |c| one(c.x(0).count_nonzero(c.axes("axes")))),
    op("nansum", r#"{"axes": null}"#, &[x(&[3, 5])], |c| one(c.x(0).nansum(c.axes("axes")))),
    op("nanmean", r#"{"axes": null}"#, &[x(&[3, 5])], |c| one(c.x(0).nanmean(c.axes("axes")))),
    op("sum_to", r#"{"shape": [3, 1]}"#, &[x(&[2, 3, 4])], |c| one(c.x(0).sum_to(c.shape("shape")))),
];
