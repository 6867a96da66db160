"""Trains the same steps under DDP, ZeRO-2 and ZeRO-3 on a CPU; started by test_trainer_zero.py.

torchrun --nproc_per_node 2 zero_worker.py DIRECTORY

Accelerate turns DeepSpeed on without an accelerator, too, as long as `use_cpu` is not set.
"""

import os
import sys
from pathlib import Path
from typing import Any

import deepspeed
import torch
import trainer_kit as kit
from accelerate import PartialState
from accelerate.state import AcceleratorState
from trl import GRPOTrainer

from sgpo import SGPOConfig, SGPOTrainer


def settings(stage: int) -> dict[str, Any]:
    """What a trainer of the ZeRO stage has in place of DDP's arguments."""
    if stage == 0:
        return {}
    os.environ["ACCELERATE_USE_DEEPSPEED"] = "true"
    # Without "auto" here Accelerate clips the gradient's norm at 1, whatever max_grad_norm says.
    sizes = ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "gradient_clipping")
    zero = {"stage": stage, "stage3_gather_16bit_weights_on_model_save": True}
    return {"use_cpu": False, "deepspeed": {**dict.fromkeys(sizes, "auto"), "zero_optimization": zero}}


def run(directory: Path, stage: int) -> dict[str, Any]:
    """The weights and logs after two optimizer steps of two micro-steps."""
    AcceleratorState._reset_state()
    size = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "max_grad_norm": 1e9}
    trainer = SGPOTrainer(
        model=kit.make_model(dtype=torch.float32, seed=3),
        reward_funcs=kit.has_ok,
        args=kit.make_config(directory, SGPOConfig, **size, **settings(stage)),
        train_dataset=kit.make_problems(4),
        processing_class=kit.make_tokenizer(),
    )
    trainer.train()
    named = dict(trainer.accelerator.unwrap_model(trainer.model).named_parameters())
    with deepspeed.zero.GatheredParameters(list(named.values()), enabled=stage == 3):
        weights = {name: parameter.detach().clone() for name, parameter in named.items()}
    logs = [{k: v for k, v in log.items() if "/" in k or k == "grad_norm"} for log in trainer.state.log_history[:-1]]
    return {"weights": weights, "logs": logs, "engine": type(trainer.model_wrapped).__name__}


def main() -> None:
    torch.set_num_threads(1)
    GRPOTrainer._generate_single_turn = kit.scripted_turn
    directory = Path(sys.argv[1])
    results = {stage: run(directory / "out", stage) for stage in (0, 2, 3)}
    if PartialState().is_main_process:
        torch.save(results, directory / "results.pt")


if __name__ == "__main__":
    main()
