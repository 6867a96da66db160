"""``sgpo strategies lift`` and ``sgpo strategies library``."""

from pathlib import Path
from typing import Annotated

import typer

StoreFile = Annotated[Path, typer.Option("--store", help="The SQLite file; run again with it to go on.")]
TemplateName = Annotated[str | None, typer.Option(help="Of the prompt: as for sgpo eval.")]


def lift(
    student: Annotated[
        str, typer.Option("--student", "-m", help="The model to be trained: a folder (an adapter's too) or hub id.")
    ],
    store: StoreFile = Path("strategies.db"),
    first: Annotated[int, typer.Option(help="Samples of each candidate in the first round.")] = 4,
    rounds: Annotated[int, typer.Option(help="Each keeps the better half and doubles its samples.")] = 3,
    limit: Annotated[int | None, typer.Option(help="Only so many problems.")] = None,
    no_check: Annotated[bool, typer.Option("--no-check", help="Measure strategies that leak, too.")] = False,
    grader: Annotated[str, typer.Option("--grader", help="verify, or lab for models of the embedded task.")] = "verify",
    template: TemplateName = None,
    guided_template: Annotated[str | None, typer.Option(help="Text, or a file, with {prompt} and {strategy}.")] = None,
    temperature: Annotated[float, typer.Option(help="Over 0.")] = 1.0,
    top_p: Annotated[float, typer.Option(help="Nucleus.")] = 1.0,
    max_new_tokens: Annotated[
        int | None,
        typer.Option(help="Of one completion. Default: half of the student's context, at most 32768; lab 40."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Names the random streams.")] = 0,
    backend: Annotated[str, typer.Option("--backend", help="transformers or vllm.")] = "transformers",
    batch_size: Annotated[int | None, typer.Option(help="Completions at once. Default: 64, vLLM 512.")] = None,
    device: Annotated[str | None, typer.Option(help="For transformers. Default: cuda where there is one.")] = None,
    dtype: Annotated[str, typer.Option(help="auto: as saved, but float32 on a CPU.")] = "auto",
    revision: Annotated[str | None, typer.Option(help="Of a model on the hub.")] = None,
    chat_template_kwargs: Annotated[
        str | None, typer.Option(help="JSON for the chat template, such as '{\"enable_thinking\": false}'.")
    ] = None,
    verify_timeout: Annotated[float, typer.Option(help="Seconds the verifier may take for one response.")] = 2.0,
) -> None:
    """How much more often the student passes with each candidate than without. Stop it at will and run it again."""
    given = dict(locals())
    from sgpo.commands import _strategies_lift as work

    raise typer.Exit(work.lift(given))


def library(
    store: StoreFile = Path("strategies.db"),
    by: Annotated[str, typer.Option("--by", help="Which candidate of a problem counts: by rank or lift.")] = "rank",
    threshold: Annotated[float, typer.Option(help="Likeness from which two strategies say the same, 0 to 1.")] = 0.8,
    embedding: Annotated[
        str | None, typer.Option(help="A sentence-transformers model, in place of word counts.")
    ] = None,
    problems: Annotated[Path | None, typer.Option(help="JSONL with problem and answer: gets strategies.")] = None,
    out: Annotated[Path | None, typer.Option(help="JSONL of these problems with a strategy each.")] = None,
    template: TemplateName = None,
    neighbours: Annotated[int, typer.Option(help="Served problems that vote on a new one.")] = 5,
    floor: Annotated[float, typer.Option(help="Likeness below which a problem gets no strategy, 0 to 1.")] = 0.1,
    top: Annotated[int, typer.Option(help="Strategies to print.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print all as JSON.")] = False,
) -> None:
    """Merge strategies that say the same, and give them to problems that have no response. Offline."""
    given = dict(locals())
    from sgpo.commands import _strategies_lift as work

    work.library(given)
