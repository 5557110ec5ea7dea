"""How arguments are drawn. Each takes the call being drawn (calls.Call) and gives one argument; for a parameter that is
a tensor a shape will do, for an index a pair of its shape and of the size that it stands for.

SPDX-License-Identifier: Apache-2.0
"""
import math

import torch

from case import DTYPES, Name, Num


def some_shape(c, rank_max=4):
    """Small; now and then empty, or long enough for a vector and a rest."""
    rank = c.choices.pick([1, 2, 0, 3, 2, 4][:rank_max + 2])
    shape = [c.choices.pick([2, 3, 1, 4, 2, 3, 5, 0]) for _ in range(min(rank, rank_max))]
    if rank == 1 and c.choices.chance(1, 4):
        shape = [c.choices.pick([7, 9, 17, 33])]
    if rank == 4 and c.choices.chance(1, 6):
        shape = [c.choices.pick([1, 2]) for _ in range(c.choices.pick([1, 2, 4, 3]))] + shape  # up to eight
    return shape


def fewer(c, shape):
    """What broadcasts to shape; rarely something that does not."""
    gone = c.choices.pick([0, 0, 0, 1, len(shape)])
    part = [1 if c.choices.chance(1, 5) else n for n in shape[gone:]]
    if part and c.choices.chance(1, 30):
        part[c.choices.below(len(part))] += 1
    return part


def dim(c, more=0):
    rank = c.rank + more
    if c.choices.chance(1, 16):
        return c.choices.pick([rank, -rank - 1])
    return c.choices.below(rank) - (rank if c.choices.chance(1, 2) else 0) if rank else c.choices.pick([0, -1])


def new_dim(c):
    return dim(c, 1)


def some_dims(c):
    """Some of the dimensions, or None for all."""
    if c.choices.chance(1, 3):
        return None
    dims = [d - (c.rank if c.choices.chance(1, 3) else 0) for d in range(c.rank) if c.choices.chance(1, 2)]
    if dims and c.choices.chance(1, 20):
        dims.append(c.choices.pick([dims[0], c.rank]))
    return dims


def permutation(c):
    rest, order = list(range(c.rank)), []
    while rest:
        order.append(rest.pop(c.choices.below(len(rest))))
    if order and c.choices.chance(1, 16):
        order[0] = c.choices.pick([order[-1], c.rank])
    return [d - c.rank if c.choices.chance(1, 4) else d for d in order]


def moved(c):
    """Some of the dimensions, each once, as a rule."""
    return [n for n in permutation(c) if c.choices.chance(1, 2)]


def places_moved_to(c):
    count = len(c.arguments["source"]) + c.choices.chance(1, 20)
    return permutation(c)[:count]


def factors(c):
    """Sizes that multiply to that of the dimension drawn before."""
    n = size_of(c, c.arguments["dim"])
    a = c.choices.pick([a for a in range(1, n + 1) if n % a == 0] or [1])
    sizes = c.choices.pick([[a, n // a], [n], [-1, a], [a, 1, -1], [n // a, a]])
    if c.choices.chance(1, 20):
        sizes.append(2)
    return sizes


def different_dims(c):
    return moved(c)


def as_many_dims(c):
    n = len(c.arguments["shifts"])
    return [dim(c) for _ in range(n)] if n > 1 or c.choices.chance(1, 2) else None


def repetitions(c):
    return [c.choices.pick([2, 1, 3, 0]) for _ in range(c.rank + c.choices.pick([0, 0, 1]) - c.choices.chance(1, 20))]


def pads(c):
    """Those that torch reflects and goes round with, of two or three dimensions; else any."""
    some = [1, 0, 2, 1] if 2 <= c.rank <= 3 and c.choices.chance(1, 2) else [1, 0, 2, -1]
    count = c.choices.below(c.rank + 1) if min(some) < 0 else c.rank - 1
    return [c.choices.pick(some) for _ in range(2 * count)]


def padding(c):
    """torch has the other modes for the last dimensions of two or three."""
    given = c.arguments["pads"]
    return c.choices.pick([1, 2, 3]) if 2 <= c.rank <= 3 and len(given) == 2 * c.rank - 2 and min(given) >= 0 else 0


def along_once(c):
    """A row of different places, most of the time all."""
    return along(c)


def some_matrix(c):
    return some_shape(c, 2 + c.choices.chance(1, 16))


def reshaped(c):
    """Another shape of as many elements."""
    count = 1
    for n in c.shape:
        count *= n
    if c.choices.chance(1, 20):
        count += 1
    shape = [n for n in c.shape] if c.choices.chance(1, 3) else []
    if not shape:
        rest = count
        while rest > 1 and len(shape) < 5 and c.choices.chance(2, 3):
            divisors = [d for d in range(1, rest + 1) if rest % d == 0]
            shape.append(c.choices.pick(divisors))
            rest //= shape[-1]
        if rest != 1 or c.choices.chance(1, 4):
            shape.append(rest)
        if count == 0 and c.choices.chance(1, 2):
            shape.append(c.choices.pick([2, 1, 0]))
    if shape and c.choices.chance(1, 4):
        shape[c.choices.below(len(shape))] = -1
    return shape


def expanded(c):
    shape = [c.choices.pick([2, 1, 3, 0]) for _ in range(c.choices.pick([0, 1, 2]))]
    shape += [-1 if c.choices.chance(1, 4) else c.choices.pick([3, 1, 2]) if n == 1 else n for n in c.shape]
    if shape and c.choices.chance(1, 16):
        shape[-1] += 2
    return shape


def size_of(c, d):
    return c.shape[d] if -c.rank <= d < c.rank and c.rank else 1


def place(c):
    """An index into the dimension drawn before, or from its end."""
    n = size_of(c, c.arguments.get("dim", 0))
    return c.choices.below(2 * n) - n if n and not c.choices.chance(1, 12) else c.choices.pick([n, -n - 1])


def bound(c):
    n = size_of(c, c.arguments.get("dim", 0))
    return c.choices.below(2 * n + 6) - n - 3


def far_bound(c):
    return 2**63 - 1 if c.choices.chance(1, 4) else bound(c)


def some_step(c):
    return c.choices.pick([1, 2, 3, 1, 7]) if not c.choices.chance(1, 30) else c.choices.pick([0, -1])


def length(c):
    n = size_of(c, c.arguments.get("dim", 0))
    start = c.arguments.get("start", 0)
    return c.choices.below(max(n - (start if start >= 0 else start + n), 0) + 1) + c.choices.chance(1, 12)


def size(c):
    return c.choices.pick([2, 3, 1, 0, 5]) if not c.choices.chance(1, 30) else -2


def some_of(c):
    """How many, where the dimension is not known yet."""
    return c.choices.below(min(c.shape, default=1) + 1) + c.choices.chance(1, 12)


def one_of(c):
    """Which, from 1."""
    return max(some_of(c), int(not c.choices.chance(1, 30)))


def sides(c):
    return -1 if c.choices.chance(1, 2) else size(c)


def some_number(c):
    return Num(c.choices.pick([1, 2, 0, -1, 3, 2.5, True, 0.5, -2, -0.25, 1.0, False]))


def any_number(c):
    special = [float("nan"), float("inf"), float("-inf"), -0.0, 1e30]
    return Num(c.choices.pick(special)) if c.choices.chance(1, 6) else some_number(c)


def fitting_number(c):
    """One that needs no conversion to a higher category."""
    some = {"bool": [True, False], "i32": [1, -3], "i64": [1, -3]}
    return Num(c.choices.pick(some.get(c.dtype, [1, 2.5])))


def fill_number(c):
    """A number, or a tensor without dimensions."""
    return some_number(c) if c.choices.chance(2, 3) else []


def range_number(c):
    return Num(c.choices.pick([0, 1, 5, -3, 2.5, 0.25, -1.5, 10]))


def range_step(c):
    return Num(c.choices.pick([1, 2, -1, 3, 0.5, -0.75, 0]))


def real_bound(c):
    return c.choices.pick([0.0, 1.0, -1.0, 0.5, -2.0, 3.0, float("inf"), float("-inf")])


def probability(c):
    return c.choices.pick([0.0, 0.5, 1.0, 0.25])


def choose(*some):
    return lambda c: c.choices.pick(list(some))


def wide_dtype(c):
    return c.choices.pick(["f32", "f64"])


def dtype_of_that_size(c):
    of_size = [["bool"], ["u8", "i8"], ["i16", "f16", "bf16"], ["i32", "f32"], ["i64", "f64"]]
    return c.choices.pick(next(names for names in of_size if c.dtype in names))


def some_dtype(c):
    return c.choices.pick(list(DTYPES))


def dtype_or_none(c):
    return None if c.choices.chance(1, 2) else some_dtype(c)


# ---- shapes of tensors that belong together ----

def matrices(c):
    """The first factor: a vector, a matrix, or a batch."""
    rank = c.choices.pick([2, 2, 1, 3, 4, 0] if c.choices.chance(1, 8) else [2, 2, 1, 3, 4])
    return [c.choices.pick([2, 3, 1, 4, 0, 5]) for _ in range(rank)]


def factor(c):
    inner = c.shape[-1] if c.rank else 2
    if c.choices.chance(1, 30):
        inner += 1
    if c.choices.chance(1, 5):
        return [inner]
    return (fewer(c, c.shape[:-2]) if c.choices.chance(3, 4) else []) + [inner, c.choices.pick([2, 3, 1, 0, 4])]


def layer(c):
    """The weight of a layer: (out, in)."""
    inner = (c.shape[-1] if c.rank else 2) + c.choices.chance(1, 30)
    return [inner] if c.choices.chance(1, 8) else [c.choices.pick([2, 3, 1, 0, 4]), inner]


def layer_bias(c):
    """Its bias (out), or none."""
    weight = list(c.tensor_of("weight").shape)
    return None if c.choices.chance(1, 2) else weight[:-1]


def along(c):
    """A row of places along the dimension drawn before."""
    d = c.arguments.get("dim", 0)
    shape = [] if c.rank == 0 or c.choices.chance(1, 8) else [c.choices.pick([2, 3, 1, 0, 5])]
    return shape, size_of(c, d)


def along_source(c):
    """The source that index_add takes with its index."""
    d = c.arguments["dim"]
    shape = list(c.shape)
    if c.rank and -c.rank <= d < c.rank:
        shape[d] = c.tensor_of("index").numel()
    return shape


def everywhere(c):
    """An index of x's rank, no greater than it but along the dimension drawn before."""
    d = c.arguments["dim"]
    shape = [n - (n > 0 and c.choices.chance(1, 3)) for n in c.shape]
    if c.rank and -c.rank <= d < c.rank:
        shape[d] = c.choices.pick([2, 1, 3, 0, 5])
    return shape, size_of(c, d)


def no_smaller(c):
    return [n + c.choices.below(2) for n in c.tensor_of("index").shape]


def brought(c):
    """A source of scatter_reduce. torch's gradients are of one as large as the index only, but for sums and means."""
    return no_smaller(c) if c.arguments["reduce"] in (0, 2) else list(c.tensor_of("index").shape)


def words(c):
    return c.choices.pick([[3], [2, 2], [], [0], [2, 1, 2]]), c.shape[0]


def padding_row(c):
    return -2**63 if c.choices.chance(1, 2) or c.dtype == "bool" else c.choices.pick([0, -1, 1])


def matrix(c):
    return [c.choices.pick([3, 2, 1, 5, 0]), c.choices.pick([2, 3, 1, 0])]


def logits(c):
    """(n, classes), often with more dimensions, or (classes)."""
    shape = [c.choices.pick([3, 2, 1, 5, 0]), c.choices.pick([2, 3, 1, 4])]
    more = [c.choices.pick([2, 1, 3]) for _ in range(c.choices.pick([0, 0, 1, 2]))]
    return shape[1:] if c.choices.chance(1, 6) else shape + more


def classes(c):
    if not c.rank:
        return [], 2
    at = int(c.rank > 1)
    return c.shape[:at] + c.shape[at + 1:] + ([1] if c.choices.chance(1, 40) else []), c.shape[at]


def class_weights(c):
    """Of any but the first classes' number, rarely; torch has no gradient for them."""
    size = c.shape[int(c.rank > 1)] if c.rank else 1

    def values(shape):
        return [c.choices.pick([1, 2, 0.5, 0.25, 3, 0]) for _ in range(math.prod(shape))]
    return None if c.choices.chance(1, 2) else c.tensor([size + c.choices.chance(1, 40)], c.dtype_beside(), make=values)


def queries(c):
    if c.choices.chance(1, 30):
        return some_shape(c)
    return [c.choices.pick([2, 3, 1])] * c.choices.pick([0, 1, 2]) + [c.choices.pick([2, 3, 1, 5, 0]), c.choices.pick([2, 4, 1, 0])]


def upstream(c):
    c.value_width = c.choices.pick([2, 3, 1, 0])
    return [c.choices.pick([2, 3, 1])] * c.choices.pick([0, 1, 2]) + [c.choices.pick([2, 3, 1, 5, 0]), c.value_width]


def of_upstream(c):
    c.width = c.choices.pick([2, 4, 1, 0])
    return c.shape[:-1] + [c.width + c.choices.chance(1, 60)]


def keys(c):
    c.length = c.choices.pick([2, 3, 1, 5, 0])
    return fewer(c, c.shape[:-2]) + [c.length, getattr(c, "width", c.shape[-1] if c.rank else 1) + c.choices.chance(1, 40)]


def weighed(c):
    return fewer(c, c.shape[:-2]) + [c.length + c.choices.chance(1, 40), c.choices.pick([2, 3, 1, 0])]


def weighed_back(c):
    return fewer(c, c.shape[:-2]) + [c.length, c.value_width + c.choices.chance(1, 40)]


def same_shape(c):
    return c.shape + ([1] if c.choices.chance(1, 40) else [])


def of_rows(c):
    return c.shape[:-1]


def added(c):
    """To scores; what is -inf is not seen."""
    if c.choices.chance(1, 2) or c.rank < 2:
        return None
    dtype = c.dtype_beside()

    def values(shape):
        found = c.values(dtype, shape)
        return [-math.inf if DTYPES[dtype].is_floating_point and c.choices.chance(1, 4) else x for x in found]
    return c.tensor(fewer(c, c.shape[:-1] + [c.length]), dtype, True, make=values)


def some_rows(c):
    return some_shape(c) if c.choices.chance(1, 16) else [c.choices.pick([2, 3, 1, 0])] * c.choices.pick([0, 1, 2]) + [c.choices.pick([2, 3, 5, 17, 1, 0])]


def last_sizes(c):
    some = c.shape[c.choices.below(c.rank):] if c.rank else [1]
    return some[:-1] + [some[-1] + c.choices.chance(1, 30)]


def affine(c):
    shape = list(c.arguments["normalized_shape"])
    return None if c.choices.chance(1, 2) else shape + ([1] if c.choices.chance(1, 40) else [])


def beside(c):
    return fewer(c, c.shape)


def joined(more):
    """A list of tensors for cat (more: False) or stack."""
    def draw(c):
        first = some_shape(c, 3)
        d = dim_of_list(c, first, more)
        names = []
        for _ in range(c.choices.pick([2, 1, 3, 4])):
            shape = list(first)
            if not more and shape and -len(shape) <= d < len(shape):
                shape[d] = c.choices.pick([2, 1, 3, 0])
            if c.choices.chance(1, 24):
                shape = some_shape(c, 3)
            if not more and c.choices.chance(1, 16):
                shape = [0]
            names.append(c.tensor(shape, c.dtype_beside(), grad=True))
        c.arguments["dim"] = d
        return names
    return draw


def dim_of_list(c, shape, more):
    c.shape = shape
    return dim(c, int(more))


def drawn_dim(c):
    return c.arguments["dim"]


def window_content(c):
    return [c.choices.pick([24, 27, 40])]


def window_shape(c):
    return [c.choices.pick([2, 3, 1, 0]) for _ in range(c.choices.pick([1, 2, 0]))]


def window_sizes(c):
    return c.arguments["shape" if "shape" in c.arguments else "size"]


def window_stride(c):
    """Strides without overlap: each is the room that the dimensions behind it take, or a bit more."""
    room, strides = 1, []
    for n in reversed(window_sizes(c)):
        strides.insert(0, room + c.choices.below(2) if n > 1 else 1)
        room = max(room, strides[0] * (n - 1) + 1 if n else 1)
    return strides


def window_offset(c):
    shape, strides = window_sizes(c), c.arguments["stride"]
    last = sum(max(n - 1, 0) * t for n, t in zip(shape, strides))
    return c.choices.below(max(c.shape[0] - last, 1))


# ---- linear algebra ----

def batch_of_matrices(c, rows, columns):
    return [c.choices.pick([2, 1, 3, 0]) for _ in range(c.choices.pick([0, 0, 1, 2]))] + [rows, columns]


def square(c, strong=True):
    """Matrices far from singular: the greatest element of each row is on the diagonal; now and then something else."""
    n = c.choices.pick([2, 3, 1, 4, 0, 5])
    shape = batch_of_matrices(c, n, n + (c.choices.below(2) if c.choices.chance(1, 20) else 0))
    if c.choices.chance(1, 40):
        shape = shape[-1:]
    c.shape = shape
    x = c.tensor(shape, c.dtype, True)
    if len(shape) < 2 or not DTYPES[c.dtype].is_floating_point or not strong or c.choices.chance(1, 12):
        return x
    c.shape = shape
    diagonal = [c.choices.pick([8, -8, 9, 10]) for _ in range(shape[-1])]
    rows = [diagonal[i] if i == j else 0 for i in range(shape[-2]) for j in range(shape[-1])]
    return c.case.call("add", x, c.case.leaf(c.dtype, shape[-2:], rows))[0]


def positive_definite(c):
    """Symmetric, and as strong on the diagonal; rarely not so."""
    x = square(c, False)
    if len(c.shape) < 2 or c.shape[-1] != c.shape[-2] or not DTYPES[c.dtype].is_floating_point:
        return x
    n = c.shape[-1]
    rows = [(c.choices.pick([12, 15, 9]) if c.choices.chance(15, 16) else -3) if i == j else 0
            for i in range(n) for j in range(n)]
    both = c.case.call("add", x, c.case.call("transpose", x, -2, -1)[0])[0]
    return c.case.call("add", both, c.case.leaf(c.dtype, [n, n], rows))[0]


def symmetric(c):
    """With eigenvalues that are apart: no sum of a row's other elements reaches the next diagonal element."""
    n = c.choices.pick([2, 3, 1, 4, 0])
    c.shape = batch_of_matrices(c, n, n + (c.choices.below(2) if c.choices.chance(1, 20) else 0))
    x = c.tensor(c.shape, c.dtype, True)
    if c.shape[-1] != n or not DTYPES[c.dtype].is_floating_point:
        return x
    both = c.case.call("add", x, c.case.call("transpose", x, -2, -1)[0])[0]
    rows = [8 * (i + 1) * (-1) ** i if i == j else 0 for i in range(n) for j in range(n)]
    return c.case.call("add", both, c.case.leaf(c.dtype, [n, n], rows))[0]


def rectangle(c):
    """Matrices of full rank, with singular values that are apart."""
    m, n = c.choices.pick([2, 3, 1, 4, 0]), c.choices.pick([2, 3, 1, 4, 0])
    c.shape = batch_of_matrices(c, m, n)
    x = c.tensor(c.shape, c.dtype, True)
    if not DTYPES[c.dtype].is_floating_point:
        return x
    rows = [8 * (i + 1) * (-1) ** i if i == j else 0 for i in range(m) for j in range(n)]
    return c.case.call("add", x, c.case.leaf(c.dtype, [m, n], rows))[0]


def other_side(c):
    """What stands on the other side of an equation with the matrices drawn before."""
    n, left = c.shape[-1] + c.choices.chance(1, 24), c.arguments["left"]
    if c.row["name"] == "solve" and left and c.choices.chance(1, 4):
        return [n] if c.choices.chance(1, 2) else c.shape[:-2] + [n]
    more = c.choices.pick([1, 2, 3, 0])
    batch = fewer(c, c.shape[:-2]) if c.choices.chance(3, 4) else [2] + c.shape[:-2]
    return batch + ([n, more] if left else [more, n])


# ---- steps ----

def parameters(c):
    """Parameters, most with a gradient, and as many states for each list."""
    c.dtype = wide_dtype(c)
    c.parameter_shapes = [some_shape(c, 2) for _ in range(c.choices.pick([1, 2, 0]))]
    names = []
    for shape in c.parameter_shapes:
        name = c.case.leaf(c.dtype, shape, c.values(c.dtype, shape), True)
        if not c.choices.chance(1, 5):
            [y] = c.case.call("mul", name, c.case.leaf(c.dtype, shape, c.values(c.dtype, shape)))
            c.case.backward(y, c.case.leaf(c.dtype, shape, c.values(c.dtype, shape)))
        names.append(name)
    return names


def states(c):
    return [c.case.leaf(c.dtype, shape, c.values(c.dtype, shape)) for shape in c.parameter_shapes]


def positive_states(c):
    return [c.case.leaf(c.dtype, shape, [abs(v) for v in c.values(c.dtype, shape)]) for shape in c.parameter_shapes]


def small_states(c):
    """Means whose squares stay below the squares drawn before."""
    squares = [c.case.tensors[name].flatten().tolist() for name in c.arguments["squares"]]
    return [c.case.leaf(c.dtype, shape, [c.choices.pick([0, 0.25, -0.25]) * min(v, 1) for v in values])
            for shape, values in zip(c.parameter_shapes, squares)]


def maybe(states):
    """A list of states, or an empty one."""
    return lambda c: states(c) if c.choices.below(2) else []


def counts(c):
    n = len(c.parameter_shapes)
    return c.case.leaf("i64", [n], [c.choices.below(3) for _ in range(n)])


def rate(c):
    return c.case.leaf("f64", [], [0.125])


# ---- searches ----

def rising(c):
    """Rows that rise, as a leaf."""
    c.shape = shape = some_shape(c, 3) or ([] if c.choices.chance(1, 12) else [4])
    values = c.values(c.dtype, shape)
    width = shape[-1] if shape else 1
    rows = [sorted(values[k * width:(k + 1) * width], key=lambda v: (v != v, v)) for k in range(len(values) // width if width else 0)]
    return Name(c.case.leaf(c.dtype, shape, [v for row in rows for v in row]))


def searched(c):
    """Rows of values for each of those; any shape for a single one."""
    if c.rank == 1:
        return fitting_number(c) if c.choices.chance(1, 6) else some_shape(c, 3)
    return c.shape[:-1] + [c.choices.pick([3, 1, 0])] + [2] * c.choices.chance(1, 20) if c.rank else some_shape(c, 1)


def weights(c):
    return c.choices.pick([[4], [2, 3], [3, 1], [1, 5], [7], [2, 0], [2, 2, 2], []])
# ---- lists of indices, and sizes ----

def picked_dims(c):
    """Some dimensions, rising."""
    dims = [n for n in range(c.rank) if c.choices.chance(1, 2)]
    return dims or [c.choices.below(c.rank)] if c.rank else []


def indices(c):
    """For each of these dimensions a list, which are broadcast together."""
    own = c.choices.pick([[2], [3], [2, 2], [], [1], [0]])
    names = []
    for n in c.arguments["dims"]:
        shape = own if not names else fewer(c, own)
        limit = c.shape[n]

        def make(shape, limit=limit):
            count = 1
            for size in shape:
                count *= size
            found = [c.choices.below(2 * limit) - limit if limit else 0 for _ in range(count)]
            if found and c.choices.chance(1, 24):
                found[c.choices.below(count)] = c.choices.pick([limit, -limit - 1])
            return found
        names.append(c.tensor(shape, "i64", make=make))
    return names


def drawn_indices(c):
    return c.arguments["indices"]


def twice(x, dims, lists):
    """Whether a place is picked more than once."""
    picked = torch.stack([one.remainder(x.shape[n] or 1).expand(torch.broadcast_shapes(*[k.shape for k in lists])).flatten()
                          for n, one in zip(dims, lists)])
    return picked.unique(dim=1).shape[1] < picked.shape[1]


def picked_value(c):
    """What index would give has its shape, or one that is broadcast to it: the indices are drawn first."""
    c.arguments["indices"] = indices(c)
    if c.choices.chance(1, 3):
        return fitting_number(c)
    x, dims = c.tensor_of("x"), c.arguments["dims"]
    lists = [c.case.tensors[name] for name in c.arguments["indices"]]
    try:
        own = list(torch.broadcast_shapes(*[one.shape for one in lists]))
        if not c.arguments["accumulate"] and twice(x, dims, lists):
            return []  # which of two values stays is not said
        front = dims[0] if dims[-1] - dims[0] == len(dims) - 1 else 0
        rest = [n for k, n in enumerate(x.shape) if k not in dims]
        shape = rest[:front] + own + rest[front:]
    except (IndexError, RuntimeError):
        return []
    return fewer(c, shape)


def size_due(c):
    """How many elements there are, most of the time."""
    return c.op.sized(c) + (1 if c.choices.chance(1, 16) else 0)


def trues(c):
    x, mask = c.tensor_of("x"), c.tensor_of("mask")
    try:
        return int((mask & (x == x).logical_or(x != x)).sum())
    except RuntimeError:
        return 0


def places_to_fill(c):
    """As many as x has, or a few less."""
    return [max(0, c.tensor_of("x").numel() + c.choices.below(3) - c.choices.below(2))]


# ---- windows ----

def image(rank):
    """A batch of images with channels, or one."""
    def draw(c):
        batch = [c.choices.pick([2, 1, 2, 3, 0])] if c.choices.chance(3, 4) else []
        shape = batch + [c.choices.pick([2, 1, 4, 3])] + [c.choices.pick([4, 3, 5, 2, 6]) for _ in range(rank)]
        return shape[1:] if c.choices.chance(1, 40) else shape
    return draw


def each(rank, *some):
    """A size for each dimension, one for all, or none."""
    def draw(c):
        count = c.choices.pick([rank, 1, rank]) + c.choices.chance(1, 40)
        return None if c.choices.chance(1, 3) else [c.choices.pick(list(some)) for _ in range(count)]
    return draw


def some_groups(c):
    channels = c.shape[-c.image_rank - 1] if c.rank > c.image_rank else 1
    return c.choices.pick([1, 1] + [n for n in (2, 3, 4) if channels % n == 0 or c.choices.chance(1, 20)])


def images(rank):
    def draw(c):
        c.image_rank = rank
        return image(rank)(c)
    return draw


def filters(transposed):
    def draw(c):
        groups, channels = c.arguments["groups"], c.shape[-c.image_rank - 1] if c.rank > c.image_rank else 1
        made = c.choices.pick([1, 2, 3])
        shape = [channels, made] if transposed else [groups * made, channels // groups]
        if c.choices.chance(1, 30):
            shape[c.choices.below(2)] += 1
        return shape + [c.choices.pick([2, 1, 3, 2]) for _ in range(c.image_rank)]
    return draw


def filter_bias(transposed):
    def draw(c):
        weight = c.tensor_of("weight").shape
        out = weight[1] * c.arguments["groups"] if transposed else weight[0]
        return None if c.choices.chance(1, 2) else [out + c.choices.chance(1, 30)]
    return draw


def some_kernel(c):
    return [c.choices.pick([2, 1, 3]) for _ in range(c.image_rank)]


def any_images(c):
    c.image_rank = c.choices.pick([2, 1, 3])
    return [c.choices.pick([2, 1, 3, 0]), c.choices.pick([2, 4, 1])] + [c.choices.pick([4, 3, 5]) for _ in range(c.image_rank)]


def for_windows(c):
    """What comes of x by convolution with filters of kernel_size."""
    def of(name, d, otherwise):
        sizes = c.arguments[name]
        return otherwise if sizes is None else sizes[d if d < len(sizes) else 0]
    counts = []
    for d, kernel in enumerate(c.arguments["kernel_size"]):
        reach = of("dilation", d, 1) * (kernel - 1) + 1
        counts.append(max((c.shape[2 + d] + 2 * of("padding", d, 0) - reach) // of("stride", d, 1) + 1, 1))
    return [c.shape[0], c.arguments["groups"] * c.choices.pick([1, 2])] + counts


def some_window(c):
    count = c.choices.pick([c.image_rank, 1, c.image_rank]) + c.choices.chance(1, 40)
    return [c.choices.pick([2, 3, 1, 2]) for _ in range(count)]


def parts_of(rank):
    def draw(c):
        count = c.choices.pick([rank, 1, rank]) + c.choices.chance(1, 40)
        return [c.choices.pick([2, 3, 1, -1, 5]) for _ in range(count)]
    return draw


def pool_kernel(c):
    return [c.choices.pick([2, 1, 3]) for _ in range(c.image_rank)]


def pool_stride(c):
    return [c.choices.pick([2, 1, 3]) for _ in range(c.image_rank)]


def pool_padding(c):
    return [0] * c.image_rank


def before_pool(c):
    """Sizes that make about g of windows."""
    return [(n - 1) * c.choices.pick([1, 2]) + c.choices.pick([1, 2, 3]) for n in c.shape[-c.image_rank:]]
