r"""One spelling for one answer, before the library sees it.

math-verify 0.9.0 reads an answer wrongly mostly because of how it is written (`\frac 59` as 59, `4t` as 4 with a
unit, `1,3` as 1.3). So an answer is rewritten first: unicode, delimiters, spacing, fonts, fractions, thousands
separators and the plain text that models write (`sqrt(13)`, `<=`, `pi`). Two answers that are equal afterwards, by
`key`, need no computer algebra at all.

Nothing here evaluates anything: every rule is a substitution on a text of at most a few thousand characters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sgpo.rewards import latex, layout

_SIZES = re.compile(r"\\(?:left|right|[mM]iddle|[bB]ig{1,2}[lrm]?)(?![A-Za-z])\.?")
_GROUPING = re.compile(r"(?<=\d)(?:,\s*|\{,\}\s*)?(?:\\[,;:! ]|~|\{\\[,;:! ]\}|\\hspace\{[^{}]*\})\s*(?=\d{3}(?!\d))")
_MARKED = re.compile(  # 1'234'567, 1.234.567 and 1_234_567; a single dot is a decimal point
    r"(?<![\w.,'])[1-9]\d{0,2}(?:(?:'\d{3})+|(?:\.\d{3}){2,}|(?:_\d{3}){2,})(?![\d']|[.,_]\d)"
)
_DECIMAL_COMMA = re.compile(
    r"(?<![\d,}(\[{])(\d+)\{\s*,\s*\}(?=(?:\d{1,2}|\d{4,}|(?<=(?<!\d)0\{,\})\d{3})(?![\d{]))"
)  # 12{,}5
_REASON = re.compile(
    r"(?<=\S)[\s,]*\(?\s*\\text\{[\s,(]*(?:since|because)\b(?!.*\b(?:or|if|may|maybe|might|unless|otherwise|not)\b).*$",
    re.S,
)
_BRACED_COMMA = re.compile(r"(?:(?<!\\text)\{\s*,\s*\}|(?<=\d)\\text\{,\}(?=\d{3}(?!\d)))\s*")
_BRACED = re.compile(r"(?<![A-Za-z^_])\{\s*([-:])\s*\}")
_TEXT_JOINT = re.compile(
    r"\\text\{([^{}]*[a-z])(?:\s*(,)\s*|,?\s+(and|or)\s+)\}(?=\s*[-\d\\])"
)  # 6\text{ red and }4\text{ blue}
_KIND = re.compile(  # \text{Point }(1, 2)
    r"^\\text\{\s*(?:the\s+)?(?:points?|vertex|cent(?:er|re)|focus|foci|(?:ordered )?(?:pairs?|triples?)|intervals?|"
    r"set|line|circle|ellipse|parabola|hyperbola|curve|plane|equation)(?:\s+[A-Z])?\s*\}\s*(?=\S)",
    re.IGNORECASE,
)
_CURVE = re.compile(r"^(?:l|\\ell|\\Gamma|\\gamma|[A-Z])\s*:\s*(?=[^:]*[xy][^:]*=|[^:]*=[^:]*[xy])")  # l: y = 2x + 3
_RESTATED = re.compile(  # 3/4 (= 0.75), 3/4 (or 75%), 3/4 \text{ (or 0.75)}
    r"(?<=\S)\s*(?:\(\s*(?:(=|\\approx(?![a-z]))|(?:\\text\{\s*)?(?:or|i\.e\.,?|that is,?)\s*\}?)"
    r"\s*([^()]+(?:\([^()]*\)[^()]*)*)\)|\\text\{\s*\((?:or|i\.e\.,?|that is,?)\s+([^(){}]+)\)\s*\})$"
)
_SPACES = re.compile(
    r"\\(?:[,;:> ]|q?quad(?![A-Za-z])|displaystyle|textstyle|scriptstyle|limits|nolimits|hfill|thinspace|,|"
    r"enspace|medspace|thickspace|"
    r"(?:tiny|scriptsize|footnotesize|small|normalsize|[lL]arge|LARGE|[hH]uge)(?![A-Za-z]))|"
    r"~|\\text\s*\{\s*\}|\\[hv]space\*?\{[^{}]*\}|&nbsp;|\\hskip ?-?[\d.]+ ?(?:em|ex|pt|cm|mm|in|mu)"
)
_TEXT_FONTS = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|sc|up|normal|md)?|mbox|hbox|mathrm|textnormal|operatorname\*?)\s*(?=\{)"
)
_OLD_FONT = re.compile(r"\{\s*\\(?:rm|bf|it|sf|tt|cal)(?![A-Za-z])\s*([^{}]*)\}")
_UNWRAPPED = (
    "mathbf|mathit|mathsf|mathtt|mathcal|boldsymbol|bm|pmb|underline|boxed|fbox|ensuremath|textcolor|emph|mathop|"
    "mathord|ce"
)
_STRUCK = "cancel|bcancel|xcancel|sout|st"  # what a response takes back
_BARE_FONT = re.compile(r"\\(?:rm|bf|it|sf|tt)(?![A-Za-z])\s*(?:\{([^{}]*)\}|([A-Za-z]{2,}(?: [A-Za-z]+)*))?")
_TEXT_IN_TEXT = re.compile(r"\\text\s*\{\s*(?:\\text\s*\{([^{}]*)\}|[`'\"]+([^{}`'\"]*)[`'\"]+)\s*\}")
_WHOLE_TEXT = re.compile(  # \text{x = 2 or x = 3}: mathematics where no word stands in it
    r"\\text\{(?!\W*[A-J]\W*(?:[.:)]|$))(?=[^{}]*(?:\d|[=<>\\]))(?!\s*(?:[A-Za-z]\d+|\d+[A-Za-z])\s*\})"
    r"((?:[^{}A-Za-z\\]|\\[A-Za-z]+|\\[^A-Za-z]|\b(?:and|or)\b|(?<![A-Za-z])[A-Za-z](?![A-Za-z]))*)\}"
)
_COLOR = re.compile(r"\\(?:text)?color\s*(?:\[[^\]]*\])?\s*\{[^{}]*\}")
_SINGLE = re.compile(r"\\text\{\s*([eidπ])\s*\}")
_FUNCTIONS = r"arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|log|ln|exp|gcd|lcm|max|min|det|sgn"
_TEXT_POWER = re.compile(r"(\\text\{[^{}]*\^ ?)\{ ?(-?\d) ?\}")  # \text{m s^{-2}}
_TEXT_FUNCTION = re.compile(rf"\\text\{{\s*({_FUNCTIONS})\s*\}}(?=\s*[({{\\A-Za-z\d^_])")  # not 45 min, 5 sec
_PLAIN_FUNCTION = re.compile(rf"(?<![A-Za-z\\{{])({_FUNCTIONS})(?=\s*[\(\d\\^_]|\s+[a-z](?![A-Za-z]))")
# One name for each command.
_COMMANDS = {
    name: command
    for command, names in {
        r"\cdot ": "times ast cdotp cdot centerdot", "/": "div", "<": "lt", ">": "gt", r"\le ": "leq leqq leqslant",
        r"\ge ": "geq geqq geqslant", r"\ne ": "neq", r"\pm ": "pm", r"\infty ": "infin", r"\{": "lbrace",
        r"\frac": "dfrac tfrac cfrac sfrac nicefrac", r"\binom": "dbinom tbinom", r"\}": "rbrace", "[": "lbrack",
        "...": "dots ldots cdots dotsc", "]": "rbrack", "(": "langle lparen", ")": "rangle rparen", ":": "colon",
        "|": "vert lvert rvert mid", " and ": "land wedge", " or ": "lor vee", r"\cup ": "bigcup", r"\log": "lg",
        r"\emptyset ": "varnothing emptyset O", r"\setminus ": "smallsetminus backslash setminus", r"\tan ": "tg",
        r"\cot ": "ctg cotg", r"\arctan ": "arctg", " i ": "imath", " j ": "jmath", r"\phi": "varphi",
        r"\epsilon": "varepsilon", r"\theta": "vartheta", r"\rho": "varrho", r"\sigma": "varsigma",
        r"\kappa": "varkappa", r"\pi": "varpi uppi", "-": "minus", r"\$": "textdollar mathdollar", r"\sqrt": "surd",
    }.items()
    for name in names.split()
}  # fmt: skip
_COMMAND = re.compile(r"\\(?:text\{ ?(arctg|c?tg) ?\}|([A-Za-z]+))|&([lg]t);")


def _mapped(match: re.Match[str]) -> str:
    """`f: x \\mapsto 2x` as `f(x) = 2x`, and without a name as its value."""
    return f"{match[1]}({match[2]}) = " if match[1] else ""


_VECTOR = re.compile(r"\\(?:vec|overrightarrow) ?(?:\{ ?([A-Za-z0]) ?\}|([A-Za-z0])(?![A-Za-z]))")
_PLAIN_WORDS = (
    (re.compile(r"(?<![A-Za-z\\])sqrt(?=\s*[\(\[{\d])"), r"\\sqrt"),
    (re.compile(r"(?<![A-Za-z\\])cbrt(?=\s*[\({\d])"), r"\\sqrt[3]"),
    (re.compile(r"(?<![A-Za-z\\])(pi|theta|alpha|beta|lambda|omega|phi)(?![A-Za-z])"), r"\\\1 "),
    (re.compile(r"(?<![A-Za-z\\])(?:infinity|inf|oo)(?![A-Za-z])", re.IGNORECASE), r"\\infty "),
    (re.compile(r"(?<![A-Za-z\\])union(?![A-Za-z])"), r"\\cup "),
    (re.compile(r"<=|=<"), r"\\le "),
    (re.compile(r">=|=>"), r"\\ge "),
    (re.compile(r"(?<![\d)])!=|\\not\s*="), r"\\ne "),  # 5!=120 is a factorial
    (re.compile(r"(?:([A-Za-z]) ?: ?)?(?<![A-Za-z])([a-z]) ?\\mapsto(?![A-Za-z])"), _mapped),
    (re.compile(r"\+/?-(?=\s*[\d\\A-Za-z(])"), r"\\pm "),
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"\*"), r"\\cdot "),
    (re.compile(r"\\(?:(?:wide)?hat|vec|overrightarrow) ?\{? ?([ijk])(?![A-Za-z]) ?\}?"), r" \1 "),
    (
        re.compile(r"(?<=[\d}]) ?(?:\\text\{ ?([kMm]?) ?\} ?)?\\Omega(?![A-Za-z])|\\text\{ ?([kMm]?) ?\\Omega ?\}"),
        r"\\text{ \1\2Ω}",
    ),
    (re.compile(r"\\(max|min|gcd|lcm|inf|sup) ?\\\{([^{}\\]*)\\\}"), r"\\\1(\2)"),
    (re.compile(r"(?<=\d) ?(?:[xX]|\\text\{ ?[xX] ?\}) ?(?=10 ?\^)"), r"\\cdot "),
    (re.compile(r"\\(?:mathbb|Bbb|mathbf)\s*\{?\s*R\s*\}?|\\R(?![A-Za-z])|\\Reals(?![A-Za-z])"), r"\\mathbb{R}"),
    (re.compile(r"\\mathbb ?\{ ?R ?\} ?(?:-|/|\\backslash) ?(?=\\\{)"), r"\\mathbb{R} \\setminus "),
    (re.compile(r"\\in ?([NZRQC])(?![A-Za-z(])"), r"\\in \\mathbb{\1}"),
    (re.compile(r"\\mu ?\\text\{ ?(?=[A-Za-z])"), r"\\text{\\mu "),
    (re.compile(r"\\log ?_ ?\{? ?e ?\}?(?![A-Za-z])"), r"\\ln "),
    (re.compile(r"\\mathbb ([A-Z])(?![A-Za-z])"), r"\\mathbb{\1}"),
    (re.compile(r"\^\s*\{?\s*\\(?:circ|degree)\s*\}?|\\(?:text)?degree(?![A-Za-z])"
                r"|\^\s*\\text\{o\}|(?<=\d)\s*\^\s*(?:o(?![A-Za-z])|\{\s*o\s*\})"), r"\\degree "),
    (re.compile(r"\^\s*\{\s*\\prime\s*\\prime\s*\}|\\dprime(?![A-Za-z])"), "''"),
    (re.compile(r"\^\s*\{\s*\\prime\s*\}|\^\s*\\prime(?![A-Za-z])"), "'"),
    (
        re.compile(r"\(\s*(?:\\text\{\s*mod\s*\}|mod|\\bmod|\\mod)\s*([^()]+)\)|\\mod(?![A-Za-z])\s*(\w+)"),
        r"\\pmod{\1\2}",
    ),
    (re.compile(r"(?<![A-Za-z\d.])(\d+(?:\.\d+)?)[eE]([+-]?\d+)(?![A-Za-z\d])"), r"\1\\cdot 10^{\2}"),
    (
        re.compile(r"\\?(?:text\{ ?)?\bcis\b ?\}?\s*(\\frac\{[^{}]*\}\{[^{}]*\}|\([^()]*\)|[\d.]+ ?\\degree|\\[a-z]+)"),
        r"e^{i \\cdot (\1)}",
    ),
)  # fmt: skip
_PREAMBLE = re.compile(
    r"^\\text\{(?!\s*(?:option|choice)?\W*[A-J]\W*\})[^{}]*"
    r"(?:[:=]|\b(?:is|are|equals|approximately|about|exactly|only|total of|number|has|have))"
    r"\s*\}\s*(?=[^\s.])|^(?:(?:final )?answer|the (?:final )?answer is)\s*:?\s+(?=\S)"
    r"|^(?:exactly|only|a total of|the number|(?:so|thus|hence|therefore),?)\s+(?=[-\d\\]|[A-Za-z] ?=)",
    re.IGNORECASE,
)
_ESCAPED_TWICE = re.compile(
    r"\\\\(?=(?:[dt]?frac|sqrt|text|pi|cdot|times|left|right|infty|cup|in|leq?|geq?|neq?|pm|circ|mathbb|mathrm|"
    r"theta|alpha|beta|sin|cos|tan|log|ln|quad|binom|angle|sum)(?![a-z]))"
)
_ROW_END = re.compile(r"\\\\\*?\[ ?-?[\d.]+ ?(?:em|ex|pt|cm|mm|in|mu|\\baselineskip) ?\]")  # x=1 \\[2mm] y=2
_STARRED = re.compile(r"\\(begin|end)\s*\{\s*([a-z]+)\*?\s*\}")
_DISPLAY = re.compile(r"\\(begin|end)\{(align|gather)\}")
_EQUATION = re.compile(r"\\(?:begin|end)\{(?:equation|displaymath|math|multline|flalign)\}")
_FACTORIAL = re.compile(r"(\d+|[a-z]|\([^()]*\))!(?= ?\^)")  # n!^2
_OF_LETTER = re.compile(
    r"(\\(?:sin|cos|tan|cot|sec|csc|ln)) ?([a-z]|\\(?:theta|alpha|beta|phi)) ?(?=\((?![a-z]\)))"
)  # \cos x (1 - y)
_OVER = re.compile(r"\{([^{}]*)\\over(?![A-Za-z])([^{}]*)\}")
_COUNTED = re.compile(  # {n \choose k}, C_5^2, C^2_5, _5C_2, and C(5,2) beside a sign, since alone it may be a point
    r"\{([^{}]*)\\choose(?![A-Za-z])([^{}]*)\}|(?<![A-Za-z\\\d])(?:(?:\{ ?\} ?)?_ ?\{?(\d+)\}? ?C ?_ ?\{?(\d+)\}?"
    r"|C ?_ ?\{?(\d+)\}? ?\^ ?\{?(\d+)\}?|C ?\^ ?\{?(?P<k>\d+)\}? ?_ ?\{?(?P<n>\d+)\}?"
    r"|(?:\{ ?\} ?)?\^ ?\{?(\d+)\}? ?C ?_ ?\{?(\d+)\}?"
    r"|C ?\( ?(\d+) ?, ?(\d+) ?\)(?= ?(?:[=+/]|\\cdot))|(?<=[=+] )C ?\( ?(\d+) ?, ?(\d+) ?\))"
)
_POWER = re.compile(r"\^\s*(\((?=[^()]*\))[^()]*\)|-\s*\d+|\d+\.\d+|\d{2,}|\\frac\{[^{}]*\}\{[^{}]*\})")
_SLASH = re.compile(r"(?<![\d./^_!A-Za-z{}\)])(\d+)\s*/\s*(\d+)(?!\s*[\d.^!/])")
_DOTS = re.compile(r"(?<=[.\d])\\dot\s*\{?(\d)\}?(\d*)\\dot\s*\{?(\d)\}?")  # dots over both ends of the period
_REPEATING = re.compile(r"(?<![\d.])(\d{0,30})\.(\d{0,30})(?:\\(?:overline|bar|dot)\s*\{?(\d+)\}?|\((\d+)\))")
_DOTTED = re.compile(r"(?<![\d.])(\d{0,30})\.(\d{0,15}?)(\d{1,3}?)\3{2,}\s*\.\.\.")
_RUN = re.compile(r"(?<![\d.])\d+(?:,\d+)+(?![\d])")
_GROUPED = re.compile(r"[1-9]\d{0,2}(?:,\d{3})+")
_DELIMITER = re.compile(r"\\[()\[\]]|(?<!\\)\$")
_PROVED = re.compile(r"(?<=\S)(?:\\text\{)?\s*\\(?:blacksquare|square|Box|checkmark|qed(?:symbol)?)(?![A-Za-z])\s*\}?$")
_LEADING = re.compile(r"^(?:[\s:=]|\\(?:approx|sim)(?![A-Za-z]))+")
_SENTENCE = re.compile(  # \text{There are 42 ways.}
    r"^\\text\{([A-Za-z ]*\b(?:is|are|has|have|was|were|equals)) (-?\\?\$?\d[\d.,/]*?)( [a-z ]*)?\.?\}$"
)


@dataclass(frozen=True)
class Normal:
    """A normalised answer: `text` with commas of thousands joined; `listed` reads an ambiguous `100,200` as a list."""

    text: str
    listed: str | None = None

    @property
    def key(self) -> str:
        """The text without the spaces that mean nothing; equal keys are equal answers."""
        return key(self.text)


class TooComplexError(ValueError):
    """The answer nests deeper, or holds more, than anything a person would write as an answer."""


def key(text: str) -> str:
    """`text` without the spaces that do not separate two letters or digits, and without braces in `x^{2}`."""
    return re.sub(r"(?<![A-Za-z0-9]) +| +(?![A-Za-z0-9])|(?<=[\^_])\{(\w)\}(?! ?\d)", r"\1", text)


def _dollars(text: str) -> str:
    r"""Drop math delimiters; `\$5` and a lone `$5` keep a currency sign, written `\$`."""
    text = re.sub(r"(?:\\\$)+|\\text\s*\{\s*(?:US)?\\\$\s*\}", r"\\$", text)
    plain = len(re.findall(r"(?<!\\)\$", text))
    if plain == 1:
        text = re.sub(r"(?<!\\)\$(?=\s*\d)", r"\\$", text, count=1)
    return _DELIMITER.sub(" ", text)


def _separate(run: re.Match[str], text: str, *, listed: bool) -> str:
    """`1,000` is a thousand unless it is all that a bracket holds, or is not in groups of three."""
    number = run.group()
    start, end = run.span()
    before, after = text[:start].rstrip()[-1:], text[end:].lstrip()[:1]
    whole_bracket = before in ("(", "[", "{") and (after in (")", "]") or text[end:].lstrip()[:2] == "\\}")
    listed = listed and ",0" not in number  # no list goes on with 000
    if listed or whole_bracket or not _GROUPED.fullmatch(number):
        return number.replace(",", ", ")
    return number.replace(",", "")


def _exact_repeating(match: re.Match[str]) -> str:
    """0.1\\overline{6} and 0.1(6) as a fraction."""
    whole, fixed = match.group(1) or "0", match.group(2)
    period = match.group(3) or match.group(4)
    scale = 10 ** len(fixed)
    nines = 10 ** len(period) - 1
    top = int(whole + fixed) * nines + int(period)
    return rf"\frac{{{top}}}{{{scale * nines}}}"


def _repeating(text: str) -> str:
    if "." not in text:
        return text
    text = _REPEATING.sub(_exact_repeating, _DOTS.sub(r"\\overline{\1\2\3}", text))
    return _DOTTED.sub(lambda m: _exact_repeating(_REPEATING.match(f"{m[1]}.{m[2]}({m[3]})") or m), text)


def _binomial(match: re.Match[str]) -> str:
    pair = [group for group in match.groups() if group is not None]
    top, bottom = reversed(pair) if match.group("k") else pair
    return rf"\binom{{{top}}}{{{bottom}}}"


def _power(match: re.Match[str]) -> str:
    inner = match.group(1)
    return "^{" + (inner[1:-1] if inner.startswith("(") else inner) + "}"


def _old_font(match: re.Match[str]) -> str:
    said = match.group(1) or match.group(2) or ""
    return rf"\text{{{said}}}" if len(said.strip()) > 1 else said


def _fonts(text: str) -> str:
    r"""Text fonts become `\text`, mathematical fonts and colours go, function names get their backslash."""
    text = _COLOR.sub("", text)
    text = _VECTOR.sub(r" \1\2 ", text)
    text = _BARE_FONT.sub(_old_font, _OLD_FONT.sub(r"\\text{\1}", text))
    text = _TEXT_FONTS.sub(r"\\text", text)
    text = latex.unwrap(text, _UNWRAPPED)
    text = latex.unwrap(text, rf"[hv]?phantom|label|tag|{_STRUCK}", keep=False)
    text = latex.unwrap(text, "set", around=(r"\{", r"\}"))
    text = latex.unwrap(text, "ang", around=("", r"\degree "))
    text = latex.unwrap(text, "pmatrix", around=(r"\begin{pmatrix}", r"\end{pmatrix}"))
    text = _TEXT_JOINT.sub(lambda m: rf"\text{{{m[1]}}}" + (f" \\text{{ {m[3]} }} " if m[3] else ", "), text)
    text = _TEXT_IN_TEXT.sub(r"\\text{\1\2}", text)
    whole = _WHOLE_TEXT.fullmatch(text.strip())
    text = whole.group(1) if whole else text
    text = _SINGLE.sub(r" \1 ", text)
    return _TEXT_FUNCTION.sub(r"\\\1 ", text)


def _numbers(text: str, *, listed: bool) -> str:
    text = _BRACED.sub(r"\1", _BRACED_COMMA.sub(",", _DECIMAL_COMMA.sub(r"\1.", text)))
    return _RUN.sub(lambda run: _separate(run, run.string, listed=listed), text)


def _without_end(text: str) -> str:
    """Without a full stop, comma, row end or mark of a finished proof behind the answer; three dots stay."""
    while True:
        text = text.rstrip()
        if text.endswith("..."):
            return text
        shorter = text.removesuffix(r"\cr").rstrip(" .,;:")
        if "\\" in shorter[-16:]:
            shorter = _PROVED.sub("", shorter).rstrip(" .,;:")
        if shorter == text:
            return text
        text = shorter


def _rewrite(text: str, *, listed: bool) -> str:
    text = _DISPLAY.sub(r"\\\1{\2ed}", _STARRED.sub(r"\\\1{\2}", latex.from_unicode(text)))
    text = _ROW_END.sub(r"\\newline ", text)
    text = text.replace("\\%", "%").replace("\\_", "_").replace("\\#", "#").replace("\\&", "&")
    if r"\begin" not in text:
        text = re.sub(r"\\\\(?=[()\[\]])", r"\\", _ESCAPED_TWICE.sub(r"\\", text))
    text = re.sub(r"\\\\(?:\[[^\]]*\])?|\\(?:cr|newline)(?![A-Za-z])", r"\\cr ", text)
    text = re.sub(r"^([\"'])([^\"']*)\1$", r"\2", _EQUATION.sub(" ", text).strip())
    text = _dollars(text.strip("`").replace("**", "" if text.strip().startswith("**") else "**"))
    text = _MARKED.sub(lambda match: re.sub(r"\D", "", match.group()), _SIZES.sub("", text))
    text = _GROUPING.sub("", text).replace("\\!", "")
    text = _SPACES.sub(" ", layout.listed(text))
    text = _fonts(text)
    text = _numbers(text, listed=listed)
    text = _COMMAND.sub(lambda match: _COMMANDS.get(match[1] or match[2] or match[3], match[0]), text)
    for pattern, replacement in _PLAIN_WORDS:
        text = pattern.sub(replacement, text)
    text = _PLAIN_FUNCTION.sub(r"\\\1", text)
    text = _OF_LETTER.sub(r"\1(\2) \\cdot ", _FACTORIAL.sub(r"{(\1!)}", text))
    text = _COUNTED.sub(_binomial, _OVER.sub(r"\\frac{\1}{\2}", text))
    text = latex.brace_arguments(text)
    text = _POWER.sub(_power, text)
    text = _repeating(text)
    text = _SLASH.sub(r"\\frac{\1}{\2}", text)
    text = re.sub(r"\s+", " ", text)
    text = re.sub(r"\\text\{ ?\( ?(or|i\.e\.,?|that is,?) ?\}", r"(\\text{\1}", text)
    text = _REASON.sub("", text) if "since" in text or "because" in text else text
    text = _RESTATED.sub(lambda m: f" {m[1] or 'or'} {m[2] or m[3]}", _without_end(text))
    text = _SENTENCE.sub(r"\\text{\1 } \2 \\text{\3 }", text.strip())
    text = _CURVE.sub("", _KIND.sub("", _LEADING.sub("", _PREAMBLE.sub("", text))))
    text = re.sub(r"(?<=[)\]])\s*U\s*(?=[(\[])", r" \\cup ", text)
    text = re.sub(r"\\\{\s*\\\}", r"\\emptyset ", text)
    text = text if r"\pmod" in text else text.replace(r"\equiv", "=")
    text = re.sub(r"\\text\{\s*(\\[a-z]+)\s*\}", r"\1", text)  # \text{infinity}
    while r"\text" in text and _TEXT_POWER.search(text):
        text = _TEXT_POWER.sub(r"\1\2", text)
    return _without_end(text)


def normalize(answer: str) -> Normal:
    """Rewrite an answer.

    Args:
        answer: an extracted answer or a gold, at most `extract.MAX_ANSWER_CHARS` characters.

    Returns:
        Its normal form; the text is empty where nothing but delimiters and punctuation was there.

    Raises:
        TooComplexError: brackets nest deeper than `latex.MAX_DEPTH`, or hundreds of fractions are stacked.
    """
    if latex.depth(answer) > latex.MAX_DEPTH or len(re.findall(r"frac|sqrt|binom|√", answer)) > 100:
        raise TooComplexError("nested too deeply")
    text = _rewrite(answer, listed=False)
    listed = _rewrite(answer, listed=True) if "," in answer and _GROUPED.search(answer) else None
    return Normal(text, listed if listed != text else None)
