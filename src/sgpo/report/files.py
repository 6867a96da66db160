"""Reading what a run left behind, which may be torn, huge, or not what its name says.

A run in progress is a normal thing to look at, so a broken line is skipped and counted, not raised. Bytes that are
no UTF-8 become U+FFFD.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MAX_LINE = 4_000_000  # bytes; a longer line is skipped
MAX_FILE = 512_000_000


def read_bounded(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        ValueError: the file is larger than ``MAX_FILE``, or holds no JSON object.
    """
    if (size := path.stat().st_size) > MAX_FILE:
        raise ValueError(f"{path} has {size} bytes; a report reads at most {MAX_FILE}. Is it a file of a run?")
    value = _parsed(path.read_bytes())
    if not isinstance(value, dict):
        raise ValueError(f"{path} is not a JSON object. If it was cut off, run the command that wrote it again.")
    return value


def read_bounded_rows(path: Path, notices: list[str], *, limit: int = 1_000_000) -> Iterator[dict[str, Any]]:
    """The JSON objects of a JSONL file, at most ``limit``; what is skipped is said in ``notices``.

    A file that does not exist has no lines. A torn last line (no line feed) is expected of a run in progress, and is
    skipped in silence.
    """
    if not path.is_file():
        return
    skipped = found = 0
    with path.open("rb") as file:
        while found < limit and (line := file.readline(MAX_LINE)):
            whole = line.endswith(b"\n")
            while len(line) == MAX_LINE and not whole:  # the rest of an overlong line
                rest = file.readline(MAX_LINE)
                whole, line = rest.endswith(b"\n") or not rest, b"overlong"
            row = _parsed(line)
            if isinstance(row, dict):
                found += 1
                yield row
            elif line.strip() and whole:
                skipped += 1
    if skipped:
        notices.append(f"{path.parent.name}/{path.name}: {skipped} unreadable line{'s' * (skipped > 1)} left out.")


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data.decode("utf-8", errors="replace"))
    except (ValueError, RecursionError):
        return None
