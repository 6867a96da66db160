"""What `benchmarks/fused_kl.py` says of a file of states, and what it measures for several chunk sizes."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import save_file

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "fused_kl.py"


@pytest.fixture
def states(tmp_path: Path) -> str:
    path = str(tmp_path / "states.safetensors")
    save_file({"student": torch.zeros(8, 3), "teacher": torch.zeros(8, 3), "head": torch.zeros(11, 3)}, path)
    return path


@pytest.fixture
def fused_kl() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fused_kl", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_its_sizes_are_those_of_the_file(states: str, fused_kl: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["fused_kl.py", "--states", states, "--tokens", "8"])
    args = fused_kl.parse_arguments()
    assert (args.vocabulary, args.hidden, args.tokens) == (11, 3, 8)
    monkeypatch.setattr(sys, "argv", ["fused_kl.py", "--states", states, "--tokens", "9"])
    with pytest.raises(SystemExit, match="8 tokens, fewer than --tokens 9"):
        fused_kl.parse_arguments()


def test_each_chunk_size_is_a_line_of_its_own_and_is_compared_with_the_rivals(
    fused_kl: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunks = ["--chunk-size", "default", "64", "--only", "trl_tiled", "fused", "tolerant"]
    monkeypatch.setattr(sys, "argv", ["fused_kl.py", *chunks])
    found = dict(fused_kl.named(fused_kl.parse_arguments()))
    assert found == {
        "trl_tiled": ("trl_tiled", None),
        "fused@default": ("fused", None),
        "fused@64": ("fused", 64),
        "tolerant@default": ("tolerant", None),
        "tolerant@64": ("tolerant", 64),
    }
    runs = {name: [{"peak_mib": 1.0, "seconds": 2.0, "cpu_seconds": 3.0}] for name in found}
    report = fused_kl.summary(runs)
    over = {key.removeprefix("time_over_") for key in report["fused@64"] if key.startswith("time_over_")}
    assert over == {"trl_tiled", "tolerant@64"}
    monkeypatch.setattr(sys, "argv", ["fused_kl.py", "--chunk-size", "64", "--only", "fused"])
    assert dict(fused_kl.named(fused_kl.parse_arguments())) == {"fused": ("fused", 64)}
