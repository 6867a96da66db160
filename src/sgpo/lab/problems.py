"""Problems of the embedded task: the splits, the five axes, the records that training reads, and the verdict.

Every instance (a type and its numbers) falls by hash into one of four splits: `corpus` 50% (pretraining only),
`validation` 10%, `train` (RL) 25%, `eval` 15%. Choices are made on `validation`, which has types of its own too, so
that `eval` stays unseen.
"""

import functools
import hashlib
import random
import re
from typing import Any, Literal, TypedDict, get_args

from sgpo.lab.catalog import LARGE, LARGEST_TRAINED, TYPES, draw_numbers, told_apart, type_name
from sgpo.lab.operations import LARGEST, OPERATIONS, Numbers, Type, carry_out
from sgpo.lab.responses import EXPERTS, MAX_RESPONSE_TOKENS, expert_response

Split = Literal["train", "validation", "eval"]
Axis = Literal["instances", "operands", "wordings", "types", "longer"]
AXES: tuple[Axis, ...] = get_args(Axis)
"""How a held-out problem differs from those of training: by its numbers only; by numbers larger than training has;
by its third wording; by its type, composed of trained operations; by four operations, where training has at most
three. Each axis changes one thing, and always the instance."""

GUIDED_TEMPLATE = "S {strategy} {prompt}"
"""The guided prompt: the strategy goes in front of the same problem."""

MAX_COMPLETION = MAX_RESPONSE_TOKENS + 5
"""Tokens that a completion may have, in training and evaluation."""

TRAIN_PER_TYPE = 21
PER_AXIS = {"validation": 60, "eval": 120}

_SHARES: tuple[tuple[str, float], ...] = (("corpus", 0.5), ("validation", 0.1), ("train", 0.25), ("eval", 0.15))
_TRIES = 20_000
_ANSWER = re.compile(r"(?:^|\s)ans\s+(\d+)\s*$")


class Problem(TypedDict):
    """One problem. `family` is the name of its type, `axis` one of `AXES` (``instances`` for training)."""

    id: str
    family: str
    axis: str
    prompt: str
    strategy: str
    answer: str
    expert: str


def share_of(text: str) -> float:
    """A number in [0, 1) that depends on nothing but the text."""
    # Not Python's hash, which differs from process to process.
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def instance_id(operations: Type, numbers: Numbers) -> str:
    """The name by which an instance is split, e.g. ``add-double-47-12``."""
    return "-".join([*operations, *map(str, numbers)])


def split_of(operations: Type, numbers: Numbers) -> str:
    """The split an instance belongs to, or ``corpus``, the pretraining text."""
    # The instance and not its words: reworded, a problem stays in its split.
    fraction = share_of(f"split {instance_id(operations, numbers)}")
    for split, share in _SHARES:
        if fraction < share:
            return split
        fraction -= share
    return _SHARES[-1][0]


def question(operations: Type, numbers: Numbers, wordings: tuple[int, ...]) -> str:
    """The unguided prompt, e.g. ``Q 47 ; plus 12 ; double ? A``; `wordings` picks each operation's word (0 to 2)."""
    operands = iter(numbers[1:])
    parts = [str(numbers[0])]
    for name, k in zip(operations, wordings, strict=True):
        operation = OPERATIONS[name]
        parts.append(operation.wordings[k] + (f" {next(operands)}" if operation.operand else ""))
    return f"Q {' ; '.join(parts)} ? A"


def strategy_words(operations: Type, wordings: tuple[int, ...]) -> str:
    """A strategy, e.g. ``sum | duplicate``: what to do in which order, without the problem's numbers."""
    return " | ".join(OPERATIONS[name].strategies[k] for name, k in zip(operations, wordings, strict=True))


def make_problem(operations: Type, numbers: Numbers, axis: Axis, expert: str = "gentle") -> Problem:
    """The record of one instance. Its words are drawn by hash; the axis `wordings` has the third ones."""
    name = instance_id(operations, numbers)
    # By hash and not by a generator: a further type, or split, moves no other problem's words.
    words = [2 if axis == "wordings" else int(2 * share_of(f"word {i} {name}")) for i in range(len(operations))]
    strategy = [int(2 * share_of(f"strategy {i} {name}")) for i in range(len(operations))]
    return Problem(
        id=name,
        family=type_name(operations),
        axis=axis,
        prompt=question(operations, numbers, tuple(words)),
        strategy=strategy_words(operations, tuple(strategy)),
        answer=str(carry_out(operations, numbers).answer),
        expert=expert_response(operations, numbers, expert, share_of(f"expert {name}")),
    )


def _instances(operations: Type, split: Split, count: int, large: bool, taken: set[str]) -> list[Numbers]:
    """Usable instances of a type in a split that are not `taken`, which grows by them; `large`: beyond training."""
    # Each type has a generator of its own, so that adding a type or problems leaves those of all others unchanged.
    rng = random.Random(f"sgpo.lab {split} {type_name(operations)} {large}")
    found: list[Numbers] = []
    for _ in range(_TRIES):
        if len(found) == count:
            break
        numbers = draw_numbers([operations], rng, LARGEST if large else LARGEST_TRAINED)
        if numbers is None or split_of(operations, numbers) != split or instance_id(operations, numbers) in taken:
            continue
        if large and _largest(operations, numbers) < LARGE:
            continue
        # Where a misreading hits the answer, a right answer would say nothing of the approach.
        if told_apart(operations, numbers):
            found.append(numbers)
            taken.add(instance_id(operations, numbers))
    return found


def _largest(operations: Type, numbers: Numbers) -> int:
    return max(*numbers, *(step.result for step in carry_out(operations, numbers).steps))


def _of_axis(split: Split, axis: Axis, count: int, taken: set[str]) -> list[tuple[Axis, Type, Numbers]]:
    """`count` instances for an axis of a split, spread over its types."""
    types = TYPES[{"types": split, "longer": f"{split}_longer"}.get(axis, "train")]
    queues = [(t, _instances(t, split, -(-count // len(types)), axis == "operands", taken)) for t in types]
    # In turns, so that the first problems of an axis are of all its types.
    turns = [(axis, t, queue[i]) for i in range(count) for t, queue in queues if i < len(queue)]
    return turns[:count]


@functools.cache
def _split(split: Split) -> tuple[tuple[Axis, Type, Numbers], ...]:
    # One set for all axes: no instance stands on two of them.
    taken: set[str] = set()
    if split == "train":
        chosen = _of_axis(split, "instances", TRAIN_PER_TYPE * len(TYPES["train"]), taken)
    else:
        chosen = [one for axis in AXES for one in _of_axis(split, axis, PER_AXIS[split], taken)]
    # Mixed by hash: the first n problems are then of all axes and types.
    return tuple(sorted(chosen, key=lambda one: share_of(f"order {instance_id(*one[1:])}")))


def load_problems(split: Split, axes: tuple[str, ...] = AXES, *, expert: str = "gentle") -> list[Problem]:
    """The problems of a split, axes and types mixed, with the responses of one of `sgpo.lab.responses.EXPERTS`.

    Raises ValueError for an unknown split, axis or expert.
    """
    if split not in get_args(Split):
        raise ValueError(f"split {split!r} is unknown; choose one of {', '.join(get_args(Split))}")
    if unknown := [axis for axis in axes if axis not in AXES]:
        raise ValueError(f"axes {unknown} are unknown; choose from {', '.join(AXES)}")
    if expert not in EXPERTS:
        raise ValueError(f"expert {expert!r} is unknown; choose one of {', '.join(EXPERTS)}")
    return [make_problem(t, numbers, axis, expert) for axis, t, numbers in _split(split) if axis in axes]


def with_strategy(problem: Problem) -> str:
    """The problem with its strategy in front."""
    return GUIDED_TEMPLATE.format(strategy=problem["strategy"], prompt=problem["prompt"])


def final_answer(completion: str) -> str | None:
    """The X of a closing ``ans X``, or None when the text does not end in one."""
    # Whoever decodes with special tokens gets the same verdict.
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
