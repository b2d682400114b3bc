"""Picking, placing and ordering elements."""

import torch

from golden import _generator, case, int32_data, integers, randn, special, uniform

nan, inf = float("nan"), float("inf")

# ---- reading
case("gather", lambda v, axis: v[0].gather(axis, v[1]), [randn(5, 3), integers(0, 5, 4, 3)], smooth=True, axis=0)
case("gather", lambda v, axis: v[0].gather(axis, v[1]), [randn(5, 3, 4), integers(0, 4, 2, 3, 6)], axis=-1)
case("gather", lambda v, axis: v[0].gather(axis, v[1]), [randn(5, 1), integers(0, 5, 0, 1)], axis=0)
case("gather", lambda v, axis: v[0].gather(axis, v[1]), [randn(5, 7), integers(0, 5, 6, 7)], axis=0,
     dtypes=[torch.float16, torch.bfloat16])
case("take_along", lambda v, axis: torch.take_along_dim(v[0], v[1], axis), [randn(5, 1, 4), integers(0, 5, 2, 3, 1)],
     smooth=True, axis=0)
case("take_along", lambda v, axis: torch.take_along_dim(v[0], v[1], axis), [randn(3, 4), integers(0, 4, 1, 2)], axis=1)
case("take", lambda v: torch.take(v[0], v[1]), [randn(5, 3), integers(-15, 15, 2, 4)], smooth=True)
case("take", lambda v: torch.take(v[0], v[1]), [randn(5, 3), integers(0, 15, 0)])
case("index_select", lambda v, axis: v[0].index_select(axis, v[1]), [randn(5, 3), integers(0, 5, 7)], smooth=True, axis=0)
case("index_select", lambda v, axis: v[0].index_select(axis, v[1]), [randn(2, 1, 3), integers(0, 3, 0)], axis=2)
case("embedding", lambda v: torch.nn.functional.embedding(v[1], v[0]), [randn(7, 3), integers(0, 7, 2, 5)], smooth=True)
case("embedding", lambda v: torch.nn.functional.embedding(v[1], v[0]), [randn(7, 3), integers(0, 7, 0, 5)])
case("embedding", lambda v: torch.nn.functional.embedding(v[1], v[0]), [randn(7, 4), integers(0, 7, 9)],
     dtypes=[torch.float16, torch.bfloat16])
case("index", lambda v: v[0][v[1], v[2]], [randn(4, 3, 2), integers(-4, 4, 3, 1), integers(-3, 3, 5)], smooth=True)
case("index", lambda v: v[0][v[1]], [randn(4, 3), integers(0, 4, 2, 2)])

# ---- writing
case("scatter_add", lambda v, axis: v[0].scatter_add(axis, v[1], v[2]), [randn(5, 3), integers(0, 5, 4, 3), randn(4, 3)],
     smooth=True, axis=0)
case("scatter_add", lambda v, axis: v[0].scatter_add(axis, v[1], v[2]),
     [randn(5, 4), integers(0, 4, 3, 6), randn(4, 7)], grad=False, axis=1)
case("scatter_add", lambda v, axis: v[0].scatter_add(axis, v[1], v[2]),
     [randn(3), torch.zeros(400, dtype=torch.int32), uniform(0, 1, 400)], axis=0, factor=4, why="a sum of 400 terms in any order")
# Repeated places: PyTorch leaves the winner open, so the cases have none.
case("scatter", lambda v, axis: v[0].scatter(axis, v[1], v[2]),
     [randn(5, 3), torch.stack([torch.randperm(5, generator=_generator)[:4] for _ in range(3)], 1).int(), randn(4, 3)], smooth=True, axis=0)
case("scatter", lambda v, axis: v[0].scatter(axis, v[1], v[2]), [randn(5, 3), integers(0, 5, 0, 3), randn(0, 3)], grad=False, axis=0)
case("index_add", lambda v, axis: v[0].index_add(axis, v[1], v[2]), [randn(3, 5), integers(0, 5, 4), randn(3, 4)],
     smooth=True, axis=1)
case("index_copy", lambda v, axis: v[0].index_copy(axis, v[1], v[2]),
     [randn(3, 5), torch.tensor([4, 0, 2]).int(), randn(3, 3)], smooth=True, axis=-1)
case("index_fill", lambda v, axis, value: v[0].index_fill(axis, v[1], value), [randn(3, 5), integers(0, 3, 2)],
     smooth=True, axis=0, value=-2.5)


def put(v, accumulate):
    return v[0].index_put(tuple(v[2:]), v[1], accumulate=accumulate)


case("index_put", put, [randn(4, 3, 2), randn(5, 2), integers(0, 4, 5), integers(0, 3, 5)], smooth=True, accumulate=True)
case("index_put", put, [randn(4, 3, 2), randn(3, 2), torch.tensor([0, 3, -1]).int(), torch.tensor([2, 1, -3]).int()],
     smooth=True, accumulate=False)

# ---- sizes that depend on the data
int32_data("nonzero")
case("masked_select", lambda v: v[0].masked_select(v[1]), [randn(4, 5), randn(4, 5) > 0], smooth=True)
case("masked_select", lambda v: v[0].masked_select(v[1]), [randn(4, 5), randn(5) > 0])
case("masked_select", lambda v: v[0].masked_select(v[1]), [randn(3), torch.zeros(3, dtype=torch.bool)], grad=False)
case("nonzero", lambda v: v[0].nonzero(), [torch.relu(randn(3, 4, 2))], grad=False)
case("nonzero", lambda v: v[0].nonzero(), [torch.tensor([0.0, -0.0, nan, inf, 1e-45])], grad=False)
case("nonzero", lambda v: v[0].nonzero(), [integers(0, 2, 700)])
case("nonzero", lambda v: v[0].nonzero(), [torch.zeros(0, 3)], grad=False)

# ---- order
int32_data("sort", "argsort", "topk", "median", "cumsum", "cumprod", "cummax", "cummin", "searchsorted", "kthvalue")


def sort(v, axis, descending):
    return torch.sort(v[0], dim=axis, descending=descending, stable=True)


with_ties = integers(0, 4, 3, 11).float()
for descending in (False, True):
    case("sort", sort, [randn(3, 1, 7)], smooth=True, axis=-1, descending=descending)
    case("sort", sort, [with_ties], grad=False, axis=1, descending=descending)
    case("sort", sort, [special()], grad=False, axis=0, descending=descending)
    case("sort", sort, [randn(1100, 2)], axis=0, descending=descending)
    case("sort", sort, [integers(-9, 9, 2, 13)], axis=-1, descending=descending)
    case("argsort", lambda v, axis, descending: torch.argsort(v[0], dim=axis, descending=descending, stable=True), [with_ties],
         grad=False, axis=0, descending=descending)
case("sort", sort, [randn(0, 3)], grad=False, axis=0, descending=False)
case("sort", sort, [randn(2, 9)], axis=1, descending=False, dtypes=[torch.float16, torch.bfloat16, torch.float64])
case("topk", lambda v, k, axis, largest: torch.topk(v[0], k, axis, largest), [randn(4, 9)], smooth=True, k=3, axis=1, largest=True)
case("topk", lambda v, k, axis, largest: torch.topk(v[0], k, axis, largest), [randn(9, 2)], k=9, axis=0, largest=False)
case("kthvalue", lambda v, k, axis: torch.kthvalue(v[0], k, axis), [randn(4, 9)], smooth=True, k=4, axis=1)
case("median", lambda v, axis: torch.median(v[0], axis), [randn(4, 9)], smooth=True, axis=1)
case("median", lambda v, axis: torch.median(v[0], axis), [randn(4, 8)], smooth=True, axis=0)
case("median", lambda v, axis: torch.median(v[0], axis), [torch.tensor([[1.0, nan, 3.0], [2.0, 5.0, 4.0]])], grad=False, axis=1)
case("median_all", lambda v: torch.median(v[0]), [randn(4, 8)])
case("median_all", lambda v: torch.median(v[0]), [torch.tensor([1.0, nan, 3.0])], grad=False)
for right in (False, True):
    case("searchsorted", lambda v, right: torch.searchsorted(v[0], v[1], right=right),
         [torch.sort(integers(0, 6, 3, 9).float()).values, integers(-1, 7, 3, 5).float()], grad=False, right=right)
    case("searchsorted", lambda v, right: torch.searchsorted(v[0], v[1], right=right),
         [torch.sort(randn(1000)).values, randn(2, 17)], grad=False, right=right)
    case("bucketize", lambda v, right: torch.bucketize(v[0], v[1], right=right),
         [integers(-1, 7, 3, 5).float(), torch.arange(6).float()], grad=False, right=right)

# ---- running folds
case("cumsum", lambda v, axis: v[0].cumsum(axis), [randn(3, 1, 7)], smooth=True, axis=-1)
case("cumsum", lambda v, axis: v[0].cumsum(axis), [randn(5, 3)], axis=0)
case("cumsum", lambda v, axis: v[0].cumsum(axis), [uniform(0, 1, 2, 3000)], axis=1)
case("cumsum", lambda v, axis: v[0].cumsum(axis), [randn(0, 3)], axis=0)
case("cumsum", lambda v, axis: v[0].cumsum(axis, dtype=torch.int32), [integers(-9, 9, 4, 70)], axis=1)
case("cumprod", lambda v, axis: v[0].cumprod(axis), [uniform(0.5, 1.5, 3, 7)], smooth=True, axis=1)
case("cumprod", lambda v, axis: v[0].cumprod(axis), [torch.tensor([[1.5, 0.0, 2.0, -1.0], [0.5, 3.0, 0.0, 0.0]])], axis=1)
case("cummax", lambda v, axis: v[0].cummax(axis), [randn(3, 9)], smooth=True, axis=1)
case("cummax", lambda v, axis: v[0].cummax(axis), [torch.tensor([1.0, 3.0, 3.0, nan, 5.0, nan])], grad=False, axis=0)
case("cummin", lambda v, axis: v[0].cummin(axis), [randn(9, 2)], smooth=True, axis=0)
case("logcumsumexp", lambda v, axis: v[0].logcumsumexp(axis), [randn(3, 9)], smooth=True, axis=1)
case("logcumsumexp", lambda v, axis: v[0].logcumsumexp(axis), [randn(3, 90) * 50], axis=1)


def recurrence(v, axis):
    x, a = v[0], v[1].expand_as(v[0])
    y, rows = torch.zeros_like(x.select(axis, 0)), []
    for i in range(x.shape[axis]):
        y = a.select(axis, i) * y + x.select(axis, i)
        rows.append(y)
    return torch.stack(rows, axis)


case("linear_scan", recurrence, [randn(3, 9), uniform(-1, 1, 9)], smooth=True, axis=1)
case("linear_scan", recurrence, [randn(130, 2), uniform(-1, 1, 130, 2)], axis=0)
