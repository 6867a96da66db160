"""What the rules look at: the strategy's quantities beside those of the problem, the response and the answer."""

from __future__ import annotations

import calendar
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

from sgpo.mathtext import quantities, units, values
from sgpo.mathtext.quantities import Quantity, Text
from sgpo.mathtext.usage import BASES, FINITE, RESULTS_TO, stem
from sgpo.mathtext.vocabulary import words
from sgpo.strategies.leakage.case import FUNCTION, Case, case_of, content

# What general steps count: `2 cases`, `3 sides`.
GENERIC_NOUNS = words(
    "case step unknown variable equation side part digit term factor point dimension type kind condition set leg "
    "angle vertex number quantity value expression inequality congruence operation root solution group class "
    "category way method stage phase triangle circle integer event draw choice option possibility function "
    "parameter degree half formula identity prime element piece line row column constraint people person item "
    "figure limit endpoint bound sum product power exponent sign law rule clue fact relation edge face place "
    "decimal amount"
)
_OWN = words("expression answer result solution value total count outcome it this")
_WEAK = words("is are be was being has have having : => = of the need needs state")
STRONG = RESULTS_TO | words(
    "obtain get gets getting yield yields give gives giving conclude leave leaves fits reach reaches reaching"
)
# Numbers of general knowledge that are no conversion between two units, with the words that must stand in the strategy.
_KNOWN = {
    2: "prime even twin pair couple", 3: "triple", 4: "triple", 5: "round rounding triple",
    6: "die dice cube face hand", 10: "digit letter", 11: "divisibility",
    12: "clock hour month inch triple dice noon afternoon face", 13: "card rank suit triple",
    15: "hexadecimal letter", 16: "hexadecimal", 25: "digit quarter prime", 49: "prime", 121: "prime",
    26: "letter alphabet", 28: "month", 29: "month", 30: "month hand", 31: "month", 36: "dice",
    52: "card deck week year", 60: "equilateral degree", 90: "degree angle right", 100: "percent cent",
    180: "degree angle triangle polygon pi", 270: "degree angle", 360: "degree angle circle turn polygon pi",
    365: "year", 366: "year", 1000: "kilo milli", 3600: "second hour", 1.5: "outlier",
    1.8: "fahrenheit celsius temperature", 32: "fahrenheit celsius temperature",
}  # fmt: skip
_MONTHS = frozenset(map(str.lower, calendar.month_name[1:])) - {"march", "may"}
_RATIOS = frozenset(map(stem, words("sin cos tan sine cosine tangent isosceles equilateral")))
_AGAIN = re.compile(r"\b(?:until|repeat\w*|too large)\b", re.IGNORECASE)
_EXAMPLE = re.compile(r"\b(?:for example|for instance|such as|like|primes)\b[^.;\n]*$", re.IGNORECASE)
_OWN_CASE = re.compile(r"\b(?:here|this case|our|this problem)\b", re.IGNORECASE)
_ENDS_NOUN = words("for with in by to from at on per and or if when to a an")


_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_LIST = re.compile(r"(?:\d+(?:\.\d+)?(?:,? (?:and |or |then )?(?:by )?|$)){3,}(?:so on|\.\.\.)?")
_PRIMES = [2.0, 3.0, 5.0, 7.0, 11.0, 13.0, 17.0, 19.0, 23.0]


def _is_series(found: list[float]) -> bool:
    """They are the first primes, a progression from at most 2, or a row of Pascal's triangle."""
    steps = {b - a for a, b in itertools.pairwise(found)}
    factors = {b / a for a, b in itertools.pairwise(found) if a}
    ruled = len(steps) == 1 or len(factors) == 1 or found == found[::-1]
    return found == _PRIMES[: len(found)] or (found[0] <= 2 and ruled)


def tight(text: str) -> str:
    """Without spaces, delimiters and spelling variants: what two copies of one formula share."""
    return re.sub(r"[\s{}]|\*", "", text)


def holds(text: str, written: str) -> bool:
    """A tight text has a tight formula in it, and not as the start or end of a longer number."""
    return written in text and re.search(rf"(?<![\d.]){re.escape(written)}(?!\.?\d)", text) is not None


@dataclass(frozen=True)
class Facts:
    """A strategy (its text in plain spelling and as given) beside its case."""

    case: Case
    strategy: Text
    raw: str

    @cached_property
    def stems(self) -> frozenset[str]:
        return frozenset(stem(token.text) for token in self.strategy.tokens if token.kind in ("word", "command"))

    @cached_property
    def lines(self) -> list[tuple[str, list[str]]]:
        """Each sentence with the stems of its words; letters of options keep their capitals."""
        sentences = [" ".join(sentence.split()) for sentence in re.split(r"[.;!?\n]", self.strategy.text)]
        found = ((sentence, re.findall(r"[A-Za-z]+", sentence)) for sentence in sentences)
        return [(sentence, [word if len(word) == 1 else stem(word) for word in words]) for sentence, words in found]

    @cached_property
    def tight_response(self) -> str:
        return tight(self.case.response.text)

    @cached_property
    def tight_problem(self) -> str:
        return tight(self.case.problem.text)

    @cached_property
    def bounds(self) -> str:
        """The problem with equations in place of inequalities: their bounds are given, too."""
        return re.sub(r"[<>]=?", "=", self.tight_problem)

    @cached_property
    def conversions(self) -> frozenset[float]:
        """What one unit is in another: 60 for minutes and hours."""
        spoken = (self.strategy, self.case.problem, self.case.response)
        return frozenset(units.conversions({unit for text in spoken for unit in text.units}))

    def slice(self, found: Quantity) -> str:
        return self.strategy.text[found.start : found.end]

    def quote(self, found: Quantity) -> str:
        """The quantity with a little of what stands around it, on one line."""
        return " ".join(self.strategy.text[max(0, found.start - 25) : found.end + 15].split())

    def before(self, found: Quantity) -> str:
        """What stands before a quantity in its sentence."""
        return self.strategy.text[self.strategy.span(found)[0] : found.start]

    def sentence(self, found: Quantity) -> str:
        return self.strategy.sentence(found)

    def is_constant(self, found: Quantity) -> bool:
        """The number belongs to the type of problem: to a unit, a theorem, a base, an example or the method.

        These are the licences of a number that the problem does not give. Each looks at the sentence the number stands
        in, since 60 is a constant beside minutes and a result elsewhere.
        """
        size, use = found.size, found.use
        answer = self._is_answer(found)
        again = _AGAIN.search(self.sentence(found)) is not None
        unsaid = use.by.isalpha() and not use.stated and not answer
        general = use.supposed or use.name == "operand" or unsaid or "each" in use.subject  # each face of a die has 1/6
        return (
            use.name == "label"
            or (use.by in BASES and size <= 16)
            or size in self.case.bases
            or self._converts(found)
            or (size in self.conversions and (use.name != "result" or found.unit is None))
            # That an hour has 12 marks is no licence for the answer 12, unless the step is a rule that is done again.
            or (self.is_known(size, found) and not (use.name == "operand" and found.whole and answer and not again))
            or self._in_series(found)
            or self.is_example(found)
            or (found.notation == "fraction" and found.unit is None and general and not (found.whole and size > 1))
            or (found.notation, size) == ("percent", 100)
        )

    def is_known(self, size: float, found: Quantity) -> bool:
        """The number is general knowledge about what the sentence of a quantity speaks of."""
        near = set(map(stem, re.findall(r"[A-Za-z]+", self.sentence(found))))
        if found.use.name == "operand" or found.in_formula or found.notation in ("relation", "fraction"):
            near |= self.stems | self.case.words
        if near & _MONTHS:
            near.add("month")
        # The sines of multiples of 15 degrees are in tables.
        return (
            "totient" in near
            or bool(near & set(_KNOWN.get(size, "").split()))
            or (not size % 15 and bool(near & _RATIOS))
        )

    def _is_answer(self, found: Quantity) -> bool:
        return any(part.distinctive and part.matches(found) for part in self.case.answer.parts)

    def is_example(self, found: Quantity) -> bool:
        """`For example`, `such as` or `primes` stands before it in its sentence, or `for instance` behind."""
        before, behind = self.before(found), re.split(r"[.;\n]", self.strategy.text[found.end : found.end + 60])[0]
        example = _EXAMPLE.search(before) or re.search(r"for (?:example|instance)", behind)
        return bool(example) and not _OWN_CASE.search(before + behind)

    def is_generic(self, found: Quantity) -> bool:
        """It counts what general steps have (`2 cases`), and the problem does not."""
        behind, own = self.behind(found), self.case.counted | self.case.nouns
        return found.size <= 4 and bool(behind & GENERIC_NOUNS) and not behind & own

    def is_restated(self, found: Quantity) -> bool:
        """A sentence of the problem has this number and shares a word with the sentence it stands in.

        Then it is taken for the same statement. That lets some results pass that are equal to a given number.
        """
        own = content(self.sentence(found))
        problem = self.case.problem
        return any(
            other.size == found.size
            and problem.text[other.start - 1 : other.start] != "^"
            and (not other.counts or not found.counts or other.counts == found.counts)
            and own & content(problem.sentence(other))
            for other in problem.quantities
        )

    def in_other_units(self, found: Quantity) -> set[float]:
        """What it is in the units that the problem and the response speak of."""
        if found.unit is None or not found.unit.dimension or not isinstance(found.value, Fraction):
            return set()
        spoken = {*self.case.problem.units, *self.case.response.units}
        converted = (units.convert(found.value, found.unit, unit) for unit in spoken)
        return {values.size(x) for x in converted if x is not None}

    def is_left(self, found: Quantity) -> bool:
        """Something comes to it here (`which leaves 60`), be it a constant elsewhere."""
        return found.use.name == "result" and not found.use.supposed and found.use.by not in _WEAK

    def is_definite(self, found: Quantity) -> bool:
        """It was spoken of before: `the two speeds` are no new count."""
        before = self.before(found).lower()
        spoken = re.search(r"\b(?:the|both|these|of|other|its|all) $", before)
        return found.size <= 10 and spoken is not None and not re.search(r"\ban? (?:\w+ ){1,2}of $", before)

    def behind(self, found: Quantity) -> set[str]:
        """Stems of the words that go with a number: `such`, `of`, `the` and `primes` in `three of the primes`."""
        phrase: set[str] = set()
        for token in self.strategy.tokens[found.node.last : found.node.last + 5]:
            if (
                token.kind != "word"
                or token.text in _ENDS_NOUN
                or token.text in FINITE
                or "\n" in self.strategy.text[found.end : token.start]
            ):
                break
            phrase.add(stem(token.text))
        return phrase - FUNCTION

    def _in_series(self, found: Quantity) -> bool:
        """It stands in a list that goes on by a rule: `1, 2, 4, 8`, `the primes 2, 3, 5 and 7`."""
        written = self.slice(found)
        lists = (m[0] for m in _LIST.finditer(self.sentence(found)) if written in m[0])
        return any(one[-1] in "n." or _is_series([float(x) for x in _NUMBER.findall(one)]) for one in lists)

    def claims(self, found: Quantity) -> bool:
        """The strategy says that something comes to, or numbers, this value, and the problem does not.

        A small number is no news by itself; this decides whether it is told. 0 and 1 need the most: general steps say
        of many things that they are 0 or 1.
        """
        use, size = found.use, found.size
        if not found.whole or use.supposed or use.name in ("operand", "base", "label"):
            return False
        relation = self.relations.get(found.node.first)
        if relation is not None:  # x = 4, and not ab = 4
            left = relation.node.parts[0]
            known = relation.use.name == "operand" or not relation.node.letters
            plain = left.letters <= int(not left.operations) and not known
            return plain and not holds(self.tight_problem, tight(self.slice(relation)))
        if self.is_generic(found):
            return False
        if size in (0.0, 1.0):
            return use.name == "result" and (
                (use.by in STRONG and use.stated) or bool(use.subject & (_OWN | self.case.asked))
            )
        if size in self.case.given:
            computed = use.by in STRONG or bool(found.node.operations)
            named = self.before(found).lower().endswith(f"the {use.by} ")  # `the factor 3`
            return use.name == "result" and (computed or not (named or self.is_restated(found)))
        return use.name == "result" or (size > 2 and (use.stated or (not use.by and size in self.case.computed)))

    def _converts(self, found: Quantity) -> bool:
        """Its sentence says what one unit is in another: `an hour has 60 minutes`, `1 km is 1000 m`."""
        if not isinstance(found.value, Fraction):
            return False
        near = [q for q in self.strategy.quantities if abs(q.start - found.start) < 60]
        unit, spoken = found.unit or units.ONE, units.named(re.findall(r"[A-Za-z]+", self.sentence(found)))
        others = ({q.unit or units.ONE for q in near} | spoken) - {unit}
        # `7 dozens are 84` is no conversion, as the number 84 has no unit; `half a dollar is 50 cents` is one.
        both = found.size == 1 or (found.unit and found.unit.dimension)
        sizes = {1.0, *(q.size for q in near if both and q.unit != found.unit)}
        converted = (units.convert(found.value, unit, other) for other in others)
        return any(x is not None and values.size(x) in sizes for x in converted)

    @cached_property
    def sides(self) -> frozenset[int]:
        """The nodes, by identity, that are a side of a relation."""
        return frozenset(id(part) for q in self.relations.values() for part in q.node.parts)

    @cached_property
    def relations(self) -> dict[int, Quantity]:
        """Relations by where their sides start."""
        found = [q for q in self.strategy.quantities if q.notation == "relation"]
        return {part.first: q for q in found for part in q.node.parts}


def read(problem: str, answer: str, response: str, strategy: str) -> Facts:
    """It prepares everything; the caller has bounded the length of each text."""
    text = quantities.read(strategy)
    # Two dozen are 24, too, whatever is asked for.
    groups = (q for q in text.quantities if q.unit and not q.unit.dimension and q.unit.factor > 1 and q.size != 1)
    plain = [replace(q, value=q.readings[0], unit=None) for q in groups]
    return Facts(case_of(problem, answer, response), replace(text, quantities=(*text.quantities, *plain)), strategy)


def first(facts: Facts, found: Iterator[Quantity]) -> str:
    """The first quantity that was found, quoted; "" where there is none."""
    quantity = next(found, None)
    return facts.quote(quantity) if quantity else ""
