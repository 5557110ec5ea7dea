"""The training step of training.c in PyTorch: for each line of input that many steps, and the seconds they took.
SPDX-License-Identifier: Apache-2.0"""
import sys
import time

import torch

torch.set_num_threads(1)
torch.manual_seed(1)
model = torch.nn.Sequential(torch.nn.Linear(784, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
loss_of = torch.nn.CrossEntropyLoss()
if sys.argv[1] == "adam":
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
else:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
x, target = torch.randn(64, 784), torch.randint(0, 10, (64,))
print(torch.__version__, flush=True)
for line in sys.stdin:
    start = time.perf_counter()
    for _ in range(int(line)):
        loss = loss_of(model(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(time.perf_counter() - start, flush=True)
