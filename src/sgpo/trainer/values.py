"""What a field of a configuration takes, of any trainer: kinds of value, choices and ranges, each in one table.

The rules are those of the field's annotation and of all numbers, and the tables say what is narrower or wider: TRL and
transformers meet a value that they cannot use in the first step, or never.
"""

import json
import os
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import MISSING, fields
from enum import Enum
from numbers import Integral, Real
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import torch
from transformers import get_scheduler
from transformers.trainer_pt_utils import AcceleratorConfig

from sgpo.objectives import CLIP_FORMS, DIRECTIONS, SELECTION_MODES, WEIGHT_FORMS
from sgpo.objectives.baselines import ADVANTAGE_BASELINES

# In place of annotations of TRL and transformers that are too wide, or leave out what they take.
KINDS: dict[str, Any] = {
    "debug": str | list | None,
    "fsdp": bool | str | None,
    "max_completion_length": int,
    "scale_rewards": bool | str,
}
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", type(None): "None"}
_WORDS |= {dict: "a mapping", list: "a list"}
_ALIKE: dict[type, Any] = {int: Integral, float: Real, str: (str, os.PathLike), list: (list, tuple)}
_ALIKE |= {dict: (Mapping, AcceleratorConfig)}
_FILES = ("accelerator_config", "deepspeed", "fsdp_config")  # mappings that may stand in a file of their own

# The tables themselves, not copies: a form that is added to one later is a choice at once.
CHOICES: dict[str, Collection[object]] = {
    "importance_sampling_level": ("token", "sequence"),
    "multi_objective_aggregation": ("sum_then_normalize", "normalize_then_sum"),
    "scale_rewards": ("group", "batch", "none", True, False),
    "vllm_mode": ("colocate", "server"),
    "vllm_importance_sampling_mode": ("token_truncate", "token_mask", "sequence_truncate", "sequence_mask"),
    "guided_rollouts": ("always", "on_demand", "by_weight", "auto"),
    "guided_grpo_group": ("own", "joined"),
    "target_selection": SELECTION_MODES,
    "target_source": ("guided", "autonomous"),
    "distillation_loss": ("kl", "sft"),
    "kl_direction": DIRECTIONS,
    "kl_clip_form": CLIP_FORMS,
    "teacher": ("live", "ema", "frozen"),
    "alpha_form": WEIGHT_FORMS,
    "teacher_mix_schedule": ("constant", "linear"),
    "advantage_baseline": ADVANTAGE_BASELINES,
}

_INF, _LARGEST = float("inf"), sys.float_info.max
# No number is as large as the first, which says that it must be finite.
_FINITE, _ABOVE_ZERO = 1e8, 1e-8
# Any other number is at least 0 and finite. In the last two rows what is below 0 has a meaning, or is not read.
_RANGES: dict[tuple[float, float], str] = {
    (0.0, _FINITE): "learning_rate grpo_weight guided_grpo_weight",
    (0.0, _INF): (
        "epsilon epsilon_high beta alpha_0 alpha_max off_policy_mask_threshold vllm_server_timeout "
        "vllm_importance_sampling_clip_min vllm_importance_sampling_clip_max vllm_importance_sampling_cap"
    ),
    (0.0, 1.0): (
        "min_p label_smoothing_factor teacher_mix teacher_ema_decay ref_model_mixup_alpha top_entropy_quantile"
    ),
    (0.0, 1 - 1e-8): "adam_beta1 adam_beta2",
    (0.0, 0.5): "kl_gradient_tolerance",
    (1e-3, 1.0): "guided_probability_min",
    (1e-3, 1e3): "teacher_temperature",
    (_ABOVE_ZERO, 1.0): "top_p guided_rollouts_below vllm_gpu_memory_utilization",
    (_ABOVE_ZERO, _FINITE): (
        "temperature repetition_penalty alpha_gamma shaping_gamma sft_coef sapo_temperature_neg sapo_temperature_pos"
    ),
    (_ABOVE_ZERO, _INF): "kl_clip delta vllm_request_timeout",
    (1, _INF): (
        "max_completion_length per_device_train_batch_size per_device_eval_batch_size gradient_accumulation_steps "
        "eval_accumulation_steps steps_per_generation generation_batch_size num_generations_eval num_iterations "
        "num_targets kl_chunk_size pad_to_multiple_of max_length dataset_num_proc dataloader_prefetch_factor "
        "torch_empty_cache_steps ref_model_sync_steps vllm_tensor_parallel_size ddp_timeout"
    ),
    (2, _INF): "num_generations",
    (1, 65535): "vllm_server_port vllm_group_port",
    (0, 2**32 - 1): "seed data_seed",
    (-_LARGEST, _LARGEST): (
        "logging_steps eval_steps save_steps reward_weights correctness_threshold entropy_coef entropy_coef_min "
        "entropy_coef_max"
    ),
    (-_INF, _INF): "max_steps num_train_epochs local_rank max_grad_norm save_total_limit vllm_max_model_length",
}
_RANGE = {name: limits for limits, names in _RANGES.items() for name in names.split()}


def require_values(config: Any) -> None:
    """Raise ``ValueError`` for a value of another kind than its field's, none of its choices, or out of its range."""
    own = next(kind for kind in type(config).__mro__ if kind.__module__.startswith("sgpo."))  # not a user's subclass
    hints = get_type_hints(own) | KINDS
    for each in fields(own):
        name, value = each.name, getattr(config, each.name)
        if value is each.default:
            continue
        _require_kind(name, value, hints[name], each.default)
        choices = CHOICES.get(name) or each.metadata.get("choices")
        if choices and value is not None:
            require_choice(name, value, choices)
        several = isinstance(value, (list, tuple))
        for number in value if several else (value,):
            if isinstance(number, Real) and not isinstance(number, bool):
                low, high = _RANGE.get(name, (0, _LARGEST if isinstance(number, float) else _INF))
                none = type(None) in options(hints[name]) and not several
                _require_range(f"{name} {'holds' if several else 'is'}", number, low, high, none=none)
    if config.max_steps <= 0:
        _require_range("num_train_epochs is", config.num_train_epochs, _ABOVE_ZERO, _FINITE)


def _require_kind(name: str, value: object, hint: Any, default: object) -> None:
    kinds, found, in_words = options(hint), value, ""
    if str in kinds and any(_base(kind) is dict or _is_enum(kind) for kind in kinds):  # a text stands for one of them
        kinds = tuple(kind for kind in kinds if kind is not str)
        if dict in map(_base, kinds):
            found = _of_text(value, file=name in _FILES)
            in_words = ", as a text in JSON: '{\"NAME\": VALUE}'" + ", or the path of such a file" * (name in _FILES)
    if not any(_fits(found, kind) for kind in kinds):
        remedy = "Give one, or leave it out" + ("" if default is MISSING else f" for {default!r}")
        raise ValueError(f"{name} is {value!r}, but must be {kinds_in_words(kinds)}{in_words}. {remedy}.")


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value is of a kind; a whole float is a whole number, too, and a path a text."""
    base = _base(kind)
    if not isinstance(base, type):  # of what is no class, Any among them, values are left to TRL
        return base is not Literal or value in get_args(kind)
    if isinstance(value, bool):
        return base is bool
    if issubclass(base, Enum):
        return value in [each.value for each in base]
    if base is int and isinstance(value, float):
        return value.is_integer()
    within = get_args(kind) if base is list else ()
    return isinstance(value, _ALIKE.get(base, base)) and all(_fits(each, inner) for inner in within for each in value)


def _of_text(value: Any, *, file: bool) -> Any:
    """The mapping that a text stands for, empty where it is in a file; otherwise the value itself."""
    try:
        found = json.loads(value)
    except (ValueError, TypeError):
        return {} if file and isinstance(value, (str, os.PathLike)) and os.path.isfile(value) else value
    return found if isinstance(found, dict) else value


def _base(kind: Any) -> Any:
    return get_origin(kind) or kind


def _is_enum(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Enum)


def options(hint: Any) -> tuple[Any, ...]:
    """The kinds that an annotation names."""
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def kinds_in_words(kinds: Iterable[Any]) -> str:
    """Kinds in words: "a number or None"."""

    def one(kind: Any) -> str:
        base = _base(kind)
        if base is list and get_args(kind):
            return {str: "a list of texts", float: "a list of numbers"}.get(get_args(kind)[0], "a list")
        if base is Literal:
            return " or ".join(map(repr, get_args(kind)))
        if _is_enum(kind):
            return "one of " + ", ".join(str(member.value) for member in base)
        return _WORDS.get(base, getattr(base, "__name__", str(base)))

    return " or ".join(dict.fromkeys(map(one, kinds)))


def require_choice(name: str, value: object, choices: Collection[object]) -> None:
    """Raise ``ValueError`` unless ``value`` is one of the choices."""
    if value not in choices:
        raise ValueError(f"{name} is {value!r}, but must be one of {', '.join(map(repr, choices))}.")


def _require_range(said: str, value: Any, low: float, high: float, *, none: bool = False) -> None:
    if low <= value <= high:
        return
    finite = high in (_FINITE, _LARGEST)
    rule = f"within [{low}, {high}]"
    if low == _ABOVE_ZERO:
        rule = f"above 0 (at least {low})" + {_INF: ""}.get(high, ", and finite" if finite else f", and at most {high}")
    elif low < 0:
        rule = "a finite number" if finite else "a number"
    elif finite or high == _INF:
        rule = f"a finite number of at least {low}" if finite else f"at least {low}"
    raise ValueError(f"{said} {value}, but must be {rule}{', or None' if none else ''}.")


def require_schedule(config: Any) -> None:
    """Raise ``ValueError`` unless there is such a schedule; which keyword arguments it takes, it alone knows."""
    name, given, rate = config.lr_scheduler_type, config.lr_scheduler_kwargs, config.learning_rate
    try:
        get_scheduler(name, torch.optim.SGD([torch.zeros(1)], lr=rate), 0, 1, given)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise ValueError(
            f"lr_scheduler_kwargs is {given}, with which there is no {name.value} schedule of learning_rate {rate}: "
            f"{error}. Give what this lr_scheduler_type takes."
        ) from error
