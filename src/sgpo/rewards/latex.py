r"""Characters and LaTeX syntax: one spelling for each symbol, every argument in braces.

The rules of `sgpo.rewards.normalize` build on these; nothing here knows what an answer means. All passes are
linear in the text, which is at most a few thousand characters (`extract.MAX_ANSWER_CHARS`).
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Callable
from functools import partial

Rule = Callable[[str], str]

MAX_DEPTH = 50  # brackets within brackets; beyond it nothing is parsed

_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|\s+|.", re.DOTALL)  # commands, escaped characters, spaces, single characters
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_SYMBOLS = {
    "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "﹣": "-", "⁄": "/", "∕": "/", "×": "*", "·": "*", "⋅": "*",
    "∙": "*", "•": "*", "∗": "*", "÷": "/", "π": r"\pi ", "∞": r"\infty ", "≤": r"\le ", "≥": r"\ge ",
    "⩽": r"\le ", "⩾": r"\ge ", "≠": r"\ne ", "≈": r"\approx ", "±": r"\pm ", "∓": r"\mp ", "∪": r"\cup ",
    "∩": r"\cap ", "∈": r"\in ", "∅": r"\emptyset ", "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "ℕ": r"\mathbb{N}",
    "ℚ": r"\mathbb{Q}", "ℂ": r"\mathbb{C}", "∘": r"\degree ", **dict.fromkeys("°º˚", r"\degree "), "θ": r"\theta ",
    "α": r"\alpha ", "β": r"\beta ", "λ": r"\lambda ", "μ": r"\mu ", "φ": r"\phi ", "ω": r"\omega ",
    "∠": r"\angle ", "⌊": r"\lfloor ", "⌋": r"\rfloor ", "⌈": r"\lceil ", "⌉": r"\rceil ", "“": '"', "”": '"',
    "‘": "'", "’": "'", "′": "'", "¢": " cents ", "£": r"\pounds ", "€": r"\euro ", "¥": r"\yen ",
    "⟨": "(", "⟩": ")", "…": "...", "⇒": r"\Rightarrow ", "→": r"\to ", "≡": r"\equiv ", "∖": r"\setminus ",
    "％": "%", "＝": "=", "，": ",", "；": ";", "：": ":", "。": ".", "（": "(", "）": ")", "、": ",", "∶": ":",
    "٫": ".", "٬": ",",
    "₹": r"\rupee ", "Ω": r"\Omega ", **dict.fromkeys("∎□■✓✔✅", r"\blacksquare "),
}  # fmt: skip
_VULGAR = {
    "½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4", "⅕": "1/5", "⅖": "2/5", "⅗": "3/5", "⅘": "4/5",
    "⅙": "1/6", "⅚": "5/6", "⅛": "1/8", "⅜": "3/8", "⅝": "5/8", "⅞": "7/8", "⅑": "1/9", "⅒": "1/10", "⅐": "1/7",
}  # fmt: skip
_FRACTIONS = {sign: r"\frac{{{}}}{{{}}}".format(*written.split("/")) for sign, written in _VULGAR.items()}
_TABLE = str.maketrans(_SYMBOLS | _FRACTIONS)
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n")
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_SUPER_RUN = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+")
_SUB_RUN = re.compile("[₀₁₂₃₄₅₆₇₈₉]+")
_CIRCLED_RUN = re.compile("[①-⑳]{2,}")  # the numbers of statements: ①③ are two of them and not 13
# What is counted, in Chinese and with letters that are not English; words that deny or relate are no units.
_COUNTED = re.compile(r"(?<=[\d})$])\s*([一-鿿]+|[가-힣]+|(?=[a-zA-Z]*[À-ɏЀ-ӿ])[a-zA-ZÀ-ɏЀ-ӿ]{2,})(?!\s*\})")
_CHINESE_JOINTS = {"或": " or ", "或者": " or ", "和": " and ", "与": " and ", "且": " and "}
_CHINESE_JOINT = re.compile(rf"\\(?:text|mbox)\s*\{{\s*({'|'.join(_CHINESE_JOINTS)})\s*\}}")
_NO_UNIT = re.compile("[不非没无或和与且约至到以多少余于左右错误]|아니|또는|이[상하]|(?:más|não|не|или)$")
_ROOT = re.compile(r"([√∛∜])\s*(\d+(?:\.\d+)?|[A-Za-z]|\\[a-z]+)")
_ROOT_OPEN = {"√": r"\sqrt", "∛": r"\sqrt[3]", "∜": r"\sqrt[4]"}
_ARGUMENTS = {r"\frac": 2, r"\binom": 2, r"\sqrt": 1, r"\pmod": 1}


def _chinese(match: re.Match[str]) -> str:
    word = match.group(1)
    return _CHINESE_JOINTS.get(word) or (match.group() if _NO_UNIT.search(word) else rf" \text{{{word}}}")


def rules(*rules: Rule | tuple[str, str | Callable[[re.Match[str]], str]]) -> tuple[Rule, ...]:
    """Rules from a text to a text; a pattern and its replacement stand for the substitution."""
    return tuple(partial(re.compile(rule[0]).sub, rule[1]) if isinstance(rule, tuple) else rule for rule in rules)


def from_unicode(text: str) -> str:
    """ASCII and LaTeX for the unicode that models write: minus signs, roots, powers, fractions, comparison signs."""
    if text.isascii():
        kept = (c for c in text if c >= " " or c in "\n\t")
        return text if text.isprintable() else "".join(kept)
    text = "".join(c for c in text if unicodedata.category(c) not in ("Cc", "Cf", "Cs") or c in "\n\t")
    text = _CIRCLED_RUN.sub(lambda m: ", ".join(m.group()), text)
    text = "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in text)  # of any script
    text = _SUPER_RUN.sub(lambda m: "^{" + m.group().translate(_SUPERSCRIPTS) + "}", text)
    text = _SUB_RUN.sub(lambda m: "_{" + m.group().translate(_SUBSCRIPTS) + "}", text)
    text = _ROOT.sub(lambda m: _ROOT_OPEN[m.group(1)] + "{" + m.group(2) + "}", text)
    for symbol, command in _ROOT_OPEN.items():
        text = text.replace(symbol, command)
    # Radicals over a bracket, √(13), take the bracket as their argument: see `brace_arguments`.
    text = unicodedata.normalize("NFKC", text.translate(_TABLE)).translate(_TABLE)
    text = _CHINESE_JOINT.sub(lambda m: _CHINESE_JOINTS[m.group(1)], text)
    return _COUNTED.sub(_chinese, text)


def depth(text: str) -> int:
    """Deepest nesting of (), [] and {} in the text, unmatched openings included."""
    changes = ((character in "([{") - (character in ")]}") for character in text)
    return max(itertools.accumulate(changes, lambda level, change: max(0, level + change), initial=0))


def closing_brace(text: str, start: int) -> int:
    """Index of the brace that closes the one at `start` (escaped ones skipped), or -1."""
    level = 0
    for match in _BRACE.finditer(text, start):
        level += (match.group() == "{") - (match.group() == "}")
        if level == 0:
            return match.start()
    return -1


def _until(stop: str, tokens: list[str]) -> str:
    """Takes the tokens up to `stop`, or all of them, and `stop` too; they stand in reverse."""
    out: list[str] = []
    while tokens and (token := tokens.pop()) != stop:
        out.append(_braced(token, tokens))
    return "".join(out)


def _braced(token: str, tokens: list[str]) -> str:
    """A token with its arguments in braces. The depth of the recursion is bounded by `MAX_DEPTH` of the brackets."""
    if token == "{":
        return "{" + _until("}", tokens) + "}"
    index = ""
    if token == r"\sqrt" and _next(tokens) == "[":
        tokens.pop()
        index = "[" + _until("]", tokens) + "]"
    index = "" if index.strip("[] ") == "2" else index
    return token + index + "".join(_argument(tokens) for _ in range(_ARGUMENTS.get(token, 0)))


def _next(tokens: list[str]) -> str:
    """The next token but spaces, which are dropped; "" at the end."""
    while tokens and tokens[-1].isspace():
        tokens.pop()
    return tokens[-1] if tokens else ""


def _argument(tokens: list[str]) -> str:
    if not _next(tokens):
        return "{}"
    token = tokens.pop()
    if token == "(":  # \sqrt(13), from sqrt(13) or a unicode root
        return "{" + _until(")", tokens) + "}"
    piece = _braced(token, tokens)
    return piece if piece.startswith("{") else "{" + piece + "}"


def brace_arguments(text: str) -> str:
    r"""Give `\frac`, `\binom` and `\sqrt` their arguments in braces: `\frac 59`, `\sqrt2`, `\frac9{19}`."""
    return _until("", _TOKEN.findall(text)[::-1])


def unwrap(text: str, commands: str, *, keep: bool = True, around: tuple[str, str] = ("", "")) -> str:
    r"""Replace `\command{...}` by its content between `around` (or by nothing); `commands` is a regex alternative."""
    pattern = re.compile(rf"\\(?:{commands})\s*\{{")
    position = 0
    while match := pattern.search(text, position):
        end = closing_brace(text, match.end() - 1)
        position = match.end() if end < 0 else match.start()
        if end >= 0:
            inner = around[0] + text[match.end() : end] + around[1] if keep else ""
            text = text[:position] + inner + text[end + 1 :]
    return text
