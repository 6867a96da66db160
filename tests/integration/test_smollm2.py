"""A real pretrained model through the command line: SmolLM2-135M, where the variable SGPO_SMOLLM2 names its folder.

``recipes/smollm2-135m-gsm/fetch.py`` makes that folder; ``benchmarks/smollm2.py`` prints the figures of these steps.
"""

import importlib.util
import json
import os
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "smollm2.py"
pytestmark = pytest.mark.skipif("SGPO_SMOLLM2" not in os.environ, reason="SGPO_SMOLLM2 names no folder of SmolLM2-135M")


@pytest.fixture
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("smollm2", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_trains_is_killed_resumes_is_evaluated_and_reported(tmp_path: Path, benchmark: ModuleType) -> None:
    strategy = "Add the two numbers, tens before ones. Then state the sum."
    train = [
        {
            "id": f"sum-{i}",
            "prompt": [{"role": "user", "content": [{"type": "text", "text": f"What is {10 + i} + {20 + i}?"}]}],
            "strategy": strategy,
            "answer": str(30 + 2 * i),
        }
        for i in range(4)
    ]
    held = [
        {"id": f"held-{i}", "problem": f"What is {i} + 5?", "answer": str(i + 5), "strategy": strategy} for i in (1, 2)
    ]
    paths = [
        benchmark.write_rows(tmp_path / name, rows) for name, rows in (("train.jsonl", train), ("held.jsonl", held))
    ]
    figures = benchmark.show(Path(os.environ["SGPO_SMOLLM2"]), *paths, tmp_path)
    assert figures["steps"] == [1, 2, 3]
    assert any("Resuming from" in line and "step 1 of 3" in line for line in figures["resume"]["resumed"])
    starts = json.loads((tmp_path / "run" / "provenance.json").read_text())["starts"]
    assert [("--resume" in start["command"]) for start in starts] == [False, True]
    assert 0 <= figures["accuracy after"] <= 1
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000
