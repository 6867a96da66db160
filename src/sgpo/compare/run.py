"""``sgpo compare``: plan the cells, run what is missing, write the results.

What is equal for all methods: the warm start, the problems of each step, the optimizer steps, the evaluation. Each
method with a training of its own gets the same search for a learning rate: one run a rate on each base, on the
validation split and with a seed that no final cell has. An ablation takes the rate of what it ablates.
"""

import dataclasses
import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sgpo.compare.cells import run_once, write_json
from sgpo.compare.results import summarise
from sgpo.compare.table import write_tables
from sgpo.lab.experiment import Budget, Cell, warm_start
from sgpo.lab.model import BASE_SEEDS, base_path
from sgpo.lab.parallel import Job, cores, run_jobs
from sgpo.trainer.methods import find_method

SCHEMA = 1
KIND = "sgpo-compare"
TUNING_SEED = 1000


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to compare. ``rates`` are the learning rates to search; none: ``budget.learning_rate`` for all.

    ``bases`` are folders of ``sgpo.lab.pretrain``, over which the seeds alternate; none: the shipped ones.
    """

    methods: tuple[str, ...]
    seeds: int = 5
    budget: Budget = dataclasses.field(default_factory=Budget)
    rates: tuple[float, ...] = ()
    jobs: int = 0
    bases: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        if not self.methods:
            raise ValueError("There is no method to compare; name at least one.")
        for method in self.methods:
            find_method(method)
        if len(set(self.methods)) < len(self.methods):
            raise ValueError(f"A method is named twice: {', '.join(self.methods)}.")
        if self.seeds < 1:
            raise ValueError(f"seeds is {self.seeds}, but must be at least 1 (2 for an interval).")
        if self.jobs < 0:
            raise ValueError(f"jobs is {self.jobs}, but must be 0 (one per core) or more.")
        if bad := [rate for rate in self.rates if not 0 < rate < 1]:
            raise ValueError(f"learning rate {bad[0]} is not within (0, 1).")
        if missing := [path for path in self.bases if not (path / "config.json").is_file()]:
            raise ValueError(f"{missing[0]} holds no model (no config.json); make one with sgpo.lab.pretrain --out.")
        object.__setattr__(self, "bases", self.bases or tuple(base_path(seed) for seed in BASE_SEEDS))

    @property
    def processes(self) -> int:
        """Cells side by side, one torch thread each."""
        return self.jobs or cores()


def compare(plan: Plan, out: Path) -> dict[str, Any]:
    """Run ``plan`` into ``out``, or go on with it, and return what ``results.json`` holds.

    Methods and seeds may be added to a directory; its budget and learning rates may not change.

    Raises:
        ValueError: ``out`` holds something else, or a comparison with another budget.
    """
    manifest = _manifest(plan, out)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "manifest.json", manifest)
    (out / "results.json").unlink(missing_ok=True)  # until this run is through
    for base, (folder, path) in enumerate(zip(plan.bases, _starts(plan, out), strict=True)):
        if not (path / "config.json").exists():
            warm_start(folder, plan.budget, path, seed=base)
    rates = _search(plan, out)
    cells = _cells(plan, rates)
    write_json(out / "manifest.json", {**manifest, "cells": sorted({*manifest["cells"], *(c.name for c in cells)})})
    done = _run([(cell, out / "cells" / cell.name) for cell in cells], plan, out)
    entries = {method: [done[cell.name] for cell in cells if cell.method == method] for method in plan.methods}
    entries |= _earlier(manifest["methods"], plan, out, rates)
    results = {"schema": SCHEMA, "machine": machine(plan.processes), "settings": manifest["settings"]}
    results["process_seconds"] = _seconds(out)
    results |= summarise(entries, rates)
    write_json(out / "results.json", results)
    write_tables(results, out)
    return results


def machine(processes: int) -> str:
    """The kind of machine, for the page that shows the figures."""
    return f"{platform.machine()}, {cores()} cores, no GPU, {processes} processes of one thread"


def _starts(plan: Plan, out: Path) -> list[Path]:
    """The warm start of each base."""
    return [out / f"warm-base{base}" for base in range(len(plan.bases))]


def _seconds(out: Path) -> int:
    """Of all cells of a comparison, those of the search included, one after another."""
    return round(sum(json.loads(path.read_text()).get("seconds", 0) for path in out.glob("*/*/result.json")))


def _manifest(plan: Plan, out: Path) -> dict[str, Any]:
    settings = {"budget": dataclasses.asdict(plan.budget), "learning_rates_searched": list(plan.rates)}
    settings["bases"] = [path.name for path in plan.bases]
    manifest: dict[str, Any] = {
        "schema": SCHEMA,
        "kind": KIND,
        "methods": list(plan.methods),
        "seeds": list(range(plan.seeds)),
        "settings": settings,
        "machine": machine(plan.processes),
        "cells": [],
    }
    path = out / "manifest.json"
    if not path.exists():
        if out.is_dir() and any(out.iterdir()):
            raise ValueError(f"{out} is not empty and holds no comparison; choose another --out.")
        return manifest
    known = json.loads(path.read_text())
    if known.get("kind") != KIND or known.get("schema") != SCHEMA:
        raise ValueError(
            f"{path} is of kind {known.get('kind')!r}, schema {known.get('schema')!r}; expected {KIND!r}, {SCHEMA}. "
            "Choose another --out."
        )
    if known["settings"] != json.loads(json.dumps(settings)):
        raise ValueError(f"{out} was made with other settings: {known['settings']}. Choose another --out.")
    manifest["methods"] = [*known["methods"], *(m for m in plan.methods if m not in known["methods"])]
    manifest["seeds"] = list(range(max(plan.seeds, len(known["seeds"]))))
    manifest["cells"] = known["cells"]
    return manifest


def _search(plan: Plan, out: Path) -> dict[str, Any]:
    """Learning rate of each method, with the accuracies of its search: ``{method: {"learning_rate", "search"}}``.

    The best rate is that of the highest mean over the bases; a run that failed counts as 0. A method that
    names its own rate (``sft_grpo:learning_rate=1e-3``) is not searched for.
    """
    trained = [m for m in map(find_method, plan.methods) if m.kind is not None and "learning_rate" not in m.fields]
    default = {"learning_rate": plan.budget.learning_rate, "search": {}}
    if len(plan.rates) < 2:
        only = {"learning_rate": plan.rates[0], "search": {}} if plan.rates else default
        return {method.name: only for method in trained}
    sources = sorted({method.tuned_as or method.name for method in trained})
    budget = dataclasses.replace(plan.budget, split="validation")
    tries = [
        Cell(source, TUNING_SEED, base, budget, {"learning_rate": rate})
        for base in range(len(plan.bases))
        for source in sources
        for rate in plan.rates
    ]
    work = [(cell, out / "tuning" / f"{cell.name}-lr{cell.overrides['learning_rate']:g}") for cell in tries]
    done = _run(work, plan, out)
    found: dict[str, Any] = {}
    for source in sources:
        scores: dict[float, list[float]] = {rate: [] for rate in plan.rates}
        for cell, path in work:
            if cell.method == source:
                scores[cell.overrides["learning_rate"]].append(done[path.name].get("accuracy", 0.0))
        best = max(scores, key=lambda rate: sum(scores[rate]))
        found[source] = {"learning_rate": best, "search": {f"{rate:g}": each for rate, each in scores.items()}}
    return {method.name: found[method.tuned_as or method.name] for method in trained}


def _cells(plan: Plan, rates: dict[str, Any]) -> list[Cell]:
    """Seeds alternate between the bases. Seeds come first, so that early results say something of every method."""
    return [
        Cell(
            method,
            seed,
            seed % len(plan.bases),
            plan.budget,
            {"learning_rate": rates[method]["learning_rate"]} if method in rates else {},
        )
        for seed in range(plan.seeds)
        for method in plan.methods
    ]


def _earlier(methods: Sequence[str], plan: Plan, out: Path, rates: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Results of methods that ``plan`` does not name but an earlier run finished, for the same seeds."""
    found = {}
    for method in methods:
        cells = _cells(dataclasses.replace(plan, methods=(method,)), {})
        paths = [out / "cells" / cell.name for cell in cells]
        if method in plan.methods or not all((path / "result.json").exists() for path in paths):
            continue
        found[method] = [json.loads((path / "result.json").read_text()) for path in paths]
        rates[method] = json.loads((paths[0] / "cell.json").read_text())["overrides"]
    return found


def _run(work: Sequence[tuple[Cell, Path]], plan: Plan, out: Path) -> dict[str, Any]:
    starts = _starts(plan, out)
    jobs = [
        Job(path.name, run_once, (cell, plan.bases[cell.base_seed], starts[cell.base_seed], path))
        for cell, path in work
    ]
    return run_jobs(jobs, plan.processes)
