"""``sgpo train --config FILE [--field value ...]``, and ``--check`` in place of the training."""

import argparse

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

        own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        own.add_argument("--check", action="store_true")
        own.add_argument("--hardware", nargs="?", const="")
        given, fields = own.parse_known_args(words)
        if given.hardware == "":
            raise ValueError("--hardware needs a value, such as h100:8 or cpu.")
        raise typer.Exit(print_check(fields, given.hardware))
    elif any(word.partition("=")[0] == "--hardware" for word in words):
        raise ValueError(
            "--hardware says what --check or sgpo plan shall plan for; a training takes the machine it is on."
        )
    else:
        from sgpo.recipe import main

        main(["--help"] if "--help-all" in words else words)  # TRL's parser prints every field
