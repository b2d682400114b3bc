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
for dtype, name in ((torch.float16, "f16"), (torch.bfloat16, "bf16")):
    a, b = (torch.randn(4096, 4096, device="cuda", dtype=dtype) for _ in range(2))
    timed(f"matmul_4096_{name}", 10, lambda: a @ b)
for n in (512, 4096):
    a, b = torch.randn(n, n, device="cuda"), torch.randn(n, n, device="cuda")
    torch.backends.cuda.matmul.allow_tf32 = False
    timed(f"matmul_{n}", 10, lambda: a @ b)
    torch.backends.cuda.matmul.allow_tf32 = True
    timed(f"matmul_{n}_tf32", 10, lambda: a @ b)
for dtype, name in ((torch.float16, "f16"), (torch.bfloat16, "bf16"), (torch.float32, "f32")):
    for head in (64, 128):
        for causal in (False, True):
            q, k, v = (torch.randn(1, 16, 4096, head, device="cuda", dtype=dtype, requires_grad=True) for _ in range(3))
            g = torch.randn(1, 16, 4096, head, device="cuda", dtype=dtype)
            attend = lambda: F.scaled_dot_product_attention(q, k, v, is_causal=causal)
            row = f"attention_{name}_{head}_{'causal' if causal else 'full'}"
            with torch.no_grad():
                timed(row, 10, attend)
            timed(f"{row}_step", 10, lambda: torch.autograd.grad(attend(), (q, k, v), g))
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


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.ln_1, self.ln_2, self.heads = nn.LayerNorm(width), nn.LayerNorm(width), heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        n, t, w = x.shape
        q, k, v = self.qkv(self.ln_1(x)).view(n, t, 3, self.heads, w // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(y.transpose(1, 2).reshape(n, t, w))
        return x + self.mlp(self.ln_2(x))


class Gpt(nn.Module):
    def __init__(self, vocabulary=50304, layers=12, heads=12, width=768, context=1024):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.ln_f = nn.LayerNorm(width)

    def forward(self, tokens):
        x = self.wte(tokens) + self.wpe.weight
        return self.ln_f(self.blocks(x)) @ self.wte.weight.t()


torch.backends.cuda.matmul.allow_tf32 = True
model = Gpt().cuda()
x = (torch.arange(8 * 1024, device="cuda") * 7919 % 50257).view(8, 1024)
t = ((torch.arange(8 * 1024, device="cuda") * 7919 + 1) % 50257)
optimizer = torch.optim.AdamW(model.parameters(), 1e-4, fused=True)


def gpt_step(autocast=False, model=model):
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast("cuda", torch.bfloat16, enabled=autocast):
        loss = F.cross_entropy(model(x).view(8 * 1024, -1), t)
    loss.backward()
    optimizer.step()


timed("gpt_step_tf32", 5, gpt_step)
timed("gpt_step_bf16", 5, lambda: gpt_step(True))
