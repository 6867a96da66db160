"""Products with the head [V, H] for `_fused_chunks.py`: on tensor cores, in half precision, or with part of its rows.

Source: ours.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

# Bytes of the tiles of a head in half precision, of which a copy in float32 is made. Small ones keep a GPU waiting for
# the next kernel.
_UPCAST_TILE_BYTES = {"cpu": 16 << 20, "other": 128 << 20}
# Bytes of the rows of the head, or of its gradient, that are gathered at a time where columns are left out. All of
# them together can be half of the head; and tensors of a new size in every chunk would leave holes in the memory.
_GATHERED_BYTES = {"cpu": 2 << 20, "other": 128 << 20}


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


def project(hidden: Tensor, weight: Tensor, bias: Tensor | None, factor: float, out: Tensor) -> None:
    """out [C, V] = factor * (hidden [C, H] @ weight.T + bias), in out's dtype (autocast leaves `out=` alone)."""
    if _multiplied_as_is(hidden, weight):
        add_product(out, hidden, weight.t(), beta=0, alpha=factor)
    else:
        hidden = hidden.to(out.dtype) * factor
        for tile in _head_tiles(weight, out.dtype):
            torch.mm(hidden, weight[tile].to(out.dtype).t(), out=out[:, tile])
    if bias is not None:
        # -inf minus -inf would be NaN; this far down exp() gives 0 all the same.
        out.add_((bias.to(out.dtype) * factor).clamp(min=torch.finfo(out.dtype).min / 4))


def times_head(gradient: Tensor, weight: Tensor, dtype: torch.dtype) -> Tensor:
    """`gradient` [C, V] @ `weight` [V, H] -> [C, H] in `dtype`, with the head in the gradient's dtype."""
    total = gradient.new_zeros(gradient.shape[0], weight.shape[1], dtype=dtype)
    for tile in _head_tiles(weight, gradient.dtype):
        add_product(total, gradient[:, tile], weight[tile].to(gradient.dtype))
    return total


def _multiplied_as_is(hidden: Tensor, weight: Tensor) -> bool:
    """Whether the device multiplies these into float32 without a copy of the head in float32."""
    return weight.is_cuda and hidden.dtype == weight.dtype and weight.dtype in (torch.bfloat16, torch.float16)


def add_product(out: Tensor, a: Tensor, b: Tensor, beta: float = 1, alpha: float = 1) -> None:
    """out = beta * out + alpha * a @ b, summed in out's dtype; a and b are both in it or both in half precision."""
    if a.dtype == out.dtype:
        out.addmm_(a, b, beta=beta, alpha=alpha)
    else:
        torch.addmm(out, a, b, out_dtype=out.dtype, beta=beta, alpha=alpha, out=out)


def add_kept(
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


def held_rows(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """A buffer for rows of the head that are gathered at a time."""
    limit = _GATHERED_BYTES.get(weight.device.type, _GATHERED_BYTES["other"])
    count = max(1, min(weight.shape[0], limit // (max(1, weight.shape[1]) * dtype.itemsize)))
    return weight.new_empty((count, weight.shape[1]), dtype=dtype)


def mean_row(weight: Tensor, dtype: torch.dtype) -> Tensor:
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
