"""The lock of a directory."""

import contextlib
import os
import warnings
from collections.abc import Iterator
from typing import IO

from sgpo.runs.reader import PathLike
from sgpo.runs.writer import write_error


class InUseError(ValueError):
    """A directory that another process has locked."""


_held: set[IO[str]] = set()


def _let_go() -> None:
    """Close the locks of the parent in a forked child, which would hold them beyond the parent's death."""
    while _held:
        _held.pop().close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


@contextlib.contextmanager
def locked(directory: PathLike, what: str = "a run", *, remedy: str = "wait for it") -> Iterator[None]:
    """Have ``directory`` for this process alone. The system frees the lock of a process that died.

    Where the system or the file system has no such locks (Windows, some network drives), nothing is held.

    Args:
        what: what this process does there, such as "sgpo eval"; a process that is refused is told it.
        remedy: what a process that is refused may do.

    Raises:
        InUseError: another process, or this one, has it locked.
        WriteError: the lock's file ``.lock`` cannot be written.
    """
    # The file stays when the lock is given up: to delete it would let a third process lock a new one meanwhile.
    path = os.path.join(directory, ".lock")
    try:
        # Not "w": that would wipe out who holds the lock before it is known that nobody does.
        file = open(path, "a+", encoding="utf-8")  # noqa: SIM115
    except OSError as error:
        raise write_error(path, error) from error
    try:
        _acquire(file, directory, remedy)
        _held.add(file)
        with contextlib.suppress(OSError):  # a full disk: the lock holds without its words
            file.truncate(0)
            file.write(f"process {os.getpid()}: {what}\n")
            file.flush()
        yield
        with contextlib.suppress(OSError):
            file.truncate(0)
    finally:
        _held.discard(file)
        with contextlib.suppress(OSError):
            file.close()


def _acquire(file: IO[str], directory: PathLike, remedy: str) -> None:
    try:
        # Windows has none.
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        holder = file.read(200).strip() or "another process"
        raise InUseError(f"{directory} is in use by {holder}; {remedy}.") from error
    except OSError as error:
        warnings.warn(f"{directory} cannot be locked ({error}); run one process in it at a time.", stacklevel=4)
