"""GRPO on the guided group, too (``SGPOConfig.guided_grpo_weight``): past the paper, and off by default.

A live teacher that is trained only through unguided prompts forgets how to follow a strategy. The guided rollouts are
there anyway, with their verdicts; here they are a second GRPO group, with advantages among themselves and behind the
prompts that they were sampled from. The loss becomes, over the problems ``q`` of a step,

    L = mean_q [ grpo_weight * GRPO(autonomous) + guided_grpo_weight * GRPO(guided) + alpha(q) * L_KD(q) ]

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

from sgpo.trainer.distillation import spread
from sgpo.trainer.guided import GuidedRolloutTrainer
from sgpo.trainer.rollouts import GenerationBatch

# Losses that TRL divides by the tokens of the whole generation batch; the others are means over a micro-step's rows.
_OVER_ALL_TOKENS = ("dapo", "cispo", "vespo")


class GuidedGroupTrainer(GuidedRolloutTrainer):
    """Keeps the guided rows of each generation batch, scored for GRPO, and gives their loss in each micro-step."""

    _entropy_bonus_enabled: bool  # TRL's, as is the next
    num_generations: int

    def _use_rollouts(self, batch: GenerationBatch) -> None:
        self._sgpo.guided_slots = []
        if not (self.args.guided_grpo_weight and batch.guided.prompt_ids):  # the same on every rank
            return
        scored = self._scored(batch)
        rows, steps = len(batch.guided.owners), self.args.steps_per_generation
        dealt = spread(rows, steps, min(self.current_gradient_accumulation_steps, steps))
        self._sgpo.guided_slots = [
            {name: value[step] if value.dim() else value for name, value in scored.items()} if step else {}
            for step in dealt
        ]

    def _scored(self, batch: GenerationBatch) -> dict[str, Tensor]:
        """The guided rows as TRL scores a generation batch: padded ids and masks ``[R, L]``, advantages ``[R]``."""
        guided = batch.guided
        inputs = [{**batch.problems[i], "prompt": self._guided_text(batch.problems[i])} for i in guided.owners]
        counts = torch.arange(len(inputs), device=self.accelerator.device) < guided.valid_rows
        assert guided.rewards is not None
        # A row without a reward has no say in TRL's means, and the advantage 0: so are rows that only fill up a rank.
        guided.rewards = guided.rewards.masked_fill(~self.accelerator.gather(counts)[:, None], torch.nan)
        self._sgpo.replayed = guided
        try:
            with self._apart():
                scored = self._generate_and_score_completions(inputs)
        finally:
            self._sgpo.replayed = None
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

    def _guided_loss(self, model: Any) -> tuple[Tensor | None, dict[str, Tensor]]:
        """``mean_q GRPO(guided)``, this micro-step's part of it, and its rows; None where it has none, on every rank.

        The log-probabilities of the rows are in ``self._sgpo.logps`` afterwards.
        """
        slots = self._sgpo.guided_slots
        rows = slots[self._step % self.args.steps_per_generation] if slots else {}
        if not rows:
            return None, rows
        with self._apart() as metrics:
            loss = super()._compute_loss(model, rows)
        self._record({"guided_entropy": metrics["entropy"][-1]})
        if self.loss_type not in _OVER_ALL_TOKENS:
            whole = self.args.per_device_train_batch_size * self.args.num_guided_generations / self.num_generations
            loss = loss * (len(rows["advantages"]) / whole)
        return loss, rows

    @contextmanager
    def _apart(self) -> Iterator[dict[str, list[float]]]:
        """Let TRL work on the guided group without a trace in the metrics and logs of the autonomous one.

        Yields the metrics that it would have logged. The entropy bonus, which may adapt to what it sees, is the
        autonomous group's alone.
        """
        kept = self._metrics, self._logs, self._entropy_bonus_enabled, self.num_generations
        seen = self.state.num_input_tokens_seen
        self._metrics: Any = {"train": defaultdict(list)}
        self._logs: Any = copy.deepcopy(self._logs)
        self._entropy_bonus_enabled = False
        self.num_generations = self.args.num_guided_generations
        try:
            yield self._metrics["train"]
        finally:
            self._metrics, self._logs, self._entropy_bonus_enabled, self.num_generations = kept
            self.state.num_input_tokens_seen = seen

    def _record(self, metrics: dict[str, float]) -> None:
        for name, value in metrics.items():
            self._metrics["train"][f"sgpo/{name}"].append(value)

    # ---------------------------------------------------------------- checkpoints

    def _rollouts(self) -> dict[str, Any]:
        return {**super()._rollouts(), "guided_slots": self._sgpo.guided_slots}

    def _restore_rollouts(self, saved: dict[str, Any]) -> None:
        super()._restore_rollouts(saved)
        self._sgpo.guided_slots = saved.get("guided_slots", [])  # older checkpoints have none
