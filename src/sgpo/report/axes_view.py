"""The axes of held-out problems for the templates: a dot plot of each, what SGPO is ahead by, pass@k, and the scores
under other ways of sampling.
"""

import math
from collections.abc import Sequence
from typing import Any

from sgpo.evaluation.axes import ALL_AXES, NEW_AXES, AxisScores, with_means
from sgpo.evaluation.metrics import t_interval
from sgpo.report import svg
from sgpo.report.comparison import ranking
from sgpo.report.run import Method, Run, label
from sgpo.report.series import Band

TITLES = {
    "instances": ("New instances", "the types, sizes and wordings of training"),
    "operands": ("Larger operands", "numbers beyond those of training"),
    "wordings": ("New wordings", "operations in words that training does not use"),
    "types": ("New types", "composed of trained steps"),
    "longer": ("Longer compositions", "more steps than training has"),
    NEW_AXES: ("Mean of the new axes", "all but new instances"),
    ALL_AXES: ("Mean of all axes", ""),
}
MAX_AXES = 12
SAMPLING = {
    "accuracy": "temperature 0.6",
    "greedy": "greedy",
    "temperature_1": "temperature 1",
    "pass": "pass@32",
    "guided": "with the strategy",
    "length": "tokens",
}


def axes(run: Run) -> dict[str, Any] | None:
    """A panel an axis with the methods in one order and colour; None where nothing was measured on axes."""
    methods = [method for method in ranking(run) if method.axes]
    names = list(dict.fromkeys(axis for method in methods for seed in method.axes for axis in seed))[:MAX_AXES]
    if not names:
        return None
    hues = {m.name: run.order.index(m.name) if m.name in run.order else svg.HUES - 1 for m in methods}
    shown = [*names, *([NEW_AXES] if len(names) > 2 else [])]
    return {
        "panels": [panel(axis, methods, hues) for axis in shown],
        "gaps": _gaps(methods),
        "passes": _passes(methods, names, hues),
        "legend": [{"label": m.label, "hue": hues[m.name] % svg.HUES} for m in methods],
        "tables": _tables(methods, names),
        "control": next((method.control for method in methods if method.control), None),
    }


def panel(axis: str, methods: Sequence[Method], hues: dict[str, int]) -> dict[str, Any]:
    """The accuracy of methods on an axis, or in a mean of axes, with intervals over seeds.

    All panels have the scale 0 to 1, so that a method can be followed from one to the next.
    """
    rows, scale = [], (0.0, 1.0)
    for method in methods:
        every = (with_means({name: scores.accuracy for name, scores in seed.items()}) for seed in method.axes)
        values = [seed[axis] for seed in every if axis in seed]
        if values:
            mean = math.fsum(values) / len(values)
            ends = t_interval(values)[1:] if len(values) > 1 else None
            dots = values if len(values) > 1 else ()
            strip = svg.strip(mean, scale, ends=ends, dots=dots, hue=hues[method.name])
            rows.append({"label": method.label, "ours": method.name == "sgpo", "mean": mean, "strip": strip})
    title, note = TITLES.get(axis, (axis.replace("_", " "), ""))
    return {"title": title, "note": note, "rows": rows, "axis": svg.axis(scale, count=2)}


def _gaps(methods: Sequence[Method]) -> list[dict[str, Any]]:
    """For each method that the others are compared with: its difference to them on each axis."""
    tables: dict[str, dict[str, Any]] = {}
    for method in methods:
        for reference, found in method.axes_minus.items():
            table = tables.setdefault(reference, {"label": label(reference), "axes": list(found), "rows": []})
            cells = [found.get(axis) for axis in table["axes"]]
            table["rows"].append({"label": method.label, "cells": cells})
    for table in tables.values():
        table["titles"] = [TITLES.get(axis, (axis.replace("_", " "), ""))[0] for axis in table["axes"]]
    return list(tables.values())


def _passes(methods: Sequence[Method], names: Sequence[str], hues: dict[str, int]) -> list[dict[str, Any]]:
    """pass@k against k, on a logarithmic scale: whether the ceiling rises, or only the likely becomes likelier."""
    charts = []
    for axis in names:
        bands = [band for method in methods if (band := _pass_band(method, axis)) is not None]
        if bands:
            top = max(bands[0].steps)
            title, _ = TITLES.get(axis, (axis.replace("_", " "), ""))
            ends = "; ".join(f"{label(b.method)} from {b.mean[0]:.0%} to {b.mean[-1]:.0%}" for b in bands)
            spoken = f"pass@k, {title}, k from 1 to {2**top:.0f}: {ends}."
            chart = svg.line_chart(bands, hues, unit="%", label=spoken, y=(0.0, 1.0), across=lambda x: f"{2**x:.0f}")
            charts.append({"title": title, "chart": chart})
    return charts


def _pass_band(method: Method, axis: str) -> Band | None:
    curves = [seed[axis].pass_at_k for seed in method.axes if axis in seed and len(seed[axis].pass_at_k) > 1]
    if not curves:
        return None
    ks = sorted(set.intersection(*(set(curve) for curve in curves)))
    columns = [[curve[k] for curve in curves] for k in ks]
    mean = [math.fsum(column) / len(column) for column in columns]
    steps = [math.log2(k) for k in ks]
    return Band(method.name, steps, mean, [min(c) for c in columns], [max(c) for c in columns], len(curves))


def _tables(methods: Sequence[Method], names: Sequence[str]) -> list[dict[str, Any]]:
    """The scores under every way of sampling: over all axes, then on each."""
    tables = []
    for axis in (ALL_AXES, *names):
        listed = {m.label: scores for m in methods if (scores := _scores(m, axis)) is not None}
        columns = [name for name in SAMPLING if any(_value(s, name) is not None for s in listed.values())]
        rows = [{"label": name, "cells": [_text(_value(s, c), c) for c in columns]} for name, s in listed.items()]
        if rows:
            titles = [SAMPLING[column] for column in columns]
            tables.append({"title": TITLES.get(axis, (axis.replace("_", " "), ""))[0], "titles": titles, "rows": rows})
    return tables


def _scores(method: Method, axis: str) -> AxisScores | None:
    """A method's mean scores over seeds on one axis, or over all of them."""
    listed = [seed[name] for seed in method.axes for name in seed if axis in (name, ALL_AXES)]
    return AxisScores.mean(listed) if listed else None


def _value(scores: AxisScores, column: str) -> float | None:
    if column == "pass":
        return scores.pass_at_k.get(32)
    value: float | None = getattr(scores, column)
    return value


def _text(value: float | None, column: str) -> str:
    return "" if value is None else f"{value:.1f}" if column == "length" else f"{100 * value:.1f}"
