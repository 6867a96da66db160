"""The passes over the vocabulary behind `fused.py`: KL of each token and the loss's gradients, from hidden states.

    z = post * tanh(pre * (h W^T + b))      or, without softcap,      z = pre * (h W^T + b)
    forward   d KL_t / d z_s = softmax(z_s) - softmax(z_t)
    reverse   d KL_t / d z_s = softmax(z_s) * (log softmax(z_s) - log softmax(z_t) - KL_t)

A token's gradient needs its softmax sums, for which its whole vocabulary has to be seen, so there are two passes:

    measure    project tile after tile of the vocabulary; keep running sums for the softmax and the KL
    gradient   d loss / d projection of each tile, multiplied into the gradients of hidden states and head

In between the logits are kept where there is room, and projected once more where there is none. A head that is trained
brings room along: its gradient is written in the second pass, row by row of the vocabulary, and until then each of
its H entries a row can hold one logit. So H tokens, of both policies in turns, take four matrix products and no memory,
and every token after them takes six. Else a buffer is made that holds the logits of one chunk of tokens.

Logits lie as [vocabulary, tokens], so that a tile is a few rows of such a buffer and of the head's gradient alike.

Shapes: N rows, T tokens, H hidden, V vocabulary, P counted tokens (packed), C tokens of a part, W entries of a tile.
Source: ours. Running softmax sums are those of online softmax (arXiv 1805.02867).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .divergence import clip_gradient_scale
from .records import Divergence, Kernel

# Bytes that the kept logits of one chunk, student and teacher, may take, where the head's gradient gives no room.
_CHUNK_BYTES = {"cpu": 160 << 20, "other": 512 << 20}
# Bytes for logits beside the gradient of the head. A GPU has them, and there two more products cost more than memory.
_SPARE_BYTES = {"cpu": 0, "other": 512 << 20}
# Tokens that are projected at a time, where the logits need not be kept.
_PART_TOKENS = {"cpu": 1024, "other": 8192}
# Bytes of the logits of a tile, student and teacher. Products of larger tiles are no faster on a CPU.
_TILE_BYTES = {"cpu": 4 << 20, "other": 128 << 20}
# Of a tile so much is walked over at a time: on a CPU what stays in its cache from one operation to the next.
_BLOCK_BYTES = {"cpu": 1 << 20, "other": 128 << 20}
# A tile of the head is copied where the head is in half precision, and is the size of a tile of its gradient.
_UPCAST_TILE_BYTES = 16 << 20
# Room for fewer tokens than this is left alone: a pass over the head for their sake costs more than six products.
_FEWEST_KEPT = 32
# Where more of the columns than this would stay, gathering them costs what leaving out the others saves.
_DENSE_ABOVE = 0.5


@dataclass(frozen=True)
class Computation:
    """Everything that is not a tensor: options, `pre` and `post` as in the equations above, dtype of all sums."""

    divergence: Divergence
    kernel: Kernel
    pre: float
    post: float | None
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


def kl_and_gradients(x: Inputs, s: Computation, needed: tuple[bool, ...]) -> tuple[Tensor, list[Tensor | None]]:
    """KL of each counted token [P], nats, and what is `needed` of the gradients of hidden, weight, bias."""
    need_hidden, need_weight, need_bias = (need and s.want_gradients for need in needed)
    # Autocast would turn products of float32 tensors into half precision.
    with torch.autocast(x.weight.device.type, enabled=False):
        keep_in_gradient = need_weight and s.kernel.tolerance == 0
        chunked = s.want_gradients and not keep_in_gradient
        passes = _Passes(x, s, chunk_tokens(x.weight, s.dtype) if chunked else None)
        if need_hidden:
            passes.grad_hidden = torch.zeros_like(passes.student)
        if need_weight:
            # Not zeros where the second pass writes all of it: that saves going once more through the largest buffer.
            new = x.weight.new_empty if keep_in_gradient and len(x.rows) else x.weight.new_zeros
            held = held_dtype(x.weight, s.dtype) if keep_in_gradient else s.dtype
            passes.grad_weight = new(x.weight.shape, dtype=held)
        if need_bias:
            passes.grad_bias = x.weight.new_zeros(x.weight.shape[0], dtype=s.dtype)
        if keep_in_gradient:
            passes.run_in_gradient()
        else:
            passes.run_in_chunks(any((need_hidden, need_weight, need_bias)))
    grad_weight = passes.grad_weight
    if grad_weight is not None:
        grad_weight = grad_weight.to(held_dtype(x.weight, s.dtype))
    return passes.kl, [passes.unpacked_hidden(), grad_weight, passes.grad_bias]


class _Passes:
    """Both passes over the vocabulary for the counted tokens of one loss, with what they found so far."""

    grad_hidden: Tensor | None = None  # [P, H]
    grad_weight: Tensor | None = None  # [V, H]
    grad_bias: Tensor | None = None  # [V]

    def __init__(self, x: Inputs, s: Computation, tokens: int | None) -> None:
        """`tokens` of a part; None for as many as are fastest. `chunk_size` goes before either."""
        self.x, self.s = x, s
        self.student, self.teacher = (_packed(x, hidden).to(s.dtype) for hidden in (x.student_hidden, x.teacher_hidden))
        device, count = x.weight.device, len(x.rows)
        tokens = s.kernel.chunk_size or tokens or _by_device(_PART_TOKENS, device)
        self.part_tokens = max(1, min(tokens, count))
        vocabulary, hidden = x.weight.shape
        width = min(
            _by_device(_TILE_BYTES, device) // (2 * self.part_tokens * s.dtype.itemsize),
            _UPCAST_TILE_BYTES // (max(1, hidden) * s.dtype.itemsize),
        )
        width = min(max(64, width), vocabulary)
        self.block = max(1, _by_device(_BLOCK_BYTES, device) // (2 * self.part_tokens * s.dtype.itemsize))
        self.tiles = [slice(v, min(v + width, vocabulary)) for v in range(0, vocabulary, width)]
        self.scratch = x.weight.new_empty((2, width * self.part_tokens), dtype=s.dtype)
        # Of each token, and for both policies, the largest logit and the sum of exp(logit - largest).
        self.largest, self.sums = (x.weight.new_empty((2, count), dtype=s.dtype) for _ in range(2))
        self.kl, self.scale = (x.token_weights.new_empty(count) for _ in range(2))

    def parts(self, start: int = 0) -> list[slice]:
        """The tokens from `start` on, in parts."""
        ends = range(start, len(self.kl), self.part_tokens)
        return [slice(i, min(i + self.part_tokens, len(self.kl))) for i in ends]

    def run_in_gradient(self) -> None:
        """All that is needed, with the head's gradient, whose memory holds logits until it is written."""
        assert self.grad_weight is not None
        kept: list[tuple[slice, Tensor]] = []
        done = self.keep(_room(self.grad_weight, self.s.dtype), 0, kept)
        spare, vocabulary = self.s.kernel.spare_bytes, len(self.grad_weight)
        if spare is None:
            spare = _by_device(_SPARE_BYTES, self.kl.device)
        columns = min(spare // max(1, vocabulary * self.s.dtype.itemsize), 2 * (len(self.kl) - done))
        done = self.keep(self.student.new_empty(vocabulary, columns), done, kept)
        for part in (projected := self.parts(done)):
            self.measure(part)
        self.write_gradients(kept, projected)

    def keep(self, room: Tensor, done: int, kept: list[tuple[slice, Tensor]]) -> int:
        """First pass over as many tokens from `done` on as `room` [V, K] takes; returns the first one it does not.

        The tokens join `kept` with their gradients [V, C].
        """
        column = 0
        while left := len(self.kl) - done:
            # Half of the columns are free again as soon as the logits of both policies have become one gradient.
            size = min((room.shape[1] - column) // 2, self.part_tokens, left)
            if size < min(_FEWEST_KEPT, left):
                break
            part = slice(done, done + size)
            kept.append((part, self.measure_and_keep(part, room[:, column : column + 2 * size])))
            done, column = done + size, column + size
        return done

    def write_gradients(self, kept: list[tuple[slice, Tensor]], projected: list[slice]) -> None:
        """The second pass. `kept` are tokens with their gradients [V, C], which lie in the gradient of the head."""
        assert self.grad_weight is not None
        total = self.student.new_empty(len(self.kl) and self.tiles[0].stop, self.student.shape[1])
        for tile in self.tiles if len(self.kl) else []:
            into = total[: tile.stop - tile.start]
            head = self.x.weight[tile].to(self.s.dtype)
            beta = 0
            for part, gradients in [*kept, *((part, None) for part in projected)]:
                gradient = self.gradient(part, *self.logits(tile, part)) if gradients is None else gradients[tile]
                into.addmm_(gradient, self.student[part], beta=beta)
                self.add_small(gradient, head, part, tile)
                beta = 1
            self.grad_weight[tile] = into

    def run_in_chunks(self, want_gradients: bool) -> None:
        """All that is needed, one chunk of tokens after another, with a buffer for the logits of a chunk."""
        vocabulary = self.x.weight.shape[0]
        buffer = score = mean = None
        if want_gradients:
            buffer = self.student.new_empty(vocabulary, 2 * self.part_tokens)
        if self.s.kernel.tolerance > 0 and not (self.grad_hidden is None and self.grad_weight is None):
            score, mean = self.student.new_empty(vocabulary), _mean_row(self.x.weight, self.tiles, self.s.dtype)
        for part in self.parts():
            if buffer is None:
                self.measure(part)
                continue
            gradient = self.measure_and_keep(part, buffer[:, : 2 * (part.stop - part.start)])
            if score is not None:
                for tile in self.tiles:
                    torch.sum(torch.abs(gradient[tile], out=self.scratch_tile(tile, part)[0]), 1, out=score[tile])
            kept = None if score is None else _largest(score, self.s.kernel.tolerance)
            if kept is None or mean is None:
                for tile in self.tiles:
                    self.add_small(gradient[tile], self.x.weight[tile].to(self.s.dtype), part, tile)
                    if self.grad_weight is not None:
                        self.grad_weight[tile].addmm_(gradient[tile], self.student[part])
            else:
                self.add_kept(gradient, kept, mean, part)

    def measure(self, part: slice, keep: Tensor | None = None) -> None:
        """First pass: softmax sums, KL and scale of the tokens `part`; their logits go into `keep` [V, 2 C]."""
        size = part.stop - part.start
        forward = self.s.divergence.direction == "forward"
        weigh = int(forward)  # which policy's probabilities weigh the log-ratios
        largest = self.largest[:, part].fill_(torch.finfo(self.s.dtype).min)
        sums = self.sums[:, part].zero_()
        gaps = torch.zeros_like(sums[0])  # sum of exp(logit - largest) times the difference of both policies
        for tile in self.tiles:
            logits = self.logits(tile, part)
            if keep is not None:
                keep[tile, :size], keep[tile, size:] = logits
            for both in logits.split(self.block, dim=1):
                before = largest.clone()
                torch.maximum(before, both.amax(1), out=largest)
                lower = before - largest
                fade = lower.exp()
                # Taking the maxima off before the difference keeps its rounding small where logits are large.
                both.sub_(largest[:, None])
                gap = both[1] - both[0]
                gaps = (gaps + sums[weigh] * (lower[1] - lower[0])) * fade[weigh]
                sums.mul_(fade).add_(both.exp_().sum(1))
                gaps += gap.mul_(both[weigh]).sum(0)
        log_sums = sums.log()
        if forward:
            self.kl[part] = gaps / sums[1] + (log_sums[0] - log_sums[1])
        else:
            self.kl[part] = -gaps / sums[0] - (log_sums[0] - log_sums[1])
        scale = (
            clip_gradient_scale(self.kl[part], self.s.divergence.clip, self.s.divergence.clip_form)
            * self.x.token_weights[part]
        )
        self.scale[part] = scale * (self.s.pre if self.s.post is None else self.s.pre * self.s.post)

    def measure_and_keep(self, part: slice, room: Tensor) -> Tensor:
        """First pass with the logits in `room` [V, 2 C]; returns its first half, d loss / d projection [V, C]."""
        self.measure(part, room)
        zs, zt = room.chunk(2, dim=1)
        for tile in self.tiles:
            self.gradient(part, zs[tile], zt[tile])
        return zs

    def logits(self, tile: slice, part: slice) -> Tensor:
        """`z` [2, W, C], in scratch: the student's, and the target that the options make of the teacher's."""
        s, bias = self.s, self.x.bias
        both = self.scratch_tile(tile, part)
        guide = self.x.weight if self.x.teacher_weight is None else self.x.teacher_weight
        for z, head, hidden in zip(both, (self.x.weight, guide), (self.student, self.teacher), strict=True):
            z.addmm_(head[tile].to(s.dtype), hidden[part].t(), beta=0, alpha=s.pre)
        if bias is not None:
            # -inf minus -inf would be NaN; this far down exp() gives 0 all the same.
            both += (bias[tile, None].to(s.dtype) * s.pre).clamp(min=torch.finfo(s.dtype).min / 4)
        if s.post is not None:
            both.tanh_().mul_(s.post)
        if s.divergence.teacher_temperature != 1.0:
            both[1].div_(s.divergence.teacher_temperature).clamp_(min=torch.finfo(s.dtype).min / 4)
        if s.divergence.teacher_mix:
            both[1].lerp_(both[0], s.divergence.teacher_mix)
        return both

    def gradient(self, part: slice, zs: Tensor, zt: Tensor) -> Tensor:
        """d loss / d (h W^T + b) [W, C] in the place of `zs`; the sums of its tokens are known. Uses up `zt`."""
        (max_s, max_t), (sum_s, sum_t) = self.largest[:, part], self.sums[:, part]
        scale = self.scale[part]
        factor_s, factor_t = scale / sum_s, scale / sum_t
        log_ratio = max_s - max_t + sum_s.log() - sum_t.log() + self.kl[part]
        for s, t in zip(zs.split(self.block), zt.split(self.block), strict=True):
            slope = None if self.s.post is None else s.div(self.s.post).square_().neg_().add_(1)
            if self.s.divergence.direction == "forward":
                s.sub_(max_s).exp_().mul_(factor_s).addcmul_(t.sub_(max_t).exp_(), factor_t, value=-1)
            else:
                t.sub_(s).add_(log_ratio)
                s.sub_(max_s).exp_().mul_(factor_s).mul_(t.neg_())
            if slope is not None:
                s.mul_(slope)
        return zs

    def add_small(self, gradient: Tensor, head: Tensor, part: slice, tile: slice) -> None:
        """What a tile's gradient [W, C] gives to the gradients of the hidden states and the bias."""
        if self.grad_hidden is not None:
            _times_head(gradient, head, self.grad_hidden[part])
        if self.grad_bias is not None:
            self.grad_bias[tile] += gradient.sum(1)

    def add_kept(self, gradient: Tensor, kept: Tensor, mean: Tensor, part: slice) -> None:
        """What a chunk's gradient [V, C] gives to all gradients, with products over its rows `kept` [K] alone.

        For the hidden states every other row of the head is taken as the `mean` row [H]: the rows of a trained head
        share a large common part, which would be most of the error if it were left out.
        """
        rows = gradient[kept]
        if self.grad_hidden is not None:
            rest = gradient.sum(0) - rows.sum(0)
            torch.mul(rest[:, None], mean, out=self.grad_hidden[part])
            _times_head(rows, self.x.weight[kept].to(self.s.dtype), self.grad_hidden[part])
        if self.grad_weight is not None:
            self.grad_weight.index_add_(0, kept, rows @ self.student[part])
        if self.grad_bias is not None:
            self.grad_bias += gradient.sum(1)

    def scratch_tile(self, tile: slice, part: slice) -> Tensor:
        """Scratch [2, W, C]."""
        width, tokens = tile.stop - tile.start, part.stop - part.start
        return self.scratch[:, : width * tokens].view(2, width, tokens)

    def unpacked_hidden(self) -> Tensor | None:
        """The gradient of the hidden states [N, T, H], in the dtype that it is held in."""
        if self.grad_hidden is None:
            return None
        source = self.x.student_hidden
        packed = self.grad_hidden.to(held_dtype(source, self.s.dtype))
        if len(packed) == source.shape[:2].numel():
            return packed.view(source.shape)
        return packed.new_zeros(source.shape).index_put_((self.x.rows, self.x.columns), packed)


def _packed(x: Inputs, hidden: Tensor) -> Tensor:
    """The states [P, H] of the counted tokens, without a copy where all are."""
    everything = len(x.rows) == hidden.shape[:2].numel()
    return hidden.flatten(0, 1) if everything else hidden[x.rows, x.columns]


def _room(gradient: Tensor, dtype: torch.dtype) -> Tensor:
    """The memory of a head's gradient [V, H] as a tensor of `dtype`: [V, H], or half as wide in half precision."""
    fits = gradient.shape[1] * gradient.dtype.itemsize % dtype.itemsize == 0
    return gradient.view(dtype) if fits else gradient.new_empty(gradient.shape[0], 0, dtype=dtype)


def _by_device(table: dict[str, int], device: torch.device) -> int:
    return table.get(device.type, table["other"])


def _largest(score: Tensor, tolerance: float) -> Tensor | None:
    """Indices [K], ascending, of the entries of `score` [V] left when those are dropped that are smallest and together
    hold at most `tolerance` of the sum; None for all, where dropping would not pay or the sum is NaN."""
    values, order = score.sort()
    held = values.cumsum(0)
    dropped = int((held <= tolerance * held[-1]).sum())
    if len(score) - dropped > _DENSE_ABOVE * len(score):
        return None
    return order[dropped:].sort().values


def _times_head(gradient: Tensor, head: Tensor, total: Tensor) -> None:
    """Adds `gradient` [W, C] transposed, times `head` [W, H], to `total` [C, H]."""
    total.addmm_(gradient.t(), head)


def _mean_row(weight: Tensor, tiles: list[slice], dtype: torch.dtype) -> Tensor:
    """The mean row [H] of the head [V, H], in `dtype`."""
    total = weight.new_zeros(weight.shape[1], dtype=dtype)
    for tile in tiles:
        total += weight[tile].to(dtype).sum(0)
    return total / weight.shape[0]


def held_dtype(tensor: Tensor, dtype: torch.dtype) -> torch.dtype:
    """What a gradient is held in until backward: the tensor's own dtype, except that float16 would underflow
    before the loss scale is known."""
    return dtype if tensor.dtype == torch.float16 else tensor.dtype


def chunk_tokens(weight: Tensor, dtype: torch.dtype) -> int:
    """Tokens of a chunk that fit the memory meant for its logits; a multiple of 16."""
    fits = _by_device(_CHUNK_BYTES, weight.device) // (2 * max(1, weight.shape[0]) * dtype.itemsize)
    return max(16, fits // 16 * 16)
