"""One random call of an op, with its results and gradients. SPDX-License-Identifier: Apache-2.0"""
import torch

import draws
from case import DTYPES, REFUSALS, ROWS, Case, Name, Num, Refused, biggest
from ops import OPS, TORCH

NAN, INF = float("nan"), float("inf")
# The first of each is the simplest. "modest" and "ties" are fractions that sums and products of a few keep exactly.
POOLS = {
    "wild": [1, 2, 0, -1, 0.5, -0.0, 3, -2.5, 0.1, NAN, INF, -INF, 0.7, 1e-3, 100.25, -30.5, 1e30, -1e-40, -0.3, 1.75,
             -1.5, 0.9, 2.25, -0.01, 20, 1.1],
    "modest": [1, 2, -1, 0.5, 0, 3, -2.5, 0.125, -0.75, 4, 1.5, -3, 2.25, -0.5, 0.25, 1, -2, 0.625],
    "ties": [1, 2, 0, -1, 3, 1, 2],
    "inside": [0.5, 0.25, 1, 0, 0.125, 0.75, 0.9],
    "calm": [1, 0, -1, 0.5, 0.25, -0.75, 0.125, -0.5],
    "tame": [1, 2, 0, -1, 0.5, -0.0, 3, -2.5, 100.25, -30.5, 0.7],
    "chances": [0.5, 0, 1, 0.25, 0.75, 0.125],
    "integers": [1, 2, 0, -1, 3, -3, 7, -8, 100],
}
SPECIAL = [NAN, INF, -INF, -0.0]
WILD_GROUPS = ("unary", "binary", "compare", "ternary", "copy", "view")
EPSILON = {name: torch.finfo(t).eps if t.is_floating_point else 0 for name, t in DTYPES.items()}


class Call:
    def __init__(self, op, choices, dtype=None):
        self.row, self.op, self.choices = ROWS[op], OPS[op], choices
        self.case = Case(TORCH)
        self.arguments = {}
        self.dtype = dtype or choices.pick(["f32", "f64", "i64", "f32", "bool", "i32", "f64", "f32", "f16", "bf16", "u8", "i8", "i16"])
        self.shape = []
        self.grad = self.row["gradient"] and choices.chance(2, 3)
        self.pool = self.op.values or ("wild" if self.row["group"] in WILD_GROUPS else "modest")
        self.refusal = None

    @property
    def rank(self):
        return len(self.shape)

    def tensor_of(self, parameter):
        return self.case.tensors[self.arguments[parameter]]

    # ---- tensors ----

    def one_value(self, dtype):
        if dtype == "bool":
            return bool(self.choices.below(2))
        if not DTYPES[dtype].is_floating_point:
            if self.pool == "wild" and self.choices.chance(1, 60):
                return self.choices.pick([torch.iinfo(DTYPES[dtype]).max, torch.iinfo(DTYPES[dtype]).min])
            return self.choices.pick(POOLS["integers" if self.pool != "ties" else "ties"])
        if self.pool in ("modest", "ties") and self.choices.chance(1, 60):
            return self.choices.pick(SPECIAL)
        return self.choices.pick(POOLS[self.pool])

    def values(self, dtype, shape):
        count = 1
        for n in shape:
            count *= n
        return [self.one_value(dtype) for _ in range(count)]

    def tensor(self, shape, dtype, grad=False, written=False, make=None, depth=2):
        """A tensor of that shape, in some layout, as views of a leaf; of a copy of one where it is written."""
        case, below = self.case, self.choices.below
        kind = self.choices.pick([0, 0, 1, 2, 3, 4]) if depth else 0
        again = dict(dtype=dtype, grad=grad, written=written, make=make, depth=depth - 1)
        if kind == 1 and len(shape) > 1:
            order = list(range(len(shape)))
            order = [order.pop(below(len(order))) for _ in shape]
            base = [0] * len(shape)
            for n, to in zip(shape, order):
                base[to] = n
            return case.call("permute", self.tensor(base, **again), order)[0]
        if kind == 2 and shape:
            along, step, start = below(len(shape)), 1 + below(3), below(2)
            n = shape[along]
            end = start + (n - 1) * step + 1 if n else start
            base = shape[:along] + [end + below(2)] + shape[along + 1:]
            return case.call("slice", self.tensor(base, **again), along, start, end, step)[0]
        if kind == 3 and not (written and not self.choices.chance(1, 20)):
            base = [1 if self.choices.chance(1, 2) else n for n in shape]
            return case.call("expand", self.tensor(base, **again), list(shape))[0]
        if kind == 4 and len(shape) < 4:
            along = below(len(shape) + 1)
            base = shape[:along] + [2] + shape[along:]
            return case.call("select", self.tensor(base, **again), along, below(2))[0]
        floating = DTYPES[dtype].is_floating_point
        values = make(shape) if make else self.values(dtype, shape)
        name = case.leaf(dtype, shape, values, grad and floating and self.grad)
        return case.call("clone", name)[0] if written else name

    def dtype_beside(self):
        """That of another operand: mostly the same."""
        return self.dtype if not self.choices.chance(1, 6) else self.choices.pick(list(DTYPES))

    def places(self, shape, limit):
        def make(shape):
            count = 1
            for n in shape:
                count *= n
            found = [self.choices.below(limit) if limit else 0 for _ in range(count)]
            if found and self.choices.chance(1, 24):
                found[self.choices.below(count)] = self.choices.pick([limit, -1])
            return found
        return self.tensor(shape, "i64", make=make)

    # ---- arguments ----

    def draw(self, parameter, first):
        name, kind = parameter["name"], parameter["kind"]
        given = self.op.drawn.get(name)
        drawn = given(self) if given else None
        if kind == "OPT" and drawn is None:
            return None
        if kind in ("IN", "NUM", "OPT") and not isinstance(drawn, (Name, Num)):
            if kind == "NUM" and not given and not first and self.choices.chance(1, 3):
                return draws.any_number(self) if self.pool == "wild" else draws.some_number(self)
            shape = drawn if drawn is not None else draws.some_shape(self) if first else draws.fewer(self, self.shape)
            if first:
                self.shape = shape
            elif given is None and self.row["kind"] != "INPLACE" and self.choices.chance(1, 4):
                shape = [self.choices.pick([2, 1])] + shape  # the other one is broadcast, too
            written = self.row["kind"] == "INPLACE" and first
            return self.tensor(shape, self.dtype if first else self.dtype_beside(), True, written)
        if kind == "INDEX" and not isinstance(drawn, Name):
            return self.places(*(drawn or draws.along(self)))
        if kind == "MASK" and drawn is None:
            if first:
                self.shape = draws.some_shape(self)
            return self.tensor(draws.fewer(self, self.shape), "bool")
        if given:
            return drawn
        keyword = "default" in parameter
        return {
            "SHAPE": draws.some_shape,
            "DIMS": draws.some_dims,
            "NUMBER": draws.some_number,
            "DTYPE": draws.dtype_or_none if keyword else draws.some_dtype,
            "FLAG": lambda c: bool(c.choices.below(2)),
            "REAL": lambda c: float(parameter["default"]) if keyword else c.choices.pick([0.5, 1.0, 2.0]),
            "INT": draws.dim if name.startswith("dim") else lambda c: c.choices.below(3),
            "INS": lambda c: [c.tensor(draws.some_shape(c), c.dtype_beside(), True) for _ in range(2)],
            "SIZE": lambda c: c.case.leaf("i64", [], [draws.size_due(c)]),
        }[kind](self)

    def draw_arguments(self):
        """Tensors that belong to a dimension or a window come after it, whatever the row's order is."""
        parameters = self.row["params"]
        is_tensor = [p["kind"] in ("IN", "NUM", "INDEX", "MASK", "RATE", "OPT", "INS", "SIZE", "INDICES") for p in parameters]
        order = [k for k, t in enumerate(is_tensor) if t][:1]
        order += [k for k, t in enumerate(is_tensor) if not t] + [k for k, t in enumerate(is_tensor) if t][1:]
        for k in order:
            self.arguments[parameters[k]["name"]] = self.draw(parameters[k], k == order[0])
        return [self.arguments[p["name"]] for p in parameters]

    # ---- results ----

    def tolerance(self, y):
        dtype = next(name for name, t in DTYPES.items() if t == y.dtype)
        if self.op.zeros:
            return torch.finfo(y.dtype).tiny * EPSILON[dtype] if y.dtype.is_floating_point else None
        if not self.row["slack"] or not y.dtype.is_floating_point:
            return None
        if self.row["shape"] in ("elementwise", "write"):
            return self.op.loose * EPSILON[dtype]
        return 32 * EPSILON[dtype] * max(1.0, biggest(y)) * self.growth()

    def growth(self):
        """What rounding errors grow by."""
        return self.op.grows(self) if self.op.grows else 1.0

    def terms(self, arguments, given, y, seed):
        """Of an elementwise op, how much comes together in each leaf's gradient, whatever cancels."""
        case, tensors = self.case, [n for n in arguments if isinstance(n, Name)]
        seen = {n: case.tensors[n].detach().expand(y.shape).clone() for n in tensors}
        apart = [seen[n].requires_grad_() for n in tensors if case.tensors[n].requires_grad]
        try:
            again = TORCH[self.row["name"]](*[seen[n] if n in seen else case.value(n) for n in arguments])
        except REFUSALS:  # masked_fill wants a value without dimensions
            return {}
        parts = torch.autograd.grad(again, apart, case.tensors[seed].to(again.dtype))
        sizes = [part.double().abs().nan_to_num(0, 0, 0).sum_to_size(x.shape).to(x.dtype) for part, x in zip(parts, given)]
        leaves = [case.tensors[n] for n in case.kept]
        found = torch.autograd.grad(given, leaves, sizes, allow_unused=True)
        return {n: biggest(size) for n, size in zip(case.kept, found) if size is not None and size.numel() < y.numel()}

    def expect(self, results, arguments):
        case, row = self.case, self.row
        base = arguments[0] if row["kind"] == "VIEW" else None
        drawn = row["kind"] == "RANDOM" and self.arguments.get("p") not in (0.0, 1.0)
        for name in results if row["kind"] != "STEP" else []:
            case.expect(name, base, self.tolerance(case.tensors[name]), not drawn)
        if row["kind"] == "STEP":
            for one in arguments + (results if row["outputs"] else []):
                for name in one if isinstance(one, list) else [one]:
                    if isinstance(name, Name):
                        case.expect(name, None, 1e-5 if case.tensors[name].dtype == torch.float32 else 1e-12)
            if row["name"].startswith(("clip_grad", "unscale")):
                case.expect_grads(1.0)
            return
        found = [name for name in results if case.tensors[name].requires_grad]
        if not found or not case.kept or drawn:
            return
        y = case.tensors[found[0]]
        self.pool, self.grad = "modest", False
        seed = self.tensor(list(y.shape), next(name for name, t in DTYPES.items() if t == y.dtype))
        given = [case.tensors[name] for one in arguments for name in (one if isinstance(one, list) else [one])
                 if isinstance(name, Name) and case.tensors[name].requires_grad]
        for x in given:
            x.retain_grad()
        try:
            case.backward(found[0], seed)
        except Refused:
            return  # torch has the call without its gradient, as mse_loss of f32 and i32
        # Also those of the operands themselves, which may cancel in sums where a leaf is expanded.
        grads = [x.grad for x in given + [case.tensors[name] for name in case.kept]]
        elementwise = self.row["shape"] == "elementwise"
        scale = 1.0 if elementwise else max([1.0] + [biggest(g) for g in grads if g is not None])
        terms = self.terms(arguments, given, y, seed) if elementwise else {}
        case.expect_grads(scale * (1 + self.op.loose / 32) * self.growth(), y.numel(), y.dtype, terms)

    def run(self):
        """The case's text."""
        if self.row["name"] == "from":
            self.grad = True
            name = self.case.leaf(self.dtype, shape := draws.some_shape(self), self.values(self.dtype, shape))
            self.case.expect(name)
            return self.case.text()
        try:
            arguments = self.draw_arguments()
            results = self.case.call(self.row["name"], *arguments)
        except Refused as refused:
            self.refusal = str(refused)
            return self.case.text()
        if self.row["kind"] == "INPLACE":
            base = [n for n in self.case.tensors if self.case.tensors[n].storage().data_ptr() ==
                    self.case.tensors[arguments[0]].storage().data_ptr()][0]
            if base != arguments[0]:
                self.case.expect(base, None, self.tolerance(self.case.tensors[base]))
        self.expect(results, arguments)
        return self.case.text()
