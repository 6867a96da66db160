"""Learning curves for the templates."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from markupsafe import Markup

from sgpo.report import svg
from sgpo.report.run import Run
from sgpo.report.series import PASS_RATE, Band, bands, first_and_last
from sgpo.report.tables import LegendEntry, PageTable, TableRow
from sgpo.report.text import bound
from sgpo.runs.methods import spoken_label


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


class CurvePanel(NamedTuple):
    """A chart of one metric with what stands beside its title."""

    panel: Panel
    note: str
    chart: Markup


@dataclass(frozen=True)
class CurvesView:
    """How training went: ``over`` names the x-axis, ``banded`` says whether any curve is of several seeds, ``instead``
    names the metrics that stand in for the autonomous pass rate, each with its methods."""

    panels: Sequence[CurvePanel]
    legend: Sequence[LegendEntry]
    ends: PageTable
    banded: bool
    instead: Mapping[str, str]
    over: str


class Across(NamedTuple):
    """What the x-axis is: its name in a sentence, how its marks are written, and how a place on it is."""

    name: str
    mark: Callable[[float], str]
    at: str


STEPS = Across("optimizer steps", "{:g}".format, "step {}")
SHARE = Across("the share of each method's training, in %", "{:g}%".format, "{}% of training")
_FAR_APART = 3  # times the steps of another method


def curves(run: Run) -> CurvesView | None:
    """The panels that have data, the legend, and the first and last tenth of every curve; None without data."""
    found = {panel: bands(run, panel.metric) for panel in PANELS}
    if len(found[PANELS[1]]) >= len(found[PANELS[-1]]):  # the reward tells nothing more than the pass rates
        found.pop(PANELS[-1])
    found = {panel: curves for panel, curves in found.items() if curves}
    if not found:
        return None
    found, across = on_one_axis(found)
    hues = run.hues
    # The KL before and after the clip share an axis: what the clip takes away is to be seen.
    scales = {
        group: svg.scale_for([v for p, bs in found.items() if p.group == group for b in bs for v in b.high])
        for group in {p.group for p in found if p.group}
    }
    instead = _stand_ins(run)
    panels = [
        CurvePanel(
            panel,
            "in part a mean reward, see below" if panel.metric == PASS_RATE and instead else panel.note,
            svg.line_chart(
                curves,
                hues,
                unit=panel.unit,
                label=_spoken(panel, curves, across),
                y=scales.get(panel.group),
                across=across.mark,
                at=across.at,
            ),
        )
        for panel, curves in found.items()
    ]
    legend = [LegendEntry(spoken_label(name), svg.hue_class(hues[name])) for name in run.order]
    banded = any(len(run.cells_of(name)) > 1 for name in run.order)
    return CurvesView(panels, legend, _ends(found), banded, instead, across.name)


def on_one_axis(found: dict[Panel, list[Band]]) -> tuple[dict[Panel, list[Band]], Across]:
    """The curves over an axis on which all can be read.

    SFT takes many more, cheaper steps than RL. Where a method takes several times those of another, the others would be
    drawn into a corner, so each goes over the share of its own training.
    """
    last: dict[str, float] = {}
    for curve in (each for curves in found.values() for each in curves):
        # The end of a method is its last step in any panel: not every metric is logged at each.
        last[curve.method] = max(curve.steps[-1], last.get(curve.method, 1.0))
    if max(last.values()) <= _FAR_APART * min(last.values()):
        return found, STEPS

    def shared(curve: Band) -> Band:
        return replace(curve, steps=[100 * step / last[curve.method] for step in curve.steps])

    return {panel: [shared(curve) for curve in curves] for panel, curves in found.items()}, SHARE


def _stand_ins(run: Run) -> dict[str, str]:
    """The logged metrics that stand in for the autonomous pass rate, each with its methods."""
    found: dict[str, list[str]] = {}
    for name in run.order:
        for key in sorted({cell.pass_rate_from for cell in run.cells_of(name)} - {""}):
            found.setdefault(key, []).append(bound(spoken_label(name), 60))
    return {bound(key, 60): ", ".join(names) for key, names in found.items()}


def _ends(found: dict[Panel, list[Band]]) -> PageTable:
    """The table behind the charts: the first and the last tenth of each curve."""
    rows = []
    for panel, curves in found.items():
        rows += [TableRow(panel.title, [spoken_label(curve.method), *_said(panel, curve)]) for curve in curves]
    return PageTable(["Metric", "Method", "First tenth", "Last tenth"], rows)


def _spoken(panel: Panel, curves: Sequence[Band], across: Across) -> str:
    """A chart in words: where each curve begins and ends."""
    parts = (f"{spoken_label(curve.method)} from {' to '.join(_said(panel, curve))}" for curve in curves)
    return f"{panel.title} over {across.name}: {'; '.join(parts)}."


def _said(panel: Panel, curve: Band) -> list[str]:
    """The first and the last tenth of a curve as texts."""
    return [svg.value_text(end, panel.unit) for end in first_and_last(curve)]
