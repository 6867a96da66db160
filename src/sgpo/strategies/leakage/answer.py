"""What an answer looks like to the leak check: values in any notation and unit, an option's letter, or words."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction

from sgpo.mathtext import quantities, units, values
from sgpo.mathtext.quantities import Quantity
from sgpo.mathtext.units import Unit
from sgpo.mathtext.values import Value
from sgpo.rewards.extract import gold_answer

MAX_ANSWER = 2_000
_MAX_PARTS = 20
_CONSTANTS = (0.5, math.pi, 2 * math.pi, math.sqrt(2), math.sqrt(3))
_MARK = r"(?:\\(?:text(?:bf|rm)?|mathrm|mathbf|bf)\s*\{?\s*)?"
_OPTION = re.compile(
    rf"(?<![A-Za-z0-9])\(\s*{_MARK}([A-J])\s*\}}?\s*\)|(?<![A-Za-z0-9(])([A-J])\s*[.):](?=[\s$\\])"
    r"|\\(?:textbf|text|mathrm|mathbf)\{\s*\(?([A-J])\)?[.: ]*\}"
)
_LETTER = re.compile(r"(?:option |choice |answer )?\(? ?([A-J]) ?\)?[.:]?(?P<body>[ ].*)?", re.IGNORECASE)
_SPACES = re.compile(r"\\(?:qquad|quad|[ ,;!])")
_MARKUP = re.compile(r"\\(?:text|textbf|mathrm|mathbf)\s*\{([^{}]*)\}|[$\\{}]")


@dataclass(frozen=True)
class Part:
    """One value of an answer.

    distinctive: no theorem or general step has this value by accident, so that any mention states the answer.
    letters: it is a formula. units: those that the problem and the response speak of, into which a quantity of the
    strategy is converted. endless: it has no finite decimal, so that a rounded one states it.
    """

    readings: tuple[Value, ...]
    letters: bool
    distinctive: bool
    units: tuple[Unit, ...]
    endless: bool

    @property
    def size(self) -> float:
        return values.size(self.readings[0])

    def matches(self, found: Quantity) -> bool:
        """Whether a quantity of the strategy has this value, up to notation, unit and rounding to three digits."""
        if found.value is None or bool(found.node.letters) != self.letters or found.is_relative:
            return False
        if any(
            values.equal(mine, theirs)
            for mine in self.readings
            for theirs in (found.value, *found.readings, *self._converted(found))
        ):
            return True
        if not self.endless or found.notation not in ("decimal", "percent"):
            return False
        text, exact = f"{found.size:.12g}", self.size * (100 if found.notation == "percent" else 1)
        places, figures = len(text.partition(".")[2]), len(text.replace(".", "").lstrip("0"))
        return places >= 1 and figures >= 3 and abs(exact - found.size) <= 0.5000001 * 10.0**-places

    def _converted(self, found: Quantity) -> Iterable[Value]:
        if found.value and found.unit is None and any(unit.name == "degree" for unit in self.units):
            yield values.operate("*", found.value, (180 / math.pi, 180 / math.pi)) or found.value
        if found.value and found.unit and found.unit.name == "degree":
            yield values.operate("*", found.value, (math.pi / 180, math.pi / 180)) or found.value
        if found.unit and found.unit.dimension and isinstance(found.value, Fraction):
            for unit in self.units:
                converted = units.convert(found.value, found.unit, unit)
                if converted is not None:
                    yield converted


@dataclass(frozen=True)
class Answer:
    """parts: its values; words: a text answer in lower case; letter: of the right option; written: as it was given."""

    parts: tuple[Part, ...] = ()
    words: str = ""
    letter: str = ""
    written: str = ""

    @property
    def is_name(self) -> bool:
        return self.written[:1].isupper()


def is_small(size: float) -> bool:
    """Numbers that general steps are full of: integers to 10, powers of ten, 1/2, pi, 2 pi, the roots of 2 and 3."""
    if math.isfinite(size) and size.is_integer() and size < 1e15:
        return size <= 10 or str(int(size)).strip("0") == "1"
    return any(abs(size - known) < 1e-9 for known in _CONSTANTS)


def options(problem: str) -> tuple[dict[str, str], str]:
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
        found[letters[position]] = " ".join(_MARKUP.sub(lambda m: m[1] or " ", _SPACES.sub(" ", body)).split()).strip(
            ",;.~ "
        )
    return (found, problem[: marks[first].start()]) if len(found) >= 2 else ({}, problem)


def _parts(text: quantities.Text, context: tuple[Unit, ...], *, percent: bool) -> list[Part]:
    wholes = [
        q for q in text.quantities if q.whole and q.notation not in ("relation", "tuple") and q.notation != "roman"
    ]
    inner = {id(part) for q in text.quantities for part in q.node.parts if q.notation == "relation"}
    found = []
    for q in wholes:
        name = q.node.letters == 1 and not q.node.operations and (id(q.node) in inner or len(wholes) > 1)
        if q.value is None or name or q.use.name == "label" or "infty" in text.text[q.start : q.end]:
            continue
        letters = bool(q.node.letters)
        distinctive = q.node.operations >= 1 and q.node.last - q.node.first >= 4 if letters else not is_small(q.size)
        endless = not letters and math.isfinite(q.size) and abs(q.size * 1e4 - round(q.size * 1e4)) > 1e-7
        mine = tuple(u for u in context if q.unit is None or u == q.unit) or ((q.unit,) if q.unit else ())
        readings = q.readings
        if percent and isinstance(q.value, Fraction) and q.value > 1:
            readings = (*readings, q.value / 100)
        found.append(Part(readings, letters, distinctive, mine, endless))
    return found[:_MAX_PARTS]


def read(answer: str, problem_options: dict[str, str], context: Iterable[Unit], *, percent: bool = False) -> Answer:
    """Everything that states the answer.

    Args:
        answer: the answer, bare or in a box, or a solution that ends in one.
        problem_options: letter and text of each option, {} where the problem has none.
        context: the units that problem and response speak of.
        percent: the problem asks for a percentage, so that 25 is a quarter.
    """
    written = gold_answer(answer[:200_000])[:MAX_ANSWER].strip().rstrip(".")
    bare = " ".join(_MARKUP.sub(lambda m: m[1] or " ", written).split())
    letter = _LETTER.fullmatch(bare)
    if (
        letter
        and (problem_options or letter["body"] or bare.strip("().: ").isupper())
        and (letter[1].isupper() or problem_options)
    ):
        body = (letter["body"] or "").strip() or problem_options.get(letter[1].upper(), "")
        inner = read(body, {}, context, percent=percent) if body else Answer()
        return replace(inner, letter=letter[1].upper())
    key = next((mark for mark, body in problem_options.items() if _tidy(body) == _tidy(written)), "")
    text = quantities.read(written)
    if re.search(r"[A-Za-z]{2}", bare) and not re.search(r"\d|\\(?:frac|sqrt|pi|infty)", text.text):
        return Answer((), re.sub(r"[^a-z0-9]+", " ", bare.lower()).strip(), key, bare)
    return Answer(tuple(_parts(text, tuple(context), percent=percent)), "", key, written)


def _tidy(text: str) -> str:
    return re.sub(r"[\s${}\\]|text", "", text)
