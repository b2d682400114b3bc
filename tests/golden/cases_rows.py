"""Softmax, norms and losses."""

import torch
import torch.nn.functional as F

from golden import case, integers, randn, uniform

INF, NAN = float("inf"), float("nan")

for name, f in [("softmax", F.softmax), ("log_softmax", F.log_softmax), ("softmin", F.softmin)]:
    call = lambda v, axis: f(v[0], axis)
    case(name, call, [randn(3, 1, 7)], smooth=True, axis=-1)
    case(name, call, [randn(3, 1, 7)], smooth=True, axis=1)
    case(name, call, [randn(5, 3)], smooth=True, axis=0)
    case(name, call, [randn(4, 5) * 40], axis=-1)
    case(name, call, [torch.tensor([[1e4, 1e4, -1e4], [-INF, 0.0, 1.0], [1e30, -1e30, 0.0]])], axis=1, grad=name != "softmin")
    case(name, call, [torch.tensor([[NAN, 1.0], [INF, 1.0], [-INF, -INF]])], axis=1, grad=False)
    case(name, call, [randn(0, 3)], axis=1)
    case(name, call, [randn(2, 1300)], axis=1)
    case(name, call, [randn(4, 5).double()], axis=1)

# ---- norms
TWO_PASS = "sums of squares, once more in the gradient"
layer = lambda v, axes, affine, eps: F.layer_norm(
    v[0], v[0].shape[-axes:], *([v[1], v[2]] if affine else []), eps=eps)
for affine in [True, False]:
    case("layer_norm", layer, [randn(4, 7), randn(7), randn(7)], smooth=True, axes=1, affine=affine, eps=1e-5)
    case("layer_norm", layer, [randn(2, 3, 5), randn(3, 5), randn(3, 5)], smooth=True, axes=2, affine=affine, eps=1e-3)
    case("layer_norm", layer, [randn(3, 1200) + 5, randn(1200), randn(1200)], axes=1, affine=affine, eps=1e-5,
         factor=10, why=TWO_PASS)
case("layer_norm", layer, [torch.full((2, 4), 3.0), randn(4), randn(4)], axes=1, affine=True, eps=1e-5)
case("layer_norm", layer, [randn(0, 4), randn(4), randn(4)], axes=1, affine=True, eps=1e-5)
case("layer_norm", layer, [torch.tensor([[1.0, NAN, 0.0], [INF, 0.0, 1.0]]), randn(3), randn(3)], axes=1, affine=True,
     eps=1e-5, grad=False)
rms = lambda v, axes, eps: F.rms_norm(v[0], v[0].shape[-axes:], v[1], eps)
case("rms_norm", rms, [randn(4, 7), randn(7)], smooth=True, axes=1, eps=1e-6)
case("rms_norm", rms, [randn(2, 3, 5), randn(3, 5)], smooth=True, axes=2, eps=1e-3)
case("rms_norm", rms, [torch.zeros(2, 4), randn(4)], axes=1, eps=1e-6)
case("rms_norm", rms, [randn(0, 4), randn(4)], axes=1, eps=1e-6)
group = lambda v, groups, affine, eps: F.group_norm(v[0], groups, *([v[1], v[2]] if affine else [None, None]), eps)
for groups in [1, 2, 4]:
    for affine in [True, False]:
        case("group_norm", group, [randn(2, 4, 3), randn(4), randn(4)], smooth=True, groups=groups, affine=affine, eps=1e-5,
             factor=3, why=TWO_PASS)
case("group_norm", group, [randn(3, 4), randn(4), randn(4)], groups=2, affine=True, eps=1e-5, factor=10, why=TWO_PASS)
case("group_norm", group, [randn(2, 6, 5, 3), randn(6), randn(6)], groups=3, affine=True, eps=1e-3)
instance = lambda v, affine, eps: F.instance_norm(
    v[0], weight=v[1] if affine else None, bias=v[2] if affine else None, eps=eps)
for affine in [True, False]:
    case("instance_norm", instance, [randn(2, 3, 5), randn(3), randn(3)], smooth=True, affine=affine, eps=1e-5,
         factor=3, why=TWO_PASS)
    case("instance_norm", instance, [randn(2, 3, 4, 3), randn(3), randn(3)], affine=affine, eps=1e-3)
batch = lambda v, affine, eps: F.batch_norm(v[0], v[1], v[2], *([v[3], v[4]] if affine else [None, None]), eps=eps)
for affine in [True, False]:
    statistics = [randn(3), uniform(0.3, 2.0, 3), randn(3), randn(3)]
    case("batch_norm", lambda v, affine, eps: F.batch_norm(
        v[0], v[1].detach(), v[2].detach(), *([v[3], v[4]] if affine else [None, None]), eps=eps),
        [randn(2, 3, 2, 4), *statistics], affine=affine, eps=1e-5)
    case("batch_norm", lambda v, affine, eps: F.batch_norm(
        v[0], v[1].detach(), v[2].detach(), *([v[3], v[4]] if affine else [None, None]), eps=eps),
        [randn(5, 3), *statistics], affine=affine, eps=1e-3)


def batch_training(v, affine, eps):
    c = v[0].shape[1]
    mean, var = torch.zeros(c), torch.zeros(c)
    y = F.batch_norm(v[0], mean, var, *([v[1], v[2]] if affine else [None, None]), training=True, momentum=1.0, eps=eps)
    return y, mean, var


for affine in [True, False]:
    for shape in [(5, 3), (2, 3, 4), (2, 3, 2, 4)]:
        case("batch_norm_training", batch_training, [randn(*shape), randn(3), randn(3)], affine=affine, eps=1e-5,
             factor=3, why=TWO_PASS)
case("batch_norm_training", batch_training, [randn(6, 4) * 3 + 100, randn(4), randn(4)], affine=True, eps=1e-5,
     factor=100, why="the deviations have two digits fewer")

# ---- losses over classes
WEIGHT = [0.5, 2.0, 0.25, 1.0, 0.0]


def classes(f):
    def call(v, weight=None, ignore_index=None, reduction="mean", **more):
        weight = None if weight is None else torch.tensor(weight, dtype=v[0].dtype)
        return f(v[0], v[1], weight=weight, ignore_index=-100 if ignore_index is None else ignore_index,
                 reduction=reduction, **more)
    return call


cross, nll = classes(F.cross_entropy), classes(F.nll_loss)
for reduction in ["mean", "sum", "none"]:
    for options in [dict(), dict(weight=WEIGHT), dict(ignore_index=2), dict(weight=WEIGHT, ignore_index=-100)]:
        target = torch.tensor([0, 2, 3, 2, 1, 3], dtype=torch.int32)
        if options.get("ignore_index") == -100:
            target[1] = -100
        for smoothing in [0.0, 0.2]:
            case("cross_entropy", cross, [randn(6, 5), target], smooth=True, reduction=reduction, label_smoothing=smoothing,
                 **options)
        case("nll_loss", nll, [randn(6, 5), target], smooth=True, reduction=reduction, **options)
        spatial = integers(0, 4, 2, 3, 2)
        case("cross_entropy", cross, [randn(2, 5, 3, 2), spatial], smooth=True, reduction=reduction, label_smoothing=0.1,
             **options)
        case("nll_loss", nll, [randn(2, 5, 3, 2), spatial], reduction=reduction, **options)
    for smoothing in [0.0, 0.3]:
        for weight in [None, WEIGHT]:
            options = dict(weight=weight) if weight else {}
            case("cross_entropy", cross, [randn(4, 5), randn(4, 5).softmax(1)], smooth=True, reduction=reduction,
                 label_smoothing=smoothing, **options)
            case("cross_entropy", cross, [randn(2, 5, 3), randn(2, 5, 3).softmax(1)], reduction=reduction,
                 label_smoothing=smoothing, **options)
case("cross_entropy", cross, [randn(5), integers(0, 5).reshape(())], label_smoothing=0.1)
case("cross_entropy", cross, [randn(5), randn(5).softmax(0)])
case("nll_loss", nll, [randn(5), integers(0, 5).reshape(())])
case("cross_entropy", cross, [randn(0, 3), integers(0, 3, 0)], grad=False)
case("cross_entropy", cross, [randn(0, 3), integers(0, 3, 0)], reduction="sum")
case("cross_entropy", cross, [randn(2, 3), torch.tensor([-100, -100], dtype=torch.int32)], ignore_index=-100, grad=False)
case("cross_entropy", cross, [torch.tensor([[1e4, -1e4, 0.0], [-INF, 2.0, 1.0]]), torch.tensor([1, 1], dtype=torch.int32)])
case("cross_entropy", cross, [randn(3, 1), integers(0, 1, 3)])
case("cross_entropy", cross, [randn(4, 5).double(), integers(0, 5, 4)])

# ---- losses of pairs
WIDE = torch.tensor([0.0, -0.0, 1.0, -1.0, 0.5, 3.0, -20.0, 20.0, 100.0, -100.0, 1e4, -1e4, 1e18, INF, -INF, NAN, 1e-10])
for reduction in ["mean", "sum", "none"]:
    for name, f, options in [
        ("mse_loss", F.mse_loss, [{}]),
        ("l1_loss", F.l1_loss, [{}]),
        ("huber_loss", F.huber_loss, [dict(delta=1.0), dict(delta=0.3)]),
        ("smooth_l1_loss", F.smooth_l1_loss, [dict(beta=1.0), dict(beta=0.3), dict(beta=0.0)]),
    ]:
        call = lambda v, reduction, **more: f(v[0], v[1], reduction=reduction, **more)
        for more in options:
            case(name, call, [randn(3, 5), randn(3, 5)], smooth=True, reduction=reduction, **more)
        if reduction == "none":
            # PyTorch multiplies an infinite distance by the bound, we do so with what is beyond it: NaN apart.
            case(name, call, [WIDE, torch.zeros(17)], reduction=reduction, grad=False, **options[0])
            case(name, call, [WIDE[:12], torch.zeros(12)], reduction=reduction, **options[0])
    for log_target in [False, True]:
        call = lambda v, log_target, reduction: F.kl_div(v[0], v[1], log_target=log_target, reduction=reduction)
        target = randn(3, 5).log_softmax(1) if log_target else randn(3, 5).softmax(1)
        case("kl_div", call, [randn(3, 5).log_softmax(1), target], smooth=True, log_target=log_target, reduction=reduction)
        case("kl_div", call, [randn(3, 5).log_softmax(1), target], log_target=log_target, reduction="batchmean")
    bce = lambda v, reduction, weight=None: F.binary_cross_entropy(
        v[0], v[1], None if weight is None else torch.tensor(weight), reduction=reduction)
    case("binary_cross_entropy", bce, [uniform(0.1, 0.9, 3, 5), uniform(0.0, 1.0, 3, 5)], reduction=reduction)
    case("binary_cross_entropy", bce, [uniform(0.1, 0.9, 3, 5), uniform(0.0, 1.0, 3, 5)], reduction=reduction, weight=WEIGHT)
    logits = lambda v, reduction, weight=None, pos_weight=None: F.binary_cross_entropy_with_logits(
        v[0], v[1], None if weight is None else torch.tensor(weight, dtype=v[0].dtype), reduction=reduction,
        pos_weight=None if pos_weight is None else torch.tensor(pos_weight, dtype=v[0].dtype))
    for options in [dict(), dict(weight=WEIGHT), dict(pos_weight=WEIGHT), dict(weight=WEIGHT, pos_weight=WEIGHT)]:
        case("binary_cross_entropy_with_logits", logits, [randn(3, 5), uniform(0.0, 1.0, 3, 5)], smooth=True,
             reduction=reduction, **options)
kl = lambda v, log_target, reduction: F.kl_div(v[0], v[1], log_target=log_target, reduction=reduction)
case("kl_div", kl, [torch.tensor([-1.0, -2.0, -50.0]), torch.tensor([0.0, 1.0, 0.5])], log_target=False, reduction="none",
     grad=False)
case("mse_loss", lambda v: F.mse_loss(v[0], v[1]), [randn(0), randn(0)], grad=False)
case("binary_cross_entropy", bce, [torch.tensor([0.0, 1.0, 0.0, 1.0, 1e-30, 0.5]), torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0, 0.0])],
     reduction="none", grad=False)
case("binary_cross_entropy", lambda v, reduction: bce([v[0], v[1].detach()], reduction),
     [torch.tensor([0.0, 1.0, 0.0, 1.0, 1e-30, 0.5]), torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0, 0.0])], reduction="none")
FAR = torch.tensor([0.0, 100.0, -100.0, 1e4, -1e4, 1e30, -1e30, 30.0, -30.0])
for target in [0.0, 1.0, 0.3]:
    case("binary_cross_entropy_with_logits", logits, [FAR, torch.full((9,), target)], reduction="none")

cosine = lambda v, axis, eps=1e-8: F.cosine_similarity(v[0], v[1], axis, eps)
case("cosine_similarity", cosine, [randn(3, 5), randn(3, 5)], smooth=True, axis=1)
case("cosine_similarity", cosine, [randn(3, 5, 2), randn(5, 1)], smooth=True, axis=1)
case("cosine_similarity", cosine, [torch.zeros(2, 3), randn(2, 3)], axis=1, grad=False)
# Below eps PyTorch's gradient is not that of its own formula.
case("cosine_similarity", cosine, [randn(2, 3) * 1e-3, randn(2, 3)], axis=-1, eps=0.5, grad=False)

# ---- ctc: PyTorch's gradient takes for granted that a log_softmax comes before, so it does
ctc = lambda v, blank=0, reduction="mean", zero_infinity=False, log_softmax=True: F.ctc_loss(
    v[0].log_softmax(2), v[1], v[2], v[3], blank, reduction, zero_infinity)
length = lambda *n: torch.tensor(n, dtype=torch.int32)
for reduction in ["mean", "sum", "none"]:
    case("ctc_loss", ctc, [randn(7, 3, 5), integers(1, 5, 3, 3), length(7, 7, 6), length(3, 2, 1)], smooth=True,
         reduction=reduction, log_softmax=True, factor=3, why="sums over all alignments")
    case("ctc_loss", ctc, [randn(12, 2, 4), integers(0, 3, 2, 4), length(12, 9), length(4, 3)], blank=3,
         reduction=reduction, log_softmax=True, factor=3, why="sums over all alignments")
REPEATED = torch.tensor([[1, 1, 2], [2, 2, 2]], dtype=torch.int32)
case("ctc_loss", ctc, [randn(6, 2, 3), REPEATED, length(6, 6), length(3, 3)], log_softmax=True, reduction="none",
     factor=3, why="sums over all alignments")
case("ctc_loss", ctc, [randn(4, 2, 3), REPEATED, length(4, 4), length(3, 3)], log_softmax=True, reduction="none", grad=False)
case("ctc_loss", ctc, [randn(4, 2, 3), REPEATED, length(4, 4), length(3, 3)], log_softmax=True, reduction="none",
     zero_infinity=True, factor=3, why="sums over all alignments")
case("ctc_loss", ctc, [randn(4, 2, 3), REPEATED, length(4, 3), length(0, 1)], log_softmax=True, reduction="mean")
case("ctc_loss", ctc, [randn(40, 2, 6), integers(1, 6, 2, 12), length(40, 35), length(12, 7)], log_softmax=True,
     factor=10, why="sums over all alignments of forty times")

case("normalize", lambda v, p, axes: torch.nn.functional.normalize(v[0], p, axes[0]), [randn(3, 1, 5)], smooth=True, p=2.0, axes=[-1])
case("normalize", lambda v, p, axes: torch.nn.functional.normalize(v[0], p, axes[0]), [randn(4, 3)], smooth=True, p=1.5, axes=[0])
