"""A training on another device than the CPU mixes no tensors, and gives the losses and weights of one on the CPU; an
evaluation gives its answers.

The device is pretended (`far_device.py`), and computes with the CPU's kernels. With CUDA_VISIBLE_DEVICES=0 the same is
done on a GPU, too.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import device_worker
import pytest
import torch
import trainer_kit as kit

HERE = Path(__file__).parent
# float32; another device has larger chunks, and another kernel for attention. AdamW makes more of small differences.
ROUNDING = {"far": 1e-4, "cuda": 5e-3}


@pytest.fixture(scope="module", params=ROUNDING)
def device(request: pytest.FixtureRequest) -> str:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU in CUDA_VISIBLE_DEVICES")
    return str(request.param)


@pytest.fixture(scope="module")
def found(device: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    directory = tmp_path_factory.mktemp("device")
    paths = os.pathsep.join([str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(HERE / "device_worker.py"), str(directory), device],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    results: dict[str, Any] = torch.load(directory / "found.pt")
    return results


@pytest.mark.parametrize("name", device_worker.CASES)
def test_another_device_gives_what_the_cpu_gives(name: str, device: str, found: dict[str, Any]) -> None:
    assert not isinstance(found[name], str), found[name][-3000:]
    (losses, weights), (there, far_weights) = found[name]
    assert any(losses)
    if device == "cuda" and name in device_worker.DRAWN:
        return
    assert there == pytest.approx(losses, abs=ROUNDING[device])
    assert kit.largest_gap(far_weights, weights) < ROUNDING[device]


def test_another_device_answers_as_the_cpu_does(found: dict[str, Any]) -> None:
    assert not isinstance(found[device_worker.EVALUATED], str), found[device_worker.EVALUATED][-3000:]
    here, there = found[device_worker.EVALUATED]
    for name, wanted in here.items():
        assert there[name] == (wanted if name in ("base", "adapter") else pytest.approx(wanted, rel=1e-3)), name
    assert here["base"] != here["adapter"]
