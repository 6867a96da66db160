"""A run as the report sees it, whatever wrote it: methods, their cells (one per seed), and what each measured."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from sgpo.evaluation.axes import AxisScores
from sgpo.evaluation.metrics import paired_t_interval, t_interval
from sgpo.report.files import number
from sgpo.runs.methods import METHODS

LABELS = {name: method.spoken or method.label for name, method in METHODS.items()} | {"base_guided": "base + strategy"}
"""Methods as they read within a sentence."""
GUIDED = frozenset({"base_guided"})
"""Entries that read the strategy at test time: shown, but not ranked among the others."""

State = Literal["done", "running", "waiting", "crashed"]
Series = dict[str, tuple[list[int], list[float]]]  # metric -> (steps, values)


def label(method: str) -> str:
    """The name that people read; a method's overrides (``sgpo:kl_clip=3``) follow in brackets."""
    name, _, overrides = method.partition(":")
    found = LABELS.get(name, name.replace("_", " "))
    return f"{found} ({overrides.replace('=', ' ').replace(',', ', ')})" if overrides else found


@dataclass(frozen=True)
class Difference:
    """One method minus another: mean, 95% interval if known, and over how many pairs of seeds (0: not known)."""

    mean: float
    ci95: tuple[float, float] | None
    pairs: int

    @property
    def verdict(self) -> Literal["above", "below", "level", "unknown"]:
        """The side of 0 on which the interval lies; ``level`` where it holds 0, ``unknown`` without one."""
        if self.ci95 is None:
            return "unknown"
        return "above" if self.ci95[0] > 0 else "below" if self.ci95[1] < 0 else "level"


@dataclass
class Cell:
    """One method with one seed. ``pass_rate_from`` names the metric that stands in for the autonomous pass rate."""

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
class Method:
    """A row of the comparison; accuracies are shares in [0, 1].

    ``seeds`` holds the entries of results.json by (seed, base seed), for what is paired.
    """

    name: str
    accuracy: float
    ci95: tuple[float, float] | None
    per_family: dict[str, float] = field(default_factory=dict)
    seeds: dict[tuple[Any, Any], dict[str, Any]] = field(default_factory=dict)
    costs: dict[str, float] = field(default_factory=dict)  # see load.COSTS
    n_problems: int = 0
    k: int = 0
    to_sgpo: dict[str, Difference] = field(default_factory=dict)  # measure -> SGPO minus this, from results.json
    axes: list[dict[str, AxisScores]] = field(default_factory=list)  # of each seed: axis -> scores
    control: dict[str, float] = field(default_factory=dict)  # of the base: own and other strategies
    axes_minus: dict[str, dict[str, Difference]] = field(default_factory=dict)  # of results.json: method, axis

    @property
    def label(self) -> str:
        return label(self.name)

    @property
    def ranked(self) -> bool:
        return self.name not in GUIDED

    def over_seeds(self, key: str = "accuracy") -> list[float]:
        """One value a seed, in the order of ``seeds``; seeds without it are left out."""
        return [v for v in (number(entry.get(key)) for entry in self.seeds.values()) if v is not None]

    @property
    def interval(self) -> tuple[float, float] | None:
        """95% interval of the accuracy: over seeds where there are two or more, else over problems."""
        values = self.over_seeds()
        if len(values) < 2:
            return self.ci95
        _, low, high = t_interval(values)
        return max(0.0, low), min(1.0, high)  # of two seeds it may reach beyond every accuracy


@dataclass
class Run:
    """A directory, read. ``notices`` are sentences on what is missing or was left out."""

    path: Path
    kind: Literal["compare", "quickstart", "training"]
    methods: list[Method]
    cells: list[Cell]
    finished: bool
    settings: dict[str, Any] = field(default_factory=dict)
    machine: str = ""
    never_solved: list[str] | None = None  # families, if results.json names them
    notices: list[str] = field(default_factory=list)

    def method(self, name: str) -> Method | None:
        return next((method for method in self.methods if method.name == name), None)

    def cells_of(self, method: str) -> list[Cell]:
        """The cells to draw: those that are done, or, where none is, those that have begun."""
        own = [cell for cell in self.cells if cell.method == method and cell.series]
        return [cell for cell in own if cell.state == "done"] or [cell for cell in own if cell.state != "crashed"]

    @property
    def order(self) -> list[str]:
        """Methods with curves, SGPO first: their position is their colour everywhere in the report."""
        names = dict.fromkeys([m.name for m in self.methods] + [c.method for c in self.cells])
        drawn = [name for name in names if self.cells_of(name)]
        return sorted(drawn, key=lambda name: name != "sgpo")


_MEASURES = {"accuracy": "end", "accuracy_over_training": "over_training"}  # of results.json, by field of an entry


def difference(ours: Method, other: Method, key: str = "accuracy") -> Difference | None:
    """``ours`` minus ``other`` in ``key``; None where nothing can be compared.

    A finished comparison has written its differences to SGPO, which are taken as they are. Otherwise (a quickstart, a
    comparison in progress) the seeds that both have are paired. One common seed gives no interval, nor do accuracies
    without a seed in common.
    """
    pairs = [
        (a, b)
        for seed, entry in ours.seeds.items()
        if (a := number(entry.get(key))) is not None and (b := number(other.seeds.get(seed, {}).get(key))) is not None
    ]
    if ours.name == "sgpo" and (saved := other.to_sgpo.get(_MEASURES.get(key, key))) is not None:
        return replace(saved, pairs=len(pairs))
    if len(pairs) > 1:
        mean, low, high = paired_t_interval([a for a, _ in pairs], [b for _, b in pairs])
        return Difference(mean, (low, high), len(pairs))
    if pairs:
        return Difference(pairs[0][0] - pairs[0][1], None, 1)
    return Difference(ours.accuracy - other.accuracy, None, 0) if key == "accuracy" else None
