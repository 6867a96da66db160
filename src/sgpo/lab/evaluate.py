"""Sampled accuracy of a base, guided and autonomous. Minimal: what pretraining records and the tests repeat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict

from sgpo.lab.problems import MAX_COMPLETION, Problem, verify, with_strategy

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Accuracy(TypedDict):
    """Correct samples out of `n`, as a rate in [0, 1]."""

    rate: float
    n: int


def accuracy(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    problems: Sequence[Problem],
    *,
    guided: bool,
    repeats: int = 1,
    seed: int = 0,
    temperature: float = 1.0,
    top_p: float = 1.0,
) -> dict[str, Accuracy]:
    """Accuracy by axis, and under ``all`` over all problems; ``repeats`` samples of each problem."""
    from sgpo.models.sampling import sample

    rows = sample(
        model,
        tokenizer,
        [with_strategy(problem) if guided else problem["prompt"] for problem in problems],
        k=repeats,
        temperature=temperature,
        top_p=top_p,
        max_new_tokens=MAX_COMPLETION,
        batch_size=300,
        seed=seed,
    )
    verdicts: dict[str, list[bool]] = {"all": []}
    for problem, row in zip(problems, rows, strict=True):
        found = [verify(one.text, problem["answer"]) for one in row]
        verdicts["all"] += found
        verdicts.setdefault(problem["axis"], []).extend(found)
    return {key: Accuracy(rate=sum(v) / len(v), n=len(v)) for key, v in verdicts.items()}
