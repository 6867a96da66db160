r"""One plain spelling for prose with mathematics in it, so that `expressions.scan` can read its values.

`$\tfrac12$`, `½`, `one half` and `1/2`, or `3√13`, `3 \sqrt{13}` and `three times the square root of 13`, come out
alike. Characters and LaTeX arguments are read by `sgpo.rewards.latex`; what is added here is prose: number words,
operations in words, markdown, dashes. Every rule is one linear pass.
"""

from __future__ import annotations

import re

from sgpo.rewards import latex
from sgpo.strategies.leakage.number_words import digits

_NUMBER = r"\d+(?:\.\d+)?"
_DASH = re.compile(r"(?<!\d)[–—](?!\d)|[—]|(?<=\d)[ ]+[–][ ]+(?=[A-Za-z])")
_BULLET = re.compile(r"^[ \t]*[•▪◦‣·*+-][ \t]+", re.MULTILINE)
_ARROW = re.compile(
    r"\\(?:Rightarrow|implies|Longrightarrow|rightarrow|longrightarrow)(?![A-Za-z])|[⟹⟶➔]|(?:=|-{1,3})>"
)
_MATH = re.compile(r"(?<!\\)\$\$?([^$\n]{0,400}?)(?<!\\)\$\$?|\\\((.{0,400}?)\\\)")
_FONT = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|normal)?|math(?:rm|bf|it|sf|tt|bb)|mbox|operatorname\*?|boxed|fbox|emph|underline)"
    r"\s*\{([^{}]*)\}"
)
_SIZES = re.compile(r"\\(?:left|right|[bB]igg?[lrm]?|displaystyle|textstyle|limits)(?![A-Za-z])\.?[ ]?")
_SPACING = re.compile(r"\\[,;:! ]|\\q?quad|~")
_COMMANDS = (
    (re.compile(r"\\\\(?=[A-Za-z])"), r"\\"),  # escaped twice
    (re.compile(r"\{\s*,\s*\}"), ","),
    (re.compile(r"\\[dtc]frac(?![A-Za-z])"), r"\\frac"),
    (re.compile(r"\\[dt]binom(?![A-Za-z])"), r"\\binom"),
    (re.compile(r"\\(?:cdot|times|ast)(?![A-Za-z])"), "*"),
    (re.compile(r"\\div(?![A-Za-z])"), "/"),
    (re.compile(r"\^\s*\{?\s*(?:\\circ|\\degree)\s*\}?|\\circ(?![A-Za-z])"), r"\\degree "),
    (re.compile(r"\\(?:leq?|leqslant)(?![A-Za-z])|<=|=<"), " <= "),
    (re.compile(r"\\(?:geq?|geqslant)(?![A-Za-z])|>="), " >= "),
    (re.compile(r"\\(?:pm|mp)(?![A-Za-z])|[±∓]"), " + "),
    (re.compile(r"\\lt(?![A-Za-z])"), "<"),
    (re.compile(r"\\gt(?![A-Za-z])"), ">"),
    (re.compile(r"\\(?:approx|simeq)(?![A-Za-z])|≈"), " = "),
    (re.compile(r"\\[%$#&_]"), lambda m: m.group()[1].replace("$", " ")),
    (re.compile(r"\\[()\[\]]|\$"), " "),
    (re.compile(r"(?<=\d)\*\*(?=\d)"), "^"),
    (re.compile(r"\*\*+|`+|__+|^#+", re.MULTILINE), " "),
    (re.compile(r"(?<![A-Za-z0-9)}\]])_|_(?![A-Za-z0-9{])"), " "),  # emphasis, not a subscript
)
_THOUSANDS = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:,\d{3})+(?![\d]|,\d)")
_THIN = re.compile(r"(?<=\d),?(?:\\[,;:!] ?|\\ |\{\\[,;: !]\}|[\u00a0\u2009\u202f])(?=\d{3}(?!\d))")
_LONG = re.compile(r"\d{400,}")
_POWERS = ["second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"]
_WORDED = (
    (re.compile(r"\\sqrt\s*(\d{2,})"), r"\\sqrt{\1}"),  # the author of \sqrt13 means 13
    (re.compile(rf"\b(?:square\s+)?root\s+(?={_NUMBER}(?!\.?\d))({_NUMBER})", re.I), r"\\sqrt{\1}"),
    (re.compile(rf"\b(?:the\s+)?cube\s+root\s+of\s+({_NUMBER})", re.I), r"\\sqrt[3]{\1}"),
    (re.compile(rf"\b(?:the\s+)?(?:square\s+|2nd\s+)?root\s+of\s+({_NUMBER})", re.I), r"\\sqrt{\1}"),
    (re.compile(rf"(?<=\d)\s+(?:multiplied\s+by|times)\s+(?:the\s+)?(?={_NUMBER}|\\|pi\b)", re.I), " * "),
    (re.compile(r"(?<=\d)\s+(?:divided\s+by)\s+(?=[\d\\])", re.I), " / "),
    (re.compile(r"(?:(?<=\d)|(?<=\bpi)|(?<=\\pi))\s+over\s+(?=\d)", re.I), " / "),
    (re.compile(r"(?<=\d)\s+of\s+(?=\\?pi\b)"), " * "),
    (re.compile(
        r"(?<![A-Za-z\\])([b-z])\s+(?:is|equals|is\s+equal\s+to|must\s+be|becomes)\s+"
        r"(?=-?\d+(?:[./]\d+)?\s*(?:[.,;:!)\n]|$|(?:and|or|so)\b))"), r"\1 = "),
    (re.compile(r"(?<=\d)\s+plus\s+(?=[\d\\])", re.I), " + "),
    (re.compile(r"(?<=\d)\s+minus\s+(?=[\d\\])", re.I), " - "),
    (re.compile(r"(?<=\d)\s+(?:raised\s+)?to\s+the\s+(?:power\s+(?:of\s+)?)?(?=\d+(?![\d.]|st|nd|rd|th))", re.I), "^"),
    (re.compile(r"(?<=\d)\s+(?:raised\s+)?to\s+the\s+(\d+)(?:st|nd|rd|th)(?:\s+power)?\b", re.I), r"^\1"),
    (re.compile(r"(?<=\d)\s+squared\b", re.I), "^2"),
    (re.compile(r"(?<=\d)\s+cubed\b", re.I), "^3"),
    (re.compile(r"(?<=\d)\s+factorial\b", re.I), "!"),
    (re.compile(rf"(?:the\s+)?({'|'.join(_POWERS)})\s+power\s+of\s+(\d+)\b", re.I),
     lambda m: f"{m[2]}^{_POWERS.index(m[1].lower()) + 2}"),
    (re.compile(r"(?:the\s+)?(\d+)th\s+power\s+of\s+(\d+)\b", re.I), r"\2^\1"),
    (re.compile(
        r"\b((?:chance|probability|likelihood|odds|is|are|be|exactly|about|roughly|of)\s+)(\d+)\s+in\s+(\d+)\b", re.I),
     r"\1\2/\3"),
    (re.compile(r"(?<![\w.])(\d+)\s+out\s+of\s+(?:the\s+|every\s+)?(\d+)\b", re.I), r"\1/\2"),
    (re.compile(r"(?<![\w.])(\d+)\s+choose\s+(\d+)\b", re.I), r"\\binom{\1}{\2}"),
    (re.compile(r"(?<![\w.])(\d+)\s*C\s*(\d+)\b"), r"\\binom{\1}{\2}"),
    (re.compile(r"\bC\(\s*(\d+)\s*,\s*(\d+)\s*\)"), r"\\binom{\1}{\2}"),
    (re.compile(rf"\bhalf\s+of\s+(?={_NUMBER})", re.I), "1/2 * "),
    (re.compile(rf"\b(?:twice|double)\s+(?={_NUMBER})", re.I), "2 * "),
    (re.compile(rf"\b(?:triple)\s+(?={_NUMBER})", re.I), "3 * "),
    (re.compile(rf"\b(?:the\s+)?square\s+of\s+({_NUMBER})", re.I), r"\1^2"),
    (re.compile(rf"\b({_NUMBER})\s+(?:(?:more|greater|larger)\s+than|above|beyond)\s+({_NUMBER})", re.I), r"\2 + \1"),
    (re.compile(rf"\b({_NUMBER})\s+(?:(?:less|fewer|smaller)\s+than|short\s+of|shy\s+of|below)\s+({_NUMBER})", re.I),
     r"\2 - \1"),
    (re.compile(rf"(?<![\d./])(\d+/\d+)\s+of\s+(?:the\s+)?(?={_NUMBER})"), r"\1 * "),
    (re.compile(rf"\bmultipl(?:y|ying)\s+({_NUMBER})\s+by\s+({_NUMBER})(?:,?\s+(?:and\s+)?by\s+({_NUMBER}))?", re.I),
     lambda m: " * ".join(x for x in m.groups() if x)),
    (re.compile(rf"({_NUMBER})\s*%\s+of\s+(?={_NUMBER})"), r"\1% * "),
)  # fmt: skip
_STACKED = re.compile(r"(?:\\(?:frac|sqrt|binom|pmod)\s*){20}")  # would be read by recursion
_TIMES = re.compile(
    r"(?<=\d)[ ]+[xX][ ]+(?=\d)|(?<=\d)[xX](?=\d\d|\d\b(?!\s*(?:matri|grid|board|square|table|system|det)))"
)


def _in_math(match: re.Match[str]) -> str:
    """Inside math a hyphen between digits is a minus sign, not a range or a compound."""
    inner = match.group(1) if match.group(1) is not None else match.group(2) or ""
    return " " + inner.replace("-", " - ") + " "


def _joined(match: re.Match[str]) -> str:
    """`1,200` as one number, unless it is all that a bracket holds."""
    before, after = match.string[: match.start()][-2:].strip(), match.string[match.end() : match.end() + 2].strip()
    bracketed = before.endswith(("(", "[", "{")) and after.startswith((")", "]", "}", "\\}"))
    return match.group() if bracketed else match.group().replace(",", "")


def _brace(line: str) -> str:
    if "\\" in line and not _STACKED.search(line) and latex.depth(line) <= latex.MAX_DEPTH:
        return latex.brace_arguments(line)
    return line


def plain(text: str) -> str:
    """The plain spelling. Positions and line breaks between sentences stay in order; lengths do not.

    Args:
        text: a strategy, an answer or a problem, of a bounded length; lines nested deeper than `latex.MAX_DEPTH` keep
            their LaTeX arguments as written.
    """
    text = _LONG.sub(" ", _THIN.sub("", text))
    text = re.sub(r"\s+", lambda m: "\n" if "\n" in m.group() or "\r" in m.group() else " ", text)
    text = _BULLET.sub("", _DASH.sub(" ; ", text)).replace("→", "->").replace("⇒", "->")
    text = latex.from_unicode(_MATH.sub(_in_math, _ARROW.sub(" @@ ", text))).replace("@@", "⇒")
    text = _SPACING.sub(" ", _SIZES.sub("", text))
    for _ in range(2):
        text = _FONT.sub(r" \1 ", text)
    for pattern, replacement in _COMMANDS:
        text = pattern.sub(replacement, text)
    text = _LONG.sub(" ", _THOUSANDS.sub(_joined, text))
    text = digits(text)
    text = _TIMES.sub(" * ", text)
    for pattern, replacement in _WORDED:
        text = pattern.sub(replacement, text)
    return "\n".join(_brace(line) for line in text.split("\n"))
