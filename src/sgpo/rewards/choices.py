r"""Multiple choice: `C` and `\text{(C)}` name an option, `\textbf{(C)}\ 27` names it and says what it holds."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sgpo.rewards.quantities import detext

_CHOICE = re.compile(r"(?:(?:[Oo]ption|[Cc]hoice|[Aa]nswer)[ :]*)?([(\[]?) ?([A-Ja-j]) ?([)\]]?)[.:]?")
_SPOKEN = r"(?:(?:option|choice|answer)[ :]*)?"
_BRACKETED = r"[(\[] ?(?P<{0}>[A-J]) ?[)\]][.:]?"
_POINTED = r"(?P<{0}>[A-J]) ?[.:)]"
_LABELLED = re.compile(
    rf"(?:\\text\{{ ?{_SPOKEN}(?:(?:{_BRACKETED.format('a')}|{_POINTED.format('b')})(?P<in>.*?)|(?P<c>[A-J])) ?\}}"
    rf"|[(\[] ?\\text\{{ ?(?P<d>[A-J]) ?\}} ?[)\]][.:]?"
    rf"|{_SPOKEN}(?:{_BRACKETED.format('e')}|{_POINTED.format('f')}))(?P<rest>.*)",
    re.IGNORECASE,
)
_CONTINUES = re.compile(  # (A)(B), (C)+1, (A) and (C), (A) 1 (B) 2 are no labels
    r".*\([A-J]\)|[+*/=^_,;<>)\]!']|\\(?:cdot|times|le|ge|ne|in|cup|cap|pm)(?![A-Za-z])|(?:\\text\{\s*)?(?:and|or)\b"
)
_SEVERAL = re.compile(r"[A-H]{2,8}")
_FIRST = re.compile(r"(?:\\text)?[\s{(]*[A-H]")
_BETWEEN = re.compile(r"\\text|\band\b|[\s{}(),;.]")
_ONLY_LETTER = re.compile(r"[(\[]? ?[A-Za-z] ?[)\]]?")


@dataclass(frozen=True)
class Label:
    """The letter of an option, upper case, and what stands behind it."""

    letter: str
    content: str


def choice(text: str) -> str | None:
    r"""The letter of a multiple choice answer: `C`, `(C)`, `\text{(C)}`, `c)`; upper case. None for others."""
    match = _CHOICE.fullmatch(detext(text))
    return match.group(2).upper() if match else None


def several(text: str) -> str | None:
    """The letters of a choice of several options, `ABD` or `A, B, D`; None for others."""
    if not _FIRST.match(text):
        return None
    run = _BETWEEN.sub("", text)
    return run if _SEVERAL.fullmatch(run) and list(run) == sorted(set(run)) else None


def labelled(text: str) -> Label | None:
    r"""Letter and content of `\text{(C)} 27`, `C. 27`, `(C): 27`; None for others, and for a letter alone."""
    match = _LABELLED.fullmatch(text.strip())
    if match is None:
        return None
    letter = next(match.group(name) for name in "abcdef" if match.group(name))
    inside, rest = (match.group("in") or "").strip(), match.group("rest").strip(" :")
    if re.search("[A-Za-z]", inside):
        inside = rf"\text{{{inside}}}"
    content = f"{inside} {rest}".strip()
    if not letter.isupper() or not content or _CONTINUES.match(content) or _ONLY_LETTER.fullmatch(content):
        return None
    return Label(letter, content)
