"""SFT on the experts' responses, token for token on what LUFFY and HPT train on: a baseline of SGPO.

TRL renders prompt and response together with the chat template, which may leave the thinking out, put an empty one in
front, or end the prompt otherwise than where rollouts begin. SFT would then learn other responses than the others do,
behind prompts that nobody asks.
"""

import operator
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import trl
from accelerate.utils import is_peft_model
from datasets import Dataset, IterableDataset

from sgpo.data.prompts import check_variables, require_all_shown, require_own_marks
from sgpo.models.dates import fix_date
from sgpo.models.marks import end_of_turn
from sgpo.models.sampling import positions_of
from sgpo.trainer.base_config import SharedConfig, argument
from sgpo.trainer.dropout import disable_dropout
from sgpo.trainer.ends import end_with_the_template
from sgpo.trainer.expert import check_expert_column, response_ids
from sgpo.trainer.heads import add_head_fn, check_head_fn
from sgpo.trainer.measured import EvaluationMeans
from sgpo.trainer.own import swapped
from sgpo.trainer.precision import one_precision
from sgpo.trainer.prompts import text_only
from sgpo.trainer.resuming import ResumingTrainer
from sgpo.trainer.rollouts import Problem


@dataclass
class SFTConfig(SharedConfig, trl.SFTConfig):
    """TRL's ``SFTConfig``, with what the trainers that sample have for an expert's response."""

    max_length: int | None = argument(
        None, "Tokens at which prompt and response are cut. None: nowhere, since what is cut off teaches no end."
    )
    expert_column: str = argument("expert", "Dataset column with the expert response as text.")
    disable_dropout: bool = argument(False, "Whether to train without dropout, that of an adapter included.")
    chat_template_kwargs: dict[str, Any] | None = field(
        default=None, metadata={"help": "Variables of the chat template, such as {'enable_thinking': false}."}
    )


class ExpertSFTTrainer(ResumingTrainer, trl.SFTTrainer):
    """TRL's ``SFTTrainer``; a data set with ``args.expert_column`` trains on it, any other as TRL has it.

    Raises:
        ValueError: at construction, for a problem without an expert response, one that does not fit into the model's
            context with its prompt, and as in :class:`sgpo.trainer.sound.SoundTrainer`.
    """

    _ordering = (*ResumingTrainer._ordering, "data_seed", "train_sampling_strategy")
    _measured: EvaluationMeans | None = None  # while it is evaluated

    def __init__(self, *args: Any, **kwargs: Any):
        # TRL prepares the data while it is constructed.
        self._longest = 0  # tokens of a prompt with its response
        self._turn: int | None = None  # with which the chat template ends a turn
        super().__init__(*args, **kwargs)
        if self.args.disable_dropout:
            disable_dropout(self.model)
        causal = self.model.get_base_model() if is_peft_model(self.model) else self.model
        add_head_fn(causal)
        with one_precision(self.accelerator, causal):
            check_head_fn(causal)
        ends = causal.generation_config.eos_token_id
        named = ends if isinstance(ends, list) else [self.processing_class.eos_token_id if ends is None else ends]
        end_with_the_template(causal, self.processing_class, named, self._turn)
        limit = positions_of(self.model.config)
        if limit is not None and self.args.max_length is None and self._longest > limit:
            raise ValueError(
                f"A prompt with its expert response has {self._longest} tokens, but the model's context ends at "
                f"{limit}. Drop such problems, or use a model with a longer context."
            )

    def _prepare_dataset(self, dataset: Any, processing_class: Any, args: SFTConfig, *rest: Any) -> Any:
        fix_date(processing_class)  # here prompts are rendered
        check_variables(processing_class, args.chat_template_kwargs or {})
        first: Problem = next(iter(dataset), {})
        _, formatting, name = rest  # "train", "eval", or which of several to evaluate on
        # Without a response TRL would look for a completion, in vain.
        bare = "prompt" in first and not formatting and first.keys().isdisjoint(("completion", "input_ids"))
        if bare or args.expert_column in first:
            check_expert_column(dataset, args.expert_column, f"{name if name == 'train' else 'eval'}_dataset")
            if args.completion_only_loss is False:
                raise ValueError(
                    f"completion_only_loss is False, but of the column {args.expert_column!r} the response alone is "
                    "trained on, as in LUFFY and HPT. Leave it out, or give TRL's columns, prompt and completion."
                )
            variables = args.chat_template_kwargs or {}
            self._turn = end_of_turn(processing_class, [first["prompt"]], variables)
            ends = [processing_class.eos_token_id, self._turn]
            given = {"tokenizer": processing_class, "column": args.expert_column, "ends": ends, "variables": variables}
            more = {} if isinstance(dataset, IterableDataset) else {"load_from_cache_file": False}  # see `text_only`
            dataset = text_only(dataset).map(trained_tokens, fn_kwargs=given, remove_columns=list(first), **more)
            if isinstance(dataset, Dataset):  # Arrow's cells, which know their length without a list of them
                lengths = [len(ids) for ids in dataset.data.column("input_ids")]
                self._longest = max(self._longest, *lengths)
                if cut := sum(length > (args.max_length or length) for length in lengths):
                    said = f"max_length={args.max_length} cuts {cut} of {len(lengths)} expert responses off"
                    warnings.warn(f"{said}, which teaches no end. Raise it, or drop such problems.", stacklevel=2)
        return super()._prepare_dataset(dataset, processing_class, args, *rest)

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        # TRL counts tokens anew at each resume; the state keeps them, unless transformers counts there, too. Then, and
        # in checkpoints of older versions, what was logged last says how many they were.
        kept = self.args.include_num_input_tokens_seen == "no"
        logged = next((row["num_tokens"] for row in reversed(self.state.log_history) if "num_tokens" in row), 0)
        own = self.state.num_input_tokens_seen if kept else self._total_train_tokens
        self._total_train_tokens: float = max(own, logged)
        if self._measured is None:
            loss = super().compute_loss(model, inputs, *args, **kwargs)
        else:
            loss = self._measured_loss(self._measured, model, inputs, *args, **kwargs)
        if kept:
            self.state.num_input_tokens_seen = self._total_train_tokens
        return loss

    def _measured_loss(
        self, measured: EvaluationMeans, model: Any, inputs: dict[str, Any], *args: Any, **more: Any
    ) -> Any:
        """The loss of a batch without the rows with which several processes fill the last one up; they stand last."""
        labels, accelerator = inputs["labels"].clone(), self.accelerator
        counted = measured.counts(len(labels) * accelerator.num_processes) - len(labels) * accelerator.process_index
        labels[max(counted, 0) :] = -100
        # TRL's gathers leave out as many sums of a process as there are rows to leave out.
        with swapped(accelerator, gather_for_metrics=accelerator.gather):
            loss = super().compute_loss(model, {**inputs, "labels": labels}, *args, **more)
        tokens = (labels[..., 1:] != -100).sum()
        mean = loss[0] if isinstance(loss, tuple) else loss
        own = torch.stack([torch.where(tokens > 0, mean * tokens, 0.0), tokens])  # a mean over none may be NaN
        total, measured.rows[-1] = accelerator.gather(own).view(-1, 2).sum(dim=0).tolist()
        self._metrics["eval"]["loss"].append(total / max(measured.rows[-1], 1))
        return loss

    def evaluation_loop(self, dataloader: Any, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> Any:
        """Evaluate as ``Trainer`` does, with means over tokens: a mean of batches depends on how these are cut."""
        measured = EvaluationMeans(left=len(dataloader.dataset) if isinstance(dataloader.dataset, Dataset) else None)
        with swapped(self, _measured=measured):
            output = super().evaluation_loop(dataloader, *args, metric_key_prefix=metric_key_prefix, **kwargs)
        for values in self._metrics["eval"].values():
            if len(values) == len(measured.rows):  # the number of tokens so far is one value
                values[:] = [sum(map(operator.mul, values, measured.rows)) / max(sum(measured.rows), 1)]
        output.metrics[f"{metric_key_prefix}_loss"] = self._metrics["eval"].pop("loss")[0]
        return output


def trained_tokens(
    problem: Problem, tokenizer: Any, column: str, ends: Sequence[int | None], variables: dict[str, Any]
) -> dict[str, list[int]]:
    """A problem as TRL's collator reads it: prompt and response, of which the response is trained on."""
    prompt = problem["prompt"]
    plain = isinstance(prompt, str)
    rendered = partial(tokenizer.apply_chat_template, tokenize=False, **variables)
    text = prompt if plain else rendered(prompt, add_generation_prompt=True)
    before = list(tokenizer(text, add_special_tokens=plain)["input_ids"])
    require_own_marks(tokenizer, [(prompt, before)])
    if not plain:
        require_all_shown(text, prompt)
    response = response_ids(tokenizer, ends, prompt, problem[column], rendered)
    return {"input_ids": [*before, *response], "labels": [-100] * len(before) + response}
