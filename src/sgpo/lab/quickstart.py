"""``sgpo quickstart``: SFT+GRPO against SGPO on the lab, from one warm start, through the trainer that users get."""

import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from sgpo.lab.experiment import Budget, Cell, run_cell, warm_start
from sgpo.lab.measure import measure, summary
from sgpo.lab.model import base_path, load_base
from sgpo.runs.files import locked, write_json
from sgpo.runs.jobs import Job, ReportProgress, cores, run_jobs
from sgpo.runs.provenance import record

SCHEMA = 1
LABELS = {
    "base": "base",
    "base_guided": "base, strategy in its prompt",
    "sft_grpo": "SFT+GRPO",
    "sgpo": "SGPO",
}


def run(out: Path, *, seed: int = 0, jobs: int = 0, budget: Budget | None = None) -> dict[str, Any]:
    """Run the quickstart, print its table and write results.json, metrics, a plot and the models into ``out``.

    Args:
        out: directory; what an earlier quickstart left there is overwritten.
        seed: of the training runs.
        jobs: processes side by side; 0 for one per core, at most 2.
        budget: what each method gets; the lab's default if None.

    Returns:
        What results.json holds.

    Raises:
        ValueError: ``jobs`` is negative, or a quickstart is running in ``out``.
    """
    if jobs < 0:
        raise ValueError(f"jobs is {jobs}, but must be 0 (one per core, at most 2) or more.")
    out.mkdir(parents=True, exist_ok=True)
    with locked(out, "sgpo quickstart", remedy="wait for it, or give another --out"):
        return _run(out, seed, jobs, budget or Budget())


def _run(out: Path, seed: int, jobs: int, budget: Budget) -> dict[str, Any]:
    console = Console()
    began = time.perf_counter()
    console.print("Warm start: a few SFT steps on the expert's responses ...")
    start = warm_start(base_path(0), budget, out / "warm_start")
    record(out, {"seed": seed, "budget": budget})
    cells = [Cell(method, seed=seed, budget=budget) for method in ("sgpo", "sft_grpo")]
    work = [Job(cell.method, run_cell, (cell, start, out / cell.method)) for cell in cells]
    work.append(Job("base", _measure_base, (budget.eval_k,)))
    done = run_jobs(work, jobs or min(2, cores()))
    methods = {**done.pop("base"), "sft_grpo": done["sft_grpo"], "sgpo": done["sgpo"]}
    results = {"schema": SCHEMA, "seed": seed, "methods": methods}
    write_json(out / "results.json", results, indent=2)
    _plot(out, console)
    console.print(table(methods))
    console.print(f"{out / 'results.json'} written; {time.perf_counter() - began:.0f} seconds in all.")
    return results


def table(methods: dict[str, dict[str, Any]]) -> Table:
    """The methods as columns: held-out accuracy in %, overall with its 95% interval and per family, and the cost."""
    grid = Table(title="Held-out accuracy without a strategy, % (temperature 0.6)", title_justify="left")
    grid.add_column("")
    for name in methods:
        grid.add_column(LABELS.get(name, name), justify="right")
    entries = list(methods.values())
    grid.add_row("all families", *(f"[bold]{100 * e['accuracy']:.1f}[/bold]" for e in entries))
    grid.add_row("95% interval", *("{:.1f} to {:.1f}".format(*(100 * x for x in e["accuracy_ci95"])) for e in entries))
    grid.add_section()
    for family in entries[0]["per_family"]:
        grid.add_row(family, *(f"{100 * e['per_family'][family]['accuracy']:.1f}" for e in entries))
    grid.add_section()
    grid.add_row("thousand tokens sampled", *(f"{e['sampled_tokens'] / 1000:.0f}" for e in entries))
    grid.add_row("seconds of training", *(f"{e['train_seconds']:.0f}" for e in entries))
    return grid


def _measure_base(k: int, report: ReportProgress) -> dict[str, dict[str, Any]]:
    model, tokenizer = load_base(0)
    entries = {}
    for i, (name, guided) in enumerate((("base", False), ("base_guided", True))):
        result = measure(model, tokenizer, k=k, guided=guided)
        entries[name] = {**summary(result), "sampled_tokens": 0, "train_seconds": 0.0}
        report(name, (i + 1) / 2, {"accuracy": result.accuracy})
    return entries


def _plot(out: Path, console: Console) -> None:
    try:
        from sgpo.report.curves import learning_curves
    except ImportError:
        console.print("No plot: matplotlib is not installed (pip install matplotlib).")
        return
    learning_curves({LABELS[m]: out / m / "metrics.jsonl" for m in ("sft_grpo", "sgpo")}, out / "learning_curves.png")
