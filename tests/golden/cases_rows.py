"""Softmax, norms and losses."""

import torch

from golden import case, randn

case("softmax", lambda v, axis: v[0].softmax(axis), [randn(3, 1, 7)], smooth=True, axis=1)
case("softmax", lambda v, axis: v[0].softmax(axis), [randn(4, 5) * 40], axis=-1)
