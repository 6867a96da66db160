"""guiding_probabilities against the oracle and by hand; draws by exhaustion over their random start."""

import math
from functools import partial
from typing import Any

import objectives_oracle as oracle
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, tensor

from sgpo.objectives import (
    WEIGHT_FORMS,
    adaptive_weight,
    capped_probabilities,
    guiding_probabilities,
    systematic_draw,
)

F64 = torch.float64
STARTS = [(k + 0.5) / 1000 for k in range(1000)]
rate = st.floats(0, 1, allow_subnormal=False)
rates = st.lists(st.tuples(rate, rate), min_size=1, max_size=6)
positive = st.fixed_dictionaries(
    {"alpha_0": st.floats(0.01, 2), "gamma": st.floats(0.01, 2), "alpha_max": st.floats(0.01, 2)}
)
probabilities = st.lists(st.floats(0, 1), max_size=8)


def guiding(p: list[float], expected: list[float], **options: Any) -> Tensor:
    own = {name: options.pop(name) for name in ("rollouts", "floor")}
    weight = partial(adaptive_weight, **options)
    return guiding_probabilities(tensor(p, dtype=F64), tensor(expected, dtype=F64), **own, weight=weight)


@pytest.mark.parametrize("form", WEIGHT_FORMS)
@given(rates=rates, constants=positive, rollouts=st.integers(2, 8), floor=st.floats(0.01, 1))
def test_matches_the_oracle(
    form: str, rates: list[tuple[float, float]], constants: dict[str, float], rollouts: int, floor: float
) -> None:
    found = guiding(
        [p for p, _ in rates], [g for _, g in rates], rollouts=rollouts, floor=floor, form=form, **constants
    )
    expected = [oracle.guiding(p, g, rollouts, floor, form, **constants) for p, g in rates]
    assert found.tolist() == pytest.approx(expected, rel=1e-5)


def test_worked_by_hand() -> None:
    p = [0.0, 0.25, 0.5, 0.75, 1.0]
    gap = {"rollouts": 4, "floor": 0.2, "form": "gap"}
    # The largest weight is 0.5, where p = 0 and p~ = 1; a solved problem never weighs anything.
    assert guiding(p, [1.0] * 5, **gap).tolist() == pytest.approx([1.0, 0.75, 0.5, 0.25, 0.0])
    assert guiding(p, [0.5, 0.0, 1.0, 1.0, 1.0], **gap).tolist() == pytest.approx([0.5, 0.2, 0.5, 0.25, 0.0])
    # 0.5 * (1 - p) / (p + 0.1), at most 0.8: 0.8, 0.8, 0.4167, 0.1471, 0, over the largest, 0.8.
    assert guiding(p, [1.0] * 5, rollouts=4, floor=0.2).tolist() == pytest.approx([1.0, 1.0, 25 / 48, 0.2, 0.0])


@pytest.mark.parametrize("form", WEIGHT_FORMS)
@given(rates=rates, floor=st.floats(0.01, 1))
def test_a_problem_that_guidance_could_help_has_the_floor_and_no_other_is_drawn(
    form: str, rates: list[tuple[float, float]], floor: float
) -> None:
    found = guiding([p for p, _ in rates], [g for _, g in rates], rollouts=8, floor=floor, form=form)
    helped = adaptive_weight(tensor([p for p, _ in rates], dtype=F64), torch.ones(len(rates), dtype=F64), form=form) > 0
    assert (found[helped] >= floor).all()
    assert (found[~helped] == 0).all()
    assert (found <= 1).all()


@pytest.mark.parametrize(("form", "floor"), [("relative_gap", 0.1), ("gap", 0.1), ("gap", 1.0), ("deviation", 0.3)])
def test_the_mean_weight_over_the_draws_is_that_of_guiding_all(form: str, floor: float) -> None:
    """Also where what was expected is wrong: the second and third problem are helped, and were thought not to be."""
    p, expected = [0.0, 0.25, 0.5, 0.75, 1.0], [1.0, 0.0, 0.25, 1.0, 1.0]
    alpha = adaptive_weight(tensor(p, dtype=F64), tensor([0.5, 0.75, 1.0, 1.0, 1.0], dtype=F64), form=form)
    chances = guiding(p, expected, rollouts=4, floor=floor, form=form)
    total = torch.zeros(5, dtype=F64)
    for start in STARTS:
        drawn = systematic_draw(chances.tolist(), start)
        total[drawn] += alpha[drawn] / chances[drawn]
    torch.testing.assert_close(total / len(STARTS), alpha, atol=0.01, rtol=0.01)


@pytest.mark.parametrize("chances", [[0.3, 1.0, 0.0, 0.45, 0.05], [1.0, 1.0], [0.2], [], [0.0, 0.0]])
def test_each_item_is_drawn_with_its_probability(chances: list[float]) -> None:
    draws = [systematic_draw(chances, start) for start in STARTS]
    for k, wanted in enumerate(chances):
        assert sum(k in draw for draw in draws) / len(draws) == pytest.approx(wanted, abs=0.002)
    assert all(abs(len(draw) - sum(chances)) < 1 for draw in draws)


@given(chances=probabilities, most=st.one_of(st.none(), st.integers(1, 8)))
def test_a_cap_scales_all_alike(chances: list[float], most: int | None) -> None:
    capped = capped_probabilities(chances, most)
    total = sum(chances)
    if most is None or total <= most:
        assert capped == chances
    else:
        assert sum(capped) == pytest.approx(most)
        assert all(c * total == pytest.approx(p * most) for c, p in zip(capped, chances, strict=True))


def test_no_graph_no_problems_and_errors() -> None:
    p = tensor([0.25, 0.5], requires_grad=True)
    assert not guiding_probabilities(p, torch.ones(2), rollouts=4, floor=0.1).requires_grad
    assert guiding([], [], rollouts=4, floor=0.1).shape == (0,)
    with pytest.raises(ValueError, match=r"guided pass rate 1\.5"):
        guiding([0.5], [1.5], rollouts=4, floor=0.1)
    assert math.isfinite(guiding([0.5], [1.0], rollouts=4, floor=0.1, alpha_0=0.0).item()), "nothing weighs anything"
