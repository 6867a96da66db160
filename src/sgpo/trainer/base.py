"""What SGPO, LUFFY and HPT share beyond TRL's GRPO and resuming: construction, columns, ids, the model card.

Ids are checked where they come in: one beyond the embedding is an IndexError in the middle of a run.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from accelerate.utils import is_peft_model
from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sgpo.data.prompts import check_variables, require_all_shown, require_known_ids, require_own_marks
from sgpo.models.dates import fix_date
from sgpo.models.marks import end_of_turn
from sgpo.models.sampling import bare_generation
from sgpo.models.scoring import without_dropout
from sgpo.trainer import adapters, checks
from sgpo.trainer.base_config import BaseConfig
from sgpo.trainer.dropout import disable_dropout, warn_of_dropout
from sgpo.trainer.ends import end_with_the_template
from sgpo.trainer.finite import finite_sampling
from sgpo.trainer.heads import add_head_fn, check_head_fn
from sgpo.trainer.notices import RolloutHistory, RolloutNotices, gold_faults, logger
from sgpo.trainer.padding import sample_alike_in_any_company, score_alike_in_any_company
from sgpo.trainer.precision import one_precision
from sgpo.trainer.prompts import text_only
from sgpo.trainer.ranks import idle_share
from sgpo.trainer.reward_functions import check_rewards, reads
from sgpo.trainer.rewarded import RewardedGRPOTrainer
from sgpo.trainer.rollouts import Problem, distinct
from sgpo.trainer.run_log import RunLog
from sgpo.trainer.shards import sharded
from sgpo.trainer.trl_seam import get_config_model_id

_NO_BASE = "[None](https://huggingface.co/None)"  # in TRL's model card
_SPECIAL = ("bos_token_id", "eos_token_id", "pad_token_id")
_CHUNK = 1000  # problems that are tokenized at once


class BaseTrainer(RewardedGRPOTrainer):
    """``GRPOTrainer`` on text alone, that resumes to the bit and trains on nothing that it cannot read.

    Raises:
        ValueError: at construction, for arguments, data, rewards or ids that cannot work (:mod:`sgpo.trainer.checks`).
    """

    config_class: type[BaseConfig]
    eos_token_ids: list[int]

    def __init__(
        self,
        model: "str | PreTrainedModel | Any",
        reward_funcs: Callable[..., Any] | list[Callable[..., Any]] | Any = None,
        args: Any = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        processing_class: PreTrainedTokenizerBase | None = None,
        **kwargs: Any,
    ):
        trainer = type(self).__name__
        if args is None:
            name = model if isinstance(model, str) else get_config_model_id(model.config)
            args = self.config_class(f"{name.split('/')[-1]}-{self._name}")
        # All of this before the model is loaded, which may take minutes.
        checks.check_config(trainer, args, self.config_class)
        checks.check_devices(model, args)
        checks.check_text_only(trainer, processing_class, kwargs)
        adapters.check_adapters(model, kwargs.get("peft_config"), args)
        check_rewards(args, reward_funcs, train_dataset, eval_dataset)
        peft = adapters.trains_adapters(model, kwargs.get("peft_config"))
        checks.check_reference(model, args, peft=peft)
        self._check_before_loading(args, train_dataset, peft=peft)
        super().__init__(
            model,
            reward_funcs,
            args=args,
            train_dataset=text_only(train_dataset),
            eval_dataset=text_only(eval_dataset),
            processing_class=processing_class,
            **kwargs,
        )
        self.reward_func_names = distinct(self.reward_func_names)
        for tokenizer in (self._tokenizer, *self.reward_processing_classes):  # a reward model has its own
            fix_date(tokenizer)
        adapters.check_head(self.model, self.args)
        if not sharded(args):
            checks.check_same_reference(self.model, self.ref_model, args.beta)
        self.add_callback(RunLog(self))
        self.add_callback(RolloutNotices(self))
        if self.accelerator.is_main_process:
            for fault in gold_faults(self.train_dataset, self.eval_dataset, self.reward_funcs):
                logger.warning(fault)
        checks.check_tokenizer(self._tokenizer, self.train_dataset, self.eval_dataset)
        self._sgpo.correctness = self._correctness_index()
        checks.warn_of_another_distribution(self.args)
        if args.disable_dropout:
            disable_dropout(self.model)
        warn_of_dropout(self.model, self.args)
        checks.warn_of_hidden_marks(self._tokenizer)
        check_variables(self._tokenizer, self.chat_template_kwargs)
        for model in filter(None, (self.model, self.ref_model)):
            causal = model.get_base_model() if is_peft_model(model) else model
            add_head_fn(causal)
            with one_precision(self.accelerator, causal):
                if model is self.model:  # the reference is of the same architecture, and under autocast
                    check_head_fn(causal)
                score_alike_in_any_company(causal)
                if not args.use_vllm:
                    sample_alike_in_any_company(causal)
        self._end_with_the_template()
        self._check_data()
        self._complete()

    def _check_before_loading(self, args: Any, train_dataset: Any, *, peft: bool) -> None:
        """Raise ``ValueError`` for what the method cannot train with; nothing is there yet but the arguments."""

    def _complete(self) -> None:
        """Last part of the construction, for what a method adds to a trainer that is whole."""

    def _generate_single_turn(self, *args: Any) -> Any:
        model = self.accelerator.unwrap_model(self.model)
        ids = {name: getattr(model.generation_config, name) for name in _SPECIAL}
        # TRL sets temperature, top-p, top-k and the repetition penalty; of the rest the loss would know nothing. And it
        # leaves the model in training mode, where dropout draws each token from another policy.
        precision = one_precision(self.accelerator, self.model)
        finite = finite_sampling(self.state.global_step + 1, self.args.output_dir)
        with precision, bare_generation(model, **ids), without_dropout(self.model), finite:
            completion_ids, logprobs = super()._generate_single_turn(*args)
        # Of a server's queue the processes' own longest completions say nothing.
        served = self.args.use_vllm and self.args.vllm_mode == "server"
        if self.model.training and self.accelerator.num_processes > 1 and not served:
            idle = idle_share(self.accelerator, completion_ids)
            self._metrics["train"]["completions/rank_idle_share"].append(idle)
        return completion_ids, logprobs

    def _own_columns(self) -> list[str]:
        """Columns of the data set that the method itself reads."""
        return []

    def _set_signature_columns_if_needed(self) -> None:
        """Keep what the method and the rewards read: else ``remove_unused_columns`` takes it from them."""
        super()._set_signature_columns_if_needed()
        columns = getattr(self.train_dataset, "column_names", None) or []
        read = [name for name in columns if any(reads(reward, name) for reward in self.reward_funcs)]
        more = dict.fromkeys([*self._own_columns(), *read])
        self._signature_columns += [name for name in more if name not in self._signature_columns]

    def rollout_history(self) -> RolloutHistory:
        """What TRL has logged of the generation batches since it last emptied its metrics."""
        metrics = self._metrics["train"]
        return RolloutHistory(
            cut=metrics.get("completions/clipped_ratio", ()),
            reward=metrics.get("reward", ()),
            same=metrics.get("frac_reward_zero_std", ()),
            guided=metrics.get("sgpo/guided_pass_rate", ()),
        )

    def _before_training(self) -> None:
        super()._before_training()
        checks.check_size(self.train_dataset, self.args)
        self._probe_rewards()

    # ---------------------------------------------------------------- log-probabilities

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        result = super()._get_per_token_logps_and_entropies(*args, **kwargs)
        self._sgpo.logps = result[0]  # TRL's loss does not return them
        return result

    def _last_logps(self) -> Tensor:
        """The log-probabilities ``[N, T]`` of the last forward, on its graph, which is let go of here."""
        logps, self._sgpo.logps = self._sgpo.logps, None
        assert logps is not None
        return logps

    # ---------------------------------------------------------------- ids

    def _check_data(self) -> None:
        """Tokenize what may have an id that the model has no embedding for, or be too long for its context.

        Most tokenizers cannot make such an id; with one that can, that is all of the data. Streamed rows are looked at
        as they come.

        Raises:
            ValueError: what was tokenized has such an id, or is too long.
        """
        size = self.model.config.get_text_config().vocab_size
        special = [i for i in (self._tokenizer.pad_token_id, self._tokenizer.eos_token_id) if i is not None]
        require_known_ids([special], size, self._tokenizer)
        every = self._sgpo.unknown_ids = max(self._tokenizer.get_vocab().values(), default=0) >= size
        self._sgpo.context = checks.context_of(self.model, self.args)
        room = self._sgpo.context[0] - self.max_completion_length
        for rows in self._chunks(self.train_dataset):
            self._tokenize_if([prompt for row in rows for prompt in self._prompts_of(row)], every, room)
            self._check_rest(rows)
        evaluated = self.eval_dataset
        for dataset in evaluated.values() if isinstance(evaluated, dict) else [evaluated]:
            for rows in self._chunks(dataset):
                self._tokenize_if([row["prompt"] for row in rows], every, room)

    def _end_with_the_template(self) -> None:
        """Make the template's end of a turn an end for sampling, masks and metrics, and for the model that is saved."""
        first = next(iter(self.train_dataset))["prompt"]
        turn = end_of_turn(self._tokenizer, [first], self.chat_template_kwargs)
        model = self.accelerator.unwrap_model(self.model)
        ends = end_with_the_template(model, self._tokenizer, self.eos_token_ids, turn)
        if ends == self.eos_token_ids:
            return
        self.eos_token_ids = ends
        if self.use_vllm:
            self.vllm_generation.generation_kwargs["stop_token_ids"] = list(ends)
        else:
            self.generation_config.eos_token_id = list(ends)

    def _tokenize_if(self, prompts: list[Any], every: bool, room: float) -> None:
        if chosen := [prompt for prompt in prompts if every or checks.may_exceed(prompt, room)]:
            self._tokenize_prompts(chosen)

    def _prompts_of(self, problem: Problem) -> list[Any]:
        """The prompts behind which a problem is sampled in training."""
        return [problem["prompt"]]

    def _check_rest(self, rows: list[Problem]) -> None:
        """Tokenize what is trained on beside the prompts, by the same rule."""

    def _chunks(self, dataset: Any) -> Iterator[list[Problem]]:
        """The rows of a data set, of a stream the first one."""
        if isinstance(dataset, Dataset):
            for start in range(0, len(dataset), _CHUNK):
                yield list(dataset.select(range(start, min(start + _CHUNK, len(dataset)))))
        elif dataset is not None:
            yield [next(iter(dataset))]

    def _tokenize_prompts(self, prompts: list[Any]) -> Any:
        if len({isinstance(prompt, str) for prompt in prompts}) > 1:
            raise ValueError("A batch mixes prompts of plain text and of messages; give all problems in one form.")
        result = super()._tokenize_prompts(prompts)
        empty = next((prompt for prompt, ids in zip(prompts, result[0], strict=True) if not len(ids)), None)
        if empty is not None:
            raise ValueError(f"The prompt {empty!r} has no tokens, so nothing can follow it. Drop such problems.")
        require_own_marks(self._tokenizer, zip(prompts, result[0], strict=True))
        checks.require_room(zip(prompts, result[0], strict=True), *self._sgpo.context, self.max_completion_length)
        self._require_all_shown(prompts)
        self._require_known(result[0])
        return result

    def _require_all_shown(self, prompts: list[Any]) -> None:
        """What a template drops, it drops of every conversation with these roles: one of each is looked at."""
        for prompt in prompts:
            roles = "" if isinstance(prompt, str) else " ".join(message["role"] for message in prompt)
            if roles and roles not in self._sgpo.shown_roles:
                self._sgpo.shown_roles.add(roles)
                require_all_shown(self._rendered(prompt, add_generation_prompt=True), prompt)

    def _require_known(self, rows: Iterable[list[int]]) -> None:
        if self._sgpo.unknown_ids:
            require_known_ids(rows, self.model.config.get_text_config().vocab_size, self._tokenizer)

    # ---------------------------------------------------------------- the model card

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write TRL's model card with what it leaves out: a base in a local folder, a model that is not on the hub."""
        super().create_model_card(*args, **kwargs)
        card = Path(self.args.output_dir) / "README.md"
        if self.is_world_process_zero() and card.is_file():
            text = card.read_text(encoding="utf-8")
            text = text.replace(_NO_BASE, f"`{self._sgpo.base_model or 'a model in memory'}`")
            card.write_text(text.replace('model="None"', f'model="{self.args.output_dir}"'), encoding="utf-8")

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """Put the model card beside the weights, wherever they go; PEFT adds to a card that is there."""
        folder = output_dir or self.args.output_dir
        self.create_model_card(model_name=Path(self.args.hub_model_id or self.args.output_dir).name)
        card = Path(self.args.output_dir) / "README.md"
        if self.is_world_process_zero() and card.is_file():
            Path(folder).mkdir(parents=True, exist_ok=True)
            (Path(folder) / card.name).write_bytes(card.read_bytes())
        super()._save(output_dir, state_dict)
