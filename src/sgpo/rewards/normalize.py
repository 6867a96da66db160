r"""One spelling for one answer, before the library sees it.

math-verify 0.9.0 reads an answer wrongly mostly because of how it is written (`\frac 59` as 59, `4t` as 4 with a
unit, `1,3` as 1.3). So an answer is rewritten first: unicode, delimiters, spacing, fonts, fractions, thousands
separators and the plain text that models write (`sqrt(13)`, `<=`, `pi`). Two answers that are equal afterwards, by
`key`, need no computer algebra at all.

Nothing here evaluates anything: every rule is a substitution on a text of at most a few thousand characters. The rules
stand in the order in which they are applied, `_SPELLING` before numbers are read and `_MEANING` behind.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial

from sgpo.rewards import latex, layout


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


_FUNCTIONS = r"arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|log|ln|exp|gcd|lcm|max|min|det|sgn"
# One name for each command.
_COMMANDS = {
    name: command
    for command, names in {
        r"\cdot ": "times ast cdotp cdot centerdot", "<": "lt", ">": "gt", r"\le ": "leq leqq leqslant <= =<",
        r"\ge ": "geq geqq geqslant >= =>", r"\ne ": "neq", r"\pm ": "pm", r"\infty ": "infin", r"\{": "lbrace",
        r"\frac": "dfrac tfrac cfrac sfrac nicefrac", r"\binom": "dbinom tbinom", r"\}": "rbrace", "[": "lbrack",
        "...": "dots ldots cdots dotsc", "]": "rbrack", "(": "langle lparen", ")": "rangle rparen", ":": "colon",
        "|": "vert lvert rvert mid", " and ": "land wedge", " or ": "lor vee", r"\cup ": "bigcup", r"\log": "lg",
        r"\emptyset ": "varnothing emptyset O", r"\setminus ": "smallsetminus backslash setminus", r"\tan ": "tg",
        r"\cot ": "ctg cotg", r"\arctan ": "arctg", " i ": "imath", " j ": "jmath", "/": "div", r"\phi": "varphi",
        r"\epsilon": "varepsilon", r"\theta": "vartheta", r"\rho": "varrho", r"\sigma": "varsigma",
        r"\kappa": "varkappa", r"\pi": "varpi uppi", "-": "minus", r"\$": "textdollar mathdollar", r"\sqrt": "surd",
    }.items()
    for name in names.split()
}  # fmt: skip

_ESCAPED_TWICE = re.compile(
    r"\\\\(?=(?:[dt]?frac|sqrt|text|pi|cdot|times|left|right|infty|cup|in|leq?|geq?|neq?|pm|circ|mathbb|mathrm|"
    r"theta|alpha|beta|sin|cos|tan|log|ln|quad|binom|angle|sum)(?![a-z])|[()\[\]])"
)
_DOTS = re.compile(r"(?<=[.\d])\\dot\s*\{?(\d)\}?(\d*)\\dot\s*\{?(\d)\}?")  # dots over both ends of the period
_MOD = r"(?<![A-Za-z\\])(?:\\text\{ ?mod(?:ulo)? ?\}|\\?b?mod(?:ulo)?(?![A-Za-z]))"
_REPEATING = re.compile(r"(?<![\d.])(\d{0,30})\.(\d{0,30})(?:\\(?:overline|bar|dot)\s*\{?(\d+)\}?|\((\d+)\))")
_DOTTED = re.compile(r"(?<![\d.])(\d{0,30})\.(\d{0,15}?)(\d{1,3}?)\3{2,}\s*\.\.\.")
_RUN = re.compile(r"(?<![\d.])\d+(?:,\d+)+(?![\d])")
_GROUPED = re.compile(r"[1-9]\d{0,2}(?:,\d{3})+")
_PROVED = re.compile(r"(?<=\S)(?:\\text\{)?\s*\\(?:blacksquare|square|Box|checkmark|qed(?:symbol)?)(?![A-Za-z])\s*\}?$")


def _dollars(text: str) -> str:
    r"""Drop emphasis and math delimiters; `\$5` and a lone `$5` keep a currency sign, written `\$`."""
    text = re.sub(r"^([\"'])([^\"']*)\1$", r"\2", text.strip()).strip("`")
    text = text.replace("**", "") if text.strip().startswith("**") else text
    text = re.sub(r"(?:\\\$)+|\\text\s*\{\s*(?:US)?\\\$\s*\}", r"\\$", text)
    if len(re.findall(r"(?<!\\)\$", text)) == 1:
        text = re.sub(r"(?<!\\)\$(?=\s*\d)", r"\\$", text, count=1)
    return re.sub(r"\\[()\[\]]|(?<!\\)\$", " ", text)


def _unwrapped(text: str) -> str:
    r"""Without commands that only shape what they hold, or that take it back."""
    fonts = (
        "mathbf|mathit|mathsf|mathtt|mathcal|boldsymbol|bm|pmb|underline|boxed|fbox|ensuremath|textcolor|emph|mathop"
        "|mathord|ce"
    )
    text = latex.unwrap(text, fonts)
    text = latex.unwrap(text, "[hv]?phantom|label|tag|cancel|bcancel|xcancel|sout|st", keep=False)
    text = latex.unwrap(text, "set", around=(r"\{", r"\}"))
    text = latex.unwrap(text, "ang", around=("", r"\degree "))
    return latex.unwrap(text, "pmatrix", around=(r"\begin{pmatrix}", r"\end{pmatrix}"))


def _separate(run: re.Match[str], *, listed: bool) -> str:
    """`1,000` is a thousand unless it is all that a bracket holds, or is not in groups of three."""
    number, before, after = run.group(), run.string[: run.start()].rstrip(), run.string[run.end() :].lstrip()
    whole_bracket = before.endswith(("(", "[", "{")) and after.startswith((")", "]", "\\}"))
    listed = listed and ",0" not in number  # no list goes on with 000
    return number.replace(",", ", " if listed or whole_bracket or not _GROUPED.fullmatch(number) else "")


def _exact_repeating(match: re.Match[str]) -> str:
    """0.1\\overline{6} and 0.1(6) as a fraction."""
    fixed, period = match[2], match[3] or match[4]
    nines = 10 ** len(period) - 1
    return rf"\frac{{{int((match[1] or '0') + fixed) * nines + int(period)}}}{{{10 ** len(fixed) * nines}}}"


def _repeating(text: str) -> str:
    if "." not in text:
        return text
    text = _REPEATING.sub(_exact_repeating, _DOTS.sub(r"\\overline{\1\2\3}", text))
    return _DOTTED.sub(lambda m: _exact_repeating(_REPEATING.match(f"{m[1]}.{m[2]}({m[3]})") or m), text)


def _binomial(match: re.Match[str]) -> str:
    pair = [group for group in match.groups() if group is not None]
    top, bottom = reversed(pair) if match.group("k") else pair
    return rf"\binom{{{top}}}{{{bottom}}}"


def _old_font(match: re.Match[str]) -> str:
    said = match.group(1) or match.group(2) or ""
    return rf"\text{{{said}}}" if len(said.strip()) > 1 else said


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


_SPELLING = latex.rules(
    latex.from_unicode,
    (r"\\(begin|end)\s*\{\s*([a-z]+)\*?\s*\}", r"\\\1{\2}"),
    (r"\\(begin|end)\{(align|gather)\}", r"\\\1{\2ed}"),
    (r"\\\\\*?\[ ?-?[\d.]+ ?(?:em|ex|pt|cm|mm|in|mu|\\baselineskip) ?\]", r"\\newline "),  # x=1 \\[2mm] y=2
    (r"\\([%_#&])", r"\1"),
    lambda text: text if r"\begin" in text else _ESCAPED_TWICE.sub(r"\\", text),  # \\frac, where no row can end
    (r"\\\\(?:\[[^\]]*\])?|\\(?:cr|newline)(?![A-Za-z])", r"\\cr "),
    (r"\\(?:begin|end)\{(?:equation|displaymath|math|multline|flalign)\}", " "),
    _dollars,
    (r"\\(?:left|right|[mM]iddle|[bB]ig{1,2}[lrm]?)(?![A-Za-z])\.?", ""),
    # 1'234'567, 1.234.567 and 1_234_567; a single dot is a decimal point
    (r"(?<![\w.,'])[1-9]\d{0,2}(?:(?:'\d{3})+|(?:\.\d{3}){2,}|(?:_\d{3}){2,})(?![\d']|[.,_]\d)",
     lambda match: re.sub(r"\D", "", match.group())),
    (r"(?<=\d)(?:,\s*|\{,\}\s*)?(?:\\[,;:! ]|~|\{\\[,;:! ]\}|\\hspace\{[^{}]*\})\s*(?=\d{3}(?!\d))", ""),
    (r"\\!", ""),
    layout.listed,
    (r"\\(?:[,;:> ]|q?quad(?![A-Za-z])|displaystyle|textstyle|scriptstyle|limits|nolimits|hfill|thinspace|,|"
     r"enspace|medspace|thickspace|"
     r"(?:tiny|scriptsize|footnotesize|small|normalsize|[lL]arge|LARGE|[hH]uge)(?![A-Za-z]))|"
     r"~|\\text\s*\{\s*\}|\\[hv]space\*?\{[^{}]*\}|&nbsp;|\\hskip ?-?[\d.]+ ?(?:em|ex|pt|cm|mm|in|mu)", " "),
    # Fonts: those of text become \text, those of mathematics and colours go.
    (r"\\(?:text)?color\s*(?:\[[^\]]*\])?\s*\{[^{}]*\}", ""),
    (r"\\(?:vec|overrightarrow) ?(?:\{ ?([A-Za-z0]) ?\}|([A-Za-z0])(?![A-Za-z]))", r" \1\2 "),
    (r"\{\s*\\(?:rm|bf|it|sf|tt|cal)(?![A-Za-z])\s*([^{}]*)\}", r"\\text{\1}"),
    (r"\\(?:rm|bf|it|sf|tt)(?![A-Za-z])\s*(?:\{([^{}]*)\}|([A-Za-z]{2,}(?: [A-Za-z]+)*))?", _old_font),
    (r"\\(?:text(?:bf|it|rm|sf|tt|sc|up|normal|md)?|mbox|hbox|mathrm|textnormal|operatorname\*?)\s*(?=\{)", r"\\text"),
    _unwrapped,
    # 6\text{ red and }4\text{ blue}
    (r"\\text\{([^{}]*[a-z])(?:\s*(,)\s*|,?\s+(and|or)\s+)\}(?=\s*[-\d\\])",
     lambda m: rf"\text{{{m[1]}}}" + (f" \\text{{ {m[3]} }} " if m[3] else ", ")),
    (r"\\text\s*\{\s*(?:\\text\s*\{([^{}]*)\}|[`'\"]+([^{}`'\"]*)[`'\"]+)\s*\}", r"\\text{\1\2}"),
    # \text{x = 2 or x = 3} is mathematics, where no word stands in it
    (r"^\s*\\text\{(?!\W*[A-J]\W*(?:[.:)]|$))(?=[^{}]*(?:\d|[=<>\\]))(?!\s*(?:[A-Za-z]\d+|\d+[A-Za-z])\s*\})"
     r"((?:[^{}A-Za-z\\]|\\[A-Za-z]+|\\[^A-Za-z]|\b(?:and|or)\b|(?<![A-Za-z])[A-Za-z](?![A-Za-z]))*)\}\s*$", r"\1"),
    (r"\\text\{\s*([eidπ])\s*\}", r" \1 "),
    (rf"\\text\{{\s*({_FUNCTIONS})\s*\}}(?=\s*[({{\\A-Za-z\d^_])", r"\\\1 "),  # not 45 min, 5 sec
    (r"(?<![\d,}(\[{])(\d+)\{\s*,\s*\}(?=(?:\d{1,2}|\d{4,}|(?<=(?<!\d)0\{,\})\d{3})(?![\d{]))", r"\1."),  # 12{,}5
    (r"(?:(?<!\\text)\{\s*,\s*\}|(?<=\d)\\text\{,\}(?=\d{3}(?!\d)))\s*", ","),
    (r"(?<![A-Za-z^_])\{\s*([-:])\s*\}", r"\1"),
)  # fmt: skip
_MEANING = latex.rules(
    (r"\\(?:text\{ ?(arctg|c?tg) ?\}|([A-Za-z]+))|&([lg]t);|[<>]=|=[<>]",
     lambda match: _COMMANDS.get(match[1] or match[2] or match[3] or match[0], match[0])),
    (r"(?<![A-Za-z\\])sqrt(?=\s*[\(\[{\d])", r"\\sqrt"),
    (r"(?<![A-Za-z\\])cbrt(?=\s*[\({\d])", r"\\sqrt[3]"),
    (r"(?<![A-Za-z\\])(pi|theta|alpha|beta|lambda|omega|phi)(?![A-Za-z])", r"\\\1 "),
    (r"(?i)(?<![A-Za-z\\])(?:infinity|inf|oo)(?![A-Za-z])", r"\\infty "),
    (r"(?<![A-Za-z\\])union(?![A-Za-z])", r"\\cup "),
    (r"(?<![\d)])!=|\\not\s*=", r"\\ne "),  # 5!=120 is a factorial
    # f: x \mapsto 2x as f(x) = 2x, and without a name as its value
    (r"(?:([A-Za-z]) ?: ?)?(?<![A-Za-z])([a-z]) ?\\mapsto(?![A-Za-z])", lambda m: f"{m[1]}({m[2]}) = " if m[1] else ""),
    (r"\+/?-(?=\s*[\d\\A-Za-z(])", r"\\pm "),
    (r"\*\*", "^"),
    (r"\*", r"\\cdot "),
    (r"\\(?:(?:wide)?hat|vec|overrightarrow) ?\{? ?([ijk])(?![A-Za-z]) ?\}?", r" \1 "),
    (r"(?<=[\d}]) ?(?:\\text\{ ?([kMm]?) ?\} ?)?\\Omega(?![A-Za-z])|\\text\{ ?([kMm]?) ?\\Omega ?\}",
     r"\\text{ \1\2Ω}"),
    (r"\\(max|min|gcd|lcm|inf|sup) ?\\\{([^{}\\]*)\\\}", r"\\\1(\2)"),
    (r"(?<=\d) ?(?:[xX]|\\text\{ ?[xX] ?\}) ?(?=10 ?\^)", r"\\cdot "),
    (r"\\(?:mathbb|Bbb|mathbf)\s*\{?\s*R\s*\}?|\\R(?![A-Za-z])|\\Reals(?![A-Za-z])", r"\\mathbb{R}"),
    (r"\\mathbb ?\{ ?R ?\} ?(?:-|/|\\backslash) ?(?=\\\{)", r"\\mathbb{R} \\setminus "),
    (r"\\in ?([NZRQC])(?![A-Za-z(])", r"\\in \\mathbb{\1}"),
    (r"\\mu ?\\text\{ ?(?=[A-Za-z])", r"\\text{\\mu "),
    (r"\\log ?_ ?\{? ?e ?\}?(?![A-Za-z])", r"\\ln "),
    (r"\\mathbb ([A-Z])(?![A-Za-z])", r"\\mathbb{\1}"),
    (r"\^\s*\{?\s*\\(?:circ|degree)\s*\}?|\\(?:text)?degree(?![A-Za-z])"
                r"|\^\s*\\text\{o\}|(?<=\d)\s*\^\s*(?:o(?![A-Za-z])|\{\s*o\s*\})", r"\\degree "),
    (r"\^\s*\{\s*\\prime\s*\\prime\s*\}|\\dprime(?![A-Za-z])", "''"),
    (r"\^\s*\{\s*\\prime\s*\}|\^\s*\\prime(?![A-Za-z])", "'"),
    # x \equiv 4 mod 7, x \equiv 4 \text{ (mod 7)}; 7 mod 4 is a number
    (r"\\text\{ ?(\(? ?mod(?:ulo)? \w+ ?\)?) ?\}", r"\1"),
    (rf"\(\s*{_MOD}\s*([^()]+)\)|\\mod(?![A-Za-z])\s*(\w+)", r"\\pmod{\1\2}"),
    (rf"(\\equiv(?![A-Za-z])[^=]*?){_MOD}\s*\{{?\s*(\w+)\s*\}}?", r"\1\\pmod{\2}"),
    (r"(?<![A-Za-z\d.])(\d+(?:\.\d+)?)[eE]([+-]?\d+)(?![A-Za-z\d])", r"\1\\cdot 10^{\2}"),
    (r"\\?(?:text\{ ?)?\bcis\b ?\}?\s*(\\frac\{[^{}]*\}\{[^{}]*\}|\([^()]*\)|[\d.]+ ?\\degree|\\[a-z]+)",
     r"e^{i \\cdot (\1)}"),
    (rf"(?<![A-Za-z\\{{])({_FUNCTIONS})(?=\s*[\(\d\\^_]|\s+[a-z](?![A-Za-z]))", r"\\\1"),
    (r"(\d+|[a-z]|\([^()]*\))!(?= ?\^)", r"{(\1!)}"),  # n!^2
    # \cos x (1 - y)
    (r"(\\(?:sin|cos|tan|cot|sec|csc|ln)) ?([a-z]|\\(?:theta|alpha|beta|phi)) ?(?=\((?![a-z]\)))", r"\1(\2) \\cdot "),
    (r"\{([^{}]*)\\over(?![A-Za-z])([^{}]*)\}", r"\\frac{\1}{\2}"),
    # {n \choose k}, C_5^2, C^2_5, _5C_2, and C(5,2) beside a sign, since alone it may be a point
    (r"\{([^{}]*)\\choose(?![A-Za-z])([^{}]*)\}|(?<![A-Za-z\\\d])(?:(?:\{ ?\} ?)?_ ?\{?(\d+)\}? ?C ?_ ?\{?(\d+)\}?"
     r"|C ?_ ?\{?(\d+)\}? ?\^ ?\{?(\d+)\}?|C ?\^ ?\{?(?P<k>\d+)\}? ?_ ?\{?(?P<n>\d+)\}?"
     r"|(?:\{ ?\} ?)?\^ ?\{?(\d+)\}? ?C ?_ ?\{?(\d+)\}?"
     r"|C ?\( ?(\d+) ?, ?(\d+) ?\)(?= ?(?:[=+/]|\\cdot))|(?<=[=+] )C ?\( ?(\d+) ?, ?(\d+) ?\))",
     _binomial),
    latex.brace_arguments,
    (r"\^\s*(?:\((?=[^()]*\))([^()]*)\)|(-\s*\d+|\d+\.\d+|\d{2,}|\\frac\{[^{}]*\}\{[^{}]*\}))", r"^{\1\2}"),
    _repeating,
    (r"(?<![\d./^_!A-Za-z{}\)])(\d+)\s*/\s*(\d+)(?!\s*[\d.^!/])", r"\\frac{\1}{\2}"),
    (r"\s+", " "),
    (r"\\text\{ ?\( ?(or|i\.e\.,?|that is,?) ?\}", r"(\\text{\1}"),
    (r"(?s)(?<=\S)[\s,]*\(?\s*\\text\{[\s,(]*(?:since|because)\b"
     r"(?!.*\b(?:or|if|may|maybe|might|unless|otherwise|not)\b).*$", ""),
    _without_end,
    # 3/4 (= 0.75), 3/4 (or 75%), 3/4 \text{ (or 0.75)}
    (r"(?<=\S)\s*(?:\(\s*(?:(=|\\approx(?![a-z]))|(?:\\text\{\s*)?(?:or|i\.e\.,?|that is,?)\s*\}?)"
     r"\s*([^()]+(?:\([^()]*\)[^()]*)*)\)|\\text\{\s*\((?:or|i\.e\.,?|that is,?)\s+([^(){}]+)\)\s*\})$",
     lambda m: f" {m[1] or 'or'} {m[2] or m[3]}"),
    str.strip,
    # \text{There are 42 ways.}
    (r"^\\text\{([A-Za-z ]*\b(?:is|are|has|have|was|were|equals)) (-?\\?\$?\d[\d.,/]*?)( [a-z ]*)?\.?\}$",
     r"\\text{\1 } \2 \\text{\3 }"),
    (r"(?i)^\\text\{(?!\s*(?:option|choice)?\W*[A-J]\W*\}|[^{}]*\b(?:not|wrong|incorrect|false|ignore|if|or)\b)[^{}]*"
     r"(?:[:=]|\b(?:is|are|equals|approximately|about|exactly|only|total of|number|has|have))"
     r"\s*\}\s*(?=[^\s.])(?!.*\\text\{[^{}]*(?:[:=]|\bis) ?\})"
     r"|^(?:(?:final )?answer|the (?:final )?answer is)\s*:?\s+(?=\S)"
     r"|^(?:exactly|only|a total of|the number|(?:so|thus|hence|therefore),?)\s+(?=[-\d\\]|[A-Za-z] ?=)", ""),
    (r"^(?:[\s:=]|\\(?:approx|sim)(?![A-Za-z]))+", ""),
    # \text{Point }(1, 2) and l: y = 2x + 3
    (r"(?i)^\\text\{\s*(?:the\s+)?(?:points?|vertex|cent(?:er|re)|focus|foci|(?:ordered )?(?:pairs?|triples?)|"
     r"intervals?|set|line|circle|ellipse|parabola|hyperbola|curve|plane|equation)(?:\s+[A-Z])?\s*\}\s*(?=\S)", ""),
    (r"\\text\{\s*(?:and )?(?:the )?radius(?: is)?\s*\}\s*(?=[-\d\\])", "r = "),
    (r"^(?:l|\\ell|\\Gamma|\\gamma|[A-Z])\s*:\s*(?=[^:]*[xy][^:]*=|[^:]*=[^:]*[xy])", ""),
    (r"(?<=[)\]])\s*U\s*(?=[(\[])", r" \\cup "),
    (r"\\\{\s*\\\}", r"\\emptyset "),
    lambda text: text if r"\pmod" in text else text.replace(r"\equiv", "="),
    (r"\\text\{\s*(\\[a-z]+)\s*\}", r"\1"),  # \text{infinity}
    # \text{m s^{-2}}
    (r"\\text\{[^{}]*(?:\^ ?\{ ?-?\d ?\}[^{}]*)+", lambda m: re.sub(r"(\^ ?)\{ ?(-?\d) ?\}", r"\1\2", m[0])),
    _without_end,
)  # fmt: skip


def _rewrite(text: str, *, listed: bool) -> str:
    for rule in _SPELLING:
        text = rule(text)
    text = _RUN.sub(partial(_separate, listed=listed), text)
    for rule in _MEANING:
        text = rule(text)
    return text


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
