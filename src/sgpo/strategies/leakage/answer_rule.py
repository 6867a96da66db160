"""The first rule: a strategy must not state the answer, in whatever spelling.

A distinctive answer (288, 7/12, 3√13) must not stand in it at all, but where theorems have that number too (60
beside minutes). A small one (2, 10, 1/2), which general steps are full of, must not be announced.
"""

from __future__ import annotations

import re

from sgpo.strategies.leakage import announced, context, words_rule
from sgpo.strategies.leakage.reading import Reading, number_key, tight, whole
from sgpo.strategies.leakage.targets import Leaf, is_small
from sgpo.strategies.leakage.values import Node

_STARTS = re.compile(
    r"\b(?:set|sets|let|put|take|start\w*|begin\w*|case|when|if|for|at|with|try|where|as|base|from|suppose|"
    r"assume|setting|"
    r"substitut\w+|plug\w*|insert\w*)(?:\s+(?:the|in|for|first))?\s*$",
    re.IGNORECASE,
)
_TRIALS = re.compile(
    r"\b(?:substitut\w*|plug\w*|insert\w*|set|let|put|take|case|when|if|for|at|evaluat\w*|base)\b", re.I
)
_BETWEEN = re.compile(  # what may stand between two values of one answer
    r"[\s,;:|()\[\]{}=<>\\&]*(?:(?:and|or|to|with|is|are|then|the|other|gives?|while)[\s,;:=]*){0,3}"
    r"(?:[a-zA-Z](?:\([a-z]\)|_\w)?\s*(?:=|<=?|>=?|is|in|\()\s*(?:[a-z]\)?\s*(?:=|<=?|>=?)\s*)?)?[\s(\[{\\]*"
)


def find(reading: Reading) -> str:
    """What states the answer, quoted; "" where nothing does."""
    leaves = reading.answer.leaves
    if reading.answer.letter:
        found = words_rule.letter(reading, reading.answer.letter)
        if found:
            return found
    for leaf in leaves:
        for node in reading.nodes:
            if leaf.matches(node) and _states(reading, leaf, node, alone=len(leaves) == 1):
                return reading.quote(node.start, node.end)
    if len(leaves) > 1:
        found = _together(reading, leaves)
        if found:
            return found
    return _literal(reading) or (words_rule.words(reading, reading.answer.words) if reading.answer.words else "")


def _states(reading: Reading, leaf: Leaf, node: Node, *, alone: bool) -> bool:
    text = reading.text
    size = number_key(node.value[0]) if node.value else 0.0
    known = not leaf.letters and is_small(size)
    given = size in reading.problem if not leaf.letters else tight(leaf.text) in reading.tight_problem
    if leaf.distinctive and not given and not known:
        if node.kind == "number" and context.belongs_to_theorem(text, node):
            return alone and _announced(reading, node)
        if reading.is_rule(node, again=True):
            return False
        if _is_share(node) and context.is_conditional(text, node):
            return False  # each face of a die has probability 1/6
        part = node.operations and not leaf.letters and (not node.whole or size < 2)
        return not (part and context.is_coefficient(text, node))  # 1/3 of the base area times the height
    if known and not alone:
        return False  # one of several small values: see `_together`
    computed = not leaf.letters and node.operations and node.whole and not given and node.literals != (1.0, 2.0)
    if computed and all(number_key(x) in reading.specific for x in node.literals):
        return True  # `4/8` for one half
    written = text[node.start : node.end]
    unusual = (node.unit == "%" and size != 100) or (size == 0.5 and "." in written)  # laws say one half
    if unusual and not context.is_coefficient(text, node):
        return not given and not context.is_conditional(text, node)
    return _announced(reading, node)


def _is_share(node: Node) -> bool:
    return node.operations == 1 and len(node.literals) == 2 and node.literals[0] == 1 and node.literals[1] <= 13


def _announced(reading: Reading, node: Node) -> bool:
    """Announced in words, or as the last side of an equation that has more than letters on its left."""
    if not node.whole or node.value is None:
        return False
    text, trivial = reading.text, abs(node.value[0]) in (0.0, 1.0)
    equation = reading.equations.get(node.start)
    if equation and equation.signs[-1] == "=":
        left = equation.parts[0]
        if not left.letters and left.operations:
            return not trivial
        if left.letters and not left.operations and left.end - left.start <= 8:  # x = 2, not `substitute x = 0`
            said = context.before(text, equation.start)
            if trivial:
                return not _TRIALS.search(said) and announced.ends(text, node, reading.nouns)
            return not _STARTS.search(said)
        if left.letters and trivial:
            return False  # a law: ... = 0
    return announced.announced(text, node, reading.nouns) or announced.counts(text, node, reading.asked)


def _together(reading: Reading, leaves: tuple[Leaf, ...]) -> str:
    """Several small values, all of the answer, side by side: `(4, 6)`, `x = 4 and y = 6`, `1 <= f(x) <= 5`."""
    text, count = reading.text, len(leaves)
    atoms = [
        node
        for node in whole(reading.nodes)
        if any(leaf.matches(node) for leaf in leaves) and not context.in_base(text, node)
    ]
    for i in range(len(atoms) - count + 1):
        run = atoms[i : i + count]
        gaps = [text[a.end : b.start] for a, b in zip(run, run[1:], strict=False)]  # noqa: RUF007
        if not all(len(gap) <= 40 and _BETWEEN.fullmatch(gap) for gap in gaps) or not _match(leaves, run):
            continue
        if not announced.ends(text, run[-1], reading.nouns):
            continue
        trivial = all(node.value and abs(node.value[0]) in (0.0, 1.0) for node in run)
        if not trivial or announced.announced(text, run[0], reading.nouns):
            return reading.quote(run[0].start, run[-1].end)
    return ""


def _match(leaves: tuple[Leaf, ...], run: list[Node]) -> bool:
    """Whether the values of a run are those of the answer, in any order."""
    left = list(leaves)
    for node in run:
        hit = next((leaf for leaf in left if leaf.matches(node)), None)
        if hit is None:
            return False
        left.remove(hit)
    return True


def _literal(reading: Reading) -> str:
    """The answer as it is written, for shapes that have no value: matrices, unions, times of day, floors."""
    answer = reading.answer
    if answer.words or (len(answer.leaves) == 1 and not re.search(r"[(\[].*,", answer.written)):
        return ""
    for spelling in {answer.text, answer.written}:
        written = tight(spelling).rstrip(".")
        if len(written) < 4 or not re.search(r"\d|\\|[=^]", written) or written in reading.tight_problem:
            continue
        if written in reading.tight_strategy:
            return " ".join(answer.written.split())[:60]
    return ""
