r"""Brackets: what stands outside all of them, and which one closes which."""

from __future__ import annotations

import re

_OPEN, _CLOSE = "([{", ")]}"


def top_level(text: str) -> list[bool]:
    """For each character whether it stands outside all brackets (any kind closes any kind: `(3,4]`)."""
    level, outside, i = 0, [False] * len(text), 0
    while i < len(text):
        character = text[i]
        escaped = character == "\\" and i + 1 < len(text)
        bracket = text[i + 1] if escaped else character
        if bracket in _OPEN and (not escaped or bracket == "{"):
            level += 1
        elif bracket in _CLOSE and (not escaped or bracket == "}"):
            level = max(0, level - 1)
        else:
            outside[i] = level == 0
        i += 2 if escaped and not bracket.isalpha() else 1
    return outside


def split_top(text: str, pattern: re.Pattern[str]) -> tuple[list[str], list[str]]:
    """Split outside brackets; returns the pieces and what separated them."""
    outside = top_level(text)
    pieces, separators, start = [], [], 0
    for match in pattern.finditer(text):
        if outside[match.start()]:
            pieces.append(text[start : match.start()].strip())
            separators.append(match.group().strip())
            start = match.end()
    pieces.append(text[start:].strip())
    return pieces, separators


def pairs_up(text: str) -> bool:
    """Whether the bracket that opens `text` is closed by its last character and not before."""
    level, i = 0, 0
    while i < len(text):
        character = text[i]
        escaped = character == "\\" and i + 1 < len(text)
        bracket = text[i + 1] if escaped else character
        if bracket in _OPEN and (not escaped or bracket == "{"):
            level += 1
        elif bracket in _CLOSE and (not escaped or bracket == "}"):
            level -= 1
            if level == 0:
                return i + (2 if escaped else 1) == len(text)
        i += 2 if escaped else 1
    return False
