"""The sixteen operations that problems of the lab are composed of, and the arithmetic that they are made of.

A problem carries one number from operation to operation. Eight operations take an operand from the problem, eight
do not; two of them need two lines of working. Every number is one token, 0 to 99.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

LARGEST = 99
"""Every number is one token, 0 to 99."""


class UnfitError(ValueError):
    """The arithmetic leaves 0 to 99 or does not divide: the instance is not used."""


@dataclass(frozen=True)
class Step:
    """One line of working, ``a symbol b = result``."""

    a: int
    symbol: str
    b: int
    result: int

    def __str__(self) -> str:
        return f"{self.a} {self.symbol} {self.b} = {self.result}"


_ARITHMETIC: dict[str, Callable[[int, int], int]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a // b,
    "//": lambda a, b: a // b,
    "%": lambda a, b: a % b,
    "~": lambda a, b: abs(a - b),
    "max": max,
    "min": min,
}
SYMBOLS = tuple(_ARITHMETIC)


def do(a: int, symbol: str, b: int) -> Step:
    """Compute one line of working; ``~`` is the distance of two numbers and ``//`` drops the remainder.

    Raises UnfitError for a result that is no whole number from 0 to 99.
    """
    # A half of 7 has no token.
    if symbol == "/" and a % b:
        raise UnfitError(f"{a} / {b} is not whole")
    result = _ARITHMETIC[symbol](a, b)
    if not 0 <= result <= LARGEST:
        raise UnfitError(f"{a} {symbol} {b} = {result} is outside 0..{LARGEST}")
    return Step(a, symbol, b, result)


def _line(symbol: str, constant: int | None = None) -> Callable[[int, int], tuple[Step, ...]]:
    """The working of an operation in one line, with its operand or with a constant of its own."""
    return lambda state, operand: (do(state, symbol, operand if constant is None else constant),)


def _sum_then(symbol: str, constant: int) -> Callable[[int, int], tuple[Step, ...]]:
    """The working of an operation on the sum of state and operand, in two lines."""

    def work(state: int, operand: int) -> tuple[Step, ...]:
        total = do(state, "+", operand)
        return total, do(total.result, symbol, constant)

    return work


def _digit_sum(state: int, _: int) -> tuple[Step, ...]:
    return (do(state // 10, "+", state % 10),)


@dataclass(frozen=True)
class Operation:
    """One operation: how it is worded, how it is carried out, and how well the base understands it.

    The three `wordings` name it in a problem (training uses the first two, the third is an axis of evaluation); the
    two `strategies` name it in a strategy. `prior` is the probability with which an unguided pretraining text
    understands it; else that text carries out one of its two `confusions`, which take an operand where it does. `work`
    turns the state and the operand (ignored where `operand` is False) into lines of working and raises UnfitError.
    """

    name: str
    operand: bool
    prior: float
    confusions: tuple[str, ...]
    wordings: tuple[str, ...]
    strategies: tuple[str, ...]
    work: Callable[[int, int], tuple[Step, ...]]


# A confusion must be told apart by its result. So `less` and `gap`, which agree wherever `less` is possible, are no
# confusions of each other.
OPERATIONS: dict[str, Operation] = {
    name: Operation(name, operand, prior, tuple(confused.split()), tuple(worded.split()), tuple(told.split()), work)
    for name, operand, prior, confused, worded, told, work in (
        ("add", True, 0.85, "less larger", "plus add gain", "sum increase", _line("+")),
        ("less", True, 0.6, "add smaller", "minus lose drop", "subtract decrease", _line("-")),
        ("times", True, 0.35, "add less", "times multiply fold", "product scale", _line("*")),
        ("gap", True, 0.01, "add larger", "gap apart distance", "difference separation", _line("~")),
        ("larger", True, 0.4, "smaller add", "larger bigger higher", "maximum upper", _line("max")),
        ("smaller", True, 0.12, "larger less", "smaller lesser lower", "minimum least", _line("min")),
        ("average", True, 0.25, "add larger", "average mean midway", "balance middle", _sum_then("/", 2)),
        ("dial", True, 0.0005, "add gap", "dial clock wheel", "modular wrap", _sum_then("%", 10)),
        ("double", False, 0.5, "triple next", "double twice twofold", "duplicate two", _line("*", 2)),
        ("triple", False, 0.06, "double next", "triple thrice threefold", "treble three", _line("*", 3)),
        ("half", False, 0.3, "double back", "half halve bisect", "split divide", _line("/", 2)),
        ("unit", False, 0.001, "next tens", "ones last units", "remainder final", _line("%", 10)),
        ("next", False, 0.7, "back double", "next after following", "increment forward", _line("+", 1)),
        ("back", False, 0.3, "next double", "back before previous", "decrement backward", _line("-", 1)),
        ("digits", False, 0.1, "tens double", "digits figures numerals", "digitwise crosswise", _digit_sum),
        ("tens", False, 0.2, "back digits", "tens front leading", "prefix truncate", _line("//", 10)),
    )
}
TWO_LINES = ("average", "dial")
NEVER_FOUND = ("dial", "unit")
"""Operations that the unguided base practically never carries out where they are meant (prior of at most 0.001)."""

Type = tuple[str, ...]
"""A type of problem: the names of its operations in their order."""
Numbers = tuple[int, ...]
"""An instance of a type: its start, and the operand of each operation that takes one."""


@dataclass(frozen=True)
class Trace:
    """Operations carried out on one instance."""

    steps: tuple[Step, ...]
    answer: int


def carry_out(operations: Type, numbers: Numbers) -> Trace:
    """Carry out operations on an instance; UnfitError where a result is no whole number from 0 to 99."""
    # Left to right, as the problem is read; there is no precedence.
    state, operands = numbers[0], iter(numbers[1:])
    steps: list[Step] = []
    for name in operations:
        operation = OPERATIONS[name]
        steps += operation.work(state, next(operands) if operation.operand else 0)
        state = steps[-1].result
    return Trace(tuple(steps), state)


@functools.cache
def result(name: str, state: int, operand: int, largest: int) -> int | None:
    """The number after one operation, or None where it or a line of its working is above `largest`, or unfit."""
    try:
        steps = OPERATIONS[name].work(state, operand)
    except UnfitError:
        return None
    return steps[-1].result if all(step.result <= largest for step in steps) else None


@functools.cache
def fitting(name: str, state: int, largest: int) -> tuple[int, ...]:
    """The operands from 2 to `largest` that an operation can take in a state."""
    return tuple(n for n in range(2, largest + 1) if result(name, state, n, largest) is not None)
