"""The notice that the teacher is forgetting: it must see a real fall, and must not cry on the noise of few rollouts."""

import logging
import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from sgpo.trainer.notices import WINDOW, RolloutHistory, RolloutNotices, forgets


def rates(steps: int, problems: int, true_rate: Callable[[float], float], seed: int) -> list[float]:
    """Guided pass rates of generation batches: problems of very different difficulty, 4 rollouts each."""
    rng = random.Random(seed)
    found = []
    for step in range(steps):
        hits = 0
        for _ in range(problems):
            easy = rng.random() < true_rate(step / steps)  # a problem is nearly solved or nearly hopeless
            hits += sum(rng.random() < (0.95 if easy else 0.05) for _ in range(4))
        found.append(hits / problems / 4)
    return found


def ever(values: list[float]) -> bool:
    return any(forgets(values[:n]) for n in range(1, len(values) + 1))


@pytest.mark.parametrize("problems", [2, 12])
@pytest.mark.parametrize("rate", [0.97, 0.6, 0.2])
def test_a_steady_teacher_is_not_accused(problems: int, rate: float) -> None:
    cried = sum(ever(rates(200, problems, lambda _: rate, seed)) for seed in range(8))
    assert cried == 0


def test_a_fall_as_in_the_lab_is_seen() -> None:
    for seed in range(8):
        values = rates(80, 12, lambda done: 0.97 - 0.45 * done, seed)
        first, last = next(filter(None, (forgets(values[:n]) for n in range(len(values) + 1))))
        assert first > 0.75
        assert last < 0.8 * first


def test_one_bad_batch_and_few_batches_say_nothing() -> None:
    assert forgets([1.0] * (2 * WINDOW) + [0.0]) is None
    assert forgets([1.0] * WINDOW + [0.0] * (WINDOW - 1)) is None
    assert forgets([1.0] * WINDOW + [float("nan")] * WINDOW + [0.0] * (WINDOW - 1)) is None
    assert forgets([1.0] * WINDOW + [0.0] * WINDOW) == (1.0, 0.0)


@pytest.mark.parametrize("on_demand", [False, True])
def test_it_is_said_once(on_demand: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Logging every third step empties the metrics; what was in them counts all the same."""
    history = RolloutHistory([], [], [], [])
    trainer: Any = SimpleNamespace(rollout_history=lambda: history, model=SimpleNamespace(training=True))
    notices = RolloutNotices(trainer)
    args = SimpleNamespace(guided_on_demand=on_demand, guided_grpo_weight=0.0, max_completion_length=8)
    with caplog.at_level(logging.WARNING):
        for step in range(1, 31):
            for name, value in {"cut": 0.0, "reward": 0.5, "same": 0.0, "guided": 0.9 if step <= 12 else 0.3}.items():
                getattr(history, name).append(value)
            state = SimpleNamespace(global_step=step, is_world_process_zero=True)
            notices.on_step_end(args, state, None)
            if step % 3 == 0:
                notices.on_log(args, state, None)
                history = RolloutHistory([], [], [], [])
    said = [record.getMessage() for record in caplog.records if "forgetting" in record.getMessage()]
    assert len(said) == (0 if on_demand else 1)
    if said:
        assert "from 90%" in said[0]
        assert "guided_grpo_weight (it is 0.0)" in said[0]
