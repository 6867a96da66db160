"""What ``sgpo eval`` shows: progress and tables."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sgpo.data.benchmarks import HUB
from sgpo.data.tables import table_name
from sgpo.evaluation.diff import EvalDifference, Flip
from sgpo.evaluation.grading import ResponseGrader
from sgpo.evaluation.metrics import Interval
from sgpo.evaluation.planning import plan_benchmark, refuse_idle
from sgpo.evaluation.results import EvalResult
from sgpo.evaluation.run import EvalPlan, run_evaluation
from sgpo.lab.benchmark import LAB
from sgpo.lab.model import base_path
from sgpo.models import Model
from sgpo.runs.progress import progress

if TYPE_CHECKING:
    from sgpo.commands.evaluate import EvalCommand

_GROUPS_SHOWN = 12


def names(benchmarks: Sequence[str], data: Path | None) -> Sequence[str]:
    """The benchmarks asked for; with ``--data`` alone, one that is named after the file."""
    if data is not None and len(benchmarks) > 1:
        raise ValueError(f"--data {data} gives the problems of one benchmark, not of {len(benchmarks)}.")
    chosen = benchmarks or ([table_name(data).lower()] if data is not None else [])
    if not chosen:
        raise ValueError(f"No problems: give --benchmark NAME ({', '.join(HUB)}, lab) or --data PATH, or both.")
    if len(set(chosen)) < len(chosen):
        raise ValueError(f"--benchmark {' '.join(chosen)} names one of them twice.")
    return chosen


def run_benchmarks(options: EvalCommand) -> dict[str, EvalResult]:
    """The result of each benchmark. Raises ValueError for one that cannot be carried out, before a model is loaded."""
    evaluation, out = options.evaluation, options.out
    jobs = [plan_benchmark(evaluation, name, LAB) for name in names(options.benchmark, evaluation.data)]
    refuse_idle(evaluation, [grade for _, grade in jobs])
    for plan, grade in jobs:  # every plan is good before a model is loaded
        plan.check(grade)
    local = evaluation.access.base_url is None and evaluation.access.backend != "endpoint"
    place = str(base_path()) if local and options.model == LAB.name else options.model  # as in a recipe
    engine = evaluation.access.open(place, jobs[0][0].sampling)
    results = {}
    for plan, grade in jobs:
        engine.sampling = plan.sampling
        folder = out if len(jobs) == 1 else out / plan.benchmark
        results[plan.benchmark] = run_with_bar(plan, options.model, engine, grade, folder)
    return results


def run_with_bar(plan: EvalPlan, model: str, engine: Model, grader: ResponseGrader, folder: Path) -> EvalResult:
    """Run with a progress bar and the running accuracy, on standard error."""
    with progress("") as bar:
        task = bar.add_task(escape(plan.benchmark), total=len(plan.problems) * plan.k, note="")

        def report(done: int, total: int, accuracy: float) -> None:
            bar.update(task, completed=done, total=total, note=f"accuracy {100 * accuracy:.1f}" if done else "")

        say = partial(bar.console.print, markup=False, soft_wrap=True)
        return run_evaluation(plan, model, engine, grader, folder, report=report, say=say)


def print_results(results: dict[str, EvalResult]) -> None:
    """One row a benchmark, with its groups below, and the average where there are several."""
    table = Table(box=None, pad_edge=False)
    table.add_column("benchmark", no_wrap=True)
    for title in ("n", "avg@k", "95% interval", "pass@k", "maj@k", "tokens", "cut", "time-outs"):
        table.add_column(title, justify="right", no_wrap=True)
    for name, result in results.items():
        table.add_row(
            f"{escape(name)} k={result.k}",
            str(result.n_problems),
            _percent(result.accuracy),
            _interval(result.ci95),
            _percent(result.pass_at_k[result.k]),
            "-" if result.maj_at_k is None else _percent(result.maj_at_k),
            "-" if result.mean_length is None else f"{result.mean_length:.0f}",
            _percent(result.truncated),
            str(result.timed_out),
        )
        if 1 < len(result.per_group) <= _GROUPS_SHOWN:
            for group, cell in result.per_group.items():
                accuracy, interval = _percent(cell.accuracy), _interval(cell.ci95) if cell.ci95 else "-"
                table.add_row(f"  {escape(group)}", str(cell.n_problems), accuracy, interval)
    if len(results) > 1:
        average = sum(result.accuracy for result in results.values()) / len(results)
        table.add_row("average", "", _percent(average))
    Console().print(table)


def print_diff(found: EvalDifference, show: int) -> None:
    """The difference, what else differs, and the problems that flipped."""
    typer.echo(f"A {_percent(found.a)}   B {_percent(found.b)}   {found.n_problems} problems")
    interval = f"95% interval {_interval(found.ci95)} (paired over problems)"
    if found.ci95[0] == found.ci95[1]:  # a bootstrap of equal values has no width, which would look like certainty
        interval = "no interval: the difference is the same on every problem, so it says nothing about other problems"
    typer.echo(f"B - A {100 * found.difference:+.1f}, {interval}")
    typer.echo(f"{found.improved} problems rose, {found.worsened} fell")
    if found.left_out:
        typer.echo(f"{found.left_out} problems are in only one of them and left out")
    for line in found.settings:
        typer.echo(f"settings differ: {line}")
    _print_flips("solved by B alone, in half of the samples or more", found.gained, show)
    _print_flips("solved by A alone, in half of the samples or more", found.lost, show)


def _print_flips(title: str, flips: list[Flip], show: int) -> None:
    typer.echo(f"{title}: {len(flips)}")
    for flip in flips[:show]:
        typer.echo(f"  {flip.id}  {_percent(flip.a)} -> {_percent(flip.b)}")
    if len(flips) > show:
        typer.echo(f"  and {len(flips) - show} more; --json lists all")


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _interval(interval: Interval) -> str:
    return f"[{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"
