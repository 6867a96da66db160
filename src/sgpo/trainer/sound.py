"""What every trainer of this package is held to, SFT among them.

It trains some weights and saves all that it trains; it stops at the first number that is not finite; and each of its
checkpoints ends with a record of its files.
"""

import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import is_peft_model
from transformers.trainer import TRAINING_ARGS_NAME
from transformers.trainer_utils import rotate_checkpoints

from sgpo.models.folders import QUANTIZATION, whole_weights
from sgpo.runs.files import saving, write_json
from sgpo.trainer import adapters
from sgpo.trainer.checks import warn_of_lost_updates
from sgpo.trainer.finite import FiniteNumbers, require_finite_weights
from sgpo.trainer.own import Own, swapped
from sgpo.trainer.record import Record, write_record
from sgpo.trainer.trl_seam import check, get_config_model_id


def mend_generation(model: Any) -> None:
    """Unset options of a generation_config without effect, and set do_sample where a temperature stands without it.

    Training may change its ids of special tokens, and transformers saves none that was changed and has such options.
    Raises ``ValueError`` for another fault.
    """
    config = getattr(model, "generation_config", None)
    if config is None or is_peft_model(model):  # an adapter is saved without
        return
    config.validate()
    names = () if config.return_dict_in_generate else config.extra_output_flags
    names += ("early_stopping", "length_penalty") if config.num_beams in (None, 1) else ()
    idle: dict[str, Any] = {name: None for name in names if getattr(config, name)}
    # A temperature of 0 says once more that nothing is sampled; with do_sample the model could not generate.
    greedy = dict.fromkeys(("temperature", "top_p", "top_k", "min_p"))
    sampling = greedy if config.temperature == 0 else {"do_sample": True}
    for what, mended in (("without effect", idle), ("of sampling without do_sample=True", sampling)):
        with suppress(ValueError):
            return config.validate(strict=True)
        if mended:
            config.update(**mended)
            warnings.warn(
                f"The model's generation_config has options {what}, with which a checkpoint may not be written. They "
                f"are mended here, and in what is saved: {mended}.",
                stacklevel=3,
            )


_Trainer: Any = object  # for mypy: a ``Trainer`` stands behind it


class SoundTrainer(_Trainer):
    """A base that any ``Trainer`` inherits from first.

    Raises:
        ValueError: at construction, where no weight of the model is trained, one that no checkpoint would keep, or one
            that merges into another model; and where weights are missing in the files of a model.
        SeamError: at construction, for a TRL that does not fit; see :mod:`sgpo.trainer.trl_seam`.
        NonFiniteError: in training, and before a checkpoint is written; see :mod:`sgpo.trainer.finite`.
    """

    def __init__(self, model: Any, *args: Any, **kwargs: Any):
        check()
        self._sgpo = Own(model if isinstance(model, str) else get_config_model_id(model.config))
        with whole_weights():
            super().__init__(model, *args, **kwargs)
        mend_generation(self.model)
        adapters.check_trained(self.model)
        adapters.check_saved(self.model)
        adapters.check_merged(self.model)
        warn_of_lost_updates(self.model, self.args)
        self.add_callback(FiniteNumbers(self.accelerator))

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluate as ``Trainer`` does; the training goes on with the random numbers that it would have had without."""
        self._metrics["eval"].clear()  # of one that was interrupted, or of `predict`, which logs nothing
        with torch.random.fork_rng([] if self.accelerator.device.type == "cpu" else [self.accelerator.device]):
            return super().evaluate(*args, **kwargs)

    def _load_callback_state(self) -> None:
        """Give callbacks what they counted; transformers does it if asked to, and takes their settings back as well."""
        if self.args.restore_callback_states_from_checkpoint:
            return super()._load_callback_state()
        for kind, saved in self.state.stateful_callbacks.items():
            ours = [callback for callback in self.callback_handler.callbacks if type(callback).__name__ == kind]
            for callback, state in zip(ours, saved if isinstance(saved, list) else [saved], strict=False):
                vars(callback).update(state.get("attributes", {}))

    def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> None:
        # A resumed run knows nothing that was not logged: its next line would be of fewer steps than it says.
        saves = self.control.should_save or (self.control.should_evaluate and self.args.save_strategy == "best")
        self.control.should_log |= saves and self.args.logging_strategy != "no"
        super()._maybe_log_save_evaluate(*args, **kwargs)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        # A checkpoint of NaN would be the one that a resumed run goes on from.
        require_finite_weights(self.accelerator, self.model, self.state.global_step, self.args.output_dir)
        directory = Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
        limit = self.args.save_total_limit
        with saving(directory, remove=self.args.should_save):
            with swapped(self.args, save_total_limit=None):  # older ones go when this one is whole, and not before
                super()._save_checkpoint(model, trial)
            self._save_state(directory)
            self.accelerator.wait_for_everyone()  # each process writes files
            if self.args.should_save:
                torch.save(self.args, directory / TRAINING_ARGS_NAME)  # with its limit
                write_record(directory, self._checkpoint_record())
                best, folder = self.state.best_model_checkpoint, str(directory.parent)
                rotate_checkpoints(folder, save_total_limit=limit, best_model_checkpoint=best, use_mtime=True)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the model as ``from_pretrained`` reads it, whoever shards; every process calls this.

        Under ``SHARDED_STATE_DICT`` transformers saves nothing here. Then a checkpoint (``_internal_call``) gets what
        belongs beside its parts, so that they can be merged and read, and any other folder gets the whole weights.
        """
        plugin = getattr(self.accelerator.state, "fsdp_plugin", None)
        model = self.accelerator.unwrap_model(self.model)
        revision = (self.args.model_init_kwargs or {}).get("revision", "main")
        if is_peft_model(model) and revision != "main":
            for config in model.peft_config.values():
                config.revision = revision  # of the base, for who loads the adapter
        super().save_model(output_dir, _internal_call)
        quantized = getattr(model.config, "quantization_config", None)
        if quantized is not None and self.args.should_save and is_peft_model(self.model):
            written = quantized if isinstance(quantized, dict) else quantized.to_dict()
            write_json(Path(output_dir or self.args.output_dir) / QUANTIZATION, written)  # PEFT says nothing of it
        if plugin is None or plugin.state_dict_type.name != "SHARDED_STATE_DICT":
            return
        if not _internal_call:
            self._save(output_dir, state_dict=self.accelerator.get_state_dict(self.model))
        elif self.args.should_save and not is_peft_model(self.model):
            for part in (model.config, model.generation_config, self.processing_class):
                part.save_pretrained(output_dir)

    def _save_state(self, directory: Path) -> None:
        """Add to a checkpoint what TRL and transformers leave out; called on every process."""

    def _checkpoint_record(self) -> Record:
        """What a resumed run is held to, or told of: weights, order and place of the data, settings."""
        return Record()
