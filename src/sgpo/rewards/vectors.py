r"""Sums of vectors and matrices, worked out entry by entry, so that the order of the terms does not matter."""

from __future__ import annotations

import re

from sgpo.rewards.brackets import split_top

MATRIX = re.compile(r"\\begin\{([pbBv]?)(?:small)?(matrix|array)\}(?:\{[^{}]*\})?(.*?)\\end\{\1(?:small)?\2\}")
_TUPLE = re.compile(r"\([^()]*,[^()]*\)")
_HELD = re.compile("\x01(\\d+)\x01")
_SIGN = re.compile(r"[+-]")
_SCALAR = re.compile(
    r"(?:\\(?:frac(?:\{(?:[^{}]|\{[^{}]*\})*\}){2}|sqrt\{[^{}]*\}|pi|lambda|mu|alpha|beta|cdot)(?![A-Za-z])"
    r"|[\s\d./()*]|[a-z](?![a-z]))*"
)


def cells(body: str) -> list[list[str]]:
    """The entries between `\\begin` and `\\end`, row by row."""
    rows = [row for row in re.split(r"\\cr(?![A-Za-z])", body) if row.strip()]
    return [[cell.strip() for cell in row.split("&")] for row in rows]


def _entries(text: str) -> list[list[str]]:
    match = MATRIX.fullmatch(text)
    return cells(match.group(3)) if match else [split_top(text[1:-1], re.compile(","))[0]]


def _terms(text: str) -> tuple[list[str], list[str]]:
    """The terms of a sum and the sign of each."""
    pieces, signs = split_top(text, _SIGN)
    return (pieces, ["+", *signs]) if pieces[0] else (pieces[1:], signs)


def basis(text: str) -> tuple[str, ...]:
    """The three entries of `3i - 4j + 2k`; () for what is no sum of multiples of i, j and k."""
    if not re.search(r"(?<![A-Za-z\\])[jk](?![A-Za-z])", text) or "(" in text:
        return ()
    entries = {"i": "", "j": "", "k": ""}
    for piece, sign in zip(*_terms(text), strict=True):
        name = piece[-1:]
        scalar = piece[:-1].strip().removesuffix(r"\cdot").strip() or "1"
        if entries.get(name) != "" or not _SCALAR.fullmatch(scalar) or set("ijk") & set(re.findall("[a-z]+", scalar)):
            return ()
        entries[name] = f"{sign}{scalar}".lstrip("+")
    return tuple(entry or "0" for entry in entries.values())


def combination(text: str) -> tuple[tuple[str, ...], tuple[int, ...], str] | None:
    """A sum of scalar multiples of matrices, or of tuples, all of one shape; None for everything else.

    A single tuple with a letter in front is none: `P(1, 2)` is a point and `f(1, 2)` a call.

    Returns:
        The entries, row by row, as texts to be computed; the row lengths (none for a tuple); the one parameter, or "".
    """
    tuples = r"\begin" not in text
    if not (_TUPLE.search(text) if tuples else MATRIX.search(text)):
        return None
    held: list[str] = []

    def hold(match: re.Match[str]) -> str:
        held.append(match.group())
        return f"\x01{len(held) - 1}\x01"

    masked = (_TUPLE if tuples else MATRIX).sub(hold, text)
    pieces, signs = _terms(masked)
    if signs == ["+"] and _HELD.fullmatch(masked.strip()):
        return None
    terms: list[tuple[str, list[list[str]]]] = []
    for sign, piece in zip(signs, pieces, strict=True):
        parts = _HELD.split(piece)
        if len(parts) != 3:
            return None
        scalar = re.sub(r"^\s*\\cdot\s*|\s*\\cdot\s*$", "", f"{parts[0].strip()} {parts[2].strip()}".strip()) or "1"
        if not _SCALAR.fullmatch(scalar):
            return None
        terms.append((f"{sign}({scalar})", _entries(held[int(parts[1])])))
    shapes = {tuple(len(row) for row in rows) for _, rows in terms}
    plain = [re.sub(r"[\s\\()+-]|cdot|frac|sqrt|[{}\d./]", "", scalar) for scalar, _ in terms]
    if len(shapes) != 1 or (tuples and "" not in plain):  # a letter in front of each
        return None
    columns = zip(*([(scalar, cell) for row in rows for cell in row] for scalar, rows in terms), strict=True)
    sums = tuple("".join(rf"{scalar}\cdot({cell})" for scalar, cell in column).lstrip("+") for column in columns)
    free = {name for name in plain if name}
    parameter = free.pop() if len(free) == 1 and "" in plain else ""
    parameter = f"\\{parameter}" if len(parameter) > 1 else parameter
    return sums, () if tuples else shapes.pop(), parameter
