"""Guided rollouts by weight: each problem is drawn with its probability, and the mean weight is that of all of them."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import trainer_kit as kit

from sgpo.objectives import adaptive_weight
from sgpo.trainer.rollouts import GenerationBatch
from sgpo.trainer.schedule import GuidedSchedule, systematic_draw

STARTS = [(k + 0.5) / 1000 for k in range(1000)]
PROBLEMS = [{"prompt": f"solve {name}", "strategy": "carry"} for name in "abcde"]
CORRECT = torch.tensor([[0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]], dtype=torch.bool)


def make(out: Path, **options: Any) -> GuidedSchedule:
    return GuidedSchedule(kit.make_config(out, guided_rollouts="by_weight", num_generations=4, **options))


@pytest.mark.parametrize("probabilities", [[0.3, 1.0, 0.0, 0.45, 0.05], [1.0, 1.0], [0.2], [], [0.0, 0.0]])
def test_each_item_is_drawn_with_its_probability(probabilities: list[float]) -> None:
    draws = [systematic_draw(probabilities, start) for start in STARTS]
    for k, wanted in enumerate(probabilities):
        assert sum(k in draw for draw in draws) / len(draws) == pytest.approx(wanted, abs=0.002)
    assert all(abs(len(draw) - sum(probabilities)) < 1 for draw in draws)


@pytest.mark.parametrize(("form", "floor"), [("relative_gap", 0.1), ("gap", 0.1), ("gap", 1.0), ("deviation", 0.3)])
def test_the_mean_weight_over_the_draws_is_that_of_guiding_all(form: str, floor: float, out: Path) -> None:
    """Also where the rates of before were wrong: the second and third problem are now helped, and were not."""
    schedule = make(out, alpha_form=form, guided_probability_min=floor)
    schedule.learn(PROBLEMS, torch.tensor([1.0, 0.0, 0.25, math.nan, math.nan]))
    rate, guided = CORRECT.float().mean(1), torch.tensor([0.5, 0.75, 1.0, 1.0, 1.0])
    alpha = adaptive_weight(rate, guided, form=form)
    probabilities = schedule.probabilities(rate, PROBLEMS)
    total = torch.zeros(5)
    for start in STARTS:
        drawn = systematic_draw(probabilities.tolist(), start)
        total[drawn] += alpha[drawn] / probabilities[drawn]
    torch.testing.assert_close(total / len(STARTS), alpha, atol=0.01, rtol=0.01)


def test_probabilities_by_hand(out: Path) -> None:
    schedule = make(out, alpha_form="gap", guided_probability_min=0.2)
    rate = CORRECT.float().mean(1)
    # The largest weight is 0.5, where p = 0 and p~ = 1; a solved problem never weighs anything.
    assert schedule.probabilities(rate, PROBLEMS).tolist() == pytest.approx([1.0, 0.75, 0.5, 0.25, 0.0])
    schedule.learn(PROBLEMS, torch.tensor([0.5, 0.0, math.nan, 1.0, 1.0]))
    assert schedule.probabilities(rate, PROBLEMS).tolist() == pytest.approx([0.5, 0.2, 0.5, 0.25, 0.0])
    out.mkdir()
    schedule.save(out)
    again = make(out, alpha_form="gap", guided_probability_min=0.2)
    again.load(out)
    assert again.probabilities(rate, PROBLEMS).tolist() == schedule.probabilities(rate, PROBLEMS).tolist()
    other = [{**problem, "strategy": "another"} for problem in PROBLEMS]
    assert again.probabilities(rate, other).tolist() == pytest.approx([1.0, 0.75, 0.5, 0.25, 0.0])


def test_a_draw_keeps_to_the_cap_and_says_the_probabilities(out: Path) -> None:
    schedule = make(out, alpha_form="gap", num_guided_generations=2, max_guided_tokens=2 * 2 * 8)
    counts = torch.zeros(5)
    for step in range(300):
        batch = GenerationBatch(PROBLEMS, [0, 1, 3, 4], correct=CORRECT)
        drawn = schedule.draw(batch, batch.with_strategy, step, rank=0)
        assert len(drawn) <= 2
        assert batch.guiding_probability is not None
        counts[drawn] += 1 / batch.guiding_probability[drawn]
        assert drawn == schedule.draw(batch, batch.with_strategy, step, rank=0), "a resumed run draws the same"
    assert counts[:2].tolist() == pytest.approx([300, 300], rel=0.15)
    assert counts[2] == counts[4] == 0, "no candidate, and one whose weight is 0"
