"""Commands on the embedded lab."""

from pathlib import Path

import typer


def quickstart(
    out: Path = typer.Option(
        Path("runs/quickstart"), help="Directory to write results.json, metrics, the plot and the models to."
    ),
    seed: int = typer.Option(0, help="Random seed of the training runs."),
    jobs: int = typer.Option(
        0, help="Number of processes side by side, of one thread each; 0 is one per core, at most 2."
    ),
) -> None:
    """Train SFT, GRPO and SGPO on the embedded lab, from one base, and print one table. Minutes on a CPU."""
    from sgpo.lab.quickstart import run

    run(out, seed=seed, jobs=jobs)
    plot(out)


def plot(out: Path) -> None:
    """Draw the learning curves of a quickstart, where matplotlib is installed."""
    from sgpo.lab.quickstart import LABELS, TRAINED

    try:
        from sgpo.report.curves import learning_curves
    except ImportError:
        typer.echo("No plot: matplotlib is not installed (pip install matplotlib).")
        return
    runs = {LABELS[method]: out / method / "metrics.jsonl" for method in TRAINED}
    learning_curves(runs, out / "learning_curves.png")
    typer.echo(f"{out / 'learning_curves.png'} written.")
