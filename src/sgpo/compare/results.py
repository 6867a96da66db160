"""Cells to results: means over seeds with their Student-t intervals, and differences to SGPO paired by seed.

An interval is ``[mean, low, high]`` in [0, 1]; low and high are None for a single seed.
"""

from collections.abc import Callable, Sequence
from typing import Any

from sgpo.evaluation import paired_t_interval, t_interval
from sgpo.lab.catalog import FAMILIES, UNSOLVED

Entry = dict[str, Any]
REFERENCE = "sgpo"
_REST = tuple(f.name for f in FAMILIES if f.name not in UNSOLVED)


def over_families(entry: Entry, families: Sequence[str]) -> float:
    """Mean over families, which hold equally many problems."""
    return sum(entry["per_family"][f]["accuracy"] for f in families) / len(families)


SCORES: dict[str, Callable[[Entry], float]] = {
    "end": lambda entry: entry["accuracy"],
    "greedy": lambda entry: entry["accuracy_greedy"],
    "over_training": lambda entry: entry["accuracy_over_training"],
    "without_never_solved": lambda entry: over_families(entry, _REST),
    "never_solved": lambda entry: over_families(entry, UNSOLVED),
}
"""Held-out accuracy without a strategy: at the end (temperature 1, and greedy), averaged over the evaluations during
training, and at the end with and on the families that the base never solves."""


def summarise(entries: dict[str, list[Entry]], rates: dict[str, Any]) -> dict[str, Any]:
    """The ``methods`` of results.json, and what failed: ``{"methods": {name: entry}, "failed": {cell: error}}``.

    Args:
        entries: results of the cells of each method, in the order of seeds; a failed one is ``{"error": ...}``.
        rates: learning rate and search of each trained method.
    """
    failed = {f"{m}, seed {e['seed']}": e["error"] for m, es in entries.items() for e in es if "error" in e}
    methods = {}
    for method, all_seeds in entries.items():
        good = [entry for entry in all_seeds if "error" not in entry]
        if good:
            methods[method] = _method(good) | rates.get(method, {})
            if method != REFERENCE and REFERENCE in entries:
                methods[method]["sgpo_minus"] = _paired(entries[REFERENCE], all_seeds)
    return {"never_solved": list(UNSOLVED), "methods": methods, "failed": failed}


def _method(seeds: list[Entry]) -> dict[str, Any]:
    scores = {name: _interval([score(e) for e in seeds]) for name, score in SCORES.items()}
    mean, low, high = scores["end"]
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
        "scores": scores,
        "seeds": seeds,
    }


def _paired(reference: list[Entry], others: list[Entry]) -> dict[str, list[float | None]]:
    pairs = [(r, o) for r, o in zip(reference, others, strict=True) if "error" not in r and "error" not in o]
    if len(pairs) < 2:
        return {name: [score(r) - score(o), None, None] for name, score in SCORES.items() for r, o in pairs}
    return {
        name: list(paired_t_interval([score(r) for r, _ in pairs], [score(o) for _, o in pairs]))
        for name, score in SCORES.items()
    }


def _interval(values: list[float]) -> list[float | None]:
    return [values[0], None, None] if len(values) == 1 else list(t_interval(values))


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
