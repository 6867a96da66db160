"""The comparison of methods for the templates: rows with their strips, and the heat table of families."""

import math
from typing import Any

from sgpo.report import svg
from sgpo.report.run import Method, Run, difference

NEVER = 0.02  # a family counts as never solved where the base reaches no more than this
LEVELS = 10  # of the heat table


def comparison(run: Run) -> dict[str, Any] | None:
    """Rows by falling accuracy, their differences to SGPO, and the two axes; None without a method."""
    if not run.methods:
        return None
    hues = {name: i for i, name in enumerate(run.order)}
    methods = sorted(run.methods, key=lambda m: (not m.ranked, -m.accuracy))
    sgpo = run.method("sgpo")
    gaps = {m.name: difference(sgpo, m) for m in methods if sgpo is not None and m is not sgpo}
    over = {
        m.name: difference(sgpo, m, "accuracy_over_training") for m in methods if sgpo is not None and m is not sgpo
    }
    reach = [end for m in methods for end in (m.accuracy, *(m.interval or ()), *m.over_seeds())]
    scale = (0.0, min(1.0, max(reach) * 1.04))
    ends = [end for gap in gaps.values() if gap for end in (gap.mean, *(gap.ci95 or ()))]
    # An interval over two seeds can be wider than everything there is to see.
    gap_scale = (max(-1.0, min([0.0, *ends]) - 0.02), min(1.0, max([0.0, *ends]) + 0.02))
    rows = []
    for method in methods:
        hue, gap = hues.get(method.name, svg.HUES - 1), gaps.get(method.name)
        dots = method.over_seeds()
        row = {
            "method": method,
            "seeds": len(dots),
            "gap": gap,
            "over_training": over.get(method.name),
            "gap_strip": None,
        }
        row["strip"] = svg.strip(
            method.accuracy, scale, ends=method.interval, dots=dots if len(dots) > 1 else (), hue=hue
        )
        if gap is not None and method.ranked:
            row["gap_strip"] = svg.strip(gap.mean, gap_scale, ends=gap.ci95, hue=hue)
        rows.append(row)
    return {
        "rows": rows,
        "axis": svg.axis(scale),
        "gap_axis": svg.axis(gap_scale),
        "has_gaps": any(gap is not None for gap in gaps.values()),
        "has_over_training": any(o is not None for o in over.values()),
        "shape": next((m for m in methods if m.n_problems), None),
        "counts": _counts(gaps, methods),
    }


def _counts(gaps: dict[str, Any], methods: list[Method]) -> str:
    """How often SGPO is above, level or below, by intervals that leave out 0."""
    verdicts = [gap.verdict for m in methods if m.ranked and (gap := gaps.get(m.name)) and gap.verdict != "unknown"]
    if len(verdicts) < 2:
        return ""
    told = [
        (verdicts.count("above"), "above"),
        (verdicts.count("level"), "not told apart from"),
        (verdicts.count("below"), "below"),
    ]
    parts = [f"{word} {count}" for count, word in told if count]
    return f"By intervals that leave out 0, SGPO is {', '.join(parts)} of {len(verdicts)} methods."


def families(run: Run) -> dict[str, Any] | None:
    """The heat table: families in rows, those that the base never solves first; None without families."""
    methods = sorted((m for m in run.methods if m.per_family), key=lambda m: (m.ranked, m.accuracy))
    names = list(dict.fromkeys(family for m in methods for family in m.per_family))
    if not names:
        return None
    base = run.method("base")
    start = base.per_family if base else {}
    names.sort(key=lambda family: start.get(family, 1.0))
    never = [f for f in names if start.get(f, 1.0) <= NEVER]
    rows = [{"name": f, "never": f in never, "cells": [_cell(m.per_family.get(f)) for m in methods]} for f in names]
    return {"methods": methods, "rows": rows, "never": never, "reading": _split(methods, names, never)}


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
