"""Problems of the embedded task: the split by instance, the records that training reads, and the verdict.

Every instance (family and arguments) falls by hash into one of four splits: `corpus` 50% (pretraining only),
`validation` 5%, `train` (RL) 30%, `eval` 15%. Choices are made on `validation`, so that `eval` stays unseen.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Literal, TypedDict, get_args

from sgpo.lab.catalog import FAMILIES
from sgpo.lab.families import Args, Family
from sgpo.lab.responses import MAX_RESPONSE_TOKENS, expert
from sgpo.lab.wording import WORDINGS, is_held_out

Split = Literal["corpus", "train", "validation", "eval"]

GUIDED_TEMPLATE = "S {strategy} {prompt}"
"""The guided prompt: the strategy goes in front of the same problem."""

MAX_COMPLETION = MAX_RESPONSE_TOKENS + 8
"""Tokens that a completion may have, in training and evaluation."""

PER_FAMILY: dict[str, int | None] = {"corpus": None, "train": 96, "validation": 24, "eval": 60}
"""Problems of each family in a split (None: all), so that splits are balanced."""

_SHARES: tuple[tuple[Split, float], ...] = (
    ("corpus", 0.5),
    ("validation", 0.05),
    ("train", 0.3),
    ("eval", 0.15),
)
_ANSWER = re.compile(r"(?:^|\s)ans\s+(\d+)\s*$")


class Problem(TypedDict):
    """One problem. Every field is text but `held_out`: whether the strategy's wording is new to the base."""

    id: str
    family: str
    prompt: str
    strategy: str
    answer: str
    expert: str
    held_out: bool


def share_of(text: str) -> float:
    """A number in [0, 1) that depends on nothing but the text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def instance_id(family: Family, args: Args) -> str:
    """The name by which an instance is split, e.g. ``clock-10-23``."""
    return "-".join([family.name, *map(str, args)])


def split_of(family: Family, args: Args) -> Split:
    """The split an instance belongs to."""
    fraction = share_of(f"split {instance_id(family, args)}")
    for split, share in _SHARES:
        if fraction < share:
            return split
        fraction -= share
    return _SHARES[-1][0]


def split_instances(family: Family, split: Split) -> list[Args]:
    """A family's instances in a split, in a fixed order, at most `PER_FAMILY[split]`."""
    return [args for args in family.instances() if split_of(family, args) == split][: PER_FAMILY[split]]


def make_problem(family: Family, args: Args) -> Problem:
    """The record of one instance. The strategy's wording is drawn by hash from all 16.

    Raises ValueError when the instance is unfit for the family.
    """
    traces = family.traces(args)
    if traces is None:
        raise ValueError(f"{args} is no usable instance of the family {family.name}")
    name = instance_id(family, args)
    k = int(share_of(f"wording {name}") * WORDINGS)
    return Problem(
        id=name,
        family=family.name,
        prompt=family.question(args),
        strategy=family.strategy(0, k),
        answer=str(traces[0].answer),
        expert=expert(traces[0]),
        held_out=is_held_out(k),
    )


def load_problems(split: Split, families: tuple[str, ...] | None = None) -> list[Problem]:
    """The problems of a split, families interleaved; `families` keeps only those named.

    Raises ValueError for an unknown split or family.
    """
    if split not in get_args(Split):
        raise ValueError(f"split {split!r} is unknown; choose one of {', '.join(get_args(Split))}")
    known = {family.name: family for family in FAMILIES}
    wanted = families if families is not None else tuple(known)
    if unknown := [name for name in wanted if name not in known]:
        raise ValueError(f"families {unknown} are unknown; choose from {', '.join(known)}")
    problems = [make_problem(known[n], args) for n in wanted for args in split_instances(known[n], split)]
    return sorted(problems, key=lambda problem: share_of(f"order {problem['id']}"))


def guided_prompt(problem: Problem) -> str:
    """The problem with its strategy in front."""
    return GUIDED_TEMPLATE.format(strategy=problem["strategy"], prompt=problem["prompt"])


def final_answer(completion: str) -> str | None:
    """The X of a closing ``ans X``, or None when the text does not end in one."""
    match = _ANSWER.search(completion.replace("<eos>", " ").replace("<pad>", " "))
    return str(int(match[1])) if match else None


def verify(completion: str, answer: str) -> bool:
    """Whether a completion ends in the right answer."""
    return final_answer(completion) == answer.strip()


def lab_reward(completions: list[Any], answer: list[str], **kwargs: Any) -> list[float]:
    """TRL reward function: 1.0 where the completion ends in ``ans X`` with the right X, else 0.0.

    `completions`: B texts, or B lists of messages of which the last one's `content` is read. `answer`: B texts.
    """
    texts = [c if isinstance(c, str) else str(c[-1]["content"]) if c else "" for c in completions]
    return [float(verify(text, str(gold))) for text, gold in zip(texts, answer, strict=True)]
