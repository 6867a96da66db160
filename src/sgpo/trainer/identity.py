"""What a run is known by when it is resumed: settings, data and trained weights, as texts that can be compared."""

import inspect
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import xxhash
from accelerate.utils import is_peft_model
from datasets import Dataset
from transformers import TrainingArguments

from sgpo.models.folders import fingerprint
from sgpo.runs.files import JsonObject

_SAMPLED_PROMPTS = 256  # of the data set, for its digest
_TOKENIZED_PROMPTS = 8
_NOT_OF_ADAPTER = ("base_model_name_or_path", "inference_mode", "revision", "peft_version")  # the base has its own name
# Transformers' own fields, which change the size of a step from the resume on; of the length, what follows it.
_LENGTH = {"max_steps", "num_train_epochs"}
_SCHEDULE = _LENGTH | {"lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps", "max_grad_norm"}
_FOLLOW_LENGTH = ("lr_scheduler_type", "teacher_mix_schedule")


def trained_by(model: Any, args: Any) -> JsonObject:
    """What a checkpoint's weights and optimizer belong to: the adapter, the trained parameters, the optimizer."""
    shapes = sorted((name, tuple(p.shape)) for name, p in model.named_parameters() if p.requires_grad)
    adapter = model.peft_config[model.active_adapters[0]] if is_peft_model(model) else None
    return {
        "adapter": adapter and f"{adapter.peft_type.value} of rank {getattr(adapter, 'r', None)}",
        "parameters": f"{len(shapes)} tensors, {xxhash.xxh3_64_hexdigest(repr(shapes).encode())}",
        "optim": str(getattr(args.optim, "value", args.optim)).removesuffix("_fused"),  # the same state either way
    }


def base_of(model: Any, name: str) -> JsonObject:
    """What stands behind an adapter, or is the reference: its name, the content of its folder, its quantization."""
    found = {"the base model": name}
    if name and Path(name).is_dir():
        found["the base model's files"] = fingerprint(Path(name))
    quantized = getattr(model.config, "quantization_config", None)
    if quantized is not None:
        given = quantized if isinstance(quantized, dict) else quantized.to_dict()
        found["the base model's quantization"] = json.dumps(given, sort_keys=True, default=str)
    return found


def adapter_settings(model: Any) -> JsonObject:
    """Texts and numbers of an adapter's configuration, such as lora_alpha; its weights fit any of these."""
    if not is_peft_model(model):
        return {}
    found = model.peft_config[model.active_adapters[0]].to_dict()
    plain = {name: value for name, value in found.items() if isinstance(value, (str, int, float))}
    return {f"the adapter's {name}": value for name, value in plain.items() if name not in _NOT_OF_ADAPTER}


def tokens_digest(dataset: Any, tokenize: Callable[[list[Any]], Any]) -> JsonObject:
    """A digest of the first prompts as the model sees them: by this tokenizer, chat template and variables of it."""
    if not isinstance(dataset, Dataset):
        return {}
    ids = tokenize(dataset[:_TOKENIZED_PROMPTS]["prompt"])
    return {
        "the tokens of the prompts": xxhash.xxh3_64_hexdigest(json.dumps([list(map(int, row)) for row in ids]).encode())
    }


def settings_of(args: Any) -> JsonObject:
    """Fields as texts, numbers and None: those that a method adds to transformers' arguments, and the schedule's."""
    general = {field.name for field in fields(TrainingArguments)} - _SCHEDULE
    found = args.to_sanitized_dict()
    # Where nothing follows the length of a run, a longer one is the same run for longer.
    if all(str(found.get(name, "constant")).startswith("constant") for name in _FOLLOW_LENGTH):
        general |= _LENGTH
    return {name: value for name, value in found.items() if name not in general}


def dataset_digest(dataset: Any) -> str:
    """The number of problems and a digest of a sample of their prompts, or tokens; of a stream only that it is one."""
    if not isinstance(dataset, Dataset):
        return "streamed"
    column = "prompt" if "prompt" in dataset.column_names else dataset.column_names[0]
    return f"{len(dataset)} rows, {_cells_digest(_sampled(dataset), column)}"


def column_digests(dataset: Any) -> dict[str, str]:
    """A digest of a sample of each column but the prompts'; of a stream none."""
    if not isinstance(dataset, Dataset):
        return {}
    sampled = _sampled(dataset)
    names = [name for name in dataset.column_names if name != "prompt"]
    return {f"the column {name}": _cells_digest(sampled, name) for name in names}


def code_digests(rewards: Sequence[Any], names: Sequence[str]) -> dict[str, str]:
    """A digest of the code of each reward that a user wrote: its file, or the function itself in a script or notebook.

    Those of sgpo, models, and what has no source, are left out.
    """
    found = {}
    for reward, name in zip(rewards, names, strict=True):
        function = inspect.unwrap(getattr(reward, "func", reward))  # of a partial
        module = str(getattr(function, "__module__", ""))
        if module.split(".")[0] == "sgpo":
            continue
        try:
            whole = function if module == "__main__" else sys.modules[module]
            found[f"the code of the reward {name}"] = xxhash.xxh3_64_hexdigest(inspect.getsource(whole).encode())
        except (OSError, TypeError, KeyError):
            continue
    return found


def _sampled(dataset: Dataset) -> Dataset:
    return dataset.select(range(0, len(dataset), -(-len(dataset) // _SAMPLED_PROMPTS)))


def _cells_digest(dataset: Dataset, column: str) -> str:
    cells = json.dumps(dataset[column][:], sort_keys=True, default=str)
    return xxhash.xxh3_64_hexdigest(cells.encode())
