r"""Expressions in integers: floors and parities case by case, families such as `\frac{\pi}{6} + k\pi` as sets.

In place of n, m times an integer plus each remainder by m makes floors of fractions exact: \lceil n/2 \rceil is
\lfloor (n+1)/2 \rfloor, and both are m for n = 2m.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import sympy

_LETTERS = frozenset("ijklmnpqN")  # what is called so is an integer where a floor is taken of it
_MOST = 64  # remainders that are tried


def _without_ceilings(expression: Any) -> Any:
    r"""\lceil \log_b N \rceil of an integer N is one more than \lfloor \log_b (N-1) \rfloor."""
    for node in expression.atoms(sympy.ceiling):
        ratio = node.args[0]
        logs = [log for log in ratio.atoms(sympy.log) if log.free_symbols]
        if len(logs) == 1 and (ratio / logs[0]).is_number and logs[0].args[0].is_integer:
            lower = ratio.subs(logs[0], sympy.log(sympy.expand(logs[0].args[0] - 1)))
            expression = expression.subs(node, sympy.floor(lower) + 1)
    return expression


def _remainders(expressions: Sequence[Any]) -> Iterator[dict[Any, Any]]:
    """What to put for the letters that are rounded, one after the other remainder; nothing where these are too many."""
    rounded = [node.args[0] for one in expressions for node in one.atoms(sympy.floor, sympy.ceiling)]
    rounded += [power.exp / 2 for one in expressions for power in one.atoms(sympy.Pow) if power.base == -1]
    letters = sorted({symbol for inside in rounded for symbol in inside.free_symbols}, key=str)
    if not {str(letter) for letter in letters} <= _LETTERS:
        return
    parts = [part for inside in rounded for part in sympy.Add.make_args(sympy.expand(inside))]
    step = math.lcm(*(int(part.as_coeff_Mul()[0].q) for part in parts if part.as_coeff_Mul()[0].is_Rational))
    if step ** len(letters) > _MOST:
        return
    whole = [step * sympy.Symbol(str(letter), integer=True) for letter in letters]
    for rest in itertools.product(range(step), repeat=len(letters)):
        yield {letter: one + r for letter, one, r in zip(letters, whole, rest, strict=True)}


def same_for_integers(gold: Any, answer: Any) -> bool:
    """Whether two expressions, one of which rounds or alternates, are the same for all integers."""
    powers = [power for side in (gold, answer) for power in side.atoms(sympy.Pow)]
    alternate = any(power.base == -1 and power.free_symbols for power in powers)
    if not alternate and not any(side.has(sympy.floor, sympy.ceiling) for side in (gold, answer)):
        return False
    tried = False
    for values in _remainders((gold, answer)):
        tried = True
        difference = (gold - answer).subs(values, simultaneous=True)
        difference = difference.subs(
            {s: sympy.Symbol(str(s), integer=True) for s in difference.free_symbols if str(s) in _LETTERS}
        )
        for rounding in (sympy.floor, sympy.ceiling):
            difference = difference.replace(rounding, lambda inside, kind=rounding: kind(sympy.expand(inside)))
        if sympy.simplify(_without_ceilings(difference)) != 0:
            return False
    return tried


def _run(value: Any, letter: str) -> tuple[Any, Any] | None:
    """Start and step of a value that is linear in a letter; None for others."""
    symbol = next((s for s in value.free_symbols if str(s) == letter), None)
    step = value.diff(symbol) if symbol is not None else sympy.Integer(0)
    if step in (-1, 0, 1) or step.free_symbols:
        return None
    return value.subs(symbol, 0), sympy.Abs(step)


def same_families(gold: Sequence[Any], answer: Sequence[Any], letter: str) -> bool:
    """Whether two lists of values, each linear in a letter that is any integer, run through the same numbers:
    3k + 1 and 3k - 2, or k\\pi, \\frac{\\pi}{2} + k\\pi and \\frac{k\\pi}{2}.
    """
    found = [[_run(value, letter) for value in side] for side in (gold, answer)]
    runs = [[run for run in side if run is not None] for side in found]
    both = [*runs[0], *runs[1]]
    if not both or len(both) < len(gold) + len(answer):
        return False
    first = both[0][1]
    shares = [sympy.simplify(step / first) for _, step in both]
    if not all(share.is_Rational for share in shares):
        return False
    period = first * sympy.Rational(math.lcm(*(int(s.p) for s in shares)), math.gcd(*(int(s.q) for s in shares)))
    counted = [[(start, step, int(sympy.simplify(period / step))) for start, step in side] for side in runs]
    if sum(count for side in counted for _, _, count in side) > _MOST:
        return False
    starts = [[(start + i * step) / period for start, step, n in side for i in range(n)] for side in counted]

    def within(one: list[Any], other: list[Any]) -> bool:
        return all(any(sympy.simplify(a - b).is_integer is True for b in other) for a in one)

    return within(starts[0], starts[1]) and within(starts[1], starts[0])
