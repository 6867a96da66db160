"""A run that was stopped after any step and resumed ends, to the bit, where an uninterrupted one does.

On TRL's default `shuffle_dataset=True`, with real sampling and Adam, over three passes: stops at the first, middle and
last step of a pass, inside a generation batch, in a stream, on two ranks. What would make it another run is refused.
"""

import json
import linecache
import logging
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import trainer_kit as kit
from datasets import Dataset
from peft import LoraConfig
from torch import Tensor
from transformers import EarlyStoppingCallback

from sgpo.trainer import sound
from sgpo.trainer.methods import KINDS

HERE = Path(__file__).parent
LOGS = "[pc]*.jsonl"  # problems of each rank, and completions of the first step and the last
EPOCHS = {"max_steps": -1, "num_train_epochs": 3}  # of 6 problems, two a step
STREAM = {"max_steps": 9, "stream": True}
HALVES = {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 4}
# 7 problems, three a generation batch, which serves three (or six) micro-steps, of which an optimizer step takes two
INSIDE = {**HALVES, "steps_per_generation": 3, "problems": 7}
# name -> (method, options)
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "sgpo": ("sgpo", EPOCHS),
    "luffy": ("luffy", EPOCHS),
    "hpt": ("hpt", EPOCHS),
    "luffy, accumulation": ("luffy", {**EPOCHS, **HALVES, "stops": (4,)}),
    "sgpo, inside of generation batches": (
        "sgpo",
        {**EPOCHS, **INSIDE, "num_iterations": 2, "guided_grpo_weight": 1.0, "num_targets": 2, "stops": (7, 14)},
    ),
    "hpt, inside of generation batches": ("hpt", {**EPOCHS, **INSIDE, "stops": (2, 4)}),
    "sgpo, stream, teacher, on demand": (
        "sgpo",
        {**STREAM, "teacher": "ema", "guided_rollouts": "on_demand", "stops": (3, 7)},
    ),
    # A reward that is seldom given: what guidance brought before then decides who is guided.
    "sgpo, by weight": ("sgpo", {**EPOCHS, "guided_rollouts": "by_weight", "reward": kit.has_ok, "stops": (4, 7)}),
    "hpt, stream": ("hpt", {**STREAM, **INSIDE, "stops": (4, 8)}),
}
ON_RANKS: dict[str, tuple[str, dict[str, Any]]] = {
    "sgpo": ("sgpo", {**EPOCHS, "per_device_train_batch_size": 4, "stops": (1, 6, 8)}),
    "sgpo, by weight": (
        "sgpo",
        {**EPOCHS, "guided_rollouts": "by_weight", "per_device_train_batch_size": 4, "stops": (5,)},
    ),
    "luffy, stream": ("luffy", {**STREAM, "per_device_train_batch_size": 4, "stops": (4,)}),
    "sgpo, inside of a generation batch": (
        "sgpo",
        {
            **EPOCHS,
            "per_device_train_batch_size": 2,
            "gradient_accumulation_steps": 2,
            "steps_per_generation": 4,
            "num_iterations": 2,
            "guided_grpo_weight": 1.0,
            "stops": (3,),
        },
    ),
}


def make(
    directory: Path,
    method: str,
    *,
    problems: int = 6,
    stream: bool = False,
    data: Any = None,
    peft_config: Any = None,
    reward: Any = kit.has_digit,
    model: Any = None,
    **options: Any,
) -> Any:
    kind = KINDS[method]
    if data is None:
        data = kit.make_problems(problems).add_column("expert", [" ok a b"] * problems)
    saving = {"optim": "adamw_torch", "save_strategy": "steps", "save_steps": 1, "shuffle_dataset": True}
    more = {"log_problems": True} if method == "sgpo" else {}
    config = kit.make_config(directory, kind.config, **{**saving, "max_completion_length": 6, **more, **options})
    return kind.trainer(
        model=kit.make_model() if model is None else model,
        reward_funcs=reward,
        args=config,
        train_dataset=data.to_iterable_dataset() if stream else data,
        processing_class=kit.make_tokenizer(),
        peft_config=peft_config,
    )


def state_of(trainer: Any) -> dict[str, Tensor]:
    """Weights, optimizer and teacher."""
    adam = trainer.optimizer.state_dict()["state"]
    moments = {f"{i}.{name}": value for i, of in adam.items() for name, value in of.items()}
    teacher = trainer._sgpo.teacher
    kept = {} if teacher is None else {f"teacher.{name}": value for name, value in teacher._kept.items()}
    return {**kit.weights_of(trainer.model), **moments, **kept}


def largest_difference(directory: Path, method: str, *, stops: tuple[int, ...] = (), **options: Any) -> float:
    """Of weights, optimizer and teacher, over `stops` (all); counters and what is logged of rollouts must be equal."""
    whole = make(directory / "whole", method, **options)
    whole.train()
    assert whole.state.global_step >= 9
    rank = whole.accelerator.process_index
    worst = 0.0
    for stop in stops or range(1, whole.state.global_step):
        parts = directory / f"stopped-{stop}"
        if rank == 0:
            shutil.copytree(directory / "whole" / f"checkpoint-{stop}", parts / f"checkpoint-{stop}")
            for log in (directory / "whole").glob(LOGS):
                shutil.copy(log, parts)
        whole.accelerator.wait_for_everyone()
        resumed = make(parts, method, **{**options, "save_strategy": "no"})
        resumed.train(resume_from_checkpoint=True)
        assert resumed.state.global_step == whole.state.global_step
        assert resumed.state.num_input_tokens_seen == whole.state.num_input_tokens_seen
        resumed.accelerator.wait_for_everyone()
        for log in (directory / "whole").glob(LOGS):
            assert (parts / log.name).read_bytes() == log.read_bytes(), stop
        worst = max(worst, kit.largest_gap(state_of(resumed), state_of(whole)))
    assert kit.largest_gap(kit.weights_of(whole.model), kit.weights_of(kit.make_model())) > 1e-2
    return worst


@pytest.mark.parametrize("name", CASES)
def test_resumed_equals_uninterrupted(name: str, tmp_path: Path) -> None:
    method, options = CASES[name]
    assert largest_difference(tmp_path, method, **options) == 0.0


@pytest.mark.parametrize("method", ["sgpo", "hpt", "sft"])
def test_a_line_of_the_log_is_of_as_many_steps_as_without_a_stop(method: str, tmp_path: Path) -> None:
    """With SFT, where the evaluation decides whether there will be a checkpoint."""
    options: dict[str, Any] = {"max_steps": 5, "logging_steps": 3, "save_steps": 2, "num_iterations": 2}
    start: Any = partial(make, method=method)
    if method == "sft":
        options.pop("num_iterations")
        options |= {"save_strategy": "best", "metric_for_best_model": "loss", "eval_strategy": "steps", "eval_steps": 2}
        start = sft
    whole = start(tmp_path / "whole", **options)
    whole.train()
    shutil.copytree(tmp_path / "whole" / "checkpoint-2", tmp_path / "parts" / "checkpoint-2")
    resumed = start(tmp_path / "parts", **options)
    resumed.train(resume_from_checkpoint=True)
    logs = [
        [{name: row[name] for name in row if name != "step_time"} for row in each.state.log_history if "loss" in row]
        for each in (whole, resumed)
    ]
    assert logs[0] == logs[1]
    assert [row["step"] for row in logs[0]][:3] == [2, 3, 4]


def test_on_two_ranks(tmp_path: Path) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    paths = os.pathsep.join([str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [*launcher, __file__, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    found = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    assert found == [dict.fromkeys(ON_RANKS, 0.0)] * 2


def test_each_pass_has_an_order_of_its_own(tmp_path: Path) -> None:
    trainer = make(tmp_path, "sgpo", **EPOCHS)
    trainer.train()
    rows = [json.loads(line) for line in (tmp_path / "problems.jsonl").read_text().splitlines()]
    passes = [[row["id"] for row in rows[i : i + 6]] for i in (0, 6, 12)]
    assert len({tuple(ids) for ids in passes}) == 3
    assert len({frozenset(ids) for ids in passes}) == 1


# ---------------------------------------------------------------- what would be another run


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("started")
    make(directory, "sgpo", max_steps=2).train()
    return directory


OTHER: dict[str, tuple[dict[str, Any], str]] = {
    "seed": ({"seed": 43}, "seed=42 (here 43)"),
    "order": ({"shuffle_dataset": False}, "shuffle_dataset=True (here False)"),
    "accumulation": (HALVES, "gradient_accumulation_steps=1 (here 2)"),
    "group": ({"num_generations": 2}, "num_generations=4 (here 2)"),
    "iterations": ({"num_iterations": 2}, "num_iterations=1 (here 2)"),
    "one problem more": ({"problems": 7}, "problems='6 rows, "),
    "other problems": ({"data": kit.make_problems(8).select(range(2, 8))}, "problems='6 rows, "),
    "a stream": ({"stream": True}, "(here 'streamed')"),
}


@pytest.mark.parametrize("name", OTHER)
def test_another_order_of_the_data_is_refused(name: str, started: Path, tmp_path: Path) -> None:
    options, why = OTHER[name]
    out = shutil.copytree(started, tmp_path / "run")
    trainer = make(out, "sgpo", **{"max_steps": 4, **options})
    with pytest.raises(ValueError) as error:
        trainer.train(resume_from_checkpoint=True)
    assert why in str(error.value)
    assert "ignore_data_skip=True" in str(error.value)


LORA = LoraConfig(r=2, target_modules=["q_proj"])
OTHER_WEIGHTS: dict[str, tuple[Any, Any, dict[str, Any], str]] = {
    "optimizer": (None, None, {"optim": "sgd"}, "optim='adamw_torch' (here 'sgd')"),
    "an adapter": (None, LORA, {}, "adapter=None (here 'LORA of rank 2')"),
    "no adapter": (LORA, None, {}, "adapter='LORA of rank 2' (here None)"),
    "another adapter": (LORA, LoraConfig(r=2, target_modules=["v_proj"]), {}, "parameters='4 tensors, "),
}


@pytest.mark.parametrize("name", OTHER_WEIGHTS)
def test_other_weights_or_another_optimizer_are_refused(name: str, tmp_path: Path) -> None:
    first, second, options, why = OTHER_WEIGHTS[name]
    make(tmp_path, "sgpo", max_steps=1, peft_config=first).train()
    with pytest.raises(ValueError) as error:
        make(tmp_path, "sgpo", max_steps=2, peft_config=second, **options).train(resume_from_checkpoint=True)
    assert why in str(error.value)


@pytest.mark.parametrize("method", ["luffy", "hpt"])
def test_another_trainer_is_refused(method: str, started: Path, tmp_path: Path) -> None:
    out = shutil.copytree(started, tmp_path / "run")
    with pytest.raises(ValueError, match=r"trainer='SGPOTrainer' \(here '(LUFFY|HPT)Trainer'\)"):
        make(out, method, max_steps=4).train(resume_from_checkpoint=True)


def test_another_objective_is_named(started: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    out = shutil.copytree(started, tmp_path / "run")
    with caplog.at_level(logging.WARNING, logger="sgpo"):
        make(out, "sgpo", max_steps=3).train(resume_from_checkpoint=True)
    assert "was written by a run with" not in caplog.text
    with caplog.at_level(logging.WARNING, logger="sgpo"):
        make(out, "sgpo", max_steps=4, kl_clip=0.3, temperature=0.7).train(resume_from_checkpoint=True)
    assert "was written by a run with temperature=1.0 (here 0.7), kl_clip=1.0 (here 0.3)" in caplog.text


def test_other_data_rewards_base_or_schedule_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The prompts are those that the checkpoint was written on, so that it goes on, and none of this is in a field."""
    lora = {"peft_config": LoraConfig(target_modules=["q_proj"]), "lr_scheduler_type": "linear"}
    for base in ("first", "second"):
        kit.make_model(seed=3).save_pretrained(tmp_path / base)
    make(tmp_path / "run", "sgpo", max_steps=1, model=str(tmp_path / "first"), **lora).train()
    data = kit.make_problems(6).add_column("expert", [" ok a b"] * 6)
    other = data.map(lambda row: {"strategy": "shift"})
    resumed = {"model": str(tmp_path / "second"), "data": other, "reward": [kit.has_digit, kit.has_ok], **lora}
    with caplog.at_level(logging.WARNING, logger="sgpo"):
        make(tmp_path / "run", "sgpo", max_steps=2, **resumed).train(resume_from_checkpoint=True)
    (said,) = [record.getMessage() for record in caplog.records if "was written by a run with" in record.getMessage()]
    for named in (
        f"the base model='{tmp_path / 'first'}' (here '{tmp_path / 'second'}')",
        "the reward functions='has_digit' (here 'has_digit, has_ok')",
        "the column strategy='",
        "max_steps=1 (here 2)",
    ):
        assert named in said
    assert "the column answer" not in said


@pytest.mark.parametrize("method", ["sgpo", "luffy", "hpt"])
def test_what_changed_under_its_name_is_named(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The base behind an adapter, the scale of the adapter, and the chat template: the weights of all fit."""
    asked = [[{"role": "user", "content": f"solve {letter}"}] for letter in "abcdef"]
    data = Dataset.from_dict({"prompt": asked, "strategy": ["carry"] * 6, "expert": [" ok a b"] * 6})
    base, said = tmp_path / "base", []
    for steps, resumed in ((1, None), (2, True), (3, True)):
        if steps == 3:
            kit.make_model(seed=4).save_pretrained(base)
            monkeypatch.setattr(kit, "CHAT", kit.CHAT.replace("<end>", "<user>"))
        elif steps == 1:
            kit.make_model(seed=3).save_pretrained(base)
        lora = LoraConfig(target_modules=["q_proj"], lora_alpha=32 if steps == 3 else 16)
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="sgpo"):
            made = make(tmp_path / "run", method, max_steps=steps, model=str(base), peft_config=lora, data=data)
            made.train(resume_from_checkpoint=resumed)
        said.append(" ".join(record.getMessage() for record in caplog.records))
    assert "written by a run with" not in said[1]
    for named in ("the base model's files='", "the adapter's lora_alpha=16 (here 32)", "the tokens of the prompts='"):
        assert named in said[2]


def test_a_reward_that_was_edited_under_its_name_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from sgpo.recipe import load_reward

    file = tmp_path / "reward.py"
    for value, resume in (("1.0", None), ("0.5", True)):
        file.write_text(f"def right(completions, **columns): return [float(len(t)) * {value} for t in completions]\n")
        for name in [name for name in sys.modules if name.startswith("sgpo_reward_")]:
            del sys.modules[name]  # as in a process of its own
        linecache.clearcache()
        trainer = make(tmp_path / "run", "sgpo", max_steps=2 if resume else 1, reward=[load_reward(f"{file}:right")])
        with caplog.at_level(logging.WARNING, logger="sgpo"):
            trainer.train(resume_from_checkpoint=resume)
    assert "the code of the reward right='" in caplog.text


def test_another_rate_and_decay_take_effect(started: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """PyTorch's optimizer would go on with those of the checkpoint, without a word."""
    out = shutil.copytree(started, tmp_path / "run")
    trainer = make(out, "sgpo", max_steps=4, learning_rate=1e-4, weight_decay=0.5, lr_scheduler_type="linear")
    with caplog.at_level(logging.WARNING, logger="sgpo"):
        trainer.train(resume_from_checkpoint=True)
    rates = {row["step"]: row["learning_rate"] for row in trainer.state.log_history if "learning_rate" in row}
    assert rates[3] == pytest.approx(1e-4)
    assert rates[4] == pytest.approx(1e-4 / 4)
    assert trainer.optimizer.param_groups[0]["weight_decay"] == 0.5
    assert "learning_rate is 0.0001 from here on, and was 0.05" in caplog.text


@pytest.mark.parametrize("method", ["sgpo", "luffy", "hpt"])
def test_an_older_checkpoint_goes_when_the_next_one_is_whole(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before the record of the second one is written, with `save_total_limit=1`, a run still has the first."""
    write = sound.write_record

    def killed(directory: Path, *args: Any) -> None:
        if directory.name == "checkpoint-2":
            raise KeyboardInterrupt
        write(directory, *args)

    monkeypatch.setattr(sound, "write_record", killed)
    trainer = make(tmp_path, method, max_steps=3, save_total_limit=1)
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert (tmp_path / "checkpoint-1" / "sgpo_checkpoint.json").is_file()
    monkeypatch.undo()
    make(tmp_path, method, max_steps=3, save_total_limit=1).train(resume_from_checkpoint=True)
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-3"]
    assert torch.load(tmp_path / "checkpoint-3" / "training_args.bin", weights_only=False).save_total_limit == 1


def test_a_new_run_beside_an_older_one_says_so(started: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    out = shutil.copytree(started, tmp_path / "run")
    with caplog.at_level(logging.WARNING, logger="sgpo"):
        make(out, "sgpo", max_steps=1).train()
    assert f"{out} holds checkpoint-2 of an earlier run, and this one starts anew" in caplog.text


def test_another_number_of_processes_is_refused(started: Path, tmp_path: Path) -> None:
    out = shutil.copytree(started, tmp_path / "run")
    path = out / "checkpoint-2" / "sgpo_checkpoint.json"
    path.write_text(path.read_text().replace('"world_size": 1', '"world_size": 8'))
    with pytest.raises(ValueError, match=r"world_size=8 \(here 1\)"):
        make(out, "sgpo", max_steps=4).train(resume_from_checkpoint=True)


def test_with_ignore_data_skip_the_weights_go_on(
    started: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = shutil.copytree(started, tmp_path / "run")
    trainer = make(out, "sgpo", max_steps=4, seed=43, ignore_data_skip=True)
    with caplog.at_level(logging.WARNING, logger="sgpo"):
        trainer.train(resume_from_checkpoint=True)
    assert trainer.state.global_step == 4
    assert "It will differ from one that was not interrupted" in caplog.text


def test_a_longer_run_and_another_rate_are_no_other_order(started: Path, tmp_path: Path) -> None:
    out = shutil.copytree(started, tmp_path / "run")
    trainer = make(out, "sgpo", max_steps=3, learning_rate=1e-3, save_steps=3)
    trainer.train(resume_from_checkpoint=True)
    assert trainer.state.global_step == 3


def test_a_head_that_is_the_embedding_is_not_called_missing(
    started: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr("transformers.trainer.logger.warning", lambda words, *args: said.append(words))
    make(shutil.copytree(started, tmp_path / "run"), "sgpo", max_steps=3).train(resume_from_checkpoint=True)
    assert not [words for words in said if "missing keys" in words]
    untied = make(shutil.copytree(started, tmp_path / "untied"), "sgpo", max_steps=3, model=kit.make_model(tied=False))
    with pytest.raises(ValueError, match="its weights and its optimizer are not those"):
        untied.train(resume_from_checkpoint=True)


def test_one_of_an_older_version_goes_on_in_the_right_pass(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    options = {**EPOCHS, **INSIDE}
    whole = make(tmp_path / "whole", "luffy", **options)
    whole.train()
    for stop, equal in ((6, True), (4, False)):  # 3 steps a pass: at its end; inside of a generation batch
        out = tmp_path / str(stop)
        checkpoint = shutil.copytree(tmp_path / "whole" / f"checkpoint-{stop}", out / f"checkpoint-{stop}")
        for path in checkpoint.glob("sgpo_*"):
            path.unlink()
        caplog.clear()
        resumed = make(out, "luffy", **options)
        with caplog.at_level(logging.WARNING, logger="sgpo"):
            resumed.train(resume_from_checkpoint=True)
        assert (kit.largest_gap(state_of(resumed), state_of(whole)) == 0.0) == equal
        assert ("without the rollouts that were in use" in caplog.text) != equal


def test_a_second_call_begins_with_rollouts_of_its_own(tmp_path: Path) -> None:
    """The first one ends inside of a generation batch."""
    options = {"max_steps": 2, "num_iterations": 3, "optim": "sgd", "save_strategy": "no"}
    trainer = make(tmp_path, "sgpo", **options)
    generated: list[int] = []
    generate = trainer._generate_and_score_completions

    def counted(inputs: Any) -> Any:
        generated.append(trainer.state.global_step)
        return generate(inputs)

    trainer._generate_and_score_completions = counted
    trainer.train()
    trainer.train()
    assert generated == [0, 0]


@pytest.mark.parametrize("method", ["sgpo", "luffy", "hpt"])
def test_a_run_that_was_interrupted_within_a_step_goes_on_in_the_same_trainer(method: str, tmp_path: Path) -> None:
    """As in a notebook: what the interrupted step had logged so far is not counted again."""
    options = {**HALVES, "max_steps": 3, "reward": kit.has_ok}
    whole = make(tmp_path / "whole", method, **options)
    whole.train()
    trainer = make(tmp_path / "parts", method, **options)
    step, done = trainer.training_step, 0

    def interrupted(*args: Any) -> Tensor:
        nonlocal done
        loss: Tensor = step(*args)
        done += 1
        if done == 3:  # the first half of the second step
            raise KeyboardInterrupt
        return loss

    trainer.training_step = interrupted
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    trainer.training_step = step
    trainer.train(resume_from_checkpoint=True)
    assert kit.largest_gap(state_of(trainer), state_of(whole)) == 0.0
    ours, theirs = (
        [{k: v for k, v in row.items() if "time" not in k} for row in t.state.log_history[:3]] for t in (trainer, whole)
    )
    assert ours == theirs


@pytest.mark.parametrize("method", sorted(KINDS))
def test_the_patience_of_early_stopping_is_not_counted_anew(method: str, tmp_path: Path) -> None:
    """A greater one takes effect."""
    kind, best = KINDS[method], {"load_best_model_at_end": True, "save_strategy": "steps", "save_steps": 1}
    data = kit.make_problems(8).add_column("expert", [" ok a b"] * 8)
    each = {"eval_strategy": "steps", "eval_steps": 1, "max_steps": 8, "per_device_eval_batch_size": 4, **best}
    more: dict[str, Any] = {"eval_dataset": data.select(range(2))}
    if method == "sft":
        each |= {"use_cpu": True, "per_device_train_batch_size": 1, "learning_rate": 0.0, "report_to": "none"}
    else:
        more["reward_funcs"] = lambda completions, **_: [0.5] * len(completions)
        each |= {"metric_for_best_model": "reward", "num_train_epochs": 2}

    def stopped_at(directory: Path, patience: int, resume: str | None = None, **options: Any) -> int:
        make = kind.config if method == "sft" else partial(kit.make_config, config_class=kind.config)
        config = make(output_dir=str(directory), **each, **options)
        given = {"args": config, "train_dataset": data, "processing_class": kit.make_tokenizer(), **more}
        trainer = kind.trainer(kit.make_model(), callbacks=[EarlyStoppingCallback(patience)], **given)
        trainer.train(resume_from_checkpoint=resume)
        step: int = trainer.state.global_step
        return step

    assert stopped_at(tmp_path / "whole", 2) == 3
    for patience, step in ((2, 3), (4, 5)):
        parts = tmp_path / f"patience-{patience}"
        shutil.copytree(tmp_path / "whole" / "checkpoint-2", parts / "checkpoint-2")
        assert stopped_at(parts, patience, str(parts / "checkpoint-2")) == step
    # Who asks transformers for all of what callbacks were gets their settings, too.
    parts = tmp_path / "restored"
    shutil.copytree(tmp_path / "whole" / "checkpoint-2", parts / "checkpoint-2")
    assert stopped_at(parts, 4, str(parts / "checkpoint-2"), restore_callback_states_from_checkpoint=True) == 3


def test_a_reference_model_that_follows_the_policy(tmp_path: Path) -> None:
    """`sync_ref_model` moves it, so it is part of what a checkpoint must hold."""
    start = tmp_path / "start"
    kit.make_model().save_pretrained(start)
    kit.make_tokenizer().save_pretrained(start)

    def following(directory: Path) -> Any:
        moving = {"beta": 0.1, "sync_ref_model": True, "ref_model_sync_steps": 2, "ref_model_mixup_alpha": 0.5}
        saving = {"max_steps": 5, "save_strategy": "steps", "save_steps": 1, "learning_rate": 0.5}
        config = kit.make_config(directory, KINDS["sgpo"].config, shuffle_dataset=True, **moving, **saving)
        return KINDS["sgpo"].trainer(str(start), kit.has_digit, config, kit.make_problems(6))

    whole = following(tmp_path / "whole")
    whole.train()
    for stop in (1, 3, 4):
        out = tmp_path / f"stopped-{stop}"
        checkpoint = shutil.copytree(tmp_path / "whole" / f"checkpoint-{stop}", out / f"checkpoint-{stop}")
        resumed = following(out)
        resumed.train(resume_from_checkpoint=True)
        for left, right in ((resumed.model, whole.model), (resumed.ref_model, whole.ref_model)):
            assert kit.largest_gap(kit.weights_of(left), kit.weights_of(right)) == 0.0
    for name in ("sgpo_reference.safetensors", "sgpo_checkpoint.json"):
        (checkpoint / name).unlink()
    with pytest.raises(ValueError, match="sync_ref_model=True moves the reference model"):
        following(out).train(resume_from_checkpoint=str(checkpoint))


def test_checkpoints_of_the_sft_that_is_compared_have_a_record(tmp_path: Path) -> None:
    kind = KINDS["sft"]
    rows = [{"prompt": f"solve {word}", "completion": " ok a"} for word in "abcdef"]
    options = {"save_strategy": "steps", "save_steps": 1, "max_steps": 5, "use_cpu": True, "bf16": False}
    shape = {"per_device_train_batch_size": 2, "report_to": "none", "max_length": 16, "learning_rate": 0.1}
    shape["logging_steps"] = 1

    def sft(directory: Path, counted: str = "no") -> Any:
        config = kind.config(str(directory), include_num_input_tokens_seen=counted, **options, **shape)
        data = Dataset.from_list(rows)
        return kind.trainer(kit.make_model(), args=config, train_dataset=data, processing_class=kit.make_tokenizer())

    whole = sft(tmp_path / "whole")
    whole.train()
    for stop, counted in ((1, "no"), (3, "all"), (4, "no")):
        checkpoint = tmp_path / "whole" / f"checkpoint-{stop}"
        assert (checkpoint / "sgpo_checkpoint.json").is_file()
        if stop == 4:  # as older versions left it
            (checkpoint / "sgpo_checkpoint.json").unlink()
            state = checkpoint / "trainer_state.json"
            state.write_text(json.dumps({**json.loads(state.read_text()), "num_input_tokens_seen": 0}))
        resumed = sft(tmp_path / str(stop), counted)
        resumed.train(resume_from_checkpoint=str(checkpoint))
        assert kit.largest_gap(kit.weights_of(resumed.model), kit.weights_of(whole.model)) == 0.0
        tokens = [[row.get("num_tokens") for row in each.state.log_history] for each in (whole, resumed)]
        assert tokens[0] == tokens[1] == [*sorted(tokens[0][:-1]), None]


def experts(count: int = 7, first: int = 0) -> Dataset:
    rows = range(first, first + count)
    return Dataset.from_list(
        [{"prompt": f"solve {kit.PLAIN[i]}", "expert": " ".join(kit.PLAIN[: 1 + i % 5])} for i in rows]
    )


def sft(directory: Path, data: Any = None, **options: Any) -> Any:
    shape = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "num_train_epochs": 3, "max_steps": 6}
    saving = {"save_strategy": "steps", "save_steps": 1, "use_cpu": True, "bf16": False, "report_to": "none"}
    config = KINDS["sft"].config(str(directory), learning_rate=0.1, **{**shape, **saving, **options})
    given = {"train_dataset": experts() if data is None else data, "eval_dataset": experts(2)}
    return KINDS["sft"].trainer(kit.make_model(), config, processing_class=kit.make_tokenizer(), **given)


@pytest.mark.parametrize("stream", [False, True])
def test_sft_resumes_to_the_bit(stream: bool, tmp_path: Path) -> None:
    data = experts().to_iterable_dataset() if stream else experts()  # two steps a pass
    whole = sft(tmp_path / "whole", data)
    whole.train()
    for stop in (1, 2, 3, 5):
        resumed = sft(tmp_path / str(stop), data)
        resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / f"checkpoint-{stop}"))
        assert kit.largest_gap(state_of(resumed), state_of(whole)) == 0.0


def test_sft_goes_on_with_its_own_data_and_its_own_optimizer(tmp_path: Path) -> None:
    sft(tmp_path, max_steps=1).train()
    others: list[tuple[Any, dict[str, Any], str]] = [
        (experts(first=1), {}, "problems='7 rows, "),
        (experts(8), {}, "(here '8 rows, "),
        (None, {"seed": 43}, "seed=42 (here 43)"),
        (None, {"per_device_train_batch_size": 4}, "per_device_train_batch_size=2 (here 4)"),
        (None, {"train_sampling_strategy": "sequential"}, "train_sampling_strategy='random' (here 'sequential')"),
        (None, {"optim": "sgd"}, "(here 'sgd')"),
    ]
    for data, options, why in others:
        with pytest.raises(ValueError) as error:
            sft(tmp_path, data, **options).train(resume_from_checkpoint=True)
        assert why in str(error.value)
    (tmp_path / "checkpoint-1" / "optimizer.pt").unlink()
    with pytest.raises(ValueError, match="checkpoint-1 has no optimizer"):
        sft(tmp_path).train(resume_from_checkpoint=True)


def main() -> None:
    """Every case of `ON_RANKS` on this rank: torchrun --nproc_per_node 2 test_trainer_resume.py DIRECTORY"""
    torch.set_num_threads(1)
    directory = Path(sys.argv[1])
    found = {
        name: largest_difference(directory / str(i), method, **options)
        for i, (name, (method, options)) in enumerate(ON_RANKS.items())
    }
    (directory / f"rank{os.environ['RANK']}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
