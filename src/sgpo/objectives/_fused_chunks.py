"""The chunk loop behind `fused.py`: KL of each token and the loss's gradients, from hidden states.

One chunk: project C student and C teacher states onto the vocabulary; walk over the logits once, a few tokens at a
time, for the softmax sums, the KL and d loss / d projection, which takes their place; multiply that into the
gradients. All in two [C, V] halves of one buffer that every chunk uses again. On a GPU the walk is that of
`_fused_triton.py` where it can be, and a head in half precision is multiplied as it is.

    z = post * tanh(pre * (h W^T + b))      or, without softcap,      z = pre * (h W^T + b)
    forward   d KL_t / d z_s = softmax(z_s) - softmax(z_t)
    reverse   d KL_t / d z_s = softmax(z_s) * (log softmax(z_s) - log softmax(z_t) - KL_t)

Shapes: N rows, T tokens, H hidden, V vocabulary, P counted tokens (packed), C tokens of a chunk.
Source: ours.
"""

import warnings
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor

from ._fused_products import add_kept, add_product, held_rows, mean_row, project, tensor_cores, times_head
from .divergence import clip_gradient_scale
from .records import Divergence

# Bytes that the logits of one chunk, student and teacher, may take. Each chunk reads the head twice, and its
# gradient once more and writes it; on a CPU, products of 128 tokens at V = 152K are nearly as fast as any. A GPU
# needs a larger chunk to be busy.
_CHUNK_BYTES = {"cpu": 160 << 20, "other": 512 << 20}
# Bytes of the logits, student and teacher, that are worked on one block of tokens after another. One CPU thread is
# fastest on blocks that stay in its cache. Several threads wait for the slowest at the end of every operation, on a
# busy machine for milliseconds, so that fewer and larger operations win.
_BLOCK_BYTES = {"one thread": 1 << 20, "cpu": 16 << 20, "other": 512 << 20}
# Where more of the columns than this would stay, gathering them costs what leaving out the others saves.
_DENSE_ABOVE = 0.5
# A block's scratch is a third buffer of its size. Beside a chunk of few tokens, which is asked for to save memory, it
# must not be as large as a half of the chunk's own.
_BLOCKS_OF_A_CHUNK = 4


@dataclass(frozen=True)
class Settings:
    """Everything that is not a tensor. `pre` and `post` as in the equations above; `tolerance` as in `Kernel`;
    `dtype` of all sums."""

    divergence: Divergence
    pre: float
    post: float | None
    chunk_size: int
    tolerance: float
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
    # Autocast would turn those products of float32 tensors into half precision that have no `out`.
    with tensor_cores(x.weight), torch.autocast(x.weight.device.type, enabled=False):
        return _kl_and_gradients(x, s, needed)


def _kl_and_gradients(x: Inputs, s: Settings, needed: tuple[bool, ...]) -> tuple[Tensor, list[Tensor | None]]:
    vocabulary, count = x.weight.shape[0], len(x.rows)
    kl = x.token_weights.new_empty(count)
    need_hidden, need_weight, need_bias = (need and s.want_gradients for need in needed)
    grad_hidden = grad_weight = grad_bias = score = None
    if need_hidden:
        grad_hidden = x.student_hidden.new_zeros(x.student_hidden.shape, dtype=held_dtype(x.student_hidden, s.dtype))
    if need_weight:
        # Not zeros where the first chunk writes all of it: that saves going once more through the largest buffer.
        new = x.weight.new_empty if count and s.tolerance == 0 else x.weight.new_zeros
        grad_weight = new(x.weight.shape, dtype=s.dtype)
    if need_bias:
        grad_bias = x.weight.new_zeros(vocabulary, dtype=s.dtype)
    if s.tolerance > 0 and (need_hidden or need_weight):
        score = x.weight.new_empty(vocabulary, dtype=s.dtype)
    mean = None if score is None else mean_row(x.weight, s.dtype)
    held = None if score is None else held_rows(x.weight, s.dtype)
    buffer = x.weight.new_empty((2 * s.chunk_size, vocabulary), dtype=s.dtype)
    kernels = _kernels(x, s)
    rounded = None
    if _rounds_gradient(x, s, kernels):
        rounded = torch.empty_like(buffer[: s.chunk_size], dtype=torch.bfloat16)
    for start in range(0, count, s.chunk_size):
        part = slice(start, min(start + s.chunk_size, count))
        at = (x.rows[part], x.columns[part])
        logits = buffer[: 2 * (part.stop - part.start)]
        hidden = _project_both(x, s, at, logits)
        student, teacher = logits.chunk(2)
        gradient = student if rounded is None else rounded[: len(student)]
        if kernels is None:
            kl[part] = _kl_then_gradient_(student, teacher, x.token_weights[part], s, score)
        else:
            kl[part] = _kl_then_gradient_on_gpu_(student, teacher, gradient, x.token_weights[part], s, score, kernels)
        kept = None if score is None else _largest(score, s.tolerance)
        if kept is not None and mean is not None and held is not None:
            add_kept(gradient, teacher, kept, mean, held, x.weight, hidden.to(s.dtype), at, grad_hidden, grad_weight)
        else:
            if grad_hidden is not None:
                grad_hidden[at] = times_head(gradient, x.weight, s.dtype).to(grad_hidden.dtype)
            if grad_weight is not None:
                add_product(grad_weight, gradient.t(), hidden.to(gradient.dtype), beta=1 if start else 0)
        if grad_bias is not None:
            grad_bias += gradient.sum(0, dtype=s.dtype)
    if grad_weight is not None:
        grad_weight = grad_weight.to(held_dtype(x.weight, s.dtype))
    return kl, [grad_hidden, grad_weight, grad_bias]


def _kl_then_gradient_(
    student: Tensor, teacher: Tensor, token_weights: Tensor, s: Settings, score: Tensor | None
) -> Tensor:
    """KL [C] from the projections `pre * (h W^T + b)`, [C, V] each; both buffers are used up.

    `student` becomes d loss / d (h W^T + b), where the loss weighs the tokens with `token_weights` [C]. `score` [V],
    if given, becomes the sum of its absolute values over the tokens.
    """
    size = _block_bytes(student.device) // (2 * student[:1].nbytes)
    size = max(1, min(size, len(student) // _BLOCKS_OF_A_CHUNK))
    scratch = torch.empty_like(student[:size])
    kl = torch.empty_like(token_weights)
    if score is not None:
        score.zero_()
    for start in range(0, len(kl), size):
        block = slice(start, min(start + size, len(kl)))
        unused = scratch[: block.stop - block.start]
        kl[block] = _block_kl_then_gradient_(student[block], teacher[block], unused, token_weights[block], s)
        if score is not None:
            score += torch.abs(student[block], out=unused).sum(0)
    return kl


def _block_kl_then_gradient_(zs: Tensor, zt: Tensor, gap: Tensor, token_weights: Tensor, s: Settings) -> Tensor:
    """`_kl_then_gradient_` of a few tokens; `gap` is a third buffer of their size."""
    kind = s.divergence
    forward = kind.direction == "forward"
    slope = None
    if s.post is not None:
        # The slope of the cap, 1 - tanh^2; taken here, since the next line writes the logits over tanh.
        slope = zs.tanh_().square().neg_().add_(1)
        zs.mul_(s.post)
        zt.tanh_().mul_(s.post)
    if kind.teacher_temperature != 1.0:
        zt.mul_(1.0 / kind.teacher_temperature).clamp_(min=torch.finfo(zt.dtype).min / 4)  # see `_project`
    if kind.teacher_mix:
        zt.lerp_(zs, kind.teacher_mix)
    torch.sub(zt.sub_(zt.amax(-1, keepdim=True)), zs.sub_(zs.amax(-1, keepdim=True)), out=gap)
    sum_s, sum_t = zs.exp_().sum(-1, keepdim=True), zt.exp_().sum(-1, keepdim=True)
    gaps = gap.mul_(zt).sum(-1, keepdim=True) if forward else torch.mul(gap, zs, out=zt).sum(-1, keepdim=True)
    kl, first, second = _kl_and_factors(gaps, sum_s, sum_t, token_weights.unsqueeze(-1), s)
    if s.want_gradients:
        if forward:
            zs.mul_(first).addcmul_(zt, second, value=-1)
        else:
            zs.mul_(first).mul_(gap.add_(second))
        if slope is not None:
            zs.mul_(slope)
    return kl.squeeze(-1)


def _kl_and_factors(
    gaps: Tensor, sum_s: Tensor, sum_t: Tensor, token_weights: Tensor, s: Settings
) -> tuple[Tensor, Tensor, Tensor]:
    """KL of each token, and two factors of its gradient, from sums over the vocabulary; all of one shape.

    The sums are, with `e` the exp of a logit less its side's maximum: of the gap between the logits times e_t
    (forward) or e_s; of e_s; of e_t. The gradient is e_s * first - e_t * second, or e_s * first * (gap + second).
    """
    kind = s.divergence
    # log p_t - log p_s = gap + log_sums: each side's maximum was taken off it, and cancels.
    log_sums = sum_s.log() - sum_t.log()
    forward = kind.direction == "forward"
    kl = gaps / sum_t + log_sums if forward else -gaps / sum_s - log_sums
    # Clip, weight and temperature are one number a token each, so one pass over the vocabulary applies them all.
    scale = clip_gradient_scale(kl, kind.clip, kind.clip_form) * token_weights
    scale = scale * (s.pre if s.post is None else s.pre * s.post)
    # The two gradients of this module's docstring; a softmax is here exp over its sum.
    return (kl, scale / sum_s, scale / sum_t) if forward else (kl, -scale / sum_s, log_sums + kl)


def _kl_then_gradient_on_gpu_(
    student: Tensor,
    teacher: Tensor,
    gradient: Tensor,
    token_weights: Tensor,
    s: Settings,
    score: Tensor | None,
    kernels: ModuleType,
) -> Tensor:
    """`_kl_then_gradient_` by `_fused_triton.py`; `gradient` is `student` or takes its place."""
    forward = s.divergence.direction == "forward"
    max_s, max_t, sum_s, sum_t, gaps = kernels.statistics(student, teacher, forward)
    kl, *factors = _kl_and_factors(gaps, sum_s, sum_t, token_weights, s)
    if s.want_gradients:
        kernels.write_gradient(student, teacher, torch.stack([max_s, max_t, *factors]), forward, gradient)
        if score is not None:
            torch.sum(torch.abs(gradient, out=teacher), 0, out=score)
    return kl


def _rounds_gradient(x: Inputs, s: Settings, kernels: ModuleType | None) -> bool:
    """Whether d loss / d projection goes into its two products in bfloat16, where head and hidden states are in it.

    That is 2.3 times as fast as TF32 on one H200, and adds less to the gradients' error than their own rounding to
    bfloat16 (docs/results/fused_kl.txt). The products are summed in float32. float16 would underflow.
    """
    in_bfloat16 = x.student_hidden.dtype == x.weight.dtype == torch.bfloat16
    return in_bfloat16 and kernels is not None and s.tolerance == 0 and s.want_gradients


def _kernels(x: Inputs, s: Settings) -> ModuleType | None:
    """`_fused_triton.py`, where it computes what is asked for and runs on this device."""
    plain = s.post is None and s.divergence.teacher_temperature == 1.0 and s.divergence.teacher_mix == 0
    return _triton_on(x.weight.device) if plain and x.weight.is_cuda and s.dtype == torch.float32 else None


@cache
def _triton_on(device: torch.device) -> ModuleType | None:
    """`_fused_triton.py` if it runs, which takes Triton and the C compiler that Triton calls."""
    try:
        from . import _fused_triton
    except ImportError:
        return None
    try:
        probe = torch.zeros(1, 16, device=device, dtype=torch.float32)  # as logits are, whatever torch's default is
        _fused_triton.statistics(probe, probe, forward=True)
    except Exception as error:
        warnings.warn(
            f"Triton does not run ({error}), so the distillation loss takes up to three times as long.", stacklevel=2
        )
        return None
    return _fused_triton


def _block_bytes(device: torch.device) -> int:
    if device.type == "cpu":
        return _BLOCK_BYTES["one thread" if torch.get_num_threads() == 1 else "cpu"]
    return _BLOCK_BYTES["other"]


def _largest(score: Tensor, tolerance: float) -> Tensor | None:
    """Indices [K], ascending, of the entries of `score` [V] left when those are dropped that are smallest and together
    hold at most `tolerance` of the sum; None for all, where dropping would not pay or the sum is NaN."""
    values, order = score.sort()
    held = values.cumsum(0)
    dropped = int((held <= tolerance * held[-1]).sum())
    if len(score) - dropped > _DENSE_ABOVE * len(score):
        return None
    return order[dropped:].sort().values


def _project_both(x: Inputs, s: Settings, at: tuple[Tensor, Tensor], logits: Tensor) -> Tensor:
    """Project the tokens `at` into `logits` [2 C, V], the student's first; returns its hidden states [C, H]."""
    hidden, guided = x.student_hidden[at], x.teacher_hidden[at]
    if x.teacher_weight is None:
        # One product, which reads the head once.
        project(torch.cat([hidden, guided]), x.weight, x.bias, s.pre, logits)
    else:
        project(hidden, x.weight, x.bias, s.pre, logits[: len(hidden)])
        project(guided, x.teacher_weight, x.bias, s.pre, logits[len(hidden) :])
    return hidden


def held_dtype(tensor: Tensor, dtype: torch.dtype) -> torch.dtype:
    """What a gradient is held in until backward: the tensor's own dtype, except that float16 would underflow
    before the loss scale is known."""
    return dtype if tensor.dtype == torch.float16 else tensor.dtype


def chunk_tokens(weight: Tensor, dtype: torch.dtype) -> int:
    """Tokens of a chunk that fit the memory meant for its logits; a multiple of 16."""
    limit = _CHUNK_BYTES.get(weight.device.type, _CHUNK_BYTES["other"])
    fits = limit // (2 * max(1, weight.shape[0]) * dtype.itemsize)
    return max(16, fits // 16 * 16)
