"""What is refused before any training, and why: each error says the value, the rule and the remedy."""

import math
import warnings
from collections.abc import Iterable, Mapping, Sized
from itertools import chain, islice
from typing import Any

import torch
from accelerate.utils import is_peft_model
from datasets import Dataset, IterableDataset
from transformers import AutoConfig, PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin, TrainingArguments

from sgpo.data.leaks import contains_answer
from sgpo.data.prompts import Prompt
from sgpo.models.folders import require_vocabulary
from sgpo.models.marks import special_marks, special_tokens, turn_marks
from sgpo.models.sampling import positions_of
from sgpo.rewards.golds import gold_text
from sgpo.trainer.base_config import BaseConfig
from sgpo.trainer.config import SGPOConfig
from sgpo.trainer.shards import sharded, sharding
from sgpo.trainer.trl_seam import get_config_model_id

STRATEGY_COLUMN = "strategy"
_SHOWN = 3  # examples in an error about a data set


def check_config(trainer: str, args: Any, wanted: type[BaseConfig]) -> None:
    """Refuse arguments that no data could make right; ``trainer`` is its name, for the error.

    Raises:
        TypeError: they are those of another trainer.
        ValueError: a DeepSpeed config that clips at another norm than ``max_grad_norm`` says.
    """
    if not isinstance(args, wanted):
        raise TypeError(
            f"args is a {type(args).__name__}, but {trainer} takes a {wanted.__name__}, which has all fields of TRL's "
            f"GRPOConfig. Use sgpo.{wanted.__name__} in its place."
        )
    # Only an "auto" is filled in from the arguments. Where the entry is missing, Accelerate silently writes 1.0.
    zero = getattr(args.deepspeed_plugin, "deepspeed_config", None) or {}
    norm = zero.get("gradient_clipping", 1.0)
    if zero and norm not in ("auto", args.max_grad_norm):
        raise ValueError(
            f"max_grad_norm is {args.max_grad_norm}, but the DeepSpeed config clips the gradient's norm at {norm}, its "
            'gradient_clipping or, without that, Accelerate\'s 1.0. Write "gradient_clipping": "auto" into it.'
        )


def check_devices(model: Any, args: BaseConfig) -> None:
    """Refuse one process that sees several GPUs, unless the user has placed the model.

    TRL would split a named model over all of them, layer by layer: they work one after the other, and where the head is
    no tied one, TRL's loss mixes devices.
    """
    named = isinstance(model, str)
    placed = (args.model_init_kwargs or {}).get("device_map") if named else getattr(model, "hf_device_map", None)
    if args.n_gpu > 1 and not placed:
        raise ValueError(
            f"This process sees {args.n_gpu} GPUs, but trains on one. Show it one (CUDA_VISIBLE_DEVICES=0), or start a "
            "process for each with accelerate launch or torchrun (docs/recipes.md, RL)."
        )


def check_text_only(trainer: str, processing_class: Any, arguments: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` for arguments that no trainer of this package can serve; ``trainer`` is its name."""
    for name in ("rollout_func", "tools", "environment_factory"):
        if arguments.get(name):
            raise ValueError(
                f"{trainer} does not support `{name}`: its rollouts come from one generation call of its own. "
                "Leave it out, or use trl.GRPOTrainer for that task."
            )
    if isinstance(processing_class, ProcessorMixin):
        raise ValueError(
            f"{trainer} is text-only, but processing_class is the multimodal {type(processing_class).__name__}. "
            "Pass its tokenizer (`processor.tokenizer`) and a text dataset."
        )
    if isinstance(processing_class, PreTrainedTokenizerBase) and processing_class.pad_token is None:
        raise ValueError(
            f"The tokenizer ({type(processing_class).__name__}) has no pad token, which rollouts of different length "
            "need. Set one, for example `tokenizer.pad_token = tokenizer.eos_token`."
        )


def check_tokenizer(tokenizer: Any, *datasets: Any) -> None:
    """Raise ``ValueError`` for a tokenizer that can end no response, or make no text of the prompts.

    Args:
        datasets: data sets, dicts of them, or None. All prompts of one have one form, so its first one tells.
    """
    kind = type(tokenizer).__name__
    require_vocabulary(tokenizer, tokenizer.name_or_path)
    if tokenizer.eos_token_id is None:
        raise ValueError(
            f"The tokenizer ({kind}) has no EOS token, so no response could end. Set the one with which the model ends "
            "its turns, for example `tokenizer.eos_token = '<|im_end|>'`."
        )
    if getattr(tokenizer, "chat_template", True):
        return
    each = chain.from_iterable(d.values() if isinstance(d, Mapping) else [d] for d in datasets if d is not None)
    first = [problem for dataset in each for problem in islice(dataset, 1)]
    if any(not isinstance(problem.get("prompt", ""), str) for problem in first):
        raise ValueError(
            f"The prompts are messages, but the tokenizer ({kind}) has no chat template to make text of them. Give "
            "prompts of text, as `sgpo init MODEL DATA` writes them for such a model, or take an instruction-tuned one."
        )


def check_arguments(args: SGPOConfig, *, peft: bool) -> None:
    """Raise ``ValueError`` for settings that cannot work together; ``peft`` tells whether the model has adapters."""
    given = (args.gradient_checkpointing_kwargs or {}).get("use_reentrant", False)
    forced = peft and getattr(args.deepspeed_plugin, "zero_stage", 0) == 3
    if args.guides and args.gradient_checkpointing and (given or forced):
        who, remedy = "gradient_checkpointing_kwargs has", "gradient_checkpointing_kwargs={'use_reentrant': False}"
        if forced:
            who = "TRL forces, for gradient checkpointing of a PEFT model under DeepSpeed ZeRO-3,"
            remedy = "gradient_checkpointing=False, ZeRO-2, or train without PEFT"
        raise ValueError(
            f"{who} use_reentrant=True, which fails when one backward pass covers two forward passes (GRPO and the "
            f"guided side). Use {remedy}."
        )
    if args.teacher != "live" and (who := sharding(args)) in ("FSDP1", "DeepSpeed"):
        raise ValueError(
            f"teacher={args.teacher!r} keeps a second set of parameters, which is not done where {who} shards them. "
            "Use FSDP2 (recipes/accelerate/fsdp2.yaml; fsdp_version: 2), DDP or one device, or teacher='live'."
        )


def check_reference(model: Any, args: BaseConfig, *, peft: bool) -> None:
    """Raise ``ValueError`` if ``beta`` asks for a reference model that TRL could not load.

    TRL reads the reference from the folder or hub id in the model's config, and a model that was made in memory has
    none there. Of a model with adapters the reference is the model without them.
    """
    if args.beta == 0.0 or peft or isinstance(model, str):
        return
    name = get_config_model_id(model.config)
    try:
        if name:
            AutoConfig.from_pretrained(name, trust_remote_code=args.trust_remote_code)
            return
    except (OSError, ValueError):
        pass
    raise ValueError(
        f"beta is {args.beta}, for which TRL loads a reference model from where the model came from, but this one "
        f"{f'names {name!r}, which cannot be read' if name else 'was made in memory'}. Save it with "
        "model.save_pretrained(FOLDER) and pass model=FOLDER, train adapters (peft_config), or set beta=0.0."
    )


def check_same_reference(model: PreTrainedModel, reference: PreTrainedModel | None, beta: float) -> None:
    """Raise ``ValueError`` if the reference is not what training begins from: the KL would lead back to another model.

    TRL has read it from where the model came from. What was done to the model since (an adapter merged into it, say) is
    not there. To be called before the first step.
    """
    weights = {} if reference is None else dict(reference.named_parameters())
    pairs = ((p, weights[name]) for name, p in model.named_parameters() if name in weights)
    if any(p.shape == q.shape and p.is_floating_point() and not _rounds_to(p, q) for p, q in pairs):
        raise ValueError(
            f"beta is {beta}, and TRL has loaded the reference from {get_config_model_id(model.config)!r}, but the "
            "weights of the model that is given are others: it was changed in memory. Save it "
            "(model.save_pretrained(FOLDER)) and pass model=FOLDER, or set beta=0.0."
        )


def _rounds_to(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors are equal in the coarser of their precisions."""
    coarser = max(one.dtype, other.dtype, key=lambda dtype: torch.finfo(dtype).eps)
    return torch.equal(one.detach().to(coarser), other.detach().to(one.device, coarser))


def require_column(dataset: Any, column: str, remedy: str, name: str = "train_dataset") -> Any:
    """The first problem, None of what is no data set. Raises ``ValueError`` if it lacks a prompt or the column."""
    if not isinstance(dataset, (Dataset, IterableDataset)):
        return None  # TRL says what it takes
    first = next(iter(dataset), None)
    if first is None:
        raise ValueError(f"{name} is empty; give at least one problem.")
    missing = [needed for needed in ("prompt", column) if needed not in first]
    if missing:
        raise ValueError(f"{name} has no column {missing[0]!r}; its columns are {list(first)}. {remedy}")
    return first


def check_dataset(dataset: Any, args: SGPOConfig) -> None:
    """Raise ``ValueError`` for missing columns, strategies that are not text, or that contain the answer.

    Of a streamed data set the first row is looked at: the others are checked as they come.
    """
    first = require_column(
        dataset,
        STRATEGY_COLUMN if args.guides else "prompt",
        "SGPO needs 'prompt' and 'strategy' (text; None or '' for a problem that shall train by GRPO alone). "
        "`sgpo init MODEL DATA` makes prompts of problems; else rename yours with `dataset.rename_column`, or train "
        "without strategies by alpha_form='constant', alpha_0=0.",
    )
    if not args.guides:
        return
    if not isinstance(dataset, Dataset):
        require_text((first or {}).get(STRATEGY_COLUMN), 0)
        return
    strategies = dataset[STRATEGY_COLUMN]
    for row, strategy in enumerate(strategies):
        require_text(strategy, row)
    answers = _answers(dataset, args) or [""] * len(dataset)
    pairs = zip(strategies, answers, strict=True)
    leaks = [row for row, (s, a) in enumerate(pairs) if s and contains_answer(s, a)]
    if leaks:
        shown = "; ".join(f"row {r}: answer {answers[r]!r} in {strategies[r]!r}" for r in leaks[:_SHOWN])
        raise ValueError(
            f"{len(leaks)} of {len(dataset)} strategies contain the answer of their problem ({shown}), so the "
            "guided rollouts would copy it instead of reasoning. Rewrite them, or set the strategy of these rows "
            f"to None; if {args.answer_column!r} is not the answer, set answer_column."
        )


def _answers(dataset: Dataset, args: SGPOConfig) -> list[str]:
    """The answers as rewards read them: in a list, at the end of a solution, or in the column `solution`."""
    columns = [dataset[name] for name in (args.answer_column, "solution") if name in dataset.column_names]
    return [next(filter(str.strip, map(_answer, golds)), "") for golds in zip(*columns, strict=True)]


def _answer(gold: Any) -> str:
    try:
        return gold_text(gold)
    except TypeError:  # of a column that no reward of ours reads
        return str(gold)


def check_marks(rows: Iterable[Mapping[str, Any]], tokenizer: Any) -> None:
    """Raise ``ValueError`` for a mark where a strategy enters: in it, or in a prompt that a chat template has rendered.

    The strategy goes behind a prompt of plain text, so behind the mark with which the assistant's turn begins: it would
    be the policy's own words. And a mark in a strategy, such as a model's <|im_end|>, ends the turn that it stands in.
    """
    special, of_turns = sorted(special_tokens(tokenizer).values()), turn_marks(tokenizer)
    for row, problem in enumerate(rows):
        prompt, strategy = problem["prompt"], strategy_of(problem)
        if strategy and (found := next((mark for mark in special if mark in strategy), None)):
            raise ValueError(
                f"The strategy of row {row} has {found!r}, a special token of the tokenizer, with which the guided "
                f"prompt would be another conversation: {strategy[:80]!r}. Take it out."
            )
        found = next((mark for mark in of_turns if isinstance(prompt, str) and mark in prompt), None)
        if found and strategy:
            raise ValueError(
                f"The prompt of row {row} is text with {found!r}, a mark of the chat template: {prompt[-80:]!r}. Its "
                "strategy would stand behind that mark, as the assistant's own words. Give messages "
                "([{'role': 'user', 'content': ...}]), and the template is applied here."
            )


def check_size(dataset: Any, args: BaseConfig) -> None:
    """Raise ``ValueError`` if a data set has too few problems for one generation batch: a run would take no step."""
    size = args.generation_batch_size // args.num_generations
    if isinstance(dataset, Dataset) and len(dataset) < size:
        raise ValueError(
            f"train_dataset has {len(dataset)} problems, but a generation batch takes {size} "
            f"(per_device_train_batch_size * steps_per_generation * processes = {args.generation_batch_size} rollouts, "
            f"{args.num_generations} of a problem), so no step would be taken. Lower these, or give more problems."
        )


def strategy_of(problem: Mapping[str, Any]) -> str:
    """The strategy of a problem, "" for None and for a blank one."""
    return (problem.get(STRATEGY_COLUMN) or "").strip()


def require_text(strategy: Any, row: int | str) -> None:
    """Raise ``ValueError`` unless ``strategy`` is text or None."""
    if strategy is not None and not isinstance(strategy, str):
        raise ValueError(
            f"The strategy of row {row} is {strategy!r} ({type(strategy).__name__}), but must be text, or None for a "
            "problem without one. Join a structured strategy into text first."
        )


def warn_of_lost_updates(model: PreTrainedModel, args: TrainingArguments) -> None:
    """Warn where most weights are too coarse for a step of the learning rate, which rounds away.

    An optimizer of the Adam family moves a weight by about the learning rate, and bfloat16 holds 0.02 to within 6e-5.
    Adapters start at 0, where it is fine; DeepSpeed, and FSDP in mixed precision, keep float32 weights of their own.
    """
    if is_peft_model(model) or sharded(args) or not args.learning_rate > 0:
        return
    still = total = 0
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dtype in (torch.bfloat16, torch.float16):
            flat = parameter.detach().flatten()
            sample = flat[:: max(1, flat.numel() // _SAMPLED_WEIGHTS)]
            still += int((sample.float() - args.learning_rate).to(sample.dtype).eq(sample).sum())
            total += sample.numel()
    if total and still > total / 2:
        dtype = str(next(p.dtype for p in model.parameters() if p.requires_grad)).removeprefix("torch.")
        warnings.warn(
            f"The model's weights are {dtype}, in which {still / total:.0%} of them do not change by a step of "
            f"learning_rate={args.learning_rate}: the update rounds away, and the run trains next to nothing. Load the "
            "model in float32 (model_init_kwargs={'dtype': 'float32'}) and set bf16=True, which computes in bfloat16 "
            "and keeps float32 weights; or train adapters (LoRA).",
            stacklevel=2,
        )


def warn_of_hidden_marks(tokenizer: Any) -> None:
    """Warn where marks of thinking are special tokens: TRL leaves these out of the texts that rewards judge."""
    hidden = sorted(tokenizer.added_tokens_decoder[i].content for i in special_marks(tokenizer))
    if hidden:
        warnings.warn(
            f"The tokenizer has {', '.join(hidden)} among its special tokens, which rewards are not shown: thinking is "
            "judged as a part of the answer, and a reward that looks for the marks finds none. Set special to false "
            "for them in tokenizer.json and tokenizer_config.json.",
            stacklevel=2,
        )


def warn_of_another_distribution(args: BaseConfig) -> None:
    """Warn where vLLM's log-probabilities are of a cut or penalised distribution, and the loss's of the whole one."""
    plain = {"top_p": (1.0,), "top_k": (0, -1, None), "min_p": (0.0, None), "repetition_penalty": (1.0,)}
    cut = {name: value for name in plain if (value := getattr(args, name)) not in plain[name]}
    if cut and args.use_vllm and args.vllm_importance_sampling_correction:
        said = ", ".join(f"{name}={value}" for name, value in cut.items())
        warnings.warn(
            f"With {said} vLLM gives log-probabilities of the tokens that are left, and the loss those of all, so that "
            "vllm_importance_sampling_correction takes the difference for another policy. Leave these at their "
            "defaults, or set vllm_importance_sampling_correction=False.",
            stacklevel=2,
        )


def context_of(model: PreTrainedModel, args: BaseConfig) -> tuple[float, str]:
    """The tokens that a prompt and a completion may have together, and whose limit that is, for an error."""
    limit, beside = positions_of(model.config) or math.inf, args.use_vllm and args.vllm_mode == "colocate"
    served = (beside and args.vllm_max_model_length) or math.inf  # where vLLM would cut the completion without a word
    return (served, "vllm_max_model_length") if served < limit else (limit, "the model's context")


def may_exceed(prompt: Prompt, room: float) -> bool:
    """Whether a prompt may have more tokens than ``room``, by its bytes: a token is at least one."""
    text = prompt if isinstance(prompt, str) else "".join(str(message["content"]) for message in prompt)
    return len(text.encode()) + _TEMPLATE_ROOM > room


def require_room(prompts: Iterable[tuple[Prompt, Sized]], limit: float, whose: str, completion: int) -> None:
    """Raise ``ValueError`` if one of the prompts, each with its tokens, leaves no room for a completion.

    Behind the last position that it was trained on a model goes on without an error, and writes nonsense.
    """
    for prompt, ids in prompts:
        if len(ids) + completion > limit:
            raise ValueError(
                f"The prompt {str(prompt)[:80]!r} has {len(ids)} tokens with all that stands around it, and "
                f"max_completion_length is {completion}, but {whose} ends at {limit}. Shorten or drop such prompts (or "
                "their strategies), lower max_completion_length, or use a model with a longer context."
            )


_SAMPLED_WEIGHTS = 1000  # of each parameter
_TEMPLATE_ROOM = 512  # tokens a chat template may add around the messages
