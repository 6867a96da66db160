"""The distillation term straight from hidden states, in bounded memory (arXiv 2606.24064; kernel ours).

`distillation_loss(token_kl(student_hidden @ W.T, teacher_hidden @ W.T), ...)` holds several [N, T, V]
tensors; at V = 152K one of them is 0.6 MB a token. Here the same loss never has more than one chunk of
tokens as logits. Row weights, mask and clip are known up front, so each chunk's gradient is taken in the
FORWARD pass, while its logits are at hand. That takes the four matrix products of the unfused loss; a kernel
that first returns the KL, and learns in backward what to multiply it by, has to project twice more. Masked
tokens and rows of weight 0 are left out before any work is done. The head's gradient, if it is trained at
all, is one [V, H] buffer that every chunk adds to. The loop over the chunks is in `_fused_chunks.py`.

Shapes: N rows (one selected response each), T tokens, H hidden, V vocabulary.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ._fused_chunks import Inputs, Settings, chunk_tokens, kl_and_gradients
from ._registry import lookup
from .divergence import (
    accumulation_dtype,
    check_normalizer,
    check_rows,
    check_temperature,
    clip_token_kl,
    counted_tokens,
    loss_sums,
    row_token_weights,
)


def fused_linear_distillation_loss(
    student_hidden: Tensor,
    teacher_hidden: Tensor,
    weight: Tensor,
    mask: Tensor,
    row_weights: Tensor,
    *,
    bias: Tensor | None = None,
    teacher_weight: Tensor | None = None,
    normalizer: float | Tensor,
    direction: str = "forward",
    temperature: float = 1.0,
    logit_scale: float = 1.0,
    softcap: float | None = None,
    clip: float | None = 1.0,
    clip_form: str = "rescale",
    chunk_size: int | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """`distillation_loss` of the logits `softcap(logit_scale * (hidden @ weight.T + bias)) / temperature`.

    Args:
        student_hidden: [N, T, H], last hidden states of the unguided policy; gets a gradient.
        teacher_hidden: [N, T, H], of the guided policy on the same tokens; gets none.
        weight: [V, H], the head; gets a gradient if it requires one, else costs no [V, H] buffer.
        mask: [N, T] bool, True at response tokens.
        row_weights: [N], alpha(q) of each row; no gradient.
        bias: [V], of the head (of both, where there are two); as `weight`. -inf masks an entry.
        teacher_weight: [V, H'], a head of the teacher's own, whose hidden states are [N, T, H']; no gradient.
        normalizer, clip, clip_form: see `distillation_loss`; direction, temperature: see `token_kl`.
        logit_scale: multiplies the logits before the softcap, `softcap * tanh(logits / softcap)`.
        chunk_size: tokens whose logits exist at one time; by default what fits 160 MiB (CPU) or 512 MiB.

    Returns:
        The scalar loss (float32, float64 for float64 inputs), and the metrics of `distillation_loss` with
        "token_kl", [N, T] without graph, unclipped, 0 where nothing is counted. Products and sums run in
        the loss's dtype whatever the inputs' is. NaN at a counted token gives a NaN loss.

    Raises:
        ValueError: shapes do not fit, or an option is out of range.

    Source: loss arXiv 2606.24064; kernel ours.
    """
    _check_shapes(student_hidden, teacher_hidden, weight, bias, teacher_weight)
    check_rows(mask, row_weights, student_hidden.shape[:2])
    check_normalizer(normalizer)
    check_options(direction, temperature, logit_scale, softcap, chunk_size)
    dtype = accumulation_dtype(student_hidden, teacher_hidden, weight)
    counted = counted_tokens(mask, row_weights)
    at = counted.nonzero(as_tuple=True)
    token_weights = row_token_weights(counted, row_weights, dtype)[at] / normalizer
    inputs = Inputs(student_hidden, weight, bias, teacher_hidden.detach(), teacher_weight, token_weights, *at)
    settings = Settings(
        direction=direction,
        pre=logit_scale / (temperature if softcap is None else softcap),
        post=None if softcap is None else softcap / temperature,
        clip=clip,
        clip_form=clip_form,
        chunk_size=max(1, min(chunk_size or chunk_tokens(weight, dtype), len(token_weights))),
        dtype=dtype,
        want_gradients=torch.is_grad_enabled(),
    )
    loss, kl = _FusedDistillation.apply(*inputs, settings)
    grid = kl.new_zeros(counted.shape).index_put(at, kl)
    sums = loss_sums(grid, clip_token_kl(grid, clip, clip_form), counted, clip)
    return loss, {**sums, "token_kl": grid}


class _FusedDistillation(torch.autograd.Function):
    """Loss and gradients together; backward hands the gradients over, times what comes from above."""

    @staticmethod
    def forward(ctx: Any, *args: Any) -> tuple[Tensor, Tensor]:
        inputs, settings = Inputs(*args[:-1]), args[-1]
        kl, ctx.gradients = kl_and_gradients(inputs, settings, ctx.needs_input_grad[:3])
        ctx.save_for_backward(*inputs)
        ctx.settings = settings
        ctx.mark_non_differentiable(kl)
        return (clip_token_kl(kl, settings.clip, settings.clip_form) * inputs.token_weights).sum(), kl

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_loss: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        inputs = Inputs(*ctx.saved_tensors)
        gradients, ctx.gradients = ctx.gradients, None
        if gradients is None:
            # A second backward through a retained graph. The buffers were given away the first time (a copy
            # would double the largest one, the head's), so they are computed again.
            _, gradients = kl_and_gradients(inputs, ctx.settings, ctx.needs_input_grad[:3])
        scaled = [
            None if gradient is None or source is None else gradient.mul_(grad_loss).to(source.dtype)
            for gradient, source in zip(gradients, inputs[:3], strict=True)
        ]
        return (*scaled, *[None] * (len(inputs) - 2))


def check_options(
    direction: str, temperature: float, logit_scale: float, softcap: float | None, chunk_size: int | None
) -> None:
    """`ValueError` unless each option is in range (the clip is checked where it is applied)."""
    lookup(dict.fromkeys(("forward", "reverse")), direction, "direction")
    check_temperature(temperature)
    for name, value in (("logit_scale", logit_scale), ("softcap", softcap)):
        if value is not None and not 0 < value < math.inf:
            raise ValueError(
                f"{name} is {value}, but it must be positive and finite; take it from the model's configuration "
                "(logit_scale=1.0 and softcap=None change nothing)"
            )
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"chunk_size is {chunk_size}, but a chunk holds at least 1 token; use None to have it chosen")


def _check_shapes(
    student_hidden: Tensor,
    teacher_hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    teacher_weight: Tensor | None,
) -> None:
    """`ValueError` unless hidden states, heads and bias fit together."""
    for name, hidden, head in (
        ("student", student_hidden, weight),
        ("teacher", teacher_hidden, weight if teacher_weight is None else teacher_weight),
    ):
        if hidden.ndim != 3 or hidden.shape[:2] != student_hidden.shape[:2]:
            raise ValueError(
                f"student hidden states {tuple(student_hidden.shape)} and teacher ones "
                f"{tuple(teacher_hidden.shape)} must be [N, T, H] with one N and T, since token t of one is "
                "compared with token t of the other; cut both to the response's tokens first"
            )
        if head.ndim != 2 or head.shape[1] != hidden.shape[2]:
            raise ValueError(
                f"the {name}'s head {tuple(head.shape)} must be [V, H] with H = {hidden.shape[2]}, the size of "
                "its hidden states; pass lm_head.weight (not its transpose), gathered if it is sharded"
            )
        if head.shape[0] != weight.shape[0]:
            raise ValueError(
                f"the student's head has {weight.shape[0]} vocabulary entries, the {name}'s {head.shape[0]}, but "
                "the KL compares them entry by entry; cut or pad one of them"
            )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"bias {tuple(bias.shape)} must be [V] = [{weight.shape[0]}]; pass lm_head.bias")
