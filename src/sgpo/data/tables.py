"""The one loader of data files: rows of a JSONL, JSON, CSV or parquet file, for every command alike.

`.parquet` and `.csv` are told by their name, everything else is JSON: one object a line or one list of objects
(`sgpo.runs.reader`). Text is UTF-8, with or without a byte order mark; gzip-compressed text is unpacked.
"""

import contextlib
import csv
import math
import numbers
import re
import struct
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from sgpo.runs.files import JsonObject, PathLike, ReadError, read_lines, read_rows
from sgpo.runs.words import first_line

Row = tuple[str, JsonObject]
"""Where a row stands, ``FILE, line 3``, and its fields."""
_BATCH = 64
_LONGEST = 2**31 - 1  # of a CSV cell; responses are longer than the default, 128 KiB
_FEW, _SINGLE = 30, 7  # the largest denominator of a fraction of 32 bits, and characters of a decimal number
_ROUND = 14  # characters of a float, of 15 digits, from which the digits after them are no fault of arithmetic


def read_table(path: PathLike, *, skip: Callable[[ReadError], None] | None = None) -> Iterator[Row]:
    """The rows of a data file, as a stream.

    A CSV file names its columns in its first line; one without a name, such as the index that pandas writes, is left
    out. Its cells are text (``033`` stays ``033``), and empty ones are None.

    Args:
        skip: gets the error of a line of JSON that cannot be read, which is then left out, instead of it being raised.

    Raises:
        ReadError: the file cannot be read; the message names file, line and remedy.
    """
    kind = _kind(path)
    if kind == ".parquet":
        return _parquet_rows(path)
    return _csv_rows(path) if kind == ".csv" else read_rows(path, skip=skip)


def check_replaces(path: Path, column: str) -> None:
    """Raise ValueError where a new file would replace one whose rows have no ``column``: other data, then lost."""
    if not path.is_file() or not path.stat().st_size:
        return
    for read in (read_rows, _parquet_rows):  # a result of lines of JSON has any ending
        with contextlib.suppress(ReadError):
            if column in next(read(path), ("", {}))[1]:
                return
    raise ValueError(f"{path} holds other data, which would be lost; give another path, or remove it first.")


def count_rows(path: PathLike) -> int | None:
    """The rows of a data file, or None where that is known only after reading them all. Raises ReadError."""
    kind = _kind(path)
    if kind == ".parquet":
        return int(_parquet(path).metadata.num_rows)
    first = next((line for line in read_lines(path) if line.strip()), "") if kind != ".csv" else "["
    return None if first.lstrip().startswith("[") else sum(1 for line in read_lines(path) if line.strip())


def table_name(path: PathLike) -> str:
    """A data file's name without its endings: ``amc23`` of ``amc23.jsonl`` and of ``amc23.jsonl.gz``."""
    return Path(str(path).removesuffix(".gz")).stem


def number_text(value: Any) -> str | None:
    """The text of a number (numpy's and decimal ones, too); None for whatever else it is.

    A float that stands for a fraction of whole numbers, as far as its bits can say it, is that fraction (``1/3``); one
    that arithmetic has left a little off is rounded (``0.1 + 0.2`` is ``0.3``), and so is one of 32 bits
    (``0.10000000149011612`` is ``0.1``). Nobody answers with its digits. Any other keeps them: they are what a program
    prints (``math.pi``).
    """
    if not isinstance(value, (numbers.Real, Decimal)) or isinstance(value, bool):
        return None
    if isinstance(value, (numbers.Rational, Decimal)):
        return str(value)
    value = float(value)
    if len(repr(value)) <= 16 or not math.isfinite(value) or value.is_integer():
        return str(value)
    # With so few bits many fractions lie near a number; one of a dozen bits, such as 2**-16, is meant as it is.
    if _of_32_bits(value) == value and abs(Fraction(value).numerator) >= 2**12:
        rounded = next(text for digits in range(1, 18) if _of_32_bits(float(text := f"{value:.{digits}g}")) == value)
        exact = Fraction(value).limit_denominator(_FEW)
        return str(exact) if len(rounded) > _SINGLE and _of_32_bits(float(exact)) == value else rounded
    exact = Fraction(value).limit_denominator(10_000)
    rounded = f"{value:.15g}"
    return str(exact) if float(exact) == value else rounded if len(rounded) < _ROUND else str(value)


def gold_texts(cell: Any) -> list[str]:
    """The golds of a cell, which may hold a list of them; [] where one is blank, no finite number, or anything else."""
    texts = []
    for part in cell if isinstance(cell, list) and cell else [cell]:
        text = part if isinstance(part, str) else number_text(part)
        # str(nan) is text like any other, and would be a gold that no response meets.
        endless = isinstance(part, (float, Decimal)) and not math.isfinite(part)
        if endless or not text or not text.strip():
            return []
        texts.append(text)
    return texts


def _of_32_bits(value: float) -> float:
    return float(struct.unpack("f", struct.pack("f", value))[0])


def check_text(path: PathLike) -> None:
    """Read a text file to its end, so that bytes which are no text are refused before any work. Raises ReadError."""
    if _kind(path) != ".parquet":
        for _ in read_lines(path):
            pass


def _kind(path: PathLike) -> str:
    return Path(str(path).removesuffix(".gz")).suffix.lower()


def _csv_rows(path: PathLike) -> Iterator[Row]:
    # A setting of the whole process, so it is put back.
    before = csv.field_size_limit(_LONGEST)
    try:
        # With their ends: a cell in quotes may hold line ends, which the reader of csv must see.
        lines = (line + "\n" for line in read_lines(path))
        table = csv.reader(lines, strict=True)
        names = next(table, [])
        if len(set(names)) < len(names) or (len(names) == 1 and names[0] == ""):
            raise ReadError(f"{path}, line 1: each column needs a name of its own; they are {names}.")
        if len(names) == 1 and (mark := re.search(r"[;\t|]", names[0])):
            raise ReadError(f"{path}, line 1: columns are parted by {mark[0]!r}; part them by commas, or give JSONL.")
        for cells in table:
            where = f"{path}, line {table.line_num}"
            if not cells:
                continue
            if len(cells) != len(names):
                raise ReadError(
                    f"{where}: {len(cells)} cells where the first line names {len(names)} columns; put cells that hold "
                    "commas or line ends in double quotes."
                )
            yield where, {name: cell or None for name, cell in zip(names, cells, strict=True) if name}
    except csv.Error as error:
        raise ReadError(f"{path}, line {table.line_num}: cannot be read as CSV: {error}; write it again.") from error
    finally:
        csv.field_size_limit(before)


def _parquet_rows(path: PathLike) -> Iterator[Row]:
    from pyarrow import lib  # type: ignore[import-untyped]

    number = 0
    try:
        # In batches: a file of responses may be larger than memory.
        for batch in _parquet(path).iter_batches(batch_size=_BATCH):
            for row in batch.to_pylist():
                number += 1
                yield f"{path}, row {number}", row
    except (OSError, lib.ArrowException, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error


def _parquet(path: PathLike) -> Any:
    from pyarrow import lib, parquet

    try:
        return parquet.ParquetFile(path)
    except (OSError, lib.ArrowException) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: PathLike, error: Exception) -> ReadError:
    if isinstance(error, FileNotFoundError):
        return ReadError(f"{path} cannot be read: there is no such file; give the path of a file that can be read.")
    return ReadError(f"{path} cannot be read as parquet: {first_line(error)}; write it again, or give JSONL.")
