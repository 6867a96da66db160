"""What the trainer distils: the targets of one generation batch, dealt evenly over its micro-steps, and their term.

Shapes: N targets of a micro-step, P prompt tokens, T completion tokens, H hidden.

TRL shuffles and splits its own batch per SAMPLE; a target belongs to a PROBLEM, so it lives here instead. Every rank
runs the same number of rows in the same micro-step (a rank that skips a collective hangs the others): ``deal`` takes
the number of targets of the fullest rank, and short ranks fill up with rows of weight 0.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sgpo.objectives import Divergence, Head, Kernel, Rows, fused_linear_distillation_loss
from sgpo.trainer.config import SGPOConfig
from sgpo.trainer.heads import HeadFn
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
    # Prompts to the left and completions to the right, so that on both sides, behind prompts of different lengths, the
    # completions stand in the last T columns and token t is compared with token t.
    completions, mask = padded([t.completion_ids for t in targets], pad_token_id, "right")
    prompts, prompt_mask = padded([t.prompt_ids for t in targets], pad_token_id, "left")
    guided, guided_mask = padded([t.guided_prompt_ids for t in targets], pad_token_id, "left")
    return TargetBatch(
        student_ids=torch.cat([prompts, completions], dim=1).to(device),
        student_mask=torch.cat([prompt_mask, mask], dim=1).to(device),
        teacher_ids=torch.cat([guided, completions], dim=1).to(device),
        teacher_mask=torch.cat([guided_mask, mask], dim=1).to(device),
        mask=mask.bool().to(device),
        weights=torch.tensor([t.weight for t in targets], dtype=torch.float32, device=device),
    )


def deal(
    targets: Sequence[Target], dummy: Target, most: int, micro_steps: int, accumulation: int
) -> list[list[Target]]:
    """Deal this rank's targets of one generation batch over its ``micro_steps`` (``steps_per_generation``).

    A short rank is filled up to the ``most`` targets of the fullest one with ``dummy``, a row of weight 0. The lengths
    are the same on every rank, and differ by at most one target within a rank. Neighbouring targets go to different
    optimizer steps, of ``accumulation`` micro-steps each, where there are several.
    """
    if most < len(targets):
        raise ValueError(f"The fullest rank has {most} targets, but this one has {len(targets)}.")
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


def divergence(
    target_batch: TargetBatch,
    teacher_hidden: Tensor,
    args: SGPOConfig,
    *,
    normalizer: float,
    temperature: float,
    progress: float,
    teacher_head: Callable[[Tensor], tuple[Tensor, Tensor]] | None,
) -> HeadFn:
    """The clipped KL to the guided side, for the forward pass of the unguided one; see :mod:`sgpo.trainer.heads`.

    Args:
        teacher_hidden: ``[N, T, H]``, hidden states that predict the completion tokens behind the guided prompts.
        normalizer: problems of the optimizer step on one rank.
        progress: share of the run's optimizer steps that is done, for ``teacher_mix_schedule``.
        teacher_head: hidden states and head of a teacher with weights of its own, see ``TeacherWeights.head``.
    """
    length = target_batch.mask.size(1)
    kl = Divergence(
        args.kl_direction,
        temperature,
        args.kl_clip,
        args.kl_clip_form,
        teacher_temperature=args.teacher_temperature,
        teacher_mix=args.teacher_mix * (1 - progress if args.teacher_mix_schedule == "linear" else 1),
    )

    def head_fn(hidden: Tensor, head: Head) -> tuple[Tensor, dict[str, Tensor]]:
        guide, guide_weight = teacher_hidden, None
        if teacher_head is not None:
            guide, guide_weight = teacher_head(teacher_hidden)
        rows = Rows(
            student_hidden=hidden[:, -length - 1 : -1],
            teacher_hidden=guide,
            mask=target_batch.mask,
            weights=target_batch.weights,
            normalizer=normalizer,
            teacher_weight=guide_weight,
        )
        kernel = Kernel(chunk_size=args.kl_chunk_size, tolerance=args.kl_gradient_tolerance)
        found = fused_linear_distillation_loss(rows, head, kl, kernel)
        return found.loss, {**found.sums, "token_kl": found.token_kl}

    return head_fn


def padded(rows: Sequence[list[int]], value: int, side: str) -> tuple[Tensor, Tensor]:
    """Ids ``[N, L]`` and their mask ``[N, L]`` (long)."""
    tensors = [torch.tensor(row, dtype=torch.long) for row in rows]
    ids = pad(tensors, padding_value=value, padding_side=side)
    return ids, pad([torch.ones_like(t) for t in tensors], padding_value=0, padding_side=side)
