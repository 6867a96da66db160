"""What the trainer distils: the targets of one generation batch, dealt evenly over its micro-steps.

Shapes: N targets of a micro-step, P prompt tokens, T completion tokens.

TRL shuffles and splits its own batch per SAMPLE; a target belongs to a PROBLEM, so it lives here instead. Every rank
runs the same number of rows in the same micro-step (a rank that skips a collective hangs the others): ``deal`` takes
the number of targets of the fullest rank, and short ranks fill up with rows of weight 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sgpo.trainer.trl_seam import pad


@dataclass(frozen=True)
class Target:
    """One selected guided response ``y`` of a problem ``q`` with strategy ``s`` (token ids), and ``alpha(q)``."""

    prompt_ids: list[int]
    guided_prompt_ids: list[int]
    completion_ids: list[int]
    weight: float


@dataclass(frozen=True)
class TargetBatch:
    """Targets of one micro-step as tensors: the same completions behind two prompts.

    ``student_ids`` ``[N, P + T]`` and ``teacher_ids`` ``[N, P' + T]`` are left-padded prompts and right-padded
    completions, with their attention masks; ``mask`` ``[N, T]`` is True at completion tokens; ``weights`` ``[N]``.
    """

    student_ids: Tensor
    student_mask: Tensor
    teacher_ids: Tensor
    teacher_mask: Tensor
    mask: Tensor
    weights: Tensor

    def __post_init__(self) -> None:
        length = self.mask.size(1)
        if not torch.equal(self.student_ids[:, -length:], self.teacher_ids[:, -length:]):
            raise AssertionError(
                "The unguided and the guided side of a distillation target hold different completion tokens, so "
                "their distributions cannot be compared. This is a fault of sgpo; please report it."
            )


def collate(targets: Sequence[Target], pad_token_id: int, device: torch.device) -> TargetBatch:
    """``targets`` as one :class:`TargetBatch` on ``device``; at least one target."""
    completions = [t.completion_ids for t in targets]
    both = [t.prompt_ids for t in targets], [t.guided_prompt_ids for t in targets]
    student, teacher = (completions_behind(prompts, completions, pad_token_id, device) for prompts in both)
    weights = torch.tensor([t.weight for t in targets], dtype=torch.float32, device=device)
    return TargetBatch(*student[:2], *teacher[:2], student[2], weights)


def completions_behind(
    prompts: Sequence[list[int]], completions: Sequence[list[int]], pad_token_id: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Completions behind their prompts: ids and attention mask ``[N, P + T]``, and a mask of the completions' tokens.

    Prompts are padded to the left and completions to the right. So the completions stand in the last T columns behind
    prompts of any length, and token t is compared with token t.
    """
    prompt_ids, prompt_mask = padded(prompts, pad_token_id, "left")
    ids, mask = padded(completions, pad_token_id, "right")
    whole, whole_mask = torch.cat([prompt_ids, ids], dim=1), torch.cat([prompt_mask, mask], dim=1)
    return whole.to(device), whole_mask.to(device), mask.bool().to(device)


def deal(
    targets: Sequence[Target], dummy: Target, most: int, micro_steps: int, accumulation: int
) -> list[list[Target]]:
    """Deal this rank's targets of one generation batch over its ``micro_steps`` (``steps_per_generation``).

    A short rank is filled up to the ``most`` targets of the fullest one with ``dummy``, a row of weight 0. The lengths
    are the same on every rank, and differ by at most one target within a rank. Neighbouring targets go to different
    optimizer steps, of ``accumulation`` micro-steps each, where there are several.
    """
    # A rank that left its forward out would hang the others in theirs.
    filled = [*targets, *[dummy] * (most - len(targets))]
    return [[filled[i] for i in dealt] for dealt in spread(most, micro_steps, accumulation)]


def spread(count: int, micro_steps: int, accumulation: int) -> list[list[int]]:
    """Deal the numbers 0 to ``count - 1`` over the micro-steps, as :func:`deal` does with targets."""
    # The first micro-step of each optimizer step, then the second of each: neighbours go to different steps.
    order = sorted(range(micro_steps), key=lambda step: (step % accumulation, step // accumulation))
    slots: list[list[int]] = [[] for _ in range(micro_steps)]
    for i in range(count):
        slots[order[i % micro_steps]].append(i)
    return slots


def padded(rows: Sequence[list[int]], value: int, side: str) -> tuple[Tensor, Tensor]:
    """Ids ``[N, L]`` and their mask ``[N, L]`` (long)."""
    tensors = [torch.tensor(row, dtype=torch.long) for row in rows]
    ids = pad(tensors, padding_value=value, padding_side=side)
    return ids, pad([torch.ones_like(t) for t in tensors], padding_value=0, padding_side=side)
