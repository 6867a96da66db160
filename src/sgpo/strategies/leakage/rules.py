"""The rules of the leak check, a row each, in their order; docs/strategy-check.md has the same rows with examples."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sgpo.strategies.leakage import numbers, wording
from sgpo.strategies.leakage.facts import Facts


class Rule(NamedTuple):
    """A kind of leak. kind: of the verdict. find: quotes what leaks, "" where nothing does."""

    name: str
    kind: str
    find: Callable[[Facts], str]


RULES = (
    Rule("option", "answer", wording.right_option),
    Rule("elimination", "answer", wording.eliminated),
    Rule("value", "answer", numbers.value),
    Rule("written", "answer", wording.written),
    Rule("words", "answer", wording.said),
    Rule("computation", "computation", numbers.computation),
    Rule("equation", "intermediate", numbers.equation),
    Rule("number", "intermediate", numbers.number),
    Rule("copied", "copied", wording.copied),
)
