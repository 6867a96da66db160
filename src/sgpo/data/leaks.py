"""A quick guard against strategies that give the answer away, run on every training set.

It looks for the answer as it is written. Some answers stand in many honest strategies: one character (``2``, ``B``),
a number of general steps ("modulo 10", "180 degrees"), a common word ("even or odd"). They count only where the text
announces them. `sgpo.strategies.check` sees through other spellings and much more; it is for offline use. Ours; the
paper does not control strategies.
"""

import re
from typing import Any

_ANNOUNCED = r"(?:=|\\boxed\{|\b(?:answer|result|solution)(?:\s+(?:is|are|as|of))?:?|\bequals|\bis|\bget|\bgives)"
_GENERAL = re.compile(r"10{1,3}|12|24|60|90|180|360|[a-z]{2,}")  # an answer that honest strategies hold, too


def contains_answer(strategy: str, answer: Any) -> bool:
    """Whether ``strategy`` states ``answer``, which is compared by ``str``; None and blank never match."""
    text = "" if answer is None else str(answer).strip().strip("$").strip()
    text = re.sub(r"^(-?\d+)\.0+$", r"\1", text)  # a whole number from a column that holds fractions, too
    if not text:
        return False
    # Whole words and numbers: 12 does not stand in 3.12, nor in 120.
    before = r"(?<![\w.])" if text[0].isalnum() else ""
    after = r"(?![\w]|\.\d)" if text[-1].isalnum() else ""
    pattern = before + r"\s*".join(re.escape(part) for part in text.split()) + after
    if len(text) == 1 or _GENERAL.fullmatch(text):
        pattern = _ANNOUNCED + r"\s*\$?\s*" + pattern
    return re.search(pattern, strategy, flags=re.IGNORECASE) is not None
