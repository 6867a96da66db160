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
from sgpo.mathtext.quantities import Quantity, Text
from sgpo.mathtext.tokens import stem, words
from sgpo.mathtext.usage import ARRIVALS, BASES, OPERANDS
from sgpo.strategies.leakage.case import Case, case_of, content, is_small

# What general steps count: `2 cases`, `3 sides`.
GENERIC_NOUNS = words(
    "case step unknown variable equation side part digit term factor point dimension type kind condition set leg "
    "angle vertex number quantity value expression inequality congruence operation root solution group class category "
    "way method stage phase triangle circle integer event draw choice option possibility function parameter degree "
    "half formula identity prime element piece line row column constraint people person item figure limit endpoint "
    "bound sum product power exponent sign law rule clue fact relation edge face place decimal amount"
)
_OWN = words("expression answer result solution value total count outcome it this")
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
    365: "year", 366: "year", 400: "leap", 3.6: "km kilometer", 1000: "kilo milli", 3600: "second hour", 1.5: "outlier",
    1.8: "fahrenheit celsius temperature", 32: "fahrenheit celsius temperature",
}  # fmt: skip
_RATIOS = frozenset(map(stem, words("sin cos tan sine cosine tangent isosceles equilateral")))
_EXAMPLE = re.compile(r"\b(?:for instance|(?:for|as an|an|another|similar|simpler) example|such as|like|primes)\b")
_OPENING = words(
    "say imagine suppose example instance warm cousin flavor simpler smaller similar toy analogous mini sample picture "
    "illustration"
)
_OWN_CASE = re.compile(r"\b(?:here|this case|our|this problem)\b")
_PRIMES = [2.0, 3.0, 5.0, 7.0, 11.0, 13.0, 17.0, 19.0, 23.0]


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
        return self.case.stems.union(map(stem, self.strategy.words(0, len(self.strategy.tokens))))

    @cached_property
    def conversions(self) -> frozenset[float]:
        """What one unit is in another: 60 for minutes and hours."""
        dozen = {12.0} if "dozen" in self.stems else set()
        return frozenset(units.conversions(self.strategy.units | self.case.problem.units)) | dozen

    @cached_property
    def relations(self) -> dict[int, Quantity]:
        """Relations by where their sides start."""
        return {part.first: q for q in self.strategy.quantities if q.notation == "relation" for part in q.parts}

    def near(self, q: Quantity) -> frozenset[str]:
        """Stems of the words of a quantity's sentence."""
        return frozenset(map(stem, q.sentence))

    def is_constant(self, q: Quantity) -> bool:
        """The number belongs to the type of problem: to a unit, a theorem, a base or the method."""
        use = q.use
        # That a clock has 12 hours is no licence for the answer 12, but where a step is done again and again.
        answer = any(not is_small(part.size) and self.case.states(q, part) for part in self.case.parts)
        answer = answer and q.whole and use.name == "operand" and not {"until", "repeat"} & self.near(q)
        # each face of a die has 1/6
        general = use.supposed or "each" in use.subject or (use.by.isalpha() and not use.stated)
        return (
            use.name == "label"
            or (use.by in BASES and q.size <= 12)
            or self._converts(q)
            or (q.size in self.conversions and not (q.unit and use.stated))
            or (self.is_known(q.size, q) and not answer)
            or (q.whole and q.first in self._listed)
            or self._is_option(q)
            or (q.notation, q.size) == ("percent", 1)
            or (q.notation == "fraction" and q.size < 1 and general)
        )

    def is_known(self, number: float, q: Quantity) -> bool:
        """The number is general knowledge about what the sentence of a quantity speaks of."""
        # `divide by 1.8`, where the problem speaks of Celsius; for two dice, a chance of 1/36
        wide = q.use.name == "operand" or q.use.by in OPERANDS or q.notation in ("fraction", "relation")
        near = self.near(q) | (self.stems if wide else frozenset())
        # The sines of multiples of 15 degrees are in tables.
        return (
            number + 1 in self.case.bases
            or bool(near & set(_KNOWN.get(number, "").split()))
            or (not number % 15 and bool(near & _RATIOS))
        )

    def is_example(self, q: Quantity) -> bool:
        """It belongs to an example: `such as` stands before it, or its sentence is one."""
        before, behind = " ".join(q.before), " ".join(q.behind[:10])
        example = _EXAMPLE.search(before) or re.search("for (?:example|instance)", behind)
        invented = self.strategy.around[q.first][0] in self._invented
        return bool(example or invented) and not _OWN_CASE.search(before + behind)

    @cached_property
    def _invented(self) -> frozenset[int]:
        """Where the sentences begin that work with other numbers than this problem's: examples.

        One opens with a word such as `say`, has an equation of numbers, or many of them.
        """
        found: set[int] = set()
        for begin, end in self.strategy.sentences:
            near = [q for i in range(begin, end) for q in self.strategy.at.get(i, ())]
            equations = [q for q in near if q.notation == "relation" and not q.letters]
            large = {x for q in near for x in q.literals if not is_small(x)}
            opened = equations or len(large) > 2 or _OPENING & set(map(stem, self.strategy.words(begin, end)))
            if opened and large and not large & self.case.specific:
                found.add(begin)
        return frozenset(found)

    def _is_option(self, q: Quantity) -> bool:
        """It stands among the options of the problem."""
        near = {o.size for i in range(*self.strategy.around[q.first]) for o in self.strategy.at.get(i, ())}
        return len(near & self.case.choices) > 2

    @cached_property
    def _listed(self) -> frozenset[int]:
        """The numbers in lists that go on by a rule: `1, 2, 4, 8`, `primes 2, 3, 5, 7`."""
        tokens, places = self.strategy.tokens, set[int]()
        inside = [t.value is not None or t.text in (",", "and", "or", "then", "by", "the") for t in tokens]
        for listed, group in itertools.groupby(range(len(tokens)), inside.__getitem__):
            run = list(group)
            found = [size(tokens[i].value) for i in run if tokens[i].value is not None]
            if not listed or len(found) < 3:
                continue
            powers = 0 < found[0] <= 2 and all(b * found[0] == a * found[1] for a, b in itertools.pairwise(found))
            primes = found == _PRIMES[: len(found)] and "prime" in self.stems
            behind, own = self.strategy.words(run[-1] + 1, run[-1] + 2), {x for x in found if not is_small(x)}
            goes_on = behind == ["so"] or (behind == ["..."] and own.isdisjoint(self.case.specific))
            if powers or primes or goes_on or found == found[::-1]:
                places.update(run)
        return frozenset(places)

    def _converts(self, q: Quantity) -> bool:
        """Its sentence says what one unit is in another: `an hour has 60 minutes`, `1 km is 1000 m`."""
        if q.unit is None:
            return False
        near = (o for i in range(*self.strategy.around[q.first]) for o in self.strategy.at.get(i, ()))
        sizes = {1.0, *(o.size for o in near if o.unit != q.unit and o.size not in self.case.given)}
        others = (unit for unit in self.strategy.units - {q.unit} if unit.dimension == q.unit.dimension)
        return any(size(q.size * float(q.unit.factor / unit.factor)) in sizes for unit in others)

    def is_restated(self, q: Quantity) -> bool:
        """A sentence of the problem has this number and shares a word with the sentence it stands in."""
        alike = (given for given in self.case.problem.quantities if given.whole and q.size in given.sizes)
        alike = (given for given in alike if not given.counted or q.counted in ("", given.counted))
        return any(content(q.sentence) & content(given.sentence) for given in alike)

    def counts(self, q: Quantity) -> frozenset[str]:
        """Stems of the words that go with a number: `such`, `of`, `the` and `primes` in `three of the primes`."""
        return content(itertools.takewhile(str.isalpha, q.text.words(q.end, q.end + 3)))

    def claims(self, q: Quantity) -> bool:
        """The strategy says that something comes to, or numbers, this value, and the problem does not."""
        use, relation = q.use, self.relations.get(q.first)
        if use.supposed or use.name == "operand":
            return False
        if relation is not None:  # x = 4, and not ab = 4
            left = relation.parts[0]
            plain = left.letters <= int(not left.operations) and relation.letters
            told = plain and relation.use.name != "operand"
            return bool(told) and not holds(self.case.problem.tight, relation.written)
        if q.size <= 4 and self.counts(q) & GENERIC_NOUNS and not self.counts(q) & self.case.stems:
            return False
        if q.size in (0, 1):
            strong = use.by in STRONG and use.stated
            return use.name == "result" and (strong or (use.by != "equal" and bool(use.subject & _OWN)))
        if q.size in self.case.given:
            quoted = not self.near(q).isdisjoint(("text", "problem", "statement", "story"))
            new = use.by in STRONG or q.operations > 0 or not self.is_restated(q)
            return use.name == "result" and new and not quoted
        return use.name == "result" or (
            q.size > 2 and (use.stated or (not use.by and q.size in self.case.response.sizes))
        )


def facts_of(problem: str, answer: str, response: str, strategy: str) -> Facts:
    """It prepares everything; the caller has bounded the length of each text."""
    return Facts(case_of(problem, answer, response), Text(strategy), strategy)
