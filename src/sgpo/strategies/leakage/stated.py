"""Where a strategy states an answer that is a value, an option or a word."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from fractions import Fraction

from sgpo.mathtext import values
from sgpo.mathtext.quantities import Quantity
from sgpo.mathtext.vocabulary import words
from sgpo.strategies.leakage.answer import Part
from sgpo.strategies.leakage.facts import Facts, first, tight

_RESIDUES = words("congruent remainder residue equivalent")
_BOUNDS = words("than above below exceed exceeds under beyond over")


def _stated(facts: Facts, part: Part) -> Iterator[Quantity]:
    given = part.size in facts.case.given and not part.letters
    for found in facts.strategy.quantities:
        if not part.matches(found):
            continue
        if found.notation == "ordinal" and (found.use.name != "result" or part.size < 3):
            continue
        if found.notation == "roman" and found.use.name != "label":
            yield found
        elif part.letters:
            if (part.distinctive and tight(facts.slice(found)) not in facts.tight_problem) or facts.announced(
                found, strong=True
            ):
                yield found
        elif part.distinctive and not given and not facts.is_constant(found):
            if not (found.use.supposed and len(facts.case.answer.parts) > 1):
                yield found
        elif (facts.case.answer.is_bound and found.use.by in _BOUNDS and not found.use.supposed) or (
            len(facts.case.answer.parts) == 1 and facts.announced(found, strong=given)
        ):
            yield found


def _piece(facts: Facts) -> Iterator[Quantity]:
    """A part of how a rational answer is written, or what is congruent to it: `the last two digits are 69`."""
    parts, modulus = [part.readings[0] for part in facts.case.answer.parts], facts.case.modulus
    exact = parts[0] if len(parts) == 1 else None
    if not isinstance(exact, Fraction):
        return
    for q in facts.strategy.quantities:
        number, subject = q.value, q.use.subject
        if (
            q.use.name != "result"
            or q.use.supposed
            or not q.whole
            or q.node.letters
            or not isinstance(number, Fraction)
        ):
            continue
        digits = "digit" in subject and not q.noun and exact >= 10 and str(number) in str(exact.numerator)
        top = "numerator" in subject and number == exact.numerator
        bottom = "denominator" in subject and number == exact.denominator
        same = modulus > 2 and number not in (exact, 0, 1, modulus) and (number - exact) % modulus == 0
        if digits or (exact.denominator > 1 and (top or bottom)) or (same and _RESIDUES & {*subject, q.use.by}):
            yield q


def value(facts: Facts) -> str:
    parts = facts.case.answer.parts
    quote = first(facts, _piece(facts))
    if quote:
        return quote
    for part in parts:
        quote = first(facts, _stated(facts, part))
        if quote:
            return quote
    return _together(facts, parts) if len(parts) > 1 else ""


def _together(facts: Facts, parts: tuple[Part, ...]) -> str:
    """Several small values, all of the answer: one after the other, or each where it is announced."""
    wholes = [
        q
        for q in facts.strategy.quantities
        if q.whole and q.notation not in ("relation", "tuple") and not q.use.supposed
    ]
    numbers = [q for q in wholes if not q.node.letters and q.use.name not in ("label", "base", "ordinal")]
    for i in range(len(numbers) - len(parts) + 1):
        run = numbers[i : i + len(parts)]
        gaps = [(a.end, b.start) for a, b in itertools.pairwise(run)]
        near = all(b - a <= 30 and "\n" not in facts.strategy.text[a:b] for a, b in gaps)
        telling = any(q.size not in (0.0, 1.0) for q in run) or run[0].use.name == "result"
        all_parts = all(any(part.matches(q) for q in run) for part in parts)
        if near and telling and all_parts and all(any(part.matches(q) for part in parts) for q in run):
            return facts.quote(run[-1])
    hits = [[q for q in numbers if part.matches(q) and q.use.name != "operand"] for part in parts]
    if all(hits) and any(facts.announced(q) for found in hits for q in found) and any(p.size > 1 for p in parts):
        return facts.quote(hits[0][0])
    return ""


def share(facts: Facts) -> str:
    """`half of the modulus`, `two less than the modulus`: said of what the problem asks for."""
    case = facts.case

    def found() -> Iterator[Quantity]:
        for q in facts.strategy.quantities:
            if not q.is_relative or q.use.supposed or not isinstance(q.value, Fraction) or q.size in case.given:
                continue
            given = [Fraction(x) for x in case.given if math.isfinite(x)]
            sizes = {values.size(q.value * x if q.notation == "share" else q.value + x) for x in given}
            said = q.use.name == "result" and q.use.subject & (case.asked | {"answer", "result"})
            opens = not q.use.subject and q.size != 0.5 and q.notation == "share"
            if any(part.size in sizes for part in case.answer.parts) and (said or opens):
                yield q

    return first(facts, found())


def written(facts: Facts) -> str:
    """The answer as it is written, for shapes that have no value: matrices, unions, times of day."""
    answer = facts.case.answer
    written = tight(answer.written)
    shaped = len(answer.parts) != 1 or re.search(r"[(\[].*,", written)
    if (
        answer.words
        or not shaped
        or len(written) < 4
        or not re.search(r"\d|\\|=", written)
        or written in tight(facts.case.problem.text)
    ):
        return ""
    return answer.written[:60] if written in tight(facts.raw) else ""
