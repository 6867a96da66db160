"""The two walks over the logits of `_fused_chunks.py` on a GPU, one kernel each in place of fifteen.

Shapes: C tokens of a chunk, V vocabulary, both projections [C, V] float32 without gaps. Source: ours.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 2048
_WARPS = 8


def statistics(student: Tensor, teacher: Tensor, forward: bool) -> Tensor:
    """[5, C]: each side's maximum; each side's sum of exp(z - maximum); the sum of exp(z - maximum) * gap, where the
    gap is z_t - z_s, each less its maximum, and the exp is the teacher's (`forward`) or the student's."""
    count, width = student.shape
    out = student.new_empty(5, count)
    with torch.cuda.device_of(student):
        _statistics[(count,)](student, teacher, out, count, width, FORWARD=forward, BLOCK=_BLOCK, num_warps=_WARPS)
    return out


def write_gradient(student: Tensor, teacher: Tensor, factors: Tensor, forward: bool, out: Tensor) -> None:
    """`out` [C, V], which may be `student`, becomes, with z less its maximum,

        forward   exp(z_s) * first - exp(z_t) * second
        reverse   exp(z_s) * first * (z_t - z_s + second)

    for `factors` [4, C]: each side's maximum, first and second.
    """
    count, width = student.shape
    grid = (count, triton.cdiv(width, _BLOCK))
    with torch.cuda.device_of(student):
        _gradient[grid](student, teacher, out, factors, count, width, FORWARD=forward, BLOCK=_BLOCK, num_warps=_WARPS)


@triton.jit(do_not_specialize=["count"])
def _statistics(student, teacher, out, count, WIDTH: tl.constexpr, FORWARD: tl.constexpr, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    # Every lane keeps sums of its own, so that lanes meet once, at the end. A lane that saw nothing yet is far below
    # any logit, and finite: minus infinity less itself would be NaN. tl.maximum passes over NaN, exp() does not.
    token = tl.program_id(0).to(tl.int64)
    top_s = tl.full([BLOCK], -1.7e38, tl.float32)
    top_t = tl.full([BLOCK], -1.7e38, tl.float32)
    sum_s = tl.zeros([BLOCK], tl.float32)
    sum_t = tl.zeros([BLOCK], tl.float32)
    gaps = tl.zeros([BLOCK], tl.float32)
    for start in range(0, WIDTH, BLOCK):
        at = start + tl.arange(0, BLOCK)
        zs = tl.load(student + token * WIDTH + at, at < WIDTH, other=-1.7e38)
        zt = tl.load(teacher + token * WIDTH + at, at < WIDTH, other=-1.7e38)
        new_s = tl.maximum(top_s, zs)
        new_t = tl.maximum(top_t, zt)
        shrink_s = tl.exp(top_s - new_s)
        shrink_t = tl.exp(top_t - new_t)
        moved = (top_t - new_t) - (top_s - new_s)
        top_s = new_s
        top_t = new_t
        es = tl.exp(zs - top_s)
        et = tl.exp(zt - top_t)
        gap = (zt - top_t) - (zs - top_s)
        sum_s *= shrink_s
        sum_t *= shrink_t
        if FORWARD:
            gaps = gaps * shrink_t + sum_t * moved + et * gap
        else:
            gaps = gaps * shrink_s + sum_s * moved + es * gap
        sum_s += es
        sum_t += et
    max_s = tl.max(top_s, 0)
    max_t = tl.max(top_t, 0)
    shrink_s = tl.exp(top_s - max_s)
    shrink_t = tl.exp(top_t - max_t)
    moved = (top_t - max_t) - (top_s - max_s)
    sum_s *= shrink_s
    sum_t *= shrink_t
    if FORWARD:
        gaps = gaps * shrink_t + sum_t * moved
    else:
        gaps = gaps * shrink_s + sum_s * moved
    tl.store(out + token, max_s)
    tl.store(out + count + token, max_t)
    tl.store(out + 2 * count + token, tl.sum(sum_s, 0))
    tl.store(out + 3 * count + token, tl.sum(sum_t, 0))
    tl.store(out + 4 * count + token, tl.sum(gaps, 0))


@triton.jit(do_not_specialize=["count"])
def _gradient(student, teacher, out, factors, count, WIDTH: tl.constexpr, FORWARD: tl.constexpr, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    token = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    zs = tl.load(student + token * WIDTH + at, at < WIDTH, other=0.0) - tl.load(factors + token)
    zt = tl.load(teacher + token * WIDTH + at, at < WIDTH, other=0.0) - tl.load(factors + count + token)
    first = tl.load(factors + 2 * count + token)
    second = tl.load(factors + 3 * count + token)
    if FORWARD:
        gradient = tl.exp(zs) * first - tl.exp(zt) * second
    else:
        gradient = tl.exp(zs) * first * (zt - zs + second)
    tl.store(out + token * WIDTH + at, gradient, at < WIDTH)
