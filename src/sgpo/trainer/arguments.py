"""What the configurations of all trainers share: the precision of a CPU, and both names of activation checkpointing."""

from dataclasses import dataclass, field, fields
from typing import Any

import torch
from transformers import TrainingArguments

_NEWER_TO_OLDER = {
    "activation_checkpointing": "gradient_checkpointing",
    "activation_checkpointing_kwargs": "gradient_checkpointing_kwargs",
}
_MISSING = _NEWER_TO_OLDER.keys() - {known.name for known in fields(TrainingArguments)}


@dataclass
class BothCheckpointingNames:
    """Mix-in, named before a ``TrainingArguments``: both names hold one value, whichever of them was given.

    Transformers calls it ``activation_checkpointing`` from 5.23 on and keeps ``gradient_checkpointing`` as an alias.
    Before, as with the newest vLLM that TRL takes, only the older name exists. Recipes use the newer one.
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
        for newer in _MISSING:
            if getattr(self, newer) is not None:
                setattr(self, _NEWER_TO_OLDER[newer], getattr(self, newer))
        super().__post_init__()  # type: ignore[misc]
        for newer in _MISSING:
            setattr(self, newer, getattr(self, _NEWER_TO_OLDER[newer]))


@dataclass
class Float32OnCPU:
    """Mix-in, named before a ``TrainingArguments``: a CPU trains in float32 unless told otherwise.

    TRL's default is bf16, made for a GPU.
    """

    def __post_init__(self) -> None:
        self.use_cpu: bool = self.use_cpu or not torch.accelerator.is_available()
        if self.use_cpu:
            self.bf16: bool | None = bool(self.bf16)
        super().__post_init__()  # type: ignore[misc]
