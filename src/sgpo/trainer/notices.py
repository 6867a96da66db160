"""What a run tells its user about its rollouts: a fault that lasts is said once, with the remedy."""

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

from transformers import TrainerCallback

from sgpo.rewards import accuracy_reward, check_golds

logger = logging.getLogger(__name__)

PATIENCE = 3
"""Steps in a row that show a fault before it is said."""

_REWARD_REMEDY = (
    "Read some completions (log_completions: true), see that the prompts suit the model's chat template and that the "
    "reward finds the answer in what the model writes"
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
}


def warn_of_bad_golds(dataset: Any, reward_funcs: Any) -> None:
    """Name the rows whose gold is no answer ("proof", NaN), once, before the training: no rollout is right on them.

    Only for `sgpo.rewards.accuracy_reward`, whose columns are known, and for data that are not streamed.
    """
    several = reward_funcs if isinstance(reward_funcs, Sequence) else [reward_funcs]
    functions = [f.func if isinstance(f, partial) else f for f in several if not isinstance(f, str)]
    columns = [c for c in ("answer", "solution") if c in (getattr(dataset, "column_names", None) or ())]
    if accuracy_reward not in functions or not columns or not hasattr(dataset, "__len__"):
        return
    message = check_golds(dataset[columns[0]])
    if message:
        logger.warning(
            "Column %r of train_dataset: %s. Their rollouts are all rewarded with 0; correct or drop these rows.",
            columns[0],
            message,
        )


class RolloutNotices(TrainerCallback):
    """Warns once of each fault that all rollouts of ``PATIENCE`` steps in a row share.

    It reads the metrics that TRL keeps until they are logged, so that it does not depend on ``logging_steps``. A step
    without new rollouts (a later iteration over the same ones) does not count.

    Args:
        trainer: a trainer with ``rollout_metrics()``, see :class:`sgpo.trainer.text_only.TextOnlyTrainer`.
    """

    def __init__(self, trainer: Any):
        self._trainer = trainer
        self._read = 0  # rollout batches since the last log that were looked at
        self._streaks = dict.fromkeys(_SAID, 0)
        self._said: set[str] = set()

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """TRL empties its metrics after this."""
        if self._trainer.model.training:
            self._read = 0

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Count the faults of the rollouts of this step."""
        metrics = {name: values[self._read :] for name, values in self._trainer.rollout_metrics().items()}
        if not metrics["cut"]:
            return
        self._read += len(metrics["cut"])
        reward = metrics["reward"][-1]
        same = all(share == 1 for share in metrics["same"]) and len(set(metrics["reward"])) == 1
        shown = {
            "cut": min(metrics["cut"]) >= 1 - 1e-6,
            "zero": same and reward == 0,
            "same": same and reward != 0,
            "guided": bool(metrics["guided"]) and max(metrics["guided"]) == 0,
        }
        for name, fault in shown.items():
            self._streaks[name] = self._streaks[name] + 1 if fault else 0
            if self._streaks[name] == PATIENCE and name not in self._said and state.is_world_process_zero:
                self._said.add(name)
                said = _SAID[name].format(limit=args.max_completion_length, reward=reward)
                logger.warning("Steps %d to %d: %s", state.global_step - PATIENCE + 1, state.global_step, said)
