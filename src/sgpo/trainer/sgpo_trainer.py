"""SGPOTrainer: Strategy-Guided Policy Optimization (arXiv 2606.24064) as a thin subclass of TRL's GRPOTrainer.

What it adds to GRPO, for each problem ``q`` with a strategy ``s``:

1. beside the G1 autonomous rollouts from ``pi(.|q)``, G2 guided ones from ``pi(.|q,s)``;
2. of the correct guided rollouts, the one the unguided policy finds likeliest becomes the target ``y``;
3. the loss gains ``alpha(q) * mean_t clip(KL_t)``, where ``KL_t`` is the divergence between the guided and the
   unguided policy at token ``t`` of ``y``, with gradient through the unguided side only, and ``alpha(q)`` follows
   from the two pass rates.

GRPO sees the autonomous group alone: prompts, advantages, metrics and padding of TRL stay what they are. With
``num_iterations > 1`` both terms are used again in every iteration, as both belong to the loss of the problem.

Shapes: B problems of this rank's generation batch, G1/G2 rollouts, R guided rows, N targets of a micro-step,
T completion tokens, H hidden.
"""

from contextlib import nullcontext
from dataclasses import astuple
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sgpo.models.scoring import without_dropout
from sgpo.objectives import (
    Divergence,
    Head,
    Kernel,
    Rows,
    distillation_loss,
    fused_linear_distillation_loss,
    rank_targets,
    trimmed_logps,
)
from sgpo.trainer import checks, papers
from sgpo.trainer.config import SGPOConfig
from sgpo.trainer.distillation import Target, TargetBatch, collate, completions_behind, deal
from sgpo.trainer.finite import group_rows, require_finite_loss, target_rows
from sgpo.trainer.guided_group import GuidedGroupTrainer
from sgpo.trainer.metrics import DistillationSums, log_ratio, rollout_metrics
from sgpo.trainer.problem_log import ProblemLog
from sgpo.trainer.ranks import largest
from sgpo.trainer.rollouts import Candidates, GenerationBatch, first_of_equals
from sgpo.trainer.schedule import GuidedSchedule
from sgpo.trainer.shards import sharded
from sgpo.trainer.teacher import TeacherWeights


class SGPOTrainer(GuidedGroupTrainer):
    """Drop-in for ``trl.GRPOTrainer`` on a dataset with columns ``prompt``, ``strategy`` and what the rewards need.

    A problem whose strategy is None or blank trains by GRPO alone. ``SGPOConfig(alpha_form="constant", alpha_0=0)``
    is TRL's GRPO to the bit, and needs no strategies.
    """

    _tag_names = ("trl", "sgpo")
    _name = "SGPO"
    _paper = papers.SGPO

    config_class = SGPOConfig

    def _check_before_loading(self, args: SGPOConfig, train_dataset: Any, *, peft: bool) -> None:
        checks.check_arguments(args, peft=peft)
        checks.check_dataset(train_dataset, args)

    def _complete(self) -> None:
        args = self.args
        ranks = self.accelerator.process_index, self.accelerator.num_processes
        self._sgpo.problem_log = ProblemLog(args.output_dir, *ranks) if args.log_problems else None
        if args.guides:
            checks.check_marks(chain.from_iterable(self._chunks(self.train_dataset)), self._tokenizer)
        if args.guided_rollouts == "by_weight" and args.guides:
            self._sgpo.schedule = GuidedSchedule(args)
        if args.distills and args.teacher != "live":
            decay = args.teacher_ema_decay if args.teacher == "ema" else 1.0
            self._sgpo.teacher = TeacherWeights(self.accelerator.unwrap_model(self.model), decay, sharded=sharded(args))
            self.add_callback(self._sgpo.teacher)

    def _before_training(self) -> None:
        super()._before_training()
        self._sgpo.slots, self._sgpo.guided_slots, self._sgpo.sums = [], [], DistillationSums()

    # ---------------------------------------------------------------- targets

    def _use_rollouts(self, batch: GenerationBatch) -> None:
        """Weigh each problem, select its target, and deal the targets over the micro-steps."""
        super()._use_rollouts(batch)
        args = self.args
        p_guided = batch.guided.pass_rate(len(batch.problems))
        alpha = args.alpha(batch.pass_rate, p_guided)
        capped = alpha >= args.alpha_max
        if self._sgpo.schedule is not None:
            # Every rank calls this, even one that guided nothing, because `learn` gathers over all ranks.
            self._sgpo.schedule.learn(batch.problems, p_guided)
            if batch.guiding_probability is not None:
                # The quotient may exceed alpha_max. Capping it would bias the gradient, which in expectation is that of
                # guiding every problem.
                alpha = alpha / batch.guiding_probability
        chosen = self._targets(batch, alpha)
        targets = [target for several in chosen.values() for target in several]
        if self._sgpo.problem_log is not None:
            self._sgpo.problem_log.write(self.state.global_step + 1, batch, p_guided, alpha, chosen)
        metrics = rollout_metrics(
            self.accelerator,
            batch,
            p_guided,
            alpha,
            capped=capped,
            copies=args.num_guided_generations,
            targets=len(targets),
            targets_truncated=sum(not self._ended(target.completion_ids) for target in targets),
        )
        # TRL counted the autonomous tokens before it gave the batch back, and logged their number.
        self.state.num_input_tokens_seen += int(metrics["guided_tokens"] + metrics.pop("guided_prompt_tokens"))
        self._metrics["train"]["num_tokens"] = [self.state.num_input_tokens_seen]
        self._record(metrics)
        most = largest(self.accelerator, len(targets))
        pad_id = self._tokenizer.pad_token_id
        # A row that weighs nothing, and that the model can read: a rank may have no target of its own.
        first = batch.prompt_ids[0][:1]
        dummy = Target(first, first, [pad_id], 0.0)
        steps = args.steps_per_generation
        # An optimizer step may span several generation batches; the targets of one stay in its own micro-steps.
        self._sgpo.slots = deal(targets, dummy, most, steps, min(self.current_gradient_accumulation_steps, steps))

    def _targets(self, batch: GenerationBatch, alpha: Tensor) -> dict[int, list[Target]]:
        """The targets of each problem (0..B-1) that has any; they share its weight in ``alpha``, ``[B]``."""
        args = self.args
        found = self._candidates(batch, alpha)
        eligible, width = found.eligible, found.eligible.size(1)
        if args.num_targets > 1:  # two copies of one response would be one target
            eligible &= first_of_equals(found.completion_ids, found.owners).to(alpha.device).view(-1, width)
        # A likelihood is needed only where there is a choice; every rank scores as many rows as the fullest.
        contested = eligible & (eligible.sum(1, keepdim=True) > args.num_targets)
        rows = [] if args.target_selection == "random" else contested.flatten().nonzero().flatten().tolist()
        logps = torch.zeros(len(found.owners), dtype=torch.float32, device=alpha.device)
        logps[rows] = self._unguided_logps(batch, found, rows)
        lengths = torch.tensor([len(ids) for ids in found.completion_ids], dtype=torch.long, device=alpha.device)
        ranked = rank_targets(
            logps.view(-1, width), eligible, lengths.view(-1, width), count=args.num_targets, mode=args.target_selection
        ).tolist()
        chosen = {}
        for group, columns in enumerate(ranked):
            picks = [group * width + j for j in columns if j >= 0]
            if picks:
                i = found.owners[picks[0]]
                # The targets of a problem share its weight: with more of them the problem counts no more.
                prompt, weight = batch.prompt_ids[i], float(alpha[i]) / len(picks)
                chosen[i] = [
                    Target(prompt, found.guided_prompt_ids[row], found.completion_ids[row], weight) for row in picks
                ]
        return chosen

    def _candidates(self, batch: GenerationBatch, alpha: Tensor) -> Candidates:
        """Correct guided responses, or autonomous ones where ``target_source`` says so, with a weight in ``alpha``."""
        args, guided = self.args, batch.guided
        width = args.num_guided_generations
        assert guided.correct is not None
        owners, prompts, completions = guided.owners, guided.prompt_ids, guided.completion_ids
        eligible = guided.correct
        if args.target_source == "autonomous":
            groups = owners[: guided.valid_rows : width]
            width = self.num_generations
            rows = [i * width + j for i in groups for j in range(width)]
            prompts = [ids for ids in prompts[: guided.valid_rows : args.num_guided_generations] for _ in range(width)]
            owners, completions = [row // width for row in rows], [batch.completion_ids[row] for row in rows]
            eligible = torch.ones(len(rows), dtype=torch.bool, device=alpha.device)
        owner = torch.tensor(owners, dtype=torch.long, device=alpha.device)
        eligible = self._preferred((eligible & (alpha[owner] > 0)).view(-1, width), completions)
        return Candidates(owners, prompts, completions, eligible)

    def _preferred(self, eligible: Tensor, completion_ids: list[list[int]]) -> Tensor:
        """Keep, of the responses that may become targets (``[B, G2]`` bool), those that came to an end.

        One that was cut off teaches no end. It is left only to a problem without another, and not even to that under
        ``mask_truncated_completions``, where GRPO trains on none either.
        """
        ended = torch.tensor([self._ended(ids) for ids in completion_ids], dtype=torch.bool, device=eligible.device)
        whole = eligible & ended.view_as(eligible)
        if self.args.mask_truncated_completions:
            return whole
        if self.args.target_source == "autonomous":  # the guided side says how to go on, whether it ended or not
            return eligible
        return torch.where(whole.any(1, keepdim=True), whole, eligible)

    def _ended(self, completion_ids: list[int]) -> bool:
        """Whether a completion came to an end, by TRL's rule for the autonomous ones."""
        ends = [*self.eos_token_ids, self._tokenizer.pad_token_id]
        return bool(completion_ids) and completion_ids[-1] in ends

    @torch.no_grad()
    def _unguided_logps(self, batch: GenerationBatch, found: Candidates, rows: list[int]) -> Tensor:
        """Summed log-probability of some candidates under ``pi(.|q)``, ``[len(rows)]``, or their trimmed mean.

        The sampler's own log-probabilities cannot stand in: it had the strategy in its prompt.
        """
        most = largest(self.accelerator, len(rows))
        if most == 0:
            return torch.zeros(0, device=self.accelerator.device)
        pad_id, fill = self._tokenizer.pad_token_id, most - len(rows)
        prompts = [batch.prompt_ids[found.owners[row]] for row in rows] + [batch.prompt_ids[0][:1]] * fill
        completions = [found.completion_ids[row] or [pad_id] for row in rows] + [[pad_id]] * fill
        ids, attention_mask, mask = completions_behind(prompts, completions, pad_id, self.accelerator.device)
        with without_dropout(self.model):
            logps, _, _ = self._get_per_token_logps_and_entropies(
                self.model, ids, attention_mask, mask.size(1), batch_size=self.args.per_device_train_batch_size
            )
        likelihoods = trimmed_logps(logps, mask) if self.args.target_selection == "trimmed" else (logps * mask).sum(1)
        return likelihoods[: len(rows)].float()

    # ---------------------------------------------------------------- loss

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        if not self.model.training:
            return super()._compute_loss(model, inputs)
        # TRL takes its own rows of the generation batch by the same number.
        targets = self._sgpo.slots[self._step % self.args.steps_per_generation] if self._sgpo.slots else []
        target_batch, teacher_hidden, token_kl = None, None, None
        if targets:
            target_batch = collate(targets, self._tokenizer.pad_token_id, self.accelerator.device)
            if self.args.distillation_loss == "kl":
                # Before GRPO's forward: a teacher of its own changes places with weights that no graph may hold yet.
                teacher_hidden = self._teacher_hidden(model, target_batch)
        loss = super()._compute_loss(model, inputs)
        logps, guided_logps = self._last_logps().detach(), None
        self._record({"log_ratio": log_ratio(self.accelerator, logps, inputs)})
        self._record({"entropy": self._metrics["train"]["entropy"][-1]})
        # Not multiplied by 1: GRPO's loss stays TRL's to the bit, and so do its gradients.
        if self.args.grpo_weight != 1.0:
            loss = loss * self.args.grpo_weight
        if guided := self._guided_rows():
            loss = loss + self.args.guided_grpo_weight * self._guided_loss(model, guided)
            guided_logps = self._last_logps().detach()
        if target_batch is not None:
            term, sums = self._distillation(model, target_batch, teacher_hidden)
            loss = loss + term
            self._sgpo.sums.add(sums)
            token_kl = sums.get("token_kl")
        if self.accelerator.sync_gradients:
            self._record(self._sgpo.sums.flush(self.accelerator))
        rows = chain(
            group_rows("autonomous", inputs, logps, self._tokenizer),
            group_rows("guided", guided, guided_logps, self._tokenizer),
            target_rows(targets, token_kl, self._tokenizer),
        )
        step = self.state.global_step + 1
        require_finite_loss(self.accelerator, loss.detach(), rows, step=step, output_dir=self.args.output_dir)
        return loss

    @torch.no_grad()
    def _teacher_hidden(self, model: Any, target_batch: TargetBatch) -> Tensor:
        """Hidden states of the guided side, ``[N, T, H]``, without dropout; see ``SGPOConfig.teacher``."""
        length = target_batch.mask.size(1)
        with without_dropout(model), self._sgpo.teacher.in_place() if self._sgpo.teacher else nullcontext():
            return model(
                input_ids=target_batch.teacher_ids,
                attention_mask=target_batch.teacher_mask,
                # The state at a token predicts the next one, so the first of these is of the prompt's last token.
                head_fn=lambda hidden, head: hidden[:, -length - 1 : -1],
            )

    def _distillation(
        self, model: Any, target_batch: TargetBatch, teacher_hidden: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """``sum_q alpha(q) * L_KD(q)`` over this micro-step, divided by the problems of the optimizer step.

        DDP and FSDP average gradients over ranks, so the number is that of one rank.
        """
        length = target_batch.mask.size(1)
        rollouts = self.args.per_device_train_batch_size * self.current_gradient_accumulation_steps
        # Divided here and nowhere else: TRL tells the Trainer that its loss already carries the accumulation.
        normalizer = rollouts / self.num_generations
        if teacher_hidden is None:  # distillation_loss="sft"
            ids, mask = target_batch.student_ids, target_batch.student_mask
            logps, _, _ = self._get_per_token_logps_and_entropies(model, ids, mask, length)
            return distillation_loss(-logps, target_batch.mask, target_batch.weights, normalizer=normalizer, clip=None)
        kl = self._divergence()
        kernel = Kernel(chunk_size=self.args.kl_chunk_size, tolerance=self.args.kl_gradient_tolerance)

        def head_fn(hidden: Tensor, head: Head) -> tuple[Tensor, dict[str, Tensor]]:
            guide, guide_weight = teacher_hidden, None
            if self._sgpo.teacher is not None:
                guide, guide_weight = self._sgpo.teacher.head(guide)
            rows = Rows(
                student_hidden=hidden[:, -length - 1 : -1],
                teacher_hidden=guide,
                mask=target_batch.mask,
                weights=target_batch.weights,
                normalizer=normalizer,
                teacher_weight=guide_weight,
            )
            found = fused_linear_distillation_loss(rows, head, kl, kernel)
            return found.loss, {**found.sums, "token_kl": found.token_kl}

        return model(input_ids=target_batch.student_ids, attention_mask=target_batch.student_mask, head_fn=head_fn)

    def _divergence(self) -> Divergence:
        """The KL of this step: ``teacher_mix`` may fall over the run."""
        args, left = self.args, 1 - self.state.global_step / self.state.max_steps
        return Divergence(
            args.kl_direction,
            self.temperature,
            args.kl_clip,
            args.kl_clip_form,
            teacher_temperature=args.teacher_temperature,
            teacher_mix=args.teacher_mix * (left if args.teacher_mix_schedule == "linear" else 1),
        )

    # ---------------------------------------------------------------- checkpoints

    def _save_state(self, directory: Path) -> None:
        super()._save_state(directory)
        if self._sgpo.teacher is not None:
            self._sgpo.teacher.save(directory, write=self.args.should_save)
        if self._sgpo.schedule is not None and self.args.should_save:
            self._sgpo.schedule.save(directory)

    def _load_state(self, directory: Path) -> None:
        super()._load_state(directory)
        if self._sgpo.teacher is not None:
            self._sgpo.teacher.load(directory)
        if self._sgpo.schedule is not None:
            self._sgpo.schedule.load(directory)
        if self._sgpo.problem_log is not None:
            self._sgpo.problem_log.rewind(self.state.global_step)

    def _rollouts(self) -> dict[str, Any]:
        return {**super()._rollouts(), "slots": [[astuple(target) for target in slot] for slot in self._sgpo.slots]}

    def _restore_rollouts(self, saved: dict[str, Any]) -> None:
        super()._restore_rollouts(saved)
        self._sgpo.slots = [[Target(*fields) for fields in slot] for slot in saved["slots"]]
