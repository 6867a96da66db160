"""Reject a strategy that gives the answer or the computation away: deterministic, offline, without a model.

docs/strategy-check.md states the rules (`sgpo.strategies.leakage.rules.RULES`) and how well they do. Ours; the paper
(arXiv 2606.24064) does not check its strategies.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sgpo.strategies.leakage import facts, rules

RULES = 24
"""Raised with the rules, so that verdicts kept in a store are made anew."""
MAX_STRATEGY = 20_000
MAX_PROBLEM = 20_000
MAX_RESPONSE = 200_000
FIELDS = ("problem_type", "strategy", "steps")


@dataclass(frozen=True)
class Leak:
    """A verdict. `kind` is answer, computation, intermediate, copied, unreadable, or "" where nothing leaks; `reason`
    says it in words and quotes what leaks."""

    leak: bool
    reason: str
    kind: str = ""


def strategy_text(strategy: Mapping[str, Any] | str) -> str:
    """All a model would be shown of a strategy, one part or step a line; ValueError if a part is missing or no text."""
    if isinstance(strategy, str):
        return strategy
    if not isinstance(strategy, Mapping):
        raise ValueError(f"strategy is a {type(strategy).__name__}; give an object with {', '.join(FIELDS)}, or text")
    parts: list[str] = []
    for name in FIELDS:
        if name not in strategy:
            raise ValueError(f"strategy has no {name!r}; it needs {', '.join(FIELDS)}")
        value, several = strategy[name], name == "steps"
        texts = value if several and not isinstance(value, str) else [value]
        if not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
            what = "text or a list of texts" if several else "text"
            raise ValueError(f"{name!r} of the strategy is {_shown(value)}; give {what}")
        parts.extend(texts)
    return "\n".join(parts)


def answer_text(answer: Any) -> str:
    """An answer as text, a list of texts joined; ValueError if it is null, empty or of a type that holds no answer."""
    number = isinstance(answer, (int, float)) and not isinstance(answer, bool)
    parts = answer if isinstance(answer, (list, tuple)) else [str(answer) if number else answer]
    if not all(isinstance(part, str) for part in parts):
        what = "a list of more than texts" if parts is answer else _shown(answer)
        raise ValueError(f"answer is {what}; give text, a number or a list of texts: without it no leak is seen")
    if not (text := ", ".join(parts)).strip():
        raise ValueError("answer is empty; without it no leak is seen")
    return text


def _shown(value: Any) -> str:
    return "null" if value is None else f"a {type(value).__name__}"


def checked_texts(problem: Any, answer: Any, response: Any, strategy: Any) -> tuple[str, str]:
    """The texts of answer and strategy. Raises ValueError for what `check_strategy` would not take."""
    if not isinstance(problem, str):
        raise ValueError(f"problem is {_shown(problem)}; give text")
    if response is not None and not isinstance(response, str):
        raise ValueError(f"response is {_shown(response)}; give text, or null where there is none")
    return answer_text(answer), strategy_text(strategy)


def check_strategy(
    problem: str, answer: str | int | float | Sequence[str], response: str | None, strategy: Mapping[str, Any] | str
) -> Leak:
    """Whether a strategy gives the answer or the computation away.

    Args:
        problem: the problem's text, with its options where it is multiple choice; `MAX_PROBLEM` characters are read.
        answer: the known answer, in any spelling.
        response: the strong model's response, of which both ends are read; rules that need it are left out without.
        strategy: an object with `FIELDS` (`steps` may be a list of texts), or one text.

    Raises:
        ValueError: a part is missing, null or of the wrong type.
    """
    known, text = checked_texts(problem, answer, response, strategy)
    if len(text) > MAX_STRATEGY:
        return Leak(True, f"unreadable: {len(text)} characters; at most {MAX_STRATEGY} are checked", "unreadable")
    problem, worked = problem[:MAX_PROBLEM], response or ""
    if len(worked) > MAX_RESPONSE:
        worked = worked[: MAX_RESPONSE // 2] + "\n" + worked[-MAX_RESPONSE // 2 :]
    read = facts.Facts(problem, known, worked, text)
    for rule in rules.RULES:
        if found := rule.find(read):
            return Leak(True, f"{rule.kind}: {found!r}", rule.kind)
    return Leak(False, "nothing leaks")
