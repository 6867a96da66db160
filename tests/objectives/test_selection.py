"""rank_targets against the oracle, by hand, and by properties."""

import math
from typing import Any

import objectives_oracle as oracle
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, tensor

from sgpo.objectives import SELECTION_MODES, rank_targets, trimmed_logps

logp = st.one_of(st.floats(-300, 0, width=32), st.sampled_from([-1.0, -2.0, math.nan, -math.inf]))
response = st.tuples(logp, st.booleans(), st.integers(0, 40))
groups = st.tuples(st.integers(1, 4), st.integers(1, 5)).flatmap(
    lambda size: st.lists(st.lists(response, min_size=size[1], max_size=size[1]), min_size=size[0], max_size=size[0])
)


def split(groups: list[list[tuple[float, bool, int]]]) -> tuple[Any, Any, Any]:
    return tuple([[r[i] for r in group] for group in groups] for i in range(3))  # type: ignore[return-value]


def best(*tensors: Tensor, **how: Any) -> Tensor:
    """The first choice of each problem, -1 for none."""
    ranked = rank_targets(*tensors, **how)
    return ranked[:, 0] if ranked.shape[1] else ranked.new_full(ranked.shape[:1], -1)


@pytest.mark.parametrize("mode", ["mean", "sum"])
@given(groups=groups)
def test_matches_the_oracle(mode: str, groups: list[list[tuple[float, bool, int]]]) -> None:
    logps, correct, lengths = split(groups)
    chosen = best(tensor(logps, dtype=torch.float64), tensor(correct), tensor(lengths), mode=mode)
    assert chosen.dtype == torch.long
    assert chosen.tolist() == oracle.select(logps, correct, lengths, mode)


@pytest.mark.parametrize("mode", ["mean", "sum"])
@given(groups=groups, count=st.integers(1, 6))
def test_ranking_is_choosing_again_and_again(
    mode: str, groups: list[list[tuple[float, bool, int]]], count: int
) -> None:
    logps, correct, lengths = split(groups)
    ranked = rank_targets(tensor(logps, dtype=torch.float64), tensor(correct), tensor(lengths), count=count, mode=mode)
    assert ranked.shape == (len(groups), min(count, len(groups[0])))
    for place in range(ranked.shape[1]):
        chosen = oracle.select(logps, correct, lengths, mode)
        assert ranked[:, place].tolist() == chosen
        for verdicts, index in zip(correct, chosen, strict=True):
            if index >= 0:
                verdicts[index] = False


@given(
    rows=st.lists(st.lists(st.floats(-30, 0, width=32), max_size=9), min_size=1, max_size=4),
    drop=st.sampled_from([0.0, 0.1, 0.34, 0.5]),
)
def test_trimmed_matches_the_oracle(rows: list[list[float]], drop: float) -> None:
    width = max(map(len, rows))
    padded = tensor([[*row, *[7.0] * (width - len(row))] for row in rows], dtype=torch.float64).view(len(rows), width)
    mask = tensor([[i < len(row) for i in range(width)] for row in rows], dtype=torch.bool).view(len(rows), width)
    assert trimmed_logps(padded, mask, drop).tolist() == pytest.approx([oracle.trimmed(row, drop) for row in rows])


@given(groups=groups, seed=st.integers(0, 99))
def test_random_selects_a_correct_response_or_none(groups: list[list[tuple[float, bool, int]]], seed: int) -> None:
    logps, correct, lengths = (tensor(x) for x in split(groups))
    generator = torch.Generator().manual_seed(seed)
    chosen = best(logps, correct, lengths, mode="random", generator=generator)
    eligible = correct & (lengths > 0)
    for b, index in enumerate(chosen.tolist()):
        assert eligible[b, index] if index >= 0 else not eligible[b].any()


def test_worked_by_hand() -> None:
    logps = tensor([[-10.0, -12.0, -1.0]])
    lengths = tensor([[10, 20, 2]])  # means -1.0, -0.6, -0.5
    assert best(logps, tensor([[True, True, True]]), lengths).tolist() == [2]
    assert best(logps, tensor([[True, True, False]]), lengths).tolist() == [1]
    assert best(logps, tensor([[True, True, False]]), lengths, mode="sum").tolist() == [0]
    assert best(logps, tensor([[False, False, False]]), lengths).tolist() == [-1]


@pytest.mark.parametrize("mode", ["mean", "sum"])
def test_a_broken_score_never_beats_a_finite_one(mode: str) -> None:
    nan, inf = math.nan, math.inf
    logps = tensor([[nan, -9e30, -inf], [-inf, nan, -1.0], [inf, -5.0, -9.0], [-1.0, nan, -inf]])
    correct = tensor([[True] * 3, [True] * 3, [True] * 3, [False, True, True]])
    lengths = torch.full((4, 3), 2)
    assert best(logps, correct, lengths, mode=mode).tolist() == [1, 2, 1, 1]


@pytest.mark.parametrize("mode", ["mean", "sum"])
def test_ties_go_to_the_lowest_index(mode: str) -> None:
    same = torch.full((1, 64), -3.0)
    correct = torch.ones(1, 64, dtype=torch.bool)
    correct[0, :5] = False
    assert best(same, correct, torch.full((1, 64), 7), mode=mode).tolist() == [5]


def test_an_empty_response_is_no_target() -> None:
    logps, lengths = tensor([[0.0, -9.0], [0.0, 0.0]]), tensor([[0, 3], [0, 0]])
    for mode in SELECTION_MODES:
        assert best(logps, torch.ones(2, 2).bool(), lengths, mode=mode).tolist() == [1, -1]


def test_empty_groups() -> None:
    for shape, expected in (((2, 0), [-1, -1]), ((0, 3), [])):
        empty = torch.zeros(shape)
        for mode in SELECTION_MODES:
            assert best(empty, empty.bool(), empty.long(), mode=mode).tolist() == expected


def test_random_is_uniform_reproducible_and_blind_to_likelihood() -> None:
    draws = 6000
    logps = tensor([-1.0, -500.0, math.nan, -2.0]).expand(draws, 4)
    correct = tensor([True, True, True, False]).expand(draws, 4)

    def draw(seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return best(logps, correct, torch.full((draws, 4), 9), mode="random", generator=generator)

    counts = torch.bincount(draw(0), minlength=4).tolist()
    # 2000 expected of each, standard deviation 36.5: five of them.
    assert counts[3] == 0
    assert all(abs(count - 2000) < 183 for count in counts[:3])
    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


def test_half_precision_log_probabilities_are_divided_in_float32() -> None:
    # -2001 / 2000 and -2000 / 2000 are one bfloat16 number, and so would tie.
    logps = tensor([[-2016.0, -2000.0]]).bfloat16()
    assert best(logps, tensor([[True, True]]), tensor([[2015, 2000]])).tolist() == [1]


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ((torch.zeros(2, 3), torch.ones(2, 2).bool(), torch.ones(2, 3)), ["(2, 3)", "(2, 2)", "[B, G]"]),
        ((torch.zeros(6), torch.ones(6).bool(), torch.ones(6)), ["(6,)", "regroup"]),
        ((torch.zeros(2, 3), torch.ones(2, 3), torch.ones(2, 3)), ["float32", "reward > 0.5"]),
    ],
)
def test_errors_name_the_value_and_the_remedy(arguments: Any, names: list[str]) -> None:
    with pytest.raises(ValueError) as error:
        best(*arguments)
    assert all(name in str(error.value) for name in names)


def test_unknown_mode() -> None:
    with pytest.raises(ValueError, match=r"mode='best'.*'mean', 'sum', 'random'"):
        best(torch.zeros(1, 1), torch.ones(1, 1).bool(), torch.ones(1, 1), mode="best")
