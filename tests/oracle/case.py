"""A case: statements of the language in README.md, each run by torch while it is written down.

SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import subprocess
import warnings

import numpy
import torch

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("TENSORD_BUILD", os.path.join(ROOT, "build/plain"))
TABLE = json.loads(subprocess.check_output([os.path.join(BUILD, "gen"), "ops.json"]))
ROWS = {row["name"]: row for row in TABLE["ops"]}
DTYPES = {name: getattr(torch, name_of_torch) for name, name_of_torch in TABLE["dtypes"].items()}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
REFUSALS = (RuntimeError, IndexError, ValueError, OverflowError)


class Refused(Exception):
    """torch refused a call; what it said."""


class Name(str):
    """A tensor of the case."""


class Num:
    """A number, in place of a tensor or as an attribute of kind NUMBER."""

    def __init__(self, n):
        self.n = n

    def __str__(self):
        n = self.n
        return "#b%d" % n if isinstance(n, bool) else "#i%d" % n if isinstance(n, int) else "#f" + real(n)


def real(x):
    """The shortest text that reads back as the same number."""
    text = repr(float(x)) if not isinstance(x, numpy.float32) else str(x)
    return text[:-2] if text.endswith(".0") else text


def elements(x):
    """The elements of a tensor, row by row; equal neighbours once, with their count."""
    halves = x.dtype in (torch.float16, torch.bfloat16)
    flat = (x.detach().float() if halves else x.detach()).contiguous().view(-1).numpy()
    if x.dtype == torch.bool:
        words = ["%d" % v for v in flat]
    elif x.dtype.is_floating_point:
        words = [real(v) for v in (flat if flat.dtype == numpy.float32 else flat.astype(numpy.float64))]
    else:
        words = ["%d" % v for v in flat]
    runs = []
    for word in words:
        if runs and runs[-1][0] == word:
            runs[-1][1] += 1
        else:
            runs.append([word, 1])
    return ",".join(word if count == 1 else "%s*%d" % (word, count) for word, count in runs)


def sizes(shape):
    return "[%s]" % ",".join("%d" % n for n in shape)


def biggest(x):
    """The greatest finite magnitude in x."""
    if not x.numel() or not x.dtype.is_floating_point:
        return 0.0
    return torch.nan_to_num(x.detach().abs().double(), nan=0, posinf=0, neginf=0).max().item()


def word(argument, kind):
    if argument is None:
        return "nil"
    if isinstance(argument, list):
        return "{%s}" % ",".join(argument) if kind in ("INS", "INDICES") else sizes(argument)
    if isinstance(argument, float):
        return real(argument)
    if isinstance(argument, (bool, int)):
        return "%d" % argument
    return str(argument)


class Case:
    def __init__(self, torch_of):
        self.torch_of = torch_of  # name of an op: the function of torch
        self.statements = []
        self.tensors = {}
        self.kept = []  # what a gradient may be asked for

    def add(self, tensor):
        name = Name("t%d" % len(self.tensors))
        self.tensors[name] = tensor
        return name

    def leaf(self, dtype, shape, values, grad=False):
        x = torch.tensor(values, dtype=DTYPES[dtype]).reshape(shape).clone()  # which is no view of anything
        x.requires_grad_(grad)
        name = self.add(x)
        self.statements.append("%s=%s%s%s:%s" % (name, dtype, "!" if grad else "", sizes(shape), elements(x)))
        if grad:
            self.kept.append(name)
        return name

    def value(self, argument):
        if isinstance(argument, Name):
            return self.tensors[argument]
        if isinstance(argument, Num):
            return argument.n
        if isinstance(argument, list) and argument and isinstance(argument[0], Name):
            return [self.tensors[name] for name in argument]
        if isinstance(argument, str):
            return DTYPES[argument]
        return argument

    def call(self, op, *arguments):
        """The names of the results. An op in place has none of its own."""
        row = ROWS[op]
        text = op + "".join(" " + word(a, p["kind"]) for a, p in zip(arguments, row["params"]))
        try:
            with torch.set_grad_enabled(torch.is_grad_enabled() and row["kind"] != "STEP"):
                results = self.torch_of[op](*[self.value(a) for a in arguments])
        except REFUSALS as error:
            count = len(row["outputs"]) if row["kind"] != "INPLACE" else 0
            names = ",".join("e%d" % k for k in range(count))
            self.statements += [(names + "=" if names else "") + text, "error"]
            raise Refused(str(error))
        if row["kind"] == "INPLACE" or not row["outputs"]:
            self.statements.append(text)
            return arguments[:1]
        results = [self.add(y) for y in (results if isinstance(results, tuple) else [results])]
        self.statements.append(",".join(results) + "=" + text)
        return results

    def expect(self, name, base=None, tolerance=None, values=True):
        """tolerance: what is allowed besides 16 units of the last place; None: nothing at all."""
        x = self.tensors[name]
        text = "%s>%s%s/%s" % (name, NAMES[x.dtype], sizes(x.shape), sizes(x.stride()))
        if base is not None:
            shares = x.storage().data_ptr() == self.tensors[base].storage().data_ptr()
            text += "+%d@%s%s" % (x.storage_offset() if shares else 0, base, "" if shares else "-")
        self.statements.append(text + self.of_values(x, tolerance, values))

    @staticmethod
    def of_values(x, tolerance, values):
        if tolerance is None or not x.dtype.is_floating_point:
            text = ""
        else:
            text = "~" + ("%.2g" % tolerance if tolerance else "")
        return text + ":" + elements(x) if values else ""

    def backward(self, name, seed=None):
        try:
            self.tensors[name].backward(None if seed is None else self.tensors[seed])
        except REFUSALS as error:
            raise Refused(str(error))
        self.statements.append("backward %s%s" % (name, "" if seed is None else " " + seed))

    def expect_grad_of(self, y, name):
        try:
            [g] = torch.autograd.grad(self.tensors[y], self.tensors[name], retain_graph=True, allow_unused=True)
        except RuntimeError:  # of torch's own: "dependency not found for torch::autograd::AccumulateGrad"
            return
        what = "none" if g is None else NAMES[g.dtype] + sizes(g.shape) + self.of_values(g, 1e-300, True)
        self.statements.append("%s/%s>%s" % (y, name, what))

    def expect_grads(self, scale, count=0, dtype=torch.float64, terms={}):
        """scale: what the error may be relative to, besides each gradient's own magnitude. Where a tensor has less
        elements than count its gradient is a sum, and the error relative to the greatest one, or to its terms where
        they are known. dtype: of the result, which a wider operand's gradient is computed in, too."""
        for name in self.kept:
            g = self.tensors[name].grad
            if g is None:
                self.statements.append(name + ".grad>none")
                continue
            finest = max(torch.finfo(g.dtype).eps, torch.finfo(dtype).eps)
            relative = biggest(g) if finest > torch.finfo(g.dtype).eps else 0
            most = max(biggest(g), terms.get(name, 0)) if g.numel() < count else relative
            error = 32 * finest * max(scale, most)
            self.statements.append("%s.grad>%s%s%s" % (name, NAMES[g.dtype], sizes(g.shape),
                                                       self.of_values(g, error, True)))

    def text(self):
        return " ; ".join(self.statements)
