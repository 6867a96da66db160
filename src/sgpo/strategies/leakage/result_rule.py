"""The third rule: no intermediate result, a number or formula that the response has and the problem has not.

A distinctive number (36, 169) must not stand in the strategy at all, a small one must not be announced. Results of one
operation on two numbers of the problem count too, whether or not the response states them.
"""

from __future__ import annotations

import re

from sgpo.strategies.leakage import announced, context
from sgpo.strategies.leakage.context import EXAMPLE
from sgpo.strategies.leakage.reading import Reading, number_key, tight
from sgpo.strategies.leakage.targets import is_small
from sgpo.strategies.leakage.values import Node
from sgpo.strategies.leakage.vocabulary import GENERIC_NOUNS

_COUNTS = re.compile(r"[ ~]+([A-Za-z]{3,20})")
_LISTED = re.compile(
    r"\b(roots?|solutions?|zeros?|factors?|values?|candidates?|intercepts?|legs?|sides?|numbers?|digits?)\b"
    r"(?: (?:are|of|at|as|x =|being|is))?:? *$",
    re.IGNORECASE,
)


def find(reading: Reading) -> str:
    """A result of the response's own computation, quoted; "" where there is none."""
    return _number(reading) or _formula(reading)


def _number(reading: Reading) -> str:
    text = reading.text
    for node in reading.nodes:
        if node.value is None or node.letters or node.kind in ("relation", "tuple"):
            continue
        size = number_key(node.value[0])
        if (size not in reading.new and size not in reading.derived) or (
            node.unit and node.kind == "number" and size == 100
        ):
            continue
        if node.kind == "expression" and not reading.is_fraction(node) and node.operations:
            continue  # its literals are looked at one by one
        if reading.is_fraction(node) and (
            is_small(size)
            or context.is_coefficient(text, node)
            or (node.literals[0] == 1 and context.is_conditional(text, node))  # each face has probability 1/6
        ):
            continue
        if not is_small(size):
            example = EXAMPLE.search(context.before(text, node.start))
            if not context.belongs_to_theorem(text, node) and not example and not reading.is_rule(node):
                return reading.quote(node.start, node.end)
        elif size >= 2 and node.whole and _small_result(reading, node, size):
            return reading.quote(node.start, node.end)
    return ""


def _small_result(reading: Reading, node: Node, size: float) -> bool:
    text = reading.text
    equation = reading.equations.get(node.start)
    if context.belongs_to_theorem(text, node) or (equation and equation.parts[0].end - equation.start <= 3):
        return False  # x = 3 is for `_substituted`
    if reading.is_rule(node):
        return False
    noun = _COUNTS.match(text[node.end : node.end + 24])
    if noun and size >= 3:
        name = context.stem(noun[1])
        if name not in GENERIC_NOUNS and (size, name) in reading.counted:
            return True
        if name in ("choice", "option", "way", "possibility") and (size, name) in reading.counted:
            return True
        supposed = re.search(r"\b(?:if|when|suppose|whether|unless)\b", context.before(text, node.start), re.I)
        if name in reading.nouns and name not in GENERIC_NOUNS and not supposed:
            return True  # `nine diagonals` where diagonals are asked for
    left = context.before(text, node.start)
    listed = not re.search(r"\b(?:co)?prime (?:factors?|numbers?)", left, re.I) and _LISTED.search(
        re.sub(r"[-\d., ]+(?:and|or)?[ -]*$", " ", left)
    )
    if re.search(r"\b(?:root|solution|zero|quotient|discriminant|radius)s? -?$", left, re.I) and announced.ends(
        text, node, frozenset()
    ):
        return True
    if listed and re.search(r"\d[ ]*(?:,|and|or)[ ]*-?$", left) and announced.ends(text, node, reading.nouns):
        return True
    return announced.announced(text, node, reading.nouns, any_subject=True)


def _formula(reading: Reading) -> str:
    """Formulas of the response with its numbers in them: `2x = 8`, `(x-5)(x+2)`, `(1+i)^2 = 2i`, `[-2, 2]`."""
    for node in reading.nodes:
        if not (node.whole or node.kind in ("relation", "tuple")) or not (node.operations or node.parts):
            continue
        written = tight(reading.slice(node))
        if len(written) < 5 or written not in reading.tight_response or written in reading.tight_problem:
            continue
        if (
            (node.kind == "relation" and "=" in node.signs and any(_is_result(reading, part) for part in node.parts))
            or (node.kind == "tuple" and not node.letters and any(x >= 2 for x in node.literals))
            or (node.letters and _is_instance(reading, node, written))
        ):
            return reading.quote(node.start, node.end)
    return ""


def _is_result(reading: Reading, side: Node) -> bool:
    """The side of an equation that is a number of 2 or more, or a multiple of the imaginary unit."""
    number = not side.letters and side.value is not None and abs(side.value[0]) >= 2
    return number or re.fullmatch(r"-?\d+i", tight(reading.slice(side))) is not None


def _is_instance(reading: Reading, node: Node, written: str) -> bool:
    """A polynomial with two constants added in it, or one in x, y, z, t alone that is announced."""
    added = re.findall(r"[-+](\d+(?:\.\d+)?)(?![\d^]|[a-zA-Z(])", written)
    if sum(float(x) >= 2 for x in added) >= 2:
        return True
    plain_letters = set(re.findall(r"[a-zA-Z]+", written)) <= set("xyzt")
    if (node.start, node.end) in reading.sides or node.kind == "relation":
        return False  # an identity
    return (
        plain_letters
        and node.operations >= 2
        and announced.announced(reading.text, node, reading.nouns, any_subject=True)
    )
