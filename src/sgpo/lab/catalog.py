"""The ten families. The first three have a prior of at most 0.001: the unguided base never solves them."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

from sgpo.lab.families import Approach, Args, Family, Trace, chain, do, subtract_until


def _last_digits(args: Args, op: str, digit: int) -> Trace:
    """Fold one digit (0 front, 1 last) of each number with `op`, keeping the last digit of each result."""
    digits = [divmod(number, 10)[digit] for number in args]
    steps = []
    current = digits[0]
    for other in digits[1:]:
        steps.append(do(current, op, other))
        current = steps[-1].result % 10
    return Trace(tuple(steps), current)


def _ratio_space(_: random.Random) -> Iterator[Args]:
    for own, other in itertools.product(range(1, 16), repeat=2):
        for unit in range(2, 1 + 99 // (own + other)):
            if own != other:
                yield unit * (own + other), own, other


def _ratio(args: Args) -> Trace:
    total, own, other = args
    parts = do(own, "+", other)
    unit = do(total, "/", parts.result)
    share = do(unit.result, "*", own)
    return Trace((parts, unit, share), share.result)


def _clock(args: Args, cycle: int) -> Trace:
    later = do(args[0], "+", args[1])
    return subtract_until(later.result, cycle, cycle + 1, (later,))


def _cost(args: Args, op: str) -> Trace:
    cost = do(args[1], op, args[2])
    change = do(args[0], "-", cost.result)
    return Trace((cost, change), change.result)


def _precedence(args: Args) -> Trace:
    product = do(args[1], "*", args[2])
    value = do(args[0], "+", product.result)
    return Trace((product, value), value.result)


def _digit_sum(args: Args) -> Trace:
    tens, ones = divmod(args[0], 10)
    return chain(tens, ("+", ones))


def _draw(rng: random.Random, *bounds: tuple[int, int], n: int = 40_000) -> Iterator[Args]:
    for _ in range(n):
        yield tuple(rng.randint(low, high) for low, high in bounds)


REMAINDER = Family(
    "remainder",
    0.001,
    "remainder {0} by {1}",
    ("remainder", "leftover", "modulo", "rest"),
    lambda _: ((b * q + r, b) for b in range(3, 33) for q in (2, 3, 4) for r in range(1, b) if b * q + r < 100),
    (
        Approach("{loop} {sub}", "{sub} divisor {until} small", lambda x: subtract_until(x[0], x[1], x[1])),
        Approach("{once} {sub}", "{sub} divisor {then} {stop}", lambda x: chain(x[0], ("-", x[1]))),
        Approach("digit {add}", "{add} {both} digits", _digit_sum),
    ),
    weight=1.5,
)
SUMDIFF = Family(
    "sumdiff",
    0.0005,
    "sum {0} gap {1} larger",
    ("unknowns", "two unknown", "total value", "larger"),
    lambda _: ((s, d) for s in range(4, 98, 2) for d in range(2, s, 2)),
    (
        Approach("{half} at end", "{add} gap {then} {half} {all}", lambda x: chain(x[0], ("+", x[1]), ("/", 2))),
        Approach("plain {sub}", "{sub} gap {then} {stop}", lambda x: chain(x[0], ("-", x[1]))),
        Approach("{half} {early}", "{half} sum {then} {add} gap", lambda x: chain(x[0], ("/", 2), ("+", x[1]))),
    ),
)
RATIO = Family(
    "ratio",
    0.0,
    "share {0} as {1} to {2}",
    ("ratio", "proportion", "sharing", "portions"),
    _ratio_space,
    (
        Approach("{once} value", "{add} parts {then} {div} total {then} {mul} own", _ratio),
        Approach("{loop} {sub}", "{sub} own {then} {sub} other", lambda x: chain(x[0], ("-", x[1]), ("-", x[2]))),
        Approach("{early} {add}", "{add} own {then} {sub} other", lambda x: chain(x[0], ("+", x[1]), ("-", x[2]))),
    ),
    weight=1.5,
)
DIGITS = Family(
    "digits",
    0.01,
    "last of {0} * {1} * {2}",
    ("last digit", "units", "tail", "ending"),
    lambda rng: _draw(rng, (12, 99), (12, 99), (12, 99)),
    (
        Approach("last digit {mul}", "{mul} last digits {then} tail", lambda x: _last_digits(x, "*", 1)),
        Approach("last digit {add}", "{add} last digits {then} tail", lambda x: _last_digits(x, "+", 1)),
        Approach("front digit {mul}", "{mul} front digits {then} tail", lambda x: _last_digits(x, "*", 0)),
    ),
    weight=1.5,
)
AVERAGE = Family(
    "average",
    0.01,
    "mean {0} {1} {2}",
    ("mean", "average", "centre", "balance"),
    lambda rng: _draw(rng, (3, 40), (3, 40), (3, 40)),
    (
        Approach(
            "{div} {all}",
            "{add} {all} {then} {div} three",
            lambda x: chain(x[0], ("+", x[1]), ("+", x[2]), ("/", 3)),
        ),
        Approach("{half} front", "{add} front two {then} {half}", lambda x: chain(x[0], ("+", x[1]), ("/", 2))),
        Approach("{add} {once}", "{add} {all} {then} {stop}", lambda x: chain(x[0], ("+", x[1]), ("+", x[2]))),
    ),
    weight=1.5,
)
CHANGE = Family(
    "change",
    0.04,
    "pay {0} for {1} at {2}",
    ("change", "purchase", "shop", "money"),
    lambda rng: _draw(rng, (12, 99), (2, 9), (2, 20)),
    (
        Approach("cost {early}", "{mul} count price {then} {sub} cost", lambda x: _cost(x, "*")),
        Approach("price {once}", "{sub} price {then} {stop}", lambda x: chain(x[0], ("-", x[2]))),
        Approach("{add} {early}", "{add} count price {then} {sub} cost", lambda x: _cost(x, "+")),
    ),
)
EQUATION = Family(
    "equation",
    0.04,
    "solve {0} x plus {1} is {2}",
    ("equation", "unknown", "linear", "solve x"),
    lambda rng: ((a, b, a * x + b) for a, x, b in _draw(rng, (2, 9), (2, 30), (2, 30))),
    (
        Approach(
            "{undo} backwards",
            "{sub} constant {then} {div} factor",
            lambda x: chain(x[2], ("-", x[1]), ("/", x[0])),
        ),
        Approach(
            "{undo} {sub}",
            "{sub} factor {then} {sub} constant",
            lambda x: chain(x[2], ("-", x[0]), ("-", x[1])),
        ),
        Approach(
            "{undo} forwards",
            "{add} constant {then} {sub} factor",
            lambda x: chain(x[2], ("+", x[1]), ("-", x[0])),
        ),
    ),
)
ORDER = Family(
    "order",
    0.2,
    "value {0} + {1} * {2}",
    ("expression", "value", "precedence", "formula"),
    lambda rng: _draw(rng, (2, 40), (2, 20), (2, 20)),
    (
        Approach("{mul} {early}", "{mul} last two {then} {add} front", _precedence),
        Approach(
            "left to right",
            "{add} front two {then} {mul} last",
            lambda x: chain(x[0], ("+", x[1]), ("*", x[2])),
        ),
        Approach(
            "{add} {all}",
            "{add} front two {then} {add} last",
            lambda x: chain(x[0], ("+", x[1]), ("+", x[2])),
        ),
    ),
    weight=2.0,
)
CLOCK = Family(
    "clock",
    0.2,
    "clock {0} later {1}",
    ("clock", "dial", "circle", "hours"),
    lambda _: itertools.product(range(1, 13), range(4, 48)),
    (
        Approach("twelve {loop}", "{add} {then} {sub} twelve {until} fits", lambda x: _clock(x, 12)),
        Approach("no {loop}", "{add} {then} {stop}", lambda x: chain(x[0], ("+", x[1]))),
        Approach("ten {loop}", "{add} {then} {sub} ten {until} fits", lambda x: _clock(x, 10)),
    ),
    weight=0.6,
)
BETWEEN = Family(
    "between",
    0.25,
    "between {0} and {1}",
    ("counting", "interval", "inside", "range"),
    lambda rng: ((a, a + gap) for a, gap in _draw(rng, (1, 97), (2, 80)) if a + gap < 100),
    (
        Approach("ends {sub}", "{sub} {then} {sub} one", lambda x: chain(x[1], ("-", x[0]), ("-", 1))),
        Approach("plain {sub}", "{sub} {then} {stop}", lambda x: chain(x[1], ("-", x[0]))),
        Approach("ends {add}", "{sub} {then} {add} one", lambda x: chain(x[1], ("-", x[0]), ("+", 1))),
    ),
    weight=0.6,
)

FAMILIES: tuple[Family, ...] = (
    REMAINDER,
    SUMDIFF,
    RATIO,
    DIGITS,
    AVERAGE,
    CHANGE,
    EQUATION,
    ORDER,
    CLOCK,
    BETWEEN,
)
UNSOLVED = ("remainder", "sumdiff", "ratio")
"""Names of the families that the unguided base practically never solves."""
