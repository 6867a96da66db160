"""``sgpo quickstart``: the methods on the embedded lab, and their report."""

from pathlib import Path

import typer


def quickstart(
    out: Path = typer.Option(
        Path("runs/quickstart"), help="Directory to write results.json, metrics, the report and the models to."
    ),
    seed: int = typer.Option(0, help="Random seed of the training runs."),
    jobs: int = typer.Option(
        0, help="Number of processes side by side, of one thread each; 0 is one per core, at most 2."
    ),
    show: bool = typer.Option(False, "--open", help="Show the report in a browser at the end."),
) -> None:
    """Train SFT, GRPO and SGPO on the embedded lab, from one base, and print one table. Minutes on a CPU."""
    from sgpo.api import report
    from sgpo.lab.quickstart import run_quickstart

    run_quickstart(out, seed=seed, jobs=jobs)
    plot(out)
    page = report(out)
    typer.echo(f"Report: {page.path}  (open it in a browser: curves, responses, what was distilled)")
    typer.echo("Next:   sgpo init MODEL DATA  (a recipe for a model and data of yours, checked)")
    typer.echo("        sgpo compare --preset paper --seeds 5  (every method with its own rate, on other problems)")
    if show:
        page.open()


def plot(out: Path) -> None:
    """Draw the learning curves of a quickstart, where matplotlib is installed."""
    from sgpo.report.load import load_run

    try:
        from sgpo.report.plots import figure_of
    except ImportError:
        typer.echo("No plot: matplotlib is not installed (pip install matplotlib).")
        return
    figure_of(load_run(out), "curves").savefig(out / "learning_curves.png", dpi=130)
    typer.echo(f"{out / 'learning_curves.png'} written.")
