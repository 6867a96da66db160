"""Evaluation during training: ``eval_reward`` is the mean over the problems, each of them counted once.

TRL takes the mean of each batch and then the mean of these, so a short last batch weighs as much as a full one, and the
best checkpoint may be another. Several processes fill the last batch up with problems that were there before, which
TRL counts again. And of several data sets the last one's metrics would stand under the name of all.
"""

import copy
import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import torch
from datasets import Dataset, IterableDataset
from torch import Tensor

from sgpo.trainer.own import swapped
from sgpo.trainer.resumable import ResumableGRPOTrainer


@dataclass
class EvaluationMeans:
    """What an evaluation has seen so far.

    Attributes:
        left: rows that are still to come; None for a stream, which does not say how many it has.
        name: what goes in front of the metrics, ``"easy_"`` for a data set of this name; ``""`` for the only one.
        rows: how many rows of each batch count; with SFT, their tokens.
        scored: those with a reward, by the metric that is a mean over them.
    """

    left: int | None
    name: str = ""
    rows: list[int] = field(default_factory=list)
    scored: dict[str, list[int]] = field(default_factory=dict)

    def counts(self, gathered: int) -> int:
        """How many of the next batch's rows count, which are the first."""
        rows = gathered if self.left is None else min(gathered, self.left)
        self.left = None if self.left is None else self.left - rows
        self.rows.append(rows)
        return rows

    def means(self, metrics: dict[str, list[float]]) -> dict[str, list[float]]:
        """The mean of each metric over all batches, by the name that it has in the logs."""
        found = {}
        for name, values in metrics.items():
            weights = self.scored.get(name, self.rows)
            if len(values) == len(weights):  # the number of tokens so far is one value
                pairs = [pair for pair in zip(weights, values, strict=True) if pair[0] and not math.isnan(pair[1])]
                total = sum(weight for weight, _ in pairs)
                values = [sum(weight * value for weight, value in pairs) / total] if total else []
            found[self.name + name] = values
        return found


class MeasuredGRPOTrainer(ResumableGRPOTrainer):
    """``GRPOTrainer`` whose evaluation weighs all problems alike.

    Raises:
        ValueError: the best checkpoint is to be chosen by a metric of none of several data sets; a stream on several
            processes.
    """

    num_generations_eval: int

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        wanted, sets = self.args.metric_for_best_model, self.eval_dataset
        for each in sets.values() if isinstance(sets, dict) else [sets]:
            self._require_known_length(not isinstance(each, IterableDataset))
        if wanted is None or not isinstance(sets, dict):
            return
        if not wanted.removeprefix("eval_").startswith(tuple(f"{name}_" for name in sets)):
            raise ValueError(
                f"metric_for_best_model is {wanted!r}, but eval_dataset has several data sets, each with metrics of "
                f"its own. Set it to {f'{next(iter(sets))}_reward'!r}, say, or give one data set."
            )

    def _require_known_length(self, sized: bool) -> None:
        """Several processes fill the end of a stream up with problems of its beginning, and nobody knows how many."""
        if not sized and self.accelerator.num_processes > 1:
            raise ValueError(
                f"eval_dataset is a stream, of which {self.accelerator.num_processes} processes would count some "
                "problems twice. Give a data set of known length: Dataset.from_list(list(stream))."
            )

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        # TRL would go on to log these completions as those of the training, until it samples new ones.
        with swapped(self, _logs=copy.deepcopy(self._logs)):
            return super().evaluate(*args, **kwargs)

    def evaluation_loop(
        self,
        dataloader: Any,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> Any:
        sized = isinstance(dataloader.dataset, Dataset)
        self._require_known_length(sized)
        name = metric_key_prefix.removeprefix("eval").removeprefix("_")
        self._sgpo.measured = EvaluationMeans(
            left=len(dataloader.dataset) * self.num_generations_eval if sized else None, name=name and f"{name}_"
        )
        return super().evaluation_loop(dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix)

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any) -> Tensor:
        rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        measured = self._sgpo.measured
        if self.model.training or measured is None:
            return rewards
        # Gathered, the rows stand in the order of the data, and what fills the last batch up stands behind them. TRL
        # leaves a row without a reward out of its means.
        rewards[measured.counts(len(rewards)) :] = torch.nan
        scored = {"reward": ~rewards.isnan().all(dim=1)}
        scored |= {f"rewards/{name}/mean": ~rewards[:, i].isnan() for i, name in enumerate(self.reward_func_names)}
        for name, rows in scored.items():
            measured.scored.setdefault(name, []).append(int(rows.sum()))
        return rewards

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if not self.model.training and self._sgpo.measured is not None:
            self._metrics["eval"] = defaultdict(list, self._sgpo.measured.means(self._metrics["eval"]))
            self._sgpo.measured = None
        super().log(logs, start_time)
