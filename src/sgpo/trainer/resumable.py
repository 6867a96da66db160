"""What a GRPO trainer needs to resume to the bit, beside a whole checkpoint (:mod:`sgpo.trainer.checkpoints`).

A run that was stopped after any optimizer step and resumed ends with the weights, optimizer, counters and problem log
of one that never stopped. TRL's trainer and transformers' bring back weights, optimizer, schedule and random numbers.
This module adds the rest:

- the order of the data in later passes over it: TRL's sampler would begin again with the first pass's order;
- the rollouts of a generation batch that is not used up (``num_iterations`` or ``steps_per_generation`` above the
  micro-steps of an optimizer step);
- a reference model that follows the policy (``sync_ref_model``).

Outside of it lie the random numbers of vLLM, and a checkpoint that transformers writes in the middle of an optimizer
step, on SIGTERM (``enable_jit_checkpoint``): such runs go on, with other samples than an uninterrupted one.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model, save_model
from torch import Tensor

from sgpo.trainer.identity import code_digests, tokens_digest
from sgpo.trainer.record import Record
from sgpo.trainer.resuming import ResumingTrainer
from sgpo.trainer.shards import sharded
from sgpo.trainer.trl_seam import RepeatSampler
from sgpo.trainer.vllm_server import ServedGRPOTrainer

logger = logging.getLogger(__name__)

_REFERENCE_FILE = "sgpo_reference.safetensors"
_OF_ROLLOUTS = ("steps_per_generation", "num_iterations", "num_generations", "shuffle_dataset")


class EpochSampler(RepeatSampler):
    """TRL's sampler, in which the order of pass ``epoch`` (from 0) does not need the passes before it."""

    epoch = 0

    def __iter__(self) -> Iterator[int]:
        if self.shuffle:
            # TRL's generator runs on from pass to pass: the order of a pass is its draw behind those of all before it.
            self.generator.manual_seed(self.seed)
            for _ in range(self.epoch):
                torch.randperm(self.num_samples, generator=self.generator)
        yield from super().__iter__()


class ResumableGRPOTrainer(ResumingTrainer, ServedGRPOTrainer):
    """``GRPOTrainer`` that resumes to the bit, or refuses to and says why; see the module."""

    _ordering = (*ResumingTrainer._ordering, *_OF_ROLLOUTS)
    _buffered_inputs: list[dict[str, Tensor]] | None  # TRL's, of each micro-step

    def _settings(self) -> dict[str, Any]:
        return {
            **super()._settings(),
            **tokens_digest(self.train_dataset, lambda prompts: self._tokenize_prompts(prompts)[0]),
            "the reward functions": ", ".join(self.reward_func_names),
            **code_digests(self.reward_funcs, self.reward_func_names),
        }

    def _before_training(self) -> None:
        # Of an earlier call, which may have been interrupted in the middle of a step.
        self._step, self._buffered_inputs, self._entropy_window_stats = 0, None, None

    def _require_same_run(self, checkpoint: str, written: Record, now: Record) -> None:
        lacking = self._follows_policy() and not (Path(checkpoint) / _REFERENCE_FILE).is_file()
        if lacking and not self.args.ignore_data_skip:
            raise ValueError(
                f"Cannot resume from {checkpoint!r}: sync_ref_model=True moves the reference model, and this "
                "checkpoint does not hold it (under FSDP and DeepSpeed none does). Resume with sync_ref_model=False, "
                "which goes on with the reference model of the start, or start anew."
            )
        super()._require_same_run(checkpoint, written, now)

    def _begin_pass(self, epoch: int, skipped: int) -> None:
        super()._begin_pass(epoch, skipped)
        if skipped:
            # TRL tells by `_step` which part of a generation batch comes next, and would begin at the first.
            self._step = skipped
            if skipped % self._micro_steps_of_rollouts and self._buffered_inputs is None:
                logger.warning("The checkpoint is without the rollouts that were in use; the run samples new ones.")
        if self._sgpo.sampler is not None:
            self._sgpo.sampler.epoch = epoch

    # ---------------------------------------------------------------- the order of the data

    def _get_train_sampler(self, dataset: Any = None) -> EpochSampler:
        self._sgpo.sampler = EpochSampler(
            data_source=self.train_dataset if dataset is None else dataset,
            mini_repeat_count=self.num_generations,
            batch_size=self.args.generation_batch_size // self.num_generations,
            repeat_count=self._micro_steps_of_rollouts,
            shuffle=self.shuffle_dataset,
            seed=self.args.seed,
        )
        return self._sgpo.sampler

    @property
    def _micro_steps_of_rollouts(self) -> int:
        """The micro-steps that use one generation batch."""
        return self.num_iterations * self.args.steps_per_generation

    # ---------------------------------------------------------------- state that others leave out

    def _save_state(self, directory: Path) -> None:
        path = self._rollouts_file(directory)
        if self._position().batches % self._micro_steps_of_rollouts:
            torch.save(self._rollouts(), path)
        else:
            path.unlink(missing_ok=True)
        if self._follows_policy() and not sharded(self.args) and self.args.should_save:
            save_model(self.ref_model, str(directory / _REFERENCE_FILE))

    def _load_state(self, directory: Path) -> None:
        path = self._rollouts_file(directory)
        if path.is_file() and not self.args.ignore_data_skip:
            device = self.accelerator.device
            # A CPU of several processes is "cpu:0", which torch cannot put a file's tensors on.
            self._restore_rollouts(
                torch.load(path, map_location="cpu" if device.type == "cpu" else device, weights_only=True)
            )
        if self._follows_policy() and (directory / _REFERENCE_FILE).is_file():
            load_model(self.ref_model, str(directory / _REFERENCE_FILE))

    def _rollouts(self) -> dict[str, Any]:
        """What is left to train on of this process's generation batch: tensors, lists and numbers alone."""
        return {"inputs": self._buffered_inputs}

    def _restore_rollouts(self, saved: dict[str, Any]) -> None:
        self._buffered_inputs = saved["inputs"]

    def _rollouts_file(self, directory: Path) -> Path:
        return directory / f"sgpo_rollouts_{self.accelerator.process_index}.pt"

    def _follows_policy(self) -> bool:
        return bool(self.args.sync_ref_model) and self.ref_model is not None
