"""A strategy beside its case: what the words around a quantity, and the problem, say of it."""

from __future__ import annotations

import functools
import itertools
import re
from functools import cached_property

from sgpo.mathtext import units
from sgpo.mathtext.quantities import Quantity, Text
from sgpo.mathtext.tokens import size, stem, words
from sgpo.mathtext.usage import OPERANDS
from sgpo.strategies.leakage.case import SMALL, case_of, content

# Numbers of general knowledge that are no conversion between two units, with the words that must stand in the strategy.
_GENERAL = {
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
_KNOWN = {number: frozenset(said.split()) for number, said in _GENERAL.items()}
_RATIOS = frozenset(map(stem, words("sin cos tan sine cosine tangent isosceles equilateral")))
_LISTING = words(", and or then by the")
_BEGINS, _ENDS = re.compile(r"(?<![\d.])"), re.compile(r"(?!\.?\d)")


def has(text: Text, q: Quantity) -> bool:
    """A text has the formula of a quantity, however it is spelled there, and not as a part of a longer number."""
    written, at = q.written, -1
    while (at := text.tight.find(written, at + 1)) >= 0:
        if _BEGINS.match(text.tight, at) and _ENDS.match(text.tight, at + len(written)):
            return True
    return bool(q.forms) and q.forms <= text.forms


@functools.lru_cache(256)
def _within(text: Text, begin: int, end: int) -> tuple[list[Quantity], frozenset[str]]:
    """The quantities and the stems of a sentence."""
    return [q for i in range(begin, end) for q in text.at.get(i, ())], frozenset(map(stem, text.words(begin, end)))


class Facts:
    """A strategy beside its case. The caller has bounded the length of each text. raw: the strategy as it was given."""

    def __init__(self, problem: str, answer: str, response: str, raw: str) -> None:
        self.case, self.strategy, self.raw = case_of(problem, answer, response), Text(raw), raw

    @cached_property
    def stems(self) -> frozenset[str]:
        """Stems of the words of the strategy and the problem."""
        return self.case.stems.union(map(stem, self.strategy.words(0, len(self.strategy.tokens))))

    @cached_property
    def conversions(self) -> frozenset[float]:
        """What one unit is in another: 60 for minutes and hours."""
        dozen = {12.0} if "dozen" in self.stems else set()
        return frozenset(units.conversions(self.strategy.units | self.case.problem.units)) | dozen

    def beside(self, q: Quantity) -> list[Quantity]:
        """The quantities of its sentence."""
        return _within(self.strategy, *self.strategy.around(q.first))[0]

    def there(self, q: Quantity) -> list[Quantity]:
        """The quantities of the response that are worth the same."""
        return self.case.response.worth(q)

    def near(self, q: Quantity) -> frozenset[str]:
        """Stems of the words of its sentence."""
        return _within(self.strategy, *self.strategy.around(q.first))[1]

    def large(self, q: Quantity) -> set[float]:
        """The numbers of its sentence that general steps are not full of."""
        return {x for o in self.beside(q) for x in o.literals} - SMALL

    def counts(self, q: Quantity) -> frozenset[str]:
        """Stems of the words that go with it: `such`, `of`, `the` and `primes` in `three of the primes`."""
        return content(itertools.takewhile(str.isalpha, q.text.words(q.end, q.end + 3)))

    def is_known(self, number: float, q: Quantity) -> bool:
        """The number is general knowledge about what the sentence of a quantity speaks of."""
        # The largest digit of a base; the sines of multiples of 15 degrees are in tables.
        if number + 1 in self.case.bases or (number not in _KNOWN and number % 15):
            return number + 1 in self.case.bases
        # `divide by 1.8`, where the problem speaks of Celsius; for two dice, a chance of 1/36
        wide = q.use.name == "operand" or q.use.by in OPERANDS or q.notation in ("fraction", "relation")
        near = self.near(q) | (self.stems if wide else frozenset())
        return not near.isdisjoint(_KNOWN.get(number, ())) or (not number % 15 and not near.isdisjoint(_RATIOS))

    def converts(self, q: Quantity) -> bool:
        """Its sentence says what one unit is in another: `an hour has 60 minutes`, `1 km is 1000 m`."""
        if q.unit is None:
            return False
        sizes = {1.0, *(o.size for o in self.beside(q) if o.unit != q.unit and o.size not in self.case.given)}
        others = (unit for unit in self.strategy.units - {q.unit} if unit.dimension == q.unit.dimension)
        return any(size(q.size * float(q.unit.factor / unit.factor)) in sizes for unit in others)

    def listed(self, q: Quantity) -> list[float]:
        """The sizes of the list that it stands in, such as `2, 3, 5 and 7`."""
        begin, end = self.strategy.around(q.first)
        runs = itertools.groupby(
            range(begin, end if q.whole else begin),
            lambda i: self.strategy.tokens[i].value is not None or self.strategy.tokens[i].text in _LISTING,
        )
        run = next((run for inside, group in runs if inside and q.first in (run := [*group])), [])
        return [token.size for token in map(self.strategy.tokens.__getitem__, run) if token.value is not None]
