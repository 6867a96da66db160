"""``sgpo strategies check FILE.jsonl --out OUT.jsonl``"""

from pathlib import Path
from typing import Annotated

import typer


def check(
    file: Annotated[Path, typer.Argument(help="JSONL with id, problem, answer, response and strategy.")],
    out: Annotated[Path, typer.Option(help="The same lines with leak and reason added.")],
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
