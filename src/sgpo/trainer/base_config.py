"""What the configurations of all trainers share; of those that sample, also whole groups of rollouts on a process."""

import os
from collections.abc import Collection
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import torch
from transformers import GenerationConfig, TrainingArguments
from trl import GRPOConfig

_NEWER_TO_OLDER = {
    "activation_checkpointing": "gradient_checkpointing",
    "activation_checkpointing_kwargs": "gradient_checkpointing_kwargs",
}
_MISSING = _NEWER_TO_OLDER.keys() - {known.name for known in fields(TrainingArguments)}
# Kinds of value, as an error names them; a field of any other is left to TRL. Paths stand for text.
_KINDS = {bool: "True or False", int: "a whole number", float: "a number", str: "a text", type(None): "None"}
_ALIKE: dict[type, Any] = {int: Integral, float: Real, str: (str, os.PathLike)}
_WIDER = {"scale_rewards": (str, bool), "max_completion_length": (int,)}  # than TRL says, and narrower
# The second is none that anybody meets: it says that the number must be finite.
_INF, _FINITE, _ABOVE_ZERO = float("inf"), 1e8, 1e-8
# Of all configurations, of which each has some. TRL meets its own in the first step, or never.
_RANGES = (
    ("learning_rate", 0.0, _FINITE),
    ("seed", 0, 2**32 - 1),
    ("temperature", _ABOVE_ZERO, _FINITE),
    ("top_p", _ABOVE_ZERO, 1.0),
    ("top_k", 0, _INF),
    ("num_generations", 2, _INF),
    ("max_completion_length", 1, _INF),
    ("per_device_train_batch_size", 1, _INF),
    ("gradient_accumulation_steps", 1, _INF),
    ("steps_per_generation", 1, _INF),
    ("pad_to_multiple_of", 1, _INF),
    ("num_iterations", 1, _INF),
    ("epsilon", 0.0, _INF),
    ("epsilon_high", 0.0, _INF),
    ("beta", 0.0, _INF),
    ("vllm_request_timeout", _ABOVE_ZERO, _INF),
    ("alpha_0", 0.0, _INF),
    ("alpha_max", 0.0, _INF),
    ("alpha_gamma", _ABOVE_ZERO, _FINITE),
    ("grpo_weight", 0.0, _FINITE),
    ("guided_grpo_weight", 0.0, _FINITE),
    ("num_guided_generations", 0, _INF),
    ("num_targets", 1, _INF),
    ("teacher_temperature", 1e-3, 1e3),
    ("guided_probability_min", 1e-3, 1.0),
    ("teacher_mix", 0.0, 1.0),
    ("teacher_ema_decay", 0.0, 1.0),
    ("kl_gradient_tolerance", 0.0, 0.5),
    ("kl_chunk_size", 1, _INF),
    ("guided_rollouts_below", _ABOVE_ZERO, 1.0),
    ("shaping_gamma", _ABOVE_ZERO, _FINITE),
    ("sft_coef", _ABOVE_ZERO, _FINITE),
)
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

    def _require_values(self) -> None:
        """Raise ``ValueError`` for what TRL would not understand, or would misread, when it makes its own of it."""
        require_kinds(self)
        for name, low, high in _RANGES:
            if not isinstance(value := getattr(self, name, None), str):  # pad_to_multiple_of may be "auto"
                require_range(name, value, low, high)


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
        require_choice("importance_sampling_level", self.importance_sampling_level, ("token", "sequence"))
        if self.max_steps <= 0:
            require_range("num_train_epochs", self.num_train_epochs, _ABOVE_ZERO, _INF)
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
        given = self.generation_kwargs if isinstance(self.generation_kwargs, dict) else {}
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


def require_kinds(config: Any) -> None:
    """Raise ``ValueError`` for a value of another kind than its field's; a whole float is a whole number, too."""
    own = next(kind for kind in type(config).__mro__ if kind.__module__.startswith("sgpo."))  # not a user's subclass
    hints = get_type_hints(own)
    for each in fields(own):
        value, hint = getattr(config, each.name), hints[each.name]
        kinds = _WIDER.get(each.name) or (get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,))
        if value is each.default or not _KINDS.keys() >= {*kinds}:
            continue
        fits = {kind for kind in kinds if isinstance(value, _ALIKE.get(kind, kind))}
        whole = int in kinds and isinstance(value, float) and value.is_integer()
        if not (bool in fits if isinstance(value, bool) else fits or whole):
            kind = " or ".join(map(_KINDS.__getitem__, kinds))
            raise ValueError(
                f"{each.name} is {value!r}, but must be {kind}. Give one, or leave it out for {each.default!r}."
            )


def require_choice(name: str, value: object, choices: Collection[object]) -> None:
    """Raise ``ValueError`` unless ``value`` is one of the choices."""
    if value not in choices:
        raise ValueError(f"{name} is {value!r}, but must be one of {', '.join(map(repr, choices))}.")


def require_range(name: str, value: float | None, low: float, high: float) -> None:
    """Raise ``ValueError`` unless ``value`` lies within ``low`` and ``high``, or is None; NaN lies nowhere."""
    if value is None or low <= value <= high:
        return
    rule = f"within [{low}, {high}]"
    if low == _ABOVE_ZERO:
        above = {_FINITE: ", and finite", _INF: ""}.get(high, f", and at most {high}")
        rule = f"above 0 (at least {low}){above}"
    elif high in (_FINITE, _INF):
        rule = f"a finite number of at least {low}" if high == _FINITE else f"at least {low}"
    raise ValueError(f"{name} is {value}, but must be {rule}.")
