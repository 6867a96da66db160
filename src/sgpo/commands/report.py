"""``sgpo report DIR``: the page of a run, and its plots."""

from pathlib import Path
from typing import Annotated

import typer


def report_command(
    directory: Annotated[
        Path, typer.Argument(help="Directory that sgpo compare, sgpo quickstart or sgpo train has written.")
    ],
    out: Annotated[Path | None, typer.Option(help="HTML file to write. Default: report.html in the directory.")] = None,
    tokens: Annotated[
        int, typer.Option(min=0, help="Number of responses to compute the token view of, for lab runs.")
    ] = 0,
    plots: Annotated[
        bool, typer.Option(help="Write the plots as PNG and SVG files too, if matplotlib is installed.")
    ] = True,
) -> None:
    """Write one HTML file that shows a run: comparison, curves, families, responses, token view. Opens offline."""
    from sgpo.report.experts import comparisons
    from sgpo.report.load import load_run
    from sgpo.report.page import write_experts, write_report

    # A folder of comparisons has no run of its own to show.
    if comparisons(directory):
        typer.echo(f"{write_experts(directory, out)} written: the comparisons in {directory} side by side.")
        return
    if tokens:
        from sgpo.report.lab_tokens import write_tokens

        write_tokens(load_run(directory), tokens)  # a mistake in the directory is said before a model is loaded
    out = out or directory / "report.html"
    run = write_report(directory, out)
    for notice in run.notices:
        typer.echo(notice)
    if not run.finished:
        typer.echo("The run is in progress: the report shows what is there.")
    if crashed := [cell.name for cell in run.cells if cell.state == "crashed"]:
        typer.echo(f"Crashed: {', '.join(crashed)}; their errors are in the report.")
    if plots:
        try:
            from sgpo.report.plots import write_plots
        except ImportError:
            typer.echo("No plot files: matplotlib is not installed (pip install matplotlib).")
        else:
            if files := write_plots(run, directory / "plots"):
                typer.echo(f"{len(files)} plots in {directory / 'plots'}.")
    typer.echo(f"{out} written ({out.stat().st_size / 1000:.0f} KB).")
