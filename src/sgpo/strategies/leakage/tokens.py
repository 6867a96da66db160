"""Tokens of plain text with mathematics in it, with bracket partners, and which words are variables."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from sgpo.strategies.leakage.values import FUNCTIONS
from sgpo.strategies.leakage.vocabulary import GREEK, SHORT_WORDS

_TOKEN = re.compile(
    r"(?P<number>\d+(?:\.\d+)?|(?<!\d)\.\d+)|(?P<command>\\[A-Za-z]+)|(?P<word>[A-Za-z]+(?:'[a-z]+)?)"
    r"|(?P<op><=|>=|!=|\\[{}]|[-+*/^=<>!%|:,(){}\[\]_])|(?P<other>[^\s])"
)
_CLOSE = {"(": ")", "[": "]", "{": "}", r"\{": r"\}"}
_BEFORE = frozenset({"+", "*", "/", "^", "=", "<", ">", "<=", ">="})
_AFTER = _BEFORE | {"-", "_"}


@dataclass(frozen=True)
class Token:
    """A piece of text; `kind` is number, command, word, op or other; `touching`: no space stands before it."""

    kind: str
    text: str
    start: int
    end: int
    touching: bool
    match: int = -1  # index of the closing bracket


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
        tokens = [replace(token, match=partner[i]) if i in partner else token for i, token in enumerate(tokens)]
    return tokens


def is_variable(tokens: list[Token], i: int) -> bool:
    """Whether a word token is a variable or a product of variables.

    `a`, `I` and `A` are words unless an operator touches them; a two-letter product stands beside an operator.
    """
    word = tokens[i].text
    before = tokens[i - 1] if i else None
    after = tokens[i + 1] if i + 1 < len(tokens) else None
    by_operator = bool((after and after.text in _AFTER) or (before and before.text in _BEFORE))
    stuck = before is not None and tokens[i].touching and before.kind == "number"
    if len(word) == 1:
        return word not in "aIA" or by_operator or stuck or (before is not None and before.text in "(|{-")
    if len(word) > 3 or not word.isalpha() or word.lower() in SHORT_WORDS:
        return False
    return stuck or (by_operator and word == word.lower() and len(word) == 2)


class Cursor:
    """A place in a list of tokens, and what the tokens around it mean."""

    def __init__(self, tokens: list[Token], start: int = 0) -> None:
        self.tokens = tokens
        self.i = start

    def peek(self, ahead: int = 0) -> Token | None:
        i = self.i + ahead
        return self.tokens[i] if i < len(self.tokens) else None

    def at(self, *texts: str) -> bool:
        token = self.peek()
        return token is not None and token.text in texts

    def is_hyphen(self) -> bool:
        """`2-digit`, `30-60-90` and `2-3 steps`: a hyphen that touches both sides, unless a larger number is first."""
        sign, before, after = self.peek(), self.tokens[self.i - 1], self.peek(1)
        if sign is None or sign.text != "-" or after is None or not (sign.touching and after.touching):
            return False
        if before.kind != "number" or after.kind != "number":
            return before.kind == "number" and after.kind == "word" and len(after.text) > 1
        chain, left = self.peek(2), self.tokens[self.i - 2] if self.i >= 2 else None
        chained = (chain is not None and chain.text == "-" and chain.touching) or (
            left is not None and left.text == "-"
        )
        return chained or float(before.text) < float(after.text)

    def is_ratio(self) -> bool:
        """`3:4`, no space within, and no longer chain."""
        before, mark, after = self.tokens[self.i - 1], self.tokens[self.i], self.peek(1)
        first = self.i < 2 or self.tokens[self.i - 2].text not in ("*", "/", "+", "-", ":")
        numbers = after is not None and before.kind == after.kind == "number"
        return bool(numbers and first and mark.touching and after and after.touching)

    def factor_follows(self, token: Token) -> bool:
        """Whether a factor follows without a sign: `2x`, `3(n+1)`, `3 \\sqrt{13}`, not `2 3` and not `2 apples`."""
        before = self.tokens[self.i - 1]
        if token.kind == "command":
            name = token.text[1:]
            return name in ("frac", "sqrt", "pi", "binom") or name in FUNCTIONS or name in GREEK
        if token.text == "(":
            return token.touching or before.text == ")"
        if token.kind == "word":
            if token.text in ("pi", "sqrt"):
                return True
            free = token.touching or before.kind != "number" or len(token.text) == 1
            return free and is_variable(self.tokens, self.i)
        return token.kind == "number" and before.text in (")", "}") and token.touching
