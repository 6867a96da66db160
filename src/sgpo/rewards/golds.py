"""Golds of every accepted type as one text, and what is wrong with one: empty, no answer at all, too long.

Data sets mark a problem without an answer in the column of the answers ("proof", "notfound", NaN). Such a gold is named
when the data are read, and no response is ever right by it.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable, Sequence

from sgpo.data.tables import number_text
from sgpo.rewards import extract as extraction
from sgpo.rewards.normalize import Normal, TooComplexError, normalize

Gold = str | int | float | Sequence[str | int | float]

_NO_ANSWER = frozenset({
    "nan", "null", "n/a", "#n/a", "<na>", "notfound", "not found", "not_found", "answer not found", "proof", "proofs",
    "proof problem", "proof question", "see proof", "see solution", "see the solution", "see above", "see below",
    "no answer", "no answer found", "no answer provided", "not available", "not provided", "not given", "tbd", "todo",
    "qed", "q.e.d", "answer", "blacksquare", "undefined answer", "[invalid]", "[no answer]",
})  # fmt: skip
# JSON reads `\frac` and `\boxed`, written with one backslash, as a form feed and a backspace before what is left.
_UNESCAPED = re.compile(r"[\x07\x08\x0b\x0c](?=[a-z])|\t(?=ext\{|imes|frac|heta|an\b)|\r(?=ight|ho\b)")
_QUOTED = re.compile(r"\"((?:[^\"\\]|\\.)*)\"|'((?:[^'\\]|\\.)*)'")
_LIST = re.compile(
    rf"\s*\[\s*(?:{_QUOTED.pattern})(?:\s*,\s*(?:{_QUOTED.pattern}))*\s*\]\s*"
)  # ["34"] as it is written
_SHOWN = 5  # rows named in one message


def gold_text(gold: Gold | None) -> str:
    """One text for a gold of any accepted type; several answers are joined by commas, all of them required.

    Raises:
        TypeError: the gold is of another type.
    """
    if gold is None:
        return ""
    if isinstance(gold, str):
        written = [first or second for first, second in _QUOTED.findall(gold)] if _LIST.fullmatch(gold) else []
        return gold_text(written) if written else extraction.gold_answer(gold)
    if (number := number_text(gold)) is not None:
        return number
    if isinstance(gold, Sequence) and all(isinstance(part, str) or not isinstance(part, Sequence) for part in gold):
        return ", ".join(map(gold_text, gold))
    raise TypeError(f"gold is a {type(gold).__name__}; give a string, a number or a list of these")


@functools.lru_cache(maxsize=1024)
def normal_form(text: str) -> Normal | None:
    """The normal form, or None where it is too complex to have one."""
    try:
        return normalize(text)
    except (TooComplexError, RecursionError):
        return None


def is_no_answer(text: str) -> bool:
    """Whether a gold says that there is no answer to compare with."""
    plain = re.sub(r"\\(?:text|textbf|mathrm|boxed)\b|\\(?=[a-z])|[${}*]", "", text).strip(" .!:")
    return plain.lower() in _NO_ANSWER or text.strip() == "None"  # Python's; `\\text{none}` is "there is none"


def check_gold(gold: Gold | None) -> str | None:
    """What is wrong with a gold, for a loader to say at once; None where nothing is.

    Golds that are plain text (`\\text{Evelyn}`) are fine: they are compared as text.
    """
    try:
        text = gold_text(gold)
    except TypeError as error:
        return str(error)
    if not text.strip():
        return "the gold is empty"
    if len(text) > extraction.MAX_ANSWER_CHARS:
        return f"the gold has {len(text)} characters; at most {extraction.MAX_ANSWER_CHARS} are compared"
    # Its letters are lost, so that no response can be compared with it.
    if "\ufffd" in text:
        return f"the gold {text[:40]!r} was read in the wrong encoding"
    parts = gold if isinstance(gold, Sequence) and not isinstance(gold, str) else [text]
    if _UNESCAPED.search(gold if isinstance(gold, str) else " ".join(map(str, parts))):
        return f"the gold {text[:40]!r} holds control characters, as `\\frac` does where JSON has it with one backslash"
    if any(is_no_answer(str(part)) for part in parts):
        return f"the gold {text[:40]!r} is no answer"
    normal = normal_form(text)
    if normal is None:
        return "the gold nests too deeply to be compared"
    if not normal.text:
        return f"the gold {text[:40]!r} is nothing but delimiters and punctuation"
    return None


def check_golds(golds: Iterable[Gold | None], rows: Iterable[str] | None = None) -> str | None:
    """One message that counts the golds by which no response can be right and names the first rows; None for none.

    Args:
        golds: a column of a data set.
        rows: how to name each row; "row 0", "row 1" and so on by default.
    """
    names = rows if rows is not None else map("row {}".format, itertools.count())
    checked = [(name, check_gold(gold)) for gold, name in zip(golds, names, strict=False)]
    faults = [f"{name}: {fault}" for name, fault in checked if fault]
    if not faults:
        return None
    more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
    return f"{len(faults)} of {len(checked)} golds can never be met ({'; '.join(faults[:_SHOWN])}{more})"
