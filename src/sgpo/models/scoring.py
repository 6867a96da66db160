"""A response as a model reads it: the logits of its tokens after a prompt, in one forward pass without dropout.

Shapes: T tokens of a response, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@contextmanager
def without_dropout(model: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode, in which dropout (LoRA's too) makes no noise; each module's own mode comes back."""
    modules = [module for module in model.modules() if module.training]
    for module in modules:
        module.training = False
    try:
        yield
    finally:
        for module in modules:
            module.training = True


@torch.no_grad()
def response_logits(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]
) -> list[Tensor]:
    """For each response the float32 logits [T, V] that predict its tokens behind its prompt, both as token ids."""
    rows = [torch.tensor([*prompt, *response]) for prompt, response in zip(prompts, responses, strict=True)]
    # Padded on the right: a causal model's earlier tokens see nothing of it, so no mask is needed.
    batch = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(model.device)
    with without_dropout(model):
        logits = model(input_ids=batch).logits
    ends = [
        (len(prompt) - 1, len(prompt) + len(response) - 1) for prompt, response in zip(prompts, responses, strict=True)
    ]
    # A softmax in bfloat16 rounds small probabilities away, and ranks with them.
    return [one[start:end].float() for one, (start, end) in zip(logits, ends, strict=True)]


def mean_log_probability(logits: Tensor, ids: Sequence[int]) -> float:
    """The mean log-probability, in nats, of the tokens ``ids`` (T) under ``logits`` [T, V]."""
    chosen = torch.tensor(ids, device=logits.device)[:, None]
    return float(logits.log_softmax(-1).gather(1, chosen).mean())
