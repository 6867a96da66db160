"""What the rules look at: the strategy's quantities beside those of the problem, the response and the answer."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from sgpo.mathtext import quantities, units
from sgpo.mathtext.quantities import Quantity, Text
from sgpo.mathtext.usage import stem
from sgpo.mathtext.vocabulary import words
from sgpo.strategies.leakage import answer as answers
from sgpo.strategies.leakage.answer import Answer, is_small

# What general steps count: `2 cases`, `3 sides`.
GENERIC_NOUNS = words(
    "case step unknown variable equation side part digit term factor point dimension type kind condition set leg "
    "angle vertex number quantity value expression inequality congruence operation root solution group class "
    "category way method stage phase triangle circle integer event draw choice option possibility function "
    "parameter degree time half formula identity prime element piece line row column constraint people person item "
    "figure limit endpoint bound sum product power exponent sign law rule clue fact relation edge face place "
    "decimal day amount"
)
_UNSAID = words(
    "the and for what find how many which with that are was were does its from each when where then than this there "
    "all possible let give compute determine evaluate calculate have has can will following given number if integer "
    "positive real divided first two three four one into value exactly different such between least most function "
    "equal same total your answer form express"
)
_OWN = words("answer result solution value total count outcome it this")
_WEAK = words("is are be was being has have having : => = of the need needs state")
_STRONG = words("obtain obtains obtained get gets getting yield yields give gives giving conclude arrive leaves fits")
SPANS = words("with in after for within")
_QUESTION = re.compile(
    r"\?|\b(?:find|what|how|compute|determine|evaluate|calculate|which|give|simplify|solve|convert)\b", re.I
)
_COUNTED = re.compile(
    r"\b(?:how (?:many|much)|number of)((?: [a-z0-9-]+){1,4}?)"
    r"(?= (?:are|is|do|does|did|can|could|will|would|have|has|of|in|that|there|"
    r"must|for|if|to|on|at|from|he|she|they)\b|[?.,])",
    re.I,
)
# Numbers of general knowledge that are no conversion between two units, with the words that must stand in the strategy.
_KNOWN = {
    180: "degree angle triangle polygon pi", 360: "degree angle circle turn polygon pi", 90: "degree angle right",
    270: "degree angle", 45: "sin cos tan sine", 60: "sin cos tan sine equilateral degree", 52: "card deck week",
    13: "card rank suit", 26: "letter alphabet", 365: "day year", 366: "day year",
    28: "day february", 29: "day february", 30: "day month sine sin cos tan",
    31: "day month", 100: "percent cent", 1000: "kilo milli", 25: "digit quarter", 16: "hexadecimal", 1.5: "outlier",
}  # fmt: skip
_EXAMPLE = re.compile(r"\b(?:for example|for instance|such as|like|primes)\b[^.;\n]*$", re.IGNORECASE)
_AGAIN = re.compile(
    r"\b(?:until|while|repeat\w*|loop\w*|as (?:long|often|many)|keep|too large|modulo|again)\b", re.IGNORECASE
)
_QUESTIONS = words("What Which Who How Find If When The Find")
_AT_HAND = 15
_ALTERNATIVES = re.compile(r"\b[a-z]{1,20}(?:, [a-z]{1,20}){0,8},? or [a-z]+")
_MODULUS = re.compile(r"\b(?:remainder\b[^.?]{0,300}\bdivid\w+ by|mod(?:ulo)?)\s+(\d{1,6})\b")
_OWN_CASE = re.compile(r"\b(?:here|this case|our|this problem)\b", re.IGNORECASE)
_ENDS_NOUN = words("for with in by to from at on per and or if when to a an")


def tight(text: str) -> str:
    """Without spaces, delimiters and spelling variants: what two copies of one formula share."""
    return re.sub(r"[\s{}]|\*", "", text)


def holds(text: str, written: str) -> bool:
    """Whether a tight text has a tight formula in it, and not as the start or end of a longer number."""
    return written in text and re.search(rf"(?<![\d.]){re.escape(written)}(?!\.?\d)", text) is not None


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
    def in_one_step(self) -> frozenset[float]:
        """What one usual operation makes of the problem's numbers, whether or not the response states it."""
        return frozenset(float(f"{x:.10g}") for x in _steps(sorted(self.given)[:_AT_HAND]) if math.isfinite(x))

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
        return self.names if self.answer.is_name and " " not in self.answer.written else frozenset()

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
            found_lists = _ALTERNATIVES.findall(self.problem.text.lower())
            lists = (re.split(r", (?:or )?| or ", found) for found in found_lists)
            bodies = [word for words in lists if right in words for word in words if word != right]
        found = (tuple(re.findall(r"[a-z]{2,}", re.sub(r"\\[a-z]+", " ", body.lower()))) for body in bodies)
        return tuple(dict.fromkeys(words for words in found if words))

    @cached_property
    def words(self) -> frozenset[str]:
        """Stems of the problem's words, without those of its options."""
        return frozenset(stem(token.text) for token in self.problem.tokens if token.kind == "word")

    @cached_property
    def modulus(self) -> int:
        """What the problem takes remainders by; 0 where it takes none, or by several."""
        bases = {int(x) for x in _MODULUS.findall(self.problem.text)}
        return bases.pop() if len(bases) == 1 else 0

    @cached_property
    def letters(self) -> frozenset[str]:
        """The letters of the problem's formulas."""
        return frozenset(token.text for token in self.problem.tokens if token.kind == "word" and len(token.text) == 1)

    @cached_property
    def counts(self) -> frozenset[tuple[float, str | quantities.Unit]]:
        """`(7, box)` for each `7 boxes`, or with its unit, of the response that the problem does not have."""
        pairs = [
            {(q.size, q.unit or stem(q.noun)) for q in text.quantities if q.whole and (q.noun or q.unit)}
            for text in (self.response, self.problem)
        ]
        return frozenset(pairs[0] - pairs[1])

    @cached_property
    def asked(self) -> frozenset[str]:
        """Stems of the words of the sentences that ask."""
        sentences = [s for s in re.split(r"[.!\n](?!\d)", self.problem.text[-3_000:]) if _QUESTION.search(s)]
        return frozenset(stem(word) for word in re.findall(r"[A-Za-z]{3,}|\b[A-Z]{2}\b", " ".join(sentences))) - _UNSAID

    @cached_property
    def nouns(self) -> frozenset[str]:
        """Stems of what the problem gives a number of."""
        return frozenset(stem(q.noun) for q in self.problem.quantities if q.noun)

    @cached_property
    def counted(self) -> frozenset[str]:
        """Stems of what `how many` asks for: `sides` of `how many sides does it have`."""
        return frozenset(stem(match[1].split()[-1]) for match in _COUNTED.finditer(self.problem.text[-3_000:]))

    @cached_property
    def conversions(self) -> frozenset[float]:
        """What one unit that the problem or the response speaks of is in another: 60 for minutes and hours."""
        spoken = {*self.problem.units, *self.response.units}
        return frozenset(units.conversions(spoken))

    @cached_property
    def method_constants(self) -> frozenset[float]:
        """Numbers that the response brings in as an operand, always of one sign, and has not computed."""
        roles: dict[float, set[str]] = {}
        own = {part.size for part in self.answer.parts}  # in `24 - 12 = 12` it is both
        tokens = self.response.tokens
        for i, token in enumerate(tokens):
            if token.kind != "number":
                continue
            before = [t.text for t in tokens[max(0, i - 2) : i]]
            role = next((text for text in reversed(before) if text not in ("{", "(")), "")
            role = "/" if before == ["}", "{"] else role if role in ("+", "-", "*", "/", "mod") else ""
            if role == "-" and (before[0] in ("=", "(", ",", "-") or i < 2):
                role = ""  # a sign
            if role or float(token.text) not in own:
                roles.setdefault(float(token.text), set()).add(role)
        return frozenset(x for x, signs in roles.items() if len(signs) == 1 and "" not in signs) - self.given


def _steps(numbers: list[float]) -> Iterator[float]:
    for a in numbers:
        yield from (a * a, 2 * a, a / 2, a * a / 4)
        for b in numbers:
            if a < b:
                yield from (a + b, b - a, a * b, b / a if a else 0.0)
                if b < 1e6 and a == int(a) and b == int(b):
                    yield from (math.gcd(int(a), int(b)), math.lcm(int(a), int(b)))


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
    def tight_response(self) -> str:
        return tight(self.case.response.text)

    @cached_property
    def tight_problem(self) -> str:
        return tight(self.case.problem.text)

    @cached_property
    def conversions(self) -> frozenset[float]:
        return frozenset(units.conversions({*self.strategy.units, *self.case.problem.units}))

    def slice(self, found: Quantity) -> str:
        return self.strategy.text[found.start : found.end]

    def quote(self, found: Quantity) -> str:
        """The quantity with a little of what stands around it, on one line."""
        return " ".join(self.strategy.text[max(0, found.start - 25) : found.end + 15].split())

    def line(self, first: int, last: int) -> tuple[list[str], list[str]]:
        """The tokens before and behind some on their line, in lower case, at most eight each way."""
        tokens, text = self.strategy.tokens, self.strategy.text
        i = j = 0
        while i < 8 and first - i > 0 and "\n" not in text[tokens[first - i - 1].end : tokens[first - i].start]:
            i += 1
        while j < 8 and last + j < len(tokens) and "\n" not in text[tokens[last + j - 1].end : tokens[last + j].start]:
            j += 1
        return [t.text.lower() for t in tokens[first - i : first]], [t.text.lower() for t in tokens[last : last + j]]

    def before(self, found: Quantity) -> str:
        """What stands before a quantity in its sentence."""
        return re.split(r"[.;!?](?!\d)|\n", self.strategy.text[max(0, found.start - 120) : found.start])[-1]

    def is_constant(self, found: Quantity) -> bool:
        """Whether a number belongs to the type of problem: to a unit, a theorem, a base, an example, the method."""
        if found.use.name in ("label", "ordinal") or (found.size == 1 and found.unit):
            return True
        size = found.size
        if found.use.name == "base" and (size <= 16 or size in (25.0, 100.0, 1000.0)):
            return True
        if size in self.conversions or (size in self.case.conversions and found.use.name != "result"):
            return True
        if self.stems & set(_KNOWN.get(size, "").split()):
            return True
        if self._listed(found) >= 3 or self._exemplary(found):
            return True
        if (found.in_formula and found.notation == "fraction") or (found.notation == "percent" and size == 100):
            return True
        if found.notation in ("fraction", "share", "percent") and self._is_coefficient(found):
            return True
        return self._is_of_the_method(found)

    def _exemplary(self, found: Quantity) -> bool:
        """`for example`, `such as` or `primes` stands before it in its sentence, or `for instance` behind."""
        before, behind = self.before(found), re.split(r"[.;\n]", self.strategy.text[found.end : found.end + 60])[0]
        example = _EXAMPLE.search(before) or re.search(r"for (?:example|instance)", behind)
        return bool(example) and not _OWN_CASE.search(before + behind)

    def _is_coefficient(self, found: Quantity) -> bool:
        """`1/3 of the base area`, `2/3 of the median`; each face has probability 1/6."""
        return (
            found.noun == ""
            and found.unit is None
            and self.strategy.text[found.end : found.end + 8].lstrip(" }").startswith(("of ", "times ", "* "))
        ) or (
            (found.use.supposed or "each" in found.use.subject)
            and found.notation == "fraction"
            and found.node.literals[0] == 1
        )

    def _is_of_the_method(self, found: Quantity) -> bool:
        told = any(q.size == found.size and q.use.name == "operand" for q in self.strategy.quantities)
        if not told or found.use.name == "result" or found.size not in self.case.method_constants:
            return False
        repeated = _AGAIN.search(self.before(found) + self.strategy.text[found.end : found.end + 60]) is not None
        own = any(part.size == found.size for part in self.case.answer.parts)
        return repeated or (not own and (is_small(found.size) or found.size not in self.case.in_one_step))

    def is_generic(self, noun: str) -> bool:
        """Whether general steps count this (`2 cases`), and the problem does not."""
        return noun in GENERIC_NOUNS and noun not in self.case.counted | self.case.nouns

    def _behind(self, found: Quantity) -> set[str]:
        """Stems of the words that go with a number: `such`, `of`, `the` and `primes` in `three of the primes`."""
        phrase: set[str] = set()
        for token in self.strategy.tokens[found.node.last : found.node.last + 5]:
            if token.kind != "word" or token.text in _ENDS_NOUN or "\n" in self.strategy.text[found.end : token.start]:
                break
            phrase.add(stem(token.text))
        return phrase

    def _listed(self, found: Quantity) -> int:
        """How many numbers stand in one list with this one: `by 2, 3, 5 and 7`."""
        count, tokens, computed = 1, self.strategy.tokens, 0
        for step in (-1, 1):
            i = (found.node.first if step < 0 else found.node.last - 1) + step
            while (0 <= i < len(tokens) and tokens[i].text in (",", "and", "or", "by", "then")) or (
                0 <= i < len(tokens) and tokens[i].kind == "number"
            ):
                if tokens[i].kind == "number":
                    count, size = count + 1, float(tokens[i].text)
                    computed += size in self.case.computed and not is_small(size)
                i += step
        return count if found.use.name != "result" and computed < count - 1 else 1

    def announced(self, found: Quantity, *, strong: bool = False) -> bool:
        """Whether the text states a whole quantity as a result; `strong`: of what the problem asks for."""
        if not found.whole or found.use.supposed or found.use.name == "label":
            return False
        if (found.unit and found.size in self.conversions) or found.node.first in self.begun:
            return False  # 7 days make a week; 10 = 2 * 5
        case = self.case
        noun = stem(found.noun or (found.unit.name if found.unit else ""))
        counts = noun in case.counted or (found.size > 1 and bool(case.counted & self._behind(found)))
        if counts and (found.use.name in ("result", "mention") or found.use.by in SPANS):
            return True
        if found.use.name != "result" or self.is_generic(stem(found.noun)):
            return False
        if found.notation == "fraction" and self._is_coefficient(found):
            return False
        relation = self.relations.get(found.node.first)
        if relation is not None:
            left = relation.node.parts[0]
            if holds(self.tight_problem, tight(self.slice(relation))):
                return False
            if (
                relation.use.name == "operand"
                or relation.use.supposed
                or left.letters > 1
                or (left.letters and left.operations)
            ):
                return False
            return found.size not in (0.0, 1.0) or bool(left.letters)
        owned = bool(found.use.subject & (case.asked | _OWN))
        if found.size in (0.0, 1.0):
            return owned or found.use.by in _STRONG
        return owned or not strong or found.use.by not in _WEAK

    @cached_property
    def sides(self) -> frozenset[int]:
        """The nodes, by identity, that are a side of a relation."""
        return frozenset(id(part) for q in self.relations.values() for part in q.node.parts)

    @cached_property
    def begun(self) -> frozenset[int]:
        """Where relations of numbers alone start."""
        return frozenset(q.node.first for q in self.relations.values() if not q.node.letters)

    @cached_property
    def relations(self) -> dict[int, Quantity]:
        """Relations by where their last side starts."""
        found = [q for q in self.strategy.quantities if q.notation == "relation"]
        return {q.node.parts[-1].first: q for q in found}


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


def read(problem: str, answer: str, response: str, strategy: str) -> Facts:
    """Prepare everything; each text is of a bounded length already."""
    return Facts(case_of(problem, answer, response), quantities.read(strategy), strategy)


def first(facts: Facts, found: Iterator[Quantity]) -> str:
    """The first quantity that was found, quoted; "" where there is none."""
    quantity = next(found, None)
    return facts.quote(quantity) if quantity else ""
