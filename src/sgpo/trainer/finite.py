"""Training stops at the first number that is not finite, and what led to it is kept.

One NaN in a loss is a NaN in every weight one optimizer step later, and in every checkpoint from then on. Three gates
keep it out: the loss of each micro-step, the gradient before each optimizer step, the weights at the start and before
each checkpoint. Each is a collective: a rank that stopped alone would leave the others waiting.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from transformers import TrainerCallback

from sgpo.runs.files import JsonObject, write_json
from sgpo.trainer.checkpoints import last_checkpoint
from sgpo.trainer.distillation import Target
from sgpo.trainer.ranks import largest
from sgpo.trainer.shards import own_part

_SHOWN = 4  # names in an error
_REMEDY = (
    "Usual causes: a learning rate too high, float16, a reward or advantage of enormous size. Lower learning_rate, set "
    "max_grad_norm, or train in bf16 or float32."
)


class NonFiniteError(FloatingPointError):
    """A loss, gradient, weight or logit is NaN or infinite."""


class FiniteNumbers(TrainerCallback):
    """Refuses to start or to end with weights that are not finite, and to step along such a gradient.

    float16 is left to its gradient scaler, which skips such steps, and DeepSpeed keeps gradients to itself.
    """

    def __init__(self, accelerator: Accelerator):
        self._accelerator = accelerator

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        require_finite_weights(self._accelerator, model, state.global_step, args.output_dir)

    on_train_end = on_train_begin

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        if self._accelerator.scaler is not None:
            return
        gradients = ((name, p.grad) for name, p in model.named_parameters() if p.grad is not None)
        what = f"Step {state.global_step + 1}: the gradient is not finite"
        require_finite(self._accelerator, gradients, what, args.output_dir)


def require_finite_weights(accelerator: Accelerator, model: nn.Module, step: int, output_dir: str | None) -> None:
    """Raise :class:`NonFiniteError`, on every rank, if a trained weight is not finite on any of them."""
    trained = ((name, p) for name, p in model.named_parameters() if p.requires_grad)
    require_finite(accelerator, trained, f"After step {step}: the weights are not finite, those", output_dir)


def require_finite(
    accelerator: Accelerator, named: Iterable[tuple[str, Tensor]], what: str, output_dir: str | None
) -> None:
    """Raise :class:`NonFiniteError`, on every rank, if any value of the named tensors is not finite on any rank."""
    # There is one flag more than names, because a rank without any name must take part in the gather as well.
    names, flags = [], [torch.tensor(False, device=accelerator.device)]
    for name, tensor in named:
        names.append(name)
        # Minimum and maximum are NaN where any value is, and finding them copies nothing.
        part = own_part(tensor.detach())
        ends = torch.stack(part.aminmax()) if part.numel() else part  # of a small tensor, a rank may hold nothing
        flags.append(~ends.isfinite().all().to(accelerator.device))
    bad = torch.stack(flags)
    if largest(accelerator, int(bad.any())):
        at_fault = [name for name, flag in zip(names, bad[1:].tolist(), strict=True) if flag]
        where = f"of {_listed(at_fault)} ({len(at_fault)} of {len(names)})" if at_fault else "on another process"
        raise NonFiniteError(f"{what} {where}. {_remedy(output_dir)}")


def require_finite_loss(
    accelerator: Accelerator, loss: Tensor, rows: Iterable[JsonObject], *, step: int, output_dir: str
) -> None:
    """Raise :class:`NonFiniteError`, on every rank, if the ``loss`` of a micro-step is not finite on any of them.

    ``rows`` (:func:`group_rows`, :func:`target_rows`) are then read, and saved in a file that the error names.
    """
    bad = not bool(loss.isfinite())
    if not largest(accelerator, int(bad)):
        return
    where = "on another process"
    if bad:
        saved = list(rows)
        path = Path(output_dir) / f"nonfinite-step{step}-rank{accelerator.process_index}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"step": step, "loss": str(float(loss)), "rows": saved})
        at_fault = [f"{row['kind']} row {row['row']}" for row in saved if not row["finite"]]
        where = f"in {_listed(at_fault) if at_fault else 'no row by itself'}; the micro-step is saved in {path}"
    raise NonFiniteError(f"Step {step}: the loss is not finite ({float(loss)}), {where}. {_remedy(output_dir)}")


@contextmanager
def finite_sampling(step: int, output_dir: str | None) -> Iterator[None]:
    """Say in which step the sampler met probabilities that are not finite; torch only says that it did."""
    try:
        yield
    except RuntimeError as error:
        if "probability tensor contains" not in str(error):
            raise
        what = f"Step {step}: the policy's logits are not finite while it samples ({error})"
        raise NonFiniteError(f"{what}. {_remedy(output_dir)}") from error


def group_rows(kind: str, inputs: dict[str, Tensor], logps: Tensor | None, tokenizer: Any) -> Iterator[JsonObject]:
    """GRPO's rows of a micro-step, ``kind`` "autonomous" or "guided"; ``logps`` is ``[N, T]`` or None."""
    if not inputs:
        return
    for i, (prompt, prompt_mask) in enumerate(zip(inputs["prompt_ids"], inputs["prompt_mask"], strict=True)):
        mask = inputs["completion_mask"][i].bool()
        prompt_ids, completion_ids = prompt[prompt_mask.bool()].tolist(), inputs["completion_ids"][i][mask].tolist()
        scores = [] if logps is None else logps[i][mask].tolist()
        row = _row(kind, i, tokenizer, prompt_ids, completion_ids)
        yield row | _numbers(advantage=inputs["advantages"][i].flatten().tolist(), logps=scores)


def target_rows(targets: list[Target], kl: Tensor | None, tokenizer: Any) -> Iterator[JsonObject]:
    """Distillation's rows of a micro-step; ``kl`` is ``[N, T]`` or None."""
    for i, target in enumerate(targets):
        values = [] if kl is None else kl[i, : len(target.completion_ids)].tolist()
        row = _row("target", i, tokenizer, target.guided_prompt_ids, target.completion_ids)
        row |= {"prompt_ids": target.prompt_ids, "guided_prompt_ids": target.guided_prompt_ids, "alpha": target.weight}
        numbers = _numbers(kl=values)
        yield row | numbers | {"finite": numbers["finite"] and math.isfinite(target.weight)}


def _row(kind: str, row: int, tokenizer: Any, prompt: list[int], completion: list[int]) -> JsonObject:
    texts = {"prompt": tokenizer.decode(prompt), "completion": tokenizer.decode(completion)}
    return {"kind": kind, "row": row, **texts, "prompt_ids": prompt, "completion_ids": completion}


def _numbers(**named: list[float]) -> JsonObject:
    """The numbers of a row as JSON, which has no NaN, and whether all of them are finite."""
    finite = {"finite": all(map(math.isfinite, chain.from_iterable(named.values())))}
    return finite | {name: [v if math.isfinite(v) else str(v) for v in values] for name, values in named.items()}


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def _remedy(output_dir: str | None) -> str:
    return f"Training stops, and no checkpoint is written with it. {_REMEDY} {last_checkpoint(output_dir)}."
