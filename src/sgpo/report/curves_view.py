"""Learning curves for the templates."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sgpo.report import svg
from sgpo.report.run import Run, label
from sgpo.report.series import PASS_RATE, Band, bands, summary
from sgpo.report.text import bound


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
    Panel(PASS_RATE, "Autonomous pass rate", "%", "training rollouts without the strategy"),
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
    instead = _stand_ins(run)
    panels = [
        {
            "panel": panel,
            "note": "in part a mean reward, see below" if panel.metric == PASS_RATE and instead else panel.note,
            "chart": svg.line_chart(
                curves, hues, unit=panel.unit, label=_spoken(panel, curves), y=scales.get(panel.group)
            ),
        }
        for panel, curves in found.items()
    ]
    legend = [{"method": name, "label": label(name), "hue": hues[name] % svg.HUES} for name in run.order]
    cells = {name: len(run.cells_of(name)) for name in run.order}
    facts = {"cells": cells, "banded": max(cells.values()) > 1, "instead": instead}
    return {"panels": panels, "legend": legend, "ends": _ends(found), **facts}


def _stand_ins(run: Run) -> list[dict[str, str]]:
    """The logged metrics that stand in for the autonomous pass rate, each with its methods."""
    found: dict[str, list[str]] = {}
    for name in run.order:
        for key in sorted({cell.pass_rate_from for cell in run.cells_of(name)} - {""}):
            found.setdefault(key, []).append(bound(label(name), 60))
    return [{"metric": bound(key, 60), "methods": ", ".join(names)} for key, names in found.items()]


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
