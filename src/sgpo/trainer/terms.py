"""Placeholder until the fused kernel lands: the distillation term from hidden states by full logits."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sgpo.objectives import distillation_loss, token_kl
from sgpo.trainer.distillation import Share
from sgpo.trainer.heads import Head


def _logits(hidden: Tensor, weight: Tensor, head: Head) -> Tensor:
    logits = head.scale * F.linear(hidden.to(weight.dtype), weight, head.bias)
    return logits if head.softcap is None else head.softcap * torch.tanh(logits / head.softcap)


def kl_term(
    student_hidden: Tensor,
    teacher_hidden: Tensor,
    head: Head,
    teacher_weight: Tensor | None,
    share: Share,
    *,
    normalizer: float,
    temperature: float,
    direction: str,
    clip: float | None,
    clip_form: str,
) -> tuple[Tensor, dict[str, Any]]:
    student = _logits(student_hidden, head.weight, head)
    with torch.no_grad():
        teacher = _logits(teacher_hidden, head.weight if teacher_weight is None else teacher_weight, head)
    kl = token_kl(student, teacher, direction=direction, temperature=temperature)
    return distillation_loss(kl, share.mask, share.weights, normalizer=normalizer, clip=clip, clip_form=clip_form)
