r"""Sets of real numbers, compared however they are cut: `(0,2) \cup [2,3)` is `(0,3)`.

The ends of both sides cut the line into points and the gaps between them. Numbered from the left, a set is the numbers
of what it holds, and union, difference and equality are those of Python's sets.
"""

from __future__ import annotations

import functools
import itertools
import re
from typing import Any

import sympy

from sgpo.rewards import exact, library, structure

_SETMINUS = re.compile(r"\\setminus(?![A-Za-z])")
_Span = tuple[Any, Any, bool, bool]  # the low and the high end, sympy constants, and whether each belongs to it


def _end(text: str) -> Any:
    """An end of an interval.

    Raises:
        UndecidedError: it is no constant. UnparsableError: it cannot be read.
    """
    value = library.parse(text)
    if not isinstance(value, sympy.Expr) or value.free_symbols:
        raise exact.UndecidedError(text[:80])
    return value.doit() if value.has(sympy.oo, -sympy.oo) else value


def _compare(left: Any, right: Any) -> int:
    """-1, 0 or 1 for two ends."""
    if left.is_infinite or right.is_infinite:
        return int(bool(left > right)) - int(bool(left < right))
    found = exact.difference(left, right)
    if found is None:
        raise exact.UndecidedError("too large")
    return exact.sign_of(*found)


def _spans(text: str) -> list[_Span]:
    """The intervals and points of a union."""
    node = structure.parse(text)
    if node.kind == "union":
        return [span for part in node.items for span in _spans(part)]
    if node.kind == "set":
        return [(_end(item), _end(item), True, True) for item in node.items]
    if node.kind in ("interval", "tuple") and len(node.items) == 2:
        return [(_end(node.items[0]), _end(node.items[1]), node.brackets[0] == "[", node.brackets[1] == "]")]
    raise exact.UndecidedError(text[:80])


def same(gold: list[str], answer: list[str]) -> bool:
    r"""Whether two unions, given by their parts, are one set; of a part others may be taken out, `\setminus`.

    Raises:
        UndecidedError: a part is no interval or set of points, or an end is no constant.
        UnparsableError: an end cannot be read.
    """
    sides = [
        [[_spans(piece) for piece in structure.split_top(part, _SETMINUS)[0]] for part in parts]
        for parts in (gold, answer)
    ]
    ends = {end for side in sides for part in side for spans in part for span in spans for end in span[:2]}
    in_order = sorted(ends, key=functools.cmp_to_key(_compare))
    steps = [2 * (_compare(one, other) != 0) for one, other in itertools.pairwise(in_order)]
    points = dict(zip(in_order, itertools.accumulate(steps, initial=0), strict=False))  # even; the gaps are odd

    def held(spans: list[_Span]) -> set[int]:
        return {
            number
            for low, high, low_closed, high_closed in spans
            for number in range(points[low] + (not low_closed), points[high] + high_closed)
        }

    ours, theirs = (
        {number for part in side for number in functools.reduce(set.difference, map(held, part))} for side in sides
    )
    return ours == theirs


def overlap(low: str, high: str) -> bool:
    r"""Whether `(a, \infty)` and `(-\infty, b)` meet; False too where the ends cannot be compared."""
    try:
        return _compare(_end(structure.parse(low).items[0]), _end(structure.parse(high).items[1])) < 0
    except (library.UnparsableError, exact.UndecidedError, IndexError):
        return False
