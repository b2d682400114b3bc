"""Matrix products, convolutions, pooling, resampling, attention."""

import torch
import torch.nn.functional as F

from golden import case, int32_data, integers, randn

int32_data("matmul", "einsum", "dot", "outer")

inf, nan = float("inf"), float("nan")
LONG = {"factor": 10, "why": "sums of up to a hundred products"}

# ---- products
matmul = lambda v: v[0] @ v[1]
case("matmul", matmul, [randn(3, 5), randn(5, 2)], smooth=True)
case("matmul", matmul, [randn(2, 1, 3, 70), randn(4, 70, 65)], **LONG)
case("matmul", matmul, [randn(5), randn(5)], smooth=True)
case("matmul", matmul, [randn(3, 5), randn(5)], smooth=True)
case("matmul", matmul, [randn(5), randn(2, 5, 3)], smooth=True)
case("matmul", matmul, [randn(3, 0), randn(0, 2)])
case("matmul", matmul, [randn(2, 0, 3), randn(3, 4)])
case("matmul", matmul, [integers(-9, 9, 3, 4), integers(-9, 9, 4, 2)])
case("matmul", matmul, [randn(1, 1), randn(1, 1)])
case("matmul", matmul, [torch.tensor([[1.0, inf], [nan, 2.0]]), torch.tensor([[1.0, 2.0], [3.0, 4.0]])], grad=False)
case("bmm", lambda v: torch.bmm(*v), [randn(2, 3, 4), randn(2, 4, 5)], smooth=True)
case("bmm", lambda v: torch.bmm(*v), [randn(0, 3, 4), randn(0, 4, 5)])
addmm = lambda v, beta, alpha: torch.addmm(*v, beta=beta, alpha=alpha)
case("addmm", addmm, [randn(5), randn(3, 4), randn(4, 5)], smooth=True, beta=0.5, alpha=-2.0)
case("addmm", addmm, [torch.full((3, 5), nan), randn(3, 4), randn(4, 5)], grad=False, beta=0.0, alpha=1.0)
case("linear", lambda v: F.linear(*v), [randn(2, 3, 4), randn(5, 4), randn(5)], smooth=True)
case("linear", lambda v: F.linear(*v), [randn(4), randn(5, 4), randn(5)], smooth=True)
case("dot", lambda v: torch.dot(*v), [randn(7), randn(7)], smooth=True)
case("dot", lambda v: torch.dot(*v), [integers(-9, 9, 5), integers(-9, 9, 5)])
case("outer", lambda v: torch.outer(*v), [randn(3), randn(4)], smooth=True)
case("outer", lambda v: torch.outer(*v), [randn(0), randn(4)])
tensordot = lambda v, axes, others: torch.tensordot(v[0], v[1], (axes, others))
case("tensordot", tensordot, [randn(3, 4, 2), randn(2, 5, 4)], smooth=True, axes=[1, 2], others=[2, 0])
case("tensordot", tensordot, [randn(3), randn(4)], axes=[], others=[])

# ---- einsum
einsum = lambda v, equation: torch.einsum(equation, *v)
for equation, shapes in [
    ("ij,jk->ik", [(3, 4), (4, 2)]),
    ("ij,jk", [(3, 4), (4, 2)]),
    ("ba,cb", [(3, 4), (2, 3)]),
    ("ii", [(3, 3)]),
    ("ii->i", [(3, 3)]),
    ("iji->j", [(2, 3, 2)]),
    ("ij->", [(2, 3)]),
    ("ij->ji", [(2, 3)]),
    ("i,i->i", [(4,), (4,)]),
    ("i,j->ij", [(3,), (4,)]),
    ("i,i,i->", [(4,), (4,), (4,)]),
    ("bij,bjk->bik", [(2, 3, 4), (2, 4, 2)]),
    ("bhld,bhsd->bhls", [(2, 2, 3, 2), (2, 2, 3, 2)]),
    ("...ij,...jk->...ik", [(2, 1, 3, 2), (3, 2, 2)]),
    ("i...,i...->...", [(3, 2), (3, 2)]),
    ("...a,a", [(2, 3, 4), (4,)]),
    ("ab,bc,cd->da", [(2, 3), (3, 4), (4, 2)]),
    ("aab,b->a", [(2, 2, 3), (3,)]),
    ("ij,kj->", [(2, 3), (4, 3)]),
    ("Ab,bA->bA", [(2, 3), (3, 2)]),
    ("ij,jk->ik", [(3, 1), (4, 2)]),
    (" i j , j -> i ", [(3, 4), (4,)]),
    ("ijk,ikl,ilj->i", [(2, 3, 2), (2, 2, 4), (2, 4, 3)]),
    ("i,->i", [(3,), ()]),
]:
    case("einsum", einsum, [randn(*s) for s in shapes], smooth=True, equation=equation)
case("einsum", einsum, [randn(3, 0), randn(0, 2)], equation="ij,jk->ik")
case("einsum", einsum, [integers(-5, 5, 3, 4), integers(-5, 5, 4, 2)], equation="ij,jk->ik")

# ---- convolution


def conv(d):
    call = getattr(F, f"conv{d}d")
    return lambda v, stride=1, padding=0, dilation=1, groups=1, same=False: call(
        v[0], v[1], v[2], stride, "same" if same else padding, dilation, groups)


def transposed(d):
    call = getattr(F, f"conv_transpose{d}d")
    return lambda v, stride=1, padding=0, output_padding=0, dilation=1, groups=1: call(
        v[0], v[1], v[2], stride, padding, output_padding, groups, dilation)


def operands(x, w, groups=1, transpose=False):
    return [randn(*x), randn(*w), randn(w[1] * groups if transpose else w[0])]


case("conv1d", conv(1), operands((2, 3, 9), (4, 3, 3)), smooth=True, **LONG)
case("conv1d", conv(1), operands((3, 9), (4, 3, 2)), smooth=True, stride=[2], padding=[1], **LONG)
case("conv1d", conv(1), operands((1, 4, 9), (6, 2, 3), 2), smooth=True, padding=[2], dilation=[2], groups=2, **LONG)
case("conv1d", conv(1), operands((1, 2, 7), (2, 2, 4)), smooth=True, same=True, **LONG)
case("conv1d", conv(1), operands((1, 2, 7), (2, 2, 3)), same=True, dilation=[3], **LONG)
case("conv1d", conv(1), operands((0, 2, 7), (2, 2, 3)))
case("conv1d", conv(1), operands((1, 3, 5), (2, 3, 1)), smooth=True, stride=[7])
case("conv2d", conv(2), operands((2, 2, 5, 6), (4, 2, 3, 2)), smooth=True, **LONG)
case("conv2d", conv(2), operands((2, 5, 6), (3, 2, 3, 3)), smooth=True, stride=[2, 1], padding=[1, 2], **LONG)
case("conv2d", conv(2), operands((1, 4, 7, 6), (4, 1, 3, 3)), smooth=True, groups=4, dilation=[2, 1], **LONG)
case("conv2d", conv(2), operands((1, 2, 5, 6), (3, 2, 2, 4)), smooth=True, same=True, **LONG)
case("conv2d", conv(2), operands((1, 1, 1, 1), (1, 1, 1, 1)), stride=[3, 3])
case("conv2d", conv(2), operands((1, 1, 2, 2), (1, 1, 5, 5)), padding=[2, 2], **LONG)
case("conv2d", conv(2), operands((2, 3, 17, 19), (8, 3, 5, 3)), padding=[2, 1], **LONG)
case("conv3d", conv(3), operands((1, 2, 4, 3, 5), (3, 2, 2, 3, 2)), smooth=True, **LONG)
case("conv3d", conv(3), operands((2, 2, 5, 4, 3), (2, 2, 3, 2, 2)), smooth=True, stride=[2, 1, 2], padding=[1, 0, 1], **LONG)
case("conv3d", conv(3), operands((2, 4, 4, 3), (4, 1, 2, 2, 1), 2), groups=2, dilation=[3, 1, 2], **LONG)
case("conv3d", conv(3), operands((1, 2, 3, 4, 3), (2, 2, 2, 3, 2)), same=True, **LONG)
case("conv3d", conv(3), operands((1, 2, 4, 3, 3), (2, 2, 1, 1, 1)), smooth=True, **LONG)
case("conv_transpose1d", transposed(1), operands((2, 3, 5), (3, 4, 3), 1, True), smooth=True, **LONG)
case("conv_transpose1d", transposed(1), operands((3, 5), (3, 2, 4), 1, True), smooth=True, stride=[3], padding=[1], output_padding=[2], **LONG)
case("conv_transpose1d", transposed(1), operands((1, 2, 4), (2, 1, 2), 1, True), smooth=True, stride=[1], dilation=[3], output_padding=[2], **LONG)
case("conv_transpose1d", transposed(1), operands((1, 2, 4), (2, 1, 1), 1, True), stride=[3])
case("conv_transpose2d", transposed(2), operands((2, 2, 3, 4), (2, 3, 3, 2), 1, True), smooth=True, **LONG)
case("conv_transpose2d", transposed(2), operands((1, 4, 3, 3), (4, 2, 3, 3), 2, True), smooth=True, stride=[2, 3], padding=[1, 0], output_padding=[1, 2], groups=2, **LONG)
case("conv_transpose2d", transposed(2), operands((2, 3, 1), (2, 2, 2, 2), 1, True), dilation=[2, 1], padding=[1, 0], **LONG)
case("conv_transpose2d", transposed(2), operands((0, 2, 3, 4), (2, 3, 3, 2), 1, True))
case("conv_transpose3d", transposed(3), operands((1, 2, 2, 3, 2), (2, 2, 2, 2, 3), 1, True), smooth=True, **LONG)
case("conv_transpose3d", transposed(3), operands((2, 2, 3, 2, 2), (2, 1, 3, 2, 2), 2, True), smooth=True, stride=[2, 1, 2], padding=[1, 0, 0], output_padding=[1, 0, 1], groups=2, **LONG)
case("conv_transpose3d", transposed(3), operands((2, 3, 2, 2), (2, 2, 2, 1, 2), 1, True), stride=[3, 2, 1], dilation=[2, 1, 2], output_padding=[2, 1, 0], **LONG)

# ---- pooling


def max_pool(d, indices=False):
    call = getattr(F, f"max_pool{d}d")
    return lambda v, kernel, stride=None, padding=0, dilation=1, ceil_mode=False: call(
        v[0], kernel, stride, padding, dilation, ceil_mode, indices)


def avg_pool(d):
    call = getattr(F, f"avg_pool{d}d")
    if d == 1:
        return lambda v, kernel, stride=None, padding=0, ceil_mode=False, count_include_pad=True: call(
            v[0], kernel, stride, padding, ceil_mode, count_include_pad)
    return lambda v, kernel, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor=None: call(
        v[0], kernel, stride, padding, ceil_mode, count_include_pad, divisor)


# Sizes of images, and windows over them.
WINDOWS = {
    1: [((1, 2, 7), dict(kernel=[2])),
        ((2, 8), dict(kernel=[3], stride=[2], padding=[1], ceil_mode=True)),
        ((1, 1, 2), dict(kernel=[3], stride=[2], padding=[1], ceil_mode=True)),
        ((1, 1, 9), dict(kernel=[4], stride=[3], padding=[2]))],
    2: [((2, 2, 4, 6), dict(kernel=[2, 2])),
        ((1, 2, 5, 7), dict(kernel=[3, 2], stride=[2, 2], padding=[1, 0], ceil_mode=True)),
        ((2, 7, 6), dict(kernel=[3, 3], stride=[1, 2], padding=[1, 1])),
        ((0, 2, 4, 4), dict(kernel=[2, 2])),
        ((1, 1, 5, 5), dict(kernel=[2, 2], stride=[3, 3], ceil_mode=True))],
    3: [((1, 1, 4, 3, 5), dict(kernel=[2, 2, 2])),
        ((1, 3, 4, 5), dict(kernel=[3, 2, 2], stride=[2, 1, 2], padding=[1, 0, 1], ceil_mode=True))],
}
for d in [1, 2, 3]:
    for shape, windows in WINDOWS[d]:
        small = 0 not in shape
        case(f"max_pool{d}d", max_pool(d), [randn(*shape)], smooth=small, **windows)
        case(f"max_pool{d}d_with_indices", max_pool(d, True), [randn(*shape)], **windows)
        case(f"avg_pool{d}d", avg_pool(d), [randn(*shape)], smooth=small, **windows)
        case(f"avg_pool{d}d", avg_pool(d), [randn(*shape)], count_include_pad=False, **windows)
        if d > 1:
            case(f"avg_pool{d}d", avg_pool(d), [randn(*shape)], divisor=3, **windows)
    dilated = dict(kernel=[3] * d, stride=[2] * d, padding=[1] * d, dilation=[2] * d)
    case(f"max_pool{d}d", max_pool(d), [randn(1, 2, *[7] * d)], **dilated)
    case(f"max_pool{d}d_with_indices", max_pool(d, True), [torch.full((1, 1, *[7] * d), -inf)], grad=False, **dilated)
    case(f"max_pool{d}d_with_indices", max_pool(d, True), [randn(1, 1, *[6] * d)], **{**dilated, "ceil_mode": True})
case("max_pool2d", max_pool(2), [torch.tensor([[[1.0, nan, 3.0, 4.0], [-inf, 2.0, inf, 1.0]]])], grad=False, kernel=[2, 2])
case("avg_pool2d", avg_pool(2), [torch.tensor([[[1.0, nan, 3.0, 4.0], [-inf, 2.0, inf, 1.0]]])], grad=False, kernel=[2, 1])
lp_pool = lambda d: lambda v, p, kernel, stride=None, ceil_mode=False: getattr(F, f"lp_pool{d}d")(
    v[0], p, kernel if d > 1 else kernel[0], stride if d > 1 or stride is None else stride[0], ceil_mode)
for d in [1, 2, 3]:
    case(f"lp_pool{d}d", lp_pool(d), [randn(1, 2, *[5] * d)], p=2.0, kernel=[2] * d, stride=[1] * d)
    case(f"lp_pool{d}d", lp_pool(d), [randn(1, 2, *[6] * d).abs() + 0.1], smooth=d == 1, p=3.0, kernel=[3] * d)
ADAPTIVE = {
    1: [((1, 2, 7), [3]), ((2, 6), [2]), ((1, 1, 3), [5]), ((1, 1, 4), [1])],
    2: [((1, 2, 5, 6), [3, 2]), ((2, 4, 7), [1, 1]), ((1, 1, 3, 5), [5, 3]), ((1, 2, 6, 4), [3, 2])],
    3: [((1, 1, 4, 3, 5), [3, 2, 2]), ((1, 4, 4, 6), [1, 3, 4])],
}
for d in [1, 2, 3]:
    for shape, output in ADAPTIVE[d]:
        avg, most = getattr(F, f"adaptive_avg_pool{d}d"), getattr(F, f"adaptive_max_pool{d}d")
        case(f"adaptive_avg_pool{d}d", lambda v, output: avg(v[0], output), [randn(*shape)], smooth=True, output=output)
        case(f"adaptive_max_pool{d}d", lambda v, output: most(v[0], output), [randn(*shape)], smooth=True, output=output)
        case(f"adaptive_max_pool{d}d_with_indices", lambda v, output: most(v[0], output, True), [randn(*shape)], output=output)
holes = torch.tensor([[[1.0, nan, 3.0, 4.0, inf, 2.0, -1.0]]])
case("adaptive_avg_pool1d", lambda v, output: F.adaptive_avg_pool1d(v[0], output), [holes], grad=False, output=[3])
case("adaptive_max_pool1d", lambda v, output: F.adaptive_max_pool1d(v[0], output), [holes], grad=False, output=[3])
case("adaptive_max_pool2d_with_indices", lambda v, output: F.adaptive_max_pool2d(v[0], output, True),
     [torch.full((1, 5, 7), -inf)], grad=False, output=[3, 4])

# ---- resampling
MODES = {3: "linear", 4: "bilinear", 5: "trilinear"}


def interpolate(v, size=None, scale=None, mode="nearest", align_corners=False):
    mode = MODES[v[0].ndim] if mode == "linear" else mode
    extra = {"align_corners": align_corners} if "linear" in mode else {}
    return F.interpolate(v[0], size=size, scale_factor=scale, mode=mode, **extra)


for mode in ["nearest", "nearest-exact", "linear"]:
    for shape, size in [((1, 2, 5), [8]), ((1, 2, 4), [8]), ((1, 1, 7), [3]), ((1, 1, 3), [1]), ((2, 1, 3, 4), [5, 3]),
                        ((1, 2, 4, 6), [2, 12]), ((1, 1, 3, 2, 4), [5, 4, 2])]:
        case("interpolate", interpolate, [randn(*shape)], smooth=True, size=size, mode=mode)
        if mode == "linear":
            case("interpolate", interpolate, [randn(*shape)], smooth=True, size=size, mode=mode, align_corners=True)
    for shape, scale in [((1, 2, 5), 2.0), ((1, 1, 7), 1.7), ((1, 2, 6, 5), 0.6), ((1, 1, 5), 1.1)]:
        if mode == "nearest" and scale == 1.1:
            continue  # PyTorch's gradient is not that of its result there.
        case("interpolate", interpolate, [randn(*shape)], size=None, scale=scale, mode=mode)
case("interpolate", interpolate, [torch.tensor([[[1.0, nan, 3.0, inf, 5.0]]])], grad=False, size=[10], mode="nearest")

# ---- attention


def attention(v, causal=False, scale=None, enable_gqa=False):
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        mask = v[3] if len(v) > 3 else None
        return F.scaled_dot_product_attention(v[0], v[1], v[2], mask, 0.0, causal, scale=scale, enable_gqa=enable_gqa)


qkv = lambda l, s, e, w, *front: [randn(*front, l, e), randn(*front, s, e), randn(*front, s, w)]
case("scaled_dot_product_attention", attention, qkv(3, 3, 4, 2), smooth=True)
case("scaled_dot_product_attention", attention, qkv(3, 3, 4, 4, 2, 1), smooth=True, causal=True)
case("scaled_dot_product_attention", attention, qkv(3, 5, 2, 3, 2), causal=True)
case("scaled_dot_product_attention", attention, qkv(5, 3, 2, 2, 2), causal=True, scale=0.25)
case("scaled_dot_product_attention", attention, qkv(3, 4, 2, 3, 2, 2) + [torch.rand(3, 4) > 0.4])
case("scaled_dot_product_attention", attention, qkv(3, 4, 2, 3, 2) + [torch.tensor([[True, False, True, True], [False] * 4, [True] * 4])])
case("scaled_dot_product_attention", attention, qkv(3, 4, 2, 3, 2) + [randn(2, 3, 4)], smooth=True)
case("scaled_dot_product_attention", attention, [randn(2, 4, 3, 2), randn(2, 2, 5, 2), randn(2, 2, 5, 3)], smooth=True, enable_gqa=True)
case("scaled_dot_product_attention", attention, [randn(1, 6, 3, 2), randn(1, 2, 3, 2), randn(1, 2, 3, 2)], causal=True, enable_gqa=True)
case("scaled_dot_product_attention", attention, [randn(1, 3, 70, 16) * 3, randn(1, 3, 70, 16) * 3, randn(1, 3, 70, 16)], causal=True, **LONG)
