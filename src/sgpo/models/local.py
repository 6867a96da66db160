"""A transformers model in this process.

Batches are cut from the full list of requests, the longest prompts first, whatever has been answered before: a resumed
run pads each prompt as an uninterrupted one does, and so gives the same replies to the last bit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgpo.models.batched import Loaded
from sgpo.models.folders import BY_CHANCE, Folder, require_chat_template, require_vocabulary, whole_weights
from sgpo.models.options import LocalOptions
from sgpo.models.protocol import Key, ModelError, Reply, Request, Sampling

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class LocalModel(Loaded):
    """A `sgpo.models.protocol.Model` that transformers runs in this process. ``batch_size`` counts replies."""

    backend = "transformers"

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        sampling: Sampling,
        *,
        batch_size: int = 64,
        folder: Folder | None = None,
        chat_template_kwargs: Mapping[str, object] | None = None,
    ) -> None:
        from sgpo.models.sampling import positions_of

        super().__init__(tokenizer, folder or Folder(""), sampling, batch_size, chat_template_kwargs)
        self.model = model
        self.positions = positions_of(model.config)

    @classmethod
    def load(cls, name: str, sampling: Sampling, options: LocalOptions | None = None) -> LocalModel:
        """A model by path or hub id, or the folder of an adapter. Raises ModelError if it cannot be loaded."""
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        options = options or LocalOptions()
        where = options.device or str(
            torch.accelerator.current_accelerator(check_available=True) or "cpu"
        )  # as training
        # CPUs compute bfloat16 slowly, and float16 not at all in some operations.
        on_cpu = where.partition(":")[0] == "cpu"
        dtype: Any = torch.float32 if options.dtype == "auto" and on_cpu else options.dtype
        try:
            folder = Folder.found(name, options.quantization, options.revision)
            # Passed as False: where it is left out, transformers asks on a terminal whether to run the model's code.
            common: dict[str, Any] = {"revision": folder.revision, "trust_remote_code": False}
            tokenizer = AutoTokenizer.from_pretrained(folder.tokenizer, **common)
            require_vocabulary(tokenizer, folder.tokenizer, folder.revision)
            placed: dict[str, Any] = {}
            if folder.quantization is not None:  # quantized weights are not moved
                placed = {"quantization_config": dict(folder.quantization), "device_map": {"": where}}
            with whole_weights():
                model = AutoModelForCausalLM.from_pretrained(folder.base, dtype=dtype, **placed, **common)
            model = model if placed else model.to(where)
            if folder.adapter is not None:
                model = _adapted(model, folder)
        except Exception as error:  # the hub's client, safetensors and torch raise families of their own
            raise Folder(name).error(error) from error
        return cls(
            model,
            tokenizer,
            sampling,
            batch_size=64 if options.batch_size is None else options.batch_size,
            folder=folder,
            chat_template_kwargs=options.chat_template_kwargs,
        )

    def describe(self) -> dict[str, object]:
        return {
            "kind": self.backend,
            "revision": self.folder.commit,
            **self.folder.describe(),
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "device": self.model.device.type,
            "batch_size": self.batch_size,
            **self.template_settings(),
        }

    def batches(self, requests: Sequence[Request], answered: Collection[Key]) -> Iterator[list[Request]]:
        """Batches of all requests, the longest prompts first; see `Batched.batches`."""
        # By problem: its k samples have one prompt, and tokenizing it once is enough.
        prompts = {request.problem: request.prompt for request in requests}
        lengths = dict(zip(prompts, self.prompt_lengths(list(prompts.values())), strict=True))
        # Batches are formed from all requests, also from those already answered, because the padding of a batch
        # moves the last bits of its logits.
        order = sorted(range(len(requests)), key=lambda i: (-lengths[requests[i].problem], i))
        for start in range(0, len(order), self.batch_size):
            yield [requests[i] for i in order[start : start + self.batch_size]]

    def replies(self, requests: Sequence[Request]) -> list[Reply]:
        from sgpo.models import sampling

        require_chat_template(self.tokenizer, [request.prompt for request in requests], self.folder.name)
        return sampling.sample_rows(
            self.model,
            self.tokenizer,
            [request.prompt for request in requests],
            [request.seed for request in requests],
            self.sampling,
            batch_size=self.batch_size,
            chat_template_kwargs=self.chat_template_kwargs,
        )


def _adapted(model: PreTrainedModel, folder: Folder) -> PreTrainedModel:
    """The base model with the adapter's layers in it, not merged: as the trainer runs it, to the last bit."""
    try:
        from peft import PeftModel
    except ImportError as error:
        raise ModelError(f"{folder.name} is an adapter, which needs peft; pip install peft.") from error
    if folder.start.startswith(BY_CHANCE):
        raise ModelError(
            f"{folder.name} has init_lora_weights={folder.start!r}: what it left of its base was drawn at random, or "
            "followed a gradient, and is not saved. Save the merged model where it was trained (merge_and_unload)."
        )
    adapted = PeftModel.from_pretrained(model, folder.name)
    if adapted.active_peft_config.is_prompt_learning:
        raise ModelError(f"{folder.name} is an adapter of learned prompts; adapters of layers (LoRA) can be loaded.")
    _check_layers(adapted, folder)
    return adapted.get_base_model()


def _check_layers(adapted: Any, folder: Folder) -> None:
    """Raise ModelError where the adapter and its base do not have the same layers: PEFT would leave them out."""
    from peft import get_peft_model_state_dict
    from safetensors import safe_open

    # PEFT only warns of layers that do not fit, and the base would be measured in place of the adapter.
    weights = Path(folder.name) / "adapter_model.safetensors"
    if not weights.is_file():
        return
    with safe_open(weights, framework="pt") as file:
        saved = {name for name in file.keys() if "lora_" in name}  # noqa: SIM118
    made = {name for name in get_peft_model_state_dict(adapted, save_embedding_layers=False) if "lora_" in name}
    if odd := sorted(saved ^ made):
        has, lacks = ("adapter", "base") if odd[0] in saved else ("base", "adapter")
        raise ValueError(f"the {has} has the layer {odd[0]}, which the {lacks} has not ({len(odd)} in all).")
