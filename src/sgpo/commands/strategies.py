"""``sgpo strategies ...``: from a strong model's responses to a data set with strategies."""

from dataclasses import dataclass

import typer

from sgpo.commands._options import takes_options
from sgpo.commands.strategies_check import check
from sgpo.options import option
from sgpo.strategies.options import (
    AuditOptions,
    ExportOptions,
    ExtractOptions,
    LibraryOptions,
    LiftOptions,
    RankOptions,
    StoreOptions,
)

app = typer.Typer(help="Extract, rank, check, audit, measure and export strategies.", no_args_is_help=True)
app.command()(check)


@app.command(epilog="Key, base URL and model come from OPENAI_API_KEY, OPENAI_BASE_URL, OPENAI_MODEL if not given.")
@takes_options
def extract(options: ExtractOptions) -> None:
    """Candidate strategies from each verified response. Stop it at will; answered calls are never asked again."""
    from sgpo.commands import _strategies as work

    raise typer.Exit(work.estimate(options) if options.dry_run else work.extract(options))


@app.command()
@takes_options
def rank(options: RankOptions) -> None:
    """Score the candidates of each problem on four criteria and keep one."""
    from sgpo.commands import _strategies as work

    raise typer.Exit(work.rank(options))


@app.command()
@takes_options
def audit(options: AuditOptions) -> None:
    """How often the answer is told from each strategy alone, without its problem, beside chance."""
    from sgpo.commands import _strategies_audit as work

    raise typer.Exit(work.audit(options))


@app.command()
@takes_options
def export(options: ExportOptions) -> None:
    """The best strategy of each problem that the leak check passes: prompt, strategy, answer, and where it is from."""
    from sgpo.commands import _strategies as work

    work.export(options)


@dataclass(frozen=True, kw_only=True)
class ShowOptions(StoreOptions):
    """The options of ``sgpo strategies show``."""

    ids: tuple[str, ...] = option((), argument=True, help="Ids of the problems to print. Default: the first ones.")
    limit: int = option(3, help="Number of problems to print where no ids are given.")


@app.command()
@takes_options
def show(options: ShowOptions) -> None:
    """Problems with their candidates, scores and verdicts."""
    from sgpo.commands import _strategies_view as view

    view.show(options.store, options.ids, options.limit)


@dataclass(frozen=True, kw_only=True)
class StatsOptions(StoreOptions):
    """The options of ``sgpo strategies stats``."""

    as_json: bool = option(False, flags=("--json",), help="Print the numbers as one JSON object.")


@app.command()
@takes_options
def stats(options: StatsOptions) -> None:
    """Rows, calls by outcome, tokens, candidates, verdicts."""
    from sgpo.commands import _strategies_view as view

    view.stats(options.store, options.as_json)


@app.command()
@takes_options
def lift(options: LiftOptions) -> None:
    """How much more often the student passes with each candidate than without. Stop it at will and run it again."""
    from sgpo.commands import _strategies_lift as work

    raise typer.Exit(work.lift(options))


@app.command()
@takes_options
def library(options: LibraryOptions) -> None:
    """Merge strategies that say the same, and give them to problems that have no response. Offline."""
    from sgpo.commands import _strategies_lift as work

    work.library(options)
