"""Units of measure by pint: which words are one, and what one unit is in another of its dimension, exactly."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from sgpo.mathtext import values
from sgpo.mathtext.vocabulary import words

_SHORT = words("mm cm km kg mg ml ft lb lbs oz mi yd hr hrs min mins kwh mph")
# Names that pint has and that texts use for other things.
_OTHER = words(
    "are bag bar bit byte chain circle count counts cycle degree_celsius dot grade hand hands link pixel point "
    "points rod section sections span stone turn turns table tables fifth fifths pole poles carat scruple drop cord "
    "line lines barn mole pace span reed tex token tokens"
)
_POWERS = {"square": 2, "sq": 2, "cubic": 3, "squared": 2, "cubed": 3}
_DEFINED = (
    "dollar = [money]",
    "cent = dollar / 100",
    "penny = cent = _ = pennies",
    "nickel = 5 * cent",
    "dime = 10 * cent",
    "quarter = 25 * cent",
    "euro = [euro]",
    "dozen = 12",
    "gross = 144",
)


@dataclass(frozen=True)
class Unit:
    """A unit: the powers of its base dimensions (none for a mere factor such as a dozen), its size in base units."""

    name: str
    dimension: tuple[tuple[str, Fraction], ...]
    factor: Fraction


ONE = Unit("", (), Fraction(1))


@functools.cache
def _registry() -> Any:
    import pint

    registry: Any = pint.UnitRegistry(non_int_type=Fraction, on_redefinition="ignore")
    for definition in _DEFINED:
        registry.define(definition)
    return registry


def _symbol(name: str) -> str | None:
    """The abbreviation of a unit; None where it has none but its name."""
    symbol = str(_registry().get_symbol(name))
    return None if symbol == name else symbol


@functools.lru_cache(4096)
def unit(word: str) -> Unit | None:
    """The unit that a word names; None for words that are none, or that mostly are something else."""
    word = word.lower()
    if word in _OTHER or (len(word) < 4 and word not in _SHORT and word not in ("day", "ton", "cup")):
        return None
    registry = _registry()
    try:
        parsed = registry.parse_unit_name(word)
        prefix, name = parsed[0][0], parsed[0][1]
        bare = word.removesuffix("s").removeprefix(prefix)
        if word not in _SHORT and (len(bare) < 3 or (prefix and not word.startswith(prefix)) or bare == _symbol(name)):
            return None  # `unit` is no micronit, `exact` no exacarat, `has` no hectares
        base = registry.Quantity(Fraction(1), prefix + name).to_base_units()
        factor = Fraction(base.magnitude).limit_denominator(10**12)
        dimension = tuple(sorted(base.dimensionality.items()))
    except Exception:  # pint raises errors of its own, of tokenize and of arithmetic for what is no unit
        return None
    return Unit(prefix + name, dimension, factor) if factor else None


def _scaled(dimension: tuple[tuple[str, Fraction], ...], power: int) -> tuple[tuple[str, Fraction], ...]:
    return tuple((kind, exponent * power) for kind, exponent in dimension)


def begins(word: str) -> bool:
    """Whether a unit may begin with a word; cheaper than to read it."""
    return word.lower() in _POWERS or unit(word) is not None


def behind(words: Sequence[str]) -> tuple[Unit | None, int]:
    """The unit that a run of words begins with, and how many words it takes: `square feet`, `miles per hour`."""
    power, used = 1, 0
    if words and words[0].lower() in _POWERS:
        power, used = _POWERS[words[0].lower()], 1
    found = unit(words[used]) if used < len(words) else None
    if found is None:
        return None, 0
    used += 1
    if used < len(words) and power == 1 and words[used].lower() in ("squared", "cubed"):
        power, used = _POWERS[words[used].lower()], used + 1
    if power > 1:
        found = Unit(f"{found.name}^{power}", _scaled(found.dimension, power), found.factor**power)
    if used + 1 < len(words) and words[used].lower() == "per" and (other := unit(words[used + 1])):
        dimension = tuple(sorted(found.dimension + _scaled(other.dimension, -1)))
        found, used = Unit(f"{found.name}/{other.name}", dimension, found.factor / other.factor), used + 2
    return found, used


def named(words: Sequence[str]) -> set[Unit]:
    """The units that a run of words speaks of."""
    begun = (behind(words[i : i + 4])[0] for i, word in enumerate(words) if len(word) > 1 and begins(word))
    return {unit for unit in begun if unit}


def convert(value: Fraction, source: Unit, target: Unit) -> Fraction | None:
    """A value in another unit of the same dimension."""
    return value * source.factor / target.factor if source.dimension == target.dimension else None


def conversions(spoken: set[Unit]) -> Iterator[float]:
    """Sizes of what one of some units is in another, and of those that are a mere number, as a dozen."""
    for one, other in itertools.permutations(spoken, 2):
        if one.dimension == other.dimension and one.factor > other.factor:
            yield values.size(Fraction(one.factor / other.factor))
    yield from (values.size(unit.factor) for unit in spoken if not unit.dimension and unit.factor > 1)
