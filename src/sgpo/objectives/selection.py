"""Target selection: which correct guided response the unguided policy is taught (arXiv 2606.24064).

Of the correct guided responses the one the UNGUIDED policy finds likeliest is kept: the smallest step
from where the student already is. No correct one: no target, and so no distillation for that problem.
The paper says "highest likelihood"; whether summed or per token is not published. "mean" (per token) is
our default, as "sum" prefers the shortest response whatever it says; "random" is the ablation. Past the paper:
several targets (`rank_targets`), and "trimmed", in which the least likely tokens of a response have no say
(`trimmed_logps`).

Shapes: B problems, G guided responses of each.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ._registry import lookup
from .divergence import accumulation_dtype


def _random(logps: Tensor, generator: torch.Generator | None) -> Tensor:
    # Drawn where the generator lives, so that one seed gives one choice on every device.
    device = generator.device if generator is not None else logps.device
    return torch.rand(logps.shape, generator=generator, device=device, dtype=torch.float64).to(logps.device)


def trimmed_logps(logps: Tensor, mask: Tensor, drop: float = 0.1) -> Tensor:
    """Mean log-probability of each response without the share `drop` of its least likely tokens: [N, T] x 2 -> [N].

    One odd word among many decides a mean; it does not decide this. The number of dropped tokens is rounded down. A
    response without tokens has 0.

    Source: likelihood trimmed, two targets and an SFT loss are what TREK (arXiv 2607.05339) selects and trains by; the
    share and the side that is trimmed are our reading.
    """
    lengths = mask.sum(1)
    order = logps.detach().masked_fill(~mask, torch.inf).sort(dim=1).values  # padding last
    rank = torch.arange(logps.shape[1], device=logps.device)
    low = (lengths * drop).floor()
    kept = (rank >= low[:, None]) & (rank < lengths[:, None])
    return order.masked_fill(~kept, 0.0).sum(1) / kept.sum(1).clamp(min=1)


# name -> (summed log-probabilities [B, G], lengths [B, G], generator) -> score [B, G], highest wins
SELECTION_MODES: dict[str, Callable[[Tensor, Tensor, torch.Generator | None], Tensor]] = {
    "mean": lambda logps, lengths, generator: logps / lengths.clamp(min=1),
    "sum": lambda logps, lengths, generator: logps,
    "random": lambda logps, lengths, generator: _random(logps, generator),
    "trimmed": lambda logps, lengths, generator: logps,  # what `trimmed_logps` gives is a score already
}


def rank_targets(
    logps: Tensor,
    correct: Tensor,
    lengths: Tensor,
    *,
    count: int = 1,
    mode: str = "mean",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Indices of the `count` guided responses of each problem that are distilled, the best first.

    Args:
        logps: [B, G], log-probability of each guided response under the UNGUIDED policy, SUMMED over its
            tokens, in nats.
        correct: [B, G] bool, the verifier's verdict.
        lengths: [B, G], tokens of each response; a response of length 0 is never selected.
        count: 1 is the paper's; more share the problem's weight.
        mode: "mean" (log-probability per token), "sum", "random" (uniform among the correct ones), or "trimmed", for
            which `logps` is what `trimmed_logps` gives.
        generator: randomness of mode "random"; torch's global one where None.

    Returns:
        [B, min(count, G)] long, -1 for none. Ties go to the lowest index. A correct response whose log-probability is
        NaN or infinite stands behind all that are finite.

    Raises:
        ValueError: shapes differ, `correct` is not bool, or the mode is unknown.

    Source: arXiv 2606.24064; "mean", "random" and a count above 1 ours.
    """
    score_of = lookup(SELECTION_MODES, mode, "mode")
    if not (logps.ndim == 2 and logps.shape == correct.shape == lengths.shape):
        raise ValueError(
            f"logps {tuple(logps.shape)}, correct {tuple(correct.shape)} and lengths {tuple(lengths.shape)} "
            "must all be [B, G]; regroup the guided responses by problem first"
        )
    if correct.dtype != torch.bool:
        raise ValueError(f"correct has dtype {correct.dtype}, but it is a verdict; pass e.g. reward > 0.5")
    score = score_of(logps.detach().to(accumulation_dtype(logps)), lengths, generator)
    # Two floors, so that a non-finite score still stands above "not eligible" but below every finite one.
    score = torch.where(score.isfinite(), score, torch.full_like(score, torch.finfo(score.dtype).min))
    eligible = correct & (lengths > 0)
    score = torch.where(eligible, score, torch.full_like(score, -torch.inf))
    # Stable, so that a tie is broken alike on every device and in every run.
    order = score.sort(dim=1, descending=True, stable=True).indices[:, :count]
    return torch.where(eligible.gather(1, order), order, torch.full_like(order, -1))
