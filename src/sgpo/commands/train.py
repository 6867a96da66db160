"""``sgpo train --config FILE [--field value ...]``"""

import typer

from sgpo.commands._train_help import short_help


def train(context: typer.Context) -> None:
    """Train a model by SGPO from a YAML recipe; any field can be overridden as --field value.

    The fields are those of RunArguments (data, rewards), SGPOConfig (training) and TRL's ModelConfig (model, LoRA).
    """
    words = context.args
    if not words or {"--help", "-h"} & set(words):
        typer.echo(short_help())
        return
    from sgpo.recipe import main

    main(["--help"] if "--help-all" in words else words)  # TRL's parser prints every field
