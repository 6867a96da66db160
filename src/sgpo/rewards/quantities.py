r"""What stands around a value: units, currency, percent, degrees; and values that are not numbers: words, times of
day, numerals in a base, choice letters.

A unit is a known word (`cm`, `dollars`), or any word in `\text{}` or prose behind a number. A single bare letter is
a unit only beside another of its kind (`1000 m` is `1 km`): `4t` is four times t and `6m` six times m, and neither is
the answer 4 or 6.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from sgpo.mathtext.tokens import SCALES, plain_text, tokenize
from sgpo.rewards import units

_BARE = (
    "(?:(?:milli|centi|kilo)?met(?:er|re)|lit(?:er|re)|(?:kilo|milli)?gram|yard|mile|pound|ounce|ton|second|minute|hour|day|"
    "week|month|year|gallon|degree|radian|dollar|cent|euro|rupee|unit|lb|hr|min|sec|yr)s?|inch(?:es)?|feet|foot|yuan|yen|"
    "square|cubic|sq|m ?/ ?s|km ?/ ?hr?|mph|kph|kmh|mm|cm|km|kg|mg|ml|mL|ft|oz|in|mi|rad|deg|USD|EUR"
)
_TEXT = r"\\text\{[^{}]*\}"
_ATOM = rf"(?:{_TEXT}|(?<![A-Za-z\\])(?:{_BARE})(?![A-Za-z]))\.?(?: ?\^ ?\{{?-?[1-9]\}}?)?"
_TAIL = re.compile(rf"(?: ?(?:(?:\\cdot|/|per) ?)?{_ATOM})+$")
_FRACTION_UNIT = re.compile(rf" ?\\frac\{{ ?({_TEXT}) ?\}}\{{ ?({_TEXT}(?:\^\{{?\d\}}?)?) ?\}}$")
_IN_BRACKETS = re.compile(rf" ?\(\s*((?:{_TEXT}|[A-Za-z]{{2,}}[A-Za-z ]*)(?:\s*\^ ?\{{?\d\}}?)?)\s*\)$")
_WORDS = re.compile(r"(?<=[\d}) ]) ?(?<![A-Za-z\\])((?:[A-Za-z]{2,}[ -])*[A-Za-z]{2,})$")
_SYMBOL = re.compile(r"(-?[\d.]+) ?([a-z])")
_NOT_UNITS = frozenset({
    "and", "or", "not", "no", "mod", "base", "if", "for", "when", "where", "than", "sin", "cos", "tan", "log", "ln",
    "exp", "pi", "gcd", "lcm", "union", "choose", "factorial", "divided", "times", "plus", "minus", "to", "from",
    "over", "under", "least", "most", "about", "is", "are", "was", "were", "be", "isn", "aren", "wasn", "does", "doesn",
    "do", "did", "don", "has", "have", "had", "can", "cannot", "could", "would", "should", "may", "might", "must",
    "will", "won", "never", "nor", "neither", "either", "but", "except", "unless", "until", "while", "as", "that",
    "which", "who", "this", "it", "wrong", "incorrect", "false", "invalid", "impossible", "correct", "right", "true",
    "valid", "maybe", "perhaps", "probably", "possibly", "less", "greater", "smaller", "larger", "at", "both", "i",
    "we", "you", "answer", "solution", "solutions", "result", "approximately", "approx", "roughly", "nearly", "almost",
    "up", "unknown", "undefined", "unsure", "so", "otherwise", "instead", "only", "remainder", "modulo", "below",
    "through", "negative", "doubled", "tripled", "halved", "reversed", "twice", "double", "triple", "too", "halves",
    "thirds", "fourths", "fifths", "sixths", "eighths", "tenths", "hundredths", "thousandths",
})  # fmt: skip
_PER = re.compile(r"(?:\s|\\text\{)*(?:/|per\b)")
_INSIDE = re.compile(r"\^ ?\{?-?\d\}?|(?<=[a-z])[23]\b")  # digits that a unit may hold
_MORE = re.compile(r"[\d+=<>*×]|,\s*\S|^\W*(?:squared|cubed|root|half)\b")  # and what is none: `5\text{ out of 6}`
_PAIR = re.compile(
    rf"(\d+(?:\.\d+)?) ?(\\degree|''|'|\"|{_TEXT}|(?:{_BARE})(?![A-Za-z]))[ ,]*(?:(?:and|\\text\{{ ?and ?\}}) ?(?=\d))?"
)
_RESTATED = re.compile(r"(-?(?:\\\$)?\d[^()]*?) ?\(([^()]+)\)")
_AND = re.compile(r"(?<![a-z])and(?![a-z])")
_ARC = {"'": "min", "''": "s", '"': "s"}  # behind degrees
_LENGTH = {"'": "ft", "''": "inch", '"': "inch"}
_CHANGE = "increase profit gain rise growth more above|decrease loss drop fall decline discount less fewer below off"
_OPPOSED = [  # words that point one way, and the other
    _CHANGE, "north|south", "east|west", "left|right", "up|down", "clockwise|counterclockwise", "older|younger",
    "before|after", "taller|shorter",
]  # fmt: skip
_POINTS = {
    w: (n, side) for n, pair in enumerate(_OPPOSED) for side, ws in enumerate(pair.split("|")) for w in ws.split()
}
_CHANGED = rf"(?:\s*(?:\\text\{{\s*)?(?:{re.sub('[ |]', '|', _CHANGE)}))?"  # 20% more
_SCALES = SCALES | {"lakh": 10**5, "crore": 10**7, "万": 10**4, "亿": 10**8}
_SCALE = re.compile(rf" ?(?:\\text\{{\s*)?({'|'.join(_SCALES)})s?(?![a-z])\s*(?:\}})?", re.IGNORECASE)
_SCALED = re.compile(rf"(.*\d)( ?(?:{'|'.join(_SCALES)})s?)")
_CURRENCY = {r"\$": "usd", r"\pounds": "gbp", r"\euro": "eur", r"\yen": "yen", r"\rupee": "rupee"}
_CURRENCY_BEHIND = re.compile(r"(.+?)\s*(\\\$|\\(?:pounds|euro|yen|rupee))")
_SIGNED_CURRENCY = re.compile(
    r"^([+-]?)\s*(?:(\\\$|\\pounds|\\euro|\\yen|\\rupee)|(?:\\text\{\s*)?(USD?|EUR|Rs|INR|RMB|CNY)\.?\s*\}?(?=[\s\\\d]))"
    r"\s*(\\\$)?\s*"
)
_PERCENT = re.compile(
    rf"\s*(?:%|\\text\{{\s*(?:%|percent|per cent|pct|percentage(?: points?)?)(?=\s*\}}|\s+[a-z]+\s*\}}$)\s*\}}?"
    rf"|(?<![A-Za-z])(?:per ?cent(?:age)?|pct)){_CHANGED}\s*\}}?\s*$"
)
_DEGREE = re.compile(r"\s*\\degree\s*(?:(?:\\text\{)?\s*([CF])\s*\}?)?\s*$")
_ORDINAL = re.compile(r"(?<=\d)\s*\^?\s*\{?\s*(?:\\text\{\s*)?(?:st|nd|rd|th)\s*\}?\s*\}?$")
_RADIANS = re.compile(r"\\pi|\\arc|\\(?:sin|cos|tan) ?\^ ?\{ ?-1")
_TIME = re.compile(  # 3:05 PM and 3.05 p.m., without their spaces
    r"(\d{1,2})(?:(?::|\.(?=\d\d[ap]))([0-5]\d)(?::([0-5]\d))?)?(?:([ap])\.?m\.?)?(noon|midnight)?", re.IGNORECASE
)
_TWELVE = re.compile(r"^(?:at )?(noon|midnight)$", re.IGNORECASE)
_BASE = re.compile(
    r"\(?(?:\\text\{)?([0-9A-F][0-9A-Fa-f]*(?:\.[0-9A-F]+)?)\}?\)?"
    r"(?: ?_ ?\{? ?\(?(?:\\text\{)? ?\(?(?:base )?(\d{1,2}|[a-z]+)[\s)}]*"
    r"| ?(?:\\text\{)? ?base ?-?(?:\} ?)?(\d{1,2}|[a-z]+) ?\}?)"
)
_NAMED_BASE = re.compile(
    r"\bin\s+base[\s-]*\$?(\d+|[a-z]+)|\b(?:base|not|from)\b|n['’]t\b|(?:decim|oct)al|binary", re.I
)
_LETTER_DIGITS = re.compile(r" ?\\text\{ ?([A-F]+) ?\} ?")
_DIGITS = re.compile(r"\d+(?:\.\d+)?")
_WORDY = re.compile(
    r"(?<![A-Za-z\\])(?=[A-Za-z]*[aeiouyAEIOUY])[A-Za-z]{3,}|(?<![A-Za-z\\])(?:no|No|NO|DNE|AM|PM)(?![A-Za-z])"
)
_MONTH = "(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)(?:r?uary|ch|il|e|y|ust|t|tember|ober|ember)?(?![a-z])"
_TEXTUAL = re.compile(
    rf"(?:[A-Za-z]|\d{{1,2}}(?:st|nd|rd|th)? (?:of )?{_MONTH})[A-Za-z0-9 .,;:'\"()!?/&-]*", re.IGNORECASE
)
_MEANT = [  # what words mean, in lower case and without punctuation
    (re.compile(words), meaning)
    for words, meaning in (
        (r"(?:there (?:is|are|exists?) |(?:the )?(?:equation|system|inequality) has )?no (?:(?:such|real|valid) )*"
         r"(?:solutions?|values?|answers?|roots?)(?: exists?)?|none|"
         r"empty set", r"\\emptyset"),
        (r"(?:(?:the|this) )?(?:\w+ )?(?:does(?: not|nt) exist|dne)", "does not exist"),
        (r"infinite(?:ly many(?: solutions)?)?", r"\\infty"),
        (r"(?:all )?real numbers|all reals", r"\\mathbb{R}"),
        (r"(?:all |set of )*positive (?:real numbers?|reals)", r"\\mathbb{R}^+"),
        (r"(?:all |set of )*negative (?:real numbers?|reals)", r"\\mathbb{R}^-"),
        (r"(?:all |set of )*non ?negative (?:real numbers?|reals)", r"\\mathbb{R}_{\\ge0}"),
        (r"not possible|cannot be done", "impossible"),
        (r"(con|di)verges", r"\1vergent"),
        ("true", "yes"),
        ("false", "no"),
        ("half", r"\\frac{1}{2}"),
        ("dozen", "12"),
        (rf"{_MONTH} 0?(\d{{1,2}})( \d{{4}})?", r"\1 \2\3"),
        (rf"0?(\d{{1,2}})(?: of)? {_MONTH}( \d{{4}})?", r"\2 \1\3"),
    )
]  # fmt: skip
_FOREIGN = {
    word: meaning
    for meaning, words in {
        "yes": "sí si oui ja sim да 是 是的 对 正确 はい 예 네",
        "no": "non nein não нет 否 不是 不对 错误 いいえ 아니요",
    }.items()
    for word in words.split()
}  # fmt: skip
_IN_WORDS = re.compile(r"(?:\\text\{ ?)?[A-Za-z]{3,}[ -][A-Za-z]")
_AROUND = re.compile(
    r"^(?:(?:it|this|the \w+) (?:is|represents|describes) )?(?:(?:the|an?|on) (?=.))?"
    r"| (?:wins?|will win|has a winning strategy)$"
)


@dataclass(frozen=True)
class UnitValue:
    """A value and what was written around it; `unit` is canonical, "" where there is none or it is unknown."""

    core: str
    unit: str = ""
    percent: bool = False


def number_in_words(text: str) -> str:
    """The number that a whole text says, in English or Chinese words, as digits or a fraction; "" for other texts."""
    found, _ = tokenize(plain_text(text))
    sign = "-" if found and found[0].text in ("minus", "negative") else ""
    if len(found) != len(sign) + 1 or found[-1].kind != "number" or (value := found[-1].value) is None:
        return ""
    if found[-1].notation in ("words", "fraction"):
        return sign + (str(value) if value.denominator == 1 else rf"\frac{{{value.numerator}}}{{{value.denominator}}}")
    return sign + found[-1].text if _DIGITS.fullmatch(found[-1].text) else ""


def counted_in_words(text: str) -> str:
    """`three dozen eggs` and `minus three degrees` with their number in digits; "" for all else."""
    if not _IN_WORDS.match(text):
        return ""
    words = detext(text)
    found, spans = tokenize(plain_text(words))
    sign = found[0].text.lower() in ("minus", "negative")
    head, *rest = found[sign:] or found
    value = number_in_words(words[: (end := spans[sign][1])]) if head.kind == "number" else ""
    if not value or not rest or any(token.kind != "word" for token in rest):
        return ""
    return rf"{value}\text{{ {words[end:].strip(' -')}}}"


def detext(text: str) -> str:
    r"""Without `\text{}` around its pieces, spaces collapsed."""
    return re.sub(r"\s+", " ", re.sub(r"\\text\{([^{}]*)\}", r" \1 ", text)).strip()


def _unit(tail: str) -> str:
    """Canonical unit of a tail such as `\\text{ square inches}` or ` cm^2`; "" where it is not known."""
    return units.read(detext(tail))


def _words_are_unit(words: str) -> bool:
    """Whether prose behind a number reads as what is counted (`12 apples`), not as more mathematics."""
    parts = words.replace("-", " ").split()
    known = re.compile(rf"{_BARE}|of|per|(?=.*[aeiouy]).{{4,}}")
    return not any(part.lower() in _NOT_UNITS for part in parts) and all(map(known.fullmatch, parts))


def compound(text: str) -> UnitValue | None:
    """`30\\degree 15' 36''`, `5' 8''` and `2 hours and 30 minutes` in the first of their units; None for all else.

    Strokes behind degrees are minutes and seconds of arc, else feet and inches.
    """
    pairs = [(match.group(1), match.group(2)) for match in _PAIR.finditer(text)]
    if len(pairs) < 2 or _PAIR.sub("", text).strip(" ,"):
        return None
    strokes = _ARC if pairs[0][1].startswith("\\degree") else _LENGTH
    names = ["deg" if u.startswith("\\degree") else strokes.get(u) or _unit(_AND.sub("", u)) for _, u in pairs]
    if names[0] == "deg":
        found = [Fraction({"deg": 3600, "min": 60, "s": 1}.get(name, 0)) for name in names]
    else:
        found = units.sizes(names) or [Fraction(0)]
    if not all(found) or found != sorted(set(found), reverse=True):
        return None
    shares = [size / found[0] for size in found]
    parts = [
        rf"{number}\cdot\frac{{{share.numerator}}}{{{share.denominator}}}"
        for (number, _), share in zip(pairs, shares, strict=True)
    ]
    return UnitValue("+".join(parts), names[0])


def split_quantity(text: str) -> UnitValue:
    """Take unit, currency, percent sign, degree sign, ordinal ending and a scale word (million) off a value."""
    text, unit, percent = text.strip(), "", False
    if several := compound(text):
        return several
    if (currency := _SIGNED_CURRENCY.match(text)) and currency.end() < len(text):
        unit = _CURRENCY.get(currency.group(2)) or units.word(currency.group(3) or "") or "usd"
        text = currency.group(1) + text[currency.end() :]
    text = _ORDINAL.sub("", text)
    if (found := _PERCENT.search(text)) and found.start() > 0:
        return UnitValue(text[: found.start()].strip(), unit, True)
    degree = _DEGREE.search(text)
    if degree and degree.start() > 0 and not re.search(r"\\(?:sin|cos|tan|cot|sec|csc)", text):
        return UnitValue(text[: degree.start()].strip(), "deg" + (degree.group(1) or ""), False)
    core, tail = _cut_tail(text)
    if tail:
        if _PERCENT.search(core):
            return UnitValue(_PERCENT.sub("", core).strip(), unit, True)
        within = _SCALED.fullmatch(core)  # 2.5 million, of 2.5 million dollars
        if within:
            core, tail = within[1], within[2] + tail
        if scale := _SCALE.match(tail) or _SCALE.match(" " + tail.strip()):
            core = rf"({core})\cdot {_SCALES[scale.group(1).lower()]}"
            tail = tail[scale.end() :]
        if core.endswith(r"\$"):
            core, unit = core[:-2].strip(), "usd"
        if unit and _PER.match(tail):
            return UnitValue(core, _unit(unit + tail) or unit, percent)
        return UnitValue(core, unit or _unit(tail), percent)
    if behind := _CURRENCY_BEHIND.fullmatch(text):
        return UnitValue(behind.group(1), _CURRENCY[behind.group(2)], False)
    return UnitValue(text, unit, percent)


def split_quantities(gold: str, answer: str) -> list[UnitValue]:
    """Both sides without what stands around them; a bare letter is a unit beside another of its kind."""
    sides = [split_quantity(gold), split_quantity(answer)]
    for index, (side, other) in enumerate([tuple(sides), tuple(reversed(sides))]):
        bare = _SYMBOL.fullmatch(side.core) if other.unit and not side.unit else None
        unit = units.word(bare[2]) if bare else ""
        if bare and unit and units.factor(unit, other.unit):
            sides[index] = UnitValue(bare[1], unit, side.percent)
    return sides


def own_units(items: Sequence[str]) -> bool:
    """Whether each is a quantity in a known unit of its own: `1 hour` and `60 minutes`."""
    named = [split_quantities(item, other)[0].unit for item, other in zip(items, reversed(items), strict=True)]
    return all(named) and len(set(named)) == len(named)


def restated(text: str) -> str:
    """`1 hour (60 minutes)`, a quantity said again in another unit, as `1 hour or 60 minutes`; "" for all else."""
    match = _RESTATED.fullmatch(detext(text)) if "(" in text else None
    return rf"{match[1]} \text{{ or }} {match[2]}" if match and own_units(match.groups()) else ""


def counts(items: Sequence[str]) -> dict[str, str]:
    """What a list counts, each with its number, `6 apples, 4 pears`; nothing for a list of anything else."""
    found: dict[str, str] = {}
    for item in items:
        core, tail = _cut_tail(item)
        word = detext(tail).lower().strip(" .")
        if not word or units.read(word) or word in found:
            return {}
        found[word] = core
    return found


def opposed(gold: str, answer: str) -> bool:
    """Whether the words of two values point in different directions: a 20% increase and a 20% decrease, 30 degrees
    north of east and 30 degrees east of north."""
    words = (re.findall("[a-z]+", detext(text).lower()) for text in (gold, answer))
    ours, theirs = (list(dict.fromkeys(_POINTS[word] for word in said if word in _POINTS)) for said in words)
    same = set(ours) == set(theirs)
    return ours != theirs if same else not {(number, 1 - side) for number, side in ours}.isdisjoint(theirs)


def _cut_tail(text: str) -> tuple[str, str]:
    """Split a value from its unit words; the tail is "" where there are none."""
    match = _FRACTION_UNIT.search(text)
    if match and match.start() > 0:
        return text[: match.start()].strip(), f" {match.group(1)}/{match.group(2)}"
    match, words = _TAIL.search(text) or _IN_BRACKETS.search(text), _WORDS.search(text)
    inside = match.group(1) if match and match.re is _IN_BRACKETS else r"\text"
    if r"\text" not in inside and not _words_are_unit(_INSIDE.sub("", inside)):
        return text, ""  # 3(ab) and \ln(ab) are products
    if words and _words_are_unit(words.group(1)):
        start = words.start(1) if match is None else min(words.start(1), match.start() or len(text))
    elif match is None or match.start() == 0:
        return text, ""
    else:
        start = match.start()
    core, tail = text[:start].strip(), text[start:]
    if re.search(r"[=+\-^_({,]$|\\(?:cdot|pm|le|ge|in|frac)$", core) or not re.search(r"[\dA-Za-z]", core):
        return text, ""
    said = detext(tail)
    if _MORE.search(_INSIDE.sub("", said)) or set(re.findall(r"[a-z]+", said.lower())) & _NOT_UNITS:
        return text, ""
    return core, tail


def conversion(gold: UnitValue, answer: UnitValue) -> str | None:
    """Factor, as LaTeX, that brings the answer to the gold's unit: minutes to hours, degrees to a multiple of pi.

    None where both have no unit in common, or one has none (a missing unit is not converted, but for degrees).
    """
    if not gold.unit or not answer.unit:
        bare = answer if gold.unit else gold
        if "deg" not in (gold.unit, answer.unit) or not _RADIANS.search(bare.core):
            return None
        return r"\frac{180}{\pi}" if gold.unit else r"\frac{\pi}{180}"
    return units.factor(answer.unit, gold.unit)


def time_of_day(text: str) -> tuple[int, str] | None:
    """Seconds since midnight and "am", "pm" or "" for `12:30`, `3:05 PM`, `15:30`, `3 p.m.`; None for others."""
    match = _TIME.fullmatch(_TWELVE.sub(r"12 \1", detext(text)).replace(" ", ""))
    if match is None or not (match.group(2) or match.group(4) or match.group(5)):
        return None
    hour, half = int(match.group(1)), (match.group(4) or "").lower()
    if match.group(5):
        half = "p" if "noon" in match.group(5).lower() else "a"
    if hour > 24 or (half and not 1 <= hour <= 12):
        return None
    if hour > 12:
        hour, half = hour - 12, "p"
    elif hour in (0, 12) and not half:
        half = "p" if hour else "a"
    return (hour % 12) * 3600 + int(match.group(2) or 0) * 60 + int(match.group(3) or 0), half


def numeral(text: str) -> tuple[str, int] | None:
    """Digits and base of `1011_2`, `52_{8}`, `(1A)_{16}`, `1011_{two}`, `52 base 8`; None for others."""
    match = _BASE.fullmatch(_LETTER_DIGITS.sub(r"\1", text.strip()))
    if match is None:
        return None
    name = match.group(2) or match.group(3)
    said = number_in_words(name)
    base = int(said) if said.isdigit() else 0
    digits = match.group(1).upper()
    if not 2 <= base <= 36 or any(c != "." and int(c, 36) >= base for c in digits):
        return None
    return digits.lstrip("0") or "0", base


def in_named_base(digits: str, response: str, gold: str) -> bool:
    """Whether boxed digits are the numeral `gold` in the one base that their sentence names, "the sum in base 8 is"."""
    bases = _NAMED_BASE.findall(re.split(r"[.!?]\s", response.rpartition("boxed")[0][-200:])[-1])
    return len(bases) == 1 and numeral(gold) == (numeral(rf"{digits}_{{{bases[0].lower()}}}") or "")


def text_words(text: str) -> str | None:
    r"""Canonical words of an answer that is text (`\text{Evelyn}`, `no solution`, `May 5`); None where it is not."""
    plain = detext(text)
    if plain.lower() in _FOREIGN and (r"\text" in text or len(plain) > 2 or not plain.isascii()):
        return _FOREIGN[plain.lower()]
    plain = plain[1:-1].strip() if plain[:1] + plain[-1:] == "()" else plain
    if re.fullmatch("[a-z]{3,}", text) and "".join(sorted(text)) in "abcdefghijklmnopqrstuvwxyz":
        return None  # abc and xyz are products, as cab and zyx are
    if not _TEXTUAL.fullmatch(plain) or _SIGNED_CURRENCY.match(plain) or not (r"\text" in text or _WORDY.search(plain)):
        return None
    canonical = re.sub(r"[^a-z0-9]+", " ", plain.lower().replace("'", "")).strip()
    canonical = _AROUND.sub("", canonical)
    canonical = re.sub(r"(?<=\d)(?:st|nd|rd|th)\b", "", canonical)
    for words, meaning in _MEANT:
        if match := words.fullmatch(canonical):
            return match.expand(meaning)
    return number_in_words(canonical) or canonical
