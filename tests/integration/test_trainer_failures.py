"""What a run that goes wrong leaves behind: the reason, the batch, and every whole checkpoint."""

import json
import logging
import math
import re
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import trainer_kit as kit
from safetensors.torch import load_file
from transformers import TrainerCallback

from sgpo.runs.files import WriteError
from sgpo.trainer.checkpoints import fault
from sgpo.trainer.finite import NonFiniteError
from sgpo.trainer.methods import KINDS

HINT = kit.WORDS.index("hint")
SAVING = {"save_strategy": "steps", "save_steps": 1, "max_steps": 3, "optim": "adamw_torch"}
CONSTANT = {"alpha_form": "constant"}


def checkpoints(out: Path) -> list[str]:
    return sorted(path.name for path in out.glob("checkpoint-*"))


# ---------------------------------------------------------------- numbers that are not finite


def poison(trainer: Any, *, step: int, hit: Callable[[list[int]], bool], grad: bool, value: float = math.nan) -> None:
    """From optimizer step `step` on, hidden states of rows that are `hit` are `value`, where a graph is (not) built."""

    def hook(module: Any, args: Any, kwargs: dict[str, Any], output: Any) -> Any:
        if trainer.state.global_step + 1 >= step and torch.is_grad_enabled() == grad:
            rows = torch.tensor([hit([i for i in ids if i > 0]) for ids in kwargs["input_ids"].tolist()])
            output.last_hidden_state = output.last_hidden_state.masked_fill(rows[:, None, None], value)
        return output

    trainer.model.model.register_forward_hook(hook, with_kwargs=True)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.usefixtures("scripted")
def test_nan_in_an_autonomous_row(value: float, out: Path) -> None:
    """Problem 3 is in the second step's batch; the rows that the error names are those of the file, and its own."""
    trainer = kit.make_trainer(out, **SAVING)
    prompt = kit.make_tokenizer()(kit.make_problems(4)[3]["prompt"])["input_ids"]
    poison(trainer, step=1, hit=lambda ids: ids[: len(prompt)] == prompt and HINT not in ids, grad=True, value=value)
    with pytest.raises(NonFiniteError) as error:
        trainer.train()
    assert checkpoints(out) == ["checkpoint-1"]
    path = out / "nonfinite-step2-rank0.json"
    saved = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert saved["step"] == 2
    bad = [row for row in saved["rows"] if not row["finite"] and row["kind"] == "autonomous"]
    assert len(bad) == 4, "the group of problem 3"
    assert all(row["prompt_ids"] == prompt for row in bad)
    assert [row["row"] for row in bad] == [i for i, r in enumerate(saved["rows"][:8]) if r["prompt_ids"] == prompt]
    assert all(row["completion"].split() == kit.decoded(row["completion_ids"]) for row in bad)
    message = str(error.value)
    assert message.startswith("Step 2: the loss is not finite (nan), in autonomous row")
    for words in (
        f"autonomous row {bad[0]['row']},",
        str(path),
        f"last checkpoint is {out / 'checkpoint-1'}:",
        "learning_rate",
    ):
        assert words in message
    assert all(p.isfinite().all() for p in trainer.model.parameters())


@pytest.mark.parametrize("side", ["student", "teacher"])
@pytest.mark.usefixtures("scripted")
def test_nan_in_a_target(side: str, out: Path) -> None:
    """Where the gradient of GRPO is not poisoned: only the teacher's rows, or only the student's targets."""
    trainer = kit.make_trainer(out, **SAVING, **CONSTANT)
    if side == "teacher":
        poison(trainer, step=2, hit=lambda ids: HINT in ids, grad=False)
    else:
        compute = trainer._distillation

        def poisoned(model: Any, share: Any, hidden: Any) -> Any:
            if trainer.state.global_step + 1 >= 2:
                hidden[0] = math.nan
            return compute(model, share, hidden)

        trainer._distillation = poisoned
    with pytest.raises(NonFiniteError, match=r"Step 2: .* in target row 0") as error:
        trainer.train()
    assert "autonomous row" not in str(error.value)
    rows = json.loads((out / "nonfinite-step2-rank0.json").read_text())["rows"]
    (first, *_) = [row for row in rows if row["kind"] == "target"]
    assert "nan" in first["kl"]
    assert first["alpha"] == 0.5
    assert HINT in first["guided_prompt_ids"]
    assert HINT not in first["prompt_ids"]
    assert checkpoints(out) == ["checkpoint-1"]


@pytest.mark.usefixtures("scripted")
def test_gradient_that_is_not_finite_under_a_finite_loss(out: Path) -> None:
    trainer = kit.make_trainer(out, **SAVING, max_grad_norm=1.0)
    name, parameter = next((n, p) for n, p in trainer.model.named_parameters() if "down_proj" in n)
    parameter.register_hook(lambda g: g * math.inf if trainer.state.global_step == 1 else g)
    with pytest.raises(NonFiniteError, match=r"Step 2: the gradient is not finite") as error:
        trainer.train()
    assert name in str(error.value)
    assert checkpoints(out) == ["checkpoint-1"]
    assert all(p.isfinite().all() for p in trainer.model.parameters())


class Break(kit.TrainerCallback):
    """A weight becomes infinite behind the trainer's back."""

    def on_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        if state.global_step == 1:
            model.model.norm.weight.data[0] = math.inf


def other(kind: str, out: Path, model: Any = None, **options: Any) -> Any:
    """One of the trainers that have no look at the loss of their own."""
    method, data = KINDS[kind], kit.make_problems(4).add_column("expert", [" a 5 ok"] * 4)
    options = {**SAVING, "use_cpu": True, "report_to": "none", "per_device_train_batch_size": 8, **options}
    more = {} if kind == "sft" else {"reward_funcs": kit.has_digit}
    if kind != "sft":
        options |= {"num_generations": 4, "max_completion_length": 8}
    args, tokenizer = method.config(str(out), **options), kit.make_tokenizer()
    return method.trainer(model or kit.make_model(), args=args, train_dataset=data, processing_class=tokenizer, **more)


@pytest.mark.parametrize("kind", ["luffy", "hpt", "sft"])
def test_other_trainers_stop_as_well(kind: str, out: Path) -> None:
    """Transformers logs a NaN as the loss before it; the evaluation of such weights would be the first to know."""
    broken = kit.make_model()
    broken.model.norm.weight.data[0] = math.nan
    with pytest.raises(NonFiniteError, match=r"After step 0: the weights are not finite, those of model\.norm\.weight"):
        other(kind, out, broken).train()
    trainer = other(kind, out)
    hurt = next(p for n, p in trainer.model.named_parameters() if "down_proj" in n)
    hurt.register_hook(lambda g: g * math.nan if trainer.state.global_step == 1 else g)
    with pytest.raises(NonFiniteError, match=r"Step 2: the gradient is not finite"):
        trainer.train()
    for saving in ("steps", "no"):  # without checkpoints it is seen at the end
        trainer = other(kind, out, save_strategy=saving, max_steps=2)
        trainer.add_callback(Break())
        with pytest.raises(NonFiniteError, match=r"After step 2: the weights are not finite"):
            trainer.train()
    assert checkpoints(out) == ["checkpoint-1"]


@pytest.mark.parametrize("kind", ["luffy", "hpt"])
def test_their_sampler_meets_nan(kind: str, out: Path) -> None:
    trainer = other(kind, out)
    poison(trainer, step=2, hit=lambda ids: True, grad=False)
    with pytest.raises(NonFiniteError, match="Step 2: the policy's logits are not finite while it samples"):
        trainer.train()


@pytest.mark.usefixtures("scripted")
@pytest.mark.parametrize("part", ["optimizer.pt", "model.safetensors"])
def test_a_disk_that_is_full_at_a_checkpoint(part: str, out: Path) -> None:
    """torch says "unexpected pos 1747136 vs 1747028" of it, in a traceback, and leaves a part of one behind."""

    class Fill(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            if state.global_step == 1:
                limit = (out / "checkpoint-1" / part).stat().st_size - 1
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))

    trainer = kit.make_trainer(out, arguments={"callbacks": [Fill()]}, **SAVING)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(WriteError, match="checkpoint-2 cannot be written: the disk seems to be full; free"):
            trainer.train()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert checkpoints(out) == ["checkpoint-1"]
    assert fault(out / "checkpoint-1", trainer.args) is None


def test_no_checkpoint_of_broken_weights(out: Path) -> None:
    trainer = kit.make_trainer(out, **SAVING)
    trainer.add_callback(Break())
    with pytest.raises(NonFiniteError, match=r"After step 2: the weights are not finite, those of model\.norm\.weight"):
        trainer.train()
    assert checkpoints(out) == ["checkpoint-1"]


@pytest.mark.usefixtures("scripted")
def test_broken_start_is_seen_before_any_rollout(out: Path) -> None:
    model = kit.make_model()
    model.model.norm.weight.data[0] = math.nan
    with pytest.raises(
        NonFiniteError, match=r"After step 0: .*model\.norm\.weight \(1 of \d+\).*No checkpoint was written yet"
    ):
        kit.make_trainer(out, model=model).train()


@pytest.mark.parametrize("options", [{}, {"guided_rollouts": "on_demand"}, {**CONSTANT, "alpha_0": 0.0}])
def test_sampler_meets_nan(options: dict[str, Any], out: Path) -> None:
    trainer = kit.make_trainer(out, **options)
    poison(trainer, step=2, hit=lambda ids: True, grad=False)
    with pytest.raises(NonFiniteError, match="Step 2: the policy's logits are not finite while it samples"):
        trainer.train()


# ---------------------------------------------------------------- checkpoints that are not whole


def cut(name: str) -> Callable[[Path], None]:
    def damage(checkpoint: Path) -> None:
        content = (checkpoint / name).read_bytes()
        (checkpoint / name).write_bytes(content[: len(content) // 2])

    return damage


def without(*patterns: str) -> Callable[[Path], None]:
    def damage(checkpoint: Path) -> None:
        for pattern in patterns:
            for path in checkpoint.glob(pattern):
                path.unlink()

    return damage


def written(name: str, text: str) -> Callable[[Path], None]:
    return lambda checkpoint: (checkpoint / name).write_text(text) and None


def flipped(name: str, count: int) -> Callable[[Path], None]:
    """So many bytes in the middle of a file, none of them of a header."""

    def damage(checkpoint: Path) -> None:
        content = bytearray((checkpoint / name).read_bytes())
        middle = len(content) // 2
        for i in range(middle, middle + count):
            content[i] ^= 0x01
        (checkpoint / name).write_bytes(content)

    return damage


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "state missing": (without("trainer_state.json"), "has no trainer_state.json"),
    "state cut": (cut("trainer_state.json"), "has a trainer_state.json that is cut off"),
    "optimizer missing": (without("optimizer.pt"), "has no optimizer.pt"),
    "optimizer cut": (cut("optimizer.pt"), "has a damaged file optimizer.pt"),
    "scheduler missing": (without("scheduler.pt"), "has no scheduler.pt"),
    "weights missing": (without("model.safetensors"), "has no weights"),
    "weights cut": (cut("model.safetensors"), "has a damaged file model.safetensors"),
    "random numbers cut": (cut("rng_state.pth"), "has a damaged file rng_state.pth"),
    "teacher missing": (without("sgpo_teacher.safetensors"), "has no sgpo_teacher.safetensors"),
    "teacher cut": (cut("sgpo_teacher.safetensors"), "has a damaged file sgpo_teacher.safetensors"),
    "state of nothing": (written("trainer_state.json", "{}"), "has a trainer_state.json that says global_step=0"),
    "state a list": (written("trainer_state.json", "[]"), "has a trainer_state.json that is none"),
    "state a word": (written("trainer_state.json", '"ok"'), "has a trainer_state.json that is none"),
    "state unknown": (written("trainer_state.json", '{"steps": 3}'), "has a trainer_state.json that is none"),
    "state of another": (written("trainer_state.json", '{"global_step": 2}'), "has a trainer_state.json that is of st"),
    "weights flipped": (flipped("model.safetensors", 5000), "has a damaged file model.safetensors: its bytes changed"),
    "weights of one bit": (flipped("model.safetensors", 1), "has a damaged file model.safetensors: its bytes changed"),
    "optimizer flipped": (flipped("optimizer.pt", 1), "has a damaged file optimizer.pt: its bytes changed"),
    "teacher flipped": (flipped("sgpo_teacher.safetensors", 9), "has a damaged file sgpo_teacher.safetensors: its by"),
    "weights longer": (
        lambda checkpoint: (
            (checkpoint / "scheduler.pt").write_bytes((checkpoint / "optimizer.pt").read_bytes()) and None
        ),
        "has a damaged file scheduler.pt: ",
    ),
    "random numbers missing": (without("rng_state.pth"), "lacks rng_state.pth, which it was written with"),
    "record of nothing": (written("sgpo_checkpoint.json", "{}"), "has no record that can be read"),
    "record a list": (written("sgpo_checkpoint.json", "[]"), "has no record that can be read"),
    "record cut": (cut("sgpo_checkpoint.json"), "has no record that can be read"),
    "empty": (without("*"), "has no trainer_state.json"),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three whole checkpoints of a run with an averaged teacher."""
    directory = tmp_path_factory.mktemp("trained")
    kit.make_trainer(directory, teacher="ema", reward=kit.has_digit, **SAVING).train()
    assert checkpoints(directory) == ["checkpoint-1", "checkpoint-2", "checkpoint-3"]
    return directory


def copied(trained: Path, out: Path) -> Path:
    import shutil

    shutil.copytree(trained, out)
    return out


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_one_is_refused_by_name_and_passed_over_else(
    name: str, trained: Path, out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    damage, why = DAMAGES[name]
    copied(trained, out)
    damage(out / "checkpoint-3")
    calls: list[int] = []

    def counting(completions: list[Any], **kwargs: Any) -> list[float]:
        calls.append(len(completions))
        return kit.has_digit(completions)

    counting.__name__ = "has_digit"  # that of the run, whose rewards a resumed one is held to
    trainer = kit.make_trainer(out, teacher="ema", reward=counting, **SAVING)
    with pytest.raises(ValueError) as error:
        trainer.train(resume_from_checkpoint=out / "checkpoint-3")
    assert not calls, "refused after work was done"
    assert why in str(error.value)
    assert f"Resume from {str(out / 'checkpoint-2')!r}, the last whole one" in str(error.value)
    with caplog.at_level(logging.WARNING, logger="sgpo"):
        trainer.train(resume_from_checkpoint=True)
    said = [r.message for r in caplog.records if r.name.startswith("sgpo")]
    assert len(said) == 2
    assert "with the code of the reward has_digit=" in said[1], "`counting` is other code under the same name"
    assert re.match(rf"checkpoint-3 {why}", said[0])
    assert f"Resuming from {out / 'checkpoint-2'}, the last whole checkpoint" in said[0]
    assert trainer.state.global_step == 3
    args = trainer.args
    assert fault(out / "checkpoint-3", args, teacher=True) is None, "written anew"
    whole, again = (torch.load(d / "checkpoint-3" / "optimizer.pt") for d in (trained, out))
    for key, state in whole["state"].items():
        assert torch.equal(state["exp_avg"], again["state"][key]["exp_avg"])


def test_whole_ones_are_used_without_a_word(trained: Path, out: Path, caplog: pytest.LogCaptureFixture) -> None:
    copied(trained, out)
    trainer = kit.make_trainer(out, teacher="ema", reward=kit.has_digit, **{**SAVING, "max_steps": 4})
    with caplog.at_level(logging.WARNING, logger="sgpo"):
        trainer.train(resume_from_checkpoint=True)
    assert trainer.state.global_step == 4
    assert [log["step"] for log in trainer.state.log_history if "loss" in log] == [1, 2, 3, 4]
    assert not [r for r in caplog.records if r.name.startswith("sgpo")]


def test_one_of_an_older_version_and_texts_that_a_user_edits(trained: Path, out: Path) -> None:
    copied(trained, out)
    args, checkpoint = kit.make_config(out), out / "checkpoint-3"
    for name in ("config.json", "tokenizer_config.json", "chat_template.jinja", "README.md"):
        (checkpoint / name).write_text("{}")
    assert fault(checkpoint, args) is None
    (checkpoint / "sgpo_checkpoint.json").unlink()
    flipped("model.safetensors", 1)(checkpoint)
    assert fault(checkpoint, args) is None, "nothing says what it was"


def test_resumed_at_its_last_step_a_run_trains_no_further(trained: Path, out: Path) -> None:
    copied(trained, out)
    options = {**SAVING, "lr_scheduler_type": "constant"}  # at a rate of 0 one step more would change nothing
    trainer = kit.make_trainer(out, teacher="ema", reward=kit.has_digit, **options)
    trainer.train(resume_from_checkpoint=True)
    assert trainer.state.global_step == 3
    saved = load_file(out / "checkpoint-3" / "model.safetensors")
    now = trainer.model.state_dict()
    assert all(torch.equal(now[name], value) for name, value in saved.items())


def test_none_is_whole(trained: Path, out: Path) -> None:
    copied(trained, out)
    for path in out.glob("checkpoint-*"):
        cut("model.safetensors")(path)
    with pytest.raises(
        ValueError, match=r"No checkpoint in .* is whole: checkpoint-3 has a damaged file .* Start anew"
    ):
        kit.make_trainer(out, teacher="ema", reward=kit.has_digit, **SAVING).train(resume_from_checkpoint=True)


def test_sharded_weights(trained: Path, out: Path) -> None:
    copied(trained, out)
    args, checkpoint = kit.make_config(out), out / "checkpoint-3"
    (checkpoint / "sgpo_checkpoint.json").unlink()
    (checkpoint / "model.safetensors").rename(checkpoint / "model-00001-of-00002.safetensors")
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    index = checkpoint / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": dict(zip("ab", shards, strict=True))}))
    assert fault(checkpoint, args) == f"lacks {shards[1]}, which {index.name} names"
    index.write_text(json.dumps({"weight_map": {"a": shards[0]}}))
    assert fault(checkpoint, args) is None
    for text in ('{"weight_map', "{}", "[]", '{"weight_map": 3}'):
        index.write_text(text)
        assert fault(checkpoint, args) == f"has a damaged file {index.name}"
