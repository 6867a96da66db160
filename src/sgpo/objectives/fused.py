"""The distillation term straight from hidden states, in bounded memory (arXiv 2606.24064; kernel ours).

`distillation_loss(token_kl(student_hidden @ W.T, teacher_hidden @ W.T), ...)` holds several [N, T, V]
tensors; at V = 152K one of them is 0.6 MB a token. Here the same loss never has more than one chunk of
tokens as logits. Row weights, mask and clip are known up front, so each chunk's gradient is taken in the
FORWARD pass, while its logits are at hand. That takes the four matrix products of the unfused loss; a kernel
that first returns the KL, and learns in backward what to multiply it by, has to project twice more. Masked
tokens and rows of weight 0 are left out before any work is done. The head's gradient, if it is trained at
all, is one [V, H] buffer that every chunk adds to. The loop over the chunks is in `_fused_chunks.py`.

The inputs and outputs, with their shapes, are in `records.py`.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ._fused_chunks import Inputs, Settings, chunk_tokens, kl_and_gradients
from .divergence import (
    accumulation_dtype,
    check_normalizer,
    check_rows,
    clip_token_kl,
    counted_tokens,
    loss_sums,
    row_token_weights,
)
from .records import Divergence, FusedLoss, Head, Kernel, Rows

_DEFAULT_DIVERGENCE, _DEFAULT_KERNEL = Divergence(), Kernel()


def fused_linear_distillation_loss(
    rows: Rows, head: Head, divergence: Divergence = _DEFAULT_DIVERGENCE, kernel: Kernel = _DEFAULT_KERNEL
) -> FusedLoss:
    """`distillation_loss` of the logits `head(hidden) / temperature`, never more than a chunk of them.

    Args:
        rows: hidden states of both policies, mask, weights and normalizer. The student's states get a gradient.
        head: its weight and bias get a gradient if they require one; a frozen head costs no [V, H] buffer.
        divergence: direction, temperature and clip.
        kernel: size of a chunk, and whether small entries may be left out of the gradient. Exact by default.

    Returns:
        The loss (float32, float64 for float64 inputs) with its metrics. Products and sums run in the loss's dtype
        whatever the inputs' is. NaN at a counted token gives a NaN loss.

    Raises:
        ValueError: shapes do not fit, or the clip is out of range.

    Source: loss arXiv 2606.24064; kernel ours.
    """
    _check_shapes(rows, head)
    check_rows(rows.mask, rows.weights, rows.student_hidden.shape[:2])
    check_normalizer(rows.normalizer)
    dtype = accumulation_dtype(rows.student_hidden, rows.teacher_hidden, head.weight)
    counted = counted_tokens(rows.mask, rows.weights)
    at = counted.nonzero(as_tuple=True)
    token_weights = row_token_weights(counted, rows.weights, dtype)[at] / rows.normalizer
    inputs = Inputs(
        rows.student_hidden,
        head.weight,
        head.bias,
        rows.teacher_hidden.detach(),
        rows.teacher_weight,
        token_weights,
        *at,
    )
    settings = Settings(
        divergence=divergence,
        pre=head.scale / (divergence.temperature if head.softcap is None else head.softcap),
        post=None if head.softcap is None else head.softcap / divergence.temperature,
        chunk_size=max(1, min(kernel.chunk_size or chunk_tokens(head.weight, dtype), len(token_weights))),
        tolerance=kernel.tolerance,
        dtype=dtype,
        want_gradients=torch.is_grad_enabled(),
    )
    loss, kl = _FusedDistillation.apply(*inputs, settings)
    grid = kl.new_zeros(counted.shape).index_put(at, kl)
    clipped = clip_token_kl(grid, divergence.clip, divergence.clip_form)
    return FusedLoss(loss, loss_sums(grid, clipped, counted, divergence.clip), grid)


class _FusedDistillation(torch.autograd.Function):
    """Loss and gradients together; backward hands the gradients over, times what comes from above."""

    @staticmethod
    def forward(ctx: Any, *args: Any) -> tuple[Tensor, Tensor]:
        inputs, settings = Inputs(*args[:-1]), args[-1]
        kl, ctx.gradients = kl_and_gradients(inputs, settings, ctx.needs_input_grad[:3])
        # Only a second backward computes from them. Saving them also lets autograd notice a change in place.
        ctx.save_for_backward(*inputs)
        ctx.settings = settings
        ctx.mark_non_differentiable(kl)
        clipped = clip_token_kl(kl, settings.divergence.clip, settings.divergence.clip_form)
        return (clipped * inputs.token_weights).sum(), kl

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


def _check_shapes(rows: Rows, head: Head) -> None:
    """`ValueError` unless hidden states, heads and bias fit together."""
    student, weight = rows.student_hidden, head.weight
    for name, hidden, own in (
        ("student", student, weight),
        ("teacher", rows.teacher_hidden, weight if rows.teacher_weight is None else rows.teacher_weight),
    ):
        if hidden.ndim != 3 or hidden.shape[:2] != student.shape[:2]:
            raise ValueError(
                f"student hidden states {tuple(student.shape)} and teacher ones {tuple(rows.teacher_hidden.shape)} "
                "must be [N, T, H] with one N and T, since token t of one is compared with token t of the other; cut "
                "both to the response's tokens first"
            )
        if own.ndim != 2 or own.shape[1] != hidden.shape[2]:
            raise ValueError(
                f"the {name}'s head {tuple(own.shape)} must be [V, H] with H = {hidden.shape[2]}, the size of its "
                "hidden states; pass lm_head.weight (not its transpose), gathered if it is sharded"
            )
        if own.shape[0] != weight.shape[0]:
            raise ValueError(
                f"the student's head has {weight.shape[0]} vocabulary entries, the {name}'s {own.shape[0]}, but the "
                "KL compares them entry by entry; cut or pad one of them"
            )
    if head.bias is not None and head.bias.shape != weight.shape[:1]:
        raise ValueError(f"bias {tuple(head.bias.shape)} must be [V] = [{weight.shape[0]}]; pass lm_head.bias")
