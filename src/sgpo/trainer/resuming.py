"""Going on from a checkpoint, in every trainer of this package: from the last whole one, of the same weights and data.

Transformers goes on with whatever it finds: with other data it skips as many rows of these, where the optimizer's file
is missing the optimizer remembers nothing, and of a stream it does not know in which pass a run stood.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from accelerate.utils import broadcast_object_list, is_peft_model
from datasets import Dataset

from sgpo.trainer.checkpoints import Resume, names_in, whole_checkpoint
from sgpo.trainer.identity import adapter_settings, base_of, column_digests, dataset_digest, settings_of, trained_by
from sgpo.trainer.ranks import lost_process_named
from sgpo.trainer.record import Position, Record, read_record
from sgpo.trainer.shards import sharded
from sgpo.trainer.sound import SoundTrainer

logger = logging.getLogger(__name__)

_REFUSED = {  # of a record, and why
    "trained": "its weights and its optimizer are not those of this one. Set these as they were, or start anew.",
    "order": "the problems that come next would be others: some would be trained on twice, some never. Set these as "
    "they were, or set ignore_data_skip=True to go on with the weights and begin a pass over the data.",
}


class ResumingTrainer(SoundTrainer):
    """A base that any ``Trainer`` inherits from first; it goes on from a checkpoint of its own run, or says why not."""

    # What decides the order of the data; a field that is not there counts as None.
    _ordering: tuple[str, ...] = ("world_size", "per_device_train_batch_size", "gradient_accumulation_steps", "seed")

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        # Before anything is wrapped. A user's subclass counts as the trainer that it extends.
        ours = next(cls for cls in type(self).__mro__ if cls.__module__.startswith("sgpo."))
        self._sgpo.trained = {"trainer": ours.__name__, **trained_by(self.model, self.args)}

    def _checkpoint_record(self) -> Record:
        order = {name: getattr(self.args, name, None) for name in self._ordering}
        order["problems"] = dataset_digest(self.train_dataset)
        settings = {**self._settings(), **column_digests(self.train_dataset)}
        return Record(order=order, position=self._position(), trained=self._sgpo.trained, settings=settings)

    def _settings(self) -> dict[str, Any]:
        """What a resumed run may have otherwise, but not without a word."""
        # The base stands behind an adapter, and is the reference; else the checkpoint has all weights.
        model = self.accelerator.unwrap_model(self.model)
        behind = is_peft_model(self.model) or getattr(self.args, "beta", 0.0) != 0.0
        base = base_of(model, self._sgpo.base_model) if behind else {}
        return {**settings_of(self.args), **base, **adapter_settings(model)}

    # ---------------------------------------------------------------- which checkpoint

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
        self._metrics["train"].clear()  # of a call that was interrupted within a step
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
                f"{self.args.output_dir} holds {older[-1]} of an earlier run, and this one starts anew: the two will "
                "stand side by side, and resuming takes the one with the most steps. Use resume_from_checkpoint=True "
                "or another output_dir."
            )
        if found is not None:
            self._require_same_run(found, read_record(Path(found)) or Record(), self._checkpoint_record())
        return found

    def _require_same_run(self, checkpoint: str, written: Record, now: Record) -> None:
        """Say what of the objective, data and schedule differs, and raise for other weights or another order."""
        shared = {k: v for k, v in written.settings.items() if k in now.settings and k not in self._ordering}
        if other := _differences(shared, now.settings):
            logger.warning("%s was written by a run with %s; the run goes on as told here.", checkpoint, other)
        if self.args.ignore_data_skip:
            logger.warning(
                f"ignore_data_skip=True: the run goes on with the weights of {checkpoint}, from the start of a pass "
                "over the data. It will differ from one that was not interrupted."
            )
            written = replace(written, order=None)
        for what, then in _REFUSED.items():
            if other := _differences(getattr(written, what), getattr(now, what)):
                raise ValueError(f"Cannot resume from {checkpoint!r}: it was written by a run with {other}, so {then}")

    def _on_main(self, decide: Any) -> Any:
        """What the main process decides, or the error that it meets, on every process."""
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

    # ---------------------------------------------------------------- where it stood

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
        resumed = epoch == kwargs["epochs_trained"] and kwargs["resume_from_checkpoint"] is not None
        self._begin_pass(epoch, kwargs["steps_trained_in_current_epoch"] if resumed else 0)
        super()._run_epoch(epoch=epoch, **kwargs)

    def _begin_pass(self, epoch: int, skipped: int) -> None:
        """A pass over the data begins, behind ``skipped`` micro-batches that an earlier run has trained on."""
        self._sgpo.current_pass = epoch, self.state.global_step - skipped // self.args.gradient_accumulation_steps

    def _position(self) -> Position:
        (epoch, began), sampler = self._sgpo.current_pass, self._sgpo.sampler
        batches = (self.state.global_step - began) * self.args.gradient_accumulation_steps
        if sampler is not None:  # the last step of a pass may have fewer
            batches = min(batches, len(sampler) // self.args.generation_batch_size)
        return Position(epoch, batches)

    def get_batch_samples(self, epoch_iterator: Iterator[Any], num_batches: int, device: Any) -> Any:
        """The micro-batches of an optimizer step; fewer than it takes, at the end of a pass over a stream, are none.

        Transformers does not step there, and leaves their gradient to the next step, which then is twice as long. A
        pass with too few for any step is a ``ValueError``.
        """
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        if len(batches) == num_batches or isinstance(self.train_dataset, Dataset):
            return batches, items
        if batches and self._sgpo.current_pass[1] == self.state.global_step:
            raise ValueError(
                f"A pass over the streamed train_dataset has {len(batches)} batches, but a step takes {num_batches} of "
                "them (gradient_accumulation_steps), so none would be taken. Lower it, or give more data."
            )
        return [], None

    # ---------------------------------------------------------------- what it had

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

    def _load_state(self, directory: Path) -> None:
        """Take from a checkpoint what :meth:`_save_state` has added to it."""


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


def _differences(written: Mapping[str, Any] | None, now: Mapping[str, Any]) -> str:
    """What differs, in words; "" for nothing, and where it is not known what was."""
    return ", ".join(f"{k}={v!r} (here {now.get(k)!r})" for k, v in (written or {}).items() if now.get(k) != v)
