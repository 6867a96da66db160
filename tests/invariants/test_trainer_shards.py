"""FSDP2 on two nodes gives the gradients and weights of DDP, and its checkpoints resume to the bit and evaluate.

One launch (see shards_worker.py), of two nodes with a process each on the loopback device, trains all of it: starting
processes is most of the time. In the end one of them is killed.
"""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import shards_worker
import torch
import trainer_kit as kit
from transformers import AutoModelForCausalLM

from sgpo.models.local import LocalModel
from sgpo.models.protocol import ModelError, Sampling
from sgpo.trainer.ranks import idle_share
from sgpo.trainer.record import read_record

HERE = Path(__file__).parent
# float64, relative to the largest gradient. Measured: 0; with an averaged teacher, whose sums differ in order, 5e-17.
EXACT = 1e-15
SAMPLING = Sampling(temperature=0.0, top_p=1.0, max_new_tokens=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory: Path = tmp_path_factory.mktemp("shards")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{free.getsockname()[1]}"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc_per_node", "1"]
    meeting = ["--rdzv-backend", "c10d", "--rdzv-endpoint", where, "--local-addr", "127.0.0.1"]
    paths = os.pathsep.join([str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    logs = [directory / f"node{i}.log" for i in (0, 1)]
    nodes = []
    for log in logs:
        with log.open("w") as file:
            nodes.append(
                subprocess.Popen(
                    [*launcher, *meeting, str(HERE / "shards_worker.py"), str(directory)],
                    env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
                    stdout=file,
                    stderr=subprocess.STDOUT,
                )
            )
    try:
        for node in nodes:
            node.wait(timeout=900)
    finally:
        for node in nodes:
            node.kill()
    assert (directory / "results.pt").is_file(), "".join(log.read_text()[-4000:] for log in logs)
    return directory


@pytest.fixture(scope="module")
def results(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "results.pt")  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", shards_worker.CASES)
def test_sharded_equals_ddp(name: str, results: dict[str, Any]) -> None:
    whole, sharded = results["DDP"][name], results["FSDP2"][name]
    assert whole["parts"] == 0
    assert sharded["parts"] == len(sharded["weights"]), "each parameter is sharded"
    assert len(sharded["gradients"]) == len(whole["gradients"]) == 2
    for theirs, mine in zip(sharded["gradients"], whole["gradients"], strict=True):
        assert any(float(g.abs().max()) > 0 for g in mine.values())
        assert kit.largest_gap(theirs, mine) < EXACT
    assert kit.largest_gap(sharded["weights"], whole["weights"]) < EXACT
    for theirs, mine in zip(sharded["logs"], whole["logs"], strict=True):
        assert theirs == pytest.approx(mine, rel=1e-6)


def test_a_teacher_differs_from_the_policy(results: dict[str, Any]) -> None:
    """Else the equality above would say nothing of it."""
    kl = {name: case["logs"][1].get("sgpo/kl") for name, case in results["FSDP2"].items()}
    assert len({kl["whole loss, micro-steps"], kl["frozen teacher"], kl["average as teacher, micro-steps"]}) == 3


def test_a_rank_keeps_its_part_of_the_teacher(results: dict[str, Any]) -> None:
    held, whole = results["FULL_STATE_DICT"]["held"]
    assert held <= whole * 0.6


@pytest.mark.parametrize("state", shards_worker.STATES)
def test_checkpoints_resume_to_the_bit_and_evaluate(state: str, results: dict[str, Any], folder: Path) -> None:
    straight, resumed = results[state]["straight"], results[state]["resumed"]
    assert kit.largest_gap(resumed["weights"], straight["weights"]) == 0.0
    assert kit.largest_gap(resumed["teacher"], straight["teacher"]) == 0.0
    assert kit.largest_gap(straight["teacher"], straight["weights"]) > 1e-4
    trained = folder / state / "straight"
    assert kit.largest_gap(saved(trained), straight["weights"]) == 0.0
    checkpoint = trained / "checkpoint-2"
    if state == "SHARDED_STATE_DICT":
        with pytest.raises(ModelError, match="SHARDED_STATE_DICT") as refused:
            LocalModel.load(str(checkpoint), SAMPLING)
        tool, *command = str(refused.value).partition("with: ")[2].split()
        # The environment need not be on the path.
        subprocess.run([Path(sys.executable).parent / tool, *command], check=True, capture_output=True)
    assert LocalModel.load(str(checkpoint), SAMPLING).tokenizer.eos_token == "<eos>"
    assert kit.largest_gap(saved(checkpoint), straight["weights"]) == 0.0


def saved(folder: Path) -> dict[str, torch.Tensor]:
    return kit.weights_of(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64))


def test_resuming_otherwise_is_refused_by_name(results: dict[str, Any], folder: Path, out: Path) -> None:
    """Another number of processes; FULL where it was SHARDED; no FSDP where there was; a checkpoint of none."""
    processes, other_state = results["refused"]
    assert "world_size=3 (here 2)" in processes
    wrong = "written with FSDP with fsdp_state_dict_type SHARDED_STATE_DICT, and this run has FSDP with fsdp_state_dict"
    assert wrong in other_state
    for state in shards_worker.STATES:
        with pytest.raises(ValueError, match=f"{state}, and this run has no sharding: launch it as"):
            kit.make_trainer(out).train(resume_from_checkpoint=str(folder / state / "straight" / "checkpoint-1"))


@pytest.mark.usefixtures("scripted")
def test_two_nodes_equal_one_process(results: dict[str, Any], out: Path) -> None:
    """TRL's log-probabilities are float32, and the two sides add them up in another order."""
    options = {"per_device_train_batch_size": 16}
    alone = kit.recorded(kit.make_trainer(out, model=kit.make_model(dtype=torch.float64, seed=3), **options))
    for theirs, mine in zip(results["DDP"]["whole loss, micro-steps"]["gradients"], alone.gradients, strict=True):
        assert kit.largest_gap(theirs, mine) < 5e-7


def test_a_killed_node_ends_the_other_one_with_a_name(results: dict[str, Any], folder: Path) -> None:
    said = results["killed"]
    assert said.startswith("Step 2: another process of this run has ended")
    assert "rank 0 of 2" in said
    assert f"The last checkpoint is {folder / 'killed' / 'checkpoint-1'}" in said
    assert read_record(folder / "killed" / "checkpoint-1") is not None, "it is whole"


def test_idle_share_counts_the_steps_that_a_rank_waits() -> None:
    """Longest completions of 10 and 100 tokens: the first rank waits for 90 of 100 steps, so 45% of all are idle."""

    class Ranks:
        device = "cpu"

        def gather(self, mine: torch.Tensor) -> torch.Tensor:
            return torch.cat([mine, torch.tensor([100.0])])

    assert idle_share(Ranks(), [[1] * 10, [1] * 4]) == pytest.approx(0.45)  # type: ignore[arg-type]
    assert idle_share(Ranks(), [[1] * 100]) == 0.0  # type: ignore[arg-type]


def test_every_trainer_logs_the_idle_share(results: dict[str, Any]) -> None:
    for case in results["FSDP2"].values():
        assert all(0.0 <= log["completions/rank_idle_share"] < 1.0 for log in case["logs"])
