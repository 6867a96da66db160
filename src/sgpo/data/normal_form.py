r"""The normal form in which `sgpo.data.overlap` compares texts: what is said, without how it is laid out.

A text becomes tokens: words, digits, single characters of scripts that put no spaces between words, and operators. The
same problem has the same tokens in LaTeX, unicode, HTML and plain text: ``x^{2}``, ``x²`` and ``x<sup>2</sup>`` are
``x ^ 2``. Each digit is a token of its own, because layouts part and join numbers: ``\frac12``, ``½`` and ``1/2`` are
``1 2``, and ``1{,}000`` and ``1,000`` are ``1 0 0 0``. Figures, punctuation, brackets
and spacing do not count.
"""

import html
import re
import unicodedata

_FIGURE = re.compile(
    r"\[asy\].*?\[/asy\]|\\begin\{(asy|tikzpicture)\}.*?\\end\{\1\}|<(svg|asy)\b.*?</\2>|<img\b[^>]*>|!\[[^\]]*\]\([^)]*\)"
    r"|\\includegraphics(?:\[[^\]]*\])?\{[^}]*\}",
    re.DOTALL | re.IGNORECASE,
)
_DRAWING = re.compile(r"\[asy\].*?\[/asy\]|\\begin\{(asy|tikzpicture)\}.*?\\end\{\1\}", re.DOTALL | re.IGNORECASE)
_HTML = re.compile(r"</?(?:br|p|div|span|sub|em|strong|ul|ol|li)\b[^<>]*>|</sup>", re.IGNORECASE)
_SUP = re.compile(r"<sup\b[^<>]*>", re.IGNORECASE)
_SUPERSCRIPT = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱ]+")
_SUBSCRIPT = re.compile("[₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₙᵢₖ]+")
_ARGUMENT = re.compile(
    r"\\(?:begin|end)\s*\{[^{}]*\}(?:\[[^\]]*\])?(?:\{[lcr|@{}\s]*\})?"
    r"|\\(?:[hv]space\*?|[hv]?phantom|label|hskip|color|textcolor)\s*\{[^{}]*\}|\\\\\[[^\]]*\]"
)
_LAYOUT = re.compile(
    r"\\(?:left|right|middle|[bB]igg?[lrm]?|(?:display|text|script|scriptscript)style|(?:no)?limits|q?quad|newline|par"
    r"|thinspace|,|math(?:rm|bf|it|sf|tt|cal|bb|frak|scr|normal|op|bin|rel|ord)|text(?:rm|bf|it|sf|tt|sc|up|normal)?"
    r"|mbox|hbox|fbox|operatorname|boldsymbol|bm|rm|bf|it|emph|underline|overline|overrightarrow|widehat|widetilde|hat"
    r"|bar|vec|tilde|dot|ddot|prime|colon|[dtc]?frac|over|[lcdv]?dots[cbim]?|hfill|noindent|boxed|item|hline|cr)"
    r"(?![A-Za-z])"
)
_FRACTION = re.compile(r"\\[dtc]?frac\s*(\w)\s*(\w)")  # without braces
_SPACING = re.compile(r"\\[,;:!>\s\[\]()\\]")
_COMMAND = re.compile(r"\\(?:var)?([A-Za-z]+)")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_DEGREE = re.compile(r"\^?\s*(?:\\circ(?![A-Za-z])|\\degree|°|º|\^\s*∘)|\bdegrees?\b", re.IGNORECASE)
_POWER = re.compile(r"(?<=[\w)}])(?:\*\*| \*\* )(?=[\w({\\-])")
_ARROW = re.compile(
    r"\\[Ll]?(?:ong)?(?:left)?right?arrow|\\(?:to|implies|iff|mapsto|leftarrow)(?![A-Za-z])|[-=]+>|[←-⇿]"
)
_TOKEN = re.compile(
    r"\d+|[\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\U00020000-\U0003ffff]"
    r"|[^\W\d_\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\U00020000-\U0003ffff]+"
    r"|[+*^=<>|%!∪∩∈∉⊂⊆∏∫∂∅⊥∥≈≡≅∼∀∃¬∧∨∓±⌊⌋⌈⌉≤≥≠-]"
)

# One character for each symbol; names of LaTeX commands, then other characters.
_NAMES = {
    "≤": "le leq leqslant leqq", "≥": "ge geq geqslant geqq", "≠": "ne neq", "<": "lt", ">": "gt",
    "*": "times cdot ast star", "infinity": "infty", "∪": "cup bigcup", "∩": "cap bigcap", "∈": "in", "∉": "notin",
    "⊂": "subset subsetneq", "⊆": "subseteq", "sqrt": "sqrt", "sum": "sum", "∏": "prod", "∫": "int iint",
    "∂": "partial", "∅": "emptyset nothing", "angle": "angle measuredangle", "triangle": "triangle", "⊥": "perp bot",
    "∥": "parallel", "≈": "approx", "≡": "equiv", "≅": "cong", "∼": "sim", "∀": "forall", "∃": "exists",
    "¬": "neg lnot", "∧": "wedge land", "∨": "vee lor", "±": "pm", "∓": "mp", "⌊": "lfloor", "⌋": "rfloor",
    "⌈": "lceil", "⌉": "rceil", "|": "mid vert lvert rvert divides", "%": "percent", "+": "plus",
    "-": "minus setminus backslash",
}  # fmt: skip
_COMMANDS = {command: symbol for symbol, names in _NAMES.items() for command in names.split()}
_COMMANDS |= {"dbinom": "binom", "tbinom": "binom", "bmod": "mod", "pmod": "mod", "div": " ", "circ": " ", "ell": "l"}
_COMMANDS |= {"Delta": "triangle"}  # of triangles ABC; as a letter it is renamed on both sides
_CHARACTERS = {
    "×": "*", "·": "*", "⋅": "*", "∙": "*", "∗": "*", "•": "*", "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-",
    "‒": "-", "﹣": "-", "－": "-", "∖": "-", "⩽": "≤", "≦": "≤", "⩾": "≥", "≧": "≥", "∣": "|", "‖": "∥",
    "△": " triangle ", "∆": " triangle ", "Δ": " triangle ", "▵": " triangle ", "∠": " angle ", "∡": " angle ",
    "√": " sqrt ", "∞": " infinity ", "∑": " sum ", "⊊": "⊂", "¦": "|", "÷": " ", "∕": " ", "⁄": " ",
}  # fmt: skip
_SAME = str.maketrans(_CHARACTERS)
_WRITTEN = {"<=": "≤", ">=": "≥", "!=": "≠", "=<": "≤"}
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")

_FULL_WIDTH = {0xFF01 + i: 0x21 + i for i in range(94)}


def normal_tokens(text: str, *, figures: bool = False) -> tuple[str, ...]:
    """The normal form of a text; its figures are left out, unless they are asked for or there is nothing else."""
    # An escape may be written in full-width characters, too.
    plain = _INVISIBLE.sub("", html.unescape(text.translate(_FULL_WIDTH)))
    return (() if figures else _tokens(_FIGURE.sub(" ", plain))) or _tokens(plain)


def is_drawn(text: str) -> bool:
    """Whether a text holds the source of a drawing."""
    return _DRAWING.search(text) is not None


def _tokens(spoken: str) -> tuple[str, ...]:
    # The order matters: HTML before characters, arrows and degrees before commands lose their names, layout before
    # what is left of the commands becomes words.
    spoken = _SUP.sub("^", _HTML.sub(" ", spoken))
    spoken = _SUPERSCRIPT.sub(lambda run: "^" + run.group() + " ", spoken)
    spoken = _SUBSCRIPT.sub(lambda run: " " + run.group() + " ", spoken)
    spoken = _plain(_ARROW.sub(" ", _DEGREE.sub(" degree ", spoken)))
    spoken = _FRACTION.sub(r" \1 \2 ", _ARGUMENT.sub(" ", _POWER.sub("^", spoken).replace("**", " ")))
    spoken = _LAYOUT.sub(" ", spoken)
    spoken = _ESCAPED.sub(r"\1", _COMMAND.sub(_command, _SPACING.sub(" ", spoken)))
    found: list[str] = []
    for token in _TOKEN.findall(spoken.casefold()):
        found.extend(token if token.isdigit() else (token,))
    return tuple(found)


def _plain(text: str) -> str:
    """One character for each symbol and letter: compatibility forms and accents away."""
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text.translate(_SAME))
        kept = (c for c in text if c == "\u0338" or unicodedata.category(c) != "Mn")  # it crosses out =, ∈ and the like
        text = "".join(map(_greek, unicodedata.normalize("NFC", "".join(kept)).translate(_SAME)))
    for written, symbol in _WRITTEN.items():  # last: these may have been written in full-width characters
        text = text.replace(written, symbol)
    return text


def _greek(character: str) -> str:
    """The LaTeX name of a Greek letter, and any other character as it is."""
    if not "Ͱ" <= character <= "Ͽ":
        return character
    name = unicodedata.name(character, "").split()
    return f" {name[-1].lower()} " if name[:1] == ["GREEK"] else character


def _command(match: re.Match[str]) -> str:
    name = match[1]
    return f" {_COMMANDS.get(name, name)} "
