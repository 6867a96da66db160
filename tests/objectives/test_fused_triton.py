"""The fused loss by the kernels of Triton, on a GPU or, without one, in Triton's interpreter (a process of its own)."""

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from test_fused import F64, MASK, OPTIONS, WEIGHTS, close, fused, gradients, inputs, sums_in_float32
from torch import Tensor

from sgpo.objectives import Divergence
from sgpo.objectives import _fused_chunks as chunks

pytest.importorskip("triton")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
RUNS = DEVICE == "cuda" or os.environ.get("TRITON_INTERPRET") == "1"
here = pytest.mark.skipif(not RUNS, reason="no GPU, and no interpreter in this process")
PLAIN = [o for o in OPTIONS if not {"softcap", "teacher_temperature"} & set(o)]


@pytest.mark.skipif(RUNS, reason="the tests run in this process")
def test_the_interpreter_runs_the_tests_of_this_file() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(Path(__file__))]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "TRITON_INTERPRET": "1"})
    assert done.returncode == 0, done.stdout[-3000:]


def kernels() -> Any:
    from sgpo.objectives import _fused_triton

    return _fused_triton


def found(**options: Any) -> list[Tensor]:
    """Loss, its gradients, and the KL of each token."""
    vocabulary, dtype = options.pop("vocabulary"), options.pop("dtype", torch.float32)
    given = [x.detach().to(DEVICE).requires_grad_(x.requires_grad) for x in inputs(vocabulary, dtype)]
    given[3].data[2] = -math.inf
    loss, metrics = fused(*given, mask=MASK.to(DEVICE), row_weights=WEIGHTS.to(DEVICE, torch.float32), **options)
    return [loss, metrics["token_kl"], *gradients(loss, (given[0], given[2], given[3]))]


@here
@pytest.mark.parametrize("options", [*PLAIN, {"tolerance": 0.3}])
@pytest.mark.parametrize("vocabulary", [7, 4099])
@pytest.mark.parametrize("chunk_size", [None, 1])
def test_it_computes_what_torch_does(
    options: dict[str, Any], vocabulary: int, chunk_size: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {**options, "vocabulary": vocabulary, "chunk_size": chunk_size}
    monkeypatch.setattr(chunks, "_kernels", lambda *_: None)
    expected = found(**options)
    monkeypatch.setattr(chunks, "_kernels", lambda *_: kernels())
    monkeypatch.setattr(chunks, "_kl_then_gradient_", None)  # would raise
    close(found(**options), expected, 3e-6)


@here
@pytest.mark.parametrize("options", PLAIN)
def test_a_gradient_in_bfloat16_is_off_by_its_rounding(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {**options, "vocabulary": 2100, "dtype": torch.bfloat16, "chunk_size": 4}
    monkeypatch.setattr(chunks, "_kernels", lambda *_: kernels())
    with monkeypatch.context() as exact:
        exact.setattr(chunks, "_rounds_gradient", lambda *_: False)
        expected = found(**options)
    sums_in_float32(monkeypatch)
    for actual, wanted in zip(found(**options), expected, strict=True):
        # Half a unit in the last place is 2^-9; the interpreter cuts off, which is a whole one, as the result's own is.
        assert (actual.double() - wanted.double()).norm() <= 2**-7 * wanted.double().norm()


def walked(student: Tensor, teacher: Tensor, kind: Divergence, dtype: torch.dtype, triton: bool) -> tuple[Tensor, ...]:
    """KL and gradient of projections, which are left as they are."""
    zs, zt = student.to(dtype, copy=True), teacher.to(dtype, copy=True)
    weights = torch.linspace(0.1, 1, len(zs), dtype=dtype, device=zs.device)
    settings = chunks.Settings(kind, 0.7, None, 1, 0.0, dtype, True)
    if triton:
        kl = chunks._kl_then_gradient_on_gpu_(zs, zt, zs, weights, settings, None, kernels())
    else:
        kl = chunks._kl_then_gradient_(zs, zt, weights, settings, None)
    return kl, zs


KINDS = [Divergence(), Divergence("reverse"), Divergence(clip=2.0, clip_form="hard"), Divergence("reverse", clip=None)]


@here
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("scale", [1.0, 1e4])
@pytest.mark.parametrize("shape", [(1, 5), (3, 4097)])
def test_large_projections(kind: Divergence, offset: float, scale: float, shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(3)
    student, noise = (scale * torch.randn(shape, generator=generator).to(DEVICE) for _ in range(2))
    teacher = student + 0.3 * noise - offset
    student[:, 1] = teacher[:, 1] = torch.finfo(torch.float32).min / 4  # what a bias of -inf becomes
    student[:, 3:2000] = teacher[:, 3:2000] = student[0, 1]
    kl, gradient = walked(student, teacher, kind, torch.float32, True)
    wanted, exact = walked(student, teacher, kind, F64, False)
    # exp() of a difference x is off by the rounding of x: 6e-8 times the logit, at most 88 where exp() is not 0.
    close([kl, gradient], [wanted, exact], 2e-5)
    assert torch.all(gradient[:, 1] == 0)


@here
@pytest.mark.parametrize("kind", KINDS[:2])
@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("sides", [(0,), (1,), (0, 1)])
@pytest.mark.parametrize("vocabulary", [9, 4097])
def test_what_is_not_finite_surfaces_as_from_torch(
    kind: Divergence, poison: float, sides: tuple[int, ...], vocabulary: int
) -> None:
    both = torch.randn(2, 2, vocabulary, generator=torch.Generator().manual_seed(1)).to(DEVICE)
    for side in sides:
        both[side, 0, 5] = poison
    kl, gradient = walked(*both, kind, torch.float32, True)
    wanted, exact = walked(*both, kind, torch.float32, False)
    assert not kl[0].isfinite()
    assert torch.equal(kl.isnan(), wanted.isnan())
    assert torch.equal(gradient.isnan(), exact.isnan())
    close([kl[1], gradient[1]], [wanted[1], exact[1]], 1e-5)
