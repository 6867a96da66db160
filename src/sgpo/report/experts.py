"""Comparisons with several experts side by side: one page from the folder that holds their folders."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from sgpo.report.axes_view import AxisPanel, panel, title_of
from sgpo.report.run import Run, hues_of
from sgpo.runs.bounded import read_bounded
from sgpo.runs.entries import MethodResult
from sgpo.runs.json_entry import mapping
from sgpo.runs.scores import ALL_AXES, NEW_AXES

MAX_RUNS = 12


def comparisons(path: Path) -> list[Path]:
    """The folders in ``path`` that hold a comparison; none where ``path`` is a run itself, or no folder."""
    # A comparison may hold folders of others; it is itself what was meant.
    if not path.is_dir() or (path / "manifest.json").is_file():
        return []
    return sorted(file.parent for file in path.glob("*/manifest.json") if _is_comparison(file))[:MAX_RUNS]


def _is_comparison(manifest: Path) -> bool:
    try:
        return read_bounded(manifest).get("kind") == "sgpo-compare"
    except ValueError:
        return False


@dataclasses.dataclass(frozen=True)
class ExpertsGroup:
    """A panel an expert, for one mean of axes."""

    title: str
    panels: Sequence[AxisPanel]


def experts(runs: Sequence[Run]) -> list[ExpertsGroup]:
    """A panel an expert for the mean of the new axes, and one for that of all; methods in one order and colour."""
    best: dict[str, float] = {}
    for method in (m for run in runs for m in run.methods if m.ranked):
        best[method.name] = max(best.get(method.name, 0.0), method.accuracy)
    order = sorted(best, key=lambda name: -best[name])  # a method is where it is at its best
    hues = hues_of(order)
    groups = []
    for axis in (NEW_AXES, ALL_AXES):
        # A method that a comparison does not have leaves its row out, and the others keep their order and colour.
        panels = []
        for run in runs:
            methods = [m for name in order if (m := run.method(name)) is not None]
            title = expert_of(run) or run.path.name
            panels.append(dataclasses.replace(panel(axis, methods, hues), title=title, note=_lead(methods, axis)))
        # A comparison on a recipe has no axes, and one accuracy alone.
        on_axes = any(method.axes for run in runs for method in run.methods)
        if any(one.rows for one in panels):
            groups.append(ExpertsGroup(title_of(axis) if on_axes else "Held-out accuracy", panels))
    return groups


def expert_of(run: Run) -> str:
    """The expert of a comparison on the lab; "" of any other."""
    return str(mapping(run.settings.get("budget")).get("expert") or "")


def _lead(methods: list[MethodResult], axis: str) -> str:
    """How far SGPO is from the strongest other method, paired by seed, where the comparison says so."""
    others = [m for m in methods if m.name not in ("sgpo", "sgpo_plus") and axis in m.axes_minus.get("sgpo", {})]
    if not others:
        return ""
    closest = min(others, key=lambda m: m.axes_minus["sgpo"][axis].mean)
    gap = closest.axes_minus["sgpo"][axis]
    ends = f" [{100 * gap.ends[0]:+.1f}, {100 * gap.ends[1]:+.1f}]" if gap.ends else ""
    return f"SGPO minus {closest.label}: {100 * gap.mean:+.1f}{ends}"
