"""How many optimizer steps a run of TRL's GRPO takes, reckoned in one place for comparisons and plans."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Schedule:
    """What decides on the length of a run.

    Attributes:
        rows: of a generation batch on one process, in groups of ``group``.
        micro_steps: over a generation batch, in all iterations.
        accumulation: micro-steps of an optimizer step.
    """

    rows: int
    group: int
    micro_steps: int
    accumulation: int
    epochs: float
    max_steps: int

    @classmethod
    def of(cls, config: Any) -> Schedule:
        """The schedule that a parsed ``SGPOConfig`` asks for."""
        micro_steps = config.steps_per_generation * config.num_iterations
        rows = config.per_device_train_batch_size * config.steps_per_generation
        accumulation = config.gradient_accumulation_steps
        return cls(rows, config.num_generations, micro_steps, accumulation, config.num_train_epochs, config.max_steps)

    def batch(self, processes: int) -> int:
        """Problems of a generation batch."""
        return self.rows * processes // self.group

    def steps(self, problems: int, processes: int) -> int:
        """Optimizer steps. In each epoch an incomplete last generation batch is dropped, as TRL does.

        Raises:
            ValueError: fewer problems than a generation batch takes.
        """
        batch = self.batch(processes)
        # TRL would drop every batch of every epoch, and train nothing without a word.
        if problems < batch:
            raise ValueError(
                f"There are {problems} problems to train on, but a generation batch takes {batch}. Give more, or lower "
                "per_device_train_batch_size or gradient_accumulation_steps in the recipe."
            )
        if self.max_steps > 0:
            return self.max_steps
        an_epoch = math.ceil(problems // batch * self.micro_steps / self.accumulation)
        return math.ceil(self.epochs * an_epoch)
