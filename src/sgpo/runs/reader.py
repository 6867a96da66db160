"""Reading text, JSON and rows. Every error names the file, the line and the remedy.

Text is UTF-8, with or without a byte order mark, gzip-compressed or not. What JSON may hold is decided here, once: NaN
and Infinity are read as Python reads them (metrics hold them); a key that stands twice in an object, a number of over
4,300 digits and nesting beyond Python's limit are refused.
"""

import bisect
import contextlib
import gzip
import io
import json
import os
import re
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any

PathLike = str | os.PathLike[str]
JsonObject = dict[str, Any]
"""A JSON object as it was read; what its fields hold, whoever reads it has to look at."""

# A wrong kind of file is the commonest mistake, and "invalid start byte" tells nobody what to do about it.
_BAD_TEXT = {  # first bytes of a file that is no text to what it is
    b"PAR1\x15": "a parquet file; name it .parquet",
    b"ARROW1\x00\x00": "an Arrow file; write it as parquet, or as JSONL",
    b"PK\x03\x04": "a zip archive; unpack it",
    b"\x28\xb5\x2f\xfd": "compressed with zstd; unpack it (zstd -d)",
    b"BZh91AY&SY": "compressed with bzip2; unpack it (bunzip2)",
    b"\xfd7zXZ\x00": "compressed with xz; unpack it (unxz)",
    b"SQLite format 3\x00": "an SQLite file, such as the store of sgpo strategies",
    b"\xff\xfe\x00\x00": "UTF-32 text; convert it: iconv -f UTF-32 -t UTF-8",
    b"\xff\xfe": "UTF-16 text; convert it: iconv -f UTF-16 -t UTF-8",
    b"\xfe\xff": "UTF-16 text; convert it: iconv -f UTF-16 -t UTF-8",
}


class ReadError(ValueError):
    """A file that cannot be read, or does not hold what it should; the message names file, line and remedy."""


def read_lines(path: PathLike) -> Iterator[str]:
    """The lines of a text file without their ends, as a stream; ``\\n``, ``\\r\\n`` and ``\\r`` end a line.

    Raises:
        ReadError: the file cannot be opened, is no UTF-8 text, or holds NUL bytes.
    """
    for line, _ in _lines(path):
        yield line


def read_text(path: PathLike) -> str:
    """The text of a file, every line end as ``\\n``. Raises ReadError, see `read_lines`."""
    with _opened(path) as file:
        raw = file.read()
    return re.sub(r"\r\n|\r", "\n", _decoded(raw, path, 1, 0))


def read_json(path: PathLike) -> Any:
    """The JSON value of a file. Raises ReadError."""
    return parse_json(read_text(path), str(path))


def read_json_object(path: PathLike) -> JsonObject:
    """The JSON object of a file. Raises ReadError where it holds anything else."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise ReadError(f"{path} holds {_kind(value)}, not a JSON object; give the file that was meant.")
    return value


def read_rows(
    path: PathLike, *, torn: bool = False, skip: Callable[[ReadError], None] | None = None, longest: int | None = None
) -> Iterator[tuple[str, JsonObject]]:
    """The JSON objects of a file with where each stands (``FILE, line 3``), as a stream.

    The file holds one object a line (JSONL) or one list of objects; which of them is seen from its first character, not
    from its name. Blank lines are left out.

    Args:
        torn: leave out a last line that is cut off, as it is in the file of a run in progress.
        skip: gets the error of a line that is no JSON object, which is then left out, in place of having it raised.
        longest: for files that may hold anything (see `sgpo.runs.bounded`): a line of more bytes is no JSON object, nor
            is one that begins a list, and bytes that are no UTF-8 become U+FFFD.

    Raises:
        ReadError: the file cannot be read (see `read_lines`), or a line is no JSON object.
    """
    lines = enumerate(_lines(path, torn, longest), 1)
    begun = longest is not None
    for number, (line, ended) in lines:
        # Concatenated files carry a byte order mark in their middle.
        text = line.strip("\ufeff \t")
        # Only as the first thing in a file: a row that is a list is a mistake of its own.
        if text.startswith("[") and not begun:
            rest = "\n".join([line, *(line for _, (line, _) in lines)])
            yield from _rows_of_list("\n" * (number - 1) + rest, path)
            return
        if not text.strip():
            continue
        begun, where = True, f"{path}, line {number}"
        try:
            row = _object(parse_json(text, where), where)
        except ReadError as error:
            if torn and not ended:
                return
            if skip is None:
                raise
            skip(error)
        else:
            yield where, row


def parse_json(text: str, where: str) -> Any:
    """The value of a JSON text. Raises ReadError, whose message begins with ``where``."""
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise ReadError(f"{where}: {_why(error)}") from error


def _rows_of_list(text: str, path: PathLike) -> Iterator[tuple[str, JsonObject]]:
    """The objects of a JSON list, each with the line that it begins on."""
    blank = re.compile(r"[ \t\n\r\ufeff]*")
    line_ends = [end.start() for end in re.finditer("\n", text)]

    def following(position: int) -> tuple[int, str]:
        """The next place that is not blank, and its name."""
        position = blank.match(text, position).end()  # type: ignore[union-attr]
        return position, f"{path}, line {bisect.bisect(line_ends, position) + 1}"

    # Item by item and not by one `json.loads`, so that an error names the line of its item.
    position, where = following(text.index("[") + 1)
    ended = text.startswith("]", position)
    while not ended:
        try:
            value, position = _DECODER.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            raise ReadError(f"{where}: {_why(error)}") from error
        yield where, _object(value, where)
        position, where = following(position)
        ended = text.startswith("]", position)
        if text.startswith(",", position):
            position, where = following(position + 1)
        elif not ended:
            found = text[position : position + 1]
            said = f"{found!r} where ',' or ']' was expected" if found else "the list is cut off"
            raise ReadError(f"{where}: not valid JSON: {said}; write the file again.")
    if text[position + 1 :].strip():
        raise ReadError(f"{where}: text follows the end of the list; give one list, or one object a line.")


def _object(value: Any, where: str) -> JsonObject:
    if not isinstance(value, dict):
        raise ReadError(f"{where}: {_kind(value)}, not a JSON object; give one object a line, or a list of objects.")
    return value


def _kind(value: Any) -> str:
    names = {type(None): "null", bool: "a boolean", int: "a number", float: "a number", str: "a text", list: "a list"}
    return names.get(type(value), f"a {type(value).__name__}")


def _unique(pairs: list[tuple[str, Any]]) -> JsonObject:
    # Python keeps the last of two, in silence, and a row would lose its first answer.
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} stands twice in one object; keep one of them.")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_unique)


def _why(error: BaseException) -> str:
    if isinstance(error, json.JSONDecodeError):
        place = f"column {error.colno}" if error.lineno == 1 else f"line {error.lineno}, column {error.colno}"
        return f"not valid JSON ({error.msg} at {place}); rows are one object a line, or one list of objects."
    if isinstance(error, RecursionError):
        return "not valid JSON (nested too deep to be read); flatten it."
    if "limit" in str(error) and "digits" in str(error):
        return "holds a number of more digits than Python reads; write it as text, in quotes."
    return str(error)


def _lines(path: PathLike, torn: bool = False, longest: int | None = None) -> Iterator[tuple[str, bool]]:
    """Each line and whether it has its line end; ``torn`` leaves out a last one that ends within a character."""
    with _opened(path) as file:
        position = number = 0
        for raw in file if longest is None else _bounded(file, longest):
            ended = raw.endswith((b"\n", b"\r"))
            try:
                text = raw.decode("utf-8", "replace") if longest else _decoded(raw, path, number + 1, position)
            except ReadError:
                if torn and not ended:
                    return
                raise
            position += len(raw)
            # Not splitlines, which also parts at U+2028 and at form feeds, as they stand in texts of models.
            lines = re.split(r"\r\n|\r|\n", text)
            number += len(lines) - 1
            for line in lines[:-1]:
                yield line, True
            if not ended:
                yield lines[-1], False


def _bounded(file: IO[bytes], longest: int) -> Iterator[bytes]:
    """The lines of a file, which are never held whole where they have more bytes: such a one is no JSON."""
    while line := file.readline(longest):
        part = line
        while len(part) == longest and not part.endswith(b"\n"):
            part = file.readline(longest)
        yield line if part is line else b"overlong\n"


@contextlib.contextmanager
def _opened(path: PathLike) -> Iterator[IO[bytes]]:
    """A text file's bytes, unpacked where gzip packed them. Raises ReadError, also for what the block reads."""
    try:
        with open(path, "rb") as file:
            # By its content and not by its name: data are renamed more often than converted.
            head = file.peek(16)[:16]
            for magic, what in _BAD_TEXT.items():
                if head.startswith(magic):
                    raise ReadError(f"{path} is {what}.")
            if head.startswith(b"\x1f\x8b"):
                yield io.BufferedReader(gzip.GzipFile(fileobj=file))
            else:
                yield file
    except (OSError, EOFError, zlib.error) as error:
        missing = isinstance(error, FileNotFoundError)
        said = "there is no such file" if missing else getattr(error, "strerror", None) or str(error)
        raise ReadError(f"{path} cannot be read: {said}; give the path of a file that can be read.") from error


def _decoded(raw: bytes, path: PathLike, line: int, position: int) -> str:
    """Bytes as text, without a byte order mark in front; ``line`` and ``position`` are those of the first byte."""
    # UTF-16 of plain English is also valid UTF-8, with a NUL behind each letter.
    nul = raw.find(b"\0")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line += len(re.findall(rb"\r\n|\r|\n", raw[: error.start]))
        said = f"the byte 0x{raw[error.start]:02x} at position {position + error.start} is not UTF-8"
        if nul < 0:
            remedy = "convert the file, for example: iconv -f WINDOWS-1252 -t UTF-8"
            raise ReadError(f"{path}, line {line}: {said}; {remedy}.") from error
    if nul >= 0:
        line += len(re.findall(rb"\r\n|\r|\n", raw[:nul]))
        raise ReadError(
            f"{path}, line {line}: a NUL byte at position {position + nul}; the file is UTF-16 (convert it: iconv -f "
            "UTF-16 -t UTF-8), or was damaged (write it again)."
        )
    return text[1:] if text.startswith("\ufeff") else text
