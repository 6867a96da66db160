"""What is searched for each method before a comparison: a learning rate, and on request its own balance.

Every method with a training of its own gets the same effort: one run a rate, from the first start and with a seed that
no reported run has, on the validation split. Where the best rate is at an edge of the list, nothing says that the next one
would not be better, so the list is widened by the step that it has there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgpo.compare.cells import run_cells
from sgpo.compare.task import CellSpec
from sgpo.runs.entries import CellResult, Searched
from sgpo.runs.files import read_object, write_json
from sgpo.trainer.methods import find_method

if TYPE_CHECKING:
    from sgpo.compare.run import ComparePlan

TUNING_SEED = 1000
MAX_WIDENINGS = 3
Tried = dict[float, list[float]]  # value -> accuracy of each run, 0 where it failed


def search(plan: ComparePlan, out: Path) -> dict[str, Searched]:
    """Learning rate of each method that trains, with the accuracies of its search.

    The best rate is that of the highest accuracy; a run that failed counts as 0. A method that names its
    own rate (``sft_grpo:learning_rate=1e-3``) is not searched for. What was found without a failed run is kept in
    ``search.json``: finished cells have it.
    """
    trained = [m for m in map(find_method, plan.methods) if m.kind is not None and "learning_rate" not in m.fields]
    if len(plan.rates) < 2:
        # A single rate leaves nothing to search for.
        rate = plan.rates[0] if plan.rates else plan.task.learning_rate
        return {method.name: Searched(learning_rate=rate, search={}) for method in trained}
    kept = searched(out)
    runs = _Runs(plan, out)
    sources = long_first({method.tuned_as or method.name for method in trained} - kept.keys())
    found = _rates(plan, sources, runs)
    if plan.balance:
        found |= _balances(found, runs)
    found = {source: replace(one, search_seconds=round(runs.seconds[source])) for source, one in found.items()}
    # A failed run is tried again by the next start of the same command, so its method is not done with.
    lasting = kept | {source: one for source, one in found.items() if source not in runs.failed}
    write_json(out / "search.json", {source: one.to_json() for source, one in lasting.items()})
    found |= kept
    return {method.name: found[method.tuned_as or method.name] for method in trained}


def searched(out: Path) -> dict[str, Searched]:
    """What earlier searches in this directory found."""
    path = out / "search.json"
    saved = read_object(path) if path.exists() else {}
    return {source: Searched.from_json(one) for source, one in saved.items()}


def overrides_of(method: str, found: Mapping[str, Searched]) -> dict[str, Any]:
    """The fields that a method's runs take from its search. A field that its name sets stays as it is set."""
    if method not in found:
        return {}
    own = find_method(method).fields
    return {name: value for name, value in found[method].fields.items() if name == "learning_rate" or name not in own}


def long_first(methods: Iterable[str]) -> list[str]:
    """Those that sample before those that do not, so that no process waits long for the last run."""
    return sorted(methods, key=lambda name: (find_method(name).kind in (None, "sft"), name))


class _Runs:
    """Runs of the search, side by side over methods."""

    def __init__(self, plan: ComparePlan, out: Path) -> None:
        self._plan, self._out = plan, out
        self.failed: set[str] = set()
        self.seconds: dict[str, float] = {}

    def tried(self, wanted: Mapping[str, list[dict[str, Any]]]) -> dict[str, list[list[float]]]:
        """The accuracies of every method with each of the fields that are wanted of it."""
        task = self._plan.task
        cells: list[tuple[str, int, CellSpec]] = [
            # One start: from every one, the search would take longer than the five seeds that it is made for.
            (source, i, task.cell(source, TUNING_SEED, 0, fields, tuning=True))
            for source, listed in wanted.items()
            for i, fields in enumerate(listed)
        ]
        work = [(cell, self._out / "tuning" / _folder(cell)) for _, _, cell in cells]
        done = run_cells(work, task, self._plan.processes, self._out)
        found: dict[str, list[list[float]]] = {source: [[] for _ in listed] for source, listed in wanted.items()}
        for (source, i, _), (_, path) in zip(cells, work, strict=True):
            result = done[path.name]
            if not isinstance(result, CellResult):
                self.failed.add(source)
            accuracy, seconds = (result.accuracy, result.seconds) if isinstance(result, CellResult) else (0.0, 0.0)
            found[source][i].append(accuracy)
            self.seconds[source] = self.seconds.get(source, 0.0) + (seconds or 0.0)
        return found


def _folder(cell: CellSpec) -> str:
    fields = dict(cell.overrides)
    rate = fields.pop("learning_rate")
    return "-".join([cell.name, f"lr{rate:g}", *(f"{name}{value:g}" for name, value in fields.items())])


def _rates(plan: ComparePlan, sources: list[str], runs: _Runs) -> dict[str, Searched]:
    """The best rate of each method; methods are widened together, so that no process waits for the last one."""
    scores: dict[str, Tried] = {source: {} for source in sources}
    wanted = {source: list(plan.rates) for source in sources}
    for _ in range(1 + MAX_WIDENINGS):
        if not wanted:
            break
        tried = runs.tried({source: [{"learning_rate": rate} for rate in rates] for source, rates in wanted.items()})
        for source, rates in wanted.items():
            scores[source] |= dict(zip(rates, tried[source], strict=True))
        wanted = {source: [rate] for source in wanted if (rate := beyond(scores[source])) is not None}
    return {source: _found(plan, tried) for source, tried in scores.items()}


def _found(plan: ComparePlan, tried: Tried) -> Searched:
    listed = {f"{rate:g}": tried[rate] for rate in sorted(tried)}
    widened = tuple(f"{rate:g}" for rate in sorted(tried) if rate not in plan.rates)
    return Searched(learning_rate=_best(tried), search=listed, widened=widened)


def beyond(tried: Tried) -> float | None:
    """The rate to try next where the best one is an edge and better than its neighbour; None where it is inside.

    The new rate is as far from the edge, in ratio, as the edge is from its neighbour.
    """
    order, best = sorted(tried), _best(tried)
    for edge, inner in ((order[0], order[1]), (order[-1], order[-2])):
        rate = float(f"{edge * edge / inner:.6g}")
        if best == edge and math.fsum(tried[edge]) > math.fsum(tried[inner]) and rate < 1:
            return rate
    return None


def _best(tried: Tried) -> float:
    return max(tried, key=lambda rate: math.fsum(tried[rate]))  # of equals the one tried first


def _balances(found: Mapping[str, Searched], runs: _Runs) -> dict[str, Searched]:
    """At its best rate, each method's own field (:class:`sgpo.runs.methods.Balance`): its default and other values."""
    fields = {source: balance for source in found if (balance := find_method(source).balance) is not None}
    tried = runs.tried(
        {
            source: [{"learning_rate": found[source].learning_rate, one.field: value} for value in one.values]
            for source, one in fields.items()
        }
    )
    with_balance = {}
    for source, balance in fields.items():
        default = (found[source].search or {})[f"{found[source].learning_rate:g}"]
        scores = dict(zip(balance.values, tried[source], strict=True))
        best = _best(scores)
        better = math.fsum(scores[best]) > math.fsum(default)
        listed = {f"{value:g}": each for value, each in scores.items()}
        with_balance[source] = replace(
            found[source],
            balance={balance.field: best} if better else {},
            balance_search={"field": balance.field, "default": default, **listed},
        )
    return with_balance
