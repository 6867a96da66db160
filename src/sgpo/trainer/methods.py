"""Every method that is compared: a trainer and the fields of its configuration by which the method differs.

A method's name is a key of ``METHODS``, or a key with overrides, such as ``sgpo:kl_clip=0.5,teacher=ema``, so that a
sweep over any field needs no entry of its own. The ablations are those of arXiv 2606.24064; the rest is ours.
"""

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any, NamedTuple

from trl import SFTTrainer

from sgpo.runs.yaml_reader import parse_yaml
from sgpo.trainer.checkpointing import SFTConfig
from sgpo.trainer.config import SGPOConfig
from sgpo.trainer.hpt import HPTConfig, HPTTrainer
from sgpo.trainer.luffy import LUFFYConfig, LUFFYTrainer
from sgpo.trainer.resumable import RecordedCheckpoints
from sgpo.trainer.sgpo_trainer import SGPOTrainer


class RecordedSFTTrainer(RecordedCheckpoints, SFTTrainer):
    """TRL's SFT, whose checkpoints say what their files were."""


class Kind(NamedTuple):
    """A trainer and its configuration."""

    trainer: Any
    config: Any


KINDS = {
    "sgpo": Kind(SGPOTrainer, SGPOConfig),
    "luffy": Kind(LUFFYTrainer, LUFFYConfig),
    "hpt": Kind(HPTTrainer, HPTConfig),
    "sft": Kind(RecordedSFTTrainer, SFTConfig),
}


@dataclasses.dataclass(frozen=True)
class Method:
    """``kind`` is a key of ``KINDS``, or None for the model as it is; ``fields`` go into the configuration.

    ``tuned_as`` names the method whose learning rate it takes (an ablation changes one thing only); None: its own.
    """

    name: str
    label: str
    kind: str | None
    fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    tuned_as: str | None = None


_OFF = {"alpha_form": "constant", "alpha_0": 0.0}
METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("base", "base", None),
        Method("sft", "SFT", "sft"),
        Method("sft_grpo", "SFT+GRPO", "sgpo", _OFF),
        Method("sft_grpo_12", "SFT+GRPO, 12 rollouts", "sgpo", {**_OFF, "num_generations": 12}),
        Method("luffy", "LUFFY", "luffy"),
        Method("hpt", "HPT", "hpt"),
        Method("sgpo", "SGPO", "sgpo"),
        Method("no_distillation", "without strategy distillation", "sgpo", _OFF, "sft_grpo"),
        Method("no_grpo", "without autonomous GRPO", "sgpo", {"grpo_weight": 0.0}, "sgpo"),
        Method("no_clip", "without KL clip", "sgpo", {"kl_clip": None}, "sgpo"),
        Method("no_selection", "without target selection", "sgpo", {"target_selection": "random"}, "sgpo"),
        Method(
            "no_proximal", "without clip and selection", "sgpo", {"kl_clip": None, "target_selection": "random"}, "sgpo"
        ),
        Method("no_adaptive", "without adaptive weight", "sgpo", {"alpha_form": "constant"}, "sgpo"),
        Method("reverse_kl", "reverse KL", "sgpo", {"kl_direction": "reverse"}, "sgpo"),
        Method("guided_sft", "SFT on the selected responses", "sgpo", {"distillation_loss": "sft"}, "sgpo"),
    )
}
PRESETS: dict[str, tuple[str, ...]] = {
    "paper": ("base", "sft", "sft_grpo", "sft_grpo_12", "luffy", "hpt", "sgpo"),
    "ablations": (
        "sgpo",
        "no_distillation",
        "no_grpo",
        "no_clip",
        "no_selection",
        "no_proximal",
        "no_adaptive",
        "reverse_kl",
        "guided_sft",
    ),
    "forms": (
        "sgpo",
        "sgpo:alpha_form=gap",
        "sgpo:kl_clip_form=hard",
        "sgpo:kl_clip=0.3",
        "sgpo:kl_clip=3.0",
        "sgpo:teacher=ema",
        "sgpo:teacher=frozen",
    ),
}


def find_method(spec: str) -> Method:
    """The method called ``spec``: a key of ``METHODS``, with overrides behind a colon if wanted.

    Raises:
        ValueError: unknown method, or a field its configuration does not have, with the nearest names; an override
            without a value.
    """
    name, _, overrides = spec.partition(":")
    if name not in METHODS:
        raise ValueError(f"method {name!r} is unknown{_nearest(name, METHODS)}. There are: {', '.join(METHODS)}.")
    method = METHODS[name]
    if not overrides:
        return method
    if method.kind is None:
        raise ValueError(f"{spec!r}: {name} trains nothing, so it has no fields to override.")
    known = {field.name for field in dataclasses.fields(KINDS[method.kind].config) if field.init}
    fields = dict(method.fields)
    for part in overrides.split(","):
        field, equals, value = part.partition("=")
        if not equals:
            raise ValueError(f"{spec!r}: {part!r} is no override; write field=value.")
        if field not in known:
            raise ValueError(f"{spec!r}: {name} has no field {field!r}{_nearest(field, known)}.")
        fields[field] = parse_yaml(value, f"{spec!r}: {value!r} is no value of {field}")
    return Method(spec, f"{method.label}, {overrides.replace('=', ' ')}", method.kind, fields, method.tuned_as or name)


def _nearest(name: str, names: Any) -> str:
    close = difflib.get_close_matches(name, names, n=3)
    return f" (did you mean {' or '.join(close)}?)" if close else ""
