"""Strategy texts: ``problem type | strategy | steps``, in 16 wordings for each approach.

A wording picks one of four phrasings of the strategy and, independently, one of four phrasings of the steps. The
phrasings come from templates whose ``{slots}`` are filled with synonyms. A quarter of the 16 combinations is
never seen in pretraining (every single word is).
"""

from __future__ import annotations

import re

WORDINGS = 16

SYNONYMS: dict[str, tuple[str, str, str, str]] = {
    "add": ("plus", "add", "join", "gather"),
    "sub": ("minus", "subtract", "remove", "deduct"),
    "mul": ("times", "multiply", "scale", "product"),
    "div": ("divide", "split", "over", "quotient"),
    "half": ("halve", "half", "bisect", "midpoint"),
    "then": ("then", "next", "after", "followed"),
    "until": ("until", "repeat", "while", "loop"),
    "loop": ("repeated", "looped", "iterated", "successive"),
    "once": ("once", "single", "only", "just"),
    "early": ("early", "begin", "start", "initially"),
    "all": ("all", "every", "whole", "each"),
    "both": ("both", "pair", "two", "couple"),
    "stop": ("stop", "done", "finish", "end"),
    "undo": ("undo", "invert", "reverse", "unwind"),
}


def phrase(template: str, k: int) -> str:
    """Phrasing `k` (0 to 3) of a template such as ``"{sub} divisor {until} small"``."""
    position = iter(range(len(template)))
    return re.sub(r"\{(\w+)\}", lambda match: SYNONYMS[match[1]][(k + next(position)) % 4], template)


def wording(types: tuple[str, str, str, str], method: str, steps: str, k: int) -> str:
    """Wording `k` (0 to 15) of an approach; `method` and `steps` are templates."""
    i, j = divmod(k, 4)
    return f"{types[(i + 2 * j) % 4]} | {phrase(method, i)} | {phrase(steps, j)}"


def is_held_out(k: int) -> bool:
    """Whether wording `k` is kept out of pretraining: one phrasing of the steps for each strategy."""
    i, j = divmod(k, 4)
    return j == (i + 1) % 4
