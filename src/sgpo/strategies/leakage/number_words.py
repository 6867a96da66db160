"""Numbers in words as digits: `fifty-one`, `two dozen`, `three fifths`, `two and a half`, `negative four`.

Only words change; an ordinal alone (`the third side`) and a lone `half` stay, because they state no number.
"""

from __future__ import annotations

import re

_UNITS = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16,
    "seventeen": 17, "eighteen": 18, "nineteen": 19,
}  # fmt: skip
_TENS = {
    "twenty": 20, "thirty": 30, "forty": 40, "fourty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80,
    "ninety": 90,
}  # fmt: skip
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_ANY = "|".join([*_UNITS, *_TENS, "hundred", *_SCALES])
_END = (
    r"(?![A-Za-z])(?!(?<=ty)-(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth)(?!s))"  # not `twenty-first`
)
_RUN = re.compile(
    rf"(?<![A-Za-z\\])(?:a(?=[ \t]+(?:hundred|thousand|million|billion)\b)|(?:{_ANY}){_END})"
    rf"(?:(?:[ \t]*-[ \t]*|[ \t]+)(?:and[ \t]+)?(?:(?:{_ANY}){_END}))*",
    re.IGNORECASE,
)
_PARTS = {
    "half": 2, "halves": 2, "third": 3, "fourth": 4, "quarter": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8,
    "ninth": 9, "tenth": 10, "eleventh": 11, "twelfth": 12, "thirteenth": 13, "fifteenth": 15, "sixteenth": 16,
    "twentieth": 20, "thirtieth": 30, "fortieth": 40, "fiftieth": 50, "hundredth": 100, "thousandth": 1000,
}  # fmt: skip
_FRACTION = re.compile(
    rf"(?<![\d./])(?P<top>\d+|(?<![A-Za-z])an?)(?:[ \t]+|-)(?P<part>{'|'.join(_PARTS)})(?P<plural>s?)(?![A-Za-z-])"
    r"(?P<of>[ \t]+of\b)?",
    re.IGNORECASE,
)
_MIXED = re.compile(r"(?<![\d./])(\d+)[ \t]+(?:and[ \t]+)?(\d+)/(\d+)(?![\d./])")
_POINT = re.compile(r"(?<![\d.])(\d+)[ \t]+point((?:[ \t]+\d)+)(?![\d])")
_DOZEN = re.compile(r"(?<![\d.A-Za-z])(\d+|half an?|an?)[ \t]+dozens?(?![A-Za-z])", re.IGNORECASE)
_NEGATIVE = re.compile(r"(?<![A-Za-z\d])(?<!\d )(?:negative|minus)[ \t]+(?=[\d.])", re.IGNORECASE)
_PERCENT = re.compile(r"(?<=\d)[ \t]*-?(?:per[ \t]?cent|pct)(?![A-Za-z])", re.IGNORECASE)


def _value(words: list[str]) -> list[str]:
    """The numbers that a run of number words says; `and` stays where it joins two numbers."""
    out: list[str] = []
    total, current, size = 0, -1, 0  # size: what the next word must be smaller than; current -1: no number open

    def close() -> None:
        nonlocal total, current, size
        if current >= 0:
            out.append(str(total + current))
        total, current, size = 0, -1, 0

    for position, word in enumerate(words):
        following = words[position + 1] if position + 1 < len(words) else ""
        if word == "and":
            if size < 100 or following in _SCALES or following == "hundred":
                close()
                out.append("and")
        elif word == "hundred":
            if current < 0:
                current = 100
            elif 0 < current % 1000 < 100:
                current *= 100
            size = 100
        elif word in _SCALES:
            total, current, size = total + max(current, 1) * _SCALES[word], 0, _SCALES[word]
        else:
            value = _UNITS.get(word, _TENS.get(word, 0))
            if current >= 0 and (value == 0 or value >= size):
                close()
            current = value if current < 0 else current + value
            size = 10 if word in _TENS else 1
    close()
    return out


def _run(match: re.Match[str]) -> str:
    words = re.findall(r"[a-z]+", match.group().lower())
    if words[0] == "a":
        words = words[1:] or ["a"]
    return " ".join(_value(words)) if words != ["a"] else match.group()


def _fraction(match: re.Match[str]) -> str:
    top, plural = match["top"].lower(), bool(match["plural"]) or match["part"].lower() == "halves"
    bottom = _PARTS[match["part"].lower()]
    article = not top.isdigit()
    if article and bottom != 2 and not match["of"]:
        return match.group()  # `a third side`
    if not article and plural != (top != "1"):
        return match.group()  # `the 2 third terms`
    return f"{1 if article else top}/{bottom}{match['of'] or ''}"


def digits(text: str) -> str:
    """`text` with its number words as digits; linear in the text."""
    text = _RUN.sub(_run, text)
    text = _DOZEN.sub(lambda m: str(12 * int(m[1][:12]) if m[1].isdigit() else 6 if m[1][0] in "hH" else 12), text)
    text = _POINT.sub(lambda m: m[1] + "." + re.sub(r"\s", "", m[2]), text)
    text = _PERCENT.sub("%", text)
    text = _FRACTION.sub(_fraction, text)
    text = _MIXED.sub(r"(\1+\2/\3)", text)
    return _NEGATIVE.sub("-", text)
