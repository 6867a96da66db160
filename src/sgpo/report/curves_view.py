"""Learning curves and the course of alpha for the templates."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sgpo.report import svg
from sgpo.report.run import Cell, Run, label
from sgpo.report.series import Band, band, bands, summary

TIME_BINS = 48  # of the histogram over time
ALPHA_MAX = 0.8  # arXiv 2606.24064


@dataclass(frozen=True)
class Panel:
    """A metric and how it is shown; panels of one ``group`` share their axis."""

    metric: str
    title: str
    unit: str = ""
    note: str = ""
    group: str = ""


PANELS = (
    Panel("eval/accuracy", "Held-out accuracy", "%", "no strategy in the prompt"),
    Panel("sgpo/autonomous_pass_rate", "Autonomous pass rate", "%", "training rollouts without the strategy"),
    Panel("sgpo/guided_pass_rate", "Guided pass rate", "%", "training rollouts with the strategy"),
    Panel("sgpo/alpha", "alpha", "", "weight of the distillation, mean over problems"),
    Panel("sgpo/kl", "KL before the clip", "", "nats per target token", "kl"),
    Panel("sgpo/kl_clipped", "KL after the clip", "", "nats per target token, same scale", "kl"),
    Panel("sgpo/clip_fraction", "Clip fraction", "%", "target tokens above the threshold"),
    Panel("entropy", "Entropy", "", "of the policy on autonomous tokens, nats"),
    Panel("completions/mean_length", "Length", "", "tokens of an autonomous completion"),
    Panel("reward", "Reward", "", "mean over autonomous rollouts"),
)


def curves(run: Run) -> dict[str, Any] | None:
    """The panels that have data, the legend, and the first and last tenth of every curve; None without data."""
    found = {panel: bands(run, panel.metric) for panel in PANELS}
    if len(found[PANELS[1]]) >= len(found[PANELS[-1]]):  # the reward tells nothing more than the pass rates
        found.pop(PANELS[-1])
    found = {panel: curves for panel, curves in found.items() if curves}
    if not found:
        return None
    hues = {name: i for i, name in enumerate(run.order)}
    scales = {
        group: svg.scale_for([v for p, bs in found.items() if p.group == group for b in bs for v in b.high])
        for group in {p.group for p in found if p.group}
    }
    panels = [
        {
            "panel": panel,
            "chart": svg.line_chart(
                curves, hues, unit=panel.unit, label=_spoken(panel, curves), y=scales.get(panel.group)
            ),
        }
        for panel, curves in found.items()
    ]
    legend = [{"method": name, "label": label(name), "hue": hues[name] % svg.HUES} for name in run.order]
    cells = {name: len(run.cells_of(name)) for name in run.order}
    return {"panels": panels, "legend": legend, "cells": cells, "ends": _ends(found), "banded": max(cells.values()) > 1}


def _ends(found: dict[Panel, list[Band]]) -> list[dict[str, Any]]:
    """The table behind the charts."""
    rows = []
    for panel, curves in found.items():
        for curve in curves:
            first, last = summary(curve)
            ends = {"first": svg.show(first, panel.unit), "last": svg.show(last, panel.unit)}
            rows.append({"metric": panel.title, "method": label(curve.method), **ends})
    return rows


def _spoken(panel: Panel, curves: Sequence[Band]) -> str:
    """A chart in words: where each curve begins and ends."""
    parts = []
    for curve in curves:
        first, last = (svg.show(value, panel.unit) for value in summary(curve))
        parts.append(f"{label(curve.method)} from {first} to {last}")
    return f"{panel.title} over optimizer steps: {'; '.join(parts)}."


def alpha(run: Run) -> dict[str, Any] | None:
    """How alpha is spread over problems, over time; None where no method has a weight above 0."""
    charts = []
    for name in run.order:
        cells = run.cells_of(name)
        mean = band(name, cells, "sgpo/alpha")
        if mean is None or max(mean.high) <= 0:
            continue
        first, last = summary(mean)
        entry = {"method": label(name), "first": first, "last": last}
        if (chart := _histogram(run, cells, label(name))) is not None:
            charts.append({**entry, "chart": chart, "kind": "histogram"})
        elif (chart := _shares(name, cells)) is not None:
            charts.append({**entry, "chart": chart, "kind": "shares"})
    return {"charts": charts, "kinds": {chart["kind"] for chart in charts}} if charts else None


def _histogram(run: Run, cells: Sequence[Cell], name: str) -> svg.Markup | None:
    rows = sorted((row for cell in cells for row in cell.histograms), key=lambda row: row[0])
    size = len(rows[0][1]) if rows else 0
    rows = [row for row in rows if len(row[1]) == size and sum(row[1]) > 0]
    if not rows or len({step for step, _ in rows}) < 2:
        return None
    low, high = rows[0][0], rows[-1][0]
    bins = min(TIME_BINS, len({step for step, _ in rows}))
    sums = [[0.0] * size for _ in range(bins)]
    for step, counts in rows:
        i = min(bins - 1, int(bins * (step - low) / (high - low)))
        sums[i] = [a + b for a, b in zip(sums[i], counts, strict=True)]
    columns = [[c / total for c in column] if (total := math.fsum(column)) else column for column in sums]
    edges = [low + (high - low) * i / max(1, bins - 1) for i in range(bins)]
    top = run.settings.get("alpha_max")
    cap = float(top) if isinstance(top, int | float) and not isinstance(top, bool) and 0 < top < 1e6 else ALPHA_MAX
    return svg.heat_chart(edges, columns, top=cap, label=f"{name}: histogram of alpha over optimizer steps")


def _shares(name: str, cells: Sequence[Cell]) -> svg.Markup | None:
    """Without histograms: the shares of problems at the cap, between, and at 0."""
    at_cap, at_zero = (band(name, cells, f"sgpo/alpha_{end}_fraction") for end in ("max", "zero"))
    if at_cap is None or at_zero is None or at_cap.steps != at_zero.steps or len(at_cap.steps) < 2:
        return None
    between = [max(0.0, 1 - a - b) for a, b in zip(at_cap.mean, at_zero.mean, strict=True)]
    spoken = f"{label(name)}: share of problems with alpha at its cap, between, and at 0, over optimizer steps"
    return svg.share_chart(at_cap.steps, (at_cap.mean, between), label=spoken)
