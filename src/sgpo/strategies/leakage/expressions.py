r"""Find the mathematics in plain text and evaluate it, and every part of it, without any evaluation of code.

`scan` reads the text of `plain.plain` from left to right and returns a `Node` for each value it meets: numbers,
parts (`13` and `\sqrt{13}` in `3\sqrt{13}`), whole expressions, and relations. Recursion and length are bounded; what
cannot be read is skipped.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from sgpo.strategies.leakage.tokens import Cursor, Token, is_variable, tokenize
from sgpo.strategies.leakage.values import FUNCTIONS, Node, apply, comb, factorial, is_mixed, letter_value, power
from sgpo.strategies.leakage.vocabulary import GREEK

MAX_DEPTH = 25
MAX_OPERATIONS = 100  # of one expression; what follows is read as another one
_RELATIONS = frozenset({"=", "<", ">", "<=", ">=", "!="})
_FUNCTION_NAMES = "fghPpFGS"  # `f(3)` is a value of f, `x(3)` a product


class _Unreadable(Exception):
    pass


class _Parser(Cursor):
    """Recursive descent from one token; `nodes` collects every part that was read."""

    def __init__(self, tokens: list[Token], start: int = 0) -> None:
        super().__init__(tokens, start)
        self.depth = 0
        self.nodes: list[Node] = []

    def keep(self, node: Node) -> Node:
        self.nodes.append(node)
        return node

    def behind(self, read: Callable[[], Node], signs: int = 1) -> Node | None:
        """What `read` reads behind the signs at hand; None where that fails, and then the signs are not read either."""
        mark, kept = self.i, len(self.nodes)
        try:
            self.i += signs
            return read()
        except _Unreadable:
            self.i = mark
            del self.nodes[kept:]
            return None

    def join(self, function: Callable[..., float], *nodes: Node, start: int | None = None, binary: int = 1) -> Node:
        """The node of an operation on `nodes`, up to the last token read."""
        return self.keep(
            Node(
                nodes[0].start if start is None else start,
                self.tokens[self.i - 1].end,
                apply(function, *(node.value for node in nodes)),
                "expression",
                sum(node.letters for node in nodes),
                tuple(x for node in nodes for x in node.literals),
                sum(node.operations for node in nodes) + binary,
            )
        )

    def group(self, kind: str, parts: list[Node], start: int, signs: tuple[str, ...] = ()) -> Node:
        """A relation or a tuple, up to the last token read."""
        letters, operations = sum(part.letters for part in parts), sum(part.operations for part in parts)
        literals = tuple(x for part in parts for x in part.literals)
        end = self.tokens[self.i - 1].end
        return self.keep(Node(start, end, None, kind, letters, literals, operations, tuple(parts), signs))

    def relation(self) -> Node:
        """sum (sign sum)*"""
        sides, signs = [self.sum()], []
        while self.at(*_RELATIONS):
            sign = self.tokens[self.i].text
            side = self.behind(self.sum)
            if side is None:
                break
            sides.append(side)
            signs.append(sign)
        return self.group("relation", sides, sides[0].start, tuple(signs)) if signs else sides[0]

    def sum(self) -> Node:
        """[sign] product (sign product)*"""
        start = self.peek()
        if start is None:
            raise _Unreadable
        if self.at("-", "+"):
            self.i += 1
            sign = -1.0 if start.text == "-" else 1.0
            left = self.join(lambda x: sign * x, self.product(), start=start.start, binary=0)
        else:
            left = self.product()
        while left.kind != "tuple" and left.operations < MAX_OPERATIONS and self.at("+", "-") and not self.is_hyphen():
            minus = self.at("-")
            right = self.behind(self.product)
            if right is None:
                break
            left = self.join((lambda x, y: x - y) if minus else (lambda x, y: x + y), left, right)
        return left

    def product(self) -> Node:
        """power (sign power | power)*, the sign left out where it may be"""
        left = self.power()
        while left.kind != "tuple" and left.operations < MAX_OPERATIONS:
            token = self.peek()
            if token is None:
                break
            ratio = token.text == ":" and self.is_ratio()
            signs = int(token.text in ("*", "/") or ratio)
            right = self.behind(self.power, signs) if signs or self.factor_follows(token) else None
            if right is None:
                break
            if token.text == "/" or ratio:
                left = self.join(lambda x, y: x / y, left, right)
                if ratio:
                    left = self.keep(replace(left, unit="ratio"))
            elif not signs and token.text == r"\frac" and is_mixed(left, right):
                left = self.join(lambda x, y: x + y, left, right)
            else:
                left = self.join(lambda x, y: x * y, left, right)
        return left

    def power(self) -> Node:
        """postfix [^ [-] postfix]"""
        base = self.postfix()
        exponent = self.behind(self._exponent) if self.at("^") else None
        return base if exponent is None else self.join(power, base, exponent)

    def _exponent(self) -> Node:
        token = self.peek()
        if token is None or token.text != "-":
            return self.postfix()
        self.i += 1
        return self.join(lambda x: -x, self.postfix(), start=token.start, binary=0)

    def postfix(self) -> Node:
        """primary (! | % | degrees)*"""
        node = self.primary()
        while True:
            token = self.peek()
            if token is None:
                return node
            if token.text == "!" and token.touching and node.kind in ("number", "expression"):
                self.i += 1
                node = self.join((lambda x: x) if node.letters else factorial, node)
            elif token.text in ("%", r"\degree", "degree", "degrees"):
                self.i += 1
                unit = "%" if token.text == "%" else "degree"
                node = self.keep(replace(node, end=token.end, unit=unit))
            else:
                return node

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
        if token.kind == "command" and name in GREEK:
            return self._letter(token)
        if token.kind == "command" or name in ("pi", "sqrt") or (token.kind == "word" and name in FUNCTIONS):
            return self._command(token, name)
        if token.kind == "word" and is_variable(self.tokens, self.i):
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
            return self.group("tuple", parts, token.start)
        if parts[0].kind in ("relation", "tuple"):
            return parts[0]
        return self.join(lambda x: x, parts[0], start=token.start, binary=0)

    def _command(self, token: Token, name: str) -> Node:
        self.i += 1
        if name == "pi":
            return self.keep(Node(token.start, token.end, (math.pi, math.pi), "expression"))
        if name in ("frac", "binom"):
            top, bottom = self.primary(), self.primary()
            return self.join((lambda x, y: x / y) if name == "frac" else comb, top, bottom, start=token.start)
        if name == "sqrt":
            if self.at("["):
                index = self._bracket(self.tokens[self.i]) if self.tokens[self.i].match >= 0 else None
                if index is None:
                    raise _Unreadable
                return self.join(lambda n, x: power(x, 1 / n), index, self.primary(), start=token.start)
            return self.join(math.sqrt, self.primary(), start=token.start)
        if name in FUNCTIONS:
            return self._function(token, FUNCTIONS[name])
        raise _Unreadable

    def _function(self, token: Token, function: Callable[[float], float]) -> Node:
        r"""The value of `\sin 3x`, `\log_2 16`, `\cos^2 x`."""
        if self.at("_"):  # a base
            self.i += 1
            base = self.primary()
            return self.join(lambda b, x: math.log(x) / math.log(b), base, self._argument(), start=token.start)
        if self.at("^"):
            self.i += 1
            exponent, argument = self._exponent(), self._argument()
            return self.join(lambda n, x: power(function(x), n), exponent, argument, start=token.start)
        argument = self._argument()
        if argument.unit == "degree":
            return self.join(lambda x: function(math.radians(x)), argument, start=token.start)
        return self.join(function, argument, start=token.start)

    def _argument(self) -> Node:
        """What a function without brackets is applied to: `3x` of `\\sin 3x`."""
        bracketed = self.at("(", "{")
        node = self.postfix()
        following = self.peek()
        while not bracketed and following and following.kind in ("word", "command") and self.factor_follows(following):
            if following.text.removeprefix("\\") in FUNCTIONS:
                break
            factor = self.behind(self.power, 0)
            if factor is None:
                break
            node = self.join(lambda x, y: x * y, node, factor)
            following = self.peek()
        return node

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
        if opening is not None and opening.text == "(" and opening.touching and token.text in _FUNCTION_NAMES:
            argument = self._bracket(opening)
            return self.join(lambda x, y: x + 0.7 * y * y, node, argument, binary=0)
        return self.keep(node)


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
        parser = _Parser(tokens, i)
        try:
            whole = parser.relation()
        except _Unreadable:
            i += 1
            continue
        outer = {id(whole), *(id(part) for part in whole.parts)}
        nodes.extend(replace(node, whole=True) if id(node) in outer else node for node in parser.nodes)
        i = max(parser.i, i + 1)
    return nodes
