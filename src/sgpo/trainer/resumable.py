"""What a GRPO trainer needs besides a whole checkpoint (:mod:`sgpo.trainer.checkpoints`) to resume to the bit."""

from typing import Any

from trl import GRPOTrainer


class ResumableGRPOTrainer(GRPOTrainer):
    """``GRPOTrainer`` that trains no further when it resumes from the checkpoint of its last step.

    ``Trainer`` compares the steps with ``max_steps`` after each step only, so that it would do one more.
    """

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        if self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
            return
        super()._run_epoch(*args, **kwargs)
