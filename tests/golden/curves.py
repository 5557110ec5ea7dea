#!/usr/bin/python3
"""Prints curves.txt: the loss curves of three models trained by PyTorch on one thread, 200 steps each.

A line is MODEL DTYPE and the loss before each step. Models, rates and batches stand in tests/test_curves.c as well.
The data are not part of this project: curves.py [FOLDER] with mnist/t10k-*.gz and tinyshakespeare.txt in it, else
../shared/data beside the project. SPDX-License-Identifier: Apache-2.0
"""
import gzip
import os
import sys

import numpy
import torch
from torch.nn import functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "../../../shared/data")
STEPS, IMAGES, BATCH, CONTEXT, WIDTH, HIDDEN, VOCABULARY = 200, 10000, 50, 8, 16, 64, 96


def drawn(tensor, shape, fan_in):
    """Numbers within 1 / sqrt(fan_in) by a hash of the tensor's number and the element's."""
    count = int(numpy.prod(shape))
    h = (numpy.arange(1, count + 1, dtype=numpy.uint64) * 0x9E3779B1 + tensor * 0x85EBCA6B) & 0xFFFFFFFF
    h = h.astype(numpy.uint32)
    h = (h ^ (h >> 16)) * numpy.uint32(0x7FEB352D)
    h = (h ^ (h >> 15)) * numpy.uint32(0x846CA68B)
    h = h ^ (h >> 16)
    values = ((h >> 8).astype(numpy.float64) / 8388608 - 1) / numpy.sqrt(fan_in)
    return torch.from_numpy(values.reshape(shape))


def parameters(shapes, dtype):
    return [drawn(k, shape, fan_in).to(dtype).requires_grad_() for k, (shape, fan_in) in enumerate(shapes)]


def mnist():
    with gzip.open(os.path.join(DATA, "mnist/t10k-images-idx3-ubyte.gz")) as file:
        images = numpy.frombuffer(file.read(), numpy.uint8, offset=16).reshape(IMAGES, 1, 28, 28)
    with gzip.open(os.path.join(DATA, "mnist/t10k-labels-idx1-ubyte.gz")) as file:
        labels = numpy.frombuffer(file.read(), numpy.uint8, offset=8)
    return torch.tensor(images), torch.tensor(labels.astype(numpy.int64))


def images_of(step, data, dtype):
    rows = slice(step * BATCH, (step + 1) * BATCH)
    return data[0][rows].to(dtype) / 255, data[1][rows]


MLP = [((128, 784), 784), ((128,), 784), ((10, 128), 128), ((10,), 128)]


def mlp_loss(p, step, data, dtype):
    x, target = images_of(step, data, dtype)
    return F.cross_entropy(F.linear(F.relu(F.linear(x.flatten(1), p[0], p[1])), p[2], p[3]), target)


LENET = [((6, 1, 5, 5), 25), ((6,), 25), ((16, 6, 5, 5), 150), ((16,), 150), ((120, 400), 400), ((120,), 400),
         ((84, 120), 120), ((84,), 120), ((10, 84), 84), ((10,), 84)]


def lenet_loss(p, step, data, dtype):
    x, target = images_of(step, data, dtype)
    h = F.max_pool2d(F.relu(F.conv2d(x, p[0], p[1], padding=2)), 2)
    h = F.max_pool2d(F.relu(F.conv2d(h, p[2], p[3])), 2).flatten(1)
    h = F.relu(F.linear(h, p[4], p[5]))
    h = F.relu(F.linear(h, p[6], p[7]))
    return F.cross_entropy(F.linear(h, p[8], p[9]), target)


CHARACTERS = [((VOCABULARY, WIDTH), 1), ((HIDDEN, CONTEXT * WIDTH), CONTEXT * WIDTH), ((HIDDEN,), CONTEXT * WIDTH),
              ((VOCABULARY, HIDDEN), HIDDEN), ((VOCABULARY,), HIDDEN)]


def text():
    """Printable characters and line ends as numbers from 0."""
    with open(os.path.join(DATA, "tinyshakespeare.txt"), "rb") as file:
        some = file.read((STEPS + 1) * BATCH + CONTEXT)
    return torch.tensor([b - 32 if 32 < b < 127 else VOCABULARY - 1 if b == 10 else 0 for b in some])


def characters_loss(p, step, symbols, dtype):
    windows = symbols.unfold(0, CONTEXT + 1, 1)[step * BATCH:(step + 1) * BATCH]
    h = F.embedding(windows[:, :CONTEXT], p[0]).flatten(1)
    h = torch.tanh(F.linear(h, p[1], p[2]))
    return F.cross_entropy(F.linear(h, p[3], p[4]), windows[:, CONTEXT])


MODELS = {
    "mlp": (MLP, mlp_loss, mnist, lambda p: torch.optim.SGD(p, lr=0.1)),
    # With SGD and momentum PyTorch's own curves in f32 and f64 are 15 % apart after 200 steps: nothing to follow.
    "lenet": (LENET, lenet_loss, mnist, lambda p: torch.optim.Adagrad(p, lr=0.01)),
    "characters": (CHARACTERS, characters_loss, text, lambda p: torch.optim.Adam(p, lr=0.005)),
}


def main():
    torch.set_num_threads(1)
    print("# What PyTorch 1.13.1 gives; printed by curves.py, which says what stands here.")
    print("# SPDX-License-Identifier: Apache-2.0")
    for name, (shapes, loss_of, read, make) in MODELS.items():
        data = read()
        for dtype, digits in ((torch.float32, 9), (torch.float64, 15)):
            p = parameters(shapes, dtype)
            optimizer, losses = make(p), []
            for step in range(STEPS):
                loss = loss_of(p, step, data, dtype)
                losses.append(loss.item())
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
            print(name, "f32" if dtype == torch.float32 else "f64", " ".join("%.*g" % (digits, v) for v in losses))


main()
