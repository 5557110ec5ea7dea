#!/usr/bin/env python3
"""Prints what torch.einsum, torch.tensordot and torch.kron give, for test_products.c: einsum.py > einsum.txt

A line: equation | shapes of the operands | shape of the result | its elements; "refused" for the last two where torch
refuses. Element i of operand k is (7 i + 3 k) % 11 - 5: whole numbers, so that results are exact. The first gradient's
elements follow, of the sum of the result's with the weights i % 5 - 2. SPDX-License-Identifier: Apache-2.0
"""
import torch

CASES = """
ij,jk->ik | 2,3 ; 3,4
ij,jk | 2,3 ; 3,4
ij,jk->ki | 2,3 ; 3,4
ij->ji | 2,3
ij | 2,3
ji | 2,3
ba | 2,3
ij-> | 2,3
ij->j | 2,3
i-> | 4
-> |
ii | 3,3
ii->i | 3,3
ii-> | 3,3
iij->j | 2,2,3
iji->j | 2,3,2
iijj->ij | 2,2,3,3
iii->i | 2,2,2
i,i-> | 4 ; 4
i,i->i | 4 ; 4
i,i | 4 ; 4
i,j->ij | 3 ; 4
i,j->ji | 3 ; 4
i,j-> | 3 ; 4
bij,bjk->bik | 2,3,4 ; 2,4,2
bij,bjk | 2,3,4 ; 2,4,2
bij,bjk->ikb | 2,3,4 ; 2,4,2
bij,jk->bik | 2,3,4 ; 4,2
bhqd,bhkd->bhqk | 2,2,3,4 ; 2,2,2,4
bqhd,bkhd->bhqk | 2,3,2,4 ; 2,2,2,4
...ij,...jk->...ik | 2,2,3 ; 2,3,2
...ij,...jk->...ik | 2,1,2,3 ; 3,3,2
...ij,...jk | 2,1,2,3 ; 3,3,2
...ij,jk->...ik | 2,2,3 ; 3,2
...,... | 2,3 ; 3
...i->... | 2,3,4
i... | 2,3
i...->...i | 2,3,4
i...j->j...i | 2,3,4,2
...i->i | 2,3,4
... | 2,3
...->... | 2,3
...ii->...i | 2,3,3
a...a | 2,3,2
ij,j->i | 2,3 ; 3
ij,i->j | 2,3 ; 2
i,ij,j-> | 2 ; 2,3 ; 3
ij,jk,kl->il | 2,3 ; 3,4 ; 4,2
ij,jk,kl->li | 2,3 ; 3,4 ; 4,2
i,i,i->i | 3 ; 3 ; 3
ij,ij,ij-> | 2,3 ; 2,3 ; 2,3
bn,anm,bm->ba | 2,3 ; 4,3,2 ; 2,2
ab,cd->abcd | 2,3 ; 2,2
ab,cd->dcba | 2,3 ; 2,2
Ab,bC->AC | 2,3 ; 3,2
Ab,bC | 2,3 ; 3,2
aB | 2,3
Ba | 2,3
 i j , j k -> i k | 2,3 ; 3,4
ij , jk | 2,3 ; 3,4
ij,jk->ik | 2,1 ; 3,4
ij,jk->ik | 2,3 ; 1,4
ij,ij->ij | 1,3 ; 2,3
ij,ij->j | 1,3 ; 2,1
ij,ij->i | 2,1 ; 2,3
ij,ij-> | 1,1 ; 2,3
ij,jk->ijk | 2,1 ; 3,4
ij,jk->ik | 0,3 ; 3,2
ij,jk->ik | 2,0 ; 0,2
ij-> | 0,3
ij->i | 3,0
i,ij->j | 1 ; 2,3
ij,k->ijk | 2,3 ; 0
,-> | ;
,ij->ij | ; 2,3
ij,->ji | 2,3 ;
ij,jk->il | 2,3 ; 3,4
ij,jk->ii | 2,3 ; 3,4
ij,jk | 2,3 ; 4,2
ij,jk,kl | 2,3 ; 3,4
ij | 2,3 ; 3,4
ijk | 2,3
i | 2,3
ii | 2,3
ii | 1,3
i1 | 2,3
i. | 2,3
i.. | 2,3
...i... | 2,3
...->......| 2,3
ij->i->j | 2,3
ij->ij, | 2,3
i-j | 2,3
i$j | 2,3
...i,...i->... | 2,3 ; 4,3
ij;jk | 2,3 ; 3,4
ij,jk- > ik | 2,3 ; 3,4
abcdefgh->hgfedcba | 1,2,1,2,1,1,2,1
abcd,efgh->aceg | 2,1,2,1 ; 1,2,1,2
tensordot 1 | 2,3 ; 3,4
tensordot 2 | 2,3,4 ; 3,4,2
tensordot 0 | 2,3 ; 2
tensordot 0 | ;
tensordot 1:0 | 2,3 ; 3,4
tensordot 0,1:1,0 | 2,3 ; 3,2,2
tensordot -1,0:0,-1 | 2,3 ; 3,4,2
tensordot 0,2:2,0 | 2,3,4 ; 4,3,2
tensordot 1:1 | 2,3 ; 2,1
tensordot 0:1 | 2,3 ; 3,4
tensordot 0,0:0,1 | 2,2 ; 2,2
tensordot 3 | 2,3 ; 3,4
tensordot 5:0 | 2,3 ; 3,4
kron | 2,3 ; 2,2
kron | 2 ; 3
kron | 2,2 ; 3
kron | ; 2,3
kron | 2,1,2 ; 2,2
kron | 2,0 ; 2,2
"""


def operand(k, text):
    shape = [int(n) for n in text.split(",")] if text.strip() else []
    count = torch.Size(shape).numel()
    return ((torch.arange(count, dtype=torch.float64) * 7 + 3 * k) % 11 - 5).reshape(shape)


def run(equation, operands):
    name, _, rest = equation.partition(" ")
    if name == "kron":
        return torch.kron(*operands)
    if name != "tensordot":
        return torch.einsum(equation, operands)
    dims = [[int(n) for n in part.split(",")] for part in rest.split(":")]
    return torch.tensordot(*operands, dims=dims if len(dims) == 2 else dims[0][0])


def numbers(values):
    return " ".join("%d" % v for v in values)


print("# What PyTorch 1.13.1 gives; printed by einsum.py, which says what stands here.")
print("# SPDX-License-Identifier: Apache-2.0")
for case in CASES.strip("\n").split("\n"):
    equation, _, shapes = case.partition("|")
    equation = equation[:-1] if equation.endswith(" ") else equation
    operands = [operand(k, text) for k, text in enumerate(shapes.split(";"))]
    operands[0].requires_grad = True
    try:
        y = run(equation, operands)
        weights = (torch.arange(y.numel(), dtype=torch.float64) % 5 - 2).reshape(y.shape)
        (y * weights).sum().backward()
        result = "%s | %s | %s" % (",".join(map(str, y.shape)), numbers(y.detach().flatten().tolist()),
                                   numbers(operands[0].grad.flatten().tolist()))
    except (RuntimeError, IndexError, ValueError):
        result = "refused | |"
    print("%s | %s | %s" % (equation, shapes.strip(), result))
