"""Quantities of a text: what each is worth, in what unit, in which notation it is written, and how it is used."""

from __future__ import annotations

import bisect
import itertools
import math
import operator
import re
from collections.abc import Iterator, Sequence
from functools import cached_property

from sgpo.mathtext import units
from sgpo.mathtext.expressions import Parser, hundredth
from sgpo.mathtext.tokens import Value, plain_text, size, stem, tokenize, words
from sgpo.mathtext.units import Unit
from sgpo.mathtext.usage import Use, usage

NEAR = 60  # of a longer sentence only so many tokens are looked at, each way
MAX_QUANTITIES = 30_000  # of one text; what follows is not read
MAX_EQUAL = 20  # of one value; else texts of one number would take quadratic time
_NO_NOUNS = words(
    "into onto among and or is are as so which that then because since in on at by for from with to if when where "
    "after throughout works fits satisfies leaves gives must will can has have of here there over more left "
    "altogether overall but while again mod modulo remains remain does be was were too itself both per than"
)
_OWNER = "(?:the|its|her|his|their|this|that|our|all|every)\\b"
_SHARE = re.compile(f"(?:of |times )?{_OWNER}")
_OFFSET = re.compile(
    r"(?:\S+ )?(?:(less|fewer|shorter|smaller|younger|lower|cheaper|lighter|short|shy|below|under)|more|greater|longer|"
    rf"larger|bigger|older|higher|heavier|above|beyond)(?: than)? {_OWNER}"
)
# What an ordinal is of a known sequence: the fifth prime is 11.
_SEQUENCES = {
    "prime": [n for n in range(2, 542) if all(n % d for d in range(2, n))],
    "fibonacci": [1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144],
    "triangular": [n * (n + 1) // 2 for n in range(1, 100)],
    "perfect square": [n**2 for n in range(1, 100)],
    "perfect cube": [n**3 for n in range(1, 100)],
}


class Quantity:
    """A value in a text.

    first, end: the indices of its first token and of the one behind its last. value: None where it cannot be had, and
    of relations. size: its key; form: with its sign. notation: digits, decimal, words, named, ordinal, roman, fraction,
    times (`half` of no number), percent, expression, relation, share (`half of the modulus`) or offset (`2 less than
    the modulus`: the value is -2). unit: what stands behind it, None where that is none. last: the index behind its
    unit. whole: it is no part of an expression. parts, signs: the sides of a relation and what joins them. numbers: the
    indices of the numbers written in it; literals: their sizes. letters, operations: how many it holds. sentence,
    before, behind: the words around it. noun: the stem of the word behind it, "" where that is none.
    """

    def __init__(
        self, text: Text, first: int, end: int, value: Value | None, notation: str = "",
        parts: Sequence[Quantity] = (), *, whole: bool = True,
    ) -> None:  # fmt: skip
        self.text, self.first, self.end, self.parts, self.whole = text, first, end, parts, whole
        parser, tokens, lower = text.parser, text.tokens, text.parser.lower
        self.signs = [tokens[part.first - 1].text for part in parts[1:]]
        self.numbers = [i for i in range(first, end) if tokens[i].value is not None]
        self.literals = [tokens[i].size for i in self.numbers]
        self.letters = len(parser.letters.intersection(range(first, end)))
        done = tuple([parser.operations[i] for i in range(first, end) if i in parser.operations])
        self.operations = len(done) - done.count(hundredth)
        # 1 + 3 + ... is not worth 4
        self.value = None if self.operations and "..." in lower[end : end + 2] else value
        self.size = size(self.value)
        self.form = math.copysign(self.size, self.value or 0)
        self.unit: Unit | None = None
        self.notation, self.last = notation or "expression", end
        if not notation:
            if not self.letters and len(self.numbers) == 1 + (operator.truediv in done):
                literal = tokens[self.numbers[0]]
                alone = "ordinal" if literal.kind == "ordinal" else literal.notation.replace("times", "fraction")
                kinds = {(): alone, (hundredth,): "percent", (operator.truediv,): "fraction"}
                self.notation = kinds.get(done, "expression")
            self._read_unit()
        begin, stop = text.around(first)
        self.sentence, self.before, self.behind = lower[begin:stop], lower[begin:first], lower[self.last : stop]
        noun = "".join(self.behind[:1])
        self.noun = stem(noun) if noun.isalpha() and len(noun) > 1 and noun not in _NO_NOUNS else ""

    def _read_unit(self) -> None:
        if self.notation not in ("ordinal", "percent"):
            lower = self.text.parser.lower
            at = self.end + (lower[self.end] == "-")  # an 8-foot pole
            if self.notation == "fraction":  # an eighth of a mile, half an hour
                article = at + (lower[at] == "of")
                at = article + 1 if lower[article] in ("a", "an") else at
            self.unit, used = units.behind(lower[at], lower[at + 1])
            if used:
                self.last = at + used
            elif self.first and self.text.tokens[self.first - 1].text == "$":
                self.unit = units.DOLLAR

    @cached_property
    def sizes(self) -> frozenset[float]:
        """All that it may be worth: 15% is 0.15 and 15, the fifth prime 5 and 11."""
        found = [self.size, size(self.size * 100)] if self.notation == "percent" else [self.size]
        if self.notation == "ordinal":
            known = _SEQUENCES.get(" ".join(self.behind[:1])) or _SEQUENCES.get(" ".join(self.behind[:2]), [])
            found += map(float, known[max(0, int(self.size) - 1) : int(self.size)])
        return frozenset(found)

    @cached_property
    def forms(self) -> frozenset[float | frozenset[float]]:
        """What two spellings of one formula share: its value, or the pairs of values that a relation joins."""
        if self.notation == "relation":
            pairs = itertools.combinations(self.parts[:8], 2)  # a = b = c says that a = c
            return frozenset(frozenset((a.form, b.form)) for a, b in pairs)
        return frozenset({self.form} if self.letters and self.operations else ())

    @cached_property
    def use(self) -> Use:
        """How the words around it use it; see `usage.Use`."""
        if not self.whole:
            return Use("operand")
        ordinal = self.notation == "ordinal"
        begin, end = self.text.around(self.first)
        return usage(self.text.tokens, begin, self.first, self.last, end, ordinal=ordinal)

    @property
    def written(self) -> str:
        """As it is written, without spaces and brackets of LaTeX."""
        return self.text.written(self.first, self.end)

    @property
    def quote(self) -> str:
        """It with a little of what stands around it, on one line."""
        start, end = self.text.spans[self.first][0], self.text.spans[self.last - 1][1]
        return " ".join(self.text.text[max(0, start - 25) : end + 15].split())


class Text:
    """A text in plain spelling with its quantities, a relation before its sides, each before the numbers in it.

    sentences: where each begins, and the index behind its last token. at: the quantities by the indices of their first
    tokens. The first `tokens.MAX_TEXT` characters are read.
    """

    def __init__(self, text: str) -> None:
        self.text = plain_text(text)
        self.tokens, self.spans = tokenize(self.text)
        self.parser = Parser(self.tokens)
        ends = [i for i, token in enumerate(self.tokens) if token.kind == "end"]
        self.sentences = list(zip([0, *(i + 1 for i in ends)], [*ends, len(self.tokens)], strict=True))
        self.quantities: list[Quantity] = []
        done = 0
        for i, opens in enumerate(self.parser.opens):
            read = opens and i >= done and len(self.quantities) < MAX_QUANTITIES
            if not (sides := [Quantity(self, *side) for side in self.parser.sides(i)] if read else []):
                continue
            done = sides[-1].end
            if len(sides) > 1:
                self.quantities.append(Quantity(self, i, done, None, "relation", sides))
            told = [side for side in sides if side.numbers or side.operations]
            single = {side.first for side in told if side.end == side.first + 1 and side.notation != "fraction"}
            inner = [j for side in told for j in side.numbers if j not in single]
            self.quantities += told
            numbers = [(j, j + 1, self.tokens[j].value, self.tokens[j].notation) for j in inner]
            self.quantities += [Quantity(self, *number, whole=False) for number in numbers]
        self.quantities += [related for q in self.quantities for related in self._related(q)]
        self.at: dict[int, list[Quantity]] = {}
        for q in self.quantities:
            self.at.setdefault(q.first, []).append(q)

    def around(self, i: int) -> tuple[int, int]:
        """Where the sentence of a token begins and ends, within `NEAR`."""
        begin, end = self.sentences[bisect.bisect(self.sentences, (i, math.inf)) - 1]
        return max(begin, i - NEAR), min(end, i + NEAR)

    def _related(self, q: Quantity) -> Iterator[Quantity]:
        """`half of the seats` is a share and `2 less than the modulus` an offset, beside the number in it."""
        share, behind = q.notation in ("fraction", "percent"), " ".join(self.words(q.last, q.last + 4))
        found = (_SHARE if share else _OFFSET).match(behind) if q.whole and not q.letters else None
        if found and q.value is not None:
            value = q.value if share or not found[1] else -q.value
            yield Quantity(self, q.first, q.end, value, "share" if share else "offset")

    def worth(self, q: Quantity) -> list[Quantity]:
        """The quantities that may be worth the same as one of another text; `MAX_EQUAL` of each value."""
        return [found for number in q.sizes for found in self._by_size.get(number, ())]

    @cached_property
    def _by_size(self) -> dict[float, list[Quantity]]:
        found: dict[float, list[Quantity]] = {}
        for q in self.quantities:
            for number in q.sizes if q.value is not None else ():
                if len(equal := found.setdefault(number, [])) < MAX_EQUAL:
                    equal.append(q)
        return found

    @cached_property
    def units(self) -> frozenset[Unit]:
        """The units that it speaks of."""
        return units.named(self.parser.lower[: len(self.tokens)])

    @cached_property
    def sizes(self) -> frozenset[float]:
        """Sizes of all numbers written in the text, fractions included; not of what is to be computed."""
        found = {x for q in self.quantities for x in q.literals}
        found.update(*(q.sizes for q in self.quantities if q.notation not in ("expression", "share", "offset")))
        return frozenset(found - {-1.0, *(token.size for token in self.tokens if token.notation == "times")})

    @cached_property
    def all_sizes(self) -> frozenset[float]:
        """What all expressions without letters come to, too."""
        return self.sizes | frozenset(q.size for q in self.quantities if not q.letters) - {-1.0}

    @cached_property
    def forms(self) -> frozenset[float | frozenset[float]]:
        """What its formulas are worth: those with letters, and the two sides of each equation and inequality."""
        return frozenset(form for q in self.quantities for form in q.forms)

    def words(self, first: int, last: int) -> list[str]:
        """The texts of some tokens in lower case."""
        return self.parser.lower[first : min(last, len(self.tokens))]

    def written(self, first: int, last: int) -> str:
        return "".join(token.text for token in self.tokens[first:last] if token.text not in ("{", "}", "*"))

    @cached_property
    def tight(self) -> str:
        """All of it without spaces: what two copies of one formula share."""
        return self.written(0, len(self.tokens))
