"""test_oracle on the other end of a pipe: cases go there in batches while the next batch is being made.

SPDX-License-Identifier: Apache-2.0
"""
import os
import subprocess

from case import BUILD, ROOT


class Runner:
    def __init__(self):
        environment = dict(os.environ, TENSORD_BIN=os.path.join(BUILD, "tensord"), TENSORD_ROOT=ROOT)
        self.process = subprocess.Popen([os.path.join(BUILD, "tests/test_oracle"), "-"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, env=environment)

    def send(self, texts):
        self.process.stdin.write("".join(text + "\n" for text in texts) + "\n")
        self.process.stdin.flush()

    def receive(self, count):
        answers = [self.process.stdout.readline().rstrip("\n") for _ in range(count)]
        if not all(answers):
            raise SystemExit("the runner ended: %s" % answers)
        return answers

    def run(self, texts):
        self.send(texts)
        return self.receive(len(texts))

    def close(self):
        self.process.stdin.close()
        return self.process.wait()
