"""Completions of a training run for the templates: those that our trainers keep, or else TRL's own tables of them
(``log_completions=True``). Few of them, in the file's order: nothing is picked by its looks.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sgpo.data.tables import read_table
from sgpo.report.run import Run
from sgpo.report.text import bound
from sgpo.runs.bounded import read_bounded_rows
from sgpo.runs.files import JsonObject, ReadError
from sgpo.runs.json_entry import finite, mapping, whole_number

MAX_COMPLETIONS = 12
MAX_TEXT = 4_000  # characters of a prompt, or a completion
_TABLE_FIELDS = {"step", "prompt", "completion", "advantage"}


@dataclass(frozen=True)
class CompletionView:
    """A completion with its prompt, both bounded, and its rewards and advantage as texts."""

    step: int | None
    facts: Sequence[str]
    prompt: str
    completion: str


class StepGroup(NamedTuple):
    """The completions of one step, None where the file does not say which."""

    step: int | None
    rows: Sequence[CompletionView]


def completion_groups(run: Run) -> list[StepGroup]:
    """Completions with their prompts, by step; none where a training has kept none, or the run is a comparison."""
    if run.kind != "training":  # in a folder of several methods nothing would say whose they are
        return []
    rows = list(read_bounded_rows(run.path / "completions.jsonl", run.notices, limit=MAX_COMPLETIONS)) or _table(run)
    shown = [_view(row) for row in rows if isinstance(row.get("completion"), str | list)]
    return [StepGroup(step, list(found)) for step, found in itertools.groupby(shown, lambda row: row.step)]


def _view(row: JsonObject) -> CompletionView:
    rewards = {name: finite(value) for name, value in mapping(row.get("rewards")).items()}
    facts = [f"{bound(name, 60)} {value:g}" for name, value in rewards.items() if value is not None]
    if (advantage := finite(row.get("advantage"))) is not None:
        facts.append(f"advantage {advantage:+.2f}".replace("-", "\u2212"))
    prompt, completion = (bound(_text(row.get(name)), MAX_TEXT) for name in ("prompt", "completion"))
    return CompletionView(whole_number(row.get("step")), facts, prompt, completion)


def _text(value: Any) -> str:
    """Text, or messages as text."""
    if isinstance(value, list):
        return "\n".join(f"{m.get('role')}: {m.get('content')}" for m in value if isinstance(m, dict))
    return "" if value is None else str(value)


def _table(run: Run) -> list[JsonObject]:
    """The first rows of TRL's newest table that can be read, in which each reward function has a column of its own."""
    # The newest that can be read: a kill tears the last one.
    for path in sorted((run.path / "completions").glob("completions_*.parquet"), reverse=True):
        try:
            rows = [row for _, row in itertools.islice(read_table(path), MAX_COMPLETIONS)]
        except ReadError:
            run.notices.append(f"{path.parent.name}/{path.name} cannot be read.")
        else:
            return [row | {"rewards": {k: v for k, v in row.items() if k not in _TABLE_FIELDS}} for row in rows]
    return []
