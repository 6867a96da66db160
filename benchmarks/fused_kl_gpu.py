"""What the Triton kernels and products in half precision give the fused loss on a GPU: times, memory and errors.

    python benchmarks/fused_kl_gpu.py        # on one NVIDIA GPU; half a minute

One loss with its backward on random states of the size of Qwen2.5-1.5B in bfloat16, forward KL, threshold 1.0. Errors
are those of the gradients against float32 logits, before and after the rounding to bfloat16 that every gradient here
ends with; "slope" is the part of the error that points along the gradient. Prints medians [lowest, highest] of five.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from statistics import median
from unittest.mock import patch

import device
import torch
from torch import Tensor

from sgpo.objectives import Divergence, Head, Kernel, Rows, distillation_loss, fused_linear_distillation_loss
from sgpo.objectives import _fused_chunks as chunks
from sgpo.objectives import _fused_products as products
from sgpo.objectives import fused as entry

HIDDEN, VOCABULARY, TOKENS, ROWS = 1536, 151936, 8192, 4
# Triton's kernels, a head multiplied as it is, a gradient in bfloat16.
VARIANTS = {
    "torch, products in TF32": (False, False, False),
    "torch, head as it is": (False, True, False),
    "triton, gradient in TF32": (True, True, False),
    "triton, gradient in bfloat16": (True, True, True),
}


def main() -> None:
    torch.manual_seed(0)
    torch.set_default_device("cuda")
    torch.set_default_dtype(torch.bfloat16)
    student = torch.randn(ROWS, TOKENS // ROWS, HIDDEN)
    teacher = student + 1.5 * torch.randn(ROWS, TOKENS // ROWS, HIDDEN)
    head = torch.empty(VOCABULARY, HIDDEN).normal_(std=HIDDEN**-0.5)
    sources = student.requires_grad_(), head.requires_grad_()
    mask = torch.ones(student.shape[:2], dtype=torch.bool)
    rows = Rows(student, teacher, mask, torch.full((ROWS,), 0.5, dtype=torch.float32), ROWS)
    print(f"{device.name_of('cuda')}, torch {torch.__version__}")
    reference = reference_gradients(student.detach().flatten(0, 1), teacher.flatten(0, 1), head.detach())
    for gradient, name in zip(reference, ("dh", "dW"), strict=True):
        print(f"rounding {name} to bfloat16: error {error(gradient.bfloat16(), gradient)}")

    def ours(chunk: int | None = None) -> Tensor:
        return fused_linear_distillation_loss(rows, Head(head), Divergence(), Kernel(chunk)).loss

    for name in VARIANTS:
        with variant(name), unrounded() as kept:
            ours()
            print_errors(name, kept, reference)
        with variant(name):
            for chunk in (512, 1024, 2048, None):
                print_time(f"{name}, chunk {chunk or 'default'}", partial(ours, chunk), sources)
            print_errors(f"{name}, rounded", [x.grad for x in sources], reference)
    for name, loss in others(student, teacher, head, rows):
        print_time(name, loss, sources)
        print_errors(name, [x.grad for x in sources], reference)


@contextmanager
def variant(name: str) -> Iterator[None]:
    with ExitStack() as stack:
        functions = (chunks, "_kernels"), (products, "_multiplied_as_is"), (chunks, "_rounds_gradient")
        for (module, function), on in zip(functions, VARIANTS[name], strict=True):
            if not on:
                stack.enter_context(patch.object(module, function, lambda *_: None))
        yield


@contextmanager
def unrounded() -> Iterator[list[Tensor]]:
    """A list of the gradients as they are computed, in float32."""
    kept: list[Tensor] = []
    compute = chunks.kl_and_gradients

    def keeping(*args: object) -> object:
        kl, gradients = compute(*args)  # type: ignore[arg-type]
        kept[:] = gradients[:2]  # type: ignore[assignment]
        return kl, gradients

    with patch.object(chunks, "held_dtype", lambda _, dtype: dtype), patch.object(entry, "kl_and_gradients", keeping):
        yield kept


def reference_gradients(student: Tensor, teacher: Tensor, head: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of the states and the head from whole float32 logits, some rows at a time."""
    weight = head.float()
    grad_hidden, grad_weight = torch.empty_like(student, dtype=torch.float32), torch.zeros_like(weight)
    for start in range(0, TOKENS, 512):
        part = slice(start, start + 512)
        states = student[part].float()
        ours, theirs = (torch.log_softmax(x.float() @ weight.t(), -1) for x in (states, teacher[part]))
        kl = (theirs.exp() * (theirs - ours)).sum(-1, keepdim=True)
        gradient = (ours.exp() - theirs.exp()) * torch.where(kl > 1, 1 / kl, 1.0) * (0.5 / TOKENS)
        grad_hidden[part] = gradient @ weight
        grad_weight.addmm_(gradient.t(), states)
    return grad_hidden, grad_weight


def others(student: Tensor, teacher: Tensor, head: Tensor, rows: Rows) -> Iterator[tuple[str, Callable[[], Tensor]]]:
    """TRL's kernel with several tiles, its own first, and Liger's, which clips nothing."""
    flat, guided, fixed = student.flatten(0, 1), teacher.flatten(0, 1), head.detach()
    try:
        from trl.kernels import chunked_divergence as trl
    except ImportError:
        return

    def by_trl() -> Tensor:
        kl, _ = trl.ChunkedDivergenceFunction.apply(student.flatten(0, 1), head, None, guided, fixed, None, 0.0)
        return distillation_loss(kl.view(student.shape[:2]), rows.mask, rows.weights, normalizer=ROWS)[0]

    for tile in ((trl.TOKEN_CHUNK_SIZE, trl.VOCAB_CHUNK_SIZE), (256, 32768), (2048, 32768), (8192, 16384)):
        trl.TOKEN_CHUNK_SIZE, trl.VOCAB_CHUNK_SIZE = tile
        yield f"TRL, tile {tile}", by_trl
    try:
        from liger_kernel.chunked_loss import LigerFusedLinearJSDLoss  # type: ignore[import-not-found]
    except ImportError:
        return
    liger = LigerFusedLinearJSDLoss(weight_hard_loss=0.0, weight_soft_loss=1.0, beta=0.0, compiled=False)
    labels = torch.zeros(len(flat), dtype=torch.long)
    yield "Liger", lambda: liger(student.flatten(0, 1), head, guided, fixed, labels)


def print_time(name: str, loss: Callable[[], Tensor], sources: tuple[Tensor, ...]) -> None:
    seconds, held = [], 0
    for i in range(8):
        for source in sources:
            source.grad = None
        if i == 3:
            held = device.reset_peak("cuda")
        start = device.now("cuda")
        value = loss()
        value.backward()
        seconds.append(device.now("cuda") - start)
    seconds, peak = seconds[3:], (device.read_peak("cuda") - held) / device.MIB
    spread = f"[{min(seconds):.4f}, {max(seconds):.4f}]"
    print(f"{name:48s} {median(seconds):.4f} s {spread} peak {peak:6.0f} MiB  loss {value.item():.7f}", flush=True)


def print_errors(name: str, gradients: Sequence[Tensor | None], reference: tuple[Tensor, ...]) -> None:
    texts = [f"{n} {error(g, r)}" for n, g, r in zip(("dh", "dW"), gradients, reference, strict=True) if g is not None]
    print(f"{name:48s} errors {'; '.join(texts)}", flush=True)


def error(gradient: Tensor, reference: Tensor) -> str:
    found = gradient.reshape(reference.shape).float()
    slope = (found.flatten() @ reference.flatten() / reference.norm() ** 2).item() - 1
    return f"{((found - reference).norm() / reference.norm()).item():.2e}, slope {slope:+.1e}"


if __name__ == "__main__":
    main()
