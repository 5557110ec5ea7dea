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


def batches(what, count, seed, names):
    """Lists of (op, choices, text, torch's refusal), and an empty one at the end."""
    pick, batch = Choices(seed), []
    for k in range(count):
        op = pick.pick(names)
        choices = Choices("%d %d" % (seed, k))
        text, refusal = made(op, choices)
        batch.append((op, choices.made, text, refusal))
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
    yield []


def main():
    what, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    names = sys.argv[4].split(",") if len(sys.argv) > 4 and sys.argv[4] else [n for n in ROWS if n in OPS]
    if what == "programs":
        names = ["program"]
    missing = [name for name in ROWS if name not in OPS]
    if missing:
        print("not covered, having no line in ops.py: %s" % ", ".join(missing))
    runner = Runner()
    findings, reasons = collections.Counter(), collections.Counter()
    refused, same, running = 0, 0, []
    for batch in batches(what, count, seed, names):  # each is made while the one before runs
        for (op, choices, text, refusal), answer in zip(running, runner.receive(len(running))):
            refused += refusal is not None
            same += answer == "ok"
            reason = known.why(op, refusal, answer, text) if answer != "ok" else None
            if reason:
                reasons[op, reason] += 1
            elif answer != "ok":
                findings[op, kind_of(answer)] += 1
                if findings[op, kind_of(answer)] == 1:
                    text, refusal, answer = shrunk(runner, op, choices, kind_of(answer))
                    print("%s: %s\n    %s\n    torch: %s" % (op, answer, text, refusal or "takes it"), flush=True)
        running = batch
        runner.send([text for _, _, text, _ in batch])
    status = runner.close()
    for (op, reason), times in sorted(reasons.items()):
        print("known %6d  %s: %s" % (times, op, reason))
    for (op, kind), times in sorted(findings.items()):
        print("FOUND %6d  %s: %s" % (times, op, kind))
    print("%d %s, seed %d: %d same (torch refused %d of all), %d known differences, %d findings of %d kinds" %
          (count, what, seed, same, refused, sum(reasons.values()), sum(findings.values()), len(findings)))
    sys.exit(1 if findings or status else 0)


main()
