"""How torch is called for each op of the table: one line an op. Arguments come in the row's order, dtypes as torch has
them, lists of dimensions as lists or None, numbers as Python numbers.

Op(function, values=..., loose=..., parameter=draw, ...): what inputs are drawn from (calls.POOLS), what the result may
be off by in units of the last place of 1, whether the sign of a zero says nothing (torch's own varies with the
position), what rounding errors grow by on the way to the result (a function of the call), and how a parameter is drawn
where the table's kinds and names do not tell.

SPDX-License-Identifier: Apache-2.0
"""
import math

import torch
from torch.optim.adagrad import adagrad
from torch.optim.adam import adam
from torch.optim.adamw import adamw
from torch.optim.rmsprop import rmsprop
from torch.optim.sgd import sgd

import draws as d
import made
from case import ROWS, biggest

F = torch.nn.functional
REDUCTIONS = ["none", "mean", "sum"]
BRINGINGS = made.BRINGINGS
PADDINGS = ["constant", "reflect", "replicate", "circular"]
ALL, INF = -2**63, float("inf")


class Op:
    def __init__(self, function, values=None, loose=0, zeros=False, sized=None, grows=None, **drawn):
        self.function, self.values, self.loose, self.zeros, self.drawn = function, values, loose, zeros, drawn
        self.sized, self.grows = sized, grows


def window(x, shape, stride, offset, write=None):
    """A window on a copy of x's elements: read, or written by write(window)."""
    if write is None:
        y = x.contiguous()
        return y.as_strided(shape, stride, y.storage_offset() + offset).clone(memory_format=torch.contiguous_format)
    y = x.clone(memory_format=torch.contiguous_format)
    write(y.view(-1).as_strided(shape, stride, offset))
    return y


def promoted(function, operands=2, once=False):
    """With operands in the result's type: torch's gradients take some factors in an operand's own, where integers wrap
    and logarithms are coarse. once: halves in f32 and rounded once, where torch rounds between."""
    def run(*given):
        y = function(*given)
        if not y.dtype.is_floating_point:
            return y
        wide = torch.float32 if once and y.dtype in (torch.float16, torch.bfloat16) else y.dtype

        def operand(x):
            return x.to(y.dtype).to(wide) if torch.is_tensor(x) else x if wide == y.dtype else torch.tensor(x).to(y.dtype).item()
        return torch.empty_like(y.detach()).copy_(function(*[operand(x) for x in given[:operands]], *given[operands:]))
    return run


def shifted(function, down):
    """What torch leaves to the processor, shifts below 0 or by all bits and more, is as of endlessly many bits."""
    def run(a, b):
        y = function(a, b)
        a, b = [torch.as_tensor(x).to(y.dtype).long() for x in (a, b)]
        inside = (b >= 0) & (b < (64 if y.dtype == torch.int64 else 32))
        return y.copy_(torch.where(inside, y.long(), torch.where(a < 0, -1, 0) * down))
    return run


def divisors(function, of):
    """torch has no answer for the least number, but ends with the process."""
    def run(a, b):
        y = function(torch.ones_like(a), torch.ones_like(b))
        bits = 64 if y.dtype == torch.int64 else 32
        pairs = zip(*[x.to(y.dtype).expand(y.shape).flatten().tolist() for x in (a, b)])
        found = [abs((of(*pair) + 2**(bits - 1)) % 2**bits - 2**(bits - 1)) for pair in pairs]
        found = [n - 2**bits if n >= 2**(bits - 1) else n for n in found]
        return y.copy_(torch.tensor(found, dtype=torch.int64).reshape(y.shape))
    return run


def extreme(function):
    return lambda x, dims, keepdim: function(x, keepdim=keepdim) if dims is None else function(x, dims, keepdim=keepdim)


def total(function):
    return lambda x, dims, keepdim: function(x, list(range(x.dim())) if dims is None else dims, keepdim=keepdim)


def arg(function):
    return lambda x, dim, keepdim: function(x, None if dim == ALL else dim, keepdim=keepdim)


def one_by_one(function):
    """For what torch takes one dimension of at a time."""
    def run(x, dims, keepdim):
        if len({n % x.dim() for n in dims or [] if -x.dim() <= n < x.dim()}) != len(dims or []):
            raise IndexError("a dimension out of range, or twice")
        y = function(x) if x.dim() == 0 else x
        for n in sorted({n % x.dim() for n in dims or range(x.dim())}, reverse=True):
            y = function(y, n, keepdim=keepdim)
        return y
    return run


def count_nonzero(x, dims, keepdim):
    y = torch.count_nonzero(x, dims or None)
    return y.reshape([1 if k in {n % x.dim() for n in dims or range(x.dim())} else n for k, n in enumerate(x.shape)]) if keepdim else y


def either_way(function):
    def run(x, n, reverse):
        return function(x.flip(n), n).flip(n) if reverse and x.dim() else function(x, n)
    return run


def picked(which, least=0):
    """The element at which(sorted values, ...) of each stably sorted row: torch says nothing of equal ones."""
    def run(x, *rest):
        *k, n, keepdim = rest
        if not (k[0] if k else 1) in range(1, (x.shape[n] if x.dim() else 1) + 1):
            raise IndexError("nothing to choose from")
        values, indices = torch.sort(x, dim=n, stable=True)
        if not x.dim():
            return values, indices
        at = which(values, n, *k)
        y = values.gather(n, at), indices.gather(n, at)
        return y if keepdim else tuple(one.squeeze(n) for one in y)
    return run


def kth(values, n, k):
    return torch.full_like(values.narrow(n, 0, 1), k - 1, dtype=torch.int64)


def middle(values, n):
    nans = values.isnan().sum(n, keepdim=True)
    count = values.shape[n]
    return torch.where(nans > 0, count - nans, torch.full_like(nans, (count - 1) // 2))


def topk(x, k, n, largest):
    y = torch.sort(x, dim=n, descending=bool(largest), stable=True)
    if not 0 <= k <= (x.shape[n] if x.dim() else 1):
        raise IndexError("k")
    return tuple(one.narrow(n, 0, k).clone(memory_format=torch.contiguous_format) if x.dim() else one for one in y)


def mode(x, n, keepdim):
    """The last of equal ones, which torch gives of short rows."""
    found = torch.mode(x, n, keepdim=True)
    if not x.dim():
        return tuple(found)
    places = torch.arange(x.shape[n]).reshape([-1] + [1] * ((x.dim() - 1 - n) % x.dim()))
    at = torch.where(x.detach() == found.values.detach(), places, places * 0 - 1).amax(n, keepdim=True).clamp(0)
    y = x.gather(n, at), at
    return y if keepdim else tuple(one.squeeze(n) for one in y)


def squeeze(x, dims):
    if dims is None:
        return x.squeeze()
    for n in sorted({n + x.dim() if n < 0 else n for n in dims}, reverse=True):  # torch 1.13 takes but one
        x = x.squeeze(n)
    return x


def gelu(x, tanh_form):
    """torch 1.13 reads a cotangent wrongly whose strides are not x's."""
    y = F.gelu(x, approximate="tanh" if tanh_form else "none")
    if y.requires_grad:
        y.register_hook(lambda g: torch.empty_like(x).copy_(g))
    return y


def clamp(x, low, high):
    """Whole bounds of integers as integers; both left out as none left out, which torch refuses."""
    low, high = [int(n) if abs(n) < INF and n == int(n) and not x.is_floating_point() else n for n in (low, high)]
    if (low, high) == (-INF, INF) and not x.is_floating_point():
        return x.long() if x.dtype == torch.bool else x.clone()
    return torch.clamp(x, None if low == -INF and high != INF else low, None if high == INF and low != -INF else high)


def step(function, params, states, counts, **rates):
    """One step of a functional optimiser on the parameters that have gradients; counts: whose state was never made."""
    have = [k for k, p in enumerate(params) if p.grad is not None]
    some = [[one[k] for k in have] for one in [params] + states]
    function(some[0], [params[k].grad for k in have], some[1:], [counts[k] for k in have], rates)
    counts[have] += 1


def sgd_step(params, momenta, counts, lr, momentum, dampening, weight_decay, nesterov):
    def run(p, g, states, counts, rates):
        buffers = [b.clone() if n else None for b, n in zip(states[0], counts)] if states else [None] * len(p)
        sgd(p, g, buffers, has_sparse_grad=False, foreach=False, maximize=False, **rates)
        for old, new in zip(states[0] if states else [], buffers):
            if new is not None:
                old.copy_(new)
    step(run, params, [momenta] if momenta else [], counts, lr=float(lr), momentum=momentum, dampening=dampening,
         weight_decay=weight_decay, nesterov=bool(nesterov))
    return params


def adam_step(params, means, squares, greatest, counts, lr, beta1, beta2, eps, weight_decay, decoupled):
    def run(p, g, states, counts, rates):
        (adamw if decoupled else adam)(p, g, states[0], states[1], states[2] if greatest else [],
                                       [n.float() for n in counts], foreach=False, capturable=False,
                                       amsgrad=bool(greatest), maximize=False, **rates)
    step(run, params, [means, squares] + [greatest] * bool(greatest), counts, lr=float(lr), beta1=beta1, beta2=beta2, eps=eps,
         weight_decay=weight_decay)
    return params


def rmsprop_step(params, squares, momenta, means, counts, lr, alpha, eps, momentum, weight_decay):
    def run(p, g, states, counts, rates):
        rmsprop(p, g, states[0], states[-1] if means else [], states[1] if momenta else [], foreach=False,
                maximize=False, centered=bool(means), **rates)
    step(run, params, [squares] + [momenta] * bool(momenta) + [means] * bool(means), counts, lr=float(lr), alpha=alpha,
         eps=eps, momentum=momentum, weight_decay=weight_decay)
    return params


def adagrad_step(params, sums, counts, lr, lr_decay, eps, weight_decay):
    def run(p, g, states, counts, rates):
        adagrad(p, g, states[0], [n.float() for n in counts], has_sparse_grad=False, foreach=False, maximize=False,
                **rates)
    step(run, params, [sums], counts, lr=float(lr), lr_decay=lr_decay, eps=eps, weight_decay=weight_decay)
    return params


def lion_step(params, means, counts, lr, beta1, beta2, weight_decay):
    """torch has none: the update as its paper (Chen et al., 2023) states it."""
    def run(params, grads, states, counts, rates):
        for p, g, m in zip(params, grads, states[0]):
            p.mul_(1 - float(lr) * weight_decay).add_(torch.sign(beta1 * m + (1 - beta1) * g), alpha=-float(lr))
            m.mul_(beta2).add_(g, alpha=1 - beta2)
    step(run, params, [means], counts)
    return params


def ema_step(params, averages, decay):
    for p, average in zip(params, averages):
        average.mul_(decay).add_(p, alpha=1 - decay)
    return params


def clip_grad_norm(params, max_norm, norm_type):
    """torch takes no maximum of no elements, and without gradients gives f32."""
    some = [p for p in params if p.grad is not None and p.numel()]
    total = torch.nn.utils.clip_grad_norm_(some, max_norm, norm_type)
    return total.to(params[0].dtype) if params else total


def unscale_grads(params, scale):
    """As torch's GradScaler does, which has it for CUDA alone; the gradients are dropped then."""
    grads = [p.grad for p in params if p.grad is not None]
    found = any(not g.isfinite().all() for g in grads)
    for p in params:
        if p.grad is not None:
            p.grad.mul_(1 / scale.item())
            p.grad = None if found else p.grad
    return torch.tensor(float(found))


def clip_grad_value(params, clip_value):
    torch.nn.utils.clip_grad_value_(params, clip_value)
    return params


def rowwise(function):
    """Results row by row: torch's have the strides that LAPACK left them."""
    def run(*arguments):
        y = function(*arguments)
        return y.clone(memory_format=torch.contiguous_format) if torch.is_tensor(y) else \
            tuple(one.clone(memory_format=torch.contiguous_format) for one in y)
    return run


def condition(c):
    """Of the worst of the matrices: no end of it where only rounding keeps one from being singular."""
    x = c.tensor_of(c.row["params"][0]["name"])
    return torch.linalg.cond(x.detach().double()).nan_to_num(INF, INF).max().item() if x.numel() else 1


def slogdet(x):
    """torch's sign wants a gradient, of which there is none."""
    sign, size = torch.linalg.slogdet(x)
    return sign.detach() + 0, size  # no -0


def signs(vectors):
    """Of the columns' elements at least half as large as the largest, that of the first."""
    size = vectors.detach().abs()
    first = (size >= size.amax(-2, keepdim=True) / 2).to(torch.int64).argmax(-2, keepdim=True) if size.numel() else None
    return 1 if first is None else torch.where(vectors.detach().gather(-2, first) < 0, -1.0, 1.0).to(vectors.dtype)


def eigh(x, upper):
    values, vectors = LA.eigh(x, UPLO="U" if upper else "L")
    return values, vectors * signs(vectors)


def svd(x):
    u, s, vh = LA.svd(x, full_matrices=False)
    sign = signs(u)
    return u * sign, s, vh * (sign.mT if torch.is_tensor(sign) else 1)


LA = torch.linalg
def lists_of(indices, dims):
    if len(indices) != len(dims) or not dims:
        raise IndexError("dims")
    return [indices[dims.index(n)] if n in dims else None for n in range(dims[-1] + 1)]


def fitting(values, x):
    """torch wants x's own dtype; what loses no more than places is converted here."""
    if not torch.can_cast(values.dtype, x.dtype):
        raise IndexError("a dtype of a higher category")
    return values.to(x.dtype)


def index_put(x, values, indices, dims, accumulate):
    lists = lists_of(indices, dims)
    values = fitting(values if torch.is_tensor(values) else torch.tensor(values), x)
    picked = torch.ops.aten.index(x.detach(), lists)
    if values.dim() > picked.dim():
        raise IndexError("dimensions of size 1 in front, which td_index_put_ takes away")
    if values.requires_grad and not accumulate:
        # torch gives its gradient to every value of those that name one element: the last one wins here
        numbers = torch.arange(picked.numel()).reshape(picked.shape)
        written = torch.ops.aten.index_put(torch.zeros(x.shape, dtype=torch.int64), lists, numbers, False)
        won = torch.ops.aten.index(written, lists) == numbers
        values = torch.where(won, values.expand(won.shape), values.detach().expand(won.shape))
    return torch.ops.aten.index_put(x, lists, values, accumulate)


def as_due(found, count, whole):
    if found != count:
        raise IndexError("another number of elements")
    return whole


def all_of(sizes, rank, otherwise):
    """torch reads beyond a list of one entry in places."""
    return [otherwise] * rank if sizes is None else sizes * rank if len(sizes) == 1 else sizes


def conv(function):
    def run(x, weight, bias, stride, padding, dilation, groups, same):
        n = weight.dim() - 2
        if same and padding is not None and (any(padding) or len(padding) not in (1, n)):
            raise RuntimeError("same and a padding")
        return function(x, weight, bias, all_of(stride, n, 1), "same" if same else all_of(padding, n, 0),
                        all_of(dilation, n, 1), groups)
    return run


def conv_transpose(function):
    """Halves in f32: torch 1.13 overlooks stride and dilation of bf16 in places."""
    def run(x, weight, bias, stride, padding, dilation, groups, more):
        n = weight.dim() - 2
        if x.dtype in (torch.float16, torch.bfloat16) and weight.dtype == x.dtype and (bias is None or bias.dtype == x.dtype):
            wide = None if bias is None else bias.float()
            return run(x.float(), weight.float(), wide, stride, padding, dilation, groups, more).to(x.dtype)
        return function(x, weight, bias, all_of(stride, n, 1), all_of(padding, n, 0), all_of(more, n, 0), groups,
                        all_of(dilation, n, 1))
    return run


def conv_weight(x, g, kernel, stride, padding, dilation, groups):
    """Halves in f32: torch 1.13 gives wrong second gradients of bf16."""
    n = len(kernel)
    if x.dtype in (torch.float16, torch.bfloat16) and g.dtype == x.dtype:
        return conv_weight(x.float(), g.float(), kernel, stride, padding, dilation, groups).to(x.dtype)
    if x.dim() != g.dim() or g.shape[1] % groups or x.shape[1] % groups:
        raise RuntimeError("shapes")
    weight = torch.empty([g.shape[1], x.shape[1] // groups] + kernel, dtype=x.dtype)
    sizes = [all_of(stride, n, 1), all_of(padding, n, 0), all_of(dilation, n, 1)]
    if [torch.conv1d, torch.conv2d, torch.conv3d][n - 1](x.detach(), weight, None, *sizes, groups).shape != g.shape:
        raise RuntimeError("shapes")
    return torch.ops.aten.convolution_backward(g, x, weight, None, *sizes, False, [0] * n, groups, (False, True, False))[1]


def windows(rank, transposed=False):
    more = {"output_padding": d.each(rank, 0, 1)} if transposed else {"same": lambda c: c.choices.chance(1, 5)}
    return dict(x=d.images(rank), weight=d.filters(transposed), bias=d.filter_bias(transposed), groups=d.some_groups,
                stride=d.each(rank, 1, 2, 3), padding=d.each(rank, 0, 1, 2), dilation=d.each(rank, 1, 2), **more)


def max_pool(rank):
    function = [F.max_pool1d, F.max_pool2d, F.max_pool3d][rank - 1]
    def run(x, kernel, stride, padding, dilation, ceil_mode):
        """In f32 where torch has no kernel for halves."""
        if x.dtype == torch.float16 or x.dtype == torch.bfloat16:
            y, index = run(x.float(), kernel, stride, padding, dilation, ceil_mode)
            return y.to(x.dtype), index
        sizes = all_of(kernel, rank, 1)
        return function(x, sizes, sizes if stride is None else all_of(stride, rank, 1), all_of(padding, rank, 0),
                        all_of(dilation, rank, 1), ceil_mode=ceil_mode, return_indices=True)
    return run


def pools(rank):
    return dict(x=d.images(rank), kernel_size=d.some_window, stride=d.each(rank, 1, 2, 3), padding=d.each(rank, 0, 1, 0),
                dilation=d.each(rank, 1, 2, 1), ceil_mode=lambda c: c.choices.chance(1, 3))


def narrow_in_f32(function):
    """torch has no kernels for some halves, and rounds between in others."""
    def run(x, *rest):
        halves = x.dtype in (torch.float16, torch.bfloat16)
        return function(x.float(), *rest).to(x.dtype) if halves else function(x, *rest)
    return run


def avg_pool(rank):
    @narrow_in_f32
    def run(x, kernel, stride, padding, ceil_mode, include, divisor):
        """Of one dimension as of two: torch has no divisor for that."""
        if rank == 1 and x.dim() in (2, 3):
            sizes = [all_of(n, 1, 0) if n is not None else None for n in (kernel, stride, padding)]
            y = F.avg_pool2d(x.unsqueeze(-2), [1] + sizes[0], [1] + (sizes[1] or sizes[0]), [0] + (sizes[2] or [0]),
                             ceil_mode, bool(include), divisor or None)
            return y.squeeze(-2)
        function = [F.avg_pool1d, F.avg_pool2d, F.avg_pool3d][rank - 1]
        return function(x, kernel, stride or kernel, padding or 0, ceil_mode, bool(include), *([divisor or None] if rank > 1 else []))
    return run


def adaptive_avg_pool(rank):
    function = [F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d][rank - 1]
    @narrow_in_f32
    def run(x, sizes):
        if x.dim() not in (rank + 1, rank + 2) or len(sizes) not in (1, rank):
            raise RuntimeError("shapes")
        sizes = all_of(sizes, rank, -1)
        return function(x, [x.shape[k - rank] if n == -1 else n for k, n in enumerate(sizes)])
    return run


def adaptive_max_pool(rank):
    function = [F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d][rank - 1]
    def run(x, sizes):
        """In f32 where torch has no kernel for halves."""
        if x.dtype == torch.float16 or x.dtype == torch.bfloat16:
            y, index = run(x.float(), sizes)
            return y.to(x.dtype), index
        if x.dim() not in (rank + 1, rank + 2) or len(sizes) not in (1, rank):
            raise RuntimeError("shapes")
        sizes = all_of(sizes, rank, -1)
        return function(x, [x.shape[k - rank] if n == -1 else n for k, n in enumerate(sizes)], return_indices=True)
    return run


@narrow_in_f32
def avg_pool_back(g, size, kernel, stride, padding, ceil_mode, include, divisor, adaptive):
    n = len(size)
    if min(size) < 1 or 0 in g.shape[1:]:
        raise RuntimeError("shapes")
    with torch.enable_grad():
        x = torch.zeros(list(g.shape[:-n]) + size, dtype=g.dtype, requires_grad=True)
        y = adaptive_avg_pool(n)(x, list(g.shape[-n:])) if adaptive else avg_pool(n)(x, kernel, stride, padding, ceil_mode, include, divisor)
        if y.shape != g.shape:
            raise RuntimeError("shapes")
        return torch.autograd.grad(y, x, g, create_graph=True)[0]


def averages(rank):
    return dict(x=d.images(rank), kernel_size=d.some_window, stride=d.each(rank, 1, 2, 3), padding=d.each(rank, 0, 1, 0),
                ceil_mode=lambda c: c.choices.chance(1, 3), count_include_pad=d.choose(1, 0), divisor_override=d.choose(0, 0, 3))


def embedding(w, i, padding, by_frequency):
    if w.dim() != 2 or padding != ALL and not -w.shape[0] <= padding < w.shape[0]:
        raise IndexError("no such row")
    return F.embedding(i, w, None if padding == ALL else padding, scale_grad_by_freq=bool(by_frequency))


def bce(x, t):
    """Broadcast, as other losses are, into what has the layout of a sum."""
    both = torch.broadcast_shapes(x.shape, t.shape)
    y = F.binary_cross_entropy(x.expand(both).contiguous(), t.expand(both).contiguous(), reduction="none")
    return torch.empty_like((x + t).detach()).copy_(y)


def in_wide(function):
    """Halves in f32 and rounded once, where torch rounds between; of one type, as other ops promote."""
    def run(x, shape, *rest):
        given = [x] + [t for t in rest if torch.is_tensor(t)]
        to = x.dtype
        for t in given:
            to = torch.promote_types(to, t.dtype)
        wide = torch.float32 if to in (torch.float16, torch.bfloat16) else to
        y = function(x.to(wide), shape, *[t.to(wide) if torch.is_tensor(t) else t for t in rest])
        return torch.empty(list(y.shape), dtype=to).copy_(y)
    return run


def rms_norm(x, shape, weight, eps):
    """torch 1.13 has none."""
    if not 0 < len(shape) <= x.dim() or list(x.shape[-len(shape):]) != list(shape) or \
            (weight is not None and list(weight.shape) != list(shape)):
        raise IndexError("another shape")
    square = (x * x).mean(list(range(-len(shape), 0)), keepdim=True)
    y = x * (square + (torch.finfo(x.dtype).eps if eps < 0 else eps)).rsqrt()
    return y if weight is None else y * weight


def scaled_up(c):
    """What is left of x without its mean is scaled by as much: of a constant row that is rounding."""
    x, weight, eps = c.tensor_of("x").detach().double(), c.arguments["weight"], max(c.arguments["eps"], 1e-7)
    rows = x.flatten(-len(c.arguments["normalized_shape"]))
    rows = rows - rows.mean(-1, keepdim=True) if c.row["name"] == "layer_norm" else rows
    scale = (rows.square().mean(-1) + eps).rsqrt()
    return math.prod(max(1.0, biggest(t)) for t in [x, scale] + ([c.tensor_of("weight").double()] if weight else []))


class Attention:
    """What both directions begin with: the operands in the type that they meet in, halves in f32; scores, and which of
    them are not seen."""

    def __init__(self, q, k, v, mask, causal, scale, *more):
        given = [q, k, v, *more] + ([mask] if mask is not None else [])
        if min(x.dim() for x in (q, k, v)) < 2 or (mask is not None and mask.dtype == torch.bool):
            raise RuntimeError("no matrices, or a mask of truth")
        self.to = q.dtype
        for x in given:
            self.to = torch.result_type(torch.empty(1, dtype=self.to), x)
        if not self.to.is_floating_point:
            raise RuntimeError("integers")
        self.wide = torch.float32 if self.to in (torch.float16, torch.bfloat16) else self.to
        self.q, self.k, self.v, *self.more = [x.to(self.to).to(self.wide) for x in (q, k, v, *more)]
        self.scale = scale or (1 / math.sqrt(q.shape[-1]) if q.shape[-1] else 1)
        batch = torch.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
        s = ((self.q * self.scale) @ self.k.transpose(-2, -1)).expand(list(batch) + [q.shape[-2], k.shape[-2]])
        self.hidden = torch.zeros(s.shape, dtype=torch.bool)
        if mask is not None:
            mask = mask.to(self.to).to(self.wide).broadcast_to(s.shape)
            self.hidden, s = mask == -INF, s + mask
        if causal:
            self.hidden = self.hidden | torch.ones(s.shape[-2:], dtype=torch.bool).triu(1)
        self.s = torch.where(self.hidden, torch.tensor(-INF, dtype=self.wide), s)

    def given(self, x):
        return torch.empty(list(x.shape), dtype=self.to).copy_(x)


def attention(q, k, v, mask, causal, scale):
    """torch 1.13 has none that gives the logarithm; of inf it is nan, as the probabilities are."""
    a = Attention(q, k, v, mask, causal, scale)
    logsumexp = torch.where(a.s.isposinf().any(-1), torch.tensor(math.nan, dtype=a.wide), a.s.logsumexp(-1))
    return a.given(a.s.softmax(-1) @ a.v), torch.empty(list(logsumexp.shape), dtype=a.wide).copy_(logsumexp)


def attention_back(g, q, k, v, y, logsumexp, mask, causal, scale):
    a = Attention(q, k, v, mask, causal, scale, g, y, logsumexp)
    g, y, logsumexp = a.more
    if list(g.shape) != list(a.s.shape[:-1]) + [v.shape[-1]] or y.shape != g.shape or logsumexp.shape != g.shape[:-1]:
        raise RuntimeError("shapes")
    p = (a.s - logsumexp.unsqueeze(-1)).exp()
    d = p * (g @ a.v.transpose(-2, -1) - (g * y).sum(-1, keepdim=True))
    d = torch.where(a.hidden, torch.tensor(0.0, dtype=a.wide), d)
    return (a.given(d @ a.k * a.scale), a.given(d.transpose(-2, -1) @ (a.q * a.scale)), a.given(p.transpose(-2, -1) @ g))


def exponents(c):
    """A rounding of a score is one of its exponential, and backwards of what that is multiplied with."""
    size = {name: biggest(c.tensor_of(name).double()) for name, given in c.arguments.items() if isinstance(given, str)}
    scores = 1 + size["query"] * size["key"] * 4 + size.get("mask", 0) + size.get("logsumexp", 0)
    if "logsumexp" not in size:
        return scores
    return scores * math.exp(min(scores, 40)) * (1 + size["g"] * (size["value"] + size["y"]) * 4) * (1 + size["query"] + size["key"])


OPS = {
    "from": Op(None),  # every leaf of every case
    "zeros": Op(lambda s, t: torch.zeros(s, dtype=t)),
    "ones": Op(lambda s, t: torch.ones(s, dtype=t)),
    "full": Op(lambda s, v, t: torch.full(s, v, dtype=t)),
    "arange": Op(lambda a, b, s, t: torch.arange(a, b, s, dtype=t), start=d.range_number, end=d.range_number, step=d.range_step),
    "linspace": Op(lambda a, b, n, t: torch.linspace(a, b, n, dtype=t), start=d.range_number, end=d.range_number, steps=d.choose(2, 3, 1, 0, 5, 19, -2)),
    "eye": Op(lambda n, m, t: torch.eye(n, n if m == -1 else m, dtype=t), n=d.size, m=d.sides),
    "rand": Op(lambda s, t: torch.rand(s, dtype=t)),
    "randn": Op(lambda s, t: torch.randn(s, dtype=t)),
    "randint": Op(lambda a, b, s, t: torch.randint(a, b, s, dtype=t), low=d.choose(0, -3, 5), high=d.choose(7, 3, 1)),
    "dropout": Op(lambda x, p, t: F.dropout(x, p, bool(t)) * (1 if x.dtype != torch.bool else True), p=d.probability, training=d.choose(0, 1)),
    "reshape": Op(torch.reshape, shape=d.reshaped),
    "view": Op(lambda x, s: x.view(s), shape=d.reshaped),
    "transpose": Op(torch.transpose),
    "select": Op(torch.select, index=d.place),
    "slice": Op(torch.ops.aten.slice, start=d.bound, end=d.far_bound, step=d.some_step),
    "expand": Op(lambda x, s: x.expand(s), shape=d.expanded),
    "permute": Op(torch.permute, dims=d.permutation),
    "squeeze": Op(squeeze),
    "unsqueeze": Op(torch.unsqueeze, dim=d.new_dim),
    "flatten": Op(torch.flatten, start_dim=d.dim, end_dim=d.dim),
    "narrow": Op(torch.narrow, start=d.place, length=d.length),
    "diagonal": Op(lambda x, o, a, b: torch.diagonal(x, o, a, b), offset=d.choose(0, 1, -1, 2, -3)),
    "movedim": Op(torch.movedim, source=d.moved, destination=d.places_moved_to),
    "unfold": Op(lambda x, d, n, s: x.unfold(d, n, s), size=d.length, step=d.some_step),
    "unflatten": Op(lambda x, n, s: x.unflatten(n, s), sizes=d.factors),
    "t": Op(torch.t, x=d.some_matrix),
    "as_strided": Op(lambda x, s, t, o: x.as_strided(s, t, None if o == -1 else o), x=d.window_content, size=d.window_shape, stride=d.window_stride, offset=d.choose(-1, 0, 2)),
    "detach": Op(torch.detach),
    "positive": Op(torch.positive),
    "view_dtype": Op(lambda x, t: x.view(t), dtype=d.dtype_of_that_size),
    "contiguous": Op(lambda x: x.contiguous()),
    "clone": Op(torch.clone),
    "to": Op(lambda x, t: x.to(t, copy=True), values="tame"),
    "fill_": Op(lambda x, v: x.fill_(v), values="tame", value=lambda c: [] if c.choices.chance(3, 4) else d.beside(c)),
    "add_": Op(lambda x, y: x.add_(y)),
    "mul_": Op(lambda x, y: x.mul_(y)),
    "copy_": Op(lambda x, y: x.copy_(y) if torch.is_tensor(y) else x.copy_(torch.tensor(y)), values="tame"),
    "neg": Op(torch.neg),
    "exp": Op(torch.exp),
    "log": Op(torch.log),
    "tanh": Op(torch.tanh),
    "relu": Op(torch.relu, zeros=True),
    "square": Op(torch.square),
    "sigmoid": Op(torch.sigmoid),
    "abs": Op(torch.abs),
    "sqrt": Op(torch.sqrt),
    "rsqrt": Op(torch.rsqrt),
    "sin": Op(torch.sin),
    "cos": Op(torch.cos),
    "erf": Op(torch.erf),
    "gelu": Op(gelu, loose=64),
    "silu": Op(F.silu),
    "sign": Op(torch.sign),
    "reciprocal": Op(torch.reciprocal),
    "clamp": Op(clamp, min=d.real_bound, max=d.real_bound, zeros=True),
    "add": Op(torch.add),
    "sub": Op(torch.sub),
    "mul": Op(torch.mul),
    "div": Op(torch.div),
    "rsub": Op(torch.rsub),
    "pow": Op(promoted(torch.pow)),
    "maximum": Op(torch.maximum, zeros=True),
    "minimum": Op(torch.minimum, zeros=True),
    "eq": Op(torch.eq),
    "ne": Op(torch.ne),
    "lt": Op(torch.lt),
    "le": Op(torch.le),
    "gt": Op(torch.gt),
    "ge": Op(torch.ge),
    "where": Op(torch.where),
    "floor": Op(torch.floor),
    "ceil": Op(torch.ceil),
    "round": Op(torch.round),
    "trunc": Op(torch.trunc),
    "frac": Op(torch.frac),
    "exp2": Op(torch.exp2),
    "expm1": Op(torch.expm1),
    "log2": Op(torch.log2),
    "log10": Op(torch.log10),
    "log1p": Op(torch.log1p),
    "tan": Op(torch.tan),
    "asin": Op(torch.asin),
    "acos": Op(torch.acos),
    "atan": Op(torch.atan),
    "sinh": Op(torch.sinh),
    "cosh": Op(torch.cosh),
    "asinh": Op(torch.asinh),
    "acosh": Op(torch.acosh),
    "atanh": Op(torch.atanh),
    "erfc": Op(torch.erfc),
    "logsigmoid": Op(F.logsigmoid, loose=4),
    "relu6": Op(F.relu6, zeros=True),
    "hardtanh": Op(lambda x, a, b: F.hardtanh(x, a, b), min_val=d.choose(-1.0, -0.5, 0.0), max_val=d.choose(1.0, 2.5, 0.0), zeros=True),
    "leaky_relu": Op(F.leaky_relu, negative_slope=d.choose(0.01, 0.5, -2.0)),
    "elu": Op(F.elu, alpha=d.choose(1.0, 0.5), loose=4),
    "celu": Op(F.celu, alpha=d.choose(1.0, 0.5), loose=4),
    "selu": Op(F.selu, loose=8),
    "mish": Op(F.mish, loose=4),
    "softplus": Op(F.softplus, beta=d.choose(1.0, 2.0), threshold=d.choose(20.0, 1.0), loose=4),
    "softsign": Op(promoted(F.softsign, 1, True)),
    "hardsigmoid": Op(F.hardsigmoid, loose=4),
    "hardswish": Op(F.hardswish, loose=8),
    "softshrink": Op(F.softshrink, lambd=d.choose(0.5, 1.0, 0.0), zeros=True),
    "hardshrink": Op(F.hardshrink, lambd=d.choose(0.5, 1.0, 0.0), zeros=True),
    "threshold": Op(F.threshold, threshold=d.choose(0.0, 1.0, -2.0), value=d.choose(0.0, 3.0, -1.0), zeros=True),
    "isnan": Op(torch.isnan),
    "isinf": Op(torch.isinf),
    "isfinite": Op(torch.isfinite),
    "logical_not": Op(torch.logical_not),
    "bitwise_not": Op(torch.bitwise_not),
    "sinc": Op(promoted(torch.sinc, 1, True), loose=8),
    "nan_to_num": Op(lambda x, n, p, m: torch.nan_to_num(x, n, None if p == INF else p, None if m == -INF else m), nan=d.choose(0.0, 2.0), posinf=d.choose(INF, 3.0), neginf=d.choose(-INF, -3.0)),
    "erfinv": Op(torch.erfinv, loose=16),
    "logit": Op(promoted(lambda x, e: torch.logit(x, None if e < 0 else e), 1, True), eps=d.choose(-INF, 0.25, 0.0), loose=8),
    "fmod": Op(promoted(torch.fmod, 2, True), values="modest"),
    "remainder": Op(promoted(torch.remainder, 2, True), values="modest"),
    "floor_divide": Op(promoted(lambda a, b: torch.div(a, b, rounding_mode="floor"), 2, True), values="modest"),
    "trunc_divide": Op(promoted(lambda a, b: torch.div(a, b, rounding_mode="trunc"), 2, True), values="modest"),
    "fmax": Op(torch.fmax, zeros=True),
    "fmin": Op(torch.fmin, zeros=True),
    "atan2": Op(promoted(torch.atan2)),
    "hypot": Op(torch.hypot),
    "copysign": Op(torch.copysign),
    "logaddexp": Op(torch.logaddexp, loose=8),
    "xlogy": Op(promoted(torch.xlogy, 2, True), loose=4),
    "logical_and": Op(torch.logical_and),
    "logical_or": Op(torch.logical_or),
    "logical_xor": Op(torch.logical_xor),
    "bitwise_and": Op(torch.bitwise_and),
    "bitwise_or": Op(torch.bitwise_or),
    "bitwise_xor": Op(torch.bitwise_xor),
    "gcd": Op(divisors(torch.gcd, math.gcd)),
    "lcm": Op(divisors(torch.lcm, lambda a, b: math.lcm(a, b) if a and b else 0)),
    "bitwise_left_shift": Op(shifted(torch.bitwise_left_shift, False)),
    "bitwise_right_shift": Op(shifted(torch.bitwise_right_shift, True)),
    "heaviside": Op(torch.heaviside),
    "lerp": Op(promoted(torch.lerp, 3, True), loose=16),
    "addcmul": Op(promoted(lambda x, a, b, v: torch.addcmul(x, a, b, value=v if x.is_floating_point() else int(v)), 3, True), value=d.choose(1.0, 2.0, -1.0), values="modest"),
    "addcdiv": Op(promoted(lambda x, a, b, v: torch.addcdiv(x, a, b, value=v), 3, True), value=d.choose(1.0, 0.5, -2.0), values="modest", loose=16),
    "full_like": Op(lambda x, v, t: torch.empty_like(x.detach(), dtype=t).fill_(v), values="tame", value=d.fill_number),
    "masked_fill": Op(lambda x, m, v: x.masked_fill(m, v), values="tame", value=d.fill_number),
    "sum": Op(total(torch.sum)),
    "mean": Op(total(torch.mean)),
    "max": Op(extreme(torch.amax), values="ties", zeros=True),
    "min": Op(extreme(torch.amin), values="ties", zeros=True),
    "argmax": Op(arg(torch.argmax), values="ties", dim=lambda c: ALL if c.choices.chance(1, 3) else d.dim(c)),
    "argmin": Op(arg(torch.argmin), values="ties", dim=lambda c: ALL if c.choices.chance(1, 3) else d.dim(c)),
    "max_dim": Op(lambda x, n, k: tuple(torch.max(x, n, keepdim=k)), values="ties", zeros=True),
    "min_dim": Op(lambda x, n, k: tuple(torch.min(x, n, keepdim=k)), values="ties", zeros=True),
    "prod": Op(one_by_one(torch.prod), values="ties"),
    "any": Op(one_by_one(torch.any), values="ties"),
    "all": Op(one_by_one(torch.all), values="ties"),
    "count_nonzero": Op(count_nonzero, values="ties"),
    "var": Op(lambda x, n, k, c: torch.var(x, n or list(range(x.dim())), correction=c, keepdim=k)),
    "std": Op(lambda x, n, k, c: torch.std(x, n or list(range(x.dim())), correction=c, keepdim=k)),
    "logsumexp": Op(lambda x, n, k: torch.logsumexp(x, n or list(range(x.dim())) or 0, keepdim=k)),
    "norm": Op(lambda x, n, k, p: torch.norm(x, p, n, keepdim=k), p=d.choose(2.0, 1.0, 0.0, INF, -INF, 3.0, 0.5)),
    "cumsum": Op(either_way(torch.cumsum)),
    "cumprod": Op(either_way(torch.cumprod), values="ties"),
    "logcumsumexp": Op(either_way(torch.logcumsumexp)),
    "cummax": Op(lambda x, n: tuple(torch.cummax(x, n)), values="ties", zeros=True),
    "cummin": Op(lambda x, n: tuple(torch.cummin(x, n)), values="ties", zeros=True),
    "sort": Op(lambda x, n, t: tuple(torch.sort(x, dim=n, descending=bool(t), stable=True)), values="ties"),
    "argsort": Op(lambda x, n, t: torch.sort(x, dim=n, descending=bool(t), stable=True)[1], values="ties"),
    "topk": Op(topk, values="ties", k=d.some_of),
    "kthvalue": Op(picked(kth), values="ties", k=d.one_of),
    "median": Op(torch.median, values="ties", zeros=True),
    "median_dim": Op(picked(middle), values="ties", zeros=True),
    "mode": Op(mode, values="ties", zeros=True),
    "matmul": Op(torch.matmul, a=d.matrices, b=d.factor),
    "linear": Op(torch.nn.functional.linear, x=d.matrices, weight=d.layer, bias=d.layer_bias),
    "inverse": Op(rowwise(LA.inv), grows=condition, x=d.square, values="calm"),
    "solve": Op(rowwise(lambda a, b, t: LA.solve(a, b, left=bool(t))), grows=condition, a=d.square, b=d.other_side, left=d.choose(1, 0), values="calm"),
    "solve_triangular": Op(rowwise(lambda a, b, u, t, o: LA.solve_triangular(a, b, upper=u, left=bool(t), unitriangular=o)), a=d.square, b=d.other_side, left=d.choose(1, 0), values="calm"),
    "cholesky": Op(rowwise(lambda x, u: LA.cholesky(x, upper=u)), x=d.positive_definite, values="calm"),
    "det": Op(LA.det, x=d.square, values="calm"),
    "slogdet": Op(rowwise(slogdet), x=d.square, values="calm"),
    "cofactor": Op(rowwise(lambda x: LA.det(x)[..., None, None] * LA.inv(x).mT), x=d.square, values="calm", loose=64),
    "qr": Op(rowwise(LA.qr), x=d.rectangle, values="calm"),
    "eigh": Op(rowwise(eigh), x=d.symmetric, values="calm"),
    "svdvals": Op(LA.svdvals, x=d.rectangle, values="calm"),
    "svd": Op(rowwise(svd), x=d.rectangle, values="calm"),
    "log_softmax": Op(narrow_in_f32(torch.log_softmax)),
    "softmax": Op(torch.softmax),
    "mse_loss": Op(lambda x, t, r: F.mse_loss(x, t, reduction=REDUCTIONS[r])),
    "embedding": Op(embedding, weight=d.matrix, index=d.words, padding_idx=d.padding_row),
    "index_select": Op(torch.index_select, index=d.along),
    "index_add": Op(torch.index_add, index=d.along, source=d.along_source),
    "gather": Op(torch.gather, index=d.everywhere),
    "scatter_add": Op(torch.scatter_add, index=d.everywhere, source=d.no_smaller),
    "flip": Op(torch.flip, dims=d.different_dims),
    "roll": Op(lambda x, s, n: torch.roll(x, s, n or ()), shifts=lambda c: [c.choices.below(9) - 4 for _ in range(c.choices.pick([1, 1, 2]))], dims=d.as_many_dims),
    "repeat": Op(lambda x, s: x.repeat(s), sizes=d.repetitions),
    "repeat_interleave": Op(lambda x, n, m: torch.repeat_interleave(x, n, None if m == ALL else m), repeats=d.choose(2, 1, 3, 0), dim=lambda c: ALL if c.choices.chance(1, 3) else d.dim(c)),
    "tril": Op(torch.tril, diagonal=d.choose(0, 1, -1, 3)),
    "triu": Op(torch.triu, diagonal=d.choose(0, 1, -1, 3)),
    "diag_embed": Op(torch.diag_embed, offset=d.choose(0, 1, -2), dim0=d.new_dim, dim1=d.new_dim),
    "pad": Op(lambda x, p, m, v: F.pad(x, p, PADDINGS[m], v) if not m else F.pad(x, p, PADDINGS[m]), pads=d.pads, mode=d.padding, value=d.choose(0.0, 2.0, -1.0)),
    "index_copy": Op(torch.index_copy, index=d.along_once, source=d.along_source),
    "index_fill": Op(torch.index_fill, index=d.along, value=lambda c: [] if c.choices.chance(1, 2) else d.fitting_number(c)),
    "scatter": Op(torch.scatter, index=d.everywhere, source=lambda c: d.no_smaller(c) if c.choices.chance(2, 3) else d.fitting_number(c)),
    "index": Op(lambda x, i, n: torch.ops.aten.index(x, lists_of(i, n)), dims=d.picked_dims, indices=d.indices),
    "index_put": Op(index_put, dims=d.picked_dims, value=d.picked_value, indices=d.drawn_indices),
    "nonzero": Op(lambda x, n: as_due(torch.count_nonzero(x), n, torch.nonzero(x)), values="ties", sized=lambda c: int(torch.count_nonzero(c.tensor_of("x")))),
    "masked_select": Op(lambda x, m, n: as_due(torch.count_nonzero(m.expand(torch.broadcast_shapes(x.shape, m.shape))), n, torch.masked_select(x, m)), sized=d.trues),
    "masked_scatter": Op(lambda x, m, s: torch.masked_scatter(x, m, fitting(s, x)), source=d.places_to_fill),
    "bincount": Op(lambda x, w, n: as_due(-1 if w.dtype == torch.bool else max(n, int(x.max()) + 1 if len(x) else 0), n, torch.bincount(x, w, n).to(w.dtype)), x=lambda c: ([c.choices.pick([3, 5, 1, 0])], 4), weights=lambda c: list(c.tensor_of("x").shape), sized=lambda c: 4),
    "cat": Op(torch.cat, tensors=d.joined(False), dim=d.drawn_dim),
    "stack": Op(torch.stack, tensors=d.joined(True), dim=d.drawn_dim),
    "sgd_step_": Op(sgd_step, params=d.parameters, momenta=d.states, counts=d.counts, lr=d.rate, momentum=d.choose(0.5, 0.9), dampening=d.choose(0.0), weight_decay=d.choose(0.0, 0.25)),
    "adam_step_": Op(adam_step, params=d.parameters, means=d.states, squares=d.positive_states, greatest=d.maybe(d.positive_states), counts=d.counts, lr=d.rate, beta1=d.choose(0.5, 0.9), beta2=d.choose(0.75, 0.99), eps=d.choose(1e-8, 0.01), weight_decay=d.choose(0.0, 0.25)),
    "rmsprop_step_": Op(rmsprop_step, params=d.parameters, squares=d.positive_states, momenta=d.states, means=d.maybe(d.small_states), counts=d.counts, lr=d.rate, alpha=d.choose(0.5, 0.99), eps=d.choose(1e-8, 0.01), momentum=d.choose(0.0, 0.9), weight_decay=d.choose(0.0, 0.25)),
    "adagrad_step_": Op(adagrad_step, params=d.parameters, sums=d.positive_states, counts=d.counts, lr=d.rate, lr_decay=d.choose(0.0, 0.5), eps=d.choose(1e-10, 0.01), weight_decay=d.choose(0.0, 0.25)),
    "lion_step_": Op(lion_step, params=d.parameters, means=d.states, counts=d.counts, lr=d.rate, beta1=d.choose(0.5, 0.875), beta2=d.choose(0.75, 0.99), weight_decay=d.choose(0.0, 0.25)),
    "clip_grad_norm_": Op(clip_grad_norm, params=d.parameters, max_norm=d.choose(0.5, 1.0, 8.0), norm_type=d.choose(2.0, INF, 1.0, 3.0)),
    "clip_grad_value_": Op(clip_grad_value, params=d.parameters, clip_value=d.choose(0.5, 1.0, 3.0)),
    "unscale_grads_": Op(unscale_grads, params=d.parameters, scale=lambda c: c.case.leaf("f64", [], [c.choices.pick([4, 65536, 0.5])])),
    "ema_step_": Op(ema_step, params=d.parameters, averages=d.states, decay=d.choose(0.5, 0.99, 1.0, 0.0)),
    "bernoulli": Op(torch.bernoulli, values="inside"),
    "multinomial": Op(lambda w, n, r: torch.multinomial(w, n, bool(r)), values="inside", weights=d.weights, count=d.choose(1, 2, 3, 0)),
    "poisson": Op(torch.poisson, values="inside"),
    "i0": Op(torch.i0),
    "i1": Op(torch.special.i1),
    "lgamma": Op(torch.lgamma),
    "digamma": Op(torch.digamma),
    "polygamma": Op(torch.polygamma, n=d.choose(1, 2, 0, 3, -1)),
    "logaddexp2": Op(torch.logaddexp2, loose=8),
    "searchsorted": Op(lambda s, v, r: torch.searchsorted(s, v, right=bool(r)), sorted=d.rising, wanted=d.searched),
    "histc": Op(torch.histc, values="modest", bins=d.choose(4, 1, 7, 0), min=d.choose(0.0, -1.0, 0.5), max=d.choose(0.0, 2.0, 3.0)),
    "scatter_reduce": Op(lambda x, n, i, s, r, k: torch.scatter_reduce(x, n, i, s, BRINGINGS[r], include_self=bool(k)), index=d.everywhere, source=d.brought, reduce=d.choose(0, 1, 2, 3, 4), include_self=d.choose(1, 0), values="ties", zeros=True),
    "cross_entropy": Op(lambda x, t, w, i, r, e: F.cross_entropy(x, t, w, ignore_index=i, reduction=REDUCTIONS[r], label_smoothing=e), x=d.logits, target=d.classes, weight=d.class_weights, ignore_index=d.choose(-100, 1), label_smoothing=d.choose(0.0, 0.25, 1.0)),
    "nll_loss": Op(lambda x, t, w, i, r: F.nll_loss(x, t, w, ignore_index=i, reduction=REDUCTIONS[r]), x=d.logits, target=d.classes, weight=d.class_weights, ignore_index=d.choose(-100, 1)),
    "bce": Op(bce, values="chances", loose=4096),
    "attention": Op(attention, grows=exponents, query=d.queries, key=d.keys, value=d.weighed, mask=d.added, scale=d.choose(0.0, 0.5)),
    "attention_back": Op(attention_back, grows=exponents, g=d.upstream, query=d.of_upstream, key=d.keys, value=d.weighed_back, y=d.same_shape, logsumexp=d.of_rows, mask=d.added, scale=d.choose(0.0, 0.5)),
    "layer_norm": Op(in_wide(F.layer_norm), grows=scaled_up, x=d.some_rows, normalized_shape=d.last_sizes, weight=d.affine, bias=d.affine, eps=d.choose(1e-5, 0.25)),
    "rms_norm": Op(in_wide(rms_norm), grows=scaled_up, x=d.some_rows, normalized_shape=d.last_sizes, weight=d.affine, eps=d.choose(-1.0, 0.25)),
    "strided_read": Op(window, content=d.window_content, shape=d.window_shape, stride=d.window_stride, offset=d.window_offset),
    "strided_write": Op(lambda x, v, s, t, o: window(x, s, t, o, lambda w: w.copy_(v) if torch.is_tensor(v) else w.fill_(v)), values="tame", content=d.window_content, value=d.fitting_number, shape=d.window_shape, stride=d.window_stride, offset=d.window_offset),
    "strided_add": Op(lambda x, v, s, t, o: window(x, s, t, o, lambda w: w.add_(v)), content=d.window_content, value=d.fitting_number, shape=d.window_shape, stride=d.window_stride, offset=d.window_offset),
    "conv1d": Op(conv(F.conv1d), **windows(1)),
    "conv2d": Op(conv(F.conv2d), **windows(2)),
    "conv3d": Op(conv(F.conv3d), **windows(3)),
    "conv_transpose1d": Op(conv_transpose(F.conv_transpose1d), **windows(1, True)),
    "conv_transpose2d": Op(conv_transpose(F.conv_transpose2d), **windows(2, True)),
    "conv_transpose3d": Op(conv_transpose(F.conv_transpose3d), **windows(3, True)),
    "conv_weight": Op(conv_weight, x=d.any_images, g=d.for_windows, kernel_size=d.some_kernel, groups=d.some_groups, stride=d.choose(None, [1], [2]), padding=d.choose(None, [0], [1]), dilation=d.choose(None, [1], [2])),
    "max_pool1d": Op(max_pool(1), values="ties", zeros=True, **pools(1)),
    "max_pool2d": Op(max_pool(2), values="ties", zeros=True, **pools(2)),
    "max_pool3d": Op(max_pool(3), values="ties", zeros=True, **pools(3)),
    "avg_pool1d": Op(avg_pool(1), **averages(1)),
    "avg_pool2d": Op(avg_pool(2), **averages(2)),
    "avg_pool3d": Op(avg_pool(3), **averages(3)),
    "avg_pool_back": Op(avg_pool_back, g=d.any_images, size=d.before_pool, kernel_size=d.pool_kernel, stride=d.pool_stride, padding=d.pool_padding, ceil_mode=d.choose(False), count_include_pad=d.choose(1, 0), divisor_override=d.choose(0, 0, 3), adaptive=d.choose(False, True)),
    "adaptive_avg_pool1d": Op(adaptive_avg_pool(1), x=d.images(1), output_size=d.parts_of(1)),
    "adaptive_avg_pool2d": Op(adaptive_avg_pool(2), x=d.images(2), output_size=d.parts_of(2)),
    "adaptive_avg_pool3d": Op(adaptive_avg_pool(3), x=d.images(3), output_size=d.parts_of(3)),
    "adaptive_max_pool1d": Op(adaptive_max_pool(1), values="ties", zeros=True, x=d.images(1), output_size=d.parts_of(1)),
    "adaptive_max_pool2d": Op(adaptive_max_pool(2), values="ties", zeros=True, x=d.images(2), output_size=d.parts_of(2)),
    "adaptive_max_pool3d": Op(adaptive_max_pool(3), values="ties", zeros=True, x=d.images(3), output_size=d.parts_of(3)),
}
MADE = {row["name"]: (row, op) for row, op in made.entries(Op)}
IN_PLACE = {name + "_": made.in_place_of(ROWS[name], OPS[name]) for name in ROWS if ROWS[name]["in_place"] and name in OPS and
            ROWS[name]["params"][0]["kind"] == "IN"}
IN_PLACE.update({name + "_": made.in_place_of(*MADE[name]) for name in made.WRITTEN})
IN_PLACE.update({name + "_": made.view_in_place_of(ROWS[name], OPS[name])
                 for name in ("squeeze", "unsqueeze", "transpose", "t", "as_strided")})
for name, (row, op) in [*MADE.items(), *IN_PLACE.items()]:
    ROWS[name], OPS[name] = row, op
TORCH = {name: op.function for name, op in OPS.items()}
