"""Processes that end with the one that started them, whatever ends it.

A parent that is killed (SIGKILL, or for want of memory) can end nothing any more, so each child sees for itself that
its parent is gone: its parent's number changes, and the pipe that the parent held open closes. There are two kinds:

- A Python process of ours calls :func:`watch_parent` before it does anything else.
- Any other command (a launcher such as ``torchrun``, which starts processes in sessions of their own) runs behind a
  guard, see :func:`guarded`. The guard ends the command with all that has come of it.

So the end of any process ends everything below it, one level after the other, within about a second.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from sgpo.runs.words import in_colour
from sgpo.runs.writer import WriteError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

_LOOK = 0.5  # seconds between two looks at the parent's number
_GRACE = 5.0  # seconds between SIGTERM and SIGKILL
_LAUNCHER_ENDS = 5.0  # seconds in which a launcher has noticed that a rank left, and ended the others
_STUCK = 5.0  # seconds after SIGKILL, when a process that the kernel cannot end is given up
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
_ENDING = ("SIGTERM", "SIGHUP")  # Python itself makes an exception of SIGINT


def watch_parent(parent: int, lifeline: Connection | None = None) -> None:
    """End this process (SIGKILL) as soon as its parent is gone; a thread of its own watches for that.

    Args:
        parent: the parent's number, best handed over by the parent: one that is gone already is noticed, too.
        lifeline: reading end of a pipe whose writing end only the parent holds. Closing it ends this process.
    """

    def watch() -> None:
        # Both signs: the pipe also closes on purpose, and one that another child has inherited stays open.
        while os.getppid() == parent:
            if lifeline is None:
                time.sleep(_LOOK)
            elif lifeline.poll(_LOOK):
                break
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="watch-parent", daemon=True).start()


@contextlib.contextmanager
def guarded(command: Sequence[str], output: int) -> Iterator[subprocess.Popen[bytes]]:
    """A command in a process group of its own, which ends with this process and with the ``with`` block.

    Args:
        command: its words; no shell reads them.
        output: file descriptor for what it prints.

    Yields:
        The guard. Its return code is that of the command, or 128 and the number of the signal that ended it.
    """
    # A process and not a thread: it must outlive this one, if only by a second.
    guard = [sys.executable, "-m", __name__, str(os.getpid()), *command]
    # Outside this process's group and session, so that no signal to them strikes the guard before it has cleaned up.
    options = {"stdin": subprocess.PIPE, "stdout": output, "stderr": output, "start_new_session": True}
    with subprocess.Popen(guard, **options) as child:  # type: ignore[call-overload]
        yield child  # at the end Popen closes the pipe, which the guard sees, and waits for it


@contextlib.contextmanager
def ended_tidily() -> Iterator[None]:
    """Within the block SIGTERM and SIGHUP raise ``SystemExit``, so that what is open is closed and locks are given up.

    A second signal ends the process at once. A signal that the process was told to ignore (``nohup``) stays ignored.
    """

    def leave(number: int, frame: FrameType | None) -> NoReturn:
        # Whoever sends a second one does not want to wait for the first.
        signal.signal(number, signal.SIG_DFL)
        print(f"error: ended by {signal.Signals(number).name}", file=sys.stderr, flush=True)
        raise SystemExit(128 + number)

    main = threading.current_thread() is threading.main_thread()  # others cannot set handlers
    numbers = [getattr(signal, name) for name in _ENDING if main and hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    # Another handler, of a notebook or a test runner, is left alone.
    ours = [number for number, handler in before.items() if handler is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, before[number])


@contextlib.contextmanager
def says_when_stopped(words: Callable[[], str]) -> Iterator[None]:
    """Where the user, a job's limit or a full disk ends the block, print ``words()`` on standard error: what stays."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, WriteError):
        print(f"Stopped. {words()}", file=sys.stderr, flush=True)
        raise


@contextlib.contextmanager
def mistakes_in_one_line() -> Iterator[None]:
    """Within the block a mistake in what was asked for is said as one line on standard error, and ends in exit code 2.

    Of several processes of one launcher (``torchrun``, ``accelerate launch``) the first says it.
    """
    try:
        yield
    # Errors of these kinds have a text for the user; every other one is a fault of ours and keeps its traceback.
    except (ValueError, OSError, FloatingPointError) as error:
        # Every rank reads the same recipe and meets the same mistake. The launcher ends the others as soon as the first
        # has left; one that is still there after that met a mistake of its own, and says it.
        if os.environ.get("LOCAL_RANK", "0") != "0":
            time.sleep(_LAUNCHER_ENDS)
        print(in_colour(f"error: {_in_words(error)}", 31, sys.stderr), file=sys.stderr, flush=True)
        raise SystemExit(2) from None


def _in_words(error: Exception) -> str:
    """An error's own text; of one that the system raised for a path, a rule and a remedy in place of a number."""
    if isinstance(error, OSError) and error.filename is not None and str(error).startswith("[Errno"):
        return f"{error.filename} cannot be used: {error.strerror}; give another path, or make this one usable."
    return str(error)


def end_descendants() -> None:
    """End all processes that this one has started, directly or not: SIGTERM, and SIGKILL after a few seconds."""
    import psutil

    began, told = time.monotonic(), set()
    # Again and again: what is being ended may still start something.
    while (left := psutil.Process().children(recursive=True)) and time.monotonic() - began < _GRACE + _STUCK:
        for process in left:
            with contextlib.suppress(psutil.Error):
                if time.monotonic() - began > _GRACE:
                    process.kill()
                elif process.pid not in told:  # once: a launcher takes a second SIGTERM for impatience
                    told.add(process.pid)
                    process.terminate()
        psutil.wait_procs(left, timeout=0.1)


def main(parent: int, command: Sequence[str]) -> int:
    """The guard: run ``command`` until it ends, the parent ends, or a signal comes; then end what is left of it.

    Returns:
        The code to leave with.
    """
    for name in ("SIGINT", *_ENDING):
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) is not signal.SIG_IGN:
            signal.signal(getattr(signal, name), lambda number, frame: sys.exit(128 + number))
    # torchrun puts its ranks into sessions of their own, which no signal to a group reaches.
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)  # what loses its parent becomes this process's child and is found
    # Should the guard itself be killed, the kernel tells the command. One thread, so preexec_fn is safe here.
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, preexec_fn=lambda: _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    )
    try:
        while child.poll() is None and os.getppid() == parent:
            if select.select([0], [], [], _LOOK)[0]:  # nothing is ever written: the pipe has been closed
                break
    finally:
        end_descendants()
    # A code below 0 is a signal; shells say 128 and its number.
    code = child.wait()
    return code if code >= 0 else 128 - code


def _prctl(option: int, value: int) -> None:
    """A setting of this process that only Linux has; elsewhere nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
