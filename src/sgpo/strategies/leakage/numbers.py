"""Where a strategy tells a number: the answer's, a result on the way, or a computation with the problem's numbers."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator

from sgpo.mathtext.expressions import size
from sgpo.mathtext.quantities import Quantity
from sgpo.mathtext.tokens import words
from sgpo.strategies.leakage.case import is_small, letters_of
from sgpo.strategies.leakage.facts import STRONG, Facts, has, holds

_UNTOLD = words("relation ratio share offset times expression named")  # its numbers are looked at one by one
_DEFINITE = words("the both these other its all of")
_ARITHMETIC = re.compile(
    r"\b(?:divid|multipl|subtract|add|combin|rais|tak|split|distribut|scal|sum|product|difference|quotient|ratio|gcd|lcm|"
    r"average|mean|squar|cub|plus|minus|times|increas|decreas|substitut|plug|insert|evaluat|put|remainder)"
)
_INSERTED = re.compile(
    r"(?:^|[,;:] |\b(?:and|then|to|by|we|you|can|now|next) )"
    r"(?:substitut|plug|insert|evaluat|put|set)\w*(?: [a-z]+){0,5}(?<! the)(?: =)?$"
)


def _first(found: Iterable[Quantity]) -> str:
    """The first quantity that was found, quoted; "" where there is none."""
    return next((q.quote for q in found), "")


def value(facts: Facts) -> str:
    """The rule `value`: it quotes the answer, in whatever notation and unit."""
    stated = (q for part in facts.case.parts for q in facts.strategy.quantities if _states(facts, part, q))
    return _first(itertools.chain(stated, _shares(facts)))


def _states(facts: Facts, part: Quantity, q: Quantity) -> bool:
    if not facts.case.states(q, part) or (facts.is_constant(q) and q.use.by not in STRONG):
        return False
    if not is_small(part.size):
        return True  # no theorem or general step has it by accident, so any mention states it
    asked = not facts.case.counted.isdisjoint(facts.counts(q)) and q.size > 1  # `it lasts two days`
    told = len(q.sizes) > 1 or (asked and not q.use.supposed and q.use.name != "operand") or facts.claims(q)
    return told and not facts.is_example(q)


def _shares(facts: Facts) -> Iterator[Quantity]:
    """`half of the seats` is the answer if it is half of a number of the problem or the response."""
    case, answers = facts.case, {x for part in facts.case.parts for x in part.sizes}
    for q in facts.strategy.quantities:
        if (
            q.notation in ("share", "offset")
            and q.use.stated
            and not q.use.supposed
            and q.value is not None
            and (q.notation, q.size) != ("share", 1)
        ):
            told = {size(x * q.value if q.notation == "share" else x + q.value) for x in case.specific}
            given = q.size in case.given and q.text.tokens[q.first].notation != "times"
            if told & answers and not given:
                yield q


def number(facts: Facts) -> str:
    """The rule `number`: it quotes an intermediate result that the strategy tells."""
    return _first(q for q in facts.strategy.quantities if _is_told(facts, q))


def _is_told(facts: Facts, q: Quantity) -> bool:
    case = facts.case
    if q.letters or q.notation in _UNTOLD:
        return False
    if "-" in (*q.before[-1:], *q.behind[:1]) and "triangle" in q.sentence:  # the 3-4-5 triangle, beside a leg of 3
        sides = {side.size for i in range(q.first - 4, q.last + 4) for side in facts.strategy.at.get(i, ())}
        return not sides.isdisjoint(case.given) and q.size not in {*case.given, 30, 45, 60, 90}
    if facts.is_constant(q) or facts.is_example(q):
        return False
    if q.notation == "ordinal":
        return q.use.by == "fits" and q.size > 5 if is_small(q.size) else q.size not in case.given
    if not q.sizes & case.given and not all(map(is_small, q.sizes)):
        return True
    counts = q.size <= 2 and q.noun  # `what remains is 2 equal shares`
    if not 2 < q.size <= 10 and (counts or q.size not in case.specific):
        return False  # two, a half and a hundred are the numbers that general steps are full of
    definite = {*q.before[-1:]} & _DEFINITE and not {"a", "an"} & {*q.before[-4:-1]}  # not `a remainder of 3`
    return not (definite or (q.size in (0, 1) and q.use.by not in STRONG)) and facts.claims(q)


def computation(facts: Facts) -> str:
    """The rule `computation`: it quotes `84 / 12`, `divide 84 by 12` or `plug in 84`."""
    return _first(q for q in facts.strategy.quantities if q.whole and _is_worked(facts, q))


def _is_worked(facts: Facts, q: Quantity) -> bool:
    """A number of the problem drives a step, or an expression is made of such numbers: `6^2 + 9^2`, `(3+1)(2+1)`."""
    case, before = facts.case, " ".join(q.before)
    if q.letters or q.notation in ("share", "offset", "ordinal") or facts.is_example(q):
        return False
    if not q.operations:
        driven = q.use.name == "operand" and not is_small(q.size) and _ARITHMETIC.search(before)
        named = before.endswith("by the")  # `multiply by the 20 servings` names what is given
        told = (driven and not named) or (_INSERTED.search(before) and not q.noun)
        return bool(told) and 2 <= q.size in case.specific and not facts.is_constant(q)
    if (q.first in facts.relations and not q.parts) or q.written in case.problem.tight:
        return False
    copied = q.written in case.response.tight
    if copied and q.operations > 1 and not q.parts and case.specific.issuperset(q.literals):
        return True
    # 10 = 2 * 5, and the root of 3 over 2, are known to all
    root = "sqrt" in q.written or "pi" in q.written
    limit = 4 if root else 10 if q.notation in ("relation", "fraction") else 0
    if max(q.literals, default=0) <= limit and not copied:
        return False
    numbers = [x for x in q.literals if x > 2 or x % 1]
    # `252 = 2^2 * 3^2 * 7`: factors of a number of the problem, too.
    own = case.specific.issuperset(numbers) or (q.parts and size(q.parts[0].value) in case.given)
    return bool(own) and any(not (x >= 10 and is_small(x)) and not facts.is_known(x, q) for x in numbers)


def equation(facts: Facts) -> str:
    """The rule `equation`: it quotes `2x = 8`, `m + n = 10`, `r/3 = 1` or `(x-5)(x+2)`.

    An identity or a formula in letters helps with every problem of the type, so both pass.
    """
    bounds = re.sub(r"[<>]=?", "=", facts.case.problem.tight)  # the bounds of inequalities are given, too
    found = (q for q in facts.strategy.quantities if q.letters and _is_instance(facts, q))
    return _first(q for q in found if not holds(bounds, re.sub("[<>]=?", "=", q.written)))


def _is_instance(facts: Facts, q: Quantity) -> bool:
    """It is an instance of a formula: few letters and a number over 2, where formulas have many letters and none."""
    case, copied = facts.case, has(facts.case.response, q)
    if not copied and facts.is_example(q):
        return False
    letters = letters_of(q)
    large = any(x > 2 and not facts.is_known(x, q) for x in q.literals)
    if q.notation != "relation":  # a result such as `(x-5)(x+2)`
        return (
            copied
            and (q.use.name == "result" or q.use.stated)
            and q.operations > 1
            and q.first not in facts.relations
            and letters <= case.letters
        )
    if is_law(q):
        return copied and "=" not in q.signs and large
    if q.use.supposed and (not copied or {"if", "whether"} & {*q.before}):
        return False
    if not copied and all(side.letters <= 1 and not side.operations for side in q.parts):
        return False  # x = 4 is for the rule `value`
    own = letters <= case.letters or not all(side.letters for side in q.parts)
    if copied and (own or large) and (len(letters) > 1 or max(q.literals, default=0) > 1 or q.operations > 1):
        return True
    specific = any(not is_small(x) and x in case.specific for x in q.literals)
    return large and len(letters) <= 2 and (specific or not letters.isdisjoint(case.letters))


def is_law(q: Quantity) -> bool:
    """A relation is true whatever its letters are, as an identity or an inequality of a theorem is."""
    for one, other, sign in zip(q.parts, q.parts[1:], q.signs, strict=False):
        if one.value is None or other.value is None:
            return False
        more = float(one.value) - float(other.value)
        if abs(more) > 1e-9 and not (("<" in sign and more < 0) or (">" in sign and more > 0)):
            return False
    return True
