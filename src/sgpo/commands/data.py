"""Commands on data sets."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Check data sets.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Check data sets."""


@app.command("overlap")
def overlap_command(
    train: Annotated[
        Path, typer.Argument(help="Training data: a JSONL or parquet file with a column problem, prompt or question.")
    ],
    evaluation: Annotated[
        str, typer.Argument(metavar="EVAL", help="Evaluation data: another such file, or the name of a benchmark.")
    ],
    n: Annotated[int, typer.Option(help="Number of words in an n-gram.")] = 8,
    threshold: Annotated[
        float,
        typer.Option(
            help="Share, 0 to 1, of an evaluation problem's n-grams from which on a training problem counts as near."
        ),
    ] = 0.5,
    out: Annotated[Path | None, typer.Option(help="JSONL file to write all pairs with their texts to.")] = None,
    show: Annotated[int, typer.Option(help="Most pairs to print.")] = 20,
    fail: Annotated[bool, typer.Option("--fail", help="Exit with code 1 if there is any pair.")] = False,
) -> None:
    """Find evaluation problems that are in the training data, word for word or nearly so."""
    from sgpo.data.benchmarks import HUB, load_hub
    from sgpo.data.overlap import ComparedText, find_overlap, load_texts
    from sgpo.data.tables import check_replaces
    from sgpo.runs.files import write_rows

    if out is not None:
        check_replaces(out, "eval_text")
    # A file of that name in this folder is meant before a benchmark is.
    if evaluation in HUB and not Path(evaluation).exists():
        texts = [ComparedText(problem.id, problem.problem) for problem in load_hub(evaluation)]
    else:
        texts = load_texts(Path(evaluation))
    trained = load_texts(train)
    pairs = find_overlap(trained, texts, n=n, threshold=threshold)
    exact = sum(pair.kind == "exact" for pair in pairs)
    hit = len({pair.eval for pair in pairs})
    typer.echo(
        f"{hit} of {len(texts)} evaluation problems are in the {len(trained)} training problems: "
        f"{exact} exact and {len(pairs) - exact} near pairs"
    )
    for pair in pairs[:show]:
        typer.echo(f"  {pair.kind:5} {pair.similarity:.2f}  {pair.eval}  <-  {pair.train}")
        typer.echo(f"    eval:  {_line(pair.eval_text)}")
        typer.echo(f"    train: {_line(pair.train_text)}")
    if len(pairs) > show:
        typer.echo(f"  and {len(pairs) - show} more" + ("" if out else "; --out FILE lists them all"))
    if out is not None:
        write_rows(out, map(asdict, pairs))
        typer.echo(f"written: {out}")
    if fail and pairs:
        raise typer.Exit(1)


def _line(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= 110 else flat[:107] + "..."
