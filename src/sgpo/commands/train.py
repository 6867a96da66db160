"""``sgpo train --config FILE [--field value ...]``, and ``--check`` in place of the training."""

import typer

from sgpo.commands._train_help import short_help


def train_command(context: typer.Context) -> None:
    """Train a model by SGPO from a YAML recipe; any field can be overridden as --field value.

    The fields are those of RunArguments (data, rewards), SGPOConfig (training) and TRL's ModelConfig (model, LoRA).
    With --check nothing is trained: data, both prompts, rewards and memory are shown.
    """
    words = context.args
    if not words or {"--help", "-h"} & set(words):
        typer.echo(short_help())
    elif "--check" in words:
        from sgpo.commands._check import print_check
        from sgpo.plan.hardware import parse_hardware

        hardware, rest = _taken("--hardware", [word for word in words if word != "--check"])
        raise typer.Exit(print_check(rest, None if hardware is None else parse_hardware(hardware)))
    else:
        from sgpo.recipe import main

        main(["--help"] if "--help-all" in words else words)  # TRL's parser prints every field


def _taken(option: str, words: list[str]) -> tuple[str | None, list[str]]:
    """The value of an option that is no field, and the other words."""
    if option not in words:
        return None, words
    place = words.index(option)
    if place + 1 == len(words):
        raise ValueError(f"{option} needs a value, such as h100:8 or cpu.")
    return words[place + 1], words[:place] + words[place + 2 :]
