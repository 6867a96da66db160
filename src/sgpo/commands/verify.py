"""``sgpo verify FILE.jsonl --out OUT.jsonl``"""

from pathlib import Path
from typing import Annotated

import typer


def verify(
    file: Annotated[Path, typer.Argument(help="JSONL with id, gold and response.")],
    out: Annotated[Path, typer.Option(help="The same lines with correct, reason, extracted and seconds added.")],
    timeout: Annotated[
        float, typer.Option(help="Seconds that one response may take before its worker is killed.")
    ] = 2.0,
    require_box: Annotated[bool, typer.Option("--require-box", help=r"Only an answer in \boxed{} counts.")] = False,
) -> None:
    """Judge responses against gold answers. Exit code 0 whatever the verdicts."""
    from rich.progress import Progress

    from sgpo.rewards import cli_verify

    with Progress(transient=True) as progress:
        task = progress.add_task("verifying", total=None)
        counts = cli_verify(
            file,
            out,
            timeout=timeout,
            require_box=require_box,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    reasons = ", ".join(f"{reason} {n}" for reason, n in sorted(counts["reasons"].items()))
    typer.echo(f"{counts['correct']} of {counts['items']} correct ({reasons}); {out}")
