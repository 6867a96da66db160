r"""Find the mathematics among the tokens of a text and evaluate it: a parser by precedence, one token ahead.

A value is exact where it is rational. Each letter has a fixed value, so that two spellings of one formula agree and a
formula agrees with nothing else.
"""

from __future__ import annotations

import math
import operator
import zlib
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from sgpo.mathtext.tokens import Token, Value, words

Found = tuple[Value | None, int] | None
Operation = Callable[..., Any]
MAX_DEPTH = 25
MAX_TOKENS = 200  # of one expression; what follows is read as another one
RELATIONS = words("= < > <= >= !=")
_GREEK = words("pi alpha beta gamma theta phi omega lambda mu sigma delta rho epsilon varphi tau Delta infty")
_CLOSE = {"(": ")", "[": ")", "{": "}"}  # `]` is read as `)`, for the sake of intervals
_SHORT = words("is of to in by or at if an as on we it be do so no up am he my me us go km cm mm kg ml ft hr")


def hundredth(x: Value) -> Value:
    return x / 100


def _power(x: Value, y: Value) -> Value:
    if abs(float(y)) > 1000 or (isinstance(x, Fraction) and x.numerator.bit_length() + x.denominator.bit_length() > 64):
        raise OverflowError
    return x**y


def _choose(n: Value, k: Value | None = None) -> Fraction:
    """The binomial coefficient; of n alone its factorial."""
    if n != int(n) or not 0 <= n <= 170:
        raise ValueError
    return Fraction(math.factorial(int(n)) if k is None else math.comb(int(n), int(k)))


_FUNCTIONS: dict[str, Operation] = {
    "sin": math.sin, "cos": math.cos, "tan": math.tan, "cot": lambda x: 1 / math.tan(x),
    "sec": lambda x: 1 / math.cos(x), "csc": lambda x: 1 / math.sin(x), "ln": math.log, "log": math.log10,
    "exp": math.exp, "arcsin": math.asin, "arccos": math.acos, "arctan": math.atan, "sqrt": lambda x: _power(x, 0.5),
}  # fmt: skip
# What stands between a function and its argument: `sin^2 x`, `log_2 x`, `sqrt[3]{x}`.
_OPTIONS = {"^": _power, "_": lambda x, base: x / math.log10(base), "[": lambda x, n: _power(x, 2 / n)}
_PREFIX: dict[str, Operation] = _FUNCTIONS | {
    "+": operator.pos, **dict.fromkeys(("-", "negative", "minus", "additive inverse of"), operator.neg),
    "twice": lambda x: 2 * x, "double": lambda x: 2 * x, "triple": lambda x: 3 * x, "reciprocal of": lambda x: 1 / x,
    "square of": lambda x: x * x, "cube of": lambda x: x**3, "square root of": lambda x: _power(x, 0.5),
    "cube root of": lambda x: _power(x, 1 / 3),
}  # fmt: skip
_SUM, _PRODUCT, _POWER, _POSTFIX = range(4)
# How tight an operator behind an operand binds, and what it does; "" is what joins two factors without a sign.
_OPERATORS: dict[str, tuple[int, Operation]] = {
    name: (level, function)
    for level, function, names in (
        (_SUM, operator.add, "+|plus|more than"),
        (_SUM, operator.sub, "-|minus"),
        (_SUM, lambda x, y: y - x, "less than|short of"),
        (_PRODUCT, operator.mul, "|*|x|times|multiplied by|by|of"),
        (_PRODUCT, operator.truediv, "/|over|divided by|out of|in"),
        (_PRODUCT, _choose, "choose"),
        (_POWER, _power, "^|to the|to the power|to the power of|raised to the power of"),
        (_POWER, lambda x, y: _power(y, x), "power of"),
        (_POSTFIX, _choose, "!"),
        (_POSTFIX, hundredth, "%|percent"),
        (_POSTFIX, lambda x: x * x, "squared"),
        (_POSTFIX, lambda x: x**3, "cubed"),
    )
    for name in names.split("|")
}
# The first words of phrases, with the number of words of the longest phrase.
_HEADS = {name.split(" ")[0]: name.count(" ") + 1 for name in sorted((*_OPERATORS, *_PREFIX), key=len) if name}
_OPENING = {*_CLOSE, *map(str.lower, _GREEK), *_HEADS}
_SIGNS = RELATIONS | words("+ - * / ^ _")


def apply(function: Operation, *values: Value | None) -> Value | None:
    """`function` of some values; None where it is not defined or too large."""
    try:
        result: Any = function(*values)
        if isinstance(result, complex) or not math.isfinite(result) or abs(result) > 2**300:
            return None
        near = round(result) if abs(result) < 2**50 else 0
        value: Value = Fraction(near) if near and math.isclose(result, near, rel_tol=1e-13) else result
        return value
    except (ArithmeticError, ValueError, TypeError):
        return None


class Parser:
    """Each method returns the value of what begins at a token, if it can be had, and the index behind it.

    opens: whether an expression may begin with each token. letters: the indices of tokens that are variables.
    operations: what is done at a token, for all that was read.
    """

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.tokens = tokens
        self.texts = [token.text for token in tokens] + [""] * 8
        self.lower = [text.lower() for text in self.texts]
        self.opens = [
            t.value is not None or t.text.lower() in _OPENING or (t.kind == "word" and len(t.text) < 3) for t in tokens
        ]
        self.letters: set[int] = set()
        self.operations: dict[int, Operation] = {}
        self.operands: dict[int, Found] = {}

    def sides(self, i: int) -> list[tuple[int, int, Value | None]]:
        """First token, index behind the last one and value of each side of a relation, or of a single expression."""
        found: list[tuple[int, int, Value | None]] = []
        while side := self.expression(i):
            found.append((i, side[1], side[0]))
            i = side[1] + 1
            if self.texts[side[1]] not in RELATIONS:
                break
        return found

    def expression(self, i: int, depth: int = 0, binding: int = _SUM) -> Found:
        """An operand with the operators behind it that bind at least as tight as `binding`, and their operands."""
        if depth > MAX_DEPTH or i >= len(self.tokens):
            return None
        if i not in self.operands:
            self.operands[i] = self._operand(i, depth)
        left = self.operands[i]
        while left and left[1] < min(len(self.tokens), i + MAX_TOKENS):
            value, at = left
            sign, behind = self._operator(at)
            level, operation = _OPERATORS[sign or ""]
            if sign is None or level < binding:
                break
            if level == _POSTFIX:
                left = apply(operation, value), behind
            elif right := self.expression(behind, depth + (level == _POWER), level + (level != _POWER)):
                left = apply(operation, value, right[0]), right[1]
            else:
                break
            self.operations[at] = operation
        return left

    def _operand(self, i: int, depth: int) -> Found:
        """A number, a variable, brackets or a function of one of these."""
        token, written = self.tokens[i], self.texts[i]
        index = self.texts[i + 2] if self.texts[i + 1] == "_" else ""
        last = i + 3 if index else i + 1
        if token.value is not None:
            return token.value, last
        if written in _CLOSE:
            inner = self.expression(i + 1, depth + 1)
            closed = inner and self.texts[inner[1]].replace("]", ")") == _CLOSE[written]
            return (inner[0], inner[1] + 1) if inner and closed else None
        if name := self._phrase(_PREFIX, i):
            return self._call(name, i, i + name.count(" ") + 1, depth + 1)
        if written == "pi":
            return math.pi, last
        if not self._is_letter(i):
            return None
        self.letters.add(i)
        # A fixed value for each letter, positive and in no simple relation to those of another.
        names = [written] if token.kind == "command" else list(written)
        return math.prod(0.3 + zlib.crc32((name + index).encode()) / 2**32 for name in names), last

    def _call(self, name: str, i: int, behind: int, depth: int) -> Found:
        """A function of what stands behind it, or a sign before it."""
        if name in "-+":
            after = name == "-" and self.tokens[i].glued and i and self.tokens[i - 1].value is not None
            inner = None if after else self.expression(behind, depth, _POWER)
            return inner and (apply(_PREFIX[name], inner[0]), inner[1])
        mark = self.texts[behind] if name in _FUNCTIONS and self.texts[behind] in _OPTIONS else ""
        option = self.expression(behind + (mark != "["), depth, _POSTFIX) if mark else None
        behind = option[1] if option else behind
        inner = self.expression(behind + (self.texts[behind] == "the"), depth, _POSTFIX)
        if inner is None:
            return None
        value, last = inner
        if self.texts[last] in ("degree", "degrees"):
            value, last = apply(math.radians, value), last + 1
        self.operations[i] = _PREFIX[name]
        value = apply(_PREFIX[name], value)
        return apply(_OPTIONS[mark], value, option[0]) if option else value, last

    def _phrase(self, table: Mapping[str, Any], i: int) -> str:
        """The longest phrase of a table that stands at a token."""
        counts = range(_HEADS.get(self.lower[i], 0), 0, -1)
        return next((name for count in counts if (name := " ".join(self.lower[i : i + count])) in table), "")

    def _operator(self, i: int) -> tuple[str | None, int]:
        """The operator at a token, "" where a factor follows without one, and the index behind it."""
        if not (sign := self._phrase(_OPERATORS, i)):
            return "" if self._is_factor(i) else None, i
        before, behind = self.tokens[i - 1], i + sign.count(" ") + 1
        around = {before.kind, *(token.kind for token in self.tokens[behind : behind + 1])}
        fits = {
            "by": not {"multiply", "divide"}.isdisjoint(self.lower[max(0, i - 6) : i]),
            "-": not self.tokens[i].glued or "-" not in (self.texts[i - 2], self.texts[i + 2]),  # no 30-60-90 triangle
            "of": before.text in ("%", "percent", ")") or before.notation in ("fraction", "times"),
            "in": before.value == 1 and before.notation == "words",  # one in six
            "x": around == {"number"},  # a variable elsewhere
            "to the": "ordinal" in around,
            "power of": "ordinal" in around,
        }
        if fits.get(sign, True):
            return sign, behind + (sign == "times" and self.texts[behind] == "the")
        return "" if self._is_factor(i) else None, i

    def _is_factor(self, i: int) -> bool:
        r"""Whether a factor follows without a sign: `2x`, `3(n+1)`, `3 \sqrt{13}`, not `2 3` and not `2 apples`."""
        token, before = self.tokens[i], self.texts[i - 1]
        if token.text in ("(", "{") or token.value is not None:  # 3!2!
            return (token.glued and (before in (")", "}", "!") or token.value is None)) or before + token.text == ")("
        return token.text in _FUNCTIONS or self._is_letter(i)

    def _is_letter(self, i: int) -> bool:
        """`a`, `I` and `A` are words unless an operator touches them; a product of letters stands beside one."""
        token, before, after = self.tokens[i], self.texts[i - 1] if i else "", self.texts[i + 1]
        if token.text in _GREEK or token.kind != "word" or len(token.text) > 2:
            return token.text in _GREEK
        operated = bool({before, after} & _SIGNS) or (token.glued and i > 0 and self.tokens[i - 1].value is not None)
        if len(token.text) == 1:
            return token.text not in "aIA" or operated or before in ("(", "{") or before in _FUNCTIONS
        return token.text.islower() and token.text not in _SHORT and (operated or before in ("{", "}", ")"))
