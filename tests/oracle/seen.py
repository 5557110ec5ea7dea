"""What a case's call was given, read back from its text as torch's tensors and numbers. SPDX-License-Identifier: Apache-2.0"""
import functools
import json
import re
import types

import torch

from case import DTYPES, REFUSALS, ROWS
from ops import TORCH

WRONG = (AttributeError, KeyError, IndexError, TypeError, *REFUSALS)


def leaf(dtype, shape, words):
    values = []
    for word in filter(None, words.split(",")):
        value, _, count = word.partition("*")
        values += [float(value) if DTYPES[dtype].is_floating_point else int(value)] * int(count or 1)
    return torch.tensor(values, dtype=DTYPES[dtype]).reshape(json.loads(shape))


def argument(word, tensors):
    if word == "nil":
        return None
    if word[0] == "{":
        return [tensors[name] for name in filter(None, word[1:-1].split(","))]
    if word[0] == "[":
        return json.loads(word)
    if word in tensors or word in DTYPES:
        return tensors[word] if word in tensors else DTYPES[word]
    number = word[2:] if word[0] == "#" else word
    if word.startswith("#b"):
        return bool(int(number))
    return int(number) if re.fullmatch(r"-?\d+", number) and not word.startswith("#f") else float(number)


@functools.lru_cache(16)
def seen(op, text):
    """The arguments of op's call by their names; all: those that are tensors; cotangent: if there is one."""
    tensors, call = {}, None
    for statement in text.split(" ; "):
        made = re.fullmatch(r"(\w+)=(\w+)!?(\[[\d,]*\]):(.*)", statement)
        words = statement.split("=", 1)[-1].split(" ")
        if made and made.group(2) in DTYPES:
            tensors[made.group(1)] = leaf(*made.groups()[1:])
        elif words[0] == op and call is None:
            given = [argument(word, tensors) for word in words[1:]]
            call = types.SimpleNamespace(cotangent=None, **dict(zip((p["name"] for p in ROWS[op]["params"]), given)))
            call.all = [x for one in given for x in (one if isinstance(one, list) else [one]) if torch.is_tensor(x)]
        elif words[0] == "backward":
            call.cotangent = tensors[words[2]]
        elif words[0] in TORCH and "=" in statement:
            try:
                tensors[statement.split("=")[0]] = TORCH[words[0]](*[argument(word, tensors) for word in words[1:]])
            except WRONG:  # of results that nobody asks for here
                pass
    return call


def given(condition):
    """That a call was given what the condition, a function of it, holds of."""
    def check(op, text, answer):
        try:
            return bool(condition(seen(op, text)))
        except WRONG:
            return False
    return check


def holds(test, *xs):
    """Whether an element of one of these tensors and numbers is so."""
    return any(bool(test(torch.as_tensor(x)).any()) for x in xs if x is not None)


def nan(*xs):
    return holds(torch.isnan, *xs)


def wild(*xs):
    """nan or inf."""
    return holds(lambda x: ~torch.isfinite(x), *xs)


def empty(*xs):
    return any(x.numel() == 0 for x in xs)


def mixed(c):
    return len({x.dtype for x in c.all}) > 1


def halves(c):
    return any(x.dtype in (torch.float16, torch.bfloat16) for x in c.all)


def truths(c):
    """A number that is True or False."""
    return any(isinstance(one, bool) for one in vars(c).values())


def wholes(c):
    """Integers or bools among the tensors."""
    return any(not x.dtype.is_floating_point for x in c.all)


def expanded(c):
    """Operands that are expanded, or will be."""
    return len({x.shape for x in c.all}) > 1 or any(0 in [t for n, t in zip(x.shape, x.stride()) if n > 1] for x in c.all)
