r"""Brackets: what stands outside all of them, and which one closes which."""

from __future__ import annotations

import re
from collections.abc import Iterator

_OPEN, _CLOSE = "([{", ")]}"


def _steps(text: str) -> Iterator[tuple[int, int, int]]:
    r"""Each character's start and end, and 1, -1 or 0 for what it does to the depth; `\{` counts as one character, and
    `\begin` opens what `\end` closes.
    """
    i = 0
    while i < len(text):
        escaped = text[i] == "\\" and i + 1 < len(text)
        bracket = text[i + 1] if escaped else text[i]
        end = i + (2 if escaped and not bracket.isalpha() else 1)
        change = (bracket in _OPEN) - (bracket in _CLOSE)
        if escaped and bracket not in "{}":
            change = text.startswith("begin{", i + 1) - text.startswith("end{", i + 1)
        yield i, end, change
        i = end


def outside(text: str, pattern: re.Pattern[str]) -> Iterator[re.Match[str]]:
    """The matches that begin outside all brackets (any kind closes any kind: `(3,4]`)."""
    level, starts = 0, set()
    for start, _, change in _steps(text):
        level = max(0, level + change)
        if level == 0 and not change:
            starts.add(start)
    return (match for match in pattern.finditer(text) if match.start() in starts)


def split_top(text: str, pattern: re.Pattern[str]) -> tuple[list[str], list[str]]:
    """Split outside brackets; returns the pieces and what separated them."""
    found = list(outside(text, pattern))
    starts, ends = [0, *(match.end() for match in found)], [*(match.start() for match in found), len(text)]
    pieces = [text[start:end].strip() for start, end in zip(starts, ends, strict=True)]
    return pieces, [match.group().strip() for match in found]


def pairs_up(text: str) -> bool:
    """Whether the bracket that opens `text` is closed by its last character and not before."""
    level = 0
    for _, end, change in _steps(text):
        level += change
        if change < 0 and level == 0:
            return end == len(text)
    return False
