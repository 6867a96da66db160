"""Curves of several seeds as one: their mean, and the band from the lowest to the highest seed."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from sgpo.report.run import Run, RunCell, Series
from sgpo.runs.entries import MetricsRow

PASS_RATE = "sgpo/autonomous_pass_rate"
# Runs of early versions named the two rates the other way round.
ALIASES = {"sgpo/pass_rate_autonomous": PASS_RATE, "sgpo/pass_rate_guided": "sgpo/guided_pass_rate"}
POINTS = 120  # of a drawn curve; a longer one is averaged in bins of neighbouring steps
SMOOTHED_FROM = 40  # points; shorter curves are shown as they are


@dataclass(frozen=True)
class Band:
    """A method's curve: mean, lowest and highest over ``seeds`` cells at each step, all of one length."""

    method: str
    steps: list[float]
    mean: list[float]
    low: list[float]
    high: list[float]
    seeds: int


def collect(cell: RunCell, rows: Iterable[MetricsRow | None]) -> None:
    """Sort logged rows into the cell's series; None is a line without a step."""
    for row in filter(None, rows):
        for name, value in row.values.items():
            steps, values = cell.series.setdefault(ALIASES.get(name, name), ([], []))
            steps.append(row.step)
            values.append(value)
    if key := stand_in(cell.series):
        cell.pass_rate_from, cell.series[PASS_RATE] = key, cell.series[key]


def bands(run: Run, metric: str) -> list[Band]:
    """The curve of each method that logged ``metric``, in the order of ``run.order``."""
    found = (band(method, run.cells_of(method), metric) for method in run.order)
    return [b for b in found if b is not None]


def band(method: str, cells: Sequence[RunCell], metric: str) -> Band | None:
    """The curve of one method, over the steps at which all its cells logged ``metric``; None if there is none."""
    curves = []
    for cell in cells:
        if metric in cell.series:
            steps, values = cell.series[metric]
            smoothed = smooth(values) if len(values) > SMOOTHED_FROM else values
            curves.append(dict(zip(steps, smoothed, strict=True)))
    if not curves:
        return None
    # At steps that only some seeds have the mean would jump from one set of seeds to another.
    shared = sorted(set.intersection(*(set(curve) for curve in curves)))
    if not shared:
        return None
    columns = [[curve[step] for curve in curves] for step in shared]
    mean = [fmean(column) for column in columns]
    low, high = [min(column) for column in columns], [max(column) for column in columns]
    return Band(method, _thin([float(step) for step in shared]), _thin(mean), _thin(low), _thin(high), len(curves))


def stand_in(series: Series) -> str:
    """The metric that comes closest to an autonomous pass rate which was not logged; empty if there is none.

    Trainers without distillation log rewards alone. A mean reward within [0, 1] is the pass rate if each reward is 0
    or 1, which a log does not say, so the report names what it drew. LUFFY's own mean leaves out the expert's rows;
    of several reward functions none is taken, for the log does not say which one decides what is correct.
    """
    named = [key for key in series if key.startswith("rewards/") and key.endswith("/mean")]
    wanted = ("luffy/on_policy_reward",) if "luffy/on_policy_reward" in series else (*named, "reward")
    if PASS_RATE in series or len(named) > 1 or wanted[0] not in series:
        return ""
    return wanted[0] if all(0 <= value <= 1 for value in series[wanted[0]][1]) else ""


def smooth(values: Sequence[float], window: int = 7) -> list[float]:
    """Running mean over ``window`` neighbours, shorter at the ends."""
    half = window // 2
    spans = (values[max(0, i - half) : i + half + 1] for i in range(len(values)))
    return [sum(span) / len(span) for span in spans]


def _thin(values: list[float]) -> list[float]:
    """At most ``POINTS`` values, each the mean of a run of neighbours; first and last stay what they are."""
    if len(values) <= POINTS:
        return values
    inner, bins = values[1:-1], POINTS - 2
    edges = [round(i * len(inner) / bins) for i in range(bins + 1)]
    means = [fmean(inner[a:b]) for a, b in itertools.pairwise(edges)]
    # The ends are what the sentences beside a chart quote.
    return [values[0], *means, values[-1]]


def first_and_last(band: Band) -> tuple[float, float]:
    """A curve in two numbers: the means of its first and of its last tenth (at least one point each)."""
    tenth = max(1, len(band.mean) // 10)
    return fmean(band.mean[:tenth]), fmean(band.mean[-tenth:])
