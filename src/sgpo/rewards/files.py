"""Verdicts for a file: what `sgpo verify FILE.jsonl --out OUT.jsonl` does."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sgpo.data.tables import read_table
from sgpo.rewards.golds import check_gold
from sgpo.rewards.verifier import DEFAULT_TIMEOUT, verify_batch
from sgpo.runs.files import ReadError, json_line, writing

_FIELDS = ("id", "gold", "response")
_CHUNK = 256

BadLineError = ReadError
"""A line of the input is not what the verifier reads; the message names the file and the line."""


def read_items(path: Path) -> list[dict[str, Any]]:
    """All items of a data file (see `sgpo.data.tables`), each with `id`, `gold` and `response`.

    Raises:
        BadLineError: the file cannot be read, a line is not a JSON object, lacks a field, has a gold or response of the
            wrong type, or an empty gold. Raised before any work is done.
    """
    return [_checked(row, where) for where, row in read_table(path)]


def _checked(item: dict[str, Any], where: str) -> dict[str, Any]:
    missing = [field for field in _FIELDS if field not in item]
    if missing:
        raise BadLineError(f"{where}: no field {', '.join(map(repr, missing))}; each line needs {', '.join(_FIELDS)}")
    if item["response"] is not None and not isinstance(item["response"], str):
        raise BadLineError(f"{where}: 'response' is a {type(item['response']).__name__}, not a string or null")
    problem = check_gold(item["gold"])
    if problem:
        raise BadLineError(f"{where}: {problem}")
    return item


def cli_verify(
    input_path: str | os.PathLike[str],
    output_path: str | os.PathLike[str],
    *,
    timeout: float = DEFAULT_TIMEOUT,
    require_box: bool = False,
    tolerance: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Write each line of a JSONL file again with `correct`, `reason`, `extracted` and `seconds` added.

    Args:
        input_path: lines with `id`, `gold` and `response`; other fields are kept.
        output_path: replaced when all is done, so a half-written file never stands under this name.
        timeout, require_box, tolerance: as for `verify`. A line's own `tolerance` field, where it has one, wins.
        progress: called with the items done and the items in all.

    Returns:
        "items", "correct" and "reasons", a count by reason.

    Raises:
        BadLineError: before any work, with the line's number.
        WriteError: the output cannot be written.
    """
    source, target = Path(input_path), Path(output_path)
    items = read_items(source)
    reasons: Counter[str] = Counter()
    correct = 0
    with writing(target) as out:
        for start in range(0, len(items), _CHUNK):
            chunk = items[start : start + _CHUNK]
            verdicts = verify_batch(
                [item["response"] for item in chunk],
                [item["gold"] for item in chunk],
                timeout=timeout,
                require_box=require_box,
                tolerance=[item.get("tolerance", tolerance) for item in chunk],
            )
            for item, verdict in zip(chunk, verdicts, strict=True):
                added = {"correct": verdict.correct, "reason": verdict.reason, "extracted": verdict.extracted}
                out.write(json_line({**item, **added, "seconds": round(verdict.seconds, 6)}, default=str))
                reasons[verdict.reason] += 1
                correct += verdict.correct
            if progress:
                progress(min(start + _CHUNK, len(items)), len(items))
    return {"items": len(items), "correct": correct, "reasons": dict(reasons)}
