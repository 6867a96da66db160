"""DeepSpeed's ZeRO-2 and ZeRO-3 on two processes of a CPU give the weights of DDP; skipped where it is not installed.

DS_BUILD_OPS=0 pip install deepspeed
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import trainer_kit as kit

pytest.importorskip("deepspeed")
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Any:
    directory = tmp_path_factory.mktemp("zero")
    paths = os.pathsep.join([str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*launcher, str(HERE / "zero_worker.py"), str(directory)],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    return torch.load(directory / "results.pt")


@pytest.mark.parametrize("stage", [2, 3])
def test_zero_equals_ddp(stage: int, results: Any) -> None:
    alone, sharded = results[0], results[stage]
    assert (alone["engine"], sharded["engine"]) == ("DistributedDataParallel", "DeepSpeedEngine")
    # float32; the sums of micro-steps and ranks may be taken in another order.
    assert kit.largest_gap(sharded["weights"], alone["weights"]) < 1e-6
    for theirs, mine in zip(sharded["logs"], alone["logs"], strict=True):
        assert theirs == pytest.approx(mine, rel=1e-5)
