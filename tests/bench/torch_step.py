"""The steps of training.c, lenet.c and attention.c in PyTorch: for each line of input that many steps, and the seconds they took.
SPDX-License-Identifier: Apache-2.0"""
import sys
import time

import torch

torch.set_num_threads(1)
torch.manual_seed(1)
nn = torch.nn
if sys.argv[1] == "lenet":
    model = nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(),
                          nn.MaxPool2d(2), nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(),
                          nn.Linear(84, 10))
else:
    model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
loss_of = nn.CrossEntropyLoss()
if sys.argv[1] == "lenet":
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
elif sys.argv[1] == "adam":
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
else:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
x = torch.randn(64, 1, 28, 28) if sys.argv[1] == "lenet" else torch.randn(64, 784)
target = torch.randint(0, 10, (64,))
leaf = torch.ones(8, requires_grad=True)


def train():
    loss = loss_of(model(x), target)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def chain():
    y = leaf
    for _ in range(1000):
        y = y * 0.999
    y.sum().backward()


query, key, value = [torch.randn(8, 1024, 64, requires_grad=True) for _ in range(3)]


def attention():
    y = torch.softmax((query / 8) @ key.transpose(-2, -1), -1) @ value
    torch.autograd.grad(y.sum(), [query, key, value])


step = {"chain": chain, "attention": attention}.get(sys.argv[1], train)
print(torch.__version__, flush=True)
for line in sys.stdin:
    start = time.perf_counter()
    for _ in range(int(line)):
        step()
    print(time.perf_counter() - start, flush=True)
