"""Completions of a training run for the templates: those that our trainers keep, or else TRL's own tables of them
(``log_completions=True``). Few of them, in the file's order: nothing is picked by its looks.
"""

import itertools
from pathlib import Path
from typing import Any

from sgpo.report.files import MAX_FILE, mapping, number, read_lines
from sgpo.report.run import Run, label
from sgpo.report.text import bound

MAX_COMPLETIONS = 12
MAX_TEXT = 4_000  # characters of a prompt, or a completion
_TABLE_FIELDS = {"step", "prompt", "completion", "advantage"}


def completions(run: Run) -> dict[str, Any] | None:
    """Completions with their prompts, by step; None where the run has kept none."""
    rows = list(read_lines(run.path / "completions.jsonl", run.notices, limit=MAX_COMPLETIONS)) or _table(run)
    shown = [_view(row) for row in rows if isinstance(row.get("completion"), str | list)]
    if not shown:
        return None
    groups = [{"step": step, "rows": list(found)} for step, found in itertools.groupby(shown, lambda row: row["step"])]
    return {"label": label(run.cells[0].method), "groups": groups}


def _view(row: dict[str, Any]) -> dict[str, Any]:
    rewards = {name: number(value) for name, value in mapping(row.get("rewards")).items()}
    facts = [f"{bound(name, 60)} {value:g}" for name, value in rewards.items() if value is not None]
    if (advantage := number(row.get("advantage"))) is not None:
        facts.append(f"advantage {advantage:+.2f}".replace("-", "\u2212"))
    step = number(row.get("step"))
    texts = {name: bound(_text(row.get(name)), MAX_TEXT) for name in ("prompt", "completion")}
    return {"step": None if step is None else int(step), "facts": facts, **texts}


def _text(value: Any) -> str:
    """Text, or messages as text."""
    if isinstance(value, list):
        return "\n".join(f"{m.get('role')}: {m.get('content')}" for m in value if isinstance(m, dict))
    return "" if value is None else str(value)


def _table(run: Run) -> list[dict[str, Any]]:
    """The first rows of TRL's newest table that can be read."""
    for path in sorted((run.path / "completions").glob("completions_*.parquet"), reverse=True):
        try:
            return [_of_table(row) for row in _rows(path)]
        except (OSError, ValueError, ImportError) as error:  # torn by a kill, or no table
            run.notices.append(f"{path.parent.name}/{path.name} cannot be read ({type(error).__name__}).")
    return []


def _rows(path: Path) -> list[dict[str, Any]]:
    from pyarrow.parquet import ParquetFile  # type: ignore[import-untyped]

    if (size := path.stat().st_size) > MAX_FILE:
        raise ValueError(f"{path} has {size} bytes")
    with ParquetFile(path) as file:
        batch = next(file.iter_batches(batch_size=MAX_COMPLETIONS), None)
    return [] if batch is None else batch.to_pylist()


def _of_table(row: dict[str, Any]) -> dict[str, Any]:
    """A row of TRL's, in which each reward function has a column of its own."""
    rewards = {name: value for name, value in row.items() if name not in _TABLE_FIELDS}
    return {**{name: row.get(name) for name in _TABLE_FIELDS}, "rewards": rewards}
