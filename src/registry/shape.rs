//! Views and layout.

use super::{Call, OpInfo, one, op, x};
use crate::tensor::{Index, Indexing, PadMode, Tensor};

fn axes(c: &Call, name: &str) -> Vec<isize> {
    c.ints(name).into_iter().map(|a| a as isize).collect()
}

/// Two lists side by side; the shorter one ends in zeros, so that the op sees how long the longer is.
fn pairs(c: &Call, before: &str, after: &str) -> Vec<(i64, i64)> {
    let (before, after) = (c.ints(before), c.ints(after));
    let at = |list: &[i64], i: usize| list.get(i).copied().unwrap_or(0);
    (0..before.len().max(after.len())).map(|i| (at(&before, i), at(&after, i))).collect()
}

fn pad_mode(c: &Call) -> PadMode {
    match c.text("mode").as_str() {
        "reflect" => PadMode::Reflect,
        "symmetric" => PadMode::Symmetric,
        "circular" => PadMode::Circular,
        _ => PadMode::Edge,
    }
}

fn ranges(c: &Call) -> Vec<Index> {
    let (starts, ends) = (c.optional("starts", |c| c.ints("starts")), c.optional("ends", |c| c.ints("ends")));
    let at = |list: &Option<Vec<i64>>, i: usize| list.as_ref().and_then(|l| l.get(i).copied());
    let range = |(i, step): (usize, i64)| Index::Range { start: at(&starts, i), end: at(&ends, i), step };
    c.ints("steps").into_iter().enumerate().map(range).collect()
}

pub(super) const OPS: &[OpInfo] = &[
    op("reshape", r#"{"shape": [5, -1]}"#, &[x(&[3, 5])], |c| one(c.x(0).reshape(c.ints("shape")))),
    op("flatten", r#"{"start_dim": 0, "end_dim": -1}"#, &[x(&[3, 1, 5])], |c| {
        one(c.x(0).flatten(c.axis("start_dim"), c.axis("end_dim")))
    }),
    op("unflatten", r#"{"axis": 0, "sizes": [2, -1]}"#, &[x(&[6, 3])], |c| {
        one(c.x(0).unflatten(c.axis("axis"), c.ints("sizes")))
    }),
    op("squeeze", r#"{"axes": null}"#, &[x(&[3, 1, 5, 1])], |c| one(c.x(0).squeeze(c.axes("axes")))),
    op("unsqueeze", r#"{"axis": 0}"#, &[x(&[3, 5])], |c| one(c.x(0).unsqueeze(c.axis("axis")))),
    op("permute", r#"{"axes": [2, 0, 1]}"#, &[x(&[2, 3, 4])], |c| one(c.x(0).permute(&axes(c, "axes")))),
    op("transpose", r#"{"dim0": 0, "dim1": 1}"#, &[x(&[3, 5])], |c| {
        one(c.x(0).transpose(c.axis("dim0"), c.axis("dim1")))
    }),
    op("t", "{}", &[x(&[3, 5])], |c| one(c.x(0).t())),
    op("moveaxis", r#"{"source": [0], "destination": [-1]}"#, &[x(&[2, 3, 4])], |c| {
        one(c.x(0).moveaxis(&axes(c, "source"), &axes(c, "destination")))
    }),
    op("expand", r#"{"sizes": [4, -1, 5]}"#, &[x(&[3, 1])], |c| one(c.x(0).expand(c.ints("sizes")))),
    op("broadcast_tensors", "{}", &[x(&[3, 1]), x(&[4])], |c| Tensor::broadcast_tensors(&c.all())).variadic(),
    op("repeat", r#"{"times": [2, 3]}"#, &[x(&[3, 2])], |c| one(c.x(0).repeat(&c.sizes("times")))),
    op("tile", r#"{"times": [2]}"#, &[x(&[3, 2])], |c| one(c.x(0).tile(&c.sizes("times")))),
    op("repeat_interleave", r#"{"times": 2, "axis": 0}"#, &[x(&[3, 2])], |c| {
        one(c.x(0).repeat_interleave(c.size("times"), c.axis("axis")))
    }),
    op("repeat_interleave_each", r#"{"counts": [2, 0, 1], "axis": 0}"#, &[x(&[3, 2])], |c| {
        one(c.x(0).repeat_interleave_each(&c.sizes("counts"), c.axis("axis")))
    }),
    op("flip", r#"{"axes": [0]}"#, &[x(&[3, 5])], |c| one(c.x(0).flip(c.axes("axes")))),
    op("roll", r#"{"shifts": [1], "axes": [0]}"#, &[x(&[3, 5])], |c| {
        one(c.x(0).roll(&axes(c, "shifts"), &axes(c, "axes")))
    }),
    op("narrow", r#"{"axis": 0, "start": 1, "length": 2}"#, &[x(&[3, 5])], |c| {
        one(c.x(0).narrow(c.axis("axis"), c.size("start"), c.size("length")))
    }),
    op("select", r#"{"axis": 0, "index": -1}"#, &[x(&[3, 5])], |c| one(c.x(0).select(c.axis("axis"), c.axis("index")))),
    op("slice", r#"{"starts": null, "ends": null, "steps": [1, -2]}"#, &[x(&[3, 5])], |c| {
        one(c.x(0).slice(&ranges(c)[..]))
    }),
    op("split", r#"{"size": 2, "axis": 0}"#, &[x(&[5, 2])], |c| c.x(0).split(c.size("size"), c.axis("axis"))),
    op("split_with_sizes", r#"{"sizes": [1, 4], "axis": 0}"#, &[x(&[5, 2])], |c| {
        c.x(0).split_with_sizes(&c.sizes("sizes"), c.axis("axis"))
    }),
    op("chunk", r#"{"chunks": 2, "axis": 0}"#, &[x(&[5, 2])], |c| c.x(0).chunk(c.size("chunks"), c.axis("axis"))),
    op("unbind", r#"{"axis": 0}"#, &[x(&[3, 2])], |c| c.x(0).unbind(c.axis("axis"))),
    op("unfold", r#"{"axis": 0, "size": 2, "step": 1}"#, &[x(&[5, 2])], |c| {
        one(c.x(0).unfold(c.axis("axis"), c.size("size"), c.size("step")))
    }),
    op("cat", r#"{"axis": 0}"#, &[x(&[3, 5]), x(&[2, 5])], |c| one(Tensor::cat(&c.all(), c.axis("axis")))).variadic(),
    op("stack", r#"{"axis": 0}"#, &[x(&[3, 5]), x(&[3, 5])], |c| one(Tensor::stack(&c.all(), c.axis("axis"))))
        .variadic(),
    op("meshgrid", r#"{"indexing": "ij"}"#, &[x(&[3]), x(&[2])], |c| {
        let indexing = if c.text("indexing") == "xy" { Indexing::Xy } else { Indexing::Ij };
        Tensor::meshgrid(&c.all(), indexing)
    })
    .variadic(),
    op("pad", r#"{"before": [1, 0], "after": [0, 2], "value": 0.0}"#, &[x(&[3, 5])], |c| {
        one(c.x(0).pad(&pairs(c, "before", "after"), c.float("value")))
    }),
    op("pad_mode", r#"{"before": [1, 0], "after": [0, 2], "mode": "edge"}"#, &[x(&[3, 5])], |c| {
        one(c.x(0).pad_mode(&pairs(c, "before", "after"), pad_mode(c)))
    }),
    op("tril", r#"{"diagonal": 0}"#, &[x(&[3, 5])], |c| one(c.x(0).tril(c.axis("diagonal")))),
    op("triu", r#"{"diagonal": 0}"#, &[x(&[3, 5])], |c| one(c.x(0).triu(c.axis("diagonal")))),
    op("diagonal", r#"{"offset": 0, "dim1": 0, "dim2": 1}"#, &[x(&[3, 5])], |c| {
        one(c.x(0).diagonal(c.axis("offset"), c.axis("dim1"), c.axis("dim2")))
    }),
    op("diag_embed", r#"{"offset": 0, "dim1": -2, "dim2": -1}"#, &[x(&[2, 3])], |c| {
        one(c.x(0).diag_embed(c.axis("offset"), c.axis("dim1"), c.axis("dim2")))
    }),
    op("diag", r#"{"diagonal": 0}"#, &[x(&[3])], |c| one(c.x(0).diag(c.axis("diagonal")))),
    op("trace", "{}", &[x(&[3, 5])], |c| one(c.x(0).trace())),
    op("pixel_shuffle", r#"{"upscale_factor": 2}"#, &[x(&[1, 4, 2, 3])], |c| {
        one(c.x(0).pixel_shuffle(c.size("upscale_factor")))
    }),
    op("pixel_unshuffle", r#"{"downscale_factor": 2}"#, &[x(&[1, 1, 4, 6])], |c| {
        one(c.x(0).pixel_unshuffle(c.size("downscale_factor")))
    }),
    op("expand_as", "{}", &[x(&[3, 1]), x(&[2, 3, 4])], |c| one(c.x(0).expand_as(c.x(1)))),
    op("relative_shift", "{}", &[x(&[2, 3, 4])], |c| one(c.x(0).relative_shift())),
];
