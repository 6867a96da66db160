"""Guided rollouts by weight: what the schedule remembers and draws; its mathematics: objectives/test_guiding.py."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import trainer_kit as kit

from sgpo.trainer.rollouts import GenerationBatch
from sgpo.trainer.schedule import GuidedSchedule

PROBLEMS = [{"prompt": f"solve {name}", "strategy": "carry"} for name in "abcde"]
CORRECT = torch.tensor([[0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]], dtype=torch.bool)


def make(out: Path, **options: Any) -> GuidedSchedule:
    return GuidedSchedule(kit.make_config(out, guided_rollouts="by_weight", num_generations=4, **options))


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
