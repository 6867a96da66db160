"""The first rule: a strategy must not state the answer, in whatever spelling.

A distinctive answer (288, 7/12, 3√13) must not stand in it at all, but where theorems have that number too (60
beside minutes). A small one (2, 10, 1/2), which general steps are full of, must not be announced.
"""

from __future__ import annotations

import re

from sgpo.strategies.leakage import context
from sgpo.strategies.leakage.expressions import Node
from sgpo.strategies.leakage.reading import Reading, number_key, tight
from sgpo.strategies.leakage.targets import Leaf, is_small

_STARTS = re.compile(
    r"\b(?:set|sets|let|put|take|start\w*|begin\w*|case|when|if|for|at|with|try|where|as|base|from|suppose|assume|setting|"
    r"substitut\w+|plug\w*|insert\w*)(?:\s+(?:the|in|for|first))?\s*$",
    re.IGNORECASE,
)
_TRIALS = re.compile(r"\b(?:substitut\w*|plug\w*|insert\w*|set|let|put|take|case|when|if|for|at|evaluat\w*|base)\b", re.I)
_BETWEEN = re.compile(r"[\s,;:|()\[\]{}=<>\\&]*(?:(?:and|or|to|with|is|are|then|the|other|gives?|while)[\s,;:=]*){0,3}(?:[a-zA-Z](?:\([a-z]\)|_\w)?\s*(?:=|<=?|>=?|is|in|\()\s*(?:[a-z]\)?\s*(?:=|<=?|>=?)\s*)?)?[\s(\[{\\]*")
# Adjectives that mathematics uses all the time: they state an answer only as a predicate.
_COMMON_WORDS = frozenset(
    "yes no true false odd even neither both none positive negative increasing decreasing convergent divergent prime "
    "composite rational irrational circle ellipse parabola hyperbola line triangle square rectangle rhombus trapezoid "
    "isosceles scalene equilateral right acute obtuse zero equal greater less linear quadratic finite infinite red blue "
    "green black white heads tails left maximum minimum "
    "converges diverges impossible possible undefined continuous perpendicular parallel similar congruent cube sphere "
    "cone cylinder infinity never always sometimes".split()
)
_CHOICE_NAME = r"(?:options?|choices?|answers?|alternatives?|select|choose|pick|mark|letter|tick|circle)"


def find(reading: Reading) -> str:
    """What states the answer, quoted; "" where nothing does."""
    leaves = reading.answer.leaves
    if reading.answer.letter:
        found = _letter(reading, reading.answer.letter)
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
    return _literal(reading) or (_words(reading, reading.answer.words) if reading.answer.words else "")


def _states(reading: Reading, leaf: Leaf, node: Node, *, alone: bool) -> bool:
    text = reading.text
    size = number_key(node.value[0]) if node.value else 0.0
    known = not leaf.letters and is_small(size)
    given = size in reading.problem if not leaf.letters else tight(leaf.text) in reading.tight_problem
    if leaf.distinctive and not given and not known:
        if node.kind == "number" and context.belongs_to_theorem(text, node):
            return alone and _announced(reading, node)
        if _is_share(node) and context.is_conditional(text, node):
            return False  # each face of a die has probability 1/6
        if node.operations and not leaf.letters and (not node.whole or size < 2) and context.is_coefficient(text, node):
            return False
        return True
    if known and not alone:
        return False  # one of several small values: see `_together`
    computed = not leaf.letters and node.operations and node.whole and not given and node.literals != (1.0, 2.0)
    if computed and all(number_key(x) in reading.specific for x in node.literals):
        return True  # `4/8` for one half
    written = text[node.start : node.end]
    if ((node.unit == "%" and size != 100) or (size == 0.5 and "." in written)) and not context.is_coefficient(text, node):
        return not given and not context.is_conditional(text, node)  # `50%`, `0.5`: laws say one half
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
                return not _TRIALS.search(said) and context.ends(text, node, reading.nouns)
            return not _STARTS.search(said)
        if left.letters and trivial:
            return False  # a law: ... = 0
    return context.announced(text, node, reading.nouns) or context.counts(text, node, reading.asked)


def _together(reading: Reading, leaves: tuple[Leaf, ...]) -> str:
    """Several small values, all of the answer, side by side: `(4, 6)`, `x = 4 and y = 6`, `1 <= f(x) <= 5`."""
    atoms = [node for node in reading.nodes if node.whole and not node.letters and node.value and node.kind != "tuple"]
    atoms = [node for node in atoms if node.kind != "relation"]
    count = len(leaves)
    for i in range(len(atoms) - count + 1):
        run = atoms[i : i + count]
        gaps = [reading.text[a.end : b.start] for a, b in zip(run, run[1:], strict=False)]
        if not all(len(gap) <= 40 and _BETWEEN.fullmatch(gap) for gap in gaps):
            continue
        left = list(leaves)
        for node in run:
            hit = next((leaf for leaf in left if leaf.matches(node)), None)
            if hit is None:
                break
            left.remove(hit)
        trivial = all(node.value and abs(node.value[0]) in (0.0, 1.0) for node in run)
        if any(context.in_base(reading.text, node) for node in run):
            continue
        if not left and (not trivial or context.announced(reading.text, run[0], reading.nouns)) and context.ends(reading.text, run[-1], reading.nouns):
            return reading.quote(run[0].start, run[-1].end)
    return ""


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


def _letter(reading: Reading, letter: str) -> str:
    """`option B`, `(B)`, `the answer is B`; not `options A, B and C`, not `point B`."""
    text = reading.text
    patterns = (
        rf"\b{_CHOICE_NAME}\b(?:\s+(?:is|must be|would be|letter|option|choice|answer))*\s*[:=]?\s*[\"'(]*{letter}\b(?!\s*(?:,|and|or|to|through|-)\s*\(?[A-J]\b)",
        rf"\b(?:is|be)\s+\(?{letter}\)?(?=\s*(?:[.;!\n]|$))",
        rf"(?<![A-Za-z])\(?{letter}\)?\s+(?:is|are|must be|would be)\s+(?:then\s+|therefore\s+)?(?:the\s+)?(?:correct|right|answer|only|true|one)",
        rf"(?<![A-Za-z])\(?{letter}\)?\s+(?:works|passes|satisfies|remains|survives|holds|fits|matches)\b",
        rf"\bonly\s+\(?{letter}\)?(?![A-Za-z])",
    )
    for pattern in patterns:
        for match in re.finditer(pattern, text, re.IGNORECASE):
            piece = match.group()
            near = text[max(0, match.start() - 20) : match.start()]
            if letter in piece and not re.search(r"(?:[A-J]\)?\s*(?:,|and|or|to|-)\s*)$", near):
                return reading.quote(match.start(), match.end())
    mark = re.search(rf"(?<![A-Za-z0-9])\({letter}\)(?!\s*(?:,|and|or|to|-)\s*\([A-J]\))", text)
    if mark and not re.search(r"\([A-J]\)\s*(?:,|and|or|to|-)?\s*(?:and|or)?\s*$", text[: mark.start()][-12:]):
        others = set(re.findall(r"\(([A-J])\)", text)) - {letter}
        return "" if others else reading.quote(mark.start(), mark.end())
    return ""


def _words(reading: Reading, words: str) -> str:
    """A text answer: a name anywhere outside a list of candidates; a common word only as a predicate."""
    spaced = r"[\s\"'-]+".join(re.escape(word) for word in words.split())
    common = all(word in _COMMON_WORDS for word in words.split())
    for match in re.finditer(rf"(?<![A-Za-z\\-]){spaced}(?![A-Za-z-])", reading.text, re.IGNORECASE):
        left = context.before(reading.text, match.start())
        right = context.after(reading.text, match.end())
        if _among_candidates(left, right, match.group()):
            continue
        if not common or _predicate(left, right, reading.text, match.start()):
            return reading.quote(match.start(), match.end())
    return ""


def _among_candidates(left: str, right: str, word: str) -> bool:
    """One of several that the text lists or asks about: `even, odd or neither`, `Anna, Boris and Clara`."""
    if re.search(r"(?:\bor|/|\bversus|\bvs\.?)\s*(?:an?\s+)?[\"']?$", left, re.I) or re.match(r"[\"']?\s*(?:or\b|/|versus\b|vs\b)", right, re.I):
        return True
    if re.search(r"\b(?:whether|which of|decide if|check if|test if)\b", left, re.I):
        return True
    listed_left = re.search(r"[A-Za-z]\s*,\s*(?:and\s+)?(?:an?\s+)?[\"']?$|\b[A-Z][a-z]+\s+and\s+[\"']?$", left)
    listed_right = re.match(r"[\"']?\s*,\s*(?:and\s+|or\s+)?(?:an?\s+)?[\"']?[A-Za-z]+[\"']?\s*(?:,|and\b|or\b)", right)
    if word[:1].isupper():
        names = re.findall(r"\b[A-Z][a-z]+\b", left[1:] + " " + right)
        return len(set(names)) >= 2 and bool(listed_left or listed_right)
    return bool(listed_left and re.search(r"\bor\b", left + right)) or bool(listed_right and re.search(r"\bor\b", right))


def _predicate(left: str, right: str, text: str, start: int) -> bool:
    """`so the function is odd.`, `the answer is yes`, `Identify an ellipse`."""
    if re.search(r"\b(?:answer|result|conclusion|conclude|verdict|classif\w+)\b[^.;\n]*$", left, re.I):
        return True
    closes = bool(re.match(r"[\"')\]]*\s*(?:$|[.,;:!?)\n]|\b(?:as|because|since|and|so|by|function|number|triangle|curve)\b)", right))
    if not closes:
        return False
    if re.search(r"\b(?:if|when|whenever|whether|every|any|each|case|product of|sum of|for|where|recall|an? [a-z]+ (?:function|number|integer) is)\b", left, re.I):
        return False
    if re.search(r"(?:[;:]|\b(?:so|hence|thus|therefore),?)\s*[\"']?$", left, re.I):
        return True
    verb = r"(?:is|are|be|becomes?|represents?|describes?|gives?|forms?|identify|get|obtain|find|means|show\w*|land\w* on|choose|pick)"
    return bool(re.search(rf"\b{verb}\s+(?:(?:an?|the|that|always|therefore|thus|indeed|in fact|then|it|is|[\"'])\s*)*$", left, re.I))
