"""The strategy-distillation term: a clipped per-token KL over the whole vocabulary (arXiv 2606.24064).

The guided policy pi(.|q,s) teaches the unguided policy pi(.|q), both with the same weights, on one
selected response y per problem. Gradient flows through the unguided side alone (sg = stop-gradient):

    KL_t = sum_v sg[pi(v|q,s,y_<t)] * (log sg[pi(v|q,s,y_<t)] - log pi(v|q,y_<t))      "forward"
    L_KD = sum over rows n of weight_n * mean over t of clip(KL_t)  /  normalizer

The paper publishes a clip with threshold 1.0 but not its form. Both readings here clip the SUM over the
vocabulary: one entry p_v (log p_v - log s_v) may be negative, so clipping entries can turn the KL, and
with it the sign of the loss, negative. `normalizer` is the number of problems of the whole optimizer
step, so that gradient accumulation and data parallelism change nothing.

Shapes: B problems, N rows (one selected response each), T tokens, V vocabulary.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ._registry import lookup


def token_kl(
    student_logits: Tensor, teacher_logits: Tensor, *, direction: str = "forward", temperature: float = 1.0
) -> Tensor:
    """KL of each token over the vocabulary, in nats; gradient through the student alone.

    Args:
        student_logits: [..., V], of the unguided policy.
        teacher_logits: [..., V], of the guided policy on the same tokens; always detached.
        direction: "forward", KL(teacher || student), is the paper's; "reverse" is its ablation.
        temperature: divides both logits. The KL is not multiplied by its square.

    Returns:
        [...], float32 (float64 where either input is float64).

    Raises:
        ValueError: shapes differ, the direction is unknown, or the temperature is not positive.

    Source: arXiv 2606.24064.
    """
    if student_logits.shape != teacher_logits.shape:
        raise ValueError(
            f"student logits {tuple(student_logits.shape)} and teacher logits {tuple(teacher_logits.shape)} "
            "must have one shape, since token t of one is compared with token t of the other; "
            "cut both to the response's tokens first"
        )
    check_temperature(temperature)
    divergence = lookup(DIRECTIONS, direction, "direction")
    dtype = accumulation_dtype(student_logits, teacher_logits)
    student = _log_softmax(student_logits, temperature, dtype)
    teacher = _log_softmax(teacher_logits.detach(), temperature, dtype)
    return divergence(student, teacher)


def _log_softmax(logits: Tensor, temperature: float, dtype: torch.dtype) -> Tensor:
    # At [N, T, V] a needless copy of the logits is a gigabyte.
    scaled = logits if temperature == 1.0 else logits.to(dtype) / temperature
    return torch.log_softmax(scaled, dim=-1, dtype=dtype)


def _expected_log_ratio(log_p: Tensor, log_q: Tensor) -> Tensor:
    """sum_v p (log p - log q), [..., V] x 2 -> [...]."""
    p = log_p.exp()
    # 0 * log 0 is 0: a vocabulary entry masked with -inf on both sides must not make the KL NaN.
    return (p * (log_p - log_q).masked_fill_(p == 0, 0.0)).sum(-1)


# name -> (student log-probabilities, teacher log-probabilities), both [..., V] -> [...]
DIRECTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "forward": lambda student, teacher: _expected_log_ratio(teacher, student),
    "reverse": _expected_log_ratio,
}


# name -> (KL without graph [...], threshold) -> what the gradient of each token is multiplied by [...]
CLIP_FORMS: dict[str, Callable[[Tensor, float], Tensor]] = {
    # Not (threshold / kl).clamp(max=1): rounding can leave a KL a hair below 0, which that would blow up.
    "rescale": lambda kl, threshold: torch.where(kl > threshold, threshold / kl, torch.ones_like(kl)),
    "hard": lambda kl, threshold: (kl <= threshold).to(kl.dtype),
}


def clip_token_kl(kl: Tensor, threshold: float | None, form: str = "rescale") -> Tensor:
    """Cap each token's KL, the sum over the vocabulary, at `threshold`.

    Below the threshold nothing changes. Above it the value is `threshold`, and the gradient is 0 under
    "hard", `threshold / kl` of what it was under "rescale". NaN stays NaN, and so becomes an infinite KL (a
    student logit of -inf where the teacher's is finite has no gradient to follow).

    Args:
        kl: [...], nats.
        threshold: nats, or None for no clip. The paper: 1.0.
        form: a name in `CLIP_FORMS`.

    Returns:
        [...] of kl's dtype.

    Raises:
        ValueError: the form is unknown or the threshold is not positive.

    Source: threshold, arXiv 2606.24064; its form is not published, both readings are ours.
    """
    gradient_scale = clip_gradient_scale(kl, threshold, form)
    if threshold is None:
        return kl
    value = kl.detach().clamp(max=threshold)
    # `kl - kl.detach()` is 0 in value and carries the gradient, so that the value is the cap exactly.
    return value + gradient_scale * (kl - kl.detach())


def clip_gradient_scale(kl: Tensor, threshold: float | None, form: str = "rescale") -> Tensor:
    """d clip(kl) / d kl of `clip_token_kl`, [...] -> [...], without graph. Same arguments and errors."""
    scale = lookup(CLIP_FORMS, form, "clip_form")
    if threshold is None:
        return torch.ones_like(kl)
    if not threshold > 0:
        raise ValueError(
            f"the KL clip threshold is {threshold}, but it must be positive: at 0 or below nothing would be "
            "learned; give a positive number of nats (the paper uses 1.0) or None for no clip"
        )
    return scale(kl.detach(), threshold)


def distillation_loss(
    token_kl: Tensor,
    mask: Tensor,
    weights: Tensor,
    *,
    normalizer: float | Tensor,
    clip: float | None = 1.0,
    clip_form: str = "rescale",
) -> tuple[Tensor, dict[str, Tensor]]:
    """Weighted strategy-distillation loss of a batch of selected responses.

    Each row gives the mean of its clipped KL over its own unmasked tokens, times its weight; the rows are
    summed and divided by `normalizer`. A masked token, and every token of a row of weight 0, gives neither
    value nor gradient, even where it holds NaN. With nothing left the loss is 0, still on the graph.

    Args:
        token_kl: [N, T], nats, from `token_kl`.
        mask: [N, T] bool, True at response tokens.
        weights: [N], alpha(q) of each row; no gradient.
        normalizer: number of problems in the whole optimizer step (over micro-steps and ranks).
        clip, clip_form: see `clip_token_kl`.

    Returns:
        The scalar loss, and metrics without graph that are SUMS over the counted tokens, so that they may be
        added over micro-steps and ranks before dividing: "kl_sum", "kl_clipped_sum" (nats),
        "clipped_tokens", "tokens", "rows".

    Raises:
        ValueError: shapes do not fit, the normalizer is not positive, or the clip is invalid.

    Source: arXiv 2606.24064; normalisation and metrics ours.
    """
    check_rows(mask, weights, token_kl.shape)
    check_normalizer(normalizer)
    counted = counted_tokens(mask, weights)
    # Not a product with the mask: 0 * NaN is NaN, in the value and in the gradient.
    token_kl = torch.where(counted, token_kl, torch.zeros_like(token_kl))
    clipped = clip_token_kl(token_kl, clip, clip_form)
    # The weights are constants: nothing may be learned by making alpha smaller.
    per_token = row_token_weights(counted, weights, token_kl.dtype)
    loss = (clipped * per_token).sum() / normalizer
    return loss, loss_sums(token_kl.detach(), clipped.detach(), counted, clip)


def counted_tokens(mask: Tensor, weights: Tensor) -> Tensor:
    """[N, T] bool: unmasked tokens of rows whose weight is not 0 (a NaN weight counts, and so surfaces)."""
    return mask & (weights.detach() != 0).unsqueeze(-1)


def row_token_weights(counted: Tensor, weights: Tensor, dtype: torch.dtype) -> Tensor:
    """[N, T]: weight_n / (counted tokens of row n) at counted tokens, 0 elsewhere."""
    share = weights.detach().to(dtype).unsqueeze(-1) / counted.sum(-1, keepdim=True)
    return torch.where(counted, share, torch.zeros_like(share))  # an empty row divides by 0, and is left out


def loss_sums(kl: Tensor, clipped: Tensor, counted: Tensor, clip: float | None) -> dict[str, Tensor]:
    """The metrics of `distillation_loss` from [N, T] tensors that are 0 where nothing is counted."""
    over = kl > (math.inf if clip is None else clip)
    return {
        "kl_sum": kl.sum(),
        "kl_clipped_sum": clipped.sum(),
        "clipped_tokens": over.sum().to(kl.dtype),
        "tokens": counted.sum().to(kl.dtype),
        "rows": counted.any(-1).sum().to(kl.dtype),
    }


def accumulation_dtype(*tensors: Tensor) -> torch.dtype:
    """float64 where any of the tensors is, else float32: softmax sums over V must not run in bf16."""
    return torch.float64 if any(t.dtype == torch.float64 for t in tensors) else torch.float32


def check_temperature(temperature: float) -> None:
    """`ValueError` unless the temperature is positive and finite."""
    if not 0 < temperature < math.inf:
        raise ValueError(
            f"temperature is {temperature}, but it must be positive and finite, since the logits are divided "
            "by it; use the sampling temperature, or 1.0"
        )


def check_normalizer(normalizer: float | Tensor) -> None:
    """`ValueError` unless a number is positive and finite. A tensor is trusted (no device sync)."""
    if not isinstance(normalizer, Tensor) and not 0 < normalizer < math.inf:
        raise ValueError(
            f"normalizer is {normalizer}, but the loss is divided by it; give the number of problems in the "
            "optimizer step, which is at least 1 even where no row is distilled"
        )


def check_rows(mask: Tensor, weights: Tensor, shape: torch.Size) -> None:
    """`ValueError` unless mask is bool [N, T] and weights [N], with [N, T] = `shape`."""
    if len(shape) != 2 or mask.shape != shape or weights.shape != shape[:1]:
        raise ValueError(
            f"tokens {tuple(shape)}, mask {tuple(mask.shape)} and weights {tuple(weights.shape)} must be "
            "[N, T], [N, T] and [N]; give one weight per row, and one mask entry per token"
        )
    if mask.dtype != torch.bool:
        raise ValueError(f"mask has dtype {mask.dtype}, but it selects tokens; pass mask.bool()")
