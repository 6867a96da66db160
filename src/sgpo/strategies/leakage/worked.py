"""Where a strategy works with the numbers of its problem: computations, equations and intermediate results."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sgpo.mathtext import values
from sgpo.mathtext.quantities import Quantity
from sgpo.strategies.leakage.answer import is_small
from sgpo.strategies.leakage.facts import Facts, first, holds, tight

_NO_LETTERS = frozenset(rf"\{name}" for name in ("frac", "binom", "pi", "cdot", *values.FUNCTIONS))
_ARITHMETIC = re.compile(
    r"\b(?:divid|multipl|subtract|add|combin|rais|tak|split|distribut|scal|sum|product|difference|quotient|ratio|gcd|lcm|"
    r"average|mean|squar|cub|plus|minus|times|increas|decreas|substitut|plug|insert|evaluat|put|remainder)"
)
_INSERTED = re.compile(r"\b(?:substitut|plug|insert|evaluat|put|set)\w*(?: [a-z]+){0,5}(?: =)? ?$")


def computation(facts: Facts) -> str:
    """The rule `computation`: it quotes `84 / 12`, `divide 84 by 12` or `plug in 84`."""
    return first(facts, (q for q in facts.strategy.quantities if _is_worked(facts, q) or _is_step(facts, q)))


def _is_step(facts: Facts, q: Quantity) -> bool:
    """A number of the problem drives a step, as in `divide 84 by` and `plug in 84`."""
    before = facts.before(q).lower()
    named = q.noun == "times" or before.endswith("by the ")  # `multiply by the 20 servings` names what is given
    if not q.whole or q.node.operations or q.size < 2 or q.notation == "ordinal" or named or facts.is_constant(q):
        return False
    driven = q.use.name == "operand" and q.size in facts.case.given and _ARITHMETIC.search(before)
    inserted = q.size in facts.case.specific and _INSERTED.search(before) and not q.noun
    return bool(inserted or (driven and not is_small(q.size)))


def _is_worked(facts: Facts, q: Quantity) -> bool:
    """It is made of numbers of this problem, joined by signs: `6^2 + 9^2`, `(3+1)(2+1)`, `1 + 3 = 4`, `C(10, 3)`."""
    node, written = q.node, facts.slice(q)
    if not q.whole or node.letters or not node.operations or id(node) in facts.sides:
        return False
    if facts.is_example(q) or written in facts.case.problem.text:
        return False
    largest, root = max(node.literals, default=0.0), "sqrt" in written
    if largest <= 12 and (q.use.supposed or q.notation == "fraction"):
        return False
    if largest <= (4 if root else 10) and (q.notation == "relation" or root):
        return tight(written) in facts.tight_response  # 10 = 2 * 5, and the root of 3 over 2, are known to all
    # `252 = 2^2 * 3^2 * 7`: factors of a number of the problem, too.
    own = node.parts and values.size(node.parts[0].value) in facts.case.given
    own = own or "binom" in written or all(x < 3 or x == 100 or x in facts.case.specific for x in node.literals)
    if (
        node.operations > 1
        and all(x in facts.case.specific for x in node.literals)
        and tight(written) in facts.tight_response
    ):
        return True
    return bool(own) and any(
        x > 2 and not (is_small(x) and x >= 10) and not facts.is_known(x, q) for x in node.literals
    )


def equation(facts: Facts) -> str:
    """The rule `equation`: it quotes `2x = 8`, `m + n = 10`, `r/3 = 1` or `(x-5)(x+2)`.

    An identity or a formula in letters helps with every problem of the type, so both pass.
    """

    def found() -> Iterator[Quantity]:
        for q in facts.strategy.quantities:
            written = tight(facts.slice(q))
            if (q.node.letters or q.notation == "tuple") and not holds(facts.bounds, re.sub("[<>]=?", "=", written)):
                test = _is_instance if q.notation == "relation" else _is_own_formula
                if test(facts, q, copied=holds(facts.tight_response, written)):
                    yield q

    return first(facts, found())


def _is_instance(facts: Facts, q: Quantity, *, copied: bool) -> bool:
    """It is an instance of a formula: few letters and a number over 2, where formulas have many letters and none."""
    if _holds(q):
        return copied and "=" not in q.node.signs and any(x > 2 for x in q.node.literals)
    if q.use.supposed or (not copied and all(side.letters <= 1 and not side.operations for side in q.node.parts)):
        return False  # x = 4 is for the rule `value`
    written = facts.slice(q)
    letters = _letters(written)
    own = letters <= facts.case.letters | {"i"} or not all(side.letters for side in q.node.parts)
    if copied and own and (len(letters) > 1 or any(x > 1 for x in q.node.literals)):
        return True
    lawful = "pi" in written or any(name in written for name in values.FUNCTIONS)
    large = any(x > 2 and not facts.is_known(x, q) for x in q.node.literals)
    return large and len(letters) <= 2 and not lawful


def _letters(written: str) -> set[str]:
    return set(re.findall(r"(?<![A-Za-z\\])[A-Za-z](?:_\w+)?(?![A-Za-z])|\\[a-z]+", written)) - _NO_LETTERS


def _holds(q: Quantity) -> bool:
    """Whether a relation is true whatever its letters are, as an identity or an inequality of a theorem is."""
    for one, other, sign in zip(q.node.parts, q.node.parts[1:], q.node.signs, strict=False):
        if one.value is None or other.value is None or (sign == "=" and not values.equal(one.value, other.value)):
            return False
        pairs = list(zip(values.floats(one.value), values.floats(other.value), strict=True))
        if ("<" in sign and any(x > y for x, y in pairs)) or (">" in sign and any(x < y for x, y in pairs)):
            return False
    return True


def _is_own_formula(facts: Facts, q: Quantity, *, copied: bool) -> bool:
    """The response has it, with constants in it: an interval or a point, or a result such as `(x-5)(x+2)`."""
    if q.notation == "tuple":
        return copied and not q.node.letters
    own = copied and q.use.name == "result" and q.node.operations > 1 and id(q.node) not in facts.sides
    return own and any(x >= 2 for x in q.node.literals) and _letters(facts.slice(q)) <= facts.case.letters
