"""Cells to results: means over seeds with their Student-t intervals, and differences to SGPO paired by seed.

This is the one place where a comparison's figures are made. Tables, reports and plots draw what stands here, also of a
comparison in progress, whose finished cells they give to :func:`method_results`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from sgpo.evaluation.metrics import t_interval
from sgpo.runs.entries import CellResult, FailedCell, MethodResult, Searched
from sgpo.runs.scores import NEW_AXES, AxisResult, AxisScores, FamilyScores, SeedMean, StrategyControl, with_means

REFERENCE = "sgpo"
AXES_REFERENCES = (REFERENCE, "sgpo_plus")
"""Methods whose paired difference to every other is given on each axis."""
_FIELDS = {"end": "accuracy", "greedy": "accuracy_greedy", "over_training": "accuracy_over_training"}
_TOKENS = ("sampled_tokens", "guided_tokens", "trained_tokens")
SCORE_NAMES = {
    "end": "at the end",
    "greedy": "greedy",
    "temperature_1": "temperature 1",
    "pass_at_32": "pass@32",
    "guided": "with the strategy",
    "new_axes": "new axes",
    "over_training": "over training",
    "without_never_solved": "without never-solved",
    "never_solved": "never-solved",
    "never_solved_pass_at_32": "never-solved pass@32",
}
"""What :func:`scores` finds, in the order of every table, as people read it."""
Cells = Sequence[CellResult | FailedCell]
Scores = Callable[[CellResult], Mapping[str, float]]


def over_problems(scores: Sequence[tuple[float, int | None]]) -> float:
    """The mean over the problems of families, from each family's own mean and its number of problems."""
    # Older entries do not say how many problems a family has; theirs had as many each.
    weights = [max(1, problems or 1) for _, problems in scores]
    return fmean([score for score, _ in scores], weights)


def scores(cell: CellResult, never_solved: Sequence[str] = ()) -> dict[str, float]:
    """Accuracy without a strategy: at the end, and as far as it was measured greedy, averaged over the evaluations
    during training, on the new axes, at temperature 1, pass@32, with the strategy in the prompt, and at the end without
    and on the families that the base never solves, on the latter pass@32 as well."""
    found = {name: value for name, field in _FIELDS.items() if (value := getattr(cell, field)) is not None}
    if (means := axis_accuracies(cell)) and NEW_AXES in means:
        found[NEW_AXES] = means[NEW_AXES]
    if cell.axes:
        over_axes = AxisScores.mean(list(cell.axes.values()))
        for name in ("temperature_1", "pass_at_32", "guided"):
            if (value := getattr(over_axes, name)) is not None:
                found[name] = value
    # The gain where reward alone finds nothing is another claim than the gain elsewhere.
    never = [cell.per_family[family] for family in never_solved if family in cell.per_family]  # a split may lack some
    rest = [one for family, one in cell.per_family.items() if family not in never_solved]
    if never and rest:
        found["without_never_solved"] = over_problems([(one.accuracy, one.n_problems) for one in rest])
        found["never_solved"] = over_problems([(one.accuracy, one.n_problems) for one in never])
    passes = [(one.pass_at_32, one.pass_problems) for one in never if one.pass_at_32 is not None]
    if passes:
        found["never_solved_pass_at_32"] = over_problems(passes)
    return found


def method_results(
    cells: Mapping[str, Cells], found: Mapping[str, Searched], never_solved: Sequence[str] = ()
) -> dict[str, MethodResult]:
    """The ``methods`` of results.json; a method of which every cell failed is left out.

    Args:
        found: learning rate and search of each trained method.
        never_solved: families that the base never solves, if the task names any.
    """
    good = {name: [cell for cell in each if isinstance(cell, CellResult)] for name, each in cells.items()}
    # A mean over no seed is none, and a row of dashes says less than the list of what failed.
    good = {name: each for name, each in good.items() if each}
    methods = {}
    for name, own in good.items():
        minus = {}
        if name != REFERENCE and REFERENCE in good:
            minus = _paired(good[REFERENCE], own, lambda cell: scores(cell, never_solved))
        others = [other for other in AXES_REFERENCES if other in good and other != name]
        gaps = {other: _paired(good[other], own, axis_accuracies) for other in others}
        row = _method(name, own, never_solved)
        searched = vars(found.get(name, Searched()))
        gaps = {other: gap for other, gap in gaps.items() if gap}
        methods[name] = replace(row, **searched, sgpo_minus=minus, axes_minus=gaps)
    return methods


def axis_accuracies(cell: CellResult) -> dict[str, float]:
    """Accuracy on each axis that was measured, and the means over the new axes and over all."""
    return with_means({axis: one.accuracy for axis, one in cell.axes.items()})


def _method(name: str, seeds: Sequence[CellResult], never_solved: Sequence[str]) -> MethodResult:
    first = seeds[0]
    columns = _columns(seeds, lambda cell: scores(cell, never_solved))
    intervals = {score: over_seeds(values) for score, values in columns.items()}
    end = intervals["end"]
    # Only the cells of the base hold the control (:mod:`sgpo.lab.control`).
    controls = [cell.strategy_control for cell in seeds if cell.strategy_control is not None]
    costs: dict[str, Any] = {name: round(fmean([getattr(cell, name) or 0 for cell in seeds])) for name in _TOKENS}
    return MethodResult(
        name=name,
        accuracy=end.mean,
        # Of one seed the interval over problems, the only one there is.
        accuracy_ci95=first.accuracy_ci95 if end.ends is None else end.ends,
        n_problems=first.n_problems,
        k=first.k,
        per_family={
            family: FamilyScores.mean([cell.per_family[family] for cell in seeds])
            for family in first.per_family
            # A mean over some seeds would stand in one row with means over all.
            if all(family in cell.per_family for cell in seeds)
        },
        **costs,
        train_seconds=round(fmean([cell.train_seconds or 0.0 for cell in seeds]), 1),
        scores=intervals,
        axes={
            axis: _axis([cell.axes[axis] for cell in seeds])
            for axis in first.axes
            if all(axis in cell.axes for cell in seeds)
        },
        strategy_control=StrategyControl.mean(controls) if controls else None,
        seeds=tuple(seeds),
    )


def _axis(seeds: Sequence[AxisScores]) -> AxisResult:
    """The mean of every score over seeds, and the interval of the accuracy."""
    means = AxisScores.mean(seeds)
    return AxisResult(**vars(means), seeds=len(seeds), interval=over_seeds([one.accuracy for one in seeds]))


def _paired(reference: Sequence[CellResult], others: Sequence[CellResult], measured: Scores) -> dict[str, SeedMean]:
    """``reference`` minus ``others`` in everything that ``measured`` finds in both, over the seeds that both have."""
    # By seed and start, and not by position: a comparison in progress has holes. The quickstart's base has no seed.
    by_place = {cell.place: cell for cell in others if cell.place != (None, None)}
    pairs = [(cell, by_place[cell.place]) for cell in reference if cell.place in by_place]
    if not pairs:
        return {}
    ours, theirs = (_columns(side, measured) for side in zip(*pairs, strict=True))
    return {
        name: over_seeds([a - b for a, b in zip(ours[name], theirs[name], strict=True)])
        for name in ours
        if name in theirs
    }


def _columns(cells: Sequence[CellResult], measured: Scores) -> dict[str, list[float]]:
    """The values over seeds of each score that all of them have."""
    each = [measured(cell) for cell in cells]
    return {name: [one[name] for one in each] for name in each[0] if all(name in one for one in each)}


def over_seeds(values: Sequence[float]) -> SeedMean:
    """The mean of values of one seed each, with its interval where there are two or more."""
    return SeedMean(values[0]) if len(values) == 1 else SeedMean(*t_interval(values))
