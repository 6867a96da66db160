"""The word-level tokenizer: one token for each number 0 to 99 and for each word of the task."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from sgpo.lab.operations import LARGEST, OPERATIONS, SYMBOLS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

VOCAB_SIZE = 208
SPECIAL = ("<pad>", "<eos>", "<unk>")
SYNTAX = ("S", "Q", "A", "?", "|", ";", "=", "ans", "first", "then", "so")
EXPERT = ("note", "thus", "hence")
"""Words of the experts' phrasing: the student reads them for the first time when it is trained on an expert."""


def vocabulary() -> list[str]:
    """All tokens, in the order of their ids. Raises ValueError when they outgrow the model."""
    numbers = map(str, range(LARGEST + 1))
    worded = [word for one in OPERATIONS.values() for word in (*one.wordings, *one.strategies)]
    # Each word once, in a fixed order: an id must never move under weights that are shipped.
    words = dict.fromkeys([*SPECIAL, *numbers, *SYNTAX, *SYMBOLS, *EXPERT, *worded])
    if len(words) > VOCAB_SIZE:
        raise ValueError(f"the vocabulary has {len(words)} tokens, the model only {VOCAB_SIZE}: drop some words")
    return list(words)


def vocabulary_hash() -> str:
    """A short hash of the vocabulary, kept beside weights to tell whether they belong to it."""
    return hashlib.sha256(json.dumps(vocabulary()).encode()).hexdigest()[:16]


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Build the tokenizer. Decoding gives tokens separated by spaces, which encode to the same ids."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    ids = {word: i for i, word in enumerate(vocabulary())}
    core = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        eos_token="<eos>",
        unk_token="<unk>",
        # Completions follow their prompts without a gap.
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=256,
    )
