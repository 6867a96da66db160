"""``sgpo compare``: plan the cells, run what is missing, write the results.

What is equal for all methods: the start, the problems of each step, the optimizer steps, the evaluation. Each
method with a training of its own gets the same search for a learning rate: one run a rate from each start, on the
validation split and with a seed that no final cell has. An ablation takes the rate of what it ablates.
"""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sgpo.compare.cells import run_once
from sgpo.compare.lab import LabTask
from sgpo.compare.results import summarise
from sgpo.compare.table import write_tables
from sgpo.compare.task import Cell, Task
from sgpo.runs.files import locked, read_object, write_json
from sgpo.runs.jobs import Job, run_jobs
from sgpo.runs.provenance import record
from sgpo.trainer.methods import find_method

SCHEMA = 1
KIND = "sgpo-compare"
TUNING_SEED = 1000
_EQUAL = ("max_steps", "num_train_epochs", "seed", "data_seed", "output_dir")


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to compare. ``rates`` are the learning rates to search; none: ``task.learning_rate`` for all."""

    methods: tuple[str, ...]
    seeds: int = 5
    task: Task = dataclasses.field(default_factory=LabTask)
    rates: tuple[float, ...] = ()
    jobs: int = 0

    def __post_init__(self) -> None:
        if not self.methods:
            raise ValueError("There is no method to compare; name at least one.")
        for method in self.methods:
            if named := [field for field in _EQUAL if field in find_method(method).fields]:
                raise ValueError(
                    f"{method!r} sets {named[0]}, which is the same for all methods of a comparison. For its length "
                    "give --generations on the lab and --set max_steps=N with a recipe; --seeds counts the seeds."
                )
        if len(set(self.methods)) < len(self.methods):
            raise ValueError(f"A method is named twice: {', '.join(self.methods)}.")
        if self.seeds < 1:
            raise ValueError(f"seeds is {self.seeds}, but must be at least 1 (2 for an interval).")
        if self.jobs < 0:
            raise ValueError(f"jobs is {self.jobs}, but must be 0 (the default) or more.")
        if bad := [rate for rate in self.rates if not 0 < rate < 1]:
            raise ValueError(f"learning rate {bad[0]} is not within (0, 1).")
        self.task.check(self.methods)

    @property
    def processes(self) -> int:
        """Cells side by side."""
        return self.jobs or self.task.processes


def compare(plan: Plan, out: Path) -> dict[str, Any]:
    """Run ``plan`` into ``out``, or go on with it, and return what ``results.json`` holds.

    Methods and seeds may be added to a directory; its task and learning rates may not change.

    Raises:
        ValueError: ``out`` holds something else, or a comparison with other settings, or one that is running.
    """
    _manifest(plan, out)  # a directory that holds something else stays as it is
    out.mkdir(parents=True, exist_ok=True)
    with locked(out, "sgpo compare", remedy="wait for it, or give another --out"):
        return _compare(plan, out)


def _compare(plan: Plan, out: Path) -> dict[str, Any]:
    manifest = _manifest(plan, out)
    write_json(out / "manifest.json", manifest)
    record(out, {**manifest["settings"], "methods": manifest["methods"], "seeds": manifest["seeds"]})
    (out / "results.json").unlink(missing_ok=True)  # until this run is through
    plan.task.prepare(out)
    rates = _search(plan, out)
    cells = _cells(plan, rates)
    write_json(out / "manifest.json", {**manifest, "cells": sorted({*manifest["cells"], *(c.name for c in cells)})})
    done = _run([(cell, out / "cells" / cell.name) for cell in cells], plan, out)
    entries = {method: [done[cell.name] for cell in cells if cell.method == method] for method in plan.methods}
    entries |= _earlier(manifest["methods"], plan, out, rates)
    results = {"schema": SCHEMA, "machine": manifest["machine"], "settings": manifest["settings"]}
    if expert := manifest["settings"].get("budget", {}).get("expert"):
        results["expert"] = expert  # the dial that a reader asks for first
    results["process_seconds"] = _seconds(out)
    results |= summarise(entries, rates, plan.task.never_solved)
    results["failed"] |= _failed_in_search(out)
    write_json(out / "results.json", results)
    write_tables(results, out)
    return results


def _failed_in_search(out: Path) -> dict[str, str]:
    """The runs of the search that failed when they were last tried, and why."""
    errors = {path.parent.name: path.read_text(errors="replace") for path in sorted(out.glob("tuning/*/error.txt"))}
    return {f"search, {name}": text.strip().rpartition("\n")[2] for name, text in errors.items()}


def _seconds(out: Path) -> int:
    """Seconds that all cells of a comparison took, one after another, those of the search included."""
    return round(sum(read_object(path).get("seconds", 0) for path in out.glob("*/*/result.json")))


def _manifest(plan: Plan, out: Path) -> dict[str, Any]:
    settings = {"task": plan.task.name, **plan.task.settings(), "learning_rates_searched": list(plan.rates)}
    manifest: dict[str, Any] = {
        "schema": SCHEMA,
        "kind": KIND,
        "methods": list(plan.methods),
        "seeds": list(range(plan.seeds)),
        "settings": settings,
        "machine": plan.task.machine(plan.processes),
        "cells": [],
    }
    path = out / "manifest.json"
    if not path.exists():
        if out.is_dir() and any(path.name != ".lock" for path in out.iterdir()):
            raise ValueError(f"{out} is not empty and holds no comparison; choose another --out.")
        return manifest
    known = read_object(path)
    if known.get("kind") != KIND or known.get("schema") != SCHEMA:
        raise ValueError(
            f"{path} is of kind {known.get('kind')!r}, schema {known.get('schema')!r}; expected {KIND!r}, {SCHEMA}. "
            "Choose another --out."
        )
    there, here = {"task": "lab", **known["settings"]}, json.loads(json.dumps(settings))  # older ones name no task
    if differ := [name for name in {**there, **here} if there.get(name) != here.get(name)]:
        listed = "; ".join(f"{name}: {there.get(name)} there, {here.get(name)} here" for name in differ)
        raise ValueError(f"{out} was made with other settings ({listed}). Choose another --out.")
    manifest["methods"] = [*known["methods"], *(m for m in plan.methods if m not in known["methods"])]
    manifest["seeds"] = list(range(max(plan.seeds, len(known["seeds"]))))
    manifest["cells"] = known["cells"]
    return manifest


def _search(plan: Plan, out: Path) -> dict[str, Any]:
    """Learning rate of each method, with the accuracies of its search: ``{method: {"learning_rate", "search"}}``.

    The best rate is that of the highest mean over the starts; a run that failed counts as 0. A method that
    names its own rate (``sft_grpo:learning_rate=1e-3``) is not searched for. A rate that was found without a
    failed run is kept in ``search.json``: finished cells have it.
    """
    trained = [m for m in map(find_method, plan.methods) if m.kind is not None and "learning_rate" not in m.fields]
    default = {"learning_rate": plan.task.learning_rate, "search": {}}
    if len(plan.rates) < 2:
        only = {"learning_rate": plan.rates[0], "search": {}} if plan.rates else default
        return {method.name: only for method in trained}
    kept = _searched(out)
    sources = _long_first({method.tuned_as or method.name for method in trained} - kept.keys())
    tries = [
        plan.task.cell(source, TUNING_SEED, start, {"learning_rate": rate}, tuning=True)
        for source in sources
        for start in range(plan.task.starts)
        for rate in plan.rates
    ]
    work = [(cell, out / "tuning" / f"{cell.name}-lr{cell.overrides['learning_rate']:g}") for cell in tries]
    done = _run(work, plan, out) if work else {}
    found: dict[str, Any] = {}
    for source in sources:
        scores: dict[float, list[float]] = {rate: [] for rate in plan.rates}
        for cell, path in work:
            if cell.method == source:
                scores[cell.overrides["learning_rate"]].append(done[path.name].get("accuracy", 0.0))
        best = max(scores, key=lambda rate: sum(scores[rate]))
        found[source] = {"learning_rate": best, "search": {f"{rate:g}": each for rate, each in scores.items()}}
    failed = {cell.method for cell, path in work if "accuracy" not in done[path.name]}
    write_json(out / "search.json", kept | {source: found[source] for source in found if source not in failed})
    found |= kept
    return {method.name: found[method.tuned_as or method.name] for method in trained}


def _searched(out: Path) -> dict[str, Any]:
    """What earlier searches in this directory found."""
    path = out / "search.json"
    return read_object(path) if path.exists() else {}


def _cells(plan: Plan, rates: dict[str, Any]) -> list[Cell]:
    """Seeds alternate between the starts. Seeds come first, so that early results say something of every method."""
    return [
        plan.task.cell(
            method,
            seed,
            seed % plan.task.starts,
            {"learning_rate": rates[method]["learning_rate"]} if method in rates else {},
        )
        for seed in range(plan.seeds)
        for method in _long_first(plan.methods)
    ]


def _long_first(methods: Iterable[str]) -> list[str]:
    """Those that sample before those that do not, so that no process waits long for the last run."""
    return sorted(methods, key=lambda name: (find_method(name).kind in (None, "sft"), name))


def _earlier(methods: Sequence[str], plan: Plan, out: Path, rates: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Results of methods that ``plan`` does not name but an earlier run finished, for the same seeds."""
    found = {}
    for method in methods:
        cells = _cells(dataclasses.replace(plan, methods=(method,)), {})
        paths = [out / "cells" / cell.name for cell in cells]
        if method in plan.methods or not all((path / "result.json").exists() for path in paths):
            continue
        found[method] = [read_object(path / "result.json") for path in paths]
        used = read_object(paths[0] / "cell.json")["overrides"]
        search = _searched(out).get(find_method(method).tuned_as or method, {})
        rates[method] = search if search.get("learning_rate") == used.get("learning_rate") else used
    return found


def _run(work: Sequence[tuple[Cell, Path]], plan: Plan, out: Path) -> dict[str, Any]:
    jobs = [Job(path.name, run_once, (plan.task, cell, out, path)) for cell, path in work]
    return run_jobs(jobs, plan.processes)
