"""Files of text (JSON lines, JSON, CSV) as a data set of ``datasets``, with the values that every command reads there.

``datasets`` has readers of its own, which guess what a text means: ``"2024-05-06"`` becomes a date, ``033`` in a CSV
file 33, a whole number of over 64 bits a rounded one. A gold answer must stay what it is.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, chain
from pathlib import Path
from typing import Any

from datasets import Dataset, ReadInstruction

from sgpo.data.tables import Row, read_table
from sgpo.runs.files import ReadError

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
    rows = {
        name: list(chain.from_iterable(map(read_table, files[name]))) for name in _SPLIT.findall(split) if name in files
    }
    for each in rows.values():
        _check_columns(each)
    every = list(chain.from_iterable(rows.values()))
    # Objects whose fields are of several kinds, as the contents of messages may be, stay as they are, too.
    columns = {name: [row.get(name) for _, row in every] for name in _names(every)}
    data = Dataset.from_dict(columns, on_mixed_types="use_json")
    first = dict(zip(rows, accumulate(map(len, rows.values()), initial=0), strict=False))
    parts = ReadInstruction.from_spec(split).to_absolute({name: len(rows.get(name, ())) for name in files})
    # Taken only now, so that the types are those of all rows, too.
    return data.select([first[part.splitname] + i for part in parts for i in range(part.from_, part.to)])


def _names(rows: Iterable[Row]) -> list[str]:
    return list(dict.fromkeys(chain.from_iterable(row for _, row in rows)))


def _check_columns(rows: Sequence[Row]) -> None:
    """ReadError for what a column would change: text among numbers, and whole numbers that it rounds."""
    for name in _names(rows):
        cells = [(where, row[name]) for where, row in rows if row.get(name) is not None]
        kinds: dict[type, str] = {}
        for where, value in cells:
            kinds.setdefault(float if type(value) is int else type(value), where)
        if len(kinds) > 1:
            (first, there), (kind, where) = list(kinds.items())[:2]
            raise ReadError(
                f"{where}: {name!r} is {_KINDS.get(kind, kind.__name__)}, but {_KINDS.get(first, first.__name__)} in "
                f"{there}; a column holds one kind of value: make them all text, or all numbers."
            )
        fractions = any(isinstance(value, float) for _, value in cells)
        for where, value in cells:
            if _overflows(value) or (fractions and isinstance(value, int) and abs(value) > _EXACT):
                raise ReadError(
                    f"{where}: {name!r} holds a whole number that a column of numbers would round; write it as text, "
                    "in quotes, in every row."
                )


def _overflows(value: Any) -> bool:
    """Whether a value is, or holds, a whole number of over 64 bits."""
    if isinstance(value, int):
        return not -(2**63) <= value < 2**63
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(map(_overflows, parts))
