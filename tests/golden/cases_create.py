"""Tensors from nothing."""

import torch
import torch.nn.functional as F

from golden import case, integers, randn

TYPES = {"f32": torch.float32, "f64": torch.float64, "i32": torch.int32, "i64": torch.int64, "u8": torch.uint8,
         "bool": torch.bool}


def typed(f):
    """A call that takes the dtype by Sunstone's name."""
    return lambda v, dtype, **args: f(dtype=TYPES[dtype], **args)


for dtype in ["f32", "i32", "bool", "u8"]:
    case("zeros", typed(lambda shape, dtype: torch.zeros(shape, dtype=dtype)), [], shape=[2, 3], dtype=dtype)
    case("ones", typed(lambda shape, dtype: torch.ones(shape, dtype=dtype)), [], shape=[3, 1, 2], dtype=dtype)
case("zeros", typed(lambda shape, dtype: torch.zeros(shape, dtype=dtype)), [], shape=[2, 0], dtype="f32")
case("ones", typed(lambda shape, dtype: torch.ones(shape, dtype=dtype)), [], shape=[], dtype="f64")

full = typed(lambda shape, value, dtype: torch.full(shape, value, dtype=dtype))
for value in [0.1, -3, float("inf"), float("-inf"), float("nan"), -0.0, 1e-3]:
    case("full", full, [], shape=[2, 3], value=value, dtype="f32")
case("full", full, [], shape=[3], value=2.75, dtype="i32")
case("full", full, [], shape=[3], value=7, dtype="bool")
case("full", full, [], shape=[0, 2], value=7, dtype="u8")

case("zeros_like", lambda v: torch.zeros_like(v[0]), [randn(2, 1, 3)])
case("ones_like", lambda v: torch.ones_like(v[0]), [randn(2, 0)])
case("ones_like", lambda v: torch.ones_like(v[0]), [randn(3) > 0])
case("full_like", lambda v, value: torch.full_like(v[0], value), [randn(2, 3)], value=-2.5)
case("full_like", lambda v, value: torch.full_like(v[0], value), [randn(2, 3) > 0], value=True and 1)

arange = typed(lambda start, end, step, dtype: torch.arange(start, end, step, dtype=dtype))
for start, end, step, dtype in [(0, 5, 1, "i32"), (5, 0, -2, "i32"), (-7, 8, 3, "i32"), (0, 0, 1, "i32"), (3, 4, 5, "i32"),
                                (0, 1, 0.3, "f32"), (-1.0, 1.0, 0.1, "f32"), (2.5, -2.5, -1.25, "f32"), (1, 6, 2, "f32"),
                                (0, 0, 1, "f32"), (0.5, 4, 1, "f64")]:
    case("arange", arange, [], start=start, end=end, step=step, dtype=dtype)

linspace = typed(lambda start, end, steps, dtype: torch.linspace(start, end, steps, dtype=dtype))
for start, end, steps, dtype in [(0.0, 1.0, 5, "f32"), (-3.0, 10.0, 7, "f32"), (3.0, -2.0, 8, "f32"), (3.0, 4.0, 1, "f32"),
                                 (3.0, 4.0, 0, "f32"), (1e-3, 1e3, 50, "f32"), (0.0, 0.7, 4, "f64"), (5.0, 5.0, 3, "f32")]:
    case("linspace", linspace, [], start=start, end=end, steps=steps, dtype=dtype)


def eye(v, n, dtype, m=None):
    return torch.eye(n, m if m is not None else n, dtype=TYPES[dtype])


case("eye", eye, [], n=4, dtype="f32")
case("eye", eye, [], n=2, m=5, dtype="i32")
case("eye", eye, [], n=5, m=3, dtype="f32")
case("eye", eye, [], n=0, dtype="f32")
case("eye", eye, [], n=1, m=1, dtype="bool")

for diagonal in [-2, -1, 0, 1, 5]:
    ones = lambda rows, columns: torch.ones(rows, columns, dtype=torch.bool)
    for rows, columns in [(3, 5), (4, 2), (1, 1), (0, 3)]:
        case("tril_mask", lambda v, rows, columns, diagonal: ones(rows, columns).tril(diagonal), [],
             rows=rows, columns=columns, diagonal=diagonal)
        case("triu_mask", lambda v, rows, columns, diagonal: ones(rows, columns).triu(diagonal), [],
             rows=rows, columns=columns, diagonal=diagonal)

one_hot = lambda v, classes: F.one_hot(v[0], classes).bool()
case("one_hot", one_hot, [integers(0, 4, 3, 2)], classes=4)
case("one_hot", one_hot, [integers(0, 7, 1)], classes=7)
case("one_hot", one_hot, [integers(0, 1, 2, 0)], classes=3)
