"""Folds over axes."""

import torch

from golden import case, int32_data, randn, special

int32_data("sum")


def sum_(v, axes=None, keepdim=False):
    return v[0].sum(tuple(axes) if axes is not None else None, keepdim=keepdim)


case("sum", sum_, [randn(3, 1, 7)], smooth=True, axes=[0, -1], keepdim=True)
case("sum", sum_, [randn(2, 0, 3)], axes=[1])
case("sum", sum_, [special()])
