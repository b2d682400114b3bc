"""Folds over axes."""

import torch

from golden import case, int32_data, integers, randn, special, uniform

int32_data("sum", "prod", "amax", "amin", "mean", "any", "all", "max", "min", "argmax", "argmin", "count_nonzero", "nansum")

INF, NAN = float("inf"), float("nan")
AXES = [dict(), dict(axes=[0]), dict(axes=[-1]), dict(axes=[1]), dict(axes=[0, 2], keepdim=True), dict(axes=[0, 1, 2])]
ORDINARY = special()[torch.isfinite(special()) & (special().abs() < 1e9)]


def over(f):
    """f(x, axes as a tuple, keepdim)."""
    return lambda v, axes=None, keepdim=False, **more: f(
        v[0], tuple(axes) if axes is not None else tuple(range(v[0].dim())), keepdim, **more)


sum_ = lambda v, axes=None, keepdim=False: v[0].sum(tuple(axes) if axes is not None else None, keepdim=keepdim)
folds = {
    "sum": sum_,
    "mean": lambda v, axes=None, keepdim=False: v[0].mean(tuple(axes) if axes is not None else None, keepdim=keepdim),
    "logsumexp": over(torch.logsumexp),
    "amax": over(torch.amax),
    "amin": over(torch.amin),
}
for name, call in folds.items():
    smooth = name not in ["amax", "amin"]
    for axes in AXES:
        case(name, call, [randn(3, 4, 5)], smooth=smooth, **axes)
    case(name, call, [randn(1, 7, 1)], smooth=smooth, axes=[0, 2])
    case(name, call, [randn(3, 1100)], axes=[1], factor=3, why="sums of 1100")
    case(name, call, [randn(700, 3)], axes=[0], factor=3, why="sums of 700")
    case(name, call, [randn(5, 6).t()], axes=[1])
    case(name, call, [torch.tensor([[1.0, INF, 2.0], [-INF, 0.0, -1.0], [NAN, 1.0, 2.0], [3.0, 3.0, -0.0]])], axes=[1])
    case(name, call, [randn(1).reshape(())], smooth=smooth)
    case(name, call, [randn(4, 5).double()], axes=[0])
for name in ["sum", "mean", "logsumexp"]:
    case(name, folds[name], [randn(2, 0, 3)], axes=[1])
case("sum", sum_, [special()], grad=False)
case("sum", sum_, [ORDINARY])
case("sum", lambda v, axes: v[0].sum(tuple(axes), dtype=torch.int32), [integers(-9, 9, 3, 4)], axes=[0])
case("sum", lambda v, axes: v[0].sum(tuple(axes), dtype=torch.int32), [randn(3, 4) > 0], axes=[1])
case("mean", folds["mean"], [torch.zeros(0)])
case("mean", lambda v: v[0].float().mean(), [integers(-9, 9, 3, 4)])
case("mean", lambda v: v[0].float().mean(), [randn(3, 4) > 0])
TIES = torch.tensor([[1.0, 3.0, 3.0], [3.0, 3.0, 3.0], [-1.0, -1.0, 5.0]])
for name in ["amax", "amin"]:
    for axes in [dict(), dict(axes=[0]), dict(axes=[1], keepdim=True)]:
        case(name, folds[name], [TIES], **axes)
    case(name, folds[name], [integers(-99, 99, 4, 5)], axes=[1])
    case(name, folds[name], [randn(0, 3)], axes=[1])
case("logsumexp", folds["logsumexp"], [torch.tensor([[-INF, -INF], [INF, 1.0], [1000.0, 1000.0], [-1000.0, -1000.0]])],
     axes=[1], grad=False)
case("logsumexp", folds["logsumexp"], [torch.tensor([[1000.0, 999.0], [-1000.0, -1001.0], [-INF, 2.0]])], axes=[1])


def prod(v, axes=None, keepdim=False):
    x = v[0]
    axes = sorted(a % x.dim() for a in axes) if axes is not None else range(x.dim())
    for a in reversed(list(axes)):
        x = x.prod(a, keepdim=keepdim)
    return x


for axes in AXES:
    case("prod", prod, [uniform(0.3, 2.0, 3, 2, 4)], smooth=True, **axes)
case("prod", prod, [torch.tensor([[1.0, 2.0, 3.0], [0.0, 2.0, 3.0], [0.0, 0.0, 3.0], [-1.0, 0.5, -0.0]])], axes=[1])
case("prod", prod, [randn(2, 0)], axes=[1])
case("prod", prod, [torch.tensor([[INF, 2.0], [NAN, 0.0], [INF, 0.0], [1e30, 1e30]])], axes=[1], grad=False)
case("prod", lambda v, axes: v[0].prod(axes[0], dtype=torch.int32), [integers(-4, 4, 3, 4)], axes=[1])

for name in ["any", "all"]:
    f = getattr(torch, name)
    call = lambda v, axes=None, keepdim=False: f(v[0], tuple(axes), keepdim=keepdim) if axes is not None else f(v[0])
    for x in [randn(3, 4, 5) > 0, randn(3, 4, 5) > -2, randn(3, 4, 5) > 2, integers(0, 2, 3, 4, 5), randn(3, 4, 5)]:
        for axes in AXES:
            case(name, call, [x], **axes)
    case(name, call, [special()])
    case(name, call, [torch.zeros(2, 0)], axes=[1])
    case(name, call, [torch.zeros(2, 0)], axes=[1], keepdim=True)
    case(name, call, [torch.zeros(0) > 0])

for name in ["var", "std"]:
    f = getattr(torch, name)
    call = lambda v, axes=None, correction=1.0, keepdim=False: f(
        v[0], tuple(axes) if axes is not None else None, correction=correction, keepdim=keepdim)
    pair = getattr(torch, f"{name}_mean")
    both = lambda v, axes=None, correction=1.0: pair(v[0], tuple(axes) if axes is not None else None, correction=correction)
    for axes in AXES:
        case(name, call, [randn(3, 4, 5)], smooth=True, **axes)
        case(name, call, [randn(3, 4, 5) + 3], correction=0.0, **axes)
    for axes in [dict(), dict(axes=[1]), dict(axes=[0, 2])]:
        case(f"{name}_mean", both, [randn(3, 4, 5)], smooth=True, correction=0.0, **axes)
        case(f"{name}_mean", both, [randn(3, 4, 5)], **axes)
    case(name, call, [randn(3, 1)], axes=[1], grad=False)
    case(name, call, [randn(3, 2)], axes=[1], correction=3.0, grad=False)
    case(name, call, [torch.ones(3, 4) * 2], axes=[1])
    case(name, call, [randn(2, 0)], axes=[1], grad=False)
    case(name, call, [randn(3, 5) + 1000], axes=[1], factor=100, why="the deviations have three digits fewer")
    case(name, call, [torch.tensor([[1.0, INF], [NAN, 1.0]])], axes=[1], grad=False)

norm = lambda v, p, axes=None, keepdim=False: torch.linalg.vector_norm(
    v[0], p, tuple(axes) if axes is not None else None, keepdim=keepdim)
for p in [0.0, 1.0, 2.0, 3.0, 0.5, -1.0, INF, -INF]:
    for axes in [dict(), dict(axes=[0]), dict(axes=[1, 2]), dict(axes=[0, 2], keepdim=True)]:
        case("norm", norm, [randn(3, 4, 5)], smooth=p in [1.0, 2.0, 3.0], p=p, **axes,
             factor=3, why="powers and roots of sums")
    case("norm", norm, [torch.tensor([[1.0, -3.0, 3.0], [2.0, 0.0, -1.0]])], axes=[1], p=p, grad=p > 0.9)
    case("norm", norm, [torch.tensor([[INF, -3.0], [-INF, 0.0], [NAN, 1.0]])], axes=[1], p=p, grad=False)
    if p >= 0 and p != INF:
        case("norm", norm, [torch.zeros(2, 0)], axes=[1], p=p)
        case("norm", norm, [torch.zeros(2, 3)], axes=[1], p=p)

for name in ["argmax", "argmin"]:
    f = getattr(torch, name)
    call = lambda v, axes=None: f(v[0], axes[0]) if axes is not None else f(v[0])
    for axes in [dict(), dict(axes=[0]), dict(axes=[-1])]:
        case(name, call, [randn(4, 5)], **axes)
        case(name, call, [TIES], **axes)
        case(name, call, [integers(-50, 50, 4, 7)], **axes)
        case(name, call, [torch.tensor([[1.0, NAN, 2.0, NAN], [-INF, INF, INF, 0.0], [-0.0, 0.0, 0.0, -0.0]])], **axes)
    case(name, call, [randn(3, 1100)], axes=[1])
for name in ["max", "min"]:
    f = getattr(torch, name)
    call = lambda v, axes: f(v[0], axes[0])
    for axes in [[0], [-1]]:
        case(name, call, [randn(4, 5)], axes=axes, smooth=False)
        case(name, call, [TIES], axes=axes)
        case(name, call, [integers(-50, 50, 4, 7)], axes=axes)
    case(name, call, [torch.tensor([[1.0, NAN, 2.0, NAN], [-INF, INF, INF, 0.0]])], axes=[1])
    case(name, call, [randn(0, 3)], axes=[1])

count = lambda v, axes=None: torch.count_nonzero(v[0], tuple(axes) if axes is not None else None)
for x in [integers(0, 2, 3, 4), randn(3, 4) > 0, torch.tensor([[0.0, -0.0, NAN], [INF, 1.0, 0.0]]), torch.zeros(2, 0)]:
    for axes in [dict(), dict(axes=[0]), dict(axes=[-1])]:
        case("count_nonzero", count, [x], **axes)
HOLES = torch.tensor([[1.0, NAN, 3.0], [NAN, NAN, NAN], [2.0, INF, NAN]])
for name in ["nansum", "nanmean"]:
    f = getattr(torch, name)
    call = lambda v, axes=None: f(v[0], tuple(axes) if axes is not None else None)
    case(name, call, [HOLES], axes=[1], grad=False)
    case(name, call, [HOLES[:1]])
    case(name, call, [randn(3, 4)], axes=[0], smooth=True)
    case(name, call, [torch.zeros(2, 0)], axes=[1], grad=False)

case("sum_to", lambda v, shape: v[0].sum_to_size(shape), [randn(2, 3, 4)], smooth=True, shape=[3, 1])
case("sum_to", lambda v, shape: v[0].sum_to_size(shape), [randn(2, 1, 4)], shape=[1, 1, 1])
