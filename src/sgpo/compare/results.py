"""Cells to results: means over seeds with their Student-t intervals, and differences to SGPO paired by seed.

An interval is ``[mean, low, high]`` in [0, 1]; low and high are None for a single seed.
"""

import math
from collections.abc import Sequence
from typing import Any

from sgpo.evaluation import paired_t_interval, t_interval

Entry = dict[str, Any]
REFERENCE = "sgpo"
_FIELDS = {"end": "accuracy", "greedy": "accuracy_greedy", "over_training": "accuracy_over_training"}


def over_families(entry: Entry, families: Sequence[str]) -> float:
    """Mean over families, which hold equally many problems."""
    return math.fsum(entry["per_family"][f]["accuracy"] for f in families) / len(families)


def scores(entry: Entry, never_solved: Sequence[str] = ()) -> dict[str, float]:
    """Accuracy without a strategy: at the end, and as far as it was measured greedy, averaged over the evaluations
    during training, and at the end with and on the families that the base never solves."""
    found = {name: entry[field] for name, field in _FIELDS.items() if field in entry}
    if never_solved:
        rest = [family for family in entry["per_family"] if family not in never_solved]
        found["without_never_solved"] = over_families(entry, rest)
        found["never_solved"] = over_families(entry, never_solved)
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
                methods[method]["sgpo_minus"] = _paired(entries[REFERENCE], all_seeds, never_solved)
    return {"never_solved": list(never_solved), "methods": methods, "failed": failed}


def _method(seeds: list[Entry], never_solved: Sequence[str]) -> dict[str, Any]:
    intervals = {name: _interval(list(values)) for name, values in _columns(seeds, never_solved).items()}
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
        "seeds": seeds,
    }


def _paired(reference: list[Entry], others: list[Entry], never_solved: Sequence[str]) -> dict[str, list[float | None]]:
    pairs = [(r, o) for r, o in zip(reference, others, strict=True) if "error" not in r and "error" not in o]
    if not pairs:
        return {}
    ours, theirs = (_columns(side, never_solved) for side in zip(*pairs, strict=True))
    return {name: _difference(ours[name], theirs[name]) for name in ours if name in theirs}


def _columns(entries: Sequence[Entry], never_solved: Sequence[str]) -> dict[str, list[float]]:
    """The values over seeds of each score that all of them have."""
    each = [scores(entry, never_solved) for entry in entries]
    return {name: [one[name] for one in each] for name in each[0] if all(name in one for one in each)}


def _difference(ours: list[float], theirs: list[float]) -> list[float | None]:
    if len(ours) == 1:
        return [ours[0] - theirs[0], None, None]
    return list(paired_t_interval(ours, theirs))


def _interval(values: list[float]) -> list[float | None]:
    return [values[0], None, None] if len(values) == 1 else list(t_interval(values))


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
