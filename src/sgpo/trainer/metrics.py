"""What SGPO logs under ``sgpo/``, reduced over ranks. Every function here is a collective: all ranks call it.

=========================  ======================================================================================
``autonomous_pass_rate``   share of correct autonomous rollouts of a generation batch
``guided_pass_rate``       the same for guided rollouts, over the problems that HAD any: with ``guided_rollouts`` on
                           demand or by weight these are the harder ones, so the two rates do not compare
``guided_share``           share of the problems with a strategy that had guided rollouts
``alpha``                  mean weight over problems with a strategy (by weight: divided by the probability of being
                           guided, so that it estimates the mean over all); ``alpha_zero_fraction`` and
                           ``alpha_max_fraction`` are the shares at 0 and at the cap
``targets``                distillation targets in a generation batch
``targets_truncated``      those of them that were cut off before their end
``guided_tokens``          tokens of guided completions in a generation batch
``guided_tokens_saved``    an estimate for those not sampled: each as long as the problem's mean autonomous completion
``target_tokens``          tokens of the targets distilled in an optimizer step
``kl``, ``kl_clipped``     mean KL per target token, before and after the clip; ``clip_fraction`` above the threshold
``entropy``                mean entropy of the policy on autonomous tokens (TRL's)
``guided_entropy``         the same on guided tokens, and ``guided_clip_fraction``, the share of them whose ratio was
                           clipped: only with ``guided_grpo_weight``
``log_ratio``              mean of log pi - log pi_sampler on autonomous tokens
=========================  ======================================================================================
"""

from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from sgpo.trainer.rollouts import GenerationBatch


def rollout_metrics(
    accelerator: Accelerator,
    batch: GenerationBatch,
    guided_pass_rate: Tensor,
    alpha: Tensor,
    *,
    capped: Tensor,
    copies: int,
    targets: int,
    targets_truncated: int,
) -> dict[str, float]:
    """Metrics of one generation batch from this rank's ``[B]`` rates (NaN: no guided rollouts) and weights.

    ``capped`` says which weights ``[B]`` reached their cap. ``copies`` is G2. ``guided_prompt_tokens`` is among the
    result for the count of processed tokens; it is not logged by itself.
    """
    sampled = ~guided_pass_rate.isnan()
    skipped = [i for i in batch.with_strategy if not sampled[i]]
    weights = alpha[batch.with_strategy]
    # Behind the rows that count, a short rank repeats a problem to keep in step: with those, the figure would depend on
    # how the problems were dealt to the ranks.
    valid = batch.guided.valid_rows
    lengths = torch.tensor([len(ids) for ids in batch.completion_ids]).view(len(batch.problems), -1)
    counts = {
        "problems": len(batch.problems),
        "with_strategy": len(batch.with_strategy),
        "guided_share": sampled.sum(),
        "autonomous_pass_rate": batch.pass_rate.sum(),
        "guided_pass_rate": guided_pass_rate[sampled].sum(),
        "alpha": weights.sum(),
        "alpha_zero_fraction": (weights == 0).sum(),
        "alpha_max_fraction": capped[batch.with_strategy].sum(),
        "targets": targets,
        "targets_truncated": targets_truncated,
        "guided_tokens": sum(map(len, batch.guided.completion_ids[:valid])),
        "guided_tokens_saved": copies * lengths[skipped].float().mean(1).sum(),
        "guided_prompt_tokens": sum(map(len, batch.guided.prompt_ids[:valid])),
    }
    total = reduced(accelerator, counts)
    total["autonomous_pass_rate"] /= total.pop("problems")
    total["guided_pass_rate"] = _ratio(total["guided_pass_rate"], total["guided_share"])
    with_strategy = total.pop("with_strategy")
    for name in ("guided_share", "alpha", "alpha_zero_fraction", "alpha_max_fraction"):
        total[name] = _ratio(total[name], with_strategy)
    return total


class DistillationSums:
    """The sums that :func:`sgpo.objectives.distillation_loss` returns, over the micro-steps of an optimizer step."""

    _NAMES = ("kl_sum", "kl_clipped_sum", "clipped_tokens", "tokens")

    def __init__(self) -> None:
        self._sums: dict[str, float | Tensor] = {}

    def add(self, sums: dict[str, Tensor]) -> None:
        for name in self._NAMES:
            self._sums[name] = self._sums.get(name, 0.0) + sums[name]

    def flush(self, accelerator: Accelerator) -> dict[str, float]:
        """Means per target token and their number, empty if no rank had a target; starts the next optimizer step."""
        total = reduced(accelerator, {name: self._sums.get(name, 0.0) for name in self._NAMES})
        self._sums = {}
        tokens = total["tokens"]
        if not tokens:
            return {}
        return {
            "kl": total["kl_sum"] / tokens,
            "kl_clipped": total["kl_clipped_sum"] / tokens,
            "clip_fraction": total["clipped_tokens"] / tokens,
            "target_tokens": tokens,
        }


def log_ratio(accelerator: Accelerator, logps: Tensor, inputs: dict[str, Any]) -> float:
    """Mean of ``log pi - log pi_sampler`` over the completion tokens of a micro-step; ``logps`` is ``[N, T]``.

    0 where the batch holds no log-probabilities of the sampler: TRL leaves them out when the forward that is trained
    on is the policy that sampled.
    """
    sampled = inputs.get("sampling_per_token_logps", inputs.get("old_per_token_logps"))
    if sampled is None:
        return 0.0
    # TRL writes NaN for a token whose log-probability the sampler did not report.
    mask = inputs["completion_mask"].bool() & ~sampled.isnan()
    difference = torch.where(mask, logps - sampled, torch.zeros_like(logps))
    total = reduced(accelerator, {"sum": difference.sum(), "tokens": mask.sum()})
    return total["sum"] / max(total["tokens"], 1.0)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


def reduced(accelerator: Accelerator, values: dict[str, Any]) -> dict[str, float]:
    """Sum of each value over all ranks, in one collective."""
    local = torch.tensor([float(v) for v in values.values()], dtype=torch.float32, device=accelerator.device)
    return dict(zip(values, accelerator.reduce(local, reduction="sum").tolist(), strict=True))
