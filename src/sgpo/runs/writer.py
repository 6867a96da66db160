"""Writing a file whole or not at all, and appending lines that survive a killed process.

`writing`, `write_bytes`, `write_text`, `write_json` and `write_rows` put a file under its name when it is whole.
`append_rows` and `recover_rows` keep a JSONL file that grows, of which a killed process may tear the last line.
"""

import contextlib
import errno
import json
import os
import re
import secrets
import shutil
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any

from sgpo.runs.reader import JsonObject, PathLike, read_rows

_FAILED_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EPIPE)
_STREAMS = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/(\d+)")
_MOST_LINKS = 40  # as the kernel follows


# What the writers of torch and safetensors say of a full disk: "unexpected pos 1747136 vs 1747028".
_FULL = re.compile(r"No space left|quota exceeded|File too large|unexpected pos \d|iostream error", re.I)


class WriteError(OSError):
    """A file that cannot be written; what stood under its name before is untouched."""


@contextlib.contextmanager
def writing(path: PathLike) -> Iterator[IO[bytes]]:
    """A binary file that stands under ``path`` once the block has ended without an error.

    The bytes go into a hidden file beside the target, which reaches the disk before it takes the target's place, so
    readers and a killed process see the old file or the new one. A symbolic link stays, and its target is written. An
    existing file keeps its permission bits. What is no regular file (a device, a FIFO, ``/dev/stdout``) is written to
    as it is, never replaced.

    Raises:
        WriteError: the directory is missing or read-only, the file is read-only or a directory, the disk is full.
    """
    try:
        descriptor, target = _destination(os.path.abspath(path))
    except OSError as error:
        raise write_error(path, error) from error
    try:
        with _replacing(target) if target else os.fdopen(descriptor, "wb") as file:
            yield file
    except OSError as error:
        # An error that the block itself raised is not about this file.
        if isinstance(error, WriteError) or error.errno not in _FAILED_WRITE:
            raise
        raise write_error(path, error) from error


@contextlib.contextmanager
def saving(folder: PathLike, *, remove: bool = False) -> Iterator[None]:
    """Within the block other packages write into ``folder``; a full disk, which they say in words of their own, is a
    `WriteError`. ``remove``: the part that was written, which would only take the space, goes."""
    try:
        yield
    except Exception as error:
        if not _FULL.search(str(error)):
            raise
        if remove:
            shutil.rmtree(folder, ignore_errors=True)
        raise write_error(folder, OSError(errno.ENOSPC, "the disk seems to be full")) from error


def write_bytes(path: PathLike, data: bytes) -> None:
    """Write a file whole or not at all; see `writing`."""
    with writing(path) as file:
        file.write(data)


def write_text(path: PathLike, text: str) -> None:
    """Write UTF-8 text whole or not at all; see `writing`. A lone surrogate is written as its escape, ``\\ud800``."""
    write_bytes(path, text.encode("utf-8", errors="backslashreplace"))


def write_json(path: PathLike, value: Any, *, indent: int | None = 1) -> None:
    """Write JSON (in ASCII) and a line feed whole or not at all; see `writing`."""
    write_text(path, json.dumps(value, indent=indent) + "\n")


def write_rows(path: PathLike, rows: Iterable[Any], *, ascii_only: bool = True) -> int:
    """Write one JSON value a line whole or not at all, and return how many; ``rows`` may be a stream."""
    written = 0
    with writing(path) as file:
        for written, row in enumerate(rows, 1):  # noqa: B007
            file.write(json_line(row, ascii_only=ascii_only))
    return written


def json_line(row: Any, *, ascii_only: bool = True, default: Callable[[Any], Any] | None = None) -> bytes:
    """A JSON line with its line feed. A lone surrogate, which UTF-8 cannot hold, has the line escaped to ASCII."""
    text = json.dumps(row, ensure_ascii=ascii_only, default=default)
    try:
        return text.encode() + b"\n"
    except UnicodeEncodeError:
        # Models write half of an emoji; a row must not be lost for it.
        return json.dumps(row, default=default).encode() + b"\n"


def append_rows(
    path: PathLike, rows: Iterable[Any], *, sync: bool = True, default: Callable[[Any], Any] | None = None
) -> None:
    """Append one JSON value a line.

    A last line that a killed process tore is cut off first (see `recover_rows`). Where the disk is full the file is
    left as it was.

    Args:
        sync: return when the rows are on the disk. Without it they survive the process, but not a loss of power.
        default: makes a JSON value of what is none, as for `json.dumps`.

    Raises:
        WriteError: see `writing`.
    """
    # Made before the file is opened: a row that is no JSON must not leave half of the others behind.
    data = b"".join(json_line(row, default=default) for row in rows)
    try:
        with open(path, "ab+") as file:
            regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            if regular:
                _mend(file)
            # Where the disk is full half a line may be written; it is taken back, and the file stays readable.
            before = file.seek(0, os.SEEK_END) if regular else 0
            try:
                file.write(data)
                file.flush()
                if regular and sync:
                    os.fsync(file.fileno())
            except OSError:
                if regular:
                    file.truncate(before)
                raise
    except OSError as error:
        raise write_error(path, error) from error


def recover_rows(path: PathLike) -> list[tuple[str, JsonObject]]:
    """The rows of a file that was being appended to, as `read_rows` gives them; none where there is no file.

    A last line without its line feed is completed where it is whole JSON, and cut off where it is torn.

    Raises:
        ReadError: another line is damaged.
        WriteError: the file needs mending and cannot be written.
    """
    if not os.path.exists(path):
        return []
    try:
        with open(path, "rb") as file:
            whole = not file.seek(0, os.SEEK_END) or (file.seek(-1, os.SEEK_END), file.read(1))[1] == b"\n"
        if not whole:
            with open(path, "rb+") as file:
                _mend(file)
    except OSError as error:
        raise write_error(path, error) from error
    return list(read_rows(path))


def _mend(file: IO[bytes]) -> None:
    """End the last line of a file: with a line feed where it is whole, by cutting it off where it is torn."""
    size = end = file.seek(0, os.SEEK_END)
    tail = b""
    # From the end, in pieces: a file of rollouts may be larger than memory.
    while end and b"\n" not in tail:
        step = min(end, 1 << 16)
        end -= step
        file.seek(end)
        tail = file.read(step) + tail
    last = tail[tail.rfind(b"\n") + 1 :]
    if not last:
        return
    try:
        # A number that is cut off is still a number; only an object shows by its brace that it is whole.
        whole = isinstance(json.loads(last), dict)
    except (ValueError, RecursionError):
        whole = False
    if whole:
        file.seek(0, os.SEEK_END)
        file.write(b"\n")
    else:
        file.truncate(size - len(last))
    file.flush()
    os.fsync(file.fileno())


def _destination(path: str) -> tuple[int, str]:
    """``(-1, file)`` for a file to replace, ``(descriptor, "")`` for what is written to as it is."""
    *_, last = hops = list(_hops(path))
    for hop in hops:
        found = _DESCRIPTOR.fullmatch(hop)
        if found or hop in _STREAMS:  # this process's own: opened anew, a redirected file would be truncated
            sys.stdout.flush()
            sys.stderr.flush()
            return os.dup(int(found[1]) if found else _STREAMS[hop]), ""
    if len(hops) > _MOST_LINKS:
        raise OSError(errno.ELOOP, "its symbolic links go round in a circle")
    try:
        regular = stat.S_ISREG(os.stat(path).st_mode)
    except FileNotFoundError:
        regular = True
    return (-1, last) if regular else (os.open(path, os.O_WRONLY), "")  # of a directory: IsADirectoryError


def _hops(path: str) -> Iterator[str]:
    """A path, and where each of its symbolic links leads."""
    yield path
    for _ in range(_MOST_LINKS):
        if not os.path.islink(path):
            return
        path = os.path.normpath(os.path.join(os.path.realpath(os.path.dirname(path)), os.readlink(path)))
        yield path


@contextlib.contextmanager
def _replacing(target: str) -> Iterator[IO[bytes]]:
    directory, name = os.path.split(target)
    # In the same directory: a rename is atomic within one file system alone. Hidden, and named by process and chance,
    # so that two writers never share one.
    partial = os.path.join(directory, f".{name[:40]}.{os.getpid()}.{secrets.token_hex(4)}.partial")
    try:
        before = os.stat(target) if os.path.exists(target) else None
        if before is not None and not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, "the file is read-only")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    except OSError as error:
        raise write_error(target, error) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            if before is not None:
                with contextlib.suppress(OSError, AttributeError):  # another's file stays theirs, where that is allowed
                    os.chown(partial, before.st_uid, before.st_gid)
                os.chmod(partial, stat.S_IMODE(before.st_mode))
            os.fsync(file.fileno())
        # After the sync: else a loss of power could leave the new name on an empty file.
        os.replace(partial, target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)
    with contextlib.suppress(OSError):  # Windows has no descriptor of a directory
        # The name is part of the directory, which has to reach the disk, too.
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_error(path: PathLike, error: OSError) -> WriteError:
    """The error of the system in words: what cannot be written, why, and what to do."""
    directory = os.path.dirname(os.path.abspath(path))
    if isinstance(error, FileNotFoundError) and not os.path.isdir(directory):
        text = f"{path} cannot be written: there is no directory {directory}; make it, or give another path."
    elif isinstance(error, IsADirectoryError):
        text = f"{path} is a directory; give the path of a file."
    else:
        remedy = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "give another path"
        text = f"{path} cannot be written: {error.strerror or error}; {remedy}, and run again."
    found = WriteError(text)
    found.errno = error.errno
    return found
