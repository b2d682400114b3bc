"""Matrix products, convolutions, pooling, attention."""

import torch

from golden import case, randn

case("matmul", lambda v: v[0] @ v[1], [randn(3, 5), randn(5, 2)], smooth=True)
case("matmul", lambda v: v[0] @ v[1], [randn(2, 1, 3, 70), randn(4, 70, 65)], factor=10, why="sums of 70 products")
