//! The registry is whole: every public op of the tensor is in it, and the table in its documentation is what the code says.

mod common;

use std::collections::BTreeSet;
use sunstone::graph::{BinaryOp, UnaryOp};
use sunstone::prelude::*;
use sunstone::registry;

/// Public functions in the files of `src/tensor` that are no ops: handles, host transfer, bookkeeping of gradients.
const NO_OPS: &[&str] = &[
    "gpu_buffer",
    "backward",
    "backward_graph",
    "custom",
    "detach",
    "device",
    "dims",
    "dtype",
    "error",
    "from_slice",
    "from_vec",
    "into_indices",
    "into_sizes",
    "item",
    "item_async",
    "numel",
    "rank",
    "realize",
    "realize_all",
    "requires_grad",
    "scalar",
    "shape",
    "step",
    "to_device",
    "to_vec",
    "to_vec_async",
    "tracks_grad",
];

/// Ops that the registry lists under PyTorch's name, or as a parameter of another entry.
const ELSEWHERE: &[(&str, &str)] = &[
    ("arange_by", "arange"),
    ("clamp_max", "clamp"),
    ("clamp_min", "clamp"),
    ("cross_entropy_with", "cross_entropy"),
    ("eye_of", "eye"),
    ("gelu_tanh", "gelu"),
    ("layer_norm_with", "layer_norm"),
    ("max_with_indices", "max"),
    ("min_with_indices", "min"),
    ("mse_loss_with", "mse_loss"),
    ("permutation", "randperm"),
    ("powf", "pow_scalar"),
    ("where_", "where"),
];

#[test]
fn every_public_op_of_the_tensor_is_registered() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tensor");
    let Ok(files) = std::fs::read_dir(folder) else {
        println!("skipped: the sources are not at {folder}");
        return;
    };
    let names: BTreeSet<&str> = registry::all().map(|o| o.name).collect();
    let primitives = UnaryOp::ALL.iter().map(|o| o.name()).chain(BinaryOp::ALL.iter().map(|o| o.name()));
    let mut missing: BTreeSet<String> = primitives.filter(|n| !names.contains(n)).map(String::from).collect();
    for file in files.flatten() {
        let text = std::fs::read_to_string(file.path()).unwrap_or_default();
        let mut inside = false;
        for line in text.lines() {
            let line = line.trim_start();
            // Options have public functions too.
            if line.starts_with("impl") {
                inside = line == "impl Tensor {" || line == "impl Generator {";
            }
            if !inside {
                continue;
            }
            let Some(rest) = line.strip_prefix("pub fn ").or_else(|| line.strip_prefix("pub async fn ")) else {
                continue;
            };
            let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("");
            let base = name.strip_suffix("_keepdim").unwrap_or(name);
            let known = ELSEWHERE.iter().find(|(ours, _)| *ours == base).map_or(base, |(_, listed)| listed);
            if !names.contains(known) && !NO_OPS.contains(&name) && !name.is_empty() {
                missing.insert(name.to_string());
            }
        }
    }
    assert!(missing.is_empty(), "not in the registry: {missing:?}");
}

#[test]
fn the_documented_table_is_the_codes() {
    let Some(gpu) = common::gpu() else { return };
    let table = registry::markdown(&[("cpu", Device::cpu()), ("gpu", gpu)]);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/registry/ops.md");
    if std::env::var("SUNSTONE_BLESS").is_ok() {
        std::fs::write(path, &table).expect("the table can be written");
    }
    let Ok(written) = std::fs::read_to_string(path) else {
        println!("skipped: the sources are not at {path}");
        return;
    };
    assert!(written == table, "src/registry/ops.md is not what the code says; SUNSTONE_BLESS=1 writes it anew");
}

/// What Flashlight's tensor interface (`fl/tensor/TensorBackend.h`) and autograd (`fl/autograd/Functions.h`) have, and the
/// registry's name for it; conversions, random numbers and devices aside, which are functions of `Tensor` and `Device`.
const FLASHLIGHT: &[(&str, &str)] = &[
    ("full", "full"),
    ("identity", "eye"),
    ("arange", "arange"),
    ("iota", "arange"),
    ("rand", "rand"),
    ("randn", "randn"),
    ("reshape", "reshape"),
    ("transpose", "permute"),
    ("tile", "tile"),
    ("concatenate", "cat"),
    ("nonzero", "nonzero"),
    ("pad", "pad"),
    ("exp", "exp"),
    ("log", "log"),
    ("negative", "neg"),
    ("logicalNot", "logical_not"),
    ("log1p", "log1p"),
    ("sin", "sin"),
    ("cos", "cos"),
    ("sqrt", "sqrt"),
    ("tanh", "tanh"),
    ("floor", "floor"),
    ("ceil", "ceil"),
    ("rint", "round"),
    ("absolute", "abs"),
    ("sigmoid", "sigmoid"),
    ("erf", "erf"),
    ("flip", "flip"),
    ("clip", "clamp"),
    ("roll", "roll"),
    ("isnan", "isnan"),
    ("isinf", "isinf"),
    ("sign", "sign"),
    ("tril", "tril"),
    ("triu", "triu"),
    ("where", "where"),
    ("topk", "topk"),
    ("sort", "sort"),
    ("argsort", "argsort"),
    ("add", "add"),
    ("sub", "sub"),
    ("mul", "mul"),
    ("div", "div"),
    ("eq", "eq"),
    ("neq", "ne"),
    ("lessThan", "lt"),
    ("lessThanEqual", "le"),
    ("greaterThan", "gt"),
    ("greaterThanEqual", "ge"),
    ("logicalOr", "logical_or"),
    ("logicalAnd", "logical_and"),
    ("mod", "fmod"),
    ("bitwiseAnd", "bitwise_and"),
    ("bitwiseOr", "bitwise_or"),
    ("bitwiseXor", "bitwise_xor"),
    ("lShift", "shl"),
    ("rShift", "shr"),
    ("minimum", "minimum"),
    ("maximum", "maximum"),
    ("power", "pow"),
    ("matmul", "matmul"),
    ("amin", "min"),
    ("amax", "max"),
    ("min", "min"),
    ("max", "max"),
    ("sum", "sum"),
    ("cumsum", "cumsum"),
    ("argmax", "argmax"),
    ("argmin", "argmin"),
    ("mean", "mean"),
    ("median", "median"),
    ("var", "var"),
    ("std", "std"),
    ("norm", "norm"),
    ("countNonzero", "count_nonzero"),
    ("any", "any"),
    ("all", "all"),
    ("reciprocal", "recip"),
    ("swish", "silu"),
    ("tileAs", "expand_as"),
    ("sumAs", "sum_to"),
    ("split", "split"),
    ("normalize", "normalize"),
    ("matmulTN", "matmul"),
    ("matmulNT", "matmul"),
    ("flat", "flatten"),
    ("moddims", "reshape"),
    ("reorder", "permute"),
    ("linear", "linear"),
    ("conv2d", "conv2d"),
    ("pool2d", "max_pool2d"),
    ("softmax", "softmax"),
    ("logSoftmax", "log_softmax"),
    ("binaryCrossEntropy", "binary_cross_entropy"),
    ("categoricalCrossEntropy", "nll_loss"),
    ("weightedCategoricalCrossEntropy", "nll_loss"),
    ("gatedlinearunit", "glu"),
    ("embedding", "embedding"),
    ("batchnorm", "batch_norm_training"),
    ("padding", "pad"),
    ("dropout", "dropout"),
    ("relu", "relu"),
    ("gelu", "gelu"),
    ("relativePositionalEmbeddingRotate", "relative_shift"),
    ("multiheadAttention", "scaled_dot_product_attention"),
];

#[test]
fn nothing_of_flashlights_is_missing() {
    let names: BTreeSet<&str> = registry::all().map(|o| o.name).collect();
    let missing: Vec<&str> =
        FLASHLIGHT.iter().filter(|(_, ours)| !names.contains(ours)).map(|(theirs, _)| *theirs).collect();
    assert!(missing.is_empty(), "Flashlight has and the registry lacks {missing:?}");
}
