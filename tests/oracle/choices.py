"""Random choices that are written down, so that a failing case is made smaller by making its choices smaller.

0 is the simplest of each. SPDX-License-Identifier: Apache-2.0
"""
import random


class Choices:
    def __init__(self, seed=None, made=None):
        self.rng = random.Random(seed) if made is None else None
        self.given = made
        self.made = []

    def below(self, limit):
        k = len(self.made)
        if self.given is None:
            choice = self.rng.randrange(limit)
        else:
            choice = min(self.given[k], limit - 1) if k < len(self.given) else 0
        self.made.append(choice)
        return choice

    def pick(self, some):
        return some[self.below(len(some))]

    def chance(self, times, of):
        """True `times` out of `of` times; False is the simple answer."""
        return self.below(of) >= of - times


def smaller(made, fails, tries=600):
    """Choices no longer and no greater than these that still fail."""
    best = list(made)

    def attempt(candidate):
        nonlocal best, tries
        tries -= 1
        if tries > 0 and candidate != best and fails(candidate):
            best = candidate
            return True
        return False

    again = True
    while again and tries > 0:
        again = False
        for size in (32, 16, 8, 4, 2, 1):
            k = 0
            while k < len(best):
                if attempt(best[:k] + best[k + size:]):
                    again = True
                    continue
                if any(best[k:k + size]) and attempt(best[:k] + [0] * len(best[k:k + size]) + best[k + size:]):
                    again = True
                k += size
        for k in range(len(best)):
            for lower in (1, best[k] // 2, best[k] - 1):
                if k < len(best) and 0 <= lower < best[k] and attempt(best[:k] + [lower] + best[k + 1:]):
                    again = True
    return best
