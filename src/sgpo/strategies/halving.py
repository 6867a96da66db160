"""Where the samples of a lift measurement go: successive halving over the candidates of one problem.

Every candidate and the unguided policy get `first` samples; the better half of the candidates goes on and all that go
on are filled up to twice as many, and so forth (Karnin, Koren and Somekh 2013, sequential halving; Jamieson and
Talwalkar, arXiv 1502.07943). Ours: the unguided arm is shared by the candidates and keeps pace with them; a candidate
whose interval lies below the leader's goes at once; a problem is done when one candidate is left and its lift
differs from 0, so that no sample is spent where nothing is left to decide.

All of it is a function of the verdicts so far. Whoever holds them can ask what is still wanted, so a measurement that
was interrupted goes on where it was, and a larger plan builds on a smaller one.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sgpo.runs.scores import wilson

UNGUIDED = ""
"""The arm without a strategy."""

Interval = tuple[float, float]
Verdicts = Mapping[str, Mapping[int, bool]]
"""Of each arm, by the number of the sample: whether it passed."""


@dataclass(frozen=True)
class Rate:
    """``passed`` of ``n`` samples, ``n`` at least 1."""

    passed: int
    n: int

    @property
    def value(self) -> float:
        return self.passed / self.n

    @property
    def interval(self) -> Interval:
        """Its 95% interval."""
        return wilson(self.passed, self.n)


def difference_interval(a: Rate, b: Rate) -> Interval:
    """95% interval of ``a - b`` for two independent proportions: Newcombe's hybrid score interval.

    Method 10 of Newcombe (1998), "Interval estimation for the difference between independent proportions", Statistics
    in Medicine 17:873-890. It stays inside [-1, 1] and has a width for 0 or n of n, where the normal one has none.
    """
    (low_a, high_a), (low_b, high_b) = a.interval, b.interval
    difference = a.value - b.value
    low = difference - math.hypot(a.value - low_a, high_b - b.value)
    return low, difference + math.hypot(high_a - a.value, b.value - low_b)


@dataclass(frozen=True)
class LiftPlan:
    """How many samples an arm gets.

    Attributes:
        first: in the first round, of every candidate and without one.
        rounds: each fills up to twice the samples of the one before; an arm gets at most ``first * 2**(rounds - 1)``.
    """

    first: int = 4
    rounds: int = 3

    def __post_init__(self) -> None:
        if self.first < 1 or not 1 <= self.rounds <= 16:
            raise ValueError(f"--first {self.first} must be at least 1, --rounds {self.rounds} 1 to 16.")

    @property
    def most(self) -> int:
        """Samples that an arm can get."""
        return self.samples(self.rounds - 1)

    def samples(self, round: int) -> int:
        """Samples of an arm that is in a round (from 0), earlier rounds included."""
        return self.first * 2**round


@dataclass(frozen=True)
class State:
    """How far the measurement of one problem has come.

    Attributes:
        wanted: ``(arm, number)`` of the samples that the present round still lacks; empty when the problem is done.
        order: the candidates, best first: who stayed longer, then who passed more often, then as given.
        rates: of each arm in the last complete round it was in.
        rounds: complete rounds of each candidate.
    """

    wanted: list[tuple[str, int]]
    order: list[str] = field(default_factory=list)
    rates: dict[str, Rate] = field(default_factory=dict)
    rounds: dict[str, int] = field(default_factory=dict)


def advance(plan: LiftPlan, candidates: Sequence[str], verdicts: Verdicts) -> State:
    """Play the plan over the verdicts so far, to the first round that lacks one, or to the end.

    Of candidates that tie the earlier one is the better; verdicts that the plan does not ask for are not looked at.
    """
    standing, gone = list(candidates), list[str]()
    rates: dict[str, Rate] = {}
    rounds = dict.fromkeys(candidates, 0)
    for round in range(plan.rounds if candidates else 0):
        n = plan.samples(round)
        arms = [UNGUIDED, *standing]
        wanted = [(arm, i) for arm in arms for i in range(n) if i not in verdicts.get(arm, {})]
        if wanted:
            return State(wanted, standing + gone, rates, rounds)
        rates |= {arm: Rate(sum(verdicts[arm][i] for i in range(n)), n) for arm in arms}
        rounds |= dict.fromkeys(standing, round + 1)
        standing.sort(key=lambda name: -rates[name].passed)  # stable: ties stay as they were
        if round == plan.rounds - 1:
            break
        kept = _survivors(standing, rates)
        standing, gone = kept, standing[len(kept) :] + gone
        if len(standing) == 1:
            low, high = difference_interval(rates[standing[0]], rates[UNGUIDED])
            if low > 0 or high < 0:
                break
    return State([], standing + gone, rates, rounds)


def _survivors(ranked: list[str], rates: Mapping[str, Rate]) -> list[str]:
    """The better half, rounded up, without those that are behind the first beyond doubt."""
    least = rates[ranked[0]].interval[0]
    half = ranked[: (len(ranked) + 1) // 2]
    return [name for name in half if rates[name].interval[1] >= least]
