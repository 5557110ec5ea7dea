#!/usr/bin/python3
"""Writes layouts.txt: what PyTorch's own ops give for many inputs, for test_shape.c to hold td_infer against.

Run by hand with Debian's python3-torch (1.13.1): /usr/bin/python3 tests/golden/layouts.py > tests/golden/layouts.txt
The seed is fixed, so that a second run writes the same file. SPDX-License-Identifier: Apache-2.0
"""
import itertools
import random
import warnings

import torch

warnings.filterwarnings("ignore")
rng = random.Random(20260131)
F32, F64, I32, I64, BOOL = torch.float32, torch.float64, torch.int32, torch.int64, torch.bool
NAMES = {BOOL: "bool", I32: "i32", I64: "i64", F32: "f32", F64: "f64"}
HEAD = """# What PyTorch gives, by layouts.py beside this file, and what td_infer has to give. One case a line:
#   op  input ... attribute ...  = result
# An input or result is dtype(shape)/(stride)+offset; a number is #b, #i or #f; {a;b} is a list of inputs, and several
# results stand the same way. "shares" means that the result is a window on the first input's storage, "new" that it is
# not, "error" that the call is refused. Attributes stand in the row's order. Strides and offsets are compared exactly, those of dimensions of size 0 and 1 too.
# Not in this file, because tensord differs there:
#  - it promotes where PyTorch refuses: matmul, cross_entropy, mse_loss and index_add of two dtypes; f32 - bool;
#  - embedding takes fewer ranks than PyTorch's; sign and scatter_add take no bool;
#  - PyTorch gives a result in channels-last order strides of its own for dimensions of size 1 in 4-d tensors;
#  - it refuses every write to a tensor whose elements share memory, PyTorch not fill_ and not all overlaps of add_;
#  - it refuses more than 2^56 elements at inference, PyTorch when it allocates.
# SPDX-License-Identifier: Apache-2.0
"""
KEPT_OF_AN_OP = 60
cases = []
seen = set()
whole = set()  # cases that are all kept


def storage(dtype):
    """Values do not matter; every input has a storage of its own that is never empty."""
    return torch.zeros(4096, dtype=dtype)


def at(dtype, shape, stride, offset=0):
    return storage(dtype).as_strided(shape, stride, offset)


def dense(dtype, *shape):
    return at(dtype, shape, torch.empty(shape).stride())


def show(x):
    comma = ",".join
    return "%s(%s)/(%s)+%d" % (NAMES[x.dtype], comma(map(str, x.shape)), comma(map(str, x.stride())),
                               x.storage_offset())


def number(n):
    return "b%d" % n if isinstance(n, bool) else "i%d" % n if isinstance(n, int) else "f%r" % n


def word(v):
    if isinstance(v, torch.Tensor):
        return show(v)
    if isinstance(v, (list, tuple)) and v and all(isinstance(x, torch.Tensor) for x in v):
        return "{%s}" % ";".join(map(show, v))
    if isinstance(v, Num):
        return number(v.n)
    if isinstance(v, (list, tuple)):
        return "[%s]" % ",".join(map(str, v))
    if v is None:
        return "nil"
    if isinstance(v, torch.dtype):
        return NAMES[v]
    return str(int(v))


class Num:
    """An attribute of kind NUMBER."""

    def __init__(self, n):
        self.n = n


class In:
    """A number given where a tensor may stand."""

    def __init__(self, n):
        self.n = n


def case(op, run, *args, keep=False):
    text = op + "".join(" " + ("#" + number(a.n) if isinstance(a, In) else word(a)) for a in args)
    if text in seen:
        return
    seen.add(text)
    plain = [a.n if isinstance(a, (Num, In)) else a for a in args]
    try:
        y = run(*plain)
        first = plain[0] if isinstance(plain[0], torch.Tensor) else None
        shares = isinstance(y, torch.Tensor) and first is not None and \
            y.storage().data_ptr() == first.storage().data_ptr()
        text += " = %s %s" % (word(y), "shares" if shares else "new")
    except (RuntimeError, IndexError, ValueError, TypeError):
        text += " = error"
    cases.append(text)
    if keep:
        whole.add(text)


def pool(dtype):
    """Inputs in every kind of layout."""
    yield dense(dtype)
    yield at(dtype, (), (), 7)
    for shape in [(1,), (3,), (0,), (2, 3), (3, 1), (1, 3), (1, 1), (0, 3), (3, 0), (2, 3, 4), (2, 1, 4), (1, 1, 5),
                  (2, 0, 3), (2, 3, 1, 4), (1, 2, 1, 3), (2, 2, 2, 2, 2)]:
        yield dense(dtype, *shape)
    for shape, perm in [((2, 3), (1, 0)), ((4, 1), (1, 0)), ((1, 4), (1, 0)), ((2, 3, 4), (2, 0, 1)),
                        ((2, 3, 4), (1, 0, 2)), ((2, 3, 4), (0, 2, 1)), ((2, 1, 4), (2, 1, 0)), ((3, 0), (1, 0)),
                        ((2, 3, 4, 5), (3, 1, 0, 2)), ((1, 3, 1), (2, 0, 1)), ((2, 0, 3), (2, 1, 0))]:
        yield dense(dtype, *shape).permute(perm)
    x = dense(dtype, 6, 8)
    yield x[1:5, 2:7]
    yield x[:, ::2]
    yield x[::3]
    yield x.t()[::2]
    yield x[2:3]
    yield x[:, 3:4]
    yield x[1]
    yield x[:, 2]
    yield x.t()[1:3, 2:6]
    yield dense(dtype, 3, 1).expand(3, 4)
    yield dense(dtype, 1).expand(5)
    yield dense(dtype).expand(2, 3)
    yield dense(dtype, 3).expand(2, 3)
    yield dense(dtype, 2, 1, 3).expand(2, 4, 3).permute(1, 2, 0)
    yield dense(dtype, 4, 6)[:, 1:2].expand(4, 3)
    yield at(dtype, (3, 3), (1, 1), 2)
    yield at(dtype, (2, 2), (3, 3))
    yield at(dtype, (2, 3), (0, 0))
    yield at(dtype, (1, 2), (100, 1), 5)
    yield at(dtype, (2, 1), (1, 77))
    yield at(dtype, (2, 1, 3), (3, 50, 1))
    yield at(dtype, (2, 1, 3), (1, 1, 2))
    yield at(dtype, (2, 3), (10, 2), 9)
    yield dense(dtype, 4, 5, 6)[1:3, ::2, 1:4].transpose(0, 2)


def apart(x):
    """Whether all elements of x have an address of their own: only such a tensor is written to here."""
    places = {0}
    for size, stride in zip(x.shape, x.stride()):
        places = {p + i * stride for p in places for i in range(size)}
    return len(places) == x.numel()


def rand_dims(n):
    return rng.randint(-n - 1, n)


def sizes_of(count):
    """Some ways to write a number of elements as a shape."""
    out = [[count], [-1]]
    for d in range(1, count + 1):
        if count % d == 0:
            out += [[d, count // d], [d, -1], [1, d, count // d], [d, 1, count // d]]
            for e in range(1, d + 1):
                if d % e == 0:
                    out.append([e, d // e, count // d])
    if count == 0:
        out += [[0, 3], [3, 0], [2, 0, 4], [-1, 3], [0, -1], [-1, 0]]
    return out


def views():
    for x in pool(F32):
        case("reshape", torch.reshape, x, list(x.shape))
        case("view", lambda x, s: x.view(s), x, list(x.shape))
        shapes = sizes_of(x.numel())
        for shape in rng.sample(shapes, min(6, len(shapes))):
            case("reshape", torch.reshape, x, shape)
            case("view", lambda x, s: x.view(s), x, shape)
        for shape in ([x.numel() + 1], [-1, -1], [-2], []):
            case("reshape", torch.reshape, x, shape)
        for _ in range(4):
            case("transpose", torch.transpose, x, rand_dims(x.dim()), rand_dims(x.dim()))
            d = rand_dims(x.dim())
            case("select", torch.select, x, d, rng.randint(-4, 4))
            step = rng.choice([1, 1, 2, 3, 0, 7])
            case("slice", lambda x, d, a, b, s: torch.ops.aten.slice(x, d, a, b, s), x, d, rng.randint(-7, 7),
                 rng.choice([rng.randint(-7, 7), 2**63 - 1]), step)
        expand = lambda x, s: x.expand(s)
        for lead in ([], [2], [1], [0], [2, 1], [1, 1, 3]):
            case("expand", expand, x, lead + [-1] * x.dim())
            case("expand", expand, x, lead + [4 if n == 1 else n for n in x.shape])
        case("expand", expand, x, [n + 1 for n in x.shape])
        case("expand", expand, x, [-1] * (x.dim() + 1))
        case("detach", torch.detach, x)
        case("positive", torch.positive, x)
        case("view_dtype", lambda x, d: x.view(d), x,
             {F32: I32, I32: F32, F64: I64, I64: F64, BOOL: BOOL}[x.dtype])
        case("contiguous", lambda x: x.contiguous(), x)
        case("clone", torch.clone, x)
        case("to", lambda x, d: x.to(d, copy=True), x, rng.choice([F32, F64, I64, BOOL]))


def shaping():
    """Views that came later."""
    for x in pool(F32):
        n = x.dim()
        for _ in range(3):
            case("permute", torch.permute, x, rng.sample(range(-n, 0), n) if rng.random() < 0.5 else
                 rng.sample(range(n), n))
            d = rand_dims(n)
            case("unsqueeze", torch.unsqueeze, x, rand_dims(n + 1))
            case("flatten", torch.flatten, x, rand_dims(n), rand_dims(n))
            case("narrow", torch.narrow, x, d, rng.randint(-4, 4), rng.randint(-1, 4))
        case("permute", torch.permute, x, [rand_dims(n) for _ in range(n)])
        case("squeeze", lambda x, d: torch.squeeze(x), x, None)
        for d in range(-n - 1, n + 1):
            case("squeeze", lambda x, d: torch.squeeze(x, d[0]), x, [d])
        case("flatten", torch.flatten, x, 0, -1)
        for d in range(n):
            case("narrow", torch.narrow, x, d, 0, x.shape[d])
            case("narrow", torch.narrow, x, d, -1, 1)
            case("narrow", torch.narrow, x, d, x.shape[d], 0)


def windows():
    """Views that came later still."""
    for x in pool(F32):
        n = x.dim()
        for _ in range(4):
            case("diagonal", lambda x, o, a, b: torch.diagonal(x, o, a, b), x, rng.randint(-3, 4), rand_dims(n),
                 rand_dims(n))
            d = rand_dims(n)
            case("unfold", lambda x, d, k, s: x.unfold(d, k, s), x, d, rng.randint(0, 4), rng.randint(0, 3))
            places = [rng.sample(range(-n, n), rng.randint(0, n)) if n else [] for _ in range(2)]
            case("movedim", torch.movedim, x, *places)
        for d in range(-n, n):
            k = x.shape[d]
            case("movedim", torch.movedim, x, [d], [rng.randint(-n, n - 1)])
            for sizes in ([k, 1], [-1, 1], [1, k], [2, -1], [k], [], [-1, k], [3, 2]):
                case("unflatten", lambda x, d, s: x.unflatten(d, s), x, d, sizes)
        case("t", torch.t, x)
        case("as_strided", lambda x, s, t, o: x.as_strided(s, t, None if o == -1 else o), x, [2, 3], [rng.randint(0, 9), 2],
             rng.choice([-1, 0, 5]))
        case("as_strided", lambda x, s, t, o: x.as_strided(s, t, None if o == -1 else o), x, [3], [rng.randint(-1, 1)], -1)


def moves():
    for x in pool(F32):
        n = x.dim()
        case("flip", torch.flip, x, rng.sample(range(-n, n), rng.randint(0, n)))
        case("roll", lambda x, s, d: torch.roll(x, s, d), x, [rng.randint(-4, 4)], [rand_dims(n)] if n else [0])
        case("roll", lambda x, s, d: torch.roll(x, s), x, [2], None)
        for _ in range(3):
            case("repeat", lambda x, s: x.repeat(s), x, [rng.randint(0, 3) for _ in range(n + rng.randint(-1, 2))])
            case("repeat_interleave", torch.repeat_interleave, x, rng.randint(0, 3), rand_dims(n))
        if x.numel() and n != 1:
            case("tril", torch.tril, x, rng.randint(-2, 2))
            case("triu", torch.triu, x, rng.randint(-2, 2))
        case("diag_embed", torch.diag_embed, x, rng.randint(-2, 2), rand_dims(n), rand_dims(n))
        for _ in range(3):
            pads = [rng.randint(-1, 2) for _ in range(2 * rng.randint(0, min(n, 4)))]
            if all(x.shape[n - 1 - k] + pads[2 * k] + pads[2 * k + 1] > 0 for k in range(len(pads) // 2)):
                case("pad", lambda x, p, m: torch.nn.functional.pad(x, p), x, pads, 0)


UNARY = {"neg": torch.neg, "exp": torch.exp, "log": torch.log, "tanh": torch.tanh, "relu": torch.relu,
         "square": torch.square, "sigmoid": torch.sigmoid, "abs": torch.abs, "sqrt": torch.sqrt,
         "rsqrt": torch.rsqrt, "sin": torch.sin, "cos": torch.cos, "erf": torch.erf, "sign": torch.sign,
         "reciprocal": torch.reciprocal}
BINARY = {"add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div, "rsub": torch.rsub,
          "pow": torch.pow, "eq": torch.eq, "ne": torch.ne, "lt": torch.lt, "le": torch.le, "gt": torch.gt, "ge": torch.ge}


def elementwise():
    for name, run in UNARY.items():
        for dtype in NAMES:
            if (name, dtype) == ("sign", BOOL):
                continue
            case(name, run, dense(dtype, 2, 3))
            case(name, run, dense(dtype))
            case(name, run, dense(dtype, 3, 2, 4).permute(2, 0, 1))
    for dtype in (F32, F64):
        case("gelu", lambda x, t: torch.nn.functional.gelu(x), dense(dtype, 3, 2).t(), False)
        case("gelu", lambda x, t: torch.nn.functional.gelu(x, approximate="tanh"), dense(dtype, 3, 2).t(), True)
        case("silu", torch.nn.functional.silu, dense(dtype, 3, 2).t())
    for x in pool(F32):
        case("exp", torch.exp, x)
        case("sqrt", torch.sqrt, x)
        case("pow", torch.pow, x, In(2))
        case("mul", torch.mul, x, In(2.5))
        case("eq", torch.eq, x, In(1))
        if apart(x):
            case("add_", lambda x, y: x.add_(y), x, In(1.5))
            case("fill_", lambda x, y: x.fill_(y), x, In(1.5))
            case("fill_", lambda x, y: x.fill_(y), x, dense(F32))
            case("mul_", lambda x, y: x.mul_(y), x, In(1.5))
            for y in (dense(F32), dense(F64, *x.shape), dense(I32, *x.shape[1:]), dense(F32, 1, *x.shape)):
                case("copy_", lambda x, y: x.copy_(y), x, y)
                case("mul_", lambda x, y: x.mul_(y), x, y)
    inputs = list(pool(F32))
    for x, y in itertools.product(inputs, inputs):
        try:
            torch.broadcast_shapes(x.shape, y.shape)
            keep = 0.35
        except RuntimeError:
            keep = 0.01
        if rng.random() < keep:
            name = rng.choice(["add", "rsub", "mul", "lt", "pow", "maximum", "minimum"])
            case(name, BINARY.get(name) or getattr(torch, name), x, y)
        if rng.random() < keep / 4:
            loss = lambda a, b, r: torch.nn.functional.mse_loss(a, b, reduction=["none", "mean", "sum"][r])
            case("mse_loss", loss, x, y, rng.choice([0, 0, 0, 1, 2]))
        if rng.random() < keep / 4:
            case("where", torch.where, at(BOOL, y.shape, y.stride(), 1), x, y)
        if apart(x) and rng.random() < keep / 6:
            case("add_", lambda x, y: x.add_(y), x, y)
    for c in [dense(BOOL, 2, 3), dense(BOOL, 3, 2).t(), dense(BOOL), dense(BOOL, 3, 1)]:
        case("where", torch.where, c, dense(F32, 2, 3), dense(F32, 3, 2).t())
        case("where", torch.where, c, In(1.5), dense(F32, 3))
        case("where", torch.where, c, dense(F64, 3), In(1))
        case("where", torch.where, c, dense(I64, 3), dense(F32))


def promotion():
    """Every pair of dtypes, with dimensions, without, and as a number."""
    operands = [dense(d, *s) for d in NAMES for s in ((2,), ())] + [In(True), In(3), In(0.5)]
    for a, b in itertools.product(operands, operands):
        if isinstance(a, In):
            continue
        b_bool = isinstance(b, In) and isinstance(b.n, bool) or isinstance(b, torch.Tensor) and b.dtype == BOOL
        for name, run in BINARY.items():
            if name in ("sub", "rsub") and (a.dtype == BOOL) != b_bool:
                continue
            if name == "rsub" and a.dtype == BOOL:
                continue
            case(name, run, a, b, keep=name == "add")
        case("add_", lambda x, y: x.add_(y), a, b)
        case("mul_", lambda x, y: x.mul_(y), a, b)
        if not isinstance(b, In):
            case("maximum", torch.maximum, a, b)
            case("minimum", torch.minimum, a, b)
            case("copy_", lambda x, y: x.copy_(y), a, b)
        if isinstance(b, In) or b.dim() == 0:
            case("fill_", lambda x, y: x.fill_(y), a, b)
        case("where", torch.where, dense(BOOL, 2), a, b)


def reductions():
    for x in pool(F32):
        for name, run in (("sum", torch.sum), ("mean", torch.mean), ("max", torch.amax)):
            whole = list(range(x.dim())) if name == "max" else []
            dims = [rand_dims(x.dim()) for _ in range(rng.randint(1, 2))]
            case(name, lambda x, d, k: run(x, d, keepdim=k), x, dims, rng.random() < 0.5)
            if name == "max":
                case(name, lambda x, d, k: torch.amax(x, keepdim=k), x, None, rng.random() < 0.5)
            else:
                case(name, lambda x, d, k: run(x, whole, keepdim=k), x, None, rng.random() < 0.5)
        case("log_softmax", torch.log_softmax, x, rand_dims(x.dim()))
        case("softmax", torch.softmax, x, rand_dims(x.dim()))
        k, d = rng.random() < 0.5, rand_dims(x.dim())
        case("min", lambda x, d, k: torch.amin(x, d, keepdim=k), x, [d], k)
        for name in ("argmax", "argmin"):
            if x.numel():
                case(name, lambda x, d, k: getattr(torch, name)(x, keepdim=k), x, -2**63, False)
            case(name, lambda x, d, k: getattr(torch, name)(x, d, keepdim=k), x, d, k)
        for name in ("max", "min"):
            case(name + "_dim", lambda x, d, k: getattr(torch, name)(x, d, keepdim=k), x, d, k)
    for dtype in NAMES:
        for name, run in (("sum", torch.sum), ("mean", torch.mean), ("max", torch.amax)):
            case(name, lambda x, d, k: run(x, d, keepdim=k), dense(dtype, 2, 3), [1], False)
            case(name, lambda x, d, k: run(x, d, keepdim=k), dense(dtype, 2, 3), [1, -1], False)
        case("log_softmax", torch.log_softmax, dense(dtype, 2, 3), 1)
        case("softmax", torch.softmax, dense(dtype, 2, 3), 1)
        case("min", lambda x, d, k: torch.amin(x, d, keepdim=k), dense(dtype, 2, 3), [1], False)
        if dtype != BOOL:
            case("argmax", lambda x, d, k: torch.argmax(x, d, keepdim=k), dense(dtype, 2, 3), 1, True)
        case("max_dim", lambda x, d, k: torch.max(x, d, keepdim=k), dense(dtype, 2, 3), 1, False)
        case("min_dim", lambda x, d, k: torch.min(x, d, keepdim=k), dense(dtype, 2, 3), 0, True)
        if dtype != BOOL:
            case("matmul", torch.matmul, dense(dtype, 2, 3), dense(dtype, 3, 4))


def products():
    """Vectors, matrices and batches of them."""
    for shape in [(), (3,), (4,), (0,), (2, 3), (3, 4), (3, 0), (5, 2, 3), (1, 3, 2), (5, 3, 4), (2, 1, 2, 3),
                  (2, 5, 3, 2), (0, 2, 3), (3, 1, 1, 3, 3)]:
        yield dense(F32, *shape)
    yield dense(F32, 4, 3).t()
    yield dense(F32, 5, 3, 2).transpose(1, 2)
    yield dense(F32, 1, 3, 4).expand(5, 3, 4)


def products_and_indexing():
    two = [x for x in pool(F32) if x.dim() == 2]
    for a, b in itertools.product(two, two):
        if rng.random() < (0.3 if a.shape[1] == b.shape[0] else 0.02):
            case("matmul", torch.mm, a, b)
    for a, b in itertools.product(products(), products()):
        case("matmul", torch.matmul, a, b)
    def loss(x, t, w, ignored, r):
        return torch.nn.functional.cross_entropy(x, t, reduction=["none", "mean", "sum"][r])
    for x, t in [(dense(F32, 3, 4), dense(I64, 3)), (dense(F64, 4, 3).t(), dense(I64, 3)),
                 (dense(F32, 3, 4), at(I64, (3,), (2,), 1)), (dense(F32, 3, 4), dense(I64, 2)),
                 (dense(I64, 3, 4), dense(I64, 3)), (dense(F32, 1, 2), dense(I64, 1))]:
        for r in range(3):
            case("cross_entropy", loss, x, t, None, -100, r)
    indices = [dense(I64, 3), dense(I64), dense(I64, 0), at(I64, (4,), (3,), 2), dense(I64, 2, 3).t(), dense(F32, 3),
               dense(I64, 2, 1, 3)]
    for x in pool(F32):
        for index in rng.sample(indices, 3):
            if x.dim() == 2 and x.shape[0] > 0:
                case("embedding", lambda w, i, p: torch.nn.functional.embedding(i, w), x, index, -2**63)
            d = rand_dims(x.dim())
            if x.dim() and -x.dim() <= d < x.dim() and x.shape[d] == 0:
                continue  # refused for its data, not for its shape
            if x.dim() == 0 and index.numel() != 1:
                continue
            case("index_select", lambda x, d, i: torch.index_select(x, d, i), x, d, index)
            if x.dim() and -x.dim() <= d < x.dim() and index.dim() <= 1 and index.dtype == I64:
                shape = list(x.shape)
                shape[d] = index.numel()
                case("index_add", lambda x, d, i, s: torch.index_add(x, d, i, s), x, d, index, dense(F32, *shape))
            gathering(x, d)
    for x in pool(F32):
        for d in range(-x.dim(), x.dim()):
            if x.shape[d]:
                case("index_fill", torch.index_fill, x, d, dense(I64, 2), In(2.5))
                shape = list(x.shape)
                shape[d] = 2
                case("index_copy", torch.index_copy, x, d, dense(I64, 2), dense(F32, *shape))
                case("scatter", torch.scatter, x, d, dense(I64, *x.shape), In(2.5))
                case("scatter", torch.scatter, x, d, dense(I64, *x.shape), x)
    for dtype in (BOOL, I32, I64, F64):
        case("gather", torch.gather, dense(dtype, 2, 3), 1, dense(I64, 2, 2))
        if dtype != BOOL:
            case("scatter_add", torch.scatter_add, dense(dtype, 2, 3), 1, dense(I64, 2, 2), dense(dtype, 2, 3))
        case("index_select", torch.index_select, dense(dtype, 2, 3), 1, dense(I64, 2))
        case("embedding", lambda w, i, p: torch.nn.functional.embedding(i, w), dense(dtype, 2, 3), dense(I64, 2), -2**63)


def gathering(x, d):
    """Indices that fit x, and some that do not."""
    inside = x.dim() and -x.dim() <= d < x.dim()
    if inside and x.shape[d] == 0:
        return
    for _ in range(3):
        shape = [rng.randint(0, n) if rng.random() < 0.5 else n for n in x.shape]
        if inside:
            shape[d] = rng.randint(0, 5)
        if rng.random() < 0.2:
            shape = shape + [1] if rng.random() < 0.5 else [n + 1 for n in shape]
        if len(shape) != x.dim() and 0 in shape:
            continue  # PyTorch checks the ranks of gather's empty index, and not of scatter's
        index = dense(I64, *shape)
        case("gather", torch.gather, x, d, index)
        source = dense(F32, *[n + rng.randint(-1 if rng.random() < 0.2 and n > 1 else 0, 2) for n in shape])
        if 0 not in shape:
            case("scatter_add", torch.scatter_add, x, d, index, source)
    if x.numel():
        case("gather", torch.gather, x, d, dense(I32, *x.shape))


def joins():
    some = [dense(F32), dense(F32, 0), dense(F32, 3), dense(F32, 2, 3), dense(F32, 3, 2).t(), dense(F32, 1, 3),
            dense(F32, 0, 3), dense(F32, 2, 0), dense(I64, 2, 3), dense(I32, 2, 3), dense(BOOL, 2, 3),
            dense(F64, 2, 3), dense(F64), dense(F32, 1, 2, 3), dense(F32, 4, 2, 3), dense(F32, 2, 1, 3)[:, :, ::2],
            dense(I64, 3), dense(I32, 0)]
    for name, run in (("cat", torch.cat), ("stack", torch.stack)):
        for count in (1, 2, 2, 2, 2, 3, 4):
            for _ in range(60):
                base = rng.choice(some)
                fits = [x for x in some if x.dim() == base.dim()]
                x = [rng.choice(fits if rng.random() < 0.9 else some) for _ in range(count)]
                if name == "stack" and rng.random() < 0.8:
                    x = [y for y in some if y.shape == base.shape][:count]
                case(name, run, x, rand_dims(base.dim() + (name == "stack")))
                case(name, run, x, 0)
        for a, b in itertools.product(NAMES, NAMES):
            case(name, run, [dense(a, 2), dense(b, 2)], 0)


def creation():
    for n, m in [(0, -1), (3, -1), (3, 2), (2, 5), (3, 0), (-1, -1), (2, -3), (0, 4)]:
        case("eye", lambda n, m, d: torch.eye(n) if m == -1 else torch.eye(n, m), n, m, 0)
        case("eye", lambda n, m, d: torch.eye(n, n if m == -1 else m, dtype=d), n, m, rng.choice([F64, I64, BOOL]))
    for steps in (0, 1, 2, 5, -1):
        case("linspace", lambda a, b, n, d: torch.linspace(a, b, n), Num(0), Num(2.5), steps, 0)
        case("linspace", lambda a, b, n, d: torch.linspace(a, b, n, dtype=d), Num(-1), Num(1), steps, F64)
    for shape in ([], [0], [3], [2, 0, 3], [1, 2, 1], [2, 3, 4, 5], [-1], [2, -3]):
        for dtype in (F32, F64, I64, BOOL):
            case("zeros", lambda s, d: torch.zeros(s, dtype=d), shape, dtype)
        case("zeros", lambda s, d: torch.zeros(s), shape, 0)
        case("ones", lambda s, d: torch.ones(s), shape, 0)
        case("rand", lambda s, d: torch.rand(s), shape, 0)
        case("randn", lambda s, d: torch.randn(s, dtype=F64), shape, F64)
        case("randint", lambda a, b, s, d: torch.randint(a, b, s), -3, 5, shape, 0)
        for value in (True, 3, 2.5):
            case("full", lambda s, v, d: torch.full(s, v), shape, Num(value), 0)
            case("full", lambda s, v, d: torch.full(s, v, dtype=F64), shape, Num(value), F64)
    case("rand", lambda s, d: torch.rand(s, dtype=I64), [2], I64)
    case("randint", lambda a, b, s, d: torch.randint(a, b, s), 5, 5, [2], 0)
    inf, nan, big = float("inf"), float("nan"), 2**63 - 1
    some = [(0, 5, 1), (5, 0, -2), (0, 5, 2), (0, 5, -1), (0.0, 1.0, 0.1), (0, 1, 0.3), (1, 2.5, 1), (5, 5, 1),
            (0, 0, -1), (3, 2, 1), (0, 5, 0), (0.5, 3.7, 1), (0, inf, 1.0), (nan, 1.0, 1.0), (0.0, 1.0, nan),
            (0.0, 1.0, inf), (inf, inf, 1.0), (2**62, 2**62 + 1, -1), (2**62, 2**62 + 3, 1), (big - 3, big, 2),
            (-big - 1, -big + 1, 1), (0.0, 3.0, 1.5), (-1.9, 2.9, 0.9), (0, 7, 2.9), (True, 4, 1)]
    for a, b, s in some:
        case("arange", lambda a, b, s, d: torch.arange(a, b, s), Num(a), Num(b), Num(s), 0)
        case("arange", lambda a, b, s, d: torch.arange(a, b, s, dtype=F64), Num(a), Num(b), Num(s), F64)
        case("arange", lambda a, b, s, d: torch.arange(a, b, s, dtype=I64), Num(a), Num(b), Num(s), I64)


creation()
views()
shaping()
windows()
moves()
elementwise()
promotion()
reductions()
products_and_indexing()
joins()
print(HEAD, end="")
for op in sorted({text.split()[0] for text in cases}):
    mine = [text for text in cases if text.split()[0] == op]
    # All of them were compared once; a part is kept. To compare all again, raise the number.
    kept = set(rng.sample(mine, min(KEPT_OF_AN_OP, len(mine))))
    print("\n".join(text for text in mine if text in kept or text in whole))
