"""``sgpo strategies check FILE --out OUT.jsonl``"""

from pathlib import Path
from typing import Annotated

import typer


def check(
    file: Annotated[
        Path,
        typer.Argument(
            help="File with id, problem, answer, response and strategy in each row; an exported data set; or a store."
        ),
    ],
    out: Annotated[Path, typer.Option(help="JSONL file to write the same rows to, with leak and reason added.")],
) -> None:
    """Find strategies that give the answer or the computation away. Offline; exit code 0 whatever the verdicts."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from sgpo.strategies.check_files import check_file

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True) as progress:
        task = progress.add_task("checking", total=None)
        counts = check_file(file, out, progress=lambda done, total: progress.update(task, completed=done, total=total))
    kinds = ", ".join(f"{kind} {n}" for kind, n in sorted(counts["kinds"].items()))
    typer.echo(f"{counts['leaks']} of {counts['items']} strategies leak{f' ({kinds})' if kinds else ''}; {out}")
    if counts["without_response"]:
        typer.echo(
            f"{counts['without_response']} had no response to compare with, so that intermediate results and copied "
            "text were not looked for; check the store, or export with --expert."
        )
