"""The rules of the leak check, a row each; docs/strategy-check.md has the same rows with what each says.

The rows are tried in order; the first that finds something gives the verdict's kind. tests/unit/test_leak_rules.py runs
the examples of the page: a step that leaks, and the nearest one that does not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sgpo.strategies.leakage import chosen, copied, numbers
from sgpo.strategies.leakage.facts import Facts


class Rule(NamedTuple):
    """A kind of leak. kind: of the verdict. find: quotes what leaks, "" where nothing does."""

    name: str
    kind: str
    find: Callable[[Facts], str]


RULES = (
    Rule("option", "answer", chosen.right_option),
    Rule("elimination", "answer", chosen.eliminated),
    Rule("value", "answer", numbers.value),
    Rule("written", "answer", chosen.written),
    Rule("words", "answer", chosen.said),
    Rule("computation", "computation", numbers.computation),
    Rule("equation", "intermediate", numbers.equation),
    Rule("number", "intermediate", numbers.number),
    Rule("copied", "copied", copied.find),
)
