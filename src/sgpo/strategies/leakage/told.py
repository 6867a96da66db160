"""Where a strategy tells a value: the answer's, or one that is neither given, nor a constant, nor part of its steps.

A number needs a licence. It has one if the problem gives it, if a unit, a theorem or the method brings it in, or if it
is small and the strategy does not say that something comes to it. Every other number is one that somebody computed.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from fractions import Fraction

from sgpo.mathtext import values
from sgpo.mathtext.quantities import Quantity
from sgpo.mathtext.usage import stem
from sgpo.mathtext.vocabulary import words
from sgpo.strategies.leakage.answer import Part, is_small
from sgpo.strategies.leakage.facts import STRONG, Facts, first, tight

# Their halves and doubles are laws of geometry.
_SIDES = re.compile(r"(?<![\d-])\d{1,3}-\d{1,3}-\d{1,3}(?= (?:right )?triangle)")
_LAWS = words("radius diameter perimeter angle diagonal degrees")


def number(facts: Facts) -> str:
    """The rule `number`: it quotes an intermediate result that the strategy tells."""
    return first(facts, (q for q in facts.strategy.quantities if _is_told(facts, q))) or _sides(facts)


def _sides(facts: Facts) -> str:
    """It finds `the 7-24-25 triangle` beside legs of 7 and 24: some sides are given, so the others were computed."""
    for match in _SIDES.finditer(facts.strategy.text):
        sides = {float(side) for side in match[0].split("-")}
        if 90 not in sides and sides & facts.case.given and sides - facts.case.given:
            return match[0]
    return ""


def _is_told(facts: Facts, q: Quantity) -> bool:
    if q.node.letters or q.is_relative or q.notation in ("relation", "tuple", "named", "ratio"):
        return False
    if q.notation == "roman":
        return q.size in facts.case.computed
    if "pi" in facts.slice(q):
        return q.use.name == "result" and float(f"{q.size / math.pi:.8g}") in facts.case.computed
    if q.node.operations and q.notation != "fraction":  # its literals are looked at one by one
        told = q.use.name == "result" and id(q.node) not in facts.sides
        return told and q.size > 2 and q.size in facts.case.computed
    if facts.is_constant(q):
        return False
    if q.notation == "ordinal":
        return q.use.by == "fits" and q.size > 5 if is_small(q.size) else q.size not in facts.case.given
    sizes = set(map(values.size, q.readings))
    if not (sizes | facts.in_other_units(q)) & facts.case.given and not all(map(is_small, sizes)):
        return True
    counts = q.size <= 2 and q.noun  # `what remains is 2 equal shares`
    if not 2 < q.size <= 10 and (counts or q.size not in facts.case.specific or _is_lawful(facts, q)):
        return False  # two, a half and a hundred are the numbers that general steps are full of
    return not (q.size in (0, 1) and q.use.by not in STRONG) and not facts.is_definite(q) and facts.claims(q)


def _is_lawful(facts: Facts, q: Quantity) -> bool:
    return bool(_LAWS & set(re.findall(r"[a-z]+", facts.sentence(q).lower())))


def value(facts: Facts) -> str:
    """The rule `value`: it quotes the answer, in whatever notation and unit."""
    parts = facts.case.answer.parts
    return first(facts, itertools.chain(*(_stated(facts, part) for part in parts))) or _together(facts, parts)


def _stated(facts: Facts, part: Part) -> Iterator[Quantity]:
    given = part.size in facts.case.given
    for q in filter(part.matches, facts.strategy.quantities):
        asked = bool(facts.case.counted & {stem(q.use.by), *facts.behind(q)})  # `nine boys`, `the boys number 9`
        if q.notation == "ordinal":
            told = asked or bool(q.also) or (q.use.name == "result" and not facts.before(q).lower().endswith("the "))
        elif facts.is_constant(q) and not facts.is_left(q):
            told = False
        elif part.distinctive and not given:
            told = len(facts.case.answer.parts) == 1 or not q.use.supposed
        else:
            told = facts.claims(q) or (asked and not q.use.supposed)
        if told:
            yield q


def _together(facts: Facts, parts: tuple[Part, ...]) -> str:
    """It finds all values of an answer of several, one after the other on one line."""
    numbers = [q for q in facts.strategy.quantities if q.whole and q.notation not in ("relation", "tuple")]
    for i in range(len(numbers) - len(parts) + 1) if len(parts) > 1 else ():
        run = numbers[i : i + len(parts)]
        near = "\n" not in facts.strategy.text[run[0].end : run[-1].start] and run[-1].start - run[0].end < 80
        if near and all(any(part.matches(q) for q in run) for part in parts):
            return facts.quote(run[-1])
    return ""


def share(facts: Facts) -> str:
    """The rule `share`: `half of the seats` is the answer if it is half of a number of the problem or the response.

    Which number the noun means is not understood, so every one of them is tried.
    """
    given = facts.case.problem.text.lower().split()
    known = [Fraction(x) for x in facts.case.given | facts.case.computed if math.isfinite(x)]

    def found() -> Iterator[Quantity]:
        for q in facts.strategy.quantities:
            if (
                q.is_relative
                and q.use.stated
                and not _is_lawful(facts, q)
                and facts.slice(q).lower().split()[0] not in given
            ):
                sizes = {values.size(values.operate("*" if q.notation == "share" else "+", x, q.value)) for x in known}
                if any(part.size in sizes for part in facts.case.answer.parts):
                    yield q

    return first(facts, found())


def written(facts: Facts) -> str:
    """The rule `written`: it finds answers that have no value, such as matrices and unions, by how they are written."""
    answer, text = facts.case.answer, tight(facts.case.answer.written)
    shaped = not answer.words and len(answer.parts) != 1 and len(text) > 3
    return text[:60] if shaped and text in tight(facts.raw) and text not in facts.tight_problem else ""
