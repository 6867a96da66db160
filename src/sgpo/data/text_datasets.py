"""Files of text (JSON lines, JSON, CSV) as a data set of ``datasets``, with the values that every command reads there.

``datasets`` has readers of its own, which guess what a text means: ``"2024-05-06"`` becomes a date, ``033`` in a CSV
file 33, a whole number of over 64 bits a rounded one. A gold answer must stay what it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from datasets import Dataset, ReadInstruction

from sgpo.data.tables import Row, read_table
from sgpo.runs.files import JsonObject, ReadError

_KINDS: dict[type, str] = {str: "text", float: "a number", bool: "a boolean", list: "a list", dict: "an object"}
_SPLIT = re.compile(r"(?:^|\+)\s*([^\s\[+]+)")
_EXACT = 2**53  # whole numbers up to it are floats, too


def text_dataset(files: Mapping[str, Sequence[Path]], split: str) -> Dataset:
    """The rows of files of text (see `sgpo.data.tables`), by the name of their split.

    A column is there where any row has it: `Dataset.from_list` takes those of the first row, and ``datasets`` reads
    JSON in parts, of which the first one decides on the types.

    Args:
        files: of each split.
        split: a name among them, or an instruction of ``datasets`` such as ``train[:100]``.

    Raises:
        ReadError: a file cannot be read, a column holds values of several kinds, or a number that would be rounded.
        ValueError: there is no such split.
    """
    rows = {name: list(_rows(files[name])) for name in _SPLIT.findall(split) if name in files}
    names = dict.fromkeys(chain.from_iterable(chain.from_iterable(rows.values())))
    parts = ReadInstruction.from_spec(split).to_absolute({name: len(rows.get(name, ())) for name in files})
    taken = [row for part in parts for row in rows[part.splitname][part.from_ : part.to]]
    # Objects whose fields are of several kinds, as the contents of messages may be, stay as they are, too.
    return Dataset.from_dict({name: [row.get(name) for row in taken] for name in names}, on_mixed_types="use_json")


def _rows(files: Sequence[Path]) -> Iterator[JsonObject]:
    return _of_one_kind(chain.from_iterable(map(read_table, files)))


def _of_one_kind(rows: Iterable[Row]) -> Iterator[JsonObject]:
    """The rows; ReadError for what a column would change: text among numbers, and whole numbers that it rounds."""
    kinds: dict[str, tuple[type, str]] = {}
    # Of each column whether it holds a number with a fraction, and where a whole one that floats have not.
    floats: set[str] = set()
    long: dict[str, str] = {}
    for where, row in rows:
        for name, value in row.items():
            if value is None:
                continue
            kind = float if isinstance(value, int) and not isinstance(value, bool) else type(value)
            first, there = kinds.setdefault(name, (kind, where))
            if first is not kind:
                raise ReadError(
                    f"{where}: {name!r} is {_KINDS.get(kind, kind.__name__)}, but {_KINDS.get(first, first.__name__)} "
                    f"in {there}; a column holds one kind of value: make them all text, or all "
                    "numbers."
                )
            if isinstance(value, float):
                floats.add(name)
            elif kind is float and abs(value) > _EXACT:
                long.setdefault(name, where)
            if _overflows(value) or (name in floats and name in long):
                raise ReadError(
                    f"{long.get(name, where)}: {name!r} holds a whole number that a column of numbers would round; "
                    "write it as text, in quotes, in every row."
                )
        yield row


def _overflows(value: Any) -> bool:
    """Whether a value is, or holds, a whole number of over 64 bits."""
    if isinstance(value, int):
        return not -(2**63) <= value < 2**63
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(map(_overflows, parts))
