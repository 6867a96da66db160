r"""Whether two constants are equal: rationals exactly, other numbers to as many digits as could tell them apart.

A fixed tolerance rewards `\sqrt{2} + 10^{-20}` for `\sqrt{2}`. So the precision follows the numbers that stand in the
two expressions: with H bits of numerals (the exponents multiplied out), a difference is looked for down to 2H bits and
some. What cannot be multiplied out in `MAX_BITS` is compared as it is written. Runs in worker processes only.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import sympy
from sympy.core.numbers import Float

MAX_BITS = 100_000  # of a rational: 2004! has 19,000; (10^7)! has 200 million
_GUARD_DIGITS = 120
_UNDECIDED = (sympy.Sum, sympy.Product, sympy.Integral, sympy.Limit, sympy.Derivative)


class UndecidedError(ValueError):
    """These rules cannot tell whether the two values are equal."""


class _TooLargeError(ValueError):
    """A rational with more than `MAX_BITS` bits."""


def _bits(value: Fraction) -> int:
    return value.numerator.bit_length() + value.denominator.bit_length()


def _bounded(value: Fraction) -> Fraction:
    if _bits(value) > MAX_BITS:
        raise _TooLargeError
    return value


def _power(base: Fraction, exponent: Fraction) -> Fraction | None:
    if exponent.denominator != 1 or (base == 0 and exponent < 0):
        return None
    if base in (0, 1, -1):
        return base ** (abs(exponent.numerator) % 2 + 2 * (exponent != 0))
    # Told from the sizes, before anything is computed: 9^(9^9) fills any memory.
    if (_bits(base) - 2) * abs(exponent) > MAX_BITS:
        raise _TooLargeError
    return base**exponent.numerator


def _factorial(argument: Fraction) -> Fraction | None:
    if argument.denominator != 1 or argument < 0:
        return None
    if argument * max(1, int(argument).bit_length()) > MAX_BITS:
        raise _TooLargeError
    return Fraction(math.factorial(int(argument)))


# Functions that keep rationals rational; all others are for `_numerical`.
_KEPT: dict[Any, Callable[..., Fraction | None]] = {
    sympy.Pow: _power, sympy.factorial: _factorial, sympy.Abs: abs, sympy.UnevaluatedExpr: Fraction,
    sympy.floor: lambda value: Fraction(math.floor(value)), sympy.ceiling: lambda value: Fraction(math.ceil(value)),
}  # fmt: skip


def rational(expression: Any) -> Fraction | None:
    """The exact value of an expression of rationals; None where it is something else.

    Raises:
        _TooLargeError: it is a rational of more than `MAX_BITS` bits.
    """
    if isinstance(expression, sympy.Rational):
        return _bounded(Fraction(int(expression.p), int(expression.q)))
    if not expression.args or expression.free_symbols:
        return None
    arguments = []
    for argument in expression.args:
        value = rational(argument)
        if value is None:
            return None
        arguments.append(value)
    if isinstance(expression, (sympy.Add, sympy.Mul)):
        combine = operator.add if isinstance(expression, sympy.Add) else operator.mul
        return functools.reduce(lambda one, other: _bounded(combine(one, other)), arguments)
    kept = next((function for kind, function in _KEPT.items() if isinstance(expression, kind)), None)
    value = kept(*arguments) if kept else None
    return None if value is None else _bounded(value)


def _canonical(expression: Any) -> tuple[Any, bool]:
    """The expression with its rational parts computed, and whether all of them could be.

    What is too large stays as it is written, over arguments in one order, so that `2^{10^9}` is `2^{1000000000}`.
    """
    if not isinstance(expression, sympy.Basic) or not expression.args or isinstance(expression, _UNDECIDED):
        return expression, True
    try:
        value, whole = rational(expression), True
    except _TooLargeError:
        value, whole = None, False
    if value is not None:
        return sympy.Rational(value.numerator, value.denominator), True
    arguments, complete = map(list, zip(*map(_canonical, expression.args), strict=True))
    if not (whole and all(complete)):
        if isinstance(expression, (sympy.Add, sympy.Mul)):
            # Sums and products have no order, and what is not computed is compared as it is written.
            arguments.sort(key=str)
        return expression.func(*arguments, evaluate=False), False
    if isinstance(expression, sympy.UnevaluatedExpr):
        return arguments[0], True
    if isinstance(expression, sympy.Pow) and _odd_root(*arguments):
        return -((-arguments[0]) ** arguments[1]), True
    return expression.func(*arguments), True


def _odd_root(base: Any, exponent: Any) -> bool:
    r"""Whether a power is an odd root of a negative number, whose real value is meant: `\sqrt[3]{2-\sqrt5}`."""
    odd = isinstance(exponent, sympy.Rational) and exponent.q % 2 == 1 and exponent.q > 1 and exponent.p % 2 == 1
    return odd and bool(base.is_negative)


def _height(expression: Any) -> int:
    """Bits of all numerals of an expression; an exponent counts as often as it multiplies."""
    total = 0
    for node in sympy.preorder_traversal(expression):
        if isinstance(node, sympy.Rational):
            total += int(node.p).bit_length() + int(node.q).bit_length()
        elif isinstance(node, sympy.Pow) and isinstance(node.exp, sympy.Integer) and node.base.is_number:
            total += min(abs(int(node.exp)) * 8, MAX_BITS)
        if total > MAX_BITS:
            return MAX_BITS
    return total


def _numerical(value: Any, digits: int) -> tuple[Any, Any]:
    """Real and imaginary part to so many digits; 0 stands for a part of which no digit is certain.

    Raises:
        UndecidedError: sympy has no numerical value for it.
    """
    parts = value.evalf(digits, maxn=2 * digits).as_real_imag()
    if not all(isinstance(part, (Float, sympy.Rational)) for part in parts):
        raise UndecidedError(str(value)[:80])
    real, imaginary = (0 if isinstance(part, Float) and part._prec <= 1 else part for part in parts)
    return real, imaginary


def _settled(value: Any, digits: int) -> tuple[Any, Any]:
    """The same as `_numerical`, at few digits where two precisions tell the same, else at all of them.

    One low precision is not enough: at 20 digits `\\ln(1 + 10^{-30})` is 0, whatever sympy says of its accuracy.
    """
    # Most differences are far from 0, which 60 digits show at once.
    rough, finer = _numerical(value, 20), _numerical(value, 60)
    size = max(abs(part) for part in finer)
    if size != 0 and all(abs(a - b) <= size / 1000 for a, b in zip(rough, finer, strict=True)):
        return finer
    return _numerical(value, digits)


def sign_of(difference: Any, digits: int) -> int:
    """1, -1 or 0 (to so many digits) for a real constant.

    Raises:
        UndecidedError: it has no numerical value, or is not real.
    """
    real, imaginary = _settled(difference, digits)
    if imaginary != 0:
        raise UndecidedError(str(difference)[:80])
    return int(bool(real > 0)) - int(bool(real < 0))


def difference(left: Any, right: Any) -> tuple[Any, int] | None:
    """The difference of two constants and how many digits decide whether it is zero; None where it is too large.

    Raises:
        UndecidedError: one holds a sum, an integral or a limit that sympy cannot work out.
    """
    values = [value.doit() if value.has(*_UNDECIDED) else value for value in (left, right)]
    for value in values:
        if value.has(*_UNDECIDED):
            raise UndecidedError(str(value)[:80])
    (ours, whole), (theirs, complete) = (_canonical(value) for value in values)
    if ours == theirs:
        return sympy.Integer(0), 0
    if not (whole and complete):
        return None
    digits = _GUARD_DIGITS + int((_height(ours) + _height(theirs)) * 2 * 0.302)
    return ours - theirs, digits


def vanishes(rest: Any, digits: int) -> bool:
    """Whether a difference is zero, exactly for a rational and to so many digits for what is none."""
    if isinstance(rest, sympy.Rational):
        return bool(rest == 0)
    return not rest.has(sympy.nan, sympy.zoo, sympy.oo, -sympy.oo) and _settled(rest, digits) == (0, 0)


def constants_equal(left: Any, right: Any, tolerance: Fraction | None = None, *, place: Fraction | None = None) -> bool:
    """Whether two sympy expressions without variables are one number, or within `tolerance` of each other.

    Args:
        left: one constant.
        right: the other.
        tolerance: absolute; None for none.
        place: as the tolerance, but only for a decimal that stands for an irrational: it is no excuse where the
            difference is rational.

    Raises:
        UndecidedError: see `difference`; or a value that no numerical method is known for.
    """
    found = difference(left, right)
    if found is None:
        return False
    rest, digits = found
    if tolerance is None and not isinstance(rest, sympy.Rational):
        tolerance = place
    if tolerance is None or rest.has(sympy.nan, sympy.zoo, sympy.oo, -sympy.oo):
        return vanishes(rest, digits)
    return sign_of(sympy.Abs(rest) - sympy.Rational(tolerance.numerator, tolerance.denominator), digits) <= 0
