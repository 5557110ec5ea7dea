#!/usr/bin/python3
"""Writes golden/NAME.txt for every op of the table and golden/programs.txt: generate.py [NAME,...]

Each op has its own seeds, so that a new op changes no other's file. Known differences are left out, and so is what
differs by a mistake that known.py lists; anything else that differs is written all the same, and told.
SPDX-License-Identifier: Apache-2.0
"""
import itertools
import os
import re
import sys

import known
from calls import POOLS, Call
from case import DTYPES, ROOT, ROWS, Case, Refused
from choices import Choices
from ops import IN_PLACE, MADE, OPS, TORCH
from programs import Program
from runner import Runner

CASES, REFUSED, PROGRAMS, LONGEST = 40, 8, 300, 700  # of an op; of them refused; characters of a case
FEW = 12  # cases of what is made of ops, refused ones among them
TOGETHER = {"made": MADE, "in_place": IN_PLACE}  # files of many functions
GOLDEN = os.path.join(ROOT, "tests/oracle/golden")
HEAD = """# What PyTorch 1.13.1 gives, by generate.py, replayed by tests/test_oracle.c; see ../README.md.
# SPDX-License-Identifier: Apache-2.0
"""


def edges(op, dtype):
    """An elementwise op on all of the special values, two at a time where it has two operands."""
    call = Call(op, Choices(made=[]), dtype)
    inputs = [p for p in call.row["params"] if p["kind"] in ("IN", "NUM")]
    defaults = [p for p in call.row["params"] if p["kind"] not in ("IN", "NUM")]
    if call.row["shape"] != "elementwise" or len(inputs) not in (1, 2) or any("default" not in p for p in defaults):
        return None
    values = POOLS["tame" if call.pool == "tame" else "wild" if DTYPES[dtype].is_floating_point else "integers"]
    values = values if len(inputs) == 1 else values[:11]
    call.grad = call.row["gradient"] and DTYPES[dtype].is_floating_point
    shapes = [[len(values)]] if len(inputs) == 1 else [[len(values), 1], [len(values)]]
    names = [call.case.leaf(dtype, shape, [bool(v) if dtype == "bool" else v for v in values], call.grad)
             for shape in shapes]
    arguments = names + [call.draw(p, False) for p in defaults]
    try:
        results = call.case.call(op, *arguments)
    except Refused as refused:
        call.refusal = str(refused)
        return call.case.text(), call.refusal
    call.expect(results, arguments)
    return call.case.text(), None


def has(dtype, texts):
    """Whether one of the cases that are not refused is of that dtype."""
    return any(re.search(r"[=>]%s!?\[" % dtype, text) for text in texts if not text.endswith("error"))


def drawn(op, cases, found):
    """Calls, each dtype in turn until there are enough; then of those that chance has left out."""
    dtypes = list(DTYPES)
    for k in range(20 * cases):
        if len(found) >= cases:
            break
        call = Call(op, Choices("%s %d" % (op, k)), dtypes[k % len(dtypes)] if k % 3 else "f32")
        yield call.run(), call.refusal
    for dtype in ROWS[op]["takes"] if cases == CASES else []:
        for k in range(200):
            if has(dtype, found):
                break
            call = Call(op, Choices("%s %s %d" % (op, dtype, k)), dtype)
            text = call.run()
            if has(dtype, [text]) and not call.refusal:
                yield text, None


def calls(op, runner, cases=CASES):
    """Texts of cases, and how many of them differ: refusals only so many, none of them known to differ."""
    found, seen, refusals, different = [], set(), 0, 0
    edge = [one for one in (edges(op, dtype) for dtype in reversed(ROWS[op]["takes"])) if one]
    longest = max([LONGEST] + [len(text) for text, _ in edge])
    for k, (text, refusal) in enumerate(itertools.chain(edge, drawn(op, cases, found))):
        if text in seen or refusal and refusals >= min(REFUSED, cases // 4) or \
                len(text) > (longest if k < len(edge) else LONGEST):
            continue
        seen.add(text)
        [answer] = runner.run([text])
        if answer != "ok" and known.why(op, refusal, answer, text):
            continue
        if answer != "ok":
            different += 1
            print("%s: %s\n    %s" % (op, answer, text))
        refusals += refusal is not None
        found.append(text)
    return found, different


def programs(runner):
    found, different = [], 0
    for k in range(20 * PROGRAMS):
        program = Program(Choices("program %d" % k))
        text = program.run()
        if len(found) == PROGRAMS or len(text) > 2 * LONGEST:
            continue
        [answer] = runner.run([text])
        if answer != "ok" and known.why("program", program.refusal, answer, text):
            continue
        if answer != "ok":
            different += 1
            print("program: %s\n    %s" % (answer, text))
        found.append(text)
    return found, different


def together(names, runner):
    """Those of several functions, one after the other."""
    found, different = [], 0
    for name in names:
        cases, bad = calls(name, runner, FEW)
        found, different = found + cases, different + bad
    return found, different


def describe():
    """The list at the end of README.md."""
    path = os.path.join(ROOT, "tests/oracle/README.md")
    with open(path) as file:
        text = file.read().split("| op | |\n")[0]
    text += "| op | |\n| --- | --- |\n"
    for prefix, entries in (("", known.KNOWN), ("**open:** ", known.OPEN)):
        for ops, _, _, _, reason in entries:
            text += "| %s | %s%s |\n" % ("any" if ops is None else ", ".join(ops.split()), prefix, reason)
    with open(path, "w") as file:
        file.write(text)


def main():
    chosen = sys.argv[1].split(",") if len(sys.argv) > 1 and sys.argv[1] else \
        [name for name in ROWS if name not in MADE and name not in IN_PLACE] + ["made", "in_place", "programs"]
    runner = Runner()
    total = different = 0
    os.makedirs(GOLDEN, exist_ok=True)
    for name in chosen:
        if name not in OPS and name != "programs" and name not in TOGETHER:
            print("%s is not covered: it has no line in ops.py" % name)
            continue
        found, bad = programs(runner) if name == "programs" else \
            together(TOGETHER[name], runner) if name in TOGETHER else calls(name, runner)
        with open(os.path.join(GOLDEN, name + ".txt"), "w") as file:
            file.write(HEAD + "".join(text + "\n" for text in found))
        total, different = total + len(found), different + bad
    describe()
    print("%d cases, %d of them different" % (total, different))
    return runner.close() or different > 0


sys.exit(main())
