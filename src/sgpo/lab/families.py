"""What a problem family is, and the arithmetic its approaches are made of."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from sgpo.lab.wording import WORDINGS, wording

LARGEST = 99
"""Every number is one token, 0 to 99."""
MAX_STEPS = 4
"""No approach takes more steps than this: sampling costs what the longest response costs."""
MAX_INSTANCES = 10_000
"""Instances kept of a family, chosen by a fixed seed."""

Args = tuple[int, ...]


class UnfitError(ValueError):
    """The arithmetic leaves 0..99, does not divide or takes too many steps: the instance is not used."""


@dataclass(frozen=True)
class Step:
    """One line of work, ``a op b = result``."""

    a: int
    op: str
    b: int
    result: int

    def __str__(self) -> str:
        return f"{self.a} {self.op} {self.b} = {self.result}"

    def check(self) -> Step:
        """The inverse operation, which recovers `a`."""
        inverse = {"+": "-", "-": "+", "*": "/", "/": "*"}[self.op]
        return Step(self.result, inverse, self.b, self.a)


def do(a: int, op: str, b: int) -> Step:
    """Compute one step. Raises UnfitError when the result is no whole number from 0 to 99."""
    if op == "/":
        if b == 0 or a % b:
            raise UnfitError(f"{a} / {b} is not whole")
        result = a // b
    else:
        result = {"+": a + b, "-": a - b, "*": a * b}[op]
    if not 0 <= result <= LARGEST:
        raise UnfitError(f"{a} {op} {b} = {result} is outside 0..{LARGEST}")
    return Step(a, op, b, result)


@dataclass(frozen=True)
class Trace:
    """An approach carried out on one instance."""

    steps: tuple[Step, ...]
    answer: int


def chain(start: int, *moves: tuple[str, int]) -> Trace:
    """Apply each ``(op, number)`` to the result so far; the last result is the answer."""
    steps = []
    for op, number in moves:
        steps.append(do(start, op, number))
        start = steps[-1].result
    return Trace(tuple(steps), start)


def subtract_until(start: int, number: int, below: int, before: tuple[Step, ...] = ()) -> Trace:
    """Subtract `number` until the result is under `below`."""
    steps = list(before)
    while start >= below:
        steps.append(do(start, "-", number))
        start = steps[-1].result
    return Trace(tuple(steps), start)


@dataclass(frozen=True)
class Approach:
    """A way to work on the problems of a family; `method` and `steps` are templates of `wording.phrase`."""

    method: str
    steps: str
    run: Callable[[Args], Trace]


@dataclass(frozen=True)
class Family:
    """Problems of one form. `approaches[0]` is right, the others are plausible and wrong.

    `prior` is the probability with which the unguided pretraining text takes the right approach. `prompt` is
    a format string of the arguments; `space` enumerates or samples candidate arguments. `weight` is the family's
    share of the pretraining text, relative to the others: more where carrying out is harder to learn.
    """

    name: str
    prior: float
    prompt: str
    types: tuple[str, str, str, str]
    space: Callable[[random.Random], Iterator[Args]]
    approaches: tuple[Approach, Approach, Approach]
    weight: float = 1.0
    _cache: dict[str, list[Args]] = field(default_factory=dict, compare=False, repr=False)

    def traces(self, args: Args) -> tuple[Trace, ...] | None:
        """Each approach carried out, or None when the instance is unfit or a wrong approach hits the answer."""
        try:
            traces = tuple(approach.run(args) for approach in self.approaches)
        except UnfitError:
            return None
        too_long = any(not 1 <= len(trace.steps) <= MAX_STEPS for trace in traces)
        if too_long or any(trace.answer == traces[0].answer for trace in traces[1:]):
            return None
        return traces

    def instances(self) -> list[Args]:
        """All usable arguments, or a fixed sample of `MAX_INSTANCES`; without duplicates, in fixed order."""
        if "all" not in self._cache:
            rng = random.Random(f"sgpo.lab {self.name}")
            usable = sorted({args for args in self.space(rng) if self.traces(args)})
            rng.shuffle(usable)
            self._cache["all"] = usable[:MAX_INSTANCES]
        return self._cache["all"]

    def question(self, args: Args) -> str:
        """The unguided prompt, e.g. ``Q clock 10 later 23 ? A``."""
        return f"Q {self.prompt.format(*args)} ? A"

    def strategy(self, approach: int, k: int) -> str:
        """Wording `k` (0 to 15) of an approach's strategy."""
        if not 0 <= k < WORDINGS:
            raise ValueError(f"wording {k} is outside 0..{WORDINGS - 1}")
        chosen = self.approaches[approach]
        return wording(self.types, chosen.method, chosen.steps, k)
