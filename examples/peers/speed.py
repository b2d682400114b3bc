"""What PyTorch does on the GPU, as the `name milliseconds` lines of `examples/cuda_speed.rs`."""

import statistics
import time

import torch
import torch.nn as nn
import torch.nn.functional as F


def timed(name, count, f):
    times = []
    for round in range(8):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(count):
            f()
        torch.cuda.synchronize()
        if round >= 3:
            times.append((time.perf_counter() - start) / count)
    print(f"{name} {statistics.median(times) * 1e3:.5f}", flush=True)


def training(name, model, batch, flat):
    x = torch.rand(batch, 784, device="cuda")
    x = x if flat else x.view(batch, 1, 28, 28)
    t = torch.arange(batch, device="cuda") % 10
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, fused=True)

    def step():
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(model(x), t).backward()
        optimizer.step()

    timed(name, 100, step)
    # The same step as a captured CUDA graph.
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, fused=True, capturable=True)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    timed(f"{name}_graph", 100, graph.replay)


print(f"# PyTorch {torch.__version__}, {torch.cuda.get_device_name()}")
x = torch.randn(8192, 8192, device="cuda")
timed("copy", 20, lambda: x.clone())
timed("scale", 20, lambda: x * 2.0)
timed("gelu_chain", 20, lambda: F.gelu(x * 2.0 + 1.0))
timed("softmax", 20, lambda: x.softmax(1))
timed("layer_norm", 20, lambda: F.layer_norm(x, [8192]))
timed("row_sum", 20, lambda: x.sum(1))
timed("column_sum", 20, lambda: x.sum(0))
for n in (512, 4096):
    a, b = torch.randn(n, n, device="cuda"), torch.randn(n, n, device="cuda")
    torch.backends.cuda.matmul.allow_tf32 = False
    timed(f"matmul_{n}", 10, lambda: a @ b)
    torch.backends.cuda.matmul.allow_tf32 = True
    timed(f"matmul_{n}_tf32", 10, lambda: a @ b)
torch.backends.cuda.matmul.allow_tf32 = False
torch.backends.cudnn.allow_tf32 = False
mlp = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
training("mlp_step", mlp.cuda(), 128, True)
cnn = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
    nn.Linear(32 * 7 * 7, 128), nn.ReLU(), nn.Linear(128, 10),
)
training("cnn_step", cnn.cuda(), 256, False)
