"""Whether a strategy copies the response: a run of `RUN` words, or short runs that together are most of the strategy.

What the problem says too is no copy. The statement of a law may be longer, since all who state it use the same words.
"""

from __future__ import annotations

import functools
import itertools

from sgpo.mathtext.quantities import Text
from sgpo.mathtext.tokens import words

RUN, LAW_RUN, _GRAM = 10, 14, 6
WHOLE = 7
_LAW = words("theorem law formula identity rule lemma inequality principle property definition defined sum product")


def _words(text: Text) -> list[str]:
    """Formulas are for the other rules."""
    return [t.text.lower() for t in text.tokens if t.value is not None or (t.kind == "word" and len(t.text) > 1)]


def _grams(found: list[str]) -> list[tuple[str, ...]]:
    return [tuple(found[i : i + _GRAM]) for i in range(len(found) - _GRAM + 1)]


def _sentence(strategy: Text, response: Text, problem: Text) -> str:
    """A whole sentence of the response, formulas included, that the problem has not."""
    theirs, given = (_sentences(text) for text in (response, problem))
    return next((" ".join(said)[:160] for said in _sentences(strategy) if said in theirs and said not in given), "")


@functools.lru_cache(512)  # the other strategies of a problem ask again
def _sentences(text: Text) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for ended, run in itertools.groupby(text.tokens, lambda token: token.kind == "end"):
        said = tuple(token.text.lower() for token in run)
        if not ended and len(said) >= (LAW_RUN if _LAW & {*said} else WHOLE):
            found.append(said)
    return found


def find(strategy: Text, response: Text, problem: Text) -> str:
    """The first long span that the strategy shares with the response, or ""."""
    if whole := _sentence(strategy, response, problem):
        return whole
    own, theirs = _words(strategy), set(_grams(_words(response))) - set(_grams(_words(problem)))
    hits = [i for i, gram in enumerate(_grams(own)) if gram in theirs]
    for _, group in itertools.groupby(enumerate(hits), lambda pair: pair[1] - pair[0]):
        run = [i for _, i in group]
        span = own[run[0] : run[-1] + _GRAM]
        if len(span) >= (LAW_RUN if _LAW & {*own[max(0, run[0] - 8) : run[0]], *span} else RUN):
            return " ".join(span)[:160]
    covered = {i + k for i in hits for k in range(_GRAM)}
    return " ".join(own[hits[0] :][:20])[:160] if len(covered) >= max(18, 0.6 * len(own)) else ""
