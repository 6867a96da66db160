"""Which problems get guided rollouts: probabilities and a draw that leave the gradient unbiased.

Guided rollouts pay where they bring a weight `alpha(q)`. Before they are sampled that weight is not known, but it can
be told: the autonomous pass rate `p` is there, and the guided one `p~` can be expected. Problem `q` is guided with

    g(q) = max(floor, alpha(p, expected p~) / largest alpha of this form),      0 where no p~ gives a weight

and, where it is, its weight becomes `alpha(q) / g(q)` (Horvitz and Thompson 1952). The mean of that over the draws
is `alpha(q)`, whatever was expected, so the gradient is in expectation that of guiding every problem. The floor keeps
`1 / pi`, and with it the variance, within bounds, and lets a problem be looked at again whose strategy did not work
before. Source: ours.

Shapes: B problems, G1 autonomous rollouts of each.
"""

import math
from collections.abc import Callable, Sequence
from itertools import accumulate

import torch
from torch import Tensor

from .weighting import adaptive_weight


def guiding_probabilities(
    autonomous_pass_rate: Tensor,
    expected_pass_rate: Tensor,
    *,
    rollouts: int,
    floor: float,
    weight: Callable[[Tensor, Tensor], Tensor] = adaptive_weight,
) -> Tensor:
    """`g(q)` of each problem, in [0, 1].

    Args:
        autonomous_pass_rate: [B], of this visit.
        expected_pass_rate: [B], the guided pass rate that is expected.
        rollouts: G1; the largest weight is the one of the pass rates 0, 1/G1, .., 1 that weighs most.
        floor: the least probability of a problem that guidance could help.
        weight: `adaptive_weight`, with the form and the constants of the run (`functools.partial`).

    Returns:
        [B], without graph.
    """
    possible = torch.linspace(0, 1, rollouts + 1)
    largest = float(weight(possible, torch.ones_like(possible)).max())
    expected = weight(autonomous_pass_rate, expected_pass_rate) / largest
    # Every form grows with the guided pass rate or does not ask for it, so a weight of 0 here is 0 for any strategy.
    at_most = weight(autonomous_pass_rate, torch.ones_like(autonomous_pass_rate))
    floored = expected.clamp(floor, 1.0)
    return torch.where(at_most > 0, floored, torch.zeros_like(floored))


def capped_probabilities(probabilities: Sequence[float], most: int | None) -> list[float]:
    """All probabilities times one factor, so that they sum up to at most `most` (None: as they are).

    To leave out the least likely ones instead would be another gradient than that of guiding every problem.
    """
    total = sum(probabilities)
    if most is None or total <= most:
        return list(probabilities)
    return [value * most / total for value in probabilities]


def systematic_draw(probabilities: Sequence[float], start: float) -> list[int]:
    """Numbers of the items drawn, each with its probability, by one random `start` in [0, 1) (systematic sampling).

    Their number is within one of the sum of the probabilities; with a draw for each item it would vary far more, and
    with it the time of a step (Madow 1949; its use here is ours).
    """
    ends = [math.floor(total + start) for total in accumulate(probabilities)]
    # An item is drawn where a whole number lies between the sums without it and with it, both moved by `start`.
    return [k for k, (before, end) in enumerate(zip([0, *ends], ends, strict=False)) if end > before]
