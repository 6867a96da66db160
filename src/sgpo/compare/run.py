"""``sgpo compare``: plan the cells, run what is missing, write the results.

What is equal for all methods: the start, the problems of each step, the optimizer steps, the evaluation, and the
search for a learning rate (:mod:`sgpo.compare.search`). An ablation takes the rate of what it ablates.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

from sgpo.compare.cells import Outcome, read_result, run_cells
from sgpo.compare.lab import LabTask
from sgpo.compare.results import Cells, method_results
from sgpo.compare.reuse import reuse
from sgpo.compare.search import long_first, overrides_of, search, searched
from sgpo.compare.table import write_tables
from sgpo.compare.task import SOURCES, CellSpec, Task
from sgpo.runs.entries import ComparisonResults, FailedCell, Manifest, Searched
from sgpo.runs.files import locked, read_json_object, write_json
from sgpo.runs.processes import says_when_stopped
from sgpo.runs.provenance import record, several_versions
from sgpo.runs.settings import differences, in_a_sentence
from sgpo.trainer.methods import find_method

SCHEMA = 1
KIND = "sgpo-compare"
_VERSIONS = ("sgpo", "torch", "transformers", "trl", "vllm", "math-verify")  # what a figure may depend on
_EQUAL = ("max_steps", "num_train_epochs", "seed", "data_seed", "output_dir")


@dataclasses.dataclass(frozen=True)
class ComparePlan:
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
            # An override that the comparison sets itself would be lost, or make one method longer than the others.
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
        # Six digits of a rate are in the names of folders: two runs would share one, and count as runs from two bases.
        if len({f"{rate:g}" for rate in self.rates}) < len(self.rates):
            raise ValueError(f"A learning rate is named twice, to six digits: {', '.join(map(str, self.rates))}.")
        self.task.check(self.methods)

    @property
    def processes(self) -> int:
        """Cells side by side."""
        return self.jobs or self.task.processes


def run_comparison(plan: ComparePlan, out: Path, other: Path | None = None) -> ComparisonResults:
    """Run ``plan`` into ``out``, or go on with it, and return what ``results.json`` holds.

    Methods and seeds may be added to a directory; its task and learning rates may not change. From the comparison in
    ``other``, with another expert, what sees none is taken over (:func:`sgpo.compare.reuse.reuse`).

    Raises:
        ValueError: ``out`` holds something else, or a comparison with other settings, or one that is running.
    """
    _manifest(plan, out)  # a directory that holds something else stays as it is
    out.mkdir(parents=True, exist_ok=True)
    # Two at once would both run what is missing, and each overwrite the other's results.
    kept = "The runs that were finished are kept: the same command goes on with the others."
    remedy = "wait for it, or give another --out"
    with locked(out, "sgpo compare", remedy=remedy), says_when_stopped(lambda: kept):
        return _run_locked(plan, out, other)


def _run_locked(plan: ComparePlan, out: Path, other: Path | None) -> ComparisonResults:
    # Once more, now under the lock: another process may have begun in between.
    manifest = _manifest(plan, out)
    write_json(out / "manifest.json", manifest.to_json())
    if other is not None:
        reuse(other, out, manifest.settings)
    record(out, {**manifest.settings, "methods": manifest.methods, "seeds": manifest.seeds})
    (out / "results.json").unlink(missing_ok=True)  # until this run is through
    plan.task.prepare(out)
    # The search comes before any cell, since all seeds of a method run with what it finds.
    rates = search(plan, out)
    cells = _cells(plan, rates)
    manifest = dataclasses.replace(manifest, cells=tuple(sorted({*manifest.cells, *(cell.name for cell in cells)})))
    write_json(out / "manifest.json", manifest.to_json())
    done = run_cells([(cell, out / "cells" / cell.name) for cell in cells], plan.task, plan.processes, out)
    outcomes = _outcomes(plan, manifest, out, done, rates)
    failed = {f"{m}, seed {o.seed}": o.error for m, each in outcomes.items() for o in each if isinstance(o, FailedCell)}
    results = ComparisonResults(
        schema=SCHEMA,
        machine=manifest.machine,
        settings=manifest.settings,
        expert=manifest.settings.get("budget", {}).get("expert"),  # the dial that a reader asks for first
        # Of all cells, one after another, those of the search included.
        process_seconds=round(sum(read_json_object(path).get("seconds", 0) for path in out.glob("*/*/result.json"))),
        never_solved=plan.task.never_solved,
        methods=method_results(outcomes, rates, plan.task.never_solved),
        failed=failed | _failed_in_search(out),
        # A directory may grow for months, and a method of a later version be compared with one of an older.
        versions=several_versions((path.parent for path in sorted(out.glob("*/*/result.json"))), _VERSIONS),
    )
    write_json(out / "results.json", results.to_json())
    write_tables(results, out)
    return results


def _failed_in_search(out: Path) -> dict[str, str]:
    """The runs of the search that failed when they were last tried, and why."""
    # From the files: a start that names other methods does not run these again.
    errors = {path.parent.name: path.read_text(errors="replace") for path in sorted(out.glob("tuning/*/error.txt"))}
    return {f"search, {name}": text.strip().rpartition("\n")[2] for name, text in errors.items()}


def _manifest(plan: ComparePlan, out: Path) -> Manifest:
    """The manifest of ``plan``, with what an earlier run in ``out`` had beside it."""
    settings = {"task": plan.task.name, **plan.task.settings(), "learning_rates_searched": list(plan.rates)}
    if plan.balance:
        settings["balance_searched"] = True
    machine = plan.task.machine(plan.processes)
    path = out / "manifest.json"
    known = Manifest(schema=SCHEMA, kind=KIND)
    if path.exists():
        saved = read_json_object(path)
        if saved.get("kind") != KIND or saved.get("schema") != SCHEMA:
            raise ValueError(
                f"{path} is of kind {saved.get('kind')!r}, schema {saved.get('schema')!r}; expected {KIND!r}, "
                f"{SCHEMA}. Choose another --out."
            )
        known = Manifest.from_json(saved)
        there = {"task": "lab", **known.settings}  # older ones name no task
        there.setdefault(SOURCES, settings.get(SOURCES))
        if found := differences(there, settings):
            raise ValueError(f"{out} was made with other settings ({in_a_sentence(found)}). Choose another --out.")
    # A directory that sgpo did not make is never written into.
    elif out.is_dir() and any(path.name != ".lock" for path in out.iterdir()):
        raise ValueError(f"{out} is not empty and holds no comparison; choose another --out.")
    return dataclasses.replace(
        known,
        methods=tuple(dict.fromkeys([*known.methods, *plan.methods])),
        seeds=tuple(range(max(plan.seeds, len(known.seeds)))),
        settings=json.loads(json.dumps(settings)),  # as it would be read back
        machine=machine,
    )


def _cells(plan: ComparePlan, rates: Mapping[str, Searched]) -> list[CellSpec]:
    """Seeds come first, so that early results say something of every method."""
    methods, seeds = long_first(plan.methods), range(plan.seeds)
    return [_cell(plan.task, method, seed, overrides_of(method, rates)) for seed in seeds for method in methods]


def _cell(task: Task, method: str, seed: int, overrides: dict[str, float]) -> CellSpec:
    """Seeds alternate between the starts."""
    spec: CellSpec = task.cell(method, seed, seed % task.starts, overrides)
    return spec


def _outcomes(
    plan: ComparePlan, manifest: Manifest, out: Path, done: Mapping[str, Outcome], rates: dict[str, Searched]
) -> dict[str, Cells]:
    """By method and in the order of seeds: the runs of this start, and those that earlier ones finished beside them.

    So a start with fewer methods or seeds takes nothing out of the results; tables say which method has fewer seeds.
    What was searched for the methods of earlier starts is added to ``rates``.
    """
    found: dict[str, Cells] = {}
    for method in dict.fromkeys([*plan.methods, *manifest.methods]):
        names = [_cell(plan.task, method, seed, {}).name for seed in manifest.seeds]
        names = [name for name in names if name in done or (out / "cells" / name / "result.json").exists()]
        found[method] = [done[name] if name in done else read_result(out / "cells" / name) for name in names]
        if method in plan.methods or not names:
            continue
        used = read_json_object(out / "cells" / names[0] / "cell.json")["overrides"]
        known = searched(out).get(find_method(method).tuned_as or method, Searched())
        # A rate in the method's name, or a directory that was not searched: the cell says what it ran with.
        as_run = Searched(learning_rate=used.pop("learning_rate", None), balance=used or None)
        rates[method] = known if known.learning_rate == as_run.learning_rate else as_run
    return found
