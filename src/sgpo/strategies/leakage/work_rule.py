"""The second rule: no worked computation with the numbers of this problem.

`divide 84 by 12`, `6^2 + 9^2`, `substitute x = 4` are computations where 84, 12, 6, 9 and 4 are the problem's or the
response's; `divide by 2` and `n(n+1)/2` are not.
"""

from __future__ import annotations

import re

from sgpo.strategies.leakage import context
from sgpo.strategies.leakage.context import EXAMPLE
from sgpo.strategies.leakage.reading import Reading, number_key, tight
from sgpo.strategies.leakage.targets import is_small
from sgpo.strategies.leakage.values import Node

_N = r"[-$]?(?P<{}>\d+(?:\.\d+)?)%?"
_THE = r"(?:the |these |those |all |both |each |its )?(?:numbers? |values? |remaining |first |total )?\$? ?"
_WORDS = r"(?:[ -][A-Za-z]+){0,4}?,?"
_PAIRS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\b(?:divid|multipl|subtract|add|combin|reduc|scal|rais|tak|split|distribut|"
        rf"times)\w*\s+{_THE}{_N.format('a')}{_WORDS}"
        rf"\s+(?:by|and|from|to|with|into|away from|modulo|mod|among)\s+{_THE}{_N.format('b')}(?![\d-])",
        rf"\b(?:sum|product|difference|quotient|ratio|gcd|lcm|average|mean|multiple)\s+(?:of|"
        rf"between)\s+{_THE}{_N.format('a')}"
        rf"{_WORDS}\s+(?:and|to|by)\s+{_THE}{_N.format('b')}(?![\d-])",
        rf"\b(?:square|cube|squaring|squares of|squares? (?:both )?|gcd|"
        rf"lcm)\s*\(?{_THE}{_N.format('a')}{_WORDS}\s*(?:,|and)\s*"
        rf"{_N.format('b')}(?![\d-])",
        rf"(?<![\d.^_]){_N.format('a')}(?: (?!is|are|when|if|that|which|by|"
        rf"and)[A-Za-z]+){{0,2}}\s+(?:divided by|times|multiplied by|minus|plus|modulo|mod|out of)\s+{_THE}"
        rf"{_N.format('b')}(?![\d-])",
    )
)  # fmt: skip
_REMAINDER = re.compile(
    rf"(?<![\d.^_]){_N.format('a')} (?:leaves|has|gives|leaving) (?:an? )?(?:remainder|"
    rf"residue)(?: of)? {_N.format('b')}(?![\d-])",
    re.I,
)
_GIVEN = (
    r"(?=\s*(?:$|[.,;:)\n]|(?:to|from|and|on|both|again|for|per|at|in|then|since|as|so|by|dollars?|cents?|"
    r"percent|%)\b))"
)
_SHIFT = re.compile(
    rf"\b(?:add(?:ing)?|subtract(?:ing)?|take away|taking away|plus|minus)\s+{_THE}{_N.format('a')}{_GIVEN}", re.I
)
_SCALE = re.compile(
    rf"\b(?:multipl\w+|divid\w+|times)\b[^.;\n\d]{{0,50}}?\bby\s+{_THE}{_N.format('a')}(?!\s*(?:cases|steps))",
    re.IGNORECASE,
)
_INSERT = re.compile(
    rf"\b(?:substitut\w+|plug\w*|insert\w*|put|"
    rf"putting)\s+(?:in\s+)?{_THE}(?:value\s+)?{_N.format('a')}\s+(?:for|into|in)\b"
    rf"|\bevaluat\w+\b[^.;\n\d]{{0,40}}?\bat\s+(?:[a-z] = )?{_N.format('b')}(?![\d.]*\s*(?:point|end|limit|place))",
    re.IGNORECASE,
)
_TRIED = re.compile(
    r"\b(?:case|cases|when|if|base case|try|start\w*|begin\w*|first|for|suppose)\b[^.;\n]{0,20}$", re.IGNORECASE
)


def find(reading: Reading) -> str:
    """A worked computation with numbers of this problem, quoted; "" where there is none."""
    return _symbolic(reading) or _verbal(reading) or _substituted(reading)


def _own(reading: Reading, value: float) -> bool:
    return number_key(value) in reading.specific


def _is_instance(reading: Reading, value: float) -> bool:
    """The problem's, or computed; a small number of the response may be of the method."""
    return value in reading.problem or not (is_small(value) or value in reading.rules)


def _telling(value: float) -> bool:
    """A number that a step of a general procedure would not have by itself."""
    return not is_small(value) or (abs(value) >= 3 and abs(value) != 10 and abs(value) < 10) or abs(value) >= 100


def _symbolic(reading: Reading) -> str:
    """Numbers joined by signs, no letters: `6^2 + 9^2`, `(3+1)(2+1)`, `1 + 3 = 4`, `C(10, 3)`."""
    for node in reading.nodes:
        if node.letters or not node.operations:
            continue
        if node.kind not in ("expression", "relation") or not (node.whole or node.kind == "relation"):
            continue
        if len(node.literals) == 1 and node.literals[0] <= 10 and "!" not in reading.slice(node):
            continue  # a root of 3
        if (
            reading.is_fraction(node)
            or _theorem_value(reading, node)
            or EXAMPLE.search(context.before(reading.text, node.start))
        ):
            continue
        if max(node.literals) <= 10 and _general_fact(reading, node):
            continue
        if _counted_off(reading, node):
            return reading.quote(node.start, node.end)
        own = [x for x in node.literals if _own(reading, x)]
        strange = [x for x in node.literals if not _own(reading, x) and x >= 3]
        if not strange and any(x >= 3 for x in own):
            return reading.quote(node.start, node.end)
        if (
            node.kind == "relation"
            and not strange
            and len(own) >= 3
            and tight(reading.slice(node)) in reading.tight_response
        ):
            return reading.quote(node.start, node.end)
    return ""


def _counted_off(reading: Reading, node: Node) -> bool:
    """`7 choose 2` where the problem has 8: one was taken away before."""
    top = node.literals[0]
    near = {top, top + 1, top - 1} & reading.problem
    return bool(near) and len(node.literals) == 2 and top >= 4 and reading.slice(node).startswith(r"\binom")


def _general_fact(reading: Reading, node: Node) -> bool:
    """`10 = 2 * 5`: an equation between small numbers that the response does not have, or a side of one."""
    equation = node if node.kind == "relation" else reading.sides.get((node.start, node.end))
    return equation is not None and tight(reading.slice(equation)) not in reading.tight_response


def _theorem_value(reading: Reading, node: Node) -> bool:
    """`pi/180`, `10^2`, `2^10`, `1/2 * ...`: literals that are theorem numbers, or units and powers of them."""
    written = reading.slice(node)
    powers = all(x <= 2 or (is_small(x) and x >= 10) for x in node.literals)
    angles = re.search(r"\\pi|\bpi\b", written) and set(node.literals) <= {180.0, 360.0, 2.0, 3.0, 4.0}
    return (powers and ("^" in written or node.literals[0] == 1)) or bool(angles and not node.letters)


def _verbal(reading: Reading) -> str:
    text = reading.text
    for pattern in _PAIRS:
        for match in pattern.finditer(text):
            a, b = float(match["a"]), float(match["b"])
            if reading.rules.keys() & {a, b} and not any(_own(reading, x) and _is_instance(reading, x) for x in (a, b)):
                continue  # `subtract 32 and multiply by 5/9`
            if _own(reading, a) and _own(reading, b) and max(a, b) >= 3 and {a, b} - {180.0, 360.0, 100.0}:
                return reading.quote(match.start(), match.end())
    for match in _REMAINDER.finditer(text):
        if _own(reading, float(match["a"])) and float(match["b"]) >= 2:
            return reading.quote(match.start(), match.end())
    for match in _SHIFT.finditer(text):
        if _given(reading, float(match["a"])) and not _labelled(text, match):
            return reading.quote(match.start(), match.end())
    scaled = set()
    for match in _SCALE.finditer(text):
        value = float(match["a"])
        if _given(reading, value):
            scaled.add(value)
            if not is_small(value) and not _known(reading, match):
                return reading.quote(match.start(), match.end())
    return "two numbers of the problem: " + ", ".join(f"{x:g}" for x in sorted(scaled)) if len(scaled) > 1 else ""


def _given(reading: Reading, value: float) -> bool:
    return number_key(value) in reading.problem and _telling(value) and value not in (180.0, 360.0, 100.0, 1000.0)


def _labelled(text: str, match: re.Match[str]) -> bool:
    return re.match(r"-[a-z]", text[match.end("a") :]) is not None


def _known(reading: Reading, match: re.Match[str]) -> bool:
    node = reading.numbers.get(match.start("a"))
    return node is not None and context.belongs_to_theorem(reading.text, node)


def _substituted(reading: Reading) -> str:
    """`x = 4`, `plug 4 into`, `evaluate at 3`; 0, 1 and -1 are general."""
    text = reading.text
    for node in reading.nodes:
        if node.kind != "relation" or set(node.signs) != {"="}:
            continue
        left, right = node.parts[0], node.parts[-1]
        if (
            not (left.letters == 1 and not left.operations and not left.literals)
            or right.letters
            or right.value is None
        ):
            continue
        size = number_key(right.value[0])
        if size in (0.0, 1.0) or size not in reading.specific or left.end - left.start > 6:
            continue
        if size <= 3 and _TRIED.search(context.before(text, node.start)):
            continue
        if text[node.start] == "p" and size in (2, 3, 5, 7, 11, 13):
            continue  # a prime
        return reading.quote(node.start, node.end)
    for match in _INSERT.finditer(text):
        value = float(match["a"] or match["b"])
        if value not in (0.0, 1.0) and _own(reading, value):
            return reading.quote(match.start(), match.end())
    return ""
