"""Where a strategy moves the policy: the KL of every token of a response, and what either side would have said.

One forward pass of each side over the same response, as in training (arXiv 2606.24064): the policy without the
strategy (autonomous) and with it (guided), compared token by token over the whole vocabulary.

Shapes: T tokens of the response, V vocabulary.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sgpo.models.sampling import encode, positions_of
from sgpo.models.scoring import response_logits
from sgpo.objectives import token_kl
from sgpo.report.token_summary import token_class
from sgpo.runs.files import JsonObject

MAX_TOKENS = 2_048


def token_view(
    model: Any, tokenizer: Any, prompt: Any, guided_prompt: Any, completion: str, top: int = 5
) -> list[JsonObject]:
    """Every token of ``completion`` with the KL that the strategy causes there.

    Args:
        model: a causal language model; left in the mode it was in.
        tokenizer: its tokenizer.
        prompt, guided_prompt: the problem without and with its strategy, as text or as messages.
        completion: the response; an end-of-sequence token is put after it if the tokenizer has one.
        top: alternatives of each side to keep, the likeliest first.

    Returns:
        T dicts: "text"; "class" (see :func:`sgpo.report.token_summary.token_class`); "kl", nats,
        KL(guided || autonomous); "p" and "rank", [autonomous, guided], of the token itself (rank 0: the likeliest);
        "decision", whether the two sides disagree on the likeliest token; "autonomous" and "guided", the alternatives
        as [text, probability].

    Raises:
        ValueError: the completion has no token, more than ``MAX_TOKENS``, or ``top`` is not in [1, V].

    Source: the KL, arXiv 2606.24064; the view is ours.
    """
    ids = list(tokenizer(completion, add_special_tokens=False)["input_ids"])
    if not ids or len(ids) > MAX_TOKENS:
        raise ValueError(f"the completion has {len(ids)} tokens, but the token view shows 1 to {MAX_TOKENS}; cut it.")
    if tokenizer.eos_token_id is not None and ids[-1] != tokenizer.eos_token_id:
        # Training has it too: the decision to stop is one of the target's tokens.
        ids.append(tokenizer.eos_token_id)
    autonomous, guided = (_logits(model, asked, ids) for asked in encode(tokenizer, [prompt, guided_prompt]))
    if not 1 <= top <= autonomous.shape[-1]:
        raise ValueError(f"top is {top}, but must be from 1 to the {autonomous.shape[-1]} tokens of the vocabulary.")
    kl = token_kl(autonomous, guided).tolist()
    sides = [_side(tokenizer, logits, ids, top) for logits in (autonomous, guided)]
    pieces = _pieces(tokenizer, ids)
    special = set(tokenizer.all_special_ids)
    rows = []
    for t, (token, text) in enumerate(zip(ids, pieces, strict=True)):
        a, g = sides[0][t], sides[1][t]
        row = {"text": text, "class": "special" if token in special else token_class(text), "kl": _short(kl[t])}
        row |= {"p": [a.p, g.p], "rank": [a.rank, g.rank], "decision": a.best != g.best}
        rows.append({**row, "autonomous": a.top, "guided": g.top})
    return rows


def _logits(model: Any, prompt_ids: Sequence[int], ids: Sequence[int]) -> Tensor:
    """[T, V] float32, the logits that predict each token of the response."""
    limit = positions_of(model.config)
    if limit is not None and len(prompt_ids) + len(ids) > limit:
        raise ValueError(
            f"prompt and completion have {len(prompt_ids)} + {len(ids)} tokens, but the model has {limit} positions; "
            "cut the completion."
        )
    return response_logits(model, [prompt_ids], [ids])[0].cpu()


class _Seen(NamedTuple):
    """A token under one side: its probability and rank, the likeliest id, and the ``top`` alternatives with theirs."""

    p: float
    rank: int
    best: int
    top: list[list[Any]]


def _side(tokenizer: Any, logits: Tensor, ids: Sequence[int], top: int) -> list[_Seen]:
    p = logits.softmax(-1)
    chosen = p.gather(1, torch.tensor(ids).unsqueeze(1))
    rank = (p > chosen).sum(-1).tolist()
    best = p.topk(top, dim=-1)
    rows = []
    for t, (values, indices) in enumerate(zip(best.values.tolist(), best.indices.tolist(), strict=True)):
        listed = [[tokenizer.decode([i]), _short(v)] for i, v in zip(indices, values, strict=True)]
        rows.append(_Seen(_short(chosen[t].item()), rank[t], indices[0], listed))
    return rows


def _pieces(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """The text that each token adds: together they are the decoded response, spaces between words included.

    A character may be spread over several tokens; until it is whole, what is decoded ends in U+FFFD, and its tokens
    but the last add nothing.
    """
    pieces, shown = [], ""
    for t in range(1, len(ids) + 1):
        # From the beginning each time: a token that is decoded alone may lose its leading space.
        text = tokenizer.decode(list(ids[:t]))
        if text.endswith("\ufffd") and t < len(ids):
            pieces.append("")
            continue
        pieces.append(text[len(shown) :])
        shown = text
    return pieces


def _short(value: float) -> float:
    return float(f"{value:.4g}")
