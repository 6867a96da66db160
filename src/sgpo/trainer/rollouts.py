"""One generation batch on one rank: its problems, their autonomous rollouts, and the guided ones.

Shapes: B problems, G1 autonomous and G2 guided rollouts of each, R guided rows (G2 consecutive rows a problem).
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Problem = dict[str, Any]
"""A row of the data set, with whatever columns the rewards read."""


@dataclass
class GuidedRollouts:
    """Guided prompts, and what became of them."""

    owners: list[int]  # problem (0..B-1) of each of the R rows
    # The rows that count. The rest repeats a problem so that every rank has R rows: generation servers and `gather`
    # need equal counts, and not every problem has guided rollouts.
    valid_rows: int
    prompt_ids: list[list[int]]
    completion_ids: list[list[int]] = field(default_factory=list)  # R completions, once generated
    logprobs: list[list[float]] | None = None  # of their tokens under the sampler; None where it gives none
    rewards: Tensor | None = None  # [rows of all ranks, functions], once verified
    correct: Tensor | None = None  # [R] bool, once verified; False for rows that do not count

    def pass_rate(self, problems: int) -> Tensor:
        """Share of correct rollouts per problem, ``[problems]``; NaN where there were none."""
        assert self.correct is not None
        correct = self.correct[: self.valid_rows].float()
        index = torch.tensor(self.owners[: self.valid_rows], dtype=torch.long, device=correct.device)
        hits = torch.zeros(problems, device=correct.device).index_add_(0, index, correct)
        return hits / index.bincount(minlength=problems)  # 0 / 0 is NaN


@dataclass
class GenerationBatch:
    """What the rollouts of one generation batch were."""

    problems: list[Problem]  # B rows of the data set
    with_strategy: list[int]  # the problems (0..B-1) that have a strategy
    guided: GuidedRollouts = field(default_factory=lambda: GuidedRollouts([], 0, []))  # of all of those, or of some
    prompt_ids: list[list[int]] = field(default_factory=list)  # B prompts, as the autonomous rollouts saw them
    completion_ids: list[list[int]] = field(default_factory=list)  # B * G1 autonomous completions
    correct: Tensor | None = None  # [B, G1] bool, verdict on each
    rewards: Tensor | None = None  # [B * G1, functions], of the autonomous rollouts
    scored: dict[str, Any] = field(default_factory=dict)  # what TRL made of them; changes to it are trained on
    guiding_probability: Tensor | None = None  # [B], with which guided ones were drawn; None: they were not drawn

    @property
    def pass_rate(self) -> Tensor:
        """Autonomous pass rate of each problem, ``[B]``."""
        assert self.correct is not None
        return self.correct.float().mean(1)


def worth_guiding(pass_rate: Sequence[float], candidates: Sequence[int], below: float, most: int | None) -> list[int]:
    """Which of ``candidates`` get guided rollouts, knowing the autonomous pass rate of every problem.

    Those under ``below``, of them the ``most`` with the lowest pass rate (None: all), in the order of ``candidates``.
    """
    low = [i for i in candidates if pass_rate[i] < below]
    kept = set(sorted(low, key=lambda i: pass_rate[i])[:most])
    return [i for i in low if i in kept]


def first_of_groups(inputs: Sequence[Problem], group_size: int) -> list[Problem]:
    """One example per problem from the ``B * G1`` rows of a batch; ``ValueError`` if a group mixes problems."""
    firsts = list(inputs[::group_size])
    for i, row in enumerate(inputs):
        if row["prompt"] != firsts[i // group_size]["prompt"]:
            raise ValueError(
                f"Row {i} of the generation batch is not the problem of its group; SGPO needs the sampler of TRL's "
                "GRPOTrainer, which repeats each problem num_generations times in a row."
            )
    return firsts


@dataclass
class Candidates:
    """What the targets of a batch are chosen from: groups of ``width`` consecutive completions of a problem."""

    owners: list[int]  # problem (0..B-1) of each completion
    guided_prompt_ids: list[list[int]]  # the prompt behind which the guided side sees it
    completion_ids: list[list[int]]
    eligible: Tensor  # [groups, width] bool, which of them may be chosen


def first_of_equals(completion_ids: Sequence[list[int]], owners: Sequence[int]) -> Tensor:
    """Which of R completions say what no earlier one of the same problem says, ``[R]`` bool."""
    pairs = [(owner, *ids) for owner, ids in zip(owners, completion_ids, strict=True)]
    # From the last row to the first, so that of equal rows the first one stays.
    first = {pair: row for row, pair in reversed(list(enumerate(pairs)))}
    return torch.tensor([first[pair] == row for row, pair in enumerate(pairs)], dtype=torch.bool)


def distinct(names: Sequence[str]) -> list[str]:
    """The names of reward functions, the second "reward" as "reward_2": TRL logs under one name what shares it."""
    found: list[str] = []
    for name in names:
        others = (f"{name}_{n}" for n in itertools.count(2))
        found.append(name if name not in found else next(other for other in others if other not in {*names, *found}))
    return found
