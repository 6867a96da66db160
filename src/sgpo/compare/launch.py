"""The process of a cell, as the comparison starts it and waits for it."""

import shlex
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from sgpo.runs.files import read_json, write_json
from sgpo.runs.jobs import ReportProgress
from sgpo.runs.processes import guarded

_POLL = 1.0  # seconds
_TAIL = 3000  # characters of a log


def launcher_words(launcher: str) -> list[str]:
    """A launcher's words; no shell reads them. Raises ``ValueError`` for one that cannot be run."""
    try:
        found = shlex.split(launcher)
    except ValueError as error:
        raise ValueError(f"--launcher {launcher!r} cannot be read: {error}.") from error
    if found and shutil.which(found[0]) is None:
        raise ValueError(f"--launcher {launcher!r}: there is no command {found[0]!r}; give its path.")
    return found


def run_process(command: Sequence[str], folder: Path, name: str, report: ReportProgress) -> None:
    """Run ``command`` to its end. Raises RuntimeError if it fails, with what it left in error.txt or its log."""
    progress = folder / "progress.json"
    # Of an earlier try, whose share done would be shown until the new process has written its own.
    write_json(progress, [0.0, {}])
    with (folder / "log.txt").open("a") as log, guarded(command, log.fileno()) as child:
        # The process tells its progress through a file, for behind a launcher there is no other way to it.
        while child.poll() is None:
            report(name, *read_json(progress))
            time.sleep(_POLL)
    if child.returncode:
        error = folder / "error.txt"
        # A cell that could still speak left its traceback; one that was killed left only what it printed.
        left = error if error.exists() else folder / "log.txt"
        text = left.read_text(errors="replace").strip()[-_TAIL:]
        ended = f"the process ended with code {child.returncode}"
        last = text.splitlines()[-1] if text and error.exists() else ended
        raise RuntimeError(last) from RuntimeError(f"in the cell's process:\n{text}")
