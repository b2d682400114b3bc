"""The rows of `sunstone bench` in PyTorch, as the same JSON, so that `sunstone bench compare` shows both side by side.

    python examples/peers/pytorch.py [SUITE...] [--device cpu|cuda] [--quick] [--budget S] [--compile] [--json FILE]

Names, sizes, work and the way of timing are those of src/bench; results are not checked. f32 is strict: no TF32.
`--compile` puts every row through torch.compile; without it the rows are eager.
"""

import argparse
import datetime
import json
import platform
import statistics
import sys
import time

import torch
import torch.nn.functional as F

SAMPLE, WARM_UP, MIN_SAMPLES, MAX_SAMPLES, MAX_CALLS = 20e-3, 0.3, 3, 100, 4096
DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
SUITES = ["peak", "matmul", "rows", "map", "conv", "attention", "train"]


class Bench:
    def __init__(self, args):
        self.args, self.device = args, torch.device(args.device)
        self.rows, self.peak = [], {"bytes": None, "flops": {}}

    def wait(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def numbers(self, dtype, *shape, grad=False):
        x = (torch.rand(shape, device=self.device) * 2 - 1).to(DTYPES[dtype])
        return x.requires_grad_() if grad else x

    def indices(self, below, *shape):
        return torch.randint(below, shape, device=self.device)

    def fused(self, f):
        return torch.compile(f, dynamic=False) if self.args.compile else f

    def row(self, suite, name, dtype, prepare, flops=0.0, bytes=0.0, samples=0.0, waits=False):
        """Times what `prepare` gives; whatever it raises becomes the reason why the row is skipped."""
        row = {"suite": suite, "name": name, "dtype": dtype,
               "work": {"flops": float(flops), "bytes": float(bytes), "samples": float(samples)}}
        try:
            row |= {"outcome": "timed", **self.timed(prepare(), waits)}
            self.learn(row)
            print(f"{suite:<9} {name:<44} {dtype:<5} {row['time']['median'] * 1e3:>12.4f} ms", flush=True)
        except Exception as error:  # What a device cannot do says why.
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            row |= {"outcome": "skipped", "reason": "".join(c for c in reason if c.isprintable())}
            print(f"{suite:<9} {name:<44} {dtype:<5} -  {row['reason']}", flush=True)
        self.rows.append(row)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def sample(self, call, calls, waits):
        began, asked = time.perf_counter(), 0.0
        for _ in range(calls):
            before = time.perf_counter()
            call()
            asked += time.perf_counter() - before
            if waits:
                self.wait()
        self.wait()
        return time.perf_counter() - began, asked

    def timed(self, call, waits):
        calls = 1
        for _ in range(3 if self.args.compile else 2):
            self.sample(call, 1, waits)
        # An idle GPU has lowered its clock.
        warm_up, began = WARM_UP if self.device.type == "cuda" else 0.0, time.perf_counter()
        while True:
            whole, _ = self.sample(call, calls, waits)
            if whole < SAMPLE and calls < MAX_CALLS:
                calls = min(max(calls * 2, int(calls * SAMPLE / max(whole, 1e-6))), MAX_CALLS)
            elif time.perf_counter() - began >= warm_up:
                break
        times, hosts, began = [], [], time.perf_counter()
        budget = self.args.budget if self.args.budget is not None else 0.1 if self.args.quick else 1.0
        while len(times) < MIN_SAMPLES or (len(times) < MAX_SAMPLES and time.perf_counter() - began < budget):
            whole, asked = self.sample(call, calls, waits)
            times.append(whole / calls)
            hosts.append(asked / calls)
        times.sort()
        at = lambda share: times[round((len(times) - 1) * share)]
        spread = {"median": at(0.5), "q1": at(0.25), "q3": at(0.75), "best": times[0], "samples": len(times), "calls": calls}
        return {"time": spread, "host": statistics.median(hosts)}

    def learn(self, row):
        seconds, work = row["time"]["median"], row["work"]
        if row["suite"] == "peak" and row["name"] in ("copy", "scale", "triad"):
            self.peak["bytes"] = max(self.peak["bytes"] or 0.0, work["bytes"] / seconds)
        elif work["flops"] > 0:
            known = self.peak["flops"].get(row["dtype"], 0.0)
            self.peak["flops"][row["dtype"]] = max(known, work["flops"] / seconds)

    def judge(self):
        for row in self.rows:
            if row["outcome"] != "timed" or row["name"] in ("upload", "download"):
                continue
            flops = self.peak["flops"].get(row["dtype"])
            bound = max(row["work"]["flops"] / flops if flops else 0.0,
                        row["work"]["bytes"] / self.peak["bytes"] if self.peak["bytes"] else 0.0)
            if bound > 0:
                row["of_peak"] = bound / row["time"]["median"]

    def about(self):
        cuda = self.device.type == "cuda"
        hardware = torch.cuda.get_device_name() if cuda else processor()
        driver = f"CUDA {torch.version.cuda}" if cuda else f"{torch.get_num_threads()} threads"
        return {"name": self.args.device, "hardware": hardware, "driver": driver, "backend": self.device.type,
                "software": False, "machine": f"{platform.system().lower()} {platform.machine()}"}

    # The suites. Each row's name and work are those of the file of the same name in src/bench.

    def run_peak(self, quick):
        long = 1 << (22 if quick else 26)

        def copy():
            x, y = (torch.zeros(4 * long, dtype=torch.uint8, device=self.device) for _ in range(2))
            return lambda: y.copy_(x)

        def unary(f, count):
            def prepare():
                operands, g = [self.numbers("f32", long) for _ in range(count)], self.fused(f)
                return lambda: g(*operands)
            return prepare

        self.row("peak", "copy", "u8", copy, bytes=8 * long)
        self.row("peak", "scale", "f32", unary(lambda x: x * 2, 1), bytes=8 * long)
        self.row("peak", "triad", "f32", unary(lambda x, y: x + y * 2, 2), bytes=12 * long)
        few = 1 << (18 if quick else 22)
        for dtype in ("f32", "f16"):
            def chain():
                operands = [self.numbers(dtype, few) for _ in range(3)]

                def f(x, a, b):
                    for _ in range(64):
                        x = x * a + b
                    return x
                g = self.fused(f)
                return lambda: g(*operands)
            self.row("peak", "multiply-add chain", dtype, chain, 128 * few, 4 * few * DTYPES[dtype].itemsize)
        n = 256 if quick else 4096
        for dtype in ("f32", "f16") if quick else ("f32", "f16", "bf16"):
            self.row("peak", f"product {n}", dtype, self.product(dtype, (n, n), (n, n), torch.matmul),
                     2 * n**3, 3 * n * n * DTYPES[dtype].itemsize)

        def small():
            x, f = torch.ones(64, device=self.device), self.fused(lambda x: x * 2)
            return lambda: f(x)
        self.row("peak", "launch", "f32", small)
        self.row("peak", "launch and wait", "f32", small, waits=True)
        if self.device.type != "cpu":
            host = torch.arange(long, dtype=torch.float32)
            self.row("peak", "upload", "f32", lambda: lambda: host.to(self.device), bytes=4 * long)
            there = host.to(self.device)
            self.row("peak", "download", "f32", lambda: lambda: there.cpu(), bytes=4 * long)

    def product(self, dtype, left, right, f):
        def prepare():
            a, b, g = self.numbers(dtype, *left), self.numbers(dtype, *right), self.fused(f)
            return lambda: g(a, b)
        return prepare

    def run_matmul(self, quick):
        layouts = {"nn": torch.matmul, "nt": lambda a, b: a @ b.T, "tn": lambda a, b: a.T @ b}
        for dtype in ("f32", "f16"):
            size = DTYPES[dtype].itemsize

            def case(name, batch, m, k, n, left, right, f):
                self.row("matmul", name, dtype, self.product(dtype, left, right, f),
                         2.0 * batch * m * k * n, batch * (m * k + k * n + m * n) * size)
            for layout in ("nn",) if quick and dtype == "f16" else layouts:
                for n in (128,) if quick else (256, 512, 1024, 2048, 4096, 8192):
                    case(f"{layout} {n}", 1, n, n, n, (n, n), (n, n), layouts[layout])
            batch, n = (4, 128) if quick else (64, 512)
            case(f"batch {batch} of {n}", batch, n, n, n, (batch, n, n), (batch, n, n), torch.matmul)
            n = 512 if quick else 8192
            for columns in (1, 16):
                plural = "" if columns == 1 else "s"
                case(f"{n} by {columns} column{plural}", 1, n, n, columns, (n, n), (n, columns), torch.matmul)

    def simple(self, suite, dtype, name, bytes, make, f):
        def prepare():
            operands, g = make(), self.fused(f)
            return lambda: g(*operands)
        self.row(suite, name, dtype, prepare, bytes=bytes)

    def run_rows(self, quick):
        n = 1024 if quick else 8192
        for dtype in ("f32", "f16"):
            x, matrix = lambda: self.numbers(dtype, n, n), n * n * DTYPES[dtype].itemsize
            vector = lambda: self.numbers(dtype, n)
            rows = [
                ("softmax", 2, lambda: [x()], lambda x: x.softmax(1)),
                ("log softmax", 2, lambda: [x()], lambda x: x.log_softmax(1)),
                ("layer norm", 2, lambda: [x()], lambda x: F.layer_norm(x, (n,))),
                ("layer norm, affine", 2, lambda: [x(), vector(), vector()], lambda x, a, b: F.layer_norm(x, (n,), a, b)),
                ("row sum", 1, lambda: [x()], lambda x: x.sum(1)),
                ("row max", 1, lambda: [x()], lambda x: x.amax(1)),
                ("column sum", 1, lambda: [x()], lambda x: x.sum(0)),
                ("cross-entropy of each row", 1, lambda: [x(), self.indices(n, n)],
                 lambda x, t: F.cross_entropy(x, t, reduction="none")),
            ]
            for name, touched, make, f in rows[:1] if quick and dtype == "f16" else rows:
                self.simple("rows", dtype, f"{name} {n}", touched * matrix, make, f)

    def run_map(self, quick):
        n = 1024 if quick else 8192
        for dtype in ("f32", "f16"):
            x, matrix = lambda *shape: self.numbers(dtype, *(shape or (n, n))), n * n * DTYPES[dtype].itemsize
            rows = [
                ("gelu(2x + 1)", 2, lambda: [x()], lambda x: F.gelu(x * 2 + 1)),
                ("add a row", 2, lambda: [x(), x(n)], lambda x, y: x + y),
                ("add a column", 2, lambda: [x(), x(n, 1)], lambda x, y: x + y),
                ("transpose and scale", 2, lambda: [x()], lambda x: (x.T * 2).contiguous()),
                ("gather rows", 2, lambda: [x(), self.indices(n, n)], lambda x, i: x.index_select(0, i)),
                ("add rows at indices", 3, lambda: [x(), self.indices(n, n), x()], lambda x, i, y: x.index_add(0, i, y)),
            ]
            for name, touched, make, f in rows[:1] if quick and dtype == "f16" else rows:
                self.simple("map", dtype, f"{name} {n}", touched * matrix, make, f)

    def run_conv(self, quick):
        batch = 1 if quick else 32
        layers = [(64, 64, 14, 3), (256, 64, 14, 1)] if quick else [
            (64, 64, 56, 3), (128, 128, 28, 3), (256, 256, 14, 3), (512, 512, 7, 3),
            (64, 256, 56, 1), (256, 64, 56, 1), (1024, 256, 14, 1), (512, 2048, 7, 1)]
        for dtype in ("f32",) if quick else ("f32", "f16"):
            for i, o, side, k in layers:
                flops = 2.0 * batch * side * side * i * o * k * k
                bytes = (batch * side * side * (i + o) + i * o * k * k) * DTYPES[dtype].itemsize
                shapes = (batch, i, side, side), (o, i, k, k), (batch, o, side, side)

                def prepare(what):
                    x, w, g = (self.numbers(dtype, *shape) for shape in shapes)
                    calls = {
                        "forward": lambda x, w, g: F.conv2d(x, w, padding=k // 2),
                        "input gradient": lambda x, w, g: torch.nn.grad.conv2d_input(x.shape, w, g, padding=k // 2),
                        "weight gradient": lambda x, w, g: torch.nn.grad.conv2d_weight(x, w.shape, g, padding=k // 2),
                    }
                    f = self.fused(calls[what])
                    return lambda: f(x, w, g)
                for what in ("forward", "input gradient", "weight gradient"):
                    name = f"{k}×{k} {i}→{o} at {side}, batch {batch}, {what}"
                    self.row("conv", name, dtype, lambda: prepare(what), flops, bytes)

    def run_attention(self, quick):
        for dtype in ("f32", "f16"):
            for heads, places, width in [(4, 128, 64)] if quick else [(16, 1024, 64), (16, 4096, 64), (16, 4096, 128)]:
                for causal in (False,) if quick and dtype == "f16" else (False, True):
                    name = f"{heads}×{places}×{width} {'causal' if causal else 'full'}"
                    flops = 4.0 * heads * places * places * width / (2 if causal else 1)
                    bytes = heads * places * width * DTYPES[dtype].itemsize
                    attend = lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=causal)

                    def prepare(grad):
                        q, k, v, g = (self.numbers(dtype, 1, heads, places, width, grad=grad) for _ in range(4))
                        f = self.fused(attend)
                        return (lambda: torch.autograd.grad(f(q, k, v), (q, k, v), g)) if grad else lambda: f(q, k, v)
                    self.row("attention", f"{name} forward", dtype, lambda: prepare(False), flops, 4 * bytes)
                    self.row("attention", f"{name} step", dtype, lambda: prepare(True), 3.5 * flops, 8 * bytes)

    def run_train(self, quick):
        batch = 8 if quick else 256
        nn = torch.nn
        mlp = lambda: nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
        cnn = lambda: nn.Sequential(
            nn.Unflatten(1, (1, 28, 28)), nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(32 * 7 * 7, 128), nn.ReLU(), nn.Linear(128, 10))
        for name, make in (("mlp", mlp), ("cnn", cnn)):
            x = lambda: torch.rand(batch, 784, device=self.device)
            self.training(f"digits {name}, batch {batch}", batch, make, x, batch, 10)
        wide = lambda: nn.Sequential(
            nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
        x = lambda: torch.rand(128, 784, device=self.device)
        self.training("mlp 784-512-512-10, batch 128", 128, wide, x, 128, 10, torch.optim.Adam)
        sizes = [(2, 2, 2, 64, 64)] if quick else [(16, 4, 4, 128, 128), (64, 6, 6, 384, 256), (8, 12, 12, 768, 1024)]
        for batch, layers, heads, width, context in sizes:
            words = 96 if width < 768 else 50_304
            x = lambda: self.classes(batch * context, words).view(batch, context)
            name = f"gpt {layers}×{width}, context {context}, batch {batch}"
            make = lambda: Gpt(words, layers, heads, width, context)
            self.training(name, batch * context, make, x, batch * context, words)

    def classes(self, count, classes):
        return (torch.arange(count) * 7919 % classes).to(self.device)

    def training(self, name, samples, make, x, count, classes, algorithm=torch.optim.AdamW):
        def prepare():
            model, inputs, targets = make().to(self.device), x(), self.classes(count, classes)
            optimizer = algorithm(model.parameters(), lr=1e-3, fused=self.device.type == "cuda")
            loss = self.fused(lambda: F.cross_entropy(model(inputs).view(-1, classes), targets))

            def step():
                optimizer.zero_grad(set_to_none=True)
                loss().backward()
                optimizer.step()
            return step
        self.row("train", name, "f32", prepare, samples=samples)


def processor():
    """The processor's own name, where Linux tells it."""
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


class Block(torch.nn.Module):
    """GPT-2's: attention and an MLP of four times the width, each after a norm and added."""

    def __init__(self, heads, width):
        super().__init__()
        nn = torch.nn
        self.heads, self.ln1, self.ln2 = heads, nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        n, t, width = x.shape
        q, k, v = (y.view(n, t, self.heads, -1).transpose(1, 2) for y in self.qkv(self.ln1(x)).chunk(3, dim=2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(n, t, width))
        return x + self.mlp(self.ln2(x))


class Gpt(torch.nn.Module):
    """The head is the embedding's table."""

    def __init__(self, words, layers, heads, width, context):
        super().__init__()
        nn = torch.nn
        self.wte, self.wpe = nn.Embedding(words, width), nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(Block(heads, width) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        for table in (self.wte, self.wpe):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, tokens):
        x = self.wte(tokens) + self.wpe.weight[: tokens.shape[1]]
        return F.linear(self.norm(self.blocks(x)), self.wte.weight)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=", ".join(SUITES))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--quick", action="store_true", help="the small sizes of `sunstone bench --quick`")
    parser.add_argument("--budget", type=float, metavar="S", help="seconds for each row [1; with --quick 0.1]")
    parser.add_argument("--compile", action="store_true", help="through torch.compile")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    if unknown := set(args.suites) - set(SUITES):
        parser.error(f"unknown suite: {', '.join(sorted(unknown))}; there are {', '.join(SUITES)}")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.manual_seed(0)
    bench, now = Bench(args), datetime.datetime.now(datetime.timezone.utc)
    for suite in SUITES:
        if suite == "peak" or suite in (args.suites or SUITES):
            getattr(bench, f"run_{suite}")(args.quick)
    bench.judge()
    how = "torch.compile" if args.compile else "eager"
    report = {"format": "sunstone-bench", "version": 1, "program": f"PyTorch {torch.__version__}, {how}",
              "date": now.strftime("%Y-%m-%dT%H:%M:%SZ"), "quick": args.quick,
              "runs": [{"device": bench.about(), "peak": bench.peak, "rows": bench.rows}]}
    if args.json:
        with open(args.json, "w") as file:
            json.dump(report, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
