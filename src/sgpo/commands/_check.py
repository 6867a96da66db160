"""What ``sgpo train --check`` prints: the recipe's data, prompts and rewards, and the memory that it needs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from sgpo.plan.assumptions import Assumptions
from sgpo.plan.hardware import Hardware, parse_hardware
from sgpo.runs.words import in_colour

if TYPE_CHECKING:
    from sgpo.recipe.check import Checked


def print_check(argv: Sequence[str], hardware: str | None) -> int:
    """Print what was found for ``--config FILE [--FIELD VALUE ...]``; 0, or 1 where something needs a look."""
    machine = parse_hardware(hardware)  # a slip in its name is said before torch is imported
    from sgpo.recipe.check import check_recipe

    found = check_recipe(argv, here=hardware is None)
    lines, fault = _memory(argv, machine, found)
    warnings = [*found.warnings, *fault]
    typer.echo("\n".join([*found.lines, "", *lines, ""]))
    for warning in warnings:
        typer.echo(in_colour(f"Look at this: {warning}", 33, sys.stdout))
    typer.echo("Nothing was trained." if warnings else "All well. Nothing was trained.")
    return 1 if warnings else 0


def _memory(argv: Sequence[str], hardware: Hardware, found: Checked) -> tuple[list[str], list[str]]:
    """The plan in short, and what does not fit. A model that the plan does not know is no fault."""
    from sgpo.plan import plan_recipe
    from sgpo.plan.render import plan_summary

    assumed = Assumptions(prompt_tokens=found.prompt_tokens, strategy_tokens=found.strategy_tokens, problems=found.rows)
    try:
        plan = plan_recipe(argv, hardware, assumptions=assumed)
    # The plan knows fewer architectures than transformers; training one of the others is no mistake.
    except ValueError as error:
        return [f"Memory: not known. {error}"], []
    lines = [f"Memory and time on {hardware}, by `sgpo plan`: {plan_summary(plan)}"]
    return lines, [] if plan.fits else [f"Does not fit: {plan.misfit}. Remedy: {plan.remedy}."]
