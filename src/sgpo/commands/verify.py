"""``sgpo verify FILE.jsonl --out OUT.jsonl``: a verdict on each line."""

from pathlib import Path
from typing import Annotated

import typer


def verify_command(
    file: Annotated[
        Path, typer.Argument(help="Data file; its rows have gold (or answer) and response (or completion, expert).")
    ],
    out: Annotated[
        Path,
        typer.Option(help="JSONL file to write the same lines to, with correct, reason, extracted and seconds added."),
    ],
    timeout: Annotated[
        float, typer.Option(help="Seconds that one response may take before its worker is killed.")
    ] = 2.0,
    require_box: Annotated[
        bool, typer.Option("--require-box", help=r"Count only answers that stand in \boxed{}.")
    ] = False,
) -> None:
    """Judge responses against gold answers; a run that was killed goes on. Exit code 0 whatever the verdicts."""
    from sgpo.rewards import cli_verify
    from sgpo.runs.progress import progress_of

    with progress_of("verify") as report:
        found = cli_verify(file, out, timeout=timeout, require_box=require_box, progress=report)
    reasons = ", ".join(f"{reason} {n}" for reason, n in sorted(found.reasons.items()))
    if found.before:
        typer.echo(f"{found.before} verdicts were there from a run that had been stopped")
    typer.echo(f"{found.correct} of {found.items} correct ({reasons}); {out}")
