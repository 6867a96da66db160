"""A comparison on a recipe, without running it: what a method takes of the recipe, and what is refused."""

import dataclasses
import json
import math
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import trainer_kit
import yaml
from datasets import Dataset

from sgpo.cli import main
from sgpo.compare import measure
from sgpo.compare.fields import cell_fields
from sgpo.compare.lab import LabTask
from sgpo.compare.recipe import RecipeTask, parse_fields, read_fields, split
from sgpo.compare.run import ComparePlan, _manifest, run_comparison
from sgpo.compare.table import as_text
from sgpo.evaluation.options import EvalOptions
from sgpo.evaluation.results import Graded, ProblemResult, summarise
from sgpo.options import from_flat
from sgpo.recipe.schedule import Schedule
from sgpo.rewards import accuracy_reward
from sgpo.runs.entries import CellResult, ComparisonResults, MethodResult
from sgpo.runs.methods import METHODS
from sgpo.runs.scores import FamilyScores, SeedMean
from sgpo.trainer.methods import find_method

RECIPE: dict[str, Any] = {
    "model_name_or_path": "model",
    "dataset_name": "train.jsonl",
    "dtype": "float32",
    "guided_prompt_template": trainer_kit.TEMPLATE,
    "max_completion_length": 6,
    "num_generations": 4,
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 3,
    "max_steps": 7,
    "learning_rate": "1e-3",
    "loss_type": "dapo",
    "temperature": 0.9,
    "use_cpu": True,
    "bf16": False,
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Model, data, benchmark and recipe, in the working directory."""
    monkeypatch.chdir(tmp_path)
    trainer_kit.make_tokenizer().save_pretrained("model")
    trainer_kit.make_model().config.save_pretrained("model")
    rows = [{**row, "answer": "5", "expert": " a 5"} for row in trainer_kit.make_problems(8)]
    write("train.jsonl", rows)
    write("held.jsonl", [{"problem": f"solve {i}", "answer": str(i)} for i in range(3)])
    Path("recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    return tmp_path


def write(name: str, rows: list[dict[str, Any]]) -> None:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def fields_of(name: str, recipe: dict[str, Any] = RECIPE, **overrides: Any) -> tuple[dict[str, Any], Any]:
    """Fields of a cell and the configuration that they parse to."""
    method = find_method(name)
    fields = cell_fields(method, recipe, parse_fields(recipe)[1], overrides, seed=3)
    return fields, parse_fields(fields, str(method.kind))[1]


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.kind])
def test_every_method_sees_as_many_problems_a_step(name: str) -> None:
    loss_type = "dapo" if name == "oc_grpo" else "dr_grpo"  # its one group needs one divisor, and says so
    fields, config = fields_of(name, {**RECIPE, "loss_type": loss_type})
    group = getattr(config, "num_generations", 1)
    assert config.per_device_train_batch_size * config.gradient_accumulation_steps == 6 * group
    assert (config.seed, config.learning_rate, config.logging_steps) == (3, 1e-3, 1)
    assert getattr(config, "temperature", 0.9) == 0.9
    assert "max_steps" not in fields
    if name == "sft":
        assert config.loss_type == "nll"
        assert config.max_length is None
        assert "dataset_name" in fields
    else:
        assert config.max_completion_length == 6
        assert config.steps_per_generation * config.per_device_train_batch_size == 6 * group
        assert config.loss_type == loss_type


def test_only_what_a_method_changes_differs() -> None:
    ours, _ = fields_of("sgpo")
    expected = {"no_clip": {"kl_clip"}, "reverse_kl": {"kl_direction"}, "sgpo:teacher=ema": {"teacher"}}
    for name, changed in expected.items():
        fields, _ = fields_of(name)
        assert {field for field in fields if field not in ours or fields[field] != ours[field]} == changed
    assert {**fields_of("sgpo", learning_rate=0.5)[0], "learning_rate": 1e-3} == ours


@pytest.mark.parametrize(
    ("recipe", "name", "batch"),
    [
        ({"gradient_accumulation_steps": 2}, "sft_grpo_12", (8, 6, 6)),
        ({"gradient_accumulation_steps": 1, "per_device_train_batch_size": 12}, "sft_grpo_12", (12, 3, 3)),
        ({"num_generations": 8, "gradient_accumulation_steps": 1}, "sft_grpo_12", (12, 1, 1)),
        ({"gradient_accumulation_steps": 1, "steps_per_generation": 2}, "sgpo:num_generations=8", (8, 2, 4)),
    ],
)
def test_rollouts_are_added_by_micro_steps_or_else_by_rows(
    recipe: dict[str, Any], name: str, batch: tuple[int, ...]
) -> None:
    _, config = fields_of(name, {**RECIPE, **recipe})
    assert (
        config.per_device_train_batch_size,
        config.gradient_accumulation_steps,
        config.steps_per_generation,
    ) == batch


def test_a_batch_that_cannot_be_translated_is_refused_unless_the_method_names_one() -> None:
    recipe = {**RECIPE, "gradient_accumulation_steps": 1}
    with pytest.raises(ValueError, match="takes 5 rollouts a problem in place of 4"):
        fields_of("sgpo:num_generations=5", {**recipe, "per_device_train_batch_size": 6, "steps_per_generation": 2})
    fields_of("sgpo:num_generations=5,per_device_train_batch_size=10", recipe)
    with pytest.raises(ValueError, match="no whole number of problems"):
        fields_of("sft", {**recipe, "per_device_train_batch_size": 6, "steps_per_generation": 2})


@pytest.mark.parametrize(
    "layout",
    [
        {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2},
        {"per_device_train_batch_size": 4, "steps_per_generation": 2, "num_iterations": 3},
        {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4, "steps_per_generation": 1},
        {"per_device_train_batch_size": 8, "num_iterations": 2, "gradient_accumulation_steps": 3},
    ],
)
def test_the_steps_of_epochs_are_those_that_the_trainer_takes(tmp_path: Path, layout: dict[str, int]) -> None:
    problems = 11
    data = trainer_kit.make_problems(problems)
    trainer = trainer_kit.make_trainer(tmp_path, data=data, max_steps=-1, num_train_epochs=2.5, **layout)
    *_, steps = trainer.set_initial_training_values(trainer.args, trainer.get_train_dataloader())
    assert Schedule.of(trainer.args).steps(problems, 1) == steps


def test_a_named_number_of_steps_is_kept_and_too_few_problems_are_refused() -> None:
    schedule = Schedule.of(parse_fields(RECIPE)[1])
    assert schedule.steps(100, 1) == schedule.steps(100, 2) == 7
    with pytest.raises(ValueError, match="5 problems to train on, but a generation batch takes 6"):
        schedule.steps(5, 1)
    with pytest.raises(ValueError, match="takes 12"):
        schedule.steps(11, 2)


def test_a_fixed_share_of_the_problems_is_held_out() -> None:
    data = Dataset.from_list([{"prompt": f"problem {i}", "answer": "5"} for i in range(400)])
    train, held = split(data, True)
    assert sorted([*train["prompt"], *held["prompt"]]) == sorted(data["prompt"])
    assert 8 <= len(held) <= 35
    assert split(data.select(range(399, -1, -1)), True)[1]["prompt"] == held["prompt"][::-1], "whatever the order"
    assert len(split(data, False)[1]) == 0
    with pytest.raises(ValueError, match="--validation FILE"):
        split(data.select([0]), True)


def test_held_out_prompts_are_asked_as_in_training(tmp_path: Path) -> None:
    message = [{"role": "user", "content": "What is {2} + 3?"}]
    rows = [{"prompt": message, "answer": "5"}, {"prompt": "2 + 3 =", "answer": "5", "family": "sums"}]
    measure.held_out(rows, tmp_path / measure.HELD_OUT)
    plan, grader = measure.measurement(str(tmp_path / measure.HELD_OUT), {"k": 2}, as_trained=True)
    assert plan.check(grader) == [message, "2 + 3 ="]
    assert [problem.group for problem in plan.problems] == [None, "sums"]
    assert (plan.k, plan.sampling.temperature, plan.sampling.max_new_tokens) == (2, 0.6, 32768)


def test_held_out_problems_are_judged_as_in_training(tmp_path: Path) -> None:
    """By a row's tolerance, and by the solution where the answer is empty: a search picks by the rewards' verdicts."""
    rows = [
        {"prompt": "pi?", "answer": "3.14", "solution": None, "tolerance": 0.01},
        {"prompt": "2 + 3 =", "answer": "", "solution": "It is $2 + 3 = \\boxed{5}$.", "tolerance": math.nan},
    ]
    measure.held_out(rows, tmp_path / measure.HELD_OUT)
    plan, grader = measure.measurement(str(tmp_path / measure.HELD_OUT), {}, as_trained=True)
    said = [r"\boxed{3.1416}", r"\boxed{5}"]
    rewards = accuracy_reward(said, **{name: [row[name] for row in rows] for name in rows[0] if name != "prompt"})
    assert [mark.correct for mark in grader.grade(said, plan.problems)] == rewards == [1.0, 1.0]


def result(*scores: float, group: str | None = None) -> Any:
    samples = [[Graded(score, None, 4, False)] for score in scores]
    return summarise([ProblemResult(str(i), group, "1", one) for i, one in enumerate(samples)])


def test_benchmarks_count_alike_and_are_the_families() -> None:
    one, two = result(1, 0, 0, 0), result(1, 1)
    entry = measure.pooled({"aime": one, "amc": two})
    assert entry.accuracy == (0.25 + 1) / 2
    assert {name: each.accuracy for name, each in entry.per_family.items()} == {"aime": 0.25, "amc": 1.0}
    # Independent errors: the roots of the summed squares, over the number of benchmarks, on each side by itself.
    low, high = entry.accuracy_ci95 or (0.0, 0.0)
    assert entry.accuracy - low == pytest.approx(math.hypot(0.25 - one.ci95[0], 1 - two.ci95[0]) / 2)
    assert high - entry.accuracy == pytest.approx((one.ci95[1] - 0.25) / 2)
    assert set(measure.pooled({"aime": result(1, 0, group="sums")}).per_family) == {"sums"}


def test_benchmarks_with_other_numbers_of_samples_have_no_number_in_common() -> None:
    """math500 has 4 samples of a problem and aime24 32; the report says how many a comparison has."""
    many = summarise([ProblemResult("0", None, "1", [Graded(1.0, None, 4, False)] * 32)])
    assert measure.pooled({"math500": result(1, 0), "amc": result(1)}).k == 1
    assert measure.pooled({"math500": result(1, 0), "aime24": many}).k is None


def test_a_directory_holds_one_task_and_older_ones_are_the_labs(folder: Path) -> None:
    recipe = RecipeTask(read_fields(Path("recipe.yaml")), ("held.jsonl",))
    settings = LabTask().settings() | {"learning_rates_searched": []}
    manifest = {"schema": 1, "kind": "sgpo-compare", "methods": [], "seeds": [], "cells": [], "settings": settings}
    for name, known in {"older": settings, "newer": {"task": "lab", **settings}}.items():
        Path(name).mkdir()
        (Path(name) / "manifest.json").write_text(json.dumps({**manifest, "settings": known}))
        with pytest.raises(ValueError, match='task: "lab" saved, "recipe" given'):
            run_comparison(ComparePlan(("sgpo",), task=recipe), Path(name))
        changed = LabTask(bases=(_model(folder / "other-model"),))
        with pytest.raises(ValueError, match=r"other settings \(bases: .*model"):
            run_comparison(ComparePlan(("sgpo",), task=changed), Path(name))


def _model(path: Path) -> Path:
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text("{}")
    return path


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--base model", "--base is for the lab, not a recipe"),
        ("--expert plain", "--expert is for the lab"),
        ("--benchmark mth500", "benchmark 'mth500' is neither a file nor one of math500"),
        ("--benchmark held.jsonl --backend endpoint", "cannot serve what a cell trains"),
        ("--benchmark held.jsonl --seeds 0", "at least 1"),
        ("--benchmark held.jsonl --set learning_rat=1", "did you mean learning_rate"),
        ("--benchmark held.jsonl --set learning_rate", "write FIELD=VALUE"),
        ("--benchmark held.jsonl --set generation_batch_size=24", "give steps_per_generation instead"),
        ("--benchmark held.jsonl --set reward_funcs=nothing", "cannot be loaded"),
        ("--benchmark held.jsonl --set reward_funcs=bare.py:bare", "'bare' has the parameters completions"),
        ("--benchmark held.jsonl --set report_to=wandbb", "report_to: wandbb is not supported"),
        ("--benchmark held.jsonl --set use_peft=true --set lora_target_modules=q_projj", "lora_target_modules is"),
        ("--benchmark held.jsonl --set dataset_name=bare.jsonl", "no column 'expert'"),
        ("--benchmark held.jsonl --set max_completion_length=2", "has 3 tokens with its EOS"),
        ("--benchmark held.jsonl --validation none.jsonl", "none.jsonl"),
        ("--benchmark held.jsonl --set beta=0.1", "beta is 0.1, but HPT has no KL"),
        ("--benchmark held.jsonl --set per_device_train_batch_size=80", "a generation batch takes 60"),
        ("--benchmark held.jsonl --launcher accelerato", "there is no command 'accelerato'"),
        ("--benchmark held.jsonl --launcher a'b", "cannot be read: No closing quotation"),
        ("--benchmark held.jsonl --set kl_clip={", "is no YAML value"),
        ("--benchmark held.jsonl sgpo:kl_clip=[", "is no value of kl_clip"),
        ("--benchmark held.jsonl --config torn.yaml", "torn.yaml is not valid YAML"),
        ("", "nothing to measure by"),
    ],
)
def test_a_comparison_that_cannot_work_ends_before_anything_runs(
    words: str, message: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("torn.yaml").write_text("model: [")
    Path("bare.py").write_text("def bare(completions):\n    return [0.0] * len(completions)\n")
    write("bare.jsonl", [{**row, "answer": "5"} for row in trainer_kit.make_problems(8)])
    options = ["--tune", "", "--out", "run", "--methods", "hpt", "sgpo", *words.split()]
    monkeypatch.setattr(sys, "argv", ["sgpo", "compare", "--config", "recipe.yaml", *options])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert message in capsys.readouterr().err
    assert not Path("run").exists()


def test_keys_reach_the_cells_and_no_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SGPO_TEST_KEY", raising=False)
    secret = {"env": {"SGPO_TEST_KEY": "k-123"}, "hub_token": "k-123", "push_to_hub": True}
    Path("recipe.yaml").write_text(yaml.safe_dump({**RECIPE, **secret}))
    task = RecipeTask(read_fields(Path("recipe.yaml")), ("held.jsonl",))
    assert os.environ.pop("SGPO_TEST_KEY") == "k-123"
    written = [task.settings(), task.cell("sgpo", 0, 0, {}).fields, task.cell("base", 0, 0, {}).fields]
    assert not any(word in json.dumps(written) for word in ("k-123", "push_to_hub"))


def test_another_validation_file_is_another_comparison(folder: Path) -> None:
    found = []
    for answer in ("1", "2"):
        write("valid.jsonl", [{"problem": "solve 1", "answer": answer}])
        task = RecipeTask(read_fields(Path("recipe.yaml")), ("held.jsonl",), validation="valid.jsonl")
        found.append(task.settings()["validation"])
    assert found[0] != found[1]


@pytest.mark.parametrize("edited", ["reward.py", "model/model.safetensors", "template.txt"])
def test_a_file_that_was_edited_under_its_name_is_another_comparison(edited: str, folder: Path) -> None:
    Path("reward.py").write_text("def right(completions, **columns): return [1.0] * len(completions)\n")
    Path("template.txt").write_text("{problem} First.")
    Path("model/model.safetensors").write_bytes(b"weights")
    fields = {**RECIPE, "reward_funcs": ["reward.py:right", "accuracy"]}

    def plan() -> ComparePlan:
        return ComparePlan(("base",), task=RecipeTask(fields, ("held.jsonl",), {"template": "template.txt"}))

    out = folder / "run"
    out.mkdir()
    known = _manifest(plan(), out).to_json()
    (out / "manifest.json").write_text(json.dumps(known))
    assert _manifest(plan(), out).settings == known["settings"]
    Path(edited).write_bytes(Path(edited).read_bytes() + b"\n# edited")
    with pytest.raises(ValueError, match=r"other settings \(sources[.]"):
        _manifest(plan(), out)
    # Older versions did not save it, and nothing can be said of theirs.
    del known["settings"]["sources"]
    (out / "manifest.json").write_text(json.dumps(known))
    _manifest(plan(), out)


@pytest.mark.parametrize(
    "written",
    [
        {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "dtype": "bfloat16"},
        {"model_init_kwargs": {"quantization_config": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}}},
    ],
)
def test_the_base_of_a_qlora_recipe_is_measured_as_the_policies_begin(
    written: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sgpo.compare import recipe_cell

    (folder / "model").mkdir(exist_ok=True)
    task = RecipeTask({**RECIPE, "use_peft": True, **written}, ("held.jsonl",))
    assert "quantization" not in task.cell("sgpo", 0, 0, {}).evaluation  # its adapter says it
    assert "quantization" not in RecipeTask(RECIPE, ("held.jsonl",)).cell("base", 0, 0, {}).evaluation
    cell, out = task.cell("base", 0, 0, {}), folder / "cell"
    out.mkdir()
    (out / "cell.json").write_text(json.dumps({**dataclasses.asdict(cell), "name": cell.name}))
    (out / "recipe.yaml").write_text(yaml.safe_dump({**cell.fields, "output_dir": str(out)}))
    opened = []

    def measured(model: str, measurements: Any, given: dict[str, Any], *rest: Any) -> CellResult:
        opened.append(from_flat(EvalOptions, given).access.quantization)
        return CellResult(accuracy=0.5)

    monkeypatch.setattr("sgpo.compare.measure.measure_model", measured)
    recipe_cell._run(out)
    ((quantized,),) = [opened]
    assert (quantized["load_in_4bit"], quantized["bnb_4bit_quant_type"]) == (True, "nf4")


def test_an_adapter_is_merged_only_where_vllm_could_not_serve_it(tmp_path: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    trainer_kit.make_model().save_pretrained(tmp_path / "base")
    trainer_kit.make_tokenizer().save_pretrained(tmp_path / "model")
    config = LoraConfig(target_modules=["q_proj"], modules_to_save=["norm"], init_lora_weights=False)
    adapted = get_peft_model(trainer_kit.make_model(), config)
    adapted.peft_config["default"].base_model_name_or_path = "elsewhere"  # as another revision would be
    adapted.save_pretrained(tmp_path / "model")
    base, folder = str(tmp_path / "base"), tmp_path / "merged"
    assert measure.servable(tmp_path / "base", base, "main", folder, "vllm") == tmp_path / "base"
    assert measure.servable(tmp_path / "model", base, "main", folder, "transformers") == tmp_path / "model"
    merged = measure.servable(tmp_path / "model", base, "main", folder, "vllm")
    assert merged == folder
    whole = AutoModelForCausalLM.from_pretrained(merged)
    ids = torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        torch.testing.assert_close(whole(ids).logits, adapted.eval()(ids).logits)


def chat(folder: Path, template: str, **recipe: Any) -> RecipeTask:
    """The task of a recipe whose prompts are messages, for a model with this chat template."""
    tokenizer = trainer_kit.make_tokenizer()
    tokenizer.chat_template = template
    tokenizer.save_pretrained("model")
    rows = [
        {**row, "answer": "5", "expert": "<think> 1 2 </think> a 5"} for row in trainer_kit.make_problems(8, chat=True)
    ]
    write("train.jsonl", rows)
    return RecipeTask({**RECIPE, "max_completion_length": 60, **recipe}, ("held.jsonl",))


def test_every_method_is_trained_and_measured_with_the_recipes_variables_of_the_chat_template(folder: Path) -> None:
    variables = {"enable_thinking": False}
    task = chat(folder, trainer_kit.CHAT, chat_template_kwargs=variables)
    for method in ("base", "sft", "sgpo"):
        cell = task.cell(method, 0, 0, {})
        assert from_flat(EvalOptions, cell.evaluation).access.chat_template_kwargs == variables
        assert method == "base" or parse_fields(cell.fields, method)[1].chat_template_kwargs == variables
    assert "chat_template_kwargs" not in chat(folder, trainer_kit.CHAT).cell("sgpo", 0, 0, {}).evaluation


def test_options_of_a_recipe_need_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["sgpo", "compare", "sgpo", "--max-new-tokens", "8"])
    with pytest.raises(SystemExit):
        main()
    assert "--max-new-tokens is for a comparison on a recipe (--config)" in capsys.readouterr().err


def test_tables_of_a_recipe_show_what_was_measured() -> None:
    families = {"aime": FamilyScores(accuracy=0.5)}
    seeds = (CellResult(accuracy=0.5),)
    method = MethodResult(name="sgpo", accuracy=0.5, scores={"end": SeedMean(0.5)}, per_family=families, seeds=seeds)
    benchmarks = [{"name": "aime", "k": 32, "temperature": 0.6}]
    text = as_text(
        ComparisonResults(
            schema=1, machine="a machine", settings={"benchmarks": benchmarks}, methods={"sgpo": method}, failed={}
        )
    )
    assert "aime (k=32, temperature 0.6)" in text
    assert "greedy" not in text
    assert "ever solved" not in text
