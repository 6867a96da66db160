"""The terms of two methods that SGPO is compared with, both of which train on an expert's response.

LUFFY (arXiv 2504.14945): the expert response takes the place of one rollout of its group and keeps its own reward.
Its tokens are off-policy; instead of an importance ratio they carry the shaped probability ``f(p) = p / (p + 0.1)``
of the CURRENT policy, without a clip, which favours tokens that the policy finds unlikely. On-policy tokens keep
GRPO's clipped ratio, which is TRL's and not repeated here.

HPT (arXiv 2509.04419): a gate per problem. Where no more than ``gate`` rollouts are correct, the negative
log-likelihood of the expert response replaces the loss of the rollouts; elsewhere GRPO alone.

How we read either, and where their public scripts differ from it: ``docs/baselines.md``.

Shapes: B problems, G rollouts of each, N rows of a micro-step, T completion tokens.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ._registry import lookup
from .divergence import distillation_loss

# name -> (rewards [B, G], off_policy [B, G]) -> the rewards whose mean is taken off; NaN has no say in it
ADVANTAGE_BASELINES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "group": lambda rewards, off_policy: rewards,
    "on_policy": lambda rewards, off_policy: rewards.masked_fill(off_policy, math.nan),
}


def shaped_probability(logps: Tensor, gamma: float = 0.1) -> Tensor:
    """``f(p) = p / (p + gamma)`` of each token's probability, from its log-probability; any shape.

    Written as a sigmoid, so that it stays exact where ``p`` underflows. Its gradient with respect to ``log p`` is
    ``gamma p / (p + gamma)^2``: largest at ``p = gamma``.

    Source: arXiv 2504.14945; its public script names it ``p_div_p_0.1``.
    """
    if not 0 < gamma < math.inf:
        raise ValueError(f"gamma is {gamma}, but f(p) = p / (p + gamma) needs it positive and finite; LUFFY's is 0.1.")
    return torch.sigmoid(logps - math.log(gamma))


def off_policy_token_loss(logps: Tensor, advantages: Tensor, gamma: float = 0.1) -> Tensor:
    """LUFFY's loss of each token of off-policy rows, ``-A f(p)``: [N, T], [N] -> [N, T].

    ``advantages`` are constants. There is neither a clip nor a ratio to the expert's own probability, which its
    authors take to be 1 (arXiv 2504.14945).
    """
    return -advantages.detach().unsqueeze(-1) * shaped_probability(logps, gamma)


def luffy_advantages(rewards: Tensor, off_policy: Tensor, baseline: str = "group") -> Tensor:
    """Rewards less a baseline, without division by the standard deviation: [B, G] -> [B, G].

    Args:
        rewards: [B, G]; NaN where a response has no reward, which gives it the advantage 0 and no say in the mean.
        off_policy: [B, G] bool, True at the expert response.
        baseline: ``"group"``, the mean over all G (what arXiv 2504.14945 defines, and what its public training
            script runs: ``adv_estimator=grpo``); ``"on_policy"``, the mean over the sampled ones (``grpo_split`` in
            the same code, which its script of RL with an SFT loss runs).

    Source: ``algorithm.grpo_use_std=False`` in LUFFY's public script; the paper's equation divides by the deviation.
    """
    counted = lookup(ADVANTAGE_BASELINES, baseline, "baseline")
    if rewards.shape != off_policy.shape or rewards.dim() != 2:
        raise ValueError(f"rewards {tuple(rewards.shape)} and off_policy {tuple(off_policy.shape)} must both be [B, G]")
    return (rewards - counted(rewards, off_policy).nanmean(dim=1, keepdim=True)).nan_to_num(nan=0.0)


def hpt_gate(correct: Tensor, gate: int = 0) -> Tensor:
    """Which problems train on the expert response: [B, G] bool -> [B] bool, at most ``gate`` correct rollouts.

    Source: arXiv 2509.04419; gate 0 in its public script for Qwen, 2 (of 8 rollouts) in that for Llama.
    """
    return correct.sum(dim=1) <= gate


def sft_loss(logps: Tensor, mask: Tensor, weights: Tensor, *, normalizer: float) -> tuple[Tensor, dict[str, Tensor]]:
    """Weighted negative log-likelihood: the mean over each row's tokens, summed over rows, over ``normalizer``.

    Args:
        logps: [N, T] log-probabilities of the expert's tokens.
        mask: [N, T] bool, True at response tokens.
        weights: [N]; a row of weight 0 gives neither value nor gradient, whatever its log-probabilities are.
        normalizer: problems of the optimizer step, those without an expert row included.

    Returns:
        The scalar loss, and ``"nll"`` (sum over counted tokens, nats) and ``"tokens"``, without graph.

    Source: arXiv 2509.04419, the mean per problem. (Its public script takes the mean over the tokens of all expert
    rows that share a micro-batch, so a longer response counts more there.)
    """
    loss, sums = distillation_loss(-logps, mask, weights, normalizer=normalizer, clip=None)
    return loss, {"nll": sums["kl_sum"], "tokens": sums["tokens"]}
