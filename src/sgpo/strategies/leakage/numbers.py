"""Whether a quantity of a strategy leaks: a sum of weights over what is true of it, one table for all.

A row of the table has what may be true of a quantity, and what that weighs for each of `SORTS`. A quantity leaks if its
sum is over 0. `benchmarks/leak_weights.py` fits the weights to labelled strategies.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

from sgpo.mathtext.quantities import Quantity
from sgpo.mathtext.tokens import size, words
from sgpo.mathtext.usage import ARRIVALS, BASES
from sgpo.strategies.leakage.case import SMALL, letters_of
from sgpo.strategies.leakage.facts import Facts, has

_DEFINITE = words("the both these other its all of")
_OWN = words("expression answer result solution value total count outcome it this")
_TOLD = ARRIVALS | words(
    "obtain get gets getting yield yields give gives giving conclude leave leaves fits reach reaches reaching"
)
_PLACES = words("at in on for with within before after until")
_INSERTING = words("substitute substituting plug insert evaluate put set")
_EXAMPLE = words(
    "say imagine suppose example instance such like primes warm cousin flavor simpler smaller similar toy analogous "
    "mini sample picture illustration"
)
_QUOTED = words("text problem statement story")
_GENERIC = words(
    "case step unknown variable equation side part digit term factor point dimension type kind condition set leg "
    "angle vertex number quantity value expression inequality congruence operation root solution group class category "
    "way method stage phase triangle circle integer event draw choice option possibility function parameter degree "
    "half formula identity prime element piece line row column constraint people person item figure limit endpoint "
    "bound sum product power exponent sign law rule clue fact relation edge face place decimal amount"
)
SORTS = (
    "share", "answer", "small answer", "formula", "copied formula", "worked", "copied worked", "operand", "new",
    "given", "small", "small given",
)  # fmt: skip


def sort_of(facts: Facts, q: Quantity) -> str:
    """What a quantity is to this problem: one of `SORTS`, or "" where it says nothing."""
    case = facts.case
    if q.notation in ("share", "offset"):  # `half of the seats`: half of a number of the problem or the response
        answers = [sign * x for part in case.parts for x in part.sizes for sign in (1, -1)]
        wholes = (x / float(q.value or 1) if q.notation == "share" else x - float(q.value or 0) for x in answers)
        whole = (q.notation, q.size) == ("share", 1) or case.specific.isdisjoint(map(size, wholes))
        return "" if whole else "share"
    stated = {part.size for part in case.parts if case.states(q, part)}
    if stated and not (stated <= SMALL and q.operations > 1):
        return "small answer" if stated <= SMALL else "answer"
    if q.notation in ("times", "named"):
        return ""
    if q.letters or q.operations or q.parts:
        return "copied " * has(case.response, q) + ("formula" if q.letters else "worked")
    if q.sizes <= SMALL:
        return "small given" if q.sizes & case.given else "small"
    if q.whole and q.sizes & case.specific and (q.use.name == "operand" or _INSERTING & {*q.before[-5:]}):
        return "operand"
    return "given" if q.sizes & case.given else "new"


class Feature(NamedTuple):
    """Something that may be true of a quantity, and what it weighs for each of `SORTS`."""

    name: str
    weights: tuple[int, ...]
    holds: Callable[[Facts, Quantity], object]


def _row(name: str, weights: str, holds: Callable[[Facts, Quantity], object]) -> Feature:
    return Feature(name, tuple(int(weight.replace(".", "0")) for weight in weights.split()), holds)


FEATURES = (
    # Where the number is from.
    _row("any", "  1  6  6 -8  . -8  6  7  2 -9 -9 -6", lambda f, q: True),
    _row("in the response", " -7  .  .  .  .  6  1  4  3  .  4  .", lambda f, q: q.sizes & f.case.response.all_sizes),
    _row("a unit in another", "  . -8 -5  .  .  5  1 -9 -9  . -3 -5", lambda f, q: q.size in f.conversions),
    _row("of a conversion", "  .  . -8  .  . -1  .  2 -9  . -9 -6", lambda f, q: f.converts(q)),
    _row("general knowledge", "  . -5 -7  .  . -5  . -9 -9 -3 -9 -5", lambda f, q: f.is_known(q.size, q)),
    _row("small modulus", "  .  . -8  .  .  .  .  . -9  . -9 -1", lambda f, q: q.use.by in BASES and q.size <= 12),
    _row("in a list from 1 or 2", "  .  . -9  .  .  .  .  . -8  1 -9  .",
         lambda f, q: len(a := f.listed(q)) > 2 and a[0] <= 2 and a == sorted(a)),
    _row("in a list", "  .  . -8  .  .  .  . -6  1  4  3 -6", lambda f, q: len(f.listed(q)) > 2),
    _row("among the options", "  . -9 -7  .  . -1  .  . -7  . -6 -2",
         lambda f, q: len({o.size for o in f.beside(q)} & f.case.choices) > 2),
    _row("in an example", "  1  . -8 -8  1 -6 -2 -4 -6  . -5  .", lambda f, q: f.near(q) & _EXAMPLE),
    _row("with other numbers", " -3  .  3  6  2 -6 -5  .  .  . -5 -1",
         lambda f, q: (large := f.large(q)) and not large & f.case.specific),
    _row("with many others", "  .  . -2  .  .  .  .  . -9  .  . -5",
         lambda f, q: len(large := f.large(q)) > 2 and not large & f.case.specific),
    _row("in a triangle's name", "  .  1  .  .  .  .  .  . -5  1  7  .", lambda f, q: _names_triangle(q)),
    # How large it is.
    _row("0 or 1", "  5  . -6  .  .  .  .  .  .  . -5 -6", lambda f, q: q.size in (0, 1)),
    _row("one or two things", "  .  8  1  .  .  .  5  . -2  . -5 -7", lambda f, q: q.size <= 2 and q.noun),
    _row("up to 2", " -5 -9  .  .  . -2  .  .  1  . -2 -1", lambda f, q: q.size <= 2),
    _row("up to 4", "  1  . -4  .  .  .  4  .  . -3 -3  .", lambda f, q: q.size <= 4),
    _row("up to 10", " -1  8 -3  .  . -1 -4  .  . -1  5  2", lambda f, q: q.size <= 10),
    _row("100%", "  .  .  .  .  .  .  .  .  .  . -4 -9", lambda f, q: (q.notation, q.size) == ("percent", 1)),
    # How the words around it use it.
    _row("conditional", "  . -2 -9 -3 -2 -7  .  . -2  . -9 -9", lambda f, q: q.use.supposed),
    _row("stated", "  .  .  2  1  3  5 -3  4  . -1  5 -2", lambda f, q: q.use.stated),
    _row("result", "  8  .  4  4  .  3  4  .  2  9  1  9", lambda f, q: q.use.name == "result"),
    _row("result of a verb", " -8  8  2  5  7  .  . -5  .  .  2  .", lambda f, q: q.use.by in _TOLD),
    _row("0 or 1, of a verb", "  1  .  3  .  .  .  .  .  .  .  3  6",
         lambda f, q: q.size in (0, 1) and q.use.by in _TOLD and q.use.stated),
    _row("inserted", "  .  1  .  .  .  .  .  .  .  9  4  8", lambda f, q: _INSERTING & {*q.before[-5:]}),
    _row("operand", "  .  . -9 -3 -2  4  2 -8  1  2 -4  2", lambda f, q: q.use.name == "operand"),
    _row("label", "  . -8 -8  .  . -5  .  . -7  2  .  .", lambda f, q: q.use.name == "label"),
    _row("of the answer", "  .  2  5  1 -2  7  1 -1  3  .  . -3", lambda f, q: q.use.subject & _OWN),
    _row("restated", "  .  . -2  .  .  . -1 -4 -3  1 -1 -3",
         lambda f, q: f.near(q) & f.case.told.get(q.size, frozenset())),
    _row("quoted", "  . -1  .  4  . -1  .  .  . -4  1 -9", lambda f, q: {*q.sentence} & _QUOTED),
    _row("counts steps", " -2  1 -6  .  . -5  .  .  .  . -4 -4",
         lambda f, q: q.size <= 4 and f.counts(q) & _GENERIC and not f.counts(q) & f.case.stems),
    _row("counts things of the problem", "  .  .  .  . -4  .  1 -3  1 -3  2  .",
         lambda f, q: f.counts(q) & f.case.stems),
    _row("counts what is asked", "  .  .  9  .  .  .  .  1 -1  .  .  .", lambda f, q: f.counts(q) & f.case.counted),
    _row("counts", "  . -3  .  .  3  .  . -1  .  6  . -2", lambda f, q: q.noun),
    _row("after an article", "  2  3 -3  9 -6 -1 -5  .  2 -2 -5 -8",
         lambda f, q: {*q.before[-1:]} & _DEFINITE and not {"a", "an"} & {*q.before[-4:-1]}),
    _row("by the", "  .  .  .  .  .  .  .  .  .  .  .  5", lambda f, q: q.before[-2:] == ["by", "the"]),
    _row("at a place", "  .  .  1  .  .  . -1 -2  .  . -1 -6", lambda f, q: q.use.by in _PLACES),
    _row("each", "  . -7 -1  .  . -6  2  . -1  . -1  .", lambda f, q: "each" in q.use.subject),
    # How it is written.
    _row("with a unit", "  . -2  .  .  . -1  .  1  1 -9  3  7", lambda f, q: q.unit),
    _row("in words", "  .  2  4  .  .  .  .  1  4  .  3  1", lambda f, q: q.notation == "words"),
    _row("fraction", "  . -2 -2  .  .  3 -2 -1  .  .  1  .", lambda f, q: q.notation == "fraction" and q.size < 1),
    _row("in an expression", "  .  .  8  .  .  .  .  .  .  . -1 -5", lambda f, q: not q.whole),
    _row("side", "  . -6  . -6 -8 -7 -8  . -4 -2 -5 -8",
         lambda f, q: any(q.first == part.first for o in f.beside(q) for part in o.parts)),
    _row("equation", "  .  .  .  8  9 -3  3  .  .  .  .  .", lambda f, q: "=" in q.signs),
    _row("law", "  .  .  . -1 -9  . -4  .  .  .  .  .", lambda f, q: is_law(q)),
    _row("two operations", "  .  .  .  .  5  .  8  .  .  .  .  .", lambda f, q: q.operations > 1),
    _row("as in the problem", "  .  .  .  4 -6 -9 -9  .  .  .  .  .", lambda f, q: has(f.case.problem, q)),
    # What is in it.
    _row("own numbers", "  .  .  . -3 -2  .  1  .  .  .  .  .",
         lambda f, q: f.case.specific.issuperset(q.literals)),
    _row("large own number", "  .  .  .  3  4  7  1  .  .  .  .  .",
         lambda f, q: f.case.specific & {*q.literals} - SMALL),
    _row("number over 2", "  .  .  .  4 -1  4  4  .  .  .  .  .",
         lambda f, q: any(x > 2 and not f.is_known(x, q) for x in q.literals)),
    _row("known numbers", "  .  .  .  . -7 -3 -5  .  .  .  .  .",
         lambda f, q: all(f.is_known(x, q) for x in q.literals if x > 2 or x % 1)),
    _row("own letters", "  .  .  . -3  5  . -1  .  .  .  .  .", lambda f, q: letters_of(q) <= f.case.letters),
    _row("other letters", "  .  .  . -9 -6  . -3  .  .  .  .  .",
         lambda f, q: not q.parts and letters_of(q).isdisjoint(f.case.letters)),
    _row("several letters", "  .  .  . -2  .  1  6  .  .  .  .  .", lambda f, q: len(letters_of(q)) > 1),
    _row("a side without letters", "  .  .  .  3  3  6  .  .  .  .  .  .",
         lambda f, q: not all(side.letters for side in q.parts)),
)  # fmt: skip


def is_law(q: Quantity) -> bool:
    """A relation is true whatever its letters are, as an identity or an inequality of a theorem is."""
    sides = [float("nan") if part.value is None else float(part.value) for part in q.parts]
    pairs = zip(sides, sides[1:], q.signs, strict=False)
    return bool(sides) and all(
        abs(a - b) < 1e-9 or ("<" in sign and a < b) or (">" in sign and a > b) for a, b, sign in pairs
    )


def _names_triangle(q: Quantity) -> bool:
    """It is in `the 3-4-5 triangle`."""
    return "-" in (*q.before[-1:], *q.behind[:1]) and "triangle" in q.sentence


# What weighs anything for a sort, the most first.
_WEIGHTS = {
    sort: [
        (row.weights[i], row.holds) for row in sorted(FEATURES, key=lambda row: -abs(row.weights[i])) if row.weights[i]
    ]
    for i, sort in enumerate(SORTS)
}


@functools.lru_cache(4)
def _sorted(facts: Facts) -> list[tuple[Quantity, str, str]]:
    """The quantities with their sorts, as what they are weighed and as what they are told: what drives a step."""
    found = [(q, sort) for q in facts.strategy.quantities if (sort := sort_of(facts, q))]
    return [(q, sort, "operand" if "given" in sort and q.use.name == "operand" else sort) for q, sort in found]


def _leaks(facts: Facts, q: Quantity, sort: str) -> bool:
    """Its weights come to more than 0; nothing more is asked once the rest cannot change that."""
    score, rest = 0, sum([abs(weight) for weight, _ in _WEIGHTS[sort]])
    for weight, holds in _WEIGHTS[sort]:
        if abs(score) > rest:
            break
        score += weight if holds(facts, q) else 0
        rest -= abs(weight)
    return score > 0


def leaking(*sorts: str) -> Callable[[Facts], str]:
    """A rule that quotes the first quantity of some sorts that leaks."""
    return lambda facts: next(
        (q.quote for q, sort, told in _sorted(facts) if told in sorts and _leaks(facts, q, sort)), ""
    )
