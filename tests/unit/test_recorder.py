"""Metrics and token counts of a run, and what is kept of them when it goes on from a checkpoint."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sgpo.lab import experiment
from sgpo.trainer.checkpoints import fault
from sgpo.trainer.recorder import Recorder


@pytest.mark.parametrize(
    ("kind", "layout", "sampled", "trained"),
    [
        ("sgpo", {}, 2 * 4 * 2 * 5 + 7, 2 * 4 * 2 * 5 + 3),  # one batch of 2 rows, 4 micro-steps, 2 processes a step
        ("sgpo", {"steps_per_generation": 1}, 4 * (2 * 2 * 5 + 7), 4 * 2 * 2 * 5 + 3),  # four batches a step
        ("sgpo", {"num_iterations": 3}, 2 * 4 * 2 * 5 + 7, 3 * 2 * 4 * 2 * 5 + 3),  # each is gone over three times
        ("sgpo", {"guided_grpo_weight": 0.5}, 2 * 4 * 2 * 5 + 7, 2 * 4 * 2 * 5 + 7 + 3),  # guided ones are trained on
        ("luffy", {}, 2 * 4 * 2 * 5 * 3 / 4 + 7, 2 * 4 * 2 * 5 + 3),  # one of four rows is the expert's
    ],
)
def test_tokens_of_a_step_worked_by_hand(
    tmp_path: Path, kind: str, layout: dict[str, int], sampled: float, trained: float
) -> None:
    args = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4, "steps_per_generation": 4}
    args |= {"world_size": 2, "num_iterations": 1, "num_generations": 4, **layout}
    recorder = Recorder(tmp_path / "metrics.jsonl", kind)
    logs = {"completions/mean_length": 5.0, "sgpo/guided_tokens": 7.0, "sgpo/target_tokens": 3.0}
    recorder.count(SimpleNamespace(**args), logs)
    recorder.count(SimpleNamespace(**args), {"loss": 0.5})  # a step on the same batch
    assert recorder.costs()["sampled_tokens"] == sampled
    assert recorder.costs()["trained_tokens"] == trained


@pytest.mark.parametrize(("accumulated", "generated", "batches"), [(4, 1, (4, 2)), (3, 2, (2, 1)), (2, 3, (1, 1, 0))])
def test_the_last_step_of_a_pass_takes_fewer_generation_batches(
    tmp_path: Path, accumulated: int, generated: int, batches: tuple[int, ...]
) -> None:
    recorder = Recorder(tmp_path / "metrics.jsonl", "sgpo")
    state = SimpleNamespace(global_step=0, max_steps=9, is_world_process_zero=True)
    recorder.on_train_begin(None, state, None, train_dataloader=range(6))
    args = {"per_device_train_batch_size": 2, "world_size": 1, "num_iterations": 1, "num_generations": 2}
    args |= {"gradient_accumulation_steps": accumulated, "steps_per_generation": generated}
    sampled = 0
    for state.global_step, count in enumerate(batches * 2, 1):  # two passes
        recorder.on_log(SimpleNamespace(**args), state, None, logs={"completions/mean_length": 5.0} if count else {})
        sampled += count * generated * 2 * 5
        assert recorder.costs()["sampled_tokens"] == sampled


def test_a_resumed_run_keeps_the_lines_up_to_its_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    rows = [{"step": step, "num_tokens": 10 * step} for step in (1, 2, 3)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 4, "num')
    recorder = Recorder(path, "sft")
    state = SimpleNamespace(global_step=2, max_steps=4, is_world_process_zero=True)
    recorder.on_train_begin(None, state, None)
    assert [json.loads(line) for line in path.read_text().splitlines()] == rows[:2]
    state.global_step = 3
    recorder.on_log(None, state, None, logs={"num_tokens": 30})
    assert recorder.costs()["trained_tokens"] == 30

    again = Recorder(path, "sft")  # interrupted once more
    again.on_train_begin(None, state, None)
    state.global_step = 4
    again.on_log(None, state, None, logs={"num_tokens": 40})
    assert again.costs()["trained_tokens"] == 40


def test_a_checkpoint_of_a_launcher_that_shards_has_its_optimizer_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "trainer_state.json").write_text('{"global_step": 2}')
    (tmp_path / "pytorch_model_fsdp_0").mkdir()
    args: Any = SimpleNamespace(deepspeed=None, fsdp=None, save_only_model=False)
    assert fault(tmp_path, args) == "has no optimizer.pt"
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert fault(tmp_path, args) is None


def test_a_measurement_on_the_way_is_a_line_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "measure_once", lambda *args, **kwargs: SimpleNamespace(accuracy=0.25))
    budget: Any = SimpleNamespace(split="validation")
    cell = experiment.Cell("sgpo", 0, budget=budget)
    recorder = experiment._Recorder(cell, tmp_path / "metrics.jsonl", None, None)
    recorder.measure(None, 4, 2)  # type: ignore[arg-type]
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {"step": 4, "eval/accuracy": 0.25}
    assert recorder.curve == [(2, 0.25)]
