"""`sgpo compare --config`: a tiny model and a handful of problems, each cell in a process of its own."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import trainer_kit
import yaml

import sgpo
from sgpo.cli import main
from sgpo.compare import recipe_cell
from sgpo.compare.recipe import RecipeTask
from sgpo.report.load import load_run
from sgpo.runs.jobs import ProcessJob

METHODS = ("base", "sft", "sft_grpo", "luffy", "hpt", "sgpo", "sgpo:teacher=ema")
RECIPE: dict[str, Any] = {
    "model_name_or_path": "model",
    "dataset_name": "train.jsonl",
    "reward_funcs": ["trainer_kit:has_digit"],
    "dtype": "float32",
    "guided_prompt_template": trainer_kit.TEMPLATE,
    "max_completion_length": 6,
    "num_generations": 2,
    "num_guided_generations": 2,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 2,
    "max_steps": 2,
    "learning_rate": 1e-3,
    "activation_checkpointing": False,
    "use_cpu": True,
    "bf16": False,
    "save_steps": 1,
    "report_to": "none",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Model, data, benchmark and recipe, in the working directory."""
    monkeypatch.chdir(tmp_path)
    kit = str(Path(trainer_kit.__file__).parent)
    monkeypatch.setenv("PYTHONPATH", kit, prepend=os.pathsep)
    trainer_kit.make_model().save_pretrained("model")
    trainer_kit.make_tokenizer().save_pretrained("model")
    rows = [{**row, "answer": "5", "expert": " a 5"} for row in trainer_kit.make_problems(6)]
    write("train.jsonl", rows)
    write("held.jsonl", [{"problem": f"solve {i}", "answer": str(i), "family": "ab"[i % 2]} for i in range(4)])
    Path("recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    return tmp_path


def write(name: str, rows: list[dict[str, Any]]) -> None:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def compare(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Exit code of the command."""
    options = "--benchmark held.jsonl --k 2 --temperature 1 --max-new-tokens 4 --template raw --seeds 1 --out run"
    monkeypatch.setattr(sys, "argv", ["sgpo", "compare", "--config", "recipe.yaml", *options.split(), *words])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells in this process, which has torch loaded."""

    def run_jobs(jobs: Sequence[ProcessJob], processes: int) -> dict[str, Any]:
        return {job.name: job.function(*job.args, lambda *told: None) for job in jobs}

    def process(command: Sequence[str], *rest: Any) -> None:
        recipe_cell.main(Path(command[-1]))

    monkeypatch.setattr("sgpo.compare.cells.run_jobs", run_jobs)
    monkeypatch.setattr("sgpo.compare.launch.run_process", process)


def results() -> dict[str, Any]:
    return json.loads(Path("run/results.json").read_text())


def timeless(found: dict[str, Any]) -> dict[str, Any]:
    drop = ("train_seconds", "seconds", "seeds")
    entries = {name: [entry, *entry["seeds"]] for name, entry in found["methods"].items()}
    return {name: [{k: v for k, v in one.items() if k not in drop} for one in each] for name, each in entries.items()}


@pytest.mark.usefixtures("folder")
def test_it_says_that_the_models_would_be_measured_with_other_prompts_than_they_are_trained_with(
    recwarn: pytest.WarningsRecorder,
) -> None:
    def said(prompt: Any, **evaluation: Any) -> list[str]:
        write("train.jsonl", [{"prompt": prompt, "answer": "5", "strategy": "Add."}] * 6)
        recwarn.clear()
        RecipeTask(RECIPE, ("held.jsonl",), evaluation).check(["sft_grpo"])
        return [str(w.message) for w in recwarn if "are measured with the template" in str(w.message)]

    boxed = "solve 1\n\nPlease reason step by step, and put your final answer within \\boxed{}."
    assert not said([{"role": "user", "content": boxed}])
    assert "Give --template plain (docs" in said(boxed)[0]
    assert "Give --template raw (docs" in said("solve 1")[0]
    assert "Give --template FILE, with a template that makes them" in said([{"role": "user", "content": "solve 1"}])[0]
    assert not said("solve 1", template="raw")


@pytest.mark.usefixtures("folder", "inside")
def test_every_method_runs_and_what_was_interrupted_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("--tune", "", "--methods", *METHODS)
    assert compare(monkeypatch, *words) == 0
    first = results()
    assert list(first["methods"]) == list(METHODS)
    assert first["settings"]["task"] == "recipe"
    for name, entry in first["methods"].items():
        assert set(entry["per_family"]) == {"a", "b"}
        assert (entry["n_problems"], entry["k"]) == (4, 2)
        assert (entry["trained_tokens"] > 0) == (name != "base")
        assert (entry["sampled_tokens"] > 0) == (name not in ("base", "sft"))
        assert (entry["guided_tokens"] > 0) == name.startswith("sgpo")
        assert set(entry["scores"]) == {"end"}
    cells = Path("run/cells")
    assert not list(cells.glob("*/checkpoint-*")), "checkpoints serve the cell alone"
    measured = [json.loads(path.read_text()) for path in cells.glob("*/eval/*/settings.json")]
    assert {each["backend"]["revision"] for each in measured} == {None}  # eval diff compares base and trained model
    steps = [[json.loads(line)["step"] for line in path.open()] for path in cells.glob("*/metrics.jsonl")]
    assert [sorted(set(each)) for each in steps] == [[1, 2]] * (len(METHODS) - 1)
    shown = load_run(Path("run"))
    assert shown.finished
    assert {cell.state for cell in shown.cells} == {"done"}

    # As after a kill: between two files of a cell, in the evaluation of another, in the training of the third.
    (cells / "luffy-base0-seed0" / "result.json").unlink()
    for name in ("result.json", "measured.json"):
        (cells / "hpt-base0-seed0" / name).unlink()
    shutil.rmtree(cells / "sgpo-base0-seed0")
    kept = {path: path.stat().st_mtime_ns for path in cells.glob("*/result.json")}
    with monkeypatch.context() as broken:
        broken.setattr(recipe_cell._CellRecorder, "on_step_begin", _stop_at(1), raising=False)
        assert compare(broken, *words) == 1
    failed = results()["failed"]
    assert failed == {"sgpo, seed 0": "RuntimeError: stopped"}
    assert "stopped" in (cells / "sgpo-base0-seed0" / "error.txt").read_text()
    assert (cells / "sgpo-base0-seed0" / "checkpoint-1").is_dir()
    assert compare(monkeypatch, *words) == 0
    assert timeless(results()) == timeless(first)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    again = [json.loads(line)["step"] for line in (cells / "sgpo-base0-seed0" / "metrics.jsonl").open()]
    assert again == [1, 2, 2]  # the last is the trainer's summary


def _stop_at(step: int) -> Callable[..., None]:
    def stop(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == step:
            raise RuntimeError("stopped")

    return stop


@pytest.mark.usefixtures("folder", "inside")
def test_a_rate_is_searched_for_on_held_out_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    problems = enumerate(trainer_kit.make_problems(60))
    write("train.jsonl", [{**row, "id": i, "answer": "5", "expert": " a 5"} for i, row in problems])
    assert compare(monkeypatch, "--tune", "1e-3 5e-1", "--methods", "sft", "no_clip", "--set", "max_steps=1") == 0
    found = results()
    data, held = found["settings"]["data"], Path("run/held_out.jsonl").read_text().splitlines()
    assert data["held_out"] == len(held) > 0
    assert data["problems"] == 60 - len(held)
    for entry in found["methods"].values():
        assert set(entry["search"]) == {"0.001", "0.5"}
        assert entry["learning_rate"] in (0.001, 0.5)
    tried = sorted(path.parent.name for path in Path("run/tuning").glob("*/result.json"))
    assert tried == [f"{name}-base0-seed1000-lr{rate}" for name in ("sft", "sgpo") for rate in ("0.001", "0.5")]
    asked = Path("run/tuning", tried[0], "eval", "held_out", "prompts.jsonl").read_text().splitlines()
    assert {json.loads(line)["prompt"] for line in asked} == {json.loads(line)["prompt"] for line in held}
    assert not list(Path("run/tuning").glob("*/model")), "a model of the search serves the search alone"


def test_cells_in_processes_and_one_that_crashes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crash = "sft:optim_args=fast"
    launcher = f"{sys.executable} -B"
    assert compare(monkeypatch, "--tune", "", "--launcher", launcher, "--methods", "sft", crash) == 1
    found = results()
    assert list(found["methods"]) == ["sft"]
    ((cell, error),) = found["failed"].items()
    assert cell == f"{crash}, seed 0"
    assert "not enough values to unpack" in error
    error_file = Path("run/cells/sft_optim_args_fast-base0-seed0/error.txt")
    assert "Traceback" in error_file.read_text()
    assert Path("run/cells/sft-base0-seed0/log.txt").exists()


@pytest.mark.usefixtures("folder", "inside")
def test_an_adapter_has_the_figures_of_sgpo_eval(monkeypatch: pytest.MonkeyPatch) -> None:
    """In bfloat16, where merged weights would be rounded."""
    trainer_kit.make_model().bfloat16().save_pretrained("model")
    lora = {"use_peft": True, "lora_r": 2, "lora_target_modules": ["q_proj"], "learning_rate": 1.0, "dtype": "bfloat16"}
    Path("recipe.yaml").write_text(yaml.safe_dump({**RECIPE, **lora}))
    assert compare(monkeypatch, "--tune", "", "--methods", "sft") == 0
    (cell,) = Path("run/cells").glob("sft*")
    found = sgpo.evaluate(
        cell / "model",
        data="held.jsonl",
        out="alone",
        k=2,
        temperature=1.0,
        max_new_tokens=4,
        template="raw",
        dtype="bfloat16",
        device="cpu",
    )
    assert found is not None
    folders = (cell / "eval" / "held", Path("alone"))
    assert len({(folder / "responses.jsonl").read_text() for folder in folders}) == 1
    backends = [json.loads((folder / "settings.json").read_text())["backend"] for folder in folders]
    assert backends[0]["base_weights"] == backends[1]["base_weights"] is not None
