"""Hybrid Post-Training (HPT, arXiv 2509.04419) as a thin subclass of TRL's GRPOTrainer: a baseline of SGPO.

A problem of which no more than ``gate`` rollouts are correct trains by SFT on its expert response; every other one by
GRPO. Once rewards are known, the expert response takes the row of the group's first rollout, and the advantages of
the group become 0: each micro-step has as many rows as before, on every rank. See :mod:`sgpo.objectives.baselines`
for the maths and ``docs/baselines.md`` for what is published.

Shapes: B problems and G rollouts of each on this rank, N rows of a micro-step, T completion tokens.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sgpo.objectives.baselines import hpt_gate, sft_loss
from sgpo.trainer import papers
from sgpo.trainer.base_config import argument
from sgpo.trainer.expert import ExpertConfig, ExpertTrainer
from sgpo.trainer.own import swapped
from sgpo.trainer.rollouts import Problem, first_of_groups

# Per-token tensors of a batch, and what stands in them at an expert response, which has no sampler: an importance
# ratio of p <= 1 under an advantage of 0, and no correction of it.
_FILL = {"old_per_token_logps": 0.0, "sampling_per_token_logps": 0.0, "importance_sampling_ratio": 1.0}


@dataclass
class HPTConfig(ExpertConfig):
    """Arguments of :class:`sgpo.HPTTrainer`: TRL's ``GRPOConfig``, with the defaults of HPT's public script."""

    gate: int = argument(
        0, "A problem with at most this many correct rollouts trains by SFT. (Scripts: Qwen 0, Llama 2.)"
    )
    sft_coef: float = argument(1.0, "Factor on the SFT loss. (Scripts: 1.0, and 0.3 for Qwen2.5-Math-1.5B.)")
    correctness_reward: str | None = argument(
        None, "Name of the reward function that decides whether a rollout is correct. None: the first one."
    )
    correctness_threshold: float = argument(0.5, "A rollout is correct when its correctness reward exceeds this.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.gate <= self.num_generations:
            raise ValueError(
                f"gate is {self.gate}, but counts correct ones of num_generations = {self.num_generations} rollouts. "
                f"Use 0 to {self.num_generations}."
            )
        if self.beta != 0.0:
            raise ValueError(
                f"beta is {self.beta}, but HPT has no KL to a reference model (its public script: use_kl_loss=False), "
                "and an expert response has no reference log-probabilities here. Set beta=0.0."
            )


class HPTTrainer(ExpertTrainer):
    """Drop-in for ``trl.GRPOTrainer`` on a dataset with columns ``prompt``, ``expert`` and what the rewards need.

    Logs under ``hpt/``: ``sft_share`` (problems on SFT), ``pass_rate`` of the rollouts, ``nll`` (mean over the expert
    tokens, nats), and ``added_tokens``, by which expert responses of a generation batch are longer than the rollouts in
    whose place they are trained on. TRL's entropy, and its bonus, are over the rows that were trained on.
    """

    _tag_names = ("trl", "hpt")
    _name = "HPT"
    _paper = papers.HPT
    config_class = HPTConfig

    def _generate_and_score_completions(self, inputs: list[Problem]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        if not self.model.training:
            return output
        assert self._sgpo.rewards is not None
        size = self.num_generations
        problems = first_of_groups(inputs, size)
        correct = self._correct(self._sgpo.rewards).view(-1, size)
        by_sft = hpt_gate(correct, self.args.gate)
        experts = {b * size: self._expert_ids(problems[b]) for b in by_sft.nonzero().flatten().tolist()}
        put_experts(output, experts, self._tokenizer.pad_token_id, self.pad_to_multiple_of or 1)
        output["advantages"] = output["advantages"].masked_fill(by_sft.repeat_interleave(size), 0.0)
        self._show_advantages(output["advantages"])
        means = {"sft_share": (by_sft.sum(), len(problems)), "pass_rate": (correct.sum(), correct.numel())}
        added = output["completion_mask"].sum() - output["sampled_tokens"].sum()
        self._record("hpt", means, added_tokens=added)
        return output

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        if not self.model.training:
            return super()._compute_loss(model, inputs)
        if self.loss_type == "bnpo" and "sampled_tokens" in inputs:  # older checkpoints have none
            # TRL divides by the tokens of the rows at hand. Those of an expert response are no rollout's, and a long
            # one would weaken GRPO on the problems beside it. An advantage is a factor of the loss, as `beta` is 0.
            share = inputs["completion_mask"].sum() / inputs["sampled_tokens"].sum().clamp(min=1)
            inputs = {**inputs, "advantages": inputs["advantages"] * share}
        with swapped(self._sgpo, expert_rows=inputs["expert"]):
            loss = super()._compute_loss(model, inputs)
        logps = self._last_logps()
        # DDP and FSDP average gradients over ranks, so the number of problems is that of one rank.
        problems = logps.size(0) * self.current_gradient_accumulation_steps / self.num_generations
        weights = inputs["expert"].to(logps.dtype) * self.args.sft_coef
        term, sums = sft_loss(logps, inputs["completion_mask"].bool(), weights, normalizer=problems)
        self._record("hpt", {"nll": (sums["nll"], sums["tokens"])})
        return loss + term


def put_experts(batch: dict[str, Any], experts: dict[int, list[int]], pad_token_id: int, multiple: int) -> None:
    """Write expert responses (row -> ids) over the completions of ``batch``, in place, and mark them in ``"expert"``.

    ``"sampled_tokens"`` keeps how many tokens of each row trained before, which is what GRPO's loss is a mean over.
    Completions are right-padded; the batch grows where an expert response is longer, to a multiple of ``multiple``.
    """
    width = batch["completion_ids"].size(1)
    longest = max([width, *map(len, experts.values())])
    extra = 0 if longest == width else -(-longest // multiple) * multiple - width
    present = {name: value for name, value in _FILL.items() if batch.get(name) is not None}
    for name, value in {"completion_ids": pad_token_id, "completion_mask": 0, **present}.items():
        if batch[name].size(1) == width:  # not a ratio of whole sequences, [N, 1]
            batch[name] = F.pad(batch[name], (0, extra), value=value)
    ids, mask = batch["completion_ids"], batch["completion_mask"]
    batch["expert"] = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
    batch["sampled_tokens"] = mask.sum(dim=1)
    for row, tokens in experts.items():
        ids[row], mask[row], batch["expert"][row] = pad_token_id, 0, True
        ids[row, : len(tokens)] = torch.tensor(tokens, dtype=ids.dtype, device=ids.device)
        mask[row, : len(tokens)] = 1
        for name, value in present.items():
            batch[name][row] = value
