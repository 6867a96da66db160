r"""TRL reward functions on the verifier: accuracy and format.

Both take what `GRPOTrainer` gives a reward function: `completions`, plain strings or conversations (lists of
messages, of which the last assistant message counts), and the columns of the dataset by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from sgpo.models.thinking import after_thinking
from sgpo.rewards.extract import last_boxed
from sgpo.rewards.golds import Gold
from sgpo.rewards.verifier import DEFAULT_TIMEOUT, verify_batch

_FAILED = ("timeout", "memory", "crash", "bad_gold")  # a 0 that says nothing of the completion
_THINK = re.compile(r"\s*<think>(.*?)</think>(.*)", re.DOTALL)


def completion_text(completion: Any) -> str | None:
    """Text of a completion: a string, None, or the last assistant message of a conversation.

    Content in parts (`[{"type": "text", "text": ...}]`) is joined.

    Raises:
        TypeError: it is none of these.
    """
    if completion is None or isinstance(completion, str):
        return completion
    if isinstance(completion, dict):
        completion = [completion]
    if not isinstance(completion, Sequence) or not all(isinstance(message, dict) for message in completion):
        raise TypeError(f"a completion is a {type(completion).__name__}; give a string or a list of messages")
    said = [message for message in completion if message.get("role", "assistant") == "assistant"]
    content = said[-1].get("content") if said else None
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content if isinstance(part, dict))
    return content


def accuracy_reward(
    completions: Sequence[Any],
    answer: Sequence[Gold] | None = None,
    solution: Sequence[Gold] | None = None,
    *,
    timeout: float = DEFAULT_TIMEOUT,
    require_box: bool = False,
    log_metric: Callable[[str, float], None] | None = None,
    **kwargs: Any,
) -> list[float]:
    r"""1.0 for each completion whose final answer is the gold, else 0.0.

    Args:
        completions: strings or conversations.
        answer: the golds, the dataset's column `answer`; one per completion.
        solution: used where there is no `answer`, row by row: golds, or solutions that end in `\boxed{}` or `####`.
        timeout, require_box: as for `sgpo.rewards.verify`; bind them with functools.partial.
        log_metric: given by TRL's trainer; it gets the share of verdicts that no comparison reached (timeout, memory,
            crash, a gold that is none) as "verifier/failed".
        kwargs: other columns, ignored.

    Raises:
        ValueError: neither column is there, or its length is not that of the completions.
    """
    golds = answer if answer is not None else solution
    if answer is not None and solution is not None:  # data sets of several sources fill one or the other
        golds = [
            second if first is None or first == "" else first for first, second in zip(answer, solution, strict=True)
        ]
    if golds is None:
        raise ValueError(
            "accuracy_reward got neither `answer` nor `solution`; the dataset needs a column of that name "
            f"(it has: {', '.join(sorted(kwargs)) or 'none'})"
        )
    texts = [completion_text(completion) for completion in completions]
    verdicts = verify_batch(texts, golds, timeout=timeout, require_box=require_box)
    if log_metric is not None and verdicts:
        log_metric("verifier/failed", sum(verdict.reason in _FAILED for verdict in verdicts) / len(verdicts))
    return [float(verdict.correct) for verdict in verdicts]


def format_reward(completions: Sequence[Any], *, require_think: bool = False, **kwargs: Any) -> list[float]:
    r"""1.0 for each completion that states its answer in a complete, not empty `\boxed{}`, else 0.0.

    Args:
        completions: strings or conversations.
        require_think: True also asks for exactly one `<think>...</think>` in front, not empty, and the box after it.
        kwargs: columns, ignored.
    """
    rewards = []
    for completion in completions:
        text = completion_text(completion) or ""
        well_formed = True
        if require_think:
            match = _THINK.fullmatch(text)
            tags = (text.count("<think>"), text.count("</think>"))
            well_formed = match is not None and tags == (1, 1) and bool(match.group(1).strip())
        rewards.append(float(well_formed and bool((last_boxed(after_thinking(text)) or "").strip())))
    return rewards
