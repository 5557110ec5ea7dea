"""What gpu.c compares with, in PyTorch on the same device (the CPU where it sees no GPU). A line of input is a name, a size
and how often; its answer the seconds that took, or "-" and why there is none. SPDX-License-Identifier: Apache-2.0"""
import functools
import sys
import time

import torch
from torch.nn import functional as F

ON_GPU = torch.cuda.is_available()
DEVICE = "cuda" if ON_GPU else "cpu"
torch.manual_seed(1)
nn = torch.nn


def settle():
    if ON_GPU:
        torch.cuda.synchronize()


def attend(q, k, v):
    if hasattr(F, "scaled_dot_product_attention"):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    later = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.device).triu(1)
    return torch.softmax((q @ k.mT / q.shape[-1] ** 0.5).masked_fill(later, -torch.inf), -1) @ v


class Layer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        parts = self.qkv(self.first(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.out(attend(*parts.unbind(0)).transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.second(x))))


# ---- steps of training, as in gpu.c ----


def mlp(batch):
    model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    return model, torch.randn(batch, 784), torch.randint(0, 10, (batch,))


def transformer(length):
    model = nn.Sequential(*[Layer(256, 8) for _ in range(4)], nn.LayerNorm(256), nn.Linear(256, 256), nn.Flatten(0, 1))
    return model, torch.randn(16, length, 256), torch.randint(0, 256, (16 * length,))


def training(make, size, **mode):
    model, x, target = make(size)
    model, x, target = model.to(DEVICE), x.to(DEVICE), target.to(DEVICE)
    # What it is asked for while a graph is captured must be told before.
    best = {"fused": True, "capturable": bool(mode)} if ON_GPU else {}
    optimizer = torch.optim.Adam(model.parameters(), **best)

    def loss():
        return F.cross_entropy(model(x), target)

    loss = torch.compile(loss, **mode) if mode else loss

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss().backward()
        optimizer.step()

    return step


def captured(step):
    """The whole step as one graph, as PyTorch's manual does it."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(5):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def timed(step, count):
    settle()
    start = time.perf_counter()
    for _ in range(count):
        step()
    settle()
    return time.perf_counter() - start


def compiled(make, size):
    """The faster one of what PyTorch's compiler does with CUDA graphs by itself, and its code in a graph of the whole
    step: we are compared with PyTorch at its best."""
    if not hasattr(torch, "compile"):
        raise RuntimeError(f"PyTorch {torch.__version__} has no torch.compile")
    if not ON_GPU:
        raise RuntimeError("PyTorch sees no GPU, and CUDA graphs need one")
    ways, faults = [], []
    for way in (
        lambda: captured(training(make, size, mode="default")),
        lambda: training(make, size, mode="reduce-overhead"),
    ):
        try:
            step = way()
            timed(step, 10)
            ways.append((timed(step, 50), step))
        except Exception as fault:  # the other one may do
            faults.append(str(fault))
    if not ways:
        raise RuntimeError("; ".join(faults))
    return min(ways, key=lambda way: way[0])[1]


# ---- single calls ----


def add(count):
    x, y = torch.zeros(count, device=DEVICE), torch.ones(count, device=DEVICE)
    return functools.partial(torch.add, x, y)


def copy(count):  # cudaMemcpyAsync
    x = torch.zeros(count, device=DEVICE)
    return functools.partial(torch.empty_like(x).copy_, x)


def upload(count):  # the same
    x = torch.zeros(count)
    return functools.partial(torch.empty(count, device=DEVICE).copy_, x.pin_memory() if ON_GPU else x, non_blocking=True)


def matmul(side):
    a, b = (torch.randn(side, side, device=DEVICE).bfloat16() for _ in range(2))
    return functools.partial(torch.mm, a, b)


SINGLE = {"add": add, "copy": copy, "upload": upload, "matmul": matmul}


@functools.lru_cache(maxsize=2)  # as many as take turns; what was measured leaves its memory to what comes
def step_of(what, size):
    if what in SINGLE:
        return SINGLE[what](size)
    model = mlp if what.startswith("mlp") else transformer
    return compiled(model, size) if what.endswith("compiled") else training(model, size)


print(torch.__version__ + ("" if ON_GPU else " (CPU)"), flush=True)
for line in sys.stdin:
    what, size, count = line.split()
    try:
        step = step_of(what, int(size))
        with torch.inference_mode(what in SINGLE):
            print(timed(step, int(count)), flush=True)
    except Exception as fault:
        print("-", " ".join(f"{type(fault).__name__}: {fault}".replace('"', "'").replace("\\", "/").split())[:200], flush=True)
