"""Scores and intervals against hand-worked cases and slow oracles."""

import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgpo.evaluation.metrics import (
    avg_at_k,
    bootstrap_interval,
    maj_at_k,
    paired_interval,
    paired_t_interval,
    pass_at_k,
    problem_interval,
    t_interval,
    t_quantile,
)

TABLES = st.integers(1, 6).flatmap(
    lambda n: st.lists(st.lists(st.integers(0, 1), min_size=n, max_size=n), min_size=1, max_size=5)
)


def test_avg_at_k_by_hand() -> None:
    assert avg_at_k([[1, 0, 0, 0], [1, 1, 1, 0]]) == 0.5


@settings(deadline=None, max_examples=60)
@given(TABLES, st.data())
def test_pass_at_k_is_the_share_of_subsets_with_a_correct_sample(table: list[list[int]], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(table[0])))
    shares = []
    for row in table:
        subsets = list(itertools.combinations(row, k))
        shares.append(sum(any(subset) for subset in subsets) / len(subsets))
    assert pass_at_k(table, k) == pytest.approx(sum(shares) / len(shares), abs=1e-12)


def test_pass_at_1_is_avg_at_k() -> None:
    table = [[1, 0, 1], [0, 0, 0], [1, 1, 1]]
    assert pass_at_k(table, 1) == pytest.approx(avg_at_k(table))


@pytest.mark.parametrize("k", [0, 4])
def test_pass_at_k_refuses_k_beyond_the_samples(k: int) -> None:
    with pytest.raises(ValueError, match=rf"pass@{k} cannot be estimated from 3"):
        pass_at_k([[1, 0, 1]], k)


@pytest.mark.parametrize("table", [[], [[]], [[1], [1, 0]]])
def test_tables_must_be_full(table: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="sample"):
        avg_at_k(table)


def test_maj_at_k_by_hand() -> None:
    answers = [["3", "3", "5"], ["7", "8", None], [None, None, None], ["1", "2", "2"]]
    correct = [[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 0, 0]]
    # Right majority; a tie of a right and a wrong answer; no votes; wrong majority.
    assert maj_at_k(answers, correct) == pytest.approx((1 + 0.5 + 0 + 0) / 4)


def test_the_interval_of_problems_has_a_width_where_all_are_alike() -> None:
    # 29 degrees of freedom: t is 2.045230 where z is 1.959964, z^2 = 3.841459
    number = 29 * (1.959964 / 2.045230) ** 2
    assert problem_interval([0.0] * 30) == pytest.approx((0.0, 3.841459 / (number + 3.841459)), abs=1e-6)
    assert problem_interval([1.0] * 30) == pytest.approx((number / (number + 3.841459), 1.0), abs=1e-6)
    assert problem_interval([0.5]) == (0.0, 1.0)
    assert problem_interval([1.0000001, 1.0]) == problem_interval([1.0, 1.0])
    for n in range(1, 200):  # to the last bit: a plot draws from the score to the end
        assert problem_interval([0.0] * n)[0] == 0.0
        assert problem_interval([1.0] * n)[1] == 1.0


def test_the_interval_of_problems_is_wilsons_for_verdicts() -> None:
    n, p, z = 600, 0.3, 1.959964
    number = (n - 1) * (z / t_quantile(0.975, n - 1)) ** 2
    middle, half = p + z * z / 2 / number, z * math.sqrt(p * (1 - p) / number + z * z / 4 / number**2)
    expected = (middle - half) / (1 + z * z / number), (middle + half) / (1 + z * z / number)
    assert problem_interval([1.0] * 180 + [0.0] * 420) == pytest.approx(expected, abs=1e-6)


@settings(deadline=None)
@given(st.lists(st.integers(0, 32).map(lambda c: c / 32), min_size=1, max_size=40))
def test_the_interval_of_problems_holds_the_mean_and_mirrors(scores: list[float]) -> None:
    low, high = problem_interval(scores)
    assert 0 <= low <= sum(scores) / len(scores) <= high <= 1
    assert low < high
    assert problem_interval([1 - score for score in scores]) == pytest.approx((1 - high, 1 - low))


def test_the_interval_of_problems_holds_the_truth_of_hard_benchmarks() -> None:
    """30 problems, one sample of each, 4.8% of them solved: a bootstrap holds it in 3 of 4 benchmarks."""
    rng = random.Random(0)
    held = 0
    for _ in range(400):
        low, high = problem_interval([float(rng.random() < rng.betavariate(0.05, 1)) for _ in range(30)])
        held += low <= 0.05 / 1.05 <= high
    assert held / 400 > 0.93


@pytest.mark.parametrize("scores", [[-0.1, 0.5], [0.5, 1.1]])
def test_the_interval_of_problems_is_one_of_shares(scores: list[float]) -> None:
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        problem_interval(scores)


def test_bootstrap_of_two_values_has_the_known_distribution() -> None:
    # Resampled means are 0, 1/2, 1 with probabilities 1/4, 1/2, 1/4.
    assert bootstrap_interval([0.0, 1.0], confidence=0.95) == (0.0, 1.0)
    assert bootstrap_interval([0.0, 1.0], confidence=0.4) == (0.5, 0.5)


def test_bootstrap_agrees_with_the_normal_interval_where_that_holds() -> None:
    rng = random.Random(1)
    values = [float(rng.random() < 0.3) for _ in range(600)]
    mean = sum(values) / 600
    half = 1.95996 * math.sqrt(mean * (1 - mean) / 600)
    low, high = bootstrap_interval(values, resamples=20_000)
    assert low == pytest.approx(mean - half, abs=0.003)
    assert high == pytest.approx(mean + half, abs=0.003)


def test_bootstrap_depends_on_its_arguments_alone() -> None:
    values = [0.1, 0.52, 0.97, 0.33, 0.2, 0.71, 0.44]
    assert bootstrap_interval(values, seed=3) == bootstrap_interval(values, seed=3)
    assert bootstrap_interval(values, seed=3) != bootstrap_interval(values, seed=4)


def test_bootstrap_of_many_problems_is_drawn_in_chunks() -> None:
    rng = random.Random(0)
    values = [rng.random() for _ in range(30_000)]
    low, high = bootstrap_interval(values, resamples=500)
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(1 / 12 / 30_000), rel=0.15)


def test_pairing_takes_difficulty_out() -> None:
    difficulty = [i / 40 for i in range(40)]
    better = [value + 0.01 * (1 + i % 2) for i, value in enumerate(difficulty)]
    low, high = paired_interval(better, difficulty)
    assert 0.01 < low < 0.015 < high < 0.02
    alone = bootstrap_interval(better)
    assert alone[1] - alone[0] > 0.15


@pytest.mark.parametrize(
    ("df", "p", "expected"),
    [  # the published table
        (1, 0.975, 12.706),
        (2, 0.975, 4.303),
        (3, 0.975, 3.182),
        (4, 0.975, 2.776),
        (5, 0.95, 2.015),
        (5, 0.975, 2.571),
        (6, 0.975, 2.447),
        (7, 0.995, 3.499),
        (10, 0.975, 2.228),
        (29, 0.975, 2.045),
        (30, 0.975, 2.042),
        (120, 0.975, 1.980),
        (4, 0.025, -2.776),
        (1, 0.9995, 636.619),
    ],
)
def test_t_quantile_equals_the_table(df: int, p: float, expected: float) -> None:
    assert t_quantile(p, df) == pytest.approx(expected, abs=5.1e-4)


def test_t_interval_by_hand() -> None:
    mean, low, high = t_interval([1.0, 2.0, 3.0])
    half = 4.302653 / math.sqrt(3)
    assert (mean, low, high) == pytest.approx((2.0, 2 - half, 2 + half), abs=1e-5)


def test_paired_t_interval_is_that_of_the_differences() -> None:
    a, b = [0.9, 0.5, 0.7], [0.8, 0.2, 0.5]
    assert paired_t_interval(a, b) == pytest.approx(t_interval([0.1, 0.3, 0.2]))


def test_one_seed_has_no_interval() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        t_interval([0.5])


def test_pairs_must_match() -> None:
    with pytest.raises(ValueError, match="same problems"):
        paired_interval([1.0], [1.0, 0.0])
    with pytest.raises(ValueError, match="same seeds"):
        paired_t_interval([1.0, 2.0], [1.0])


def test_confidence_is_a_share() -> None:
    with pytest.raises(ValueError, match="confidence = 95"):
        bootstrap_interval([1.0, 0.0], confidence=95)
