"""What PyTorch does on a GPU, as the `name milliseconds` lines of `examples/cuda_speed.rs`, and both side by side.

    python3 examples/peers/speed.py [rows|products|attention|train ..] [--compile] [--beside "COMMAND"]

`--beside "target/release/examples/cuda_speed cuda:0"` runs that program for the same sections first and prints, for each
row, PyTorch's time divided by ours. `--compile` adds rows for `torch.compile`.
"""

import argparse
import copy
import statistics
import subprocess
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

SECTIONS = ("rows", "products", "attention", "train")
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
parser.add_argument("--compile", action="store_true")
parser.add_argument("--beside", metavar="COMMAND")
options = parser.parse_args()
if unknown := set(options.sections) - set(SECTIONS):
    parser.error(f"unknown section {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
sections = options.sections or SECTIONS
ours = {}


def run_ours():
    done = subprocess.run(options.beside.split() + list(sections), stdout=subprocess.PIPE, text=True)
    print(done.stdout)
    if done.returncode != 0:
        sys.exit(f"{options.beside} failed")
    for line in done.stdout.splitlines():
        words = line.split()
        if not line.startswith("#") and len(words) > 1:
            ours[words[0]] = float(words[1])


def timed(name, count, f, beside=None):
    """Prints the median time of a call; `beside` is our row's name where it is another."""
    times = []
    for round in range(13):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(count):
            f()
        torch.cuda.synchronize()
        if round >= 3:
            times.append((time.perf_counter() - start) / count)
    mine = statistics.median(times) * 1e3
    known = ours.get(beside or name)
    print(f"{name} {mine:.5f}" + (f"  ours {known:.5f}  ratio {mine / known:.2f}" if known else ""), flush=True)


def eager_and_compiled(name, count, f, *operands):
    timed(name, count, lambda: f(*operands))
    if options.compile:
        compiled = torch.compile(f)
        timed(f"{name}_compiled", count, lambda: compiled(*operands), name)


def rows():
    t = torch.arange(8192, device="cuda")
    for dtype, tail in ((torch.float32, ""), (torch.float16, "_f16")):
        x = torch.randn(8192, 8192, device="cuda").to(dtype)
        w, b = torch.randn(8192, device="cuda").to(dtype), torch.randn(8192, device="cuda").to(dtype)
        timed("copy" + tail, 20, lambda: x.clone())
        eager_and_compiled("scale" + tail, 20, lambda x: x * 2.0, x)
        eager_and_compiled("gelu_chain" + tail, 20, lambda x: F.gelu(x * 2.0 + 1.0), x)
        eager_and_compiled("add_row" + tail, 20, lambda x, b: x + b, x, b)
        eager_and_compiled("softmax" + tail, 20, lambda x: x.softmax(1), x)
        eager_and_compiled("layer_norm" + tail, 20, lambda x: F.layer_norm(x, [8192]), x)
        eager_and_compiled("layer_norm_affine" + tail, 20, lambda x, w, b: F.layer_norm(x, [8192], w, b), x, w, b)
        eager_and_compiled("row_sum" + tail, 20, lambda x: x.sum(1), x)
        eager_and_compiled("column_sum" + tail, 20, lambda x: x.sum(0), x)
        eager_and_compiled("cross_entropy" + tail, 20, lambda x, t: F.cross_entropy(x, t), x, t)
        eager_and_compiled("transpose" + tail, 20, lambda x: x.t().contiguous(), x)


def products():
    for n in (512, 4096):
        a, b = torch.randn(n, n, device="cuda"), torch.randn(n, n, device="cuda")
        timed(f"matmul_{n}", 10, lambda: a @ b)
    torch.backends.cuda.matmul.allow_tf32 = True
    timed("matmul_4096_tf32", 10, lambda: a @ b)
    torch.backends.cuda.matmul.allow_tf32 = False
    for dtype, name in ((torch.float16, "f16"), (torch.bfloat16, "bf16")):
        a, b = (torch.randn(4096, 4096, device="cuda", dtype=dtype) for _ in range(2))
        timed(f"matmul_4096_{name}", 10, lambda: a @ b)


def attention():
    torch.backends.cuda.matmul.allow_tf32 = True
    for dtype, name in ((torch.float16, "f16"), (torch.bfloat16, "bf16"), (torch.float32, "tf32")):
        for head in (64, 128):
            for causal in (False, True):
                shape = (1, 16, 4096, head)
                q, k, v = (torch.randn(shape, device="cuda", dtype=dtype, requires_grad=True) for _ in range(3))
                g = torch.randn(shape, device="cuda", dtype=dtype)
                attend = lambda: F.scaled_dot_product_attention(q, k, v, is_causal=causal)
                row = f"attention_{name}_{head}_{'causal' if causal else 'full'}"
                with torch.no_grad():
                    timed(row, 10, attend)
                timed(f"{row}_step", 10, lambda: torch.autograd.grad(attend(), (q, k, v), g))
    torch.backends.cuda.matmul.allow_tf32 = False


def training(name, model, batch, flat):
    x = torch.rand(batch, 784, device="cuda")
    x = x if flat else x.view(batch, 1, 28, 28)
    t = torch.arange(batch, device="cuda") % 10

    def stepper(model, compiled=False, **more):
        optimizer = torch.optim.Adam(model.parameters(), 1e-3, fused=True, **more)
        forward = torch.compile(model, mode="reduce-overhead") if compiled else model

        def step():
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(forward(x), t).backward()
            optimizer.step()

        return step

    timed(name, 100, stepper(copy.deepcopy(model)))
    if options.compile:
        timed(f"{name}_compiled", 100, stepper(copy.deepcopy(model), compiled=True), name)
    # The same step as a captured CUDA graph.
    step = stepper(model, capturable=True)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    timed(f"{name}_graph", 100, graph.replay, name)


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


def train():
    torch.backends.cudnn.allow_tf32 = False
    mlp = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
    training("mlp_step", mlp.cuda(), 128, True)
    cnn = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(32 * 7 * 7, 128), nn.ReLU(), nn.Linear(128, 10),
    )
    training("cnn_step", cnn.cuda(), 256, False)
    torch.backends.cuda.matmul.allow_tf32 = True
    model = Gpt().cuda()
    x = (torch.arange(8 * 1024, device="cuda") * 7919 % 50257).view(8, 1024)
    t = (torch.arange(8 * 1024, device="cuda") * 7919 + 1) % 50257
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4, fused=True)

    def step(autocast, model=model):
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16, enabled=autocast):
            loss = F.cross_entropy(model(x).view(8 * 1024, -1), t)
        loss.backward()
        optimizer.step()

    for name, autocast in (("gpt_step_tf32", False), ("gpt_step_bf16", True)):
        timed(name, 5, lambda: step(autocast))
        if options.compile:
            compiled = torch.compile(model)
            timed(f"{name}_compiled", 5, lambda: step(autocast, compiled), name)


if options.beside:
    run_ours()
print(f"# PyTorch {torch.__version__}, {torch.cuda.get_device_name()}; ratio: its time / ours")
for section in sections:
    {"rows": rows, "products": products, "attention": attention, "train": train}[section]()
