"""What the words around a number make of it: a label (`Step 2`), a theorem's number (`180 degrees`), a coefficient."""

from __future__ import annotations

import math
import re

from sgpo.strategies.leakage.values import Node

_SENTENCE = re.compile(r"(?<!i\.e)(?<!e\.g)(?<![ (]i)(?<![ (]e)[.;](?!\d)|[!?](?=\s+[A-Z]|\s*$)|\n")
_LABEL = re.compile(
    r"(?:\b(?:step|case|part|figure|fig|equation|eq|theorem|lemma|phase|stage|rule|method|option|chapter|section|stage|"
    r"example|exercise|problem|type|property|axiom|condition|line|item|idea|claim|fact|note|approach|formula|level)s?"
    r"|#)[ .:(#]*(?:\d+[ ,]*(?:and|or|to|-|,|&)[ ]*)*$",
    re.IGNORECASE,
)
_LIST_MARK = re.compile(r"(?:^|\n)[ \t(]*$")
_AFTER_MARK = re.compile(r"[.):](?!\d)")
_ORDINAL = re.compile(r"(?:\^?\{?)?(?:st|nd|rd|th)\b|-(?:st|nd|rd|th)\b")
_COMPOUND = re.compile(
    r"-(?:by|digit|sided?|gon|dimension\w*|element|step|letter|variable|term|way|fold|point|face|faced|card|year|hour|"
    r"tuple|cycle|set|adic|bit|member|person|column|row|part|move|color\w*|colour\w*|d\b|D\b)|D\b|[ -]by[ -]\d"
)
_BASE = re.compile(
    r"(?:\bmod(?:ulo|ulus)?|\\[pb]?mod|\bbase|\blog_|\bdivisib\w+ by|\bmultiples? of|\bpowers? of|\bdivisors? of|"
    r"\bcoprime (?:to|with)|\bprime to|\bremainder (?:on|when|after|upon)\b[^.;\n]{0,30}\bby)"
    r"[ ({:]*(?:\d+(?:, ?(?:and |or )?| and | or )(?:by )?)*$",
    re.IGNORECASE,
)
_EXAMPLES = re.compile(
    r"(?:\bprimes?|\bprime factors|\bsuch as|\blike|\be\.g\.?,?|\bfor example,?|\bfor instance,?|\bincluding|\bamong)"
    r"[ :]*(?P<list>(?:\d+(?:, ?(?:and |or )?| and | or ))*)$",
    re.IGNORECASE,
)
_MORE = re.compile(r"(?: ?, ?(?:and |or )?| and | or )\d+")
_FUNCTION_ANGLE = r"sine of|\b(?:sin|cos|tan|tangent|included angle)\b"
# Numbers of general knowledge, with the words that must stand in the same sentence.
_KNOWN: dict[float, re.Pattern[str]] = {
    number: re.compile(words, re.IGNORECASE)
    for number, words in {
        180: r"degree|angle|\bpi\b|\\pi|radian|triangle|polygon|n *- *2|interior|supplement|half.turn",
        360: r"degree|angle|circle|turn|revolution|polygon|exterior|rotation|circumference|\\pi",
        90: r"degree|angle|right|perpendicular|complement|rotat|quarter.turn",
        270: r"degree|angle|rotat",
        60: r"hour.*minute|minute.*(?:hour|second|degree|arc)|second.*minute|degree.*minute|convert|clock|equilateral|"
        + _FUNCTION_ANGLE,
        3600: r"hour.*second|second.*hour|convert",
        24: r"hours?\b.*\bday|\bday.*hours?\b|clock|convert",
        12: r"months?\b.*\byear|year.*month|inch.*f[eo][eo]t|f[eo][eo]t.*inch|clock|dozen|convert",
        365: r"day.*year|year.*day",
        366: r"day.*year|year.*day",
        52: r"week.*year|year.*week|card|deck",
        26: r"letter|alphabet",
        13: r"\bcard|rank|suit",
        16: r"ounce|hexadecimal|pound",
        3.14: r"\bpi\b|\\pi",
        9.8: r"gravit|accelerat",
        9.81: r"gravit|accelerat",
        2.54: r"inch|centimet",
        1.5: r"interquartile|outlier",
        30: _FUNCTION_ANGLE,
        45: _FUNCTION_ANGLE,
        7: r"day.*week|week.*day",
        25: r"quarter|modulo 4\b|modulo 100\b|digit",
        100: r"percent|%|\bcents?\b|centi|hundredth|modulo",
        1000: r"kilo|milli|gram|met(?:er|re)|lit(?:er|re)|thousand|modulo",
        5280: r"mile|feet",
    }.items()
}
_LARGEST_BASE = 16  # `modulo 9`, `multiples of 11`; a larger modulus that is not the problem's was computed
_ROUND_BASES = {25.0, 100.0, 1000.0}
_ANGLES = {90.0, 180.0, 270.0, 360.0}  # at home anywhere in a strategy about angles
_STANDARD_ANGLES = {30.0, 45.0, 60.0}
# A law's coefficient: `1/3 of the base area times the height`, `2/3 of the median`, `4/3 pi r^3`.
_COEFFICIENT = re.compile(
    r"[ ]*(?:\*|of (?:the|a|an|its|that|each|this)\b|times (?:the|a|its)\b|the (?:product|base|area|sum)\b|base\b|"
    r"height\b|area\b|\(?[A-Za-z]{1,2}\b(?! ?[a-z]{3})|\\pi)"
)
EXAMPLE = re.compile(r"\b(?:e\.g\.|for example|for instance|such as|like)[^.;\n]*$", re.IGNORECASE)
LAW = re.compile(r"^\W*(?:an?|every|each|any|all) ", re.IGNORECASE)  # a square has 4 sides
CONDITION = re.compile(
    r"\b(?:if|when|whenever|whether|until|unless|such that|so that|whose|where|each|every|any|suppose|assume|"
    r"let|set|put|"
    r"setting|for all|recall|remember|because|since|law|theorem|always|general(?:ly)?|case|must be|should be|known)\b",
    re.IGNORECASE,
)


def stem(word: str) -> str:
    """A crude singular, lower case."""
    word = word.lower()
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word


def before(text: str, position: int, reach: int = 120) -> str:
    """What stands before a position in its sentence."""
    left = text[max(0, position - reach) : position]
    ends_here = 0
    for end in _SENTENCE.finditer(left):
        ends_here = end.end()
    return left[ends_here:]


def after(text: str, position: int, reach: int = 80) -> str:
    """What stands after a position in its sentence, its end mark included."""
    right = text[position : position + reach]
    end = _SENTENCE.search(right)
    return right[: end.end()] if end else right


def labels(text: str, node: Node) -> bool:
    """`Step 2`, `2.` at the head of a line, `2nd`, `4-digit`, `3-4-5`: not a quantity at all."""
    left, right = text[max(0, node.start - 60) : node.start], text[node.end : node.end + 16]
    if _LABEL.search(left) or _ORDINAL.match(right) or _COMPOUND.match(right):
        return True
    if left.endswith(("_", "_{")):
        return True
    return bool(_LIST_MARK.search(left) and _AFTER_MARK.match(right))


def belongs_to_theorem(text: str, node: Node) -> bool:
    """A number of general knowledge where it is at home: 180 beside angles, 60 minutes in an hour, `modulo 11`."""
    value = node.value[0] if node.value else 0.0
    left, right = before(text, node.start), after(text, node.end)
    known = _KNOWN.get(abs(value))
    if known and known.search(text if abs(value) in _ANGLES else left + text[node.start : node.end] + right):
        return True
    if value in _STANDARD_ANGLES and any(f"{angle:g}" in left + right for angle in _STANDARD_ANGLES):
        return True
    return in_base(text, node) or _of_powers(left + text[node.start : node.end] + right)


_POWER_LIST = re.compile(r"(?<![\w.^])\d{1,6}(?:,? (?:(?:and|or|by|then) ){0,2}\d{1,6}(?![\w^.])){2,12}")


def _of_powers(sentence: str) -> bool:
    """`by 5, by 25, by 125`: a list of three or more powers of one number."""
    for match in _POWER_LIST.finditer(sentence):
        numbers = sorted({int(x) for x in re.findall(r"\d+", match.group())} - {0, 1})
        if len(numbers) >= 3 and all(round(math.log(x, numbers[0]), 9).is_integer() for x in numbers):
            return True
    return False


def in_base(text: str, node: Node) -> bool:
    """`modulo 7`, `base 12`, `multiples of 15`; `primes such as 2, 3 and 5`, where three or more are listed."""
    value, left = abs(node.value[0]) if node.value else 0.0, before(text, node.start)
    if (value <= _LARGEST_BASE or value in _ROUND_BASES) and _BASE.search(left):
        return True
    examples = _EXAMPLES.search(left)
    following = text[node.end : node.end + 40]
    count = len(re.findall(r"\d+", examples["list"])) if examples else 0
    more = _MORE.match(following)
    while more:
        count += 1
        following = following[more.end() :]
        more = _MORE.match(following)
    return bool(examples) and count >= 2


def is_conditional(text: str, node: Node) -> bool:
    """Said of each, of any, or under a condition: a law rather than a result."""
    return bool(CONDITION.search(before(text, node.start)) or CONDITION.search(after(text, node.end)))


def is_coefficient(text: str, node: Node) -> bool:
    """A fraction in front of what it multiplies in a law."""
    return bool(_COEFFICIENT.match(text[node.end : node.end + 30]))
