"""``sgpo strategies ...``: from a strong model's responses to a data set with strategies."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from sgpo.commands._options import takes_options
from sgpo.options import option
from sgpo.strategies.options import (
    AuditOptions,
    ExportOptions,
    ExtractOptions,
    ImportOptions,
    LibraryOptions,
    LiftOptions,
    RankOptions,
    StoreOptions,
)

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


@app.command(
    "extract", epilog="Key, base URL and model come from OPENAI_API_KEY, OPENAI_BASE_URL, OPENAI_MODEL if not given."
)
@takes_options
def extract_command(options: ExtractOptions) -> None:
    """Write candidate strategies for each verified response. Stop it at any time; no answered call is asked again."""
    from sgpo.commands import _strategies as work

    raise typer.Exit(work.run_extraction(options))


@app.command("import")
@takes_options
def import_command(options: ImportOptions) -> None:
    """Write strategies of your own into a store, to be judged as extracted ones are. Asks nothing."""
    from sgpo.commands import _strategies as work

    work.run_import(options)


@app.command("rank")
@takes_options
def rank_command(options: RankOptions) -> None:
    """Score the candidates of each problem on four criteria and keep one."""
    from sgpo.commands import _strategies as work

    raise typer.Exit(work.run_ranking(options))


@app.command("audit")
@takes_options
def audit_command(options: AuditOptions) -> None:
    """Measure how often a model tells the answer from a strategy alone, without its problem, and by chance."""
    from sgpo.commands import _strategies as work

    raise typer.Exit(work.run_audit(options))


@app.command("export")
@takes_options
def export_command(options: ExportOptions) -> None:
    """Write the best strategy of each problem that passes the leak check, as data that sgpo train reads."""
    from sgpo.commands import _strategies as work

    work.run_export(options)


@dataclass(frozen=True, kw_only=True)
class ShowOptions(StoreOptions):
    """The options of ``sgpo strategies show``."""

    ids: tuple[str, ...] = option((), argument=True, help="Ids of the problems to print. Default: the first ones.")
    limit: int = option(3, help="Number of problems to print where no ids are given.")


@app.command("show")
@takes_options
def show_command(options: ShowOptions) -> None:
    """Print problems with their candidates, scores and verdicts."""
    from sgpo.commands import _strategies_view as view

    view.print_problems(options.store, options.ids, options.limit)


@dataclass(frozen=True, kw_only=True)
class StatsOptions(StoreOptions):
    """The options of ``sgpo strategies stats``."""

    as_json: bool = option(False, flags=("--json",), help="Print the numbers as one JSON object.")


@app.command("stats")
@takes_options
def stats_command(options: StatsOptions) -> None:
    """Print how many rows, calls by outcome, tokens, candidates and verdicts the store holds."""
    from sgpo.commands import _strategies_view as view

    view.print_stats(options.store, options.as_json)


@app.command("lift")
@takes_options
def lift_command(options: LiftOptions) -> None:
    """Measure how much more often the student passes with each candidate than without. Resumable."""
    from sgpo.commands import _strategies_lift as work

    raise typer.Exit(work.run_lift(options))


@app.command("library")
@takes_options
def library_command(options: LibraryOptions) -> None:
    """Merge strategies that say the same, and give them to problems that have no response. Offline."""
    from sgpo.commands import _strategies_lift as work

    work.run_library(options)
