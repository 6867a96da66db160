"""The trainer of each method that is compared, and a method by its name; the table is :mod:`sgpo.runs.methods`."""

import dataclasses
from typing import Any, NamedTuple

from sgpo.runs.methods import METHODS, Method
from sgpo.runs.words import nearest
from sgpo.runs.yaml_reader import parse_yaml
from sgpo.trainer.config import SGPOConfig
from sgpo.trainer.hpt import HPTConfig, HPTTrainer
from sgpo.trainer.luffy import LUFFYConfig, LUFFYTrainer
from sgpo.trainer.sft import ExpertSFTTrainer, SFTConfig
from sgpo.trainer.sgpo_trainer import SGPOTrainer


class Kind(NamedTuple):
    """A trainer and its configuration."""

    trainer: Any
    config: Any


KINDS = {
    "sgpo": Kind(SGPOTrainer, SGPOConfig),
    "luffy": Kind(LUFFYTrainer, LUFFYConfig),
    "hpt": Kind(HPTTrainer, HPTConfig),
    "sft": Kind(ExpertSFTTrainer, SFTConfig),
}


def find_method(spec: str) -> Method:
    """The method called ``spec``: a key of ``METHODS``, with overrides behind a colon if wanted.

    Raises:
        ValueError: unknown method, or a field its configuration does not have, with the nearest names; an override
            without a value.
    """
    name, _, overrides = spec.partition(":")
    if name not in METHODS:
        raise ValueError(f"method {name!r} is unknown{nearest(name, METHODS)}. There are: {', '.join(METHODS)}.")
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
            raise ValueError(f"{spec!r}: {name} has no field {field!r}{nearest(field, known)}.")
        fields[field] = parse_yaml(value, f"{spec!r}: {value!r} is no value of {field}")
    return Method(spec, f"{method.label}, {overrides.replace('=', ' ')}", method.kind, fields, method.tuned_as or name)
