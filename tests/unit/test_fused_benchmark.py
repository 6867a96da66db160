"""What `benchmarks/fused_kl.py` says of a file of states."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "fused_kl.py"


@pytest.fixture
def states(tmp_path: Path) -> str:
    path = str(tmp_path / "states.safetensors")
    save_file({"student": torch.zeros(8, 3), "teacher": torch.zeros(8, 3), "head": torch.zeros(11, 3)}, path)
    return path


def test_its_sizes_are_those_of_the_file(states: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("fused_kl", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    monkeypatch.setattr(sys, "argv", ["fused_kl.py", "--states", states, "--tokens", "8"])
    args = benchmark.parse_arguments()
    assert (args.vocabulary, args.hidden, args.tokens) == (11, 3, 8)
    monkeypatch.setattr(sys, "argv", ["fused_kl.py", "--states", states, "--tokens", "9"])
    with pytest.raises(SystemExit, match="8 tokens, fewer than --tokens 9"):
        benchmark.parse_arguments()
