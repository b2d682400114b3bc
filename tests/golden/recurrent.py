#!/usr/bin/env python3
"""Makes `recurrent.safetensors`: recurrent layers of PyTorch with their parameters, results and gradients."""

import json
import os

import torch
from safetensors.torch import save_file

torch.manual_seed(20240229)
INPUTS, HIDDEN, TIMES, BATCH = 3, 4, 5, 2
cases, tensors = [], {}
for kind in ["tanh", "relu", "gru", "lstm"]:
    for spec in [
        dict(),
        dict(layers=2, bidirectional=True),
        dict(batch_first=True, bidirectional=True, bias=False),
        dict(layers=3, batch_first=True),
    ]:
        options = {**spec, "num_layers": spec.get("layers", 1)}
        options.pop("layers", None)
        if kind in ["tanh", "relu"]:
            net = torch.nn.RNN(INPUTS, HIDDEN, nonlinearity=kind, **options)
        else:
            net = {"gru": torch.nn.GRU, "lstm": torch.nn.LSTM}[kind](INPUTS, HIDDEN, **options)
        index = len(cases)
        shape = (BATCH, TIMES, INPUTS) if spec.get("batch_first") else (TIMES, BATCH, INPUTS)
        x = torch.randn(shape, requires_grad=True)
        directions = 2 if spec.get("bidirectional") else 1
        h = [torch.randn(options["num_layers"] * directions, BATCH, HIDDEN) for _ in range(2 if kind == "lstm" else 1)]
        y, last = net(x, tuple(h) if kind == "lstm" else h[0])
        last = list(last) if kind == "lstm" else [last]
        (y.square().sum() + sum(s.sum() for s in last)).backward()
        keep = {"x": x, "y": y, "x.grad": x.grad}
        keep |= {f"start{i}": s for i, s in enumerate(h)} | {f"end{i}": s for i, s in enumerate(last)}
        keep |= {f"p.{n}": p for n, p in net.named_parameters()} | {f"g.{n}": p.grad for n, p in net.named_parameters()}
        tensors |= {f"{index}.{n}": t.detach().clone().contiguous() for n, t in keep.items()}
        cases.append({"kind": kind, **spec})
path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "recurrent.safetensors")
save_file(tensors, path, {"cases": json.dumps(cases), "torch": torch.__version__})
