"""A response as a model reads it: the logits of its tokens after a prompt, in one forward pass as in training.

Shapes: T tokens of a response, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@torch.no_grad()
def response_logits(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]
) -> list[Tensor]:
    """For each response the float32 logits [T, V] that predict its tokens behind its prompt, both given as token ids.

    The model is left in the mode it was in.
    """
    rows = [torch.tensor([*prompt, *response]) for prompt, response in zip(prompts, responses, strict=True)]
    # Padded on the right: a causal model's earlier tokens see nothing of it, so no mask is needed.
    batch = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(model.device)
    training = model.training
    model.eval()
    try:
        logits = model(input_ids=batch).logits
    finally:
        model.train(training)
    ends = [
        (len(prompt) - 1, len(prompt) + len(response) - 1) for prompt, response in zip(prompts, responses, strict=True)
    ]
    # A softmax in bfloat16 rounds small probabilities away, and ranks with them.
    return [one[start:end].float() for one, (start, end) in zip(logits, ends, strict=True)]


def mean_log_probability(logits: Tensor, ids: Sequence[int]) -> float:
    """The mean log-probability, in nats, of the tokens ``ids`` (T) under ``logits`` [T, V]."""
    chosen = torch.tensor(ids, device=logits.device)[:, None]
    return float(logits.log_softmax(-1).gather(1, chosen).mean())
