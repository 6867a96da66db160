"""The word-level tokenizer: one token for each number 0 to 99 and for each word of the task."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from sgpo.lab.catalog import FAMILIES
from sgpo.lab.wording import SYNONYMS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

VOCAB_SIZE = 256
SPECIAL = ("<pad>", "<eos>", "<unk>")
SYNTAX = (
    "S",
    "Q",
    "A",
    "?",
    "|",
    ";",
    "+",
    "-",
    "*",
    "/",
    "=",
    "ans",
    "first",
    "then",
    "so",
    "check",
    "no",
    "facts",
)


def vocabulary() -> list[str]:
    """All tokens, in the order of their ids. Raises ValueError when they outgrow the model."""
    words: dict[str, None] = dict.fromkeys([*SPECIAL, *map(str, range(100)), *SYNTAX])
    texts = [word for family in FAMILIES for word in (family.prompt, *family.types)]
    texts += [part for family in FAMILIES for a in family.approaches for part in (a.method, a.steps)]
    plain = {word for text in texts for word in text.split() if "{" not in word}
    words.update(dict.fromkeys(sorted(plain | {word for four in SYNONYMS.values() for word in four})))
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
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=256,
    )
