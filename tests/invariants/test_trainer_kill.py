"""A run killed in the middle (SIGKILL) and resumed ends, to the bit, where an uninterrupted one does."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import kill_worker
import pytest
import trainer_kit as kit

HERE = Path(__file__).parent


def killed(directory: Path, case: str) -> None:
    paths = os.pathsep.join([str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(HERE / "kill_worker.py"), str(directory), case],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr[-4000:]


@pytest.mark.parametrize("case", kill_worker.CASES)
def test_killed_and_resumed_equals_uninterrupted(case: str, tmp_path: Path) -> None:
    whole = kill_worker.make(tmp_path / "whole", case)
    whole.train()
    killed(tmp_path / "parts", case)
    last = tmp_path / "parts" / "checkpoint-4"
    assert (last / "model.safetensors").is_file()
    assert (last / "trainer_state.json").is_file() == (case == "in a step")
    resumed = kill_worker.make(
        tmp_path / "parts",
        case,
    )
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == 6
    first = 4 if case == "in a step" else 2
    targets = [log["sgpo/targets"] for log in resumed.state.log_history if log["step"] > first and "loss" in log]
    assert len(targets) == 6 - first
    assert sum(targets) > 0
    assert kit.largest_gap(kit.weights_of(resumed.model), kit.weights_of(whole.model)) == 0.0
    assert kit.largest_gap(resumed._sgpo.teacher._kept, whole._sgpo.teacher._kept) == 0.0
    assert kit.largest_gap(resumed._sgpo.teacher._kept, kit.weights_of(resumed.model)) > 1e-4
