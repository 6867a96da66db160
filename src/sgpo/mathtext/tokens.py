r"""Text to typed tokens: numbers with their exact values, words, LaTeX commands, operators and ends of sentences.

A number in any spelling is one token: digits with marks of thousands, `2.6e4`, `57.5 thousand`, number words, `8th` and
`eighth`, `two thirds`, `IX`, digits of other scripts and Chinese numerals. Words become numbers by the roles that they
have (`_ROLES`), of which `_NUMERAL` is the grammar.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable
from fractions import Fraction
from typing import Any, NamedTuple

Value = Fraction | float
MAX_TEXT = 200_000


def words(text: str) -> frozenset[str]:
    """The words of a text, which are parted by spaces; `give(s)` stands for both of them."""
    return frozenset(re.sub(r"(\w+)\((\w+)\)", r"\1 \1\2", text).split())


def size(value: Value | None) -> float:
    """One key for equal sizes, whatever the sign; -1 where there is no value."""
    return -1.0 if value is None else float(f"{abs(float(value)):.10g}")


@functools.lru_cache(20_000)
def stem(word: str) -> str:
    """A crude singular, lower case."""
    word = word.lower()
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "is", "us")) and len(word) > 3 else word


# Plain spellings of characters and LaTeX commands; "" of what only shapes the page.
_SPELLINGS = {
    "*": "× · ⋅ ∗ cdot times", "/": "÷ ⁄ div", "+": "pm", "-": "− ‐ ‑ mp", "=": "≈ ≡ approx equiv", "!=": "≠ ne neq",
    "<=": "≤ le leq leqslant", ">=": "≥ ge geq geqslant", "=>": "→ ⇒ to rightarrow Rightarrow implies", " ; ": "– —",
    "frac": "dfrac tfrac cfrac", "binom": "dbinom tbinom", "sqrt": "√", "lambda": "λ", "degree": "° circ", "infty": "∞",
    "...": "ldots cdots dots", "mod": "pmod bmod", "'": "’ ‘", " cents ": "¢", " euros ": "€", " pounds ": "£",
    "": "left right displaystyle quad qquad big Big boxed text textbf textit mathrm mathbf mbox operatorname",
}  # fmt: skip
_PLAIN = {spelled: plain for plain, others in _SPELLINGS.items() for spelled in others.split()}
_SYMBOLS = str.maketrans({x: rf"\{y} " if y.isalpha() else y for x, y in _PLAIN.items() if len(x) == 1})
# In the order in which they are replaced: a square of units (where m is no letter), `an hour and a half`, `60^\circ`.
_RESPELLED: tuple[tuple[str, Any], ...] = (
    (
        r"(?<=\d)(?:[\s{\\,]+(?:text|mathrm)?[\s{]*|(?=[a-z]{2}))(in|[mcdk]?m|ft|yd|mi)\s*\}?\s*\^\s*\{?\s*([23])\b\}?",
        lambda m: f" {'square' if m[2] == '2' else 'cubic'} {'meter' if m[1] == 'm' else m[1]}",
    ),
    (r"(?i)\b(?:an?|one) ([a-z]+) and an? (half|quarter|third)\b", r"one and a \2 \1"),
    (r"\be\. ?g\.,?", "such as"),
    (r"\bi\. ?e\.,?", "namely"),
    (r"\^\s*(?:\{\s*\\circ\s*\}|\\circ)", r"\\degree "),
)
_SIDE = r"\s*(\d|\{[^{}]*\})"
_FRACTION = re.compile(rf"(\d ?)?\\[dtc]?(frac|binom){_SIDE}{_SIDE}")
_IN_CHINESE = re.compile("[〇零一二三四五六七八九十百千万亿两]{2,20}|[二三四五六七八九十两]")

_ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
SCALES = {"dozen": 12, "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
CARDINALS = {word: n for n, word in enumerate(f"{_ONES} seventeen eighteen nineteen".split())}
CARDINALS |= {word: 10 * n for n, word in enumerate(_TENS.split(), 2)} | SCALES
_IRREGULAR = {"one": "first", "two": "second", "three": "third", "eight": "eighth", "nine": "ninth"}
_ORDINALS = {_IRREGULAR.get(w, re.sub("ve$", "f", re.sub("y$", "ie", w)) + "th"): n for w, n in CARDINALS.items()}
_PARTS = {"half": 2, "halve": 2, "quarter": 4} | _ORDINALS
_SHAPES = {"cubic": 3, "pentagon": 5, "hexagon": 6, "heptagon": 7, "octagon": 8, "decagon": 10, "pentadecagon": 15}
_ROMAN = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
_MULTIPLIERS = {word + s: n for word, n in SCALES.items() for s in ("", "s")}
_MULTIPLIERS |= {"十": 10, "百": 100, "千": 1000, "万": 10**4, "亿": 10**8}
_CHINESE = {"零": 0, "两": 2} | {digit: n for n, digit in enumerate("〇一二三四五六七八九")}
_VALUES = CARDINALS | _ORDINALS | _SHAPES | _ROMAN | _MULTIPLIERS | _CHINESE
# What a word is in the grammar of numbers, of which each is a letter; unknown words are w and digits d.
_ROLES = (
    {word: "z1o3ooooooeeeeeeeeee"[n] if n < 20 else "t" for word, n in CARDINALS.items()}
    | {word: "np"[n > 2] for word, n in _ORDINALS.items()}
    | {word + "s": "P" for word, n in _ORDINALS.items() if n > 2}
    | dict.fromkeys(_MULTIPLIERS, "s")
    | dict.fromkeys(_SHAPES, "g")
    | dict(
        pair.split("=")
        for pair in words("a=a an=A and=& of=i the=I its=I past=y per=r half=h halves=P quarter=q quarters=Q")
    )
)
_SMALL = "(?:t-?[13o]|[13oet])"
_SCALED = f"(?:{_SMALL}(?:&[aA]h)?|d|h?[aA])(?:-?s)+(?:[,&]?{_SMALL}(?:-?s)+)*"
_CARDINAL = f"(?:{_SCALED}(?:&?-?{_SMALL})?|{_SMALL}|z)"
_SAID = re.compile(  # `a third side` is no fraction, and 5 quarters are coins
    rf"(?=[^w_,.\n])(?:(?P<fraction>1-?[hpq]|[aA](?:h|[pq](?=[iy.,!]|$))|h(?![aA]s)(?=[aAIi])|(?:{_CARDINAL}|d)-?P|3-?Q)"
    rf"|(?P<mixed>(?:{_SMALL}|d)&[aA][hpq])(?!s)|(?P<ordinal>(?<![1ar])(?:t-?)?[np])"
    rf"|(?P<named>g(?![\w&]))|(?P<words>{_CARDINAL}))"
)
_DIGITS = r"(?:[1-9]\d{0,2}(?:[, ']\d{3})+(?!\d|,\d)(?:\.\d{1,30})?|\d{1,60}(?:\.\d{1,30})?|(?<!\d)\.\d{1,30})"
_NUMERAL = r"(?-i:(?=[IVXLCDM]{2})M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3}))(?<=[IVXLCDM])\b"
_PIECE = re.compile(  # a dollar that begins an amount is a token, and one that begins a formula is none
    rf"(?=\S|\n)(?:(?P<word>(?!{_NUMERAL})[a-z]{{1,99}}(?:'[a-z]{{1,99}})?)"
    rf"|(?P<mixed>\b\d{{1,9}}(?: and)? \d{{1,9}}/\d{{1,9}})(?![\d/])"
    rf"|(?P<digits>{_DIGITS})(?:(?P<power>e[+-]?\d{{1,2}})(?!\w)|(?P<ordinal>(?:st|nd|rd|th)\b))?"
    rf"|(?P<roman>\b{_NUMERAL})|\\(?P<command>[a-z]{{1,99}})|\\[,;:!()\[\] ]|(?P<hyphen>(?<=\w)-(?=\w))"
    r"|(?P<end>(?!\.\.\.)[.;?](?!\d)|\n)|(?P<other>\\[$%{}]|=>|<=|>=|!=|\.\.\.|[^\s\\~$]"
    r"|\$(?=\s?\d[\d.,]*(?![\d.,{$\\^+*/=}])))|\$)",
    re.IGNORECASE,
)


class Token(NamedTuple):
    """A piece of a text.

    kind: number, ordinal, word, command, end (of a sentence), hyphen or other; "" of what only shapes the page. text:
    in plain spelling. glued: no space stands before it. role: in the grammar of numbers. value, size: of a number.
    notation: digits, decimal, fraction, times (a fraction of no number, as `half`), words, named or roman.
    """

    kind: str
    text: str
    glued: bool
    role: str = ""
    value: Fraction | None = None
    notation: str = ""
    size: float = -1.0


def plain_text(text: str) -> str:
    """The text in ASCII, as far as Unicode says what a character stands for."""
    text = text[:MAX_TEXT].replace("{,}", ",").replace(r",\!", ",")
    if not text.isascii():
        text = _IN_CHINESE.sub(_chinese, text.translate(_SYMBOLS))
        text = "".join(character if character.isascii() else _plain(character) for character in text)
        text = text.replace("}^{", "").replace("}_{", "")  # superscripts of several digits
    for pattern, plain in _RESPELLED:
        text = re.sub(pattern, plain, text)
    for _ in range(4 if "frac" in text or "binom" in text else 0):  # fractions in fractions
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


def _chinese(match: re.Match[str]) -> str:
    """三百二十 is 320, and 二〇二四 is 2024."""
    scaled = not _MULTIPLIERS.keys().isdisjoint(match[0])
    return f" {_worth(match[0]) if scaled else ''.join(str(_VALUES[digit]) for digit in match[0])} "


def _worth(said: Iterable[str | Fraction]) -> Fraction:
    """What words and digits come to: a scale multiplies what is smaller before it, and a Roman numeral takes it off."""
    terms: list[Fraction] = []
    for word in said:
        number = (
            word if isinstance(word, Fraction) else Fraction(1, 2) if word == "half" else Fraction(_VALUES.get(word, 0))
        )
        smaller = Fraction(0)
        while terms and (word in _ROMAN or word in _MULTIPLIERS) and terms[-1] < (1000 if number == 12 else number):
            smaller += terms.pop()
        terms.append(number * (smaller or 1) if word in _MULTIPLIERS else number - smaller)
    return sum(terms, Fraction(0))


def _said(notation: str, said: list[str | Fraction]) -> tuple[str, Fraction, str]:
    """Kind, value and notation of a number in words."""
    count, part = _worth(said[:-1]), _PARTS.get(str(said[-1]).removesuffix("s"), 1)
    if notation == "fraction":
        return "number", (count or Fraction(1)) / part, "fraction" if said[:-1] else "times"
    if notation == "mixed":
        return "number", count + Fraction(1, part), "fraction"
    return ("ordinal", _worth(said), "words") if notation == "ordinal" else ("number", _worth(said), notation)


def _number(shape: str, written: str) -> tuple[str, Fraction, str]:
    """Kind, value and notation of a number in digits, Arabic or Roman."""
    if shape == "mixed":
        whole, top, bottom = map(int, re.findall(r"\d+", written))
        return "number", whole + Fraction(top, bottom or 1), "fraction"
    if shape == "roman":
        return "number", _worth(written), "roman"
    value = Fraction(re.sub("[, ']|[a-z]{2}$", "", written.lower()))
    if shape == "ordinal":
        return "ordinal", value, "words"
    return "number", value, "digits" if value.denominator == 1 else "decimal"


@functools.lru_cache(20_000)
def _token(shape: str, written: str, glued: bool) -> Token:
    """What a piece of a text is; `shape` is its group in `_PIECE`."""
    if shape in ("mixed", "digits", "power", "ordinal", "roman"):
        kind, value, notation = _number(shape, written)
        return Token(kind, written, glued, "d" if kind == "number" else "_", value, notation, size(value))
    text = written.removeprefix("\\") if shape else written.strip("$")
    if shape == "command":
        text = _PLAIN.get(text, text)
        shape = "word" if text == "mod" else shape if text[:1].isalpha() else "other"
    other = "~" if text == "-" and shape == "other" else "_" if text[:1].isalnum() else text[:1]
    return Token(shape, text, glued, _ROLES.get(text.lower(), "w") if shape == "word" else shape and other)


def tokenize(text: str) -> tuple[list[Token], list[tuple[int, int]]]:
    """The tokens of a text that `plain_text` has seen, and where each of them is; equal ones are one object."""
    pieces: list[Token] = []
    places: list[tuple[int, int]] = []
    position = 0
    for match in _PIECE.finditer(text):
        start, end = place = match.span()
        piece = _token(match.lastgroup or "", match[0], start == position)
        if piece.role:
            pieces.append(piece)
            places.append(place)
        position = end if piece.text else position
    found: list[Token] = []
    spans: list[tuple[int, int]] = []
    done = 0
    for match in _SAID.finditer("".join([piece.role for piece in pieces])):
        first, last = match.span()
        numbers = [piece.text.lower() if piece.value is None else piece.value for piece in pieces[first:last]]
        kind, value, notation = _said(match.lastgroup or "", numbers)
        start, end = span = places[first][0], places[last - 1][1]
        said = Token(kind, text[start:end], pieces[first].glued, "", value, notation, size(value))
        found += [*pieces[done:first], said]
        spans += [*places[done:first], span]
        done = last
    return found + pieces[done:], spans + places[done:]
