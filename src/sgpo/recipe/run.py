"""One training run from a recipe: parse, load, train, save. Behind ``sgpo train`` and ``python -m sgpo.recipe``."""

import sys
from collections.abc import Sequence
from typing import Any

from datasets import Dataset
from trl import ModelConfig, get_peft_config, get_quantization_config

from sgpo.recipe.arguments import parse
from sgpo.recipe.data import load_data, load_eval_data
from sgpo.recipe.model import check_model, init_kwargs, model_path
from sgpo.recipe.rewards import load_reward
from sgpo.trainer import SGPOTrainer


def build(trainer_class: Any, config: Any, model: ModelConfig, data: Dataset, **more: Any) -> Any:
    """The trainer of a recipe; ``more`` goes to it beside the model, the arguments and the data."""
    config.model_init_kwargs = init_kwargs(config, model)
    return trainer_class(
        model=model_path(model),
        args=config,
        train_dataset=data,
        peft_config=get_peft_config(model),
        quantization_config=get_quantization_config(model),
        **more,
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Train as the recipe says and save the model into ``output_dir``."""
    run, config, model = parse(sys.argv[1:] if argv is None else argv)
    rewards = [load_reward(name) for name in run.reward_funcs]
    check_model(model, trust_remote_code=config.trust_remote_code)
    data, measured = load_data(run), load_eval_data(run)
    trainer = build(SGPOTrainer, config, model, data, reward_funcs=rewards, eval_dataset=measured)
    trainer.train(resume_from_checkpoint=run.resume or None)
    trainer.save_model(config.output_dir)
