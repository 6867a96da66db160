"""``sgpo compare``."""

from dataclasses import replace
from pathlib import Path

import typer


def compare(
    more: list[str] = typer.Argument(None, metavar="[METHOD]...", help="Methods, as behind --methods."),
    methods: list[str] = typer.Option(
        None, help="Methods, separated by blanks or commas; fields may follow a colon: sgpo:kl_clip=0.3,teacher=ema."
    ),
    preset: str = typer.Option("", help="A list of methods: paper, ablations or forms."),
    seeds: int = typer.Option(5, help="Training runs of each method; they alternate between the shipped bases."),
    out: Path = typer.Option(Path("runs/compare"), help="Directory; an unfinished comparison in it goes on."),
    generations: int = typer.Option(0, help="Generation batches of a run. 0: the lab's default."),
    tune: str = typer.Option("8e-4 1.6e-3 3.2e-3", help="Learning rates to search for each method; '' for none."),
    base: list[Path] = typer.Option(
        None, help="Base to start from, a folder of sgpo.lab.pretrain; several alternate over the seeds."
    ),
    terse_expert: float = typer.Option(
        0.0, help="Share of the training problems whose expert response skips steps, as a stronger model's may."
    ),
    jobs: int = typer.Option(0, help="Runs side by side, one thread each. 0: one per core."),
) -> None:
    """Compare methods on the embedded lab: same warm start, prompts, steps and evaluation. Resumable."""
    from sgpo.compare.run import Plan
    from sgpo.compare.run import compare as run
    from sgpo.compare.table import as_text
    from sgpo.lab.experiment import Budget
    from sgpo.trainer.methods import PRESETS

    if preset and preset not in PRESETS:
        raise ValueError(f"preset {preset!r} is unknown; choose from {', '.join(PRESETS)}.")
    names = [*PRESETS.get(preset, ()), *split_methods([*(methods or ()), *(more or ())])]
    if not names:
        raise ValueError(f"Name the methods with --methods, or a --preset: {', '.join(PRESETS)}.")
    if generations < 0:
        raise ValueError(f"generations is {generations}, but must be 0 (the default) or more.")
    budget = Budget(terse_expert=terse_expert)
    if generations:
        budget = replace(budget, generations=generations, eval_every=max(1, generations // 10))
    try:
        rates = tuple(float(rate) for rate in tune.replace(",", " ").split())
    except ValueError as error:
        raise ValueError(f"--tune {tune!r} is no list of learning rates: {error}.") from error
    results = run(Plan(tuple(dict.fromkeys(names)), seeds, budget, rates, jobs, tuple(base or ())), out)
    typer.echo(as_text(results))
    typer.echo(f"{out / 'results.json'} written.")
    if results["failed"]:
        raise typer.Exit(1)


def split_methods(texts: list[str]) -> list[str]:
    """Method names from what was typed. A comma before ``field=value`` belongs to the method in front of it."""
    names: list[str] = []
    for text in texts:
        for i, part in enumerate(part for word in text.split() for part in word.split(",") if part):
            if i and "=" in part and ":" not in part:
                names[-1] += f",{part}"
            else:
                names.append(part)
    return names
