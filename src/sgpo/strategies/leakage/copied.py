"""Whether a strategy copies the response: a run of `RUN` words, or a whole sentence of `WHOLE`.

What the problem says too is no copy. The statement of a law may be longer, since all who state it use the same words.
"""

from __future__ import annotations

import functools

from sgpo.mathtext.quantities import Text
from sgpo.mathtext.tokens import words
from sgpo.strategies.leakage.facts import Facts

RUN, LAW_RUN, WHOLE = 10, 14, 7
_LAW = words("theorem law formula identity rule lemma inequality principle property definition defined sum product")


def _words(text: Text) -> list[str]:
    """Formulas are for the other rules."""
    return [t.text.lower() for t in text.tokens if t.value is not None or (t.kind == "word" and len(t.text) > 1)]


@functools.lru_cache(8)
def _runs(text: Text, length: int) -> frozenset[tuple[str, ...]]:
    found = _words(text)
    return frozenset(tuple(found[i : i + length]) for i in range(len(found) - length + 1))


def _sentences(text: Text) -> list[str]:
    """The sentences that are long enough to be a copy, formulas included."""
    found = (text.words(begin, end) for begin, end in text.sentences)
    return [" ".join(said) for said in found if len(said) >= (LAW_RUN if _LAW & {*said} else WHOLE)]


def find(facts: Facts) -> str:
    """The rule `copied`: the first long span or whole sentence that the strategy shares with the response."""
    strategy, response, problem = facts.strategy, facts.case.response, facts.case.problem
    theirs = set(_sentences(response)) - set(_sentences(problem))
    if whole := next((said for said in _sentences(strategy) if said in theirs), ""):
        return whole[:160]
    own = _words(strategy)
    for i in range(len(own)):
        length = LAW_RUN if _LAW & {*own[max(0, i - 8) : i + RUN]} else RUN
        run = tuple(own[i : i + length])
        if run in _runs(response, length) and run not in _runs(problem, length):
            return " ".join(run)[:160]
    return ""
