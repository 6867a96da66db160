"""Configuration of :class:`sgpo.SGPOTrainer`: everything of TRL's ``GRPOConfig``, plus the strategy side.

The constants are those of arXiv 2606.24064. What the paper does not publish (the form of the adaptive weight,
the form of the clip, the guided prompt) is a field here, and its ``help`` says so. Each ablation of the paper, and
each option past it, is a row of :mod:`sgpo.runs.methods`: the fields that it sets. ``docs/method.md`` has the sources.
"""

from dataclasses import dataclass

import torch

from sgpo.data.prompts import DEFAULT_GUIDED_TEMPLATE, check_template
from sgpo.objectives import adaptive_weight
from sgpo.runs.methods import CONFIG_PRESETS
from sgpo.trainer.base_config import BaseConfig, argument
from sgpo.trainer.values import require_choice


@dataclass
class SGPOConfig(BaseConfig):
    """Arguments of :class:`sgpo.SGPOTrainer`; see each field's ``help`` (``sgpo train --help-all`` prints them).

    Raises:
        ValueError: for a value out of its range or outside its choices, before anything is loaded.
    """

    preset: str | None = argument(
        None,
        "'sgpo+' sets guided_grpo_weight to 1, num_targets to 2 and teacher to 'frozen', each where you do not. "
        "None: SGPO as published.",
    )

    # GRPO on the autonomous group: the paper's constants where they differ from TRL's defaults.
    num_generations: int = argument(8, "G1: rollouts per problem without its strategy (autonomous), from pi(.|q).")
    epsilon: float = argument(0.2, "Lower clip range of the importance ratio: 1 - epsilon.")
    epsilon_high: float | None = argument(0.28, "Upper clip range of the importance ratio: 1 + epsilon_high.")
    grpo_weight: float = argument(
        1.0, "Factor on GRPO's loss, the entropy bonus and a router's loss included. 0: no autonomous GRPO."
    )

    # Guided rollouts.
    guided_grpo_weight: float = argument(
        None,
        "Past the paper (ours): factor on a second GRPO loss, over the guided rollouts and their guided prompts, with "
        "advantages among themselves. Each group's loss is a mean of its own, so at 1 both groups count alike. A live "
        "teacher so stays able to follow strategies. Default: what preset says, else 0, off.",
    )
    guided_grpo_group: str = argument(
        "own",
        "With guided_grpo_weight: 'own' or 'joined'. 'own': the guided rollouts are a group of their own and train the "
        "guided policy. 'joined': they join the autonomous group and train the unguided policy, with the importance "
        "ratio pi(y|q) / pi_old(y|q,s) (OC-GRPO, arXiv 2607.19313; what is normalised by what is our reading).",
    )
    num_guided_generations: int = argument(4, "G2: rollouts per problem with its strategy (guided), from pi(.|q,s).")
    guided_prompt_template: str = argument(
        DEFAULT_GUIDED_TEMPLATE,
        "How a strategy enters the prompt: text with {prompt} and {strategy} once each. It is applied to a plain "
        "prompt, or to the last user message of a conversation. Ours: the paper's prompt is not published.",
    )
    guided_rollouts: str = argument(
        "always",
        "When a problem gets guided rollouts: 'always', 'on_demand', 'by_weight' or 'auto'. 'always': in one "
        "generation call with the autonomous ones. 'on_demand': in a second call, once the autonomous pass rate is "
        "known, only where it is under guided_rollouts_below; at 1.0 this skips solved problems alone, whose weight is "
        "0 anyway, so the gradient is that of 'always' given the same samples (the random numbers fall differently; "
        "guided_grpo_weight leaves out the skipped ones). 'by_weight': as on demand, but each problem with a "
        "probability in proportion to the weight that it is expected to get (from its autonomous pass rate, and its "
        "guided one of the last visit), by which its weight is divided: the gradient of 'always' in expectation, for "
        "fewer tokens. 'auto': on_demand where the generation backend and alpha_form allow it, and nothing would "
        "change. Ours.",
    )
    guided_probability_min: float = argument(
        0.1,
        "With guided_rollouts='by_weight': the least probability of a problem that guidance could help. Less saves "
        "more tokens and makes the gradient noisier.",
    )
    guided_rollouts_below: float = argument(
        1.0,
        "With guided rollouts on demand or by weight: problems with an autonomous pass rate of this or more get none, "
        "and train by GRPO alone.",
    )
    max_guided_tokens: int | None = argument(
        None,
        "With guided rollouts on demand or by weight: at most this many guided tokens per process and generation "
        "batch, each rollout counted at max_completion_length. On demand, problems with the lowest pass rate come "
        "first and the rest trains by GRPO alone; by weight, all probabilities shrink. None: no cap.",
    )
    correctness_reward: str | None = argument(
        None, "Name of the reward function that decides whether a response is correct. None: the first one."
    )
    correctness_threshold: float = argument(0.5, "A response is correct when its correctness reward exceeds this.")
    answer_column: str = argument(
        "answer", "Dataset column with the answer, looked for in the strategies; where it is empty, that of 'solution'."
    )

    # Target selection, distillation, teacher.
    target_selection: str = argument(
        "mean",
        "Which correct guided response is the target: by 'mean', 'sum', 'trimmed' or 'random'. The likeliest under the "
        "unguided policy, by mean or sum of its token log-probabilities, or any. 'trimmed', past the paper: a mean "
        "without the least likely tenth of the tokens (TREK, arXiv 2607.05339; the tenth is our reading).",
    )
    target_source: str = argument(
        "guided",
        "Which responses are targets: 'guided' or 'autonomous'. 'guided': correct guided ones, as published. "
        "'autonomous', past the paper: the unguided policy's own ones, right or wrong, on which the guided side says "
        "how to go on (OPSD, arXiv 2601.18734; SKALD, 2608.09826, also by measured lift, which is what alpha asks, and "
        "with teacher_mix_schedule 'linear').",
    )
    num_targets: int = argument(
        None,
        "Past the paper (ours; TREK, arXiv 2607.05339, takes two): at most this many different targets a problem, "
        "the likeliest first; they share its weight. Default: what preset says, else 1, as published.",
    )
    distillation_loss: str = argument(
        "kl", "'kl': divergence from the guided policy. 'sft': negative log-likelihood of the same target."
    )
    kl_direction: str = argument("forward", "'forward' KL(guided || unguided), or 'reverse'.")
    kl_clip: float | None = argument(1.0, "delta, the threshold on each token's KL. None: no clip.")
    kl_clip_form: str = argument(
        "rescale",
        "Above the threshold, 'rescale' the gradient by delta / KL, or 'hard': no gradient. The paper does not "
        "publish the form; 'rescale' is our reading.",
    )
    kl_gradient_tolerance: float = argument(
        0.0,
        "Share of the KL's gradient that may be left out where most of the vocabulary has next to no mass, to save "
        "time; see sgpo.objectives.Kernel for the bound. 0: exact. Ours.",
    )
    kl_chunk_size: int | None = argument(
        None,
        "Tokens whose logits exist at one time in the KL: fewer take less memory and more time. None: what fits 160 "
        "MiB on a CPU, 512 MiB on a GPU. With kl_gradient_tolerance, 32 pays on a CPU (docs/results). Ours.",
    )
    teacher: str | None = argument(
        None,
        "Weights of the guided side of the KL: the 'live' policy, an 'ema' of it, or the 'frozen' start. Default: what "
        "preset says, else 'live', as published.",
    )
    teacher_temperature: float = argument(
        None,
        "Past the paper (ours): temperature of the guided side of the KL, on top of `temperature`. Below 1 the target "
        "is sharper than what the guided policy samples from. Default: what preset says, else 1, as published.",
    )
    teacher_mix: float = argument(
        None,
        "Past the paper: the unguided policy's share in the target distribution, a geometric mixture of both sides. It "
        "gets no gradient there, so the target is a shorter step away. The idea of a mixed target is that of beta-OPSD "
        "(arXiv 2607.28582) and SR-OPSD (2608.09745); this form is our reading. Default: what preset says, else 0, the "
        "guided policy alone.",
    )
    teacher_mix_schedule: str = argument(
        "constant",
        "Past the paper: 'constant', or 'linear': teacher_mix falls to 0 over the run, so that the target moves from "
        "near the unguided policy to the guided one (the annealing of SKALD, arXiv 2608.09826; linear is our reading).",
    )
    teacher_ema_decay: float = argument(0.99, "Decay of the 'ema' teacher per optimizer step.")

    # Adaptive weight alpha(q).
    alpha_form: str = argument(
        "relative_gap",
        "'relative_gap', 'gap', 'constant', 'all_wrong' or 'deviation'. 'relative_gap': alpha_0 * (p_guided - p) / (p "
        "+ gamma), 'gap': alpha_0 * (p_guided - p), 'constant': alpha_0, 'all_wrong': alpha_0 where p = 0, else 0, "
        "'deviation': alpha_0 * sqrt(p * (1 - p)); each within [0, alpha_max]. The paper publishes the behaviour and "
        "the constants, not the form. The last two are past it (I-SDPO, arXiv 2608.12957; SC-SDPO, 2605.27765).",
    )
    alpha_0: float = argument(0.5, "Scale of the distillation weight.")
    alpha_gamma: float = argument(0.1, "gamma in 'relative_gap': keeps the weight finite where p = 0.")
    alpha_max: float = argument(0.8, "Cap of the distillation weight.")

    # What is logged.
    log_problems: bool = argument(
        False,
        "Append one JSON line for each problem of each generation batch to problems.jsonl in output_dir (of several "
        "processes, each to a problems-rank{i}.jsonl): both pass rates, alpha, tokens of the target, and the strategy. "
        "sgpo report shows them. Without distillation (alpha is 0 everywhere) there is nothing to log, and no file.",
    )

    def __post_init__(self) -> None:
        require_choice("preset", self.preset, (None, *CONFIG_PRESETS))
        chosen = CONFIG_PRESETS[self.preset] if self.preset else {}
        for name, published in _OPEN.items():
            if getattr(self, name) is None:
                setattr(self, name, chosen.get(name, published))
        super().__post_init__()
        check_template(self.guided_prompt_template)
        if self.distills and self.num_guided_generations < 1:
            raise ValueError(
                f"num_guided_generations is {self.num_guided_generations}, but distillation is on and needs at least "
                "1 guided rollout per problem. Raise it (the paper: 4), or switch distillation off with "
                "alpha_form='constant' and alpha_0=0."
            )
        self._check_past_the_paper()
        if self.grpo_weight == 0 and not self.guides:
            raise ValueError(
                "grpo_weight is 0 and distillation is off (alpha is 0 everywhere), so there is nothing to train. "
                "Set grpo_weight > 0, or alpha_0 > 0 and alpha_max > 0."
            )
        if self.guides:
            self._check_guided_rollouts()

    def _check_past_the_paper(self) -> None:
        if self.guided_grpo_weight and self.num_guided_generations < 2:
            raise ValueError(
                f"num_guided_generations is {self.num_guided_generations}, but guided_grpo_weight is "
                f"{self.guided_grpo_weight}, and GRPO compares the rollouts of a group: it needs at least 2. Raise it "
                "(the paper: 4), or set guided_grpo_weight=0."
            )
        if self.guided_grpo_group == "joined":
            self._check_joined()
        source = "num_generations" if self.target_source == "autonomous" else "num_guided_generations"
        if self.distills and self.num_targets > getattr(self, source):
            raise ValueError(
                f"num_targets is {self.num_targets}, but they are chosen from {source} = {getattr(self, source)} "
                "rollouts of a problem. Lower it, or sample more."
            )
        if self.target_source == "autonomous" and self.distillation_loss == "sft":
            raise ValueError(
                "target_source is 'autonomous', but distillation_loss='sft' would teach wrong responses as they are. "
                "Use distillation_loss='kl'."
            )
        if self.distillation_loss == "sft" and (self.teacher_temperature != 1 or self.teacher_mix):
            raise ValueError(
                f"teacher_temperature is {self.teacher_temperature} and teacher_mix {self.teacher_mix}, but "
                "distillation_loss='sft' has no teacher. Leave them at 1 and 0, or use distillation_loss='kl'."
            )
        if self.teacher_mix_schedule != "constant" and not self.teacher_mix:
            raise ValueError(
                f"teacher_mix_schedule is {self.teacher_mix_schedule!r}, but teacher_mix is 0, so nothing is there to "
                "fall. Give teacher_mix a value, such as 0.5, or leave the schedule at 'constant'."
            )
        if not self.teacher_mix < 1:
            raise ValueError(
                f"teacher_mix is {self.teacher_mix}, but it is the unguided policy's share of the target: at 1 there "
                "is nothing to learn. Use less."
            )

    def _check_joined(self) -> None:
        """One group needs one divisor and one deviation, and the ratio to the policy that sampled."""
        several = self.multi_objective_aggregation != "sum_then_normalize"
        corrected = self.use_vllm and self.vllm_importance_sampling_correction
        wrong = {
            "guided_grpo_weight": (not self.guided_grpo_weight, "nothing joins at 0; set it to 1"),
            "loss_type": (self.loss_type not in OVER_ALL_TOKENS, f"use one of {', '.join(OVER_ALL_TOKENS)}"),
            "scale_rewards": (self.scale_rewards == "batch", "use 'group' or 'none'"),
            "multi_objective_aggregation": (several, "use 'sum_then_normalize'"),
            "vllm_importance_sampling_correction": (
                corrected,
                "the ratio of 'joined' takes its place; set it to False",
            ),
        }
        for name, (hinders, remedy) in wrong.items():
            if hinders:
                raise ValueError(
                    f"guided_grpo_group is 'joined', but {name} is {getattr(self, name)!r}: {remedy}, or use 'own'."
                )

    def _check_guided_rollouts(self) -> None:
        hindrance = self._on_demand_hindrance()
        if self.guided_rollouts in ("on_demand", "by_weight") and hindrance:
            raise ValueError(f"guided_rollouts is {self.guided_rollouts!r}, but {hindrance}. Use 'always' (or 'auto').")
        if self.guided_rollouts == "by_weight" and self.guided_grpo_weight:
            raise ValueError(
                f"guided_rollouts is 'by_weight', but guided_grpo_weight is {self.guided_grpo_weight}: GRPO would "
                "train on the guided groups that were drawn as if they were all. Use 'always', or guided_grpo_weight=0."
            )
        for name, default in (("guided_rollouts_below", 1.0), ("max_guided_tokens", None)):
            if getattr(self, name) != default and not self.guided_on_demand:
                why = hindrance or f"guided_rollouts is {self.guided_rollouts!r}"
                raise ValueError(
                    f"{name} is {getattr(self, name)}, which needs guided rollouts on demand: only then is the "
                    f"autonomous pass rate known. But {why}. Set guided_rollouts='on_demand', or leave {name} out."
                )
        if self.max_guided_problems is not None and self.max_guided_problems < 1:
            cost = self.num_guided_generations * self.max_completion_length
            raise ValueError(
                f"max_guided_tokens is {self.max_guided_tokens}, but the guided rollouts of one problem may take "
                f"num_guided_generations * max_completion_length = {cost} tokens. Allow at least that, or switch "
                "distillation off with alpha_form='constant' and alpha_0=0."
            )

    def _on_demand_hindrance(self) -> str | None:
        """Why guided rollouts cannot be sampled after the autonomous ones, if so."""
        solved = torch.ones(1)
        if self.alpha(solved, solved) > 0:
            return f"alpha_form={self.alpha_form!r} distils solved problems too, so all need guided rollouts"
        if self.use_vllm and self.vllm_mode == "colocate" and self.vllm_enable_sleep_mode:
            return (
                "vLLM in colocate mode with vllm_enable_sleep_mode=True takes all weights anew for each generation "
                "call, and a second call costs more than it saves"
            )
        return None

    def alpha(self, autonomous_pass_rate: torch.Tensor, guided_pass_rate: torch.Tensor) -> torch.Tensor:
        """:func:`sgpo.objectives.adaptive_weight` with this form and these constants: ``[B]``, ``[B]`` -> ``[B]``."""
        constants = {"alpha_0": self.alpha_0, "gamma": self.alpha_gamma, "alpha_max": self.alpha_max}
        return adaptive_weight(autonomous_pass_rate, guided_pass_rate, form=self.alpha_form, **constants)

    @property
    def guided_on_demand(self) -> bool:
        """Whether guided rollouts are sampled in a generation call of their own, after the autonomous ones."""
        if self.guided_rollouts == "auto":
            # GRPO on the guided group would train on other groups, so this is for the user to say.
            return self._on_demand_hindrance() is None and not self.guided_grpo_weight
        return self.guided_rollouts in ("on_demand", "by_weight")

    @property
    def max_guided_problems(self) -> int | None:
        """Problems that ``max_guided_tokens`` lets each process guide per generation batch; None for all."""
        if self.max_guided_tokens is None:
            return None
        return self.max_guided_tokens // (self.num_guided_generations * self.max_completion_length)

    @property
    def distills(self) -> bool:
        """Whether any problem can get a distillation weight above 0."""
        return self.alpha_0 > 0 and self.alpha_max > 0

    @property
    def guides(self) -> bool:
        """Whether guided rollouts are sampled. If not, training is plain GRPO."""
        return self.distills or self.guided_grpo_weight > 0


# Losses that TRL divides by the tokens of the whole generation batch; the others are means over a micro-step's rows.
OVER_ALL_TOKENS = ("dapo", "cispo", "vespo")
# Options past the paper that a preset may set: None until then, and SGPO as published without one.
_OPEN = {"guided_grpo_weight": 0.0, "num_targets": 1, "teacher": "live", "teacher_temperature": 1.0, "teacher_mix": 0.0}
