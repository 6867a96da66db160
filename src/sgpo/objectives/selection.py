"""Target selection: which correct guided response the unguided policy is taught (arXiv 2606.24064).

Of the correct guided responses the one the UNGUIDED policy finds likeliest is kept: the smallest step
from where the student already is. No correct one: no target, and so no distillation for that problem.
The paper says "highest likelihood"; whether summed or per token is not published. "mean" (per token) is
our default, as "sum" prefers the shortest response whatever it says; "random" is the ablation.

Shapes: B problems, G guided responses of each.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ._registry import lookup
from .divergence import accumulation_dtype


def _mean_score(logps: Tensor, lengths: Tensor, generator: torch.Generator | None) -> Tensor:
    return logps / lengths.clamp(min=1)


def _sum_score(logps: Tensor, lengths: Tensor, generator: torch.Generator | None) -> Tensor:
    return logps


def _random_score(logps: Tensor, lengths: Tensor, generator: torch.Generator | None) -> Tensor:
    # Drawn where the generator lives, so that one seed gives one choice on every device.
    device = generator.device if generator is not None else logps.device
    return torch.rand(logps.shape, generator=generator, device=device, dtype=torch.float64).to(logps.device)


# name -> (summed log-probabilities [B, G], lengths [B, G], generator) -> score [B, G], highest wins
SELECTION_MODES: dict[str, Callable[[Tensor, Tensor, torch.Generator | None], Tensor]] = {
    "mean": _mean_score,
    "sum": _sum_score,
    "random": _random_score,
}


def select_targets(
    logps: Tensor,
    correct: Tensor,
    lengths: Tensor,
    *,
    mode: str = "mean",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Index of the guided response to distil for each problem, -1 where there is none.

    Args:
        logps: [B, G], log-probability of each guided response under the UNGUIDED policy, SUMMED over its
            tokens, in nats.
        correct: [B, G] bool, the verifier's verdict.
        lengths: [B, G], tokens of each response; a response of length 0 is never selected.
        mode: "mean" (log-probability per token), "sum", or "random" (uniform among the correct ones).
        generator: randomness of mode "random"; torch's global one where None.

    Returns:
        [B] long. Ties go to the lowest index. A correct response whose log-probability is NaN or infinite
        is selected only where no correct one is finite.

    Raises:
        ValueError: shapes differ, `correct` is not bool, or the mode is unknown.

    Source: arXiv 2606.24064; "mean" and "random" ours.
    """
    score_of = lookup(SELECTION_MODES, mode, "mode")
    if not (logps.ndim == 2 and logps.shape == correct.shape == lengths.shape):
        raise ValueError(
            f"logps {tuple(logps.shape)}, correct {tuple(correct.shape)} and lengths {tuple(lengths.shape)} "
            "must all be [B, G]; regroup the guided responses by problem first"
        )
    if correct.dtype != torch.bool:
        raise ValueError(f"correct has dtype {correct.dtype}, but it is a verdict; pass e.g. reward > 0.5")
    if logps.shape[1] == 0:
        return torch.full((logps.shape[0],), -1, dtype=torch.long, device=logps.device)
    score = score_of(logps.detach().to(accumulation_dtype(logps)), lengths, generator)
    # Two floors, so that a non-finite score still stands above "not eligible" but below every finite one.
    score = torch.where(score.isfinite(), score, torch.full_like(score, torch.finfo(score.dtype).min))
    eligible = correct & (lengths > 0)
    best = torch.where(eligible, score, torch.full_like(score, -torch.inf)).argmax(dim=1)
    return torch.where(eligible.any(dim=1), best, torch.full_like(best, -1))
