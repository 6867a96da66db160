"""Trains every case of `CASES` under DDP, then under FSDP2 on a CPU; started by test_trainer_shards.py.

torchrun --nnodes 2 --nproc_per_node 1 --rdzv-backend c10d --rdzv-endpoint 127.0.0.1:PORT shards_worker.py DIRECTORY
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
import trainer_kit as kit
from accelerate import PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType
from torch.distributed.tensor import DTensor
from trl import GRPOTrainer

from sgpo import HPTConfig, HPTTrainer, LUFFYConfig, LUFFYTrainer, SGPOConfig, SGPOTrainer
from sgpo.trainer.ranks import LostProcessError
from sgpo.trainer.shards import own_part

TURN = GRPOTrainer._generate_single_turn
EXPERTS = [" a b ok", " 1 2 ok", " ok", " 3 ok"]
EXPERT = {"loss_type": "dr_grpo", "scale_rewards": "none", "entropy_coef": 0.0}
AVERAGE = {"teacher": "ema", "teacher_ema_decay": 0.5}
# name -> (trainer, options)
CASES: dict[str, tuple[type, dict[str, Any]]] = {
    "whole loss, micro-steps": (SGPOTrainer, {"gradient_accumulation_steps": 2}),
    "on demand, untied": (SGPOTrainer, {"guided_rollouts": "on_demand", "reward": kit.easy_or_ok, "tied": False}),
    "frozen teacher": (SGPOTrainer, {"teacher": "frozen"}),
    "average as teacher, micro-steps": (SGPOTrainer, {**AVERAGE, "tied": False, "gradient_accumulation_steps": 2}),
    "luffy": (LUFFYTrainer, EXPERT),
    "hpt": (HPTTrainer, EXPERT),
}
CONFIGS = {SGPOTrainer: SGPOConfig, LUFFYTrainer: LUFFYConfig, HPTTrainer: HPTConfig}
# Real sampling, Adam and an averaged teacher: all of it must come back from a checkpoint.
RESUMED: dict[str, Any] = {**AVERAGE, "optim": "adamw_torch", "reward": kit.has_digit, "save_strategy": "steps"}
STATES = ("FULL_STATE_DICT", "SHARDED_STATE_DICT")


def shard_on_cpu() -> None:
    """FSDP2 from here on. Accelerate turns it on for accelerators alone; torch runs it on a CPU, too, with gloo.

    Accelerate sets both attributes anew with every construction of its state, hence the patch.
    """
    os.environ.update(ACCELERATE_USE_FSDP="true", FSDP_VERSION="2")
    original = AcceleratorState.__init__

    def init(self: Any, *args: Any, fsdp_plugin: Any = None, **kwargs: Any) -> None:
        original(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
        if fsdp_plugin is not None:
            AcceleratorState._shared_state |= {"distributed_type": DistributedType.FSDP, "fsdp_plugin": fsdp_plugin}
        if AcceleratorState._shared_state.get("fsdp_plugin") is not None:
            self.distributed_type = DistributedType.FSDP

    AcceleratorState.__init__ = init


def make(directory: Path, trainer_class: type, options: dict[str, Any]) -> Any:
    options = dict(options)
    model = kit.make_model(dtype=torch.float64, seed=3, tied=options.pop("tied", True))
    data, reward = kit.make_problems(4), options.pop("reward", kit.has_ok)
    if trainer_class is not SGPOTrainer:
        data = data.remove_columns("strategy").add_column("expert", EXPERTS)
    size = 8 // options.get("gradient_accumulation_steps", 1)
    return trainer_class(
        model=model,
        reward_funcs=reward,
        args=kit.make_config(directory, CONFIGS[trainer_class], per_device_train_batch_size=size, **options),
        train_dataset=data,
        processing_class=kit.make_tokenizer(),
    )


def run(directory: Path, name: str) -> dict[str, Any]:
    AcceleratorState._reset_state()
    GRPOTrainer._generate_single_turn = kit.scripted_turn
    trainer = make(directory, *CASES[name])
    gradients = kit.recorded(trainer).gradients
    logs = [{k: v for k, v in log.items() if "/" in k} for log in trainer.state.log_history[:-1]]
    parts = sum(isinstance(p, DTensor) for p in trainer.model.parameters())
    return {"gradients": gradients, "weights": kit.weights_of(trainer.model), "logs": logs, "parts": parts}


def resume(directory: Path, state: str) -> dict[str, Any]:
    """Two steps with a checkpoint after each, then the second of them again from the first checkpoint."""
    found: dict[str, Any] = {}
    for name, checkpoint in (("straight", None), ("resumed", directory / "straight" / "checkpoint-1")):
        trainer = saving(directory / name, state)
        trainer.train(resume_from_checkpoint=checkpoint)
        trainer.save_model()
        kept = trainer._sgpo.teacher._kept
        teacher = {key: kit.whole(value) for key, value in kept.items()}
        found[name] = {"weights": kit.weights_of(trainer.model), "teacher": teacher}
        found["held"] = [
            sum(t.numel() for t in tensors) for tensors in (map(own_part, kept.values()), teacher.values())
        ]
    return found


def saving(directory: Path, state: str) -> Any:
    AcceleratorState._reset_state()
    GRPOTrainer._generate_single_turn = TURN
    os.environ["FSDP_STATE_DICT_TYPE"] = state
    return make(directory, SGPOTrainer, {**RESUMED, "save_steps": 1})


def refused(directory: Path) -> list[str]:
    """What is said of a checkpoint of three processes, and of one in parts where whole ones are asked for."""
    said = []
    parts = directory / "SHARDED_STATE_DICT" / "resumed" / "checkpoint-2"
    if PartialState().is_main_process:
        record = json.loads((parts / "sgpo_checkpoint.json").read_text())
        record["order"]["world_size"] = 3
        (parts / "sgpo_checkpoint.json").write_text(json.dumps(record))
    PartialState().wait_for_everyone()
    for state in reversed(STATES):
        try:
            saving(directory / "refused", state).train(resume_from_checkpoint=str(parts))
        except ValueError as error:
            said.append(str(error))
    return said


def killed(directory: Path) -> str:
    """What this process says when the other one kills itself in the middle of the second step."""
    trainer = saving(directory / "killed", "FULL_STATE_DICT")
    compute = trainer._compute_loss

    def fatal(*args: Any) -> Any:
        if trainer.state.global_step == 1 and trainer.accelerator.is_last_process:
            os.kill(os.getpid(), signal.SIGKILL)
        return compute(*args)

    trainer._compute_loss = fatal
    try:
        trainer.train()
    except LostProcessError as error:
        return str(error)
    return "not stopped"


def main() -> None:
    torch.set_num_threads(1)
    directory = Path(sys.argv[1])
    results: dict[str, Any] = {"DDP": {name: run(directory / "out", name) for name in CASES}}
    shard_on_cpu()
    results["FSDP2"] = {name: run(directory / "out", name) for name in CASES}
    results |= {state: resume(directory / state, state) for state in STATES}
    results["refused"] = refused(directory)
    results["killed"] = killed(directory)
    torch.save(results, directory / "results.pt")  # of the process that is left
    os._exit(1)  # as one that ends with the error: torchrun would wait minutes for the other node to end as well


if __name__ == "__main__":
    main()
