"""Teachers other than the live policy: an exponential moving average of it, or its frozen start.

Only the trainable parameters are kept twice, so with LoRA this costs one more adapter. For the teacher's forward
they change places with the live ones. An average is kept in float32 whatever the policy's dtype, since its increments
would round to nothing in bfloat16; the forward sees it in the policy's.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

FILE_NAME = "sgpo_teacher.safetensors"


@contextmanager
def without_dropout(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, in which dropout (LoRA's too) makes no noise; each module's own mode comes back."""
    modules = [module for module in model.modules() if module.training]
    for module in modules:
        module.training = False
    try:
        yield
    finally:
        for module in modules:
            module.training = True


class TeacherWeights(TrainerCallback):
    """Second set of the trainable parameters of ``model``.

    Args:
        model: the unwrapped policy.
        decay: after each optimizer step, ``teacher = decay * teacher + (1 - decay) * policy``; 1.0 freezes it.
    """

    def __init__(self, model: nn.Module, decay: float):
        if not 0.0 <= decay <= 1.0:
            raise ValueError(f"decay is {decay}, but must be within [0, 1]; 1.0 freezes the teacher.")
        self.decay = decay
        self._live = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self._kept = {name: self._copy(p) for name, p in self._live.items()}

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        if self.decay < 1.0:
            with torch.no_grad():
                for name, p in self._live.items():
                    self._kept[name].lerp_(p.detach().to(self._kept[name]), 1.0 - self.decay)

    def _copy(self, parameter: Tensor) -> Tensor:
        values = parameter.detach().clone()
        coarse = parameter.dtype in (torch.bfloat16, torch.float16)
        return values.float() if coarse and self.decay < 1.0 else values

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Run the model with the teacher's weights. No autograd graph of the live ones may be open."""
        live = {name: p.data for name, p in self._live.items()}
        try:
            for name, p in self._live.items():
                p.data = self._as_live(name, p)
            yield
        finally:
            for name, p in self._live.items():
                p.data = live[name]

    def counterpart(self, parameter: Tensor) -> Tensor:
        """The teacher's tensor in the place of ``parameter``; ``parameter`` itself if it is not trained."""
        for name, p in self._live.items():
            if p is parameter:
                return self._as_live(name, p)
        return parameter.detach()

    def head(self, hidden: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
        """The teacher's hidden states ``[..., H]`` and head ``[V, H]``, for logits with the LIVE bias added to them.

        A trained bias has a second value, too: its difference goes into the head as one more column.
        """
        weight = self.counterpart(weight)
        if bias is None or not bias.requires_grad:
            return hidden, weight
        difference = (self.counterpart(bias) - bias.detach()).to(weight.dtype)
        ones = hidden.new_ones((*hidden.shape[:-1], 1))
        return torch.cat([hidden, ones], dim=-1), torch.cat([weight, difference[:, None]], dim=-1)

    def save(self, directory: str | Path) -> None:
        save_file({k: v.contiguous() for k, v in self._kept.items()}, Path(directory) / FILE_NAME)

    def load(self, directory: str | Path) -> None:
        """Raises ``FileNotFoundError`` where the checkpoint has no teacher (it was written with a live one)."""
        path = Path(directory) / FILE_NAME
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} is missing: this checkpoint was written with teacher='live'. Resume with teacher='live', "
                "or start anew."
            )
        for name, value in load_file(path).items():
            self._kept[name].copy_(value)

    def _as_live(self, name: str, parameter: Tensor) -> Tensor:
        """The teacher's values on the device and in the dtype of the live ones."""
        if self._kept[name].device != parameter.device:  # the model moved after construction
            self._kept[name] = self._kept[name].to(parameter.device)
        return self._kept[name].to(parameter.dtype)
