r"""What an answer looks like to the leak check: values in any spelling, a choice letter, or words.

The outer shape (list, set, interval, ...) is read as the verifier reads it (`sgpo.rewards.structure`), and units and
percent signs are taken off as there (`sgpo.rewards.quantities`); single values are evaluated by `expressions.scan`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

from sgpo.rewards import choices, quantities, structure
from sgpo.rewards.extract import gold_answer
from sgpo.rewards.latex import MAX_DEPTH, depth
from sgpo.rewards.normalize import TooComplexError, normalize
from sgpo.strategies.leakage.expressions import scan
from sgpo.strategies.leakage.number_words import digits
from sgpo.strategies.leakage.plain import plain
from sgpo.strategies.leakage.tokens import tokenize
from sgpo.strategies.leakage.values import Node, Value

MAX_ANSWER = 2_000
_MAX_LEAVES = 20
_CONSTANTS = (0.5, math.pi, 2 * math.pi, math.sqrt(2), math.sqrt(3))
_OPTION = re.compile(
    r"(?:(?<![A-Za-z0-9])\(\s*(?:\\(?:text(?:bf|rm)?|mathrm|mathbf|bf)\s*\{?\s*)?([A-J])\s*\}?\s*\)"
    r"|(?<![A-Za-z0-9(])([A-J])\s*[.):](?=[\s$\\])|\\(?:textbf|text|mathrm|mathbf)\{\s*\(?([A-J])\)?[.: ]*\})"
)


@dataclass(frozen=True)
class Leaf:
    """One value: its numbers at the letters' two assignments (several where a unit allows it), and whether it is
    distinctive: a value that no theorem or general step mentions by accident."""

    values: tuple[Value, ...]
    letters: bool
    distinctive: bool
    text: str
    approximable: bool = False  # no finite decimal: a rounded one is the same answer

    def matches(self, node: Node) -> bool:
        """Whether a node of the strategy states this value, exactly or rounded to three digits and more."""
        if node.value is None or bool(node.letters) != self.letters or node.kind in ("relation", "tuple"):
            return False
        if node.unit == "ratio" and ":" not in self.text and self.values[0][0] == round(self.values[0][0]):
            return False  # `in the ratio 2:1` is not a 2
        if any(equal(mine, theirs) for mine in self.values for theirs in readings_of(node)):
            return True
        if not self.approximable or node.kind != "number" or node.unit not in ("", "%"):
            return False
        scale = 100 if node.unit else 1
        return any(_rounded(scale * mine[0], node.value[0]) for mine in self.values)


@dataclass(frozen=True)
class Targets:
    """leaves: the values, all of them needed where `together`; `ordered` shapes are tuples and intervals."""

    leaves: tuple[Leaf, ...] = ()
    words: str = ""
    letter: str = ""
    text: str = ""
    written: str = ""  # as it was given


def equal(a: Value, b: Value) -> bool:
    return all(abs(x - y) <= 1e-9 * max(abs(x), abs(y), 1e-9) for x, y in zip(a, b, strict=True))


def _rounded(exact: float, decimal: float) -> bool:
    text = f"{decimal:.12g}"
    places = len(text.partition(".")[2])
    figures = len(text.replace(".", "").lstrip("-0"))
    return places >= 1 and figures >= 3 and abs(exact - decimal) <= 0.5000001 * 10.0**-places


def readings_of(node: Node) -> tuple[Value, ...]:
    """A node's value, and what it is as a percentage or an angle."""
    if node.value is None:
        return ()
    if node.unit == "%":
        return node.value, (node.value[0] / 100, node.value[1] / 100)
    if node.unit == "degree":
        return node.value, (math.radians(node.value[0]), math.radians(node.value[1]))
    return (node.value,)


def is_small(value: float) -> bool:
    """Numbers that general steps are full of: integers to 10, powers of ten, 1/2, pi, 2 pi, the roots of 2 and 3."""
    size = abs(value)
    if size == int(size) and size < 1e15:
        return size <= 10 or str(int(size)).strip("0") == "1"
    return any(abs(size - known) < 1e-9 for known in _CONSTANTS)


def _single(text: str) -> Node | None:
    """The node that is all of a text."""
    nodes = [node for node in scan(text) if node.start <= _start(text) and node.end >= len(text.rstrip())]
    return nodes[-1] if nodes else None


def _start(text: str) -> int:
    return len(text) - len(text.lstrip())


def leaf(text: str, *, degrees: bool = False) -> Leaf | None:
    """The value that a text states, its unit taken off; None where it states none."""
    numeral = quantities.numeral(text)
    if numeral and numeral[0].isdigit():
        text = numeral[0]  # 1011_2: its digits are what a strategy would state
    quantity = quantities.split_quantity(text)
    core = plain(quantity.core).strip().rstrip(" .")
    node = _single(re.sub(r"(?<=\d) *: *(?=\d)", ":", core))
    if node is None or node.value is None or node.kind in ("relation", "tuple"):
        return None
    values = list(readings_of(node))
    if quantity.percent:
        values.append((node.value[0] / 100, node.value[1] / 100))
    if degrees or quantity.unit == "deg":
        values.append((math.radians(node.value[0]), math.radians(node.value[1])))
    letters = bool(node.letters)
    size = node.value[0]
    if letters:
        distinctive = len(tokenize(core)) >= 4 and node.operations >= 1
    else:
        distinctive = not is_small(size)
    finite = letters or abs(size * 1e4 - round(size * 1e4)) < 1e-7
    return Leaf(tuple(values), letters, distinctive, core, not finite)


def _leaves(node: structure.Node, level: int = 0) -> list[str]:
    """Texts of the single values in a shape; infinite ends of intervals are left out."""
    if level > 4 or not node.items:
        return [node.text]
    if node.kind == "value":
        return [node.text]
    if node.kind == "relation":
        named = structure.is_name(node.items[0]) and set(node.signs) == {"="}
        items = [node.items[-1]] if named else [item for item in node.items if not structure.is_name(item)]
    else:
        items = [item for item in node.items if not re.fullmatch(r"[-+ ]*\\infty ?", item.strip())]
    if items == [node.text]:
        return items
    return [text for item in items[:_MAX_LEAVES] for text in _leaves(structure.parse(item), level + 1)][:_MAX_LEAVES]


def options(problem: str) -> tuple[dict[str, str], str]:
    """The labelled options of a multiple choice problem, and the problem without them."""
    marks = list(_OPTION.finditer(problem))
    letters = [next(group for group in mark.groups() if group) for mark in marks]
    starts = [i for i, letter in enumerate(letters) if letter == "A"]
    if not starts:
        return {}, problem
    first = starts[-1]
    found: dict[str, str] = {}
    for position in range(first, len(marks)):
        if letters[position] != "ABCDEFGHIJ"[position - first]:
            break
        end = marks[position + 1].start() if position + 1 < len(marks) else len(problem)
        text = problem[marks[position].end() : end].strip()
        found[letters[position]] = re.sub(r"^\s*(?:\\[ ,;]|~|\$)*\s*|\s*(?:\\q?quad|\\\\|[;,.]|\$)*\s*$", "", text)
    return (found, problem[: marks[first].start()]) if len(found) >= 2 else ({}, problem)


def read(answer: str, problem_options: dict[str, str], *, degrees: bool) -> Targets:
    """Everything that states the answer.

    Args:
        answer: the answer, bare or in a box, or a solution that ends in one.
        problem_options: label and text of each option, {} where the problem has none.
        degrees: the problem speaks of degrees, so that a number in radians states the answer too.
    """
    text = digits(gold_answer(answer[:200_000]))[:MAX_ANSWER]
    try:
        normal = normalize(text).text
    except (TooComplexError, RecursionError):
        return Targets(text=text, written=text)
    if not normal:
        return Targets()
    letter, label = choices.choice(normal), choices.labelled(normal)
    if label:
        letter, normal = label.letter, label.content
    if letter and (problem_options or re.fullmatch(r"[^A-Za-z]*[A-J][^A-Za-z]*", quantities.detext(normal)) or label):
        body = problem_options.get(letter, normal if label else "")
        inner = read(body, {}, degrees=degrees) if body else Targets()
        return replace(inner, letter=letter, text=body)
    if depth(normal) > MAX_DEPTH:
        return Targets(text=normal, written=text)
    leaves = [leaf(piece, degrees=degrees) for piece in _leaves(structure.parse(normal))]
    known = tuple(one for one in leaves if one is not None)
    letter = next((key for key, body in problem_options.items() if _same(body, normal)), "")
    if not known or len(known) < len(leaves):
        words = quantities.words(normal) or quantities.words(rf"\text{{{normal}}}") or ""
        spoken = re.sub(r"[^a-z0-9 ]", "", quantities.detext(normal).lower().replace("-", " ")).strip()
        plain_words = bool(words) and not re.search(r"\d", spoken) and re.search("[a-z]{2}", spoken) is not None
        return Targets(known, spoken if plain_words else "", letter, normal, text)
    return Targets(known, "", letter, normal, text)


def _same(option: str, answer: str) -> bool:
    try:
        return normalize(option[:MAX_ANSWER]).key == normalize(answer).key
    except (TooComplexError, RecursionError):
        return False
