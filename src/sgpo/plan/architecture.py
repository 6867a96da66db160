"""Sizes of a decoder-only transformer: from a local ``config.json``, a small table of well-known models, or the hub.

They are read off the model that transformers makes of the config, without weights: what a config leaves out has another
default in each family. Nor is there a list of families for what a layer keeps for its backward pass: a layer runs on
tensors that have a shape and no values, and autograd says what it saves. The layers must be alike, and of matrices.
"""

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch._subclasses import FakeTensorMode
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForCausalLM
from trl import ModelConfig

from sgpo.recipe.model import check_model


@dataclass(frozen=True)
class Architecture:
    """Sizes of a model; widths count numbers per token.

    Attributes:
        config: the model's config.json.
        projections: input and output width of each linear module of a layer, by the name that LoRA targets.
        tied: the head has the weights of the input embedding.
    """

    name: str
    source: str
    config: str
    vocabulary: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_width: int
    projections: dict[str, tuple[int, int]]
    layer_parameters: int
    parameters: int
    tied: bool
    context: int

    @property
    def query_width(self) -> int:
        return self.heads * self.head_width

    @property
    def kv_width(self) -> int:
        """Width of the keys of one token in one layer; that of the values is the same."""
        return self.kv_heads * self.head_width

    @property
    def embedding_parameters(self) -> int:
        """Parameters of the input embedding; the head has as many again where the two are not tied."""
        return self.vocabulary * self.hidden

    @property
    def projection_parameters(self) -> int:
        """Weights of the linear modules of a layer: what is quantized, where a model is."""
        return sum(i * o for i, o in self.projections.values())


def load_architecture(model: str, revision: str | None = None) -> Architecture:
    """The sizes of ``model``: a folder with ``config.json``, a hub id in the table, or any other hub id.

    Raises:
        ValueError: no such folder, a config of another family, or one that cannot be read.
    """
    if model in _TABLE:
        return from_config(AutoConfig.for_model(**_TABLE[model]), model, "the built-in table")
    try:
        config = check_model(ModelConfig(model_name_or_path=model, model_revision=revision or "main"))
    except ValueError as error:
        raise ValueError(f"{error} Sizes are known without it of: {', '.join(sorted(_TABLE))}.") from error
    return from_config(config, model, "its config.json" + (" on the hub" if not Path(model).is_dir() else ""))


def from_config(config: Any, name: str, source: str) -> Architecture:
    """Sizes of the model of a transformers config. Raises ``ValueError`` for layers that cannot be planned here."""
    from sgpo.models.sampling import positions_of

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    layers = getattr(model.base_model, "layers", [])
    # More dimensions have experts, of which each token takes some, and convolutions.
    if len({tuple(p.shape for p in layer.parameters()) for layer in layers}) != 1 or any(
        p.ndim > 2 for p in layers[0].parameters()
    ):
        raise ValueError(
            f"{name} has model_type {config.model_type!r}, whose memory is not modelled here: it sees images, its "
            "layers differ, or they hold experts or convolutions. Plan with a dense model of the same size, or measure "
            "a step."
        )
    modules = {path.rpartition(".")[2]: module for path, module in layers[0].named_modules()}
    return Architecture(
        name=name,
        source=source,
        config=config.to_json_string(use_diff=False),
        vocabulary=config.vocab_size,
        hidden=config.hidden_size,
        intermediate=config.intermediate_size,
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        kv_heads=getattr(config, "num_key_value_heads", None) or config.num_attention_heads,
        head_width=getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads,
        projections={
            name: (module.in_features, module.out_features)
            for name, module in modules.items()
            if isinstance(module, torch.nn.Linear)
        },
        layer_parameters=sum(each.numel() for each in layers[0].parameters()),
        parameters=sum(each.numel() for each in model.parameters()),
        tied=config.tie_word_embeddings,
        context=positions_of(config) or 0,
    )


@dataclass(frozen=True)
class LoRA:
    """Adapters on linear modules of each layer, whose own weights then get no gradient."""

    modules: tuple[str, ...]
    rank: int
    dropout: bool
    on_cpu: bool  # where dropout keeps its mask in float32

    def put_on(self, model: Any) -> None:
        """Add to each module's output what PEFT adds, in float32 unless autocast says otherwise."""
        model.requires_grad_(False).enable_input_require_grads()
        for path, module in model.named_modules():
            if path.rpartition(".")[2] in self.modules:
                module.register_forward_hook(self._added)

    def _added(self, module: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        down = torch.empty(self.rank, module.in_features, requires_grad=True)
        up = torch.empty(module.out_features, self.rank, requires_grad=True)
        given = inputs[0].to(down.dtype)
        if self.dropout:
            given = F.dropout(given, 0.5) if self.on_cpu else torch.native_dropout(given, 0.5, True)[0]
        return output + F.linear(F.linear(given, down), up).to(output.dtype)


@functools.cache
def kept_by_a_layer(
    config: str, *, weights: torch.dtype, autocast: bool, masked: bool, lora: LoRA | None
) -> tuple[float, float]:
    """Bytes that autograd keeps of a layer of ``config``, for a token of a row, and for a pair of its tokens."""

    def kept(layers: int, length: int) -> int:
        fields = json.loads(config) | {"num_hidden_layers": layers}
        if fields.get("layer_types"):
            fields["layer_types"] = fields["layer_types"][:layers]
        if (rope := fields.get("rope_parameters") or {}).get("rope_type") == "dynamic":
            rope["rope_type"] = "default"  # of the same sizes; the other one looks at values
        saved = {}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            saved[storage._cdata] = storage  # held, else another could take its place
            return tensor

        with FakeTensorMode(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**fields), dtype=weights).train()
            if lora is not None:
                lora.put_on(model)
            ids = torch.zeros(1, length, dtype=torch.long)
            with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
                model.base_model(ids, attention_mask=ids if masked else None)
        owned = {each.untyped_storage()._cdata for each in [*model.parameters(), *model.buffers()]}
        return sum(storage.nbytes() for address, storage in saved.items() if address not in owned)

    # Of one layer more, the differences of lengths: autocast's copies of the weights are the same for each.
    short, middle, long = (kept(2, length) - kept(1, length) for length in (64, 128, 192))
    pair = (long - 2 * middle + short) / (2 * 64**2)
    return (middle - short) / 64 - pair * (64 + 128), pair


# From the models' own config.json.
_FIELDS = (
    *("model_type", "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads"),
    *("head_dim", "intermediate_size", "tie_word_embeddings", "max_position_embeddings"),
)
_SIZES: dict[str, tuple[Any, ...]] = {
    "Qwen/Qwen2.5-0.5B": ("qwen2", 151936, 896, 24, 14, 2, 64, 4864, True, 32768),
    "Qwen/Qwen2.5-1.5B": ("qwen2", 151936, 1536, 28, 12, 2, 128, 8960, True, 32768),
    "Qwen/Qwen2.5-3B": ("qwen2", 151936, 2048, 36, 16, 2, 128, 11008, True, 32768),
    "Qwen/Qwen2.5-7B": ("qwen2", 152064, 3584, 28, 28, 4, 128, 18944, False, 32768),
    "Qwen/Qwen2.5-14B": ("qwen2", 152064, 5120, 48, 40, 8, 128, 13824, False, 32768),
    "Qwen/Qwen2.5-32B": ("qwen2", 152064, 5120, 64, 40, 8, 128, 27648, False, 32768),
    "Qwen/Qwen3-0.6B": ("qwen3", 151936, 1024, 28, 16, 8, 128, 3072, True, 40960),
    "Qwen/Qwen3-1.7B": ("qwen3", 151936, 2048, 28, 16, 8, 128, 6144, True, 40960),
    "Qwen/Qwen3-4B": ("qwen3", 151936, 2560, 36, 32, 8, 128, 9728, True, 40960),
    "Qwen/Qwen3-8B": ("qwen3", 151936, 4096, 36, 32, 8, 128, 12288, False, 40960),
    "meta-llama/Llama-3.1-8B": ("llama", 128256, 4096, 32, 32, 8, 128, 14336, False, 131072),
    "meta-llama/Llama-3.2-1B": ("llama", 128256, 2048, 16, 32, 8, 64, 8192, True, 131072),
    "meta-llama/Llama-3.2-3B": ("llama", 128256, 3072, 28, 24, 8, 128, 8192, True, 131072),
}
_TABLE = {name: dict(zip(_FIELDS, sizes, strict=True)) for name, sizes in _SIZES.items()}
_TABLE |= {f"{name}-Instruct": config for name, config in _TABLE.items() if "Qwen3" not in name}
