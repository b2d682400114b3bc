"""Element by element."""

import torch
import torch.nn.functional as F

from golden import case as plain_case
from golden import int32_data, integers, randn, special, uniform


def case(name, call, inputs, *, grad=True, **more):
    """A case whose gradients are compared where no input is NaN: at NaN, PyTorch's own depend on the kernel in use."""
    nan = [x.is_floating_point() and x.dim() == 1 and bool(x.isnan().any()) for x in inputs]
    if grad and any(nan):
        whole = torch.stack([x for x, n in zip(inputs, nan) if n]).isnan().any(0)
        plain_case(name, call, [x[~whole] if x.shape == whole.shape else x for x in inputs], **more)
        plain_case(name, call, inputs, grad=False, **more)
    else:
        plain_case(name, call, inputs, grad=grad, **more)


int32_data("add", "sub", "mul", "div", "clamp", "clamp_tensor", "neg", "abs", "sign", "square", "relu", "remainder", "fmod",
           "floor_divide", "maximum", "minimum", "eq", "ne", "lt", "le", "gt", "ge", "bitwise_and", "bitwise_or",
           "bitwise_xor", "bitwise_not", "shl", "shr", "logical_not", "logical_and",
           "logical_or", "logical_xor", "cast", "where", "masked_fill", "add_scalar", "sub_scalar", "mul_scalar",
           "div_scalar", "sqrt", "exp", "sigmoid", "log1p", "isclose", "pow", "floor", "atan2", "isnan", "isfinite", "isinf")

WHOLE = torch.tensor([0, 1, -1, 2, -2, 3, -3, 7, -8, 100, -100, 32767, -65536, 2147483647, -2147483647], dtype=torch.int32)
EMPTY = torch.zeros(0, 3)
# Within the reach of exact argument reduction, without what overflows in squares.
MILD = torch.tensor([0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.5, -7.25, 20.0, -20.0, 88.0, -88.0, 1e-3, -1e-10, 100.0, -100.0,
                     float("inf"), float("-inf"), float("nan"), 6.0, -3.0, 3.0, 0.999999, -1.57079633])


def unary(name, f, low=-3.0, high=3.0, extremes=None, extreme_grads=True, whole=False, smooth=True, **more):
    """A smooth case in [low, high], the extremes with and without gradients, an empty and a size-one case."""
    case(name, lambda v: f(v[0]), [uniform(low, high, 3, 7)], smooth=smooth, **more)
    extremes = special() if extremes is None else extremes
    case(name, lambda v: f(v[0]), [extremes], grad=extreme_grads, **more)
    case(name, lambda v: f(v[0]), [EMPTY], **more)
    if name != "hardsigmoid":  # whose sixth PyTorch rounds to f32
        case(name, lambda v: f(v[0]), [uniform(low, high, 1, 1, 1).double()], **more)
    if whole:
        case(name, lambda v: f(v[0]), [WHOLE], **more)


FINITE = torch.tensor([0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 3.0, -7.25, 20.0, -20.0, 50.0, -50.0, 1e-3, -1e-10])

unary("neg", torch.neg, whole=True)
unary("abs", torch.abs, whole=True)
unary("sqrt", torch.sqrt, 0.2, 3.0)
unary("rsqrt", torch.rsqrt, 0.2, 3.0, extreme_grads=False)
unary("recip", torch.reciprocal, 0.2, 3.0, extreme_grads=False)
unary("square", torch.square)
unary("exp", torch.exp)
unary("exp2", torch.exp2)
unary("expm1", torch.expm1)
unary("log", torch.log, 0.2, 3.0)
unary("log2", torch.log2, 0.2, 3.0, extreme_grads=False)
unary("log10", torch.log10, 0.2, 3.0, extreme_grads=False)
unary("log1p", torch.log1p, -0.8, 3.0)
unary("sin", torch.sin, extremes=MILD)
unary("cos", torch.cos, extremes=MILD)
unary("tan", torch.tan, -1.2, 1.2, extremes=MILD[:15], extreme_grads=False)
unary("asin", torch.asin, -0.9, 0.9)
unary("acos", torch.acos, -0.9, 0.9)
unary("atan", torch.atan)
unary("sinh", torch.sinh)
unary("cosh", torch.cosh)
unary("tanh", torch.tanh)
unary("erf", torch.erf)
unary("sigmoid", torch.sigmoid)
unary("relu", torch.relu, whole=True, smooth=False)
unary("floor", torch.floor, smooth=False)
unary("ceil", torch.ceil, smooth=False)
unary("round", torch.round, smooth=False)
unary("trunc", torch.trunc, smooth=False)
unary("logical_not", torch.logical_not, smooth=False, whole=True)
unary("isnan", torch.isnan, smooth=False)
unary("isinf", torch.isinf, smooth=False)
unary("isfinite", torch.isfinite, smooth=False)
# NaN has no sign here; PyTorch gives 0.
case("sign", lambda v: v[0].sign(), [torch.nan_to_num(special(), 2.0)])
case("sign", lambda v: v[0].sign(), [WHOLE])
for x in [WHOLE, randn(7) > 0]:
    case("bitwise_not", lambda v: v[0].bitwise_not(), [x])
for name, f in [("exp", torch.exp), ("sigmoid", torch.sigmoid), ("sqrt", torch.sqrt), ("log1p", torch.log1p)]:
    case(name, lambda v: f(v[0]), [integers(0, 10, 2, 3)])
    case(name, lambda v: f(v[0]), [randn(5) > 0])

# ---- activations
unary("relu6", F.relu6, smooth=False)
unary("hardsigmoid", F.hardsigmoid, smooth=False)
unary("hardswish", F.hardswish, smooth=False, extremes=MILD)
unary("selu", F.selu)
unary("logsigmoid", F.logsigmoid)
unary("mish", F.mish, extreme_grads=False)
unary("softsign", F.softsign, extreme_grads=False)
unary("tanhshrink", F.tanhshrink, factor=3, why="the difference of two numbers that are nearly alike")
unary("silu", F.silu, extreme_grads=False)
unary("silu", F.silu, extremes=FINITE)
unary("mish", F.mish, extremes=FINITE)
unary("softsign", F.softsign, extremes=FINITE)

gelu = lambda v, approximate: F.gelu(v[0], approximate=approximate)
for approximate in ["none", "tanh"]:
    case("gelu", gelu, [randn(3, 7)], smooth=True, approximate=approximate)
    case("gelu", gelu, [MILD], grad=False, approximate=approximate)
    case("gelu", gelu, [EMPTY], approximate=approximate)
case("gelu", gelu, [special()], grad=False, approximate="none")

hardtanh = lambda v, min, max: F.hardtanh(v[0], min, max)
case("hardtanh", hardtanh, [randn(3, 7)], min=-0.5, max=1.5)
case("hardtanh", hardtanh, [special()], min=-1.0, max=1.0)
leaky = lambda v, slope: F.leaky_relu(v[0], slope)
case("leaky_relu", leaky, [randn(3, 7)], smooth=True, slope=0.2)
case("leaky_relu", leaky, [special()], slope=0.01)
for name, f in [("elu", F.elu), ("celu", F.celu)]:
    call = lambda v, alpha, f=f: f(v[0], alpha)
    case(name, call, [randn(3, 7)], smooth=True, alpha=0.7)
    case(name, call, [special()], alpha=1.0)
    case(name, call, [special()], alpha=1.5)
    case(name, call, [EMPTY], alpha=1.0)
softplus = lambda v, beta, threshold: F.softplus(v[0], beta, threshold)
case("softplus", softplus, [randn(3, 7)], smooth=True, beta=1.0, threshold=20.0)
case("softplus", softplus, [randn(3, 7)], smooth=True, beta=2.5, threshold=20.0)
case("softplus", softplus, [special()], beta=1.0, threshold=20.0)
case("softplus", softplus, [randn(3, 7) * 3], beta=-1.5, threshold=1.0)
softshrink = lambda v, **a: F.softshrink(v[0], a["lambda"])
hardshrink = lambda v, **a: F.hardshrink(v[0], a["lambda"])
for call, name in [(softshrink, "softshrink"), (hardshrink, "hardshrink")]:
    case(name, call, [randn(3, 7)], **{"lambda": 0.3})
    case(name, call, [special()], **{"lambda": 0.5})
threshold = lambda v, threshold, value: F.threshold(v[0], threshold, value)
case("threshold", threshold, [randn(3, 7)], threshold=0.1, value=-20.0)
case("threshold", threshold, [special()], threshold=0.0, value=2.0)
glu = lambda v, axis: F.glu(v[0], axis)
case("glu", glu, [randn(3, 4)], smooth=True, axis=-1)
case("glu", glu, [randn(2, 3, 1)], smooth=True, axis=0)
case("glu", glu, [randn(3, 0)], axis=1)
prelu = lambda v: F.prelu(v[0], v[1])
case("prelu", prelu, [randn(2, 3, 4), randn(3)], smooth=True)
case("prelu", prelu, [special(), torch.tensor([0.25])])
case("prelu", prelu, [randn(2, 1), randn(1)], smooth=True)

# ---- two operands
A, B = special(), special().flip(0)
NONZERO = torch.where(B == 0, torch.tensor(3.0), B)


def binary(name, f, low=-3.0, high=3.0, grads=True, whole=False, smooth=True, extremes=True, **more):
    call = lambda v: f(v[0], v[1])
    case(name, call, [uniform(low, high, 3, 1, 5), uniform(low, high, 4, 1)], smooth=smooth, **more)
    case(name, call, [uniform(low, high, 2, 0), uniform(low, high, 1)], **more)
    if extremes:
        case(name, call, [A, B], grad=grads, **more)
        case(name, call, [A, A], grad=grads, **more)
    if whole:
        case(name, call, [WHOLE, WHOLE.roll(4)], **more)
        case(name, call, [WHOLE, randn(1)], **more)


binary("add", torch.add, whole=True)
binary("sub", torch.sub, whole=True)
binary("mul", torch.mul, grads=False, whole=True)
binary("div", torch.div, 0.3, 3.0, grads=False)
case("div", lambda v: v[0] / v[1], [WHOLE, torch.where(WHOLE == 0, 3, WHOLE.roll(5)).int()])
binary("maximum", torch.maximum, whole=True, smooth=False)
binary("minimum", torch.minimum, whole=True, smooth=False)
binary("atan2", torch.atan2, 0.3, 3.0, grads=False)
binary("pow", torch.pow, 0.3, 3.0, extremes=False)
P = torch.tensor([0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5, 3.0, float("inf"), float("-inf"), float("nan"), 1e-20, 1e20, -8.0])
for base in P:
    case("pow", lambda v: v[0] ** v[1], [base.reshape(1), P], grad=False)
case("pow", lambda v: v[0] ** v[1], [torch.tensor([0.0, 0.0, 0.0, 2.0, 3.0, 1.0]), torch.tensor([0.0, 1.0, 2.0, 0.0, 1.0, 5.0])])
for exponent in [2.0, 0.5, 3.0, -1.0, 0.0, 1.0, 2.7]:
    call = lambda v, exponent: v[0] ** exponent
    case("pow_scalar", call, [uniform(0.3, 3.0, 3, 5)], smooth=True, exponent=exponent)
    case("pow_scalar", call, [MILD], grad=False, exponent=exponent)
binary("remainder", torch.remainder, 0.3, 3.0, smooth=False, extremes=False)
binary("fmod", torch.fmod, 0.3, 3.0, smooth=False, extremes=False)
binary("floor_divide", lambda a, b: torch.floor_divide(a.detach(), b.detach()), 0.3, 3.0, smooth=False, extremes=False)
DIVIDEND = torch.tensor([5.0, -5.0, 0.0, -0.0, 7.5, -7.5, 1.0, 1e10, -1e10, 0.3, 3.0, -3.0])
DIVISOR = torch.tensor([3.0, -3.0, 2.0, 0.7, -0.25, 1.0, 1e-3, 7.0, 0.1, -0.1, 1e5, 2.5])
for shift in range(0, 12, 2):
    pair = [DIVIDEND, DIVISOR.roll(shift)]
    case("remainder", lambda v: torch.remainder(v[0], v[1]), pair, grad=False, factor=10, why="differences of large numbers")
    case("fmod", lambda v: torch.fmod(v[0], v[1]), pair, grad=False, factor=10, why="differences of large numbers")
for name, f in [("remainder", torch.remainder), ("fmod", torch.fmod), ("floor_divide", torch.floor_divide)]:
    divisor = torch.tensor([3, -3, 7, -7, 1, -1, 2, 5, -5, 100, -100, 9, 11, -13, 17], dtype=torch.int32)
    for k in range(0, 15, 4):
        case(name, lambda v: f(v[0], v[1]), [WHOLE, divisor.roll(k)])
    case(name, lambda v: f(v[0], v[1]), [DIVIDEND[:7], torch.full((7,), float("nan"))], grad=False)
case("floor_divide", lambda v: torch.floor_divide(v[0], v[1]), [DIVIDEND[:7], DIVISOR[:7]], grad=False)
case("fmod", lambda v: torch.fmod(v[0], v[1]), [randn(3, 5) * 5, uniform(0.5, 2.0, 5)])
for name in ["eq", "ne", "lt", "le", "gt", "ge"]:
    f = getattr(torch, name)
    binary(name, f, smooth=False, whole=True)
    case(name, lambda v: f(v[0], v[1]), [randn(4) > 0, randn(4) > 0])
for name in ["logical_and", "logical_or", "logical_xor"]:
    f = getattr(torch, name)
    binary(name, f, smooth=False, whole=True)
    case(name, lambda v: f(v[0], v[1]), [randn(4, 1) > 0, randn(5) > 0])
for name in ["bitwise_and", "bitwise_or", "bitwise_xor"]:
    f = getattr(torch, name)
    case(name, lambda v: f(v[0], v[1]), [WHOLE, WHOLE.roll(4)])
    case(name, lambda v: f(v[0], v[1]), [randn(4, 1) > 0, randn(5) > 0])
    case(name, lambda v: f(v[0], v[1]), [WHOLE[:0], WHOLE[:1]])
SHIFT = torch.tensor([0, 1, 2, 5, 30], dtype=torch.int32)
case("shl", lambda v: v[0] << v[1], [integers(-9, 9, 3, 1), SHIFT])
case("shr", lambda v: v[0] >> v[1], [WHOLE.reshape(3, 5), SHIFT])
binary("logaddexp", torch.logaddexp, grads=False)
FAR = torch.tensor([0.0, 100.0, -100.0, 1e4, -1e4, 3.0, 3.0])
case("logaddexp", lambda v: torch.logaddexp(v[0], v[1]), [FAR, torch.tensor([0.0, 99.0, 50.0, -1e4, -1e4, 3.0, 2.0])])

# ---- numbers beside tensors
for name, f in [("add", lambda a, b: a + b), ("sub", lambda a, b: a - b), ("mul", lambda a, b: a * b), ("div", lambda a, b: a / b)]:
    call = lambda v, other, reversed: f(other, v[0]) if reversed else f(v[0], other)
    for reversed in [False, True]:
        case(f"{name}_scalar", call, [uniform(0.5, 3.0, 3, 5)], smooth=True, other=2.5, reversed=reversed)
        case(f"{name}_scalar", call, [torch.where(WHOLE == 0, 9, WHOLE).int()], other=3, reversed=reversed)
        case(f"{name}_scalar", call, [integers(1, 9, 2, 3)], other=-1.5, reversed=reversed)
        case(f"{name}_scalar", call, [special()], grad=False, other=-2, reversed=reversed)

# ---- choices
where = lambda v: torch.where(v[0], v[1], v[2])
case("where", where, [randn(3, 5) > 0, randn(3, 1), randn(5)], smooth=True)
case("where", where, [randn(35) > 0, special(), special().flip(0)])
case("where", where, [randn(2, 1) > 0, integers(0, 9, 3), integers(0, 9, 3)])
case("where", where, [randn(0, 1) > 0, randn(3), randn(1)])
choose = lambda v, a, b: torch.where(v[0], a, b)
case("choose", lambda v, a, b: torch.where(v[0], a, b).float(), [randn(3, 5) > 0], a=1.5, b=-2.0)
case("choose", lambda v, a, b: torch.where(v[0], a, b).int(), [randn(3, 5) > 0], a=4, b=-2)
fill = lambda v, value: v[0].masked_fill(v[1], value)
case("masked_fill", fill, [randn(3, 5), randn(5) > 0], smooth=True, value=2.5)
case("masked_fill", fill, [special(), torch.isnan(special())], value=float("-inf"))
case("masked_fill", fill, [integers(0, 9, 3, 5), randn(3, 1) > 0], value=-7)
clamp = lambda v, min=None, max=None: v[0].clamp(min, max)
case("clamp", clamp, [special()], min=-1.0, max=2.0)
case("clamp", clamp, [special()], min=-1.0)
case("clamp", clamp, [special()], max=0.0)
case("clamp", clamp, [special()], min=2.0, max=1.0)
case("clamp", clamp, [WHOLE], min=-3, max=100)
case("clamp", clamp, [WHOLE], min=0)
case("clamp", clamp, [EMPTY], min=0.0, max=1.0)
clamp_tensor = lambda v: v[0].clamp(v[1], v[2])
case("clamp_tensor", clamp_tensor, [randn(3, 5), randn(5) - 1, randn(3, 1) + 1])
case("clamp_tensor", clamp_tensor, [special(), torch.full((35,), -1.0), torch.full((35,), 2.0)])
case("clamp_tensor", clamp_tensor, [integers(-9, 9, 3, 5), integers(-5, 0, 5), integers(0, 5, 3, 1)])
case("lerp", lambda v: v[0].lerp(v[1], v[2]), [randn(3, 5), randn(3, 5), uniform(-0.5, 1.5, 5)], smooth=True)
case("lerp", lambda v: v[0].lerp(v[1], v[2]), [randn(6), randn(6), torch.tensor([0.0, 1.0, 0.5, 0.49, 2.0, -1.0])])
addcmul = lambda v, value: torch.addcmul(v[0], v[1], v[2], value=value)
addcdiv = lambda v, value: torch.addcdiv(v[0], v[1], v[2], value=value)
case("addcmul", addcmul, [randn(3, 5), randn(3, 1), randn(5)], smooth=True, value=-0.5)
case("addcdiv", addcdiv, [randn(3, 5), randn(3, 1), uniform(0.5, 2.0, 5)], smooth=True, value=1.5)
isclose = lambda v, rtol=1e-5, atol=1e-8: torch.isclose(v[0], v[1], rtol=rtol, atol=atol)
case("isclose", isclose, [special(), special()])
case("isclose", isclose, [special(), special() * (1 + 1e-4)], rtol=1e-3, atol=0.0)
case("isclose", isclose, [special(), special().flip(0)], rtol=0.1, atol=0.5)

# ---- casts
TYPES = {"f32": torch.float32, "f64": torch.float64, "i32": torch.int32, "u8": torch.uint8, "bool": torch.bool}
cast = lambda v, dtype: v[0].to(TYPES[dtype])
for dtype in ["f32", "f64", "i32", "bool"]:
    case("cast", cast, [randn(3, 5) * 10], dtype=dtype)
    case("cast", cast, [WHOLE], dtype=dtype)
    case("cast", cast, [randn(5) > 0], dtype=dtype)
case("cast", cast, [uniform(0.0, 255.9, 3, 5)], dtype="u8")
case("cast", cast, [special()], dtype="bool")
case("cast", cast, [special()], dtype="f64")
