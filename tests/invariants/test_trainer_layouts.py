"""What must not change the training: how a batch is cut into micro-steps, checkpointing, interruption, alpha = 0."""

from pathlib import Path
from typing import Any

import pytest
import torch
import trainer_kit as kit
from datasets import Dataset
from torch import Tensor
from transformers import modeling_utils
from trl import GRPOTrainer

from sgpo.trainer.methods import KINDS

# float64 models, rollouts from a script; largest gradient gap, relative to the largest gradient. Measured: 7e-15 for
# the distillation term, 1e-7 with GRPO (TRL's log-probabilities and their gradient are float32).
EXACT, FLOAT32 = 1e-12, 5e-7


def run(out: Path, **options: Any) -> kit.Recorder:
    size = {"model": kit.make_model(dtype=torch.float64, seed=3), "data": kit.make_problems(8)}
    return kit.recorded(kit.make_trainer(out, **{**size, "per_device_train_batch_size": 16, **options}))


LAYOUTS = {
    2: {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 2},
    4: {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4},
    8: {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 8},
}

PAST_THE_PAPER = {"guided_grpo_weight": 1.0, "num_targets": 2, "num_guided_generations": 4}


@pytest.mark.parametrize("micro_steps", LAYOUTS)
@pytest.mark.parametrize("options", [{}, {"grpo_weight": 0.0}, PAST_THE_PAPER])
@pytest.mark.usefixtures("scripted")
def test_gradient_accumulation(micro_steps: int, options: dict[str, Any], out: Path) -> None:
    whole = run(out, **options)
    parts = run(out, **options, **LAYOUTS[micro_steps])
    assert len(whole.gradients) == len(parts.gradients) == 2
    for ours, theirs in zip(parts.gradients, whole.gradients, strict=True):
        assert kit.largest_gap(ours, theirs) < (EXACT if options == {"grpo_weight": 0.0} else FLOAT32)


@pytest.mark.usefixtures("scripted")
def test_logged_kl_does_not_know_the_micro_steps(out: Path) -> None:
    logs = []
    for layout in ({"per_device_train_batch_size": 16}, *LAYOUTS.values()):
        trainer = kit.make_trainer(out, model=kit.make_model(seed=3), data=kit.make_problems(8), **layout)
        trainer.train()
        names = ("kl", "kl_clipped", "clip_fraction", "targets", "alpha", "guided_tokens")
        logs.append([log[f"sgpo/{name}"] for log in trainer.state.log_history[:-1] for name in names])
    for other in logs[1:]:
        assert other == pytest.approx(logs[0], rel=1e-4)


@pytest.mark.parametrize("method", sorted(KINDS))
@pytest.mark.usefixtures("scripted")
def test_the_end_of_a_stream_is_no_part_of_the_next_step(method: str, out: Path) -> None:
    """Transformers takes no step where a pass over a stream ends within one, and leaves its gradient to the next."""
    kind, rows = KINDS[method], kit.make_problems(3).add_column("expert", ["a ok", "b c ok", "d ok"])
    shape = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 2, "max_steps": 3, "learning_rate": 0.0}
    more: dict[str, Any] = {"processing_class": kit.make_tokenizer()}
    if method == "sft":
        args = kind.config(str(out), use_cpu=True, bf16=False, report_to="none", max_grad_norm=0.0, **shape)
    else:
        args = kit.make_config(out, kind.config, **{**shape, "per_device_train_batch_size": 4}, steps_per_generation=1)
        more["reward_funcs"] = kit.has_ok

    def trainer(rows: Dataset) -> Any:
        return kind.trainer(kit.make_model(), args=args, train_dataset=rows.to_iterable_dataset(), **more)

    first, *others = kit.recorded(trainer(rows)).gradients
    assert max(kit.largest_gap(other, first) for other in others) < FLOAT32
    with pytest.raises(ValueError, match="has 1 batches, but a step takes 2 of them"):
        trainer(rows.select([0])).train()


@pytest.mark.usefixtures("scripted")
def test_several_generations_in_one_optimizer_step(out: Path) -> None:
    """steps_per_generation < gradient_accumulation_steps: 2 generations of 8 rollouts are one step of 16.

    Without GRPO: TRL weighs tokens within a generation, so its own loss is another one when they differ in length.
    """
    only = {"max_steps": 1, "grpo_weight": 0.0}
    whole = run(out, **only)
    parts = run(out, per_device_train_batch_size=4, gradient_accumulation_steps=4, steps_per_generation=2, **only)
    assert kit.largest_gap(parts.gradients[0], whole.gradients[0]) < EXACT


@pytest.mark.usefixtures("scripted")
def test_one_generation_over_several_optimizer_steps(out: Path) -> None:
    """steps_per_generation > gradient_accumulation_steps: with weights held still, the steps average to the whole."""
    still = {"learning_rate": 0.0, "grpo_weight": 0.0}
    whole = run(out, max_steps=1, **still).gradients[0]
    cut = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "steps_per_generation": 4}
    parts = run(out, max_steps=2, **cut, **still).gradients
    mean = {name: (parts[0][name] + parts[1][name]) / 2 for name in whole}
    assert kit.largest_gap(mean, whole) < EXACT
    assert all(max(float(g.abs().max()) for g in part.values()) > 1e-3 for part in parts), "targets in one step only"


@pytest.mark.usefixtures("scripted")
def test_each_iteration_distils_again(out: Path) -> None:
    """num_iterations = 2 with weights held still: both steps on one generation have the same gradient."""
    still = {"learning_rate": 0.0, "grpo_weight": 0.0}
    once = run(out, max_steps=1, **still).gradients[0]
    for gradient in run(out, max_steps=2, num_iterations=2, **still).gradients:
        assert kit.largest_gap(gradient, once) < EXACT


@pytest.mark.usefixtures("scripted")
def test_second_iteration_follows_the_new_weights(out: Path) -> None:
    recorder = run(out, max_steps=3, num_iterations=2, learning_rate=0.2)
    first, second, third = recorder.gradients
    assert kit.largest_gap(first, second) > 1e-3
    assert kit.largest_gap(second, third) > 1e-3


@pytest.mark.parametrize("options", [{}, LAYOUTS[4], {"num_iterations": 2}, {"gradient_checkpointing": True}])
def test_alpha_zero_is_grpo_to_the_bit(options: dict[str, Any], out: Path) -> None:
    """Real sampling: the random numbers must be the same ones, too."""
    shared = {
        "per_device_train_batch_size": 16,
        "max_steps": 3,
        "optim": "adamw_torch",
        "max_grad_norm": 1.0,
        **options,
    }
    data = kit.make_problems(8)
    off = {"alpha_form": "constant", "alpha_0": 0.0}
    ours = kit.recorded(kit.make_trainer(out, model=kit.make_model(), data=data, **off, **shared))
    model = kit.make_model()
    plain = kit.make_trainer(out, model=model, data=data, trainer_class=GRPOTrainer, **shared)
    theirs = kit.recorded(plain)
    assert any(float(g.abs().max()) > 0 for gradient in theirs.gradients for g in gradient.values())
    for left, right in zip(ours.gradients + ours.weights, theirs.gradients + theirs.weights, strict=True):
        assert kit.largest_gap(left, right) == 0.0


def test_alpha_zero_needs_no_strategies(out: Path) -> None:
    data = kit.make_problems(4).remove_columns("strategy")
    kit.make_trainer(out, data=data, alpha_form="constant", alpha_0=0.0).train()


@pytest.mark.usefixtures("scripted")
def test_gradient_checkpointing_changes_nothing(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = run(out)
    calls: list[Any] = []
    checkpoint = modeling_utils.checkpoint

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(kwargs["use_reentrant"])
        return checkpoint(*args, **kwargs)

    monkeypatch.setattr(modeling_utils, "checkpoint", counted)
    saved = run(out, gradient_checkpointing=True, gradient_checkpointing_kwargs={"use_reentrant": False})
    # 2 steps x 2 layers x (GRPO and the student; the teacher needs no graph)
    assert calls == [False] * 8
    renamed = run(out, activation_checkpointing=True)
    assert calls == [False] * 16
    for ours in (saved, renamed):
        for left, right in zip(ours.gradients, plain.gradients, strict=True):
            assert kit.largest_gap(left, right) == 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_an_evaluation_changes_nothing(kind: str, out: Path) -> None:
    """Real sampling, and dropout: both take their random numbers from where an evaluation takes its own."""
    data = kit.make_problems(4).add_column("expert", [" ok"] * 4)
    weights = []
    for evaluated in ({}, {"eval_strategy": "steps", "eval_steps": 1, "per_device_eval_batch_size": 4}):
        shape = {"max_steps": 2, "learning_rate": 0.05, "logging_steps": 1, "save_strategy": "no", "use_cpu": True}
        more: dict[str, Any] = {**shape, "report_to": "none", "bf16": False, **evaluated}
        rewards = []
        if kind != "sft":
            more |= {"num_generations": 4, "max_completion_length": 8}
            rewards = [kit.has_digit]
        trainer = KINDS[kind].trainer(
            kit.make_model(attention_dropout=0.2),
            *rewards,
            args=KINDS[kind].config(str(out), **more),
            train_dataset=data,
            eval_dataset=data,
            processing_class=kit.make_tokenizer(),
        )
        trainer.train()
        weights.append(final(trainer))
    assert kit.largest_gap(*weights) == 0.0


def final(trainer: Any) -> dict[str, Tensor]:
    return kit.weights_of(trainer.model)


@pytest.mark.parametrize("teacher", ["live", "ema", "frozen"])
def test_interrupted_and_resumed_equals_uninterrupted(teacher: str, tmp_path: Path) -> None:
    """Real sampling, Adam: weights, random numbers and teacher all come back."""
    shared = {
        "teacher": teacher,
        "max_steps": 4,
        "optim": "adamw_torch",
        "learning_rate": 0.02,
        "per_device_train_batch_size": 8,
        "num_guided_generations": 4,
        "max_completion_length": 12,
        "alpha_form": "constant",
        "reward": kit.has_digit,
    }
    data = kit.make_problems(8)
    whole = kit.make_trainer(tmp_path / "whole", data=data, **shared)
    whole.train()
    saving = {"save_strategy": "steps", "save_steps": 2}
    first = kit.make_trainer(tmp_path / "parts", data=data, **shared, **saving)
    first.add_callback(StopAt(2))
    first.train()
    assert first.state.global_step == 2
    checkpoint = tmp_path / "parts" / "checkpoint-2"
    assert (checkpoint / "sgpo_teacher.safetensors").is_file() == (teacher != "live")
    second = kit.make_trainer(tmp_path / "parts", model=kit.make_model(seed=9), data=data, **shared, **saving)
    second.train(resume_from_checkpoint=str(checkpoint))
    assert second.state.global_step == 4
    assert sum(log.get("sgpo/targets", 0) for log in second.state.log_history if log["step"] > 2) > 0
    assert kit.largest_gap(final(second), final(whole)) == 0.0
    assert kit.largest_gap(final(second), final(first)) > 1e-4


class StopAt(kit.TrainerCallback):
    def __init__(self, step: int):
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_training_stop = state.global_step >= self.step
