"""One cell of a comparison on disk: done once, kept, marked when it fails.

A cell directory holds ``cell.json`` (what was run), ``metrics.jsonl``, ``samples.jsonl``, ``model/``, and in the end
``result.json``, or ``error.txt`` if the run failed. ``result.json`` appears whole or not at all, so a comparison that
was killed goes on where it was.
"""

import dataclasses
import json
import os
import time
import traceback
from pathlib import Path
from typing import Any

from sgpo.lab.experiment import Cell, Report, load, run_cell
from sgpo.lab.measure import measure, summary
from sgpo.trainer.methods import find_method


def run_once(cell: Cell, base: Path, start: Path, out: Path, report: Report) -> dict[str, Any]:
    """The result of ``cell``, from ``out`` if it is there. A failure becomes ``{"error": text}`` and ``error.txt``.

    Raises:
        ValueError: ``out`` holds another cell.
    """
    described = {**dataclasses.asdict(cell), "name": cell.name}
    known = out / "cell.json"
    if known.exists() and json.loads(known.read_text()) != json.loads(json.dumps(described)):
        raise ValueError(f"{out} holds a cell with other settings; choose another --out, or delete it.")
    if (out / "result.json").exists():
        return json.loads((out / "result.json").read_text())
    out.mkdir(parents=True, exist_ok=True)
    write_json(known, described)
    (out / "error.txt").unlink(missing_ok=True)
    began = time.perf_counter()
    try:
        if find_method(cell.method).kind is None:
            result = _untrained(cell, base, report)
        else:
            result = run_cell(cell, start, out, report)
    except Exception as error:
        (out / "error.txt").write_text(traceback.format_exc())
        return {"error": f"{type(error).__name__}: {error}", "seed": cell.seed, "base_seed": cell.base_seed}
    result["seconds"] = round(time.perf_counter() - began, 1)
    write_json(out / "result.json", result)
    return result


def _untrained(cell: Cell, base: Path, report: Report) -> dict[str, Any]:
    """The base as it is, without a strategy, and how well it does with one."""
    model, tokenizer = load(base)
    budget = cell.budget
    result = measure(model, tokenizer, k=budget.eval_k, split=budget.split)
    report(cell.name, 0.5, {"accuracy": result.accuracy})
    guided = measure(model, tokenizer, k=budget.eval_k, split=budget.split, guided=True)
    greedy = measure(model, tokenizer, k=1, split=budget.split, temperature=0.0)
    return {
        **summary(result),
        "method": cell.method,
        "seed": cell.seed,
        "base_seed": cell.base_seed,
        "accuracy_greedy": greedy.accuracy,
        "accuracy_guided": guided.accuracy,
        "accuracy_over_training": result.accuracy,
        "curve": [],
        "sampled_tokens": 0,
        "guided_tokens": 0,
        "trained_tokens": 0,
        "train_seconds": 0.0,
    }


def write_json(path: Path, value: Any) -> None:
    """Whole or not at all."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(value, indent=1) + "\n")
    os.replace(part, path)
