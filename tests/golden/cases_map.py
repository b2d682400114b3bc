"""Element by element."""

import torch

from golden import case, int32_data, randn, special

int32_data("add", "clamp")

case("exp", lambda v: v[0].exp(), [randn(3, 7)], smooth=True)
case("exp", lambda v: v[0].exp(), [special()])
case("add", lambda v: v[0] + v[1], [randn(3, 1, 5), randn(4, 1)], smooth=True)
case("add", lambda v: v[0] + v[1], [randn(0, 5), randn(5)])
case("add", lambda v: v[0] + v[1], [special(), special().flip(0)])
case("clamp", lambda v, min, max: v[0].clamp(min, max), [special()], min=-1.0, max=2.0)
case("where", lambda v: torch.where(v[0], v[1], v[2]), [randn(3, 5) > 0, randn(3, 1), randn(5)], smooth=True)
