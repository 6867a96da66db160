"""``sgpo init MODEL DATA``: a recipe, a reward and a small data set to begin from."""

from pathlib import Path
from typing import Annotated

import typer


def init(
    model: Annotated[str, typer.Argument(help="Folder or hub id of the model to train.")],
    data: Annotated[
        str,
        typer.Argument(
            help="Problems with answers: a .jsonl, .json, .parquet or .csv file, a folder, or a hub id. Columns: "
            "prompt, problem or question; answer, solution, ground_truth or gold; strategy, if there are any."
        ),
    ],
    out: Annotated[Path, typer.Option(help="New folder to write the recipe, the reward and the problems to.")] = Path(
        "first-run"
    ),
    split: Annotated[str, typer.Option(help="Split of the data to take.")] = "train",
    rows: Annotated[int, typer.Option(help="Most rows of the data to write for the first run; 0 writes all.")] = 64,
    hardware: Annotated[
        str | None,
        typer.Option(help="Machine that the recipe is for: h100, h100:8, rtx4090 or cpu. Default: this one."),
    ] = None,
) -> None:
    """Write a recipe, a reward and a small data set to begin from, check them, and say what to type next."""
    from sgpo.plan.hardware import parse_hardware

    machine = parse_hardware(hardware)  # before torch is imported
    from sgpo.commands._check import print_check
    from sgpo.commands._init import FILES, RECIPE, write_start

    start = write_start(model, data, out, split=split, rows=rows, hardware=machine)
    try:
        code = print_check(["--config", str(out / RECIPE)], hardware)
    except ValueError:
        start.remove()  # else the same command, with the data mended, would be refused
        raise
    counts = f"{start.rows} of {start.of} rows, {start.strategies} with a strategy"
    typer.echo(f"\nWritten into {out}: {', '.join(FILES)} ({counts})\n{start.next_commands()}")
    raise typer.Exit(code)
