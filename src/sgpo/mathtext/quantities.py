"""Quantities of a text: what each is worth, in what unit, in which notation it is written, and how it is used."""

from __future__ import annotations

import bisect
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property

from sgpo.mathtext import units, values
from sgpo.mathtext.expressions import Node, Token, scan, tokenize
from sgpo.mathtext.spelling import plain
from sgpo.mathtext.units import Unit
from sgpo.mathtext.usage import NO_NOUNS, Use, stem, usage
from sgpo.mathtext.values import Value

_ROMAN = re.compile(r"(?=[IVXLCDM]{2})M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})")
_NUMERALS = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
_NAMES = {
    "cubic": 3, "quartic": 4, "quintic": 5, "penta": 5, "hexa": 6, "hepta": 7, "octa": 8, "nona": 9, "deca": 10,
    "dodeca": 12, "pentadeca": 15, "icosa": 20,
}  # fmt: skip
_NAMED = re.compile(r"gon\b|(?:cub|quart|quint)ic\b")
_ENDINGS = frozenset(("st", "nd", "rd", "th"))
_PERCENT = Unit("percent", (), Fraction(1, 100))
_END = re.compile(r"[.;!?](?!\d)|\n")
MAX_TEXT = 200_000


@dataclass(frozen=True)
class Quantity:
    """A value in a text.

    value: exact where rational (see `values`); None for tuples and relations.
    unit: what stands behind it, None where that is no unit. noun: the word behind it, where one is counted.
    notation: digits, decimal, percent, fraction, expression, tuple, relation, ratio, ordinal, roman, share (`half of
        the modulus`: the noun is what it is a share of) or offset (`2 less than the modulus`: the value is -2).
    place: the text, its tokens, and the indices of its first token and of the one behind its last.
    whole: it is not a part of a longer expression.
    in_formula: it is a part of an expression in letters.
    also: what an ordinal is of a known sequence: 11 for `the fifth prime`.
    start, end: its place in `Text.text`; node: its structure.
    """

    start: int
    end: int
    value: Value | None
    unit: Unit | None
    notation: str
    place: tuple[str, Sequence[Token], int, int]
    noun: str
    whole: bool
    node: Node
    in_formula: bool = False
    also: Value | None = None

    @cached_property
    def use(self) -> Use:
        """How the words around it use it; see `usage.Use`."""
        return usage(*self.place, ordinal=self.notation == "ordinal") if self.whole else Use("operand")

    @cached_property
    def size(self) -> float:
        return values.size(self.value)

    @property
    def counts(self) -> str:
        """What there is a number of: the name of a unit, or the stem of a noun."""
        return self.unit.name if self.unit else stem(self.noun)

    @property
    def is_relative(self) -> bool:
        """Its value is times or plus something that is named, not written."""
        return self.notation in ("share", "offset")

    @cached_property
    def readings(self) -> tuple[Value, ...]:
        """The value, and what it is without a unit that is a mere factor: 50% is 1/2, two dozen are 24."""
        if self.value is None:
            return ()
        if self.also is not None:
            return self.value, self.also
        if self.unit and not self.unit.dimension:
            product = values.operate("*", self.value, self.unit.factor) or self.value
            return (product,) if self.unit.factor > 1 else (self.value, product)
        return (self.value,)


@dataclass(frozen=True)
class Text:
    """A text in plain spelling with its quantities, parts before the wholes they are in."""

    text: str
    tokens: Sequence[Token]
    quantities: tuple[Quantity, ...]
    units: frozenset[Unit] = field(default=frozenset())

    @cached_property
    def sizes(self) -> frozenset[float]:
        """Sizes of all numbers written in the text, fractions included; not of what is to be computed."""
        found = {x for q in self.quantities for x in q.node.literals}
        for q in self.quantities:
            if q.notation in ("digits", "decimal", "fraction", "percent"):
                found.update(values.size(reading) for reading in q.readings)
        return frozenset(found - {-1.0})

    @cached_property
    def _ends(self) -> list[int]:
        return [0, *(match.end() for match in _END.finditer(self.text)), len(self.text)]

    def span(self, found: Quantity) -> tuple[int, int]:
        """Where the sentence of a quantity starts and ends, at most 120 characters each way."""
        i = bisect.bisect_right(self._ends, found.start)
        end = self._ends[i] if i < len(self._ends) else len(self.text)
        return max(self._ends[i - 1], found.start - 120), min(max(end, found.end), found.end + 120)

    def sentence(self, found: Quantity) -> str:
        start, end = self.span(found)
        return self.text[start:end]

    @cached_property
    def values(self) -> frozenset[float]:
        """What all expressions without letters come to."""
        return frozenset(q.size for q in self.quantities if not q.node.letters) - {-1.0}


def _notation(node: Node, tokens: Sequence[Token]) -> str:
    if node.kind != "number":
        if node.kind == "expression" and node.operations == 1 and len(node.literals) == 2 and not node.letters:
            written = {token.text for token in tokens[node.first : node.last]}
            return "fraction" if written & {"/", r"\frac"} and isinstance(node.value, Fraction) else "expression"
        written = {token.text for token in tokens[node.first : node.last]}
        mixed = len(node.literals) == 3 and node.operations == 2 and {"(", "+", r"\frac"} <= written
        return "fraction" if mixed and isinstance(node.value, Fraction) else node.kind
    return "decimal" if "." in tokens[node.first].text else "digits"


def _following(tokens: Sequence[Token], last: int) -> list[str]:
    words: list[str] = []
    for token in tokens[last : last + 5]:
        if token.kind != "word" and not (token.text == "-" and not words):
            break
        if token.kind == "word":
            words.append(token.text)
    return words


def _quantity(node: Node, text: str, tokens: Sequence[Token], *, whole: bool, in_formula: bool = False) -> Quantity:
    notation, unit, last = _notation(node, tokens), None, node.last
    following = tokens[last] if last < len(tokens) else None
    end = tokens[last - 1].end
    if following and following.text == "%":
        unit, last = _PERCENT, last + 1
        notation, end = "percent", following.end
    elif following and following.touching and following.text in _ENDINGS and node.kind == "number":
        notation, last, end = "ordinal", last + 1, following.end
    elif whole and node.kind not in ("relation", "tuple"):
        words = _following(tokens, last)
        part = 2 if notation == "fraction" and words[:2] in (["of", "a"], ["of", "an"]) else 0  # an eighth of a mile
        unit, used = units.behind(words[part:]) if words[part:] else (None, 0)
        used += part if unit else 0
        if unit is None and node.first and tokens[node.first - 1].text == "$":
            unit = units.unit("dollar")
        last += used + int(bool(used) and tokens[last].text == "-")
    word = tokens[last] if last < len(tokens) else None
    noun = (
        word.text if word and word.kind == "word" and len(word.text) > 1 and word.text.lower() not in NO_NOUNS else ""
    )
    place = int(node.literals[0]) if notation == "ordinal" else 0
    also = values.member(place, " ".join(_following(tokens, last))) if place else None
    start = tokens[node.first].start
    span = (text, tokens, node.first, last)
    return Quantity(start, end, node.value, unit, notation, span, noun, whole, node, in_formula, also)


def _named(tokens: Sequence[Token], i: int, text: str) -> Quantity:
    """`a decagon`, `a cubic`: a number in the name of a thing."""
    size = _NAMES[tokens[i].text.lower().removesuffix("gon")]
    node = Node(i, i + 1, Fraction(size), "number")
    return replace(_quantity(node, text, tokens, whole=True), notation="named")


def _roman(tokens: Sequence[Token], i: int, text: str) -> Quantity:
    total, largest = 0, 0
    for character in reversed(tokens[i].text):
        value = _NUMERALS[character]
        total, largest = total + (value if value >= largest else -value), max(largest, value)
    node = Node(i, i + 1, Fraction(total), "number", 0, (float(total),))
    return replace(_quantity(node, text, tokens, whole=True), notation="roman")


_LESS = "less|fewer|shorter|smaller|younger|lower|cheaper|lighter"
_MORE = "more|greater|longer|larger|bigger|older|higher|heavier"
_COMPARED = rf"(?P<less>(?:{_LESS}) than|short of|shy of|under|below)|(?:{_MORE}) than|above|beyond|past"
_OFFSET = re.compile(rf"(?:[a-z]+ )?(?:{_COMPARED})(?: the| that)?", re.I)
_OWNERS = "the|its|her|his|their|this|that|our|all|every"
_RELATIVE = re.compile(
    r"(?<!\w)(?:(?P<times>half|twice|(?<=is )double|(?<=is )triple|\d{1,9} times"
    r"|\d{1,3}%|\\frac\{\d{1,9}\}\{\d{1,9}\}) (?:of )?"
    rf"|(?P<step>\d{{1,9}}) (?:[a-z/]+ )?(?:{_COMPARED}) )(?=(?:{_OWNERS}) [A-Za-z]|(?-i:[A-Z]))"
    rf"(?:(?:{_OWNERS}) )?(?P<noun>[A-Za-z]{{1,20}})",
    re.I,
)
_MULTIPLES = {"half": Fraction(1, 2), "twice": Fraction(2), "double": Fraction(2), "triple": Fraction(3)}


def _offsets(text: str, tokens: Sequence[Token], wholes: Sequence[Quantity]) -> list[Quantity]:
    """`2 more than 5`, `1 cent short of a dollar`: one quantity of two, in the unit of the second."""
    found = []
    for one, other in itertools.pairwise(wholes):
        if not (0 <= other.start - one.end < 40 and isinstance(one.value, Fraction)):
            continue
        last = one.node.last + (1 if one.unit else 0)
        between = " ".join(token.text for token in tokens[last : other.node.first])
        offset = _OFFSET.fullmatch(between)
        sign = ("-" if offset["less"] else "+") if offset else ""
        if between in ("", "and", ",") and one.unit and other.unit and one.unit.factor > other.unit.factor:
            sign = "+" if one.unit.dimension == other.unit.dimension else sign  # 4 hours and 40 minutes
        if sign and isinstance(other.value, Fraction):
            step = units.convert(one.value, one.unit, other.unit) if one.unit and other.unit else one.value
            base = other.readings[-1] if one.unit is None else other.value  # 1 less than a dozen
            value = None if step is None else values.operate(sign, base, step)
            node = Node(
                one.node.first, other.node.last, value, "expression", 0, one.node.literals + other.node.literals, 1
            )
            span = (text, tokens, one.node.first, other.node.last)
            unit = other.unit if base == other.value else None
            found.append(
                replace(other, start=one.start, unit=unit, value=value, place=span, node=node, notation="expression")
            )
    return found


def _relatives(text: str, tokens: Sequence[Token]) -> list[Quantity]:
    """`half of the modulus`, `4 years younger than John`: what a noun names, times or plus a number."""
    found = []
    matches = list(_RELATIVE.finditer(text))
    starts = {token.start: i for i, token in enumerate(tokens)} if matches else {}
    for match in matches:
        word, i = (match["times"] or match["step"]).lower(), starts.get(match.start())
        numbers = [int(x) for x in re.findall(r"\d+", word)]
        bottom = (*numbers, 100 if "%" in word else 1)[1] if numbers else 1
        value = _MULTIPLES.get(word) or (Fraction(numbers[0], bottom) if numbers and bottom else None)
        if i is None or value is None:
            continue
        last = next((k for k in range(i, len(tokens)) if tokens[k].end >= match.end()), i) + 1
        node, span = Node(i, i + 1, -value if match["less"] else value), (text, tokens, i, last)
        notation = "share" if match["times"] else "offset"
        found.append(Quantity(match.start(), match.end(), node.value, None, notation, span, match["noun"], True, node))
    return found


def read(text: str) -> Text:
    """The quantities of a text, of which the first `MAX_TEXT` characters are read.

    A relation is followed by its sides; each side is a whole quantity, the last one of an equation used as its result.
    """
    text = plain(text[:MAX_TEXT])
    tokens = tokenize(text)
    found: list[Quantity] = []
    for node, nodes in scan(tokens):
        wholes = {id(node), *(id(part) for part in node.parts)} if node.parts else {id(node)}
        found += [_quantity(one, text, tokens, whole=id(one) in wholes, in_formula=bool(node.letters)) for one in nodes]
    found += [_roman(tokens, i, text) for i, t in enumerate(tokens) if t.text.isupper() and _ROMAN.fullmatch(t.text)]
    names = enumerate(tokens) if _NAMED.search(text) else ()
    found += [_named(tokens, i, text) for i, t in names if t.text.lower().removesuffix("gon") in _NAMES]
    found += _offsets(text, tokens, [q for q in found if q.whole]) + _relatives(text, tokens)
    words = [token.text if token.kind == "word" else "" for token in tokens]
    return Text(text, tokens, tuple(found), frozenset(units.named(words)))
