"""A problem as the leak check reads it, with its answer and its response; all strategies of the problem share it."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from sgpo.mathtext import units
from sgpo.mathtext.expressions import size
from sgpo.mathtext.quantities import Quantity, Text, quantities_of
from sgpo.mathtext.tokens import plain_text, stem, words
from sgpo.mathtext.units import Unit
from sgpo.mathtext.usage import BASES
from sgpo.rewards.extract import gold_answer

MAX_ANSWER = 2_000
_CONSTANTS = (0.5, math.pi, 2 * math.pi, math.sqrt(2), math.sqrt(3))
_MARK = r"(?:\\(?:text(?:bf|rm)?|mathrm|mathbf|bf)\s*\{?\s*)?"
_OPTION = re.compile(
    rf"(?<![A-Za-z0-9])\(\s*{_MARK}([A-J])\s*\}}?\s*\)|(?<![A-Za-z0-9(])([A-J])\s*[.):](?=[\s$\\])"
    r"|\\(?:textbf|text|mathrm|mathbf)\{\s*\(?([A-J])\)?[.: ]*\}"
)
_LETTER = re.compile(r"(?:option |choice |answer )?\(? ?([A-J]) ?\)?[.:]?(?P<body>[ ].*)?", re.IGNORECASE)
_MARKUP = re.compile(r"\\(?:text|textbf|mathrm|mathbf)\s*\{([^{}]*)\}|\\(?:qquad|quad|[ ,;!])|[$\\{}]")
_COUNTED = re.compile(
    r"\b(?:how (?:many|much)|number of)((?: [a-z0-9-]+){1,4}?)"
    r"(?= (?:are|is|do|does|did|can|could|will|would|have|has|of|in|that|there|"
    r"must|for|if|to|on|at|from|he|she|they)\b|[?.,])",
    re.IGNORECASE,
)
_ALTERNATIVES = re.compile(
    r"\b[a-z]{1,20}(?:, (?:\d |[a-z]{1,20} )?[a-z]{1,20}){0,8},? or (?!an? )[a-z]+|\ban? [a-z]+ or an? [a-z]+"
)
FUNCTION = words(
    "the and for what how many which with that are was were does its from each when where then than this there all "
    "can has have will she her him his they them you who one two three after possible let given following into"
)


def is_small(number: float) -> bool:
    """Numbers that general steps are full of: integers to 10, powers of ten, 1/2, pi, 2 pi, the roots of 2 and 3."""
    if math.isfinite(number) and number.is_integer() and number < 1e15:
        return number <= 10 or str(int(number)).strip("0") == "1"
    return any(abs(number - known) < 1e-9 for known in _CONSTANTS)


def content(words: Iterable[str]) -> frozenset[str]:
    """Stems of the words that carry the meaning of some."""
    return frozenset(stem(word) for word in words if len(word) > 2 and word.isalpha()) - FUNCTION


@dataclass(frozen=True)
class Part:
    """One value of an answer. distinctive: no theorem or general step has it by accident, so any mention states it."""

    size: float
    sizes: frozenset[float]
    letters: bool
    distinctive: bool


class Case:
    """A problem with its answer and its response.

    options: letter and text of each. letter: of the right one. parts: the answer's values. words: an answer in words.
    written: the answer as it was given. spoken: the units that problem and response speak of.
    """

    def __init__(self, problem: str, answer: str, response: str) -> None:
        self.options, stem_text = _options(problem)
        self.problem, self.response = quantities_of(stem_text), quantities_of(response)
        self.spoken = self.problem.units | self.response.units
        self.letter, self.words = "", ""
        self.parts: tuple[Part, ...] = ()
        self.written = gold_answer(answer[:200_000])[:MAX_ANSWER].strip().rstrip(".")
        bare = _bare(self.written)
        letter = _LETTER.fullmatch(bare)
        if letter and (self.options or ((letter["body"] or bare.strip("().: ").isupper()) and letter[1].isupper())):
            self.letter = letter[1].upper()
            self.written = (letter["body"] or "").strip() or self.options.get(self.letter, "")
            bare = _bare(self.written)
        else:
            self.letter = next((mark for mark, body in self.options.items() if _bare(body) == bare), "")
        if re.search(r"[A-Za-z]{2}", bare) and not re.search(
            r"\d|\\(?:[dtc]?frac|sqrt|pi|infty|(?:sin|cos|tan|cot|sec|csc|ln|log)\b)", plain_text(self.written)
        ):
            self.words, self.written = re.sub(r"[^a-z0-9]+", " ", bare.lower()).strip(), bare
        elif self.written:
            percent = "percent" in stem_text[-400:].lower()
            self.parts = tuple(self._parts(quantities_of(self.written), percent=percent))[:20]

    def _parts(self, answer: Text, *, percent: bool) -> Iterable[Part]:
        wholes = [q for q in answer.quantities if q.whole and q.node.kind not in ("relation", "tuple")]
        inner = {id(part) for q in answer.quantities if q.notation == "relation" for part in q.node.parts}
        for q in wholes:
            name = q.node.letters == 1 and not q.node.operations and (id(q.node) in inner or len(wholes) > 1)
            if q.value is None or name or q.use.name == "label" or "infty" in q.written:
                continue
            letters = bool(q.node.letters)
            distinctive = q.node.last - q.node.first >= 3 if letters else not is_small(q.size)
            more = {size(q.size / 100)} if percent and q.size > 1 else set()
            yield Part(q.size, q.sizes | more, letters, distinctive)

    @property
    def is_name(self) -> bool:
        return self.written[:1].isupper()

    def sizes(self, q: Quantity) -> frozenset[float]:
        """What a quantity of a strategy is worth, in the units that are spoken of, too."""
        unit, degrees = q.unit or units.ONE, units.DEGREE in self.spoken
        factors = [float(unit.factor / other.factor) for other in self.spoken if unit.dimension == other.dimension]
        turned = math.pi / 180 if q.unit == units.DEGREE else 180 / math.pi if q.unit is None and degrees else 0
        return q.sizes | {size(float(q.value or 0) * factor) for factor in (*factors, turned) if factor}

    def states(self, q: Quantity, part: Part) -> bool:
        """Whether a quantity of a strategy has the value of a part of the answer, up to notation, unit and rounding."""
        if q.value is None or bool(q.node.letters) != part.letters or q.notation in ("share", "offset", "times"):
            return False
        scale = 100 if q.notation == "percent" else 1
        decimals = f"{q.size * scale:.12g}".partition(".")
        rounded = decimals[2] and len((decimals[0] + decimals[2]).lstrip("0")) >= 3 and (part.size * 1e4) % 1 > 1e-7
        near = rounded and abs(part.size - q.size) * scale <= 0.5000001 * 10.0 ** -len(decimals[2])
        return bool(part.sizes & self.sizes(q)) or bool(near and q.notation in ("decimal", "percent"))

    @cached_property
    def given(self) -> frozenset[float]:
        return self.problem.sizes

    @cached_property
    def computed(self) -> frozenset[float]:
        """Numbers that the response has and the problem has not."""
        return self.response.sizes - self.given

    @cached_property
    def specific(self) -> frozenset[float]:
        """Numbers of this problem: its own, the response's and the answer's."""
        return self.response.all_sizes | self.given | {part.size for part in self.parts if not part.letters}

    @cached_property
    def names(self) -> frozenset[str]:
        """Capitalised words inside the problem's sentences."""
        names = re.findall(r"(?:(?<=[a-z,] )|(?<=\"))[A-Z][a-z]+", self.problem.text)
        return frozenset(names) - words("What Which Who How Find If When The")

    @cached_property
    def others(self) -> tuple[tuple[str, ...], ...]:
        """The words of each wrong candidate: of an option, or in a list `north, south or east` of the problem."""
        bodies = [body for letter, body in self.options.items() if letter != self.letter]
        if not self.options and self.words:
            found = _ALTERNATIVES.findall(self.problem.text.lower())
            lists = (re.split(r", (?:or )?| or (?:an? )?", re.sub(r"^an? ", "", one)) for one in found)
            bodies = [word for one in lists if self.words in one for word in one if word != self.words]
        phrases = (tuple(re.findall(r"[a-z]{2,}", re.sub(r"\\[a-z]+", " ", body.lower()))) for body in bodies)
        return tuple(dict.fromkeys(filter(None, phrases)))

    @cached_property
    def choices(self) -> frozenset[float]:
        """What the options are worth."""
        return frozenset(q.size for body in self.options.values() for q in quantities_of(body).quantities if q.whole)

    @cached_property
    def stems(self) -> frozenset[str]:
        """Stems of the problem's words, without those of its options."""
        return frozenset(stem(token.text) for token in self.problem.tokens if token.kind == "word")

    @cached_property
    def letters(self) -> frozenset[str]:
        """The letters of the problem's formulas."""
        return _letters(self.problem)

    @cached_property
    def all_letters(self) -> frozenset[str]:
        """Those of the response, too."""
        return self.letters | _letters(self.response)

    @cached_property
    def asked(self) -> frozenset[str]:
        """Stems of the words that the problem ends with, where it mostly asks."""
        return content(token.text for token in self.problem.tokens[-100:])

    @cached_property
    def counted(self) -> frozenset[str]:
        """Stems of what `how many` asks for: `sides` of `how many sides does it have`."""
        text = self.problem.text[-3_000:]
        spans = (
            words("second minute hour day week month year")
            if re.search(r"\bhow (?:long|old)\b|\bwhen\b", text, re.I)
            else set()
        )
        return frozenset(spans | {stem(match[1].split()[-1]) for match in _COUNTED.finditer(text)})

    @cached_property
    def statements(self) -> dict[float, list[tuple[Unit | str, frozenset[str]]]]:
        """By sizes, what the problem counts with a number, and the words of its sentence."""
        found: dict[float, list[tuple[Unit | str, frozenset[str]]]] = {}
        for q in self.problem.quantities:
            for number in q.sizes if q.whole and q.before[-1:] != ["^"] else ():
                if len(found.setdefault(number, [])) < 20:
                    found[number].append((q.counted, content(q.sentence)))
        return found

    @cached_property
    def nouns(self) -> frozenset[str]:
        """Stems of what the problem gives a number of."""
        return frozenset(q.noun for q in self.problem.quantities if q.noun)

    @cached_property
    def bases(self) -> frozenset[float]:
        """The bases and moduli that the problem works in, with their powers, which are the values of places."""
        found = {q.size for q in self.problem.quantities if q.use.by in BASES and q.size > 1}
        found |= {float(x) for x in re.findall(r"[\dA-F]_\{?(\d{1,2})(?!\d)", self.problem.text)}
        return frozenset(base**power for base in found for power in range(1, 5))


def _letters(text: Text) -> frozenset[str]:
    """`a` and `I` are words, but for those in formulas; `ax` there is a product."""
    formulas = (t for q in text.quantities if q.node.letters for t in text.tokens[q.node.first : q.node.last])
    found = {x for t in formulas for x in (t.text if t.kind == "word" else [t.text]) if t.kind in ("word", "command")}
    alone = {t.text for t in text.tokens if t.kind == "word" and len(t.text) == 1} - {"a", "A", "I"}
    return frozenset(found | alone | {t.text for t in text.tokens if t.kind == "command"})


def _bare(text: str) -> str:
    return " ".join(_MARKUP.sub(lambda m: m[1] or " ", text).split()).strip(",;.~ ")


def _options(problem: str) -> tuple[dict[str, str], str]:
    """The labelled options of a multiple choice problem, and the problem without them."""
    marks = list(_OPTION.finditer(problem))
    letters = [next(group for group in mark.groups() if group) for mark in marks]
    first = max((i for i, letter in enumerate(letters) if letter == "A"), default=-1)
    found: dict[str, str] = {}
    for position in range(max(first, 0), len(marks) if first >= 0 else 0):
        if letters[position] != "ABCDEFGHIJ"[position - first : position - first + 1]:
            break
        end = marks[position + 1].start() if position + 1 < len(marks) else len(problem)
        body = problem[marks[position].end() : end].lstrip().partition("\n\n")[0]  # `Enter the letter` may follow
        found[letters[position]] = _bare(body)
    return (found, problem[: marks[first].start()]) if len(found) >= 2 else ({}, problem)


case_of = functools.lru_cache(256)(Case)
