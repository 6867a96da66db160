"""Sizes of a decoder-only transformer: from a local ``config.json``, a small table of well-known models, or the hub.

Dense models of the Llama, Mistral, Qwen2 and Qwen3 families: per layer two norms, attention with grouped keys and
values, and a gated MLP. Their parameter counts follow exactly from the sizes (a test compares with the built model).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sgpo.models.folders import OWN_CODE, brings_code
from sgpo.runs.files import read_json_object

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")


@dataclass(frozen=True)
class Architecture:
    """Sizes of a model; widths count numbers per token."""

    name: str
    family: str
    vocabulary: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_width: int
    intermediate: int
    tied: bool
    attention_bias: bool
    context: int
    source: str

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
    def projections(self) -> dict[str, tuple[int, int]]:
        """Input and output width of each linear module of a layer, by the name that LoRA targets."""
        h, q, kv, i = self.hidden, self.query_width, self.kv_width, self.intermediate
        attention = {"q_proj": (h, q), "k_proj": (h, kv), "v_proj": (h, kv), "o_proj": (q, h)}
        return {**attention, "gate_proj": (h, i), "up_proj": (h, i), "down_proj": (i, h)}

    @property
    def projection_parameters(self) -> int:
        """Weights of the linear modules of a layer: what is quantized, where a model is."""
        return sum(i * o for i, o in self.projections.values())

    @property
    def layer_parameters(self) -> int:
        biases = self.query_width + 2 * self.kv_width if self.attention_bias else 0
        head_norms = 2 * self.head_width if self.family == "qwen3" else 0
        return self.projection_parameters + 2 * self.hidden + biases + head_norms

    @property
    def parameters(self) -> int:
        heads = 1 if self.tied else 2
        return self.layers * self.layer_parameters + heads * self.embedding_parameters + self.hidden


def load_architecture(model: str) -> Architecture:
    """The sizes of ``model``: a folder with ``config.json``, a hub id in the table, or any other hub id.

    Raises:
        ValueError: no such folder, a config of another family, or a hub id whose config cannot be read.
    """
    path = Path(model)
    if path.is_dir() or (path / "config.json").is_file():
        if not (path / "config.json").is_file():
            raise ValueError(f"model_name_or_path is the folder {model!r}, but it has no config.json.")
        return from_config(read_json_object(path / "config.json"), model, "its config.json")
    if model in _TABLE:
        *sizes, context = _TABLE[model]
        return Architecture(*[model, *sizes, sizes[0] == "qwen2", context, "the built-in table"])
    if path.is_absolute() or model.startswith(".") or model.count("/") != 1:
        raise ValueError(f"model_name_or_path is {model!r}, but there is no such folder, and it is not a hub id.")
    return _from_hub(model)


def from_config(config: Mapping[str, Any], name: str, source: str) -> Architecture:
    """Sizes from the contents of a ``config.json``. Raises ``ValueError`` for a family that is not known here."""
    family = str(config.get("model_type"))
    if family not in FAMILIES:
        raise ValueError(
            f"{name} has model_type {family!r}, whose memory is not modelled here; known are {', '.join(FAMILIES)}. "
            "Plan with a model of one of these and of the same size, or measure a step."
        )
    heads = int(config["num_attention_heads"])
    hidden = int(config["hidden_size"])
    return Architecture(
        name=name,
        family=family,
        vocabulary=int(config["vocab_size"]),
        hidden=hidden,
        layers=int(config["num_hidden_layers"]),
        heads=heads,
        kv_heads=int(config.get("num_key_value_heads") or heads),
        head_width=int(config.get("head_dim") or hidden // heads),
        intermediate=int(config["intermediate_size"]),
        tied=bool(config.get("tie_word_embeddings", False)),
        # Qwen2 has biases in its projections, and a config that does not say so.
        attention_bias=family == "qwen2" or bool(config.get("attention_bias", False)),
        context=int(config.get("max_position_embeddings") or 0),
        source=source,
    )


def _from_hub(model: str) -> Architecture:
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(model, trust_remote_code=False)
    except (OSError, ValueError) as error:
        why = OWN_CODE if brings_code(error) else f"its config could not be read: {str(error).splitlines()[0]}"
        raise ValueError(
            f"{model!r} is not in the table of known sizes, and {why}. Give model_name_or_path a folder that holds the "
            f"model's config.json (a few KB), or one of: {', '.join(sorted(_TABLE))}."
        ) from error
    return from_config(config.to_dict(), model, "its config.json on the hub")


# (family, vocabulary, hidden, layers, heads, kv_heads, head_width, intermediate, tied, context), from the models' own
# config.json.
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
_TABLE = _SIZES | {f"{name}-Instruct": sizes for name, sizes in _SIZES.items() if "Qwen3" not in name}
