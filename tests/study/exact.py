"""The evidence of the error stream by exact rationals, with nothing of the judge's own code.

Reads one JSON object a line: {"watch_ticks": T, "ticks": [[n, k, p0], ...]} and writes one line with two numbers for each:
the natural logarithm of the evidence within a watch of T ticks, and of the evidence after it.

For one alternative chance p, a tick with k bad of n has the likelihood ratio (p/p0)^k ((1-p)/(1-p0))^(n-k). `start` is the
product of these ratios over all ticks, `any` the Shiryaev-Roberts sum R <- (1 + R) * ratio. Both are averaged over sixteen
alternatives, evenly in log-odds. Within the watch the evidence is 9/10 start + 1/10 any/T, after it any.

A double is a whole number over a power of two, so all products and sums here are of whole numbers, with one denominator for
all alternatives; nothing is rounded but the alternatives themselves and the last logarithm.
"""

import json
import math
import sys
from fractions import Fraction

GRID = 16


def logit(p):
    return math.log(p) - math.log1p(-p)


def grid(p0):
    lowest = p0 + 0.04 if p0 >= 0.4 else 1.15 * p0
    highest = 0.95 if p0 >= 0.5 else min(max(64 * p0, 0.5), 0.95)
    highest = min(max(highest, (p0 + 1) / 2), 0.999)
    lowest = min(lowest, (p0 + highest) / 2)
    a, b = logit(lowest), logit(highest)
    return [1 / (1 + math.exp(-(a + (b - a) * j / (GRID - 1)))) for j in range(GRID)]


def ln_quotient(num, den):
    """ln(num / den) of whole numbers of any size."""
    if num == 0:
        return -math.inf
    shift = num.bit_length() - den.bit_length() - 120
    quotient = num // (den << shift) if shift > 0 else (num << -shift) // den
    return math.log(quotient) + shift * math.log(2)


def evidence(watch_ticks, ticks):
    start = [1] * GRID
    any_ = [0] * GRID
    common = 1  # the denominator of them all
    for n, k, p0 in ticks:
        if n == 0:
            continue
        parts = [Fraction(p) for p in [p0, *grid(p0)]]
        unit = max(part.denominator for part in parts)  # all are powers of two
        null, *others = [part.numerator * (unit // part.denominator) for part in parts]
        for j, p in enumerate(others):
            ratio = p**k * (unit - p) ** (n - k)
            start[j] *= ratio
            any_[j] = (common + any_[j]) * ratio
        common *= null**k * (unit - null) ** (n - k)
    # Nine tenths for the product since the start, one tenth for the sum over all onsets.
    in_watch = ln_quotient(9 * watch_ticks * sum(start) + sum(any_), 10 * GRID * watch_ticks * common)
    return in_watch, ln_quotient(sum(any_), GRID * common)


def main():
    for line in sys.stdin:
        case = json.loads(line)
        in_watch, after = evidence(case["watch_ticks"], case["ticks"])
        print(repr(in_watch), repr(after))


if __name__ == "__main__":
    main()
