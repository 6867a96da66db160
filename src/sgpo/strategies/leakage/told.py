"""Where a strategy tells a value: the answer's, or one that is neither given, nor a constant, nor part of its steps.

A number needs a licence. It has one if the problem gives it, if a unit, a theorem or the method brings it in, or if it
is small and only counts or drives the strategy's own steps. Every other number is one that somebody computed.
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
from sgpo.strategies.leakage.facts import Facts, first, tight

# Their halves and doubles are laws of geometry.
_LAWS = words("radius diameter perimeter angle diagonal degrees")


def number(facts: Facts) -> str:
    """An intermediate result."""
    return first(facts, (q for q in facts.strategy.quantities if _is_told(facts, q)))


def _is_told(facts: Facts, q: Quantity) -> bool:
    if q.node.letters or q.is_relative or q.notation in ("relation", "tuple", "roman", "named", "ratio"):
        return False
    if "pi" in facts.slice(q) and not q.node.letters:
        times = float(f"{q.size / math.pi:.8g}")
        return q.use.name == "result" and not q.use.supposed and times > 2 and times in facts.case.computed
    if (q.node.operations and q.notation != "fraction") or facts.is_constant(q):
        return False  # the literals of an expression are looked at one by one
    if q.notation == "ordinal":
        return not q.use.supposed and (q.size > 10 or (q.size > 5 and q.use.name == "result"))
    # Radians are no second reading: that a degree has 60 minutes has nothing to do with pi.
    sizes = set(map(values.size, q.readings)) if q.unit is None or q.unit.name != "degree" else {q.size}
    given = bool((sizes | facts.in_other_units(q)) & facts.case.given)
    if not given and not all(map(is_small, sizes)):
        return True
    if not q.whole or q.use.supposed or (max(sizes) < 2 and q.size != 0.5) or facts.is_definite(q):
        return False
    if q.use.name == "mention" and q.end <= facts.strategy.text.find("\n"):
        return False  # the name of a type: `three ages, one of them known`
    counted, generic = facts.counts(q)
    if given or id(q.node) in facts.sides or q.node.first in facts.begun:
        # A claim that the problem does not make, though it has such a number elsewhere.
        claimed = q.use.name == "result" and id(q.node) not in facts.sides and not facts.is_restated(q)
        return (claimed and not generic) or (not given and facts.announced(q))
    if q.size in (0.5, 2.0):  # two and a half are the numbers that general steps are full of
        new = counted and q.use.by and q.use.name != "operand" and q.use.stated and not facts.is_compared(q)
        lawful = _LAWS & set(re.findall(r"[a-z]+", facts.sentence(q).lower()))
        return not lawful and bool(new or (sizes & facts.case.computed and not q.noun and facts.announced(q)))
    if q.use.name == "result":
        return not generic and (q.size < 10 or facts.is_left(q) or bool(sizes & facts.case.computed))
    # `grows by 3`, `must be more than 3`; not `increased by 3`, `divisible by 3`.
    grown = q.use.by in ("", "by", "below", "above") and not re.search(r"(?:ed|ible) by $", facts.before(q))
    bound = q.use.by == "than" and q.use.stated
    counts = counted or q.noun or q.unit or grown or bound or facts.is_compared(q)
    return q.use.name == "mention" and not generic and bool(counts)


def value(facts: Facts) -> str:
    """The answer, in whatever notation and unit."""
    parts = facts.case.answer.parts
    found = itertools.chain(*(_stated(facts, part) for part in parts))
    return first(facts, found) or (_together(facts, parts) if len(parts) > 1 else "")


def _stated(facts: Facts, part: Part) -> Iterator[Quantity]:
    given = part.size in facts.case.given and not part.letters
    alone = len(facts.case.answer.parts) == 1
    for q in filter(part.matches, facts.strategy.quantities):
        if q.notation == "ordinal":
            indefinite = q.use.name == "result" and (q.also or not facts.before(q).lower().endswith("the "))
            told = part.size > 2 and (q.use.by == "fits" or indefinite or stem(q.noun) in facts.case.counted)
        elif part.letters:
            strange = part.distinctive and tight(facts.slice(q)) not in facts.tight_problem
            told = strange or facts.announced(q)
        elif part.distinctive and not given:
            told = (facts.is_left(q) or not facts.is_constant(q)) and (alone or not q.use.supposed)
        else:
            told = alone and (facts.announced(q) or _is_told(facts, q))
        if told or (q.notation == "roman" and q.use.name != "label"):
            yield q


def _together(facts: Facts, parts: tuple[Part, ...]) -> str:
    """Several small values, all of the answer: one after the other, or each where it is announced."""
    numbers = [
        q
        for q in facts.strategy.quantities
        if q.whole
        and q.notation not in ("relation", "tuple")
        and not (q.use.supposed or q.node.letters or q.use.name in ("label", "base", "ordinal"))
    ]
    for i in range(len(numbers) - len(parts) + 1):
        run = numbers[i : i + len(parts)]
        near = all(
            b.start - a.end <= 30 and "\n" not in facts.strategy.text[a.end : b.start]
            for a, b in itertools.pairwise(run)
        )
        all_parts = all(any(part.matches(q) for q in run) for part in parts)
        if near and all_parts and all(any(part.matches(q) for part in parts) for q in run):
            return facts.quote(run[-1])
    return ""


def share(facts: Facts) -> str:
    """`half of the seats`, `two less than the modulus`: what problem or response has, times or plus a number."""
    case = facts.case
    known = [Fraction(x) for x in case.given | case.computed if math.isfinite(x)]

    def found() -> Iterator[Quantity]:
        for q in facts.strategy.quantities:
            if not q.is_relative or q.use.supposed or not isinstance(q.value, Fraction):
                continue
            sizes = {values.size(q.value * x if q.notation == "share" else q.value + x) for x in known}
            lawful = bool(_LAWS & set(re.findall(r"[a-z]+", facts.sentence(q).lower())))
            if not lawful and q.use.stated and any(part.size in sizes for part in case.answer.parts):
                yield q

    return first(facts, found())


def written(facts: Facts) -> str:
    """The answer as it is written, for shapes that have no value: matrices, unions, times of day."""
    answer = facts.case.answer
    text = tight(answer.written)
    shaped = len(answer.parts) != 1 or re.search(r"[(\[].*,", text)
    if answer.words or not shaped or len(text) < 4 or not re.search(r"\d|\\|=", text):
        return ""
    return answer.written[:60] if text in tight(facts.raw) and text not in facts.tight_problem else ""
