"""Answers that are words or choice letters: where a text states them, and where it only speaks of them."""

from __future__ import annotations

import re

from sgpo.strategies.leakage import context
from sgpo.strategies.leakage.reading import Reading
from sgpo.strategies.leakage.vocabulary import COMMON_WORDS

_CHOICE_NAME = r"(?:options?|choices?|answers?|alternatives?|select|choose|pick|mark|letter|tick|circle)"
_RIGHT = r"(?:correct|right|answer|only|true|one)"
_OR_BEFORE = re.compile(r"(?:\bor|/|\bversus|\bvs\.?)\s*(?:an?\s+)?[\"']?$", re.IGNORECASE)
_OR_AFTER = re.compile(r"[\"']?\s*(?:or\b|/|versus\b|vs\b)", re.IGNORECASE)
_ASKED = re.compile(r"\b(?:whether|which of|decide if|check if|test if)\b", re.IGNORECASE)
_LISTED_BEFORE = re.compile(r"[A-Za-z]\s*,\s*(?:and\s+)?(?:an?\s+)?[\"']?$|\b[A-Z][a-z]+\s+and\s+[\"']?$")
_LISTED_AFTER = re.compile(r"[\"']?\s*,\s*(?:and\s+|or\s+)?(?:an?\s+)?[\"']?[A-Za-z]+[\"']?\s*(?:,|and\b|or\b)")
_VERDICT = re.compile(r"\b(?:answer|result|conclusion|conclude|verdict|classif\w+)\b[^.;\n]*$", re.IGNORECASE)
_CLOSED = re.compile(
    r"[\"')\]]*\s*(?:$|[.,;:!?)\n]|\b(?:as|because|since|and|so|by|function|number|triangle|curve)\b)", re.IGNORECASE
)
_SUPPOSED = re.compile(
    r"\b(?:if|when|whenever|whether|every|any|each|case|product of|sum of|for|where|recall|"
    r"an? [a-z]+ (?:function|number|integer) is)\b",
    re.IGNORECASE,
)
_CONSEQUENCE = re.compile(r"[;:]\s*[\"']?$|\b(?:so|hence|thus|therefore)\b(?! that| as)[^,;]{0,40}$", re.IGNORECASE)
_SAID = re.compile(
    r"\b(?:is|are|be|becomes?|represents?|describes?|gives?|forms?|identify|get|obtain|find|means|show\w*|land\w* on|"
    r"choose|pick)\s+(?:(?:an?|the|that|always|therefore|thus|indeed|in fact|then|it|is|[\"'])\s*)*$",
    re.IGNORECASE,
)


def letter(reading: Reading, letter: str) -> str:
    """`option B`, `(B)`, `the answer is B`; not `options A, B and C`, not `point B`."""
    text = reading.text
    one = rf"\(?{letter}\)?"
    listed = r"(?!\s*(?:,|and|or|to|through|-)\s*\(?[A-J]\b)"
    patterns = (
        rf"\b{_CHOICE_NAME}\b(?:\s+(?:is|must be|would be|letter|option|choice|"
        rf"answer))*\s*[:=]?\s*[\"'(]*{letter}\b{listed}",
        rf"\b(?:is|be)\s+{one}(?=\s*(?:[.;!\n]|$))",
        rf"(?<![A-Za-z]){one}\s+(?:is|are|must be|would be)\s+(?:then\s+|therefore\s+)?(?:the\s+)?{_RIGHT}",
        rf"(?<![A-Za-z]){one}\s+(?:works|passes|satisfies|remains|survives|holds|fits|matches)\b",
        rf"\bonly\s+{one}(?![A-Za-z])",
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


def words(reading: Reading, words: str) -> str:
    """A text answer: a name anywhere outside a list of candidates; a common word only as a predicate."""
    spaced = r"[\s\"'-]+".join(re.escape(word) for word in words.split())
    common = all(word in COMMON_WORDS for word in words.split())
    for match in re.finditer(rf"(?<![A-Za-z\\-]){spaced}(?![A-Za-z-])", reading.text, re.IGNORECASE):
        left = context.before(reading.text, match.start())
        right = context.after(reading.text, match.end())
        if _among_candidates(left, right, match.group()):
            continue
        if not common or _predicate(left, right):
            return reading.quote(match.start(), match.end())
    return ""


def _among_candidates(left: str, right: str, word: str) -> bool:
    """One of several that the text lists or asks about: `even, odd or neither`, `Anna, Boris and Clara`."""
    if _OR_BEFORE.search(left) or _OR_AFTER.match(right) or _ASKED.search(left):
        return True
    listed_left, listed_right = _LISTED_BEFORE.search(left), _LISTED_AFTER.match(right)
    if word[:1].isupper():
        names = set(re.findall(r"\b[A-Z][a-z]+\b", left[1:] + " " + right))
        return len(names) >= 2 and bool(listed_left or listed_right)
    either = re.compile(r"\bor\b")
    return bool(listed_left and either.search(left + right)) or bool(listed_right and either.search(right))


def _predicate(left: str, right: str) -> bool:
    """`so the function is odd.`, `the answer is yes`, `Identify an ellipse`."""
    if _VERDICT.search(left):
        return True
    if not _CLOSED.match(right) or _SUPPOSED.search(left):
        return False
    return bool(_CONSEQUENCE.search(left) or _SAID.search(left))
