"""Teachers other than the live policy: an exponential moving average of it, or its frozen start.

Only the trainable parameters are kept twice, so with LoRA this costs one more adapter, and with FSDP2 each rank keeps
its part of them. For the teacher's forward they change places with the live ones. An average is kept in float32
whatever the policy's dtype, since its increments would round to nothing in bfloat16; the forward sees it in the
policy's.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import TrainerCallback

from sgpo.trainer.shards import divided, exchange, reshard, whole

TEACHER_FILE = "sgpo_teacher.safetensors"


class TeacherWeights(TrainerCallback):
    """Second set of the trainable parameters of ``model``.

    Args:
        model: the unwrapped policy.
        decay: after each optimizer step, ``teacher = decay * teacher + (1 - decay) * policy``; 1.0 freezes it.
        sharded: whether FSDP2 will shard the model, so that the copy is of the parts and waits until they are cut.
            Before, it would be whole on each rank, and wrong on all that FSDP2 sends their weights later.
    """

    def __init__(self, model: nn.Module, decay: float, *, sharded: bool = False):
        self.decay = decay
        self._model = model
        self._kept: dict[str, Tensor] = {}
        if not sharded:
            self._begin()

    def _begin(self) -> None:
        """Take the copy, unless there is one."""
        if not self._kept:  # a resumed run has read it by now, and a second call of train() goes on with it
            self._kept = {name: self._copy(p) for name, p in self._live().items()}

    def _live(self) -> dict[str, nn.Parameter]:
        """The trainable parameters by name; they are looked up, since FSDP2 replaces them."""
        reshard(self._model)
        return {name: p for name, p in self._model.named_parameters() if p.requires_grad}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._begin()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.decay < 1.0:
            with torch.no_grad():
                for name, p in self._live().items():
                    kept = self._on_device(name, p)
                    kept.lerp_(p.detach().to(kept.dtype), 1.0 - self.decay)

    def _copy(self, parameter: Tensor) -> Tensor:
        values = parameter.detach().clone()
        coarse = parameter.dtype in (torch.bfloat16, torch.float16)
        return values.float() if coarse and self.decay < 1.0 else values

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Run the model with the teacher's weights. No autograd graph of the live ones may be open."""
        before: dict[str, Tensor] = {}
        live = self._live()
        try:
            for name, p in live.items():
                before[name] = exchange(p, self._on_device(name, p).to(p.dtype))
            yield
        finally:
            reshard(self._model)
            for name, values in before.items():
                exchange(live[name], values)

    def counterpart(self, parameter: Tensor) -> Tensor:
        """The teacher's tensor, whole, in the place of ``parameter``; ``parameter`` itself if it is not trained.

        ``parameter`` is what the model has now, which within a forward under FSDP2 is a gathered one. All ranks call
        this together.
        """
        for name, p in self._model.named_parameters():
            if p is parameter and name in self._kept:
                return whole(self._kept[name].to(p.device, p.dtype))
        return whole(parameter.detach())

    def head(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """The teacher's hidden states ``[..., H]`` and head ``[V, H]``, for logits with the LIVE bias added to them.

        A trained bias has a second value, too: its difference goes into the head as one more column.
        """
        layer = self._model.get_output_embeddings()  # type: ignore[operator]
        weight, bias = self.counterpart(layer.weight), getattr(layer, "bias", None)
        if bias is None or not bias.requires_grad:
            return hidden, weight
        difference = (self.counterpart(bias) - whole(bias.detach())).to(weight.dtype)
        ones = hidden.new_ones((*hidden.shape[:-1], 1))
        return torch.cat([hidden, ones], dim=-1), torch.cat([weight, difference[:, None]], dim=-1)

    def save(self, directory: str | Path, *, write: bool = True) -> None:
        """Write one file of whole tensors, whoever shards; every rank calls this, one has ``write`` on."""
        gathered = {}
        for name, values in self._kept.items():
            one = whole(values)
            if write:
                gathered[name] = one.cpu().contiguous()
        if write:
            save_file(gathered, Path(directory) / TEACHER_FILE)

    def load(self, directory: str | Path) -> None:
        """Read what :meth:`save` wrote."""
        self._begin()
        with safe_open(Path(directory) / TEACHER_FILE, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 (not a dictionary)
                self._kept[name].copy_(divided(file.get_tensor(name).to(self._kept[name].dtype), self._kept[name]))

    def _on_device(self, name: str, parameter: Tensor) -> Tensor:
        """What is kept of a parameter, where that is: a model may move after construction."""
        if self._kept[name].device != parameter.device:
            self._kept[name] = self._kept[name].to(parameter.device)
        return self._kept[name]
