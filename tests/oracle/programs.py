"""A random program: views of views, detached ones and such made under no_grad, arithmetic, writes through any of them,
some of it in checkpoints, then a backward; all values and gradients are expected at the end.

torch refuses a backward where a write has changed what the graph kept. tensord keeps the old bytes (DESIGN: a write that
meets a reader copies), so torch is given copies of whatever it keeps, and says what the gradients are then. The numbers
are small integers, so that nothing is rounded. SPDX-License-Identifier: Apache-2.0
"""
import itertools

import torch

import draws
from case import Case, Num, Refused, biggest
from ops import TORCH

DTYPE = "f64"
LARGE = 2.0**16


def copied(x):
    """A copy with x's own strides."""
    if not torch.is_tensor(x):
        return x
    thin = x
    for d, stride in enumerate(x.stride()):
        if stride == 0 and x.shape[d] > 1:
            thin = thin.narrow(d, 0, 1)
    copy = torch.empty_strided(thin.shape, thin.stride(), dtype=x.dtype).copy_(thin)
    return copy if thin is x else copy.expand(x.shape)  # a view only where it has to be


def as_view(function):
    """Where torch gives its argument back it is a view of it here."""
    def run(x, *arguments):
        y = function(x, *arguments)
        return torch.ops.aten.alias(y) if y is x else y
    return run


forbidden = []  # what torch would not even read


def readable(x):
    """torch forbids to read a view made under no_grad, and to make views of it, once its base has a recorded write."""
    try:
        x.grad_fn
    except RuntimeError:
        return False
    return True


def settled(x):
    """A view made under no_grad of what requires a gradient is a constant, and so is one that torch forbids to read."""
    if not torch.is_tensor(x):
        return x
    if not readable(x):
        forbidden.append(x)
        return x.detach()
    return x.detach() if hasattr(x, "constant") else x


def reading(function):
    return lambda *arguments: function(*[settled(x) for x in arguments])


def writing(function):
    def run(x, y):
        readable(x)  # torch takes a view for a leaf until this is asked for, once its base has a recorded write
        return function(x, copied(settled(y)))
    return run


SAFE = dict(TORCH,
            mul=lambda x, y: copied(x) * copied(y),
            square=lambda x: copied(x).square(),
            relu=lambda x: copied(torch.relu(x)).add_(0.0),  # the sign of its zeros says nothing
            maximum=lambda x, y: torch.maximum(copied(x), copied(y)))
VIEWS = ["transpose", "select", "slice", "expand", "reshape", "permute", "unsqueeze", "squeeze", "narrow", "view",
         "flatten", "detach", "contiguous", "diagonal", "movedim", "unfold", "unflatten", "t", "as_strided"]
WRITES = ["add_", "mul_", "copy_", "fill_"]
ALONE = ["neg_", "square_", "relu_"]  # writes of what x itself gives
SAFE.update({name: as_view(SAFE[name]) for name in VIEWS})
SAFE.update({name: lambda x, run=SAFE[name[:-1]]: x.copy_(run(settled(x))) for name in ALONE})
SAFE = {name: writing(run) if name in WRITES else run if name in ALONE else reading(run) for name, run in SAFE.items()}


def places(x):
    """Where the elements of x stand, in bytes."""
    found = {x.storage().data_ptr() + x.storage_offset() * x.element_size()}
    for n, stride in zip(x.shape, x.stride()):
        found = {place + k * stride * x.element_size() for place in found for k in range(n)}
    return found


def same_window(x, y):
    return x.data_ptr() == y.data_ptr() and x.shape == y.shape and x.stride() == y.stride()


class Program:
    def __init__(self, choices):
        self.choices = choices
        self.case = Case(SAFE)
        self.names = []
        self.arguments = {}  # with shape and rank what draws asks for
        self.shape = []
        self.refusal = None
        self.blocks = []  # that are open: no_grad, checkpoint

    @property
    def rank(self):
        return len(self.shape)

    def leaf(self, shape, grad):
        values = torch.tensor([self.choices.pick([1, 2, -1, 0, 3, -2]) for _ in range(torch.Size(shape).numel())])
        name = self.case.leaf(DTYPE, shape, values.tolist(), grad)
        self.names.append(name)
        return name

    def keep(self, names):
        self.names += names

    def some(self):
        """A tensor, the latest the likeliest."""
        back = min(self.choices.below(len(self.names)), self.choices.below(len(self.names)))
        return self.names[-1 - back]

    def view(self):
        name = self.some()
        self.shape = list(self.case.tensors[name].shape)
        op = self.choices.pick(VIEWS)
        ways = {"transpose": ["dim", "dim"], "select": ["dim", draws.place], "reshape": [draws.reshaped],
                "slice": ["dim", draws.bound, draws.far_bound, draws.some_step], "expand": [draws.expanded],
                "permute": [draws.permutation], "unsqueeze": [draws.new_dim], "squeeze": [draws.some_dims],
                "narrow": ["dim", draws.place, draws.length], "view": [draws.reshaped], "flatten": ["dim", "dim"],
                "diagonal": [draws.choose(0, 1, -1), "dim", "dim"], "unfold": ["dim", draws.length, draws.some_step],
                "movedim": [draws.moved, draws.places_moved_to], "unflatten": ["dim", draws.factors]}
        arguments = self.window(self.case.tensors[name]) if op == "as_strided" else []
        if arguments is None:
            return
        for way in ways.get(op, []):
            value = draws.dim(self) if way == "dim" else way(self)
            key = "dim" if way == "dim" else "source" if way == draws.moved else "start"
            if isinstance(value, int) or way == draws.moved:
                self.arguments[key] = value
            arguments.append(value)
        if op in ("expand", "unfold", "unflatten") and self.rank > 3:
            return
        x = self.case.tensors[name]
        if op in ("narrow", "unfold") and arguments[1] == -1:
            return  # see known.py
        apart = hasattr(x, "constant") or not readable(x)
        if torch.is_grad_enabled() and apart:
            return  # torch forbids it, or what could follow
        constant = apart or x.requires_grad
        names = self.case.call(op, name, *arguments)
        y = self.case.tensors[names[0]]
        if not torch.is_grad_enabled() and constant and op != "detach" and y.storage().data_ptr() == x.storage().data_ptr():
            self.case.tensors[names[0]].constant = True
        self.keep(names)

    def window(self, x):
        """Size, stride and offset of some elements of x, none of them twice in x; a window may have them twice. Of what
        lies beside x in its storage torch drops the gradient (see known.py)."""
        start = x.storage().data_ptr()
        mine = sorted((place - start) // x.element_size() for place in places(x)) if readable(x) else []
        if not mine or len(mine) < x.numel():
            return None
        for _ in range(6):
            size = [self.choices.pick([2, 1, 3, 2]) for _ in range(self.choices.pick([1, 2, 0, 3]))]
            stride = [self.choices.pick([1, 2, 3, 0, 4]) for _ in size]
            offset = self.choices.pick(mine)
            seen = {offset + sum(k * t for k, t in zip(at, stride)) for at in itertools.product(*map(range, size))}
            if seen <= set(mine):
                return [size, stride, offset]
        return None

    def operand(self, name):
        """A number, a tensor that broadcasts to name's shape, or any."""
        shape = list(self.case.tensors[name].shape)
        if self.choices.chance(1, 4):
            return Num(self.choices.pick([1, 2, 0, -1, 3, 0.5, -2]))
        fitting = [n for n in self.names if self.fits(n, shape)]
        if fitting and self.choices.chance(3, 4):
            return fitting[-1 - self.choices.below(len(fitting))]
        return self.leaf(draws.fewer(self, shape), self.choices.chance(1, 3))

    def fits(self, name, shape):
        try:
            return list(torch.broadcast_shapes(self.case.tensors[name].shape, shape)) == shape
        except RuntimeError:
            return False

    def compute(self):
        name = self.some()
        op = self.choices.pick(["add", "mul", "clone", "neg", "sum", "sub", "square", "relu", "maximum"])
        if biggest(self.case.tensors[name]) > LARGE:
            return
        if op in ("clone", "neg", "square", "relu"):
            arguments = []
        elif op == "sum":
            self.shape = list(self.case.tensors[name].shape)
            arguments = [draws.some_dims(self), bool(self.choices.below(2))]
        else:
            arguments = [self.operand(name)]
            if op == "maximum" and isinstance(arguments[0], Num):
                return
        self.keep(self.case.call(op, name, *arguments))

    def write(self):
        name = self.some()
        op = self.choices.pick(WRITES + ALONE)
        x = self.case.tensors[name]
        if op in ALONE:
            self.write_alone(op, name, x)
            return
        other = self.operand(name)
        if op == "fill_" and not isinstance(other, Num) and self.case.tensors[other].dim():
            other = Num(2)
        if torch.is_grad_enabled() and hasattr(x, "constant"):  # torch has views of views made under no_grad pass
            self.case.statements += ["%s %s %s" % (op, name, other), "error"]
            return
        mine = places(x)
        if len(mine) < x.numel():  # torch refuses only some of these
            self.case.statements += ["%s %s %s" % (op, name, other), "error"]
            return
        if biggest(x) > LARGE:
            return
        if not isinstance(other, Num):
            y = self.case.tensors[other]
            if mine & places(y) and not same_window(x, y):
                self.case.statements += ["%s %s %s" % (op, name, other), "error"]
                return
        self.case.call(op, name, other)

    def write_alone(self, op, name, x):
        if torch.is_grad_enabled() and hasattr(x, "constant") or len(places(x)) < x.numel():
            self.case.statements += ["%s %s" % (op, name), "error"]
        elif biggest(x) <= LARGE:
            readable(x)
            self.case.call(op, name)

    def step(self):
        kind = self.choices.pick(["nothing", "view", "write", "compute", "view", "write", "no_grad", "leaf",
                                  "checkpoint"])
        if kind == "no_grad":
            on = torch.is_grad_enabled()
            if on and not self.choices.chance(1, 2):
                return
            if on:
                self.open("no_grad")
            elif self.blocks[-1] == "no_grad":
                self.close()
        elif kind == "checkpoint":
            if self.blocks and self.blocks[-1] == "checkpoint" and self.choices.chance(2, 3):
                self.close()
            elif len(self.blocks) < 3:
                self.open("checkpoint")
        elif kind == "leaf":
            if len(self.names) < 6:
                self.leaf(draws.some_shape(self, 3), self.choices.chance(1, 2))
        elif kind != "nothing":
            getattr(self, kind)()

    def open(self, block):
        self.blocks.append(block)
        self.case.statements.append("%s 1" % block)
        torch.set_grad_enabled("no_grad" not in self.blocks)

    def close(self):
        self.case.statements.append("%s 0" % self.blocks.pop())
        torch.set_grad_enabled("no_grad" not in self.blocks)

    def finish(self):
        while self.blocks:
            self.close()
        for name in self.names:
            self.case.expect(name, None, 1e-300)
        total = None
        for name in list(self.names):
            x = self.case.tensors[name]
            if hasattr(x, "constant") or not x.requires_grad or not self.choices.chance(2, 3):
                continue
            [part] = self.case.call("sum", *self.case.call("mul", name, Num(1 + self.choices.below(3))), None, False)
            total = part if total is None else self.case.call("add", total, part)[0]
        if forbidden:
            return
        if total is not None and self.case.tensors[total].requires_grad:
            self.grads_of(total)
            self.case.backward(total)
            grads = [self.case.tensors[n].grad for n in self.case.kept]
            self.case.expect_grads(max([1.0] + [biggest(g) for g in grads if g is not None]))

    def grads_of(self, total):
        """By bases: a view's own gradient is another question. What a checkpoint gave knows its uses outside only."""
        inside = any(statement == "checkpoint 1" for statement in self.case.statements)
        for name in list(self.names):
            x = self.case.tensors[name]
            if x.requires_grad and x._base is None and (x.is_leaf or not inside) and self.choices.chance(1, 2):
                self.case.expect_grad_of(total, name)

    def run(self):
        forbidden.clear()
        try:
            for _ in range(1 + self.choices.below(2)):
                self.leaf(draws.some_shape(self, 3), self.choices.chance(2, 3))
            for _ in range(4 + self.choices.below(20)):
                try:
                    self.step()
                except Refused as refused:
                    self.refusal = "%s %s" % (self.refusal or "", refused)
            self.finish()
        finally:
            torch.set_grad_enabled(True)
        return self.case.text()
