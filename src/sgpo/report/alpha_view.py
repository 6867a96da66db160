"""The course of alpha for the templates: over all problems, and family by family."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from sgpo.report import svg
from sgpo.report.problems import Log, Logs, alpha_by_family, alpha_counts, last_step
from sgpo.report.run import Run, RunCell
from sgpo.report.series import band, first_and_last
from sgpo.report.tables import LEVELS, Heat, PageTable, TableRow
from sgpo.runs.methods import spoken_label

TIME_BINS = 48  # of the histogram over time
ALPHA_BINS = 16  # of it
PARTS = 10  # of the run, in tables
RANGES = 4  # of alpha above 0, in the table
ALPHA_MAX = 0.8  # arXiv 2606.24064; the scale of every picture, unless an alpha is above it
MAX_FAMILIES = 40


@dataclass(frozen=True)
class AlphaChart:
    """One method's alpha over time: a histogram with its table, or without problem logs shares of problems.

    ``first`` and ``last`` are the means over the first and the last tenth of training. ``families`` is the heat table
    of the mean alpha by family, from which ``hidden`` families are left out.
    """

    method: str
    first: float
    last: float
    chart: Markup
    seeds: int = 0
    table: PageTable | None = None
    families: PageTable | None = None
    hidden: int = 0


def alpha(run: Run, logs: Logs) -> list[AlphaChart]:
    """How alpha is spread over problems, over time, for each method with a weight above 0.

    From the problem logs; a method without any has the shares of problems at both ends instead, or its mean alone.
    """
    charts = []
    # One scale for all methods, so that two pictures can be compared.
    top = max([ALPHA_MAX, *(row.alpha for found in logs.values() for log in found for row in log)])
    for name in run.order:
        cells = run.cells_of(name)
        average = band(name, cells, "sgpo/alpha")
        # Plain GRPO logs an alpha of 0 at every step, of which there is nothing to see.
        if average is None or max(average.high) <= 0:
            continue
        label, ends = spoken_label(name), first_and_last(average)
        if found := logs.get(name):
            chart, table = _histogram(found, top, label)
            charts.append(AlphaChart(label, *ends, chart, len(found), table, *_families(found, top)))
        elif (shares := _shares(name, cells)) is not None:
            charts.append(AlphaChart(label, *ends, shares))
    return charts


def _histogram(logs: Sequence[Log], top: float, name: str) -> tuple[Markup, PageTable]:
    last = last_step(logs)
    windows, highest = _windows(logs, TIME_BINS), ALPHA_BINS - 1
    counts = alpha_counts(logs, windows, ALPHA_BINS, lambda a: min(highest, int(ALPHA_BINS * a / top)))
    columns = [[c / total for c in column] if (total := sum(column)) else column for column in counts]
    spoken = f"{name}: histogram of alpha over optimizer steps"
    chart = svg.heat_chart((1.0, float(max(2, last))), columns, top=top, label=spoken)
    # In numbers: exactly 0, then equal ranges (a, b].
    edges = [top * i / RANGES for i in range(1, RANGES + 1)]
    parts = _windows(logs, PARTS)
    table = alpha_counts(logs, parts, RANGES + 1, lambda a: 0 if a == 0 else 1 + sum(a > e for e in edges[:-1]))
    steps = _parts(last, parts)
    rows = [TableRow(name, [f"{c:.1f}" for c in row]) for name, row in zip(steps, table, strict=True)]
    return chart, PageTable(["Steps", "0", *(f"up to {edge:.2g}" for edge in edges)], rows)


def _windows(logs: Sequence[Log], most: int) -> int:
    """Into how many parts a run is cut: no more than it has generation batches."""
    return min(most, len({row.step for log in logs for row in log}))


def _parts(last: int, parts: int) -> list[str]:
    """The steps of each of ``parts`` parts of the run, as :func:`sgpo.report.problems.window` cuts it."""
    starts = [1 + -(-i * last // parts) for i in range(parts + 1)]
    return [f"{a}\u2013{b - 1}" if b - 1 > a else f"{a}" for a, b in itertools.pairwise(starts)]


def _families(logs: Sequence[Log], top: float) -> tuple[PageTable | None, int]:
    """The heat table of alpha by family, and how many families it leaves out."""
    parts = _windows(logs, PARTS)
    table = alpha_by_family(logs, parts)
    if not table:
        return None, 0
    rows = [
        TableRow(family, [Heat("" if v is None else f"{v:.2f}", round(LEVELS * (v or 0.0) / top)) for v in values])
        for family, values in list(table.items())[:MAX_FAMILIES]
    ]
    return PageTable(["Family", *_parts(last_step(logs), parts)], rows), len(table) - len(rows)


def _shares(name: str, cells: Sequence[RunCell]) -> Markup | None:
    """Without problem logs: the shares of problems at the cap, between, and at 0."""
    at_cap, at_zero = (band(name, cells, f"sgpo/alpha_{end}_fraction") for end in ("max", "zero"))
    if at_cap is None or at_zero is None or at_cap.steps != at_zero.steps or len(at_cap.steps) < 2:
        return None
    between = [max(0.0, 1 - a - b) for a, b in zip(at_cap.mean, at_zero.mean, strict=True)]
    spoken = f"{spoken_label(name)}: share of problems with alpha at its cap, between, and at 0, over optimizer steps"
    return svg.share_chart(at_cap.steps, (at_cap.mean, between), label=spoken)
