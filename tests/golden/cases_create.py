"""Tensors from nothing."""

import torch

from golden import case

TYPES = {"f32": torch.float32, "f64": torch.float64, "i32": torch.int32, "i64": torch.int64, "u8": torch.uint8,
         "bool": torch.bool}

for dtype in ["f32", "i32", "bool", "u8"]:
    case("zeros", lambda v, shape, dtype: torch.zeros(shape, dtype=TYPES[dtype]), [], shape=[2, 3], dtype=dtype)
case("zeros", lambda v, shape, dtype: torch.zeros(shape, dtype=TYPES[dtype]), [], shape=[2, 0], dtype="f32")
