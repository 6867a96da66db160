"""Quantities of a text: what each is worth, in what unit, in which notation it is written, and how it is used."""

from __future__ import annotations

import bisect
import itertools
import re
from dataclasses import dataclass
from functools import cached_property

from sgpo.mathtext import units
from sgpo.mathtext.expressions import Node, Value, scan, size
from sgpo.mathtext.tokens import plain_text, stem, tokenize, words
from sgpo.mathtext.units import Unit
from sgpo.mathtext.usage import Use, usage

NEAR = 60  # of a longer sentence only so many tokens are looked at, each way
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
    ("prime",): [n for n in range(2, 542) if all(n % d for d in range(2, n))],
    ("fibonacci",): [1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144],
    ("triangular",): [n * (n + 1) // 2 for n in range(1, 100)],
    ("perfect", "square"): [n**2 for n in range(1, 100)],
    ("perfect", "cube"): [n**3 for n in range(1, 100)],
}


@dataclass(frozen=True)
class Quantity:
    """A value in a text.

    node: its structure. text: what it stands in. last: the index behind its unit. notation: the kind of its node, or
    digits, decimal, words, named, ordinal, roman, times (`half` of no number), share (`half of the modulus`) or offset
    (`2 less than the modulus`: the value is -2). unit: what stands behind it, None where that is none. whole: it is no
    part of an expression.
    """

    node: Node
    text: Text
    last: int
    notation: str
    value: Value | None
    unit: Unit | None = None
    whole: bool = True

    @cached_property
    def size(self) -> float:
        return size(self.value)

    @cached_property
    def sizes(self) -> frozenset[float]:
        """All that it may be worth: 15% is 0.15 and 15, the fifth prime 5 and 11."""
        found = {self.size} | ({size(self.size * 100)} if self.notation == "percent" else set())
        known = _SEQUENCES.get(tuple(self.behind[:1])) or _SEQUENCES.get(tuple(self.behind[:2]), [])
        place = int(self.size) if self.notation == "ordinal" else 0
        return frozenset(found | {float(number) for number in known[max(0, place - 1) : place]})

    @cached_property
    def forms(self) -> frozenset[float | frozenset[float]]:
        """What two spellings of one formula share: its value, or the pairs of values that a relation joins."""
        if self.notation == "relation":
            pairs = itertools.combinations(self.node.parts[:8], 2)  # a = b = c says that a = c
            return frozenset(frozenset((a.form, b.form)) for a, b in pairs)
        return frozenset({self.node.form} if self.node.letters and self.node.operations else ())

    @property
    def written(self) -> str:
        """As it is written, without spaces and brackets of LaTeX."""
        return self.text.written(self.node.first, self.node.last)

    @property
    def counted(self) -> Unit | str:
        """What there is a number of."""
        return "%" if self.notation == "percent" else self.unit or self.noun

    @cached_property
    def noun(self) -> str:
        """The stem of the word behind it, where that is a noun."""
        word = self.behind[0] if self.behind else ""
        return stem(word) if word.isalpha() and len(word) > 1 and word not in _NO_NOUNS else ""

    @cached_property
    def use(self) -> Use:
        """How the words around it use it; see `usage.Use`."""
        if not self.whole:
            return Use("operand")
        begin, end = self.text.sentence(self.node.first)
        return usage(self.text.tokens, begin, self.node.first, self.last, end, ordinal=self.notation == "ordinal")

    @cached_property
    def sentence(self) -> list[str]:
        """The words of its sentence."""
        return self.text.words(*self.text.sentence(self.node.first))

    @cached_property
    def before(self) -> list[str]:
        return self.text.words(self.text.sentence(self.node.first)[0], self.node.first)

    @cached_property
    def behind(self) -> list[str]:
        return self.text.words(self.last, self.text.sentence(self.node.first)[1])

    @property
    def quote(self) -> str:
        """It with a little of what stands around it, on one line."""
        start, end = self.text.tokens[self.node.first].start, self.text.tokens[self.last - 1].end
        return " ".join(self.text.text[max(0, start - 25) : end + 15].split())


class Text:
    """A text in plain spelling with its quantities, a relation before its sides, each before the numbers in it.

    The first `tokens.MAX_TEXT` characters are read.
    """

    def __init__(self, text: str) -> None:
        self.text = plain_text(text)
        self.tokens = tokenize(self.text)
        self.units = units.named([token.text for token in self.tokens])
        self.quantities: list[Quantity] = []
        for node in scan(self.tokens):
            wholes = [node, *(part for part in node.parts if part.literals or part.operations)]
            self.quantities += map(self._whole, wholes)
            taken = {part.first for part in wholes if part.kind == "number"}
            for i in range(node.first, node.last):
                value, notation = self.tokens[i].value, self.tokens[i].notation
                if value is not None and i not in taken:
                    leaf = Node(i, i + 1, "number", value, (size(value),))
                    self.quantities.append(Quantity(leaf, self, i + 1, notation, value, whole=False))
        self.quantities += [related for q in self.quantities for related in self._related(q)]

    @cached_property
    def sizes(self) -> frozenset[float]:
        """Sizes of all numbers written in the text, fractions included; not of what is to be computed."""
        found = {x for q in self.quantities for x in q.node.literals}
        found.update(*(q.sizes for q in self.quantities if q.notation not in ("expression", "share", "offset")))
        return frozenset(found - {-1.0, *(size(token.value) for token in self.tokens if token.notation == "times")})

    @cached_property
    def all_sizes(self) -> frozenset[float]:
        """What all expressions without letters come to, too."""
        return self.sizes | frozenset(q.size for q in self.quantities if not q.node.letters) - {-1.0}

    @cached_property
    def forms(self) -> frozenset[float | frozenset[float]]:
        """What its formulas are worth: those with letters, and the two sides of each equation and inequality."""
        return frozenset(form for q in self.quantities for form in q.forms)

    @cached_property
    def sentences(self) -> list[tuple[int, int]]:
        """Where each sentence begins, and the index behind its last token."""
        ends = [i for i, token in enumerate(self.tokens) if token.kind == "end"]
        return list(zip([0, *(i + 1 for i in ends)], [*ends, len(self.tokens)], strict=True))

    def sentence(self, i: int) -> tuple[int, int]:
        """The indices of the first token of a token's sentence and of the one behind its last, within `NEAR`."""
        begin, end = self.sentences[bisect.bisect_left(self.sentences, i, key=lambda bounds: bounds[1])]
        return max(begin, i - NEAR), min(end, i + NEAR)

    @cached_property
    def at(self) -> dict[int, list[Quantity]]:
        """The quantities by the indices of their first tokens."""
        found: dict[int, list[Quantity]] = {}
        for q in self.quantities:
            found.setdefault(q.node.first, []).append(q)
        return found

    def words(self, first: int, last: int) -> list[str]:
        """The texts of some tokens in lower case."""
        return [token.text.lower() for token in self.tokens[first:last]]

    def written(self, first: int, last: int) -> str:
        return "".join(token.text for token in self.tokens[first:last] if token.text not in ("{", "}", "*"))

    @cached_property
    def tight(self) -> str:
        """All of it without spaces: what two copies of one formula share."""
        return self.written(0, len(self.tokens))

    def _whole(self, node: Node) -> Quantity:
        token, notation, last, unit = self.tokens[node.last - 1], node.kind, node.last, None
        if node.kind == "number" and token.value is not None:
            notation = "ordinal" if token.kind == "ordinal" else token.notation
        if notation not in ("relation", "ordinal", "percent"):
            near = self.words(last, last + 5)
            near = near[near[:1] == ["-"] :]
            of = near[:1] == ["of"]  # an eighth of a mile, half an hour
            skipped = of + 1 if notation in ("fraction", "times") and near[of : of + 1] in (["a"], ["an"]) else 0
            unit, used = units.behind(near[skipped:])
            last += used + skipped + (self.tokens[last].text == "-") if unit else 0
            if unit is None and node.first and self.tokens[node.first - 1].text == "$":
                unit = units.DOLLAR
        return Quantity(node, self, last, notation, node.value, unit)

    def _related(self, q: Quantity) -> list[Quantity]:
        """`half of the seats` is a share and `2 less than the modulus` an offset, beside the number in it."""
        share = q.notation in ("fraction", "times", "percent")
        found = (_SHARE if share else _OFFSET).match(" ".join(self.words(q.last, q.last + 4)))
        if not found or not q.whole or q.value is None or q.node.letters:
            return []
        value = -q.value if not share and found[1] else q.value
        return [Quantity(q.node, self, min(q.last + 2, len(self.tokens)), "share" if share else "offset", value)]
