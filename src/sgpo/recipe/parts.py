"""What a run needs beside its data: packages, trackers, and a model whose layers take the options.

`sgpo train --check` makes these parts without weights. So it meets what the training meets after it has loaded them.
"""

import contextlib
import importlib.util
import re
from collections.abc import Iterator
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM
from transformers.integrations import get_reporting_integration_callbacks
from trl import ModelConfig, get_peft_config


class MissingPackageError(ValueError):
    """An option needs a package that is not installed here."""


@contextlib.contextmanager
def naming_packages() -> Iterator[None]:
    """One line, as a `MissingPackageError`, for an option that needs a package which is not installed."""
    try:
        yield
    except (ImportError, RuntimeError) as error:
        said = " ".join(str(error).split())
        if isinstance(error, RuntimeError) and not re.search(r"\binstall(ed)?\b", said):
            raise
        raise MissingPackageError(
            f"A package is missing that an option of this run needs: {said.rstrip('.')}. Install it, or leave the "
            "option out."
        ) from error


def check_parts(config: Any, model: ModelConfig, described: Any) -> None:
    """Make the trackers, and the model with its adapter but without weights.

    Args:
        described: the model's config, as `sgpo.recipe.model.check_model` returns it.

    Raises:
        MissingPackageError: a tracker, vLLM or the kind of attention is not installed.
        ValueError: there is no such tracker, or LoRA names modules that the model does not have.
    """
    with naming_packages():
        try:
            for tracker in get_reporting_integration_callbacks(config.report_to):
                tracker()
        except ValueError as error:
            raise ValueError(f"report_to: {error}") from error
        if config.use_vllm and importlib.util.find_spec("vllm") is None:
            raise ImportError("use_vllm is true, but vLLM is not installed")
        if config.deepspeed:  # it takes the making of models over
            return
        name = next(iter(described.architectures or ()), "")
        kind = getattr(transformers, name, None)  # as TRL chooses it: a model that sees is no AutoModelForCausalLM
        make = AutoModelForCausalLM.from_config if kind is None else kind._from_config
        with torch.device("meta"):
            made = make(described, attn_implementation=model.attn_implementation)
        if (adapter := get_peft_config(model)) is None:
            return
        from peft import get_peft_model

        try:
            get_peft_model(made, adapter, low_cpu_mem_usage=True)
        except ValueError as error:
            modules = made.named_modules()
            linear = sorted({name.rpartition(".")[2] for name, each in modules if isinstance(each, torch.nn.Linear)})
            raise ValueError(
                f"lora_target_modules is {model.lora_target_modules}: {error} The linear modules of this model are "
                f"{', '.join(linear)}."
            ) from error
