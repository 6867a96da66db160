"""The embedded lab as the task of a comparison: its bases, and cells in this process."""

import dataclasses
import platform
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from sgpo.compare.task import SOURCES, untrained
from sgpo.lab.catalog import UNSOLVED
from sgpo.lab.control import PROBLEMS, strategy_control
from sgpo.lab.experiment import Cell, RunBudget, run_cell, train_config
from sgpo.lab.measure import PROTOCOL, measure_all
from sgpo.lab.model import BASE_SEEDS, base_path, load
from sgpo.lab.problems import load_problems
from sgpo.models.folders import fingerprint
from sgpo.runs.entries import CellResult
from sgpo.runs.files import JsonObject
from sgpo.runs.jobs import ReportProgress, cores
from sgpo.trainer.methods import find_method


@dataclasses.dataclass(frozen=True)
class LabTask:
    """A comparison on the lab; the methods are explained in :class:`sgpo.compare.task.Task`.

    ``bases`` are folders of ``sgpo.lab.pretrain``; without any, the shipped ones are taken.
    """

    budget: RunBudget = dataclasses.field(default_factory=RunBudget)
    bases: tuple[Path, ...] = ()
    name: ClassVar[str] = "lab"
    never_solved: ClassVar[tuple[str, ...]] = UNSOLVED

    def __post_init__(self) -> None:
        if missing := [path for path in self.bases if not (path / "config.json").is_file()]:
            raise ValueError(f"{missing[0]} holds no model (no config.json); make one with sgpo.lab.pretrain --out.")
        object.__setattr__(self, "bases", self.bases or tuple(base_path(seed) for seed in BASE_SEEDS))

    @property
    def learning_rate(self) -> float:
        return self.budget.learning_rate

    @property
    def starts(self) -> int:
        return len(self.bases)

    @property
    def processes(self) -> int:
        # A lab run has one thread, so that as many runs as cores take no time from each other.
        return cores()

    def settings(self) -> JsonObject:
        settings = {"budget": dataclasses.asdict(self.budget), "bases": [path.name for path in self.bases]}
        # By their content, too: a folder may be trained anew under its name.
        sources = {"bases": [fingerprint(path) for path in self.bases]}
        return {**settings, "protocol": PROTOCOL, SOURCES: sources}

    def check(self, methods: Sequence[str]) -> None:
        for name in methods:
            # A field that the configuration refuses is found before the first cell, and not in the last.
            if find_method(name).kind is not None:
                train_config(self.cell(name, 0, 0, {}), Path("unused"))

    def prepare(self, out: Path) -> None:
        for seed, base in enumerate(self.bases):
            path = _start(out, seed)
            if (path / "config.json").exists():
                if fingerprint(path) != fingerprint(base):
                    raise ValueError(f"{base} has changed since {out} began from it. Choose another --out.")
            else:
                part = path.with_name(f"{path.name}.part")  # a kill while it is copied must leave no half of one
                shutil.rmtree(part, ignore_errors=True)
                shutil.copytree(base, part)
                part.rename(path)

    def cell(self, method: str, seed: int, start: int, overrides: dict[str, float], *, tuning: bool = False) -> Cell:
        budget = self.budget
        if tuning:  # only the end counts
            budget = dataclasses.replace(budget, split="validation", eval_every=budget.generations)
        return Cell(method, seed, start, budget, overrides)

    def run(self, cell: Cell, out: Path, folder: Path, report: ReportProgress) -> CellResult:
        if find_method(cell.method).kind is None:
            return _measure_base(cell, _start(out, cell.base_seed), report)
        return run_cell(cell, _start(out, cell.base_seed), folder, report)

    def machine(self, processes: int) -> str:
        return f"{platform.machine()}, {cores()} cores, no GPU, {processes} processes of one thread"


def _start(out: Path, base: int) -> Path:
    """The copy of a base that every run begins from: a folder that changes meanwhile would change the comparison."""
    return out / f"start-base{base}"


def _measure_base(cell: Cell, base: Path, report: ReportProgress) -> CellResult:
    """The base as it is, and whether its strategies teach or the style of being guided."""
    model, tokenizer = load(base)
    measured = measure_all(model, tokenizer, k=cell.budget.eval_k, split=cell.budget.split)
    report(cell.name, 0.9, {"accuracy": measured.accuracy})
    return dataclasses.replace(
        untrained(measured),
        strategy_control=strategy_control(model, tokenizer, load_problems("train")[:PROBLEMS]),
        accuracy_over_training=measured.accuracy,
    )
