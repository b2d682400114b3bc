//! Softmax, norms and losses.

use super::{Call, OpInfo, index, one, op, x};
use crate::random::Generator;
use crate::tensor::{BceWithLogits, CrossEntropy, CtcLoss, NllLoss, Tensor};

/// Operands `at` and `at + 1`, a weight and a bias, if the norm is to be `affine`.
fn affine<'a>(c: &'a Call, at: usize) -> (Option<&'a Tensor>, Option<&'a Tensor>) {
    if c.flag("affine") { (Some(c.x(at)), Some(c.x(at + 1))) } else { (None, None) }
}

fn class_weight(c: &Call) -> Option<Tensor> {
    c.optional("weight", |c| c.vector("weight"))
}

fn ignore_index(c: &Call) -> Option<i32> {
    c.optional("ignore_index", |c| c.int32("ignore_index"))
}

pub(super) const OPS: &[OpInfo] = &[
    op("softmax", r#"{"axis": -1}"#, &[x(&[3, 5])], |c| one(c.x(0).softmax(c.axis("axis")))),
    op("softmin", r#"{"axis": -1}"#, &[x(&[3, 5])], |c| one(c.x(0).softmin(c.axis("axis")))),
    op("log_softmax", r#"{"axis": -1}"#, &[x(&[3, 5])], |c| one(c.x(0).log_softmax(c.axis("axis")))),
    op("layer_norm", r#"{"axes": 1, "affine": true, "eps": 1e-5}"#, &[x(&[3, 5]), x(&[5]), x(&[5])], |c| {
        let (weight, bias) = affine(c, 1);
        one(c.x(0).layer_norm_with(c.size("axes"), weight, bias, c.float("eps")))
    }),
    op("rms_norm", r#"{"axes": 1, "eps": 1e-6}"#, &[x(&[3, 5]), x(&[5])], |c| {
        one(c.x(0).rms_norm(c.size("axes"), Some(c.x(1)), c.float("eps")))
    }),
    op("group_norm", r#"{"groups": 2, "affine": true, "eps": 1e-5}"#, &[x(&[3, 4, 5]), x(&[4]), x(&[4])], |c| {
        let (weight, bias) = affine(c, 1);
        one(c.x(0).group_norm(c.size("groups"), weight, bias, c.float("eps")))
    }),
    op("instance_norm", r#"{"affine": true, "eps": 1e-5}"#, &[x(&[3, 4, 5]), x(&[4]), x(&[4])], |c| {
        let (weight, bias) = affine(c, 1);
        one(c.x(0).instance_norm(weight, bias, c.float("eps")))
    }),
    op("batch_norm", r#"{"affine": true, "eps": 1e-5}"#, &[x(&[3, 4, 5]), x(&[4]), x(&[4]), x(&[4]), x(&[4])], |c| {
        let (weight, bias) = affine(c, 3);
        one(c.x(0).batch_norm(c.x(1), c.x(2), weight, bias, c.float("eps")))
    }),
    op("batch_norm_training", r#"{"affine": true, "eps": 1e-5}"#, &[x(&[3, 4, 5]), x(&[4]), x(&[4])], |c| {
        let (weight, bias) = affine(c, 1);
        let (y, mean, var) = c.x(0).batch_norm_training(weight, bias, c.float("eps"));
        vec![y, mean, var]
    }),
    op(
        "cross_entropy",
        r#"{"weight": null, "ignore_index": null, "label_smoothing": 0.0, "reduction": "mean"}"#,
        &[x(&[3, 5]), index(&[3])],
        |c| {
            let spec = CrossEntropy {
                weight: class_weight(c),
                ignore_index: ignore_index(c),
                label_smoothing: c.float("label_smoothing"),
                reduction: c.reduction(),
            };
            one(c.x(0).cross_entropy_with(c.x(1), spec))
        },
    ),
    op("nll_loss", r#"{"weight": null, "ignore_index": null, "reduction": "mean"}"#, &[x(&[3, 5]), index(&[3])], |c| {
        let spec = NllLoss { weight: class_weight(c), ignore_index: ignore_index(c), reduction: c.reduction() };
        one(c.x(0).nll_loss(c.x(1), spec))
    }),
    op("binary_cross_entropy", r#"{"weight": null, "reduction": "mean"}"#, &[x(&[3, 5]), x(&[3, 5])], |c| {
        one(c.x(0).binary_cross_entropy(c.x(1), class_weight(c).as_ref(), c.reduction()))
    }),
    op(
        "binary_cross_entropy_with_logits",
        r#"{"weight": null, "pos_weight": null, "reduction": "mean"}"#,
        &[x(&[3, 5]), x(&[3, 5])],
        |c| {
            let pos_weight = c.optional("pos_weight", |c| c.vector("pos_weight"));
            let spec = BceWithLogits { weight: class_weight(c), pos_weight, reduction: c.reduction() };
            one(c.x(0).binary_cross_entropy_with_logits(c.x(1), spec))
        },
    ),
    op("mse_loss", r#"{"reduction": "mean"}"#, &[x(&[3, 5]), x(&[3, 5])], |c| {
        one(c.x(0).mse_loss_with(c.x(1), c.reduction()))
    }),
    op("l1_loss", r#"{"reduction": "mean"}"#, &[x(&[3, 5]), x(&[3, 5])], |c| {
        one(c.x(0).l1_loss(c.x(1), c.reduction()))
    }),
    op("huber_loss", r#"{"delta": 1.0, "reduction": "mean"}"#, &[x(&[3, 5]), x(&[3, 5])], |c| {
        one(c.x(0).huber_loss(c.x(1), c.float("delta"), c.reduction()))
    }),
    op("smooth_l1_loss", r#"{"beta": 1.0, "reduction": "mean"}"#, &[x(&[3, 5]), x(&[3, 5])], |c| {
        one(c.x(0).smooth_l1_loss(c.x(1), c.float("beta"), c.reduction()))
    }),
    op("kl_div", r#"{"log_target": false, "reduction": "mean"}"#, &[x(&[3, 5]), x(&[3, 5])], |c| {
        one(c.x(0).kl_div(c.x(1), c.flag("log_target"), c.reduction()))
    }),
    op("cosine_similarity", r#"{"axis": 1, "eps": 1e-8}"#, &[x(&[3, 5]), x(&[3, 5])], |c| {
        one(c.x(0).cosine_similarity(c.x(1), c.axis("axis"), c.float("eps")))
    }),
    op(
        "ctc_loss",
        r#"{"blank": 0, "reduction": "mean", "zero_infinity": false, "log_softmax": false}"#,
        &[x(&[4, 2, 3]), index(&[2, 2]), index(&[2]), index(&[2])],
        |c| {
            let spec =
                CtcLoss { blank: c.size("blank"), reduction: c.reduction(), zero_infinity: c.flag("zero_infinity") };
            let log_p = if c.flag("log_softmax") { c.x(0).log_softmax(-1) } else { c.x(0).clone() };
            one(log_p.ctc_loss(c.x(1), c.x(2), c.x(3), spec))
        },
    ),
    op("dropout", r#"{"p": 0.5, "seed": 0}"#, &[x(&[3, 5])], |c| {
        one(c.x(0).dropout(c.float("p"), &Generator::new(c.int("seed") as u64)))
    })
    .random(),
    op("normalize", r#"{"p": 2.0, "axes": [-1], "eps": 1e-12}"#, &[x(&[3, 5])], |c| {
        one(c.x(0).normalize(c.float("p"), c.axes("axes"), c.float("eps")))
    }),
];
