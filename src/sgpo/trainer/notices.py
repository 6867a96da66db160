"""What a run tells its user about its rollouts: a fault that lasts is said once, with the remedy."""

import inspect
import itertools
import logging
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

from transformers import TrainerCallback

from sgpo.rewards import accuracy_reward, check_golds
from sgpo.rewards.reward import golds_of, tolerances_of

logger = logging.getLogger(__name__)

PATIENCE = 3
"""Steps in a row that show a fault before it is said."""
WINDOW = 10
"""Generation batches, at least, over which guided pass rates are averaged: the first ones, and the latest."""
_LEFT, _ERRORS = 0.8, 4.0

_REWARD_REMEDY = (
    "Read some completions (completions.jsonl in output_dir), see that the prompts suit the model's chat template and "
    "that the reward finds the answer in what the model writes"
)
_SAID = {
    "cut": "every completion was cut off at max_completion_length = {limit} tokens, so no answer was ended. Raise "
    "max_completion_length, or see that the prompts let the model end (chat template, EOS).",
    "zero": f"every rollout had the reward 0, from which GRPO learns nothing. {_REWARD_REMEDY}; else take easier "
    "problems, or warm the model up.",
    "same": "every rollout had the reward {reward:g}, from which GRPO learns nothing. Take harder problems if all are "
    f"right; else: {_REWARD_REMEDY[0].lower()}{_REWARD_REMEDY[1:]}.",
    "guided": "no guided rollout was correct, so nothing was distilled. Read the strategies and the guided prompt "
    "(guided_prompt_template); a model that cannot follow them needs a warm-up.",
    "expert": "no expert response was rewarded, so what is learned leads away from them. See that they are right, and "
    "that each states its answer as the reward reads it (sgpo verify judges a file of them).",
}

_FORGETS = (
    "the teacher is forgetting: the guided pass rate fell from {:.0%} early in the run to {:.0%} now, "
    "so the strategies help less and less. Raise guided_grpo_weight (it is {}), which trains "
    "the guided policy as well, or set teacher='frozen'. (Problems that become harder over the data set look the same.)"
)


def forgets(rates: Sequence[float]) -> tuple[float, float] | None:
    """The mean guided pass rate of the first and of the last fifth of the generation batches, where it fell well.

    "Well" is by a fifth of the start, and by four standard errors: means of few rollouts wander, and the rule is asked
    after every step. The error is taken from the differences of neighbouring batches, which a trend leaves alone. None
    otherwise, and before there are twice ``WINDOW`` batches; a "fifth" is never fewer than ``WINDOW``.
    """
    known = [rate for rate in rates if not math.isnan(rate)]
    window = max(WINDOW, len(known) // 5)
    if len(known) < 2 * WINDOW:
        return None
    first, last = statistics.fmean(known[:window]), statistics.fmean(known[-window:])
    variance = statistics.fmean((a - b) ** 2 for a, b in itertools.pairwise(known)) / 2
    error = math.sqrt(2 * variance / window)
    return (first, last) if last < _LEFT * first and first - last > _ERRORS * error else None


def gold_faults(train_dataset: Any, eval_dataset: Any, reward_funcs: Any) -> list[str]:
    """The rows whose gold is no answer ("proof", NaN), a sentence for each data set: no rollout is right on them.

    Only where a reward is `sgpo.rewards.accuracy_reward`, or calls it as that of ``sgpo init`` does: the columns of
    others are not known. Streamed data are left out.

    Raises:
        ValueError: a row's `tolerance` is none.
    """
    several = reward_funcs if isinstance(reward_funcs, Sequence) else [reward_funcs]
    if not any(map(_reads_golds, several)):
        return []
    faults = []
    measured = eval_dataset if isinstance(eval_dataset, Mapping) else {"": eval_dataset}
    named = {"train_dataset": train_dataset}
    named |= {f"eval_dataset{f'[{name!r}]' if name else ''}": data for name, data in measured.items()}
    for where, data in named.items():
        if not hasattr(data, "__len__"):
            continue
        if "tolerance" in data.column_names:
            try:
                tolerances_of(data["tolerance"], len(data))
            except ValueError as error:
                raise ValueError(f"{where}, {error}") from error
        columns = [data[name] if name in data.column_names else None for name in ("answer", "solution")]
        golds = golds_of(*columns)
        if golds is not None and (message := check_golds(golds)):
            faults.append(
                f"The golds of {where} (answer, or else solution): {message}. Their rollouts are all rewarded with 0; "
                "correct or drop these rows."
            )
    return faults


def _reads_golds(reward: Any) -> bool:
    """Whether a reward is `accuracy_reward`, or a function that names it."""
    reward = reward.func if isinstance(reward, partial) else reward
    if reward is accuracy_reward:
        return True
    return inspect.isfunction(reward) and accuracy_reward in inspect.getclosurevars(reward).globals.values()


@dataclass(frozen=True)
class RolloutHistory:
    """A number for each generation batch since the last log, the oldest first."""

    cut: Sequence[float]  # share of the sampled completions that were cut off
    reward: Sequence[float]  # their mean reward
    same: Sequence[float]  # share of the groups whose completions all had the same reward
    guided: Sequence[float]  # pass rate of the guided completions; empty where there are none
    expert: Sequence[float] = ()  # mean reward of the expert responses; empty where they get none

    def since(self, batch: int) -> "RolloutHistory":
        """The generation batches from number ``batch`` on, from 0."""
        return RolloutHistory(*(getattr(self, each.name)[batch:] for each in fields(self)))


class RolloutNotices(TrainerCallback):
    """Warns once of each fault that all rollouts of ``PATIENCE`` steps in a row share.

    It reads the metrics that TRL keeps until they are logged, so that it does not depend on ``logging_steps``. A step
    without new rollouts (a later iteration over the same ones) does not count.
    """

    def __init__(self, trainer: Any):
        self._trainer = trainer  # with `rollout_history()`
        self._read = 0  # rollout batches since the last log that were looked at
        self._streaks = dict.fromkeys(_SAID, 0)
        self._said: set[str] = set()
        self._guided: list[float] = []  # pass rate of the guided rollouts of each generation batch; anew after a resume

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """TRL empties its metrics after this."""
        if self._trainer.model.training:
            self._read = 0

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Count the faults of the rollouts of this step."""
        new = self._trainer.rollout_history().since(self._read)
        if not new.cut:
            return
        self._read += len(new.cut)
        reward = new.reward[-1]
        same = all(share == 1 for share in new.same) and len(set(new.reward)) == 1
        shown = {
            "cut": min(new.cut) >= 1 - 1e-6,  # LUFFY's share is a quotient, which rounds
            "zero": same and reward == 0,
            "same": same and reward != 0,
            "guided": bool(new.guided) and max(new.guided) == 0,
            "expert": bool(new.expert) and max(new.expert) <= 0,
        }
        for name, fault in shown.items():
            self._streaks[name] = self._streaks[name] + 1 if fault else 0
            if self._streaks[name] == PATIENCE and name not in self._said and state.is_world_process_zero:
                self._said.add(name)
                said = _SAID[name].format(limit=args.max_completion_length, reward=reward)
                logger.warning("Steps %d to %d: %s", state.global_step - PATIENCE + 1, state.global_step, said)
        # With rollouts on demand only ever harder problems are guided, so their pass rate falls without any forgetting.
        if not getattr(args, "guided_on_demand", True):
            self._guided += new.guided
            fell = forgets(self._guided)
            if fell and "forgets" not in self._said and state.is_world_process_zero:
                self._said.add("forgets")
                said = _FORGETS.format(*fell, args.guided_grpo_weight)
                logger.warning("Step %d: %s", state.global_step, said)
