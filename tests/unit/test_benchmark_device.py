"""The clock and the device of the benchmarks, where no GPU is."""

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
