"""Rows of problems with strong-model responses: a hub id, or a parquet, JSONL or CSV file. Read row by row.

Columns are found by their usual names, the three of Elliott/Openr1-Math-46k-8192 (``prompt``, ``target``,
``reward_model.ground_truth``) among them, or named by ``columns``; a dot goes into a nested column. A cell may hold
text, a number, or messages. Of messages the problem is what the user said last, the response what the assistant did.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sgpo.rewards.reward import completion_text
from sgpo.strategies.records import digest
from sgpo.strategies.schema import clean

FIELDS = ("problem", "answer", "response", "id")
_USUAL = {
    "problem": ("problem", "question", "prompt"),
    "answer": ("reward_model.ground_truth", "answer", "ground_truth", "gold"),
    "response": ("target", "response", "completion", "generation", "output", "solution"),
    "id": ("id", "uuid", "problem_id", "unique_id"),
}
_FORMATS = (".parquet", ".jsonl", ".json", ".csv")
_BATCH = 64
_MAX_ID = 200


@dataclass(frozen=True)
class Row:
    """A row, not verified yet; ``fault`` says why it cannot be used, and the texts are then empty."""

    id: str
    problem: str = ""
    answer: str = ""
    response: str = ""
    fault: str = ""


class Source:
    """Where rows come from.

    Args:
        name: a path, or a hub id.
        columns: field to column, for those of `FIELDS` that are not found by their usual names.
        split: of a hub data set.

    Raises:
        ValueError: for a file that is missing or of no known format, a hub id that cannot be loaded, an unknown
            field, or a column that is not there.
    """

    def __init__(self, name: str, *, columns: Mapping[str, str] | None = None, split: str = "train") -> None:
        self.name, self.split, self.path = name, split, Path(name)
        self._hub: Any = None
        given = dict(columns or {})
        if unknown := set(given) - set(FIELDS):
            raise ValueError(f"--columns names {sorted(unknown)}; the fields are {', '.join(FIELDS)}.")
        if not self.path.is_file():
            if self.path.suffix in _FORMATS or self.path.exists():
                raise ValueError(f"{name} is not a file; give a parquet, JSONL or CSV file, or a hub id.")
            self._hub = _load_hub(name, split)
        elif self.path.suffix not in _FORMATS:
            raise ValueError(f"{name} ends in {self.path.suffix!r}; give one of {', '.join(_FORMATS)}, or a hub id.")
        self.columns = self._find(given)

    def count(self) -> int | None:
        """Rows, or None where that is known only after reading them all."""
        if self._hub is not None:
            splits = self._hub.info.splits or {}
            return splits[self.split].num_examples if self.split in splits else None
        if self.path.suffix == ".parquet":
            return int(_parquet(self.path).metadata.num_rows)
        if self.path.suffix == ".csv":
            return None  # a cell may hold line ends
        with self.path.open("rb") as file:
            return sum(1 for line in file if line.strip())

    def rows(self) -> Iterator[Row]:
        """All rows in order, from the beginning each time. A row that cannot be read has a fault."""
        for number, raw in enumerate(self._raw(), 1):
            yield _row(raw, self.columns, number)

    def _find(self, given: dict[str, str]) -> dict[str, str]:
        first = next((raw for raw in self._raw() if raw is not None), None)
        if first is None:
            raise ValueError(f"{self.name} has no rows that can be read.")
        found = {}
        for field in FIELDS:
            names = (given[field],) if field in given else _USUAL[field]
            column = next((name for name in names if _has(first, name)), None)
            if column is not None:
                found[field] = column
            elif field != "id" or field in given:
                raise ValueError(
                    f"{self.name} has no column {names[0]!r} for the {field}; its columns are {sorted(first)}. Name "
                    f"it with --columns {field}=COLUMN (a dot goes into a nested column)."
                )
        return found

    def _raw(self) -> Iterator[dict[str, Any] | None]:
        if self._hub is not None:
            yield from self._hub
        elif self.path.suffix == ".parquet":
            for batch in _parquet(self.path).iter_batches(batch_size=_BATCH):
                yield from batch.to_pylist()
        elif self.path.suffix == ".csv":
            yield from _csv(self.path)
        else:
            yield from _jsonl(self.path)


def strip_thinking(text: str) -> str:
    """A response without its thinking part; one whose thinking does not end has only what stands before it."""
    return (text.rpartition("</think>")[2] if "</think>" in text else text.partition("<think>")[0]).strip()


def parse_columns(text: str | None) -> dict[str, str]:
    """``problem=question,answer=gold`` as a mapping. Raises ValueError."""
    pairs = [part.partition("=") for part in (text or "").split(",") if part.strip()]
    for name, equals, column in pairs:
        if not (name.strip() and equals and column.strip()):
            raise ValueError(f"--columns {text!r}: write field=column pairs, such as problem=question,answer=gold.")
    return {name.strip(): column.strip() for name, _, column in pairs}


def _row(raw: dict[str, Any] | None, columns: Mapping[str, str], number: int) -> Row:
    if raw is None:
        return Row(f"row {number}", fault="unreadable_row")
    problem = _message(_get(raw, columns["problem"]), "user")
    answer = _answer(_get(raw, columns["answer"]))
    response = _message(_get(raw, columns["response"]), "assistant")
    given = _get(raw, columns["id"]) if "id" in columns else None
    if isinstance(given, (str, int)) and not isinstance(given, bool) and str(given).strip():
        id = clean(str(given).strip())
        id = id if 0 < len(id) <= _MAX_ID else digest(id)
    else:
        id = digest(problem, answer) if problem else f"row {number}"
    faults = {"no_problem": problem, "no_answer": answer, "no_response": response}
    fault = next((name for name, text in faults.items() if not text), "")
    return Row(id, fault=fault) if fault else Row(id, problem, answer, response)


def _message(cell: Any, role: str) -> str:
    """The text of a cell: itself, or the last message of a role; "" where there is none."""
    if isinstance(cell, (list, dict)):
        messages = [cell] if isinstance(cell, dict) else cell
        said = [m for m in messages if isinstance(m, dict) and m.get("role", role) == role]
        try:
            cell = completion_text([{**said[-1], "role": "assistant"}]) if said else None
        except (TypeError, AttributeError):
            return ""
    return clean(cell).strip() if isinstance(cell, str) else ""


def _answer(cell: Any) -> str:
    if isinstance(cell, list) and cell and all(isinstance(part, str) for part in cell):
        cell = ", ".join(cell)
    if isinstance(cell, (int, float)) and not isinstance(cell, bool):
        cell = str(cell)
    return clean(cell).strip() if isinstance(cell, str) else ""


def _get(raw: Any, column: str) -> Any:
    if isinstance(raw, dict) and column in raw:
        return raw[column]
    head, dot, rest = column.partition(".")
    return _get(raw[head], rest) if dot and isinstance(raw, dict) and head in raw else None


def _has(raw: Any, column: str) -> bool:
    if isinstance(raw, dict) and column in raw:
        return True
    head, dot, rest = column.partition(".")
    return bool(dot) and isinstance(raw, dict) and _has(raw.get(head), rest)


def _jsonl(path: Path) -> Iterator[dict[str, Any] | None]:
    with path.open(encoding="utf-8-sig", errors="replace", newline="\n") as lines:
        for line in lines:
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            yield row if isinstance(row, dict) else None


def _csv(path: Path) -> Iterator[dict[str, Any] | None]:
    before = csv.field_size_limit(2**31 - 1)  # responses are longer than its 128 KiB
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            for row in csv.DictReader(file):
                yield {name: cell for name, cell in row.items() if name is not None}
    except csv.Error as error:
        raise ValueError(f"{path} cannot be read as CSV: {error}.") from error
    finally:
        csv.field_size_limit(before)


def _parquet(path: Path) -> Any:
    from pyarrow import lib, parquet  # type: ignore[import-untyped]

    try:
        return parquet.ParquetFile(path)
    except (OSError, lib.ArrowException) as error:
        raise ValueError(f"{path} cannot be read as parquet: {str(error).splitlines()[0]}.") from error


def _load_hub(name: str, split: str) -> Any:
    from datasets import load_dataset

    try:
        return load_dataset(name, split=split, streaming=True)
    except Exception as error:  # the hub's client raises families of its own and of its transport
        first = (str(error).strip().splitlines() or [""])[0][:300]
        raise ValueError(
            f"{name!r} is no file, and the hub has no split {split!r} of it to give ({type(error).__name__}: {first}). "
            "Give a hub id, or a parquet, JSONL or CSV file."
        ) from error
