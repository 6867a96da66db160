"""Tables as the templates draw them: ``table.html.jinja`` has the one macro for all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sgpo.runs.scores import SeedMean

LEVELS = 10  # of a cell's colour


class Heat(NamedTuple):
    """A cell of a heat table: its text and how dark it is, from 0 to ``LEVELS``."""

    text: str
    level: int


class LegendEntry(NamedTuple):
    """A method and its colour."""

    label: str
    hue: int


class TableRow(NamedTuple):
    """A row: its name with a ``note`` behind it, and its cells; ``apart`` draws a line above it."""

    name: str
    cells: Sequence[str | SeedMean | Heat | None]
    note: str = ""
    apart: bool = False


@dataclass(frozen=True)
class PageTable:
    """A table; ``titles`` are those of its columns, that of the names among them, and ``title`` its own."""

    titles: Sequence[str]
    rows: Sequence[TableRow]
    title: str = ""


def percent(value: float | None, digits: int = 1) -> str:
    """A share in percent; nothing where there is none."""
    return "" if value is None else f"{100 * value:.{digits}f}"


def heat(value: float | None) -> Heat:
    """A share as a cell of a heat table."""
    return Heat(percent(value), 0 if value is None else round(LEVELS * min(1.0, max(0.0, value))))
