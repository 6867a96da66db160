"""``sgpo strategies ...``: from a strong model's responses to a data set with strategies."""

import importlib
from pathlib import Path
from typing import Annotated, Any

import typer

from sgpo.commands._options import takes_options
from sgpo.strategies import options

app = typer.Typer(help="Extract, rank, check, audit, measure and export strategies.", no_args_is_help=True)


@app.command("check")
def check_command(
    file: Annotated[
        Path,
        typer.Argument(
            help="File with problem (or prompt, question), answer, strategy and, if any, response in a row; or a store."
        ),
    ],
    out: Annotated[Path, typer.Option(help="JSONL file to write the same rows to, with leak and reason added.")],
) -> None:
    """Find strategies that give the answer or the computation away. Offline; exit code 0 whatever the verdicts."""
    from sgpo.runs.progress import progress_of
    from sgpo.strategies.check_files import check_file

    with progress_of("check") as report:
        counts = check_file(file, out, progress=report)
    kinds = ", ".join(f"{kind} {n}" for kind, n in sorted(counts["kinds"].items()))
    typer.echo(f"{counts['leaks']} of {counts['items']} strategies leak{f' ({kinds})' if kinds else ''}; {out}")
    if counts["bare"]:
        typer.echo(f"{counts['bare']} rows have no strategy.")
    if counts["without_response"]:
        typer.echo(
            f"{counts['without_response']} had no response to compare with, so that intermediate results and copied "
            "text were not looked for; check a store of extract, export with --expert, or add a column response."
        )


def _add(name: str, kind: type[Any], work: str, does: str, **details: Any) -> None:
    """A command with the options of ``kind``; ``work`` is the function that it calls, which may give an exit code."""

    def run(options: Any) -> None:
        module, _, function = work.partition(":")
        # Only now: the help of a command waits for no package.
        raise typer.Exit(getattr(importlib.import_module(f"sgpo.commands.{module}"), function)(options) or 0)

    run.__annotations__["options"], run.__doc__ = kind, does
    app.command(name, **details)(takes_options(run))


# fmt: off
_add("extract", options.ExtractOptions, "_strategies:run_extraction",
     "Write candidate strategies for each verified response. Stop it at any time; no answered call is asked again.",
     epilog="Key, base URL and model come from OPENAI_API_KEY, OPENAI_BASE_URL, OPENAI_MODEL if not given.")
_add("import", options.ImportOptions, "_strategies:run_import",
     "Write strategies of your own into a store, to be judged as extracted ones are. Asks nothing.")
_add("rank", options.RankOptions, "_strategies:run_ranking",
     "Score the candidates of each problem on four criteria and keep one.")
_add("audit", options.AuditOptions, "_strategies:run_audit",
     "Measure how often a model tells the answer from a strategy alone, without its problem, and by chance.")
_add("export", options.ExportOptions, "_strategies:run_export",
     "Write the best strategy of each problem that passes the leak check, as data that sgpo train reads.")
_add("show", options.ShowOptions, "_strategies_view:print_problems",
     "Print problems with their candidates, scores and verdicts.")
_add("stats", options.StatsOptions, "_strategies_view:print_stats",
     "Print how many rows, calls by outcome, tokens, candidates and verdicts the store holds.")
_add("lift", options.LiftOptions, "_strategies_lift:run_lift",
     "Measure how much more often the student passes with each candidate than without. Resumable.")
_add("library", options.LibraryOptions, "_strategies_lift:run_library",
     "Merge strategies that say the same, and give them to problems that have no response. Offline.")
# fmt: on
