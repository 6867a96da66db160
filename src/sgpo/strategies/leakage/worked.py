"""Where a strategy works with the numbers of its problem: computations, equations and intermediate results."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

from sgpo.mathtext import units, values
from sgpo.mathtext.quantities import Quantity
from sgpo.mathtext.usage import stem
from sgpo.mathtext.vocabulary import words
from sgpo.strategies.leakage.answer import is_small
from sgpo.strategies.leakage.facts import SPANS, Facts, first, holds, tight

_TRIED = words("case cases when if try for first start starts starting suppose base")
_CHOICES = words("choice option way possibility")


_NUMBER = r"(\d[\d.]*)%?"
_PAIR = re.compile(
    rf"\b(?:divid|multipl|subtract|add|combin|rais|tak|split|distribut|scal|sum|product|difference|quotient|ratio|gcd|"
    rf"lcm|average|mean|squar|cub)\w*(?: of| between)?(?: [a-z]+){{0,2}} ?\$? ?{_NUMBER}(?:[ -][A-Za-z]+){{0,4}},?"
    r" (?:by|and|from|to|with|into|among|modulo|mod)"
    rf"(?: [a-z]+){{0,2}} ?\$? ?{_NUMBER}(?![\d-])|{_NUMBER} (?:leaves|leaving) (?:an? )?remainder (?:of )?{_NUMBER}",
    re.IGNORECASE,
)
_ARITHMETIC = words(
    "add adding subtract subtracting multiply multiplying divide dividing plus minus times scale raise increase "
    "decrease"
)
_INSERTED = words("substitute substituting plug plugging insert inserting evaluate evaluating put putting")


def computation(facts: Facts) -> str:
    specific = facts.case.specific

    def found() -> Iterator[Quantity]:
        operands: set[float] = set()
        for q in facts.strategy.quantities:
            node = q.node
            if _is_worked(facts, q) or _is_assignment(facts, q):
                yield q
            elif q.whole and q.use.name == "operand" and node.kind == "number" and not q.noun.startswith("-"):
                said = re.findall(r"[a-z]+", facts.before(q).lower())
                verbs = set(said[-7:])
                if set(said[-4:]) & _INSERTED and q.size in specific and q.size > 1 and not q.noun:
                    yield q
                if verbs & _ARITHMETIC and q.size in facts.case.given and not facts.is_constant(q) and q.size > 2:
                    operands.add(q.size)
                    shift = bool(verbs & {"add", "subtract", "adding", "subtracting"}) and q.size != 10 and not q.noun
                    if shift or not is_small(q.size) or len(operands) > 1:
                        yield q

    for match in _PAIR.finditer(facts.strategy.text):
        pair = {float(x.rstrip(".")) for x in match.groups() if x and x.count(".") <= 1 + x.endswith(".")}
        listed = re.match(r",? (?:and |or )?(?:by |then )*\d", facts.strategy.text[match.end() :])
        general = pair & facts.case.method_constants or pair <= {180.0, 360.0, 100.0}
        if pair <= specific and max(pair) >= 3 and not listed and not general:
            return match.group()
    return first(facts, found())


def _is_worked(facts: Facts, q: Quantity) -> bool:
    """`6^2 + 9^2`, `(3+1)(2+1)`, `1 + 3 = 4`, `C(10, 3)`: numbers joined by signs, all of them this problem's."""
    node, case = q.node, facts.case
    if not q.whole or node.letters or not node.operations or q.notation in ("tuple", "ratio"):
        return False
    if (q.notation == "fraction" and max(node.literals) <= 12) or (
        len(node.literals) == 1 and "!" not in facts.slice(q)
    ):
        return False  # 2/3; a root of 3
    if q.use.supposed and max(node.literals) <= 10:
        return False
    if id(node) in facts.sides:
        return False  # the relation is looked at as a whole
    written = facts.slice(q)
    if "sqrt" in written and max(node.literals) <= 4:
        return False  # the root of 3 over 2, a sine
    if ("pi" in written and len(node.literals) == 1) or (
        all(x <= 2 or (is_small(x) and x >= 10) for x in node.literals) and "^" in written
    ):
        return False  # pi/180, 10^2
    if max(node.literals) <= 10 and q.notation == "relation" and tight(written) not in facts.tight_response:
        return False  # 10 = 2 * 5
    if node.operations > 1 and tight(written) in facts.tight_response:
        return True
    strange = [x for x in node.literals if x not in case.specific and x >= 3]
    if "binom" in written and strange and all(x + 1 in case.given for x in strange):
        return True  # one was taken away before
    return (
        not strange
        and any(x >= 3 for x in node.literals if x in case.specific)
        and not facts.before(q).rstrip().endswith("such as")
    )


def equation(facts: Facts) -> str:
    """`2x = 8`, `m + n = 10`, `r/3 = 1`; not an identity, not a formula in letters."""

    def found() -> Iterator[Quantity]:
        for q in facts.strategy.quantities:
            written = tight(facts.slice(q))
            if len(written) < 3 or holds(facts.tight_problem, written):
                continue
            if q.notation == "relation":
                instance = _is_instance(facts, q, written)
            else:
                known = q.notation in ("expression", "tuple") and len(written) > 4 and written in facts.tight_response
                instance = known and _is_own_formula(facts, q)
            if instance:
                yield q

    return first(facts, found())


def _is_instance(facts: Facts, q: Quantity, written: str) -> bool:
    sides, case = q.node.parts, facts.case
    numbers = [side for side in sides if not side.letters and side.value is not None]
    formulas = [side for side in sides if side.letters]
    copied_one = holds(facts.tight_response, written)
    bounds = copied_one and "=" not in q.node.signs and any(x >= 3 for x in q.node.literals)
    if not formulas or (_holds(q) and not bounds):
        return False
    if not numbers:
        own = any(x in case.specific and not is_small(x) for x in q.node.literals) or _in_own_letters(facts, q)
        return copied_one and own and any(x > 1 for x in q.node.literals)
    size = values.size(numbers[-1].value)
    if size in (0.0, 1.0):
        joined = len(formulas) == 1 and "(" not in written and formulas[0].letters > 1 and _in_own_letters(facts, q)
        return copied_one and (joined or any(x > 1 for x in q.node.literals))
    if size not in case.specific:
        return False
    lone = all(side.letters == 1 and not side.operations and not side.literals for side in formulas)
    return not lone and (copied_one or not q.use.supposed)


def _is_assignment(facts: Facts, q: Quantity) -> bool:
    """`x = 4`; not the start of an induction, not `p = 5` of a prime."""
    sides = q.node.parts
    if q.notation != "relation" or set(q.node.signs) != {"="} or sides[0].letters != 1 or sides[0].operations:
        return False
    size = values.size(sides[-1].value)
    if sides[-1].letters or size in (0.0, 1.0) or size not in facts.case.specific or sides[0].literals:
        return False
    if holds(facts.tight_problem, tight(facts.slice(q))):
        return False
    tried = q.use.supposed or _TRIED & set(re.findall(r"[a-z]+", facts.before(q).lower())[-3:])
    prime = facts.slice(q).startswith("p") and size <= 13
    given = size in facts.case.given and facts.before(q).lower().split()[-1:] in (["with"], ["for"])
    return not (prime or given or (tried and size <= 3))


def _in_own_letters(facts: Facts, q: Quantity) -> bool:
    letters = set(re.findall(r"(?<![A-Za-z\\])[A-Za-z](?![A-Za-z])", facts.slice(q)))
    return bool(letters) and letters <= facts.case.letters | {"i"}


def _holds(q: Quantity) -> bool:
    """Whether a relation is true whatever its letters are, as an identity or an inequality of a theorem is."""
    pairs = zip(q.node.parts, q.node.parts[1:], q.node.signs, strict=False)
    for one, other, sign in pairs:
        if one.value is None or other.value is None:
            return False
        if sign == "=" and not values.equal(one.value, other.value):
            return False
        if sign != "=" and (min(one.operations, other.operations) == 0 and max(one.operations, other.operations) < 2):
            return False
        a, b = values.floats(one.value), values.floats(other.value)
        if ("<" in sign and not all(x <= y for x, y in zip(a, b, strict=True))) or (
            ">" in sign and not all(x >= y for x, y in zip(a, b, strict=True))
        ):
            return False
    return True


def _is_own_formula(facts: Facts, q: Quantity) -> bool:
    """`(x-5)(x+2)`, `[-2, 2]`: of the response, with its own constants in it."""
    constants = [x for x in q.node.literals if x >= 2]
    if q.notation == "tuple":
        return not q.node.letters and bool(constants)
    if not (q.whole and q.node.letters and constants) or id(q.node) in facts.sides:
        return False  # no side of an identity
    added = set(re.findall(r"[-+] ?(\d+)(?![\d^])", facts.slice(q)))
    return len(added) >= 2 or (q.use.name == "result" and q.node.operations > 1 and _in_own_letters(facts, q))


def number(facts: Facts) -> str:
    case = facts.case
    new = case.computed | frozenset(x for x in case.in_one_step if x >= 11 and x.is_integer() and x not in case.given)

    def found() -> Iterator[Quantity]:
        for q in facts.strategy.quantities:
            if (
                q.value is None
                or q.node.letters
                or q.is_relative
                or q.notation in ("relation", "tuple", "roman", "ordinal")
            ):
                continue
            if q.node.operations and q.notation != "fraction":
                continue  # its literals are looked at one by one
            sizes = {*map(values.size, q.readings), *_in_units_of_the_case(facts, q)} & new
            if any(not is_small(size) for size in sizes):
                if not facts.is_constant(q):
                    yield q
            elif any(size >= 2 and size.is_integer() for size in sizes) and not facts.is_constant(q):
                noun = stem(q.noun)
                counted = (
                    bool({(q.size, noun), (q.size, q.unit)} & case.counts or noun in case.words)
                    and q.size > 2
                    and not q.use.supposed
                    and (noun in _CHOICES or not facts.is_generic(noun))
                )
                if (counted and (q.use.name != "operand" or q.use.by in SPANS)) or facts.announced(q):
                    yield q
            elif q.size > 2 and q.size not in case.given and q.use.name == "result" and _is_counted(facts, q):
                yield q

    return first(facts, found())


def _is_counted(facts: Facts, q: Quantity) -> bool:
    """`She has four dimes`: how many there are of something that the problem speaks of."""
    noun = stem(q.noun or (q.unit.name if q.unit else ""))
    return noun in facts.case.words and not facts.is_generic(noun) and facts.announced(q) and not facts.is_constant(q)


def _in_units_of_the_case(facts: Facts, q: Quantity) -> Iterator[float]:
    if q.unit and q.unit.dimension and isinstance(q.value, Fraction) and q.size not in (0.0, 1.0):
        for unit in (*facts.case.problem.units, *facts.case.response.units):
            converted = units.convert(q.value, q.unit, unit)
            if converted is not None:
                yield values.size(converted)
