//! Matrix products, convolutions, pooling, resampling, attention.

use super::{Call, Input, InputKind, OpInfo, one, op, x};
use crate::error::Caller;
use crate::tensor::{
    AttentionOptions, ConvOptions, ConvTransposeOptions, InterpolateMode, InterpolateOptions, Padding, PoolOptions,
    Tensor,
};

fn axes(c: &Call, name: &str) -> Vec<isize> {
    c.ints(name).into_iter().map(|a| a as isize).collect()
}

fn conv<const D: usize>(c: &Call) -> ConvOptions<D> {
    let padding = match c.flag("same") {
        true => Padding::Same,
        false => c.sizes_of::<D>("padding").into(),
    };
    ConvOptions::new()
        .stride(c.sizes_of("stride"))
        .padding(padding)
        .dilation(c.sizes_of("dilation"))
        .groups(c.size("groups"))
        .bias(c.x(2))
}

fn conv_transpose<const D: usize>(c: &Call) -> ConvTransposeOptions<D> {
    ConvTransposeOptions::new()
        .stride(c.sizes_of("stride"))
        .padding(c.sizes_of("padding"))
        .output_padding(c.sizes_of("output_padding"))
        .dilation(c.sizes_of("dilation"))
        .groups(c.size("groups"))
        .bias(c.x(2))
}

/// Windows; the stride is the kernel where it is `null`.
fn windows<const D: usize>(c: &Call) -> PoolOptions<D> {
    let options = PoolOptions::new(c.sizes_of("kernel")).ceil_mode(c.flag("ceil_mode"));
    match c.optional("stride", |c| c.sizes_of::<D>("stride")) {
        Some(stride) => options.stride(stride),
        None => options,
    }
}

fn max<const D: usize>(c: &Call) -> PoolOptions<D> {
    windows(c).padding(c.sizes_of("padding")).dilation(c.sizes_of("dilation"))
}

fn avg<const D: usize>(c: &Call) -> PoolOptions<D> {
    let options = windows(c).padding(c.sizes_of("padding")).count_include_pad(c.flag("count_include_pad"));
    match c.optional("divisor", |c| c.size("divisor")) {
        Some(divisor) => options.divisor_override(divisor),
        None => options,
    }
}

fn both(results: (Tensor, Tensor)) -> Vec<Tensor> {
    vec![results.0, results.1]
}

fn interpolate(c: &Call) -> Tensor {
    let options = match c.optional("scale", |c| c.float("scale")) {
        Some(scale) => InterpolateOptions::scale_factor([scale]),
        None => InterpolateOptions::size(c.sizes("size")),
    };
    let mode = match c.text("mode").as_str() {
        "linear" => InterpolateMode::Linear,
        "nearest-exact" => InterpolateMode::NearestExact,
        _ => InterpolateMode::Nearest,
    };
    c.x(0).interpolate(&options.mode(mode).align_corners(c.flag("align_corners")))
}

/// The fourth operand, if there is one, is the mask.
#[track_caller]
fn attention(c: &Call) -> Tensor {
    let all = c.all();
    let [q, k, v, mask @ ..] = &all[..] else {
        return Tensor::bad("scaled_dot_product_attention", Caller::here(), "needs queries, keys and values");
    };
    let options = AttentionOptions::new().causal(c.flag("causal")).enable_gqa(c.flag("enable_gqa"));
    let options = mask.first().map_or(options, |m| options.mask(m));
    let options = c.optional("scale", |c| c.float("scale")).map_or(options, |s| options.scale(s));
    q.scaled_dot_product_attention(k, v, options)
}

const CONV1: &str = r#"{"stride": [1], "padding": [0], "dilation": [1], "groups": 1, "same": false}"#;
const CONV2: &str = r#"{"stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], "groups": 1, "same": false}"#;
const CONV3: &str = r#"{"stride": [1, 1, 1], "padding": [0, 0, 0], "dilation": [1, 1, 1], "groups": 1, "same": false}"#;
const TRANSPOSE1: &str = r#"{"stride": [1], "padding": [0], "output_padding": [0], "dilation": [1], "groups": 1}"#;
const TRANSPOSE2: &str =
    r#"{"stride": [1, 1], "padding": [0, 0], "output_padding": [0, 0], "dilation": [1, 1], "groups": 1}"#;
const TRANSPOSE3: &str =
    r#"{"stride": [1, 1, 1], "padding": [0, 0, 0], "output_padding": [0, 0, 0], "dilation": [1, 1, 1], "groups": 1}"#;
const MAX1: &str = r#"{"kernel": [2], "stride": null, "padding": [0], "dilation": [1], "ceil_mode": false}"#;
const MAX2: &str = r#"{"kernel": [2, 2], "stride": null, "padding": [0, 0], "dilation": [1, 1], "ceil_mode": false}"#;
const MAX3: &str =
    r#"{"kernel": [2, 2, 2], "stride": null, "padding": [0, 0, 0], "dilation": [1, 1, 1], "ceil_mode": false}"#;
const AVG1: &str = r#"{"kernel": [2], "stride": null, "padding": [0], "ceil_mode": false, "count_include_pad": true, "divisor": null}"#;
const AVG2: &str = r#"{"kernel": [2, 2], "stride": null, "padding": [0, 0], "ceil_mode": false, "count_include_pad": true, "divisor": null}"#;
const AVG3: &str = r#"{"kernel": [2, 2, 2], "stride": null, "padding": [0, 0, 0], "ceil_mode": false, "count_include_pad": true, "divisor": null}"#;
const LP1: &str = r#"{"p": 2.0, "kernel": [2], "stride": null, "ceil_mode": false}"#;
const LP2: &str = r#"{"p": 2.0, "kernel": [2, 2], "stride": null, "ceil_mode": false}"#;
const LP3: &str = r#"{"p": 2.0, "kernel": [2, 2, 2], "stride": null, "ceil_mode": false}"#;
const LINE: &[Input] = &[x(&[1, 2, 7])];
const IMAGE: &[Input] = &[x(&[1, 2, 5, 6])];
const VOLUME: &[Input] = &[x(&[1, 2, 4, 3, 5])];
const HEADS: &[Input] =
    &[x(&[2, 2, 3, 4]), x(&[2, 2, 5, 4]), x(&[2, 2, 5, 3]), Input { kind: InputKind::Mask, shape: &[3, 5] }];

pub(super) const OPS: &[OpInfo] = &[
    op("matmul", "{}", &[x(&[3, 4]), x(&[4, 5])], |c| one(c.x(0).matmul(c.x(1)))),
    op("bmm", "{}", &[x(&[2, 3, 4]), x(&[2, 4, 5])], |c| one(c.x(0).bmm(c.x(1)))),
    op("addmm", r#"{"beta": 1.0, "alpha": 1.0}"#, &[x(&[5]), x(&[3, 4]), x(&[4, 5])], |c| {
        one(c.x(0).addmm(c.x(1), c.x(2), c.float("beta"), c.float("alpha")))
    }),
    op("linear", "{}", &[x(&[2, 3]), x(&[4, 3]), x(&[4])], |c| one(c.x(0).linear(c.x(1), Some(c.x(2))))),
    op("dot", "{}", &[x(&[4]), x(&[4])], |c| one(c.x(0).dot(c.x(1)))),
    op("outer", "{}", &[x(&[3]), x(&[4])], |c| one(c.x(0).outer(c.x(1)))),
    op("tensordot", r#"{"axes": [1], "others": [0]}"#, &[x(&[3, 4]), x(&[4, 5])], |c| {
        one(c.x(0).tensordot(c.x(1), &axes(c, "axes"), &axes(c, "others")))
    }),
    op("einsum", r#"{"equation": "ij,jk->ik"}"#, &[x(&[3, 4]), x(&[4, 5])], |c| {
        one(Tensor::einsum(&c.text("equation"), &c.all()))
    })
    .variadic(),
    op("conv1d", CONV1, &[x(&[1, 2, 7]), x(&[4, 2, 3]), x(&[4])], |c| one(c.x(0).conv1d(c.x(1), conv(c)))),
    op("conv2d", CONV2, &[x(&[1, 2, 5, 6]), x(&[4, 2, 3, 2]), x(&[4])], |c| one(c.x(0).conv2d(c.x(1), conv::<2>(c)))),
    op("conv3d", CONV3, &[x(&[1, 2, 4, 3, 5]), x(&[4, 2, 2, 3, 2]), x(&[4])], |c| one(c.x(0).conv3d(c.x(1), conv(c)))),
    op("conv_transpose1d", TRANSPOSE1, &[x(&[1, 2, 4]), x(&[2, 4, 3]), x(&[4])], |c| {
        one(c.x(0).conv_transpose1d(c.x(1), conv_transpose(c)))
    }),
    op("conv_transpose2d", TRANSPOSE2, &[x(&[1, 2, 3, 4]), x(&[2, 4, 3, 2]), x(&[4])], |c| {
        one(c.x(0).conv_transpose2d(c.x(1), conv_transpose(c)))
    }),
    op("conv_transpose3d", TRANSPOSE3, &[x(&[1, 2, 2, 3, 4]), x(&[2, 4, 2, 3, 2]), x(&[4])], |c| {
        one(c.x(0).conv_transpose3d(c.x(1), conv_transpose(c)))
    }),
    op("max_pool1d", MAX1, LINE, |c| one(c.x(0).max_pool1d(max(c)))),
    op("max_pool2d", MAX2, IMAGE, |c| one(c.x(0).max_pool2d(max(c)))),
    op("max_pool3d", MAX3, VOLUME, |c| one(c.x(0).max_pool3d(max(c)))),
    op("max_pool1d_with_indices", MAX1, LINE, |c| both(c.x(0).max_pool1d_with_indices(max(c)))),
    op("max_pool2d_with_indices", MAX2, IMAGE, |c| both(c.x(0).max_pool2d_with_indices(max(c)))),
    op("max_pool3d_with_indices", MAX3, VOLUME, |c| both(c.x(0).max_pool3d_with_indices(max(c)))),
    op("avg_pool1d", AVG1, LINE, |c| one(c.x(0).avg_pool1d(avg(c)))),
    op("avg_pool2d", AVG2, IMAGE, |c| one(c.x(0).avg_pool2d(avg(c)))),
    op("avg_pool3d", AVG3, VOLUME, |c| one(c.x(0).avg_pool3d(avg(c)))),
    op("lp_pool1d", LP1, LINE, |c| one(c.x(0).lp_pool1d(c.float("p"), windows(c)))),
    op("lp_pool2d", LP2, IMAGE, |c| one(c.x(0).lp_pool2d(c.float("p"), windows(c)))),
    op("lp_pool3d", LP3, VOLUME, |c| one(c.x(0).lp_pool3d(c.float("p"), windows(c)))),
    op("adaptive_avg_pool1d", r#"{"output": [3]}"#, LINE, |c| one(c.x(0).adaptive_avg_pool1d(c.sizes_of("output")))),
    op("adaptive_avg_pool2d", r#"{"output": [3, 2]}"#, IMAGE, |c| {
        one(c.x(0).adaptive_avg_pool2d(c.sizes_of("output")))
    }),
    op("adaptive_avg_pool3d", r#"{"output": [3, 2, 2]}"#, VOLUME, |c| {
        one(c.x(0).adaptive_avg_pool3d(c.sizes_of("output")))
    }),
    op("adaptive_max_pool1d", r#"{"output": [3]}"#, LINE, |c| one(c.x(0).adaptive_max_pool1d(c.sizes_of("output")))),
    op("adaptive_max_pool2d", r#"{"output": [3, 2]}"#, IMAGE, |c| {
        one(c.x(0).adaptive_max_pool2d(c.sizes_of("output")))
    }),
    op("adaptive_max_pool3d", r#"{"output": [3, 2, 2]}"#, VOLUME, |c| {
        one(c.x(0).adaptive_max_pool3d(c.sizes_of("output")))
    }),
    op("adaptive_max_pool1d_with_indices", r#"{"output": [3]}"#, LINE, |c| {
        both(c.x(0).adaptive_max_pool1d_with_indices(c.sizes_of("output")))
    }),
    op("adaptive_max_pool2d_with_indices", r#"{"output": [3, 2]}"#, IMAGE, |c| {
        both(c.x(0).adaptive_max_pool2d_with_indices(c.sizes_of("output")))
    }),
    op("adaptive_max_pool3d_with_indices", r#"{"output": [3, 2, 2]}"#, VOLUME, |c| {
        both(c.x(0).adaptive_max_pool3d_with_indices(c.sizes_of("output")))
    }),
    op("interpolate", r#"{"size": [4, 7], "scale": null, "mode": "nearest", "align_corners": false}"#, IMAGE, |c| {
        one(interpolate(c))
    }),
    op("scaled_dot_product_attention", r#"{"causal": false, "scale": null, "enable_gqa": false}"#, HEADS, |c| {
        one(attention(c))
    })
    .variadic(),
];
