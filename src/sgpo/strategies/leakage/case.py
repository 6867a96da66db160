"""A problem as the leak check reads it, with its answer and its response; all strategies of the problem share it."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from sgpo.mathtext import quantities
from sgpo.mathtext.quantities import Text
from sgpo.mathtext.usage import BASES, stem
from sgpo.mathtext.vocabulary import words
from sgpo.strategies.leakage import answer as answers
from sgpo.strategies.leakage.answer import Answer

FUNCTION = words(
    "the and for what how many which with that are was were does its from each when where then than this there all "
    "can has have will she her him his they them you who one two three after possible let given following into"
)
_COUNTED = re.compile(
    r"\b(?:how (?:many|much)|number of)((?: [a-z0-9-]+){1,4}?)"
    r"(?= (?:are|is|do|does|did|can|could|will|would|have|has|of|in|that|there|"
    r"must|for|if|to|on|at|from|he|she|they)\b|[?.,])",
    re.I,
)
_SPANS = words("second minute hour day week month year")
_QUESTIONS = words("What Which Who How Find If When The Find")
_ALTERNATIVES = re.compile(
    r"\b[a-z]{1,20}(?:, (?:\d |[a-z]{1,20} )?[a-z]{1,20}){0,8},? or (?!an? )[a-z]+|\ban? [a-z]+ or an? [a-z]+"
)


def content(sentence: str) -> frozenset[str]:
    """Stems of the words of a sentence that carry its meaning."""
    return frozenset(stem(word) for word in re.findall(r"(?<!\\)\b[A-Za-z]{3,}", sentence)) - FUNCTION


@dataclass(frozen=True)
class Case:
    """A problem as the leak check reads it; shared by all strategies of the problem."""

    answer: Answer
    problem: Text
    response: Text
    options: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def given(self) -> frozenset[float]:
        return self.problem.sizes

    @cached_property
    def computed(self) -> frozenset[float]:
        """Numbers that the response has and the problem has not."""
        return self.response.sizes - self.given

    @cached_property
    def specific(self) -> frozenset[float]:
        return (
            self.response.sizes
            | self.response.values
            | self.given
            | {part.size for part in self.answer.parts if not part.letters}
        )

    @cached_property
    def candidates(self) -> frozenset[str]:
        """What the problem lets choose from: the letters of its options, or the names in it where the answer is one."""
        if self.answer.letter:
            return frozenset(self.options)
        return self.names if self.answer.is_name else frozenset()

    @cached_property
    def names(self) -> frozenset[str]:
        """Capitalised words inside the problem's sentences."""
        names = re.findall(r"(?:(?<=[a-z,] )|(?<=\"))[A-Z][a-z]+", self.problem.text)
        return frozenset(name for name in names if name not in _QUESTIONS)

    @cached_property
    def others(self) -> tuple[tuple[str, ...], ...]:
        """The words of each wrong candidate: of an option, or in a list `north, south or east` of the problem."""
        right = self.answer.words
        bodies = [body for letter, body in self.options.items() if letter != self.answer.letter]
        if not self.options and right:
            found = _ALTERNATIVES.findall(self.problem.text.lower())
            lists = (re.split(r", (?:or )?| or (?:an? )?", re.sub(r"^an? ", "", one)) for one in found)
            bodies = [word for words in lists if right in words for word in words if word != right]
        phrases = (tuple(re.findall(r"[a-z]{2,}", re.sub(r"\\[a-z]+", " ", body.lower()))) for body in bodies)
        return tuple(dict.fromkeys(filter(None, phrases)))

    @cached_property
    def words(self) -> frozenset[str]:
        """Stems of the problem's words, without those of its options."""
        return frozenset(stem(token.text) for token in self.problem.tokens if token.kind == "word")

    @cached_property
    def letters(self) -> frozenset[str]:
        """The letters of the problem's formulas."""
        return frozenset(token.text for token in self.problem.tokens if token.kind == "word" and len(token.text) == 1)

    @cached_property
    def asked(self) -> frozenset[str]:
        """Stems of the words that the problem ends with, where it mostly asks."""
        return content(self.problem.text[-160:])

    @cached_property
    def nouns(self) -> frozenset[str]:
        """Stems of what the problem gives a number of."""
        return frozenset(stem(q.noun) for q in self.problem.quantities if q.noun)

    @cached_property
    def counted(self) -> frozenset[str]:
        """Stems of what `how many` asks for: `sides` of `how many sides does it have`."""
        text = self.problem.text[-3_000:]
        spans = _SPANS if re.search(r"\bhow (?:long|old)\b|\bwhen\b", text, re.I) else frozenset()
        return spans | {stem(match[1].split()[-1]) for match in _COUNTED.finditer(text)}

    @cached_property
    def bases(self) -> frozenset[float]:
        """The bases and moduli that the problem works in, with their powers, which are the values of places."""
        found = {q.size for q in self.problem.quantities if q.use.by in BASES and q.size > 1}
        found |= {float(x) for x in re.findall(r"[\dA-F]_\{?(\d{1,2})(?!\d)", self.problem.text)}
        return frozenset(base**power for base in found for power in range(1, 5))


@functools.lru_cache(256)
def case_of(problem: str, answer: str, response: str) -> Case:
    """A problem, read once for all its strategies."""
    problem_options, stem_text = answers.options(problem)
    read_problem, read_response = quantities.read(stem_text), quantities.read(response)
    spoken = sorted(read_problem.units | read_response.units, key=lambda unit: unit.name)
    percent = bool(re.search(r"percent", stem_text[-400:], re.IGNORECASE))
    return Case(
        answers.read(answer, problem_options, spoken, percent=percent),
        read_problem,
        read_response,
        problem_options,
    )
