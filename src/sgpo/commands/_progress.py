"""Progress on standard error: a bar on a terminal, else a line every few seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

EVERY = 5.0  # seconds between lines of a run that moves
_STILL = 60.0  # seconds after which one that does not move says so


@contextmanager
def progress(title: str) -> Iterator[Progress]:
    """A bar whose tasks have a field ``note``; lines where standard error is no terminal (a log, a batch job)."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(TextColumn(title), *columns, console=console) as bar:
        ended = threading.Event()
        if not console.is_terminal:
            threading.Thread(target=_lines, args=(bar, title, ended), daemon=True).start()
        try:
            yield bar
        finally:
            ended.set()


def _lines(bar: Progress, title: str, ended: threading.Event) -> None:
    """A line for each change of the newest task, at most one every few seconds, until the run has ended."""
    shown, said = "", time.monotonic()
    while not ended.wait(EVERY):
        if not bar.tasks:
            continue
        line = _line(bar.tasks[-1], title)
        if line != shown or time.monotonic() - said >= _STILL:
            elapsed = bar.tasks[-1].elapsed or 0.0
            bar.console.print(f"{line} after {elapsed:.0f} s", markup=False, highlight=False, soft_wrap=True)
            shown, said = line, time.monotonic()


def _line(task: Task, title: str) -> str:
    total = "?" if task.total is None else f"{task.total:g}"
    return " ".join(f"{title} {task.description} {task.completed:g}/{total} {task.fields.get('note', '')}".split())
