r"""Layout commands that separate: `x=1 \quad y=2` is a list, `5 \quad \text{cm}` is one value.

A wide space or a row's end separates two statements; a narrow one (`\;`, `~`, `\ `, a line's end) only two relations,
since it also stands between factors. What is separated gets a comma, and a condition (`\quad (x>0)`) the word "where",
so that the shapes (`sgpo.rewards.structure`) know one spelling of each.
"""

from __future__ import annotations

import re

from sgpo.rewards.brackets import outside, pairs_up
from sgpo.rewards.structure import letters

_WIDE = (
    r"(?:\\(?:qquad|quad|enspace|hfill|cr|newline)(?![A-Za-z])|\\[hv]space\*?\{[^{}]*\}"
    r"|\\hskip ?-?[\d.]+ ?(?:em|ex|pt|cm|mm|in|mu))"
)
_NARROW = r"(?:\n|(?<=\s)&(?=\s)|\\[;:> ]|~|\\text ?\{\s*\}|\\(?:thinspace|thickspace|medspace)(?![A-Za-z]))"
_BETWEEN = re.compile(rf"(?:\s|\\[,!]|{_NARROW}|{_WIDE})+")
_HAS_WIDE = re.compile(_WIDE)
_HAS_NARROW = re.compile(_NARROW)
_HAS_THIN = re.compile(r"\\,")
_RELATION = re.compile(r"\\(?:leq?|geq?|neq?|in|leqslant|geqslant|lt|gt)(?![A-Za-z])|(?<![:\\])[<>]|=|≤|≥|≠|∈")
_ASSIGNED = re.compile(r"\s*(?:\\?[A-Za-z]+)(?:_\{?\w+\}?)?\s*=[^=<>]+")
_DANGLING = re.compile(
    r"(?:[-+*/=<>^_(\[{,;:&|]|\\(?:cdot|times|le|ge|leq|geq|ne|in|pm|cup|cap|to|div|text ?\{[^{}]*\}))\s*$"
)
_CONTINUED = re.compile(
    r"\s*(?:[+*/=<>^_)\]},;:.&|%!']|-(?=\s)|\\(?:cdot|times|leq?|geq?|neq?|in|pm|cup|cap|setminus|to|div|pmod|bmod|mod|equiv|"
    r"approx|text|textbf|mathrm|textrm|rm|mbox|right|end|%|\$|circ|deg|degree|\})(?![A-Za-z]))"
)
_PROSE = re.compile(r"(?<![A-Za-z\\])[A-Za-z]{2,}(?![A-Za-z(_^=])")
_JOINED = re.compile(r"(?:,|;|\band|\bor|\\text ?\{[^{}]*\b(?:and|or)[^{}]*\})\s*$")
_LABEL = re.compile(r"\W*(?:\\(?:text|textbf|mathrm|textrm|mathbf|rm|bf)\b\W*)*[A-J]\W*")


def _related(text: str) -> bool:
    """Whether a text is a complete relation: a sign with something on both sides."""
    match = _RELATION.search(text)
    return bool(match and text[: match.start()].strip() and text[match.end() :].strip() and not _DANGLING.search(text))


def _bracketed(text: str) -> bool:
    text = text.strip()
    return text[:1] == "(" and pairs_up(text)


def _joint(before: str, space: str, after: str) -> str:
    """What stands between two pieces: a comma, "where", or the space as it is."""
    if _JOINED.search(before):
        return " "
    alone = not before.strip() or not after.strip()
    if alone or _CONTINUED.match(after) or _DANGLING.search(before) or _LABEL.fullmatch(before):
        return space
    wide = bool(_HAS_WIDE.search(space))
    related = _related(before), _related(after)
    if not wide:
        if not all(related) or _bracketed(after):
            return space
        if _HAS_NARROW.search(space):
            return ", "
        assigned = _ASSIGNED.fullmatch(before) and _ASSIGNED.fullmatch(after)
        return ", " if _HAS_THIN.search(space) and assigned else space
    if _PROSE.search(re.sub(r"\\[A-Za-z]+", " ", before + " " + after)):
        return ", " if all(related) else space
    if _bracketed(after) and related[1]:
        return r" \text{ where } "
    condition = related[1] and "=" not in after and not (related[0] and "=" not in before)
    if condition and letters(after) <= letters(before) and not _fixed(before):
        return r" \text{ where } "
    return ", "


def _fixed(text: str) -> bool:
    """Whether a text gives a variable a number: `x = 0 \\quad x \\ge 2` are two answers."""
    return bool(_ASSIGNED.fullmatch(text)) and not letters(text.rpartition("=")[2])


def listed(text: str) -> str:
    """The text with a comma, or "where", in place of the layout that separates."""
    if r"\begin" in text or not (_HAS_WIDE.search(text) or _RELATION.search(text)):
        return text
    spaces = [match for match in outside(text, _BETWEEN) if match.group().strip(" \t")]
    ends = [*(space.start() for space in spaces), len(text)]
    done = current = text[: ends[0]]
    for space, end in zip(spaces, ends[1:], strict=True):
        piece = text[space.end() : end]
        joint = _joint(current, space.group(), piece)
        current = piece if joint != space.group() else current + joint + piece
        done += joint + piece
    return done
