"""The clock and the device of the benchmarks, where no GPU is, and a benchmark that is run."""

import json
import subprocess
import sys
from pathlib import Path

import device
import plan_memory
import pytest
import torch
import yaml


def test_a_gpu_has_done_its_work_before_the_clock_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: waited.append("waited"))
    device.now("cuda", cpu_seconds=True)
    assert waited == ["waited"]
    device.now("cpu")
    assert waited == ["waited"]


def test_a_cpus_seconds_are_those_of_the_process_where_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device.time, "process_time", lambda: 1.0)
    monkeypatch.setattr(device.time, "perf_counter", lambda: 2.0)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    assert device.now("cpu", cpu_seconds=True) == 1.0
    assert device.now("cpu") == device.now("cuda", cpu_seconds=True) == 2.0


@pytest.mark.parametrize("where", ["cpu", "cuda"])
def test_a_measured_recipe_trains_where_it_is_measured(where: str, tmp_path: Path) -> None:
    recipe = plan_memory.write_recipe("small", tmp_path, where)
    assert yaml.safe_load(recipe.read_text())["use_cpu"] is (where == "cpu")


@pytest.mark.slow
def test_the_cost_of_distillation_is_measured_on_any_version_of_the_trainer() -> None:
    """It calls the trainer's own methods, without the loop that sets what they read."""
    small = {"rollouts": 2, "prompt": 4, "strategy": 4, "template": 2, "completion": 4, "hidden": 64, "layers": 1}
    words = [
        word for name, value in {**small, "vocabulary": 600, "repeats": 1}.items() for word in (f"--{name}", value)
    ]
    script = Path(device.__file__).with_name("sdpo_cost.py")
    done = subprocess.run([sys.executable, script, *map(str, words)], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1])["distillation_over_sdpo"] > 0
