"""One and two ranks (torchrun, gloo) give the same gradients, weights and logs for the same global batch.

Uneven loads are the point: a rank with fewer targets, fewer problems with strategies, or none of either, must run the
same collectives as the other one, or both hang; hence the time limit.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import ranks_worker
import torch
import trainer_kit as kit

HERE = Path(__file__).parent
# float64. Measured: 3e-15 for the distillation, 1e-7 where GRPO or sft take part (TRL's float32 log-probabilities).
EXACT, FLOAT32 = 1e-12, 5e-7


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    directory = tmp_path_factory.mktemp("ranks")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    paths = os.pathsep.join([str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [*launcher, str(HERE / "ranks_worker.py"), str(directory), "2"],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    return [torch.load(directory / f"rank{rank}.pt") for rank in (0, 1)]


@pytest.mark.parametrize("name", ranks_worker.CASES)
@pytest.mark.usefixtures("scripted")
def test_two_ranks_equal_one(name: str, two_ranks: list[dict[str, Any]], out: Path) -> None:
    first, second = (results[name] for results in two_ranks)
    alone = ranks_worker.run(out, name, ranks=1)
    assert first["world"] == second["world"] == 2
    assert len(first["gradients"]) == len(alone["gradients"]) == 2
    exact = ranks_worker.CASES[name][1].get("grpo_weight") == 0.0 and name != "sft"
    for theirs, mine in zip(first["gradients"], alone["gradients"], strict=True):
        assert any(float(g.abs().max()) > 0 for g in mine.values())
        assert kit.largest_gap(theirs, mine) < (EXACT if exact else FLOAT32)
    assert kit.largest_gap(first["weights"], second["weights"]) == 0.0
    assert kit.largest_gap(first["weights"], alone["weights"]) < (EXACT if exact else FLOAT32)
    assert first["tokens"] == alone["tokens"]
    for theirs, mine in zip(first["logs"], alone["logs"], strict=True):
        compare_logs(theirs, mine)


def test_nan_on_one_rank_stops_both(two_ranks: list[dict[str, Any]]) -> None:
    first, second = (results["stopped"] for results in two_ranks)
    assert first.startswith("Step 1: the loss is not finite")
    assert "on another process" in first
    assert "nonfinite-step1-rank1.json" in second


@pytest.mark.usefixtures("scripted")
def test_an_evaluation_counts_each_problem_once(two_ranks: list[dict[str, Any]], out: Path) -> None:
    """The last batch is short, and two ranks fill it up with problems that were there before."""
    prompts = kit.make_tokenizer()(list(kit.make_problems(5)["prompt"]))["input_ids"]
    right = [kit.WORDS.index("ok") in kit.script(ids, copy, 8) for ids in prompts for copy in range(4)]
    mean = pytest.approx(sum(right) / len(right))
    for found in (two_ranks[0]["evaluated"], ranks_worker.evaluated(out, 8), ranks_worker.evaluated(out, 20)):
        assert found["eval_reward"] == found["eval_rewards/has_ok/mean"] == mean


def test_an_evaluation_of_sft_counts_each_response_once(two_ranks: list[dict[str, Any]], out: Path) -> None:
    """Of five rows, two at once on each rank, the last batch has one on the first rank and none on the other."""
    for found, smoothing in zip(two_ranks[0]["evaluated sft"], ranks_worker.SMOOTHINGS, strict=True):
        assert found == pytest.approx(ranks_worker.evaluated_sft(out, 5, smoothing), rel=1e-5)


def test_a_stream_is_measured_by_one_rank_alone(two_ranks: list[dict[str, Any]], out: Path) -> None:
    """Two ranks fill its end up with problems of its beginning, and count them again."""
    for found in two_ranks:
        assert len(found["streamed"]) == 2
        for said in found["streamed"]:
            assert said.startswith("eval_dataset is a stream, of which 2 processes would count some problems twice.")
    assert ranks_worker.streamed(out) == []


def compare_logs(theirs: dict[str, Any], mine: dict[str, Any]) -> None:
    assert theirs.keys() == mine.keys()
    # TRL's means over micro-steps of means over tokens know how the batch was cut.
    cut = {"sgpo/entropy", "sgpo/guided_entropy", "sgpo/guided_clip_fraction"}
    for name in mine.keys() - cut:
        if mine[name] is None:
            assert theirs[name] is None
        else:
            assert theirs[name] == pytest.approx(mine[name], rel=1e-5), name
