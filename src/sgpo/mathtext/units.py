"""Units of measure: which words are one, and what one unit is in another of its dimension, exactly."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

from sgpo.mathtext.tokens import stem

# Of each dimension the units, with their other spellings and sizes.
_TABLE = {
    "time": "second/sec=1 minute/min/mins=60 hour/hr/hrs/h=3600 day=86400 week=604800 month=2629800 year=31557600 "
    "fortnight=1209600 decade=315576000 century=3155760000",
    "length": "meter/metre=1 kilometer/kilometre/km=1000 decimeter/decimetre=0.1 centimeter/centimetre/cm=0.01 "
    "millimeter/millimetre/mm=0.001 inch/inche=0.0254 foot/feet/ft=0.3048 yard/yd=0.9144 mile/mi=1609.344",
    "volume": "liter/litre=1 milliliter/millilitre/ml=0.001 gallon=3.785411784 quart=0.946352946 pint=0.473176473 "
    "cup=0.2365882365 tablespoon=0.01478676478125 teaspoon=0.00492892159375",
    "mass": "gram=1 kilogram/kg=1000 milligram/mg=0.001 tonne=1000000 "
    "ounce/oz=28.349523125 pound/lb/lbs=453.59237 ton=907184.74",
    "money": "cent/penny=1 nickel=5 dime=10 quarter=25 dollar=100",
    "angle": "degree=1",
}
_POWERS = {"square": 2, "sq": 2, "cubic": 3}


class Unit(NamedTuple):
    """A unit: the names of its dimensions and its size in base units."""

    dimension: tuple[str, ...]
    factor: Fraction


ONE = Unit((), Fraction(1))
_UNITS = {
    name: Unit((dimension,), Fraction(size))
    for dimension, entries in _TABLE.items()
    for names, _, size in (entry.partition("=") for entry in entries.split())
    for name in names.split("/")
}
DEGREE, DOLLAR = _UNITS["degree"], _UNITS["dollar"]


def behind(word: str, following: str) -> tuple[Unit | None, int]:
    """The unit that two words in lower case begin with, and how many of them it takes: `square feet`."""
    power = _POWERS.get(word, 1)
    found = _UNITS.get(stem(following if power > 1 else word))
    return (Unit(found.dimension * power, found.factor**power), 1 + (power > 1)) if found else (None, 0)


def named(words: Sequence[str]) -> frozenset[Unit]:
    """The units that a run of words speaks of."""
    pairs = itertools.zip_longest(words, words[1:], fillvalue="")
    return frozenset(unit for pair in pairs if (unit := behind(*pair)[0]))


def conversions(spoken: Iterable[Unit]) -> Iterator[float]:
    """What one of some units is in another."""
    for one, other in itertools.permutations(spoken, 2):
        if one.dimension == other.dimension and one.factor > other.factor:
            yield float(f"{float(one.factor / other.factor):.10g}")
