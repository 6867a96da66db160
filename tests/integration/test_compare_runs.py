"""A small comparison and a small quickstart, end to end, in processes of their own as users run them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from sgpo.commands.lab import plot
from sgpo.compare.lab import LabTask
from sgpo.compare.run import ComparePlan, run_comparison
from sgpo.lab import quickstart
from sgpo.lab.experiment import RunBudget
from sgpo.lab.measure import by_axis
from sgpo.lab.problems import load_problems

TINY = RunBudget(problems=2, generations=2, eval_every=2, eval_k=1, split="validation")
METHODS = ("base", "sft", "hpt", "sgpo", "sgpo:max_completion_length=9999")


def test_a_comparison_resumes_marks_what_crashed_and_grows(tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = run_comparison(ComparePlan(METHODS, seeds=1, task=LabTask(TINY), jobs=1), out)
    assert list(first.methods) == list(METHODS[:-1])
    ((cell, error),) = first.failed.items()
    assert cell == f"{METHODS[-1]}, seed 0"
    assert "max_completion_length is 9999, but the model's context ends at" in error
    assert json.loads((out / "results.json").read_text()) == json.loads(json.dumps(first.to_json()))
    for name in METHODS[1:-1]:
        entry = first.methods[name]
        assert len(entry.seeds[0].curve or ()) == 2
        assert (entry.trained_tokens or 0) > 0
        assert (entry.sampled_tokens == 0) == (name == "sft")
    assert (out / "cells" / "sgpo-base0-seed0" / "samples.jsonl").read_text().count("\n") == 4 * len(
        by_axis(load_problems(TINY.split))
    )

    # As after a kill: the results and one cell's result are gone, another cell was half done.
    (out / "results.json").unlink()
    cells = out / "cells"
    (cells / "hpt-base0-seed0" / "result.json").unlink()
    kept = {path: path.stat().st_mtime_ns for path in cells.glob("*/result.json")}
    again = run_comparison(ComparePlan((*METHODS[:-1], "sgpo:teacher=ema"), seeds=1, task=LabTask(TINY), jobs=2), out)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    timeless = {name: replace(each, train_seconds=0, seeds=()) for name, each in first.methods.items()}
    assert {n: replace(e, train_seconds=0, seeds=()) for n, e in again.methods.items() if n in timeless} == timeless
    assert "sgpo:teacher=ema" in again.methods


def test_quickstart_writes_what_it_promises(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    results = quickstart.run_quickstart(tmp_path, seed=3, jobs=1, budget=TINY)
    assert json.loads((tmp_path / "results.json").read_text()) == json.loads(json.dumps(results))
    assert (results["schema"], results["seed"]) == (1, 3)
    assert list(results["methods"]) == ["base", "base_guided", "sft", "sft_grpo", "sgpo"]
    for entry in results["methods"].values():
        low, high = entry["accuracy_ci95"]
        assert 0 <= low <= entry["accuracy"] <= high <= 1
        assert {"n_problems", "k", "per_family", "sampled_tokens", "train_seconds"} <= entry.keys()
    assert results["methods"]["base_guided"]["accuracy"] > results["methods"]["base"]["accuracy"] + 0.5
    assert results["methods"]["sgpo"]["sampled_tokens"] > results["methods"]["sft_grpo"]["sampled_tokens"]
    plot(tmp_path)
    assert (tmp_path / "learning_curves.png").read_bytes()[:4] == b"\x89PNG"
    steps = [json.loads(line)["step"] for line in (tmp_path / "sgpo" / "metrics.jsonl").read_text().splitlines()]
    assert max(steps) == TINY.generations * TINY.updates
    AutoModelForCausalLM.from_pretrained(tmp_path / "sgpo" / "model")
    assert "new compositions" in capsys.readouterr().out
