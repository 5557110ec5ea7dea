#!/usr/bin/python3
"""Writes promotion.txt: what PyTorch's element types meet in, for test_dtypes.c to hold td_infer against.

Run by hand with Debian's python3-torch (1.13.1): /usr/bin/python3 tests/golden/promotion.py > tests/golden/promotion.txt
SPDX-License-Identifier: Apache-2.0
"""
import torch

TYPES = {"bool": torch.bool, "u8": torch.uint8, "i8": torch.int8, "i16": torch.int16, "i32": torch.int32,
         "i64": torch.int64, "f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32, "f64": torch.float64}
NAMES = {dtype: name for name, dtype in TYPES.items()}
NUMBERS = {"bool": True, "int": 1, "float": 1.0}

print("# What two operands meet in (torch.result_type), and whether a result of the first goes into the second")
print("# (torch.can_cast), by promotion.py beside this file. t: a tensor with dimensions, s: one without, n: a number.")
print("# SPDX-License-Identifier: Apache-2.0")
for a, a_type in TYPES.items():
    for b, b_type in TYPES.items():
        for a_rank in (0, 1):
            for b_rank in (0, 1):
                result = torch.result_type(torch.ones([2] * a_rank, dtype=a_type), torch.ones([2] * b_rank, dtype=b_type))
                print("%s%s %s%s %s" % ("st"[a_rank], a, "st"[b_rank], b, NAMES[result]))
    for number, value in NUMBERS.items():
        for rank in (0, 1):
            print("%s%s n%s %s" % ("st"[rank], a, number, NAMES[torch.result_type(torch.ones([2] * rank, dtype=a_type), value)]))
for a, a_type in TYPES.items():
    for b, b_type in TYPES.items():
        print("cast %s %s %d" % (a, b, torch.can_cast(a_type, b_type)))
