"""What is searched for each method before a comparison: a learning rate, and on request its own balance.

Every method with a training of its own is searched by the same rule, with a seed that no reported run has, on the
validation split. Each rate is run from the first start. Then the rate with the highest mean is run from the next start,
until it is one that ran from all of them: a rate that collapses from the second start loses to the next best, and the
others cost one run. Where the best rate is at an edge of the list, nothing says that the next one would not be better,
so the list is widened by the step that it has there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from sgpo.compare.cells import run_cells
from sgpo.compare.task import CellSpec
from sgpo.runs.entries import CellResult, Searched
from sgpo.runs.files import read_json_object, write_json
from sgpo.trainer.methods import find_method

if TYPE_CHECKING:
    from sgpo.compare.run import ComparePlan

# No reported run has it: a rate that is good by the luck of a seed would be reported with the same luck.
TUNING_SEED = 1000
MAX_WIDENINGS = 3
Tried = dict[float, list[float]]  # value -> accuracy from the first starts, 0 where the run failed
Arm = tuple[Mapping[str, Any], int]  # fields, and the number of the start that they are run from


def search(plan: ComparePlan, out: Path) -> dict[str, Searched]:
    """Learning rate of each method that trains, with the accuracies of its search.

    The best rate is that of the highest mean over the starts; a run that failed counts as 0. A method that names its
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
    saved = read_json_object(path) if path.exists() else {}
    return {source: Searched.from_json(one) for source, one in saved.items()}


def overrides_of(method: str, found: Mapping[str, Searched]) -> dict[str, float]:
    """The fields that a method's runs take from its search. A field that its name sets stays as it is set."""
    if method not in found:
        return {}
    own = find_method(method).fields
    return {name: value for name, value in found[method].fields.items() if name == "learning_rate" or name not in own}


def long_first(methods: Iterable[str]) -> list[str]:
    """Those that sample before those that do not, so that no process waits long for the last run."""
    # By name within each group, so that a resumed comparison has the same order.
    return sorted(methods, key=lambda name: (find_method(name).kind in (None, "sft"), name))


class _Runs:
    """Runs of the search, side by side over methods."""

    def __init__(self, plan: ComparePlan, out: Path) -> None:
        self._plan, self._out = plan, out
        self.starts = plan.task.starts
        self.failed: set[str] = set()
        self.seconds: dict[str, float] = {}

    def tried(self, wanted: Mapping[str, Sequence[Arm]]) -> dict[str, list[float]]:
        """The accuracies of every method with what is wanted of it, in that order."""
        task = self._plan.task
        cells: list[tuple[str, CellSpec]] = [
            (source, task.cell(source, TUNING_SEED, start, dict(fields), tuning=True))
            for source, arms in wanted.items()
            for fields, start in arms
        ]
        work = [(cell, self._out / "tuning" / _folder(cell)) for _, cell in cells]
        done = run_cells(work, task, self._plan.processes, self._out)
        found: dict[str, list[float]] = {source: [] for source in wanted}
        for (source, _), (_, path) in zip(cells, work, strict=True):
            result = done[path.name]
            if not isinstance(result, CellResult):
                self.failed.add(source)
            # A rate at which training crashes is no good rate, whatever the cause.
            accuracy, seconds = (result.accuracy, result.seconds) if isinstance(result, CellResult) else (0.0, 0.0)
            found[source].append(accuracy)
            self.seconds[source] = self.seconds.get(source, 0.0) + (seconds or 0.0)
        return found


def _folder(cell: CellSpec) -> str:
    fields = dict(cell.overrides)
    rate = fields.pop("learning_rate")
    return "-".join([cell.name, f"lr{rate:g}", *(f"{name}{value:g}" for name, value in fields.items())])


def _rates(plan: ComparePlan, sources: list[str], runs: _Runs) -> dict[str, Searched]:
    """The best rate of each method; methods go on together, so that no process waits for the last one."""
    scores: dict[str, Tried] = {source: {} for source in sources}
    wanted = {source: [(rate, 0) for rate in plan.rates] for source in sources}
    while wanted:
        tried = runs.tried(
            {source: [({"learning_rate": rate}, start) for rate, start in arms] for source, arms in wanted.items()}
        )
        for source, arms in wanted.items():
            for (rate, _), accuracy in zip(arms, tried[source], strict=True):
                scores[source].setdefault(rate, []).append(accuracy)
        wanted = {source: arms for source in wanted if (arms := _next(plan, scores[source]))}
    return {source: _found(plan, tried) for source, tried in scores.items()}


def _next(plan: ComparePlan, tried: Tried) -> list[tuple[float, int]]:
    """What is run next, rate and start: the best rate from a start that it has not had, and the one beyond an edge."""
    best = _best(tried)
    again = [(best, len(tried[best]))] if len(tried[best]) < plan.task.starts else []
    rate = beyond(tried) if len(tried) < len(plan.rates) + MAX_WIDENINGS else None
    return again if rate is None else [*again, (rate, 0)]


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
        # Six digits: the rate is in names of folders, and 0.0032000000000000006 is not found again.
        rate = float(f"{edge * edge / inner:.6g}")
        # A best rate that is only as good as its neighbour calls for no wider search.
        if best == edge and fmean(tried[edge]) > fmean(tried[inner]) and rate < 1:
            return rate
    return None


def _best(tried: Tried) -> float:
    return max(tried, key=lambda rate: fmean(tried[rate]))  # of equals the one tried first


def _balances(found: Mapping[str, Searched], runs: _Runs) -> dict[str, Searched]:
    """At its best rate, each method's own field (:class:`sgpo.runs.methods.Balance`): its default and other values."""
    fields = {source: balance for source in found if (balance := find_method(source).balance) is not None}
    starts = range(runs.starts)
    tried = runs.tried(
        {
            source: [
                ({"learning_rate": found[source].learning_rate, one.field: value}, start)
                for value in one.values
                for start in starts
            ]
            for source, one in fields.items()
        }
    )
    with_balance = {}
    for source, balance in fields.items():
        default = (found[source].search or {})[f"{found[source].learning_rate:g}"]
        accuracies = iter(tried[source])
        scores = {value: [next(accuracies) for _ in starts] for value in balance.values}
        best = _best(scores)
        # Of equals the default, which a reader expects.
        better = fmean(scores[best]) > fmean(default)
        listed = {f"{value:g}": each for value, each in scores.items()}
        with_balance[source] = replace(
            found[source],
            balance={balance.field: best} if better else {},
            balance_search={"field": balance.field, "default": default, **listed},
        )
    return with_balance
