"""Comparisons with several experts side by side: one page from the folder that holds their folders."""

from pathlib import Path
from typing import Any

from sgpo.evaluation.axes import ALL_AXES, NEW_AXES
from sgpo.report import svg
from sgpo.report.axes_view import TITLES, panel
from sgpo.report.files import read_object
from sgpo.report.load import load_run
from sgpo.report.run import Method, Run

MAX_RUNS = 12


def comparisons(path: Path) -> list[Path]:
    """The folders in ``path`` that hold a comparison; none where ``path`` is a run itself, or no folder."""
    if not path.is_dir() or (path / "manifest.json").is_file():
        return []
    return sorted(file.parent for file in path.glob("*/manifest.json") if _is_comparison(file))[:MAX_RUNS]


def _is_comparison(manifest: Path) -> bool:
    try:
        return read_object(manifest).get("kind") == "sgpo-compare"
    except ValueError:
        return False


def experts(paths: list[Path]) -> dict[str, Any]:
    """A panel an expert for the mean of the new axes, and one for that of all; methods in one order and colour."""
    runs = [load_run(path) for path in paths]
    best: dict[str, float] = {}
    for method in (m for run in runs for m in run.methods if m.ranked and m.axes):
        best[method.name] = max(best.get(method.name, 0.0), method.accuracy)
    # SGPO has the accent, as everywhere; a method is where it is at its best.
    order = sorted(best, key=lambda name: -best[name])
    colours = sorted(order, key=lambda name: name != "sgpo")
    hues = {name: min(i, svg.HUES - 1) for i, name in enumerate(colours)}
    groups = []
    for axis in (NEW_AXES, ALL_AXES):
        panels = []
        for run in runs:
            methods = [m for name in order if (m := run.method(name)) is not None]
            panels.append({**panel(axis, methods, hues), "title": expert_of(run), "note": _lead(run, methods, axis)})
        groups.append({"title": TITLES[axis][0], "panels": panels})
    return {"groups": groups, "notices": [f"{run.path.name}: {line}" for run in runs for line in run.notices]}


def expert_of(run: Run) -> str:
    """The expert of a comparison, by its settings, or else by the name of its folder."""
    budget = run.settings.get("budget")
    expert = budget.get("expert") if isinstance(budget, dict) else None
    return str(expert or run.path.name)


def _lead(run: Run, methods: list[Method], axis: str) -> str:
    """How far SGPO is from the strongest other method, paired by seed, where the comparison says so."""
    others = [m for m in methods if m.name not in ("sgpo", "sgpo_plus") and axis in m.axes_minus.get("sgpo", {})]
    if not others:
        return ""
    closest = min(others, key=lambda m: m.axes_minus["sgpo"][axis].mean)
    gap = closest.axes_minus["sgpo"][axis]
    ends = f" [{100 * gap.ci95[0]:+.1f}, {100 * gap.ci95[1]:+.1f}]" if gap.ci95 else ""
    return f"SGPO minus {closest.label}: {100 * gap.mean:+.1f}{ends}"
