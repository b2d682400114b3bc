"""Views and layout."""

import torch

from golden import case, randn

case("transpose", lambda v, dim0, dim1: v[0].transpose(dim0, dim1), [randn(3, 1, 5)], smooth=True, dim0=0, dim1=-1)
case("cat", lambda v, axis: torch.cat(v, axis), [randn(3, 2), randn(3, 0), randn(3, 5)], axis=1)
