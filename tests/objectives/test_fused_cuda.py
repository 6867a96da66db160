"""The fused loss on a GPU against the same on the CPU: `CUDA_VISIBLE_DEVICES=0 python -m pytest tests/objectives`."""

from typing import Any

import pytest
import torch
from test_fused import F64, MASK, OPTIONS, WEIGHTS, close, fused, gradients, inputs

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU in CUDA_VISIBLE_DEVICES")


def on(device: str, dtype: torch.dtype, vocabulary: int, **options: Any) -> list[torch.Tensor]:
    """Loss, its gradients, and the KL of each token, computed on a device and brought to the CPU."""
    found = [x.detach().to(device).requires_grad_(x.requires_grad) for x in inputs(vocabulary, dtype)]
    weights = WEIGHTS.to(device, torch.float64 if dtype == F64 else torch.float32)
    loss, metrics = fused(*found, mask=MASK.to(device), row_weights=weights, **options)
    sources = tuple(x for x in found if x.requires_grad)
    return [x.detach().cpu() for x in (loss, metrics["token_kl"], *gradients(loss, sources))]


@pytest.mark.parametrize(("dtype", "tolerance"), [(F64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("chunk_size", [None, 3])
def test_it_computes_what_the_cpu_does(
    options: dict[str, Any], dtype: torch.dtype, tolerance: float, chunk_size: int | None
) -> None:
    given = {**options, "chunk_size": chunk_size}
    close(on("cuda", dtype, 1031, **given), on("cpu", dtype, 1031, **given), tolerance)
