#!/usr/bin/python3
"""Random calls or programs against torch: fuzz.py ops|programs COUNT SEED [NAME,...]

Each finding is made as small as it gets and printed as a case for `test_oracle -`. SPDX-License-Identifier: Apache-2.0
"""
import collections
import re
import sys

import known
from calls import Call
from case import ROWS
from choices import Choices, smaller
from ops import OPS
from programs import Program
from runner import Runner

BATCH = 200


def made(op, choices):
    one = Program(choices) if op == "program" else Call(op, choices)
    text = one.run()
    return text, one.refusal


def kind_of(answer):
    """What a finding is, whatever its numbers are."""
    answer = re.sub(r"\b[te]\d+\b", "t", answer)
    return re.sub(r"-?\b(\d[\d.e+-]*|nan|inf)\b", "0", answer)[:60]


def is_finding(op, text, refusal, answer):
    return answer != "ok" and known.why(op, refusal, answer, text) is None


def shrunk(runner, op, choices, kind):
    """The smallest case like this one, and the answer to it."""
    def result(candidate):
        choices = Choices(made=candidate)
        text, refusal = made(op, choices)
        [answer] = runner.run([text])
        return text, refusal, answer

    def fails(candidate):
        try:
            text, refusal, answer = result(candidate)
        except Exception:  # choices that make no case
            return False
        return is_finding(op, text, refusal, answer) and kind_of(answer) == kind
    return result(smaller(choices, fails))


def main():
    what, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    names = sys.argv[4].split(",") if len(sys.argv) > 4 and sys.argv[4] else [n for n in ROWS if n in OPS]
    if what == "programs":
        names = ["program"]
    missing = [name for name in ROWS if name not in OPS]
    if missing:
        print("not covered, having no line in ops.py: %s" % ", ".join(missing))
    runner = Runner()
    pick = Choices(seed)
    findings, reasons = collections.Counter(), collections.Counter()
    done = refused = same = 0
    waiting = []

    def judge():
        nonlocal same
        for (op, choices, text, refusal), answer in zip(waiting, runner.receive(len(waiting)) if waiting else []):
            if answer == "ok":
                same += 1
            elif not is_finding(op, text, refusal, answer):
                reasons[op + ": " + known.why(op, refusal, answer, text)] += 1
            else:
                found.append((op, choices, text, refusal, answer))

    while done < count:
        found, batch = [], []
        for _ in range(min(BATCH, count - done)):
            op = pick.pick(names)
            choices = Choices("%d %d" % (seed, done))
            text, refusal = made(op, choices)
            refused += refusal is not None
            batch.append((op, choices.made, text, refusal))
            done += 1
        judge()
        for op, choices, text, refusal, answer in found:
            kind = op, kind_of(answer)
            findings[kind] += 1
            if findings[kind] == 1:
                text, refusal, answer = shrunk(runner, op, choices, kind[1])
                print("%s: %s\n    %s" % (op, answer, text) + ("\n    torch: " + refusal if refusal else ""), flush=True)
        waiting[:] = batch
        runner.send([text for _, _, text, _ in batch])
    found = []
    judge()
    for op, choices, text, refusal, answer in found:
        findings[op, kind_of(answer)] += 1
        if findings[op, kind_of(answer)] == 1:
            text, refusal, answer = shrunk(runner, op, choices, kind_of(answer))
            print("%s: %s\n    %s" % (op, answer, text) + ("\n    torch: " + refusal if refusal else ""), flush=True)
    status = runner.close()
    for reason, times in sorted(reasons.items()):
        print("known %6d  %s" % (times, reason))
    for (op, kind), times in sorted(findings.items()):
        print("FOUND %6d  %s: %s" % (times, op, kind))
    print("%d %s, seed %d: %d same (torch refused %d of all), %d known differences, %d findings of %d kinds" %
          (count, what, seed, same, refused, sum(reasons.values()), sum(findings.values()), len(findings)))
    sys.exit(1 if findings or status else 0)


main()
