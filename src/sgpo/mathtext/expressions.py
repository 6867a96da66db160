r"""Find the mathematics among the tokens of a text and evaluate it: a parser by precedence, one token ahead.

A value is exact where it is rational. Each letter has a fixed value, so that two spellings of one formula agree and a
formula agrees with nothing else.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from sgpo.mathtext.tokens import Token, words

Value = Fraction | float
MAX_DEPTH = 25
MAX_NODES = 6_000  # of one text; what follows is not read
MAX_TOKENS = 200  # of one expression; what follows is read as another one
RELATIONS = words("= < > <= >= !=")
_GREEK = words("pi alpha beta gamma theta phi omega lambda mu sigma delta rho epsilon varphi tau Delta infty")
_RATIOS = ("sin", "cos", "tan", "cot", "sec", "csc")
_CLOSE = {"(": ")", "[": ")", "{": "}"}  # `]` is read as `)`, for the sake of intervals
_SHORT = words("is of to in by or at if an as on we it be do so no up am he my me us go km cm mm kg ml ft hr")


def _power(x: Value, y: Value) -> Value:
    if abs(float(y)) > 1000 or (isinstance(x, Fraction) and x.numerator.bit_length() + x.denominator.bit_length() > 64):
        raise OverflowError
    return x**y


def _count(x: Value) -> int:
    if x != int(x) or not 0 <= x <= 170:
        raise ValueError
    return int(x)


def _root(x: Value) -> Value:
    return _power(x, 0.5)


def _percent(x: Value) -> Value:
    return x / 100


def _factorial(x: Value) -> Value:
    return Fraction(math.factorial(_count(x)))


def _choose(n: Value, k: Value) -> Value:
    return Fraction(math.comb(_count(n), _count(k)))


def _odds(x: Value, y: Value) -> Value:
    return x / (x + y)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sin": math.sin, "cos": math.cos, "tan": math.tan, "cot": lambda x: 1 / math.tan(x),
    "sec": lambda x: 1 / math.cos(x), "csc": lambda x: 1 / math.sin(x), "ln": math.log, "log": math.log10,
    "exp": math.exp, "arcsin": math.asin, "arccos": math.acos, "arctan": math.atan, "sqrt": _root,
}  # fmt: skip
# What stands between a function and its argument: `sin^2 x`, `log_2 x`, `sqrt[3]{x}`.
_OPTIONS = {"^": _power, "_": lambda x, base: x / math.log10(base), "[": lambda x, n: _power(x, 2 / n)}
_PREFIX: dict[str, Callable[..., Any]] = _FUNCTIONS | {
    "-": operator.neg, "+": operator.pos, "negative": operator.neg, "minus": operator.neg, "opposite of": operator.neg,
    "additive inverse of": operator.neg, "square root of": _root, "root of": _root,
    "cube root of": lambda x: _power(x, 1 / 3), "square of": lambda x: x * x, "cube of": lambda x: x**3,
    "reciprocal of": lambda x: 1 / x, "twice": lambda x: 2 * x, "double": lambda x: 2 * x,
    "triple": lambda x: 3 * x, "factorial of": _factorial,
    "sine of": math.sin, "cosine of": math.cos, "tangent of": math.tan,
}  # fmt: skip
_OF_TWO = {
    "sum of": operator.add, "product of": operator.mul, "quotient of": operator.truediv,
    "difference of": operator.sub, "difference between": operator.sub,
}  # fmt: skip
_POSTFIX: dict[str, Callable[..., Any]] = {
    "!": _factorial, "squared": lambda x: x * x, "cubed": lambda x: x**3, "factorial": _factorial, "%": _percent,
    "percent": _percent,
}  # fmt: skip
_SUM, _PRODUCT, _POWER = 1, 2, 3
# How tight an operator binds, and what it does.
_INFIX: dict[str, tuple[int, Callable[..., Any]]] = {
    "+": (_SUM, operator.add), "-": (_SUM, operator.sub), "plus": (_SUM, operator.add), "minus": (_SUM, operator.sub),
    "more than": (_SUM, operator.add), "less than": (_SUM, lambda x, y: y - x),
    "short of": (_SUM, lambda x, y: y - x), "": (_PRODUCT, operator.mul), "*": (_PRODUCT, operator.mul),
    "times": (_PRODUCT, operator.mul), "x": (_PRODUCT, operator.mul), "of": (_PRODUCT, operator.mul),
    "multiplied by": (_PRODUCT, operator.mul), "/": (_PRODUCT, operator.truediv), "over": (_PRODUCT, operator.truediv),
    "divided by": (_PRODUCT, operator.truediv), "out of": (_PRODUCT, operator.truediv),
    "in": (_PRODUCT, operator.truediv), ":": (_PRODUCT, operator.truediv), "by": (_PRODUCT, operator.mul),
    "choose": (_PRODUCT, _choose), "to": (_PRODUCT, _odds), "^": (_POWER, _power), "to the": (_POWER, _power),
    "to the power of": (_POWER, _power), "to the power": (_POWER, _power),
    "raised to the power of": (_POWER, _power), "power of": (_POWER, lambda x, y: _power(y, x)),
}  # fmt: skip
# Words that join only two numbers; the other phrases join all operands.
_OF_NUMBERS = words("x choose to more less short out by in :")
_HEADS = {phrase.split(" ")[0] for phrase in (*_INFIX, *_PREFIX, *_OF_TWO)}
_OPERATORS = {phrase for phrase in _INFIX if phrase and not phrase[0].isalpha()} | RELATIONS | {"_"}


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


def _letter(name: str) -> Value:
    """A fixed value of a letter, positive and in no simple relation to those of another."""
    seed = 0.0
    for character in name:
        seed = (seed * 31.0 + ord(character)) % 9973.0
    return 0.3 + math.fmod(seed * 0.6180339887498949, 1.0)


class Node(NamedTuple):
    """A value in the text.

    first, last: the indices of its first token and of the one behind its last. kind: number (one literal), fraction,
    percent, ratio, expression, tuple (brackets with commas) or relation. value: None where it cannot be had, and for
    tuples and relations. literals: the sizes of the numbers written in it; letters and operations: how many it holds.
    parts, signs: the sides of a relation and what joins them, or the parts of a tuple.
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


def _made(kind: str, value: Value | None, first: int, last: int, parts: Sequence[Node], operations: int = 1) -> Node:
    """A node of some others, with `operations` more than they have."""
    literals = tuple(number for part in parts for number in part.literals)
    operations += sum(part.operations for part in parts)
    return Node(first, last, kind, value, literals, sum(part.letters for part in parts), operations)


class _Parser:
    """A method returns the node that begins at a token, None where none does."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.tokens = tokens
        self.texts = [token.text for token in tokens] + [""] * 8
        self.lower = [text.lower() for text in self.texts]
        self.operands: dict[int, Node | None] = {}

    def relation(self, i: int, depth: int = 0) -> Node | None:
        """Sides and the signs between them, or a single side."""
        side = self.expression(i, depth)
        parts, signs = [side], list[str]()
        while side and self.texts[side.last] in RELATIONS:
            sign = self.texts[side.last]
            side = self.expression(side.last + 1, depth)
            if side:
                parts, signs = [*parts, side], [*signs, sign]
        found = [part for part in parts if part]
        if not signs:
            return parts[0]
        node = _made("relation", None, i, found[-1].last, found, 0)
        return node._replace(parts=tuple(found), signs=tuple(signs))

    def expression(self, i: int, depth: int, binding: int = _SUM) -> Node | None:
        """Operands, joined by operators that bind at least as tight as `binding`."""
        left = self._operand(i, depth)
        while left and left.last < min(len(self.tokens), i + MAX_TOKENS):
            sign, behind = self._infix(left.last)
            level, operation = _INFIX[sign or ""]
            if sign is None or level < binding:
                break
            power = level == _POWER
            right = self.expression(behind, depth + power, level + (not power))
            if right is None:
                break
            kind = "expression"
            if (
                left.last - left.first == len(left.literals) == len(right.literals) == 1
                and not right.letters
                and not right.operations
            ):
                kind = "ratio" if sign == ":" else "fraction" if operation in (operator.truediv, _odds) else kind
            left = _made(kind, apply(operation, left.value, right.value), i, right.last, (left, right))
        return left

    def _operand(self, i: int, depth: int) -> Node | None:
        """A number, a variable, brackets or a function of one of these, with what stands behind it (`!`)."""
        if depth > MAX_DEPTH or i >= len(self.tokens):
            return None
        if i not in self.operands:
            node = self._atom(i) or self._brackets(i, depth) or self._call(i, depth)
            while node and (operation := self._postfix(node.last)):
                percent = operation is _percent
                kind = "percent" if percent else "expression"
                node = _made(kind, apply(operation, node.value), i, node.last + 1, (node,), int(not percent))
            self.operands[i] = node
        return self.operands[i]

    def _postfix(self, i: int) -> Callable[..., Any] | None:
        written = self.texts[i]
        if (written == "!" and not self.tokens[i].glued) or (
            written == "percent" and self.tokens[i - 1].kind == "ordinal"
        ):
            return None
        return _POSTFIX.get(written)

    def _atom(self, i: int) -> Node | None:
        """A number or a variable, with its index."""
        token, written = self.tokens[i], self.texts[i]
        index = self.texts[i + 2] if self.texts[i + 1] == "_" else ""
        last = i + 3 if index else i + 1
        if token.value is not None:
            kind = "fraction" if token.notation in ("fraction", "times") else "number"
            return Node(i, last, kind, token.value, (size(token.value),))
        if written == "pi":
            return Node(i, last, "number", math.pi)
        if written in _GREEK or (token.kind == "word" and self._is_variable(i)):
            names = [written] if token.kind == "command" else list(written)
            return Node(i, last, "expression", math.prod(_letter(name + index) for name in names), (), 1)
        return None

    def _brackets(self, i: int, depth: int) -> Node | None:
        if self.texts[i] not in _CLOSE:
            return None
        parts, end = list[Node](), i
        while end == i or self.texts[end] == ",":
            part = self.relation(end + 1, depth + 1)
            if part is None:
                return None
            parts, end = [*parts, part], part.last
        if self.texts[end].replace("]", ")") != _CLOSE[self.texts[i]]:
            return None
        if len(parts) > 1:
            return _made("tuple", None, i, end + 1, parts, 0)._replace(parts=tuple(parts))
        return parts[0]._replace(first=i, last=end + 1)

    def _call(self, i: int, depth: int) -> Node | None:
        phrase = self._phrase((_PREFIX, _OF_TWO), i)
        if not phrase or (i and self.texts[i - 1] in ("a", "an") and phrase[-3:] == " of"):
            return None  # `gives a tangent of 1`
        behind = i + phrase.count(" ") + 1
        if phrase in "-+":
            inner = self.expression(behind, depth + 1, _POWER)
            return inner and inner._replace(first=i, value=apply(_PREFIX[phrase], inner.value))
        mark, option = self.texts[behind], None
        if phrase in _FUNCTIONS and mark in _OPTIONS:
            option = self._operand(behind + (mark != "["), depth + 1)
            behind = option.last if option else behind
        inner = self._operand(behind + (self.texts[behind] == "the"), depth + 1)
        if inner is None or (inner.letters and not inner.operations and phrase not in _FUNCTIONS):
            return None
        if phrase in _OF_TWO:
            other = self._operand(inner.last + 1, depth + 1) if self.texts[inner.last] == "and" else None
            return other and _made(
                "expression", apply(_OF_TWO[phrase], inner.value, other.value), i, other.last, (inner, other)
            )
        after = inner.last
        if self.texts[after] in ("degree", "degrees"):
            inner = inner._replace(value=apply(math.radians, inner.value), last=after + 1)
        elif inner.kind == "number" and self.texts[after] in _GREEK | {"x", "t"}:  # sin 2x
            other = self._atom(after)
            inner = other and _made(
                "expression", apply(operator.mul, inner.value, other.value), behind, other.last, (inner, other)
            )
        if inner is None:
            return None
        value = apply(_PREFIX[phrase], inner.value)
        if option:
            value = apply(_OPTIONS[mark], value, option.value)
        return _made("expression", value, i, inner.last, (option, inner) if option else (inner,))

    def _phrase(self, tables: Sequence[dict[str, Any]], i: int) -> str:
        """The longest phrase of some tables that stands at a token."""
        if self.lower[i] in _HEADS:
            for count in range(5, 0, -1):
                name = " ".join(self.lower[i : i + count])
                if any(name in table for table in tables):
                    return name
        return ""

    def _infix(self, i: int) -> tuple[str | None, int]:
        """The operator at a token, "" where a factor follows without one, and the index of the operand behind it."""
        sign = self._phrase((_INFIX,), i)
        behind = i + sign.count(" ") + 1
        if not sign or not self._is_infix(sign, i, behind):
            return "" if self._is_factor(i) else None, i
        return sign, behind + (sign == "times" and self.texts[behind] == "the")  # times the square root of 2

    def _is_infix(self, sign: str, i: int, behind: int) -> bool:
        """Whether it stands between operands: the hyphens of `30-60-90` and `4-digit` do not, nor most words."""
        if behind >= len(self.tokens):
            return False
        before, token, after = self.tokens[i - 1], self.tokens[i], self.tokens[behind]
        if sign == "-" and token.glued and after.glued and before.value is not None:
            chained = self.texts[i + 2] == "-" or self.texts[i - 2] == "-"
            smaller = after.value is None or before.value > after.value
            return smaller and not chained and (after.kind != "word" or len(after.text) == 1)
        if sign in ("to the", "power of"):
            return {before.kind, after.kind} == {"number", "ordinal"}
        if sign == "of":
            return before.text in ("%", "percent", ")") or before.notation in ("fraction", "times")
        if sign == "in" and not (before.value == 1 and before.notation in ("words", "times")):
            return False
        if sign == "to" and self.texts[behind + 1] not in ("in", "against"):
            return False
        if sign == ":" and not (token.glued and after.glued):
            return False
        if sign == "by" and not {"multiply", "divide"} & set(self.lower[max(0, i - 6) : i]):
            return False
        numbers = (before.kind == "number" or before.text == ")") and (after.kind == "number" or after.text == "(")
        return numbers or sign.split(" ")[0] not in _OF_NUMBERS

    def _is_factor(self, i: int) -> bool:
        r"""Whether a factor follows without a sign: `2x`, `3(n+1)`, `3 \sqrt{13}`, not `2 3` and not `2 apples`."""
        token, before = self.tokens[i], self.tokens[i - 1]
        if token.kind == "command" or token.text == "sqrt":
            return token.text in _FUNCTIONS or token.text in _GREEK
        if token.text in ("(", "{"):
            return token.glued or before.text == ")"
        if token.kind == "word":
            return (token.glued or before.value is None or len(token.text) == 1) and self._is_variable(i)
        return token.value is not None and before.text in (")", "}", "!") and token.glued

    def _is_variable(self, i: int) -> bool:
        """`a`, `I` and `A` are words unless an operator touches them; a product of letters stands beside one."""
        token, before, after = self.tokens[i], self.texts[i - 1] if i else "", self.texts[i + 1]
        operated = bool({before, after} & _OPERATORS) or (
            token.glued and i > 0 and self.tokens[i - 1].value is not None
        )
        if len(token.text) == 1:
            called = after == "(" and self.tokens[i + 1].glued
            return token.text not in "aIA" or operated or called or before in ("(", "{", *_RATIOS)
        known = len(token.text) == 2 and token.text.islower() and token.text not in _SHORT
        return known and (operated or before in ("{", "}", ")"))


def scan(tokens: Sequence[Token]) -> Iterable[Node]:
    """Each whole expression or relation of a text."""
    parser, texts, i, count = _Parser(tokens), [token.text for token in tokens], 0, 0
    while i < len(tokens) and count < MAX_NODES:
        hyphen = tokens[i].text == "-" and tokens[i].glued and i > 0 and tokens[i - 1].kind in ("number", "word")
        node = None if hyphen else parser.relation(i)
        if node and (node.literals or node.operations or node.parts):
            count += 1
            # 1 + 3 + ... is not worth 4.
            yield node._replace(value=None) if "..." in texts[node.last : node.last + 2] and node.operations else node
        i = node.last if node else i + 1
