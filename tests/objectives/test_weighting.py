"""adaptive_weight against the oracle, by hand, and by properties."""

import math
from typing import Any

import objectives_oracle as oracle
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, tensor

from sgpo.objectives import WEIGHT_FORMS, adaptive_weight

rate = st.floats(0, 1, allow_subnormal=False)
rates = st.lists(st.tuples(rate, st.one_of(rate, st.just(math.nan))), min_size=1, max_size=6)
constants = st.fixed_dictionaries(
    {"alpha_0": st.floats(0, 2), "gamma": st.floats(0.01, 2), "alpha_max": st.floats(0, 2)}
)


def weight(p: list[float], guided: list[float], **options: Any) -> Tensor:
    return adaptive_weight(tensor(p, dtype=torch.float64), tensor(guided, dtype=torch.float64), **options)


@pytest.mark.parametrize("form", WEIGHT_FORMS)
@given(rates=rates, constants=constants)
def test_matches_the_oracle(form: str, rates: list[tuple[float, float]], constants: dict[str, float]) -> None:
    alpha = weight([p for p, _ in rates], [g for _, g in rates], form=form, **constants)
    expected = [oracle.alpha(p, g, form, **constants) for p, g in rates]
    assert alpha.tolist() == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_worked_by_hand() -> None:
    p, guided = [0.0, 0.5, 0.5, 1.0, 0.25, 0.0], [0.5, 0.75, 0.25, 1.0, 0.5, 0.1]
    # 0.5 * 0.5 / 0.1 = 2.5, capped; 0.5 * 0.25 / 0.6; no advantage; competent; 0.5 * 0.25 / 0.35; 0.5 * 0.1 / 0.1
    assert weight(p, guided).tolist() == pytest.approx([0.8, 5 / 24, 0.0, 0.0, 5 / 14, 0.5])
    assert weight(p, guided, form="gap").tolist() == pytest.approx([0.25, 0.125, 0.0, 0.0, 0.125, 0.05])
    assert weight(p, guided, form="constant").tolist() == [0.5] * 6
    assert weight(p, guided, form="constant", alpha_0=0.9).tolist() == [0.8] * 6
    assert weight(p, guided, form="all_wrong").tolist() == [0.5, 0.0, 0.0, 0.0, 0.0, 0.5]
    assert weight(p, guided, form="deviation").tolist() == pytest.approx([0, 0.25, 0.25, 0, 0.5 * 0.1875**0.5, 0])


@pytest.mark.parametrize("form", ["relative_gap", "gap", "constant"])
@given(p=rate, low=rate, high=rate)
def test_published_behaviour(form: str, p: float, low: float, high: float) -> None:
    """It grows with the guided pass rate and falls with the autonomous one; both by themselves, no schedule."""
    low, high = sorted((low, high))
    assert weight([p], [low], form=form) <= weight([p], [high], form=form)
    assert weight([high], [p], form=form) <= weight([low], [p], form=form)
    if form != "constant":
        assert weight([high], [low], form=form) == 0


@pytest.mark.parametrize("form", WEIGHT_FORMS)
def test_problems_without_guided_rollouts_get_no_weight(form: str) -> None:
    alpha = weight([0.0, 0.5, 0.0, 0.5], [math.nan, math.nan, 1.0, 1.0], form=form)
    assert alpha[:2].tolist() == [0.0, 0.0]
    assert alpha[2:].max() > 0


def test_order_empty_and_graph() -> None:
    p, guided = [0.1, 0.6, 0.0], [0.9, 0.7, 0.25]
    assert torch.equal(weight(p[::-1], guided[::-1]), weight(p, guided).flip(0))
    assert weight([], []).shape == (0,)
    rates = tensor([0.25], requires_grad=True)
    assert not adaptive_weight(rates, rates + 0.5).requires_grad


@pytest.mark.parametrize(
    ("p", "guided", "options", "names"),
    [
        ([1.5], [0.5], {}, ["autonomous pass rate 1.5", "[0, 1]", "threshold"]),
        ([-0.1], [0.5], {}, ["autonomous pass rate -0.1"]),
        ([math.nan], [0.5], {}, ["autonomous pass rate nan"]),
        ([0.5], [2.0], {}, ["guided pass rate 2.0"]),
        ([0.5, 0.5], [0.5], {}, ["(2,)", "(1,)"]),
        ([0.5], [0.5], {"alpha_0": -0.5}, ["alpha_0 is -0.5", "at least 0"]),
        ([0.5], [0.5], {"alpha_max": math.inf}, ["alpha_max is inf"]),
        ([0.5], [0.5], {"gamma": 0.0}, ["gamma is 0.0", "0.1"]),
        ([0.5], [0.5], {"form": "linear"}, ["form='linear'", "'relative_gap', 'gap', 'constant'"]),
    ],
)
def test_errors_name_the_value_and_the_remedy(
    p: list[float], guided: list[float], options: dict[str, Any], names: list[str]
) -> None:
    with pytest.raises(ValueError) as error:
        weight(p, guided, **options)
    assert all(name in str(error.value) for name in names)
