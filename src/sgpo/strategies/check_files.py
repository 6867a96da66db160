"""Verdicts of the leak check for a file: what `sgpo strategies check FILE.jsonl --out OUT.jsonl` does.

Two passes over the file: the first looks at every line before anything is written, the second checks and writes. Only
one line is held at a time, so the file may be larger than memory.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sgpo.rewards.files import BadLineError
from sgpo.strategies.check import FIELDS, Leak, answer_text, check_strategy, strategy_text

_NEEDED = ("id", "problem", "answer", "response", "strategy")


def _items(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """Each item with where it stands; empty lines are skipped.

    Raises:
        BadLineError: a line is not valid JSON or not an object.
    """
    with path.open(encoding="utf-8", errors="replace", newline="\n") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            where = f"{path}, line {number}"
            try:
                item = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise BadLineError(f"{where}: not valid JSON ({error})") from error
            if not isinstance(item, dict):
                raise BadLineError(f"{where}: a {type(item).__name__}, not a JSON object with {', '.join(_NEEDED)}")
            yield item, where


def _look(item: dict[str, Any], where: str) -> None:
    """Raise for what `check_strategy` would not take, before any line is written."""
    missing = [field for field in _NEEDED if field not in item]
    if missing:
        raise BadLineError(f"{where}: no field {', '.join(map(repr, missing))}; each line needs {', '.join(_NEEDED)}")
    if not isinstance(item["problem"], str):
        raise BadLineError(f"{where}: 'problem' is a {type(item['problem']).__name__}, not text")
    if item["response"] is not None and not isinstance(item["response"], str):
        raise BadLineError(f"{where}: 'response' is a {type(item['response']).__name__}, not text or null")
    if not isinstance(item["strategy"], dict):
        name = type(item["strategy"]).__name__
        raise BadLineError(f"{where}: 'strategy' is a {name}, not an object with {', '.join(FIELDS)}")
    try:
        answer_text(item["answer"])
        strategy_text(item["strategy"])
    except ValueError as error:
        raise BadLineError(f"{where}: {error}") from error


def check_file(
    input_path: str | os.PathLike[str],
    output_path: str | os.PathLike[str],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Write each line of a JSONL file again with `leak` and `reason` added.

    Args:
        input_path: lines with `id`, `problem`, `answer`, `response` (text or null) and `strategy` (an object with
            `problem_type`, `strategy`, `steps`); other fields are kept.
        output_path: replaced when all is done, so a half-written file never stands under this name.
        progress: called with the items done and the items in all.

    Returns:
        "items", "leaks" and "kinds", a count by kind of leak.

    Raises:
        BadLineError: before anything is written, with the line's number.
        OSError: a file cannot be read or written.
    """
    source, target = Path(input_path), Path(output_path)
    total = 0
    for item, where in _items(source):
        _look(item, where)
        total += 1
    partial = target.with_name(target.name + f".{os.getpid()}.partial")
    kinds: Counter[str] = Counter()
    done = 0
    try:
        with partial.open("w", encoding="utf-8") as out:
            for item, _ in _items(source):
                verdict = _verdict(item)
                out.write(json.dumps({**item, "leak": verdict.leak, "reason": verdict.reason}) + "\n")
                kinds[verdict.kind or "none"] += 1
                done += 1
                if progress:
                    progress(done, total)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return {"items": done, "leaks": done - kinds["none"], "kinds": {k: n for k, n in kinds.items() if k != "none"}}


def _verdict(item: dict[str, Any]) -> Leak:
    return check_strategy(item["problem"], item["answer"], item["response"], item["strategy"])
