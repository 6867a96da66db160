"""Exact values: a Fraction where a value is rational, else a fingerprint of two floating point numbers.

The fingerprint is the value at two fixed assignments of the letters, so two spellings of one expression agree and a
formula in letters agrees with nothing else. A computer algebra system would be exact there, too, but takes a second to
load and has no bound on its time. Arithmetic is bounded in size and never raises.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from fractions import Fraction

Value = Fraction | tuple[float, float]
FUNCTIONS: dict[str, Callable[[float], float]] = {
    "sin": math.sin, "cos": math.cos, "tan": math.tan, "ln": math.log, "log": math.log10, "exp": math.exp,
    "arcsin": math.asin, "arccos": math.acos, "arctan": math.atan, "sqrt": math.sqrt,
}  # fmt: skip
_LARGEST = 2**200  # of a numerator or denominator that is kept exact


def floats(value: Value) -> tuple[float, float]:
    """A value at the two assignments; infinite where it is too large."""
    if isinstance(value, tuple):
        return value
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    return number, number


def size(value: Value | None) -> float:
    """One key for equal sizes, whatever the sign; -1 where there is no value."""
    return -1.0 if value is None else float(f"{abs(floats(value)[0]):.10g}")


def equal(one: Value, other: Value) -> bool:
    if isinstance(one, Fraction) and isinstance(other, Fraction):
        return one == other
    return all(abs(a - b) <= 1e-9 * max(abs(a), abs(b), 1e-9) for a, b in zip(floats(one), floats(other), strict=True))


def letter(name: str) -> Value:
    """Two fixed values of a letter, positive and in no simple relation to those of another."""
    seed = 0.0
    for character in name:
        seed = (seed * 31.0 + ord(character)) % 9973.0
    return 0.3 + math.fmod(seed * 0.6180339887498949, 1.0), 1.1 + math.fmod(seed * 0.4142135623730951, 1.0)


def apply(function: Callable[..., float], *values: Value | None) -> Value | None:
    """`function` at both assignments; None where it is not defined or too large."""
    if any(value is None for value in values):
        return None
    both = [floats(value) for value in values if value is not None]
    try:
        pair = tuple(function(*(value[i] for value in both)) for i in (0, 1))
    except (ValueError, ZeroDivisionError, OverflowError):
        return None
    if any(isinstance(x, complex) or not math.isfinite(x) for x in pair):
        return None
    if pair[0] == pair[1] and pair[0].is_integer() and abs(pair[0]) < 2**50:
        return Fraction(int(pair[0]))
    return float(pair[0]), float(pair[1])


def operate(sign: str, one: Value | None, other: Value | None) -> Value | None:
    """`one sign other` for + - * / ^ and C, exact where both are rational and small."""
    if isinstance(one, Fraction) and isinstance(other, Fraction) and sign in "+-*/":
        if max(abs(one.numerator), one.denominator, abs(other.numerator), other.denominator) > _LARGEST:
            return None
        if sign == "/":
            return one / other if other else None
        return one + other if sign == "+" else one - other if sign == "-" else one * other
    if sign == "^" and isinstance(one, Fraction) and isinstance(other, Fraction) and other.denominator == 1:
        small = abs(other) <= 100 and max(abs(one.numerator), one.denominator) < 2**20
        if small and (one or other > 0):
            return one**other.numerator
    return apply(_OPERATIONS[sign], one, other)


def _power(x: float, y: float) -> float:
    if abs(y) > 10_000:
        raise OverflowError
    result = x**y
    if isinstance(result, complex):
        raise ValueError
    return float(result)


def _comb(n: float, k: float) -> float:
    if not (n.is_integer() and k.is_integer() and 0 <= k <= n <= 1000):
        raise ValueError
    return float(math.comb(int(n), int(k)))


def factorial(n: float) -> float:
    if not (n.is_integer() and 0 <= n <= 170):
        raise ValueError
    return float(math.factorial(int(n)))


_MEMBERS: dict[str, Callable[[int], int]] = {
    "triangular": lambda n: n * (n + 1) // 2,
    "perfect square": lambda n: n * n, "square number": lambda n: n * n,
    "perfect cube": lambda n: n**3, "cube number": lambda n: n**3,
    "fibonacci": lambda n: functools.reduce(lambda pair, _: (pair[1], sum(pair)), range(n), (0, 1))[0],
    "prime": lambda n: [k for k in range(2, 542) if all(k % d for d in range(2, math.isqrt(k) + 1))][n - 1],
}  # fmt: skip


def member(place: int, words: str) -> Fraction | None:
    """The `place`th, up to 99, of a sequence that `words` begin with the name of: the 5th prime is 11."""
    name = next((name for name in _MEMBERS if words.lower().startswith(name)), "")
    return Fraction(_MEMBERS[name](place)) if name and 0 < place < 100 else None


_OPERATIONS: dict[str, Callable[..., float]] = {
    "+": lambda x, y: x + y, "-": lambda x, y: x - y, "*": lambda x, y: x * y, "/": lambda x, y: x / y, "^": _power,
    "C": _comb,
}  # fmt: skip
