"""The comparison of methods for the templates: rows with their strips, differences, costs, and the heat table."""

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

from sgpo.report import svg
from sgpo.report.run import Difference, Method, Run, difference

NEVER = 0.02  # where the run does not name them, the families that the base solves no more often than this
MAX_FAMILIES = 40
LEVELS = 10  # of the heat table
MEASURES = {
    "end": "at the end",
    "greedy": "greedy",
    "temperature_1": "temperature 1",
    "pass_at_32": "pass@32",
    "guided": "with the strategy",
    "new_axes": "new axes",
    "over_training": "over training",
    "without_never_solved": "without never-solved families",
    "never_solved": "never-solved families",
}

COSTS: dict[str, tuple[str, Callable[[float], str]]] = {
    "learning_rate": ("Learning rate", lambda value: f"{value:g}"),
    "sampled_tokens": ("K tokens sampled", lambda value: f"{value / 1000:.0f}"),
    "guided_tokens": ("of them guided", lambda value: f"{value / 1000:.0f}"),
    "trained_tokens": ("trained on", lambda value: f"{value / 1000:.0f}"),
    "train_seconds": ("Seconds", lambda value: f"{value:.0f}"),
}


def comparison(run: Run) -> dict[str, Any] | None:
    """Rows by falling accuracy, their differences to SGPO, and the two axes; None without a method."""
    if not run.methods:
        return None
    hues = {name: i for i, name in enumerate(run.order)}
    methods = ranking(run)
    gaps = _gaps(run, methods)
    ends = {name: found["end"] for name, found in gaps.items() if "end" in found}
    reach = [end for m in methods for end in (m.accuracy, *(m.interval or ()), *m.over_seeds())]
    scale = (0.0, min(1.0, max(reach) * 1.04))
    gap_reach = [0.0, *(end for gap in ends.values() for end in (gap.mean, *(gap.ci95 or ())))]
    # An interval over two seeds can be wider than everything there is to see.
    gap_scale = (max(-1.0, min(gap_reach) - 0.02), min(1.0, max(gap_reach) + 0.02))
    costs = [key for key in COSTS if any(m.costs.get(key) for m in methods)]
    rows = []
    for method in methods:
        hue, gap, dots = hues.get(method.name, svg.HUES - 1), ends.get(method.name), method.over_seeds()
        shown = dots if len(dots) > 1 else ()
        strip = svg.strip(method.accuracy, scale, ends=method.interval, dots=shown, hue=hue)
        gap_strip = svg.strip(gap.mean, gap_scale, ends=gap.ci95, hue=hue) if gap else None
        row = {"method": method, "seeds": len(dots), "strip": strip, "gap_strip": gap_strip}
        rows.append(
            {**row, "costs": [COSTS[key][1](method.costs[key]) if method.costs.get(key) else "" for key in costs]}
        )
    return {
        "rows": rows,
        "costs": [COSTS[key][0] for key in costs],
        "axis": svg.axis(scale),
        "gap_axis": svg.axis(gap_scale),
        "has_gaps": bool(ends),
        "gaps": _gap_table(gaps, methods),
        "shape": next((m for m in methods if m.n_problems), None),
        "counts": _counts(list(ends.values())),
        "base_guided": _base_guided(run),
    }


def ranking(run: Run) -> list[Method]:
    """The methods in the order of every plot: by falling accuracy, those that read the strategy at the end."""
    return sorted(run.methods, key=lambda m: (not m.ranked, -m.accuracy))


def _gaps(run: Run, methods: list[Method]) -> dict[str, dict[str, Difference]]:
    """SGPO minus each ranked method, by measure: what the comparison has written, or else what the seeds say."""
    sgpo = run.method("sgpo")
    if sgpo is None:
        return {}
    found = {}
    for method in methods:
        if method is not sgpo and method.ranked:
            own = {"end": difference(sgpo, method), "over_training": difference(sgpo, method, "accuracy_over_training")}
            found[method.name] = {**method.to_sgpo, **{name: gap for name, gap in own.items() if gap is not None}}
    return found


def _gap_table(gaps: dict[str, dict[str, Difference]], methods: list[Method]) -> dict[str, Any] | None:
    """Methods in rows, measures in columns."""
    measures = sorted(
        {measure for found in gaps.values() for measure in found},
        key=lambda name: ([*MEASURES, name].index(name), name),
    )
    if not measures:
        return None
    rows = [
        {"label": m.label, "cells": [gaps[m.name].get(measure) for measure in measures]}
        for m in methods
        if m.name in gaps
    ]
    return {"titles": [MEASURES.get(name, name.replace("_", " ")) for name in measures], "rows": rows}


def _counts(gaps: list[Difference]) -> str:
    """How often SGPO is above, level or below, by intervals that leave out 0."""
    verdicts = [gap.verdict for gap in gaps if gap.verdict != "unknown"]
    if len(verdicts) < 2:
        return ""
    words: dict[Any, str] = {"above": "above", "level": "not told apart from", "below": "below"}
    counts = Counter(verdicts)
    parts = [f"{word} {counts[verdict]}" for verdict, word in words.items() if counts[verdict]]
    return f"By intervals that leave out 0, SGPO is {', '.join(parts)} of {len(verdicts)} methods."


def _base_guided(run: Run) -> float | None:
    """What the base reaches with the strategy in its prompt, where its entry says so."""
    base = run.method("base")
    values = base.over_seeds("accuracy_guided") if base else []
    return math.fsum(values) / len(values) if values else None


def families(run: Run) -> dict[str, Any] | None:
    """The heat table: families in rows, those that the base never solves first; None without families, and for many of
    them where there are axes."""
    methods = sorted((m for m in run.methods if m.per_family), key=lambda m: (m.ranked, m.accuracy))
    names = list(dict.fromkeys(family for m in methods for family in m.per_family))
    if not names or (len(names) > MAX_FAMILIES and any(m.axes for m in methods)):
        return None  # the axes say it better than a hundred types of a few problems each
    base = run.method("base")
    start = base.per_family if base else {}
    never = run.never_solved if run.never_solved is not None else [f for f in names if start.get(f, 1.0) <= NEVER]
    names.sort(key=lambda family: (family not in never, start.get(family, 1.0)))
    rows = [{"name": f, "never": f in never, "cells": [_cell(m.per_family.get(f)) for m in methods]} for f in names]
    shown = [f for f in names if f in never]
    return {"methods": methods, "rows": rows, "never": shown, "reading": _split(methods, names, shown)}


def _cell(value: float | None) -> dict[str, Any]:
    return {"value": value, "level": 0 if value is None else round(LEVELS * min(1.0, max(0.0, value)))}


def _split(methods: list[Method], names: list[str], never: list[str]) -> list[dict[str, Any]]:
    """Mean accuracy over the families that the base never solves, and over the others, for each method."""
    rest = [f for f in names if f not in never]
    if not never or not rest:
        return []
    parts = ((f"the {len(never)} never solved by the base", never), (f"the other {len(rest)}", rest))
    return [{"name": title, "cells": [_cell(_mean(m, listed)) for m in methods]} for title, listed in parts]


def _mean(method: Method, listed: list[str]) -> float | None:
    values = [method.per_family[f] for f in listed if f in method.per_family]
    return math.fsum(values) / len(values) if values else None
