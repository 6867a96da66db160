"""What the baselines that train on an expert's response share: the dataset column, its tokens, the captured rewards.

The expert response of a problem is put among the rows of its group, so it rides through TRL's shuffling, splitting
and forward pass like a rollout: no second forward, and every rank runs the same collectives whatever its problems.

Shapes: B problems and G rollouts of each on this rank, N rows of a micro-step, T completion tokens.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from datasets import Dataset
from torch import Tensor

from sgpo.models.thinking import after_thinking, begun_at_end
from sgpo.trainer import checks
from sgpo.trainer.base import BaseTrainer
from sgpo.trainer.base_config import BaseConfig, argument
from sgpo.trainer.metrics import reduced
from sgpo.trainer.rollouts import Problem


@dataclass
class ExpertConfig(BaseConfig):
    """GRPO as SGPO runs it, with what LUFFY's and HPT's public scripts share where that differs."""

    num_generations: int = argument(8, "G: responses per problem; with LUFFY one of them is the expert's.")
    epsilon: float = argument(0.2, "Lower clip range of the on-policy ratio. (Their scripts: no clip.)")
    epsilon_high: float | None = argument(0.28, "Upper clip range of the on-policy ratio. (Their scripts: no clip.)")
    loss_type: str = argument(
        "dr_grpo", "How token losses are summed. Their scripts divide by a constant length, as 'dr_grpo' does."
    )
    scale_rewards: str = argument(
        "none", "Whether advantages are divided by the standard deviation; 'none', as in their scripts."
    )
    entropy_coef: float = argument(0.001, "Coefficient of the entropy bonus; 0.001 in their scripts.")
    expert_column: str = argument(
        "expert",
        "Dataset column with the expert response as text: what follows a plain prompt, leading space included, or "
        "the content of the assistant message after a conversation.",
    )


class ExpertTrainer(BaseTrainer):
    """``GRPOTrainer`` on a dataset with an expert response for every problem."""

    config_class: type[ExpertConfig] = ExpertConfig

    def _check_before_loading(self, args: Any, train_dataset: Any, *, peft: bool) -> None:
        check_expert_column(train_dataset, args.expert_column)

    def _own_columns(self) -> list[str]:
        return [self.args.expert_column]

    # ---------------------------------------------------------------- the expert's tokens

    def _expert_ids(self, example: Problem) -> list[int]:
        """The expert response as the policy would have sampled it: the ids after the prompt's, ended by one EOS.

        Raises:
            ValueError: the response is not text, or does not fit into ``max_completion_length``.
        """
        prompt: Any = example["prompt"]
        expert: Any = example.get(self.args.expert_column)
        check_expert(expert, self.args.expert_column, f"the problem {str(prompt)[:80]!r}")
        ids = response_ids(self._tokenizer, self.eos_token_ids, prompt, expert, self._rendered)
        self._require_known([ids])
        if len(ids) > self.max_completion_length:
            raise ValueError(
                f"The expert response of the problem {str(prompt)[:80]!r} has {len(ids)} tokens with its EOS, but "
                f"max_completion_length is {self.max_completion_length}, and a response that is cut off teaches no "
                "end. Raise max_completion_length, or drop such problems."
            )
        return ids

    def _check_rest(self, rows: list[Problem]) -> None:
        if not self._sgpo.unknown_ids:
            rows = self._maybe_too_long(rows)
        for row in rows:
            self._expert_ids(row)

    def _maybe_too_long(self, rows: list[Problem]) -> list[Problem]:
        column, limit = self.args.expert_column, self.max_completion_length - _MARGIN
        long = [row for row in rows if len(row[column].encode()) > limit]  # a token is at least one byte
        if not long:
            return []
        ids = self._tokenizer([row[column] for row in long], add_special_tokens=False)["input_ids"]
        return [row for row, tokens in zip(long, ids, strict=True) if len(tokens) > limit]

    # ---------------------------------------------------------------- loss and metrics

    def get_high_entropy_mask(self, entropies: Tensor, mask: Tensor, threshold: float) -> Tensor:
        """TRL's, over sampled tokens: an expert's are none of those that `top_entropy_quantile` chooses from."""
        experts = self._sgpo.expert_rows
        return super().get_high_entropy_mask(
            entropies, mask if experts is None else mask * ~experts[:, None], threshold
        )

    def _record(self, prefix: str, means: dict[str, tuple[Any, Any]], **totals: Any) -> None:
        """Log each mean, ``sum / count`` (nothing where that is 0), and each total, over all ranks. A collective."""
        counts = reduced(self.accelerator, {name: count for name, (_, count) in means.items()})
        sums = reduced(self.accelerator, {**totals, **{name: total for name, (total, _) in means.items()}})
        for name, value in sums.items():
            if count := counts.get(name, 1.0):
                self._metrics["train"][f"{prefix}/{name}"].append(value / count)


def response_ids(
    tokenizer: Any, ends: Sequence[int | None], prompt: Any, expert: str, rendered: Callable[..., str]
) -> list[int]:
    """The ids of an expert response behind those of its prompt, up to the first of ``ends``, one of which ends them.

    Args:
        rendered: makes of messages the text of the chat template, which the policy goes on from.
    """
    plain = isinstance(prompt, str)
    text = prompt if plain else rendered(prompt, add_generation_prompt=True)
    if mark := begun_at_end(text):
        expert = within_thinking(expert, mark, text.rpartition(mark)[2])

    def encode(text: str, special: bool) -> list[int]:
        return list(tokenizer(text, add_special_tokens=special)["input_ids"])

    before, whole = encode(text, plain), encode(text + expert, plain)
    # Where a token would span prompt and response, which no sampled response does, the response stands alone.
    ids = whole[len(before) :] if whole[: len(before)] == before else encode(expert, False)
    found = next((i for i, token in enumerate(ids) if token in ends), len(ids))
    return [*ids[:found], _end_of_response(tokenizer, ends, prompt, rendered)]


def _end_of_response(tokenizer: Any, ends: Sequence[int | None], prompt: Any, rendered: Callable[..., str]) -> int:
    """The end that the chat template puts behind an assistant's message if generation stops there; else the EOS."""
    if not isinstance(prompt, str):
        tail = rendered([*prompt, {"role": "assistant", "content": _MARK}]).rpartition(_MARK)[2]
        for token in tokenizer(tail, add_special_tokens=False)["input_ids"]:
            if token in ends:
                return int(token)
    return int(tokenizer.eos_token_id)


_MARK = "expert response"
_MARGIN = 8  # tokens that the EOS, and a split at the prompt's end, may add


def within_thinking(expert: str, mark: str, behind: str) -> str:
    """An expert response behind a prompt that ends with ``mark``, which begins the thinking, and ``behind``.

    The response would begin it again; and where it never ends it, the policy would learn to answer within it.
    """
    if after_thinking(expert) == expert:
        warnings.warn(
            f"The prompts begin the thinking with {mark!r}, and an expert response never ends it: the policy learns to "
            "answer within its thinking. Give responses with their thinking, or prompts that begin none "
            "(chat_template_kwargs, such as enable_thinking: false).",
            stacklevel=2,
        )
    opened = expert.lstrip()
    return opened.removeprefix(mark).removeprefix(behind) if opened.startswith(mark) else expert


def check_expert_column(dataset: Any, column: str, name: str = "train_dataset") -> None:
    """Raise ``ValueError`` unless every problem has an expert response; of a stream, its first one is looked at."""
    first = checks.require_column(
        dataset,
        column,
        "This method trains on the responses of an expert: rename yours with `dataset.rename_column`, or set "
        "expert_column.",
        name,
    )
    if first is None:
        return
    for row, expert in enumerate(dataset[column] if isinstance(dataset, Dataset) else [first[column]]):
        check_expert(expert, column, f"row {row}")


def check_expert(expert: Any, column: str, where: str) -> None:
    """Raise ``ValueError`` unless ``expert`` is text with something in it."""
    if not isinstance(expert, str):
        raise ValueError(
            f"The {column!r} of {where} is {expert!r} ({type(expert).__name__}), but must be text: the response alone, "
            "for a conversation the content of its last message. Drop problems without one."
        )
    if not expert.strip():
        raise ValueError(f"The {column!r} of {where} is {expert!r}, with nothing to learn from. Drop such problems.")
