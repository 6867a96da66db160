"""What a GRPO trainer needs to resume to the bit, beside a whole checkpoint (:mod:`sgpo.trainer.checkpoints`).

A run that was stopped after any optimizer step and resumed ends with the weights, optimizer, counters and problem log
of one that never stopped. TRL's trainer and transformers' bring back weights, optimizer, schedule and random numbers.
This module adds the rest:

- the order of the data in later passes over it: TRL's sampler would begin again with the first pass's order;
- the place in a streamed dataset, whose passes transformers does not count;
- the rollouts of a generation batch that is not used up (``num_iterations`` or ``steps_per_generation`` above the
  micro-steps of an optimizer step);
- a reference model that follows the policy (``sync_ref_model``).

Outside of it lie the random numbers of vLLM, and a checkpoint that transformers writes in the middle of an optimizer
step, on SIGTERM (``enable_jit_checkpoint``): such runs go on, with other samples than an uninterrupted one.
"""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list, is_peft_model
from datasets import Dataset
from safetensors.torch import load_model, save_model
from torch import Tensor

from sgpo.trainer import identity
from sgpo.trainer.checkpoints import Resume, names_in, whole_checkpoint
from sgpo.trainer.ranks import lost_process_named
from sgpo.trainer.record import Position, Record, read_record
from sgpo.trainer.shards import sharded
from sgpo.trainer.sound import SoundTrainer
from sgpo.trainer.trl_seam import RepeatSampler
from sgpo.trainer.vllm_server import ServedGRPOTrainer

logger = logging.getLogger(__name__)

_REFERENCE_FILE = "sgpo_reference.safetensors"
_ORDERING = (
    "world_size",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "steps_per_generation",
    "num_iterations",
    "num_generations",
    "shuffle_dataset",
    "seed",
)


class EpochSampler(RepeatSampler):
    """TRL's sampler, in which the order of pass ``epoch`` (from 0) does not need the passes before it."""

    epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        if self.shuffle:
            # TRL's generator runs on from pass to pass: the order of a pass is its draw behind those of all before it.
            self.generator.manual_seed(self.seed)
            for _ in range(self.epoch):
                torch.randperm(self.num_samples, generator=self.generator)
        yield from super().__iter__()


class ResumableGRPOTrainer(SoundTrainer, ServedGRPOTrainer):
    """``GRPOTrainer`` that resumes to the bit, or refuses to and says why; see the module."""

    _buffered_inputs: list[dict[str, Tensor]] | None  # TRL's, of each micro-step

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        # Before anything is wrapped. A user's subclass counts as the trainer that it extends.
        ours = next(cls for cls in type(self).__mro__ if cls.__module__.startswith("sgpo."))
        self._sgpo.trained = {"trainer": ours.__name__, **identity.trained_by(self.model, self.args)}

    def _checkpoint_record(self) -> Record:
        # The base stands behind an adapter, and is the reference; else the checkpoint has all weights.
        behind = is_peft_model(self.model) or self.args.beta != 0.0
        settings = {
            **identity.settings_of(self.args),
            **(identity.base_of(self.accelerator.unwrap_model(self.model), self._sgpo.base_model) if behind else {}),
            **identity.adapter_settings(self.accelerator.unwrap_model(self.model)),
            **identity.tokens_digest(self.train_dataset, lambda prompts: self._tokenize_prompts(prompts)[0]),
            "the reward functions": ", ".join(self.reward_func_names),
            **identity.code_digests(self.reward_funcs, self.reward_func_names),
            **identity.column_digests(self.train_dataset),
        }
        order = {name: getattr(self.args, name) for name in _ORDERING}
        order["problems"] = identity.dataset_digest(self.train_dataset)
        return Record(order=order, position=self._position(), trained=self._sgpo.trained, settings=settings)

    # ---------------------------------------------------------------- resuming

    def train(self, resume_from_checkpoint: Resume = None, **kwargs: Any) -> Any:
        """Train as ``Trainer.train`` does, after a look at the checkpoint to resume from, the rewards and the weights.

        With ``resume_from_checkpoint=True`` broken checkpoints are passed over, with a warning.

        Raises:
            ValueError: a reward that does not work; a named checkpoint that is broken, or no whole one; a checkpoint
                of a run that ordered its data otherwise, or trained other weights.
            LostProcessError: another process of the run has ended; see :mod:`sgpo.trainer.ranks`.
            NonFiniteError: a weight, loss or gradient that is NaN or infinite; see :mod:`sgpo.trainer.finite`.
        """
        checkpoint = self._on_main(lambda: self._checkpoint(resume_from_checkpoint))
        self._before_training()
        # Of an earlier call, which may have been interrupted in the middle of a step.
        self._step, self._buffered_inputs, self._entropy_window_stats = 0, None, None
        with lost_process_named(self.args, self.accelerator, lambda: self.state.global_step + 1):
            return super().train(resume_from_checkpoint=checkpoint, **kwargs)

    def _before_training(self) -> None:
        """Last checks, of what no construction can see."""

    def _checkpoint(self, resume: Resume) -> str | None:
        found = whole_checkpoint(resume, self.args, teacher=self._sgpo.teacher is not None)
        if found is None and resume:
            raise ValueError(
                f"There is no checkpoint in {self.args.output_dir} to resume from; start without resuming, or set "
                "output_dir to that of the run to go on with."
            )
        if found is None and self.args.save_strategy != "no" and (older := names_in(self.args.output_dir)):
            logger.warning(
                "%s holds %s of an earlier run, and this one starts anew: the two will stand side by side, and "
                "resuming takes the one with the most steps. Use resume_from_checkpoint=True or another output_dir.",
                self.args.output_dir,
                older[-1],
            )
        if found is not None:
            written, now = read_record(Path(found)) or Record(), self._checkpoint_record()
            self._require_same_weights(found, written, now)
            self._name_other_settings(found, written, now)
            self._require_same_order(found, written, now)
        return found

    def _require_same_weights(self, checkpoint: str, written: Record, now: Record) -> None:
        if other := _differences(written.trained, now.trained):
            raise ValueError(
                f"Cannot resume from {checkpoint!r}: it was written by a run with {', '.join(other)}, so its "
                "weights and its optimizer are not those of this one. Set these as they were, or start anew."
            )

    def _name_other_settings(self, checkpoint: str, written: Record, now: Record) -> None:
        """Say what of the objective, the data and the schedule differs: a run may go on so, but not without a word."""
        shared = {k: v for k, v in written.settings.items() if k in now.settings and k not in _ORDERING}
        if other := _differences(shared, now.settings):
            logger.warning(
                "%s was written by a run with %s; the run goes on as told here.", checkpoint, ", ".join(other)
            )

    def _on_main(self, decide: Any) -> Any:
        """What the main process decides, or the error that it meets, on every process."""
        if self.accelerator.num_processes == 1:
            return decide()
        told: list[Any] = [None, None]
        if self.accelerator.is_main_process:
            try:
                told[0] = decide()
            except ValueError as error:
                told[1] = str(error)
        broadcast_object_list(told)
        if told[1] is not None:
            raise ValueError(told[1])
        return told[0]

    def _require_same_order(self, checkpoint: str, written: Record, now: Record) -> None:
        if self.args.ignore_data_skip:
            logger.warning(
                "ignore_data_skip=True: the run goes on with the weights of %s, from the start of a pass over the "
                "data. It will differ from one that was not interrupted.",
                checkpoint,
            )
            return
        if self._follows_policy() and not (Path(checkpoint) / _REFERENCE_FILE).is_file():
            raise ValueError(
                f"Cannot resume from {checkpoint!r}: sync_ref_model=True moves the reference model, and this "
                "checkpoint does not hold it (under FSDP and DeepSpeed none does). Resume with sync_ref_model=False, "
                "which goes on with the reference model of the start, or start anew."
            )
        if other := _differences(written.order, now.order):
            raise ValueError(
                f"Cannot resume from {checkpoint!r}: it was written by a run with {', '.join(other)}, so the "
                "problems that come next would be others: some would be trained on twice, some never. Set these as "
                "they were, or set ignore_data_skip=True to go on with the weights and begin a pass over the data."
            )

    def _init_training_state(self, *args: Any) -> tuple[int, int]:
        """The passes over the data that are done, and the micro-batches of this process in the current one."""
        epochs, batches = super()._init_training_state(*args)
        checkpoint = args[3]  # its fourth parameter, by the contract in the seam
        if isinstance(self.train_dataset, Dataset) or checkpoint is None or self.args.ignore_data_skip:
            return epochs, batches
        record = read_record(Path(checkpoint))
        if record is None or record.position is None:
            logger.warning("%s does not say where in the stream it was written; its first pass is taken.", checkpoint)
            return epochs, batches
        return record.position.epoch, record.position.batches

    def _run_epoch(self, *, epoch: int, **kwargs: Any) -> None:
        if self.state.global_step >= self.state.max_steps:  # else a run that is complete would take one more step
            self.control.should_training_stop = True
            return
        skipped = 0
        if epoch == kwargs["epochs_trained"] and kwargs["resume_from_checkpoint"] is not None:
            # TRL tells by `_step` which part of a generation batch comes next, and would begin at the first.
            skipped = self._step = kwargs["steps_trained_in_current_epoch"]
            if skipped % self._micro_steps_of_rollouts and self._buffered_inputs is None:
                logger.warning("The checkpoint is without the rollouts that were in use; the run samples new ones.")
        self._sgpo.current_pass = epoch, self.state.global_step - skipped // self.args.gradient_accumulation_steps
        if self._sgpo.sampler is not None:
            self._sgpo.sampler.set_epoch(epoch)
        super()._run_epoch(epoch=epoch, **kwargs)

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        # A head that is the embedding is saved once; transformers would report it as missing at each resume.
        tied = getattr(self.model, "all_tied_weights_keys", None) or ()
        missing = [name for name in load_result.missing_keys if name not in tied]
        super()._issue_warnings_after_load(load_result._replace(missing_keys=missing))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        given = [] if self.optimizer is None else [_settings(group) for group in self.optimizer.param_groups]
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            if not sharded(self.args):
                set_again(self.optimizer, self.lr_scheduler, given)
            self._load_state(Path(checkpoint))
            if self.is_world_process_zero():
                step, steps = self.state.global_step, self.state.max_steps
                done = " Nothing is left to train; raise max_steps to train on." if step >= steps else ""
                print(f"Resuming from {checkpoint}, step {step} of {steps}.{done}", flush=True)

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

    def _position(self) -> Position:
        epoch, began = self._sgpo.current_pass
        batches = (self.state.global_step - began) * self.args.gradient_accumulation_steps
        if self._sgpo.sampler is not None:  # the last step of a pass may have fewer
            batches = min(batches, len(self._sgpo.sampler) // self.args.generation_batch_size)
        return Position(epoch, batches)

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


def set_again(optimizer: Any, scheduler: Any, given: list[dict[str, Any]]) -> None:
    """Give an optimizer the rates and decays of this run, which a checkpoint has replaced by those of its own.

    Where nothing was changed, nothing is touched, to the bit.
    """
    changed = {}
    for group, settings in zip(optimizer.param_groups, given, strict=True):
        for name, value in settings.items():
            if name != "lr" and group.get(name) != value:
                called = "learning_rate" if name == "initial_lr" else name
                changed[name] = f"{called} is {value} from here on, and was {group.get(name)}"
                if name == "initial_lr":
                    group["lr"] = group["lr"] * value / group[name] if group[name] else settings["lr"]
                group[name] = value
    if "initial_lr" in changed and hasattr(scheduler, "base_lrs"):
        scheduler.base_lrs = [settings["initial_lr"] for settings in given]
        scheduler._last_lr = [group["lr"] for group in optimizer.param_groups]
    if changed:
        logger.warning("Resumed with other settings: %s.", "; ".join(changed.values()))


def _settings(group: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of an optimizer's group that a user sets: rate, decay, betas."""
    return {name: value for name, value in group.items() if isinstance(value, (int, float, tuple))}


def _differences(written: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> list[str]:
    """What differs, in words; nothing where one of the two is not known."""
    if written is None or now is None:
        return []
    return [f"{k}={v!r} (here {now.get(k)!r})" for k, v in written.items() if now.get(k) != v]
