r"""Find the mathematics among the tokens of a text and evaluate it: a parser by precedence, one token ahead.

A value is exact where it is rational. Each letter has a fixed value, so that two spellings of one formula agree and a
formula agrees with nothing else.
"""

from __future__ import annotations

import math
import operator
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from sgpo.mathtext.tokens import Token, words

Value = Fraction | float
MAX_DEPTH = 25
MAX_NODES = 6_000  # of one text; what follows is not read
MAX_TOKENS = 200  # of one expression; what follows is read as another one
RELATIONS = words("= < > <= >= !=")
_GREEK = words("pi alpha beta gamma theta phi omega lambda mu sigma delta rho epsilon varphi tau Delta infty")
_CLOSE = {"(": ")", "[": ")", "{": "}"}  # `]` is read as `)`, for the sake of intervals
_SHORT = words("is of to in by or at if an as on we it be do so no up am he my me us go km cm mm kg ml ft hr")


def _power(x: Value, y: Value) -> Value:
    if abs(float(y)) > 1000 or (isinstance(x, Fraction) and x.numerator.bit_length() + x.denominator.bit_length() > 64):
        raise OverflowError
    return x**y


def _choose(n: Value, k: Value | None = None) -> Fraction:
    """The binomial coefficient, of n alone its factorial."""
    if n != int(n) or not 0 <= n <= 170:
        raise ValueError
    return Fraction(math.factorial(int(n)) if k is None else math.comb(int(n), int(k)))


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sin": math.sin, "cos": math.cos, "tan": math.tan, "cot": lambda x: 1 / math.tan(x),
    "sec": lambda x: 1 / math.cos(x), "csc": lambda x: 1 / math.sin(x), "ln": math.log, "log": math.log10,
    "exp": math.exp, "arcsin": math.asin, "arccos": math.acos, "arctan": math.atan, "sqrt": lambda x: _power(x, 0.5),
}  # fmt: skip
# What stands between a function and its argument: `sin^2 x`, `log_2 x`, `sqrt[3]{x}`.
_OPTIONS = {"^": _power, "_": lambda x, base: x / math.log10(base), "[": lambda x, n: _power(x, 2 / n)}
_SIGNS = dict.fromkeys(("-", "negative", "minus", "additive inverse of"), operator.neg) | {"+": operator.pos}
_PREFIX: dict[str, Callable[..., Any]] = _FUNCTIONS | _SIGNS | {
    "square root of": lambda x: _power(x, 0.5), "cube root of": lambda x: _power(x, 1 / 3), "square of": lambda x: x * x,
    "cube of": lambda x: x**3, "reciprocal of": lambda x: 1 / x, **dict.fromkeys(("twice", "double"), lambda x: 2 * x),
    "triple": lambda x: 3 * x,
}  # fmt: skip
_POSTFIX: dict[str, Callable[..., Any]] = {
    "!": _choose, "squared": lambda x: x * x, "cubed": lambda x: x**3, "%": lambda x: x / 100, "percent": lambda x: x / 100
}  # fmt: skip
_RELATION, _SUM, _PRODUCT, _POWER = range(4)
# How tight an operator binds, and what it does; "" is what joins two factors without a sign.
_INFIX: dict[str, tuple[int, Callable[..., Any]]] = {
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
        (_RELATION, lambda x, y: None, "=|<|>|<=|>=|!="),
    )
    for name in names.split("|")
}
_HEADS = {phrase.split(" ")[0] for phrase in (*_INFIX, *_PREFIX) if phrase}
_OPERATORS = RELATIONS | words("+ - * / ^ _")


def apply(function: Callable[..., Any], *values: Value | None) -> Value | None:
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


def size(value: Value | None) -> float:
    """One key for equal sizes, whatever the sign; -1 where there is no value."""
    return -1.0 if value is None else float(f"{abs(float(value)):.10g}")


class Node(NamedTuple):
    """A value in the text.

    first, last: the indices of its first token and of the one behind its last. kind: number (one literal), fraction,
    percent, expression or relation. value: None where it cannot be had, and for relations. literals: the sizes of the
    numbers written in it; letters and operations: how many it holds. parts, signs: the sides of a relation and what
    joins them.
    """

    first: int
    last: int
    kind: str
    value: Value | None
    literals: tuple[float, ...] = ()
    letters: int = 0
    operations: int = 0
    parts: tuple[Node, ...] = ()
    signs: tuple[str, ...] = ()

    @property
    def form(self) -> float:
        """Its value as a key, with its sign."""
        return math.copysign(size(self.value), self.value or 0)


class _Parser:
    """Each method returns the node that begins at a token, None where none does."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.tokens = tokens
        self.texts = [token.text for token in tokens] + [""] * 8
        self.lower = [text.lower() for text in self.texts]
        self.operands: dict[int, Node | None] = {}

    def read(self, i: int, depth: int = 0, binding: int = _RELATION) -> Node | None:
        """Operands, joined by operators that bind at least as tight as `binding`."""
        left = self._operand(i, depth)
        while left and left.last < min(len(self.tokens), i + MAX_TOKENS):
            sign, behind = self._infix(left.last)
            level, function = _INFIX[sign or ""]
            if sign is None or level < binding:
                break
            right = self.read(behind, depth + (level == _POWER), level + (level != _POWER))
            if right is None:
                break
            if level == _RELATION:
                made = self._made("relation", None, i, right.last, left, right, operations=0)
                left = made._replace(parts=(*(left.parts or [left]), right), signs=(*left.signs, sign))
            else:
                fraction = function is operator.truediv and left.kind == right.kind == "number"
                value = apply(function, left.value, right.value)
                left = self._made("fraction" if fraction else "expression", value, i, right.last, left, right)
        return left

    def _made(self, kind: str, value: Value | None, first: int, last: int, *parts: Node, operations: int = 1) -> Node:
        """A node with `operations` more than its parts have."""
        literals = tuple(number for part in parts for number in part.literals)
        operations += sum(part.operations for part in parts)
        return Node(first, last, kind, value, literals, sum(part.letters for part in parts), operations)

    def _operand(self, i: int, depth: int) -> Node | None:
        """A number, a variable, brackets or a function of one of these, with what stands behind it (`!`)."""
        if depth > MAX_DEPTH or i >= len(self.tokens):
            return None
        if i not in self.operands:
            node = self._atom(i, depth)
            while node and (sign := self.lower[node.last]) in _POSTFIX:
                kind, value = "percent" if sign in ("%", "percent") else "expression", apply(_POSTFIX[sign], node.value)
                node = self._made(kind, value, i, node.last + 1, node, operations=int(kind == "expression"))
            self.operands[i] = node
        return self.operands[i]

    def _atom(self, i: int, depth: int) -> Node | None:
        token, written = self.tokens[i], self.texts[i]
        index = self.texts[i + 2] if self.texts[i + 1] == "_" else ""
        last = i + 3 if index else i + 1
        if token.value is not None:
            kind = "fraction" if token.notation in ("fraction", "times") else "number"
            return Node(i, last, kind, token.value, (size(token.value),))
        if written in _CLOSE:
            inner = self.read(i + 1, depth + 1)
            closed = inner and self.texts[inner.last].replace("]", ")") == _CLOSE[written]
            return inner._replace(first=i, last=inner.last + 1) if inner and closed else None
        if name := self._phrase(_PREFIX, i):
            return self._call(name, i, i + name.count(" ") + 1, depth + 1)
        if written == "pi":
            return Node(i, last, "expression", math.pi)
        if self._is_letter(i):
            # A fixed value for each letter, positive and in no simple relation to those of another.
            names = [written] if token.kind == "command" else list(written)
            values = (0.3 + zlib.crc32((name + index).encode()) / 2**32 for name in names)
            return Node(i, last, "expression", math.prod(values), (), 1)
        return None

    def _call(self, name: str, i: int, behind: int, depth: int) -> Node | None:
        """A function of what stands behind it, or a sign before it."""
        if name in "-+":
            after = self.tokens[i].glued and i and self.tokens[i - 1].value is not None
            inner = None if after and name == "-" else self.read(behind, depth, _POWER)
            return inner and inner._replace(first=i, value=apply(_PREFIX[name], inner.value))
        mark = self.texts[behind] if name in _FUNCTIONS and self.texts[behind] in _OPTIONS else ""
        option = self._operand(behind + (mark != "["), depth) if mark else None
        behind = option.last if option else behind
        inner = self._operand(behind + (self.texts[behind] == "the"), depth)
        if inner is None:
            return None
        if self.texts[inner.last] in ("degree", "degrees"):
            inner = inner._replace(value=apply(math.radians, inner.value), last=inner.last + 1)
        value = apply(_PREFIX[name], inner.value)
        if option:
            value = apply(_OPTIONS[mark], value, option.value)
        return self._made("expression", value, i, inner.last, *([option] if option else []), inner)

    def _phrase(self, table: Mapping[str, Any], i: int) -> str:
        """The longest phrase of a table that stands at a token."""
        counts = range(5, 0, -1) if self.lower[i] in _HEADS else ()
        return next((name for count in counts if (name := " ".join(self.lower[i : i + count])) in table), "")

    def _infix(self, i: int) -> tuple[str | None, int]:
        """The operator at a token, "" where a factor follows without one, and the index of the operand behind it."""
        sign, before = self._phrase(_INFIX, i), self.tokens[i - 1]
        behind = i + sign.count(" ") + 1
        around = {before.kind, *(token.kind for token in self.tokens[behind : behind + 1])}
        fits = {
            "by": not {"multiply", "divide"}.isdisjoint(self.lower[max(0, i - 6) : i]),
            "-": not self.tokens[i].glued or "-" not in (self.texts[i - 2], self.texts[i + 2]),  # no 30-60-90 triangle
            "of": before.text in ("%", "percent", ")") or before.notation in ("fraction", "times"),
            "in": before.value == 1 and before.notation == "words",  # one in six
            "x": around == {"number"},  # a variable elsewhere
            "to the": "ordinal" in around,
            "power of": "ordinal" in around,
        }.get(sign, True)
        if sign and fits:
            return sign, behind + (sign == "times" and self.texts[behind] == "the")
        return "" if self._is_factor(i) else None, i

    def _is_factor(self, i: int) -> bool:
        r"""Whether a factor follows without a sign: `2x`, `3(n+1)`, `3 \sqrt{13}`, not `2 3` and not `2 apples`."""
        token = self.tokens[i]
        if token.text in ("(", "{"):
            return token.glued or self.texts[i - 1] == ")"
        if token.value is not None:
            return token.glued and self.texts[i - 1] in (")", "}", "!")  # 3!2!
        return token.text in _FUNCTIONS or self._is_letter(i)

    def _is_letter(self, i: int) -> bool:
        """`a`, `I` and `A` are words unless an operator touches them; a product of letters stands beside one."""
        token, before, after = self.tokens[i], self.texts[i - 1] if i else "", self.texts[i + 1]
        if token.text in _GREEK or token.kind != "word" or len(token.text) > 2:
            return token.text in _GREEK
        factor = token.glued and i > 0 and self.tokens[i - 1].value is not None
        operated = bool({before, after} & _OPERATORS) or factor
        if len(token.text) == 1:
            return token.text not in "aIA" or operated or before in ("(", "{") or before in _FUNCTIONS
        known = token.text.islower() and token.text not in _SHORT
        return known and (operated or before in ("{", "}", ")"))


def scan(tokens: Sequence[Token]) -> Iterator[Node]:
    """Each whole expression or relation of a text."""
    parser, i, count = _Parser(tokens), 0, 0
    while i < len(tokens) and count < MAX_NODES:
        node = parser.read(i)
        if node and (node.literals or node.operations or node.parts):
            count += 1
            endless = node.operations and "..." in parser.texts[node.last : node.last + 2]  # 1 + 3 + ... is not worth 4
            yield node._replace(value=None) if endless else node
        i = node.last if node else i + 1
