"""What methods are compared on. :mod:`sgpo.compare.run` knows no more of it than this."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from sgpo.runs.entries import CellResult
from sgpo.runs.files import JsonObject
from sgpo.runs.jobs import ReportProgress

SOURCES = "sources"
"""The part of a task's settings that older versions did not save, so that nothing can be said of theirs."""


# Zeros and not missing values: what a model did not cost is known.
def untrained(measured: CellResult) -> CellResult:
    """The result of a model that is taken as it is: it cost nothing."""
    return replace(measured, curve=[], sampled_tokens=0, guided_tokens=0, trained_tokens=0, train_seconds=0.0)


class CellSpec(Protocol):
    """One run: a method with a seed, from one of the task's starts. A frozen dataclass of JSON types, picklable."""

    @property
    def method(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def base_seed(self) -> int:
        """Number of the start, from 0, that this run was trained from."""

    @property
    def overrides(self) -> Mapping[str, object]:
        """Fields of the method's configuration, its learning rate among them."""

    @property
    def name(self) -> str:
        """Name of the directory of this run."""


class Task(Protocol):
    """Picklable; ``out`` is the directory of the comparison.

    Attributes:
        name: in the manifest, so that one directory holds one kind.
        learning_rate: where none is searched for.
        starts: models that the seeds alternate over.
        processes: cells side by side, unless the user says otherwise.
        never_solved: families that the base never solves; results are also given without them.
    """

    @property
    def name(self) -> str: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def starts(self) -> int: ...
    @property
    def processes(self) -> int: ...
    @property
    def never_solved(self) -> tuple[str, ...]: ...

    def settings(self) -> JsonObject:
        """What must be the same for a directory to be gone on with, as JSON types."""

    def check(self, methods: Sequence[str]) -> None:
        """Raise ``ValueError`` for methods that cannot be run, before anything is."""

    def prepare(self, out: Path) -> None:
        """Make what the cells share."""

    def cell(
        self, method: str, seed: int, start: int, overrides: dict[str, float], *, tuning: bool = False
    ) -> Any:  # a CellSpec
        """A cell; ``tuning``: one of the search, measured on the validation split."""

    def run(self, cell: Any, out: Path, folder: Path, report: ReportProgress) -> CellResult:
        """Run a cell of this task in ``folder`` and return its entry of results.json."""

    def machine(self, processes: int) -> str:
        """The kind of machine, for the page that shows the figures."""
