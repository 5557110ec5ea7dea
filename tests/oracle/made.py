"""How torch is called for the functions that the library makes of ops (tests/composites.c), and for the forms in place
of ops; as ops.py, but that the row is written here: "x:IN target:IN reduction:INT", kinds as in the table.

SPDX-License-Identifier: Apache-2.0
"""
import copy
import math

import torch

import draws as d
from case import DTYPES, Name

F, LA = torch.nn.functional, torch.linalg
REDUCTIONS = ["none", "mean", "sum", "batchmean"]
INF = float("inf")
BRINGINGS = ["sum", "prod", "mean", "amax", "amin"]
WRITTEN = ["sgn", "deg2rad", "rad2deg", "true_divide", "float_power", "ldexp", "clamp_min", "clamp_max", "clamp_between", "put",
           "addmm", "baddbmm", "addmv", "addr", "addbmm", "renorm", "mvlgamma", "index_reduce"]  # those with a form in place


def row(name, parameters, outputs="y", gradient=True, kind="FRESH"):
    return {"name": name, "group": "made", "kind": kind, "shape": "made", "gradient": gradient, "slack": 8,
            "takes": list(DTYPES), "outputs": outputs.split(),
            "params": [dict(zip(("name", "kind"), one.split(":"))) for one in parameters.split()]}


def signs(c):
    def values(shape):
        return [c.choices.pick([1, -1]) for _ in range(math.prod(shape))]
    return c.tensor(c.shape, c.dtype_beside(), make=values)


def row_signs(c):
    shape = c.shape[:-1]

    def values(shape):
        return [c.choices.pick([1, -1]) for _ in range(math.prod(shape))]
    return c.tensor(shape, c.dtype_beside(), make=values)


def same(c):
    return list(c.shape)


def some_rows(c):
    return [c.choices.pick([2, 3, 1]) for _ in range(c.choices.pick([2, 2, 3]))]


def positive(c):
    def values(shape):
        return [c.choices.pick([0.5, 1, 2, 0.25, 0]) for _ in range(math.prod(shape))]
    return c.tensor(list(c.shape), c.dtype, True, make=values)


def floats(c):
    """Most dtypes have no such function: they are asked for rarely."""
    if not DTYPES[c.dtype].is_floating_point and not c.choices.chance(1, 6):
        c.dtype = c.choices.pick(["f32", "f64", "f16", "bf16"])
    return d.some_shape(c)


def rows_of_floats(c):
    floats(c)
    return some_rows(c)


def above(c):
    """Where the function is defined."""
    floats(c)

    def values(shape):
        return [c.choices.pick([1.5, 2, 3.25, 1.25, 10]) for _ in range(math.prod(shape))]
    return c.tensor(d.some_shape(c), c.dtype, True, make=values)


def weight_or_none(c):
    return None if c.choices.chance(1, 2) else d.fewer(c, c.shape)


def channels(c):
    """One for each channel, or none."""
    if c.choices.chance(1, 2) or c.rank < 2:
        return None
    return c.tensor([c.shape[1]], c.dtype, True)


def positive_channels(c):
    if c.rank < 2 or c.arguments.get("mean") is None:
        return None

    def values(shape):
        return [c.choices.pick([0.5, 1, 2, 0.25]) for _ in range(math.prod(shape))]
    return c.tensor([c.shape[1]], c.dtype, make=values)


def constant_channels(c):
    return None if c.choices.chance(1, 2) or c.rank < 2 else c.tensor([c.shape[1]], c.dtype)


def image(c):
    floats(c)
    return [c.choices.pick([2, 1, 3]), c.choices.pick([2, 4, 1, 6])] + \
        [c.choices.pick([2, 3, 1]) for _ in range(c.choices.pick([1, 2, 0, 3]))]


def widely(function):
    """Halves in f32 and rounded once."""
    def run(x, *rest):
        halves = x.dtype in (torch.float16, torch.bfloat16)
        if not halves:
            return function(x, *rest)
        wide = [one.float() if torch.is_tensor(one) and one.is_floating_point() else one for one in rest]
        y = function(x.float(), *wide)
        return y.to(x.dtype) if torch.is_tensor(y) else tuple(one.to(x.dtype) for one in y)
    return run


def gathered_index(c):
    index, limit = d.everywhere(c)
    return c.places(index, limit)


def flat_index(c):
    count = math.prod(c.shape)

    def values(shape):
        return [c.choices.below(2 * count) - count if count else 0 for _ in range(math.prod(shape))]
    return c.tensor(d.some_shape(c, 2) if count else [0], "i64", make=values)


def unequal_index(c):
    """Each place at most once: torch does not say which of two values stays."""
    count = math.prod(c.shape)
    places = list(range(count))
    some = [places.pop(c.choices.below(len(places))) for _ in range(c.choices.below(count + 1))]
    return c.tensor([len(some)], "i64", make=lambda shape: some, depth=0)


def as_index(c):
    return list(c.tensor_of("index").shape)


def part(name):
    """A source of the shape that a view has."""
    def draw(c):
        x, a = c.tensor_of("x"), c.arguments
        try:
            if name == "select":
                return list(x.select(a["dim"], a["index"]).shape)
            if name == "slice":
                return list(torch.ops.aten.slice(x, a["dim"], a["start"], a["end"], a["step"]).shape)
            return list(torch.diagonal(x, a["offset"], a["dim0"], a["dim1"]).shape)
        except (IndexError, RuntimeError):
            return []
    return draw


def tensors(c):
    first = d.some_shape(c, 3)
    return [c.tensor(first if c.choices.chance(4, 5) else d.some_shape(c, 3), c.dtype_beside(), True)
            for _ in range(c.choices.pick([2, 1, 3]))]


def matrix_pair(a_rank, b_rank):
    def second(c):
        inner = (c.shape[-1] if c.rank else 2) + c.choices.chance(1, 30)
        batch = c.shape[:1] if b_rank == 3 else []
        return batch + [inner] + ([c.choices.pick([2, 3, 1, 0])] if b_rank > 1 else [])

    def first(c):
        rank = a_rank + c.choices.chance(1, 30)
        return [c.choices.pick([2, 3, 1, 4, 0]) for _ in range(rank)]
    return {"a": first, "b": second}


def product(rank):
    def first(c):
        return [c.choices.pick([2, 3, 1, 0]) for _ in range(rank)]

    def a(c):
        inner = c.inner = c.choices.pick([2, 3, 1, 0])
        full = [c.choices.pick([2, 3]) if n == 1 and c.choices.chance(1, 3) else n for n in c.shape]
        c.shape = full
        return full[:-1] + [inner]

    def b(c):
        return c.shape[:-2] + [c.inner, c.shape[-1] + c.choices.chance(1, 30)]
    return {"x": first, "a": a, "b": b, **factors}


factors = {"beta": d.choose(1.0, 0.0, 2.0), "alpha": d.choose(1.0, 2.0)}


def inner_size(c):
    c.inner = c.choices.pick([2, 3, 1, 0])
    return c.inner


def batch_size(c):
    c.batch = c.choices.pick([2, 1, 3, 0])
    return c.batch


def added(function):
    return lambda x, a, b, s, t: function(x, a, b, beta=whole(s, x, a, b), alpha=whole(t, x, a, b))


def whole(n, *xs):
    """torch wants whole numbers for tensors of those."""
    return n if any(x.is_floating_point() for x in xs) else int(n)


def threes(c):
    shape = d.some_shape(c, 3) or [3]
    at = c.choices.below(len(shape))
    shape[at] = 3
    c.three = at
    return shape


def cell(gates):
    def x(c):
        floats(c)
        return [c.choices.pick([2, 1, 3]), c.choices.pick([2, 3, 1])]

    def h(c):
        c.hidden = c.choices.pick([2, 1, 3])
        return c.tensor([c.shape[0], c.hidden], c.dtype, True)

    def weight(inner):
        return lambda c: c.tensor([gates * c.hidden, inner(c)], c.dtype, True)  # torch crashes of other sizes

    def bias(c):
        return None if c.arguments.get("b_ih", 1) is None or "b_ih" not in c.arguments and c.choices.chance(1, 2) \
            else c.tensor([gates * c.hidden], c.dtype, True)
    more = {"c": lambda c: c.tensor([c.shape[0], c.hidden], c.dtype, True)} if gates == 4 else {}
    return dict(x=x, h=h, w_ih=weight(lambda c: c.shape[1]), w_hh=weight(lambda c: c.hidden), b_ih=bias, b_hh=bias,
                **more)


def seen_by_rows(y):
    """torch 1.13 reads a cotangent wrongly whose strides are not x's."""
    if y.requires_grad:
        y.register_hook(lambda g: g.contiguous())
    return y


def batch_norm(x, mean, var, weight, bias, training, eps):
    if x.dim() < 2 or (mean is None) != (var is None):
        raise RuntimeError("shapes")
    if mean is None:
        training = True
    mean, var, weight, bias = [n if n is None else n.contiguous() for n in (mean, var, weight, bias)]  # others 1.13 misreads
    return seen_by_rows(F.batch_norm(x, mean, var, weight, bias, bool(training), 0.1, eps))


def instance_norm(x, mean, var, weight, bias, of_input, eps):
    if (mean is None) != (var is None):
        raise RuntimeError("shapes")
    mean, var, weight, bias = [n if n is None else n.contiguous() for n in (mean, var, weight, bias)]
    return seen_by_rows(F.instance_norm(x, mean, var, weight, bias, bool(of_input), 0.1, eps))


def attention(q, k, v, mask, causal):
    scale = 1 / math.sqrt(q.shape[-1]) if q.dim() and q.shape[-1] else 1
    s = (q * scale) @ k.transpose(-2, -1)
    if mask is not None:
        s = torch.where(mask, s, torch.tensor(-INF, dtype=s.dtype)) if mask.dtype == torch.bool else s + mask
    if causal:
        seen = torch.ones(s.shape[-2:], dtype=torch.bool).tril()
        s = torch.where(seen, s, torch.tensor(-INF, dtype=s.dtype))
    return s.softmax(-1) @ v


def queries(c):
    floats(c)
    return [2] * c.choices.pick([0, 1, 2]) + [c.choices.pick([2, 3, 1]), c.choices.pick([2, 4, 1])]


def keys(c):
    c.length = c.choices.pick([2, 3, 1])
    return c.tensor(c.shape[:-2] + [c.length, c.shape[-1]], c.dtype, True)


def values_of_keys(c):
    return c.tensor(c.shape[:-2] + [c.length, c.choices.pick([2, 3])], c.dtype, True)


def attention_mask(c):
    """Every query sees the first key."""
    if c.choices.chance(1, 2):
        return None
    shape = [c.shape[-2], c.length]
    if c.choices.chance(1, 2):
        return c.tensor(shape, c.dtype, True)

    def values(shape):
        return [k % c.length == 0 or bool(c.choices.below(2)) for k in range(math.prod(shape))]
    return c.tensor(shape, "bool", make=values, depth=0)


def embedding_bag(w, index, mode, padding, by_frequency):
    """The gradient of max goes to the first of equal ones, and nan wins."""
    given = padding != -2**63
    if index.dim() != 2 or w.dim() != 2 or not w.is_floating_point() or (mode == 3 and by_frequency):
        raise RuntimeError("expected other shapes, or a floating dtype")
    if given and not -w.shape[0] <= padding < w.shape[0]:
        raise RuntimeError("no such row")
    if not index.numel():
        return torch.zeros(index.shape[0], w.shape[1], dtype=w.dtype) + w[:0].sum()
    if mode != 3:
        return F.embedding_bag(index, w, mode="sum" if mode == 2 else "mean", padding_idx=padding if given else None,
                               scale_grad_by_freq=bool(by_frequency))
    return greatest(w, [row[row != padding % w.shape[0]] if given else row for row in index])


def greatest(w, bags):
    return torch.stack([F.embedding(bag, w).max(0)[0] if bag.numel() else w.detach()[:0].sum(0) for bag in bags])


def embedding_bags(w, index, offsets, mode, padding, with_last):
    given = padding != -2**63
    if w.dim() != 2 or not w.is_floating_point():
        raise RuntimeError("expected other shapes, or a floating dtype")
    if given and not -w.shape[0] <= padding < w.shape[0]:
        raise RuntimeError("no such row")
    if mode != 3:
        return F.embedding_bag(index, w, offsets, mode="sum" if mode == 2 else "mean", padding_idx=padding if given else None,
                               include_last_offset=bool(with_last))
    ends = offsets.tolist() + ([] if with_last else [index.numel()])
    bags = [index[a:b] for a, b in zip(ends, ends[1:])]
    return greatest(w, [bag[bag != padding % w.shape[0]] if given else bag for bag in bags])


def bag_offsets(c):
    count, last = c.tensor_of("index").numel(), c.arguments["include_last_offset"]

    def values(shape):
        starts = sorted([0] + [c.choices.below(count + 1) for _ in range(shape[0] - 1)])
        return starts[:-1] + [count] if last else starts
    return c.tensor([c.choices.pick([2, 3, 4])], "i64", make=values, depth=0)


def interpolate(x, size, mode, corners):
    names = {0: ["nearest"] * 3, 1: ["nearest-exact"] * 3, 2: ["linear", "bilinear", "trilinear"],
             3: [None, "bicubic", None], 4: ["area"] * 3}
    n = x.dim() - 2
    name = names[mode][n - 1]
    if name is None:
        raise RuntimeError("images")
    return F.interpolate(x, size, mode=name, **({"align_corners": bool(corners)} if mode in (2, 3) else {}))


def any_image(c):
    floats(c)
    return [c.choices.pick([1, 2]), c.choices.pick([1, 2])] + [c.choices.pick([3, 2, 4, 1]) for _ in range(c.choices.pick([1, 2, 3]))]


def new_size(c):
    return [c.choices.pick([3, 2, 5, 1]) for _ in range(c.rank - 2)]


def unfolded(x, kernel, stride, padding, dilation):
    both = [d_ if d_ is None or len(d_) == 2 else d_ * 2 for d_ in (kernel, stride, padding, dilation)]
    return F.unfold(x, both[0], both[3] or 1, both[2] or 0, both[1] or 1)


def picture(c):
    floats(c)
    return [c.choices.pick([1, 2])] * c.choices.chance(3, 4) + [c.choices.pick([1, 2])] + \
        [c.choices.pick([3, 4, 2, 5]) for _ in range(2)]


def square_images(c):
    floats(c)
    return d.batch_of_matrices(c, *([c.choices.pick([2, 3, 1])] * 2))


def shuffled(c):
    r = c.r = c.choices.pick([2, 1, 3])
    return [c.choices.pick([1, 2])] * c.choices.pick([1, 0]) + [r * r * c.choices.pick([1, 2]), 2, c.choices.pick([1, 2])]


def unshuffled(c):
    r = c.r = c.choices.pick([2, 1, 3])
    return [c.choices.pick([1, 2])] * c.choices.pick([1, 0]) + [c.choices.pick([1, 2]), r * 2, r * c.choices.pick([1, 2])]


def drawn_r(c):
    return c.r


def scores(c):
    floats(c)
    return [c.choices.pick([2, 1, 3, 0]), c.choices.pick([3, 2, 1, 4, 0])][c.choices.below(2):]


def named_classes(c):
    """Some classes of each row, then -1; now and then something else behind it, or one that there is not."""
    classes = c.shape[-1]

    def values(shape):
        return [c.choices.pick([-1] + list(range(classes)) + [classes] * c.choices.chance(1, 60)) for _ in range(math.prod(shape))]
    return c.tensor(list(c.shape), "i64", make=values)


def repetitions(c):
    """How often each slice stands there, or a single number."""
    a = c.arguments["dim"]
    count = math.prod(c.shape) if a == -2**63 else c.shape[a] if -c.rank <= a < c.rank else 1

    def values(shape):
        return [c.choices.pick([1, 2, 0, 3] + [-1] * c.choices.chance(1, 60)) for _ in range(math.prod(shape))]
    shape = c.choices.pick([[count], [count], [count], [1], [], [count + 1]] if c.choices.chance(1, 3) else [[count]])
    return c.tensor(shape, c.choices.pick(["i64", "i64", "i32"]), make=values)


def unique(consecutive):
    def run(x, dim):
        dim = None if dim == -2**63 else dim
        if consecutive:
            return torch.unique_consecutive(x, True, True, dim)
        if x.dtype.is_floating_point and x.isnan().any():
            raise RuntimeError("nan has no order")
        return torch.unique(x, True, True, True, dim)
    return run


def boundaries(c):
    c.shape = [c.choices.pick([3, 1, 0, 4])]
    values = sorted(c.values(c.dtype, c.shape), key=lambda v: (v != v, v))
    return Name(c.case.leaf(c.dtype, c.shape, values))


def norm_order(c):
    return c.choices.pick([2.0, 1.0, INF, 3.0, 0.0])


def matrices_of_floats(c):
    floats(c)
    return d.some_shape(c, 1) + [c.choices.pick([2, 3, 1]), c.choices.pick([2, 3, 1])]


def two_dims(c):
    return [-2, -1] if c.choices.chance(2, 3) or c.rank < 2 else [0, 1]


def matrix_norm(x, order, dims, keepdim):
    return LA.matrix_norm(x, "fro" if order == 1000 else order, dim=tuple(dims), keepdim=bool(keepdim))


def dims_or_all(x, dims):
    return list(range(x.dim())) if dims is None else dims


def nanmean(x, dims, keepdim):
    if not x.is_floating_point():
        raise RuntimeError("expected a floating point dtype")
    return torch.nanmean(x, dims_or_all(x, dims), keepdim=bool(keepdim))


def spread(function):
    def run(x, dims, keepdim, correction):
        return tuple(function(x, dims or dims_or_all(x, None), correction=correction, keepdim=bool(keepdim)))
    return run


def take_along(x, index, dim):
    return torch.take_along_dim(x, index, None if dim == -2**63 else dim)


def dim_or_row(c):
    return -2**63 if c.choices.chance(1, 4) else d.dim(c)


def entries(Op):
    """(row, Op) of each function; Op is ops.Op."""
    def one(name, parameters, function, outputs="y", gradient=True, **more):
        found.append((row(name, parameters, outputs, gradient), Op(function, **more)))
    found = []
    by = lambda function: lambda *given: function(*given[:-1], REDUCTIONS[given[-1]])
    one("l1_loss", "x:IN target:IN reduction:INT", by(lambda x, t, r: F.l1_loss(x, t, reduction=r)))
    one("smooth_l1_loss", "x:IN target:IN reduction:INT beta:REAL",
        lambda x, t, r, b: F.smooth_l1_loss(x, t, reduction=REDUCTIONS[r], beta=b), x=floats, beta=d.choose(1.0, 0.5, 0.0))
    one("huber_loss", "x:IN target:IN reduction:INT delta:REAL",
        lambda x, t, r, b: F.huber_loss(x, t, reduction=REDUCTIONS[r], delta=b), x=floats, delta=d.choose(1.0, 0.5, 2.0))
    one("binary_cross_entropy", "x:IN target:IN weight:OPT reduction:INT",
        lambda x, t, w, r: F.binary_cross_entropy(x, t, w, reduction=REDUCTIONS[r]), values="chances", loose=4096,
        x=floats, target=same, weight=weight_or_none)
    one("bce_with_logits", "x:IN target:IN weight:OPT pos_weight:OPT reduction:INT",
        lambda x, t, w, p, r: F.binary_cross_entropy_with_logits(x, t, w, reduction=REDUCTIONS[r], pos_weight=p),
        x=floats, target=same, weight=weight_or_none, pos_weight=weight_or_none)
    one("soft_cross_entropy", "x:IN target:IN weight:OPT reduction:INT label_smoothing:REAL",
        widely(lambda x, t, w, r, e: F.cross_entropy(x, t, w, reduction=REDUCTIONS[r], label_smoothing=e)),
        x=lambda c: floats(c) and d.logits(c) or d.logits(c), target=same, weight=d.class_weights,
        label_smoothing=d.choose(0.0, 0.25))
    one("kl_div", "x:IN target:IN reduction:INT log_target:FLAG",
        lambda x, t, r, log: F.kl_div(x, t, reduction=REDUCTIONS[r], log_target=bool(log)), x=floats, target=same,
        reduction=d.choose(0, 1, 2, 3))
    one("poisson_nll_loss", "x:IN target:IN log_input:INT full:FLAG reduction:INT",
        lambda x, t, log, full, r: F.poisson_nll_loss(x, t, bool(log), bool(full), reduction=REDUCTIONS[r]),
        x=floats, target=same, log_input=d.choose(1, 0), values="chances")
    one("gaussian_nll_loss", "x:IN target:IN variance:IN full:FLAG reduction:INT",
        lambda x, t, v, full, r: F.gaussian_nll_loss(x, t, v, full=bool(full), reduction=REDUCTIONS[r]),
        x=floats, target=same, variance=positive)
    one("hinge_embedding_loss", "x:IN target:IN margin:REAL reduction:INT",
        lambda x, t, m, r: F.hinge_embedding_loss(x, t, m, reduction=REDUCTIONS[r]), x=floats, target=signs)
    one("margin_ranking_loss", "x:IN other:IN target:IN margin:REAL reduction:INT",
        lambda x, o, t, m, r: F.margin_ranking_loss(x, o, t, m, reduction=REDUCTIONS[r]), x=floats, other=same, target=signs)
    one("soft_margin_loss", "x:IN target:IN reduction:INT", by(lambda x, t, r: F.soft_margin_loss(x, t, reduction=r)),
        x=floats, target=signs)
    one("triplet_margin_loss", "anchor:IN positive:IN negative:IN margin:REAL p:REAL swap:FLAG reduction:INT",
        lambda a, p, n, m, o, s, r: F.triplet_margin_loss(a, p, n, m, o, swap=bool(s), reduction=REDUCTIONS[r]),
        anchor=rows_of_floats, positive=same, negative=same, p=d.choose(2.0, 1.0, 3.0), loose=64)
    one("cosine_embedding_loss", "x:IN other:IN target:IN margin:REAL reduction:INT",
        lambda x, o, t, m, r: F.cosine_embedding_loss(x, o, t, m, reduction=REDUCTIONS[r]), x=rows_of_floats, other=same,
        target=row_signs)
    one("multi_margin_loss", "x:IN target:INDEX p:INT margin:REAL weight:OPT reduction:INT",
        lambda x, t, p, m, w, r: F.multi_margin_loss(x, t, p, m, w, reduction=REDUCTIONS[r]),
        x=lambda c: floats(c) and d.matrix(c) or d.matrix(c), target=d.classes, p=d.choose(1, 2), weight=d.class_weights)
    one("multilabel_margin_loss", "x:IN target:INDEX reduction:INT",
        by(lambda x, t, r: F.multilabel_margin_loss(x, t, reduction=r)), x=scores, target=named_classes)
    one("multilabel_soft_margin_loss", "x:IN target:IN weight:OPT reduction:INT",
        lambda x, t, w, r: F.multilabel_soft_margin_loss(x, t, w, reduction=REDUCTIONS[r]), x=floats, target=same,
        weight=weight_or_none)
    one("renorm", "x:IN p:REAL dim:INT maxnorm:REAL", torch.renorm, x=floats, p=d.choose(2.0, 1.0, INF, 3.0, 0.0, 0.5),
        maxnorm=d.choose(1.0, 0.0, 4.0, -1.0), loose=64)
    one("repeat_interleave_each", "x:IN repeats:INDEX dim:INT",
        lambda x, n, m: torch.repeat_interleave(x, n, None if m == -2**63 else m), dim=dim_or_row, repeats=repetitions)
    one("unique", "x:IN dim:INT", unique(False), "y inverse counts", gradient=False, values="ties", zeros=True, dim=dim_or_row)
    one("unique_consecutive", "x:IN dim:INT", unique(True), "y inverse counts", gradient=False, values="ties", zeros=True, dim=dim_or_row)
    one("fliplr", "x:IN", torch.fliplr)
    one("flipud", "x:IN", torch.flipud)
    one("deg2rad", "x:IN", torch.deg2rad)
    one("rad2deg", "x:IN", torch.rad2deg)
    one("sgn", "x:IN", torch.sgn, gradient=False)  # 1.13 gives bytes of others for one
    one("broadcast_to", "x:IN shape:SHAPE", torch.broadcast_to, shape=d.expanded)
    one("swapaxes", "x:IN dim0:INT dim1:INT", torch.swapaxes)
    one("diff", "x:IN n:INT dim:INT", lambda x, n, m: torch.diff(x, n=n, dim=m), n=d.choose(1, 2, 0, 3, -1))
    one("nansum", "x:IN dims:DIMS keepdim:FLAG", lambda x, n, k: torch.nansum(x, dims_or_all(x, n), keepdim=bool(k)))
    one("nanmean", "x:IN dims:DIMS keepdim:FLAG", nanmean)
    one("var_mean", "x:IN dims:DIMS keepdim:FLAG correction:INT", spread(torch.var_mean), "spread mean", x=floats)
    one("std_mean", "x:IN dims:DIMS keepdim:FLAG correction:INT", spread(torch.std_mean), "spread mean", x=floats)
    one("matrix_norm", "x:IN ord:REAL dims:DIMS keepdim:FLAG", matrix_norm, x=matrices_of_floats,
        ord=d.choose(1000.0, 1.0, -1.0, INF, -INF), dims=two_dims)
    one("true_divide", "x:IN other:NUM", torch.true_divide)
    one("float_power", "x:IN other:NUM", torch.float_power, values="chances", loose=16)
    one("ldexp", "x:IN other:IN", torch.ldexp)
    one("clamp_min", "x:IN low:NUM", torch.clamp_min, zeros=True)
    one("clamp_max", "x:IN high:NUM", torch.clamp_max, zeros=True)
    one("mvlgamma", "x:IN p:INT", lambda x, p: torch.mvlgamma(x, p), x=above, p=d.choose(1, 2, 3), loose=64)
    one("index_reduce", "x:IN dim:INT index:INDEX source:IN reduce:INT include_self:INT",
        lambda x, n, i, s, r, k: torch.index_reduce(x, n, i, s, BRINGINGS[r], include_self=bool(k)), index=d.along,
        source=d.along_source, reduce=d.choose(1, 2, 3, 4), include_self=d.choose(1, 0), values="ties", zeros=True)
    one("clamp_between", "x:IN low:IN high:IN", torch.clamp, zeros=True)
    one("isclose", "a:IN b:IN rtol:REAL atol:REAL equal_nan:FLAG",
        lambda a, b, r, t, e: torch.isclose(a, b, r, t, bool(e)), gradient=False, rtol=d.choose(1e-5, 0.25, 0.0),
        atol=d.choose(1e-8, 0.5, 0.0))
    one("dist", "a:IN b:IN p:REAL", torch.dist, p=norm_order, a=floats)
    one("cdist", "a:IN b:IN p:REAL", torch.cdist, p=norm_order, a=rows_of_floats,
        b=lambda c: c.shape[:-2] + [c.choices.pick([2, 1, 3]), c.shape[-1]], loose=64)
    one("pairwise_distance", "a:IN b:IN p:REAL eps:REAL keepdim:FLAG",
        lambda a, b, p, e, k: F.pairwise_distance(a, b, p, e, bool(k)), p=norm_order, a=rows_of_floats,
        eps=d.choose(1e-6, 0.25), loose=64)
    one("bucketize", "boundaries:IN x:IN right:FLAG", lambda b, x, r: torch.bucketize(x, b, right=bool(r)), gradient=False,
        boundaries=boundaries)
    one("take_flat", "x:IN index:INDEX", torch.take, index=flat_index)
    one("put", "x:IN index:INDEX source:IN accumulate:FLAG",
        lambda x, i, s, a: torch.put(x, i, s, accumulate=bool(a)), index=unequal_index, source=as_index)
    one("take_along_dim", "x:IN index:INDEX dim:INT", take_along, dim=dim_or_row,
        index=lambda c: flat_index(c) if c.arguments["dim"] == -2**63 else gathered_index(c))
    one("select_scatter", "x:IN source:IN dim:INT index:INT", lambda x, s, n, i: torch.select_scatter(x, s, n, i),
        index=d.place, source=part("select"))
    one("slice_scatter", "x:IN source:IN dim:INT start:INT end:INT step:INT",
        lambda x, s, n, a, b, t: torch.slice_scatter(x, s, n, a, b, t), start=d.bound, end=d.far_bound, step=d.some_step,
        source=part("slice"))
    one("diagonal_scatter", "x:IN source:IN offset:INT dim0:INT dim1:INT",
        lambda x, s, o, a, b: torch.diagonal_scatter(x, s, o, a, b), offset=d.choose(0, 1, -1), source=part("diagonal"))
    one("hstack", "tensors:INS", torch.hstack, tensors=tensors)
    one("vstack", "tensors:INS", torch.vstack, tensors=tensors)
    one("dstack", "tensors:INS", torch.dstack, tensors=tensors)
    one("mm", "a:IN b:IN", torch.mm, **matrix_pair(2, 2))
    one("bmm", "a:IN b:IN", torch.bmm, **matrix_pair(3, 3))
    one("mv", "a:IN b:IN", torch.mv, **matrix_pair(2, 1))
    one("dot", "a:IN b:IN", torch.dot, **matrix_pair(1, 1))
    one("outer", "a:IN b:IN", torch.outer, a=lambda c: d.some_shape(c, 1), b=lambda c: d.some_shape(c, 1))
    one("vdot", "a:IN b:IN", torch.vdot, **matrix_pair(1, 1))
    one("inner", "a:IN b:IN", torch.inner, a=lambda c: d.some_shape(c, 3),
        b=lambda c: d.some_shape(c, 2)[:-1] + [c.shape[-1] + c.choices.chance(1, 30) if c.rank else 2] if c.choices.chance(7, 8) else [])
    one("kron", "a:IN b:IN", torch.kron, a=lambda c: d.some_shape(c, 3), b=lambda c: d.some_shape(c, 3))
    one("cross", "a:IN b:IN dim:INT", lambda a, b, n: LA.cross(a, b, dim=n), a=threes, b=same,
        dim=lambda c: d.dim(c) if c.choices.chance(1, 10) else c.three)
    for name, rank in (("addmm", 2), ("baddbmm", 3)):
        one(name, "x:IN a:IN b:IN beta:REAL alpha:REAL", added(getattr(torch, name)), **product(rank))
    one("addmv", "x:IN a:IN b:IN beta:REAL alpha:REAL", added(torch.addmv), x=lambda c: [c.choices.pick([2, 3, 1, 0])],
        a=lambda c: [c.shape[0], inner_size(c)], b=lambda c: [c.inner + c.choices.chance(1, 30)], **factors)
    one("addr", "x:IN a:IN b:IN beta:REAL alpha:REAL", added(torch.addr), x=lambda c: d.some_shape(c, 2),
        a=lambda c: [c.shape[-2] if c.rank > 1 else 2], b=lambda c: [(c.shape[-1] if c.rank else 3) + c.choices.chance(1, 30)], **factors)
    one("addbmm", "x:IN a:IN b:IN beta:REAL alpha:REAL", added(torch.addbmm), x=lambda c: [c.choices.pick([2, 3, 1, 0]) for _ in range(2)],
        a=lambda c: [batch_size(c), c.shape[0], inner_size(c)], b=lambda c: [c.batch, c.inner, c.shape[1] + c.choices.chance(1, 30)], **factors)
    one("matrix_power", "x:IN n:INT", LA.matrix_power, x=square_images, n=d.choose(2, 1, 0, 3, 5), loose=64)
    one("logdet", "x:IN", torch.logdet, x=d.square, values="calm", loose=64)
    one("tensordot", "a:IN b:IN dims:INT", torch.tensordot, a=lambda c: [c.choices.pick([2, 3, 1]) for _ in range(c.choices.pick([2, 1, 3]))],
        dims=lambda c: c.choices.below(c.rank + 1), b=lambda c: c.shape[c.rank - c.arguments["dims"]:] + [c.choices.pick([2, 1, 3])])
    one("one_hot", "index:INDEX classes:INT", F.one_hot, gradient=False, index=lambda c: (d.some_shape(c, 3), 4),
        classes=d.choose(-1, 4, 6))
    one("tile", "x:IN sizes:SHAPE", lambda x, s: torch.tile(x, s), sizes=lambda c: [c.choices.pick([2, 1, 3, 0]) for _ in range(c.choices.below(c.rank + 2))])
    one("rot90", "x:IN times:INT dim0:INT dim1:INT", lambda x, k, a, b: torch.rot90(x, k, [a, b]), times=d.choose(1, 2, 3, 0, -1, 5))
    one("trace", "x:IN", torch.trace, x=d.some_matrix)
    one("diag", "x:IN offset:INT", torch.diag, x=d.some_matrix, offset=d.choose(0, 1, -1, 2))
    one("pixel_shuffle", "x:IN factor:INT", torch.pixel_shuffle, x=shuffled, factor=drawn_r)
    one("pixel_unshuffle", "x:IN factor:INT", torch.pixel_unshuffle, x=unshuffled, factor=drawn_r)
    one("normalize", "x:IN p:REAL dim:INT", F.normalize, x=floats, p=d.choose(2.0, 1.0, INF, 3.0), loose=64)
    one("cosine_similarity", "x:IN other:IN dim:INT", F.cosine_similarity, x=floats, loose=64)
    one("batch_norm", "x:IN mean:OPT var:OPT weight:OPT bias:OPT training:FLAG eps:REAL", widely(batch_norm), x=image,
        mean=constant_channels, var=positive_channels, weight=channels, bias=channels, eps=d.choose(0.25, 0.5))
    one("group_norm", "x:IN groups:INT weight:OPT bias:OPT eps:REAL",
        widely(lambda x, n, w, b, e: F.group_norm(x, n, w, b, e)), x=image, groups=d.choose(1, 2, 3), weight=channels,
        bias=channels, eps=d.choose(0.25, 0.5))
    one("instance_norm", "x:IN mean:OPT var:OPT weight:OPT bias:OPT use_input_stats:FLAG eps:REAL", widely(instance_norm),
        x=image, mean=constant_channels, var=positive_channels, weight=channels, bias=channels,
        use_input_stats=lambda c: c.choices.below(4) < 3, eps=d.choose(0.25, 0.5))
    one("glu", "x:IN dim:INT", F.glu, x=floats)
    one("softmin", "x:IN dim:INT", F.softmin, x=floats)
    one("prelu", "x:IN weight:IN", lambda x, w: torch.prelu(x, w), x=floats,
        weight=lambda c: [c.shape[1]] if c.rank > 1 and c.choices.chance(1, 2) else [1])
    one("scaled_dot_product_attention", "query:IN key:IN value:IN mask:OPT is_causal:FLAG", widely(attention), query=queries, key=keys,
        value=values_of_keys, mask=attention_mask)
    one("embedding_bag", "weight:IN index:INDEX mode:INT padding_idx:INT scale_grad_by_freq:FLAG", widely(embedding_bag), values="ties",
        weight=lambda c: floats(c) and d.matrix(c) or d.matrix(c), padding_idx=d.padding_row,
        index=lambda c: ([c.choices.pick([2, 1, 3, 0]), c.choices.pick([2, 1, 3, 0])], c.shape[0]), mode=d.choose(1, 2, 3))
    one("embedding_bags", "weight:IN index:INDEX offsets:INDEX mode:INT padding_idx:INT include_last_offset:FLAG", widely(embedding_bags),
        values="ties", weight=lambda c: floats(c) and d.matrix(c) or d.matrix(c), padding_idx=d.padding_row,
        index=lambda c: ([c.choices.pick([3, 5, 2, 1])], c.shape[0]), offsets=bag_offsets, mode=d.choose(1, 2, 3))
    one("im2col", "x:IN kernel_size:SHAPE stride:DIMS padding:DIMS dilation:DIMS", unfolded, x=picture,
        kernel_size=lambda c: [c.choices.pick([2, 1, 3]) for _ in range(c.choices.pick([2, 1]))], stride=d.each(2, 1, 2), padding=d.each(2, 0, 1), dilation=d.each(2, 1, 2))
    one("interpolate", "x:IN size:SHAPE mode:INT align_corners:FLAG", widely(interpolate), x=any_image, size=new_size,
        mode=d.choose(0, 1, 2, 3, 4), align_corners=lambda c: bool(c.arguments["mode"] in (2, 3) and c.choices.below(2)), loose=64)
    one("rnn_tanh_cell", "x:IN h:IN w_ih:IN w_hh:IN b_ih:OPT b_hh:OPT", widely(torch.rnn_tanh_cell), **cell(1))
    one("gru_cell", "x:IN h:IN w_ih:IN w_hh:IN b_ih:OPT b_hh:OPT", widely(torch.gru_cell), **cell(3))
    one("lstm_cell", "x:IN h:IN c:IN w_ih:IN w_hh:IN b_ih:OPT b_hh:OPT",
        widely(lambda x, h, c, *rest: torch.lstm_cell(x, (h, c), *rest)), "h c", **cell(4))
    return found


def in_place_of(row, op):
    """The form in place: the result is written into the first tensor, which keeps its shape and its type."""
    def run(x, *rest):
        y = op.function(x, *rest)
        if y.shape != x.shape or not torch.can_cast(y.dtype, x.dtype):
            raise RuntimeError("a result that does not fit")
        return x.copy_(y)
    form = copy.copy(op)
    form.function = run
    return dict(row, name=row["name"] + "_", kind="INPLACE", shape="write"), form


def view_in_place_of(row, op):
    """The tensor becomes the view, which torch has by other names for any."""
    def run(x, *rest):
        y = op.function(x.detach(), *rest)
        return x.as_strided_(y.shape, y.stride(), y.storage_offset())
    form = copy.copy(op)
    form.function = run
    return dict(row, name=row["name"] + "_", kind="INPLACE", shape="write"), form
