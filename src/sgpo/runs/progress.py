"""What a command shows while it works, on standard error: bars on a terminal, else a line every few seconds.

The one mechanism of all commands, of training and of jobs side by side. A log, a CI job and a notebook have no
terminal: a bar would be thousands of torn lines there, or nothing until the end.
"""

import io
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

EVERY = 5.0  # seconds between lines of a run that moves
_SHARE = 0.01  # of the elapsed time: a run of ten hours has no line every 5 seconds
_STILL = 60.0  # seconds after which one that does not move says so; also the most between two lines
_SHOWN = 4  # tasks in one line


@contextmanager
def progress(title: str = "", *, bar: bool = True) -> Iterator[Progress]:
    """A display whose tasks have a field ``note``; what must be printed meanwhile goes through its ``console``.

    Args:
        title: stands before each task's description.
        bar: whether a terminal gets bars; without, it gets lines like a log.
    """
    console = Console(stderr=True)
    console = console if console.is_terminal else Console(stderr=True, soft_wrap=True)  # a log has no width
    bars = bar and console.is_terminal
    columns = (
        *((TextColumn(title),) if title else ()),
        TextColumn("{task.description}"),
        BarColumn(12),
        _Amount(table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[note]}", table_column=Column(overflow="fold")),  # what gives way in a narrow terminal
        TimeElapsedColumn(table_column=Column(no_wrap=True)),
        TimeRemainingColumn(table_column=Column(no_wrap=True)),
    )
    # Disabled, it still counts. In a notebook rich would want ipywidgets for bars.
    with Progress(*columns, console=console, disable=not bars) as shown:
        lines = None if bars else _Lines(shown, title)
        try:
            yield shown
        finally:
            if lines is not None:
                lines.end()


@contextmanager
def progress_of(title: str, total: int | None = None) -> Iterator[Callable[..., None]]:
    """A display of one task, to be told how many are done, and of how many where that is known only then."""
    with progress(title) as shown:
        task = shown.add_task("", total=total, note="")

        def report(done: int, total: int | None = None) -> None:
            shown.update(task, completed=done, total=total)

        yield report


def hush() -> None:
    """Keep other packages' noise out of what a command prints: bars of preprocessing, warnings to their developers.

    Warnings of ours are no ``FutureWarning``. Who sets ``PYTHONWARNINGS`` or ``-W`` gets what was asked for. Bars of
    downloads stay on a terminal, where they are worth their lines.
    """
    # Pipes of some systems know no é: what a model said must not end a command that prints it.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    # Deprecations in other packages are for us to act on, and not for who trains a model.
    if not sys.warnoptions:
        warnings.simplefilter("ignore", FutureWarning)
        warnings.filterwarnings("ignore", message="IProgress not found")  # tqdm in a notebook, of bars that nobody sees
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    if not Console(stderr=True).is_terminal:
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # also transformers' own, of loading and saving
    # Where a package was imported before, it has read its variable.
    if (datasets := sys.modules.get("datasets")) is not None:
        datasets.disable_progress_bars()
    if (transformers := sys.modules.get("transformers")) is not None and not Console(stderr=True).is_terminal:
        transformers.utils.logging.disable_progress_bar()


class _Amount(ProgressColumn):
    """Steps done of all, or the share of a task whose total is 1.0."""

    def render(self, task: Task) -> Text:
        return Text(_amount(task))


class _Lines:
    """A thread that prints a line for each change, at most one every few seconds, and the last state at the end."""

    def __init__(self, shown: Progress, title: str) -> None:
        self._shown, self._title = shown, title
        self._ended = threading.Event()
        self._began = self._said = time.monotonic()
        self._line = ""
        self._thread = threading.Thread(target=self._run, name="progress-lines", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(EVERY):
            elapsed = time.monotonic() - self._began
            quiet = time.monotonic() - self._said
            if quiet >= min(_STILL, _SHARE * elapsed):
                self._say(even_if_still=quiet >= _STILL)

    def end(self) -> None:
        self._ended.set()
        self._thread.join()
        # Where an error ended it at once, a line that nothing was done yet would only stand in front of the error.
        if self._line or any(task.completed for task in self._shown.tasks):
            self._say(even_if_still=False)

    def _say(self, *, even_if_still: bool) -> None:
        # A line that says what the last one said is left out, until a minute without news makes one wonder.
        line = _summary(self._shown.tasks, self._title)
        if line and (line != self._line or even_if_still):
            elapsed = time.monotonic() - self._began
            self._shown.console.print(f"{line} after {_clock(elapsed)}", markup=False, highlight=False)
            self._line, self._said = line, time.monotonic()


def _summary(tasks: Sequence[Task], title: str) -> str:
    """One task with its amount and note; of several, how many are through, and those that are under way."""
    if len(tasks) < 2:
        return _words(title, _state(tasks[0])) if tasks else ""
    through = sum(task.finished for task in tasks)
    moving = [task for task in tasks if task.completed and not task.finished]
    states = [_state(task) for task in moving[:_SHOWN]]
    more = [f"{len(moving) - _SHOWN} more"] if len(moving) > _SHOWN else []
    return "; ".join([_words(title, f"{through}/{len(tasks)} done"), *states, *more])


def _state(task: Task) -> str:
    return _words(task.description, _amount(task), task.fields.get("note", ""))


def _amount(task: Task) -> str:
    if isinstance(task.total, float) and task.total == 1.0:  # a share; one step of one is 1/1
        return f"{100 * task.completed:.0f}%"
    return f"{task.completed:g}/{'?' if task.total is None else f'{task.total:g}'}"


def _words(*parts: str) -> str:
    return " ".join(" ".join(parts).split())


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, left = divmod(minutes, 60)
    return f"{hours} h {left} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
