"""Advantages where guided rollouts join the autonomous group of their problem (OC-GRPO, arXiv 2607.19313).

Shapes: B problems, G1 autonomous and G2 guided rollouts of each.
"""

import torch
from torch import Tensor


def joined_advantages(autonomous: Tensor, guided: Tensor, *, scale: bool = True) -> tuple[Tensor, Tensor]:
    """Rewards less the mean of the joined group, over its standard deviation + 1e-4: [B, G1], [B, G2] -> the same.

    A reward of NaN has no say in mean and deviation and the advantage 0; a problem without guided rollouts has NaN
    for all of its second row. `scale=False` leaves the division out.

    Source: the joined group is OC-GRPO's (arXiv 2607.19313), the formula GRPO's with TRL's 1e-4 and Bessel's
    correction; that both kinds of rollouts weigh alike in it is our reading.
    """
    rewards = torch.cat([autonomous, guided], dim=1)
    advantages = rewards - rewards.nanmean(dim=1, keepdim=True)
    if scale:
        count = (~rewards.isnan()).sum(dim=1, keepdim=True)
        # The deviation of a single reward is 0 / 0 = NaN, which becomes the advantage 0 below.
        deviation = (advantages.square().nansum(dim=1, keepdim=True) / (count - 1)).sqrt()
        advantages = advantages / (deviation + 1e-4)
    first, second = advantages.nan_to_num(nan=0.0).split([autonomous.shape[1], guided.shape[1]], dim=1)
    return first, second
