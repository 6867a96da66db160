"""The prompts of a data set in the one form that every part of a trainer reads; see `sgpo.data.prompts.text_prompt`."""

from typing import Any

from datasets import Dataset, IterableDataset

from sgpo.data.prompts import text_prompt

_IMAGES = ("image", "images")


def text_only(data: Any) -> Any:
    """A data set, or a dict of them, whose prompts are text or messages with text; anything else is left to TRL.

    An ``images`` column in which no row has an image is dropped. A streamed data set is judged by its first row, and
    its later rows are checked as they come.

    Raises:
        ValueError: a prompt that is neither, a part of a message that is no text, or an image.
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
            changed |= text_prompt(prompt) is not prompt
        except ValueError as error:
            raise ValueError(f"Row {row}: {error}") from error
    return data.map(_plain, desc="Prompts as text") if changed else data


def _streamed(data: IterableDataset) -> IterableDataset:
    first: dict[str, Any] = next(iter(data), {})
    present = [name for name in _IMAGES if name in first]
    if present or (
        not isinstance(first.get("prompt", ""), str) and text_prompt(first["prompt"]) is not first["prompt"]
    ):
        return data.map(_plain, remove_columns=present)
    return data


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    if filled := [name for name in _IMAGES if row.get(name)]:
        raise ValueError(_has_image(filled[0], "a row"))
    return {"prompt": text_prompt(row["prompt"])}


def _has_image(column: str, where: str) -> str:
    return f"The column {column!r} of {where} holds an image, but the trainers are text-only. Drop it, or such rows."
