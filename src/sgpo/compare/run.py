"""``sgpo compare``: plan the cells, run what is missing, write the results.

What is equal for all methods: the start, the problems of each step, the optimizer steps, the evaluation, and the
search for a learning rate (:mod:`sgpo.compare.search`). An ablation takes the rate of what it ablates.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sgpo.compare.cells import run_cells
from sgpo.compare.lab import LabTask
from sgpo.compare.results import summarise
from sgpo.compare.reuse import reuse
from sgpo.compare.search import Found, long_first, overrides_of, search, searched
from sgpo.compare.table import write_tables
from sgpo.compare.task import Cell, Task
from sgpo.runs.files import locked, read_object, write_json
from sgpo.runs.provenance import record
from sgpo.trainer.methods import find_method

SCHEMA = 1
KIND = "sgpo-compare"
_EQUAL = ("max_steps", "num_train_epochs", "seed", "data_seed", "output_dir")


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to compare. ``rates`` are the learning rates to search; none: ``task.learning_rate`` for all. ``balance``:
    search each method's own balance, too."""

    methods: tuple[str, ...]
    seeds: int = 5
    task: Task = dataclasses.field(default_factory=LabTask)
    rates: tuple[float, ...] = ()
    jobs: int = 0
    balance: bool = False

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


def compare(plan: Plan, out: Path, other: Path | None = None) -> dict[str, Any]:
    """Run ``plan`` into ``out``, or go on with it, and return what ``results.json`` holds.

    Methods and seeds may be added to a directory; its task and learning rates may not change. From the comparison in
    ``other``, with another expert, what sees none is taken over (:func:`sgpo.compare.reuse.reuse`).

    Raises:
        ValueError: ``out`` holds something else, or a comparison with other settings, or one that is running.
    """
    _manifest(plan, out)  # a directory that holds something else stays as it is
    out.mkdir(parents=True, exist_ok=True)
    with locked(out, "sgpo compare", remedy="wait for it, or give another --out"):
        return _compare(plan, out, other)


def _compare(plan: Plan, out: Path, other: Path | None) -> dict[str, Any]:
    manifest = _manifest(plan, out)
    write_json(out / "manifest.json", manifest)
    if other is not None:
        reuse(other, out, read_object(out / "manifest.json")["settings"])
    record(out, {**manifest["settings"], "methods": manifest["methods"], "seeds": manifest["seeds"]})
    (out / "results.json").unlink(missing_ok=True)  # until this run is through
    plan.task.prepare(out)
    rates = search(plan, out)
    cells = _cells(plan, rates)
    write_json(out / "manifest.json", {**manifest, "cells": sorted({*manifest["cells"], *(c.name for c in cells)})})
    done = run_cells([(cell, out / "cells" / cell.name) for cell in cells], plan.task, plan.processes, out)
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
    if plan.balance:
        settings["balance_searched"] = True
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


def _cells(plan: Plan, rates: dict[str, Found]) -> list[Cell]:
    """Seeds alternate between the starts. Seeds come first, so that early results say something of every method."""
    return [
        plan.task.cell(
            method,
            seed,
            seed % plan.task.starts,
            overrides_of(method, rates),
        )
        for seed in range(plan.seeds)
        for method in long_first(plan.methods)
    ]


def _earlier(methods: Sequence[str], plan: Plan, out: Path, rates: dict[str, Found]) -> dict[str, list[dict[str, Any]]]:
    """Results of methods that ``plan`` does not name but an earlier run finished, for the same seeds."""
    found = {}
    for method in methods:
        cells = _cells(dataclasses.replace(plan, methods=(method,)), {})
        paths = [out / "cells" / cell.name for cell in cells]
        if method in plan.methods or not all((path / "result.json").exists() for path in paths):
            continue
        found[method] = [read_object(path / "result.json") for path in paths]
        used = read_object(paths[0] / "cell.json")["overrides"]
        known = searched(out).get(find_method(method).tuned_as or method, {})
        rates[method] = known if known.get("learning_rate") == used.get("learning_rate") else used
    return found
