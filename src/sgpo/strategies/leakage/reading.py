"""What the rules look at: the strategy's values, and the numbers of the problem and of the response."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from sgpo.strategies.leakage import announced, context, method, targets
from sgpo.strategies.leakage.expressions import scan
from sgpo.strategies.leakage.number_words import digits
from sgpo.strategies.leakage.plain import plain
from sgpo.strategies.leakage.targets import Targets
from sgpo.strategies.leakage.values import Node

_LITERAL = re.compile(
    r"\\[dtc]?frac\s*\{?\s*(\d{1,15})\s*\}?\s*\{?\s*(\d{1,15})|(?<![\w./])(\d{1,15})\s*/\s*(\d{1,15})(?![\w./]*\d)"
    r"|(\d{1,30}(?:\.\d{1,30})?)|(?<!\d)(\.\d{1,30})"
)
_GROUPED = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:(?:,|\{,\}|\\,)\d{3})+(?![\d])")
_MAX_DERIVED = 12  # numbers of a problem of which pairs are combined
_COUNTED = re.compile(r"(?<![\d.\w])(\d{1,9})[ ~]+([A-Za-z]{3,20})")


def number_key(value: float) -> float:
    """One key for equal sizes, whatever the sign."""
    return float(f"{abs(value):.10g}")


def literals(text: str) -> set[float]:
    """Sizes of the numbers written in a text, in digits or words, and of its simple fractions; one linear pass."""
    text = digits(_GROUPED.sub(lambda m: re.sub(r"\D", "", m.group()), text))
    found: set[float] = set()
    for top, bottom, top2, bottom2, number, point in _LITERAL.findall(text):
        if number or point:
            found.add(number_key(float(number or point)))
            continue
        a, b = float(top or top2), float(bottom or bottom2)
        found.update((number_key(a), number_key(b)))
        if b:
            found.add(number_key(a / b))
    return found


def tight(text: str) -> str:
    """Without spaces, delimiters and spelling variants of LaTeX: what two copies of one formula share."""
    text = re.sub(r"\\[dtc]frac", r"\\frac", text.replace("\\\\", r"\cr"))
    text = re.sub(r"\\(?:left|right|displaystyle|[,;:! ])|[\s${}~`]|\\[()\[\]]", "", text)
    return re.sub(r"\\(?:cdot|times)|[×·⋅]", "*", text).replace("−", "-")


@dataclass(frozen=True)
class Reading:
    """A strategy beside its problem.

    text: the strategy in plain spelling; raw: as it was given.
    nodes: its values that are quantities; labels such as `Step 2` are left out.
    problem: sizes of the problem's numbers, its options left out.
    nouns, asked: stems of the words of its question, and of what it asks to count.
    """

    text: str
    nodes: tuple[Node, ...]
    raw: str
    answer: Targets
    problem: frozenset[float]
    response_text: str
    problem_text: str
    nouns: frozenset[str]
    asked: frozenset[str]

    @cached_property
    def equations(self) -> dict[int, Node]:
        """Relations by where their last side starts."""
        return {node.parts[-1].start: node for node in self.nodes if node.kind == "relation"}

    @cached_property
    def sides(self) -> dict[tuple[int, int], Node]:
        """Relations by where each of their sides stands."""
        return {(part.start, part.end): node for node in self.nodes if node.kind == "relation" for part in node.parts}

    @cached_property
    def numbers(self) -> dict[int, Node]:
        """Literals by where they start."""
        return {node.start: node for node in self.nodes if node.kind == "number"}

    @cached_property
    def response(self) -> frozenset[float]:
        return frozenset(literals(self.response_text))

    @cached_property
    def new(self) -> frozenset[float]:
        """Numbers that the response computed: they are not in the problem."""
        return self.response - self.problem

    @cached_property
    def derived(self) -> frozenset[float]:
        """Results of one operation on two of the problem's numbers, whether or not the response states them."""
        numbers = sorted(self.problem)[:_MAX_DERIVED]
        results = {
            result for a in numbers for b in numbers if a < b for result in (a + b, b - a, a * b, b / a if a else 0.0)
        }
        return frozenset(number_key(x) for x in results if x >= 11 and x == int(x)) - self.problem

    @cached_property
    def specific(self) -> frozenset[float]:
        """All numbers of this one problem, its response and its answer."""
        own = {number_key(value[0]) for leaf in self.answer.leaves for value in leaf.values if not leaf.letters}
        return self.response | self.problem | own

    @cached_property
    def rules(self) -> dict[float, bool]:
        """Constants of the method that the strategy gives as instructions; True where it says to repeat them.

        One that the numbers at hand give in one step counts only where it is repeated.
        """
        said: dict[float, bool] = {}
        for node in self.nodes:
            size = self._literal(node)
            if size in self.new and method.told(self.text, node):
                said[size] = said.get(size, False) or method.again(self.text, node)
        found = method.constants(plain(self.response_text), self.problem) if said else {}
        return {
            size: again
            for size, again in said.items()
            if size in found and (again or targets.is_small(size) or not method.in_one_step(size, found[size]))
        }

    def is_rule(self, node: Node, *, again: bool = False) -> bool:
        """A constant of the method that is not announced as a result.

        With ``again`` only a repeated one, where it is the instruction's operand or heads a line (`twelve repeated`).
        """
        repeated = self.rules.get(self._literal(node))
        if repeated is None or (again and not repeated):
            return False
        if again and context.before(self.text, node.start).strip() and not method.told(self.text, node):
            return False
        return not announced.announced(self.text, node, self.nouns, any_subject=True)

    @staticmethod
    def _literal(node: Node) -> float:
        """The size of a lone number, with a sign or without; -1 for all else."""
        lone = len(node.literals) == 1 and not (node.letters or node.operations or node.parts or node.unit)
        size = number_key(node.value[0]) if node.value else -1.0
        return size if lone and size == number_key(node.literals[0]) else -1.0

    @cached_property
    def counted(self) -> frozenset[tuple[float, str]]:
        """`(7, box)` for each `7 boxes` of the response that the problem does not have."""

        def pairs(text: str) -> set[tuple[float, str]]:
            return {(float(number), context.stem(noun)) for number, noun in _COUNTED.findall(digits(text))}

        return frozenset(pairs(self.response_text) - pairs(self.problem_text))

    @cached_property
    def tight_strategy(self) -> str:
        return tight(self.raw)

    @cached_property
    def tight_response(self) -> str:
        return tight(self.response_text)

    @cached_property
    def tight_problem(self) -> str:
        return tight(self.problem_text)

    def slice(self, node: Node) -> str:
        return self.text[node.start : node.end]

    def is_fraction(self, node: Node) -> bool:
        """`2/3`, `7/12`: one number, not a division to be carried out."""
        if node.kind != "expression" or node.operations != 1 or len(node.literals) != 2 or node.value is None:
            return False
        top, bottom = node.literals
        simple = bool(bottom) and abs(abs(node.value[0]) - top / bottom) < 1e-12 and max(top, bottom) <= 12
        return simple and re.search(r"/|frac", self.slice(node)) is not None

    def quote(self, start: int, end: int) -> str:
        """A piece of the strategy for the reason, with a little of what stands around it, on one line."""
        piece = self.text[max(0, start - 25) : end + 15]
        return " ".join(piece.split())


def read(problem: str, answer: str, response: str, strategy: str) -> Reading:
    """Prepare everything; each text is of a bounded length already."""
    problem_options, stem = targets.options(problem)
    text = plain(strategy)
    nodes = tuple(node for node in scan(text) if not (node.kind == "number" and context.labels(text, node)))
    nouns = announced.question_words(problem)
    degrees = bool(re.search(r"degree|\^\s*\{?\\circ|°", problem + response[-400:]))
    return Reading(
        text,
        nodes,
        strategy,
        targets.read(answer, problem_options, degrees=degrees),
        frozenset(literals(stem)),
        response,
        problem,
        nouns,
        announced.counted_words(problem),
    )


def whole(nodes: Iterable[Node]) -> list[Node]:
    """Values that are no part of a longer expression; the sides of a relation count as such."""
    return [node for node in nodes if node.whole and node.kind not in ("relation", "tuple")]
