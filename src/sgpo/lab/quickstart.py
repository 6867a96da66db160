"""``sgpo quickstart``: SFT, GRPO and SGPO on the lab from one base, through the trainers that users get.

It asks the question that the method is about: what was learned that carries over? So it measures on new instances of
what was trained, and on four axes of problems that ask for more. Its budget is a shorter one than that of
``sgpo compare``, and its problems are those of the validation split, so that nobody tunes on the others by accident.
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from sgpo.lab.experiment import Cell, RunBudget, run_cell
from sgpo.lab.measure import measure_all
from sgpo.lab.model import base_path, load_base
from sgpo.runs.entries import CellResult
from sgpo.runs.files import JsonObject, locked, write_json
from sgpo.runs.jobs import ProcessJob, ReportProgress, cores, run_jobs
from sgpo.runs.methods import spoken_label
from sgpo.runs.processes import says_when_stopped
from sgpo.runs.provenance import record
from sgpo.runs.scores import ALL_AXES, NEW_AXES, with_means
from sgpo.runs.words import axis_name, in_thousands

SCHEMA = 1
COLUMNS = ("base", "base_guided", "sft", "sft_grpo", "sgpo")
# The longest first, so that two processes end together. Each has the rate that `sgpo compare`
# searched for it (docs/results/lab2/search.json).
TRAINED = {"sgpo": 1.6e-3, "sft_grpo": 8e-4, "sft": 8e-4}
GENERATIONS = 60
_WRITTEN = {".lock", "provenance.json", "results.json", "report.html", "plots", "learning_curves.png", *TRAINED}


def run_quickstart(out: Path, *, seed: int = 0, jobs: int = 0, budget: RunBudget | None = None) -> JsonObject:
    """Run the quickstart, print its table, and write results.json, metrics and models into ``out``.

    ``jobs`` processes run side by side; 0 is one per core, at most 2. What an earlier quickstart left is overwritten.
    Returns what results.json holds. Raises ValueError for negative ``jobs``, for an ``out`` with files of anything
    else, and where a quickstart is running there.
    """
    if jobs < 0:
        raise ValueError(f"jobs is {jobs}, but must be 0 (one per core, at most 2) or more.")
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file; give the path of a folder.")
    # The results of an evaluation have the same name, for one.
    if others := sorted(path.name for path in (out.iterdir() if out.is_dir() else ()) if path.name not in _WRITTEN):
        raise ValueError(f"{out} holds {others[0]}, which is not of a quickstart; give another --out.")
    out.mkdir(parents=True, exist_ok=True)
    remedy = "wait for it, or give another --out"
    with locked(out, "sgpo quickstart", remedy=remedy), says_when_stopped(lambda: "The same command starts anew."):
        return _run(out, seed, jobs, budget or RunBudget.lasting(GENERATIONS, split="validation"))


def _run(out: Path, seed: int, jobs: int, budget: RunBudget) -> JsonObject:
    console = Console()
    began = time.perf_counter()
    record(out, {"seed": seed, "budget": budget})
    (out / "results.json").unlink(missing_ok=True)  # of an earlier one, until this one is through
    cells = [Cell(name, seed=seed, budget=replace(budget, learning_rate=rate)) for name, rate in TRAINED.items()]
    work = [ProcessJob(spoken_label(cell.method), run_cell, (cell, base_path(0), out / cell.method)) for cell in cells]
    work.append(ProcessJob("base", _measure_base, (budget,)))
    jobs = jobs or min(2, cores())
    console.print(
        f"SFT, GRPO and SGPO are trained from one small model, {jobs} at a time, and measured on held-out problems.\n"
        "It takes 2 to 3 minutes on two idle cores. Follow the accuracy, from 0 to 1:",
        highlight=False,
    )
    done = run_jobs(work, jobs)
    # One job measures the base both ways: it is loaded once, and has no training to wait for.
    every = {**done.pop("base"), **{cell.method: done[spoken_label(cell.method)] for cell in cells}}
    methods = {name: every[name] for name in COLUMNS}
    entries = {name: one.to_json() for name, one in methods.items()}
    results = {"schema": SCHEMA, "seed": seed, "expert": budget.expert, "methods": entries}
    write_json(out / "results.json", results, indent=2)
    console.print(table(methods))
    console.print(f"{out / 'results.json'} written; {time.perf_counter() - began:.0f} seconds in all.")
    return results


def table(methods: Mapping[str, CellResult]) -> Table:
    """The methods as columns: accuracy without a strategy on each axis, in %, and the cost."""
    title = "Correct without a strategy in the prompt, % (temperature 0.6), on problems that training does not have"
    grid = Table(title=title, title_justify="left")
    grid.add_column("")
    for name in methods:
        grid.add_column(spoken_label(name), justify="right")
    rates = [with_means({axis: one.accuracy for axis, one in each.axes.items()}) for each in methods.values()]
    for axis in rates[0]:
        if axis != ALL_AXES:
            mark = "[bold]{}[/bold]" if axis == NEW_AXES else "{}"
            grid.add_row(axis_name(axis), *(mark.format(f"{100 * rate[axis]:.1f}") for rate in rates))
    grid.add_section()
    grid.add_row("thousand tokens sampled", *(in_thousands(each.sampled_tokens) for each in methods.values()))
    grid.add_row("seconds of training", *(f"{each.train_seconds or 0:.0f}" for each in methods.values()))
    return grid


def _measure_base(budget: RunBudget, report: ReportProgress) -> dict[str, CellResult]:
    model, tokenizer = load_base(0)
    entries = {}
    for i, (name, guided) in enumerate((("base", False), ("base_guided", True))):
        measured = measure_all(model, tokenizer, k=budget.eval_k, split=budget.split, guided=guided)
        # What the base did not cost is known, and is not missing.
        entries[name] = replace(measured, sampled_tokens=0, train_seconds=0.0)
        report(name, (i + 1) / 2, {"accuracy": measured.accuracy})
    return entries
