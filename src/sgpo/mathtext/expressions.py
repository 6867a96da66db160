r"""Find the mathematics in plain text and evaluate it and every part of it, without any evaluation of code.

`scan` reads the text of `spelling.plain` from left to right. Recursion and length are bounded; what cannot be read is
skipped.
"""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import NamedTuple

from sgpo.mathtext import values
from sgpo.mathtext.values import FUNCTIONS, Value
from sgpo.mathtext.vocabulary import words

MAX_DEPTH = 25
MAX_NODES = 6_000  # of one text; what follows is not read
MAX_OPERATIONS = 100  # of one expression, and signs of one relation; what follows is read as another one
_TOKEN = re.compile(
    r"(?P<number>\d{1,60}(?:\.\d{1,30})?|(?<!\d)\.\d{1,30})"
    r"|(?P<command>\\[A-Za-z]+)|(?P<word>[A-Za-z]+(?:'[a-z]+)?)"
    r"|(?P<op>=>|<=|>=|!=|[-+*/^=<>!%|:,(){}\[\]_])|(?P<other>\.\.\.|[^\s])"
)
_CLOSE = {"(": ")", "[": "]", "{": "}"}
RELATIONS = frozenset(("=", "<", ">", "<=", ">=", "!="))
_OPERATORS = frozenset("+*/^=<>-_") | {"<=", ">="}
_NAMES = {"pi", "frac", "binom", *FUNCTIONS}
_GREEK = words("alpha beta gamma theta phi omega lambda mu sigma delta rho epsilon varphi tau Delta infty")
# Two and three letters that are words where one could read a product of variables.
_SHORT_WORDS = words(
    "is of to in by or at if an as on we it be do so no up km cm mm kg ml ft lb oz hr min sec am pm th st nd rd the "
    "and for per its not mod gcd lcm log one out add sum use all any are can has how let may now set two via way "
    "you"
)


class Token(NamedTuple):
    """A piece of text; `kind` is number, command, word, op or other; `touching`: no space stands before it."""

    kind: str
    text: str
    start: int
    end: int
    touching: bool


@dataclass(frozen=True)
class Node:
    """A value in the text.

    kind: "number" (one literal), "expression", "ratio", "tuple" (brackets with commas) or "relation".
    value: None where it cannot be had (0/0, overflow), and for tuples and relations.
    literals: all numbers written in it; letters and operations: how many it holds.
    parts, signs: the sides of a relation and what joins them, or the parts of a tuple.
    first, last: the indices of its first token and of the one behind its last.
    """

    first: int
    last: int
    value: Value | None
    kind: str = "number"
    letters: int = 0
    literals: tuple[float, ...] = ()
    operations: int = 0
    parts: tuple[Node, ...] = ()
    signs: tuple[str, ...] = ()


class _Unreadable(Exception):
    pass


def tokenize(text: str) -> list[Token]:
    position, tokens = 0, []
    for match in _TOKEN.finditer(text):
        tokens.append(Token(match.lastgroup or "", match[0], match.start(), match.end(), match.start() == position))
        position = match.end()
    return tokens


def _partners(tokens: list[Token]) -> dict[int, int]:
    """The index of the bracket that closes each opening one; `(1, 5]` is a pair too."""
    stack: list[int] = []
    found: dict[int, int] = {}
    for i, token in enumerate(tokens):
        if token.text in _CLOSE:
            stack.append(i)
        elif token.text in (")", "]", "}") and stack:
            opening = tokens[stack[-1]].text
            if _CLOSE[opening] == token.text or (opening in "([" and token.text in ")]"):
                found[stack.pop()] = i
    return found


class Parser:
    """Recursive descent from one token; `nodes` collects every part that was read."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens, self.closing = tokens, _partners(tokens)
        self.i = self.depth = 0
        self.nodes: list[Node] = []

    def peek(self, ahead: int = 0) -> Token | None:
        i = self.i + ahead
        return self.tokens[i] if i < len(self.tokens) else None

    def at(self, *texts: str) -> bool:
        return self.i < len(self.tokens) and self.tokens[self.i].text in texts

    def may_start(self, token: Token) -> bool:
        """It tells most tokens that no expression begins with, since to try each would take most of the time."""
        if token.kind == "word":
            return token.text in _NAMES or (len(token.text) <= 3 and self._is_variable())
        return token.kind in ("number", "command") or token.text in "+-([{"

    def make(self, first: int, value: Value | None, *nodes: Node, kind: str = "expression", count: int = 1) -> Node:
        """A node of others; `count` is 0 where it is no operation that somebody would have to carry out."""
        letters, operations = sum(n.letters for n in nodes), sum(n.operations for n in nodes) + count
        literals = tuple(x for n in nodes for x in n.literals)
        self.nodes.append(node := Node(first, self.i, value, kind, letters, literals, operations))
        return node

    def tried(self, level: str, signs: int = 1) -> Node | None:
        """What stands behind the signs at hand; None, and the signs unread, where it cannot be read."""
        mark, kept = self.i, len(self.nodes)
        try:
            self.i += signs
            node: Node = getattr(self, level)()
            return node
        except _Unreadable:
            self.i = mark
            del self.nodes[kept:]
            return None

    def relation(self) -> Node:
        """sum (sign sum)*"""
        first, sides = self.i, [self.sum()]
        signs: list[str] = []
        while len(signs) < MAX_OPERATIONS and self.at(*RELATIONS):
            sign = self.tokens[self.i].text
            if (side := self.tried("sum")) is None:
                break
            sides.append(side)
            signs.append(sign)
        return self._whole(first, "relation", sides, signs) if signs else sides[0]

    def _whole(self, first: int, kind: str, parts: list[Node], signs: list[str]) -> Node:
        node = self.make(first, None, *parts, kind=kind, count=0)
        self.nodes[-1] = node = replace(node, parts=tuple(parts), signs=tuple(signs))
        return node

    def _negated(self, level: str) -> Node:
        """What ``level`` reads, behind a sign where there is one: [-+] level."""
        first, sign = self.i, self.tokens[self.i].text if self.at("-", "+") else ""
        if not sign:
            return getattr(self, level)()
        self.i += 1
        node: Node = getattr(self, level)()
        return self.make(first, values.operate("*", Fraction(-1 if sign == "-" else 1), node.value), node, count=0)

    def sum(self) -> Node:
        """[sign] product (sign product)*"""
        first, left = self.i, self._negated("product")
        while left.kind != "tuple" and left.operations < MAX_OPERATIONS and self.at("+", "-") and not self._is_hyphen():
            sign = self.tokens[self.i].text
            if (right := self.tried("product")) is None:
                break
            left = self.make(first, values.operate(sign, left.value, right.value), left, right)
        return left

    def product(self) -> Node:
        """power (sign power | power)*, the sign left out where it may be"""
        first, left = self.i, self.power()
        while left.kind != "tuple" and left.operations < MAX_OPERATIONS and (token := self.peek()) is not None:
            ratio = token.text == ":" and self._is_ratio()
            signs = int(token.text in ("*", "/") or ratio)
            right = self.tried("power", signs) if signs or self._factor_follows(token) else None
            if right is None:
                break
            mixed = not signs and token.text == r"\frac" and left.kind == "number" and not right.letters
            sign = "/" if token.text in ("/", ":") else "+" if mixed and len(right.literals) == 2 else "*"
            value = values.operate(sign, left.value, right.value)
            left = self.make(first, value, left, right, kind="ratio" if ratio else "expression")
        return left

    def power(self) -> Node:
        """postfix [^ [-] postfix]"""
        first, base = self.i, self.postfix()
        exponent = self.tried("exponent") if self.at("^") else None
        return self.make(first, values.operate("^", base.value, exponent.value), base, exponent) if exponent else base

    def exponent(self) -> Node:
        return self._negated("postfix")

    def postfix(self) -> Node:
        first, node = self.i, self.primary()
        while self.at("!") and self.tokens[self.i].touching and node.kind in ("number", "expression"):
            self.i += 1
            node = self.make(first, node.value if node.letters else values.apply(values.factorial, node.value), node)
        return node

    def primary(self) -> Node:
        token, first = self.peek(), self.i
        if token is None or self.depth >= MAX_DEPTH:
            raise _Unreadable
        self.depth += 1
        try:
            if token.kind == "number":
                self.i += 1
                value = Fraction(token.text)
                self.nodes.append(node := Node(first, self.i, value, "number", 0, (values.size(value),)))
                return node
            if first in self.closing:
                return self._bracket()
            name = token.text.removeprefix("\\")
            if name in _NAMES:
                return self._command(name)
            if (token.kind == "command" and name in _GREEK) or (token.kind == "word" and self._is_variable()):
                return self._letter()
            raise _Unreadable
        finally:
            self.depth -= 1

    def _bracket(self) -> Node:
        first, end = self.i, self.closing[self.i]
        parts: list[Node] = []
        while not parts or self.at(","):
            self.i += 1
            parts.append(self.relation())
        if self.i != end:
            raise _Unreadable
        self.i += 1
        if len(parts) > 1:
            return self._whole(first, "tuple", parts, [])
        if self.tokens[first].text == "{" or parts[0].kind in ("relation", "tuple"):
            return parts[0]
        return self.make(first, parts[0].value, parts[0], count=0)

    def _command(self, name: str) -> Node:
        first = self.i
        self.i += 1
        if name == "pi":
            return self.make(first, (math.pi, math.pi), count=0)
        if name in ("frac", "binom"):
            top, bottom = self.primary(), self.primary()
            return self.make(
                first, values.operate("/" if name == "frac" else "C", top.value, bottom.value), top, bottom
            )
        if name == "sqrt":
            index = [self._bracket()] if self.at("[") and self.i in self.closing else []
            radicand = self.primary()
            degree = values.operate("/", Fraction(1), index[0].value if index else Fraction(2))
            return self.make(first, values.operate("^", radicand.value, degree), *index, radicand)
        around: dict[str, Node] = {}
        for mark, level in (("_", "primary"), ("^", "exponent")):
            if self.at(mark):
                self.i += 1
                around[mark] = getattr(self, level)()
        argument = self.power()
        inner = values.apply(math.radians, argument.value) if self.at("degrees", "degree") else argument.value
        value = values.apply(FUNCTIONS[name], inner)
        if "_" in around:
            value = values.operate("/", values.apply(math.log, inner), values.apply(math.log, around["_"].value))
        if "^" in around:
            value = values.operate("^", value, around["^"].value)
        return self.make(first, value, *around.values(), argument)

    def _letter(self) -> Node:
        """A variable, with its subscript, or a short product such as `ac`; `f(3)` is a value of its own."""
        first, name = self.i, self.tokens[self.i].text
        self.i += 1
        if self.at("_") and self.peek(1) is not None:
            end = self.closing.get(self.i + 1, self.i + 1)
            name += "".join(t.text for t in self.tokens[self.i : end + 1])[:40]
            self.i = end + 1
        value = values.letter(name)
        if name.isalpha() and self.tokens[first].kind == "word":  # `rs` is r times s
            value = functools.reduce(
                lambda one, other: values.operate("*", one, other) or one, map(values.letter, name)
            )
        self.nodes.append(node := Node(first, self.i, value, "expression", 1))
        return node

    def _is_variable(self) -> bool:
        """`a`, `I` and `A` are words unless an operator touches them; a product of letters stands beside one."""
        word, before, after = self.tokens[self.i].text, self.tokens[self.i - 1] if self.i else None, self.peek(1)
        operator = bool((after and after.text in _OPERATORS) or (before and before.text in _OPERATORS))
        stuck = before is not None and self.tokens[self.i].touching and before.kind == "number"
        if len(word) == 1:
            return word not in "aIA" or operator or stuck or (before is not None and before.text in "(|{-")
        if len(word) > 3 or word.lower() in _SHORT_WORDS or not word.isalpha():
            return False
        beside = before is not None and (before.text in ("{", "}", ")") or before.kind == "number")
        return stuck or ((operator or beside) and len(word) == 2 and word.islower())

    def _is_hyphen(self) -> bool:
        """`2-digit`, `30-60-90` and `2-3 steps`: a hyphen that touches both sides, unless a larger number is first."""
        sign, before, after, chain = self.tokens[self.i], self.tokens[self.i - 1], self.peek(1), self.peek(2)
        if sign.text != "-" or after is None or not (sign.touching and after.touching) or before.kind != "number":
            return False
        if after.kind != "number":
            return after.kind == "word" and len(after.text) > 1
        chained = (chain and chain.text == "-") or (self.i >= 2 and self.tokens[self.i - 2].text == "-")
        return bool(chained) or float(before.text) < float(after.text)

    def _is_ratio(self) -> bool:
        """`3:4`, no space within, and no longer chain."""
        before, mark, after = self.tokens[self.i - 1], self.tokens[self.i], self.peek(1)
        return bool(after and before.kind == after.kind == "number" and mark.touching and after.touching)

    def _factor_follows(self, token: Token) -> bool:
        r"""Whether a factor follows without a sign: `2x`, `3(n+1)`, `3 \sqrt{13}`, not `2 3` and not `2 apples`."""
        before, name = self.tokens[self.i - 1], token.text.removeprefix("\\")
        if token.kind == "command" or name in ("pi", "sqrt"):
            return name in _NAMES or name in _GREEK
        if token.text in ("(", "{"):
            return (token.touching or before.text == ")") and before.text != "_"
        if token.kind == "word":
            return (token.touching or before.kind != "number" or len(token.text) == 1) and self._is_variable()
        return token.kind == "number" and before.text in (")", "}") and token.touching


def scan(tokens: list[Token]) -> list[tuple[Node, list[Node]]]:
    """It finds each whole expression or relation of a text, with all nodes in it, itself included."""
    found, i, count, parser = [], 0, 0, Parser(tokens)
    while i < len(tokens) and count < MAX_NODES:
        parser.i, parser.nodes = i, []
        hyphen = tokens[i].text == "-" and tokens[i].touching and i > 0 and tokens[i - 1].kind == "number"  # 30-60-90
        if not hyphen and parser.may_start(tokens[i]):
            try:
                found.append((parser.relation(), parser.nodes))
                i = parser.i - 1
            except _Unreadable:
                count += 1
            count += len(parser.nodes)
        i += 1
    return found
