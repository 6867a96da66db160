r"""Find the mathematics among the tokens of a text and evaluate it, without any evaluation of code.

Each run of operands and operators is spelled as a Python expression, of which Python's own parser makes a tree; only
the operations of this file are carried out on it. A value is exact where it is rational. Each letter has a fixed value,
so that two spellings of one formula agree and a formula agrees with nothing else.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from sgpo.mathtext.tokens import Token, words

Value = Fraction | float
MAX_DEPTH = 25
MAX_NODES = 6_000  # of one text; what follows is not read
MAX_TOKENS = 200  # of one expression; what follows is read as another one
RELATIONS = {"=": "==", "<": "<", ">": ">", "<=": "<=", ">=": ">=", "!=": "!="}
_GREEK = words("alpha beta gamma theta phi omega lambda mu sigma delta rho epsilon varphi tau Delta infty")
_RATIOS = ("sin", "cos", "tan", "cot", "sec", "csc")
_CLOSE = {"(": ")", "[": "]", "{": "}"}
_SHORT = words("is of to in by or at if an as on we it be do so no up am he my me us go km cm mm kg ml ft hr")


def _power(x: Value, y: Value) -> Value:
    if abs(float(y)) > 1000 or (isinstance(x, Fraction) and x.numerator.bit_length() + x.denominator.bit_length() > 64):
        raise OverflowError
    return x**y


def _count(x: Value) -> int:
    if x != int(x) or not 0 <= x <= 170:
        raise ValueError
    return int(x)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sin": math.sin, "cos": math.cos, "tan": math.tan, "cot": lambda x: 1 / math.tan(x),
    "sec": lambda x: 1 / math.cos(x), "csc": lambda x: 1 / math.sin(x), "ln": math.log, "log": math.log10,
    "exp": math.exp,
    "arcsin": math.asin, "arccos": math.acos, "arctan": math.atan, "sqrt": lambda x: _power(x, 0.5),
    "cbrt": lambda x: _power(x, 1 / 3), "square": lambda x: x * x, "cube": lambda x: x**3, "opposite": operator.neg,
    "reciprocal": lambda x: 1 / x, "twice": lambda x: 2 * x, "triple": lambda x: 3 * x, "percent": lambda x: x / 100,
    "degree": math.radians, "factorial": lambda x: Fraction(math.factorial(_count(x))),
}  # fmt: skip
# Binary operators of Python, some of them with a meaning of their own here: `//` takes the first from the second.
_OPERATIONS: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv, ast.Pow: _power,
    ast.FloorDiv: lambda x, y: y - x, ast.MatMult: operator.truediv, ast.LShift: lambda x, y: _power(y, x),
    ast.BitAnd: lambda x, y: x / (x + y), ast.BitOr: lambda x, y: y / (x + y),  # odds in favour, and against
    ast.Mod: lambda n, k: Fraction(math.comb(_count(n), _count(k))),
}  # fmt: skip
# Phrases between, before and behind operands, as Python spells them here.
_INFIX = RELATIONS | {
    "+": "+", "-": "-", "*": "*", "/": "/", "^": "**", "plus": "+", "minus": "-", "times": "*", "over": "/",
    "divided by": "/", "multiplied by": "*", "out of": "/", "to the power of": "**", "to the power": "**",
    "raised to the power of": "**", "to the": "**", "of": "*", "choose": "%", "C": "%", "x": "*", ":": "@", ",": ",",
    "more than": "+", "less than": "//", "short of": "//", "in": "/", "by": "*", "power of": "<<",
    "to": "&",
}  # fmt: skip
_PREFIX = {
    "-": "-", "+": "+", "negative": "-", "minus": "-", "square root of": "sqrt", "cube root of": "cbrt",
    "root of": "sqrt", "square of": "square", "cube of": "cube", "reciprocal of": "reciprocal",
    "opposite of": "opposite", "additive inverse of": "opposite", "twice": "twice", "double": "twice",
    "triple": "triple", "factorial of": "factorial", "sine of": "sin", "cosine of": "cos", "tangent of": "tan",
    "cotangent of": "cot", "secant of": "sec", "cosecant of": "csc",
    "sum of": "+", "product of": "*", "quotient of": "/", "difference of": "-", "difference between": "-",
}  # fmt: skip
_POSTFIX = {"!": "factorial", "squared": "square", "cubed": "cube", "factorial": "factorial", "%": "percent"}
_POSTFIX |= {"percent": "percent"}
# Words that join only two numbers; the other phrases join all operands.
_OF_NUMBERS = frozenset(("x", "choose", "C", "to", "out of", "more than", "less than", "short of", "by", "in", ":"))
_LONGEST: dict[str, int] = {}  # words of the longest phrase that begins with a word
for _phrase in (*_INFIX, *_PREFIX):
    _head = _phrase.split(" ")[0].lower()
    _LONGEST[_head] = max(_LONGEST.get(_head, 0), _phrase.count(" ") + 1)
_OPERATORS = frozenset(phrase for phrase in _INFIX if not phrase[0].isalpha()) - {","} | {"_"}


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


class _Speller:
    """It spells what follows a token as a Python expression: `n4` is the number at token 4, `v7` the letter at 7."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.tokens = tokens
        self.texts = [token.text for token in tokens] + [""] * 8

    def phrase(self, table: Mapping[str, str], i: int) -> str:
        """The longest phrase of a table that stands at `i`."""
        for count in range(_LONGEST.get(self.texts[i].lower(), 0), 0, -1):
            name = " ".join(self.texts[i : i + count])
            if name in table or (len(name) > 1 and name.lower() in table):
                return name if name in table else name.lower()
        return ""

    def spell(self, start: int) -> tuple[str, int]:
        """The longest expression that begins at `start`, and the index behind it."""
        out: list[str] = []
        closing: list[str] = []
        best, end, i, operand = 0, start, start, True
        while i < min(len(self.tokens), start + MAX_TOKENS) and len(closing) <= MAX_DEPTH:
            written, behind = self.texts[i], i + 1
            if operand:
                piece, behind = self._operand(i)
                operand = piece[-1:] in "([-+" or piece in _FUNCTIONS
                if piece == "(":
                    closing.append(_CLOSE[written])
            elif closing and (written == closing[-1] or (written in ")]" and closing[-1] in ")]")):
                piece = ")"
                closing.pop()
            elif (name := self._postfix(i)) and (name != "percent" or self.tokens[i - 1].kind != "ordinal"):
                piece = f".{name}"
            else:
                sign = self.phrase(_INFIX, i)
                sign = sign if sign and (sign != "," or closing) and self._is_infix(sign, i) else ""
                behind = i + sign.count(" ") + 1 if sign else i
                divided = sign == "by" and "divide" in map(str.lower, self.texts[max(0, i - 6) : i])
                against = sign == "to" and self.texts[behind + 1] == "against"
                by = "/" if divided else "|" if against else _INFIX.get(sign)
                piece = f" {by} " if sign else " * " if self._is_factor(i) else ""
                behind += sign == "times" and self.texts[behind] == "the"  # times the square root of 2
                operand = True
            if not piece:
                break
            out.append(piece)
            i = behind
            if not operand and not closing:
                best, end = len(out), i
        return "".join(out[:best]), end

    def _operand(self, i: int) -> tuple[str, int]:
        """The spelling of what stands where an operand is due, "" where none does, and the index behind it."""
        token, written = self.tokens[i], self.texts[i]
        inner, after = self._atom(i)
        if inner or written in _CLOSE:
            return inner or "(", after
        phrase = self.phrase(_PREFIX, i)
        called = token.kind == "command" or written == "sqrt"
        name = _PREFIX.get(phrase) or (written if written in _FUNCTIONS and called else "")
        behind = i + phrase.count(" ") + 1
        if name in ("square", "cube", *_RATIOS) and i and self.texts[i - 1] in ("a", "an"):
            return "", i  # `gives a tangent of 1`
        if not name or (name in "-+" and " " not in phrase) or (self.texts[behind] in _CLOSE and name in _FUNCTIONS):
            return name, behind
        behind += self.texts[behind] == "the"
        nested = phrase and self.tokens[behind : behind + 1] and self.tokens[behind].kind == "command"
        inner, after = self._operand(behind) if nested and self.texts[behind] in _FUNCTIONS else self._atom(behind)
        if not inner or (inner[0] == "v" and phrase):
            return "", i
        if name in "+-*/":  # the sum of 3 and 4
            other, end = self._atom(after + 1) if self.texts[after] == "and" else ("", i)
            return (f"({inner} {name} {other})" if other else "", end)
        if postfix := self._postfix(after):
            inner, after = f"{inner}.{postfix}", after + 1
        if self.texts[after] in ("degree", "degrees"):
            inner, after = f"{inner}.degree", after + 1
        elif inner[0] == "n" and self.texts[after] in _GREEK | {"x", "t"}:  # sin 2x
            inner, after = f"{inner} * v{after}", after + 1
        return f"{name}({inner})", after

    def _postfix(self, i: int) -> str:
        return _POSTFIX.get(self.texts[i], "") if self.texts[i] != "!" or self.tokens[i].glued else ""

    def _atom(self, i: int) -> tuple[str, int]:
        """The number or the variable that stands at `i`, and the index behind it."""
        if i < len(self.tokens):
            token, written = self.tokens[i], self.texts[i]
            if token.value is not None:
                return f"n{i}", i + 1
            if written == "pi" or written in _GREEK or (token.kind == "word" and self._is_variable(i)):
                indexed = self.texts[i + 1] == "_" and i + 2 < len(self.tokens)
                return f"v{i}", i + 3 if indexed else i + 1
        return "", i + 1

    def _is_infix(self, sign: str, i: int) -> bool:
        """Whether it stands between operands: the hyphens of `30-60-90` and `4-digit` do not, nor most words."""
        before, token, behind = self.tokens[i - 1], self.tokens[i], i + sign.count(" ") + 1
        if behind >= len(self.tokens):
            return False
        after = self.tokens[behind]
        both = (before.kind == "number" or before.text == ")") and (after.kind == "number" or after.text == "(")
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
        if sign == "by" and not {"multiply", "divide"} & set(map(str.lower, self.texts[max(0, i - 6) : i])):
            return False
        return both or sign not in _OF_NUMBERS

    def _is_factor(self, i: int) -> bool:
        r"""Whether a factor follows without a sign: `2x`, `3(n+1)`, `3 \sqrt{13}`, not `2 3` and not `2 apples`."""
        token, before = self.tokens[i], self.tokens[i - 1]
        if token.kind == "command" or token.text == "sqrt":
            return token.text in _FUNCTIONS or token.text in _GREEK or token.text == "pi"
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


def _value(tree: ast.expr, tokens: Sequence[Token]) -> Value | None:
    """The value of a tree; None where it cannot be had."""
    if isinstance(tree, ast.Name):
        i = int(tree.id[1:])
        if tokens[i].value is not None:
            return tokens[i].value
        if tokens[i].text == "pi":
            return math.pi
        index = tokens[i + 2].text if i + 2 < len(tokens) and tokens[i + 1].text == "_" else ""
        names = [tokens[i].text] if tokens[i].kind == "command" else list(tokens[i].text)
        return math.prod(_letter(name + index) for name in names)
    if isinstance(tree, ast.BinOp):
        return apply(_OPERATIONS[type(tree.op)], _value(tree.left, tokens), _value(tree.right, tokens))
    if isinstance(tree, ast.UnaryOp):
        return apply(operator.neg if isinstance(tree.op, ast.USub) else operator.pos, _value(tree.operand, tokens))
    if isinstance(tree, ast.Attribute):
        return apply(_FUNCTIONS[tree.attr], _value(tree.value, tokens))
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and len(tree.args) == 1:
        return apply(_FUNCTIONS[tree.func.id], _value(tree.args[0], tokens))
    return None


def _signs(tokens: Sequence[Token]) -> tuple[str, ...]:
    return tuple(token.text for token in tokens if token.text in RELATIONS)


def _node(tree: ast.expr, tokens: Sequence[Token], first: int = 0, last: int = 0) -> Node:
    """A tree as a node; a side of a relation spans the tokens that its names tell."""
    parts = list(ast.walk(tree))
    places = [int(n.id[1:]) for n in parts if isinstance(n, ast.Name) and n.id[1:].isdigit()]
    first, last = (first, last) if last else (min(places), max(places) + 1)
    literals = tuple(size(tokens[i].value) for i in places if tokens[i].value is not None)
    letters = sum(tokens[i].value is None and tokens[i].text != "pi" for i in places)
    operations = sum(isinstance(node, ast.BinOp | ast.Call | ast.Attribute) for node in parts)
    if isinstance(tree, ast.Compare | ast.Tuple):
        sides = tree.elts if isinstance(tree, ast.Tuple) else [tree.left, *tree.comparators]
        kind, signs = ("tuple", ()) if isinstance(tree, ast.Tuple) else ("relation", _signs(tokens[first:last]))
        inner = tuple(_node(side, tokens) for side in sides)
        return Node(first, last, kind, None, literals, letters, operations, inner, signs)
    kind = "expression" if operations or letters else "number"
    whole = tree
    while isinstance(tree, ast.UnaryOp):
        tree = tree.operand
    if isinstance(tree, ast.Name) and tokens[places[0]].notation in ("fraction", "times"):
        kind = "fraction"
    elif isinstance(tree, ast.BinOp) and isinstance(tree.left, ast.Name) and len(literals) == operations + 1 == 2:
        quotient = isinstance(tree.op, ast.Div | ast.BitAnd | ast.BitOr)
        kind = "fraction" if quotient else "ratio" if isinstance(tree.op, ast.MatMult) else kind
    elif isinstance(tree, ast.Attribute) and tree.attr == "percent":
        kind, operations = "percent", operations - 1
    return Node(first, last, kind, _value(whole, tokens), literals, letters, operations)


def scan(tokens: Sequence[Token]) -> list[Node]:
    """Each whole expression or relation of a text."""
    found: list[Node] = []
    texts = [token.text for token in tokens]
    speller, i, count = _Speller(tokens), 0, 0
    while i < len(tokens) and count < MAX_NODES:
        hyphen = tokens[i].text == "-" and tokens[i].glued and i > 0 and tokens[i - 1].kind in ("number", "word")
        spelled, end = ("", i) if hyphen or tokens[i].kind == "end" else speller.spell(i)
        if any(mark in spelled for mark in "n(/*<=>"):
            try:
                node = _node(ast.parse(spelled, mode="eval").body, tokens, i, end)
                # 1 + 3 + ... is not worth 4.
                found.append(node._replace(value=None) if "..." in texts[end : end + 2] and node.operations else node)
            except (SyntaxError, RecursionError, MemoryError, ValueError):
                end = i + 1
        i = max(end, i + 1)
        count += 1 + (end - i) // 4
    return found
