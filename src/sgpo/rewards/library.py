r"""Equality of two single values, by math-verify 0.9.0 and the parser below it. Runs in worker processes only.

The library's own extraction (dozens of regular expressions over the whole response, unit letters stripped, symbols
lower-cased) is left out: it gets one value, already normalised, and is asked one question. Decimals become exact
fractions first, so that 0.0000672 and 0.0000671 differ although the library rounds to six places.
"""

from __future__ import annotations

import contextlib
import logging
import math
import re
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any

import sympy
from latex2sympy2_extended.latex2sympy2 import ConversionConfig, latex2sympy
from math_verify.grader import should_treat_as_complex
from math_verify.grader import verify as library_verify

from sgpo.rewards import exact, integers
from sgpo.rewards.latex import rules

logging.getLogger("math_verify").setLevel(logging.CRITICAL)

_CONFIG = ConversionConfig(lowercase_symbols=False)  # r and R are two variables
_PRIMES = (29, 31, 37, 41, 43, 47, 53, 59)
_ANALYTIC = (
    sympy.log, sympy.exp, sympy.Abs, sympy.sin, sympy.cos, sympy.tan, sympy.cot, sympy.sec, sympy.csc, sympy.asin,
    sympy.acos, sympy.atan, sympy.sinh, sympy.cosh, sympy.tanh,
)  # fmt: skip
_POSITIVE = [sympy.Rational(prime, 7) for prime in _PRIMES]
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)")
_FRACTION = re.compile(r"([+-]?)\s*\\frac\{([+-]?\d+)\}\{([+-]?\d+)\}|([+-]?\d+)\s*/\s*(\d+)")
_SPACED_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?: \d{3})+(?:\.\d+)?")
_PLUS_C = re.compile(r"(.*(?<![A-Za-z\\])[a-z].*)\+ ?C")
_FUNCTION_TAIL = re.compile(r"\\[a-z]{2,}\s*(?:_\{?\w+\}?)?\s*(?:\^\s*\{?-?\w+\}?)?$")
_WORD_OR_LETTER = re.compile(r"\\(?:text|mathbb)\{[^{}]*\}|\\?[A-Za-z]{4,}|\\[A-Za-z]+|[A-Za-z]")
_UNPARSABLE = re.compile(
    r"\\(?:text|pmod|equiv|bmod|Rightarrow|implies|to)(?![A-Za-z])|\.\.\.|!!|(?<![\w.])\d[\d.]*'|[?@#\"`]"
)
_APART = re.compile(r"(?<![\d._^])(?![1-9]\d{0,2}(?: \d{3})+(?!\d))\d[\d.]* +\d")  # the parser takes `0 0 5` for 5


class UnparsableError(ValueError):
    """The library cannot read this value."""


def plain_number(text: str) -> Fraction | None:
    """Value of a plain integer, decimal or integer fraction; None for everything else."""
    text = _without_thousands(text)
    if len(text) > 400:
        return None
    compact = text.replace(" ", "") if text[:1] in "+-" else text
    if _NUMBER.fullmatch(compact):
        return Fraction(compact)
    match = _FRACTION.fullmatch(compact)
    if match is None:
        return None
    top, bottom = (match.group(2), match.group(3)) if match.group(2) else (match.group(4), match.group(5))
    if int(bottom) == 0:
        return None
    return Fraction(int(top), int(bottom)) * (-1 if match.group(1) == "-" else 1)


def _mixed(match: re.Match[str]) -> str:
    """`1 4/5` is 9/5; what is no proper fraction is a product."""
    whole, top, bottom = (int(group) for group in match.groups())
    if 0 < top < bottom:
        return rf"\frac{{{whole * bottom + top}}}{{{bottom}}}"
    return rf"{whole}\cdot\frac{{{top}}}{{{bottom}}}"


def _decimal(match: re.Match[str]) -> str:
    value = Fraction(match.group().rstrip(".") or "0")
    return rf"\frac{{{value.numerator}}}{{{value.denominator}}}"


def _times(match: re.Match[str]) -> str:
    r"""A product sign before a bracket, but not inside `\log_2(8)` and `\sin^2(x)`."""
    before = match.string[: match.start()][-40:]
    called = _FUNCTION_TAIL.search(before)
    return "" if called and not called.group().startswith((r"\pi", r"\theta")) else r"\cdot "


def _without_thousands(text: str) -> str:
    text = text.strip()
    return text.replace(" ", "") if _SPACED_THOUSANDS.fullmatch(text) else text


_PREPARED = rules(
    (r"\\text\{\s*([A-Za-z0-9.]+)\s*\}", r" \1 "),
    _without_thousands,
    # i is the imaginary unit, but not where a sum or product counts by it
    (r"(?s)^(?!.*j).*\\(?:sum|prod) ?_ ?\{ ?i ?=.*$", lambda match: rename(match[0], "i", "j")),
    # a point has no value, so a number is meant
    (r"(?<![A-Za-z\\])C ?\( ?(\d+) ?, ?(\d+) ?\)", r"\\binom{\1}{\2}"),
    # the parser reads 5!! as 120!
    (r"(?<![\w.!])(\d{1,3})!!(?!!)", lambda match: str(math.prod(range(int(match[1]), 0, -2)))),
    (r"(?<![\d.}^_])(\d+) ?\\frac\{(\d+)\}\{(\d+)\}(?!\s*[\^!])", _mixed),
    (r"\d*\.\d+|\d+\.(?!\d)", _decimal),
    (r"(?<=[\d)}])\s*(?=\()", _times),
    (r"(?<![A-Za-z\\])([a-eh-orstu-zA-EH-OR-Z])\s*(?=\()", r"\1\\cdot "),  # no call
    # no imaginary unit and no constant, as the parser has them
    (r"\\(Gamma)(?![A-Za-z])|\\[A-Za-z]+|(I)", lambda m: rf"\mathit{{{(m[1] or m[2])[0]}}}" if m[1] or m[2] else m[0]),
    (r"(?<![A-Za-z\\_{])i(?![A-Za-z])|(?<=[\d }])i(?![A-Za-z])|(?<=\{)i(?=[\s}+\-\\^])", " I "),
    (r"I\s*(?=\^)", "(I)"),  # the parser drops the power in I^2
    (r"(?<=[A-Za-z])'+", r"_{prime}"),  # and the prime
    (r"\\cr(?![A-Za-z])", r"\\\\ "),
    (r"(\d+|\\frac\{\d+\}\{\d+\})\s*\\degree", r"(\\frac{\1\\pi}{180})"),
    (r"\\degree", ""),
)  # fmt: skip


def prepare(text: str) -> str:
    """The spelling that the library reads rightly: exact decimals, explicit products, i as the imaginary unit."""
    for rule in _PREPARED:
        text = rule(text)
    return text.strip()


@lru_cache(maxsize=512)
def parse(text: str) -> Any:
    """Sympy expression of a normalised value.

    Raises:
        UnparsableError: the library cannot read it.
    """
    apart = _APART.search(text)
    text = prepare(text)
    if not text or apart or _UNPARSABLE.search(text) or text.count("{") != text.count("}"):
        raise UnparsableError(text[:80])
    try:
        parsed = latex2sympy(
            text,
            is_real=not should_treat_as_complex(text),
            convert_degrees=False,
            normalization_config=None,
            conversion_config=_CONFIG,
        )
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:
        raise UnparsableError(text[:80]) from error
    if parsed is None or isinstance(parsed, (bool, list, dict, tuple)):
        raise UnparsableError(text[:80])
    sums = parsed.atoms(sympy.Sum, sympy.Product, sympy.Integral) if isinstance(parsed, sympy.Expr) else ()
    indices = {index for one in sums for index in one.bound_symbols} - parsed.free_symbols if sums else set()
    return parsed.xreplace({indices.pop(): sympy.Symbol("index")}) if len(indices) == 1 else parsed


def _infinite(expression: Any) -> bool:
    """Whether a value (not a set) holds an infinity: differences of such say nothing."""
    return isinstance(expression, sympy.Expr) and expression.has(sympy.oo, -sympy.oo, sympy.zoo, sympy.nan)


def _agree(gold: Any, answer: Any, names: list[str], numbers: Sequence[Any]) -> bool | None:
    """Whether two expressions are one number where their variables are these numbers; None where that is undecided."""
    values = dict(zip(names, numbers, strict=False))
    points = [side.xreplace({s: values[str(s)] for s in side.free_symbols}) for side in (gold, answer)]
    try:
        found = exact.difference(*points)
        return None if found is None else exact.vanishes(*found)
    except (exact.UndecidedError, TypeError, ValueError, ArithmeticError, AttributeError, NotImplementedError):
        return None


def _variables(gold: Any, answer: Any) -> list[str]:
    """The variables of two expressions; none where they are no expressions, or have too many to be tried out."""
    if not isinstance(gold, sympy.Expr) or not isinstance(answer, sympy.Expr):
        return []
    names = sorted({str(symbol) for symbol in gold.free_symbols | answer.free_symbols})
    return names if len(names) <= len(_PRIMES) else []


def _differ_at_a_point(gold: Any, answer: Any) -> bool:
    """Whether two expressions differ where their variables are certain primes: then they are not the same.

    Whole numbers, because answers in n may be equal for those alone.
    """
    names = _variables(gold, answer)
    return bool(names) and any(_agree(gold, answer, names, primes) is False for primes in (_PRIMES, _PRIMES[::-1]))


def _real(expression: Any, names: list[str], numbers: Sequence[Any]) -> bool:
    """Whether all roots and logarithms of an expression are real where its variables are these numbers."""
    values = dict(zip(names, numbers, strict=False))
    point = {symbol: values[str(symbol)] for symbol in expression.free_symbols}
    roots = [node.base for node in expression.atoms(sympy.Pow) if not node.exp.is_integer and node.exp.is_Rational]
    logs = [node.args[0] for node in expression.atoms(sympy.log)]
    return not any(inner.xreplace(point).is_negative for inner in roots + logs)


def _same_where_real(gold: Any, answer: Any) -> bool:
    r"""Whether two expressions with roots or functions agree wherever both are real: \sqrt{ab} and \sqrt a\sqrt b.

    The library takes variables for any real numbers, and so finds that these two differ where a and b are negative.
    Here each variable is negative alone: `\sqrt{x^2}` and `x` are both real then, and differ.
    """
    names = _variables(gold, answer)
    calls = gold.atoms(sympy.Function) | answer.atoms(sympy.Function)
    rooted = any(not power.exp.is_integer for side in (gold, answer) for power in side.atoms(sympy.Pow))
    if not names or not (rooted or calls) or gold.has(sympy.Abs) != answer.has(sympy.Abs):
        return False
    if any(type(call) not in _ANALYTIC for call in calls):
        return False  # two floors may agree at any number of points
    if not all(_agree(gold, answer, names, point) for point in (_POSITIVE, _POSITIVE[::-1])):
        return False
    one_negative = [[-x if j == i else x for j, x in enumerate(_POSITIVE)] for i in range(len(names))]
    both = [point for point in one_negative if _real(gold, names, point) and _real(answer, names, point)]
    return all(_agree(gold, answer, names, point) for point in both)


def _rounded_place(text: str, other: str) -> Fraction | None:
    r"""Last place of a decimal with 12 significant digits or more, set against something that is no decimal.

    So many digits are a computed value, cut or rounded: 1.41421356237 stands for \sqrt{2}. None for all else. Of 16
    digits and more the last are those of a double, which holds no more than 2^-53 of the value and adds up errors.
    """
    text, other = text.strip(), other.strip()
    digits = re.sub(r"\D", "", text).strip("0")
    if "." not in text or len(digits) < 12 or not _NUMBER.fullmatch(text) or _NUMBER.fullmatch(other):
        return None
    place = Fraction(1, 10 ** len(text.split(".")[1]))
    return max(place, abs(Fraction(text)) / 2**50) if len(digits) in (16, 17, 18) else place


def values_equal(gold: str, answer: str, tolerance: Fraction | None = None) -> bool:
    """Whether two single values are equal, or within an absolute tolerance of each other where both are numbers.

    Raises:
        UnparsableError: the library cannot read one of them.
    """
    left, right = plain_number(gold), plain_number(answer)
    if left is not None and right is not None:
        return abs(left - right) <= (tolerance or 0)
    gold_value, answer_value = parse(gold), parse(answer)
    if _infinite(gold_value) or _infinite(answer_value):
        left_value, right_value = gold_value.doit(), answer_value.doit()
        return bool(left_value == right_value) and left_value not in (sympy.nan, sympy.zoo)
    if gold_value == answer_value:
        return True
    if all(isinstance(side, sympy.Expr) and not side.free_symbols for side in (gold_value, answer_value)):
        with contextlib.suppress(exact.UndecidedError):
            place = _rounded_place(gold, answer) or _rounded_place(answer, gold)
            return exact.constants_equal(gold_value, answer_value, tolerance, place=place)
    # In closed form: to evaluate a sum with a bound of letters takes seconds.
    gold_value, answer_value = (
        side.doit() if isinstance(side, sympy.Basic) and side.has(sympy.Sum, sympy.Product) else side
        for side in (gold_value, answer_value)
    )
    if (ours := _PLUS_C.fullmatch(gold)) and (theirs := _PLUS_C.fullmatch(answer)):  # antiderivatives
        rest = sympy.expand(parse(ours[1]) - parse(theirs[1]))
        there = [rest.xreplace(dict.fromkeys(rest.free_symbols, x)) for x in (*_POSITIVE[:3], -_POSITIVE[0])]
        if len(rest.free_symbols) < 2 and all(_agree(there[0], other, [], []) for other in there[1:]):
            return True
    if _differ_at_a_point(gold_value, answer_value):
        return False
    if _same_where_real(gold_value, answer_value):
        return True
    both = isinstance(gold_value, sympy.Expr) and isinstance(answer_value, sympy.Expr)
    if both and integers.same_for_integers(gold_value, answer_value):
        return True
    if both and sympy.Symbol in (type(gold_value), type(answer_value)):
        gold_value, answer_value = 2 * gold_value, 2 * answer_value  # lone symbols are compared by name there
    return bool(library_verify(gold_value, answer_value, 30, 100, strict=True, timeout_seconds=None))


def one_set(gold: Sequence[str], answer: Sequence[str], letter: str) -> bool:
    """Whether values that are linear in a letter for any integer run through the same numbers; False for others."""
    try:
        return integers.same_families([parse(text) for text in gold], [parse(text) for text in answer], letter)
    except (UnparsableError, TypeError, AttributeError):
        return False


def same_equation(gold: tuple[str, str], answer: tuple[str, str]) -> bool:
    """Whether two equations, each as its two sides, are one another's constant multiple: 2x = 4y and x - 2y = 0."""
    numerators = []
    for left, right in (gold, answer):
        difference = parse(left) - parse(right)
        numerators.append(sympy.expand(sympy.fraction(sympy.together(difference.doit()))[0]))
    if numerators[0] == 0 or numerators[1] == 0:
        return bool(numerators[0] == numerators[1])
    if numerators[0].free_symbols != numerators[1].free_symbols:
        return False
    ratio = sympy.simplify(numerators[0] / numerators[1])
    return bool(ratio.is_number)


def rename(text: str, old: str, new: str) -> str:
    """Replace the single-letter variable `old` by `new` in a normalised value."""
    return _WORD_OR_LETTER.sub(lambda match: new if match.group() == old else match.group(), text)
