"""The model of the embedded task: its configuration, and the shipped weights.

Llama's architecture and not Qwen2's: for the model type `qwen2`, transformers 5 makes ``AutoTokenizer`` load a
`Qwen2Tokenizer` whatever the folder says, which silently drops the spaces of a word-level tokenizer.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgpo.lab.tokenizer import SPECIAL, VOCAB_SIZE

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

BASES = Path(__file__).parent / "base"
BASE_SEEDS = (0, 1)

MODEL: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "intermediate_size": 256,
    "max_position_embeddings": 256,
    "tie_word_embeddings": True,
    "pad_token_id": SPECIAL.index("<pad>"),
    "eos_token_id": SPECIAL.index("<eos>"),
    # A prompt begins with a word of its own, S or Q.
    "bos_token_id": None,
}
"""0.46M parameters."""


def sized(width: int) -> dict[str, object]:
    """`MODEL` with another hidden size, its feed-forward layers in proportion. Raises ValueError for an unfit one."""
    heads = MODEL["num_attention_heads"]
    if width < 2 * heads or width % (2 * heads):
        raise ValueError(f"width is {width}, but must be a multiple of {2 * heads}: an even width for {heads} heads.")
    return {**MODEL, "hidden_size": width, "intermediate_size": width * 8 // 3}


def build_model(seed: int, width: int = MODEL["hidden_size"]) -> LlamaForCausalLM:
    """A freshly initialised model in float32. Sets torch's global seed."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    # transformers draws weights from the global generator, and takes no other.
    torch.manual_seed(seed)
    return LlamaForCausalLM(LlamaConfig(**sized(width)))


def base_path(seed: int = 0) -> Path:
    """The folder of a shipped base, readable by ``from_pretrained``. Raises ValueError for an unknown seed."""
    if seed not in BASE_SEEDS:
        raise ValueError(f"base seed {seed} is not shipped; choose one of {BASE_SEEDS} or run sgpo.lab.pretrain")
    return BASES / f"seed{seed}"


def load_base(seed: int = 0) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a shipped base and its tokenizer, see :func:`load`."""
    return load(base_path(seed))


def load(path: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A base, or a model that was trained on the lab, and its tokenizer. Bases are stored in float16, and run in
    float32: a CPU computes in it, and training in float16 would lose small updates."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, trust_remote_code=False)
    return model, AutoTokenizer.from_pretrained(path, trust_remote_code=False)
