r"""Text to typed tokens: numbers with their exact values, words, LaTeX commands, operators and ends of sentences.

A number in any spelling is one token: digits with marks of thousands, `2.6e4`, `57.5 thousand`, number words, `8th` and
`eighth`, `two thirds`, `IX`, digits of other scripts and Chinese numerals. Words become numbers by the roles that they
have (`_ROLES`), of which `_NUMERAL` is the grammar.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

MAX_TEXT = 200_000


def words(text: str) -> frozenset[str]:
    """The words of a text, which are parted by spaces."""
    return frozenset(text.split())


@functools.lru_cache(20_000)
def stem(word: str) -> str:
    """A crude singular, lower case."""
    word = word.lower()
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "is", "us")) and len(word) > 3 else word


# Plain spellings of characters and LaTeX commands; "" of what only shapes the page.
_SPELLINGS = {
    "*": "× · ⋅ ∗ cdot times", "/": "÷ ⁄ div", "+": "pm", "-": "− ‐ ‑ mp", "=": "≈ ≡ approx equiv", "<=": "≤ le leq leqslant",
    ">=": "≥ ge geq geqslant", "!=": "≠ ne neq", "=>": "→ ⇒ to rightarrow Rightarrow implies", "...": "ldots cdots dots",
    "frac": "dfrac tfrac cfrac", "binom": "dbinom tbinom", "sqrt": "√", "lambda": "λ", "degree": "° circ", "infty": "∞",
    "mod": "pmod bmod", " ; ": "– —", "'": "’ ‘", " cents ": "¢", " euros ": "€", " pounds ": "£",
    "": "left right displaystyle quad qquad big Big boxed text textbf textit mathrm mathbf mbox operatorname",
}  # fmt: skip
_PLAIN = {spelled: plain for plain, others in _SPELLINGS.items() for spelled in others.split()}
_SYMBOLS = str.maketrans({x: rf"\{y} " if y.isalpha() else y for x, y in _PLAIN.items() if len(x) == 1})
_SIDE = r"\s*(\d|\{[^{}]*\})"
_FRACTION = re.compile(rf"(\d ?)?\\[dtc]?(frac|binom){_SIDE}{_SIDE}")
_CHINESE = re.compile("[〇零一二三四五六七八九十百千万亿两]{2,20}|[二三四五六七八九十两]")
# A square of units (a bare m may be a letter), `an hour and a half`, abbreviations, `60^\circ`.
_RESPELLED: tuple[tuple[re.Pattern[str], Any], ...] = (
    (
        re.compile(
            r"(?<=\d)(?:[\s{\\,]+(?:text|mathrm)?[\s{]*|(?=[a-z]{2}))(in|mm|cm|dm|km|ft|yd|mi|m)\s*\}?\s*\^\s*\{?\s*([23])\b\}?"
        ),
        lambda m: f" {'square' if m[2] == '2' else 'cubic'} {'meter' if m[1] == 'm' else m[1]}",
    ),
    (re.compile(r"\b(?:an?|one) ([a-z]+) and an? (half|quarter|third)\b", re.IGNORECASE), r"one and a \2 \1"),
    (re.compile(r"\be\. ?g\.,?"), "such as"),
    (re.compile(r"\bi\. ?e\.,?"), "namely"),
    (re.compile(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ)"), r"\\degree "),
)

_ONES = "one two three four five six seven eight nine".split()
_TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
SCALES = {"dozen": 12, "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
CARDINALS = {word: n for n, word in enumerate(["zero", *_ONES, *_TEENS])}
CARDINALS |= {word: 10 * n for n, word in enumerate(_TENS, 2)} | SCALES
_IRREGULAR = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth"}
_IRREGULAR |= {"twelve": "twelfth"} | {word: word[:-1] + "ieth" for word in _TENS}
_ORDINALS = {_IRREGULAR.get(word, word + "th"): n for word, n in CARDINALS.items()}
_POLYGONS = {
    "cubic": 3,
    "pentagon": 5,
    "hexagon": 6,
    "heptagon": 7,
    "octagon": 8,
    "decagon": 10,
    "dodecagon": 12,
    "pentadecagon": 15,
}
_PARTS = {"half": 2, "halve": 2, "quarter": 4} | _ORDINALS
_VALUES = CARDINALS | {word + "s": n for word, n in SCALES.items()} | _ORDINALS | _POLYGONS | {"half": Fraction(1, 2)}
_SCALES = {scale for word in SCALES for scale in (word, word + "s")} | {*"十百千万亿"}
_VALUES |= dict(zip("〇零一二三四五六七八九两十百千万亿", (0, *range(10), 2, 10, 100, 1000, 10**4, 10**8), strict=True))
_NUMERALS = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
_ROLES = {
    word: role
    for role, group in {
        "o": _ONES, "1": ["one"], "3": ["three"], "e": _TEENS, "t": _TENS, "s": [*SCALES, *(x + "s" for x in SCALES)],
        "p": _ORDINALS, "P": [x + "s" for x in _ORDINALS], "n": ["first", "second"], "N": ["firsts", "seconds"],
        "h": ["half"], "q": ["quarter"], "Q": ["quarters"], "H": ["halves"], "z": ["zero"], "a": ["a", "an"], "&": ["and"],
        "r": ["per"], "i": ["of"], "I": ["the", "its"], "y": ["past"], "g": _POLYGONS,
    }.items()
    for word in group
}  # fmt: skip


def _numerals() -> re.Pattern[str]:
    """The grammar of numbers in words, over roles; digits are d, 1 alone u and 3 alone v."""
    small, part = "(?:t-?[13o]|[13oet])", "[hpq]"
    scaled = f"(?:{small}(?:&ah)?|[duv]|ha|a)(?:-?s)+(?:[,&]?{small}(?:-?s)+)*"
    cardinal = f"(?:{scaled}(?:&?-?{small})?|{small}|z)"
    return re.compile(
        # `a third side` is no fraction, and 5 quarters are coins.
        rf"(?P<mixed>(?:{small}|[duv])&a{part})(?!s)"
        rf"|(?P<fraction>[1u]-?{part}|a(?:h|[pq](?=[iy.,!]|$))|h(?!as)(?=[aiI])|(?:{cardinal}|[duv])-?[HP]|[3v]-?Q)"
        rf"|(?P<ordinal>(?<![uar])(?:t-?)?[np])|(?P<named>g(?![\w&]))|(?P<words>{cardinal})"
    )


def _pieces() -> re.Pattern[str]:
    digits = r"(?:[1-9]\d{0,2}(?:[, ']\d{3})+(?!\d|,\d)(?:\.\d{1,30})?|\d{1,60}(?:\.\d{1,30})?|(?<!\d)\.\d{1,30})"
    roman = r"(?-i:(?=[IVXLCDM]{2})M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3}))(?<=[IVXLCDM])\b"
    return re.compile(
        rf"(?P<word>(?!{roman})[a-z]+(?:'[a-z]+)?)|(?P<mixed>\b\d{{1,9}}(?: and)? \d{{1,9}}/\d{{1,9}})(?![\d/])"
        rf"|(?P<digits>{digits})(?:e(?P<power>[+-]?\d{{1,2}})(?!\w)|(?P<nth>(?:st|nd|rd|th)\b))?"
        rf"|(?P<roman>\b{roman})|\\(?P<command>[a-z]+)|\\[,;:!()\[\] ]|(?P<hyphen>(?<=\w)-(?=\w))"
        r"|(?P<end>(?!\.\.\.)[.;?](?!\d)|\n)|(?P<other>\\?[$%{}]|=>|<=|>=|!=|\.\.\.|[^\s\\~])",
        re.IGNORECASE,
    )


_NUMERAL, _PIECE = _numerals(), _pieces()
# A dollar that begins an amount, not a formula.
_AMOUNT = re.compile(r"\$\s?\d[\d.,]*(?![\d.,{$\\^+*/=}])")


class Token(NamedTuple):
    """A piece of a text.

    kind: number, ordinal, word, command, end (of a sentence), hyphen or other. text: in plain spelling. glued: no space
    stands before it. value: of a number. notation: digits, decimal, fraction, times (a fraction of no number, as
    `half`), words, named or roman.
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
        text = _CHINESE.sub(lambda numeral: f" {_worth(numeral[0])} ", text.translate(_SYMBOLS))
        text = "".join(character if character.isascii() else _plain(character) for character in text)
        text = text.replace("}^{", "").replace("}_{", "")  # superscripts of several digits
    for pattern, plain in _RESPELLED:
        text = pattern.sub(plain, text)
    for _ in range(4 if "\\" in text else 0):  # fractions in fractions
        text = _FRACTION.sub(_fraction, text)
    return text


def _fraction(match: re.Match[str]) -> str:
    r"""`\frac{1}{2}` is (1/2), and behind a number what is added to it."""
    whole, name, top, bottom = (group.strip("{} ") for group in match.groups(""))
    if whole and name == "frac" and (top + bottom).isdigit():
        return f"{whole} {top}/{bottom}"
    top, bottom = (side if side.isdigit() else f"({side})" for side in (top, bottom))
    return f"{whole}({top}{'/' if name == 'frac' else ' choose '}{bottom})"


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


def _worth(said: Iterable[str | Fraction]) -> Fraction:
    """What numbers come to, each added to or, where it is a scale, multiplied by what is smaller before it."""
    terms: list[Fraction] = []
    for word in said:
        number = word if isinstance(word, Fraction) else _VALUES[word] if word in _VALUES else None
        if number is None:  # a, and
            continue
        if word in _SCALES:
            smaller = Fraction(0)
            while terms and terms[-1] < (1000 if number == 12 else number):
                smaller += terms.pop()
            number *= smaller or 1
        elif terms and 0 < terms[-1] < 10 and number in range(10):  # digits in Chinese
            number += 10 * terms.pop()
        terms.append(Fraction(number))
    return sum(terms, Fraction(0))


def _number(match: re.Match[str]) -> tuple[Fraction, str]:
    """Value and notation of a number in digits, Arabic or Roman."""
    if match["roman"]:
        values = [_NUMERALS[character] for character in match[0]]
        return Fraction(sum(-v if v < max(values[i:]) else v for i, v in enumerate(values))), "roman"
    if match["mixed"]:
        whole, top, bottom = map(int, re.findall(r"\d+", match[0]))
        return whole + Fraction(top, bottom or 1), "fraction"
    value = Fraction(re.sub("[, ']", "", match["digits"])) * Fraction(10) ** int(match["power"] or 0)
    return value, "words" if match["nth"] else "digits" if value.denominator == 1 else "decimal"


def _said(match: re.Match[str], pieces: Sequence[Token]) -> Token:
    """The token of a number in words."""
    first, last, notation = pieces[0], pieces[-1], match.lastgroup or ""
    *said, part = [piece.text.lower() if piece.value is None else piece.value for piece in pieces]
    if notation == "fraction":
        value = (_worth(said) or Fraction(1)) / _PARTS[str(part).removesuffix("s")]
    elif notation == "mixed":
        value = _worth(said) + Fraction(1, _PARTS[str(part)])
    else:
        value = _worth([*said, part])
    kind = "ordinal" if notation == "ordinal" else "number"
    notation = {"fraction": "fraction" if said else "times", "mixed": "fraction", "ordinal": "words"}.get(
        notation, notation
    )
    return Token(kind, "", first.start, last.end, first.glued, value, notation)


def tokenize(text: str) -> list[Token]:
    """The tokens of a text that `plain_text` has seen."""
    pieces: list[Token] = []
    position = 0
    for match in _PIECE.finditer(text):
        start, end = match.span()
        kind, written, value, notation = match.lastgroup or "", match[0], None, ""
        if kind in ("mixed", "digits", "power", "nth", "roman"):
            value, notation = _number(match)
            kind = "ordinal" if kind == "nth" else "number"
        elif kind == "command":
            written = _PLAIN.get(match["command"], match["command"])
            kind = "word" if written == "mod" else kind if written[:1].isalpha() else "other"
        elif written[-1:] == "$":
            written = "$" if written == r"\$" or _AMOUNT.match(text, start) else ""
        elif kind == "other":
            written = written.removeprefix("\\")
        if kind and written:
            pieces.append(Token(kind, written, start, end, start == position, value, notation))
        position = end if written else position
    found: list[Token] = []
    done = 0
    for match in _NUMERAL.finditer("".join(map(_role, pieces))):
        start, end = match.span()
        token = _said(match, pieces[start:end])
        found += [*pieces[done:start], token._replace(text=text[token.start : token.end])]
        done = end
    return found + pieces[done:]


def _role(piece: Token) -> str:
    """What a piece is for the grammar of numbers in words."""
    if piece.kind == "word":
        return _ROLES.get(piece.text.lower(), "w")
    if piece.kind == "number":
        return {"1": "u", "3": "v"}.get(piece.text, "d")
    return (
        "-"
        if piece.kind == "hyphen"
        else "~"
        if piece.text == "-"
        else "_"
        if piece.text[0].isalnum()
        else piece.text[0]
    )
