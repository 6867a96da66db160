"""Whether a quantity of a strategy leaks: a sum of weights over what is true of it, one table for all.

A row of the table has what may be true of a quantity and what that weighs, in tenths of a nat: for all quantities, then
in addition for each of `SORTS`. A quantity leaks if its sum is over 0. `benchmarks/leak_weights.py` fits the weights to
labelled strategies.
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
    """Something that may be true of a quantity, and what it weighs: for all, then in addition for each of `SORTS`."""

    name: str
    weights: tuple[int, ...]
    holds: Callable[[Facts, Quantity], object]


def _row(name: str, weights: str, holds: Callable[[Facts, Quantity], object]) -> Feature:
    return Feature(name, tuple(int(weight.replace(".", "0")) for weight in weights.split()), holds)


FEATURES = (
    # Where the number is from.
    _row("any", "  3   .  15   8   2  23   .   .   .   . -32  -3 -10", lambda f, q: True),
    _row("in the response", "  1   .   .   .   .  -7  22   5 -12   .   .   .   .",
         lambda f, q: q.sizes & f.case.response.all_sizes),
    _row("a unit in another", "-38   . -18   .   .   .   .   . -34 -47   .  28   .",
         lambda f, q: q.size in f.conversions),
    _row("of a conversion", "-65   .   .  -6   .   .   .   .   .   .   .   .   .", lambda f, q: f.converts(q)),
    _row("general knowledge", "-62   .   .   .   .   .   8   .   .   .   .   .   .",
         lambda f, q: f.is_known(q.size, q)),
    _row("small modulus", "-27   .   . -21   .   .   .   .   . -93   .   .  -1",
         lambda f, q: q.use.by in BASES and q.size <= 12),
    _row("in a list from 1 or 2", "-39   .   . -19   .   .   .   .   .   .   .   .   .",
         lambda f, q: len(a := f.listed(q)) > 2 and a[0] <= 2 and a == sorted(a)),
    _row("in a list", "-22   .  -9   .   .   .   .   . -11  20   .  40   .", lambda f, q: len(f.listed(q)) > 2),
    _row("among the options", "-71   .   .   .   .   .   .   .   .   .   .   .   .",
         lambda f, q: len({o.size for o in f.beside(q)} & f.case.choices) > 2),
    _row("in an example", "-22   .   . -28 -38   .   1   .   . -12   .   .  30", lambda f, q: f.near(q) & _EXAMPLE),
    _row("with other numbers", "  .   .   .   .   .   .  -7   .   .  11   .  -4   .",
         lambda f, q: (large := f.large(q)) and not large & f.case.specific),
    _row("in a triangle's name", " 22   .   .   .   .   .   .   .   . -21  59   .  19",
         lambda f, q: _names_triangle(q)),
    # How large it is.
    _row("0 or 1", " -4  68   . -22   .   7   .  70   .   .   .  -9 -11", lambda f, q: q.size in (0, 1)),
    _row("one or two things", "-12   .  15   .  -9  22   .   .   .  -7   .   4  -4",
         lambda f, q: q.size <= 2 and q.noun),
    _row("up to 2", "  .   . -26  43   .   4   .   .   .  15   . -15 -17", lambda f, q: q.size <= 2),
    _row("up to 4", " -9   .   .  -9 -43  37   .   .   . -20   . -11   3", lambda f, q: q.size <= 4),
    _row("up to 10", "  3   .  24   .  18 -29   1   .   .   .   .  11   .", lambda f, q: q.size <= 10),
    # How the words around it use it.
    _row("conditional", "-24   .   . -51  30   .   .   .  10 -11   .  -8  12", lambda f, q: q.use.supposed),
    _row("stated", " 10   . -26   2   .   .   . -14   .   .   .   6  -4", lambda f, q: q.use.stated),
    _row("result", " 10   .  -6  19  13   .   .  -2   . -10   .   1   9", lambda f, q: q.use.name == "result"),
    _row("result of a verb", " 17   .   .   1  15   .   .   .  -9   .   .  -5  -1", lambda f, q: q.use.by in _TOLD),
    _row("inserted", "  7   .   .   .   .  15   .   .   .   .   . -36  10", lambda f, q: _INSERTING & {*q.before[-5:]}),
    _row("operand", " -8   .  -2 -19   .  -5  22   .   .   .   . -11   6", lambda f, q: q.use.name == "operand"),
    _row("label", "-13   . -33 -23   .   .   .   .   . -57   .  17   7", lambda f, q: q.use.name == "label"),
    _row("of the answer", "  3   .   .  12   .   .  24   .  -7   .  -3   .  -8", lambda f, q: q.use.subject & _OWN),
    _row("restated", "-12   .   .  -8   .   .  -5  -4   .   .   .   .  -1",
         lambda f, q: f.near(q) & f.case.told.get(q.size, frozenset())),
    _row("quoted", "  1   .   .   .   .   . -54   .   .  -5   .   6 -25", lambda f, q: {*q.sentence} & _QUOTED),
    _row("counts steps", "-17   .   . -23   .  14   .   .   .  19   .   .  -6",
         lambda f, q: q.size <= 4 and f.counts(q) & _GENERIC and not f.counts(q) & f.case.stems),
    _row("counts things of the problem", "  .   .   . -11  -6 -13  13   .   3  -2   2  -8 -15",
         lambda f, q: f.counts(q) & f.case.stems),
    _row("counts what is asked", " 14   .   .  41   .   .   .   . -31  -4  19   . -20",
         lambda f, q: f.counts(q) & f.case.counted),
    _row("counts", " -4   .  -8   .  -9  -3   5  -2   .   4  11   .  10", lambda f, q: q.noun),
    _row("after an article", "-11   .   .   .   .   .   .   .   5   4  -8   .  -2",
         lambda f, q: {*q.before[-1:]} & _DEFINITE and not {"a", "an"} & {*q.before[-4:-1]}),
    _row("at a place", "  .   .   .   .   .  -1  21   . -10  -7   .   .   8", lambda f, q: q.use.by in _PLACES),
    _row("each", "-21   .   .   .   .  -7   .  12   .   5   .  13   .", lambda f, q: "each" in q.use.subject),
    # How it is written.
    _row("with a unit", " 10   .   .   .   . -16   .   .  -8   4   .   .   .", lambda f, q: q.unit),
    _row("in words", " 18   .   .   .   .   .   .   .   .  21   .   1  -2", lambda f, q: q.notation == "words"),
    _row("in an expression", " -2   .   .   .   .   .   . -21   .   9   .   .   3", lambda f, q: not q.whole),
    _row("side", "-25   .   .  16   .   6  -2  -6   .  -3   .   3   7",
         lambda f, q: any(q.first == part.first for o in f.beside(q) for part in o.parts)),
    _row("law", "-22   .   .   .   4 -13  -4   .   .   .   .   .   .", lambda f, q: is_law(q)),
    _row("two operations", " 18   .   .   .   .   3   .  22   .   .   .   .   .", lambda f, q: q.operations > 1),
    _row("as in the problem", "-19   .   .  36  24  -4 -40  -9   .   .   2   .  16",
         lambda f, q: has(f.case.problem, q)),
    # What is in it.
    _row("own numbers", "  . -21   .   . -13   .  -4  15   .   . -16  10   4",
         lambda f, q: f.case.specific.issuperset(q.literals)),
    _row("large own number", " 14   . -14   .   .   .  25  31   .  23  18   .   .",
         lambda f, q: f.case.specific & {*q.literals} - SMALL),
    _row("number over 2", " -1   .   .  11   .   2   .   .  20  -5   . -32 -18",
         lambda f, q: any(x > 2 and not f.is_known(x, q) for x in q.literals)),
    _row("known numbers", "-31   .   .   .   .   3   6   .   . -32   .   3  33",
         lambda f, q: all(f.is_known(x, q) for x in q.literals if x > 2 or x % 1)),
    _row("other letters", " -7   .  21 -16 -34 -23  14  17   .   7 -10  -3   .",
         lambda f, q: not q.parts and letters_of(q).isdisjoint(f.case.letters)),
    _row("several letters", "  9   .   .  17 -30 -19   7  -1   .   .   .   .   .", lambda f, q: len(letters_of(q)) > 1),
    _row("a side without letters", "  .   .   .   .  43   8   4  11   .   .   .   .   .",
         lambda f, q: not all(side.letters for side in q.parts)),
    # Where the problem and the response have it, and how its sentence is built.
    _row("result there", "  7   .  18 -28   .   5   1   . -15   .   .   2   3",
         lambda f, q: any(o.use.name == "result" for o in f.there(q))),
    _row("several results there", "  .   .   .   2   .  -1   .  -5  54   .   .   .  -6",
         lambda f, q: sum(o.use.name == "result" for o in f.there(q)) > 1),
    _row("operand there", "  4   .  10   5   .   .   .  -2  14 -32  11   .  -5",
         lambda f, q: any(o.use.name == "operand" for o in f.there(q))),
    _row("behind = there", "  3   .  24  -5   .   .   .   .   .   7  -3  -4   .",
         lambda f, q: any(o.text.words(o.first - 1, o.first) == ["="] for o in f.there(q))),
    _row("once there", "  .   .   .   .   .   .   . -13  14   8 -22  -6   .", lambda f, q: len(f.there(q)) == 1),
    _row("late there", "  3   . -29  19   .   .   .   .   .  59   .   .   1",
         lambda f, q: any(o.first > 0.8 * len(o.text.tokens) for o in f.there(q))),
    _row("twice in the problem", "-21   .   .   7   .   6   .   .   .   .   .  26  14",
         lambda f, q: len(f.case.problem.worth(q)) > 1),
    _row("up to 12", "  .   .  -2   .  11   . -18   .   4   .   5  10   .", lambda f, q: q.size <= 12),
    _row("alone", "  8   .  22  10   .   .   .   . -15  11  -3   2   .", lambda f, q: len(f.beside(q)) < 2),
    _row("beside large numbers", "-20   . -22   8  -1   . -15   .  23  -2  -1   .   .",
         lambda f, q: len(f.large(q)) > 2),
    _row("beside a large one", " -2  -1  -3   9   6   7 -15  -7  -4   .   . -19   .", lambda f, q: f.large(q)),
    _row("expression", "-19   .  27  85 -26 -10 -12   .   .   .   .   .   .", lambda f, q: q.notation == "expression"),
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
    sort: sorted(
        ((weight, row.holds) for row in FEATURES if (weight := row.weights[0] + row.weights[i])),
        key=lambda weighed: -abs(weighed[0]),
    )
    for i, sort in enumerate(SORTS, 1)
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
