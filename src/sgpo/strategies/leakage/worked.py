"""Where a strategy works with the numbers of its problem: computations, equations and intermediate results."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sgpo.mathtext import values
from sgpo.mathtext.quantities import Quantity
from sgpo.mathtext.usage import stem
from sgpo.mathtext.vocabulary import words
from sgpo.strategies.leakage.answer import is_small
from sgpo.strategies.leakage.facts import Facts, first, holds, tight

_NO_LETTERS = frozenset(rf"\{name}" for name in ("frac", "binom", "pi", "cdot", *values.FUNCTIONS))
_TRIED = words("case cases when if try for first start starts starting suppose base")
_ARITHMETIC = re.compile(
    r"\b(?:divid|multipl|subtract|add|combin|rais|tak|split|distribut|scal|sum|product|difference|quotient|ratio|gcd|lcm|"
    r"average|mean|squar|cub|plus|minus|times|increas|decreas|substitut|plug|insert|evaluat|put|remainder)"
)
_SHIFTS = re.compile(r"\b(?:add|subtract)(?:ing)?(?: (?!by |from |to )[a-z]+){0,2} ?$")
_NAMED = re.compile(r"\b(?:start|begin)\w* (?:from|with|at) $")
_INSERTED = re.compile(r"\b(?:substitut|plug|insert|evaluat|put)\w*(?: [a-z]+){0,3} ?$")


def computation(facts: Facts) -> str:
    """The rule `computation`: it quotes `84 / 12`, `divide 84 by 12`, `x = 4` or `subtract 7`."""

    def found() -> Iterator[Quantity]:
        for q in facts.strategy.quantities:
            if _is_worked(facts, q) or _is_assignment(facts, q) or _is_step(facts, q):
                yield q

    return first(facts, found())


def _is_step(facts: Facts, q: Quantity) -> bool:
    """A number of the problem drives a step, as in `divide 84 by`, `subtract 7` and `plug in 3`."""
    if q.size < 2 or not q.whole or q.node.letters or q.node.operations or q.notation == "ordinal":
        return False
    before, counts = facts.before(q).lower(), q.noun and stem(q.noun) == q.noun  # `subtract 4 corner areas`
    inserted = _INSERTED.search(before) and not q.noun and q.size in facts.case.specific
    # `subtract 3 times the sum`, `starting from 19`, `multiply by the 20 servings` name what is given.
    named = q.noun == "times" or _NAMED.search(before) or (q.noun and before.endswith("by the "))
    operand = q.use.name == "operand" and q.size in facts.case.given and _ARITHMETIC.search(before) and not named
    driven = operand and q.size > 2 and (not is_small(q.size) or (_SHIFTS.search(before) and not counts))
    return bool(inserted or driven) and not facts.is_constant(q) and not facts.is_definite(q)


def _is_worked(facts: Facts, q: Quantity) -> bool:
    """It is made of numbers of this problem, joined by signs: `6^2 + 9^2`, `(3+1)(2+1)`, `1 + 3 = 4`, `C(10, 3)`."""
    node, written = q.node, facts.slice(q)
    if (
        facts.is_example(q)
        or written in facts.case.problem.text
        or (written.startswith(r"\frac{1}{2} *") and facts.before(q).endswith("than "))
    ):
        return False  # in the problem's words; `more than half of the 35 students`
    if not q.whole or node.letters or not node.operations or id(node) in facts.sides or q.notation == "ratio":
        return False
    largest, copied = max(node.literals, default=0.0), tight(written) in facts.tight_response
    if (q.use.supposed and largest <= 10) or (
        q.notation == "fraction" and (largest <= 12 or q.size in facts.case.given)
    ):
        return False
    if largest <= (4 if "sqrt" in written else 10) and (q.notation == "relation" or "sqrt" in written):
        return copied  # 10 = 2 * 5, and the root of 3 over 2, are known to all
    shifted = "binom" in written  # one of the n is chosen before
    # `252 = 2^2 * 3^2 * 7`: factors of a number of the problem, too.
    parted = values.size(node.parts[0].value) if node.parts else values.size(node.value)
    own = all(
        x < 3 or x == 100 or x in facts.case.specific or (shifted and x + 1 in facts.case.given) for x in node.literals
    )
    own = own or (parted in facts.case.given and not is_small(parted))
    special = any(
        (x > 2 or x % 1) and not (is_small(x) and x >= 10) and not facts.is_known(x, q) for x in node.literals
    )  # 10^2 is not
    several = special and (len(node.literals) > 1 or "!" in written)
    return own and (several or (node.operations > 1 and copied))


def equation(facts: Facts) -> str:
    """The rule `equation`: it quotes `2x = 8`, `m + n = 10`, `r/3 = 1` or `(x-5)(x+2)`.

    An identity or a formula in letters helps with every problem of the type, so both pass.
    """

    def found() -> Iterator[Quantity]:
        for q in facts.strategy.quantities:
            written = tight(facts.slice(q))
            if len(written) < 3 or holds(facts.tight_problem, written) or holds(facts.bounds, written):
                continue
            copied = holds(facts.tight_response, written)
            if (q.notation == "relation" and q.node.letters and _is_instance(facts, q, copied=copied)) or (
                q.notation in ("expression", "tuple") and len(written) > 4 and _is_own_formula(facts, q, copied=copied)
            ):
                yield q

    return first(facts, found())


def _is_instance(facts: Facts, q: Quantity, *, copied: bool) -> bool:
    """It is an instance of a formula: few letters and a number over 2, where formulas have many letters and none."""
    bound = re.match(
        r"[^.;\n]{0,20}?\b(?:when|whenever|if|for|where)(?: all| any| every)? ([a-z])\b(?! ?=)",
        facts.strategy.text[q.end :],
    )
    if bound and bound[1] in _letters(facts.slice(q)):
        return False  # `a^4 = 1 when a and 10 are coprime` is a law
    numbers = [side for side in q.node.parts if not side.letters]
    large = [x for x in q.node.literals if x > 2 and not facts.is_known(x, q)]
    if _holds(q):
        return copied and "=" not in q.node.signs and bool(large)
    if all(side.letters <= 1 and not side.operations for side in q.node.parts) and not copied:
        return False  # x = 4
    written = facts.slice(q)
    letters = _letters(written)
    told = any(values.size(side.value) > 2 for side in numbers)
    specific = any(x > 1 for x in q.node.literals) or len(letters) > 1
    if copied and specific and (numbers or (letters and letters <= facts.case.letters | {"i"})):
        return True
    lawful = "pi" in written or (not numbers and any(name in written for name in values.FUNCTIONS))
    return bool(large) and (told or (1 <= len(letters) <= 2 and not lawful)) and not q.use.supposed


def _is_assignment(facts: Facts, q: Quantity) -> bool:
    """It gives a letter its value, as `x = 4` does; the start of an induction and `p = 5` of a prime are examples."""
    if q.notation != "relation" or set(q.node.signs) != {"="}:
        return False
    name, other = q.node.parts[0], q.node.parts[-1]
    size, before = values.size(other.value), facts.before(q).lower().split()
    if name.letters != 1 or name.operations or name.literals or other.letters or size not in facts.case.specific:
        return False
    tried = size <= 3 and (q.use.supposed or bool(_TRIED & set(before[-3:])))
    prime = facts.slice(q).startswith("p") and size <= 13
    general = tried or prime or facts.is_known(size, q)
    return size > 1 and not (general or holds(facts.tight_problem, tight(facts.slice(q))))


def _letters(written: str) -> set[str]:
    return set(re.findall(r"(?<![A-Za-z\\])[A-Za-z](?:_\w+)?(?![A-Za-z])|\\[a-z]+", written)) - _NO_LETTERS


def _holds(q: Quantity) -> bool:
    """Whether a relation is true whatever its letters are, as an identity or an inequality of a theorem is."""
    for one, other, sign in zip(q.node.parts, q.node.parts[1:], q.node.signs, strict=False):
        if one.value is None or other.value is None or (sign == "=" and not values.equal(one.value, other.value)):
            return False
        if sign != "=" and max(one.operations, other.operations) < 2:
            return False
        pairs = list(zip(values.floats(one.value), values.floats(other.value), strict=True))
        if ("<" in sign and any(x > y for x, y in pairs)) or (">" in sign and any(x < y for x, y in pairs)):
            return False
    return True


def _is_own_formula(facts: Facts, q: Quantity, *, copied: bool) -> bool:
    """It has constants of the response in it, as `(x-5)(x+2)` and `[-2, 2]` may."""
    constants = [x for x in q.node.literals if x >= 2]
    if q.notation == "tuple":
        return not q.node.letters and bool(constants) and (copied or q.use.name == "result" or q.use.stated)
    side = id(q.node) in facts.sides or "pi" in facts.slice(q)  # of an identity
    told = q.use.name == "result" and q.node.operations > 1 and _letters(facts.slice(q)) <= facts.case.letters
    named = told and q.node.letters > 0
    return copied and named and bool(constants) and not side
