"""Whether a strategy copies the response: no long span of the response, word for word or nearly so.

A run of `RUN` words and numbers in common counts, or short runs that together are most of the strategy. What the
problem says too is no copy of the response, and the statement of a law may be longer, since all who state it use the
same words.
"""

from __future__ import annotations

import re

RUN = 10
LAW_RUN = 14
_GRAM = 6
_WORD = re.compile(r"[a-z]{2,}|\d+(?:\.\d+)?(?:st|nd|rd|th)?")  # formulas are for the other rules
_MARKUP = re.compile(r"\\[a-z]+")
_LAW = re.compile(
    r"\b(?:theorem|law|formula|identity|rule|lemma|inequality|principle|property|definition|defined|sum|product)\b"
)


def _words(text: str) -> list[str]:
    return _WORD.findall(_MARKUP.sub(" ", text.lower().replace("'", "")))


def _grams(words: list[str], size: int) -> set[tuple[str, ...]]:
    return {tuple(words[i : i + size]) for i in range(len(words) - size + 1)}


def find(strategy: str, response: str, problem: str) -> str:
    """The first long span that the strategy shares with the response, or ""."""
    words = _words(strategy)
    if len(words) < _GRAM:
        return ""
    own = _grams(_words(problem), _GRAM)
    theirs = _grams(_words(response), _GRAM)
    hits = [tuple(words[i : i + _GRAM]) for i in range(len(words) - _GRAM + 1)]
    start = -1
    covered: set[int] = set()
    for i in range(len(hits) + 1):
        hit = i < len(hits) and hits[i] in theirs and hits[i] not in own
        if hit:
            covered.update(range(i, i + _GRAM))
            start = i if start < 0 else start
        elif start >= 0:
            length = i - start + _GRAM - 1
            span = " ".join(words[start : start + length])
            near = " ".join(words[max(0, start - 8) : start + length])
            if length >= (LAW_RUN if _LAW.search(near) else RUN):
                return span[:160]
            start = -1
    if len(covered) >= 18 and len(covered) >= 0.6 * len(words):
        first = min(covered)
        return " ".join(words[first : first + 20])[:160]
    return ""
