"""Values of the mathematics in a text: what a node holds, and arithmetic that cannot blow up.

A value is a pair of floating point numbers, at two fixed assignments of the letters, so two spellings of one value
agree and a formula in letters agrees with nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

FUNCTIONS: dict[str, Callable[[float], float]] = {
    "sin": math.sin, "cos": math.cos, "tan": math.tan, "ln": math.log, "log": math.log10, "exp": math.exp,
    "arcsin": math.asin, "arccos": math.acos, "arctan": math.atan, "sqrt": math.sqrt,
}  # fmt: skip
Value = tuple[float, float]


@dataclass(frozen=True)
class Node:
    """A value in the text.

    value: at the two assignments of the letters, None where it cannot be had (0/0, overflow).
    kind: "number" (one literal), "expression", "tuple" (brackets with commas) or "relation".
    literals: all numbers written in it; exponents and subscripts included.
    operations: how many operations on two operands it holds; parts: the sides or elements.
    whole: it is not a part of a longer expression.
    """

    start: int
    end: int
    value: Value | None
    kind: str = "number"
    letters: int = 0
    literals: tuple[float, ...] = ()
    operations: int = 0
    parts: tuple[Node, ...] = ()
    signs: tuple[str, ...] = ()
    whole: bool = False
    unit: str = ""  # %, degree or ratio


def letter_value(name: str) -> Value:
    """Two fixed values for a letter or a subscripted name, positive and irrational enough."""
    seed = 0.0
    for character in name:
        seed = (seed * 31.0 + ord(character)) % 9973.0
    return 0.3 + math.fmod(seed * 0.6180339887498949, 1.0), 1.1 + math.fmod(seed * 0.4142135623730951, 1.0)


def apply(function: Callable[..., float], *values: Value | None) -> Value | None:
    if any(value is None for value in values):
        return None
    try:
        pair = tuple(function(*(value[i] for value in values if value)) for i in (0, 1))
    except (ValueError, ZeroDivisionError, OverflowError):
        return None
    if any(isinstance(x, complex) or not math.isfinite(x) for x in pair):
        return None
    return pair[0], pair[1]


def comb(n: float, k: float) -> float:
    if n != int(n) or k != int(k) or not 0 <= k <= n <= 1000:
        raise ValueError
    return float(math.comb(int(n), int(k)))


def factorial(n: float) -> float:
    if n != int(n) or not 0 <= n <= 170:
        raise ValueError
    return float(math.factorial(int(n)))


def power(x: float, y: float) -> float:
    if abs(y) > 10_000:
        raise OverflowError
    value = x**y
    if isinstance(value, complex):
        raise ValueError
    return float(value)


def is_mixed(whole: Node, fraction: Node) -> bool:
    r"""Whether `2\frac{1}{2}` is two and a half: a literal before a proper fraction of two."""
    proper = not fraction.letters and len(fraction.literals) == 2
    return proper and whole.kind == "number" and 0 < fraction.literals[0] < fraction.literals[1]
