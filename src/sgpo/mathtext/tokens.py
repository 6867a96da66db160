r"""Text to typed tokens: numbers with their exact values, words, LaTeX commands, operators and ends of sentences.

Every spelling of a number is one token, by one grammar (`_grammar`): digits with marks of thousands, `2.6e4`,
`57.5 thousand`, number words, `8th` and `eighth`, `two thirds`, `IX`, digits of other scripts and Chinese numerals.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from fractions import Fraction
from typing import NamedTuple

MAX_TEXT = 200_000


def _names(text: str) -> list[str]:
    """The words of a text, which are parted by spaces."""
    return text.split()


def words(text: str) -> frozenset[str]:
    return frozenset(_names(text))


@functools.lru_cache(20_000)
def stem(word: str) -> str:
    """A crude singular, lower case."""
    word = word.lower()
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "is", "us")) and len(word) > 3 else word


_SYMBOLS = str.maketrans({
    "×": "*", "·": "*", "⋅": "*", "∗": "*", "÷": "/", "⁄": "/", "−": "-", "‐": "-", "‑": "-", "–": " ; ", "—": " ; ",
    "≤": "<=", "≥": ">=", "≠": "!=", "√": r"\sqrt ", "λ": r"\lambda ", "°": r"\degree ", "∞": r"\infty ", "→": "=>",
    "⇒": "=>", "’": "'", "‘": "'", "¢": " cents ", "€": " euros ", "£": " pounds ", "≈": "=", "≡": "=",
})  # fmt: skip
# What a LaTeX command is in plain spelling; "" where it only shapes the page.
_COMMANDS = dict.fromkeys(
    _names("left right displaystyle quad qquad big Big boxed text textbf textit mathrm mathbf mbox operatorname"), ""
) | {
    "dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "dbinom": "binom", "tbinom": "binom", "cdot": "*", "times": "*",
    "div": "/", "le": "<=", "leq": "<=", "leqslant": "<=", "ge": ">=", "geq": ">=", "geqslant": ">=", "ne": "!=",
    "neq": "!=", "to": "=>", "rightarrow": "=>", "Rightarrow": "=>", "implies": "=>", "ldots": "...", "cdots": "...",
    "dots": "...", "circ": "degree", "approx": "=", "equiv": "=", "pmod": "mod", "bmod": "mod", "pm": "+", "mp": "-",
}  # fmt: skip
_ONES = _names("zero one two three four five six seven eight nine")
_TEENS = _names("ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen")
_TENS = _names("twenty thirty forty fifty sixty seventy eighty ninety")
SCALES = {"dozen": 12, "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
CARDINALS = {word: n for n, word in enumerate(_ONES + _TEENS)} | {w: 10 * n for n, w in enumerate(_TENS, 2)} | SCALES
_IRREGULAR = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth"}
_IRREGULAR |= {"twelve": "twelfth"} | {word: word[:-1] + "ieth" for word in _TENS}
_ORDINALS = {_IRREGULAR.get(word, word + "th"): n for word, n in CARDINALS.items()}
_PARTS = {"half": 2, "halve": 2, "quarter": 4} | {word: n for word, n in _ORDINALS.items() if n > 2}
_VALUES: dict[str, int | Fraction] = {**CARDINALS, **_ORDINALS, "a": 1, "an": 1, "half": Fraction(1, 2)}
_NAMED = {
    "cubic": 3, "pentagon": 5, "hexagon": 6, "heptagon": 7, "octagon": 8, "decagon": 10, "dodecagon": 12,
    "pentadecagon": 15,
}  # fmt: skip
_ROMAN = r"(?-i:(?=[IVXLCDM]{2})M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3}))(?<=[IVXLCDM])\b"
_NUMERALS = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}


def _grammar() -> re.Pattern[str]:
    """The tokens of a text: the numbers in every spelling first."""
    digits = r"(?:[1-9]\d{0,2}(?:[, ']\d{3})+(?!\d|,\d)(?:\.\d{1,30})?|\d{1,60}(?:\.\d{1,30})?|(?<!\d)\.\d{1,30})"
    ones, tens, scale = "|".join(_ONES[1:]), "|".join(_TENS), f"(?:[ -](?:{'|'.join(SCALES)})s?)"
    small = rf"(?:(?:{tens})(?:[ -](?:{ones})\b)?|{'|'.join(_TEENS)}|{ones})"
    part = rf"(?:{'|'.join(_PARTS)})"
    scaled = rf"(?:{small}(?: and a half)?|{digits}|half an?|an?){scale}+(?:(?:,| and)? {small}{scale}+)*"
    cardinal = rf"(?:{scaled}(?:(?: and)?[ -]{small})?|(?:{small}|\d{{1,9}}) and an? {part}|{small}|zero)"
    word = rf"(?:(?:(?:{tens})[ -])?(?:{'|'.join(_ORDINALS)}))"
    # `a third side` is no fraction, and 5 quarters are coins.
    one = rf"(?:one|1)[ -]{part}|an? (?:half|{part}(?= of\b| ?[.,;!?\n]|$| past))"
    half = rf"half(?! an?{scale})(?= an? | of | the | its |way)"
    many = rf"(?:{cardinal}|\d{{1,9}})[ -](?!quarter){part}s|(?:three|3)[ -]quarters"
    # Most words begin no number, and to see that first takes a third of the time.
    heads = "|".join(sorted({word[:3] for word in (*_VALUES, *_NAMED) if len(word) > 2} | {r"an?\b"}))
    return re.compile(
        rf"(?P<plain>(?!{heads}|{_ROMAN})[a-z]+(?:'[a-z]+)?)"
        rf"|(?P<mixed>\b\d{{1,9}}(?: and)? \d{{1,9}}/\d{{1,9}})(?![\d/])"
        rf"|(?P<fraction>\b(?:{one}|{half}|{many})\b)"
        rf"|(?P<named>\b(?:{'|'.join(_NAMED)})\b)(?! \w)"
        rf"|(?P<nth>(?<!\bper )(?<!\b1 )(?<!\ba )\b{word}\b|{digits}(?:st|nd|rd|th)\b)"
        rf"|(?P<words>\b{cardinal}\b)"
        rf"|(?P<digits>{digits})(?:e(?P<power>[+-]?\d{{1,2}})(?!\w))?"
        rf"|(?P<roman>\b{_ROMAN})|\\(?P<command>[a-z]+)|(?P<word>[a-z]+(?:'[a-z]+)?)|\\[,;:!()\[\] ]"
        r"|(?P<end>(?!\.\.\.)[.;?](?!\d)|\n)|(?P<other>\\?[$%{}]|=>|<=|>=|!=|\.\.\.|[^\s\\~])",
        re.IGNORECASE,
    )


_TOKEN = _grammar()
_PAIR = r"\s*(?:(\d)|\{([^{}]*)\})\s*(?:(\d)|\{([^{}]*)\})"
_FRAC = re.compile(rf"(\d ?)?\\[dtc]?(frac|binom){_PAIR}")
_CHINESE = re.compile("[〇零一二三四五六七八九十百千万亿两]{2,20}|[二三四五六七八九十两]")
_AND_A_HALF = re.compile(r"\b(?:an?|one) ([a-z]+) and an? (half|quarter|third)\b", re.IGNORECASE)  # an hour and a half
_SIDES = {"m": "meter", "in": "inch", **{name: name for name in _names("mm cm dm km ft yd mi")}}
# 25 cm^2, and 2m^2 only where a space or a command parts the number from what may be a letter
_AREA = re.compile(
    rf"(?<=\d)(?:[\s{{\\,]+(?:text|mathrm)?[\s{{]*|(?=[a-z]{{2}}))({'|'.join(_SIDES)})\s*\}}?\s*\^\s*\{{?\s*([23])\b\}}?"
)
# A dollar that begins an amount, not a formula.
_AMOUNT = re.compile(r"\$\s?\d[\d.,]*(?![\d.,{$\\^+*/=}])")


class Token(NamedTuple):
    """A piece of a text.

    kind: number, ordinal, word, command, end (of a sentence) or other. text: in plain spelling. glued: no space stands
    before it. value: of a number. notation: digits, decimal, fraction, words, named or roman.
    """

    kind: str
    text: str
    start: int
    end: int
    glued: bool
    value: Fraction | None = None
    notation: str = ""


def plain_text(text: str) -> str:
    """The text in ASCII, as far as Unicode says what a character stands for."""
    text = text[:MAX_TEXT].replace("{,}", ",").replace(r",\!", ",")
    if not text.isascii():
        text = _CHINESE.sub(_chinese, text.translate(_SYMBOLS))
        text = "".join(character if character.isascii() else _plain(character) for character in text)
        text = text.replace("}^{", "").replace("}_{", "")  # superscripts of several digits
    text = _AND_A_HALF.sub(r"one and a \2 \1", _AREA.sub(_area, text))
    text = re.sub(r"\be\. ?g\.,?", "such as", re.sub(r"\bi\. ?e\.,?", "namely", text))
    for _ in range(4 if "\\" in text else 0):  # fractions in fractions
        text = _FRAC.sub(_fraction, text)
    return re.sub(r"\^\s*\{?\s*\\circ\s*\}?", r"\\degree ", text)


def _area(match: re.Match[str]) -> str:
    """25 cm^2 are 25 square cm."""
    return f" {'square' if match[2] == '2' else 'cubic'} {_SIDES[match[1]]}"


def _fraction(match: re.Match[str]) -> str:
    r"""`\frac{1}{2}` is (1/2), and behind a number what is added to it."""
    top, bottom = match[3] or match[4] or "", match[5] or match[6] or ""
    sign = " choose " if match[2] == "binom" else "/"
    if match[1] and sign == "/" and (top + bottom).isdigit():
        return f"{match[1].strip()} {top}/{bottom}"
    sides = (side if side.isdigit() else f"({side})" for side in (top, bottom))
    return f"{match[1] or ''}({sign.join(sides)})"


def _plain(character: str) -> str:
    """What a character outside of ASCII stands for: ² is ^{2}, ½ a fraction, θ a command."""
    kind, name = unicodedata.decomposition(character).partition(" ")[0], unicodedata.name(character, "")
    plain = unicodedata.normalize("NFKC", character)
    if kind in ("<super>", "<sub>"):
        return f"{'^' if kind == '<super>' else '_'}{{{plain}}}"
    if kind == "<fraction>" and not plain.endswith("⁄"):
        return r"\frac{{{}}}{{{}}}".format(*plain.split("⁄"))
    if name.startswith("GREEK SMALL LETTER "):
        return rf"\{name.split()[3].lower()} "
    plain = str(unicodedata.digit(character, plain))
    return "" if unicodedata.category(character) in ("Cc", "Cf", "Cs") else plain


def _chinese(match: re.Match[str]) -> str:
    """Numerals by place: 三百二十 is 320."""
    total = part = digit = 0.0
    for character in match.group().replace("两", "二"):
        value = unicodedata.numeric(character, 0.0)
        if value < 10:
            digit = digit * 10 + value
        elif value < 10_000:
            part, digit = part + (digit or 1) * value, 0.0
        else:
            total, part, digit = (total + (part + digit or 1)) * value, 0.0, 0.0
    return f" {int(total + part + digit)} "


def _worth(words: str) -> Fraction:
    """The value of number words and digits: hundreds multiply what is before them, larger scales close a part."""
    total = part = Fraction(0)
    for word in re.findall(r"[a-z]+|[\d.]+", re.sub(r"(?<=\d)[, '](?=\d)", "", words.lower())):
        if word == "and" or (word in ("a", "an") and part):
            continue
        scale = _VALUES.get(word) or _VALUES.get(word.removesuffix("s"), 0)
        if word.removesuffix("s") in ("dozen", "hundred"):
            part *= scale
        elif scale >= 1000:
            total, part = total + part * scale, Fraction(0)
        else:
            part += Fraction(word) if word[0] in ".0123456789" else scale
    return total + part


def _number(match: re.Match[str]) -> tuple[str, Fraction, str]:
    """Kind, value and notation of a token that is a number."""
    written = match[0].lower()
    if match["mixed"]:
        whole, top, bottom = map(int, re.findall(r"\d+", written))
        return "number", whole + Fraction(top, bottom or 1), "fraction"
    if match["fraction"]:
        count, _, part = re.sub(r"[-\n]", " ", written).rpartition(" ")
        return "number", _worth(count or "one") / _PARTS[part.removesuffix("s")], "fraction" if count else "times"
    if match["named"]:
        return "number", Fraction(_NAMED[written]), "named"
    if match["nth"]:
        return "ordinal", _worth(re.sub(r"(?<=\d)\D\D$", "", written)), "words"
    if match["words"]:
        count, _, part = written.rpartition(" ")
        if part in _PARTS:  # two and a half
            return "number", _worth(count.rpartition(" and ")[0]) + Fraction(1, _PARTS[part]), "fraction"
        return "number", _worth(written), "words"
    if match["roman"]:
        values = [_NUMERALS[character] for character in match[0]]
        return "number", Fraction(sum(-v if v < max(values[i:]) else v for i, v in enumerate(values))), "roman"
    value = _worth(match["digits"]) * Fraction(10) ** int(match["power"] or 0)
    return "number", value, "digits" if value.denominator == 1 else "decimal"


def tokenize(text: str) -> list[Token]:
    """The tokens of a text that `plain_text` has seen."""
    found: list[Token] = []
    position = 0
    for match in _TOKEN.finditer(text):
        start, end = match.span()
        written, kind = match[0], match.lastgroup or ""
        value, notation = None, ""
        if kind in ("mixed", "fraction", "nth", "words", "digits", "power", "roman", "named"):
            kind, value, notation = _number(match)
        elif kind == "plain":
            kind = "word"
        elif kind == "command":
            written = _COMMANDS.get(match["command"], match["command"])
            kind = "word" if written == "mod" else kind if written[:1].isalpha() else "other"
        elif written[-1:] == "$":
            written = "$" if written == r"\$" or _AMOUNT.match(text, start) else ""
        elif kind == "other":
            written = written.removeprefix("\\")
        if kind and written:
            found.append(Token(kind, written, start, end, start == position, value, notation))
        position = end if written else position
    return found
