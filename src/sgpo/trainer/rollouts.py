"""Guided rollouts of one generation batch, on one rank.

Shapes: B problems, G1 autonomous and G2 guided rollouts of each, R guided rows (G2 consecutive rows a problem).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass
class GuidedRollouts:
    """Guided prompts before, and guided completions after the merged generation call.

    Attributes:
        owners: problem (0..B-1) of each of the R rows.
        valid_rows: rows that count. The rest repeats a problem so that every rank has R rows: generation servers and
            ``gather`` need equal counts, and not every problem has a strategy.
        prompt_ids: R guided prompts.
        unguided_prompt_ids: B prompts exactly as the autonomous rollouts saw them.
        completion_ids: R completions, once generated.
        autonomous_rewards: ``[world * B * G1, functions]``, once computed.
    """

    owners: list[int]
    valid_rows: int
    prompt_ids: list[list[int]]
    unguided_prompt_ids: list[list[int]] = field(default_factory=list)
    completion_ids: list[list[int]] = field(default_factory=list)
    autonomous_rewards: Tensor | None = None

    @property
    def lengths(self) -> Tensor:
        """Tokens of each completion, ``[R]``."""
        return torch.tensor([len(ids) for ids in self.completion_ids], dtype=torch.long)


def first_of_groups(inputs: Sequence[dict[str, Any]], group_size: int) -> list[dict[str, Any]]:
    """One example per problem from the ``B * G1`` rows of a generation batch.

    Raises:
        ValueError: if the rows of a group are not the same problem.
    """
    if len(inputs) % group_size:
        raise ValueError(f"{len(inputs)} rows cannot be split into groups of num_generations = {group_size}.")
    firsts = list(inputs[::group_size])
    for i, row in enumerate(inputs):
        if row["prompt"] != firsts[i // group_size]["prompt"]:
            raise ValueError(
                f"Row {i} of the generation batch is not the problem of its group; SGPO needs the sampler of TRL's "
                "GRPOTrainer, which repeats each problem num_generations times in a row."
            )
    return firsts


def pass_rates(correct: Tensor, owners: Sequence[int], problems: int) -> Tensor:
    """Share of correct rollouts per problem, ``[R] bool -> [B]``; NaN for a problem without rollouts."""
    index = torch.tensor(list(owners), dtype=torch.long, device=correct.device)
    hits = torch.zeros(problems, device=correct.device).index_add_(0, index, correct.float())
    counts = torch.zeros(problems, device=correct.device).index_add_(0, index, torch.ones_like(correct.float()))
    return hits / counts  # 0 / 0 is NaN
