"""The prompts of a data set in the one form that every part of a trainer reads; see `sgpo.data.prompts.text_prompt`."""

from collections.abc import Callable
from typing import Any

from datasets import Dataset, IterableDataset

from sgpo.data.prompts import text_prompt
from sgpo.models.thinking import begins_thinking, begun_at_end
from sgpo.trainer.rollouts import Problem

_IMAGES = ("image", "images")


def text_only(data: Any) -> Any:
    """A data set, or a dict of them, whose prompts are text or messages with text; anything else is left to TRL.

    An ``images`` column in which no row has an image is dropped. Rows of a streamed data set are read as they come.

    Raises:
        ValueError: a prompt that is neither, or blank; a part of a message that is no text, or an image.
    """
    if isinstance(data, dict):
        return type(data)({name: text_only(each) for name, each in data.items()})
    if isinstance(data, IterableDataset):
        return _streamed(data)
    if not isinstance(data, Dataset):
        return data
    for name in _IMAGES:
        if name in data.column_names:
            cells = data.with_format("arrow")[:][name].to_pylist()  # without decoding an image
            filled = next((row for row, cell in enumerate(cells) if cell), None)
            if filled is not None:
                raise ValueError(_has_image(name, f"row {filled}"))
            data = data.remove_columns(name)
    if "prompt" not in data.column_names:
        return data
    changed = False
    for row, prompt in enumerate(data["prompt"]):
        try:
            changed |= _text(prompt) is not prompt
        except ValueError as error:
            raise ValueError(f"Row {row}: {error}") from error
    # A cache of `datasets` knows a function of a module by its name alone, and would outlive a change of it.
    return data.map(_plain, desc="Prompts as text", load_from_cache_file=False) if changed else data


def _streamed(data: IterableDataset) -> IterableDataset:
    first: Problem = next(iter(data), {})
    if "prompt" not in first:
        return data
    same = not any(name in first for name in _IMAGES) and _text(first["prompt"]) is first["prompt"]
    return data.map(_plain, remove_columns=list(_IMAGES), features=data.features if same else None)


def _plain(row: Problem) -> Problem:
    if filled := [name for name in _IMAGES if row.get(name)]:
        raise ValueError(_has_image(filled[0], "a row"))
    return {"prompt": _text(row.get("prompt"))}


def _text(prompt: Any) -> Any:
    """As `text_prompt`; ``ValueError`` also for a prompt that asks nothing, or that the assistant ends."""
    if not prompt or (isinstance(prompt, str) and not prompt.strip()):
        raise ValueError(f"The prompt is {prompt!r}, with nothing to answer. Drop such problems.")
    plain = text_prompt(prompt)
    for message in plain if isinstance(plain, list) else ():
        if message.get("content") is None and not message.get("tool_calls"):
            raise ValueError(
                f"The {message['role']!r} message of a prompt has the content None and no tool_calls, which chat "
                "templates do not take. Give it text ('' for none), or drop the message."
            )
    if isinstance(plain, list) and plain[-1]["role"] == "assistant":
        raise ValueError(
            f"The last message of a prompt is the assistant's ({str(plain[-1].get('content'))[:60]!r}). Its turn would "
            "be closed and a new one begun: a solution there would be copied, and a beginning would not be gone on "
            "with. Drop the message."
        )
    return plain


def with_thinking_begun(rows: list[Problem], template: str, rendered: Callable[[Any], str]) -> list[Problem]:
    """Rows with what a reward cannot see: the mark with which the prompt begins the thinking, "" where it does not.

    Args:
        template: the chat template; where it has no mark of thinking, no conversation is rendered.
        rendered: makes of messages the text that the policy goes on from.
    """
    thinks, told = begins_thinking(template), []
    for row in rows:
        text = row["prompt"]
        if not isinstance(text, str):
            text = rendered(text) if thinks else ""
        told.append({**row, "thinking_begun": begun_at_end(text)})
    return told


def _has_image(column: str, where: str) -> str:
    return f"The column {column!r} of {where} holds an image, but the trainers are text-only. Drop it, or such rows."
