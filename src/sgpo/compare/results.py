"""Cells to results: means over seeds with their Student-t intervals, and differences to SGPO paired by seed.

An interval is ``[mean, low, high]`` in [0, 1]; low and high are None for a single seed.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from sgpo.evaluation import paired_t_interval, t_interval
from sgpo.evaluation.axes import NEW_AXES, AxisScores, with_means

Entry = dict[str, Any]
Interval = list[float | None]
REFERENCE = "sgpo"
AXES_REFERENCES = (REFERENCE, "sgpo_plus")
"""Methods whose paired difference to every other is given on each axis."""
_FIELDS = {"end": "accuracy", "greedy": "accuracy_greedy", "over_training": "accuracy_over_training"}
_AXIS_SCORES = ("temperature_1", "pass_at_32", "guided")


def over_families(entry: Entry, families: Sequence[str]) -> float:
    """Mean over the problems of families."""
    chosen = [entry["per_family"][family] for family in families]
    weights = [one.get("n_problems", 1) for one in chosen]
    return math.fsum(w * one["accuracy"] for w, one in zip(weights, chosen, strict=True)) / sum(weights)


def scores(entry: Entry, never_solved: Sequence[str] = ()) -> dict[str, float]:
    """Accuracy without a strategy: at the end, and as far as it was measured greedy, averaged over the evaluations
    during training, on the new axes, at temperature 1, pass@32, with the strategy in the prompt, and at the end with
    and on the families that the base never solves."""
    found = {name: entry[field] for name, field in _FIELDS.items() if field in entry}
    axes = list(entry.get("axes", {}).values())
    if (means := axis_accuracies(entry)) and NEW_AXES in means:
        found[NEW_AXES] = means[NEW_AXES]
    for name in _AXIS_SCORES:
        if axes and all(name in axis for axis in axes):
            found[name] = _mean([axis[name] for axis in axes])
    if never := [family for family in never_solved if family in entry["per_family"]]:  # a split may lack some
        rest = [family for family in entry["per_family"] if family not in never_solved]
        found["without_never_solved"] = over_families(entry, rest)
        found["never_solved"] = over_families(entry, never)
    return found


def summarise(
    entries: dict[str, list[Entry]], rates: dict[str, Any], never_solved: Sequence[str] = ()
) -> dict[str, Any]:
    """The ``methods`` of results.json, and what failed: ``{"methods": {name: entry}, "failed": {cell: error}}``.

    Args:
        entries: results of the cells of each method, in the order of seeds; a failed one is ``{"error": ...}``.
        rates: learning rate and search of each trained method.
        never_solved: families that the base never solves, if the task names any.
    """
    failed = {f"{m}, seed {e['seed']}": e["error"] for m, es in entries.items() for e in es if "error" in e}
    methods = {}
    for method, all_seeds in entries.items():
        good = [entry for entry in all_seeds if "error" not in entry]
        if good:
            methods[method] = _method(good, never_solved) | rates.get(method, {})
            if method != REFERENCE and REFERENCE in entries:
                methods[method]["sgpo_minus"] = _paired(
                    entries[REFERENCE], all_seeds, lambda one: scores(one, never_solved)
                )
            others = [name for name in AXES_REFERENCES if name in entries and name != method]
            if minus := {name: gaps for name in others if (gaps := _paired(entries[name], all_seeds, axis_accuracies))}:
                methods[method]["axes_minus"] = minus
    return {"never_solved": list(never_solved), "methods": methods, "failed": failed}


def axis_accuracies(entry: Entry) -> dict[str, float]:
    """Accuracy on each axis that was measured, and the means over the new axes and over all."""
    return with_means({axis: values["accuracy"] for axis, values in entry.get("axes", {}).items()})


def _axes(seeds: list[Entry]) -> dict[str, Any]:
    """Each axis: the mean of every score over seeds, and the interval of the accuracy."""
    found = {}
    for axis in seeds[0].get("axes", {}):
        each = [AxisScores.of_json(entry["axes"][axis]) for entry in seeds]
        interval = _interval([one.accuracy for one in each])
        found[axis] = {**AxisScores.mean(each).to_json(), "seeds": len(each), "interval": interval}
    return found


def _control(seeds: list[Entry]) -> dict[str, float]:
    """The mean over starts of the control that the base's entries hold (:mod:`sgpo.lab.control`)."""
    each = [entry["strategy_control"] for entry in seeds if "strategy_control" in entry]
    return {name: _mean([one[name] for one in each]) for name in each[0]} if each else {}


def _method(seeds: list[Entry], never_solved: Sequence[str]) -> dict[str, Any]:
    columns = _columns(seeds, lambda one: scores(one, never_solved))
    intervals = {name: _interval(values) for name, values in columns.items()}
    mean, low, high = intervals["end"]
    first = seeds[0]
    return {
        "accuracy": mean,
        "accuracy_ci95": first["accuracy_ci95"] if low is None else [low, high],
        "n_problems": first["n_problems"],
        "k": first["k"],
        "per_family": {
            f: {"accuracy": _mean([e["per_family"][f]["accuracy"] for e in seeds])} for f in first["per_family"]
        },
        "sampled_tokens": round(_mean([e["sampled_tokens"] for e in seeds])),
        "guided_tokens": round(_mean([e["guided_tokens"] for e in seeds])),
        "trained_tokens": round(_mean([e["trained_tokens"] for e in seeds])),
        "train_seconds": round(_mean([e["train_seconds"] for e in seeds]), 1),
        "scores": intervals,
        **({"axes": axes} if (axes := _axes(seeds)) else {}),
        **({"strategy_control": control} if (control := _control(seeds)) else {}),
        "seeds": seeds,
    }


def _paired(
    reference: list[Entry], others: list[Entry], measured: Callable[[Entry], dict[str, float]]
) -> dict[str, Interval]:
    """``reference`` minus ``others`` in everything that ``measured`` finds in both, over the seeds that both have."""
    pairs = [(r, o) for r, o in zip(reference, others, strict=True) if "error" not in r and "error" not in o]
    if not pairs:
        return {}
    ours, theirs = (_columns(side, measured) for side in zip(*pairs, strict=True))
    return {name: _difference(ours[name], theirs[name]) for name in ours if name in theirs}


def _columns(entries: Sequence[Entry], measured: Callable[[Entry], dict[str, float]]) -> dict[str, list[float]]:
    """The values over seeds of each score that all of them have."""
    each = [measured(entry) for entry in entries]
    return {name: [one[name] for one in each] for name in each[0] if all(name in one for one in each)}


def _difference(ours: list[float], theirs: list[float]) -> Interval:
    if len(ours) == 1:
        return [ours[0] - theirs[0], None, None]
    return list(paired_t_interval(ours, theirs))


def _interval(values: list[float]) -> Interval:
    return [values[0], None, None] if len(values) == 1 else list(t_interval(values))


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
