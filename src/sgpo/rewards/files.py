"""Verdicts for a file: what `sgpo verify FILE.jsonl --out OUT.jsonl` does."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sgpo import __version__
from sgpo.data.benchmarks import ANSWER_FIELDS
from sgpo.data.tables import read_table
from sgpo.rewards.golds import check_gold
from sgpo.rewards.verifier import DEFAULT_TIMEOUT, tolerance_text, verify_batch
from sgpo.runs.files import JsonObject, ReadError, append_rows, json_line, recover_rows, writing

_NAMES = {"gold": ANSWER_FIELDS, "response": ("completion", "expert")}
_CHUNK = 256

BadLineError = ReadError
"""A line of the input is not what the verifier reads; the message names the file and the line."""


@dataclass(frozen=True)
class FileVerdicts:
    """What came of a file: its items, those that are correct, how many had each reason.

    ``before`` counts the verdicts that a killed run had left.
    """

    items: int
    correct: int
    reasons: dict[str, int]
    before: int


def read_items(path: Path) -> list[JsonObject]:
    """All items of a data file (see `sgpo.data.tables`), each with `gold` and `response` (see `_NAMES`).

    Raises:
        BadLineError: the file cannot be read, a line is not a JSON object, lacks a field, has a gold or response of the
            wrong type, a gold that is no answer, or a tolerance that is no number. Raised before any work is done.
    """
    items = [_checked(row, where) for where, row in read_table(path)]
    if not items:
        raise BadLineError(f"{path} holds no responses; give a JSON object a line with gold and response.")
    return items


def _checked(item: JsonObject, where: str) -> JsonObject:
    for field, others in _NAMES.items():
        if not (names := [name for name in (field, *others) if name in item]):
            raise BadLineError(f"{where}: no field {field!r}; it may also be named {' or '.join(others)}")
        item = {**item, field: item[names[0]]}
    if item["response"] is not None and not isinstance(item["response"], str):
        raise BadLineError(f"{where}: 'response' is a {type(item['response']).__name__}, not a string or null")
    if problem := check_gold(item["gold"]):
        raise BadLineError(f"{where}: {problem}")
    try:
        tolerance_text(item.get("tolerance"))
    except ValueError as error:
        raise BadLineError(f"{where}: {error}") from error
    return item


def cli_verify(
    input_path: str | os.PathLike[str],
    output_path: str | os.PathLike[str],
    *,
    timeout: float = DEFAULT_TIMEOUT,
    require_box: bool = False,
    tolerance: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> FileVerdicts:
    """Write each line of a JSONL file again with `correct`, `reason`, `extracted` and `seconds` added.

    Verdicts are kept in a hidden file beside the output until that is whole: a run that was killed goes on where it
    stopped when it is run again.

    Args:
        input_path: lines with `gold` and `response`, or other names for them (`_NAMES`); all fields are kept.
        output_path: replaced when all is done, so a half-written file never stands under this name.
        timeout, require_box, tolerance: as for `verify`. A line's own `tolerance` field, where it has one, wins.
        progress: called with the items done and the items in all.

    Raises:
        BadLineError: before any work, with the line's number.
        WriteError: the output cannot be written.
    """
    source, target = Path(input_path), Path(output_path)
    items = read_items(source)
    # A file may hold problems of several kinds, each with its own.
    tolerances = [item.get("tolerance", tolerance) for item in items]
    names = [_name(item, one, timeout, require_box) for item, one in zip(items, tolerances, strict=True)]
    reasons: Counter[str] = Counter()
    with writing(target) as out:
        # The output itself cannot be appended to: it takes its name only when it is whole.
        kept = _kept_file(target)
        found = {} if kept is None else {row["name"]: row["verdict"] for _, row in recover_rows(kept)}
        before = sum(name in found for name in names)
        for start in range(0, len(items), _CHUNK):
            chunk = range(start, min(start + _CHUNK, len(items)))
            missing = [i for i in chunk if names[i] not in found]
            verdicts = verify_batch(
                [items[i]["response"] for i in missing],
                [items[i]["gold"] for i in missing],
                timeout=timeout,
                require_box=require_box,
                tolerance=[tolerances[i] for i in missing],
            )
            rounded = (asdict(replace(verdict, seconds=round(verdict.seconds, 6))) for verdict in verdicts)
            new = {names[i]: verdict for i, verdict in zip(missing, rounded, strict=True)}
            if kept is not None and new:
                append_rows(kept, ({"name": name, "verdict": verdict} for name, verdict in new.items()))
            found |= new
            for i in chunk:
                # In the order of the input, whatever was judged by an earlier run.
                out.write(json_line({**items[i], **found[names[i]]}, default=str))
                reasons[found[names[i]]["reason"]] += 1
            if progress:
                progress(chunk.stop, len(items))
    if kept is not None:
        kept.unlink(missing_ok=True)
    correct = sum(found[name]["correct"] for name in names)
    return FileVerdicts(len(items), correct, dict(reasons), before)


def _name(item: JsonObject, *options: Any) -> str:
    """What a verdict is of: equal for equal items and options."""
    # Another version may judge otherwise, so its verdicts are not taken over.
    text = json.dumps([__version__, item["gold"], item["response"], *options], default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _kept_file(target: Path) -> Path | None:
    """Where verdicts are kept until the output is whole; None where the output is no file (a device, a pipe)."""
    real = Path(os.path.realpath(target))
    if real.exists() and not real.is_file():
        return None
    return real.with_name(f".{real.name[:100]}.verdicts.jsonl")
