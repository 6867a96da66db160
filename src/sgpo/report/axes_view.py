"""The axes of held-out problems for the templates: a dot plot of each, what SGPO is ahead by, pass@k, pass@32 where
exploration finds nothing, and the scores under other ways of sampling.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup

from sgpo.compare.results import SCORE_NAMES, axis_accuracies
from sgpo.report import svg
from sgpo.report.comparison import ranking
from sgpo.report.run import Run
from sgpo.report.series import Band
from sgpo.report.tables import LegendEntry, PageTable, TableRow, percent
from sgpo.runs.entries import MethodResult
from sgpo.runs.methods import spoken_label
from sgpo.runs.scores import ALL_AXES, NEW_AXES, AxisScores, SeedMean, StrategyControl
from sgpo.runs.words import axis_name

NOTES = {
    "instances": "the types, sizes and words of training",
    "operands": "beyond those of training",
    "wordings": "operations in words that training does not use",
    "types": "types composed of trained steps",
    "longer": "more steps than training has",
    NEW_AXES: "all but new instances",
}
MAX_AXES = 12
SAMPLING = {
    "accuracy": "temperature 0.6",
    **{name: SCORE_NAMES[name] for name in ("greedy", "temperature_1", "pass_at_32", "guided")},
    "length": "tokens",
}


class PanelRow(NamedTuple):
    """A method in a dot plot."""

    label: str
    ours: bool
    mean: float
    strip: Markup


@dataclass(frozen=True)
class AxisPanel:
    """The dot plot of one axis, with the labels under it."""

    title: str
    note: str
    rows: Sequence[PanelRow]
    axis: Markup


@dataclass(frozen=True)
class AxesView:
    """The section on what was learned; ``passes`` are the charts of pass@k by the title of their axis."""

    panels: Sequence[AxisPanel]
    gaps: Sequence[PageTable]
    passes: Mapping[str, Markup]
    never: PageTable | None
    legend: Sequence[LegendEntry]
    tables: Sequence[PageTable]
    control: StrategyControl | None


def axes(run: Run) -> AxesView | None:
    """A panel an axis with the methods in one order and colour; None where nothing was measured on axes."""
    methods, names = measured(run)
    if not names:
        return None
    hues = run.hues
    return AxesView(
        panels=[panel(axis, methods, hues) for axis in shown_axes(names)],
        gaps=_gaps(methods),
        passes=_passes(methods, names, hues),
        never=_never_solved(run, methods),
        legend=[LegendEntry(m.label, svg.hue_class(hues[m.name])) for m in methods],
        tables=_tables(methods, names),
        control=next((method.strategy_control for method in methods if method.strategy_control), None),
    )


def measured(run: Run) -> tuple[list[MethodResult], list[str]]:
    """The methods that were measured on axes, in the order of every plot, and the axes."""
    methods = [method for method in ranking(run) if method.axes]
    return methods, list(dict.fromkeys(axis for method in methods for axis in method.axes))[:MAX_AXES]


def shown_axes(names: Sequence[str]) -> list[str]:
    """What has a panel: the axes, and where there are several new ones, their mean."""
    return [*names, *([NEW_AXES] if len(names) > 2 else [])]


def title_of(axis: str) -> str:
    """An axis as the title of a panel or a column."""
    name = axis_name(axis)
    return name[:1].upper() + name[1:]


def panel(axis: str, methods: Sequence[MethodResult], hues: Mapping[str, int]) -> AxisPanel:
    """The accuracy of methods on an axis, or in a mean of axes, with intervals over seeds.

    All panels have the scale 0 to 1, so that a method can be followed from one to the next.
    """
    rows, scale = [], (0.0, 1.0)
    for method in methods:
        if (found := on_axis(method, axis)) is not None:
            strip = svg.strip(found.mean, scale, ends=found.ends, dots=axis_seeds(method, axis), hue=hues[method.name])
            rows.append(PanelRow(method.label, method.name == "sgpo", found.mean, strip))
    return AxisPanel(title_of(axis), NOTES.get(axis, ""), rows, svg.axis(scale, count=2))


def on_axis(method: MethodResult, axis: str) -> SeedMean | None:
    """A method's accuracy on an axis, or in a mean of axes, as the results have it."""
    if axis == ALL_AXES:  # every axis has as many problems, so that their mean is that over all problems
        return method.scores.get("end")
    if axis == NEW_AXES:
        return method.scores.get(NEW_AXES)
    scores = method.axes.get(axis)
    return None if scores is None else scores.interval or SeedMean(scores.accuracy)


def axis_seeds(method: MethodResult, axis: str) -> list[float]:
    """The accuracy of each seed on an axis, or in a mean of axes; nothing of a single seed."""
    values = [found[axis] for found in map(axis_accuracies, method.seeds) if axis in found]
    return values if len(values) > 1 else []


def _gaps(methods: Sequence[MethodResult]) -> list[PageTable]:
    """For each method that the others are compared with: its difference to them on each axis."""
    tables: list[PageTable] = []
    for reference in dict.fromkeys(name for method in methods for name in method.axes_minus):
        found = {m.label: m.axes_minus[reference] for m in methods if reference in m.axes_minus}
        # Not every method was measured on the same axes: one of an older run may lack some.
        names = list(dict.fromkeys(axis for gaps in found.values() for axis in gaps))
        rows = [TableRow(label, [gaps.get(axis) for axis in names]) for label, gaps in found.items()]
        if names:
            tables.append(PageTable(["Method", *map(title_of, names)], rows, spoken_label(reference)))
    return tables


def _passes(methods: Sequence[MethodResult], names: Sequence[str], hues: dict[str, int]) -> dict[str, Markup]:
    """pass@k against k, on a logarithmic scale: whether the ceiling rises, or only the likely becomes likelier."""
    charts = {}
    for axis in names:
        bands = [band for method in methods if (band := _pass_band(method, axis)) is not None]
        if bands:
            top, title = max(bands[0].steps), title_of(axis)
            ends = "; ".join(f"{spoken_label(b.method)} from {b.mean[0]:.0%} to {b.mean[-1]:.0%}" for b in bands)
            spoken = f"pass@k, {title}, k from 1 to {2**top:.0f}: {ends}."
            charts[title] = svg.line_chart(
                bands, hues, unit="%", label=spoken, y=(0.0, 1.0), across=lambda x: f"{2**x:.0f}"
            )
    return charts


def _pass_band(method: MethodResult, axis: str) -> Band | None:
    """The mean curve of the results, and a band from the lowest to the highest seed."""
    # The mean is that of the results; only the spread of the seeds is not in them.
    curve = method.axes[axis].pass_at_k if axis in method.axes else {}
    if len(curve) < 2:
        return None
    seeds = [seed.axes[axis].pass_at_k for seed in method.seeds if axis in seed.axes]
    columns = [[seed.get(k, share) for seed in seeds] or [share] for k, share in curve.items()]
    steps = [math.log2(k) for k in curve]
    return Band(method.name, steps, list(curve.values()), [*map(min, columns)], [*map(max, columns)], len(seeds))


def _never_solved(run: Run, methods: Sequence[MethodResult]) -> PageTable | None:
    """pass@32 on each family that exploration never solves: could any of 32 samples have been rewarded there?"""
    score = "never_solved_pass_at_32"
    listed = [method for method in methods if score in method.scores]
    found = {method.name: {f: one.pass_at_32 for f, one in method.per_family.items()} for method in listed}
    # Results of an older version name such families without having measured pass@32 on them.
    families = [f for f in run.never_solved if any(found[m.name].get(f) is not None for m in listed)]
    if not families:
        return None
    means = TableRow("over all their problems", [percent(method.scores[score].mean) for method in listed])
    rows = [TableRow(family, [percent(found[method.name].get(family)) for method in listed]) for family in families]
    return PageTable(["Type", *(method.label for method in listed)], [means, *rows])


def _tables(methods: Sequence[MethodResult], names: Sequence[str]) -> list[PageTable]:
    """The scores under every way of sampling: over all axes, then on each."""
    tables = []
    for axis in (ALL_AXES, *names):
        found: dict[str, AxisScores | None] = {m.label: m.axes.get(axis) for m in methods}
        if axis == ALL_AXES:
            found = {m.label: AxisScores.mean(list(m.axes.values())) for m in methods}
        listed = {label: scores for label, scores in found.items() if scores is not None}
        columns = [name for name in SAMPLING if any(getattr(s, name) is not None for s in listed.values())]
        rows = [TableRow(label, [_text(getattr(s, c), c) for c in columns]) for label, s in listed.items()]
        if rows:
            tables.append(PageTable(["Method", *(SAMPLING[column] for column in columns)], rows, title_of(axis)))
    return tables


def _text(value: float | None, column: str) -> str:
    return f"{value:.1f}" if value is not None and column == "length" else percent(value)
