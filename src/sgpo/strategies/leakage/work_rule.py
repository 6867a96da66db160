"""The second and third rule: no worked computation with the numbers of this problem, no intermediate result.

`divide 84 by 12`, `6^2 + 9^2`, `substitute x = 4` are computations where 84, 12, 6, 9 and 4 are the problem's or the
response's; `divide by 2` and `n(n+1)/2` are not. An intermediate result is a number that the response has and the
problem has not: a distinctive one (36, 169) anywhere, a small one where it is announced.
"""

from __future__ import annotations

import re

from sgpo.strategies.leakage import context
from sgpo.strategies.leakage.expressions import Node
from sgpo.strategies.leakage.reading import Reading, number_key, tight
from sgpo.strategies.leakage.targets import is_small

_N = r"[-$]?(?P<{}>\d+(?:\.\d+)?)%?"
_THE = r"(?:the |these |those |all |both |each |its )?(?:numbers? |values? |remaining |first |total )?\$? ?"
_WORDS = r"(?:[ -][A-Za-z]+){0,4}?,?"
_PAIRS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\b(?:divid|multipl|subtract|add|combin|reduc|scal|rais|tak|split|distribut|times)\w*\s+{_THE}{_N.format('a')}{_WORDS}"
        rf"\s+(?:by|and|from|to|with|into|away from|modulo|mod|among)\s+{_THE}{_N.format('b')}(?![\d-])",
        rf"\b(?:sum|product|difference|quotient|ratio|gcd|lcm|average|mean|multiple)\s+(?:of|between)\s+{_THE}{_N.format('a')}"
        rf"{_WORDS}\s+(?:and|to|by)\s+{_THE}{_N.format('b')}(?![\d-])",
        rf"\b(?:square|cube|squaring|squares of|squares? (?:both )?|gcd|lcm)\s*\(?{_THE}{_N.format('a')}{_WORDS}\s*(?:,|and)\s*"
        rf"{_N.format('b')}(?![\d-])",
        rf"(?<![\d.^_]){_N.format('a')}(?: (?!is|are|when|if|that|which|by|and)[A-Za-z]+){{0,2}}\s+(?:divided by|times|multiplied by|minus|plus|modulo|mod|out of)\s+{_THE}"
        rf"{_N.format('b')}(?![\d-])",
    )
)  # fmt: skip
_REMAINDER = re.compile(
    rf"(?<![\d.^_]){_N.format('a')} (?:leaves|has|gives|leaving) (?:an? )?(?:remainder|residue)(?: of)? {_N.format('b')}(?![\d-])", re.I
)
_GIVEN = r"(?=\s*(?:$|[.,;:)\n]|(?:to|from|and|on|both|again|for|per|at|in|then|since|as|so|by|dollars?|cents?|percent|%)\b))"
_SHIFT = re.compile(rf"\b(?:add(?:ing)?|subtract(?:ing)?|take away|taking away|plus|minus)\s+{_THE}{_N.format('a')}{_GIVEN}", re.I)
_SCALE = re.compile(
    rf"\b(?:multipl\w+|divid\w+|times)\b[^.;\n\d]{{0,50}}?\bby\s+{_THE}{_N.format('a')}(?!\s*(?:cases|steps))", re.IGNORECASE
)
_INSERT = re.compile(
    rf"\b(?:substitut\w+|plug\w*|insert\w*|put|putting)\s+(?:in\s+)?{_THE}(?:value\s+)?{_N.format('a')}\s+(?:for|into|in)\b"
    rf"|\bevaluat\w+\b[^.;\n\d]{{0,40}}?\bat\s+(?:[a-z] = )?{_N.format('b')}(?![\d.]*\s*(?:point|end|limit|place))",
    re.IGNORECASE,
)
_EXAMPLE = re.compile(r"\b(?:e\.g\.|for example|for instance|such as|like)[^.;\n]*$", re.IGNORECASE)
_TRIED = re.compile(r"\b(?:case|cases|when|if|base case|try|start\w*|begin\w*|first|for|suppose)\b[^.;\n]{0,20}$", re.IGNORECASE)
_COUNTS = re.compile(r"[ ~]+([A-Za-z]{3,20})")
_LISTED = re.compile(
    r"\b(roots?|solutions?|zeros?|factors?|values?|candidates?|intercepts?|legs?|sides?|numbers?|digits?)\b"
    r"(?: (?:are|of|at|as|x =|being|is))?:? *$",
    re.IGNORECASE,
)


def find_work(reading: Reading) -> str:
    """A worked computation with numbers of this problem, quoted; "" where there is none."""
    return _symbolic(reading) or _verbal(reading) or _substituted(reading)


def _own(reading: Reading, value: float) -> bool:
    return number_key(value) in reading.specific


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
        if len(node.literals) == 1 and node.literals[0] <= 10 and "!" not in _slice(reading, node):
            continue  # a root of 3
        if _is_fraction(reading, node) or _theorem_value(reading, node) or _EXAMPLE.search(context.before(reading.text, node.start)):
            continue
        own = [x for x in node.literals if _own(reading, x)]
        strange = [x for x in node.literals if not _own(reading, x) and x >= 3]
        if not strange and any(x >= 3 for x in own):
            return reading.quote(node.start, node.end)
        if node.kind == "relation" and not strange and len(own) >= 3 and tight(_slice(reading, node)) in reading.tight_response:
            return reading.quote(node.start, node.end)
    return ""


def _slice(reading: Reading, node: Node) -> str:
    return reading.text[node.start : node.end]


def _is_fraction(reading: Reading, node: Node) -> bool:
    """`2/3`, `7/12`: one number, not a division to be carried out."""
    if node.kind != "expression" or node.operations != 1 or len(node.literals) != 2 or node.value is None:
        return False
    top, bottom = node.literals
    if not re.search(r"/|frac", _slice(reading, node)):
        return False
    return bool(bottom) and abs(abs(node.value[0]) - top / bottom) < 1e-12 and max(top, bottom) <= 12


def _theorem_value(reading: Reading, node: Node) -> bool:
    """`pi/180`, `10^2`, `2^10`, `1/2 * ...`: literals that are theorem numbers, or units and powers of them."""
    powers = all(x <= 2 or (is_small(x) and x >= 10) for x in node.literals)
    return (powers and ("^" in _slice(reading, node) or node.literals[0] == 1)) or (
        bool(re.search(r"\\pi|\bpi\b", _slice(reading, node))) and set(node.literals) <= {180.0, 360.0, 2.0, 4.0, 3.0}
        and context.belongs_to_theorem(reading.text, node)
    )


def _verbal(reading: Reading) -> str:
    text = reading.text
    for pattern in _PAIRS:
        for match in pattern.finditer(text):
            a, b = float(match["a"]), float(match["b"])
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
        if not (left.letters == 1 and not left.operations and not left.literals) or right.letters or right.value is None:
            continue
        size = number_key(right.value[0])
        if size in (0.0, 1.0) or size not in reading.specific or left.end - left.start > 6:
            continue
        if size <= 3 and _TRIED.search(context.before(text, node.start)):
            continue
        return reading.quote(node.start, node.end)
    for match in _INSERT.finditer(text):
        value = float(match["a"] or match["b"])
        if value not in (0.0, 1.0) and _own(reading, value):
            return reading.quote(match.start(), match.end())
    return ""


def find_intermediate(reading: Reading) -> str:
    """A result of the response's own computation, quoted; "" where there is none."""
    return _number(reading) or _formula(reading)


def _number(reading: Reading) -> str:
    text = reading.text
    for node in reading.nodes:
        if node.value is None or node.letters or node.kind in ("relation", "tuple"):
            continue
        size = number_key(node.value[0])
        if (size not in reading.new and size not in reading.derived) or (node.unit and node.kind == "number" and size == 100):
            continue
        if node.kind == "expression" and not _is_fraction(reading, node) and node.operations:
            continue  # its literals are looked at one by one
        if _is_fraction(reading, node) and (
            is_small(size)
            or context.is_coefficient(text, node)
            or (node.literals[0] == 1 and context.is_conditional(text, node))  # each face has probability 1/6
        ):
            continue
        if not is_small(size):
            if not context.belongs_to_theorem(text, node) and not _EXAMPLE.search(context.before(text, node.start)):
                return reading.quote(node.start, node.end)
        elif size >= 2 and node.whole and _small_result(reading, node, size):
            return reading.quote(node.start, node.end)
    return ""


def _small_result(reading: Reading, node: Node, size: float) -> bool:
    text = reading.text
    if context.belongs_to_theorem(text, node):
        return False
    noun = _COUNTS.match(text[node.end : node.end + 24])
    if noun and size >= 3:
        name = context.stem(noun[1])
        if name not in context.GENERIC_NOUNS and (size, name) in reading.counted:
            return True
        if name in ("choice", "option", "way", "possibility") and (size, name) in reading.counted:
            return True
        supposed = re.search(r"\b(?:if|when|suppose|whether|unless)\b", context.before(text, node.start), re.I)
        if name in reading.nouns and name not in context.GENERIC_NOUNS and not supposed:
            return True  # `nine diagonals` where diagonals are asked for
    left = context.before(text, node.start)
    listed = not re.search(r"\b(?:co)?prime (?:factors?|numbers?)", left, re.I) and _LISTED.search(re.sub(r"[-\d., ]+(?:and|or)?[ -]*$", " ", left))
    if listed and re.search(r"\d[ ]*(?:,|and|or)[ ]*-?$", left) and context.ends(text, node, reading.nouns):
        return True
    return context.announced(text, node, reading.nouns, any_subject=True)


def _formula(reading: Reading) -> str:
    """Formulas of the response with its numbers in them: `2x = 8`, `(x-5)(x+2)`, `(1+i)^2 = 2i`, `[-2, 2]`."""
    for node in reading.nodes:
        if not (node.whole or node.kind in ("relation", "tuple")) or not (node.operations or node.parts):
            continue
        written = tight(_slice(reading, node))
        if len(written) < 5 or written not in reading.tight_response or written in reading.tight_problem:
            continue
        if (
            (node.kind == "relation" and "=" in node.signs and any(_is_result(reading, part) for part in node.parts))
            or (node.kind == "tuple" and not node.letters and any(x >= 2 for x in node.literals))
            or (node.letters and _is_instance(reading, node, written))
        ):
            return reading.quote(node.start, node.end)
    return ""


def _is_result(reading: Reading, side: Node) -> bool:
    """The side of an equation that is a number of 2 or more, or a multiple of the imaginary unit."""
    number = not side.letters and side.value is not None and abs(side.value[0]) >= 2
    return number or re.fullmatch(r"-?\d+i", tight(_slice(reading, side))) is not None


def _is_instance(reading: Reading, node: Node, written: str) -> bool:
    """A polynomial with two constants added in it, or one in x, y, z, t alone that is announced."""
    added = re.findall(r"[-+](\d+(?:\.\d+)?)(?![\d^]|[a-zA-Z(])", written)
    if sum(float(x) >= 2 for x in added) >= 2:
        return True
    plain_letters = set(re.findall(r"[a-zA-Z]+", written)) <= set("xyzt")
    return plain_letters and node.operations >= 2 and context.announced(reading.text, node, reading.nouns, any_subject=True)
