"""The rules of the leak check, a row each: what it says, what finds it, an example that leaks and its clean neighbour.

The rows are tried in order; the first that finds something gives the verdict's kind. tests/unit/test_leak_rules.py runs
every example.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sgpo.strategies.leakage import chosen, copied, numbers
from sgpo.strategies.leakage.facts import Facts


@dataclass(frozen=True)
class Rule:
    """A kind of leak.

    kind: of the verdict. says: the rule in one sentence. find: quotes what leaks, "" where nothing does. example: a
    problem, its answer and a response. leaks, passes: a step that leaks there, and the nearest one that does not.
    """

    name: str
    kind: str
    says: str
    find: Callable[[Facts], str]
    example: tuple[str, str, str]
    leaks: str
    passes: str


def _copied(facts: Facts) -> str:
    return copied.find(facts.strategy, facts.case.response, facts.case.problem)


_EGGS = (
    "Tom has 84 eggs and packs 12 in a box. He sells each box for 9 dollars, but 2 break. How much does he get?",
    "45",
    "He fills 84 / 12 = 7 boxes. Then 7 - 2 = 5 boxes remain, so he gets 5 * 9 = 45 dollars.",
)
_PRIME = ("Which is prime? (A) 21 (B) 23 (C) 25", "B", "23 is prime, so B.")
RULES: tuple[Rule, ...] = (
    Rule(
        "option", "answer", "The right option is not named.", chosen.right_option, _PRIME,
        leaks="So pick option B.", passes="Compare the options A, B and C.",
    ),
    Rule(
        "elimination", "answer", "Not every candidate but the right one is denied.", chosen.eliminated, _PRIME,
        leaks="Rule out A and C.", passes="Rule out the even ones.",
    ),
    Rule(
        "value", "answer", "The answer is not stated, in whatever notation and unit: a value that general steps do not "
        "have, anywhere; one that they do, as a result.", numbers.value,
        ("A road has 1.25 miles. How many feet is that?", "6600", "1.25 * 5280 = 6600"),
        leaks="Walk 6.6 thousand feet.", passes="Multiply by the 5280 feet of a mile.",
    ),
    Rule(
        "written", "answer", "An answer that is no number does not stand in the strategy as it is written.",
        chosen.written, ("Which matrix is it?", r"\begin{pmatrix}1&0\\0&-1\end{pmatrix}", "It mirrors."),
        leaks=r"It is $\begin{pmatrix} 1 & 0 \\ 0 & -1 \end{pmatrix}$.", passes="Find a 2 by 2 matrix that mirrors.",
    ),
    Rule(
        "words", "answer", "A name or a word that is the answer is not said of anything.", chosen.said,
        ("Is f even, odd or neither?", "odd", "f(-x) = -f(x), so f is odd."),
        leaks="Hence the function is odd.", passes="Decide whether it is even or odd.",
    ),
    Rule(
        "equivalent", "answer", "No property that comes to the answer is said.", chosen.equivalent,
        ("Is f even, odd or neither?", "odd", "f(-x) = -f(x), so f is odd."),
        leaks="Show that f(-x) = -f(x).", passes="Compare f(-x) with f(x) and -f(x).",
    ),
    Rule(
        "computation", "computation", "No computation with the numbers of this problem is written out.",
        numbers.computation, _EGGS, leaks="Divide 84 by 12.", passes="Divide the eggs by the size of a box.",
    ),
    Rule(
        "equation", "intermediate", "No equation that holds for this problem only is written down.", numbers.equation,
        ("Which x satisfies $2^{3x} = 64$?", "2", "As 64 = 2^6, 3x = 6 and x = 2."),
        leaks="Comparing exponents leaves 3x = 6.", passes="Use (a^m)^n = a^{mn}.",
    ),
    Rule(
        "number", "intermediate", "No number is told that is neither given, nor a constant of a unit or a theorem, nor "
        "a count or an operand of the strategy's own steps.", numbers.number, _EGGS,
        leaks="There are 7 boxes.", passes="A week has 7 days.",
    ),
    Rule(
        "copied", "copied", "No long span and no whole sentence of the response is copied.", _copied,
        ("Who wins?", "Eve", "the train that left first is ahead by all that it covered before the second set out"),
        leaks="The train that left first is ahead by all that it covered before the second set out.",
        passes="The train that left first is ahead.",
    ),
)  # fmt: skip
