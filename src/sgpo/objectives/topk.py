"""The per-token KL against a teacher of whom only the K most likely tokens are known (ours).

A teacher behind an API returns, for each token, K vocabulary entries with their log-probabilities. Both sides
are then compared over K + 1 outcomes: those entries, and one bucket with all the mass that is left:

    forward   KL_t = sum_k p_k (log p_k - log s_k)  +  p_tail (log p_tail - log s_tail)
    p_tail = 1 - sum_k p_k,   s_tail = 1 - sum_k s_k      (p: teacher, s: student; "reverse": p and s swapped)

Lumping outcomes together cannot increase a divergence (the data-processing inequality), so this is a LOWER bound of
the KL over the vocabulary. It grows with K, and is exact at K = V and where the two tails are proportional. The
gradient moves the entries of the tail together: it raises or lowers their mass, and leaves their ratios alone.

The student's tail is a log-sum-exp over its own tail, not 1 - sum_k s_k, which rounding would ruin where the top-k
entries hold nearly everything. The teacher's is that difference, as no more is known; below 0 it counts as 0.

The results are token KLs like those of `token_kl`: clip, mask and weigh them with `distillation_loss`.

Shapes: N rows, T tokens, H hidden, V vocabulary, K entries of the teacher, P counted tokens (packed).
Source: ours.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ._fused_chunks import chunk_tokens
from ._registry import lookup
from .divergence import DIRECTIONS, accumulation_dtype, check_temperature
from .records import Head, Kernel

# How far the mass of the teacher's entries may exceed 1: log-probabilities in half precision, or few digits.
_MASS_TOLERANCE = 0.01


def top_k_kl(
    student_logits: Tensor,
    teacher_ids: Tensor,
    teacher_logprobs: Tensor,
    *,
    mask: Tensor | None = None,
    direction: str = "forward",
    temperature: float = 1.0,
) -> Tensor:
    """KL of each token over the teacher's top K entries and a tail bucket, in nats; gradient to the student alone.

    Args:
        student_logits: [..., V], of the unguided policy.
        teacher_ids: [..., K], distinct vocabulary entries of the guided policy at the same tokens.
        teacher_logprobs: [..., K], their log-probabilities over the WHOLE vocabulary; always detached. Their
            mass may exceed 1 by 0.01, which is rounding, and is divided by.
        mask: [...] bool, True at response tokens; elsewhere the KL is 0 and the teacher's entries are not looked at.
        direction: "forward" or "reverse", see `token_kl`. "reverse" is dominated by the tail where the teacher's
            is tiny; it counts as at least the dtype's epsilon there.
        temperature: divides the student's logits. The teacher's log-probabilities must have been taken at the
            same one, since those of K entries cannot be converted.

    Returns:
        [...], float32 (float64 where either input is float64).

    Raises:
        ValueError: shapes do not fit, K > V, an id is outside the vocabulary or given twice for a token, a
            log-probability is NaN or positive or their mass exceeds 1, or an option is out of range.
    """
    if mask is None:
        mask = torch.ones(student_logits.shape[:-1], dtype=torch.bool, device=student_logits.device)
    check_temperature(temperature)
    lookup(DIRECTIONS, direction, "direction")
    _check_entries(student_logits.shape[:-1], student_logits.shape[-1], teacher_ids, teacher_logprobs, mask)
    kl = _bucket_kl(student_logits[mask] / temperature, teacher_ids[mask], teacher_logprobs[mask], direction)
    return kl.new_zeros(mask.shape).masked_scatter(mask, kl)


def fused_linear_top_k_kl(
    student_hidden: Tensor,
    weight: Tensor,
    teacher_ids: Tensor,
    teacher_logprobs: Tensor,
    mask: Tensor,
    *,
    bias: Tensor | None = None,
    direction: str = "forward",
    temperature: float = 1.0,
    logit_scale: float = 1.0,
    softcap: float | None = None,
    chunk_size: int | None = None,
) -> Tensor:
    """`top_k_kl` of the logits `softcap(logit_scale * (hidden @ weight.T + bias))`, never more than a chunk of them.

    Each chunk's logits are projected once more in backward (gradient checkpointing), so that clip, weights and
    any other use of the KL may follow. Masked tokens are left out before any work is done. Products and sums run in
    the result's dtype; of a head in half precision one copy in float32 is made.

    Args:
        student_hidden: [N, T, H], last hidden states of the unguided policy.
        weight: [V, H], the head.
        mask: [N, T] bool, True at response tokens (of rows whose weight is not 0).
        bias: [V], of the head.
        logit_scale, softcap, chunk_size: see `Head` and `Kernel`.
        teacher_ids, teacher_logprobs, direction, temperature: see `top_k_kl`.

    Returns:
        [N, T], nats, 0 where masked; float32 (float64 for float64 inputs).

    Raises:
        ValueError: as `top_k_kl`, or the head does not fit the hidden states.
    """
    if student_hidden.ndim != 3 or weight.ndim != 2 or student_hidden.shape[2] != weight.shape[1]:
        raise ValueError(
            f"student hidden states {tuple(student_hidden.shape)} and head {tuple(weight.shape)} must be [N, T, H] and "
            "[V, H] with one H; pass lm_head.weight (not its transpose), gathered if it is sharded"
        )
    lookup(DIRECTIONS, direction, "direction")
    check_temperature(temperature)
    head, kernel = Head(weight, bias, logit_scale, softcap), Kernel(chunk_size)
    _check_entries(student_hidden.shape[:2], weight.shape[0], teacher_ids, teacher_logprobs, mask)
    dtype = accumulation_dtype(student_hidden, weight, teacher_logprobs)
    whole = weight.to(dtype)  # once, so that a head in half precision gathers its gradient in float32

    def chunk_kl(hidden: Tensor, ids: Tensor, logprobs: Tensor) -> Tensor:
        with torch.autocast(hidden.device.type, enabled=False):
            logits = F.linear(hidden.to(dtype), whole, None if bias is None else bias.to(dtype))
        logits = logits * (head.scale / (temperature if head.softcap is None else head.softcap))
        if head.softcap is not None:
            logits = logits.tanh() * (head.softcap / temperature)
        return _bucket_kl(logits, ids, logprobs, direction)

    size = kernel.chunk_size or chunk_tokens(weight, dtype)
    packed = (x[mask].split(size) for x in (student_hidden, teacher_ids, teacher_logprobs))
    # Unlike in the fused loss the gradient cannot be taken here: the caller has yet to clip and weigh the KL.
    kl = torch.cat([checkpoint(chunk_kl, *part, use_reentrant=False) for part in zip(*packed, strict=True)])
    return kl.new_zeros(mask.shape).masked_scatter(mask, kl)


def _bucket_kl(logits: Tensor, ids: Tensor, logprobs: Tensor, direction: str) -> Tensor:
    """KL [P] over K + 1 outcomes, from logits [P, V] at the teacher's temperature, its ids and logprobs [P, K]."""
    dtype = accumulation_dtype(logits, logprobs)
    logits, teacher = logits.to(dtype), logprobs.detach().to(dtype)
    student = logits.gather(-1, ids)
    if ids.shape[-1] < logits.shape[-1]:
        rest = logits.scatter(-1, ids, -math.inf).logsumexp(-1, keepdim=True)
        student = torch.cat([student, rest], dim=-1)
        # KL(student || 0) is infinite: under "reverse" a tail that rounding left empty must not be quite empty.
        least = torch.finfo(dtype).eps if direction == "reverse" else 0.0
        tail = (1 - teacher.exp().sum(-1, keepdim=True)).clamp(min=least)
        teacher = torch.cat([teacher, tail.log()], dim=-1)
    # The teacher's changes nothing unless rounding brought its mass above 1.
    return DIRECTIONS[direction](student.log_softmax(-1), teacher.log_softmax(-1))


def _check_entries(shape: torch.Size, vocabulary: int, ids: Tensor, logprobs: Tensor, mask: Tensor) -> None:
    """`ValueError` unless the teacher's entries are K of V, distinct, for each of `shape`, with mass at most 1."""
    if ids.shape != logprobs.shape or ids.shape[:-1] != shape or mask.shape != shape:
        raise ValueError(
            f"teacher ids {tuple(ids.shape)}, logprobs {tuple(logprobs.shape)} and mask {tuple(mask.shape)} must be "
            f"[..., K], [..., K] and [...] with the student's [...] = {tuple(shape)}; cut all to the response's tokens"
        )
    if mask.dtype != torch.bool or ids.is_floating_point():
        raise ValueError(f"mask must be bool and ids integers, not {mask.dtype} and {ids.dtype}; convert them")
    if not 0 < ids.shape[-1] <= vocabulary:
        raise ValueError(
            f"the teacher gives K = {ids.shape[-1]} entries a token, but K must be from 1 to the student's vocabulary, "
            f"V = {vocabulary}; ask it for fewer, and check that both use one vocabulary"
        )
    ids, logprobs = ids[mask], logprobs.detach()[mask]
    outside = ids[(ids < 0) | (ids >= vocabulary)]
    if outside.numel():
        raise ValueError(
            f"the teacher gives token id {int(outside[0])}, but the student's vocabulary is 0 to {vocabulary - 1}; "
            "teacher and student must share one tokenizer (masked tokens are not looked at)"
        )
    ordered = ids.sort(-1).values
    twice = ordered[:, 1:][ordered[:, 1:] == ordered[:, :-1]]
    if twice.numel():
        raise ValueError(
            f"the teacher gives token id {int(twice[0])} twice for one token, which would count its probability twice; "
            "some servers repeat the sampled token beside the top K: drop it"
        )
    wrong = logprobs[~(logprobs <= _MASS_TOLERANCE)]  # ~ also finds NaN
    if wrong.numel():
        raise ValueError(
            f"a log-probability of the teacher is {float(wrong[0])}, but it must be at most 0; pass natural logarithms "
            "of probabilities, not logits, and mask tokens for which the teacher gave none"
        )
    mass = logprobs.double().exp().sum(-1)
    if (mass > 1 + _MASS_TOLERANCE).any():
        raise ValueError(
            f"the teacher's {ids.shape[-1]} entries of one token have the mass {float(mass.max()):.4f}, but "
            "probabilities sum to at most 1; pass log-probabilities over the whole vocabulary, at temperature "
            "`temperature`, without other scaling"
        )
