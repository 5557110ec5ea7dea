#!/usr/bin/python3
"""Prints tests/golden/indexing.txt: random indexing expressions, as PyTorch takes them, for test_indexing.c.
Needs torch; the tests do not. SPDX-License-Identifier: Apache-2.0

A line: get, put or add; the shape of x, whose elements are 0, 1, 2, ...; the order of its dimensions as they are indexed,
or -; for put and add the value, of elements 100, 101, ..., as v and its shape, or # and a number; indices; and behind =
either error, or the results, each behind a colon. Of get: view or copy, shape : elements : gradient of x. Else all of x
: gradient of x : gradient of the value. The k-th element of what is differentiated has the weight k + 1. Of values
that go to one element the last one gets the gradient: torch gives it to all.
"""
import random
import warnings

import torch

warnings.filterwarnings("ignore")
random.seed(1)
outside = False  # an index is: torch looks at it only where something is picked
REFUSED = (IndexError, RuntimeError, ValueError, TypeError)


def text(sizes):
    return ",".join(map(str, sizes)) if len(sizes) else "()"


def tensor(sizes, make):
    count = torch.Size(sizes).numel()
    return torch.tensor([make() for _ in range(count)], dtype=torch.int64).reshape(sizes)


def picks_for(shape):
    """Words, and what they are in Python."""
    global outside
    words, picks, d, rest, outside = [], [], 0, False, False
    wrong = random.random() < 0.06
    while True:
        kind = random.choice("iiss::t" "ttm.+")
        left = len(shape) - d
        if left <= 0 and not (kind in "+" and random.random() < 0.3) and not (wrong and random.random() < 0.5):
            break
        if left > 0 and random.random() < 0.12:
            break
        n = shape[d] if left > 0 else 2
        if kind == "i":
            k = random.randrange(-n, n) if n and not (wrong and random.random() < 0.3) else n
            words.append("i%d" % k), picks.append(k)
        elif kind == "s":
            a, b, step = random.randrange(-n - 1, n + 2), random.choice([None, random.randrange(-n - 1, n + 2)]), random.choice([1, 1, 2, 3])
            if wrong and random.random() < 0.3:
                step = -1
            words.append("s%d:%s:%d" % (a, "E" if b is None else b, step)), picks.append(slice(a, b, step) if step > 0 else "step")
        elif kind == ":":
            words.append(":"), picks.append(slice(None))
        elif kind == ".":
            if rest or random.random() < 0.5:
                continue
            rest = True
            words.append("..."), picks.append(Ellipsis)
            d = max(d, len(shape) - random.randrange(0, 2))
            continue
        elif kind == "+":
            words.append("+"), picks.append(None)
            continue
        elif kind == "t":
            sizes = random.choice([[2], [3], [1], [2, 2], [], [2, 1], [0]])
            if n == 0:
                sizes = [0]
            bad = wrong and random.random() < 0.5
            t = tensor(sizes, lambda: random.randrange(-n, n) if not bad else n)
            outside |= bad
            words.append("t%s:%s" % (text(sizes), ",".join(map(str, t.flatten().tolist())))), picks.append(t)
        else:
            rank = random.choice([1, 1, 2, 0, 3])
            if rank > max(left, 0) and not wrong:
                continue
            sizes = shape[d:d + rank] if left > 0 else [2] * rank
            if wrong and sizes and random.random() < 0.5:
                sizes = sizes[:-1] + [sizes[-1] + 1]
            t = tensor(sizes, lambda: int(random.random() < 0.5)).bool()
            if rank > 1 and rest:
                continue
            words.append("m%s:%s" % (text(sizes), "".join(str(int(v)) for v in t.flatten())))
            # torch puts slices behind a mask of several dimensions as if it had one; NumPy does not.
            picks += [t] if rank < 2 else t.nonzero(as_tuple=True) if sizes == shape[d:d + rank] else ["a mask"]
            d += rank - 1
        d += 1
    return words, picks


def weights(x):
    return torch.arange(1, x.numel() + 1, dtype=torch.float64).reshape(x.shape)


def numbers(x):
    return " ".join("%d" % v for v in x.flatten().tolist())


def base(shape, order):
    x = torch.arange(torch.Size(shape).numel(), dtype=torch.float64).reshape(shape).requires_grad_()
    return x, x.permute(order) if order else x


def refuse(picks):
    if any(isinstance(p, str) for p in picks):
        raise ValueError("a step")


def get(shape, order, picks):
    x, seen = base(shape, order)
    try:
        refuse(picks)
        y = seen[tuple(picks)]
    except REFUSED:
        return "error"
    if y.dim() > 8:
        return None
    shares = y.numel() == 0 or y.storage().data_ptr() == x.storage().data_ptr()
    copies = any(torch.is_tensor(p) and (p.dim() or p.dtype == torch.bool) for p in picks)
    assert shares != copies or y.numel() == 0
    (y * weights(y)).sum().backward()
    return "%s %s : %s : %s" % ("copy" if copies else "view", text(y.shape), numbers(y), numbers(x.grad))


def written(x, order, picks, value, add):
    y = x.clone()
    seen = y.permute(order) if order else y
    if not add:
        seen[tuple(picks)] = value
    elif any(torch.is_tensor(p) and (p.dim() or p.dtype == torch.bool) for p in picks):
        # What setitem does with index_put_, accumulating.
        places = torch.arange(x.numel()).reshape(x.shape)
        where = (places.permute(order) if order else places)[tuple(picks)]
        value = value if torch.is_tensor(value) else torch.tensor(float(value), dtype=torch.float64)
        while value.dim() > where.dim() and value.shape[0] == 1:
            value = value[0]
        value = value.expand(where.shape)
        if where.numel():  # torch refuses to add nothing
            y = y.flatten().index_put((where,), value, True).reshape(x.shape)
    else:
        while torch.is_tensor(value) and value.dim() > seen[tuple(picks)].dim() and value.shape[0] == 1:
            value = value[0]  # which += does not do by itself, but = does
        seen[tuple(picks)] += value
    return y


def put(shape, order, picks, value, add):
    x, seen = base(shape, order)
    v = value if not isinstance(value, list) else (100 + torch.arange(torch.Size(value).numel(), dtype=torch.float64)).reshape(value).requires_grad_()
    try:
        refuse(picks)
        y = written(x, order, picks, v, add)
    except REFUSED:
        return "error"
    (y * weights(y)).sum().backward()
    found = "%s : %s" % (numbers(y), numbers(x.grad))
    if torch.is_tensor(v):
        grad = v.grad if v.grad is not None else torch.zeros(v.shape)
        if not add:
            who = written(torch.full(shape, -1.0, dtype=torch.float64), order, picks, torch.arange(v.numel(), dtype=torch.float64).reshape(v.shape), False)
            grad = torch.tensor([float((weights(y)[who == k]).sum()) for k in range(v.numel())])
        found += " : " + numbers(grad)
    return found


def value_for(shape, order, picks):
    """A shape that is broadcast to what is picked."""
    if random.random() < 0.2:
        return 7
    try:
        refuse(picks)
        due = list(base(shape, order)[1][tuple(picks)].shape)
    except REFUSED:
        return [1]
    sizes = [1 if random.random() < 0.2 else n for n in due[random.choice([0, 0, 0, 1, len(due)]):]]
    if random.random() < 0.1:
        sizes = [1] + due
    if random.random() < 0.05:
        sizes = sizes + [3]
    return sizes


def line(k):
    shape = [random.choice([2, 3, 4, 3, 1, 0] if random.random() < 0.2 else [2, 3, 4]) for _ in range(random.choice([1, 2, 3, 3, 2, 0, 4]))]
    order = random.sample(range(len(shape)), len(shape)) if random.random() < 0.3 and shape else None
    words, picks = picks_for([shape[d] for d in order] if order else shape)
    head = "%s %s" % (text(shape), "".join(map(str, order)) if order else "-")
    if k % 5 < 3:
        found, kind, value = get(shape, order, picks), "get", []
    else:
        add, v = k % 5 == 4, value_for(shape, order, picks)
        kind, value = "add" if add else "put", ["v" + text(v) if isinstance(v, list) else "#%d" % v]
        found = put(shape, order, picks, v, add)
    if outside and found != "error":
        return None
    return found and " ".join([kind, head] + value + words + ["=", found])


print("# By indexing.py, which says what a line is. SPDX-License-Identifier: Apache-2.0")
seen, errors = set(), 0
for k in range(2000):
    one = line(k)
    if one is None or one in seen or len(one) > 700 or one.endswith("error") and errors >= 80:
        continue
    errors += one.endswith("error")
    seen.add(one)
    print(one)
    if len(seen) == 700:
        break
