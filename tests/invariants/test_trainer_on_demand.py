"""Guided rollouts on demand: given the same samples, the training of `always`, for fewer guided tokens."""

from pathlib import Path
from typing import Any

import pytest
import torch
import trainer_kit as kit

from sgpo.objectives import systematic_draw
from sgpo.trainer import schedule

HINT, OK = kit.WORDS.index("hint"), kit.WORDS.index("ok")
WHOLE = {"per_device_train_batch_size": 16, "reward": kit.easy_or_ok}


class Calls:
    """Prompts and group size of every generation call, whose completions come from the script."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.seen: list[tuple[list[list[int]], int]] = []

        def turn(trainer: Any, prompt_ids: Any, images: Any, fields: Any, num_generations: int) -> Any:
            self.seen.append((prompt_ids, num_generations))
            return kit.scripted_turn(trainer, prompt_ids, images, fields, num_generations)

        monkeypatch.setattr(kit.GRPOTrainer, "_generate_single_turn", turn)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    return Calls(monkeypatch)


def make(out: Path, how: str, **options: Any) -> Any:
    model, data = kit.make_model(seed=3), kit.make_problems(8)
    return kit.make_trainer(out, guided_rollouts=how, **{"model": model, "data": data, **WHOLE, **options})


def logs_of(trainer: Any) -> list[dict[str, Any]]:
    logs = [log for log in trainer.state.log_history if "loss" in log]
    return [{name.removeprefix("sgpo/"): value for name, value in log.items()} for log in logs]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4},
        {"num_iterations": 2, "max_steps": 4},
        {"alpha_form": "gap", "teacher": "ema", "optim": "adamw_torch"},
        {"distillation_loss": "sft"},
        {"num_guided_generations": 4, "gradient_checkpointing": True},
    ],
)
@pytest.mark.usefixtures("scripted")
def test_same_gradients_to_the_bit(options: dict[str, Any], out: Path) -> None:
    wanted = kit.recorded(always := make(out, "always", **options))
    got = kit.recorded(on_demand := make(out, "on_demand", **options))
    for left, right in zip(got.gradients + got.weights, wanted.gradients + wanted.weights, strict=True):
        assert kit.largest_gap(left, right) == 0.0
    saved = 0
    for ours, theirs in zip(logs_of(on_demand), logs_of(always), strict=True):
        differ = {"guided_tokens", "guided_tokens_saved", "guided_share", "guided_pass_rate", "num_tokens"}
        clocks = {name for name in theirs if "runtime" in name or "per_second" in name or name == "step_time"}
        for name in theirs.keys() - differ - clocks:
            assert ours[name] == theirs[name], name
        if "guided_tokens" in theirs:
            assert theirs["targets"] > 0
            assert ours["guided_share"] == 0.5
            assert theirs["guided_share"] == 1
            saved += theirs["guided_tokens"] - ours["guided_tokens"]
    assert saved > 0


@pytest.mark.usefixtures("scripted")
def test_by_weight_has_the_gradient_of_always_in_expectation(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four even starts of the draw give each problem its probability exactly: multiples of a quarter."""
    options = {"alpha_form": "gap", "max_steps": 1, "max_grad_norm": 0.0}
    (wanted,) = kit.recorded(make(out, "always", **options)).gradients
    total: dict[str, torch.Tensor] = {}
    shares = []
    for start in (0.125, 0.375, 0.625, 0.875):
        monkeypatch.setattr(schedule, "systematic_draw", lambda wanted, _, start=start: systematic_draw(wanted, start))
        trainer = make(out, "by_weight", **options)
        (got,) = kit.recorded(trainer).gradients
        shares.append(logs_of(trainer)[0]["guided_share"])
        total = {name: total.get(name, 0.0) + gradient / 4 for name, gradient in got.items()}
    assert min(shares) < 0.75, "nothing was saved, and nothing shown"
    for name, gradient in wanted.items():
        torch.testing.assert_close(total[name], gradient, atol=1e-6, rtol=1e-4)


def rates(data: Any) -> list[float]:
    """Autonomous pass rate of each problem, counted by hand."""
    result = []
    for row in data:
        ids = kit.make_tokenizer()(row["prompt"])["input_ids"]
        hits = [row["strategy"].startswith(kit.EASY) or OK in kit.script(ids, copy, 8) for copy in range(4)]
        result.append(sum(hits) / 4)
    return result


def guided_ids(row: dict[str, Any]) -> list[int]:
    return kit.make_tokenizer()(f"{row['prompt']} hint {row['strategy']}")["input_ids"]


@pytest.mark.parametrize("below", [0.3, 0.5, 1.0])
def test_second_call_holds_problems_below_the_threshold(below: float, calls: Calls, out: Path) -> None:
    trainer = make(out, "on_demand", guided_rollouts_below=below, max_steps=1)
    trainer.train()
    rows = list(kit.make_problems(8))[:4]
    (autonomous, stride), (guided, guided_stride) = calls.seen
    assert len(autonomous) == 16
    assert not any(HINT in ids for ids in autonomous)
    assert (stride, guided_stride) == (4, 2)
    chosen = [row for row, rate in zip(rows, rates(rows), strict=True) if rate < below]
    assert 0 < len(chosen) < 4
    assert guided == [guided_ids(row) for row in chosen for _ in range(2)]


def test_metrics_say_what_they_cover(calls: Calls, out: Path) -> None:
    trainer = make(out, "on_demand", guided_rollouts_below=0.3, max_steps=1)
    trainer.train()
    log, rows = logs_of(trainer)[0], list(kit.make_problems(8))[:4]
    tokenizer = kit.make_tokenizer()
    hits, tokens, saved = [], 0, 0.0
    for row, rate in zip(rows, rates(rows), strict=True):
        if rate < 0.3:
            responses = [kit.script(guided_ids(row), copy, 8) for copy in range(2)]
            hits += [OK in y for y in responses]
            tokens += sum(map(len, responses))
        else:
            plain = tokenizer(row["prompt"])["input_ids"]
            saved += 2 * sum(len(kit.script(plain, copy, 8)) for copy in range(4)) / 4
    assert log["guided_pass_rate"] == sum(hits) / len(hits)
    assert log["guided_share"] == len(hits) / 2 / 4
    assert log["guided_tokens"] == tokens
    assert log["guided_tokens_saved"] == pytest.approx(saved)
    assert log["alpha_zero_fraction"] >= 1 - log["guided_share"], "a skipped problem weighs nothing"


@pytest.mark.parametrize(("cap", "problems"), [(16, 1), (40, 2)])
def test_cap_keeps_the_hardest(cap: int, problems: int, calls: Calls, out: Path) -> None:
    """A rollout may take 8 tokens, a problem 16."""
    trainer = make(out, "on_demand", reward=kit.has_ok, max_guided_tokens=cap, max_steps=1)
    trainer.train()
    rows = list(kit.make_problems(8))[:4]
    hits = []
    for row in rows:
        plain = kit.make_tokenizer()(row["prompt"])["input_ids"]
        hits.append(sum(OK in kit.script(plain, copy, 8) for copy in range(4)))
    chosen = sorted(sorted(range(4), key=hits.__getitem__)[:problems])
    assert chosen != list(range(problems)), "the first ones would do for this test"
    assert calls.seen[1][0] == [guided_ids(rows[i]) for i in chosen for _ in range(2)]
    assert logs_of(trainer)[0]["guided_tokens"] <= cap


def all_solved(completions: list[Any], **kwargs: Any) -> list[float]:
    return [1.0] * len(completions)


def test_nothing_to_guide_means_one_call(calls: Calls, out: Path) -> None:
    trainer = make(out, "on_demand", reward=all_solved, max_steps=2)
    trainer.train()
    assert len(calls.seen) == 2
    for log in logs_of(trainer):
        assert log["guided_share"] == log["guided_tokens"] == log["targets"] == log["alpha"] == 0
        assert log["guided_pass_rate"] is None
        assert log["guided_tokens_saved"] > 0
        assert "kl" not in log


def test_real_sampling_makes_a_call_for_each_side(out: Path) -> None:
    """Nothing of the second call reaches what GRPO sees: its batch is that of the first."""
    trainer = make(out, "on_demand", reward=kit.has_digit, max_completion_length=3)
    sizes: list[int] = []
    generate = trainer.model.generate

    def watched(**kwargs: Any) -> torch.Tensor:
        sizes.append(len(kwargs["input_ids"]))
        return generate(**kwargs)

    trainer.model.generate = watched
    trainer.train()
    assert sizes[0] == 16
    assert all(size == 16 or size % 2 == 0 for size in sizes)
    assert 2 < len(sizes) <= 4
    tokens = [log["num_tokens"] for log in logs_of(trainer)]
    assert tokens[1] > tokens[0] > 0
