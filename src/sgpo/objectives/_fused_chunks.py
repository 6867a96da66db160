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

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor

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
# Bytes of the tiles of a head in half precision, of which a copy in float32 is made. Small ones keep a GPU waiting for
# the next kernel.
_UPCAST_TILE_BYTES = {"cpu": 16 << 20, "other": 128 << 20}
# Bytes of the rows of the head, or of its gradient, that are gathered at a time where columns are left out. All of
# them together can be half of the head; and tensors of a new size in every chunk would leave holes in the memory.
_GATHERED_BYTES = {"cpu": 2 << 20, "other": 128 << 20}


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


@contextmanager
def tensor_cores(weight: Tensor) -> Iterator[None]:
    """Products of float32 tensors on a GPU's tensor cores (TF32), where the caller asked for no more precision.

    That is for a head [V, H] in half precision, and under autocast. TF32 keeps 11 bits, where bfloat16 has 8, and sums
    in float32: a head and states in half precision are exact in it, and only d loss / d projection is rounded. On one
    H100 products in float32 made this loss five times as slow as TRL's (docs/results/fused_kl.txt).
    """
    matmul = torch.backends.cuda.matmul
    half = weight.dtype in (torch.bfloat16, torch.float16) or torch.is_autocast_enabled(weight.device.type)
    if weight.device.type != "cuda" or not half:
        yield
        return
    before = matmul.fp32_precision
    matmul.fp32_precision = "tf32"
    try:
        yield
    finally:
        matmul.fp32_precision = before


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
    mean = None if score is None else _mean_row(x.weight, s.dtype)
    held = None if score is None else _held_rows(x.weight, s.dtype)
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
            _add_kept(gradient, teacher, kept, mean, held, x.weight, hidden.to(s.dtype), at, grad_hidden, grad_weight)
        else:
            if grad_hidden is not None:
                grad_hidden[at] = _times_head(gradient, x.weight, s.dtype).to(grad_hidden.dtype)
            if grad_weight is not None:
                _add_product(grad_weight, gradient.t(), hidden.to(gradient.dtype), beta=1 if start else 0)
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
        _fused_triton.statistics(torch.zeros(1, 16, device=device), torch.zeros(1, 16, device=device), forward=True)
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
        _project(torch.cat([hidden, guided]), x.weight, x.bias, s.pre, logits)
    else:
        _project(hidden, x.weight, x.bias, s.pre, logits[: len(hidden)])
        _project(guided, x.teacher_weight, x.bias, s.pre, logits[len(hidden) :])
    return hidden


def _project(hidden: Tensor, weight: Tensor, bias: Tensor | None, factor: float, out: Tensor) -> None:
    """out [C, V] = factor * (hidden [C, H] @ weight.T + bias), in out's dtype (autocast leaves `out=` alone)."""
    if _multiplied_as_is(hidden, weight):
        _add_product(out, hidden, weight.t(), beta=0, alpha=factor)
    else:
        hidden = hidden.to(out.dtype) * factor
        for tile in _head_tiles(weight, out.dtype):
            torch.mm(hidden, weight[tile].to(out.dtype).t(), out=out[:, tile])
    if bias is not None:
        # -inf minus -inf would be NaN; this far down exp() gives 0 all the same.
        out.add_((bias.to(out.dtype) * factor).clamp(min=torch.finfo(out.dtype).min / 4))


def _times_head(gradient: Tensor, weight: Tensor, dtype: torch.dtype) -> Tensor:
    """`gradient` [C, V] @ `weight` [V, H] -> [C, H] in `dtype`, with the head in the gradient's dtype."""
    total = gradient.new_zeros(gradient.shape[0], weight.shape[1], dtype=dtype)
    for tile in _head_tiles(weight, gradient.dtype):
        _add_product(total, gradient[:, tile], weight[tile].to(gradient.dtype))
    return total


def _multiplied_as_is(hidden: Tensor, weight: Tensor) -> bool:
    """Whether the device multiplies these into float32 without a copy of the head in float32."""
    return weight.is_cuda and hidden.dtype == weight.dtype and weight.dtype in (torch.bfloat16, torch.float16)


def _add_product(out: Tensor, a: Tensor, b: Tensor, beta: float = 1, alpha: float = 1) -> None:
    """out = beta * out + alpha * a @ b, summed in out's dtype; a and b are both in it or both in half precision."""
    if a.dtype == out.dtype:
        out.addmm_(a, b, beta=beta, alpha=alpha)
    else:
        torch.addmm(out, a, b, out_dtype=out.dtype, beta=beta, alpha=alpha, out=out)


def _add_kept(
    gradient: Tensor,
    unused: Tensor,
    kept: Tensor,
    mean: Tensor,
    held: Tensor,
    weight: Tensor,
    hidden: Tensor,
    at: tuple[Tensor, Tensor],
    grad_hidden: Tensor | None,
    grad_weight: Tensor | None,
) -> None:
    """What the columns `kept` [K] of `gradient` [C, V] give to the gradients of the tokens `at` and of the head.

    For the hidden states, every other row of the head is taken as the `mean` row [H]: the rows of a trained head share
    a large common part, which would be most of the error if it were left out. The columns are gathered into `unused`,
    a buffer as large as `gradient`, and rows of the head and of its gradient into `held` [R, H], R at a time.
    """
    count, width = len(gradient), len(kept)
    columns = torch.index_select(gradient, 1, kept, out=unused.flatten()[: count * width].view(count, width))
    rest = gradient.sum(1, keepdim=True) - columns.sum(1, keepdim=True)
    total = rest * mean
    for start in range(0, width, len(held)):
        part = slice(start, min(start + len(held), width))
        rows, room = kept[part], held[: part.stop - start]
        if grad_hidden is not None:
            if weight.dtype == room.dtype:
                torch.index_select(weight, 0, rows, out=room)
            else:
                room.copy_(weight[rows])
            total.addmm_(columns[:, part], room)
        if grad_weight is not None:
            grad_weight.index_add_(0, rows, torch.mm(columns[:, part].t(), hidden, out=room))
    if grad_hidden is not None:
        grad_hidden[at] = total.to(grad_hidden.dtype)


def _held_rows(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """A buffer for rows of the head that are gathered at a time."""
    limit = _GATHERED_BYTES.get(weight.device.type, _GATHERED_BYTES["other"])
    count = max(1, min(weight.shape[0], limit // (max(1, weight.shape[1]) * dtype.itemsize)))
    return weight.new_empty((count, weight.shape[1]), dtype=dtype)


def _mean_row(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """The mean row [H] of the head [V, H], in `dtype`."""
    total = weight.new_zeros(weight.shape[1], dtype=dtype)
    for tile in _head_tiles(weight, dtype):
        total += weight[tile].to(dtype).sum(0)
    return total / weight.shape[0]


def _head_tiles(weight: Tensor, dtype: torch.dtype) -> list[slice]:
    """Slices of the vocabulary for products with the head, so that no whole copy of it in `dtype` is made."""
    vocabulary, hidden = weight.shape
    if weight.dtype == dtype:
        return [slice(0, vocabulary)]
    limit = _UPCAST_TILE_BYTES.get(weight.device.type, _UPCAST_TILE_BYTES["other"])
    width = max(64, limit // (max(1, hidden) * dtype.itemsize))
    return [slice(v, min(v + width, vocabulary)) for v in range(0, vocabulary, width)]


def held_dtype(tensor: Tensor, dtype: torch.dtype) -> torch.dtype:
    """What a gradient is held in until backward: the tensor's own dtype, except that float16 would underflow
    before the loss scale is known."""
    return dtype if tensor.dtype == torch.float16 else tensor.dtype


def chunk_tokens(weight: Tensor, dtype: torch.dtype) -> int:
    """Tokens of a chunk that fit the memory meant for its logits; a multiple of 16."""
    limit = _CHUNK_BYTES.get(weight.device.type, _CHUNK_BYTES["other"])
    fits = limit // (2 * max(1, weight.shape[0]) * dtype.itemsize)
    return max(16, fits // 16 * 16)
