"""Sizes of a decoder-only transformer: from a local ``config.json``, a small table of well-known models, or the hub.

They are read off the model that transformers makes of the config, without weights: what a config leaves out has another
default in each family. What a layer keeps for its backward pass is known for `FAMILIES` alone, which have one kind of
layer: norms, attention with grouped keys and values, and a gated MLP.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trl import ModelConfig

from sgpo.recipe.model import check_model

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")


@dataclass(frozen=True)
class Architecture:
    """Sizes of a model; widths count numbers per token.

    Attributes:
        projections: input and output width of each linear module of a layer, by the name that LoRA targets.
        normed_heads: width of the queries and keys that go through norms of their own, as in Qwen3.
        tied: the head has the weights of the input embedding.
    """

    name: str
    source: str
    vocabulary: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    projections: dict[str, tuple[int, int]]
    normed_heads: int
    layer_parameters: int
    parameters: int
    tied: bool
    context: int

    @property
    def query_width(self) -> int:
        return self.projections["q_proj"][1]

    @property
    def kv_width(self) -> int:
        """Width of the keys of one token in one layer; that of the values is the same."""
        return self.projections["k_proj"][1]

    @property
    def intermediate(self) -> int:
        return self.projections["up_proj"][1]

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
    from transformers import AutoConfig

    if model in _TABLE:
        return from_config(AutoConfig.for_model(**_TABLE[model]), model, "the built-in table")
    try:
        config = check_model(ModelConfig(model_name_or_path=model, model_revision=revision or "main"))
    except ValueError as error:
        raise ValueError(f"{error} Sizes are known without it of: {', '.join(sorted(_TABLE))}.") from error
    return from_config(config, model, "its config.json" + (" on the hub" if not Path(model).is_dir() else ""))


def from_config(config: Any, name: str, source: str) -> Architecture:
    """Sizes of the model of a transformers config. Raises ``ValueError`` for a family that is not known here."""
    import torch
    from transformers import AutoModelForCausalLM

    from sgpo.models.sampling import positions_of

    if config.model_type not in FAMILIES:
        raise ValueError(
            f"{name} has model_type {config.model_type!r}, whose memory is not modelled here; known are "
            f"{', '.join(FAMILIES)}. Plan with a model of one of these and of the same size, or measure a step."
        )
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    layer = model.model.layers[0]
    modules = {path.rpartition(".")[2]: module for path, module in layer.named_modules()}
    linear = {
        name: (module.in_features, module.out_features)
        for name, module in modules.items()
        if isinstance(module, torch.nn.Linear)
    }
    return Architecture(
        name=name,
        source=source,
        vocabulary=config.vocab_size,
        hidden=config.hidden_size,
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        projections=linear,
        normed_heads=linear["q_proj"][1] + linear["k_proj"][1] if "q_norm" in modules else 0,
        layer_parameters=sum(each.numel() for each in layer.parameters()),
        parameters=sum(each.numel() for each in model.parameters()),
        tied=config.tie_word_embeddings,
        context=positions_of(config) or 0,
    )


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
