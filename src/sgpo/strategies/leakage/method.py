"""Constants of the method: numbers that the response's work brings in as operands and has not computed.

In `30 - 12 = 18; 18 - 12 = 6` the 12 stands neither in the problem nor as the result of a step: whoever solves another
problem of the type subtracts the same one, so a strategy may say `subtract twelve until it fits`. What a step came out
as is a detail of this problem; so is what one operation makes of the numbers at hand (49 in `x^2 - 14x + 49`), since
an expert does that in the head. Ours.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from sgpo.strategies.leakage.context import after, before
from sgpo.strategies.leakage.tokens import Token, tokenize
from sgpo.strategies.leakage.values import Node

_AT_HAND = 15  # so many numbers of the problem, and so many of the latest before a constant, are combined in pairs
_SIGNS = frozenset("+-*/")
_ENDS = frozenset(("=", "<", ">", "<=", ">=", ",", ":"))
_MODULUS = frozenset(("mod", "modulo", r"\bmod", r"\mod", r"\pmod"))
_TOLD = re.compile(
    r"\b(?:subtract\w*|minus|deduct\w*|remov\w+|tak(?:e|ing)(?: away| off)?|cast(?:ing)? out|add(?:ing)?|plus|times|"
    r"(?:multipl|divid|reduc|shift|increas|decreas)\w+(?: [a-z]+){0,4} by|mod(?:ulo)?|quotient)"
    r"(?: the| another| multiples of| a)? ?$|[a-z] -$",  # `minus 12` is read as -12
    re.IGNORECASE,
)
_LAW_LEFT = re.compile(r"(?:(?<![A-Za-z])[A-Za-z]|\)) ?[-+*/] ?$")
_LAW_RIGHT = re.compile(r"[B-Zb-z](?![A-Za-z])")
_AGAIN = re.compile(
    r"\b(?:until|while|repeat\w*|loop\w*|iterat\w+|again|as (?:long|often|many times) as|whenever|each time|every time|"
    r"keep|successive\w*)\b",
    re.IGNORECASE,
)


def _number(token: Token) -> float:
    return float(f"{float(token.text):.10g}")


def _role(tokens: Sequence[Token], i: int, known: Callable[[Token], bool]) -> str:
    """How a number enters a computation with what is known before it: `+`, `-`, `*`, `/`, `mod`; "" if it does not.

    In `F - 32` it is `- a letter`, which counts if `212 - 32` follows.
    """
    left = tokens[i - 1].text if i else ""
    if left in _MODULUS or (left in ("(", "{") and i >= 2 and tokens[i - 2].text in _MODULUS):
        return "mod"
    if left == "{" and i >= 2 and tokens[i - 2].text == "}":
        sign, other = "/", i - 3  # \frac{...}{12}
    else:
        sign, other = left, i - 2
    if sign in _SIGNS and other >= 0:
        if known(tokens[other]):
            return sign
        if tokens[other].kind == "word" and len(tokens[other].text) == 1:
            return f"{sign} a letter"
    following = tokens[i + 1].text if i + 2 < len(tokens) else ""
    begins = left in ("", "(", ",", ":") or tokens[i - 1].kind in ("word", "other")  # what stands behind = is a result
    return following if begins and following in ("+", "*") and known(tokens[i + 2]) else ""


def constants(response: str, problem: frozenset[float]) -> dict[float, frozenset[float]]:
    """The constants of the method in a response, each with the numbers at hand where it first enters.

    Args:
        response: in plain spelling (`plain.plain`), of a bounded length; linear in it.
        problem: sizes of the problem's numbers, none of which is a constant.
    """
    tokens = tokenize(response)
    roles: dict[float, str] = {}  # "" where a number is no constant
    at_hand: dict[float, tuple[float, ...]] = {}
    met = set(problem)  # and the numbers of earlier expressions
    given = sorted(problem)[:_AT_HAND]
    latest: deque[float] = deque(maxlen=_AT_HAND)
    own: list[float] = []  # those of this expression: 43 is no more known than 47 in 43 + 47
    rewritten = False  # in `84 = 7 * 12` and `3(2^8 - 1) = 3 * 255` the second side came out of the first

    def known(token: Token) -> bool:
        return token.text == ")" or (token.kind == "number" and _number(token) in met)

    for i, token in enumerate(tokens):
        if token.kind in ("word", "other") or token.text in _ENDS:
            met.update(own)
            own, rewritten = [], token.text == "=" and i > 0 and tokens[i - 1].kind in ("number", "op")
        if token.kind != "number":
            continue
        value = _number(token)
        role = "" if rewritten else _role(tokens, i, known)
        if value not in roles and value not in problem:
            roles[value] = role
            if role:
                at_hand[value] = (*given, *latest)
        elif role and roles.get(value) == f"{role} a letter":
            roles[value] = role
        elif role and roles.get(value) not in (role, role.removesuffix(" a letter")):
            roles[value] = ""  # in two roles: a quantity, not a rule
        own.append(value)
        latest.append(value)
    return {value: frozenset(at_hand[value]) for value, role in roles.items() if role and "letter" not in role}


def in_one_step(value: float, at_hand: frozenset[float]) -> bool:
    """Whether one usual operation on numbers at hand gives a value."""
    return any(abs(value - result) < 1e-9 * max(1.0, value) for result in _results(sorted(at_hand)))


def _results(numbers: Sequence[float]) -> Iterator[float]:
    for a in numbers:
        yield from (a - 1, a + 1, a * a, 2 * a, a / 2, a * a / 4, math.sqrt(a))
        if a <= 12 and a == int(a):
            yield math.factorial(int(a))
        for b in numbers:
            if a >= b:
                continue
            yield from (a + b, b - a, a * b, b / a if a else 0.0)
            if b < 1e6 and a == int(a) and b == int(b):
                yield from (math.gcd(int(a), int(b)), math.lcm(int(a), int(b)))
                if b <= 60:
                    yield math.comb(int(b), int(a))
            if b <= 20:
                yield a**b if a < 1e6 else 0.0
            if a <= 20:
                yield b**a if b < 1e6 else 0.0


def told(text: str, node: Node) -> bool:
    """`subtract 12`, `divide the sum by 12`, `1.8C + 32`: an instruction's operand, or a law's with a letter."""
    sign = text[node.start : node.end].rstrip("0123456789.")
    left, right = before(text, node.start) + sign, text[node.end : node.end + 3]
    return bool(_TOLD.search(left) or _LAW_LEFT.search(left) or _LAW_RIGHT.match(right))


def again(text: str, node: Node) -> bool:
    """The instruction is given until something holds, or each time: a rule whatever the numbers."""
    return _AGAIN.search(before(text, node.start) + " " + after(text, node.end)) is not None
