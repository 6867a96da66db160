"""Rollouts of conversations end where the chat template ends a turn, whatever the model's configuration names."""

import warnings
from typing import Any

from sgpo.models.sampling import end_of_turn


def end_with_the_template(trainer: Any) -> None:
    """Make the template's end of a turn an end for sampling, masks and metrics, and for the model that is saved.

    Base models (Qwen2.5-Math, Qwen3-Base) come with a template whose <|im_end|> they do not name as an end: rollouts
    would go on behind it with turns of their own, whose answers would be rewarded.
    """
    first = next(iter(trainer.train_dataset))["prompt"]
    turn = end_of_turn(trainer._tokenizer, [first], trainer.chat_template_kwargs)
    if turn is None or turn in trainer.eos_token_ids:
        return
    named = [trainer._tokenizer.convert_ids_to_tokens(end) for end in trainer.eos_token_ids]
    trainer.eos_token_ids = [*trainer.eos_token_ids, turn]
    model = trainer.accelerator.unwrap_model(trainer.model)
    model.generation_config.eos_token_id = list(trainer.eos_token_ids)
    if trainer.use_vllm:
        trainer.vllm_generation.generation_kwargs["stop_token_ids"] = list(trainer.eos_token_ids)
    else:
        trainer.generation_config.eos_token_id = list(trainer.eos_token_ids)
    warnings.warn(
        f"The chat template ends a turn with {trainer._tokenizer.convert_ids_to_tokens(turn)!r}, and the model with "
        f"{', '.join(map(repr, named))} alone, so it would go on behind its turn. Completions end there, too, and the "
        "model is saved so.",
        stacklevel=3,
    )
