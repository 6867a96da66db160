"""The model of a recipe: what was written of it, in one place and without contradictions."""

import re
from collections.abc import Set
from pathlib import Path
from typing import Any

from trl import ModelConfig, get_peft_config, get_quantization_config

from sgpo.lab.model import base_path
from sgpo.models.folders import OWN_CODE, Folder, brings_code

LAB = "lab"
# Keys of model_init_kwargs that a field of ModelConfig says, too; torch_dtype is the older name of dtype.
_SAME = {
    "dtype": "dtype",
    "torch_dtype": "dtype",
    "revision": "model_revision",
    "attn_implementation": "attn_implementation",
    "load_in_4bit": "load_in_4bit",
    "load_in_8bit": "load_in_8bit",
}
_LORA = re.compile(r"lora_\w+|use_rslora|use_dora")
_BITS = ("bnb_4bit_quant_type", "use_bnb_nested_quant", "bnb_4bit_quant_storage")
_NAME = re.compile(r"[\w.]+")


def settle_model(config: Any, model: ModelConfig, written: Set[str]) -> None:
    """Make ``model`` and ``config.model_init_kwargs`` agree, in place; ``written`` are the fields that the user gave.

    What both can say moves to ``model``, so that the trainer, the plan and the evaluation read one value.

    Raises:
        ValueError: the two contradict each other, or an option has no effect without another one.
    """
    kept = dict(config.model_init_kwargs or {})
    for key, name in _SAME.items():
        if key not in kept:
            continue
        value = kept.pop(key)
        # In Python it may be torch.bfloat16 itself, in YAML only its name.
        value = str(value).removeprefix("torch.") if name == "dtype" and value is not None else value
        if name in written and value != getattr(model, name):
            raise ValueError(
                f"model_init_kwargs says {key} {value!r}, and {name} is {getattr(model, name)!r}; keep one of them."
            )
        choices = ModelConfig.__dataclass_fields__[name].metadata.get("choices")
        if choices and value is not None and value not in choices:
            raise ValueError(
                f"model_init_kwargs: {key} is {value!r}, but must be one of {', '.join(map(repr, choices))}."
            )
        setattr(model, name, value)
        written = {*written, name}
    if "quantization_config" in kept and (model.load_in_4bit or model.load_in_8bit):
        name = "load_in_4bit" if model.load_in_4bit else "load_in_8bit"
        raise ValueError(f"model_init_kwargs has a quantization_config, and {name} is on; keep one of them.")
    config.model_init_kwargs = kept or None
    _check_adapters(model, written)


def _check_adapters(model: ModelConfig, written: Set[str]) -> None:
    """Options of LoRA and quantization that would do nothing, or what nobody means."""
    if not model.use_peft:
        lora = sorted(name for name in written if _LORA.fullmatch(name))
        if lora and "use_peft" not in written:  # who writes use_peft: false turns the LoRA of a recipe off
            raise ValueError(
                f"{lora[0]} is given without use_peft, so all weights would be trained; set use_peft to true for LoRA, "
                f"or leave {', '.join(lora)} out."
            )
        if model.load_in_4bit or model.load_in_8bit:
            name = "load_in_4bit" if model.load_in_4bit else "load_in_8bit"
            raise ValueError(f"{name} is on without use_peft, but quantized weights cannot be trained; set use_peft.")
    if not model.load_in_4bit and (bits := sorted(name for name in written if name in _BITS)):
        raise ValueError(f"{bits[0]} is given without load_in_4bit, where it does nothing; set load_in_4bit.")
    targets = model.lora_target_modules
    # ModelConfig unpacks a list of one, which PEFT reads as a pattern for the whole path of a module.
    if isinstance(targets, str) and _NAME.fullmatch(targets):
        model.lora_target_modules = [targets]


def init_kwargs(config: Any, model: ModelConfig) -> dict[str, Any]:
    """What the trainer hands to ``from_pretrained``: what the user wrote, with the fields of ``model``."""
    return {
        **(config.model_init_kwargs or {}),
        "revision": model.model_revision,
        "attn_implementation": model.attn_implementation,
        "dtype": model.dtype or "auto",
    }


def quantization(config: Any, model: ModelConfig) -> dict[str, Any] | None:
    """How the trainer quantizes the model, as transformers' ``quantization_config`` in JSON types; None where not."""
    written = (config.model_init_kwargs or {}).get("quantization_config") or get_quantization_config(model)
    return written if written is None or isinstance(written, dict) else dict(written.to_dict())


def model_path(model: ModelConfig) -> str:
    """A folder or hub id, the lab's base where the recipe says ``lab``."""
    return str(base_path()) if model.model_name_or_path == LAB else str(model.model_name_or_path)


def check_model(model: ModelConfig, *, trust_remote_code: bool = False) -> Any:
    """The model's config, read so early that what is no model is found before the data are read.

    Raises ValueError for a path that is no model, a LoRA adapter, a model that brings its own code, or LoRA modules
    that cannot be had.
    """
    from transformers import AutoConfig

    name = model_path(model)
    folder = Path(name)
    if folder.is_dir() and (folder / "adapter_config.json").is_file():
        raise ValueError(
            f"model_name_or_path is {name!r}, which is a LoRA adapter of {Folder(name).base}, not a model. Merge it "
            "first: AutoPeftModelForCausalLM.from_pretrained(FOLDER).merge_and_unload().save_pretrained(NEW), and its "
            "tokenizer likewise (docs/recipes.md, 3)."
        )
    if folder.exists() and not (folder / "config.json").is_file():
        raise ValueError(f"model_name_or_path is {name!r}, which has no config.json; give a folder of save_pretrained.")
    try:
        config = AutoConfig.from_pretrained(name, revision=model.model_revision, trust_remote_code=trust_remote_code)
    except Exception as error:  # config classes and the hub's client raise families of their own
        where = "" if folder.exists() else "there is no such folder, and "
        raise ValueError(f"model_name_or_path is {name!r}, but {where}{unreadable(error)}") from error
    get_peft_config(model)
    return config


def unreadable(error: Exception) -> str:
    """Why a model's config could not be read, in one line that ends in the remedy."""
    said = " ".join(str(error).split())
    if brings_code(error):
        return f"{OWN_CODE} Give a model of an architecture that transformers has."
    first = re.split(r"(?<=[^.])\.\s", said)[0] or type(error).__name__
    return f"its config could not be read ({first}); give a folder of save_pretrained, or a hub id."
