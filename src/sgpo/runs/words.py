"""The words that tables, pages, plots and terminals share. Nothing here imports torch."""

import difflib
import os
from collections.abc import Collection, Iterable
from typing import TextIO

from sgpo.runs.scores import ALL_AXES, NEW_AXES, TRAINED_AXIS

AXIS_NAMES = {
    TRAINED_AXIS: "new instances",
    "operands": "larger numbers",
    "wordings": "other words",
    "types": "new compositions",
    "longer": "longer ones",
    NEW_AXES: "mean of the last four",
    ALL_AXES: "mean of all axes",
}
"""The axes of the lab, and the means over them, as people read them."""


def axis_name(axis: str) -> str:
    """An axis as people read it, also one that this version does not know."""
    return AXIS_NAMES.get(axis, axis.replace("_", " "))


# One thing a line, by the names that TRL, verl, lm-eval, vLLM and others have for it; ours are among them.
_ELSEWHERE = """lr learning_rate
epochs num_epochs total_epochs num_train_epochs
model model_path model_name pretrained model_name_or_path
batch_size train_batch_size micro_batch_size per_device_train_batch_size
max_tokens max_gen_toks max_response_length max_new_tokens max_completion_length
n k num_samples num_return_sequences group_size rollout_n num_candidates num_generations
kl_coef kl_loss_coef beta
dataset data train_file train_files tasks benchmark dataset_name
output output_path save_dir out output_dir
temp temperature"""


def known_as(name: str, names: Iterable[str]) -> list[str]:
    """Those of ``names`` for which other tools have the name ``name``."""
    same = next((line for line in map(str.split, _ELSEWHERE.splitlines()) if name.replace("-", "_") in line), [])
    return [each for each in names if each.strip("-").replace("-", "_") in same]


def nearest(name: str, names: Collection[str], most: int = 3, cutoff: float = 0.6) -> str:
    """Behind an unknown name: those that it may have been meant for; "" where none is like it."""
    close = known_as(name, names) or difflib.get_close_matches(name, [*names], n=most, cutoff=cutoff)
    return f" (did you mean {' or '.join(close)}?)" if close else ""


def first_line(error: BaseException) -> str:
    """The kind of an error and the first line of what it says: libraries add pages."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


def in_colour(text: str, code: int, stream: TextIO) -> str:
    """A text in a colour (31 is red, 33 yellow) where a person reads the stream, and has not set NO_COLOR."""
    return f"\033[{code}m{text}\033[0m" if stream.isatty() and not os.environ.get("NO_COLOR") else text


def in_thousands(tokens: float | None) -> str:
    """A number of tokens in thousands."""
    thousands = (tokens or 0) / 1000
    # A small run has sampled less than a thousand, which is not nothing.
    return f"{thousands:.0f}" if thousands >= 10 or not thousands else f"{thousands:.2g}"
