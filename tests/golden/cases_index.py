"""Picking, placing and ordering elements."""

import torch

from golden import case, integers, randn

case("gather", lambda v, axis: v[0].gather(axis, v[1]), [randn(5, 3), integers(0, 5, 4, 3)], smooth=True, axis=0)
