"""From scores to a ranking, and how well repeated rankings agree. Pure functions over whole numbers.

A repetition is ``{candidate: {criterion: score}}`` with every candidate in it. Order: the higher sum over criteria and
repetitions; of equal ones the one that scores higher on the first criterion of `TIES` that tells them apart; of
entirely equal ones the one that comes first in ``candidates``. So the order never depends on chance.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import mean

from sgpo.strategies.schema import CRITERIA

TIES = ("instance_free", "faithful", "executable", "general")
"""What gives the answer away does most harm, then what is wrong, then what cannot be followed."""

Repetition = Mapping[str, Mapping[str, int]]


def order(candidates: Sequence[str], repetitions: Sequence[Repetition]) -> list[str]:
    """``candidates`` from best to worst; as they are where there are no repetitions."""
    summed = {c: {name: sum(r[c][name] for r in repetitions) for name in CRITERIA} for c in candidates}

    def key(candidate: str) -> tuple[int, ...]:
        scores = summed[candidate]
        return (-sum(scores.values()), *(-scores[name] for name in TIES))

    return sorted(candidates, key=key)  # stable


def winner_agreement(candidates: Sequence[str], repetitions: Sequence[Repetition]) -> float | None:
    """Share of the repetitions whose winner is the most frequent one; None for fewer than two."""
    if len(repetitions) < 2:
        return None
    winners = Counter(order(candidates, [repetition])[0] for repetition in repetitions)
    return max(winners.values()) / len(repetitions)


def mean_tau(candidates: Sequence[str], repetitions: Sequence[Repetition]) -> float | None:
    """Mean of Kendall's tau-b over the pairs of repetitions, on the sums over criteria; None where none has one."""
    totals = [[sum(repetition[c].values()) for c in candidates] for repetition in repetitions]
    taus = [tau for a, b in combinations(totals, 2) if (tau := kendall_tau(a, b)) is not None]
    return mean(taus) if taus else None


def kendall_tau(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Kendall's tau-b of two scorings (M. Kendall, Biometrika 33, 1945); None where one of them ties everything."""
    score = untied_a = untied_b = 0
    for (a1, b1), (a2, b2) in combinations(zip(a, b, strict=True), 2):
        da, db = (a1 > a2) - (a1 < a2), (b1 > b2) - (b1 < b2)
        score += da * db
        untied_a += da != 0
        untied_b += db != 0
    return score / math.sqrt(untied_a * untied_b) if untied_a and untied_b else None
