"""Trains until it kills itself (SIGKILL, no cleanup); started by test_trainer_kill.py.

kill_worker.py DIRECTORY CASE
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
import trainer_kit as kit

# Real sampling, Adam, a teacher with weights of its own: weights, random numbers, moments and teacher must come back.
SHARED: dict[str, Any] = {
    "teacher": "ema",
    "teacher_ema_decay": 0.5,
    "max_steps": 6,
    "optim": "adamw_torch",
    "learning_rate": 0.02,
    "max_completion_length": 4,
    "num_guided_generations": 4,
    "save_strategy": "steps",
    "save_steps": 2,
    "reward": kit.has_digit,
}
# name -> (options, the method at whose end the process dies, the optimizer steps done by then)
CASES: dict[str, tuple[dict[str, Any], str, int]] = {
    "in a step": ({"guided_rollouts": "on_demand"}, "_compute_loss", 5),
    "in a checkpoint": ({"gradient_accumulation_steps": 2}, "_save_optimizer_and_scheduler", 4),
}


def make(directory: Path, case: str, **options: Any) -> Any:
    return kit.make_trainer(directory, data=kit.make_problems(8), **SHARED, **CASES[case][0], **options)


def main() -> None:
    torch.set_num_threads(1)
    _, method, steps = CASES[sys.argv[2]]
    trainer = make(Path(sys.argv[1]), sys.argv[2])
    original = getattr(trainer, method)

    def fatal(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        if trainer.state.global_step == steps:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(trainer, method, fatal)
    trainer.train()


if __name__ == "__main__":
    main()
