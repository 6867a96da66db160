r"""TRL reward functions on the verifier: accuracy and format.

Both take what `GRPOTrainer` gives a reward function: `completions`, plain strings or conversations (lists of
messages, of which the last assistant message counts), and the columns of the dataset by name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from sgpo.models.thinking import after_thinking, begun_at_end
from sgpo.rewards.extract import last_boxed
from sgpo.rewards.golds import Gold, gold_text
from sgpo.rewards.verifier import DEFAULT_TIMEOUT, Tolerance, tolerance_text, verify_batch

_FAILED = ("timeout", "memory", "crash", "bad_gold")  # a 0 that says nothing of the completion
_THOUGHTS = ("reasoning_content", "thinking")  # where response templates put it
_THINK = re.compile(r"\s*<think>(.*?)</think>(.*)", re.DOTALL)


def completion_text(completion: Any, begun: str = "") -> str | None:
    """Text of a completion: a string, None, or the last assistant message of a conversation.

    Content in parts (`[{"type": "text", "text": ...}]`) is joined. Thinking that a tokenizer's response template has
    parsed out of a message stands before its content again, in `<think>...</think>`.

    Args:
        begun: the mark with which the prompt begins the thinking; the text goes on from it.

    Raises:
        TypeError: it is none of these.
    """
    if completion is None:
        return None
    if isinstance(completion, str):
        return begun + completion
    if isinstance(completion, dict):
        completion = [completion]
    if not isinstance(completion, Sequence) or not all(isinstance(message, dict) for message in completion):
        raise TypeError(f"a completion is a {type(completion).__name__}; give a string or a list of messages")
    said = [message for message in completion if message.get("role", "assistant") == "assistant"]
    content = said[-1].get("content") if said else None
    if isinstance(content, list):
        content = "".join(part.get("text") or "" for part in content if isinstance(part, dict))
    for name in _THOUGHTS:
        if said and isinstance(thought := said[-1].get(name), str) and thought:
            return f"<think>{thought}</think>{content or ''}"
    return None if content is None else begun + content


def _texts(
    completions: Sequence[Any], prompts: Sequence[Any] | None, thinking_begun: Sequence[str] | None
) -> list[str | None]:
    """The texts of completions. Outside this package's trainers only a prompt of plain text shows what it begins."""
    if thinking_begun is None:
        said = [None] * len(completions) if prompts is None else prompts
        thinking_begun = [begun_at_end(prompt) if isinstance(prompt, str) else "" for prompt in said]
    return [completion_text(*pair) for pair in zip(completions, thinking_begun, strict=True)]


def golds_of(answer: Sequence[Gold | None] | None, solution: Sequence[Gold | None] | None) -> Sequence[Any] | None:
    """The golds of two columns, of which data sets of several sources fill one or the other; None without either."""
    if answer is None or solution is None:
        return solution if answer is None else answer
    return [second if _blank(first) else first for first, second in zip(answer, solution, strict=True)]


def tolerances_of(column: Sequence[Tolerance | None] | None, rows: int) -> list[str | None]:
    """The tolerances of a column, as exact decimal text; None for a row without one (None, NaN, an empty text).

    Raises:
        ValueError: one is no number, negative or infinite; the message has its row, counted from 0.
    """
    found: list[str | None] = []
    for row, value in enumerate([None] * rows if column is None else column):
        try:
            found.append(None if isinstance(value, float) and math.isnan(value) else tolerance_text(value))
        except ValueError as error:
            raise ValueError(f"row {row}: {error}; correct it, or leave it empty") from error
    return found


def _blank(gold: Gold | None) -> bool:
    """Whether a cell holds nothing: None, NaN, an empty list or text."""
    return (isinstance(gold, float) and math.isnan(gold)) or not gold_text(gold).strip()


def accuracy_reward(
    completions: Sequence[Any],
    answer: Sequence[Gold] | None = None,
    solution: Sequence[Gold] | None = None,
    *,
    prompts: Sequence[Any] | None = None,
    thinking_begun: Sequence[str] | None = None,
    tolerance: Sequence[Tolerance | None] | None = None,
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
        prompts, thinking_begun: the prompts, and the mark ("" for none) with which each begins the thinking: what was
            cut before its end states no answer but in a box. This package's trainers give it; without it prompts of
            plain text are looked at.
        tolerance: the dataset's column of that name: numbers within this distance of the row's gold are correct, as in
            `sgpo eval`; None, NaN or an empty text asks for the gold itself.
        timeout, require_box: as for `sgpo.rewards.verify`; bind them with functools.partial.
        log_metric: given by TRL's trainer; it gets the share of verdicts that no comparison reached (timeout, memory,
            crash, a gold that is none) as "verifier/failed".
        kwargs: other columns, ignored.

    Raises:
        ValueError: neither column is there, its length is not that of the completions, or a tolerance is none.
    """
    golds = golds_of(answer, solution)
    if golds is None:
        columns = sorted(name for name, cells in kwargs.items() if isinstance(cells, list) and name != "completion_ids")
        raise ValueError(
            "accuracy_reward got neither `answer` nor `solution`; the data need a column of that name beside "
            f"{', '.join(['prompt', *columns])}. Rename or add it"
        )
    texts = _texts(completions, prompts, thinking_begun)
    allowed = tolerances_of(tolerance, len(texts))
    verdicts = verify_batch(texts, golds, timeout=timeout, require_box=require_box, tolerance=allowed)
    if log_metric is not None and verdicts:
        log_metric("verifier/failed", sum(verdict.reason in _FAILED for verdict in verdicts) / len(verdicts))
    return [float(verdict.correct) for verdict in verdicts]


def format_reward(
    completions: Sequence[Any],
    *,
    require_think: bool = False,
    prompts: Sequence[Any] | None = None,
    thinking_begun: Sequence[str] | None = None,
    **kwargs: Any,
) -> list[float]:
    r"""1.0 for each completion that states its answer in a complete, not empty `\boxed{}`, else 0.0.

    Args:
        completions: strings or conversations.
        require_think: True also asks for exactly one `<think>...</think>` in front, not empty, and the box after it.
            The first mark may end the prompt, as in DeepSeek-R1's chat template.
        prompts, thinking_begun: as for `accuracy_reward`.
        kwargs: columns, ignored.
    """
    rewards = []
    for said in _texts(completions, prompts, thinking_begun):
        text = said or ""
        match = _THINK.fullmatch(text) if text.count("<think>") == text.count("</think>") == 1 else None
        thought = not require_think or (match is not None and bool(match.group(1).strip()))
        rewards.append(float(thought and bool((last_boxed(after_thinking(text)) or "").strip())))
    return rewards
