"""``sgpo compare``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sgpo.commands.evaluate import (
    BatchSize,
    GraderName,
    K,
    Limit,
    MaxLen,
    MaxTokens,
    Parallel,
    Preset,
    Temperature,
    TemplateName,
    TopP,
)

_LAB = ("generations", "base", "terse_expert")
_RECIPE = ("set_", "benchmark", "validation", "launcher")
_EVALUATION = (  # of sgpo eval
    "eval_preset",
    "k",
    "temperature",
    "top_p",
    "max_new_tokens",
    "template",
    "grader",
    "limit",
    "backend",
    "batch_size",
    "tensor_parallel",
    "max_model_len",
)
_FACTORS = (1, 3, 10)  # of a recipe's learning rate: SFT wants a higher one than RL does


def compare(
    more: list[str] = typer.Argument(None, metavar="[METHOD]...", help="Methods, as behind --methods."),
    methods: list[str] = typer.Option(
        None, help="Methods, separated by blanks or commas; fields may follow a colon: sgpo:kl_clip=0.3,teacher=ema."
    ),
    preset: str = typer.Option("", help="A list of methods: paper, ablations or forms."),
    seeds: int = typer.Option(5, help="Training runs of each method; on the lab they alternate between the bases."),
    out: Path = typer.Option(Path("runs/compare"), help="Directory; an unfinished comparison in it goes on."),
    tune: str = typer.Option(
        None,
        help="Learning rates to search for each method; '' for none. Default: 8e-4 1.6e-3 3.2e-3 on the lab; once, 3 "
        "and 10 times that of the recipe.",
    ),
    jobs: int = typer.Option(0, help="Runs side by side. 0: one per core on the lab, one of a recipe."),
    generations: int = typer.Option(None, help="Lab: generation batches of a run."),
    base: list[Path] = typer.Option(
        None, help="Lab: base to start from, a folder of sgpo.lab.pretrain; several alternate over the seeds."
    ),
    terse_expert: float = typer.Option(
        None, help="Lab: share of the training problems whose expert response skips steps, as a stronger model's may."
    ),
    config: Path = typer.Option(None, help="A recipe of sgpo train, in place of the lab."),
    set_: list[str] = typer.Option(None, "--set", help="Recipe: FIELD=VALUE in place of what it says; repeatable."),
    benchmark: list[str] = typer.Option(
        None, "--benchmark", "-b", help="Recipe: what to measure by, a name of sgpo eval or a JSONL file; repeatable."
    ),
    validation: Path = typer.Option(
        None, help="Recipe: JSONL file to search learning rates on. Default: 5% of the training problems, held out."
    ),
    launcher: str = typer.Option(
        None, help="Recipe: command in front of -m, such as 'accelerate launch --config_file FILE'."
    ),
    eval_preset: Preset = None,
    k: K = None,
    temperature: Temperature = None,
    top_p: TopP = None,
    max_new_tokens: MaxTokens = None,
    template: TemplateName = None,
    grader: GraderName = None,
    limit: Limit = None,
    backend: Annotated[str | None, typer.Option(help="transformers or vllm.")] = None,
    batch_size: BatchSize = None,
    tensor_parallel: Parallel = None,  # type: ignore[assignment]
    max_model_len: MaxLen = None,
) -> None:
    """Compare methods on the embedded lab, or on a recipe: same start, data, steps and evaluation. Resumable."""
    given = {name: value for name, value in locals().items() if value not in (None, [])}
    from sgpo.compare.run import Plan
    from sgpo.compare.run import compare as run
    from sgpo.compare.table import as_text
    from sgpo.runs.methods import PRESETS

    if preset and preset not in PRESETS:
        raise ValueError(f"preset {preset!r} is unknown; choose from {', '.join(PRESETS)}.")
    names = [*PRESETS.get(preset, ()), *split_methods([*(methods or ()), *(more or ())])]
    if not names:
        raise ValueError(f"Name the methods with --methods, or a --preset: {', '.join(PRESETS)}.")
    foreign = _LAB if config else (*_RECIPE, *_EVALUATION)
    if wrong := [name for name in foreign if name in given]:
        option = "--" + wrong[0].strip("_").replace("_", "-")
        where = "the lab, not a recipe" if config else "a comparison on a recipe (--config)"
        raise ValueError(f"{option} is for {where}; leave it out.")
    rates = None if tune is None else _rates(tune)
    task, rates = _recipe_task(given, rates) if config else _lab_task(given, rates)
    results = run(Plan(tuple(dict.fromkeys(names)), seeds, task, rates, jobs), out)
    typer.echo(as_text(results))
    typer.echo(f"{out / 'results.json'} written.")
    if results["failed"]:
        raise typer.Exit(1)


Rates = tuple[float, ...]


def _lab_task(given: dict[str, Any], rates: Rates | None) -> tuple[Any, Rates]:
    from sgpo.compare.lab import LabTask
    from sgpo.lab.experiment import Budget

    generations = given.get("generations", 0)
    if generations < 0:
        raise ValueError(f"generations is {generations}, but must be 0 (the default) or more.")
    budget = Budget.lasting(generations or Budget.generations, terse_expert=given.get("terse_expert", 0.0))
    return LabTask(budget, tuple(given.get("base", ()))), (8e-4, 1.6e-3, 3.2e-3) if rates is None else rates


def _recipe_task(given: dict[str, Any], rates: Rates | None) -> tuple[Any, Rates]:
    from sgpo.compare.recipe import RecipeTask, parse_fields, read_fields

    recipe = read_fields(given["config"], given.get("set_", ()))
    evaluation = {name: given[name] for name in _EVALUATION if name in given}
    if "eval_preset" in evaluation:
        evaluation["preset"] = evaluation.pop("eval_preset")
    if rates is None:
        rate = parse_fields(recipe)[1].learning_rate
        rates = tuple(float(f"{factor * rate:.6g}") for factor in _FACTORS)
    task = RecipeTask(
        recipe,
        tuple(given.get("benchmark", ())),
        evaluation,
        str(given["validation"]) if "validation" in given else None,
        len(rates) > 1,
        given.get("launcher", ""),
    )
    return task, rates


def _rates(text: str) -> Rates:
    try:
        return tuple(float(rate) for rate in text.replace(",", " ").split())
    except ValueError as error:
        raise ValueError(f"--tune {text!r} is no list of learning rates: {error}.") from error


def split_methods(texts: list[str]) -> list[str]:
    """Method names from what was typed. A comma before ``field=value`` belongs to the method in front of it."""
    names: list[str] = []
    for text in texts:
        for i, part in enumerate(part for word in text.split() for part in word.split(",") if part):
            if i and "=" in part and ":" not in part:
                names[-1] += f",{part}"
            else:
                names.append(part)
    return names
