#!/usr/bin/python3
"""Writes printed.txt: tensors as PyTorch prints them, for test_print.c to hold td_text against.

A case is a line "= dtype [sizes] kind seed flags" and the text below it. Its elements follow from kind and seed by whole
arithmetic (element() here and in test_print.c), so that only the text is kept. flags: t, the tensor is printed with its
first and last dimension exchanged; s, every second slice of its first; g, it requires a gradient; n, its negative is
printed; - for none. The name of what made a tensor is tensord's: PyTorch calls it NegBackward0.

Run by hand with Debian's python3-torch (1.13.1): /usr/bin/python3 tests/golden/printed.py > tests/golden/printed.txt
SPDX-License-Identifier: Apache-2.0
"""
import torch
from torch import _tensor_str

TYPES = {"bool": torch.bool, "u8": torch.uint8, "i8": torch.int8, "i16": torch.int16, "i32": torch.int32,
         "i64": torch.int64, "f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32, "f64": torch.float64}
MAKERS = {"NegBackward0": "neg", "TransposeBackward0": "transpose", "SliceBackward0": "slice"}
M64 = 2**64 - 1

# Of floats: the bits of the whole number, and the powers of 2 it is multiplied by. Each is exact in every type it is used for.
KINDS = {"whole": (7, 0, 0), "large": (8, 8, 8), "huge": (8, 24, 24), "quarters": (7, -2, -2), "fine": (8, -5, -5),
         "units": (8, -8, -8), "small": (8, -14, -12), "tiny": (8, -22, -16), "wide": (8, -12, 2), "long": (23, -20, -20),
         "edge": (8, -9, -3), "far": (23, 60, 60), "enormous": (8, 300, 310)}
FOR = {"f16": ["whole", "quarters", "fine", "units", "small", "wide", "edge"],
       "bf16": ["whole", "large", "huge", "quarters", "fine", "units", "tiny", "wide", "edge"],
       "f32": ["whole", "large", "huge", "quarters", "fine", "units", "small", "tiny", "wide", "long", "edge", "far"],
       "f64": list(KINDS)}


def mix(seed, k):
    """splitmix64"""
    z = (seed * 0x9E3779B97F4A7C15 + (k + 1) * 0xD1B54A32D192ED03) & M64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & M64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & M64
    return z ^ (z >> 31)


def element(dtype, kind, seed, k):
    z = mix(seed, k)
    if dtype == "bool":
        return bool(z >> 60 & 1)
    if dtype not in FOR:  # an integer of that many bits
        bits = {"bits": {"u8": 8, "i8": 8, "i16": 16, "i32": 32, "i64": 64}[dtype]}.get(kind, 4)
        value = z >> (64 - bits)
        return value if dtype == "u8" else value - 2**(bits - 1)
    if kind == "special" or kind == "odd" and not z & 7:
        return [float("nan"), float("inf"), -float("inf"), 0.0, -0.0][(z >> 8) % 5]
    bits, low, high = KINDS["fine" if kind == "odd" else kind]
    value = (z >> (64 - bits)) - 2**(bits - 1)
    return float(value) * 2.0 ** (low + (z >> 16) % (high - low + 1))


def numel(shape):
    count = 1
    for size in shape:
        count *= size
    return count


def printed(dtype, shape, kind, seed, flags):
    values = [element(dtype, kind, seed, k) for k in range(numel(shape))]
    x = torch.tensor(values, dtype=TYPES[dtype]).reshape(shape)
    if "g" in flags:
        x.requires_grad_()
    if "t" in flags:
        x = x.transpose(0, -1)
    if "s" in flags:
        x = x[::2]
    if "n" in flags:
        x = -x
    return str(x)


def named(text, suffixes, indent, force_newline, add=_tensor_str._add_suffixes):
    for old, new in MAKERS.items():
        suffixes = [suffix.replace(old, new) for suffix in suffixes]
    return add(text, suffixes, indent, force_newline)


_tensor_str._add_suffixes = named
SHAPES = [[], [1], [2], [3], [7], [10], [2, 3], [3, 1], [4, 4], [1, 12], [2, 2, 3], [2, 1, 2, 2], [3, 0], [0], [2, 0, 4]]
LONG = [[25], [60], [3, 17], [2, 3, 11], [2, 2, 2, 2, 2]]
CUT = [[1000], [1001], [40, 26], [7, 3, 60], [2, 9, 8, 8], [1200, 1], [1, 5000], [11, 2, 2, 7, 7], [6, 200]]
seed = 0
print("# What PyTorch prints, by printed.py beside this file. SPDX-License-Identifier: Apache-2.0")
for dtype in TYPES:
    floats = dtype in FOR
    kinds = FOR[dtype] + ["special", "odd"] if floats else ["bits", "few"] if dtype != "bool" else ["bits"]
    for kind in kinds:
        cases = [SHAPES[(seed * 7 + n) % len(SHAPES)] for n in range(5 if floats else 9)] + [[], LONG[seed % len(LONG)]]
        if kind in ("bits", "odd", "fine", "wide") and dtype not in ("f16", "i8", "i16"):
            cases.append(CUT[seed % len(CUT)])
        for shape in cases:
            seed += 1
            flags = "".join(flag for flag, bit, fits in (("g", 3, floats), ("t", 5, shape), ("s", 7, shape), ("n", 11, floats))
                            if fits and mix(seed, bit) % 4 == 0 and not (flag == "n" and seed % 3))
            print("= %s [%s] %s %d %s" % (dtype, ",".join(map(str, shape)), kind, seed, flags or "-"))
            print(printed(dtype, shape, kind, seed, flags))
