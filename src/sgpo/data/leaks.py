"""A quick guard against strategies that give the answer away, run on every training set.

It looks for the answer as it is written. A one-character answer (``2``, ``B``) stands in many honest strategies
("divide by 2"), so it counts only where the text announces it. Ours; the paper does not control strategies.
"""

import re
from typing import Any

_ANNOUNCED = r"(?:=|\\boxed\{{|\b(?:answer|result|solution)(?:\s+(?:is|are|as|of))?:?|\bequals|\bis|\bget|\bgives)"


def contains_answer(strategy: str, answer: Any) -> bool:
    """Whether ``strategy`` states ``answer``.

    Args:
        strategy: the strategy text.
        answer: the problem's answer; not text is compared by ``str``. None and blank never match.
    """
    text = "" if answer is None else str(answer).strip().strip("$").strip()
    if not text:
        return False
    before = r"(?<![\w.])" if text[0].isalnum() else ""
    after = r"(?![\w]|\.\d)" if text[-1].isalnum() else ""
    pattern = before + r"\s*".join(re.escape(part) for part in text.split()) + after
    if len(text) == 1:
        pattern = _ANNOUNCED.replace("{{", "{") + r"\s*\$?\s*" + pattern
    return re.search(pattern, strategy, flags=re.IGNORECASE) is not None
