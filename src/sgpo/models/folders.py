"""What a model's name stands for: a hub id, the folder of a model, or the folder of an adapter and its base."""

from __future__ import annotations

import hashlib
import json
import shlex
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sgpo.data.prompts import Prompt
from sgpo.models.protocol import ModelError

QUANTIZATION = "base_quantization.json"  # beside an adapter: transformers' quantization_config of its base in training
OUT_OF_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")  # PEFT's init_lora_weights
BY_CHANCE = ("pissa_niter", "corda", "lora_ga")  # of those, what is drawn at random or follows a gradient
_EDGE = 1 << 20  # bytes read at either end of each file of weights
_BLOCKS, _BLOCK = 512, 1 << 12  # read between the ends, evenly spaced, and the bytes of each
_LARGE = 1 << 24  # bytes from which there are such blocks
_PROBE = (
    "Compute 123456 + 2024*1000000 = ?  Don't   use\n\n\tCODE: f(x)=x^2-3.14159; WE'LL write \\frac{1}{2}, 20% "
    "of 100,000 or 7/12.\nSo the answer is $\\boxed{98765}$, i.e. step 10 of 365 (camelCase)."
)
OWN_CODE = "it brings Python code of its own, which is not run here (trust_remote_code is off)."


def brings_code(error: Exception) -> bool:
    """Whether transformers refused a model because it would have to run code from the model's folder."""
    return "trust_remote_code" in str(error)


class Folder:
    """A model by name, with the files that it is loaded from; ``quantization`` is that of a whole model.

    Raises ModelError for an adapter without a base, or with a quantization that is not its own.
    """

    def __init__(self, name: str, quantization: Mapping[str, Any] | None = None) -> None:
        self.name = name
        # The content of ``adapter_config.json``, where it is a folder that PEFT saved.
        self.adapter = _adapter(Path(name)) if name else None
        # Of the base, where an adapter was trained on another one than the main branch's.
        self.revision: str | None = (self.adapter or {}).get("revision")
        # The model to load first. PEFT writes it as it was named in training: a hub id, or a path of that machine.
        self.base = name if self.adapter is None else str(self.adapter["base_model_name_or_path"])
        # How the base was quantized while the adapter was trained: on other weights it would be another model.
        self.quantization = quantization or None if self.adapter is None else _json(Path(name) / QUANTIZATION)
        if quantization and self.adapter is not None:
            raise ModelError(
                f"{name} is an adapter, whose base is quantized as in its training; leave quantization out."
            )
        # A trainer may have added tokens; then the adapter comes with a tokenizer of its own.
        has_tokenizer = self.adapter is None or (Path(name) / "tokenizer_config.json").is_file()
        self.tokenizer = name if has_tokenizer else self.base

    @classmethod
    def found(cls, name: str, quantization: Mapping[str, Any], revision: str | None) -> Folder:
        """The model of a folder or of the hub, in a ``revision`` that may be asked for; an adapter of the hub is here.

        transformers would put that on the main branch of its base, whatever base it was trained on.
        """
        from huggingface_hub import snapshot_download
        from transformers.utils.peft_utils import find_adapter_config_file

        if not Path(name).exists() and find_adapter_config_file(name, revision=revision) is not None:
            files = ["adapter_*", "*.json", "*.jinja", "*.txt", "*.model"]
            return cls(snapshot_download(name, revision=revision, allow_patterns=files), quantization)
        folder = cls(name, quantization)
        folder.revision = revision or folder.revision
        return folder

    @property
    def commit(self) -> str | None:
        """The commit of a model of the hub that has been loaded; the revision of one in a folder."""
        from transformers.utils.hub import cached_file, extract_commit_hash

        with suppress(OSError, ValueError):
            file = cached_file(self.base, "config.json", revision=self.revision, local_files_only=True)
            return extract_commit_hash(file, None) or self.revision
        return self.revision

    @property
    def rank(self) -> int:
        """The greatest rank in a LoRA adapter, for engines that set memory aside for it."""
        ranks = [(self.adapter or {}).get("r"), *((self.adapter or {}).get("rank_pattern") or {}).values()]
        return max((rank for rank in ranks if isinstance(rank, int)), default=8)

    @property
    def start(self) -> str:
        """How an adapter began that took its first weights out of its base (PiSSA, OLoRA and others); "" for others.

        PEFT does this again where it loads the adapter. Whoever puts it on the base as it is runs another model.
        """
        name = (self.adapter or {}).get("init_lora_weights")
        return name if isinstance(name, str) and name.startswith(OUT_OF_BASE) else ""

    def describe(self) -> dict[str, object]:
        """Fingerprints of the weights that are in folders, as JSON types."""
        found: dict[str, object] = {"weights": _fingerprint_or_none(self.name)}
        if self.adapter is not None:
            found |= {"base": self.base, "base_weights": _fingerprint_or_none(self.base)}
        if self.quantization is not None:
            found["base_quantization"] = dict(self.quantization)
        return found

    def error(self, error: Exception) -> ModelError:
        """Why it cannot be loaded, in one line."""
        if isinstance(error, ModelError):
            return error
        # transformers only says that it finds no weights, although they are there.
        if merge := _merging(Path(self.name)):
            parts = "FSDP wrote its weights in parts (SHARDED_STATE_DICT)"
            return ModelError(f"model {self.name!r} cannot be loaded: {parts}. {merge}")
        reason = OWN_CODE
        if not brings_code(error):
            lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
            reason = " ".join(lines[: 2 if lines[0].endswith(":") else 1])[:500]
        what = f"model {self.name!r}" if self.adapter is None else f"adapter {self.name!r} with its base {self.base!r}"
        remedy = "Give a folder saved by save_pretrained, or a hub id."
        if self.adapter is not None:
            if Path(self.base).is_absolute() and not Path(self.base).exists():
                reason = "there is no folder of the base."
            elif not list(Path(self.name).glob("adapter_model.*")):
                return ModelError(
                    f"{what} cannot be loaded: it holds no adapter_model.safetensors; copy all its files."
                )
            remedy = f"The base is what {Path(self.name) / 'adapter_config.json'} names; correct it if it has moved."
        elif Path(self.name).is_dir() and not (Path(self.name) / "config.json").is_file():
            reason = "it has no config.json, so it is no model."
            saved = [path for path in Path(self.name).glob("checkpoint-*[0-9]") if path.is_dir()]
            if saved:  # of a run that was stopped
                last = max(saved, key=lambda path: int(path.name.rpartition("-")[2]))
                remedy = f"Give one of its checkpoints, such as {last}."
        return ModelError(f"{what} cannot be loaded: {reason.rstrip('.,')}. {remedy}")


def require_vocabulary(tokenizer: Any, name: str, revision: str | None = None) -> None:
    """Raise ModelError for a tokenizer that transformers made of nothing, since the folder has no files of one.

    Warn of one that makes other tokens than its tokenizer.json: some classes of transformers 5 put rules of their own
    in place of the file's, and part numbers otherwise than the model has learned.
    """
    from tokenizers import Tokenizer
    from transformers.utils import cached_file

    if len(tokenizer) <= len(set(tokenizer.all_special_tokens)):
        raise ModelError(
            f"model {name!r} comes with no tokenizer: the one that was loaded knows no words. Copy the tokenizer's "
            "files beside the weights (tokenizer.save_pretrained)."
        )
    with suppress(Exception):  # there is no such file, or a vocabulary lacks these characters
        file = Tokenizer.from_file(cached_file(name, "tokenizer.json", revision=revision, local_files_only=True))
        made, meant = (
            each.encode(_PROBE, add_special_tokens=False).ids for each in (tokenizer.backend_tokenizer, file)
        )
        if made != meant:
            warnings.warn(
                f"transformers reads the tokenizer of {name!r} as {type(tokenizer).__name__}, whose tokens are others "
                f"than those of its tokenizer.json ({len(made)} where these are {len(meant)}). The model would read "
                "texts otherwise than it has learned. Copy it into a folder, and write there "
                '"tokenizer_class": "PreTrainedTokenizerFast" in tokenizer_config.json.',
                stacklevel=2,
            )


@contextmanager
def whole_weights() -> Iterator[None]:
    """Within the block transformers raises ValueError for a model of which weights are missing in the files.

    It draws such weights at random and says so in its log alone: an untied head that was not saved, a layer too many.
    """
    from transformers import PreTrainedModel

    before = PreTrainedModel.__dict__["from_pretrained"]

    def from_pretrained(cls: Any, name: Any, *args: Any, output_loading_info: bool = False, **kwargs: Any) -> Any:
        model, info = before.__func__(cls, name, *args, output_loading_info=True, **kwargs)
        if missing := sorted(info["missing_keys"]):
            raise ValueError(
                f"{name!r} lacks the weights {missing[0]} ({len(missing)} in all), which would be drawn at random; "
                "copy all files of the model, or save it again"
            )
        return (model, info) if output_loading_info else model

    PreTrainedModel.from_pretrained = classmethod(from_pretrained)
    try:
        yield
    finally:
        PreTrainedModel.from_pretrained = before


def fingerprint(folder: Path) -> str:
    """A short hash of a model's files: the small ones whole, of weights the size, both ends, and blocks in between."""
    digest = hashlib.sha256()
    # The order of a directory differs between file systems.
    for path in sorted(folder.iterdir()):
        if path.suffix not in (".json", ".safetensors", ".bin", ".jinja", ".txt", ".model"):
            continue
        size = path.stat().st_size
        digest.update(f"{path.name} {size} ".encode())
        with path.open("rb") as file:
            digest.update(file.read(_EDGE))
            # Parts in place of all of it, which takes a minute of a large model: the first holds names and shapes.
            file.seek(max(0, size - _EDGE))
            digest.update(file.read(_EDGE))
            # The ends are embeddings and a norm, which an adapter leaves as they are where it is merged.
            for block in range(_BLOCKS if size > _LARGE else 0):
                file.seek(size * block // _BLOCKS)
                digest.update(file.read(_BLOCK))
    return digest.hexdigest()[:16]


def require_chat_template(tokenizer: Any, prompts: Sequence[Prompt], name: str) -> None:
    """Raise ModelError where messages are to be put to a model without a chat template."""
    if any(not isinstance(prompt, str) for prompt in prompts) and not getattr(tokenizer, "chat_template", True):
        raise ModelError(
            f"model {name!r} has no chat template; give --template plain or raw (or a file with chat = false) where "
            "the command has it, else an instruction-tuned model."
        )


def _merging(folder: Path) -> str | None:
    """How to make a model of a checkpoint that FSDP wrote in parts; None for any other folder."""
    parts = folder / "pytorch_model_fsdp_0"
    if not parts.is_dir() or any(folder.glob("*model*.safetensors")):
        return None
    if not (folder / "config.json").is_file():  # of an adapter, whose parts accelerate merges into no folder of PEFT's
        return "Take the model that the run saves at its end, or train with fsdp_state_dict_type: FULL_STATE_DICT."
    return f"Put them together once with: {shlex.join(['accelerate', 'merge-weights', str(parts), str(folder)])}"


def _fingerprint_or_none(name: str) -> str | None:
    return fingerprint(Path(name)) if name and Path(name).is_dir() else None


def _adapter(folder: Path) -> Mapping[str, Any] | None:
    path = folder / "adapter_config.json"
    if not path.is_file():
        return None
    found = _json(path)
    if found is None or not isinstance(found.get("base_model_name_or_path"), str):
        raise ModelError(
            f"{path} does not name its base_model_name_or_path; save the adapter again with save_pretrained."
        )
    return found


def _json(path: Path) -> Mapping[str, Any] | None:
    """The object in a file; None where there is no file, or no object in it."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
