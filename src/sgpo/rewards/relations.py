r"""Equations and inequalities: what a chain states link by link, what a list of equations gives to its names.

A chain `a = b = c` is the two equations a = b and b = c. It is never compared by its ends: each link counts, and where
an answer's link says something false (`x = 3+4 = 8`), the chain states nothing.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import TypeVar

import sympy

from sgpo.rewards import library, quantities, structure
from sgpo.rewards.normalize import key
from sgpo.rewards.structure import EQUAL, Shape

Link = tuple[str, str, str]  # left side, sign (=, <, \le or \ne), right side
Same = Callable[[str, str], bool]
Item = TypeVar("Item")

_MAX_LINKS = 12
_VARIABLE = re.compile(r"(?:[A-Za-z]|\\(?:text\{[^{}]*\}|[a-z]+))'*(?:_\{?\w+\}?)?")
_CONSTANTS = re.compile(
    r"\\(?:d?frac|sqrt|pi|cdot|times|binom|infty|degree|log|ln|exp|(?:arc)?(?:sin|cos|tan)|cot|sec|csc)"
    r"(?![A-Za-z])|(?<![A-Za-z])[ei](?![A-Za-z])"
)
_CONGRUENT = re.compile(r"(?:[A-Za-z](?:_\{?\w\}?)? ?\\equiv ?)?([+-]?\d{1,9}) ?(?:\\pmod\{ ?([1-9]\d{0,8}) ?\})?")
_PRODUCT = re.compile(r"[A-Za-z]{2,3}")
_ANGLE = re.compile(r"^m? ?\\angle(?![A-Za-z]) ?")
_VALUE_AT = re.compile(r"\s*[A-Za-z] ?\( ?\d{1,4} ?\)\s*")
_NUMBER = re.compile(r" ?_ ?\{?\d\}?$")
_DECIMAL = re.compile(r"[+-]?\d*\.(\d+)")
_FLIPPED = {">": "<", r"\ge": r"\le"}


def is_constant(text: str) -> bool:
    """Whether a side is a number that can be checked: no variables, and no times, ratios or numerals."""
    core = quantities.split_quantity(text).core
    said = re.search(r"\d|\\pi|\\infty|(?<![A-Za-z])[ei](?![A-Za-z])", core)
    return bool(said) and not re.search(r"[A-Za-z\\:_]", _CONSTANTS.sub(" ", core))


def point(node: Shape) -> Shape | None:
    r"""`x = 2` as the closed interval [2, 2], for `x < 1 \text{ or } x = 2`; None for all else."""
    if node.signs != ("=",) or not is_variable(node.items[0]) or not is_constant(node.items[1]):
        return None
    return replace(node, brackets=f"[{node.items[1]}, {node.items[1]}]", items=node.items[:1])


def excludes(node: Shape) -> bool:
    r"""Whether a relation takes one number out: `x \ne 2`."""
    return node.signs == (r"\ne",) and is_variable(node.items[0]) and is_constant(node.items[1])


def constants(node: Shape) -> list[str]:
    """The sides of a chain that are constants."""
    return [side for side in node.items if is_constant(side)]


def _rounded(exact: str, decimal: str, *, whole: bool) -> bool:
    """Whether a decimal (or, where `whole`, an integer) is the other value cut or rounded to its last place."""
    text = quantities.split_quantity(decimal).core.strip()
    match = _DECIMAL.fullmatch(text)
    if match is None and not (whole and re.fullmatch(r"[+-]?\d+", text)):
        return False
    place = Fraction(1, 10 ** len(match.group(1))) if match else Fraction(1)
    place *= Fraction(999, 1000)  # a whole place is another number: 0.5 is no rounded 0.6
    try:
        return library.values_equal(quantities.split_quantity(exact).core, text, place)
    except library.UnparsableError:
        return False


def chain_holds(node: Shape, same: Same) -> bool:
    r"""Whether the constants in a chain of "=" are equal, a decimal being allowed to be rounded: `\frac13 = 0.33`."""
    holds = partial(_rounded, whole=r"\approx" in node.signs)
    return all(same(a, b) or holds(a, b) or holds(b, a) for a, b in itertools.pairwise(constants(node)))


def values_said(node: Shape, last: str) -> list[str]:
    r"""The values that a chain gives: its last side, and the exact one where that is rounded: `\sqrt2 \approx 1.41`."""
    if r"\approx" not in node.signs and not _DECIMAL.fullmatch(quantities.split_quantity(last).core.strip()):
        return [last]
    return [last, *(side for side in constants(node) if side != last)]


def links(node: Shape) -> list[Link] | None:
    """The relations between neighbouring sides of a chain, or of a list of chains; None for everything else."""
    if node.kind == "list" and not node.joined_by_or:
        parts = [links(structure.parse(item)) for item in node.items]
        return [link for part in parts for link in part or ()] if all(parts) else None
    if node.kind != "relation" or r"\in" in node.signs:
        return None
    found = []
    for left, sign, right in zip(node.items, node.signs, node.items[1:], strict=False):
        sign = "=" if sign in EQUAL else sign
        found.append((right, _FLIPPED[sign], left) if sign in _FLIPPED else (left, sign, right))
    return found


def paired(gold: Iterable[Item], answer: Iterable[Item], same: Callable[[Item, Item], bool]) -> bool:
    """Whether each element of one side has its own equal in the other."""
    rest = list(answer)
    for item in gold:
        twin = next((index for index, other in enumerate(rest) if same(item, other)), None)
        if twin is None:
            return False
        del rest[twin]
    return not rest


def same_links(gold: list[Link], answer: list[Link], same: Same) -> bool:
    """Whether two sets of relations state the same, link by link, in any order."""
    few = len(gold) == len(answer) <= _MAX_LINKS
    return few and paired(gold, answer, partial(_same_link, same=same))


def _same_link(gold: Link, answer: Link, same: Same) -> bool:
    if gold[1] == answer[1] and same(gold[0], answer[0]) and same(gold[2], answer[2]):
        return True
    return gold[1] == answer[1] in ("=", r"\ne") and same(gold[0], answer[2]) and same(gold[2], answer[0])


def same_system(gold: list[Link], answer: list[Link]) -> bool:
    """Whether two systems of equations follow from each other by adding and scaling: those of one line in space do.

    Products of variables count as unknowns of their own, so what this accepts is always equivalent.

    Raises:
        UnparsableError: a side cannot be read.
    """
    if len(gold) + len(answer) > 2 * _MAX_LINKS:
        return False
    equations = (library.parse(left) - library.parse(right) for left, _, right in gold + answer)
    rows = [sympy.expand(equation).as_coefficients_dict() for equation in equations]
    terms = sorted({term for row in rows for term in row}, key=str)
    matrix = sympy.Matrix([[row.get(term, 0) for term in terms] for row in rows])
    ranks = matrix[: len(gold), :].rank(), matrix[len(gold) :, :].rank(), matrix.rank()
    return ranks[0] == ranks[1] == ranks[2]


def residues(text: str) -> frozenset[tuple[int, int]] | None:
    r"""Residues and moduli of `n \equiv 1, 2 \pmod{4}`, `n \equiv 3 \pmod 7 or ...`, `3 \pmod{7}`; None for others."""
    if r"\pmod" not in text:
        return None
    found: set[tuple[int, int]] = set()
    waiting: list[int] = []  # residues whose modulus stands further on
    for piece in structure.pieces(text):
        match = _CONGRUENT.fullmatch(piece)
        if match is None:
            return None
        waiting.append(int(match.group(1)))
        if match.group(2):
            modulus = int(match.group(2))
            found |= {(value % modulus, modulus) for value in waiting}
            waiting = []
    return None if waiting else frozenset(found)


def is_variable(text: str) -> bool:
    r"""Whether a side is one variable: `x`, `x_1`, `\theta`, `\text{Area}`."""
    return structure.is_name(text) and bool(_VARIABLE.fullmatch(text.strip()))


def names_one(text: str) -> bool:
    """Whether an element of a list gives a value to a name of its own: `x = 2`, not `2` or the numbered `x_2 = 2`."""
    node = structure.parse(text)
    named = node.kind == "relation" and set(node.signs) <= EQUAL and is_variable(node.items[0])
    return named and "_" not in node.items[0]


def same_name(one: str, other: str) -> bool:
    """Whether two names are one: alike, a product in another order (`ab`), an angle, or `x_1` of the values of `x`."""
    one, other = (_ANGLE.sub("", name) for name in (one, other))
    if key(one) == key(other) or key(_NUMBER.sub("", one)) == key(other) or key(one) == key(_NUMBER.sub("", other)):
        return True
    return bool(_PRODUCT.fullmatch(one)) and sorted(one) == sorted(other)


def is_system(node: Shape) -> bool:
    """Whether a chain relates variables to one another in its middle: `a = b = c`, not `A = 2 \\cdot 3 = 6`."""
    first, second, *middle = node.items
    if not middle or any(map(is_constant, node.items[1:-1])):
        return False
    named = structure.is_name(second) and not is_constant(node.items[-1])
    return named or is_variable(second) or not structure.is_name(first)


def assignments(node: Shape) -> dict[str, str] | None:
    """Names and values of `x = 1, y = 2`, `f(1) = 3, f(2) = 5` or `x = y = 2`; None unless two names or more have one
    value each.

    Numbered names (`x_1 = 1, x_2 = 2`) only count the values.
    """
    if node.kind == "relation":
        parts = [node]
    elif node.kind == "list" and not node.joined_by_or:
        parts = [structure.parse(item) for item in node.items]
    else:
        return None
    found: dict[str, str] = {}
    for part in parts:
        if part.kind != "relation" or not set(part.signs) <= EQUAL:
            return None
        names = [key(side) for side in part.items[:-1]]
        if not all(map(_is_named, part.items[:-1])):
            if not (_is_named(part.items[0]) and all(map(is_constant, part.items[1:]))):
                return None
            names = names[:1]
        if _is_named(part.items[-1]) or set(names) & set(found) or len(set(names)) < len(names):
            return None
        found.update(dict.fromkeys(names, part.items[-1]))
    numbered = all("_" in name for name in found) and len({name.partition("_")[0] for name in found}) == 1
    return found if len(found) > 1 and not numbered else None


def _is_named(side: str) -> bool:
    """Whether a side is a variable or the value of a function at a number: `x`, `f(2)`."""
    return is_variable(side) or bool(_VALUE_AT.fullmatch(side))


def values_in_order(values: dict[str, str], like: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The values as a tuple gives them: as its own names stand, if it has them; else in the order of the names, if they
    have one, else as written.
    """
    if set(like) == set(values):
        return tuple(values[name] for name in like)
    return tuple(values[name] for name in asked_order(values) or values)


def asked_order(names: Iterable[str]) -> list[str]:
    """The names in the order in which one asks for them: letters side by side in the alphabet (x, y), and the values of
    a function (f(1), f(2)); none for others.
    """
    found = sorted(names, key=lambda name: (len(name), name))
    called = all(map(_VALUE_AT.fullmatch, found)) and len({name[0] for name in found}) == 1
    letters = all(len(name) == 1 for name in found) and ord(found[-1]) - ord(found[0]) == len(found) - 1
    return found if called or letters else []


def with_parameter(values: dict[str, str], like: dict[str, str]) -> dict[str, str]:
    """The values with their one parameter named as in the others: `x = 2s, y = 3s` with t for s."""
    old, new = (set().union(*map(structure.letters, each.values())) - {"e", "i"} for each in (values, like))
    free = (old | new) <= structure.PARAMETERS - (set(values) | set(like))
    if not free or len(old) != 1 or len(new) != 1 or old == new:
        return values
    return {name: library.rename(value, min(old), min(new)) for name, value in values.items()}
