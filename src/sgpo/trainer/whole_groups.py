"""What the configurations of SGPO, LUFFY and HPT share beside TRL's ``GRPOConfig``."""

from dataclasses import dataclass, field
from typing import Any

import torch
from trl import GRPOConfig

from sgpo.trainer.checkpointing import BothCheckpointingNames


def option(default: Any, help: str) -> Any:
    """A field of a configuration with its help text."""
    return field(default=default, metadata={"help": help})


@dataclass
class WholeGroupsConfig(BothCheckpointingNames, GRPOConfig):
    """``GRPOConfig`` of a trainer that needs all rollouts of a problem on one process; a CPU trains in float32.

    Raises:
        ValueError: a process's batch is no whole number of groups; a deadline of 0 seconds or less.
    """

    vllm_request_timeout: float | None = option(
        None,
        "With vllm_mode='server': seconds that one request of a run may take, whatever it asks for; then the run ends. "
        "None: vllm_server_timeout, and for completions the time to sample them, 256 at once, at 5 tokens a second.",
    )

    def __post_init__(self) -> None:
        if self.vllm_request_timeout is not None and not self.vllm_request_timeout > 0:
            raise ValueError(f"vllm_request_timeout is {self.vllm_request_timeout}, but must be over 0, or None.")
        if not torch.accelerator.is_available():
            # TRL's default, bf16 on a GPU, would be an error here; a CPU trains in float32 unless told otherwise.
            self.use_cpu: bool = True
            self.bf16: bool | None = bool(self.bf16)
        if self.generation_batch_size is None:  # TRL would speak of that field, which the user has not set
            self._require_whole_groups(self.steps_per_generation or self.gradient_accumulation_steps)
        super().__post_init__()
        self._require_whole_groups(self.steps_per_generation)

    def _require_whole_groups(self, steps_per_generation: int) -> None:
        local_batch = self.per_device_train_batch_size * steps_per_generation
        if local_batch % self.num_generations:
            raise ValueError(
                f"num_generations is {self.num_generations}, but each process generates "
                f"per_device_train_batch_size * steps_per_generation = {self.per_device_train_batch_size} * "
                f"{steps_per_generation} = {local_batch} rollouts, which is not a multiple of it: a problem's group "
                f"must not straddle processes. Use a multiple of {self.num_generations}."
            )
