r"""Sets of real numbers: unions of intervals and points, compared end by end however they are cut."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Any

import sympy

from sgpo.rewards import exact, library, structure

_SETMINUS = re.compile(r"\\setminus(?![A-Za-z])")


@dataclass(frozen=True)
class Piece:
    """One interval; a point has equal, closed ends. Ends are sympy constants, infinite ones open."""

    low: Any
    high: Any
    low_closed: bool
    high_closed: bool


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
    rest, digits = found
    return exact.sign_of(rest, digits)


def _pieces(text: str) -> list[Piece]:
    parts, signs = structure.split_top(text, _SETMINUS)
    if signs:
        return functools.reduce(_without, (_pieces(part) for part in parts))
    node = structure.parse(text)
    if node.kind == "union":
        return [piece for part in node.items for piece in _pieces(part)]
    if node.kind == "set":
        return [Piece(_end(item), _end(item), True, True) for item in node.items]
    if node.kind in ("interval", "tuple") and len(node.items) == 2:
        low, high = _end(node.items[0]), _end(node.items[1])
        return [Piece(low, high, node.brackets[0] == "[", node.brackets[1] == "]")]
    raise exact.UndecidedError(text[:80])


def _without(pieces: list[Piece], holes: list[Piece]) -> list[Piece]:
    """The pieces with single points taken out."""
    for hole in holes:
        if _compare(hole.low, hole.high) != 0:
            raise exact.UndecidedError("only points are taken out")
        rest = []
        for piece in pieces:
            low, high = _compare(piece.low, hole.low), _compare(hole.low, piece.high)
            if low < 0 and high < 0:
                rest.append(Piece(piece.low, hole.low, piece.low_closed, False))
                rest.append(Piece(hole.low, piece.high, False, piece.high_closed))
            elif low == 0 or high == 0:
                closed = piece.low_closed and low != 0, piece.high_closed and high != 0
                rest.append(Piece(piece.low, piece.high, *closed))
            else:
                rest.append(piece)
        pieces = rest
    return pieces


def _merged(pieces: list[Piece]) -> list[Piece]:
    """The pieces in order, with touching ones joined and empty ones left out."""

    def before(one: Piece, other: Piece) -> int:
        return _compare(one.low, other.low) or other.low_closed - one.low_closed

    done: list[Piece] = []
    for piece in sorted(pieces, key=functools.cmp_to_key(before)):
        width = _compare(piece.low, piece.high)
        if width > 0 or (width == 0 and not (piece.low_closed and piece.high_closed)):
            continue
        gap = _compare(done[-1].high, piece.low) if done else -1
        if gap > 0 or (gap == 0 and (done[-1].high_closed or piece.low_closed)):
            last = done.pop()
            further = _compare(last.high, piece.high)
            closed = (further >= 0 and last.high_closed) or (further <= 0 and piece.high_closed)
            high = last.high if further >= 0 else piece.high
            done.append(Piece(last.low, high, last.low_closed or _reaches(piece, last), closed))
        else:
            done.append(piece)
    return done


def _reaches(piece: Piece, last: Piece) -> bool:
    return piece.low_closed and _compare(piece.low, last.low) == 0


def same(gold: list[str], answer: list[str]) -> bool:
    r"""Whether two unions, given by their parts, are one set: `(0,2) \cup [2,3)` is `(0,3)`.

    Raises:
        UndecidedError: a part is no interval, set of points or such with points taken out, or an end is no constant.
        UnparsableError: an end cannot be read.
    """
    left, right = (_merged([piece for part in parts for piece in _pieces(part)]) for parts in (gold, answer))
    return len(left) == len(right) and all(
        (one.low_closed, one.high_closed) == (other.low_closed, other.high_closed)
        and _compare(one.low, other.low) == 0
        and _compare(one.high, other.high) == 0
        for one, other in zip(left, right, strict=True)
    )


def overlap(low: str, high: str) -> bool:
    r"""Whether `(a, \infty)` and `(-\infty, b)` meet; False too where the ends cannot be compared."""
    try:
        return _compare(_end(structure.parse(low).items[0]), _end(structure.parse(high).items[1])) < 0
    except (library.UnparsableError, exact.UndecidedError, IndexError):
        return False
