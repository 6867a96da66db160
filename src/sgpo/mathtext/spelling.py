r"""One plain spelling of a text with numbers in it: ASCII, LaTeX without markup, number words as digits.

`plain` keeps the order of everything and the line breaks, not the lengths. It is linear in the text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from text_to_num import alpha2digit

_SYMBOLS = str.maketrans({
    "×": "*", "·": "*", "⋅": "*", "∙": "*", "∗": "*", "÷": "/", "⁄": "/", "∕": "/", "−": "-", "‐": "-", "‑": "-",
    "–": " ; ", "—": " ; ", "≤": "<=", "≥": ">=", "⩽": "<=", "⩾": ">=", "≠": "!=", "√": r"\sqrt ", "π": r"\pi ",
    "°": " degrees ", "º": " degrees ", "∞": r"\infty ", "→": " => ", "⇒": " => ", "’": "'", "‘": "'", "“": '"',
    "”": '"', "…": "...", "θ": r"\theta ", "¢": " cents ", "€": " euros ", "£": " pounds ", "≈": "=", "≡": "=",
})  # fmt: skip
_ENDLESS = re.compile(r"[\d.,]{61,}")  # no number; patterns of digits below would take time in its square
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_CHINESE = re.compile("[〇零一二三四五六七八九十百千万亿两]+")
_DROPPED = re.compile(
    r"\\(?:left|right|displaystyle|textstyle|quad|qquad|big[lr]?|Big[lr]?|boxed|[,;:! ()\[\]])"
    r"|\\(?:text|textbf|textit|mathrm|mathbf|mbox|operatorname)\b(?=\s*\{)|(?<!\\)\$(?!\s?\d[\d.,]*(?![\d.,$\\^+*/=}]))"
)
_COMMANDS = {
    "dfrac": r"\frac", "tfrac": r"\frac", "cfrac": r"\frac", "dbinom": r"\binom", "tbinom": r"\binom", "cdot": "*",
    "times": "*", "div": "/", "le": "<=", "leq": "<=", "leqslant": "<=", "ge": ">=", "geq": ">=", "geqslant": ">=",
    "ne": "!=", "neq": "!=", "to": " => ", "rightarrow": " => ", "Rightarrow": " => ", "implies": " => ",
    "ldots": "...", "cdots": "...", "dots": "...", "circ": " degrees ", "degree": " degrees ", "approx": "=",
    "equiv": "=", "pmod": " mod ", "bmod": " mod ", "pm": "+", "mp": "-", "lbrace": "{", "rbrace": "}",
}  # fmt: skip
_COMMAND = re.compile(r"\\([A-Za-z]+)|\\([%#&_{}$])")
_ARGUMENTS = re.compile(r"(\\(?:frac|binom))\s*(\d|(?=\{))\s*(\{[^{}]*\}|)\s*(\d)")
_GROUPED = re.compile(r"(?<![\d.,])([1-9]\d{0,2})((?:,\d{3})+|(?:\{,\}\d{3})+|(?: \d{3})+|(?:'\d{3})+)(?!\d|,\d)")
_SCIENTIFIC = re.compile(r"(?<![\w.])(\d{1,15}(?:\.\d{1,15})?)[eE]([+-]?\d{1,2})(?!\w|\.\d)")
_SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_KILO = re.compile(r"(?<![\w.])(\d{1,15}(?:\.\d{1,15})?)k(?![\w^)\\])")
_SCALED = re.compile(rf"(?<![\w.])(\d{{1,15}}(?:\.\d{{1,15}})?)[ -]({'|'.join(_SCALES)})s?\b", re.I)
_HYPHEN = re.compile(r"(?<=[a-z])-(?=(?:half|halves|quarters?|[a-z]+(?:thirds?|ths?|nths?))\b)", re.I)
_FRACTION = re.compile(
    r"(?<![\w./-])(?P<top>\d{1,9}|an?|(?P<and>and an?)) "
    r"(?:(?P<bottom>\d{1,9})(?:rd|th|nd|st)(?P<verb>(?= (?:is|was|remains|results|comes)\b))?"
    r"|(?P<part>half|halve|quarter))"
    r"(?P<many>s?)(?![\w-])(?P<of> of|(?= ?[.,;!?\n]|$))?",
    re.I,
)
_MIXED = re.compile(r"(?<![\w./])(\d{1,9})(?: and)?(?: |(?=\\))(?P<part>\\frac\{(\d+)\}\{(\d+)\}|(\d{1,9})/(\d{1,9}))")
_BETWEEN = {
    "plus": "+", "minus": "-", "times": "*", "multiplied by": "*", "divided by": "/", "over": "/", "out of": "/",
    "to the power of": "^", "raised to the power of": "^", "to the power": "^",
}  # fmt: skip
_OF_ONE = {
    "square": "{}^2", "cube": "{}^3", "reciprocal": r"\frac{{1}}{{{}}}", "multiplicative inverse": r"\frac{{1}}{{{}}}",
    "opposite": "-{}", "additive inverse": "-{}",
}  # fmt: skip
_NAMED = {"s": "+", "p": "*", "d": "-", "q": "/"}
_OPERATOR = re.compile(rf"(?<=[\d)}}i]) ({'|'.join(_BETWEEN)}) (?:the )?(?=[\d(\\]|pi\b|[b-z]\b)", re.I)


# Each with texts of which one must be there, in lower case: to look for those is 20 times faster than to match.
_WORDED: tuple[tuple[tuple[str, ...], re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = tuple(
    (tuple(hints.split(",")), re.compile(pattern, re.I), put)
    for hints, pattern, put in (
        ("squared,cubed", r"(?:(?<=[\d)])|(?<=\b[a-z])) (squared|cubed)\b",
         lambda m: "^2" if m[1].lower() == "squared" else "^3"),
        ("cent,pct", r"(?<=\d)[ -]?(?:per ?cent|pct)\b", "%"),
        ("root", r"\b(?:(square|cube) )?root (?:of )?(?=[\d\\(])",
         lambda m: r"\sqrt[3] " if (m[1] or "").lower() == "cube" else r"\sqrt "),
        ("negative,minus", r"(?<![\d)}] )(?<!\b[A-Za-z] )(?<!\w)(?:negative|minus) (?=\d|\\frac)", "-"),
        ("sum,product,difference,quotient",
         r"\b(sum|product|difference|quotient) (?:of|between) (\d[\d.]*) and (\d[\d.]*\d|\d)",
         lambda m: f"{m[2]} {_NAMED[m[1][0].lower()]} {m[3]}"),
        ("factorial", r"\bfactorial of (\d+)\b|\b(\d+) factorial\b", lambda m: f"{m[1] or m[2]}!"),
        ("to the", r"\b(?:raise )?(\d+) to the (\d+)(?:st|nd|rd|th)(?: power)?\b", r"\1^\2"),
        ("000", r"(?<=[)}]) (?=1(?:000){1,4}\b)", " * "),
        ("^", r"(?<=[\d}]) ?(mm|cm|m|km|ft|yd) ?\^ ?\{?([23])\}?",
         lambda m: f" {'square' if m[2] == '2' else 'cubic'} {'meters' if m[1] == 'm' else m[1]}"),
        ("half", r"\bhalf an? ", r"\\frac{1}{2} "),
        ("half,twice,double,triple", r"\b(half|twice|double|triple) (?:of )?(?:the )?(?=[\d\\])",
         lambda m: {"half": r"\frac{1}{2} * ", "triple": "3 * "}.get(m[1].lower(), "2 * ")),
        (" power of ", r"(?:the )?(\d+)(?:st|nd|rd|th) power of (\d+)\b", r"\2^\1"),
        ("square,cube,reciprocal,opposite,inverse",
         r"\b(square|cube|reciprocal|opposite|additive inverse|multiplicative inverse) of (\d[\d.]*\b)",
         lambda m: _OF_ONE[m[1].lower()].format(m[2])),
        ("x", r"(?<=\d) ?[xX] ?(?=\d)", " * "),
        (" of ", r"(?<=\d) of (?=pi\b|\\pi)|(?<=\d%) of (?:the )?(?=\d)|(?<=\}) of (?:the )?(?=\d)", " * "),
        ("c", r"\bC\((\d+) ?, ?(\d+)\)|(?<!\w)(\d+) ?(?:C|choose) ?(\d+)\b",
         lambda m: rf"\binom{{{m[1] or m[3]}}}{{{m[2] or m[4]}}}"),
        (" in ", r"\b1( [a-z]+)? in (\d+)\b(?! [a-z]+ (?:and|or))", r"1/\2\1"),
        ("multiply,divide", r"\b(multiply|divide) +(\d[\d.]*|\\frac\{\d+\}\{\d+\}) +by +(?=\d|\\frac)",
         lambda m: f"{m[2]} {'*' if m[1][0] in 'mM' else '/'} "),
        ("once,twice,times", r"\b(once|twice|\d times) (?:in|out of|every|per) (?:every )?(\d+)\b",
         lambda m: rf"\frac{{{ {'once': 1, 'twice': 2}.get(m[1].lower(), m[1][0])}}}{{{m[2]}}}"),
        ("favo,against", r"\b(\d+) to (\d+) (in favou?r|against)\b",
         lambda m: rf"\frac{{{m[1 + (m[3] == 'against')]}}}{{{int(m[1]) + int(m[2])}}}"),
        ("sine,tangent", r"\b(sine|cosine|tangent) of (?=\d)", lambda m: rf"\{m[1][:3].lower()} "),
    )
)  # fmt: skip
_SENTENCE = re.compile(r"[^.\n]{1,600}[.\n]?|[.\n]")
_PLURAL = re.compile(
    r"\b(one|two|three|four|five|seven|eight|nine|ten|zero)(e?s)\b", re.I
)  # a run of nines is no number
_HUNDREDTH = re.compile(rf"\b(?:one|a) ({'|'.join(_SCALES)})th\b", re.I)  # text2num takes it for 100th
_AND_HALF = re.compile(r"\b(an?|one|two|three|four|five|six|seven|eight|nine|ten|\d+) (\w{3,9}?)s? and a half\b", re.I)
_A = re.compile(r"\ban? (?=dozen|gross\b(?! [a-z])|hundred|thousand|million|billion)|\ba single (?=[a-z])", re.I)
_ALPHA = re.compile(r"[A-Za-z]{3}")


def _character(match: re.Match[str]) -> str:
    """ASCII for a character by what Unicode says of it: powers, indices, fractions, digits of any script."""
    character = match.group()
    kind, _, parts = unicodedata.decomposition(character).partition(" ")
    plain_form = unicodedata.normalize("NFKC", character)
    if kind in ("<super>", "<sub>"):
        return f"{'^' if kind == '<super>' else '_'}{{{plain_form}}}"
    if kind == "<fraction>" and parts:
        top, bottom = plain_form.split("⁄")
        return rf" \frac{{{top or 1}}}{{{bottom}}}" if bottom else character
    digit = unicodedata.digit(character, None)
    if digit is not None:
        return str(digit)
    return "" if unicodedata.category(character) in ("Cc", "Cf", "Cs") else plain_form


def _chinese(match: re.Match[str]) -> str:
    """The value of Chinese numerals by place; characters that Unicode gives a numeric value."""
    run = match.group()
    if len(run) > 20 or (len(run) == 1 and run in "一"):
        return run
    total = part = digit = 0.0
    for character in run.replace("两", "二"):
        value = unicodedata.numeric(character, 0.0)
        if value < 10:
            digit = digit * 10 + value
        elif value < 10_000:
            part, digit = part + (digit or 1) * value, 0.0
        else:
            total, part, digit = (total + (part + digit or 1)) * value, 0.0, 0.0
    return f" {int(total + part + digit)} "


def chinese_numerals(text: str) -> str:
    """Chinese numerals as digits."""
    return text if text.isascii() else _CHINESE.sub(_chinese, text)


def _fraction(match: re.Match[str]) -> str:
    bottom = match["bottom"] or {"h": "2", "q": "4"}[match["part"][0].lower()]
    article = not match["top"][0].isdigit()
    if int(bottom) < 2 or (article and bottom != "2" and match["of"] is match["verb"] is match["and"] is None):
        return match.group()  # `a third side`
    if not article and match["part"] and match["part"][0] in "qQ" and int(match["top"]) > 3:
        return match.group()  # 5 quarters are coins
    if not article and not match["part"] and bool(match["many"]) != (match["top"] != "1"):
        return match.group()  # `the 2 third terms`
    prefix = "and " if match["and"] else ""
    return rf"{prefix}\frac{{{1 if article else match['top']}}}{{{bottom}}}{match['of'] or ''}"


def _decimal(digits: str, exponent: int) -> str:
    """`digits` times ten to the `exponent`, written out."""
    whole, _, rest = digits.partition(".")
    if exponent < 0:
        whole = whole.rjust(1 - exponent, "0")
        return f"{whole[:exponent]}.{whole[exponent:]}{rest}"
    rest = rest.ljust(exponent, "0")
    return f"{whole}{rest[:exponent]}" + (f".{rest[exponent:]}" if rest[exponent:] else "")


def number_words(text: str) -> str:
    """English number words as digits and fractions; ordinals become `8th`."""
    if not _ALPHA.search(text):
        return text
    text = _HUNDREDTH.sub(lambda m: rf"\frac{{1}}{{{_decimal('1', _SCALES[m[1].lower()])}}}", text)
    text = _AND_HALF.sub(lambda m: f"{'one' if m[1][0] in 'aA' else m[1]} and a half {m[2]}s", text)
    text = _PLURAL.sub(r"\1's", _HYPHEN.sub(" ", _A.sub("one ", text)))
    text = "".join(alpha2digit(piece, "en", 0) if _ALPHA.search(piece) else piece for piece in _SENTENCE.findall(text))
    text = _FRACTION.sub(_fraction, re.sub(r"\b(per|each|every|a|1|of an?) 2nd\b", r"\1 second", text))
    return _MIXED.sub(lambda m: rf"({m[1]}+{m['part']})", text)


def plain(text: str) -> str:
    """The plain spelling of a text of a bounded length."""
    if not text.isascii():
        text = chinese_numerals(text.translate(_SYMBOLS))
        text = re.sub(r"(?<=\})\^\{", "", _NOT_ASCII.sub(_character, text).replace("}^{", "").replace("}_{", ""))
    text = _ENDLESS.sub(" ", re.sub(r"[^\S\n]+", " ", text.replace("~", " ")))
    text = re.sub(r"\be\. ?g\.,?", "such as", re.sub(r"\bi\. ?e\.,?", "namely", text))
    if "\\" in text or "$" in text:
        text = _COMMAND.sub(lambda m: _COMMANDS.get(m[1], m[0]) if m[1] else {"$": " $"}.get(m[2], m[2]), text)
        text = _DROPPED.sub(" ", text)
        text = _ARGUMENTS.sub(_braced, text)
        text = re.sub(r"\^\s*\{?\s*degrees\s*\}?", " degrees ", text)
    text = _GROUPED.sub(lambda m: m[0] if _is_pair(m) else m[1] + re.sub(r"\D", "", m[2]), text)
    text = _SCIENTIFIC.sub(lambda m: _decimal(m[1], int(m[2])), text)
    text = _SCALED.sub(lambda m: _decimal(m[1], _SCALES[m[2].lower()]), text)
    if not re.search(r"(?<!\w)k(?!\w)", text):  # 2k is a product where k is a variable
        text = _KILO.sub(lambda m: _decimal(m[1], 3), text)
    text = number_words(text)
    lower = text.lower()
    for hints, pattern, put in _WORDED:
        if any(hint in lower for hint in hints):
            text = pattern.sub(put, text)
    return _OPERATOR.sub(lambda m: f" {_BETWEEN[m[1].lower()]} ", text)


def _braced(match: re.Match[str]) -> str:
    first = match[2] or match[3]
    if not first or (match[2] and match[3]):
        return match.group()
    return f"{match[1]}{first if first.startswith('{') else '{' + first + '}'}{{{match[4]}}}"


def _is_pair(match: re.Match[str]) -> bool:
    """`(1,200)` may be a pair, not a number."""
    text = match.string
    return "," in match[2] and text[match.start() - 1 : match.start()] == "(" and text[match.end() :][:1] == ")"
