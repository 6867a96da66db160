"""What is different where FSDP2 or DeepSpeed shards a model over the ranks: who shards, and what a rank holds.

FSDP2 makes of each parameter a DTensor, of which a rank holds a part, and gathers a layer's while its forward or
backward runs: until then ``named_parameters`` gives the parts, and meanwhile plain tensors in their place.
"""

import os
from pathlib import Path
from typing import Any

import torch
from accelerate import FullyShardedDataParallelPlugin
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import TrainingArguments

_MODEL = "pytorch_model_fsdp"  # accelerate's name for FSDP's weights in a checkpoint
_PLAIN, _FSDP = "no sharding", "FSDP with fsdp_state_dict_type "


def sharding(args: TrainingArguments) -> str:
    """Who shards: "FSDP1", "FSDP2", "DeepSpeed", or "" for nobody.

    ``accelerate launch`` says it by environment variables alone, of which the arguments know nothing.
    """
    if args.deepspeed or _launched("ACCELERATE_USE_DEEPSPEED"):
        return "DeepSpeed"
    plugin = _plugin(args)
    return f"FSDP{plugin.fsdp_version}" if plugin else ""


def checkpoint_kind(args: TrainingArguments) -> str:
    """How a run keeps its weights and optimizer in a checkpoint, in the words of its settings."""
    plugin = _plugin(args)
    if plugin is None:
        return sharding(args) or _PLAIN
    return f"{_FSDP}{plugin.state_dict_type.name}"


def kind_of(checkpoint: Path) -> str:
    """How a checkpoint was written, as :func:`checkpoint_kind` says it."""
    if (checkpoint / f"{_MODEL}.bin").is_file():
        return f"{_FSDP}FULL_STATE_DICT"
    if (checkpoint / f"{_MODEL}_0").is_dir():
        return f"{_FSDP}SHARDED_STATE_DICT"
    return "DeepSpeed" if any(checkpoint.glob("global_step*")) else _PLAIN


def sharded(args: TrainingArguments) -> bool:
    """Whether FSDP or DeepSpeed shards."""
    return bool(sharding(args))


def whole(tensor: Any) -> Any:
    """A tensor with the parts of all ranks, which must all call this; anything but a DTensor comes back as it is."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def own_part(tensor: Tensor) -> Tensor:
    """What this rank holds of a tensor; ZeRO-3 keeps its part in an attribute."""
    if isinstance(tensor, DTensor):
        return tensor.to_local()
    held: Tensor = getattr(tensor, "ds_tensor", tensor)
    return held


def divided(values: Tensor, like: Tensor) -> Tensor:
    """``values``, which each rank has whole, cut as ``like`` is; nothing is sent."""
    if not isinstance(like, DTensor):
        return values
    return distribute_tensor(values.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def exchange(parameter: Tensor, values: Tensor) -> Tensor:
    """Give a parameter other values, and return those that it had; the two are of one shape, dtype and device."""
    if isinstance(parameter, DTensor):  # FSDP2 gathers from the memory that it laid out, so values move, not tensors
        before = parameter.detach().clone()
        parameter.detach().copy_(values)
        return before
    before, parameter.data = parameter.data, values
    return before


@torch.no_grad()
def reshard(model: nn.Module) -> None:
    """Let go of gathered parameters, so that the next forward gathers the values of that moment.

    FSDP2 keeps those of the head and of what is outside of the layers from a forward to its backward. One without
    gradient has no backward, and the next forward would go on with them.
    """
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def _plugin(args: TrainingArguments) -> FullyShardedDataParallelPlugin | None:
    """FSDP's settings as the trainer will make them of the arguments, or of the launcher's environment."""
    if args.fsdp:
        return FullyShardedDataParallelPlugin(**(args.fsdp_plugin_args or {}))
    return FullyShardedDataParallelPlugin() if _launched("ACCELERATE_USE_FSDP") else None


def _launched(name: str) -> bool:
    return os.environ.get(name, "").lower() == "true"
