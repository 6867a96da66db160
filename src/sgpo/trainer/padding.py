"""Scores that do not depend on the company of a sequence, whatever the architecture makes of left padding.

TRL scores left-padded batches without ``position_ids``. Models with rotary or ALiBi positions do not mind, and those
that count positions from the attention mask do not. Others (gpt2, gpt_neo, gpt_bigcode) take the column for the
position, and some recurrent ones read the padding. Which of them a model is shows in a probe: one sequence alone and
beside a longer one. A model that minds gets its rows shifted to the left inside its forward, so that all padding comes
last, where no causal model can see it; what comes out is shifted back.

Shapes: N rows, L tokens, H hidden.
"""

import functools
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from sgpo.models.sampling import positions_of, rows_mix
from sgpo.models.scoring import without_dropout

_LENGTH, _PADDING = 6, 5  # tokens of the probe
# Median over tokens of the relative difference of hidden states that rounding explains.
_ROUNDING = {torch.float64: 1e-3, torch.float32: 1e-3}
_COARSE_ROUNDING = 5e-2  # of any other dtype


def score_alike_in_any_company(model: PreTrainedModel) -> None:
    """Shift the rows of left-padded batches inside ``model.forward`` if the model would read the padding otherwise.

    Call it after the last patch of ``model.forward``. A model that cannot be probed gets the shift, which is right for
    every causal model.

    Raises:
        ValueError: with the shift, too, the model scores a sequence differently in other company.
    """
    if not can_be_probed(model):
        _shift_rows(model)
        return
    if _difference(model) <= rounding(model):
        return
    _shift_rows(model)
    found = _difference(model)
    if found > 4 * rounding(model):
        raise ValueError(
            f"{type(model).__name__} scores a sequence differently beside a longer one (hidden states differ by "
            f"{found:.1%}), with padding on either side, so no log-probability of a batch can be relied on. It is not "
            "causal, or its rows see each other. Use another architecture."
        )


def sample_alike_in_any_company(model: PreTrainedModel) -> None:
    """Raise ``ValueError`` where the rows of a batch change each other's rollouts."""
    if can_be_probed(model) and rows_mix(model):
        raise ValueError(
            f"transformers samples from {type(model).__name__} otherwise beside a longer prompt, so rollouts would "
            "not be the policy's own. Use vLLM (use_vllm: true), or another architecture."
        )


def can_be_probed(model: PreTrainedModel) -> bool:
    """Whether a forward pass works now: all weights are here (ZeRO-3 has cut them), and the kernels run where they are.

    FSDP and DeepSpeed take a model to the GPU when training begins, and those of flash attention and Liger need one.
    """
    if any(parameter.numel() == 0 for parameter in model.parameters()):
        return False
    if model.device.type != "cpu" or not torch.accelerator.is_available():
        return True  # then an error is the model's own
    try:
        with probing(model):
            model(input_ids=torch.tensor([[3, 3]]) % model.config.get_text_config().vocab_size)
    except (RuntimeError, ValueError, NotImplementedError):
        return False
    return True


@contextmanager
def probing(model: PreTrainedModel) -> Iterator[None]:
    """Evaluation without a graph, which leaves the random numbers of the run as they are."""
    # Without a list, torch goes to every GPU, those of other ranks among them, and for a model on the CPU too.
    devices = [] if model.device.type == "cpu" else [model.device]
    with torch.no_grad(), without_dropout(model), torch.random.fork_rng(devices):
        yield


def rounding(model: PreTrainedModel) -> float:
    """The relative difference of hidden states, or of logits, that the precision of the weights explains."""
    dtypes = {parameter.dtype for parameter in model.parameters() if parameter.is_floating_point()}
    return max(_ROUNDING.get(dtype, _COARSE_ROUNDING) for dtype in dtypes)


def _difference(model: PreTrainedModel) -> float:
    """How much hidden states of a sequence change, relative to their size, when it is left-padded beside another."""
    vocabulary = model.config.get_text_config().vocab_size
    limit = positions_of(model.config) or _LENGTH + _PADDING
    padding = min(_PADDING, limit // 2)
    length = min(_LENGTH, limit - padding)
    # The ids start at 3, because the first ones are often padding and other marks that a model may treat specially.
    ids = torch.arange(3, 3 + length + padding, device=model.device).remainder(vocabulary)[None]
    mask = torch.ones_like(ids)
    hidden: list[Tensor] = []

    def seen(states: Tensor) -> Tensor:
        hidden.append(states[:1, -length:].float())
        return states

    beside = torch.cat([ids, ids])
    beside_mask = torch.cat([mask, mask])
    beside_mask[0, :padding] = 0
    with probing(model):
        for batch, seeing in ((ids[:, padding:], mask[:, padding:]), (beside, beside_mask)):
            model(input_ids=batch, attention_mask=seeing, head_fn=lambda states, head: seen(states))
    alone, company = hidden
    return float(((company - alone).norm(dim=-1) / alone.norm(dim=-1).clamp(min=1e-12)).median())


def _shift_rows(model: PreTrainedModel) -> None:
    original_forward = model.forward

    # Keep the signature of the class: `generate` validates its model kwargs against it.
    @functools.wraps(type(model).forward)
    def forward(self: PreTrainedModel, *args: Any, **kwargs: Any) -> Any:
        scores = kwargs.get("fused_lm_head") or kwargs.get("head_fn") is not None
        mask = kwargs.get("attention_mask")
        if not scores or mask is None or kwargs.get("input_ids") is None or bool(mask[:, 0].all()):
            return original_forward(*args, **kwargs)  # generation has positions of its own
        starts = mask.argmax(dim=1)  # the column of each row's first token
        columns = torch.arange(mask.size(1), device=mask.device)
        # Column c of a shifted row is column c + start of the row as it came; what was padding wraps around to the end.
        there = (columns + starts[:, None]) % mask.size(1)
        back = (columns - starts[:, None]) % mask.size(1)
        shifted = {name: kwargs[name].gather(1, there) for name in ("input_ids", "attention_mask")}
        if kwargs.get("labels") is not None:
            shifted["labels"] = kwargs["labels"].gather(1, there)
        if head_fn := kwargs.get("head_fn"):
            index = back[:, :, None]

            def shifted_back(hidden: Tensor, head: Any) -> Any:
                return head_fn(hidden.gather(1, index.expand_as(hidden)), head)

            return original_forward(*args, **{**kwargs, **shifted, "head_fn": shifted_back})
        scored = original_forward(*args, **{**kwargs, **shifted})
        for name in ("log_probs", "entropy"):
            values = scored.get(name)  # [N, L - 1], of the next token
            if values is not None:
                scored[name] = torch.nn.functional.pad(values, (0, 1)).gather(1, back)[:, :-1]
        return scored

    model.forward = types.MethodType(forward, model)
