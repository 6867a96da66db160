"""Special tokens that mean something in a text: marks of turns, the end of one, marks of thinking."""

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import TemplateError

from sgpo.data.prompts import Prompt
from sgpo.models.thinking import is_mark

_SAID = "what is said"  # stands for what an assistant says, where a template is looked at


def special_tokens(tokenizer: Any) -> dict[int, str]:
    """The special tokens that were added to a tokenizer's vocabulary, by their id."""
    added = getattr(tokenizer, "added_tokens_decoder", {})
    return {i: token.content for i, token in added.items() if token.special}


def special_marks(tokenizer: Any) -> set[int]:
    """The ids of special tokens that are marks of thinking; most tokenizers have them as plain tokens, or none."""
    return {i for i, token in special_tokens(tokenizer).items() if is_mark(token)}


def turn_marks(tokenizer: Any) -> list[str]:
    """The special tokens with which the chat template marks turns; the BOS is none of them."""
    template = str(getattr(tokenizer, "chat_template", None) or "")
    tokens = sorted(special_tokens(tokenizer).values())
    return [token for token in tokens if token in template and token != tokenizer.bos_token]


def end_of_turn(
    tokenizer: Any, prompts: Sequence[Prompt], chat_template_kwargs: Mapping[str, object] | None = None
) -> int | None:
    """The special token with which the chat template ends what an assistant says; None without one, and for plain text.

    Base models come with a template whose <|im_end|> neither their tokenizer nor their generation_config.json names as
    an end. Behind it they go on with turns of their own, and another answer in one of them would be read as theirs.
    """
    if all(isinstance(prompt, str) for prompt in prompts) or not getattr(tokenizer, "chat_template", None):
        return None
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _SAID}]
    try:
        rendered = tokenizer.apply_chat_template(turns, tokenize=False, **(chat_template_kwargs or {}))
    except TemplateError:  # a template may ask for other turns than these
        return None
    _, shown, behind = rendered.rpartition(_SAID)
    special = special_tokens(tokenizer)
    ids = tokenizer(behind, add_special_tokens=False)["input_ids"] if shown else []
    return next((token for token in ids if token in special), None)
