"""Reading what a run left behind, which may be torn, huge, or not what its name says.

A run in progress is a normal thing to look at, so a broken line is skipped and counted, not raised.
"""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

from sgpo.runs.reader import JsonObject, ReadError, read_rows

MAX_LINE = 4_000_000  # bytes; a longer line is skipped
MAX_FILE = 512_000_000


def read_bounded(path: Path) -> JsonObject:
    """The JSON object in a file.

    Raises:
        ValueError: the file is larger than ``MAX_FILE``, or holds no JSON object.
    """
    if (size := path.stat().st_size) > MAX_FILE:
        raise ValueError(f"{path} has {size} bytes; a report reads at most {MAX_FILE}. Is it a file of a run?")
    try:
        value = json.loads(path.read_bytes().decode("utf-8", errors="replace"))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ValueError(f"{path} is not a JSON object. If it was cut off, run the command that wrote it again.")
    return value


def read_bounded_rows(path: Path, notices: list[str], *, limit: int = 1_000_000) -> Iterator[JsonObject]:
    """The JSON objects of a JSONL file, at most ``limit``; what is skipped is said in ``notices``.

    A file that does not exist has no lines. A torn last line (no line feed) is expected of a run in progress, and is
    skipped in silence.
    """
    if not path.is_file():
        return
    skipped = 0

    def skip(_: ReadError) -> None:
        nonlocal skipped
        skipped += 1

    rows = read_rows(path, torn=True, skip=skip, longest=MAX_LINE)
    try:
        yield from (row for _, row in itertools.islice(rows, limit))
    except ReadError as error:
        notices.append(str(error))
    if skipped:
        notices.append(f"{path.parent.name}/{path.name}: {skipped} unreadable line{'s' * (skipped > 1)} left out.")
