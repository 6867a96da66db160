"""``sgpo train --config FILE [--field value ...]``"""

import typer


def train(context: typer.Context) -> None:
    """Train a model by SGPO from a YAML recipe; any field can be overridden as --field value.

    The fields are those of RunArguments (data, rewards), SGPOConfig (training) and TRL's ModelConfig (model, LoRA).
    """
    from sgpo.recipe import main

    main(context.args)
