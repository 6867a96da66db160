"""Responses to conversations end where the chat template ends a turn, whatever the model's configuration names."""

import warnings
from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedModel


def end_with_the_template(model: PreTrainedModel, tokenizer: Any, ends: Sequence[int], turn: int | None) -> list[int]:
    """The ids that end a response: the model's ``ends``, and the template's end of a ``turn``.

    Base models (Qwen2.5-Math, Qwen3-Base) come with a template whose <|im_end|> they do not name as an end: they would
    go on behind it with turns of their own, whose answers would be rewarded. The model is saved with the new end.
    """
    if turn is None or turn in ends:
        return [*ends]
    named = [tokenizer.convert_ids_to_tokens(end) for end in ends]
    model.generation_config.eos_token_id = [*ends, turn]
    warnings.warn(
        f"The chat template ends a turn with {tokenizer.convert_ids_to_tokens(turn)!r}, and the model with "
        f"{', '.join(map(repr, named))} alone, so it would go on behind its turn. Completions end there, too, and the "
        "model is saved so.",
        stacklevel=3,
    )
    return [*ends, turn]
