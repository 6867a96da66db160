"""LUFFY (arXiv 2504.14945) as a thin subclass of TRL's GRPOTrainer: a baseline of SGPO.

Of the G responses of a problem, G - 1 are sampled; the last is the expert's. It is scored like the others, enters
the advantages, and its tokens are weighted by ``f(p) = p / (p + 0.1)`` of the current policy, without a clip. See
:mod:`sgpo.objectives.baselines` for the maths and ``docs/baselines.md`` for what is published.

Shapes: B problems and G responses of each on this rank, N rows of a micro-step, T completion tokens.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from sgpo.objectives.baselines import luffy_advantages, off_policy_token_loss, shaped_probability
from sgpo.trainer import papers
from sgpo.trainer.base_config import argument
from sgpo.trainer.expert import ExpertConfig, ExpertTrainer
from sgpo.trainer.notices import RolloutHistory
from sgpo.trainer.own import swapped
from sgpo.trainer.rollouts import Problem, first_of_groups
from sgpo.trainer.values import require_choice

LOSS_TYPES = ("dr_grpo", "dapo", "grpo", "bnpo")


@dataclass
class LUFFYConfig(ExpertConfig):
    """Arguments of :class:`sgpo.LUFFYTrainer`: TRL's ``GRPOConfig``, with the defaults of LUFFY's public script."""

    shaping_gamma: float = argument(0.1, "gamma in f(p) = p / (p + gamma), the weight of an off-policy token.")
    advantage_baseline: str = argument(
        "group",
        "Mean that is taken from the rewards: of the whole 'group', the expert response included (paper and public "
        "training script), or of the 'on_policy' rollouts (`grpo_split` in the public code).",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choice("loss_type", self.loss_type, LOSS_TYPES)
        require_choice("multi_objective_aggregation", self.multi_objective_aggregation, ("sum_then_normalize",))
        # LUFFY's public script does not divide advantages by a standard deviation.
        require_choice("scale_rewards", self.scale_rewards, ("none",))


class LUFFYTrainer(ExpertTrainer):
    """Drop-in for ``trl.GRPOTrainer`` on a dataset with columns ``prompt``, ``expert`` and what the rewards need.

    Logs under ``luffy/``: ``expert_reward`` and ``on_policy_reward`` (means), ``expert_advantage``, ``expert_tokens``
    of a generation batch, and over expert tokens ``off_policy_prob`` (mean p) and ``off_policy_weight`` (mean f(p)).
    TRL's own means of lengths, rewards and entropy are over all G responses.
    """

    _tag_names = ("trl", "luffy")
    _name = "LUFFY"
    _paper = papers.LUFFY
    config_class = LUFFYConfig

    def _generate_and_score_completions(self, inputs: list[Problem]) -> dict[str, Any]:
        if not self.model.training:
            return super()._generate_and_score_completions(inputs)
        problems = first_of_groups(inputs, self.num_generations)
        experts = [self._expert_ids(problem) for problem in problems]
        with swapped(self._sgpo, experts=experts):
            output = super()._generate_and_score_completions(inputs)
        assert self._sgpo.rewards is not None
        rewards = self._weighted(self._sgpo.rewards).view(-1, self.num_generations)
        off_policy = torch.zeros_like(rewards, dtype=torch.bool)
        off_policy[:, -1] = True
        advantages = luffy_advantages(rewards, off_policy, self.args.advantage_baseline)
        output["advantages"], output["off_policy"] = advantages.flatten(), off_policy.flatten()
        self._show_advantages(output["advantages"])
        scored = ~rewards.isnan()
        means = {
            "expert_reward": (rewards[:, -1].nansum(), scored[:, -1].sum()),
            "on_policy_reward": (rewards[:, :-1].nansum(), scored[:, :-1].sum()),
            "expert_advantage": (advantages[:, -1].sum(), len(problems)),
        }
        self._record("luffy", means, expert_tokens=sum(map(len, experts)))
        return output

    def rollout_history(self) -> RolloutHistory:
        """The history without the expert's row of each group, which is never cut off."""
        every, sampled = super().rollout_history(), 1 - 1 / self.num_generations
        on_policy, expert = (self._metrics["train"].get(f"luffy/{who}_reward", ()) for who in ("on_policy", "expert"))
        return replace(every, cut=[share / sampled for share in every.cut], reward=on_policy, expert=expert)

    def _generate_single_turn(
        self, prompt_ids: list[list[int]], images: Any, multimodal_fields: Any, num_generations: int, *args: Any
    ) -> tuple[list[list[int]], list[list[float]] | None]:
        """Sample G - 1 responses for each problem; its expert's takes the last place."""
        if self._sgpo.experts is None:
            return super()._generate_single_turn(prompt_ids, images, multimodal_fields, num_generations, *args)
        size = num_generations - 1
        # TRL wants G rows of a group; the last one's prompt is left out and its place filled below.
        sampled = [ids for i, ids in enumerate(prompt_ids) if (i + 1) % num_generations]
        completions, logprobs = super()._generate_single_turn(sampled, images, multimodal_fields, size, *args)

        def with_experts(rows: list[Any], experts: list[Any]) -> list[Any]:
            return [x for b, expert in enumerate(experts) for x in (*rows[b * size : (b + 1) * size], expert)]

        if logprobs is not None:  # NaN: TRL reads it as "not known to the sampler", and corrects nothing
            logprobs = with_experts(logprobs, [[float("nan")] * len(ids) for ids in self._sgpo.experts])
        return with_experts(completions, self._sgpo.experts), logprobs

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        if not self.model.training:
            return super()._compute_loss(model, inputs)
        off_policy, advantages = inputs["off_policy"], inputs["advantages"]
        # TRL's loss of the on-policy rows; the advantage 0 leaves the expert's rows out of it, not out of its divisor.
        with swapped(self._sgpo, expert_rows=off_policy):
            loss = super()._compute_loss(model, {**inputs, "advantages": advantages.masked_fill(off_policy, 0.0)})
        logps = self._last_logps()
        mask = inputs["completion_mask"].bool()
        counted = mask & off_policy.unsqueeze(1)
        per_token = off_policy_token_loss(logps, advantages, self.args.shaping_gamma)
        per_token = torch.where(counted, per_token, torch.zeros_like(per_token))
        loss = loss + (per_token / self._divisor(inputs, mask)).sum()
        p, tokens = logps.detach()[counted], counted.sum()
        weights = shaped_probability(p, self.args.shaping_gamma)
        self._record(
            "luffy", {"off_policy_prob": (p.exp().sum(), tokens), "off_policy_weight": (weights.sum(), tokens)}
        )
        return loss

    def _divisor(self, inputs: dict[str, Any], mask: Tensor) -> Tensor | float:
        """What TRL divides the loss of a token by, so that both kinds of tokens weigh the same; see ``loss_type``."""
        rows, steps = mask.size(0), self.current_gradient_accumulation_steps
        if self.loss_type == "dr_grpo":
            return float(rows * self.max_completion_length * steps)
        if self.loss_type == "grpo":
            return mask.sum(dim=1, keepdim=True).clamp(min=1.0) * rows * steps
        if self.loss_type == "bnpo":
            return mask.sum().clamp(min=1.0) * steps
        # TRL's count is of a generation batch on all ranks; this is a rank's part in one optimizer step of it.
        share = steps / self.args.steps_per_generation / self.accelerator.num_processes
        return inputs["num_items_in_batch"].clamp(min=1.0) * share
