"""Where a strategy tells a number: the answer's, a result on the way, or a computation with the problem's numbers."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator

from sgpo.mathtext.expressions import size
from sgpo.mathtext.quantities import Quantity
from sgpo.mathtext.tokens import stem, words
from sgpo.strategies.leakage.case import Part, is_small
from sgpo.strategies.leakage.facts import STRONG, Facts, has, holds

_UNTOLD = words("relation tuple ratio share offset times expression")  # its numbers are looked at one by one
_LAWS = words("radius diameter perimeter angle diagonal degree")  # their halves and doubles are laws of geometry
_FUNCTIONS = words("sin cos tan log ln sqrt exp pi")
_ARITHMETIC = re.compile(
    r"\b(?:divid|multipl|subtract|add|combin|rais|tak|split|distribut|scal|sum|product|difference|quotient|ratio|gcd|lcm|"
    r"average|mean|squar|cub|plus|minus|times|increas|decreas|substitut|plug|insert|evaluat|put|remainder)"
)
_INSERTED = re.compile(
    r"(?:^|[,;:] |\b(?:and|then|to|by|we|you|can|now|next) )"
    r"(?:substitut|plug|insert|evaluat|put|set)\w*(?: [a-z]+){0,5}(?: =)?$"
)


def _first(found: Iterable[Quantity]) -> str:
    """The first quantity that was found, quoted; "" where there is none."""
    return next((q.quote for q in found), "")


def value(facts: Facts) -> str:
    """The rule `value`: it quotes the answer, in whatever notation and unit."""
    parts = facts.case.parts
    return _first(itertools.chain(*(_stated(facts, part) for part in parts), _shares(facts))) or _together(facts, parts)


def _stated(facts: Facts, part: Part) -> Iterator[Quantity]:
    for q in facts.strategy.quantities:
        if not facts.case.states(q, part):
            continue
        asked = bool(facts.case.counted & {stem(q.use.by), *facts.counts(q)})  # `nine boys`, `the boys number 9`
        if q.notation == "ordinal":
            told = asked or len(q.sizes) > 1 or (q.use.name == "result" and q.before[-1:] != ["the"])
        elif (not (part.distinctive and not part.letters) and facts.is_example(q)) or (
            facts.is_constant(q, examples=False) and not facts.is_left(q)
        ):
            told = False
        elif (part.distinctive or q.notation == "percent") and not facts.is_given(q, part.size):
            told = len(facts.case.parts) == 1 or not q.use.supposed
        else:
            told = facts.claims(q) or (asked and not q.use.supposed) or facts.is_solved(q)
        if told:
            yield q


def _together(facts: Facts, parts: tuple[Part, ...]) -> str:
    """It finds all values of an answer of several, one soon after the other."""
    numbers = [q for q in facts.strategy.quantities if q.whole and q.notation not in ("relation", "tuple")]
    told = [{part for part in parts if facts.case.states(q, part)} for q in numbers]
    for i in range(len(told) - len(parts) + 1) if len(parts) > 1 else ():
        near = numbers[i + len(parts) - 1].node.first - numbers[i].node.first < 25
        if near and all(told[i : i + len(parts)]) and set().union(*told[i : i + len(parts)]) == set(parts):
            return numbers[i + len(parts) - 1].quote
    return ""


def _shares(facts: Facts) -> Iterator[Quantity]:
    """`half of the seats` is the answer if it is half of a number of the problem or the response."""
    case, answers = facts.case, {part.size for part in facts.case.parts}
    for q in facts.strategy.quantities:
        if (
            q.notation in ("share", "offset")
            and q.use.stated
            and not q.use.supposed
            and q.value is not None
            and (q.node.kind, q.size) != ("percent", 1)
            and not _LAWS & facts.near(q)
        ):
            told = {size(x * q.value if q.notation == "share" else x + q.value) for x in case.given | case.computed}
            given = q.size in case.given and q.text.tokens[q.node.first].notation != "times"
            if told & answers and not given and q.written.lower() not in case.problem.tight.lower():
                yield q


def number(facts: Facts) -> str:
    """The rule `number`: it quotes an intermediate result that the strategy tells."""
    return _first(q for q in facts.strategy.quantities if _is_told(facts, q))


def _is_told(facts: Facts, q: Quantity) -> bool:
    case = facts.case
    if q.node.letters or q.notation in _UNTOLD:
        return False
    if q.notation in ("roman", "named"):
        return q.size in case.computed and q.notation == "roman"
    if "-" in (*q.before[-1:], *q.behind[:1]) and "triangle" in q.sentence:  # the 3-4-5 triangle, beside a leg of 3
        sides = {
            size(token.value) for token in q.text.tokens[max(0, q.last - 5) : q.last + 4] if token.value is not None
        }
        return bool(sides & case.given) and q.size not in {*case.given, 30, 45, 60, 90} and not facts.is_example(q)
    if facts.is_constant(q):
        return False
    if q.notation == "ordinal":
        return q.use.by == "fits" and q.size > 5 if is_small(q.size) else q.size not in case.given
    # That the given 6.5 mm are 0.65 cm is a result, but `the 90 minutes` may be called an hour and a half.
    own = q.sizes if q.use.stated and q.unit else case.sizes(q)
    if not own & case.given and not all(map(is_small, q.sizes)):
        return True
    counts = q.size <= 2 and q.noun  # `what remains is 2 equal shares`
    if not 2 < q.size <= 10 and (counts or q.size not in case.specific or _LAWS & facts.near(q)):
        return False  # two, a half and a hundred are the numbers that general steps are full of
    definite = q.size <= 10 and q.before[-1:] and q.before[-1] in ("the", "both", "these", "other", "its", "all", "of")
    new = {"a", "an"} & set(q.before[-4:-1]) and q.before[-1] == "of"  # a remainder of 3
    return not ((definite and not new) or (q.size in (0, 1) and q.use.by not in STRONG)) and facts.claims(q)


def computation(facts: Facts) -> str:
    """The rule `computation`: it quotes `84 / 12`, `divide 84 by 12` or `plug in 84`."""
    return _first(q for q in facts.strategy.quantities if q.whole and _is_worked(facts, q))


def _is_worked(facts: Facts, q: Quantity) -> bool:
    """A number of the problem drives a step, or an expression is made of such numbers: `6^2 + 9^2`, `(3+1)(2+1)`."""
    node, written, case, before = q.node, q.written, facts.case, " ".join(q.before)
    if q.notation in ("share", "offset"):
        return False
    if node.letters:
        numbers = [x for x in node.literals if not is_small(x) and x in case.given]
        new = node.operations > 1 and not has(case.problem, q) and not facts.is_example(q)
        return len(numbers) > 1 and new  # 1600 - (1000 + 70h)
    if not node.operations:
        if q.size < 2 or q.notation == "ordinal" or before.endswith(("by the", "divides")) or facts.is_constant(q):
            return False  # `multiply by the 20 servings` names what is given, `a prime that divides 20` a property
        driven = (
            q.use.name == "operand" and q.size in case.given and not is_small(q.size) and _ARITHMETIC.search(before)
        )
        return bool(
            driven or (q.size in case.specific and _INSERTED.search(before) and not (q.noun or before.endswith(" the")))
        )
    if (node.first in facts.relations and not node.parts) or facts.is_example(q) or written in case.problem.tight:
        return False
    largest, copied = max(node.literals, default=0.0), written in case.response.tight
    root = "sqrt" in written or "pi" in written
    if largest <= (4 if root else 10) and (q.notation == "relation" or root):
        return copied  # 10 = 2 * 5, and the root of 3 over 2, are known to all
    if largest <= 12 and q.notation == "fraction":
        return False
    if node.operations > 1 and copied and case.specific.issuperset(node.literals):
        return True
    own = "choose" in written or all(x < 3 or x == 100 or x in case.specific for x in node.literals)
    # `252 = 2^2 * 3^2 * 7`: factors of a number of the problem, too.
    own = own or (bool(node.parts) and size(node.parts[0].value) in case.given)
    return own and any(
        (x > 2 or x % 1) and not (is_small(x) and x >= 10) and not facts.is_known(x, q) for x in node.literals
    )


def equation(facts: Facts) -> str:
    """The rule `equation`: it quotes `2x = 8`, `m + n = 10`, `r/3 = 1` or `(x-5)(x+2)`.

    An identity or a formula in letters helps with every problem of the type, so both pass.
    """
    bounds = re.sub(r"[<>]=?", "=", facts.case.problem.tight)  # the bounds of inequalities are given, too
    found = (q for q in facts.strategy.quantities if q.node.letters or q.notation == "tuple")
    unknown = (q for q in found if not holds(bounds, re.sub("[<>]=?", "=", q.written)))
    return _first(q for q in unknown if _is_instance(facts, q) and not _is_of_an_example(facts, q))


def _is_of_an_example(facts: Facts, q: Quantity) -> bool:
    """It stands in an example, and the response does not have it."""
    return facts.is_example(q) and not has(facts.case.response, q)


def _is_instance(facts: Facts, q: Quantity) -> bool:
    """It is an instance of a formula: few letters and a number over 2, where formulas have many letters and none."""
    node, tokens, copied = (
        q.node,
        q.text.tokens[q.node.first : q.node.last],
        has(facts.case.response, q),
    )
    indexed = zip(tokens, [*tokens[1:], None], [*tokens[2:], None, None], strict=False)
    letters = {
        t.text + (f"_{index.text}" if mark and index and mark.text == "_" else "")
        for t, mark, index in indexed
        if t.value is None and t.text[:1].isalpha()
    } - _FUNCTIONS
    bases = {letter.partition("_")[0] for letter in letters}
    if q.notation == "tuple":  # an interval or a point
        return copied and not node.letters
    if q.notation != "relation":  # a result such as `(x-5)(x+2)`
        own = copied and q.use.name == "result" and node.operations > 1 and node.first not in facts.relations
        return own and any(x >= 2 for x in node.literals) and letters <= facts.case.letters
    if _is_law(q):
        return copied and "=" not in node.signs and any(x > 2 for x in node.literals)
    if q.use.supposed or (not copied and all(side.letters <= 1 and not side.operations for side in node.parts)):
        return False  # x = 4 is for the rule `value`
    own = bases <= facts.case.letters | {"i"} or not all(side.letters for side in node.parts)
    if copied and own and (len(letters) > 1 or any(x > 1 for x in node.literals)):
        return True
    specific = any(not is_small(x) and x in facts.case.specific for x in node.literals)
    known = specific or bases & facts.case.letters or bases <= facts.case.all_letters
    lawful = any(name in q.written for name in _FUNCTIONS) or len(letters) > 2
    exponents = {
        t.value
        for t, before in zip(tokens[1:], tokens, strict=False)
        if t.value is not None and before.text == "^" and all(side.letters for side in node.parts)
    }
    return (
        not lawful
        and known
        and any(x > 2 and x not in map(float, exponents) and not facts.is_known(x, q) for x in node.literals)
    )


def _is_law(q: Quantity) -> bool:
    """A relation is true whatever its letters are, as an identity or an inequality of a theorem is."""
    for one, other, sign in zip(q.node.parts, q.node.parts[1:], q.node.signs, strict=False):
        if one.value is None or other.value is None or (sign == "=" and size(one.value - other.value) > 1e-9):
            return False
        if ("<" in sign and one.value > other.value) or (">" in sign and one.value < other.value):
            return False
    return True
