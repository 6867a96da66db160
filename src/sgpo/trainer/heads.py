"""A way from a model's own ``forward`` to its last hidden states, for terms that need more than log-probabilities.

The distillation term works on hidden states and the head, not on logits, so that ``[T, V]`` need never exist. It
must still run INSIDE the forward of the wrapped model: that is where DDP, FSDP and DeepSpeed gather parameters and
arm their gradient hooks. ``model(..., head_fn=f)`` therefore runs the backbone and returns ``f(hidden, head)``.

TRL patches the same method for its fused log-probabilities (``trl.trainer.utils.add_fused_lm_head``); without
``head_fn`` the call goes on to that patch unchanged.
"""

import functools
import types
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PretrainedConfig, PreTrainedModel

from sgpo.objectives import Head
from sgpo.trainer.padding import can_be_probed, probing, rounding
from sgpo.trainer.shards import whole
from sgpo.trainer.trl_seam import maybe_gather_lm_head_ctx

HeadFn = Callable[[Tensor, Head], Any]
_PROBE = 6  # tokens


def add_head_fn(model: PreTrainedModel) -> None:
    """Give ``model.forward`` the keyword ``head_fn``: ``(hidden [N, L, H], Head) -> anything``.

    The backbone and the head are looked up at each call, since FSDP and PEFT replace them after this.
    """
    original_forward = model.forward
    scale, softcap = logit_transform(model.config)

    # Under torch_compile the backbone is compiled, and this frame is not: a `head_fn` is a new function each time, with
    # the micro-step's targets in its closure, so the compiler would begin anew with every call.
    @torch.compiler.disable(recursive=False)
    def with_head(self: PreTrainedModel, head_fn: HeadFn, *args: Any, **kwargs: Any) -> Any:
        hidden = self.base_model(*args, use_cache=False, **kwargs).last_hidden_state
        head = self.get_output_embeddings()
        weight, bias = whole(head.weight), whole(getattr(head, "bias", None))
        # ZeRO-3 has cut a model that was loaded by name, but one from memory is whole until training begins, and TRL's
        # context would look for DeepSpeed's marks on it.
        cut = hasattr(weight, "ds_status")
        gathered: AbstractContextManager[Any] = maybe_gather_lm_head_ctx(weight, bias) if cut else nullcontext()
        with gathered:
            return torch.compiler.disable(head_fn)(hidden.to(weight.device), Head(weight, bias, scale, softcap))

    # Keep the signature of the class: `generate` validates its model kwargs against it.
    @functools.wraps(type(model).forward)
    def forward(self: PreTrainedModel, *args: Any, head_fn: HeadFn | None = None, **kwargs: Any) -> Any:
        if head_fn is None:
            return original_forward(*args, **kwargs)
        return with_head(self, head_fn, *args, **kwargs)

    model.forward = types.MethodType(forward, model)


def check_head_fn(model: PreTrainedModel) -> None:
    """Raise ``ValueError`` unless a model's logits are what its head and its last hidden states give.

    TRL's log-probabilities and the distillation take them so. Whatever an architecture does in between (one more layer,
    as in ModernBERT's decoder, or a scale of another name) they would not know. To be called behind
    :func:`add_head_fn`; a model that cannot be probed passes.
    """
    if not can_be_probed(model):
        return
    vocabulary = model.config.get_text_config().vocab_size
    ids = torch.arange(3, 3 + _PROBE, device=model.device).remainder(vocabulary)[None]

    def logits(hidden: Tensor, head: Head) -> Tensor:
        found = head.scale * F.linear(hidden.to(head.weight.dtype), head.weight, head.bias).float()
        return found if head.softcap is None else head.softcap * torch.tanh(found / head.softcap)

    with probing(model):
        wanted = model(input_ids=ids).logits.float()
        found = model(input_ids=ids, head_fn=logits)[..., : wanted.size(-1)]
    if not wanted.isfinite().all():
        return  # broken weights, of which training says more when it begins
    gap = float(((found - wanted).norm(dim=-1) / wanted.norm(dim=-1).clamp(min=1e-12)).median())
    if not gap <= rounding(model):
        raise ValueError(
            f"{type(model).__name__} makes its logits otherwise than by a product of its head and its last hidden "
            f"states: they differ by {gap:.1%}, so log-probabilities and KL would be those of another model. Use "
            "another architecture."
        )


def logit_transform(config: PretrainedConfig) -> tuple[float, float | None]:
    """Scale and soft cap between the head's product and the logits, by the names that model families use."""
    text = config.get_text_config()
    softcap = getattr(text, "final_logit_softcapping", None)
    for name in ("logit_scale", "output_multiplier", "lm_head_multiplier"):
        if getattr(text, name, None) is not None:
            return float(getattr(text, name)), softcap
    scaling = getattr(text, "logits_scaling", None)  # Granite and MiniCPM3 divide by it, HyperCLOVA X multiplies
    if scaling is not None:
        return (scaling if text.model_type == "hyperclovax" else 1 / scaling), softcap
    return 1.0, softcap
