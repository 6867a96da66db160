"""Rewards that are numbers, of a function that is named where they are none, and what decides what is correct.

They are looked at where they come in, since TRL would go on: a reward that is NaN for every completion is an advantage
of 0, and an infinite one is, too.
"""

import inspect
import traceback
import warnings
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from sgpo.trainer.measured import MeasuredGRPOTrainer
from sgpo.trainer.own import swapped
from sgpo.trainer.prompts import with_thinking_begun
from sgpo.trainer.rollouts import Problem
from sgpo.trainer.trl_seam import GRPOTrainer

_GO_ON = "Correct it, then go on from the last checkpoint with resume_from_checkpoint=True."


class RewardedGRPOTrainer(MeasuredGRPOTrainer):
    """``GRPOTrainer`` that trains on no reward that it cannot read."""

    args: Any
    reward_func_names: list[str]

    def _correctness_index(self) -> int | None:
        """The column of the reward that decides what is correct; None where the method has no use for one."""
        if not hasattr(self.args, "correctness_reward"):
            return None
        name = self.args.correctness_reward
        if name is None:  # see `reward_functions.check_rewards`
            return 0
        if name not in self.reward_func_names:
            raise ValueError(
                f"correctness_reward is {name!r}, but the reward functions are {self.reward_func_names}. "
                "Name one of them, or leave it None for the first."
            )
        return self.reward_func_names.index(name)

    def _correct(self, rewards: Tensor) -> Tensor:
        """Which rows of ``[rows, functions]`` are correct; one without a verdict (None, NaN) is not."""
        return rewards[:, self._sgpo.correctness] > self.args.correctness_threshold

    def _weighted(self, rewards: Tensor) -> Tensor:
        """One reward for each row of ``[rows, functions]``, as TRL sums them; NaN for a row without any."""
        # nansum turns a row without any reward into 0, which would read as the verdict "wrong".
        total = (rewards * self.reward_weights.to(rewards.device)).nansum(dim=1)
        return total.masked_fill(rewards.isnan().all(dim=1), torch.nan)

    def _probe_rewards(self) -> None:
        """Call the rewards once, on an empty completion of the first problem: they must work before training."""
        example = next(iter(self.train_dataset))
        empty: Any = "" if isinstance(example["prompt"], str) else [{"role": "assistant", "content": ""}]
        try:
            rewards = self._rewards_apart([example], [example["prompt"]], [empty], [[]])
        except Exception as raised:
            error = raised.__cause__ or raised
            raise ValueError(
                f"A reward function failed on an empty completion of the first problem: {type(error).__name__}: "
                f"{error}. It must return one number per completion, whatever the policy writes."
            ) from error
        decisive = self._sgpo.correctness
        if decisive is not None and not rewards[:, decisive].isfinite().all():
            raise ValueError(
                f"The reward function {self.reward_func_names[decisive]!r} decides what is correct, but it "
                f"returned None, NaN or infinity for an empty completion of the first problem. Return a number, 0.0 "
                "for a response that is not correct, or name another one in correctness_reward."
            )
        self._require_finite_or_none(rewards)

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any) -> Tensor:
        with self._naming_rewards():
            rewards = super()._calculate_rewards(self._told(inputs), prompts, completions, completion_ids_list)
        self._require_numbers(rewards)
        self._sgpo.rewards = self._local(rewards, len(prompts))  # TRL keeps the advantages alone
        return rewards

    def _told(self, inputs: list[Problem]) -> list[Problem]:
        template = str(self.chat_template or self._tokenizer.chat_template or "")
        return with_thinking_begun(inputs, template, lambda prompt: self._rendered(prompt, add_generation_prompt=True))

    @contextmanager
    def _naming_rewards(self) -> Iterator[None]:
        """Turn what TRL meets in the value of a reward function into an error that names it and the step.

        What a function itself raises stays what it is, with a note; it may be a user's own signal.
        """
        try:
            yield
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            where = f"Step {self.state.global_step + 1}: {self._named_functions()}"
            # TRL's own code is the last frame where a value was wrong, the function's where it raised.
            if last.filename != inspect.getfile(GRPOTrainer):
                error.add_note(f"{where} raised it. {_GO_ON}")
                raise
            raise ValueError(
                f"{where} returned what is no list of numbers, one per completion ({type(error).__name__}: {error}). "
                f"{_GO_ON}"
            ) from error

    def _rewards_apart(self, inputs: Any, prompts: Any, completions: Any, completion_ids: Any) -> Tensor:
        """Rewards ``[rows of all ranks, functions]`` that leave no trace in TRL's logs of the autonomous group."""
        pending: dict[str, Any] = {"_pending_extra_logs": defaultdict(list), "_pending_metrics": defaultdict(list)}
        with swapped(self, **pending), self._naming_rewards():
            return super()._calculate_rewards(self._told(inputs), prompts, completions, completion_ids)

    def _require_numbers(self, rewards: Tensor) -> None:
        """Raise unless the rewards ``[rows of all ranks, functions]`` of a batch leave something to learn from.

        A function may return None for a row that it does not apply to, as in TRL. All of them for all rows is a fault.
        """
        self._require_finite_or_none(rewards)
        missing = rewards.isnan()
        if self.model.training and missing.all():
            raise ValueError(
                f"Step {self.state.global_step + 1}: {self._named_functions()} returned None or NaN for all "
                f"{len(rewards)} completions of the batch, so nothing can be learned from it. Look into the reward (a "
                "verifier that is down, an answer column that is empty), then go on from the last checkpoint with "
                "resume_from_checkpoint=True. None is for single rows that a reward does not apply to."
            )
        decisive = self._sgpo.correctness
        if decisive is not None and missing[:, decisive].all() and not self._sgpo.told_of_no_verdicts:
            self._sgpo.told_of_no_verdicts = True
            warnings.warn(
                f"Step {self.state.global_step + 1}: the reward function "
                f"{self.reward_func_names[decisive]!r}, which decides what is correct, returned None or NaN "
                "for the whole batch, so none of it counts as correct. This is said once.",
                stacklevel=2,
            )

    def _require_finite_or_none(self, rewards: Tensor) -> None:
        infinite = rewards.isinf().nonzero()
        if len(infinite):
            row, column = infinite[0].tolist()
            raise ValueError(
                f"Step {self.state.global_step + 1}: the reward function {self.reward_func_names[column]!r} returned "
                f"{rewards[row, column].item()} for completion {row} of its batch (float32 ends at 3.4e38), "
                "but a reward must be a finite number, or None where it does not apply. Bound it."
            )

    def _show_advantages(self, advantages: Tensor) -> None:
        """Log this generation batch with the advantages that it is trained on, ``[B * G]``, in place of TRL's own."""
        shown, logged = self.accelerator.gather(advantages).tolist(), self._logs["advantages"]
        for _ in shown:
            logged.pop()
        logged.extend(shown)

    def _named_functions(self) -> str:
        names = self.reward_func_names
        return f"the reward function {names[0]!r}" if len(names) == 1 else f"all reward functions ({', '.join(names)})"

    def _rendered(self, messages: list[dict[str, Any]], **kwargs: Any) -> str:
        return self._tokenizer.apply_chat_template(
            messages, tokenize=False, chat_template=self.chat_template, **self.chat_template_kwargs, **kwargs
        )

    def _local(self, gathered: Tensor, rows: int) -> Tensor:
        """This rank's part of what ``gather`` returned."""
        # Rows of all ranks, one rank after the other: row i here is row i there on the first rank alone.
        start = self.accelerator.process_index * rows
        return gathered[start : start + rows]
