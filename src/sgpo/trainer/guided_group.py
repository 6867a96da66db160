"""GRPO on the guided group, too (``SGPOConfig.guided_grpo_weight``): past the paper, and off by default.

A live teacher that is trained only through unguided prompts forgets how to follow a strategy. The guided rollouts are
there anyway, with their verdicts; here they are a second GRPO group, with advantages among themselves and behind the
prompts that they were sampled from. The loss becomes, over the problems ``q`` of a step,

    L = mean_q [ grpo_weight * GRPO(autonomous) + guided_grpo_weight * GRPO(guided) + alpha(q) * L_KD(q) ]

With ``guided_grpo_group="joined"`` the guided rollouts join the autonomous group in place of being one (OC-GRPO, arXiv
2607.19313): one mean and deviation of the rewards, one divisor of the loss, and the guided rows train the UNGUIDED
policy, with the ratio ``pi(y_t|q) / pi_old(y_t|q,s)`` to the policy that sampled them, clipped as ever.

Both groups are TRL's GRPO: the rows go a second time through TRL's own code, so that advantages, importance ratios,
clips, reference model and every ``loss_type`` are what they are for the autonomous group. Source: ours; its form is
GRPO's (arXiv 2402.03300).

Shapes: B problems of this rank's generation batch, G2 guided rollouts of each, R guided rows, S micro-steps.
"""

import copy
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from sgpo.models.scoring import without_dropout
from sgpo.objectives import joined_advantages
from sgpo.trainer.config import OVER_ALL_TOKENS
from sgpo.trainer.distillation import padded, spread
from sgpo.trainer.guided import GuidedRolloutTrainer
from sgpo.trainer.own import swapped
from sgpo.trainer.rollouts import GenerationBatch


class GuidedGroupTrainer(GuidedRolloutTrainer):
    """Keeps the guided rows of each generation batch, scored for GRPO, and gives their loss in each micro-step."""

    def _use_rollouts(self, batch: GenerationBatch) -> None:
        self._sgpo.guided_slots = []
        if not (self.args.guided_grpo_weight and batch.guided.prompt_ids):  # the same on every rank
            return
        scored = self._scored(batch)
        if self.args.guided_grpo_group == "joined":
            self._join(batch, scored)
        rows, steps = len(batch.guided.owners), self.args.steps_per_generation
        dealt = spread(rows, steps, min(self.current_gradient_accumulation_steps, steps))
        # Entries without rows, such as the number of tokens, describe the whole batch: every micro-step gets the same.
        self._sgpo.guided_slots = [
            {name: value[step] if value.dim() else value for name, value in scored.items()} if step else {}
            for step in dealt
        ]

    def _scored(self, batch: GenerationBatch) -> dict[str, Tensor]:
        """The guided rows as TRL scores a generation batch: padded ids and masks ``[R, L]``, advantages ``[R]``."""
        guided = batch.guided
        inputs = [batch.problems[i] for i in guided.owners]
        if self.args.guided_grpo_group == "own":
            inputs = [{**problem, "prompt": self._guided_text(problem)} for problem in inputs]
        counts = torch.arange(len(inputs), device=self.accelerator.device) < guided.valid_rows
        assert guided.rewards is not None
        # TRL leaves a row without a reward out of its means and gives it the advantage 0. Rows that only fill up a rank
        # get no reward, so that they are treated like that.
        guided.rewards = guided.rewards.masked_fill(~self.accelerator.gather(counts)[:, None], torch.nan)
        with swapped(self._sgpo, replayed=guided), self._apart():
            scored = self._generate_and_score_completions(inputs)
        scored["completion_mask"] = scored["completion_mask"] * counts[:, None]
        sums = [
            scored["completion_mask"].sum(),
            guided.valid_rows / self.args.num_guided_generations,
            len(batch.problems),
        ]
        local = torch.tensor([float(value) for value in sums], device=self.accelerator.device)
        tokens, with_guided, problems = self.accelerator.reduce(local, reduction="sum")
        # A mean over problems, of which those without guided rollouts count as 0.
        scored["num_items_in_batch"] = tokens * problems / with_guided
        return scored

    def _join(self, batch: GenerationBatch, scored: dict[str, Tensor]) -> None:
        """Make one group of both in TRL's batch of the autonomous rows and in the guided rows ``scored``."""
        guided, width = batch.guided, self.args.num_guided_generations
        assert batch.rewards is not None
        assert guided.rewards is not None
        groups = guided.owners[::width]
        valid = groups[: guided.valid_rows // width]
        autonomous = self._weighted(batch.rewards).view(-1, self.num_generations)
        rewards = autonomous.new_full((len(autonomous), width), torch.nan)
        local = self._weighted(self._local(guided.rewards, len(guided.owners)))
        rewards[valid] = local[: guided.valid_rows].view(-1, width)
        scaled = self.args.scale_rewards not in ("none", False)
        advantages, of_guided = joined_advantages(autonomous, rewards, scale=scaled)
        batch.scored["advantages"], scored["advantages"] = advantages.flatten(), of_guided[groups].flatten()
        self._show_advantages(batch.scored["advantages"])
        mask = scored["completion_mask"]
        # The sampler had the guided prompt and no dropout, so its logprobs are recomputed in the same way.
        prompts, prompt_mask = padded(guided.prompt_ids, self._tokenizer.pad_token_id, "left")
        ids = torch.cat([prompts.to(mask.device), scored["completion_ids"]], dim=1)
        whole_mask = torch.cat([prompt_mask.to(mask.device), mask], dim=1)
        with torch.no_grad(), without_dropout(self.model):
            scored["old_per_token_logps"], _, _ = self._get_per_token_logps_and_entropies(
                self.model, ids, whole_mask, mask.size(1), batch_size=self.args.per_device_train_batch_size
            )
        tokens = self.accelerator.reduce(mask.sum().float(), reduction="sum") + batch.scored["num_items_in_batch"]
        batch.scored["num_items_in_batch"] = scored["num_items_in_batch"] = tokens

    def _guided_rows(self) -> dict[str, Tensor]:
        """This micro-step's guided rows; empty where it has none, on every rank."""
        slots = self._sgpo.guided_slots
        return slots[self._step % self.args.steps_per_generation] if slots else {}

    def _guided_loss(self, model: Any, rows: dict[str, Tensor]) -> Tensor:
        """This micro-step's part of ``mean_q GRPO(guided)``."""
        with self._apart() as metrics:
            loss = super()._compute_loss(model, rows)
        self._record({"guided_entropy": metrics["entropy"][-1]})
        if "clip_ratio/region_mean" in metrics:
            clipped = metrics["clip_ratio/region_mean"][-1]
            if self.importance_sampling_level == "sequence":
                # TRL's mean is then one over rows, and knows nothing of those that only fill up a rank.
                counted = rows["completion_mask"].any(dim=1)
                number = torch.tensor([len(counted), int(counted.sum())], device=counted.device)
                whole, real = self.accelerator.reduce(number, reduction="sum").tolist()
                clipped *= whole / max(real, 1)
            self._record({"guided_clip_fraction": clipped})
        if self.loss_type not in OVER_ALL_TOKENS:
            # These are means over the rows at hand, of which this micro-step may have more or fewer than another.
            whole = self.args.per_device_train_batch_size * self.args.num_guided_generations / self.num_generations
            loss = loss * (len(rows["advantages"]) / whole)
        return loss

    @contextmanager
    def _apart(self) -> Iterator[dict[str, list[float]]]:
        """Let TRL work on the guided group without a trace in the metrics and logs of the autonomous one.

        Yields the metrics that it would have logged. What TRL adds to the loss of its policy belongs to the autonomous
        group alone: the entropy bonus, which may adapt to what it sees, and a mixture of experts' auxiliary loss,
        which would count a second time.
        """
        metrics: dict[str, list[float]] = defaultdict(list)
        apart = {
            "_metrics": {"train": metrics},
            "_logs": copy.deepcopy(self._logs),
            "_entropy_bonus_enabled": False,
            "aux_loss_enabled": False,  # a mixture of experts balances its load once
            "num_generations": self.args.num_guided_generations,
        }
        # TRL counts the tokens of what it scores; those of the guided rollouts are counted where they are used.
        seen = self.state.num_input_tokens_seen
        with swapped(self, **apart), swapped(self.state, num_input_tokens_seen=seen):
            yield metrics

    def _record(self, metrics: dict[str, float]) -> None:
        for name, value in metrics.items():
            self._metrics["train"][f"sgpo/{name}"].append(value)

    # ---------------------------------------------------------------- checkpoints

    def _rollouts(self) -> dict[str, Any]:
        return {**super()._rollouts(), "guided_slots": self._sgpo.guided_slots}

    def _restore_rollouts(self, saved: dict[str, Any]) -> None:
        super()._restore_rollouts(saved)
        self._sgpo.guided_slots = saved.get("guided_slots", [])  # older checkpoints have none
