"""How a record is read from JSON and written to it, field by field.

A file may be torn, of another version, or not what its name says, and a report must still show the rest. So reading is
lenient: a value of the wrong kind counts as missing, and only a field that an entry makes no sense without raises
`EntryError`. Fields that this version does not know stay under ``more`` and are written back as they came.
"""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Self

from sgpo.runs.reader import JsonObject


class EntryError(ValueError):
    """An entry without a field that it makes no sense without; the message names the field."""


def finite(value: Any) -> float | None:
    """A finite number, or None for everything else (True and False, too)."""
    # In Python True is a number.
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        # Metrics of a run that went wrong hold NaN, and a page of NaN would be all that its report shows.
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # an int beyond a float's range
        return None


def whole_number(value: Any) -> int | None:
    """A number without its fraction."""
    return None if (number := finite(value)) is None else int(number)


def text(value: Any) -> str | None:
    """A text, or None for everything else."""
    return value if isinstance(value, str) else None


def boolean(value: Any) -> bool | None:
    """True or False, or None for everything else."""
    return value if isinstance(value, bool) else None


def mapping(value: Any) -> JsonObject:
    """A JSON object, or an empty one for everything else."""
    return value if isinstance(value, dict) else {}


def finite_list(value: Any, length: int) -> list[float] | None:
    """A list of exactly ``length`` finite numbers."""
    found = [finite(each) for each in value] if isinstance(value, list | tuple) else []
    # All or nothing: half an interval is none.
    numbers = [number for number in found if number is not None]
    return numbers if len(numbers) == len(found) == length else None


def json_list(value: Any) -> list[Any] | None:
    return value if isinstance(value, list) else None


def pair(value: Any) -> tuple[float, float] | None:
    found = finite_list(value, 2)
    return (found[0], found[1]) if found else None


def texts(value: Any) -> tuple[str, ...]:
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list | tuple) else ()


def lenient(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Reads what ``read`` reads, and gives None for what it refuses."""

    def read_or_none(value: Any) -> Any:
        with contextlib.suppress(EntryError):
            return read(value)

    return read_or_none


def each(read: Callable[[Any], Any]) -> Callable[[Any], JsonObject]:
    """Reads a JSON object whose values ``read`` reads; those that it refuses or finds nothing in are left out."""
    return lambda value: {
        name: found for name, one in mapping(value).items() if (found := lenient(read)(one)) is not None
    }


def required(read: Callable[[Any], Any]) -> Any:
    """A field that an entry makes no sense without; ``read`` gives None for a value of the wrong kind."""
    return field(metadata={"read": read})


def optional(read: Callable[[Any], Any], *, written: bool = False) -> Any:
    """A field that is None where it was not measured, and then not in the file unless it is always ``written``."""
    return field(default=None, metadata={"read": read, "null": written})


def listing(read: Callable[[Any], Any], empty: Callable[[], Any] = dict, *, written: bool = False) -> Any:
    """A field of many values, empty where there are none, and then not in the file unless it is always ``written``."""
    return field(default_factory=empty, metadata={"read": read, "many": not written})


@dataclass(frozen=True, kw_only=True)
class JsonEntry:
    """A record with a JSON form, field by field; ``more`` holds what another version of sgpo wrote into it."""

    more: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """The entry that :meth:`to_json` wrote. Raises EntryError where a required field is missing."""
        given, found = mapping(value), {}
        known = [one for one in dataclasses.fields(cls) if "read" in one.metadata]
        for one in known:
            if one.name in given and (read := one.metadata["read"](given[one.name])) is not None:
                found[one.name] = read
            # The rest of an entry is worth showing without a field that has a default.
            elif one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING:
                raise EntryError(f"it has no {one.name!r}, or one that cannot be read: {str(given.get(one.name))[:80]}")
        # Kept, so that an older sgpo that goes on with a directory does not lose what a newer one measured.
        names = {one.name for one in known}
        return cls(**found, more={name: given[name] for name in given if name not in names})

    @classmethod
    def mean(cls, several: Sequence[Self]) -> Self:
        """The mean of each score; None where one of the entries lacks it, and what is no score is left out."""
        # A mean over those that happen to have a score would stand beside means over all of them.
        scores = [one.name for one in dataclasses.fields(cls) if one.metadata.get("read") is finite]
        columns = {name: [getattr(each, name) for each in several] for name in scores}
        means: JsonObject = {name: None if None in values else fmean(values) for name, values in columns.items()}
        return cls(**means)

    def to_json(self) -> JsonObject:
        """The entry as JSON types."""
        found = {}
        for one in dataclasses.fields(self):
            value = getattr(self, one.name)
            given = one.metadata.get("null") if value is None else value or not one.metadata.get("many")
            # What was not measured is not in the file: a null would look like a measurement that failed.
            if "read" in one.metadata and given:
                found[one.name] = _as_json(value)
        return {**found, **self.more}


def _as_json(value: Any) -> Any:
    if hasattr(value, "to_json"):
        return value.to_json()
    if isinstance(value, Mapping):
        return {name: _as_json(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(one) for one in value]
    return value
