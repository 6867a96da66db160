"""A problem as the leak check reads it, with its answer and its response; all strategies of the problem share it."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable
from functools import cached_property

from sgpo.mathtext import units
from sgpo.mathtext.quantities import Quantity, Text
from sgpo.mathtext.tokens import size, stem
from sgpo.mathtext.usage import BASES
from sgpo.rewards.extract import gold_answer

MAX_ANSWER = 2_000
# What general steps are full of: 0 to 10, powers of ten, 1/2, pi, 2 pi, the roots of 2 and 3; and -1 for no value.
_FEW = (*range(11), *(10**n for n in range(15)), 0.5, math.pi, 2 * math.pi, 2**0.5, 3**0.5)
SMALL = frozenset({-1.0, *map(size, _FEW)})
_OPTION = re.compile(
    r"\(\s*(?:\\\w+\s*\{?\s*)?([A-J])\s*\}?\s*\)|(?<![A-Za-z0-9(])([A-J])[.):](?=\s)|\\\w+\{\s*\(?([A-J])\)?[.: ]*\}"
)
_LETTER = re.compile(r"(?:option |choice |answer )?\(? ?([A-J]) ?\)?[.:]?(?P<body> .*)?", re.IGNORECASE)
_MARKUP = re.compile(r"\\(?:text|textbf|mathrm|mathbf)\s*\{([^{}]*)\}|\\(?:qquad|quad|[ ,;!])|[$\\{}]")
_VALUE = re.compile(r"\d|\\(?:[dtc]?frac|sqrt|pi|infty|(?:sin|cos|tan|cot|sec|csc|ln|log)\b)")
_NAMES = re.compile(r"(?:(?<=[a-z,] )|(?<=\"))[A-Z][a-z]+")
_ALTERNATIVES = re.compile(r"\b[a-z]{1,20}(?:, [a-z ]{1,40}){0,8},? or (?:an? )?[a-z]+")


def content(words: Iterable[str]) -> frozenset[str]:
    """Stems of the words that carry the meaning of some."""
    return frozenset(stem(word) for word in words if len(word) > 3 and word.isalpha())


class Case:
    """A problem with its answer and its response.

    options: letter and text of each. letter: of the right one. parts: the answer's values. words: an answer in words.
    written: the answer as it was given. specific: numbers of the problem and the response.
    """

    def __init__(self, problem: str, answer: str, response: str) -> None:
        self.options, stem_text = _options(problem)
        self.problem, self.response = Text(stem_text), Text(response)
        self.given, self.specific = self.problem.sizes, self.problem.sizes | self.response.all_sizes
        self.written = gold_answer(answer[:200_000])[:MAX_ANSWER].strip().rstrip(".")
        letter = _LETTER.fullmatch(_bare(self.written))
        if letter and (self.options or letter[1].isupper()):
            self.letter = letter[1].upper()
            self.written = (letter["body"] or "").strip() or self.options.get(self.letter, "")
        else:
            self.letter = next((mark for mark, body in self.options.items() if body == _bare(self.written)), "")
        bare = _bare(self.written)
        named = re.search(r"[A-Za-z]{2}", bare) and not _VALUE.search(self.written)
        self.words = re.sub(r"[^a-z0-9]+", " ", bare.lower()).strip() if named else ""
        self.written = bare if named else self.written
        told = [] if named else Text(self.written).quantities
        self.parts = [q for q in told if q.whole and q.value is not None][:20]
        self.is_name = self.written[:1].isupper()

    def states(self, q: Quantity, part: Quantity) -> bool:
        """Whether a quantity of a strategy has the value of a part of the answer, up to notation and unit."""
        if q.value is None or bool(q.letters) != bool(part.letters):
            return False
        unit, spoken = q.unit or units.ONE, self.problem.units
        factors = [float(unit.factor / other.factor) for other in spoken if unit.dimension == other.dimension]
        factors.append(math.pi / 180 if q.unit == units.DEGREE else 180 / math.pi)
        if q.notation == "decimal" and any(round(x, places) == q.size for x in part.sizes for places in (2, 3, 4)):
            return True
        return not part.sizes.isdisjoint(q.sizes | {size(float(q.value) * factor) for factor in factors})

    @cached_property
    def counted(self) -> frozenset[str]:
        """Stems of the words behind `how many`."""
        asked = re.findall(r"\bhow (?:many|much)((?: \w+){1,3})", self.problem.text, re.IGNORECASE)
        return content(" ".join(asked).split())

    @cached_property
    def others(self) -> tuple[str, ...]:
        """The words of each wrong candidate: of an option, or in a list `north, south or east` of the problem."""
        if self.options:
            bodies = [body for letter, body in self.options.items() if letter != self.letter]
        elif self.is_name:
            bodies = [name for name in _NAMES.findall(self.problem.text) if name != self.written]
        else:
            lists = (
                re.split(r", (?:or )?(?:an? )?| or (?:an? )?", found)
                for found in _ALTERNATIVES.findall(self.problem.text.lower())
            )
            bodies = [word for one in lists if self.words in one for word in one if word != self.words]
        phrases = (" ".join(re.findall("[a-z]{2,}", re.sub(r"\\[a-z]+", " ", body.lower()))) for body in bodies)
        return tuple(dict.fromkeys(filter(None, phrases)))

    @cached_property
    def choices(self) -> frozenset[float]:
        """What the options are worth."""
        return frozenset(q.size for body in self.options.values() for q in Text(body).quantities if q.whole)

    @cached_property
    def stems(self) -> frozenset[str]:
        """Stems of the problem's words, without those of its options."""
        return frozenset(stem(token.text) for token in self.problem.tokens if token.kind == "word")

    @cached_property
    def letters(self) -> frozenset[str]:
        """The letters of the problem; `a` and `I` are words, but for those in formulas."""
        alone = {t.text for t in self.problem.tokens if t.kind == "command" or (t.kind == "word" and len(t.text) == 1)}
        formulas = (letters_of(q) for q in self.problem.quantities if q.letters)
        return frozenset(alone - {"a", "A", "I"}).union(*formulas)

    @cached_property
    def told(self) -> dict[float, frozenset[str]]:
        """The words that go with each number of the problem: those of its sentences."""
        found: dict[float, frozenset[str]] = {}
        for q in self.problem.quantities:
            for number in q.sizes if q.whole else ():
                found[number] = found.get(number, frozenset()) | content(q.sentence)
        return found

    @cached_property
    def bases(self) -> frozenset[float]:
        """The bases and moduli that the problem works in."""
        return frozenset(q.size for q in self.problem.quantities if BASES & {*q.before} and q.use.by in BASES)


def letters_of(q: Quantity) -> set[str]:
    """The letters of a formula; `ax` there is a product."""
    tokens = q.text.tokens[q.first : q.end]
    return {x for t in tokens for x in (t.text if t.kind == "word" else [t.text]) if t.kind in ("word", "command")}


def _bare(text: str) -> str:
    return " ".join(_MARKUP.sub(lambda m: m[1] or " ", text).split()).strip(",;.~ ")


def _options(problem: str) -> tuple[dict[str, str], str]:
    """The labelled options of a multiple choice problem, and the problem without them."""
    marks = [(next(filter(None, mark.groups())), mark) for mark in _OPTION.finditer(problem)]
    first = max((i for i, (letter, _) in enumerate(marks) if letter == "A"), default=len(marks))
    ends = [*(mark.start() for _, mark in marks[first + 1 :]), len(problem)]
    found: dict[str, str] = {}
    for expected, (letter, mark), end in zip("ABCDEFGHIJ", marks[first:], ends, strict=False):
        if letter != expected:
            break
        found[letter] = _bare(problem[mark.end() : end].lstrip().partition("\n\n")[0])  # `Enter the letter` may follow
    return (found, problem[: marks[first][1].start()]) if len(found) >= 2 else ({}, problem)


case_of = functools.lru_cache(256)(Case)
