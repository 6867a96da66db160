"""The chunk loop behind `fused.py`: KL of each token and the loss's gradients, from hidden states.

One chunk: project C student and C teacher states onto the vocabulary; walk over the logits once for the
softmax sums and the KL, leaving exp(z) in their place; turn them into d loss / d projection; multiply that
into the gradients. All in two [C, V] halves of one buffer that every chunk uses again.

    z = post * tanh(pre * (h W^T + b))      or, without softcap,      z = pre * (h W^T + b)
    forward   d KL_t / d z_s = softmax(z_s) - softmax(z_t)
    reverse   d KL_t / d z_s = softmax(z_s) * (log softmax(z_s) - log softmax(z_t) - KL_t)

Shapes: N rows, T tokens, H hidden, V vocabulary, P counted tokens (packed), C tokens of a chunk.
Source: ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .divergence import clip_gradient_scale

# Bytes that the logits of one chunk, student and teacher, may take. Each chunk reads the head twice, and its
# gradient once more and writes it; on a CPU, products of 128 tokens at V = 152K are nearly as fast as any. A GPU
# needs a larger chunk to be busy.
_CHUNK_BYTES = {"cpu": 160 << 20, "other": 512 << 20}
# Bytes of the tiles of logits that are worked on one after another. One CPU thread is fastest on tiles that stay
# in its cache. Several threads wait for the slowest at the end of every operation, on a busy machine for
# milliseconds, so that fewer and larger operations win.
_LOGIT_TILE_BYTES = {"one thread": 512 << 10, "cpu": 16 << 20, "other": 512 << 20}
# Bytes of the tiles of a head in half precision, of which a copy in float32 is made.
_UPCAST_TILE_BYTES = 16 << 20


@dataclass(frozen=True)
class Settings:
    """Everything that is not a tensor. `pre` and `post` as in the equations above; `dtype` of all sums."""

    direction: str
    pre: float
    post: float | None
    clip: float | None
    clip_form: str
    chunk_size: int
    dtype: torch.dtype
    want_gradients: bool


class Inputs(NamedTuple):
    """student_hidden [N, T, H], weight [V, H], bias [V], teacher_hidden [N, T, H], teacher_weight [V, H];
    for each counted token its weight in the loss [P], row [P] and column [P]."""

    student_hidden: Tensor
    weight: Tensor
    bias: Tensor | None
    teacher_hidden: Tensor
    teacher_weight: Tensor | None
    token_weights: Tensor
    rows: Tensor
    columns: Tensor


def kl_and_gradients(x: Inputs, s: Settings, needed: tuple[bool, ...]) -> tuple[Tensor, list[Tensor | None]]:
    """KL of each counted token [P], nats, and what is `needed` of the gradients of hidden, weight, bias."""
    vocabulary, count = x.weight.shape[0], len(x.rows)
    kl = x.token_weights.new_empty(count)
    need_hidden, need_weight, need_bias = (need and s.want_gradients for need in needed)
    grad_hidden = grad_weight = grad_bias = None
    if need_hidden:
        grad_hidden = x.student_hidden.new_zeros(x.student_hidden.shape, dtype=held_dtype(x.student_hidden, s.dtype))
    if need_weight:
        # Not zeros: the first chunk writes it, which saves going once more through the largest buffer.
        grad_weight = x.weight.new_empty(x.weight.shape, dtype=s.dtype) if count else torch.zeros_like(x.weight)
    if need_bias:
        grad_bias = x.weight.new_zeros(vocabulary, dtype=s.dtype)
    buffer = x.weight.new_empty((2 * s.chunk_size, vocabulary), dtype=s.dtype)
    for start in range(0, count, s.chunk_size):
        part = slice(start, min(start + s.chunk_size, count))
        at = (x.rows[part], x.columns[part])
        logits = buffer[: 2 * (part.stop - part.start)]
        hidden = _project_both(x, s, at, logits)
        student, teacher = logits.chunk(2)
        kl[part] = _kl_then_gradient_(student, teacher, x.token_weights[part], s)
        if grad_hidden is not None:
            grad_hidden[at] = _times_head(student, x.weight).to(grad_hidden.dtype)
        if grad_weight is not None:
            grad_weight.addmm_(student.t(), hidden, beta=1 if start else 0)
        if grad_bias is not None:
            grad_bias += student.sum(0)
    if grad_weight is not None:
        grad_weight = grad_weight.to(held_dtype(x.weight, s.dtype))
    return kl, [grad_hidden, grad_weight, grad_bias]


def _kl_then_gradient_(student: Tensor, teacher: Tensor, token_weights: Tensor, s: Settings) -> Tensor:
    """KL [C] from the projections `pre * (h W^T + b)`, [C, V] each; both buffers are used up.

    `student` becomes d loss / d (h W^T + b), where the loss weighs the tokens with `token_weights` [C].
    """
    forward = s.direction == "forward"
    top_s, top_t = student.amax(-1, keepdim=True), teacher.amax(-1, keepdim=True)
    if s.post is not None:
        top_s, top_t = top_s.tanh() * s.post, top_t.tanh() * s.post
    sum_s, sum_t, expectation = torch.zeros_like(top_s), torch.zeros_like(top_s), torch.zeros_like(top_s)
    for tile in _tiles(student.shape[1], student[:, 0].nbytes, _logit_tile_bytes(student.device)):
        zs, zt = student[:, tile], teacher[:, tile]
        slope = None
        if s.post is not None:
            slope = zs.tanh_().square().neg_().add_(1)
            zs.mul_(s.post)
            zt.tanh_().mul_(s.post)
        gap = zt.sub_(top_t) - zs.sub_(top_s)
        sum_s += zs.exp_().sum(-1, keepdim=True)
        sum_t += zt.exp_().sum(-1, keepdim=True)
        if forward:
            expectation += gap.mul_(zt).sum(-1, keepdim=True)
        else:
            expectation += zt.copy_(gap).mul(zs).sum(-1, keepdim=True)
        if slope is not None:
            zs.mul_(slope)
            if forward:
                zt.mul_(slope)
    # log p_t - log p_s = gap + log_sums: each side's maximum was taken off it, and cancels.
    log_sums = sum_s.log() - sum_t.log()
    kl = expectation / sum_t + log_sums if forward else -expectation / sum_s - log_sums
    if s.want_gradients:
        scale = clip_gradient_scale(kl, s.clip, s.clip_form) * token_weights.unsqueeze(-1)
        scale = scale * (s.pre if s.post is None else s.pre * s.post)
        if forward:
            student.mul_(scale / sum_s).addcmul_(teacher, scale / sum_t, value=-1)
        else:
            student.mul_(-scale / sum_s).mul_(teacher.add_(log_sums + kl))
    return kl.squeeze(-1)


def _logit_tile_bytes(device: torch.device) -> int:
    if device.type == "cpu":
        return _LOGIT_TILE_BYTES["one thread" if torch.get_num_threads() == 1 else "cpu"]
    return _LOGIT_TILE_BYTES["other"]


def _tiles(vocabulary: int, bytes_per_entry: int, limit: int) -> list[slice]:
    """Slices of the vocabulary of at most `limit` bytes."""
    width = max(64, limit // bytes_per_entry)
    return [slice(v, min(v + width, vocabulary)) for v in range(0, vocabulary, width)]


def _project_both(x: Inputs, s: Settings, at: tuple[Tensor, Tensor], logits: Tensor) -> Tensor:
    """Project the tokens `at` into `logits` [2 C, V], the student's first; returns its hidden states [C, H]."""
    hidden, guided = x.student_hidden[at].to(s.dtype), x.teacher_hidden[at].to(s.dtype)
    if x.teacher_weight is None:
        # One product, which reads the head once.
        _project(torch.cat([hidden, guided]), x.weight, x.bias, s.pre, logits)
    else:
        _project(hidden, x.weight, x.bias, s.pre, logits[: len(hidden)])
        _project(guided, x.teacher_weight, x.bias, s.pre, logits[len(hidden) :])
    return hidden


def _project(hidden: Tensor, weight: Tensor, bias: Tensor | None, factor: float, out: Tensor) -> None:
    """out [C, V] = factor * (hidden [C, H] @ weight.T + bias), in out's dtype (autocast leaves `out=` alone)."""
    hidden = hidden * factor
    for tile in _head_tiles(weight, out.dtype):
        torch.mm(hidden, weight[tile].to(out.dtype).t(), out=out[:, tile])
    if bias is not None:
        # -inf minus -inf would be NaN; this far down exp() gives 0 all the same.
        out.add_((bias.to(out.dtype) * factor).clamp(min=torch.finfo(out.dtype).min / 4))


def _times_head(gradient: Tensor, weight: Tensor) -> Tensor:
    """[C, V] @ [V, H] -> [C, H] in the gradient's dtype."""
    total = gradient.new_zeros(gradient.shape[0], weight.shape[1])
    for tile in _head_tiles(weight, gradient.dtype):
        total.addmm_(gradient[:, tile], weight[tile].to(gradient.dtype))
    return total


def _head_tiles(weight: Tensor, dtype: torch.dtype) -> list[slice]:
    """Slices of the vocabulary for products with the head, so that no whole copy of it in `dtype` is made."""
    if weight.dtype == dtype:
        return [slice(0, weight.shape[0])]
    return _tiles(weight.shape[0], max(1, weight.shape[1]) * dtype.itemsize, _UPCAST_TILE_BYTES)


def held_dtype(tensor: Tensor, dtype: torch.dtype) -> torch.dtype:
    """What a gradient is held in until backward: the tensor's own dtype, except that float16 would underflow
    before the loss scale is known."""
    return dtype if tensor.dtype == torch.float16 else tensor.dtype


def chunk_tokens(weight: Tensor, dtype: torch.dtype) -> int:
    """Tokens of a chunk that fit the memory meant for its logits; a multiple of 16."""
    limit = _CHUNK_BYTES.get(weight.device.type, _CHUNK_BYTES["other"])
    fits = limit // (2 * max(1, weight.shape[0]) * dtype.itemsize)
    return max(16, fits // 16 * 16)
