r"""Units of measure: every spelling of one as a product of powers, and the factor between two of one dimension.

`km/h`, `\frac{km}{h}`, `km h^{-1}` and "kilometers per hour" are all `3.m h^-1`, a thousand metres per hour. A
word that is no unit here is what is counted, and has no canonical name.
"""

from __future__ import annotations

import functools
import re
from fractions import Fraction

# Canonical name: other words, the dimension and the size in its base. Length, mass and so on of the imperial system
# stand apart from the metric: answers convert within one of them.
_TABLE: dict[str, tuple[str, str, int | Fraction]] = {
    "inch": ("in", "foot", 1), "ft": ("foot feet", "foot", 12), "yd": ("yard", "foot", 36),
    "mile": ("mi", "foot", 63360), "oz": ("ounce", "weight", 1), "lb": ("pound", "weight", 16), "ton": ("", "ton", 1),
    "tonne": ("", "g", 10**6), "min": ("minute", "s", 60), "h": ("hr hour", "s", 3600), "day": ("", "s", 86400),
    "week": ("", "s", 604800), "month": ("", "month", 1), "year": ("yr", "month", 12), "gallon": ("gal", "gallon", 1),
    "ha": ("hectare", "m^2", 10**4), "cent": ("", "usd", Fraction(1, 100)), "usd": ("dollar us", "usd", 1),
    "eur": ("euro", "eur", 1), "gbp": ("", "gbp", 1), "rupee": ("rs inr", "rupee", 1),
    "yen": ("yuan rmb cny jpy 元", "yen", 1), "unit": ("", "unit", 1), "deg": ("degree", "rad", Fraction(1, 180)),
    "m": ("meter metre", "m", 1), "g": ("gram gm", "g", 1), "s": ("second sec", "s", 1), "rad": ("radian", "rad", 1),
    "l": ("liter litre", "m^3", Fraction(1, 1000)), "hz": ("hertz Hz", "s^-1", 1), "newton": ("N", "g m s^-2", 1000),
    "joule": ("J", "g m^2 s^-2", 1000), "watt": ("W", "g m^2 s^-3", 1000), "pascal": ("Pa", "g m^-1 s^-2", 1000),
    "volt": ("V", "volt", 1), "ampere": ("A amp", "ampere", 1), "ohm": ("Ω", "ohm", 1), "mole": ("mol", "mole", 1),
    "kelvin": ("K", "kelvin", 1), "degC": ("celsius", "degC", 1), "degF": ("fahrenheit", "degF", 1),
    "coulomb": ("C", "coulomb", 1),
}  # fmt: skip
_PREFIXED = ("m", "g", "s", "l", "hz", "newton", "joule", "watt", "pascal", "volt", "ampere", "ohm", "mole")
_PREFIXES = {
    "n": -9, "nano": -9, "μ": -6, "µ": -6, "micro": -6, "m": -3, "milli": -3, "c": -2, "centi": -2, "d": -1, "deci": -1,
    "k": 3, "kilo": 3, "M": 6, "mega": 6, "G": 9, "giga": 9,
}  # fmt: skip
_SHORT = {"mph": "mile/h", "kph": "km/h", "kmh": "km/h", "kmph": "km/h", "mps": "m/s"}
_POWERS = {"square": 2, "sq": 2, "cubic": 3, "squared": 2, "cubed": 3}
_TOKEN = re.compile(r"[^\W\d_]+|\^ ?-?\d|/|\S")


def _spellings() -> dict[str, tuple[str, int]]:
    """Every word of the table with its canonical name and the power of ten of its prefix."""
    found: dict[str, tuple[str, int]] = {}
    for name, (others, _, _) in _TABLE.items():
        words = {name, *others.split()}
        plurals = {f"{word}s" for word in words if len(word) > 1} | {f"{word}es" for word in words if word == "inch"}
        for word in words | plurals:
            found.setdefault(word, (name, 0))
    for name in _PREFIXED:
        words = {word for word in found if found[word] == (name, 0)}
        for prefix, power in _PREFIXES.items():
            for word in words:
                if (len(prefix) > 1) == (len(word) > 2):
                    found.setdefault(prefix + word, (name, power))
    return found


_SPELLINGS = _spellings()


def word(text: str) -> str:
    """The canonical name of a single unit, the power of ten of its prefix in front (`3.m`); "" for what is none."""
    found = _SPELLINGS.get(text) or _SPELLINGS.get(text.lower())
    if found is None:
        return ""
    name, power = found
    return f"{power}.{name}" if power else name


def read(text: str) -> str:
    """A unit in canonical form: names with their powers in the order of the alphabet; "" where a word is no unit."""
    text = re.sub(r"degrees? ([CF])\w*", r"deg\1", text.replace("\\mu", "μ").replace("μ ", "μ"))
    text = re.sub(r"\\cdot|[{}().]|\^ ?\{? ?(?=[a-z])", " ", re.sub(r"\^ ?\{ ?(-?\d) ?\}", r"^\1", text))
    powers: dict[str, int] = {}
    sign, ahead, last = 1, 1, ""
    tokens = [part for token in _TOKEN.findall(text) for part in _TOKEN.findall(_SHORT.get(token, token))]
    for token in tokens:
        if token in ("/", "per"):
            sign = -1
        elif token.lower() in _POWERS:
            if token.lower().endswith("ed") and last:
                powers[last] *= _POWERS[token.lower()]
            else:
                ahead = _POWERS[token.lower()]
        elif last and re.fullmatch(r"\^ ?-?\d|[23]", token):
            powers[last] *= int(token.lstrip("^ "))
        else:
            last = word(token)
            if not last:
                return ""
            powers[last] = powers.get(last, 0) + sign * ahead
            ahead = 1
    return " ".join(f"{name}^{power}" if power != 1 else name for name, power in sorted(powers.items()) if power)


@functools.lru_cache(maxsize=256)
def _measured(unit: str) -> tuple[dict[str, int], Fraction, int]:
    """The dimension of a canonical unit, its size in base units, and how many times the factor pi."""
    dimension: dict[str, int] = {}
    size, pi = Fraction(1), 0
    for factor in unit.split():
        name, _, written = factor.partition("^")
        prefix, _, name = name.rpartition(".")
        power = int(written or 1)
        _, base, value = _TABLE[name]
        size *= Fraction(Fraction(value) * Fraction(10) ** int(prefix or 0)) ** power
        pi += power * (name == "deg")
        for part in base.split():
            kind, _, inner = part.partition("^")
            dimension[kind] = dimension.get(kind, 0) + power * int(inner or 1)
    return {kind: power for kind, power in dimension.items() if power}, size, pi


def factor(source: str, target: str) -> str | None:
    """What one unit is in another, as LaTeX; None where they measure different things."""
    (one, _, power), (other, _, its) = source.partition("^"), target.partition("^")
    if "unit" in (one, other):
        return "1" if power == its else None  # square units, whatever their name
    if {source, target} in ({"deg", "degC"}, {"deg", "degF"}, {"gbp", "lb"}):
        return "1"  # the scale is left out, and "pounds" are two things
    ours, theirs = _measured(source), _measured(target)
    if ours[0] != theirs[0]:
        return None
    ratio, pi = ours[1] / theirs[1], ours[2] - theirs[2]
    return rf"\frac{{{ratio.numerator}}}{{{ratio.denominator}}}" + (rf"\cdot \pi^{{{pi}}}" if pi else "")


def sizes(units: list[str]) -> list[Fraction] | None:
    """The sizes of units of one dimension, in their base; None where they differ in it."""
    if not all(units) or len({tuple(_measured(unit)[0].items()) for unit in units}) > 1:
        return None
    return [_measured(unit)[1] for unit in units]
