r"""Find the mathematics in plain text and evaluate it, and every part of it, without any evaluation of code.

`scan` reads the text of `plain.plain` from left to right and returns a `Node` for each value it meets: numbers,
parts (`13` and `\sqrt{13}` in `3\sqrt{13}`), whole expressions, and relations. Values are floating point numbers at
two fixed assignments of the letters, so two spellings of one value agree and a formula in letters agrees with
nothing else. Recursion and length are bounded; what cannot be read is skipped.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

MAX_DEPTH = 25
MAX_OPERATIONS = 100  # of one expression; what follows is read as another one
_TOKEN = re.compile(
    r"(?P<number>\d+(?:\.\d+)?|(?<!\d)\.\d+)|(?P<command>\\[A-Za-z]+)|(?P<word>[A-Za-z]+(?:'[a-z]+)?)"
    r"|(?P<op><=|>=|!=|\\[{}]|[-+*/^=<>!%|:,(){}\[\]_])|(?P<other>[^\s])"
)
_RELATIONS = frozenset({"=", "<", ">", "<=", ">=", "!="})
_CLOSE = {"(": ")", "[": "]", "{": "}", r"\{": r"\}"}
_FUNCTIONS: dict[str, Callable[[float], float]] = {
    "sin": math.sin, "cos": math.cos, "tan": math.tan, "ln": math.log, "log": math.log10, "exp": math.exp,
    "arcsin": math.asin, "arccos": math.acos, "arctan": math.atan, "sqrt": math.sqrt,
}  # fmt: skip
# `a`, `I` and `A` are words unless an operator touches them; two-letter products are told from words by a list.
_SHORT_WORDS = frozenset(
    "is of to in by or at if an as on we it be do so no up km cm mm kg ml ft lb oz hr min sec am pm th st nd rd the and "
    "for per its not mod gcd lcm log one out add sum use all any are can has how let may now set two via way you".split()
)

Value = tuple[float, float]


@dataclass(frozen=True)
class Token:
    """A piece of text; `kind` is number, command, word, op or other; `touching`: no space stands before it."""

    kind: str
    text: str
    start: int
    end: int
    touching: bool
    match: int = -1  # index of the closing bracket


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


class _Unreadable(Exception):
    pass


def tokenize(text: str) -> list[Token]:
    """Tokens with their bracket partners; brackets of a kind match within a line of nesting."""
    tokens: list[Token] = []
    stack: list[tuple[str, int]] = []
    partner: dict[int, int] = {}
    position = 0
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or "other"
        piece = match.group()
        index = len(tokens)
        if piece in _CLOSE:
            stack.append((piece, index))
        elif piece in (")", "]", "}", r"\}") and stack:
            opening, at = stack[-1]
            if _CLOSE[opening] == piece or (opening in "([" and piece in ")]"):
                stack.pop()
                partner[at] = index
        tokens.append(Token(kind, piece, match.start(), match.end(), match.start() == position))
        position = match.end()
    if partner:
        tokens = [
            Token(t.kind, t.text, t.start, t.end, t.touching, partner[i]) if i in partner else t
            for i, t in enumerate(tokens)
        ]
    return tokens


def letter_value(name: str) -> Value:
    """Two fixed values for a letter or a subscripted name, positive and irrational enough."""
    seed = 0.0
    for character in name:
        seed = (seed * 31.0 + ord(character)) % 9973.0
    return 0.3 + math.fmod(seed * 0.6180339887498949, 1.0), 1.1 + math.fmod(seed * 0.4142135623730951, 1.0)


def _apply(function: Callable[..., float], *values: Value | None) -> Value | None:
    if any(value is None for value in values):
        return None
    try:
        pair = tuple(function(*(value[i] for value in values if value)) for i in (0, 1))
    except (ValueError, ZeroDivisionError, OverflowError):
        return None
    if any(isinstance(x, complex) or not math.isfinite(x) for x in pair):
        return None
    return pair[0], pair[1]


def _comb(n: float, k: float) -> float:
    if n != int(n) or k != int(k) or not 0 <= k <= n <= 1000:
        raise ValueError
    return float(math.comb(int(n), int(k)))


def _factorial(n: float) -> float:
    if n != int(n) or not 0 <= n <= 170:
        raise ValueError
    return float(math.factorial(int(n)))


class _Parser:
    """Recursive descent from one token; `nodes` collects every part that was read."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.i = 0
        self.depth = 0
        self.nodes: list[Node] = []

    def peek(self, ahead: int = 0) -> Token | None:
        i = self.i + ahead
        return self.tokens[i] if i < len(self.tokens) else None

    def at(self, *texts: str) -> bool:
        token = self.peek()
        return token is not None and token.text in texts

    def keep(self, node: Node) -> Node:
        self.nodes.append(node)
        return node

    def join(self, function: Callable[..., float], *nodes: Node, start: int | None = None, binary: int = 1) -> Node:
        """The node of an operation on `nodes`, up to the last token read."""
        return self.keep(
            Node(
                nodes[0].start if start is None else start,
                self.tokens[self.i - 1].end,
                _apply(function, *(node.value for node in nodes)),
                "expression",
                sum(node.letters for node in nodes),
                tuple(x for node in nodes for x in node.literals),
                sum(node.operations for node in nodes) + binary,
            )
        )

    def relation(self) -> Node:
        """sum (sign sum)*"""
        sides, signs = [self.sum()], []
        while self.at(*_RELATIONS):
            mark, kept = self.i, len(self.nodes)
            sign = self.tokens[self.i].text
            self.i += 1
            try:
                side = self.sum()
            except _Unreadable:
                self.i = mark
                del self.nodes[kept:]
                break
            sides.append(side)
            signs.append(sign)
        if not signs:
            return sides[0]
        return self.keep(self._group("relation", sides, tuple(signs)))

    def _group(self, kind: str, parts: list[Node], signs: tuple[str, ...] = (), start: int | None = None) -> Node:
        return Node(
            parts[0].start if start is None else start,
            self.tokens[self.i - 1].end,
            parts[-1].value if kind == "relation" else None,
            kind,
            sum(part.letters for part in parts),
            tuple(x for part in parts for x in part.literals),
            sum(part.operations for part in parts),
            tuple(parts),
            signs,
        )

    def sum(self) -> Node:
        start = self.peek()
        if start is None:
            raise _Unreadable
        if self.at("-", "+"):
            self.i += 1
            inner = self.product()
            sign = -1.0 if start.text == "-" else 1.0
            left = self.join(lambda x: sign * x, inner, start=start.start, binary=0)
        else:
            left = self.product()
        while left.kind != "tuple" and left.operations < MAX_OPERATIONS and self.at("+", "-") and not self._hyphen():
            mark, kept = self.i, len(self.nodes)
            minus = self.at("-")
            self.i += 1
            try:
                right = self.product()
            except _Unreadable:
                self.i = mark
                del self.nodes[kept:]
                break
            left = self.join((lambda x, y: x - y) if minus else (lambda x, y: x + y), left, right)
        return left

    def _hyphen(self) -> bool:
        """`2-digit`, `30-60-90` and `2-3 steps`: a hyphen that touches both sides, unless a larger number is first."""
        sign, before, after = self.peek(), self.tokens[self.i - 1], self.peek(1)
        if sign is None or sign.text != "-" or after is None or not (sign.touching and after.touching):
            return False
        if before.kind == "number" and after.kind == "word" and len(after.text) > 1:
            return True
        if before.kind != "number" or after.kind != "number":
            return False
        chain, left = self.peek(2), self.tokens[self.i - 2] if self.i >= 2 else None
        chained = (chain is not None and chain.text == "-" and chain.touching) or (left is not None and left.text == "-")
        return bool(chained or float(before.text) < float(after.text))

    def product(self) -> Node:
        left = self.power()
        while True:
            mark, kept = self.i, len(self.nodes)
            token = self.peek()
            if token is None or left.kind == "tuple" or left.operations >= MAX_OPERATIONS:
                return left
            try:
                if token.text in ("*", "/"):
                    self.i += 1
                    right = self.power()
                    divide = token.text == "/"
                    left = self.join((lambda x, y: x / y) if divide else (lambda x, y: x * y), left, right)
                elif token.text == ":" and self._ratio():
                    self.i += 1
                    right = self.power()
                    left = self.keep(replace(self.join(lambda x, y: x / y, left, right), unit="ratio"))
                elif self._implicit(token):
                    right = self.power()
                    mixed = self._mixed(left, right, token)
                    left = self.join((lambda x, y: x + y) if mixed else (lambda x, y: x * y), left, right)
                else:
                    return left
            except _Unreadable:
                self.i = mark
                del self.nodes[kept:]
                return left

    def _ratio(self) -> bool:
        """`3:4`, no space within."""
        before, mark, after = self.tokens[self.i - 1], self.tokens[self.i], self.peek(1)
        return bool(
            after and before.kind == after.kind == "number" and mark.touching and after.touching
            and (self.i < 2 or self.tokens[self.i - 2].text not in ("*", "/", "+", "-", ":"))
        )  # fmt: skip

    def _implicit(self, token: Token) -> bool:
        """Whether a factor follows without a sign: `2x`, `3(n+1)`, `3 \\sqrt{13}`, not `2 3` and not `2 apples`."""
        before = self.tokens[self.i - 1]
        if token.kind == "command":
            return token.text in (r"\frac", r"\sqrt", r"\pi", r"\binom") or token.text[1:] in _FUNCTIONS
        if token.text == "(":
            return token.touching or before.text == ")"
        if token.kind == "word":
            if token.text in ("pi", "sqrt"):
                return True
            return _variable(self.tokens, self.i) and (token.touching or before.kind != "number" or len(token.text) == 1)
        return token.kind == "number" and before.text in (")", "}") and token.touching

    @staticmethod
    def _mixed(left: Node, right: Node, token: Token) -> bool:
        """`2\\frac{1}{2}` is two and a half."""
        return (
            token.text == r"\frac"
            and left.kind == "number"
            and len(right.literals) == 2
            and 0 < right.literals[0] < right.literals[1]
            and not right.letters
        )

    def power(self) -> Node:
        base = self.postfix()
        if self.at("^"):
            mark, kept = self.i, len(self.nodes)
            self.i += 1
            try:
                if self.at("-"):
                    start = self.tokens[self.i].start
                    self.i += 1
                    exponent = self.join(lambda x: -x, self.postfix(), start=start, binary=0)
                else:
                    exponent = self.postfix()
            except _Unreadable:
                self.i = mark
                del self.nodes[kept:]
                return base
            return self.join(_power, base, exponent)
        return base

    def postfix(self) -> Node:
        node = self.primary()
        while True:
            token = self.peek()
            if token is None:
                return node
            if token.text == "!" and token.touching and node.kind in ("number", "expression"):
                following = self.peek(1)
                if node.letters == 0 and following is not None and following.text == "!":
                    return node
                self.i += 1
                node = self.join(_factorial if not node.letters else (lambda x: x), node)
            elif token.text == "%":
                self.i += 1
                node = self._with_unit(node, "%")
            elif token.text in (r"\degree", "degree", "degrees"):
                self.i += 1
                node = self._with_unit(node, "degree")
            else:
                return node

    def _with_unit(self, node: Node, unit: str) -> Node:
        self.nodes.append(node)
        return self.keep(
            Node(node.start, self.tokens[self.i - 1].end, node.value, node.kind, node.letters, node.literals,
                 node.operations, unit=unit)
        )  # fmt: skip

    def primary(self) -> Node:
        token = self.peek()
        if token is None:
            raise _Unreadable
        self.depth += 1
        try:
            if self.depth > MAX_DEPTH:
                raise _Unreadable
            return self._primary(token)
        finally:
            self.depth -= 1

    def _primary(self, token: Token) -> Node:
        if token.kind == "number":
            self.i += 1
            number = float(token.text)
            value = (number, number) if math.isfinite(number) else None
            return self.keep(Node(token.start, token.end, value, "number", 0, (number,)))
        if token.match >= 0:
            return self._bracket(token)
        name = token.text.removeprefix("\\")
        if token.kind == "command" or name in ("pi", "sqrt") or (token.kind == "word" and name in _FUNCTIONS):
            return self._command(token, name)
        if token.kind == "word" and _variable(self.tokens, self.i):
            return self._letter(token)
        raise _Unreadable

    def _bracket(self, token: Token) -> Node:
        self.i += 1
        parts = [self.relation()]
        while self.at(","):
            self.i += 1
            parts.append(self.relation())
        if self.i != token.match:
            raise _Unreadable
        self.i += 1
        if len(parts) > 1:
            return self.keep(self._group("tuple", parts, (), token.start))
        if parts[0].kind in ("relation", "tuple"):
            return parts[0]
        return self.join(lambda x: x, parts[0], start=token.start, binary=0)

    def _command(self, token: Token, name: str) -> Node:
        self.i += 1
        if name == "pi":
            return self.keep(Node(token.start, token.end, (math.pi, math.pi), "expression"))
        if name in ("frac", "binom"):
            top, bottom = self.primary(), self.primary()
            return self.join((lambda x, y: x / y) if name == "frac" else _comb, top, bottom, start=token.start)
        if name == "sqrt":
            if self.at("["):
                index = self._bracket(self.tokens[self.i]) if self.tokens[self.i].match >= 0 else None
                if index is None:
                    raise _Unreadable
                return self.join(lambda n, x: _power(x, 1 / n), index, self.primary(), start=token.start)
            return self.join(math.sqrt, self.primary(), start=token.start)
        if name in _FUNCTIONS:
            function = _FUNCTIONS[name]
            if self.at("_"):  # a base
                self.i += 1
                base = self.primary()
                return self.join(lambda b, x: math.log(x) / math.log(b), base, self.postfix(), start=token.start)
            argument = self.postfix()
            if argument.unit == "degree":
                return self.join(lambda x: function(math.radians(x)), argument, start=token.start)
            return self.join(function, argument, start=token.start)
        if token.kind == "command" and name in _GREEK:
            return self._letter(token)
        raise _Unreadable

    def _letter(self, token: Token) -> Node:
        """A variable, with its subscript, or a short product such as `ac`; `f(3)` is a value of its own."""
        self.i += 1
        name = token.text
        if self.at("_") and self.tokens[self.i].touching:
            following = self.peek(1)
            if following is not None and following.match >= 0:
                name += "".join(t.text for t in self.tokens[self.i + 1 : following.match + 1])[:40]
                self.i = following.match + 1
            elif following is not None and following.kind in ("number", "word"):
                name += following.text
                self.i += 2
        else:
            following = self.peek()
            if following is not None and following.kind == "number" and following.touching:
                name += following.text  # x1
                self.i += 1
        node = Node(token.start, self.tokens[self.i - 1].end, letter_value(name), "expression", 1)
        opening = self.peek()
        if opening is not None and opening.text == "(" and opening.touching and token.text in "fghPpFGS":
            argument = self._bracket(opening)
            return self.join(lambda x, y: x + 0.7 * y * y, node, argument, binary=0)
        return self.keep(node)


_GREEK = frozenset("alpha beta gamma theta phi omega lambda mu sigma delta rho epsilon varphi tau Delta infty".split())


def _power(x: float, y: float) -> float:
    if abs(y) > 10_000:
        raise OverflowError
    value = x**y
    if isinstance(value, complex):
        raise ValueError
    return float(value)


def _variable(tokens: list[Token], i: int) -> bool:
    """Whether a word token is a variable or a product of variables."""
    word = tokens[i].text
    before = tokens[i - 1] if i else None
    after = tokens[i + 1] if i + 1 < len(tokens) else None
    by_operator = (after is not None and after.text in ("+", "-", "*", "/", "^", "=", "_", "<", ">", "<=", ">=")) or (
        before is not None and before.text in ("+", "*", "/", "^", "=", "<", ">", "<=", ">=")
    )
    stuck = before is not None and tokens[i].touching and before.kind == "number"
    if len(word) == 1:
        return word not in "aIA" or by_operator or stuck or (before is not None and before.text in ("(", "|", "{", "-"))
    if len(word) > 3 or not word.isalpha() or word.lower() in _SHORT_WORDS:
        return False
    return stuck or (by_operator and word == word.lower() and len(word) == 2)


def scan(text: str) -> list[Node]:
    """All values in a text, parts before the wholes they are in, in the order of their ends."""
    tokens = tokenize(text)
    nodes: list[Node] = []
    i = 0
    while i < len(tokens):
        token = tokens[i]
        if token.kind == "other" or (token.kind == "op" and token.match < 0 and token.text not in ("-", "+")):
            i += 1
            continue
        if token.text in ("-", "+") and i and tokens[i].touching and tokens[i - 1].kind in ("word", "number"):
            i += 1  # a hyphen
            continue
        parser = _Parser(tokens)
        parser.i = i
        try:
            whole = parser.relation()
        except _Unreadable:
            i += 1
            continue
        for node in parser.nodes:
            is_whole = node is whole or any(node is part for part in whole.parts)
            nodes.append(replace(node, whole=True) if is_whole else node)
        i = max(parser.i, i + 1)
    return nodes
