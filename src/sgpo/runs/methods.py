"""The table of methods that are compared: the fields of its trainer's configuration by which each of them differs.

A method's name is a key of ``METHODS``, or a key with overrides, such as ``sgpo:kl_clip=0.5,teacher=ema``, so that a
sweep over any field needs no entry of its own (:func:`sgpo.trainer.methods.find_method`). The ablations are those of
arXiv 2606.24064; the rest is ours. Nothing here imports torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Balance:
    """The field by which a method balances what it learns from, and the ``values`` to search beside its default."""

    field: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class Method:
    """A method: a kind of trainer, and the fields of its configuration that the method sets.

    ``kind`` is a key of :data:`sgpo.trainer.methods.KINDS`, or None for the model as it is.
    ``label`` is the method in a table; within a sentence it may need more words, see :func:`spoken_label`. ``tuned_as``
    names the method whose learning rate it takes (an ablation changes one thing only); None: its own. ``balance`` is
    searched on request; SGPO has none, since its weights are the paper's.
    """

    name: str
    label: str
    kind: str | None
    fields: Mapping[str, Any] = field(default_factory=dict)
    tuned_as: str | None = None
    balance: Balance | None = None


CONFIG_PRESETS: dict[str, dict[str, float | str]] = {
    "sgpo+": {"guided_grpo_weight": 1.0, "num_targets": 2, "teacher": "frozen"}
}
"""Fields that ``SGPOConfig.preset`` sets, where they are not set by themselves."""

# Where a recipe trains on the guided group, too, plain GRPO must still be plain GRPO.
_OFF = {"alpha_form": "constant", "alpha_0": 0.0, "guided_grpo_weight": 0.0}
_OWN = {"target_source": "autonomous", "num_targets": 2, "target_selection": "random"}
_PAPER = (
    Method("base", "base", None),
    # Four times the rows of each step are four times the epochs in the same steps.
    Method("sft", "SFT", "sft", balance=Balance("gradient_accumulation_steps", (4,))),
    Method("sft_grpo", "GRPO", "sgpo", _OFF),
    Method("sft_grpo_12", "GRPO, 12 rollouts", "sgpo", {**_OFF, "num_generations": 12}),
    Method("luffy", "LUFFY", "luffy", balance=Balance("shaping_gamma", (0.03, 0.3))),
    Method("hpt", "HPT", "hpt", balance=Balance("sft_coef", (0.3, 3.0))),
    Method("sgpo", "SGPO", "sgpo"),
)
_ABLATIONS = (
    Method("no_distillation", "without strategy distillation", "sgpo", _OFF, "sft_grpo"),
    Method("no_grpo", "without autonomous GRPO", "sgpo", {"grpo_weight": 0.0}, "sgpo"),
    Method("no_clip", "without KL clip", "sgpo", {"kl_clip": None}, "sgpo"),
    Method("no_selection", "without target selection", "sgpo", {"target_selection": "random"}, "sgpo"),
    Method(
        "no_proximal", "without clip and selection", "sgpo", {"kl_clip": None, "target_selection": "random"}, "sgpo"
    ),
    Method("no_adaptive", "without adaptive weight", "sgpo", {"alpha_form": "constant"}, "sgpo"),
    Method("reverse_kl", "reverse KL", "sgpo", {"kl_direction": "reverse"}, "sgpo"),
    Method("guided_sft", "SFT on the selected responses", "sgpo", {"distillation_loss": "sft"}, "sgpo"),
)
# The sources are in docs/method.md.
_PAST_THE_PAPER = (
    Method("guided_grpo", "SGPO, GRPO on the guided group too", "sgpo", {"guided_grpo_weight": 1.0}),
    Method("oc_grpo", "OC-GRPO", "sgpo", {**_OFF, "guided_grpo_weight": 1.0, "guided_grpo_group": "joined"}),
    Method("two_targets", "SGPO, two targets", "sgpo", {"num_targets": 2}),
    Method("sharpened", "SGPO, sharpened teacher", "sgpo", {"teacher_temperature": 0.7}),
    Method("mixed", "SGPO, mixed target", "sgpo", {"teacher_mix": 0.5}),
    Method("frozen_teacher", "SGPO, frozen teacher", "sgpo", {"teacher": "frozen"}),
    Method("ema_teacher", "SGPO, EMA teacher", "sgpo", {"teacher": "ema"}),
    Method("all_wrong", "SGPO on all-wrong groups alone", "sgpo", {"alpha_form": "all_wrong"}),
    Method("deviation", "SGPO, weight by deviation", "sgpo", {"alpha_form": "deviation"}),
    Method("own_rollouts", "SGPO on the student's own rollouts", "sgpo", _OWN),
    Method(
        "skald",
        "SGPO on the student's own rollouts, annealed",
        "sgpo",
        {**_OWN, "teacher_mix": 0.5, "teacher_mix_schedule": "linear"},
    ),
    Method(
        "trek",
        "SFT on two trimmed-likelihood targets",
        "sgpo",
        {"distillation_loss": "sft", "num_targets": 2, "target_selection": "trimmed"},
    ),
    Method("sgpo_plus", "SGPO+", "sgpo", CONFIG_PRESETS["sgpo+"]),
)
METHODS: dict[str, Method] = {method.name: method for method in (*_PAPER, *_ABLATIONS, *_PAST_THE_PAPER)}
# Where the label of a table, with its comma or without its method, is too short within a sentence.
_SPOKEN = {name: method.label for name, method in METHODS.items()} | {
    "base_guided": "base + strategy",  # the quickstart's: the base with the strategy in its prompt
    "sft_grpo_12": "GRPO (12 rollouts)",
    "no_distillation": "SGPO without distillation",
    "no_grpo": "SGPO without GRPO",
    "no_clip": "SGPO without KL clip",
    "no_selection": "SGPO without target selection",
    "no_proximal": "SGPO without clip and selection",
    "no_adaptive": "SGPO without adaptive weight",
    "reverse_kl": "SGPO with reverse KL",
    "guided_sft": "SGPO with SFT on its targets",
    "guided_grpo": "SGPO with GRPO on the guided group",
    "two_targets": "SGPO with two targets",
    "sharpened": "SGPO with a sharpened teacher",
    "mixed": "SGPO with a mixed target",
    "frozen_teacher": "SGPO with a frozen teacher",
    "ema_teacher": "SGPO with an EMA teacher",
    "deviation": "SGPO with its weight by deviation",
}


def spoken_label(method: str) -> str:
    """A method as it reads within a sentence; its overrides (``sgpo:kl_clip=3``) follow in brackets."""
    name, _, overrides = method.partition(":")
    found = _SPOKEN.get(name, name.replace("_", " "))
    return f"{found} ({overrides.replace('=', ' ').replace(',', ', ')})" if overrides else found


def _names(*methods: Method) -> tuple[str, ...]:
    return tuple(method.name for method in methods)


# Each of the others is compared with SGPO, so that every list has it.
PRESETS: dict[str, tuple[str, ...]] = {
    "paper": _names(*_PAPER),
    "ablations": ("sgpo", *_names(*_ABLATIONS)),
    "past_the_paper": ("sgpo", *_names(*_PAST_THE_PAPER)),
    "forms": (
        "sgpo",
        "sgpo:alpha_form=gap",
        "sgpo:kl_clip_form=hard",
        "sgpo:kl_clip=0.3",
        "sgpo:kl_clip=3.0",
        "sgpo:teacher=ema",
        "sgpo:teacher=frozen",
    ),
}
