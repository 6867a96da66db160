"""alpha(q), the adaptive weight of the distillation term (arXiv 2606.24064).

With p the pass rate of the autonomous and p~ that of the guided rollouts of one problem:

    alpha(q) = clip( form(p, p~), 0, alpha_max )

Published: the constants, and the behaviour (it grows as guidance beats autonomous exploration, vanishes
as the student becomes competent, and needs no schedule). NOT published: the functional form. Ours:

    relative_gap   alpha_0 * (p~ - p) / (p + gamma)      the default
    gap            alpha_0 * (p~ - p)
    constant       alpha_0                               the paper's ablation "without adaptive weight"

Past the paper:

    all_wrong      alpha_0 where p = 0, else 0           distil where GRPO has nothing to compare (I-SDPO, 2608.12957)
    deviation      alpha_0 * sqrt(p (1 - p))             the standard deviation of a verdict (SC-SDPO, 2605.27765)

Shapes: B problems.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ._registry import lookup

# name -> (autonomous pass rate p [B], guided pass rate g [B], alpha_0, gamma) -> alpha before the clip [B]
WEIGHT_FORMS: dict[str, Callable[[Tensor, Tensor, float, float], Tensor]] = {
    "relative_gap": lambda p, g, alpha_0, gamma: alpha_0 * (g - p) / (p + gamma),
    "gap": lambda p, g, alpha_0, gamma: alpha_0 * (g - p),
    "constant": lambda p, g, alpha_0, gamma: torch.full_like(p, alpha_0),
    "all_wrong": lambda p, g, alpha_0, gamma: torch.where(p == 0, alpha_0, torch.zeros_like(p)),
    "deviation": lambda p, g, alpha_0, gamma: alpha_0 * (p * (1 - p)).sqrt(),
}


def adaptive_weight(
    autonomous_pass_rate: Tensor,
    guided_pass_rate: Tensor,
    *,
    form: str = "relative_gap",
    alpha_0: float = 0.5,
    gamma: float = 0.1,
    alpha_max: float = 0.8,
) -> Tensor:
    """Weight of the distillation term for each problem, in [0, alpha_max].

    Args:
        autonomous_pass_rate: [B], share of the autonomous rollouts that are correct.
        guided_pass_rate: [B], share of the guided ones; NaN where a problem had none, which gives weight 0.
        form: a name in `WEIGHT_FORMS`.
        alpha_0, gamma, alpha_max: the paper's constants.

    Returns:
        [B], without graph, of the pass rates' dtype.

    Raises:
        ValueError: shapes differ, a pass rate lies outside [0, 1], a constant is out of range, or the form
            is unknown.

    Source: constants and behaviour arXiv 2606.24064; the forms are ours, but for the last two, see above.
    """
    alpha_of = lookup(WEIGHT_FORMS, form, "form")
    _check_constants(alpha_0, gamma, alpha_max)
    p, p_guided = autonomous_pass_rate.detach(), guided_pass_rate.detach()
    if p.ndim != 1 or p.shape != p_guided.shape:
        raise ValueError(
            f"autonomous pass rates {tuple(p.shape)} and guided ones {tuple(p_guided.shape)} must both be "
            "[B]; take the mean reward of each problem's group"
        )
    missing = p_guided.isnan()
    _check_rates("autonomous", p)
    _check_rates("guided", p_guided[~missing])
    # Where guidance does worse there is nothing to teach: 0, and not a weight that pushes the student away.
    alpha = alpha_of(p, p_guided, alpha_0, gamma).clamp(0, alpha_max)
    return torch.where(missing, torch.zeros_like(alpha), alpha)


def _check_constants(alpha_0: float, gamma: float, alpha_max: float) -> None:
    for name, value in (("alpha_0", alpha_0), ("alpha_max", alpha_max)):
        if not 0 <= value < math.inf:
            raise ValueError(
                f"{name} is {value}, but it must be at least 0 and finite: a negative weight would push the "
                "student away from its target; use 0 to switch distillation off"
            )
    if not 0 < gamma < math.inf:
        raise ValueError(
            f"gamma is {gamma}, but it must be positive and finite: it keeps the division by the autonomous "
            "pass rate defined where that is 0; the paper uses 0.1"
        )


def _check_rates(name: str, rates: Tensor) -> None:
    wrong = rates[~((rates >= 0) & (rates <= 1))]  # ~ also finds NaN
    if wrong.numel():
        raise ValueError(
            f"{name} pass rate {wrong[0].item()} lies outside [0, 1]; a pass rate is the mean of rewards "
            "that are 0 or 1: threshold a graded reward first, and leave out rollouts without a verdict"
        )
