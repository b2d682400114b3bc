"""Writes cases that PyTorch computed: inputs, arguments, results and gradients, as safetensors.

A case names an op of `src/registry`, its arguments and its inputs, and the PyTorch function that is the truth:

    case("softmax", lambda v, axis: torch.softmax(v[0], axis), [randn(3, 5)], axis=-1)

`call(v, **args)` gets the inputs as a list and gives a tensor or a tuple. Integers come back as i32, because that is what
Sunstone's indices are. Gradients are those of sum(w * result) over all float results with the weights of `weights`.
"""

import json
import os

import torch
from safetensors.torch import save_file

HERE = os.path.dirname(os.path.abspath(__file__))
_generator = torch.Generator().manual_seed(20240229)
_cases = []
_tensors = {}


def randn(*shape, dtype=torch.float32):
    """Standard normal numbers."""
    return torch.randn(shape, generator=_generator).to(dtype)


def uniform(low, high, *shape, dtype=torch.float32):
    """Uniform numbers in [low, high)."""
    return (torch.rand(shape, generator=_generator) * (high - low) + low).to(dtype)


def integers(low, high, *shape, dtype=torch.int32):
    """Integers in [low, high)."""
    return torch.randint(low, high, shape, generator=_generator).to(dtype)


def special(dtype=torch.float32):
    """What floats are: zeros of both signs, extremes, subnormals, infinities, NaN, and ordinary numbers."""
    values = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 3.0, -7.25, 20.0, -20.0, 88.0, -88.0, 100.0, -100.0,
              1e-3, -1e-3, 1e-10, -1e-10, 1e10, -1e10, 1e38, -1e38, 3.4e38, 1.2e-38,
              float("inf"), float("-inf"), float("nan"), 3.14159265, -1.57079633, 0.999999, 65504.0, 12345.678]
    return torch.tensor(values, dtype=dtype)


def weights(n):
    """The weight of element i in the sum that is differentiated."""
    return ((torch.arange(n) * 7 + 3) % 11 - 5).to(torch.float64) / 4


def _keep(name, tensor):
    tensor = tensor.detach()
    if tensor.dtype == torch.int64 or tensor.dtype == torch.int16 or tensor.dtype == torch.int8:
        tensor = tensor.to(torch.int32)
    _tensors[name] = tensor.clone().contiguous()
    return name


def case(op, call, inputs, *, grad=True, smooth=False, factor=1.0, why="", dtypes=None, reason="", **args):
    """Adds a case.

    grad: also keep gradients of the float inputs (where the result has any).
    smooth: the gradient and the second gradient may be checked by finite differences at these inputs.
    factor: by how much the tolerance is widened, with `why`.
    dtypes: computes the case once in each of these float types (inputs are cast); default: as given.
    An argument that PyTorch names otherwise is translated inside `call`.
    """
    assert factor == 1.0 or why, f"{op}: a wider tolerance needs a reason"
    for dtype in dtypes or [None]:
        cast = [x.to(dtype) if dtype is not None and x.is_floating_point() else x for x in inputs]
        index = len(_cases)
        # PyTorch wants int64 for indices; ours are int32.
        given = [x.to(torch.int64) if x.dtype == torch.int32 and op not in _INT32 else x for x in cast]
        variables = [x.clone().requires_grad_(grad and x.is_floating_point()) for x in given]
        results = call(variables, **args)
        results = list(results) if isinstance(results, (tuple, list)) else [results]
        entry = {
            "op": op,
            "args": {k: _plain(v) for k, v in args.items()},
            "inputs": [_keep(f"{index}.{i}", x) for i, x in enumerate(cast)],
            "outputs": [_keep(f"{index}.out{i}", y) for i, y in enumerate(results)],
            "grads": [None] * len(inputs),
            "smooth": smooth and dtype is None,
            "factor": factor,
        }
        floats = [y for y in results if y.is_floating_point() and y.requires_grad]
        if floats:
            total = sum((y.double() * weights(y.numel()).reshape(y.shape)).sum() for y in floats)
            total.backward()
            entry["grads"] = [
                _keep(f"{index}.grad{i}", x.grad) if x.requires_grad and x.grad is not None else None
                for i, x in enumerate(variables)
            ]
        _cases.append(entry)


# Ops on which int32 operands are data, not indices.
_INT32 = set()


def int32_data(*ops):
    """Declares that int32 inputs of these ops are data: they stay int32 for PyTorch."""
    _INT32.update(ops)


def _plain(value):
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return "inf" if value > 0 else "-inf"
    if isinstance(value, float) and value != value:
        return "nan"
    return list(value) if isinstance(value, tuple) else value


def write(group):
    """Writes all cases so far as `<group>.safetensors` and starts anew."""
    path = os.path.join(HERE, f"{group}.safetensors")
    save_file(dict(_tensors), path, {"cases": json.dumps(_cases), "torch": torch.__version__})
    print(f"{group}: {len(_cases)} cases of {len({c['op'] for c in _cases})} ops, {os.path.getsize(path) / 1024:.0f} KiB")
    _cases.clear()
    _tensors.clear()
    _generator.manual_seed(20240229)
