"""SGPOTrainer: Strategy-Guided Policy Optimization (arXiv 2606.24064) as a thin subclass of TRL's GRPOTrainer.

What it adds to GRPO, for each problem ``q`` with a strategy ``s``:

1. beside the G1 autonomous rollouts from ``pi(.|q)``, G2 guided ones from ``pi(.|q,s)``, in the same generation call;
2. of the correct guided rollouts, the one the unguided policy finds likeliest becomes the target ``y``;
3. the loss gains ``alpha(q) * mean_t clip(KL_t)``, where ``KL_t`` is the divergence between the guided and the
   unguided policy at token ``t`` of ``y``, with gradient through the unguided side only, and ``alpha(q)`` follows
   from the two pass rates.

GRPO sees the autonomous group alone: prompts, advantages, metrics and padding of TRL stay what they are. With
``num_iterations > 1`` both terms are used again in every iteration, as both belong to the loss of the problem.

Shapes: B problems of this rank's generation batch, G1/G2 rollouts, R guided rows, N targets of a micro-step,
T completion tokens, H hidden.
"""

import math
import os
from collections import defaultdict
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from accelerate.utils import is_peft_model
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from trl import GRPOTrainer
from trl.chat_template_utils import parse_response
from trl.data_utils import is_conversational
from trl.trainer.utils import get_config_model_id

from sgpo.data.prompts import guided_prompt
from sgpo.objectives import (
    adaptive_weight,
    distillation_loss,
    fused_linear_distillation_loss,
    select_targets,
)
from sgpo.trainer import checks
from sgpo.trainer.config import SGPOConfig
from sgpo.trainer.distillation import Share, Target, collate, deal
from sgpo.trainer.heads import Head, add_head_fn
from sgpo.trainer.metrics import DistillationSums, log_ratio, rollout_metrics
from sgpo.trainer.rollouts import GuidedRollouts, first_of_groups, pass_rates
from sgpo.trainer.teacher import TeacherWeights, without_dropout


class SGPOTrainer(GRPOTrainer):
    """Drop-in for ``trl.GRPOTrainer`` on a dataset with columns ``prompt``, ``strategy`` and what the rewards need.

    A problem whose strategy is None or blank trains by GRPO alone. ``SGPOConfig(alpha_form="constant", alpha_0=0)``
    is TRL's GRPO to the bit, and needs no strategies.

    Raises:
        ValueError: before any training, for settings and data that cannot work (see :mod:`sgpo.trainer.checks`).
    """

    _tag_names = ("trl", "sgpo")
    _name = "SGPO"
    args: SGPOConfig

    def __init__(
        self,
        model: "str | PreTrainedModel | Any",
        reward_funcs: Callable[..., Any] | list[Callable[..., Any]] | Any,
        args: SGPOConfig | None = None,
        train_dataset: Any = None,
        processing_class: PreTrainedTokenizerBase | None = None,
        **kwargs: Any,
    ):
        if args is None:
            name = model if isinstance(model, str) else get_config_model_id(model.config)
            args = SGPOConfig(f"{name.split('/')[-1]}-SGPO")
        unsupported = {k: kwargs.get(k) for k in ("rollout_func", "tools", "environment_factory")}
        peft = kwargs.get("peft_config") is not None or (not isinstance(model, str) and is_peft_model(model))
        checks.check_arguments(args, processing_class, unsupported, peft=peft)
        if args.distills:
            checks.check_dataset(train_dataset, args)
        super().__init__(
            model,
            reward_funcs,
            args=args,
            train_dataset=train_dataset,
            processing_class=processing_class,
            **kwargs,
        )
        self._guided: GuidedRollouts | None = None  # set while a merged generation call is under way
        self._slots: list[list[Target]] = []  # targets of each micro-step until the next generation
        self._sums = DistillationSums()  # of the current optimizer step
        self._logps: Tensor | None = None  # per-token log-probabilities of the last forward, for metrics
        self._teacher: TeacherWeights | None = None
        self._correctness = self._correctness_index()
        if args.distills:
            checks.check_context(self.train_dataset, self.model, self._tokenizer, args, self._tokenize_prompts)
            add_head_fn(self.model.get_base_model() if is_peft_model(self.model) else self.model)
            if args.teacher != "live":
                decay = args.teacher_ema_decay if args.teacher == "ema" else 1.0
                self._teacher = TeacherWeights(self.accelerator.unwrap_model(self.model), decay)
                self.add_callback(self._teacher)

    # ---------------------------------------------------------------- before training

    def train(self, resume_from_checkpoint: str | os.PathLike[str] | bool | None = None, **kwargs: Any) -> Any:
        """As ``Trainer.train``, after a probe of the rewards and of the checkpoint to resume from."""
        if isinstance(resume_from_checkpoint, str | os.PathLike):
            resume_from_checkpoint = os.fspath(resume_from_checkpoint)
            checks.check_checkpoint(resume_from_checkpoint, self.args.output_dir)
        self._probe_rewards()
        return super().train(resume_from_checkpoint=resume_from_checkpoint, **kwargs)

    def _correctness_index(self) -> int:
        name = self.args.correctness_reward
        if name is None:
            return 0
        if name not in self.reward_func_names:
            raise ValueError(
                f"correctness_reward is {name!r}, but the reward functions are {self.reward_func_names}. "
                "Name one of them, or leave it None for the first."
            )
        return self.reward_func_names.index(name)

    def _probe_rewards(self) -> None:
        """Call the rewards once, on an empty completion of the first problem: they must work before training."""
        example = next(iter(self.train_dataset))
        completion: Any = [{"role": "assistant", "content": ""}] if is_conversational(example) else ""
        try:
            rewards = self._rewards_apart([example], [example["prompt"]], [completion], [[]])
        except Exception as error:
            raise ValueError(
                f"A reward function failed on an empty completion of the first problem: {type(error).__name__}: "
                f"{error}. It must return one number per completion, whatever the policy writes."
            ) from error
        if not rewards[:, self._correctness].isfinite().all():
            raise ValueError(
                f"The reward function {self.reward_func_names[self._correctness]!r} decides what is correct, but it "
                f"returned None, NaN or infinity for an empty completion of the first problem. Return a number, 0.0 "
                "for a response that is not correct, or name another one in correctness_reward."
            )

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        if checks.STRATEGY_COLUMN not in self._signature_columns:
            self._signature_columns.append(checks.STRATEGY_COLUMN)

    # ---------------------------------------------------------------- rollouts

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        if not (self.model.training and self.args.distills):
            return super()._generate_and_score_completions(inputs)
        problems = first_of_groups(inputs, self.num_generations)
        self._guided = self._guided_prompts(problems)
        try:
            output = super()._generate_and_score_completions(inputs)
            guided = self._guided
        finally:
            self._guided = None
        self._slots = self._select_targets(problems, guided)
        return output

    def _guided_prompts(self, problems: list[dict[str, Any]]) -> GuidedRollouts:
        """The guided rows of this rank: G2 for each problem with a strategy, as many as on the fullest rank."""
        owners = []
        for i, problem in enumerate(problems):
            checks.check_strategy(problem.get(checks.STRATEGY_COLUMN), i)
            if (problem.get(checks.STRATEGY_COLUMN) or "").strip():
                owners.append(i)
        valid = len(owners)
        owners += [0] * (self._most(valid) - valid)
        texts = [self._guided_text(problems[i]) for i in owners]
        ids = self._tokenize_prompts(texts)[0] if texts else []
        copies = self.args.num_guided_generations
        return GuidedRollouts(
            owners=[i for i in owners for _ in range(copies)],
            valid_rows=valid * copies,
            prompt_ids=[row for row in ids for _ in range(copies)],
        )

    def _guided_text(self, problem: dict[str, Any]) -> Any:
        strategy = (problem[checks.STRATEGY_COLUMN] or "").strip()
        return guided_prompt(problem["prompt"], strategy, self.args.guided_prompt_template)

    def _generate_single_turn(
        self,
        prompt_ids: list[list[int]],
        images: Any,
        multimodal_fields: Any,
        num_generations: int,
        *args: Any,
    ) -> tuple[list[list[int]], list[list[float]] | None]:
        guided = self._guided
        if guided is None:
            return super()._generate_single_turn(prompt_ids, images, multimodal_fields, num_generations, *args)
        guided.unguided_prompt_ids = [list(ids) for ids in prompt_ids[:: self.num_generations]]
        # A server samples each run of `stride` equal prompts at once, so the stride must divide both group sizes.
        stride = math.gcd(num_generations, self.args.num_guided_generations) if guided.prompt_ids else num_generations
        completion_ids, logprobs = super()._generate_single_turn(
            list(prompt_ids) + guided.prompt_ids, images, multimodal_fields, stride, *args
        )
        split = len(prompt_ids)
        guided.completion_ids = completion_ids[split:]
        return completion_ids[:split], None if logprobs is None else logprobs[:split]

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any) -> Tensor:
        rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        if self._guided is not None:
            self._guided.autonomous_rewards = rewards
        return rewards

    def _rewards_apart(self, inputs: Any, prompts: Any, completions: Any, completion_ids: Any) -> Tensor:
        """Rewards ``[rows of this rank, functions]`` that leave no trace in TRL's logs of the autonomous group."""
        kept = self._pending_extra_logs, self._pending_metrics
        self._pending_extra_logs: dict[str, list[Any]] = defaultdict(list)
        self._pending_metrics: dict[str, list[float]] = defaultdict(list)
        try:
            rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids)
        finally:
            self._pending_extra_logs, self._pending_metrics = kept
        return self._local(rewards, len(prompts))

    def _local(self, gathered: Tensor, rows: int) -> Tensor:
        start = self.accelerator.process_index * rows
        return gathered[start : start + rows]

    # ---------------------------------------------------------------- targets

    def _select_targets(self, problems: list[dict[str, Any]], guided: GuidedRollouts) -> list[list[Target]]:
        args, count = self.args, len(problems)
        assert guided.autonomous_rewards is not None
        autonomous = self._correct(self._local(guided.autonomous_rewards, count * self.num_generations))
        correct = self._guided_correct(problems, guided)
        correct[guided.valid_rows :] = False
        owners = guided.owners[: guided.valid_rows]
        p = autonomous.view(count, self.num_generations).float().mean(1)
        p_guided = pass_rates(correct[: guided.valid_rows], owners, count)
        alpha = adaptive_weight(
            p,
            p_guided,
            form=args.alpha_form,
            alpha_0=args.alpha_0,
            gamma=args.alpha_gamma,
            alpha_max=args.alpha_max,
        )
        targets = self._targets(guided, correct, alpha)
        metrics = rollout_metrics(
            self.accelerator, guided, p, p_guided, alpha, alpha_max=args.alpha_max, targets=len(targets)
        )
        self.state.num_input_tokens_seen += int(metrics["guided_tokens"] + metrics.pop("guided_prompt_tokens"))
        self._metrics["train"]["num_tokens"] = [self.state.num_input_tokens_seen]
        self._record(metrics)
        most = self._most(len(targets))
        pad_id = self._tokenizer.pad_token_id
        first = guided.unguided_prompt_ids[0]
        dummy = targets[0].dummy() if targets else Target(first[:1], first[:1], [pad_id], 0.0)
        steps = args.steps_per_generation
        return deal(targets, dummy, most, steps, min(self.current_gradient_accumulation_steps, steps))

    def _correct(self, rewards: Tensor) -> Tensor:
        return rewards[:, self._correctness] > self.args.correctness_threshold  # NaN is not correct

    def _guided_correct(self, problems: list[dict[str, Any]], guided: GuidedRollouts) -> Tensor:
        """Verdict on each guided completion, ``[R]``; the rewards see the problem as it is, without strategy."""
        if not guided.owners:
            return torch.zeros(0, dtype=torch.bool, device=self.accelerator.device)
        inputs = [problems[i] for i in guided.owners]
        prompts = [problem["prompt"] for problem in inputs]
        completions = self._guided_completions(guided, is_conversational(inputs[0]))
        return self._correct(self._rewards_apart(inputs, prompts, completions, guided.completion_ids))

    def _guided_completions(self, guided: GuidedRollouts, conversational: bool) -> list[Any]:
        """Text or messages, read as TRL reads the autonomous ones."""
        if conversational and any(getattr(self._tokenizer, f"response_{how}", None) for how in ("template", "schema")):
            pairs = zip(guided.completion_ids, guided.prompt_ids, strict=True)
            return [[parse_response(self._tokenizer, ids, prefix=prompt)] for ids, prompt in pairs]
        texts = self.processing_class.batch_decode(guided.completion_ids, skip_special_tokens=True)
        return [[{"role": "assistant", "content": t}] for t in texts] if conversational else texts

    def _targets(self, guided: GuidedRollouts, correct: Tensor, alpha: Tensor) -> list[Target]:
        args = self.args
        width = args.num_guided_generations
        owner = torch.tensor(guided.owners, dtype=torch.long, device=correct.device)
        eligible = (correct & (alpha[owner] > 0)).view(-1, width)
        # A likelihood is needed only where there is a choice; every rank scores as many rows as the fullest.
        contested = eligible & (eligible.sum(1, keepdim=True) > 1)
        rows = [] if args.target_selection == "random" else contested.flatten().nonzero().flatten().tolist()
        logps = torch.zeros(len(guided.owners), dtype=torch.float32, device=correct.device)
        scored = self._unguided_logps(guided, rows)
        logps[rows] = scored
        lengths = guided.lengths.to(correct.device)
        chosen = select_targets(
            logps.view(-1, width), eligible, lengths.view(-1, width), mode=args.target_selection
        ).tolist()
        picks = [group * width + j for group, j in enumerate(chosen) if j >= 0]
        return [
            Target(
                guided.unguided_prompt_ids[guided.owners[row]],
                guided.prompt_ids[row],
                guided.completion_ids[row],
                float(alpha[guided.owners[row]]),
            )
            for row in picks
        ]

    @torch.no_grad()
    def _unguided_logps(self, guided: GuidedRollouts, rows: list[int]) -> Tensor:
        """Summed log-probability of guided completions under ``pi(.|q)``, ``[len(rows)]``."""
        most = self._most(len(rows))
        if most == 0:
            return torch.zeros(0, device=self.accelerator.device)
        pad_id = self._tokenizer.pad_token_id
        filled = [
            Target(
                guided.unguided_prompt_ids[guided.owners[row]],
                [pad_id],
                guided.completion_ids[row] or [pad_id],
                0.0,
            )
            for row in rows + [0] * (most - len(rows))
        ]
        share = collate(filled, pad_id, self.accelerator.device)
        with without_dropout(self.model):
            logps, _, _ = super()._get_per_token_logps_and_entropies(
                self.model,
                share.student_ids,
                share.student_mask,
                share.mask.size(1),
                batch_size=self.args.per_device_train_batch_size,
            )
        return (logps * share.mask).sum(1)[: len(rows)].float()

    def _most(self, count: int) -> int:
        """The largest ``count`` over all ranks."""
        if self.accelerator.num_processes == 1:
            return count
        return int(self.accelerator.gather(torch.tensor([count], device=self.accelerator.device)).max())

    # ---------------------------------------------------------------- loss

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        result = super()._get_per_token_logps_and_entropies(*args, **kwargs)
        self._logps = result[0].detach()
        return result

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        if not self.model.training:
            return super()._compute_loss(model, inputs)
        share, teacher_hidden = None, None
        if self._slots and (targets := self._slots[self._step % self.args.steps_per_generation]):
            share = collate(targets, self._tokenizer.pad_token_id, self.accelerator.device)
            if self.args.distillation_loss == "kl":
                teacher_hidden = self._teacher_hidden(model, share)
        loss = super()._compute_loss(model, inputs)
        self._record({"log_ratio": log_ratio(self.accelerator, self._logps, inputs)})
        self._record({"entropy": self._metrics["train"]["entropy"][-1]})
        if self.args.grpo_weight != 1.0:
            loss = loss * self.args.grpo_weight
        if share is not None:
            term, sums = self._distillation(model, share, teacher_hidden)
            loss = loss + term
            self._sums.add(sums)
        if self.accelerator.sync_gradients:
            self._record(self._sums.flush(self.accelerator))
        return loss

    @torch.no_grad()
    def _teacher_hidden(self, model: Any, share: Share) -> Tensor:
        """Hidden states of the guided side, ``[N, T, H]``, without dropout; see ``SGPOConfig.teacher``."""
        length = share.mask.size(1)
        with without_dropout(model), self._teacher.in_place() if self._teacher else nullcontext():
            return model(
                input_ids=share.teacher_ids,
                attention_mask=share.teacher_mask,
                head_fn=lambda hidden, head: hidden[:, -length - 1 : -1],
            )

    def _distillation(
        self, model: Any, share: Share, teacher_hidden: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """``sum_q alpha(q) * L_KD(q)`` over this micro-step, divided by the problems of the optimizer step.

        DDP and FSDP average gradients over ranks, so the number is that of one rank.
        """
        args, length = self.args, share.mask.size(1)
        rollouts = args.per_device_train_batch_size * self.current_gradient_accumulation_steps
        normalizer = rollouts / self.num_generations
        if teacher_hidden is None:  # distillation_loss="sft"
            logps, _, _ = super()._get_per_token_logps_and_entropies(
                model, share.student_ids, share.student_mask, length
            )
            return distillation_loss(-logps, share.mask, share.weights, normalizer=normalizer, clip=None)

        def head_fn(hidden: Tensor, head: Head) -> tuple[Tensor, dict[str, Tensor]]:
            guide, guide_weight = teacher_hidden, None
            if self._teacher is not None:
                guide, guide_weight = self._teacher.head(teacher_hidden, head.weight, head.bias)
            return fused_linear_distillation_loss(
                hidden[:, -length - 1 : -1],
                guide,
                head.weight,
                share.mask,
                share.weights,
                bias=head.bias,
                teacher_weight=guide_weight,
                normalizer=normalizer,
                direction=args.kl_direction,
                temperature=self.temperature,
                logit_scale=head.scale,
                softcap=head.softcap,
                clip=args.kl_clip,
                clip_form=args.kl_clip_form,
            )

        return model(input_ids=share.student_ids, attention_mask=share.student_mask, head_fn=head_fn)

    def _record(self, metrics: dict[str, float]) -> None:
        for name, value in metrics.items():
            self._metrics["train"][f"sgpo/{name}"].append(value)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if self._teacher is not None and checkpoint is not None:
            self._teacher.load(checkpoint)
