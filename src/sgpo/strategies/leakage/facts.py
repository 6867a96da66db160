"""A strategy beside its case, and what licenses a number in it.

A number needs a licence. It has one if the problem gives it, or if a unit, a theorem, an example or a base brings it
in.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from functools import cached_property

from sgpo.mathtext import units
from sgpo.mathtext.expressions import size
from sgpo.mathtext.quantities import Quantity, Text, quantities_of
from sgpo.mathtext.tokens import stem, words
from sgpo.mathtext.usage import ARRIVALS, BASES, FINITE
from sgpo.strategies.leakage.case import FUNCTION, Case, case_of, content, is_small

# What general steps count: `2 cases`, `3 sides`.
GENERIC_NOUNS = words(
    "case step unknown variable equation side part digit term factor point dimension type kind condition set leg "
    "angle vertex number quantity value expression inequality congruence operation root solution group class category "
    "way method stage phase triangle circle integer event draw choice option possibility function parameter degree "
    "half formula identity prime element piece line row column constraint people person item figure limit endpoint "
    "bound sum product power exponent sign law rule clue fact relation edge face place decimal amount"
)
_OWN = words("expression answer result solution value total count outcome it this")
_WEAK = words("is are be was being has have having : => = of the need needs state")
STRONG = ARRIVALS | words(
    "obtain get gets getting yield yields give gives giving conclude leave leaves fits reach reaches reaching"
)
# Numbers of general knowledge that are no conversion between two units, with the words that must stand in the strategy.
_KNOWN = {
    2: "prime even twin pair couple", 3: "triple", 4: "triple", 5: "round rounding triple",
    6: "die dice cube face hand", 10: "digit letter", 11: "divisibility",
    12: "dozen clock hour month inch triple dice noon afternoon face", 13: "card rank suit triple",
    15: "hexadecimal letter", 16: "hexadecimal", 25: "digit quarter prime", 49: "prime", 121: "prime",
    26: "letter alphabet", 28: "month february", 29: "month february", 31: "month", 36: "dice",
    30: "month hand april june september november",
    52: "card deck week year", 60: "equilateral degree", 90: "degree angle right", 100: "percent cent",
    180: "degree angle triangle polygon pi", 270: "degree angle", 360: "degree angle circle turn polygon pi",
    365: "year", 366: "year", 400: "leap", 3.6: "km", 1000: "kilo milli", 3600: "second hour", 1.5: "outlier",
    1.8: "fahrenheit celsius temperature", 32: "fahrenheit celsius temperature",
}  # fmt: skip
_RATIOS = frozenset(map(stem, words("sin cos tan sine cosine tangent isosceles equilateral")))
_EXAMPLE = re.compile(r"\b(?:for instance|(?:for|as an|an|another|similar|simpler) example|such as|like|primes)\b")
_OPENING = words(
    "say imagine suppose example instance warm cousin flavor simpler smaller similar toy analogous mini sample picture "
    "illustration"
)
_OWN_CASE = re.compile(r"\b(?:here|this case|our|this problem)\b")
_TESTS = words("test check verify try")
_CHANCES = words("turn probability chance outcome face side die coin likely")
_PRIMES = [2.0, 3.0, 5.0, 7.0, 11.0, 13.0, 17.0, 19.0, 23.0]
_ENDS_NOUN = FINITE | words("for with in by to from at on per and or if when a an")


def holds(text: str, written: str) -> bool:
    """A tight text has a tight formula in it, and not as the start or end of a longer number."""
    return written in text and re.search(rf"(?<![\d.]){re.escape(written)}(?!\.?\d)", text) is not None


def has(text: Text, q: Quantity) -> bool:
    """A text has the formula of a quantity, however it is spelled there."""
    return (bool(q.forms) and q.forms <= text.forms) or holds(text.tight, q.written)


@dataclass(frozen=True)
class Facts:
    """A strategy beside its case. raw: the strategy as it was given."""

    case: Case
    strategy: Text
    raw: str

    @cached_property
    def stems(self) -> frozenset[str]:
        """Stems of the words of the strategy and the problem."""
        return self.case.stems | {
            stem(token.text) for token in self.strategy.tokens if token.kind in ("word", "command")
        }

    @cached_property
    def conversions(self) -> frozenset[float]:
        """What one unit is in another: 60 for minutes and hours."""
        dozen = {12.0} if "dozen" in self.stems else set()
        return frozenset(units.conversions(self.strategy.units | self.case.spoken)) | dozen

    @cached_property
    def relations(self) -> dict[int, Quantity]:
        """Relations by where their sides start."""
        return {part.first: q for q in self.strategy.quantities if q.notation == "relation" for part in q.node.parts}

    def near(self, q: Quantity) -> frozenset[str]:
        """Stems of the words of a quantity's sentence."""
        return frozenset(map(stem, q.sentence))

    def is_constant(self, q: Quantity, *, examples: bool = True) -> bool:
        """The number belongs to the type of problem: to a unit, a theorem, a base, an example or the method."""
        use, answer = q.use, any(part.distinctive and self.case.states(q, part) for part in self.case.parts)
        general = use.supposed or use.name == "operand" or (use.by.isalpha() and not use.stated and not answer)
        near = self.near(q)
        repeated = words("until repeat large") & self.near(q)
        return (
            use.name == "label"
            or (use.by in BASES and q.size <= 16)
            or q.size in self.case.bases
            or self._converts(q)
            or (q.size in self.conversions and (use.name != "result" or q.unit is None) and not self.is_larger(q))
            # That an hour has 12 marks is no licence for the answer 12, unless the step is a rule that is done again.
            or (self.is_known(q.size, q) and not (use.name == "operand" and q.whole and answer and not repeated))
            or self._in_series(q)
            or self.is_listed(q)
            or (examples and self.is_example(q))
            or (q.notation, q.size) == ("percent", 1)
            # each face of a die has 1/6
            or (
                q.notation == "fraction"
                and not q.unit
                and (general or ("each" in use.subject and bool(_CHANCES & near)))
                and not (q.whole and q.size > 1)
            )
        )

    def is_known(self, number: float, q: Quantity) -> bool:
        """The number is general knowledge about what the sentence of a quantity speaks of."""
        wide = q.use.name == "operand" or q.in_formula or q.notation in ("relation", "fraction")
        near = self.near(q) | (self.stems if wide else frozenset())
        # The sines of multiples of 15 degrees are in tables.
        return (
            "totient" in near
            or ("digit" in near and number + 1 in self.case.bases)
            or bool(near & set(_KNOWN.get(number, "").split()))
            or (not number % 15 and bool(near & _RATIOS))
        )

    def is_example(self, q: Quantity) -> bool:
        """It belongs to an example: `such as` stands before it, or its sentence is one."""
        before, behind = " ".join(q.before), " ".join(q.behind[:10])
        example = _EXAMPLE.search(before) or re.search(r"for (?:example|instance)", behind)
        invented = self.strategy.sentence(q.node.first)[0] in self._invented
        return bool(example or invented) and not _OWN_CASE.search(before + behind)

    @cached_property
    def _invented(self) -> frozenset[int]:
        """Where the sentences begin that work with other numbers than this problem's: examples.

        One opens with a word such as `say`, or with an equation of numbers; those behind it may go on with it.
        """
        found: set[int] = set()
        before = False
        for begin, end in self.strategy.sentences:
            near = [q for i in range(begin, end) for q in self.strategy.at.get(i, ())]
            large = {x for q in near for x in q.node.literals if not is_small(x)}
            foreign = large - self.case.specific
            worked = any(
                not (big & self.case.specific)
                for q in near
                if q.notation == "relation" and not q.node.letters
                if (big := {x for x in q.node.literals if x > 10})
            )
            opened = bool(_OPENING & set(map(stem, self.strategy.words(begin, end))))
            before = worked or (
                not large & self.case.specific and bool(foreign) and (opened or before or len(foreign) > 2)
            )
            if before:
                found.add(begin)
        return frozenset(found)

    def is_listed(self, q: Quantity) -> bool:
        """It stands among the options of the problem."""
        near = {o.size for i in range(*self.strategy.sentence(q.node.first)) for o in self.strategy.at.get(i, ())}
        return len(near & self.case.choices) > 2

    def _in_series(self, q: Quantity) -> bool:
        """It stands in a list that goes on by a rule: `1, 2, 4, 8`, `the primes 2, 3, 5 and 7`."""
        (begin, end), tokens, at = self.strategy.sentence(q.node.first), self.strategy.tokens, q.node.first
        listed = [t.value is not None or t.text in (",", "and", "or", "then", "by", "the") for t in tokens[begin:end]]
        first = at - len(list(itertools.takewhile(bool, reversed(listed[: at - begin]))))
        last = at + len(list(itertools.takewhile(bool, listed[at - begin :])))
        found = [size(token.value) for token in tokens[first:last] if token.value is not None]
        if len(found) < 3 or not q.whole:
            return False
        steps, factors = ({f(b, a) for a, b in itertools.pairwise(found)} for f in (float.__sub__, _ratio))
        ruled = found[0] <= 2 and (steps in ({1}, {2}) or len(factors) == 1 or found == found[::-1])
        primes = found == _PRIMES[: len(found)] and self.near(q) & {"prime", "factor", "divisibility"}
        own = any(x in self.case.specific for x in found if not is_small(x))
        goes_on = tokens[last].text if last < len(tokens) else ""
        return ruled or bool(primes) or goes_on == "so" or (goes_on == "..." and not own)

    def is_larger(self, q: Quantity) -> bool:
        """Its unit is the larger one: a dollar is 4 quarters, so `4 quarters` may be a constant and `4 dollars` not."""
        if q.unit is None or len(q.unit.dimension) != 1:
            return False
        spoken = [u for u in self.strategy.units | self.case.spoken if u.dimension == q.unit.dimension]
        return bool(spoken) and not any(abs(float(u.factor / q.unit.factor) - q.size) < 1e-9 for u in spoken)

    def _converts(self, q: Quantity) -> bool:
        """Its sentence says what one unit is in another: `an hour has 60 minutes`, `1 km is 1000 m`."""
        if q.unit is None:
            return False
        near = (o for i in range(*self.strategy.sentence(q.node.first)) for o in self.strategy.at.get(i, ()))
        sizes = {1.0, *(o.size for o in near if o.unit != q.unit and o.size not in self.case.given)}
        others = (unit for unit in units.named(q.sentence) - {q.unit} if unit.dimension == q.unit.dimension)
        return any(size(q.size * float(q.unit.factor / unit.factor)) in sizes for unit in others)

    def is_given(self, q: Quantity, number: float) -> bool:
        """The problem has this number, as a percentage where the quantity is one."""
        counted = [counted for counted, _ in self.case.statements.get(number, ())]
        return "%" in counted if q.notation == "percent" else number in self.case.given

    def is_restated(self, q: Quantity) -> bool:
        """A sentence of the problem has this number and shares a word with the sentence it stands in."""
        own, alike = content(q.sentence), self.case.statements.get(q.size, ())
        return any((not counted or not q.counted or counted == q.counted) and own & said for counted, said in alike)

    def counts(self, q: Quantity) -> set[str]:
        """Stems of the words that go with a number: `such`, `of`, `the` and `primes` in `three of the primes`."""
        phrase = itertools.takewhile(
            lambda word: word.isalpha() and word not in _ENDS_NOUN, [*q.measure, *q.behind][:5]
        )
        return set(map(stem, phrase)) - FUNCTION

    def claims(self, q: Quantity) -> bool:
        """The strategy says that something comes to, or numbers, this value, and the problem does not."""
        use, relation, counted = q.use, self.relations.get(q.node.first), self.counts(q)
        if not q.whole or use.supposed or use.name in ("operand", "base", "label"):
            return False
        if relation is not None and q.size <= 3 and "at" in q.before and _TESTS & set(q.before):
            return False  # `test the formula at n = 1 and n = 3`
        if relation is not None:  # x = 4, and not ab = 4
            left = relation.node.parts[0]
            plain = (
                left.letters <= int(not left.operations) and relation.node.letters and relation.use.name != "operand"
            )
            return bool(plain) and not holds(self.case.problem.tight, relation.written)
        if q.size <= 4 and counted & GENERIC_NOUNS and not counted & (self.case.counted | self.case.nouns):
            return False
        if q.size in (0.0, 1.0):
            if q.size in self.case.given and self.is_restated(q):
                return False
            strong = use.by in STRONG and use.stated
            return use.name == "result" and (
                strong or (use.by != "equal" and bool(use.subject & (_OWN | self.case.asked)))
            )
        if q.size in self.case.given:
            named = q.before[-2:] == ["the", use.by]  # `the factor 3`
            computed = use.by in STRONG or q.node.operations
            return use.name == "result" and bool(computed or not (named or self.is_restated(q)))
        return use.name == "result" or (q.size > 2 and (use.stated or (not use.by and q.size in self.case.computed)))

    def is_solved(self, q: Quantity) -> bool:
        """It is the right side of an equation whose left side the problem speaks of: `tan A = 2`."""
        relation = self.relations.get(q.node.first)
        left = relation.node.parts[0] if relation and not relation.use.supposed else None
        return left is not None and left.operations > 0 and bool(left.letters) and left.form in self.case.problem.forms

    def is_left(self, q: Quantity) -> bool:
        """Something comes to it here (`which leaves 60`), be it a constant elsewhere."""
        return q.use.name == "result" and not q.use.supposed and q.use.by not in _WEAK


def _ratio(one: float, other: float) -> float:
    return one / other if other else -1.0


def facts_of(problem: str, answer: str, response: str, strategy: str) -> Facts:
    """It prepares everything; the caller has bounded the length of each text."""
    return Facts(case_of(problem, answer, response), quantities_of(strategy), strategy)
