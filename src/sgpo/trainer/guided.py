"""Guided rollouts beside TRL's autonomous ones, sampled and verified, with no trace in what GRPO sees.

Three ways to sample them (``SGPOConfig.guided_rollouts``): in ONE generation call with the autonomous ones; on
demand, in a second call for the problems that can still gain from guidance, once the autonomous rewards are known; or
in a second call for some of those, drawn by the weight that they are expected to get (:mod:`sgpo.trainer.schedule`).
Given the same samples the first two train the same, and the third does in expectation; but the order of the calls is
another one, so the random numbers are too.

``GuidedRolloutTrainer`` knows nothing of distillation: after each generation batch it hands a
:class:`GenerationBatch` to ``_use_rollouts``, which a trainer that does something with it overrides.

Shapes: B problems of this rank's generation batch, G1 autonomous and G2 guided rollouts of each, R guided rows.
"""

import math
from typing import Any

import torch
from torch import Tensor

from sgpo.data.prompts import guided_prompt
from sgpo.trainer import checks
from sgpo.trainer.base import BaseTrainer
from sgpo.trainer.config import SGPOConfig
from sgpo.trainer.own import swapped
from sgpo.trainer.ranks import largest
from sgpo.trainer.rollouts import GenerationBatch, GuidedRollouts, Problem, first_of_groups, worth_guiding
from sgpo.trainer.trl_seam import is_conversational, parse_response


class GuidedRolloutTrainer(BaseTrainer):
    """``GRPOTrainer`` that also samples from ``pi(.|q,s)``, while ``args.guides``."""

    args: SGPOConfig

    def _own_columns(self) -> list[str]:
        return [checks.STRATEGY_COLUMN]

    def _use_rollouts(self, batch: GenerationBatch) -> None:
        """Called once per generation batch."""
        raise NotImplementedError

    def _prompts_of(self, problem: Problem) -> list[Any]:
        guided = self.args.guides and checks.strategy_of(problem)
        return [*super()._prompts_of(problem), *([self._guided_text(problem)] if guided else [])]

    # ---------------------------------------------------------------- rollouts

    def _generate_and_score_completions(self, inputs: list[Problem]) -> dict[str, Any]:
        # An evaluation samples without strategies: where the model will be used there are none.
        if self._sgpo.replayed is not None or not (self.model.training and self.args.guides):
            return super()._generate_and_score_completions(inputs)
        problems = first_of_groups(inputs, self.num_generations)
        for i, problem in enumerate(problems):
            checks.require_text(problem.get(checks.STRATEGY_COLUMN), i)
        checks.check_marks(problems, self._tokenizer)  # rows of a stream were not seen before
        with_strategy = [i for i, problem in enumerate(problems) if checks.strategy_of(problem)]
        batch = GenerationBatch(problems, with_strategy)
        on_demand = self.args.guided_on_demand
        if not on_demand:
            batch.guided = self._guided_prompts(problems, with_strategy)
        # TRL calls `_generate_single_turn` in the course of this, and tells it nothing of the batch.
        with swapped(self._sgpo, batch=batch):
            output = batch.scored = super()._generate_and_score_completions(inputs)
        batch.rewards = self._sgpo.rewards
        assert batch.rewards is not None
        batch.correct = self._correct(batch.rewards).view(-1, self.num_generations)
        if on_demand:
            batch.guided = self._sampled_on_demand(batch)
        batch.guided.correct = self._guided_correct(problems, batch.guided)
        self._use_rollouts(batch)
        return output

    def _sampled_on_demand(self, batch: GenerationBatch) -> GuidedRollouts:
        args = self.args
        # The schedule's draw respects `max_guided_problems` by itself. Keeping only the hardest problems would bias it.
        most = args.max_guided_problems if self._sgpo.schedule is None else None
        chosen = worth_guiding(batch.pass_rate.tolist(), batch.with_strategy, args.guided_rollouts_below, most)
        if self._sgpo.schedule is not None:
            step, rank = self.state.global_step, self.accelerator.process_index
            chosen = self._sgpo.schedule.draw(batch, chosen, step, rank)
        guided = self._guided_prompts(batch.problems, chosen)
        if guided.prompt_ids:  # on every rank or on none, as all have equally many
            guided.completion_ids, guided.logprobs = super()._generate_single_turn(
                guided.prompt_ids, None, {}, args.num_guided_generations
            )
        return guided

    def _guided_prompts(self, problems: list[Problem], owners: list[int]) -> GuidedRollouts:
        """The guided rows of this rank: G2 for each problem in ``owners``, as many as on the fullest rank."""
        valid = len(owners)
        # Problem 0 stands in, with or without a strategy: the one problem that every rank surely has.
        owners = owners + [0] * (largest(self.accelerator, valid) - valid)
        texts = [self._guided_text(problems[i]) for i in owners]
        ids = self._tokenize_prompts(texts)[0] if texts else []
        copies = self.args.num_guided_generations
        return GuidedRollouts(
            owners=[i for i in owners for _ in range(copies)],
            valid_rows=valid * copies,
            prompt_ids=[row for row in ids for _ in range(copies)],
        )

    def _guided_text(self, problem: Problem) -> Any:
        return guided_prompt(problem["prompt"], checks.strategy_of(problem), self.args.guided_prompt_template)

    def _generate_single_turn(
        self, prompt_ids: list[list[int]], images: Any, multimodal_fields: Any, num_generations: int, *args: Any
    ) -> tuple[list[list[int]], list[list[float]] | None]:
        if self._sgpo.replayed is not None:
            return self._sgpo.replayed.completion_ids, self._sgpo.replayed.logprobs
        if self._sgpo.batch is None:
            return super()._generate_single_turn(prompt_ids, images, multimodal_fields, num_generations, *args)
        guided = self._sgpo.batch.guided
        # A server samples each run of `stride` equal prompts at once, so the stride must divide both group sizes.
        stride = math.gcd(num_generations, self.args.num_guided_generations) if guided.prompt_ids else num_generations
        # In one call: with vLLM in sleep mode a second one would take all weights anew.
        completion_ids, logprobs = super()._generate_single_turn(
            list(prompt_ids) + guided.prompt_ids, images, multimodal_fields, stride, *args
        )
        split = len(prompt_ids)
        guided.completion_ids = completion_ids[split:]
        guided.logprobs = None if logprobs is None else logprobs[split:]
        self._sgpo.batch.completion_ids = completion_ids[:split]
        # TRL has repeated each prompt, once for each rollout of its group.
        self._sgpo.batch.prompt_ids = [list(ids) for ids in prompt_ids[:: self.num_generations]]
        return completion_ids[:split], None if logprobs is None else logprobs[:split]

    # ---------------------------------------------------------------- verdicts

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any) -> Tensor:
        if self._sgpo.replayed is not None:
            assert self._sgpo.replayed.rewards is not None
            return self._sgpo.replayed.rewards
        return super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)

    def _guided_correct(self, problems: list[Problem], guided: GuidedRollouts) -> Tensor:
        """Verdict on each guided completion, ``[R]``; the rewards see the problem as it is, without strategy."""
        if not guided.owners:
            return torch.zeros(0, dtype=torch.bool, device=self.accelerator.device)
        inputs = [problems[i] for i in guided.owners]
        prompts = [problem["prompt"] for problem in inputs]
        # Of the prompt alone, as TRL asks it: columns such as `completion` or `messages` may have the other form.
        completions = self._guided_completions(guided, is_conversational({"prompt": prompts[0]}))
        rewards = self._rewards_apart(inputs, prompts, completions, guided.completion_ids)
        self._require_finite_or_none(rewards)
        guided.rewards = rewards
        correct = self._correct(self._local(rewards, len(prompts)))
        correct[guided.valid_rows :] = False
        return correct

    def _guided_completions(self, guided: GuidedRollouts, conversational: bool) -> list[Any]:
        """Text or messages, read as TRL reads the autonomous ones."""
        if conversational and any(getattr(self._tokenizer, f"response_{how}", None) for how in ("template", "schema")):
            pairs = zip(guided.completion_ids, guided.prompt_ids, strict=True)
            return [[parse_response(self._tokenizer, ids, prefix=prompt)] for ids, prompt in pairs]
        texts = self.processing_class.batch_decode(guided.completion_ids, skip_special_tokens=True)
        return [[{"role": "assistant", "content": t}] for t in texts] if conversational else texts
