"""``sgpo compare``: methods against each other, on the embedded lab or on a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from sgpo.commands._options import takes_options
from sgpo.compare.options import CompareOptions

if TYPE_CHECKING:
    from sgpo.compare.run import ComparePlan

_LAB_RATES = (8e-4, 1.6e-3)
_FACTORS = (1, 3, 10)  # of a recipe's learning rate: SFT wants a higher one than RL does


@takes_options
def compare_command(options: CompareOptions) -> None:
    """Compare methods on the embedded lab, or on a recipe: same start, data, steps and evaluation. Resumable."""
    from sgpo.compare.run import run_comparison
    from sgpo.compare.table import as_text

    results = run_comparison(plan_of(options), options.out, options.lab.reuse)
    typer.echo(as_text(results))
    typer.echo(f"{options.out / 'results.json'} written.")
    if results.failed:
        raise typer.Exit(1)


def plan_of(options: CompareOptions) -> ComparePlan:
    """What to compare, on the lab or on the recipe."""
    return _lab_plan(options) if options.config is None else _recipe_plan(options, options.config)


def _lab_plan(options: CompareOptions) -> ComparePlan:
    from sgpo.compare.lab import LabTask
    from sgpo.compare.run import ComparePlan
    from sgpo.lab.experiment import RunBudget

    lab = options.lab
    budget = RunBudget.lasting(lab.generations or RunBudget.generations, expert=lab.expert or RunBudget.expert)
    rates = _LAB_RATES if options.rates is None else options.rates
    return ComparePlan(
        options.method_names, options.seeds, LabTask(budget, lab.base), rates, options.jobs, lab.tune_balance
    )


def _recipe_plan(options: CompareOptions, config: Path) -> ComparePlan:
    from sgpo.compare.recipe import RecipeTask, parse_fields, read_fields
    from sgpo.compare.run import ComparePlan

    given, rates = options.recipe, options.rates
    recipe = read_fields(config, given.set_)
    if rates is None:
        # Around that of the recipe, which its author has found good for SGPO.
        rate = parse_fields(recipe)[1].learning_rate
        rates = tuple(float(f"{factor * rate:.6g}") for factor in _FACTORS)
    task = RecipeTask(
        recipe,
        given.benchmark,
        options.measure.as_eval_options(),
        None if given.validation is None else str(given.validation),
        len(rates) > 1,
        given.launcher or "",
    )
    return ComparePlan(options.method_names, options.seeds, task, rates, options.jobs)
