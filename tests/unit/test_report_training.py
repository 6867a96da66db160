"""The report of a training run: of every trainer, at every stage, with what it has and with what it lacks."""

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import report_kit as kit
import trainer_kit
from datasets import Dataset

from sgpo import HPTConfig, HPTTrainer, LUFFYConfig, LUFFYTrainer, SGPOConfig, SGPOTrainer
from sgpo.report.headline import headline
from sgpo.report.load import load_run
from sgpo.report.page import render_page, write_report
from sgpo.trainer.methods import KINDS

CASES: dict[str, tuple[type, type, dict[str, Any]]] = {
    "sgpo": (SGPOTrainer, SGPOConfig, {}),
    "sgpo, no problem log": (SGPOTrainer, SGPOConfig, {"log_problems": False}),
    "grpo": (SGPOTrainer, SGPOConfig, {"alpha_form": "constant", "alpha_0": 0.0}),
    "luffy": (LUFFYTrainer, LUFFYConfig, {}),
    "hpt": (HPTTrainer, HPTConfig, {}),
    "checkpoints, and a step after the last": (SGPOTrainer, SGPOConfig, {"save_strategy": "steps", "save_steps": 1}),
    "one step": (SGPOTrainer, SGPOConfig, {"max_steps": 1}),
    "logged at the end alone": (SGPOTrainer, SGPOConfig, {"logging_steps": 50}),
    "LoRA": (SGPOTrainer, SGPOConfig, {}),
}


def trained(out: Path, name: str) -> Any:
    trainer_class, config_class, options = CASES[name]
    rows = [{**row, "expert": " ok"} for row in trainer_kit.make_problems(4)]
    more: dict[str, Any] = {}
    if name == "LoRA":
        peft = pytest.importorskip("peft")
        more["peft_config"] = peft.LoraConfig(target_modules=["q_proj"], task_type="CAUSAL_LM")
    trainer = trainer_class(
        model=trainer_kit.make_model(),
        reward_funcs=trainer_kit.has_ok,
        args=trainer_kit.make_config(out, config_class, **options),
        train_dataset=Dataset.from_list(rows),
        processing_class=trainer_kit.make_tokenizer(),
        **more,
    )
    trainer.train()
    return trainer


@pytest.mark.parametrize("name", CASES)
def test_every_run_has_a_report_with_completions(name: str, out: Path) -> None:
    trainer = trained(out, name)
    run = write_report(out)
    text = (out / "report.html").read_text()
    steps = trainer.state.max_steps
    assert run.finished
    assert f"{steps} step{'s' * (steps > 1)}" in headline(run)[0]
    assert "What the policy writes" in text
    assert "solve" in text
    assert "has_ok" in text
    kept = [json.loads(line) for line in (out / "completions.jsonl").read_text().splitlines()]
    assert 1 <= len(kept) <= 8
    assert {row["step"] for row in kept} <= {1, steps}
    assert all(set(row) == {"step", "prompt", "completion", "rewards", "advantage"} for row in kept)
    assert run.cells[0].method == ("sgpo" if name not in ("luffy", "hpt") else name)


def test_completions_of_an_evaluation_are_none_of_the_training(out: Path) -> None:
    measured = Dataset.from_dict({"prompt": ["hint a"] * 3, "strategy": [""] * 3, "answer": ["ok"] * 3})
    options = {"eval_strategy": "steps", "eval_steps": 1, "per_device_eval_batch_size": 4}
    trainer_kit.make_trainer(out, arguments={"eval_dataset": measured}, **options).train()
    kept = [json.loads(line) for line in (out / "completions.jsonl").read_text().splitlines()]
    assert {row["step"] for row in kept} == {1, 2}
    assert all(row["prompt"].startswith("solve") for row in kept)


@pytest.mark.parametrize("method", ["sgpo", "luffy", "hpt"])
@pytest.mark.parametrize("reused", [{"num_iterations": 2}, {"steps_per_generation": 2}])
def test_nor_are_they_where_the_training_goes_on_with_its_rollouts(
    reused: dict[str, int], method: str, out: Path
) -> None:
    """TRL keeps what it logs until it samples again: the step behind an evaluation would show what that sampled."""
    kind, data = KINDS[method], trainer_kit.make_problems(4).add_column("expert", [" ok"] * 4)
    measured = Dataset.from_list([{**row, "prompt": "hint a"} for row in data])
    options = {"eval_strategy": "steps", "eval_steps": 1, "per_device_eval_batch_size": 4, **reused}
    config = trainer_kit.make_config(out, kind.config, **options)
    more = {"eval_dataset": measured, "processing_class": trainer_kit.make_tokenizer()}
    kind.trainer(trainer_kit.make_model(), trainer_kit.has_ok, config, data, **more).train()
    kept = [json.loads(line) for line in (out / "completions.jsonl").read_text().splitlines()]
    assert {row["step"] for row in kept} == {1, 2}
    assert all(row["prompt"].startswith("solve") for row in kept)


ADVANTAGES = {
    "luffy": {"advantage_baseline": "on_policy"},
    "hpt": {"gate": 1},
    "sgpo": {"guided_grpo_weight": 1.0, "guided_grpo_group": "joined", "loss_type": "dapo"},
}


@pytest.mark.usefixtures("scripted")
@pytest.mark.parametrize("method", ADVANTAGES)
def test_advantages_of_completions_are_those_that_are_trained_on(method: str, out: Path) -> None:
    """These methods make others of TRL's, which it has logged by then."""
    kind, data = KINDS[method], trainer_kit.make_problems(8).add_column("expert", [" ok"] * 8)
    options = {"max_steps": 1, "per_device_train_batch_size": 32, "num_iterations": 2, **ADVANTAGES[method]}
    config = trainer_kit.make_config(out, kind.config, **options)
    tokenizer = trainer_kit.make_tokenizer()
    trainer = kind.trainer(trainer_kit.make_model(), trainer_kit.has_ok, config, data, processing_class=tokenizer)
    trainer.train()
    (batch,) = trainer._buffered_inputs
    assert sorted(trainer._logs["advantages"]) == pytest.approx(sorted(batch["advantages"].tolist()))
    texts = [tokenizer.decode(p[m.bool()]) for p, m in zip(batch["prompt_ids"], batch["prompt_mask"], strict=True)]
    trained = Counter(zip(texts, [round(a, 5) for a in batch["advantages"].tolist()], strict=True))
    logged = zip(trainer._logs["prompt"], trainer._logs["advantages"], strict=True)
    assert Counter((prompt, round(advantage, 5)) for prompt, advantage in logged) == trained
    assert len(set(batch["advantages"].tolist())) > 2


def test_a_resumed_run_reads_as_one_that_was_not_interrupted(out: Path) -> None:
    def make(folder: Path) -> Any:
        return trainer_kit.make_trainer(folder, max_steps=4, save_strategy="steps", save_steps=2)

    whole = make(out / "whole")
    whole.train()
    parts = make(out / "parts")
    parts.train()
    make(out / "parts").train(resume_from_checkpoint=str(out / "parts" / "checkpoint-2"))
    ours, theirs = (load_run(out / name).cells[0].series for name in ("parts", "whole"))
    for metric in ("sgpo/autonomous_pass_rate", "loss"):
        assert ours[metric] == theirs[metric]
    assert ours["loss"][0] == [1, 2, 3, 4]
    make(out / "parts").train()  # anew, in the same directory
    assert load_run(out / "parts").cells[0].series["loss"] == theirs["loss"]


def log(folder: Path, *rows: dict[str, Any], planned: int = 4) -> Path:
    kit.write_lines(folder / "training_log.jsonl", [{"step": 0, "max_steps": planned}, *rows])
    return folder


RATE, GUIDED = "sgpo/autonomous_pass_rate", "sgpo/guided_pass_rate"


@pytest.mark.parametrize(
    ("rates", "sentence"),
    [
        ([0.0, 0.0], "The pass rate without a strategy stayed at 0.0% in 2 steps."),
        ([1.0, 1.0], "The pass rate without a strategy stayed at 100.0% in 2 steps."),
        ([0.3001, 0.3002], "The pass rate without a strategy stayed at 30.0% in 2 steps."),
        ([0.1, 0.25], "The pass rate without a strategy rose from 10.0% to 25.0% in 2 steps."),
        ([0.25, 0.1], "The pass rate without a strategy fell from 25.0% to 10.0% in 2 steps."),
        ([0.25], "The pass rate without a strategy was 25.0% in 1 step."),
        ([math.nan, 0.25], "The pass rate without a strategy was 25.0% in 2 steps."),
    ],
)
def test_the_sentence_reads_well(tmp_path: Path, rates: list[float], sentence: str) -> None:
    log(tmp_path, *({"step": i + 1, RATE: rate, "loss": 0.0} for i, rate in enumerate(rates)), planned=len(rates))
    title, more = headline(load_run(tmp_path))
    assert title == sentence
    assert ("No response was correct." in more) == (set(rates) == {0.0})
    assert ("Every response was correct." in more) == (set(rates) == {1.0})
    assert ("first and the last tenth" in more) == (len(rates) == 2 and not math.isnan(rates[0]))
    assert "With the strategy" not in more, "no guided group was logged"


def test_the_guided_rate_is_told_in_the_same_way(tmp_path: Path) -> None:
    log(tmp_path, {"step": 1, RATE: 0.0, GUIDED: 1.0}, {"step": 2, RATE: 0.5, GUIDED: 1.0}, planned=2)
    assert headline(load_run(tmp_path))[1].startswith("With the strategy in the prompt it stayed at 100.0%. ")


@pytest.mark.parametrize(
    ("rows", "notice"),
    [
        ([], "Step 0 of 4: the run is in progress, or was ended before its end."),
        ([{"step": 1, "loss": math.nan, "sgpo/kl": None}], "No step has been logged so far."),
        ([{"step": 2, "loss": 0.5}], "Step 2 of 4: the run is in progress"),
        ([{"step": 4, "reward": 0.5}], "No metric of SGPO, LUFFY or HPT is in this log"),
    ],
)
def test_a_run_that_has_just_begun_or_was_ended_has_a_page(
    tmp_path: Path, rows: list[dict[str, Any]], notice: str
) -> None:
    run = load_run(log(tmp_path, *rows))
    text = render_page(run)
    assert notice in " ".join(run.notices)
    assert notice in text


def test_a_torn_line_and_a_broken_newest_checkpoint_are_passed_over(tmp_path: Path) -> None:
    log(tmp_path / "log", {"step": 1, RATE: 0.25})
    with (tmp_path / "log" / "training_log.jsonl").open("a") as file:
        file.write('{"step": 2, "sgpo')
    assert load_run(tmp_path / "log").cells[0].series[RATE] == ([1], [0.25])
    old = kit.training_dir(tmp_path / "old", step=50)
    for content in ("", "{}", "[]", "cut off {"):
        (old / "checkpoint-60").mkdir(exist_ok=True)
        (old / "checkpoint-60" / "trainer_state.json").write_text(content)
        run = load_run(old)
        assert run.cells[0].series["sgpo/kl"][0][-1] == 50
        render_page(run)


@pytest.mark.parametrize("name", kit.HOSTILE)
def test_completions_are_escaped_and_bounded(tmp_path: Path, name: str) -> None:
    log(tmp_path, {"step": 4, RATE: 0.25})
    hostile = kit.HOSTILE[name]
    row = {"step": 4, "prompt": hostile, "completion": hostile + "x" * 100_000, "rewards": {hostile: 1.0}}
    kit.write_lines(tmp_path / "completions.jsonl", [{**row, "advantage": -0.5}] * 1000)
    text = render_page(load_run(tmp_path))
    assert len(text) < 250_000
    assert "more characters left out" in text
    assert "advantage \u22120.50" in text
    assert "<script>window" not in text
    assert "<img" not in text


@pytest.mark.parametrize(
    "rows", [[{"step": 4}], [{"completion": 7}], [{"step": "x", "completion": "a", "rewards": []}]]
)
def test_rows_that_are_no_completions_do_not_stop_the_page(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    log(tmp_path, {"step": 4, RATE: 0.25})
    kit.write_lines(tmp_path / "completions.jsonl", rows)
    render_page(load_run(tmp_path))


def test_tables_that_trl_wrote_are_shown_where_ours_are_not(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    kit.training_dir(tmp_path)
    (tmp_path / "completions").mkdir()
    chat = [[{"role": "user", "content": "<b>what</b>"}]] * 40
    table = {"step": [7] * 40, "prompt": chat, "completion": ["<i>so</i>"] * 40, "acc": [1.0] * 40}
    pandas.DataFrame({**table, "advantage": [0.5] * 40}).to_parquet(
        tmp_path / "completions" / "completions_00007.parquet"
    )
    (tmp_path / "completions" / "completions_00008.parquet").write_bytes(b"PAR1 torn")
    run = load_run(tmp_path)
    text = render_page(run)
    assert text.count("&lt;i&gt;so&lt;/i&gt;") == 12
    assert "user: &lt;b&gt;what&lt;/b&gt;" in text
    assert "Step 7" in text
    assert "acc 1, advantage +0.50" in text
    assert "completions_00008.parquet cannot be read" in text
