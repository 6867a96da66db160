"""A run as the report sees it, whatever wrote it: the results of its methods, and their cells (one per seed)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sgpo.runs.entries import MethodResult
from sgpo.runs.scores import SeedMean

State = Literal["done", "running", "waiting", "crashed"]
Series = dict[str, tuple[list[int], list[float]]]  # metric -> (steps, values)


@dataclass
class RunCell:
    """One method with one seed, as far as it got. ``pass_rate_from`` names the metric that stands in for the
    autonomous pass rate."""

    name: str
    method: str
    path: Path
    state: State
    seed: int | None = None
    base_seed: int | None = None
    error: str = ""
    series: Series = field(default_factory=dict)
    pass_rate_from: str = ""


@dataclass
class Run:
    """A directory, read. ``notices`` are sentences on what is missing or was left out."""

    path: Path
    kind: Literal["compare", "quickstart", "training"]
    methods: list[MethodResult]
    cells: list[RunCell]
    finished: bool
    settings: Mapping[str, Any] = field(default_factory=dict)
    machine: str = ""
    never_solved: Sequence[str] = ()  # families
    notices: list[str] = field(default_factory=list)

    def method(self, name: str) -> MethodResult | None:
        return next((method for method in self.methods if method.name == name), None)

    def cells_of(self, method: str) -> list[RunCell]:
        """The cells to draw: those that are done, or, where none is, those that have begun."""
        own = [cell for cell in self.cells if cell.method == method and cell.series]
        return [cell for cell in own if cell.state == "done"] or [cell for cell in own if cell.state != "crashed"]

    @property
    def order(self) -> list[str]:
        """Methods with curves, SGPO first."""
        names = dict.fromkeys([m.name for m in self.methods] + [c.method for c in self.cells])
        drawn = [name for name in names if self.cells_of(name)]
        return sorted(drawn, key=lambda name: name != "sgpo")

    @property
    def hues(self) -> dict[str, int]:
        """The colour of each method everywhere in the report."""
        return hues_of([*self.order, *(method.name for method in self.methods)])


def hues_of(methods: Iterable[str]) -> dict[str, int]:
    """A number for the colour of each method: SGPO has the accent, a base the last one, which is grey."""
    names = sorted(dict.fromkeys(methods), key=lambda name: name != "sgpo")
    trained = [name for name in names if not name.startswith("base")]
    return dict.fromkeys(names, -1) | {name: i for i, name in enumerate(trained)}


def end_gap(sgpo: MethodResult, other: MethodResult) -> SeedMean:
    """SGPO minus another method at the end, as the results have it; of accuracies alone where no seed is paired."""
    return other.sgpo_minus.get("end") or SeedMean(sgpo.accuracy - other.accuracy)
