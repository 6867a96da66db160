r"""The outer shape of a normalised answer: list, set, tuple or interval, union, matrix, relation, or one value.

Brackets and commas are where math-verify 0.9.0 guesses (`(1,2)` is an open interval there, and equal to `{1,2}`),
so they are taken apart here and the library only ever compares single values.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field, replace
from typing import Literal

from sgpo.rewards import vectors
from sgpo.rewards.brackets import pairs_up, split_top

Kind = Literal["value", "list", "set", "tuple", "interval", "union", "matrix", "relation", "piecewise"]

_NAME = re.compile(
    r"(?:\|?(?:\\(?:angle|triangle|overline|overrightarrow|vec|hat|bar|text|mathbb)\s*)?"
    r"(?:\\[A-Za-z]+|[A-Za-z]{1,3}|\{[A-Za-z ]+\})'*"
    r"(?:\s*_\s*(?:\{[^{}]*\}|[A-Za-z0-9]))?\s*(?:\^\s*\{?-1\}?\s*)?(?:[A-Z ](?:_\{?\d\}?)?)*\|?)"
    r"(?:\s*\(\s*[A-Za-z](?:\s*,\s*[A-Za-z])*\s*\))?"
)  # fmt: skip
_TEXT_NAME = re.compile(r"(?:\\text\{[^{}]*\}|[A-Za-z]+(?: [A-Za-z]+){0,4})\s*(?:_\{?\w+\}?)?")
_MEASURED = re.compile(  # P(X=2), f(1), \sin x, dy/dx
    r"[PE]\s*[(\[][^()]*[)\]]|[fghFGHpqQTSu]\s*\( ?-?\d+(?:\s*,\s*-?\d+)* ?\)"
    r"|\\(?:sin|cos|tan|cot|sec|csc)\s*(?:[A-Za-z]|\\[a-z]+)"
    r"|\\frac\{d ?[a-z]?\}\{d ?[a-z]\}"
)
_NAME_TUPLE = re.compile(r"\(\s*[A-Za-z](?:_\{?\w\}?)?(?:\s*,\s*[A-Za-z](?:_\{?\w\}?)?)+\s*\)")
_REAL = re.compile(r"(?:[A-Za-z]|\\[a-z]+) ?\\in ?\\mathbb\{R\}")
_REALS = {
    r"\mathbb{R}": r"(-\infty, \infty)", r"\mathbb{R}^+": r"(0, \infty)", r"\mathbb{R}_+": r"(0, \infty)",
    r"\mathbb{R}^-": r"(-\infty, 0)",
    r"\mathbb{R}_{>0}": r"(0, \infty)", r"\mathbb{R}_{\ge0}": r"[0, \infty)", r"\mathbb{R}_{<0}": r"(-\infty, 0)",
}  # fmt: skip
_SEPARATOR = re.compile(r"\\text\{\s*,?\s*(?:(and|or)\s*,?|,|;)\s*\}|(?<![A-Za-z\\])(and|or)(?![A-Za-z])|[,;]")
_OR = re.compile(r"\\text\{\s*,?\s*or\s*,?\s*\}|(?<![A-Za-z\\])or(?![A-Za-z])|;")
_RELATION = re.compile(r"\\(?:le|ge|ne|in|approx)(?![A-Za-z])|(?<!:)[<>]|=")
# What is called so needs no declaration; a and b are mostly the problem's.
PARAMETERS = frozenset({*"kmnrstuv", r"\lambda", r"\mu"})
EQUAL = frozenset({"=", r"\approx"})
_SYSTEM = re.compile(
    r"(?:\\\{\s*)?\\begin\{(cases|aligned|align\*?|gathered|array|split)\}(?:\{[lcr| ]*\})?(.*?)\\end\{\1\}"
)
_SPOKEN = re.compile(  # \text{5 dollars}, \text{2, 3, and 5}, \text{(A) and (C)}
    r"\\text\{\s*(\(?\s*[-+\d][^{}]*|\(?[A-J]\)?(?:\s*(?:,|and|or|,\s*and)\s*\(?[A-J]\)?)+)\s*\}"
)
PLUS_MINUS = re.compile(r"\\pm(?![A-Za-z])")
_IF = re.compile(
    r"^(?:\\text\{ ?(?:if|for|when|where) ?\}|(?:if|for|when|where)\b|(?<=\\text\{)(?:if|for|when|where)\b)"
)
_COMMA = re.compile(",")
_ROW_END = re.compile(r"(?<=\]) ?, ?(?=\[)|;")  # [[1,2],[3,4]] and [1,2; 3,4]
_TRANSPOSED = re.compile(r"(.*(?:[)\]]|\\end\{[a-z]+\})) ?\^ ?\{? ?(?:\\text\{ ?T ?\}|[Tt]|\\top|\\intercal) ?\}?")
_UNION = re.compile(r"\\cup(?![A-Za-z])")
_OUTWARDS = re.compile(r"\s*([\[\](])\s*([^\[\]()]+[,;][^\[\]()]+)([\[\])])\s*")  # ]a, b[
_NAMED_INTERVAL = re.compile(r"[A-Za-z]\s*(\([^()\[\]]+\]|\[[^()\[\]]+\))")  # t(0, 4], which can be no function call
_POINT = re.compile(r"([A-Z]'?(?: ?_ ?\{?\w\}?)?) ?(\([^()]*(?:\([^()]*\)[^()]*)*\))")  # P(1, 2)
_FLIP = {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le"}


@dataclass(frozen=True)
class Shape:
    """One shape. `text` is its normal form; `items` its parts; `brackets` as written, for tuples and intervals.

    A relation holds its sides in `items` and its signs in `signs`; a matrix its entries, row by row, and its row
    lengths in `rows`. `joined_by_or` says that a list was joined by this word; `line`
    is the parameter of a line that was written as a point and a direction; `names` are those of `(x, y) = (1, 2)`,
    and `label` is that of a point `P(1, 2)`.
    """

    kind: Kind
    text: str
    items: tuple[str, ...] = ()
    brackets: str = ""
    signs: tuple[str, ...] = ()
    rows: tuple[int, ...] = field(default=())
    joined_by_or: bool = False
    line: str = ""
    names: tuple[str, ...] = ()
    label: str = ""

    @property
    def is_vector(self) -> bool:
        """Whether it is a matrix of one row or one column."""
        return self.kind == "matrix" and (len(self.rows) == 1 or set(self.rows) == {1})


def is_name(text: str) -> bool:
    r"""Whether a side of an equation only names the result: `x`, `f(x)`, `m_{\max}`, `\angle ABC`, `\text{Area}`."""
    text = text.strip()
    if text in ("i", "e", r"\pi", r"\infty", r"\emptyset"):
        return False
    return any(pattern.fullmatch(text) for pattern in (_NAME, _TEXT_NAME, _MEASURED))


def strip_outer(text: str) -> str:
    """Without braces, and without parentheses, that hold the whole of a single value."""
    while True:
        text = text.strip()
        if len(text) < 2 or text[0] not in "({" or not pairs_up(text):
            return text
        inner = text[1:-1]
        if inner.lstrip().startswith(r"\begin{array}"):
            return text  # a matrix by its brackets
        if text[0] == "(" and (text[-1] != ")" or len(split_top(inner, _SEPARATOR)[0]) > 1):
            return text
        text = inner


def _matrix(text: str) -> Shape | None:
    match = vectors.MATRIX.fullmatch(text) or (vectors.MATRIX.fullmatch(text[1:-1]) if text[:1] in "[(" else None)
    if match is None or match.group(1) == "v" or r"\begin" in match.group(3):
        return None
    cells = vectors.cells(match.group(3))
    return Shape("matrix", text, tuple(c for row in cells for c in row), rows=tuple(len(row) for row in cells))


def _transposed(text: str) -> Shape | None:
    r"""`(1,2)^T`, a column that is written as a row."""
    match = _TRANSPOSED.fullmatch(text)
    node = parse(match.group(1)) if match else None
    if node is None or not (node.kind in ("tuple", "interval") or node.is_vector):
        return None
    column = len(node.rows) == 1
    rows = ((1,) * len(node.items) if column else (len(node.items),)) if node.rows else ()
    return replace(node, kind=node.kind if rows else "tuple", brackets="" if rows else "()", rows=rows)


def _combination(text: str) -> Shape | None:
    found = vectors.combination(text)
    if found is None:
        return None
    entries, rows, parameter = found
    return Shape("matrix" if rows else "tuple", text, entries, "" if rows else "()", rows=rows, line=parameter)


def _bracketed(text: str) -> Shape | None:
    """A set, tuple or interval that is the whole text."""
    opening = text[:2] if text.startswith("\\{") else text[:1]
    if opening not in ("\\{", "(", "[") or not pairs_up(text):
        return None
    closing = text[-2:] if text.endswith("\\}") else text[-1:]
    inner = text[len(opening) : -len(closing)]
    if opening == "\\{":
        condition = re.split(r"\||:", inner, maxsplit=1)
        if len(condition) == 2 and _RELATION.search(condition[1]) and is_name(condition[0].split(r"\in")[0]):
            return parse(condition[1])
        items = tuple(item for item in split_top(inner, _SEPARATOR)[0] if item)
        if items and all("=" in split_top(item, _RELATION)[1] for item in items):
            return _list(inner)  # `\{x = 1, y = 2\}` says no more than `x = 1, y = 2`
        return Shape("set", text, items)
    rows = [split_top(row.strip("[]"), _COMMA)[0] for row in split_top(inner, _ROW_END)[0]]
    if opening + closing == "[]" and len(rows) > 1 < len(rows[0]) and len({len(row) for row in rows}) == 1:
        return Shape("matrix", text, tuple(cell for row in rows for cell in row), rows=tuple(map(len, rows)))
    items = tuple(split_top(inner, _SEPARATOR)[0])
    if len(items) < 2 or closing == "\\}":
        return None
    if any(PLUS_MINUS.search(item) for item in items) and len(items) <= 4:
        return Shape("list", text, tuple(f"{opening}{', '.join(signed)}{closing}" for signed in _signed(items)))
    if len(items) == 2 and opening + closing != "()":
        low = "(" if items[0].replace(" ", "") == r"-\infty" else opening
        high = ")" if items[1].lstrip("+ ") == r"\infty" else closing
        return Shape("tuple" if low + high == "()" else "interval", text, items, low + high)
    if len(items) > 2 and opening + closing not in ("()", "[]"):
        return None
    return Shape("tuple", text, items, "()")


def _relation(text: str) -> Shape | None:
    sides, signs = split_top(text, _RELATION)
    if not signs or not all(sides):
        return None
    if signs[0] == r"\in" and len(signs) == 1:
        return parse(sides[1]) if is_name(sides[0]) or _NAME_TUPLE.fullmatch(sides[0]) else None
    if signs == ["="] and _NAME_TUPLE.fullmatch(sides[0]):
        names = tuple(name.strip() for name in sides[0][1:-1].split(","))
        return replace(parse(sides[1]), names=names)
    if both := _plus_minus(sides[1]) if len(sides) == 2 and signs[0] in ("=", r"\ne") and is_name(sides[0]) else None:
        return Shape("list", text, tuple(f"{sides[0]} {signs[0]} {value}" for value in both))
    interval = _interval(sides, signs)
    return Shape("relation", text, tuple(sides), brackets=interval, signs=tuple(signs))


def letters(text: str) -> set[str]:
    r"""The single letters of a text, commands and `\text{}` left out."""
    return set(re.findall(r"[A-Za-z]", re.sub(r"\\(?:text|mathbb)\{[^{}]*\}|\\[A-Za-z]+", "", text)))


def is_inequality(text: str) -> bool:
    r"""Whether a text is a chain of <, \le, \ne or \in: what conditions are made of."""
    sides, signs = split_top(text, _RELATION)
    return bool(signs) and all(sides) and not set(signs) & EQUAL


def _variable(text: str) -> bool:
    return is_name(text) and "|" not in text


def variable(node: Shape) -> str:
    """The name that an inequality bounds."""
    if len(node.items) == 3:
        return node.items[1]
    return node.items[0] if _variable(node.items[0]) else node.items[-1]


def _interval(sides: list[str], signs: list[str]) -> str:
    r"""The interval that an inequality in one name states, as text: `2<x\le 5` is `(2, 5]`; "" where there is none."""
    names = [side for side in (sides if len(sides) == 2 else sides[1:-1]) if _variable(side)]
    if len(sides) > 3 or not names or not all(sign in _FLIP for sign in signs):
        return ""
    if signs[0] in (">", r"\ge"):
        sides, signs = sides[::-1], [_FLIP[sign] for sign in reversed(signs)]
    if not set(signs) <= {"<", r"\le"}:
        return ""
    if len(sides) == 2:
        low = sides[0] != names[0]
        sides, signs = ([*sides, r"\infty"], [*signs, "<"]) if low else ([r"-\infty", *sides], ["<", *signs])
    return f"{'(' if signs[0] == '<' else '['}{sides[0]}, {sides[2]}{')' if signs[1] == '<' else ']'}"


def _sign(text: str, upper: bool) -> str:
    r"""`a \pm b \mp c` with the upper or the lower signs."""
    plus, minus = ("+", "-") if upper else ("-", "+")
    text = PLUS_MINUS.sub(plus, re.sub(r"\\mp(?![A-Za-z])", minus, text)).strip()
    return text.removeprefix("+").strip()


def _signed(items: tuple[str, ...]) -> list[list[str]]:
    r"""The tuples meant by one with signs in it: each `\pm` for itself, but all together where there is a `\mp`."""
    if any(r"\mp" in item for item in items):
        return [[_sign(item, upper) for item in items] for upper in (True, False)]
    choices = [[_sign(item, True), _sign(item, False)] if PLUS_MINUS.search(item) else [item] for item in items]
    return [list(combination) for combination in itertools.product(*choices)]


def _plus_minus(text: str) -> list[str] | None:
    r"""`a \pm b` as `a + b` and `a - b`; None where there is no such sign."""
    if not PLUS_MINUS.search(text) or _RELATION.search(text):
        return None
    return [_sign(text, True), _sign(text, False)]


def pieces(text: str) -> list[str]:
    """What commas, semicolons, "and" and "or" separate outside brackets."""
    return [piece for piece in split_top(text, _SEPARATOR)[0] if piece]


def _list(text: str) -> Shape | None:
    groups = [group.strip(" ,") for group in split_top(text, _OR)[0]]
    if len(groups) > 1 and all(len(split_top(group, _SEPARATOR)[0]) > 1 for group in groups):
        return Shape("list", text, tuple(groups), joined_by_or=True)  # `p = 5, q = 2; p = 7, q = 2`
    pieces, separators = split_top(text, _SEPARATOR)
    if len(pieces) == 2 and not all(pieces) and separators[0] not in (",", ";"):
        return None  # `17 or` lists nothing
    pieces = [piece for piece in pieces if piece]
    if not separators or not pieces:
        return None
    restrictions = [piece for piece in pieces if not _REAL.fullmatch(piece)]
    if len(restrictions) == 1 < len(pieces):
        return parse(restrictions[0])  # `x \in \mathbb{R}, x \ne 2`
    members = [split_top(piece, _RELATION) for piece in pieces]
    if all(signs == [r"\in"] and sides[0] == members[0][0][0] for sides, signs in members):
        pieces = [sides[1] for sides, _ in members]  # `x \in (0, 1)` or `x \in (2, 3)`
    items: list[str] = []
    name = ""
    for piece in pieces:  # `x = 1, 2` names x once
        sides, signs = split_top(piece, _RELATION)
        if len(signs) == 1 and signs[0] in {*EQUAL, r"\ne"} and is_name(sides[0]):
            name = f"{sides[0]} {signs[0]}".replace(r"\approx", "=")
        elif name and not signs:
            piece = f"{name} {piece}"
        items.append(piece)
    return Shape("list", text, tuple(items), joined_by_or=any("or" in separator for separator in separators))


def _pieces(body: str) -> tuple[str, ...]:
    r"""Values and conditions in turn of `x & x > 0 \cr -x & \text{if } x < 0`; nothing for a system of equations."""
    rows = vectors.cells(body)
    if not all(len(row) == 2 and row[0] and row[1] for row in rows) or any(_RELATION.match(row[1]) for row in rows):
        return ()
    return tuple(part for value, said in rows for part in (value.rstrip(" ,;"), _said(said)))


def _said(condition: str) -> str:
    """A condition without the words that only join it to its value: `if n is even` as `n even`."""
    return re.sub(r"(?<![A-Za-z])(?:is|are) ", "", _IF.sub("", condition)).strip(" ,.")


def _inwards(match: re.Match[str]) -> str:
    """An interval of the French, `]a, b[`, with brackets that say the same."""
    low, ends, high = match.groups()
    return ("[" if low == "[" else "(") + ends + ("]" if high == "]" else ")")


def parse(text: str) -> Shape:
    """Shape of a normalised answer. Never fails: what has no other shape is a value."""
    text = strip_outer(text)
    if spoken := _SPOKEN.fullmatch(text):
        text = spoken.group(1).strip()
    system = _SYSTEM.fullmatch(text)
    if system and system.group(1) == "cases" and (pieces := _pieces(system.group(2))):
        return Shape("piecewise", text, pieces)
    if system:
        return parse(re.sub(r"\s*,?\s*\\cr(?![A-Za-z])", ", ", system.group(2)).replace("&", "").strip(" ,"))
    if matrix := _matrix(text) or _transposed(text) or _combination(text):
        return matrix
    outer = [_OUTWARDS.fullmatch(part) for part in _UNION.split(text)]
    if all(outer):
        text = r" \cup ".join(_inwards(match) for match in outer if match)
    if named := _NAMED_INTERVAL.fullmatch(text):
        text = named.group(1)
    if (point := _POINT.fullmatch(text)) and (inner := _bracketed(point.group(2))) and inner.kind == "tuple":
        return replace(inner, text=text, label=point.group(1).replace(" ", ""))
    text = _REALS.get(text.replace(" ", "").replace("{+}", "+").replace("{-}", "-"), text)
    if shape := _bracketed(text) or _list(text):
        return shape
    parts = split_top(text, _UNION)[0]
    if len(parts) > 1 and not split_top(text, _RELATION)[1]:
        return Shape("union", text, tuple(parts))
    if len(parts) > 1 and all(map(is_inequality, parts)):
        return Shape("list", text, tuple(parts), joined_by_or=True)  # `x < 1 \cup x > 2`
    if relation := _relation(text):
        return relation
    if both := _plus_minus(text):
        return Shape("list", text, tuple(both))
    return Shape("value", text, (text,))
