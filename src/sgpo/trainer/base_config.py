"""What the configurations of all trainers share; of those that sample, also whole groups of rollouts on a process."""

from dataclasses import dataclass, field, fields
from typing import Any

import torch
from transformers import GenerationConfig, TrainingArguments
from trl import GRPOConfig

from sgpo.trainer.values import require_choice, require_schedule, require_values

_NEWER_TO_OLDER = {
    "activation_checkpointing": "gradient_checkpointing",
    "activation_checkpointing_kwargs": "gradient_checkpointing_kwargs",
}
_MISSING = _NEWER_TO_OLDER.keys() - {known.name for known in fields(TrainingArguments)}
_SAMPLED_BY_FIELDS = {
    **{name: name for name in ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")},
    **dict.fromkeys(("max_new_tokens", "max_length", "max_tokens"), "max_completion_length"),
    **dict.fromkeys(("num_return_sequences", "n"), "num_generations"),
}
# Whoever ends or fills up completions by these leaves TRL with the model's own end tokens, by which it cuts and counts.
_ENDED_BY_THE_MODEL = ("eos_token_id", "pad_token_id", "stop", "stop_strings", "stop_token_ids", "ignore_eos")
_KNOWN_TO_TRANSFORMERS = GenerationConfig().to_dict().keys()
LOSSES = ("grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "vespo", "luspo")


def argument(default: Any, help: str) -> Any:
    """A field of a configuration with its help text."""
    return field(default=default, metadata={"help": help})


@dataclass
class SharedConfig:
    """Mix-in, named before a ``TrainingArguments``.

    A CPU trains in float32 unless told otherwise: TRL's default is bf16, made for a GPU.

    Both names of activation checkpointing hold one value, whichever of them was given. Transformers calls it
    ``activation_checkpointing`` from 5.23 on and keeps ``gradient_checkpointing`` as an alias. Before, as with the
    newest vLLM that TRL takes, only the older name exists. Recipes use the newer one.

    Raises:
        ValueError: a value of another kind than its field's, or a number out of its range.
    """

    activation_checkpointing: bool | None = field(
        default=None,
        metadata={
            "help": "Save memory by computing activations again in the backward pass, for about 20%% more time.",
            "nargs": "?",
            "const": True,
        },
    )
    activation_checkpointing_kwargs: dict[str, Any] | str | None = field(
        default=None, metadata={"help": "Keyword arguments of the checkpointing, such as {'use_reentrant': false}."}
    )

    def __post_init__(self) -> None:
        self._require_values()
        for newer in _MISSING:
            if getattr(self, newer) is not None:
                setattr(self, _NEWER_TO_OLDER[newer], getattr(self, newer))
        self.use_cpu: bool = self.use_cpu or not torch.accelerator.is_available()
        if self.use_cpu:
            self.bf16: bool | None = bool(self.bf16)
        super().__post_init__()  # type: ignore[misc]
        for newer in _MISSING:
            setattr(self, newer, getattr(self, _NEWER_TO_OLDER[newer]))
        require_schedule(self)

    def _require_values(self) -> None:
        """Raise ``ValueError`` for what TRL would not understand, or would misread, when it makes its own of it."""
        require_values(self)


@dataclass
class BaseConfig(SharedConfig, GRPOConfig):
    """``GRPOConfig`` of a trainer that needs all rollouts of a problem on one process.

    Raises:
        ValueError: a number out of its range, an unknown loss; a process's batch is no whole number of groups.
    """

    vllm_request_timeout: float | None = argument(
        None,
        "With vllm_mode='server': seconds that one request of a run may take, whatever it asks for; then the run ends. "
        "None: vllm_server_timeout, and for completions the time to sample them, 256 at once, at 5 tokens a second.",
    )

    def _require_values(self) -> None:
        super()._require_values()
        require_choice("loss_type", self.loss_type, LOSSES)
        if self.dataloader_persistent_workers:
            raise ValueError(
                "dataloader_persistent_workers is True, with which a resumed run draws other random numbers than one "
                "that never stopped. Leave it out; rows of text load in no time."
            )
        if self.dataloader_drop_last:
            raise ValueError(
                "dataloader_drop_last is True, with which an evaluation leaves its last problems out. Leave it out; of "
                "the training data incomplete batches are dropped in any case."
            )
        if self.generation_batch_size is None:  # TRL would speak of that field, which the user has not set
            self._require_whole_groups(self.steps_per_generation or self.gradient_accumulation_steps)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.accelerator_config.split_batches:
            raise ValueError(
                "accelerator_config has split_batches=True, which cuts the rollouts of a process by the number of "
                "processes: a step would train on a part of its problems, and weigh them as if they were all. Leave it "
                "out, and give per_device_train_batch_size for one process."
            )
        self._require_whole_groups(self.steps_per_generation)
        if self.use_transformers_continuous_batching:
            raise ValueError(
                "use_transformers_continuous_batching is True. TRL casts the weights that are trained to bfloat16 for "
                "it, once and for all, and goes on without the completions of requests that failed. Leave it out, or "
                "generate with vLLM (use_vllm=True)."
            )
        self._check_generation_kwargs()
        # Transformers' default is the loss, which of GRPO is near 0 for a good policy and for a bad one.
        if self.metric_for_best_model in ("loss", "eval_loss"):
            raise ValueError(
                f"metric_for_best_model is {self.metric_for_best_model!r}, by which the best checkpoint, or the rate, "
                "would be chosen at random: GRPO's loss does not fall as a policy gets better. Set it to 'reward'."
            )

    def _check_generation_kwargs(self) -> None:
        """The loss reads temperature, length and ends elsewhere; the sampler would take them from here."""
        given = self.generation_kwargs or {}
        # vLLM refuses such a name by itself, and transformers keeps it without a word.
        unknown = sorted(given.keys() - _KNOWN_TO_TRANSFORMERS - _SAMPLED_BY_FIELDS.keys() - {*_ENDED_BY_THE_MODEL})
        if unknown and not self.use_vllm:
            raise ValueError(
                f"generation_kwargs has {unknown[0]!r}, which is no field of transformers' GenerationConfig, so it "
                "would do nothing. Correct the name, or leave it out."
            )
        for name in given:
            if name in _SAMPLED_BY_FIELDS:
                field_name = _SAMPLED_BY_FIELDS[name]
                raise ValueError(
                    f"generation_kwargs has {name}={given[name]!r}, which would go before the field {field_name} where "
                    f"completions are sampled, but not in the loss. Set {field_name}."
                )
            if name in _ENDED_BY_THE_MODEL:
                raise ValueError(
                    f"generation_kwargs has {name}={given[name]!r}, by which completions would end that the training "
                    "takes for cut off, with their padding trained on. Give the model its end tokens: "
                    "model.generation_config.eos_token_id, or eos_token_id in its generation_config.json."
                )

    def _require_whole_groups(self, steps_per_generation: int) -> None:
        local_batch = self.per_device_train_batch_size * steps_per_generation
        if local_batch % self.num_generations:
            raise ValueError(
                f"num_generations is {self.num_generations}, but each process generates "
                f"per_device_train_batch_size * steps_per_generation = {self.per_device_train_batch_size} * "
                f"{steps_per_generation} = {local_batch} rollouts, which is not a multiple of it: a problem's group "
                f"must not straddle processes. Set per_device_train_batch_size to a multiple of {self.num_generations}."
            )
