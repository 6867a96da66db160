"""Units of measure: which words are one, and what one unit is in another of its dimension, exactly.

A table of those that problems of schools use. A library of units reads `shakes`, `gauss` and `lambda` as some, too.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from sgpo.mathtext import values
from sgpo.mathtext.usage import stem

# Of each dimension (a base and its power; none for a mere factor) the units, with their other spellings and sizes.
_TABLE = {
    ("time", 1): "second/sec=1 minute/min/mins=60 hour/hr/hrs=3600 day=86400 week=604800 month=2629800 year=31557600 "
    "fortnight=1209600 decade=315576000 century=3155760000",
    ("length", 1): "meter/metre=1 kilometer/kilometre/km=1000 decimeter/decimetre=0.1 centimeter/centimetre/cm=0.01 "
    "millimeter/millimetre/mm=0.001 inch/inche=0.0254 foot/feet/ft=0.3048 yard/yd=0.9144 mile/mi=1609.344",
    ("length", 2): "hectare=10000 acre=4046.8564224",
    ("length", 3): "liter/litre=0.001 milliliter/millilitre/ml=0.000001 gallon=0.003785411784 quart=0.000946352946 "
    "pint=0.000473176473 cup=0.0002365882365 tablespoon=0.00001478676478125 teaspoon=0.00000492892159375",
    ("mass", 1): "gram=1 kilogram/kg=1000 milligram/mg=0.001 ounce/oz=28.349523125 pound/lb/lbs=453.59237 "
    "ton=907184.74 tonne=1000000",
    ("money", 1): "cent=1 penny=1 nickel=5 dime=10 quarter=25 dollar=100",
    ("euro", 1): "euro=1",
    ("power", 1): "watt=1 kilowatt=1000 megawatt=1000000",
    ("energy", 1): "joule=1 kilojoule=1000 calorie=4.184 kilocalorie=4184",
    ("angle", 1): "degree=1 revolution=360",
    ("", 0): "dozen=12 gross=144",
}  # fmt: skip
_POWERS = {"square": 2, "sq": 2, "cubic": 3, "squared": 2, "cubed": 3}


@dataclass(frozen=True)
class Unit:
    """A unit: the powers of its base dimensions (none for a mere factor such as a dozen), its size in base units."""

    name: str
    dimension: tuple[tuple[str, int], ...]
    factor: Fraction


def _table() -> Iterator[tuple[str, Unit]]:
    for dimension, entries in _TABLE.items():
        for entry in entries.split():
            names, _, factor = entry.partition("=")
            unit = Unit(names.partition("/")[0], (dimension,) if dimension[1] else (), Fraction(factor))
            yield from ((name, unit) for name in names.split("/"))


ONE = Unit("", (), Fraction(1))
_UNITS = dict(_table())


def unit(word: str) -> Unit | None:
    """The unit that a word names; None for words that are none."""
    return _UNITS.get(stem(word))


def _scaled(dimension: tuple[tuple[str, int], ...], power: int) -> tuple[tuple[str, int], ...]:
    return tuple((base, exponent * power) for base, exponent in dimension)


def behind(words: Sequence[str]) -> tuple[Unit | None, int]:
    """The unit that a run of words begins with, and how many words it takes: `square feet`, `miles per hour`."""
    power = _POWERS.get(words[0].lower(), 1) if words else 1
    used = int(power > 1)
    found = unit(words[used]) if used < len(words) else None
    if found is None:
        return None, 0
    used += 1
    if power > 1:
        found = Unit(f"{found.name}^{power}", _scaled(found.dimension, power), found.factor**power)
    if used + 1 < len(words) and words[used].lower() == "per" and (other := unit(words[used + 1])):
        dimension = tuple(sorted(found.dimension + _scaled(other.dimension, -1)))
        found, used = Unit(f"{found.name}/{other.name}", dimension, found.factor / other.factor), used + 2
    return found, used


def named(words: Sequence[str]) -> set[Unit]:
    """The units that a run of words speaks of."""
    return {found for i in range(len(words)) if (found := behind(words[i : i + 4])[0])}


def convert(value: Fraction, source: Unit, target: Unit) -> Fraction | None:
    """A value in another unit of the same dimension."""
    return value * source.factor / target.factor if source.dimension == target.dimension else None


def conversions(spoken: set[Unit]) -> Iterator[float]:
    """Sizes of what one of some units is in another, and of those that are a mere number, as a dozen."""
    for one, other in itertools.permutations(spoken, 2):
        if one.dimension == other.dimension and one.factor > other.factor:
            yield values.size(Fraction(one.factor / other.factor))
    yield from (values.size(unit.factor) for unit in spoken if not unit.dimension and unit.factor > 1)
