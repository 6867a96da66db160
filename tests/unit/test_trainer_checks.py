"""Bad input is refused before any training, by an error that shows the value and names a remedy."""

import json
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import make_dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import trainer_kit as kit
from datasets import Dataset, IterableDataset, concatenate_datasets, load_from_disk
from peft import LoraConfig, TrainableTokensConfig, get_peft_model
from safetensors.torch import load_file, save_file
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForCausalLM, GenerationConfig
from transformers.generation.utils import GenerationMixin
from trl import GRPOConfig

from sgpo import SGPOConfig
from sgpo.models.marks import end_of_turn
from sgpo.models.sampling import encode, sample
from sgpo.runs.methods import CONFIG_PRESETS
from sgpo.trainer import prompts
from sgpo.trainer.adapters import check_head, check_merged
from sgpo.trainer.checks import check_arguments, check_config, context_of, warn_of_another_distribution
from sgpo.trainer.config import _OPEN
from sgpo.trainer.dropout import rates
from sgpo.trainer.methods import KINDS
from sgpo.trainer.prompts import text_only
from sgpo.trainer.sft import ExpertSFTTrainer, SFTConfig
from sgpo.trainer.shards import sharding


def changed(column: str, row: int, value: Any) -> Dataset:
    rows = kit.make_problems(4).to_dict()
    rows[column] = [value if i == row else old for i, old in enumerate(rows[column])]
    return Dataset.from_dict(rows)


def padded_beyond() -> Any:
    tokenizer = kit.make_tokenizer()
    tokenizer.add_special_tokens({"pad_token": "<new>"})
    return tokenizer


def without_pad() -> Any:
    tokenizer = kit.make_tokenizer()
    tokenizer.pad_token = None
    return tokenizer


def without_eos() -> Any:
    tokenizer = kit.make_tokenizer()
    tokenizer.eos_token = None
    return tokenizer


def without_chat_template() -> Any:
    tokenizer = kit.make_tokenizer()
    tokenizer.chat_template = None
    return tokenizer


def renamed(name: str) -> Any:
    model = kit.make_model()
    model.config._name_or_path = name
    return model


def told(column: str, answer: Any) -> Dataset:
    """Two problems with one answer, which the first one's strategy tells."""
    row = {"prompt": ["solve 1"] * 2, "strategy": ["carry 12, which makes 42", "carry"]}
    return Dataset.from_dict({**row, column: [answer] * 2})


def one_prompt(prompt: Any) -> Dataset:
    user = {"role": "user", "content": "solve a"}
    return Dataset.from_dict({"prompt": [prompt, [user]], "strategy": ["carry"] * 2})


def returns(value: Any) -> Callable[..., list[Any]]:
    def reward(completions: list[Any], **kwargs: Any) -> list[Any]:
        return [value] * len(completions)

    return reward


def raises(completions: list[Any], **kwargs: Any) -> list[float]:
    raise KeyError("no such column: solution")


def too_few(completions: list[Any], **kwargs: Any) -> list[float]:
    return []


TRAINERS = ("sgpo", "luffy", "hpt")
REENTRANT = {"use_reentrant": True}
# name -> (what is passed, words that the error must hold)
REFUSED: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "missing strategy": (
        {"data": kit.make_problems(2).rename_column("strategy", "hint")},
        ("no column 'strategy'", "['prompt', 'hint', 'answer']", "rename_column"),
    ),
    "missing prompt": (
        {"data": kit.make_problems(2).rename_column("prompt", "question")},
        ("no column 'prompt'", "'question'", "rename_column"),
    ),
    "missing prompt, GRPO alone": (
        {"data": kit.make_problems(2).rename_column("prompt", "question"), "alpha_form": "constant", "alpha_0": 0},
        ("no column 'prompt'", "'question'", "rename_column"),
    ),
    "streamed without strategy": (
        {"data": kit.make_problems(2).remove_columns("strategy").to_iterable_dataset()},
        ("no column 'strategy'", "['prompt', 'answer']", "rename_column"),
    ),
    "empty dataset": ({"data": kit.make_problems(2).select([])}, ("empty", "at least one problem")),
    "strategy is a number": (
        {"data": Dataset.from_dict({"prompt": ["solve 1"], "strategy": [3.5]})},
        ("row 0", "3.5", "float", "must be text"),
    ),
    "strategy is a list": (
        {"data": Dataset.from_dict({"prompt": ["solve 1", "solve 2"], "strategy": [["carry"], ["shift"]]})},
        ("row 0", "['carry']", "list", "Join"),
    ),
    "strategy holds the answer": (
        {"data": changed("strategy", 2, "say answer: ok loudly")},
        ("1 of 4", "row 2", "'ok'", "say answer: ok loudly", "set answer_column"),
    ),
    "strategy holds the answer at the end of a solution": (
        {"data": told("answer", "He has 30 + 12.\n#### 42")},
        ("1 of 2", "row 0", "answer '42'"),
    ),
    "strategy holds the answer, a list": ({"data": told("answer", ["42"])}, ("1 of 2", "answer '42'")),
    "strategy holds the answer of the second column": (
        {"data": told("solution", "It is \\boxed{42}.")},
        ("1 of 2", "answer '42'"),
    ),
    "context": (
        {"max_completion_length": 60},  # the unguided prompts fit
        (" hint borrow", "max_completion_length is 60", "ends at 64", "Shorten or drop"),
    ),
    "ids beyond the vocabulary": (
        {"model": kit.make_model(vocab_size=len(kit.WORDS) - 2)},
        (f"the id {kit.WORDS.index('solve')} ('solve')", f"{len(kit.WORDS) - 2} entries", "resize_token_embeddings"),
    ),
    "G1 over the batch": (
        {"per_device_train_batch_size": 6},
        ("num_generations is 4", "6 * 1 = 6 rollouts", "must not straddle", "multiple of 4"),
    ),
    "G1 over the batch of a generation": (
        {"per_device_train_batch_size": 2, "steps_per_generation": 3, "gradient_accumulation_steps": 2},
        ("num_generations is 4", "2 * 3 = 6 rollouts", "multiple of 4"),
    ),
    "pad token beyond the vocabulary": (
        {"tokenizer": padded_beyond()},
        (f"the id {len(kit.WORDS)} ('<new>')", f"{len(kit.WORDS)} entries", "one of its tokens for padding"),
    ),
    "no pad token": ({"tokenizer": without_pad()}, ("no pad token", "tokenizer.pad_token = tokenizer.eos_token")),
    "reentrant": (
        {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": REENTRANT},
        ("use_reentrant=True", "two forward passes", "{'use_reentrant': False}"),
    ),
    "reentrant by its new name": (
        {"activation_checkpointing": True, "activation_checkpointing_kwargs": REENTRANT},
        ("use_reentrant=True", "two forward passes", "{'use_reentrant': False}"),
    ),
    "blank prompt": ({"data": changed("prompt", 2, "  ")}, ("Row 2", "'  '", "Drop such problems")),
    "no prompt": ({"data": changed("prompt", 1, None)}, ("Row 1", "None", "Drop such problems")),
    "no messages": ({"data": one_prompt([])}, ("Row 0", "[]", "Drop such problems")),
    "a turn that says nothing": (
        {"data": one_prompt([{"role": "user", "content": None}])},
        ("Row 0", "'user' message", "no tool_calls"),
    ),
    "the solution as the last turn": (
        {"data": one_prompt([{"role": "user", "content": "1 + 1"}, {"role": "assistant", "content": "It is 2."}])},
        ("Row 0", "the assistant's ('It is 2.')", "would be copied", "Drop the message"),
    ),
    "no EOS": ({"tokenizer": without_eos()}, ("no EOS token", "tokenizer.eos_token = ")),
    "messages without a chat template": (
        {"tokenizer": without_chat_template(), "data": one_prompt([{"role": "user", "content": "solve b"}])},
        ("messages", "no chat template", "prompts of text", "instruction-tuned"),
    ),
    "tools": ({"arguments": {"tools": [len]}}, ("`tools`", "Leave it out", "trl.GRPOTrainer")),
    "rollout_func": ({"arguments": {"rollout_func": len}}, ("`rollout_func`", "Leave it out")),
    "environment_factory": ({"arguments": {"environment_factory": object}}, ("`environment_factory`", "Leave it out")),
    "a reference of a model in memory": (
        {"beta": 0.1},
        ("beta is 0.1", "was made in memory", "model.save_pretrained(FOLDER)", "beta=0.0"),
    ),
    "a reference that is gone": (
        {"beta": 0.1, "model": renamed("gone/away")},
        ("beta is 0.1", "names 'gone/away', which cannot be read", "pass model=FOLDER"),
    ),
    "unknown correctness reward": (
        {"correctness_reward": "exact"},
        ("correctness_reward is 'exact'", "['has_ok']", "Name one of them"),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_at_construction(name: str, out: Path) -> None:
    passed, words = REFUSED[name]
    with pytest.raises(ValueError) as error:
        kit.make_trainer(out, **passed)
    assert_words(str(error.value), words)


def assert_words(message: str, words: tuple[str, ...]) -> None:
    for word in words:
        assert word in message, f"{word!r} is not in: {message}"


ON_DEMAND = {"guided_rollouts": "on_demand"}
CONFIG: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "G2 = 0": (
        {"num_guided_generations": 0},
        ("num_guided_generations is 0", "at least 1", "alpha_form='constant' and alpha_0=0"),
    ),
    "preset": ({"preset": "sgpo"}, ("preset is 'sgpo'", "'sgpo+'")),
    "guided group of one": (
        {"guided_grpo_weight": 1.0, "num_guided_generations": 1},
        ("num_guided_generations is 1", "at least 2", "guided_grpo_weight=0"),
    ),
    "nothing joins": (
        {"guided_grpo_group": "joined"},
        ("guided_grpo_group is 'joined'", "guided_grpo_weight is 0.0", "set it to 1"),
    ),
    "joined, two divisors": (
        {"guided_grpo_group": "joined", "guided_grpo_weight": 1.0, "loss_type": "grpo"},
        ("loss_type is 'grpo'", "dapo", "'own'"),
    ),
    "joined, of another sampler": (
        {"guided_grpo_group": "joined", "guided_grpo_weight": 1.0, "use_vllm": True},
        ("vllm_importance_sampling_correction is True", "set it to False"),
    ),
    "more targets than rollouts": ({"num_targets": 3}, ("num_targets is 3", "num_guided_generations = 2", "Lower it")),
    "sft on what may be wrong": (
        {"target_source": "autonomous", "distillation_loss": "sft"},
        ("target_source is 'autonomous'", "wrong responses", "'kl'"),
    ),
    "no targets": ({"num_targets": 0}, ("num_targets is 0", "at least 1")),
    "a schedule of no mix": ({"teacher_mix_schedule": "linear"}, ("teacher_mix is 0", "Give teacher_mix a value")),
    "a mix without the teacher": ({"teacher_mix": 1.0}, ("teacher_mix is 1.0", "nothing to learn")),
    "sft has no teacher": (
        {"distillation_loss": "sft", "teacher_temperature": 0.5},
        ("teacher_temperature is 0.5", "no teacher", "'kl'"),
    ),
    "teacher of no temperature": ({"teacher_temperature": 0.0}, ("teacher_temperature is 0.0", "within")),
    "nothing to train": ({"grpo_weight": 0, "alpha_0": 0}, ("grpo_weight is 0", "nothing to train", "alpha_0 > 0")),
    "template without strategy": ({"guided_prompt_template": "{prompt}"}, ("'{prompt}'", "{strategy}", "for example")),
    "kl_clip": ({"kl_clip": 0.0}, ("kl_clip is 0.0", "above 0", "or None")),
    "kl_clip NaN": ({"kl_clip": float("nan")}, ("kl_clip is nan", "above 0")),
    "decay": ({"teacher_ema_decay": 1.5}, ("teacher_ema_decay is 1.5", "within [0.0, 1.0]")),
    "alpha_0": ({"alpha_0": -0.1}, ("alpha_0 is -0.1", "at least 0")),
    "alpha_0 NaN": ({"alpha_0": float("nan")}, ("alpha_0 is nan", "at least 0")),
    "alpha_max": ({"alpha_max": -1.0}, ("alpha_max is -1.0", "at least 0")),
    "alpha_gamma": ({"alpha_gamma": 0.0}, ("alpha_gamma is 0.0", "at least")),
    "grpo_weight": ({"grpo_weight": -1.0}, ("grpo_weight is -1.0", "at least 0")),
    "target_selection": ({"target_selection": "best"}, ("'best'", "'mean', 'sum', 'random'")),
    "distillation_loss": ({"distillation_loss": "mse"}, ("'mse'", "'kl', 'sft'")),
    "kl_direction": ({"kl_direction": "sideways"}, ("'sideways'", "'forward', 'reverse'")),
    "kl_clip_form": ({"kl_clip_form": "soft"}, ("'soft'", "'rescale', 'hard'")),
    "kl_gradient_tolerance": ({"kl_gradient_tolerance": 0.9}, ("kl_gradient_tolerance is 0.9", "within [0.0, 0.5]")),
    "kl_chunk_size": ({"kl_chunk_size": 0}, ("kl_chunk_size is 0", "at least 1")),
    "guided_rollouts": ({"guided_rollouts": "never"}, ("'never'", "'always', 'on_demand', 'by_weight', 'auto'")),
    "threshold": (
        {**ON_DEMAND, "guided_rollouts_below": 1.5},
        ("guided_rollouts_below is 1.5", "above 0", "at most 1.0"),
    ),
    "threshold 0": ({**ON_DEMAND, "guided_rollouts_below": 0.0}, ("guided_rollouts_below is 0.0", "above 0")),
    "threshold, always": (
        {"guided_rollouts_below": 0.5},
        ("guided_rollouts_below is 0.5", "needs guided rollouts on demand", "guided_rollouts is 'always'", "leave"),
    ),
    "cap, always": (
        {"guided_rollouts": "auto", "alpha_form": "constant", "max_guided_tokens": 99},
        ("max_guided_tokens is 99", "alpha_form='constant' distils solved problems too", "leave"),
    ),
    "cap under one problem": (
        {**ON_DEMAND, "max_guided_tokens": 15},
        ("max_guided_tokens is 15", "max_completion_length = 16 tokens", "at least that"),
    ),
    "on demand, constant": (
        {**ON_DEMAND, "alpha_form": "constant"},
        ("'on_demand'", "alpha_form='constant' distils solved problems too", "Use 'always'"),
    ),
    "on demand, sleep": (
        {**ON_DEMAND, "use_vllm": True, "vllm_mode": "colocate", "vllm_enable_sleep_mode": True},
        ("'on_demand'", "vllm_enable_sleep_mode=True takes all weights anew", "Use 'always'"),
    ),
    "by weight, constant": (
        {"guided_rollouts": "by_weight", "alpha_form": "constant"},
        ("'by_weight'", "alpha_form='constant' distils solved problems too", "Use 'always'"),
    ),
    "by weight, guided group": (
        {"guided_rollouts": "by_weight", "guided_grpo_weight": 1.0},
        ("'by_weight'", "guided_grpo_weight is 1.0", "guided_grpo_weight=0"),
    ),
    "no probability": ({"guided_probability_min": 0.0}, ("guided_probability_min is 0.0", "within")),
    "generation batch over the ranks": (
        {"generation_batch_size": 12},
        ("generation_batch_size (12)", "divisible", "(8)"),
    ),
    "learning rate": ({"learning_rate": -1.0}, ("learning_rate is -1.0", "at least 0")),
    "learning rate NaN": ({"learning_rate": float("nan")}, ("learning_rate is nan", "finite")),
    "temperature": ({"temperature": 0.0}, ("temperature is 0.0", "above 0")),
    "top_p": ({"top_p": 3.0}, ("top_p is 3.0", "at most 1.0")),
    "temperature beside its field": (
        {"generation_kwargs": {"temperature": 0.6}},
        ("generation_kwargs has temperature=0.6", "before the field temperature", "but not in the loss"),
    ),
    "length beside its field": (
        {"generation_kwargs": {"max_new_tokens": 4}},
        ("generation_kwargs has max_new_tokens=4", "Set max_completion_length"),
    ),
    "a number of completions beside its field": (
        {"generation_kwargs": {"num_return_sequences": 2}},
        ("generation_kwargs has num_return_sequences=2", "Set num_generations"),
    ),
    "a misspelt option of the sampler": (
        {"generation_kwargs": {"typical_pp": 0.9}},
        ("generation_kwargs has 'typical_pp'", "would do nothing", "Correct the name"),
    ),
    "an end beside the model's": (
        {"generation_kwargs": {"eos_token_id": [1, 5]}},
        ("generation_kwargs has eos_token_id=[1, 5]", "padding trained on", "model.generation_config.eos_token_id"),
    ),
    "a stop string of vLLM": (
        {"generation_kwargs": {"stop": ["</answer>"]}},
        ("generation_kwargs has stop=['</answer>']", "takes for cut off"),
    ),
    "best by loss": (
        {"load_best_model_at_end": True, "save_strategy": "steps", "eval_strategy": "steps", "num_generations": 4},
        ("metric_for_best_model is 'loss'", "does not fall as a policy gets better", "'reward'"),
    ),
    "last batches that are dropped": (
        {"dataloader_drop_last": True},
        ("dataloader_drop_last is True", "leaves its last problems out", "Leave it out"),
    ),
    "a sampler that casts the weights": (
        {"use_transformers_continuous_batching": True},
        ("casts the weights that are trained to bfloat16", "completions of requests that failed", "use_vllm=True"),
    ),
    "batches that are split": (
        {"accelerator_config": {"split_batches": True}},
        ("split_batches=True", "a part of its problems", "per_device_train_batch_size for one process"),
    ),
    "batch": ({"per_device_train_batch_size": 0}, ("per_device_train_batch_size is 0", "at least 1")),
    "accumulation": ({"gradient_accumulation_steps": 0}, ("gradient_accumulation_steps is 0", "at least 1")),
    "group": ({"num_generations": 0}, ("num_generations is 0", "at least 2")),
    "epochs": ({"max_steps": -1, "num_train_epochs": 0}, ("num_train_epochs is 0", "above 0")),
    "loss": ({"loss_type": "foo"}, ("loss_type is 'foo'", "'dr_grpo'")),
    "persistent workers": (
        {"dataloader_num_workers": 1, "dataloader_persistent_workers": True},
        ("dataloader_persistent_workers is True", "Leave it out"),
    ),
    "teacher": ({"teacher": "old"}, ("'old'", "'live', 'ema', 'frozen'")),
    "alpha_form": ({"alpha_form": "linear"}, ("'linear'", "'relative_gap', 'gap', 'constant'")),
    "nothing for a number": ({"alpha_0": None}, ("alpha_0 is None", "must be a number", "leave it out", "0.5")),
    "text for a number": ({"kl_clip": "1e-6"}, ("kl_clip is '1e-6'", "must be a number or None")),
    "a fraction for a count": ({"num_guided_generations": 2.5}, ("is 2.5", "must be a whole number")),
    "a switch for a number": ({"max_grad_norm": True}, ("max_grad_norm is True", "must be a number")),
    "a number for a name": ({"answer_column": 3}, ("answer_column is 3", "must be a text")),
    "padding to nothing": ({"pad_to_multiple_of": 0}, ("pad_to_multiple_of is 0", "at least 1")),
    "no generation batch": ({"generation_batch_size": 0}, ("generation_batch_size is 0", "at least 1")),
    "an upper clip": ({"delta": float("nan")}, ("delta is nan", "above 0")),
    "weights": ({"reward_weights": [1.0, float("nan")]}, ("reward_weights holds nan", "a finite number")),
    "a server": ({"vllm_mode": "served"}, ("vllm_mode is 'served'", "'colocate', 'server'")),
    "a sampling level": ({"importance_sampling_level": "x"}, ("importance_sampling_level is 'x'", "'sequence'")),
    "alpha_gamma without end": ({"alpha_gamma": float("inf")}, ("alpha_gamma is inf", "finite")),
}
# Of every trainer, SFT among them, by the same rule; field and value, and words of the error.
SHARED: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "nothing for a batch": ({"per_device_train_batch_size": None}, ("is None", "must be a whole number", "leave")),
    "text for a rate": ({"learning_rate": "1e-5"}, ("learning_rate is '1e-5'", "must be a number")),
    "nothing for steps": ({"max_steps": None}, ("max_steps is None", "must be a whole number")),
    "no accumulation": ({"gradient_accumulation_steps": 0}, ("gradient_accumulation_steps is 0", "at least 1")),
    "no batch": ({"per_device_train_batch_size": 0}, ("per_device_train_batch_size is 0", "at least 1")),
    "a rate below 0": ({"learning_rate": -1.0}, ("learning_rate is -1.0", "at least 0")),
    "a seed below 0": ({"seed": -1}, ("seed is -1", "within")),
    "a number without a rule of its own": ({"neftune_noise_alpha": -1}, ("neftune_noise_alpha is -1", "at least 0")),
    "no number": ({"weight_decay": float("nan")}, ("weight_decay is nan", "a finite number of at least 0")),
    "no end": ({"save_steps": float("inf")}, ("save_steps is inf", "a finite number")),
    "no batch to measure on": ({"per_device_eval_batch_size": 0}, ("per_device_eval_batch_size is 0", "at least 1")),
    "no such value": ({"lr_scheduler_type": "cosin"}, ("lr_scheduler_type is 'cosin'", "one of linear, cosine,")),
    "no such choice": ({"log_level": "loud"}, ("log_level is 'loud'", "one of 'detail', 'debug'")),
    "no list": ({"label_names": "labels"}, ("label_names is 'labels'", "a list of texts or None")),
    "no mapping": ({"lr_scheduler_kwargs": [1]}, ("lr_scheduler_kwargs is [1]", "a mapping or None", "in JSON")),
    "a text that is none": ({"lr_scheduler_kwargs": "{a"}, ("lr_scheduler_kwargs is '{a'", "a mapping or None")),
    "no such file": ({"accelerator_config": "none.json"}, ("accelerator_config is 'none.json'", "path of such a file")),
    "of another schedule": (
        {"lr_scheduler_kwargs": {"min_lr": 0}},
        ("lr_scheduler_kwargs is {'min_lr': 0}", "no linear schedule", "unexpected keyword argument 'min_lr'"),
    ),
    "half a schedule": ({"lr_scheduler_type": "cosine_with_min_lr"}, ("lr_scheduler_kwargs is None", "min_lr_rate")),
    "no epoch": ({"num_train_epochs": 0}, ("num_train_epochs is 0", "above 0")),
}
OF_ONE: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "luffy": ("luffy", {"shaping_gamma": None}, ("shaping_gamma is None", "must be a number")),
    "luffy, no end": ("luffy", {"shaping_gamma": float("inf")}, ("shaping_gamma is inf", "finite")),
    "hpt": ("hpt", {"gate": None}, ("gate is None", "must be a whole number")),
    "hpt, coefficient": ("hpt", {"sft_coef": None}, ("sft_coef is None", "must be a number")),
    "sft": ("sft", {"expert_column": None}, ("expert_column is None", "must be a text")),
} | {
    f"no length, {kind}": (kind, {"max_completion_length": None}, ("max_completion_length is None", "whole number"))
    for kind in ("sgpo", "luffy", "hpt")
}


@pytest.mark.parametrize("name", CONFIG)
def test_config_is_refused(name: str, out: Path) -> None:
    options, words = CONFIG[name]
    with pytest.raises(ValueError) as error:
        kit.make_config(out, **options)
    assert_words(str(error.value), words)


@pytest.mark.parametrize(
    ("kind", "options", "words"), [*((kind, *case) for kind in KINDS for case in SHARED.values()), *OF_ONE.values()]
)
def test_a_value_that_no_field_takes(kind: str, options: dict[str, Any], words: tuple[str, ...], out: Path) -> None:
    shared = {"use_cpu": True, "report_to": "none"}
    with pytest.raises(ValueError) as error:
        KINDS[kind].config(str(out), **shared, **options)
    assert_words(str(error.value), words)


def test_a_configuration_is_made_again_from_its_own_fields(out: Path) -> None:
    for name, kind in KINDS.items():
        config = kind.config(out, use_cpu=True, report_to="none", max_steps=1e3)
        more = {} if name == "sft" else {"generation_batch_size": None}  # TRL has filled it in
        assert replace(config, learning_rate=np.float64(1e-4), seed=np.int64(3), **more).max_steps == 1000
        assert replace(config, fsdp=True, **more).fsdp is True  # transformers' annotation has the older text alone
        assert replace(config, debug=["underflow_overflow"], **more).debug == ["underflow_overflow"]


def test_misspelt_field(out: Path) -> None:
    with pytest.raises(TypeError, match="'num_guided_generation'"):
        kit.make_config(out, num_guided_generation=4)


def test_g2_zero_is_fine_without_distillation(out: Path) -> None:
    assert not kit.make_config(out, num_guided_generations=0, alpha_form="constant", alpha_0=0.0).distills


SLEEP = {"use_vllm": True, "vllm_mode": "colocate", "vllm_enable_sleep_mode": True}


@pytest.mark.parametrize(
    ("options", "on_demand"),
    [
        ({}, True),
        ({"alpha_form": "gap"}, True),
        ({"alpha_form": "constant"}, False),
        ({"guided_grpo_weight": 1.0}, False),
        ({"alpha_form": "constant", "alpha_0": 0.0}, True),
        (SLEEP, False),
        ({**SLEEP, "vllm_enable_sleep_mode": False}, True),
        ({**SLEEP, "vllm_mode": "server"}, True),
        ({"vllm_enable_sleep_mode": True}, True),
    ],
)
def test_auto_asks_weights_and_backend(options: dict[str, Any], on_demand: bool, out: Path) -> None:
    assert kit.make_config(out, guided_rollouts="auto", **options).guided_on_demand == on_demand
    assert not kit.make_config(out, **options).guided_on_demand


def test_a_preset_sets_what_is_not_set(out: Path) -> None:
    published = kit.make_config(out)
    wanted = {name: value for preset in CONFIG_PRESETS.values() for name, value in preset.items()}
    assert wanted.keys() <= _OPEN.keys()
    assert {name: getattr(published, name) for name in _OPEN} == _OPEN
    plus = kit.make_config(out, preset="sgpo+")
    assert {name: getattr(plus, name) for name in _OPEN} == {**_OPEN, **CONFIG_PRESETS["sgpo+"]}
    mine = kit.make_config(out, preset="sgpo+", guided_grpo_weight=0.0, teacher_mix=0.25)
    assert (mine.guided_grpo_weight, mine.num_targets, mine.teacher_mix) == (0.0, 2, 0.25)


@pytest.mark.parametrize(("cap", "problems"), [(None, None), (16, 1), (31, 1), (32, 2)])
def test_problems_within_the_cap(cap: int | None, problems: int | None, out: Path) -> None:
    assert kit.make_config(out, **ON_DEMAND, max_guided_tokens=cap).max_guided_problems == problems


def test_the_papers_constants_are_the_defaults(out: Path) -> None:
    args = SGPOConfig(str(out), per_device_train_batch_size=8, use_cpu=True, bf16=False)
    assert (args.num_generations, args.num_guided_generations) == (8, 4)
    assert (args.epsilon, args.epsilon_high) == (0.2, 0.28)
    assert (args.alpha_0, args.alpha_gamma, args.alpha_max, args.alpha_form) == (0.5, 0.1, 0.8, "relative_gap")
    assert (args.kl_clip, args.kl_clip_form, args.kl_direction) == (1.0, "rescale", "forward")
    assert (args.teacher, args.target_selection, args.distillation_loss) == ("live", "mean", "kl")


BAD_REWARDS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "None": (returns(None), ("'reward'", "None, NaN or infinity", "Return a number")),
    "NaN": (returns(float("nan")), ("'reward'", "None, NaN or infinity", "Return a number")),
    "infinity": (returns(float("inf")), ("'reward'", "None, NaN or infinity", "Return a number")),
    "raises": (raises, ("A reward function failed", "KeyError", "no such column: solution", "one number")),
    "too few": (too_few, ("A reward function failed", "returned 0 rewards", "one number")),
    "text": (returns("yes"), ("A reward function failed", "one number per completion")),
}


@pytest.mark.parametrize("chat", [False, True])
@pytest.mark.parametrize("name", BAD_REWARDS)
def test_bad_reward_is_refused_before_training(name: str, chat: bool, out: Path) -> None:
    reward, words = BAD_REWARDS[name]
    trainer = kit.make_trainer(out, reward=reward, data=kit.make_problems(4, chat=chat))
    before = kit.weights_of(trainer.model)
    with pytest.raises(ValueError) as error:
        trainer.train()
    assert_words(str(error.value), words)
    assert trainer.state.global_step == 0
    assert kit.largest_gap(kit.weights_of(trainer.model), before) == 0.0


def bare(completions: list[Any]) -> list[float]:
    return [0.0] * len(completions)


def of_level(completions: list[Any], level: list[int], **columns: Any) -> list[float]:
    return [0.0] * len(completions)


@pytest.mark.parametrize("method", ["sgpo", "luffy", "hpt"])
@pytest.mark.parametrize(
    ("reward", "words"),
    [
        (bare, ("'bare' has the parameters completions", "trainer_state", "Add **columns")),
        (of_level, ("'of_level' needs a column 'level'", "Rename or add it")),
        ("accuracy", ("'accuracy', which only a recipe knows", "sgpo.rewards.accuracy_reward")),
    ],
)
def test_a_reward_that_cannot_be_called_is_refused_before_the_model_is_loaded(
    reward: Any, words: tuple[str, ...], method: str, out: Path
) -> None:
    kind = KINDS[method]
    data = kit.make_problems(4).add_column("expert", ["ok"] * 4)
    with pytest.raises(ValueError) as error:
        kind.trainer("no/such-model", reward, kind.config(str(out), use_cpu=True, bf16=False), data)
    assert_words(str(error.value), words)


def test_the_fields_of_a_users_own_configuration_are_not_looked_at(out: Path) -> None:
    """Their annotations may be of names that only a type checker imports."""
    own = make_dataclass("Own", [("note", "Elsewhere", None)], bases=(SGPOConfig,))
    assert own(str(out), use_cpu=True, report_to="none").note is None


def compares(completions: list[Any], answer: list[str], **columns: Any) -> list[float]:
    return [0.0] * len(completions)


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize(
    ("method", "column"),
    [(method, column) for method in TRAINERS for column in ("prompt", "answer")] + [("sft", "expert")],
)
def test_evaluation_data_that_lack_a_column(method: str, column: str, several: bool, out: Path) -> None:
    """Before the model is loaded, or at least before training: TRL meets it in the first evaluation."""
    kind, data = KINDS[method], kit.make_problems(4).add_column("expert", ["ok 1"] * 4)
    rewards = {} if method == "sft" else {"reward_funcs": compares}
    measured = data.remove_columns(column)
    with pytest.raises(ValueError) as error:
        kind.trainer(
            kit.make_model() if method == "sft" else "no/such-model",
            args=kind.config(str(out), use_cpu=True, bf16=False, report_to="none"),
            train_dataset=data,
            eval_dataset={"easy": measured} if several else measured,
            processing_class=kit.make_tokenizer(),
            **rewards,
        )
    assert_words(str(error.value), ("eval", f"no column {column!r}", "'strategy'", "Rename" if rewards else "rename"))


@pytest.mark.parametrize("kind", ["missing", "empty", "file"])
@pytest.mark.parametrize("as_path", [False, True])
def test_checkpoint_directory_that_is_none(kind: str, as_path: bool, out: Path) -> None:
    path = out / "elsewhere"
    (out / "checkpoint-10").mkdir(parents=True)
    (out / "checkpoint-9").mkdir()
    if kind == "empty":
        path.mkdir()
    elif kind == "file":
        path.write_text("")
    with pytest.raises(ValueError) as error:
        kit.make_trainer(out).train(resume_from_checkpoint=path if as_path else str(path))
    why = "has no trainer_state.json" if kind == "empty" else "is not a directory"
    assert_words(str(error.value), (str(path), why, "checkpoint-N", "start anew"))


def test_resume_where_nothing_was_saved(out: Path) -> None:
    with pytest.raises(ValueError, match=r"no checkpoint in .* to resume from"):
        kit.make_trainer(out).train(resume_from_checkpoint=True)


def test_peft_with_zero3_makes_trl_reentrant(out: Path) -> None:
    """TRL forces use_reentrant=True there, after the configuration was checked."""
    args = kit.make_config(out, gradient_checkpointing=True)
    args.deepspeed_plugin = SimpleNamespace(zero_stage=3)
    check_arguments(args, peft=False)
    with pytest.raises(ValueError) as error:
        check_arguments(args, peft=True)
    assert_words(str(error.value), ("PEFT", "ZeRO-3", "use_reentrant=True", "gradient_checkpointing=False"))
    args.gradient_checkpointing = args.activation_checkpointing = False
    check_arguments(args, peft=True)


@pytest.mark.parametrize("kind", ["sgpo", "luffy", "hpt"])
def test_deepspeed_that_clips_at_another_norm(kind: str, out: Path) -> None:
    """Measured with DeepSpeed 0.19.8: under max_grad_norm=0 and a config without the entry, updates were a third."""
    config = KINDS[kind].config
    args = kit.make_config(out, config, max_grad_norm=0.5)
    check_config("Trainer", args, config)
    for written in ({"gradient_clipping": "auto"}, {"gradient_clipping": 0.5}):
        args.deepspeed_plugin = SimpleNamespace(deepspeed_config={"zero_optimization": {"stage": 2}, **written})
        check_config("Trainer", args, config)
    for written, norm in (({}, "1.0"), ({"gradient_clipping": 2.0}, "2.0")):
        args.deepspeed_plugin = SimpleNamespace(deepspeed_config={"zero_optimization": {"stage": 2}, **written})
        with pytest.raises(ValueError) as error:
            check_config("Trainer", args, config)
        assert_words(str(error.value), ("max_grad_norm is 0.5", f"clips the gradient's norm at {norm}", '"auto"'))


def test_zero3_check_knows_peft_models(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "false")  # accelerate sets it where the check fails to stop it
    args = kit.make_config(out, gradient_checkpointing=True)
    args.deepspeed_plugin = SimpleNamespace(zero_stage=3)
    with pytest.raises(ValueError, match="ZeRO-3"):
        kit.SGPOTrainer(
            model=kit.make_model(),
            reward_funcs=kit.has_ok,
            args=args,
            train_dataset=kit.make_problems(2),
            processing_class=kit.make_tokenizer(),
            peft_config=LoraConfig(target_modules=["q_proj"]),
        )


# What `accelerate launch` says in the environment alone, or the arguments say; who shards; whether it is refused.
SHARDINGS: dict[str, tuple[dict[str, str], dict[str, Any], str, bool]] = {
    "launched": ({"ACCELERATE_USE_FSDP": "true"}, {}, "FSDP1", True),
    "launched, second": ({"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}, {}, "FSDP2", False),
    "launched DeepSpeed": ({"ACCELERATE_USE_DEEPSPEED": "true"}, {}, "DeepSpeed", True),
    "arguments": ({}, {"fsdp": True, "fsdp_plugin_args": {"fsdp_version": 2}}, "FSDP2", False),
    "arguments, first": ({}, {"fsdp": True, "fsdp_plugin_args": {"fsdp_version": 1}}, "FSDP1", True),
}


@pytest.mark.parametrize("case", SHARDINGS)
def test_second_copy_of_sharded_weights(case: str, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment, arguments, who, refused = SHARDINGS[case]
    args = kit.make_config(out, teacher="ema")
    assert sharding(args) == ""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for name, value in arguments.items():
        setattr(args, name, value)
    assert sharding(args) == who
    with pytest.raises(ValueError, match="teacher='ema'") if refused else nullcontext() as error:
        check_arguments(args, peft=False)
    if refused:
        assert_words(str(error.value), (f"{who} shards", "Use FSDP2", "teacher='live'"))


@pytest.mark.parametrize("chat", [True, False])
def test_a_strategy_with_a_mark(chat: bool, out: Path) -> None:
    """As a model writes it behind its answer: the problem's turn would end there, and another one begin."""
    tokenizer, data = kit.make_tokenizer(), kit.make_problems(4, chat=chat)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<end>"]})
    kit.make_trainer(out, data=data, tokenizer=tokenizer)
    rows = [{**row, "strategy": "carry <end>"} if i == 2 else row for i, row in enumerate(data)]
    for given in (Dataset.from_list(rows), Dataset.from_list(rows[1:3]).to_iterable_dataset()):
        with pytest.raises(ValueError, match=r"strategy of row [12] has '<end>', a special token.*'carry <end>'"):
            kit.make_trainer(out, data=given, tokenizer=tokenizer, max_steps=1, shuffle_dataset=False).train()


def test_a_copy_of_the_head_is_not_trained_under_fsdp(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its gradient would stay that of each process. Without FSDP, or with LoRA alone, it is fine."""
    config = LoraConfig(target_modules=["q_proj"], modules_to_save=["lm_head"])
    model, args = get_peft_model(kit.make_model(tied=False), config), kit.make_config(out)
    check_head(model, args)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_VERSION", "2")
    check_head(get_peft_model(kit.make_model(), LoraConfig(target_modules=["q_proj"])), args)
    with pytest.raises(ValueError, match="modules_to_save trains a copy of the head"):
        check_head(model, args)


def test_a_prompt_that_a_template_has_rendered(out: Path) -> None:
    """The strategy behind it would be the assistant's words. Where there is no strategy, nothing is put behind it."""
    tokenizer = kit.make_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<user>", "<assistant>"]})
    rendered = "<user> solve a <end> <assistant> "
    with pytest.raises(ValueError) as error:
        kit.make_trainer(out, data=changed("prompt", 2, rendered), tokenizer=tokenizer)
    assert_words(str(error.value), ("row 2 is text with '<assistant>'", "the assistant's own words", "Give messages"))
    alone = Dataset.from_dict({"prompt": ["solve a", rendered], "strategy": ["carry", None]})
    kit.make_trainer(out, data=alone, tokenizer=tokenizer)


def with_bos() -> Any:
    """A tokenizer that puts a BOS before text, as Llama's does."""
    tokenizer = kit.make_tokenizer()
    tokenizer.bos_token = "<system>"
    pieces = [("<system>", tokenizer.bos_token_id)]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<system> $A", special_tokens=pieces)
    return tokenizer


@pytest.mark.parametrize("kind", ["sgpo", "luffy", "hpt"])
def test_a_prompt_with_two_bos(kind: str, out: Path) -> None:
    """Text that a template has rendered has one already, and the tokenizer adds another."""
    data = Dataset.from_dict({"prompt": ["<system> solve a"] * 2, "strategy": ["carry"] * 2, "expert": [" ok"] * 2})
    method = KINDS[kind]
    with pytest.raises(ValueError, match="begins with two '<system>': its text has one"):
        method.trainer(
            model=kit.make_model(),
            reward_funcs=kit.has_ok,
            args=kit.make_config(out, method.config),
            train_dataset=data,
            processing_class=with_bos(),
        ).train()


def with_special_end() -> Any:
    """A tokenizer whose chat template ends a turn with a special token that is not its EOS, as Qwen's base models."""
    tokenizer = kit.make_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<end>"]})
    return tokenizer


@pytest.mark.parametrize("kind", ["sgpo", "luffy", "hpt"])
@pytest.mark.parametrize("chat", [True, False])
def test_completions_end_where_the_chat_template_ends_a_turn(chat: bool, kind: str, out: Path) -> None:
    """Behind it a model that names another end goes on with turns of its own, and answers there would be rewarded."""
    method, end = KINDS[kind], kit.WORDS.index("<end>")
    expected = pytest.warns(UserWarning, match="ends a turn with '<end>', and the model with '<eos>' alone")
    with expected if chat else nullcontext():
        trainer = method.trainer(
            model=kit.make_model(seed=3),
            reward_funcs=kit.has_digit,
            args=kit.make_config(out, method.config, max_steps=2, temperature=3.0, max_completion_length=24),
            train_dataset=kit.make_problems(4, chat=chat).add_column("expert", ["ok 1"] * 4),
            processing_class=with_special_end(),
        )
    seen: list[list[int]] = []
    compute = trainer._compute_loss

    def watched(model: Any, inputs: dict[str, Any]) -> Any:
        pairs = zip(inputs["completion_ids"], inputs["completion_mask"], strict=True)
        seen.extend(ids[mask.bool()].tolist() for ids, mask in pairs)
        return compute(model, inputs)

    trainer._compute_loss = watched
    trainer.train()
    behind = [ids[ids.index(end) + 1 :] for ids in seen if end in ids]
    assert behind
    assert any(behind) is not chat
    assert trainer.model.generation_config.eos_token_id == ([1, end] if chat else 1)
    if chat and kind != "sgpo":
        assert trainer._expert_ids(trainer.train_dataset[0])[-1] == end


@pytest.mark.parametrize("chat", [True, False])
def test_so_does_the_model_that_sft_saves(chat: bool, out: Path) -> None:
    """It learns to end with the template's token, and whoever samples from it would go on behind that."""
    end = kit.WORDS.index("<end>")
    expected = pytest.warns(UserWarning, match="ends a turn with '<end>', and the model with '<eos>' alone")
    with expected if chat else nullcontext():
        trainer = ExpertSFTTrainer(
            kit.make_model(),
            SFTConfig(str(out), use_cpu=True, report_to="none"),
            train_dataset=kit.make_problems(4, chat=chat).add_column("expert", ["ok 1"] * 4),
            processing_class=with_special_end(),
        )
    trainer.save_model(str(out))
    assert trainer.train_dataset[0]["input_ids"][-1] == (end if chat else 1)
    assert GenerationConfig.from_pretrained(out).eos_token_id == ([1, end] if chat else 1)


def test_so_do_those_of_an_evaluation() -> None:
    model, prompt = kit.make_model(seed=3), kit.make_problems(1, chat=True)[0]["prompt"]
    how: dict[str, Any] = {"k": 32, "temperature": 3.0, "max_new_tokens": 24, "seed": 0}
    (ended,), (open_end,) = (sample(model, t, [prompt], **how) for t in (with_special_end(), kit.make_tokenizer()))
    text = [reply.text.partition("<end>")[0].rstrip() for reply in open_end]
    assert [reply.text for reply in ended] == text != [reply.text for reply in open_end]
    # No end: plain text, an end that is no special token, and templates that refuse or leave out what is said.
    tokenizer = with_special_end()
    assert end_of_turn(tokenizer, ["solve a"]) is end_of_turn(kit.make_tokenizer(), [prompt]) is None
    assert end_of_turn(tokenizer, [prompt]) == kit.WORDS.index("<end>")
    for template in ("{{ raise_exception('no') }}", "{{ messages[0]['content'] }} <end>"):
        tokenizer.chat_template = template
        assert end_of_turn(tokenizer, [prompt]) is None


@pytest.mark.parametrize("kind", ["sgpo", "luffy", "hpt"])
def test_a_prompt_that_the_tokenizer_ends(kind: str, out: Path) -> None:
    """Tokenizers with add_eos_token do: the policy would be asked to write behind the end of a text."""
    tokenizer, method = kit.make_tokenizer(), KINDS[kind]
    tokenizer._tokenizer.post_processor = TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])

    def make(data: Dataset) -> Any:
        args = kit.make_config(out, method.config, max_steps=1)
        data = data.add_column("expert", [" ok"] * 4)
        return method.trainer(kit.make_model(), kit.has_ok, args, data, processing_class=tokenizer)

    with pytest.raises(ValueError, match=r"ends the prompt 'solve .*' with '<eos>', behind which no response"):
        make(kit.make_problems(4)).train()
    with pytest.raises(ValueError, match="add_eos_token"):
        encode(tokenizer, ["solve a"])
    make(kit.make_problems(4, chat=True)).train()  # a template writes the marks itself


@pytest.mark.parametrize("role", ["system", "developer"])
@pytest.mark.parametrize("kind", ["sgpo", "luffy", "hpt"])
def test_a_template_that_leaves_out_the_system_message(kind: str, role: str, out: Path) -> None:
    """Phi-3's did, and most know no developer: nothing would show that the model is not told what the data say."""
    prompt = [{"role": role, "content": "box it"}, {"role": "user", "content": "solve a"}]
    data = Dataset.from_dict({"prompt": [prompt] * 2, "strategy": ["carry"] * 2, "expert": [" ok"] * 2})
    tokenizer, method = kit.make_tokenizer(), KINDS[kind]
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m['role'] == 'user' %}{{ m['content'] }}{% endif %}{% endfor %}"
    )
    with pytest.raises(ValueError, match=f"leaves out the '{role}' message 'box it'"):
        method.trainer(
            model=kit.make_model(),
            reward_funcs=kit.has_ok,
            args=kit.make_config(out, method.config),
            train_dataset=data,
            processing_class=tokenizer,
        ).train()


@pytest.mark.parametrize("kind", ["sgpo", "luffy", "hpt"])
def test_marks_of_thinking_that_rewards_are_not_shown_are_said(kind: str, out: Path) -> None:
    data = Dataset.from_dict({"prompt": ["solve a"] * 2, "strategy": ["carry"] * 2, "expert": [" ok"] * 2})
    tokenizer, method = kit.make_tokenizer(), KINDS[kind]

    def make() -> None:
        method.trainer(
            model=kit.make_model(),
            reward_funcs=kit.has_ok,
            args=kit.make_config(out, method.config),
            train_dataset=data,
            processing_class=tokenizer,
        )

    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*among its special tokens")
        make()
    tokenizer.add_tokens(["[THINK]", "[/THINK]"], special_tokens=True)
    with pytest.warns(UserWarning, match=r"has \[/THINK\], \[THINK\] among its special tokens, which rewards are not"):
        make()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["enable_thinkin", "add_generation_prompt", "continue_final_message"])
def test_variables_that_the_chat_template_does_not_read_are_said(kind: str, name: str, out: Path) -> None:
    """Some are arguments of `apply_chat_template`: given twice they are a TypeError, or contradict each other."""
    method, data = KINDS[kind], kit.make_problems(4, chat=True).add_column("expert", [" ok"] * 4)
    typo: Any = {"chat_template_kwargs": {name: False}}
    if kind == "sft":
        rest: Any = {"args": method.config(str(out), use_cpu=True, **typo)}
    else:
        rest = {"args": kit.make_config(out, method.config, **typo), "reward_funcs": kit.has_ok}
    said: Any = pytest.raises(ValueError, match=f"chat_template_kwargs has '{name}'.*Leave it out")
    if name == "enable_thinkin":
        said = pytest.warns(UserWarning, match="does not read enable_thinkin")
    with said:
        method.trainer(model=kit.make_model(), train_dataset=data, processing_class=kit.make_tokenizer(), **rest)


@pytest.mark.parametrize("kind", ["sgpo", "luffy", "hpt"])
@pytest.mark.parametrize("ending", ["<think>\\n", "<think></think>", ""])
def test_rewards_are_told_of_the_thinking_that_the_prompt_begins(kind: str, ending: str, out: Path) -> None:
    """A template that ends so leaves the first mark out of every completion, of the guided ones too."""
    seen: list[list[str]] = []

    def reward(completions: list[Any], thinking_begun: list[str], **columns: Any) -> list[float]:
        seen.append(thinking_begun)
        return kit.has_ok(completions)

    tokenizer, method = kit.make_tokenizer(), KINDS[kind]
    tokenizer.add_tokens(["<think>", "</think>"])
    tokenizer.chat_template = kit.CHAT.replace("'<assistant> '", f"'<assistant> {ending}'")
    model = kit.make_model()
    model.resize_token_embeddings(len(tokenizer))
    asked = [[{"role": "user", "content": f"solve {letter}"}] for letter in "abcd"]
    data = Dataset.from_dict({"prompt": asked, "strategy": ["carry"] * 4, "expert": [" ok"] * 4})
    config = kit.make_config(out, method.config, max_steps=1)
    method.trainer(
        model=model, reward_funcs=reward, args=config, train_dataset=data, processing_class=tokenizer
    ).train()
    rows = sorted(map(len, seen))
    assert rows == ([1, 4, 8] if kind == "sgpo" else [1, 8])  # the trial call, guided and autonomous rollouts
    assert {mark for marks in seen for mark in marks} == {"<think>" if ending == "<think>\\n" else ""}


def trainer_of(kind: str, model: Any, out: Path, **options: Any) -> Any:
    method = KINDS[kind]
    data = kit.make_problems(4).add_column("expert", [" ok"] * 4)
    args: Any = method.config(str(out), max_steps=1, report_to="none", use_cpu=True, **options)
    if kind != "sft":
        args = kit.make_config(out, method.config, **options)
        return method.trainer(model, kit.has_ok, args, data, processing_class=kit.make_tokenizer())
    return method.trainer(model, args, train_dataset=data, processing_class=kit.make_tokenizer())


@pytest.mark.parametrize("kind", ["sgpo", "luffy", "hpt", "sft"])
def test_weights_that_the_files_lack_are_not_trained_from_chance(kind: str, out: Path, tmp_path: Path) -> None:
    kit.make_model(tied=False).save_pretrained(tmp_path / "model")
    weights = load_file(tmp_path / "model" / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, tmp_path / "model" / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks the weights lm_head.weight \(1 in all\)"):
        trainer_of(kind, str(tmp_path / "model"), out)


@pytest.mark.parametrize("kind", ["sgpo", "luffy", "hpt", "sft"])
def test_an_adapter_names_the_revision_of_its_base(kind: str, out: Path) -> None:
    model = get_peft_model(kit.make_model(), LoraConfig(target_modules=["q_proj"]))
    trainer = trainer_of(kind, model, out)
    assert trainer.model.peft_config["default"].revision is None
    trainer.args.model_init_kwargs = {"revision": "v2"}
    trainer.save_model(str(out / "saved"))
    assert json.loads((out / "saved" / "adapter_config.json").read_text())["revision"] == "v2"


@pytest.mark.parametrize("kind", ["sgpo", "luffy", "hpt", "sft"])
def test_a_generation_config_that_cannot_be_saved_is_mended(kind: str, out: Path) -> None:
    """With a temperature and without do_sample, as some are published: the first checkpoint ended the run."""
    model = kit.make_model()
    model.generation_config.update(temperature=0.6, do_sample=False)
    with pytest.warns(UserWarning, match="options of sampling without do_sample=True"):
        trainer = trainer_of(kind, model, out)
    trainer.save_model(str(out / "saved"))
    assert json.loads((out / "saved" / "generation_config.json").read_text())["do_sample"] is True
    # What has no effect is no reason to refuse a model; nor does sampling follow from a temperature of 0.
    model.generation_config.update(temperature=0.0, top_p=0.9, do_sample=False, length_penalty=2.0, output_scores=True)
    with pytest.warns(UserWarning, match="'length_penalty': None"):
        trainer = trainer_of(kind, model, out)
    trainer.save_model(str(out / "greedy"))
    saved = json.loads((out / "greedy" / "generation_config.json").read_text())
    assert not saved.keys() & {"temperature", "top_p", "length_penalty", "output_scores"}
    assert not saved.get("do_sample")
    model.generation_config.early_stopping = "soon"
    with pytest.raises(ValueError, match="early_stopping"):
        trainer_of(kind, model, out)


@pytest.mark.parametrize("kind", ["sgpo", "luffy"])
def test_a_reference_that_is_not_what_training_begins_from(kind: str, out: Path, tmp_path: Path) -> None:
    """TRL reads it from the model's folder, which does not know what was merged into the model since."""
    kit.make_model().save_pretrained(tmp_path / "base")
    kit.make_tokenizer().save_pretrained(tmp_path / "base")
    for dtype in (torch.float32, torch.bfloat16):  # rounded it is the same model
        trainer_of(kind, AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=dtype), out, beta=0.1)
    trainer_of(kind, str(tmp_path / "base"), out, beta=0.1, bf16=True)  # autocast rounds, and is no other architecture
    adapter = LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    merged = get_peft_model(AutoModelForCausalLM.from_pretrained(tmp_path / "base"), adapter).merge_and_unload()
    merged.requires_grad_(True)
    with pytest.raises(ValueError, match=r"has loaded the reference from .*base', but .* it was changed in memory"):
        trainer_of(kind, merged, out, beta=0.1)
    trainer_of(kind, merged, out)
    merged.save_pretrained(tmp_path / "merged")
    trainer_of(kind, str(tmp_path / "merged"), out, beta=0.1)


@pytest.mark.parametrize("kind", ["sgpo", "luffy", "hpt"])
def test_no_default_of_the_model_reaches_its_rollouts(kind: str, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a model's generation_config.json: the loss would know nothing of it. The model is saved with it as it came."""
    met: list[str] = []
    plain = GenerationMixin._sample

    def spied(self: Any, *args: Any, **kwargs: Any) -> Any:
        met.extend(type(processor).__name__ for processor in kwargs["logits_processor"])
        return plain(self, *args, **kwargs)

    model, method = kit.make_model(), KINDS[kind]
    model.generation_config.update(no_repeat_ngram_size=2, min_p=0.9, typical_p=0.5, min_new_tokens=3, temperature=0.1)
    trainer = method.trainer(
        model=model,
        reward_funcs=kit.has_ok,
        args=kit.make_config(out, method.config, max_steps=1),
        train_dataset=kit.make_problems(4).add_column("expert", [" ok"] * 4),
        processing_class=kit.make_tokenizer(),
    )
    monkeypatch.setattr(GenerationMixin, "_sample", spied)  # behind the probe of the model, which forces its tokens
    trainer.train()
    assert met == []
    assert (model.generation_config.min_p, model.generation_config.temperature) == (0.9, 0.1)


@pytest.mark.parametrize("served", [False, True])
def test_a_cut_distribution_is_no_other_policy(served: bool, out: Path, recwarn: pytest.WarningsRecorder) -> None:
    vllm = {"use_vllm": True, "vllm_mode": "server"} if served else {}
    warn_of_another_distribution(kit.make_config(out, top_p=0.9, repetition_penalty=1.1, **vllm))
    warn_of_another_distribution(kit.make_config(out, **vllm))
    said = [str(warning.message) for warning in recwarn if "vLLM gives log-probabilities" in str(warning.message)]
    assert len(said) == served
    assert not served or said[0].startswith("With top_p=0.9, repetition_penalty=1.1 vLLM")


NOISE: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "of an adapter": ({}, {}, "has dropout (0.05)"),
    "of attention": ({"attention_dropout": 0.1}, {}, "has dropout (0.05), dropout (0.1)"),
    "on embeddings": ({}, {"neftune_noise_alpha": 5.0}, "noise on its embeddings (neftune_noise_alpha)"),
}


@pytest.mark.parametrize("name", NOISE)
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, 0),
        ({"num_iterations": 2}, 1),
        ({"beta": 0.1}, 1),
        ({"guided_grpo_weight": 1.0, "guided_grpo_group": "joined"}, 1),
    ],
)
def test_two_masks_of_dropout_in_one_ratio(
    options: dict[str, Any], said: int, name: str, out: Path, recwarn: pytest.WarningsRecorder
) -> None:
    config, more, words = NOISE[name]
    adapter = {"peft_config": LoraConfig(target_modules=["q_proj"], lora_dropout=0.05)}
    kit.make_trainer(out, model=kit.make_model(**config), arguments=adapter, **options, **more)
    assert sum(words in str(warning.message) for warning in recwarn) == said


@pytest.mark.parametrize("kind", ["sgpo", "sft"])
def test_disable_dropout_disables_that_of_functions_too(kind: str, out: Path) -> None:
    """TRL's SFT has no such field, so that a comparison would train SFT alone under the adapter's dropout."""
    adapter = {"peft_config": LoraConfig(target_modules=["q_proj"], lora_dropout=0.05)}
    model = kit.make_model(attention_dropout=0.5)
    assert [(name, rate) for _, name, rate in rates(model)] == [("attention_dropout", 0.5)] * 2
    if kind == "sft":
        config = KINDS[kind].config(str(out), use_cpu=True, report_to="none", disable_dropout=True)
        trainer = KINDS[kind].trainer(model, config, None, with_expert(), processing_class=with_new_token(), **adapter)
    else:
        trainer = kit.make_trainer(out, model=model, arguments=adapter, disable_dropout=True)
    assert list(rates(trainer.model)) == []
    ids = torch.arange(3, 12)[None]
    trainer.model.train()
    with torch.no_grad():
        assert torch.equal(trainer.model(input_ids=ids).logits, trainer.model(input_ids=ids).logits)


def test_streamed_rows_are_checked_as_they_come(out: Path) -> None:
    rows = [{"prompt": "solve 1", "strategy": "carry"}, {"prompt": "solve 2", "strategy": 7}]
    data = IterableDataset.from_generator(lambda: iter(rows))
    with pytest.raises(ValueError, match=r"strategy of row 1 is 7 \(int\)"):
        kit.make_trainer(out, data=data, max_steps=1).train()


def test_long_prompts_that_fit_are_accepted(out: Path) -> None:
    prompt = "solve " + "1 " * 300
    data = Dataset.from_dict({"prompt": [prompt], "strategy": ["carry"]})
    model = kit.make_model(max_position_embeddings=320)
    kit.make_trainer(out, model=model, data=data, max_completion_length=17)
    served = {"use_vllm": True, "vllm_mode": "colocate", "vllm_max_model_length": 310}
    assert context_of(model, kit.make_config(out, **served)) == (310, "vllm_max_model_length")
    with pytest.raises(ValueError, match=r"has 303 tokens .* max_completion_length is 18"):
        kit.make_trainer(out, model=model, data=data, max_completion_length=18)


@pytest.mark.parametrize("method", [*TRAINERS, "grpo", "sft"])
def test_what_does_not_fit_into_the_context(method: str, out: Path) -> None:
    """Rotary positions have no end of their own: the model would go on, and write nonsense."""
    long = Dataset.from_dict({"prompt": ["solve " + "1 " * 100], "strategy": [None], "expert": [" ok"]})
    fits = concatenate_datasets([long.map(lambda row: {"prompt": "solve 1", "strategy": "carry"})] * 8)
    off = {"alpha_form": "constant", "alpha_0": 0.0} if method == "grpo" else {}
    kind = KINDS["sgpo" if method == "grpo" else method]

    def train(data: Any, **more: Any) -> None:
        if method == "sft":
            config = kind.config(str(out), use_cpu=True, report_to="none")
            kind.trainer(kit.make_model(), config, train_dataset=data, processing_class=kit.make_tokenizer(), **more)
        else:
            config = kit.make_config(out, kind.config, max_steps=1, **off)
            kind.trainer(
                kit.make_model(), kit.has_ok, config, data, processing_class=kit.make_tokenizer(), **more
            ).train()

    words = r"has 103 tokens.*ends at 64" if method == "sft" else r"'solve 1 1.*has 101 tokens.*is 8, but .* ends at 64"
    for passed in ({"data": concatenate_datasets([fits, long])}, {"data": fits, "eval_dataset": long}):
        with pytest.raises(ValueError, match=words):
            train(**passed)
    if method != "sft":
        rows = concatenate_datasets([fits.select(range(1)), long])
        with pytest.raises(ValueError, match=words):
            train(rows.to_iterable_dataset())


# ---------------------------------------------------------------- ids beyond the embedding

NEW = "<new>"


def with_new_token() -> Any:
    """A tokenizer that can make one id more than the model knows."""
    tokenizer = kit.make_tokenizer()
    tokenizer.add_tokens([NEW])
    return tokenizer


def of_method(method: str, out: Path, data: Any, **options: Any) -> Any:
    kind = KINDS[method]
    arguments = options.pop("arguments", {})
    model = options.pop("model", None) or kit.make_model()
    args = kit.make_config(out, kind.config, **options)
    return kind.trainer(model, kit.has_digit, args, data, processing_class=with_new_token(), **arguments)


def with_expert(**changes: str) -> Dataset:
    """Six problems; in the last one the named columns are other texts."""
    rows = [{**row, "expert": " ok a"} for row in kit.make_problems(6)]
    return Dataset.from_list([*rows[:-1], {**rows[-1], **changes}])


@pytest.mark.parametrize("method", TRAINERS)
@pytest.mark.parametrize("column", ["prompt", "strategy", "expert"])
def test_an_id_beyond_the_embedding_in_the_last_row(column: str, method: str, out: Path) -> None:
    data = with_expert(**{column: f"solve {NEW}"})
    read = column == "prompt" or (column == "strategy") == (method == "sgpo")
    if not read:
        of_method(method, out, data)  # a column that the method does not read
        return
    with pytest.raises(
        ValueError, match=rf"makes the id {len(kit.WORDS)} \('<new>'\).*{len(kit.WORDS)} entries.*solve"
    ):
        of_method(method, out, data)


def test_an_id_beyond_the_embedding_elsewhere(out: Path) -> None:
    data = with_expert()
    with pytest.raises(ValueError, match="makes the id"):
        of_method("sgpo", out, data, guided_prompt_template=f"{{prompt}} {NEW} {{strategy}}")
    with pytest.raises(ValueError, match="makes the id"):
        of_method("luffy", out, data, arguments={"eval_dataset": with_expert(prompt=NEW)}, per_device_eval_batch_size=4)
    tokenizer = with_new_token()
    for method in TRAINERS:
        tokenizer.chat_template = kit.CHAT.replace("<assistant>", NEW)
        chat = kit.make_problems(2, chat=True).add_column("expert", [" ok"] * 2)
        kind = KINDS[method]
        with pytest.raises(ValueError, match="makes the id"):
            kind.trainer(
                kit.make_model(), kit.has_digit, kit.make_config(out, kind.config), chat, processing_class=tokenizer
            )


@pytest.mark.parametrize("method", TRAINERS)
def test_a_token_that_no_text_has_or_that_the_model_knows_does_no_harm(method: str, out: Path) -> None:
    of_method(method, out, with_expert(), max_steps=1).train()
    model = kit.make_model()
    model.resize_token_embeddings(len(with_new_token()))
    of_method(method, out, with_expert(prompt=f"solve {NEW}"), model=model, max_steps=3).train()


@pytest.mark.parametrize("method", TRAINERS)
def test_a_streamed_id_beyond_the_embedding_is_named_as_it_comes(method: str, out: Path) -> None:
    column = "strategy" if method == "sgpo" else "expert"
    stream = with_expert(**{column: f" ok {NEW}"}).to_iterable_dataset()
    trainer = (
        of_method(method, out, stream, max_steps=3, gate=4)
        if method == "hpt"
        else of_method(method, out, stream, max_steps=3)
    )
    with pytest.raises(ValueError, match=r"makes the id .*'<new>'.*resize_token_embeddings"):
        trainer.train()


# ---------------------------------------------------------------- weights too coarse for the learning rate


@pytest.mark.parametrize("method", [*TRAINERS, "sft"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_coarse_weights_at_a_small_rate_are_warned_of(dtype: torch.dtype, method: str, out: Path) -> None:
    def build(dtype: torch.dtype, rate: float, peft: bool = False) -> list[str]:
        kind = KINDS[method]
        more: dict[str, Any] = {"peft_config": LoraConfig(r=2, target_modules=["q_proj"])} if peft else {}
        model = kit.make_model(initializer_range=0.02, hidden_size=64, intermediate_size=128).to(dtype)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            if method == "sft":
                config = kind.config(str(out), use_cpu=True, learning_rate=rate, report_to="none")
                kind.trainer(model, config, train_dataset=with_expert(), processing_class=kit.make_tokenizer(), **more)
            else:
                config = kit.make_config(out, kind.config, learning_rate=rate)
                kind.trainer(model, kit.has_digit, config, with_expert(), processing_class=kit.make_tokenizer(), **more)
        return [str(w.message) for w in said if "rounds away" in str(w.message)]

    (message,) = build(dtype, 1e-6)
    for words in (str(dtype)[6:], "learning_rate=1e-06", "'dtype': 'float32'", "bf16=True"):
        assert words in message
    assert not build(torch.float32, 1e-6)
    assert not build(dtype, 1e-2)
    assert not build(dtype, 1e-6, peft=True)


# ---------------------------------------------------------------- what others' code would hand over


@pytest.mark.parametrize("method", ["sgpo", "luffy", "hpt"])
def test_the_configuration_of_another_trainer(method: str, out: Path) -> None:
    kind = KINDS[method]
    args = kit.make_config(out, GRPOConfig)
    with pytest.raises(TypeError, match=rf"args is a GRPOConfig, but {kind.trainer.__name__} takes a"):
        kind.trainer(kit.make_model(), kit.has_ok, args, with_expert(), processing_class=kit.make_tokenizer())


@pytest.mark.parametrize("method", ["sgpo", "luffy", "hpt"])
def test_fewer_problems_than_a_generation_batch_takes(method: str, out: Path) -> None:
    kind = KINDS[method]
    args = kit.make_config(out, kind.config)
    trainer = kind.trainer(
        kit.make_model(), kit.has_ok, args, with_expert().select([0]), processing_class=kit.make_tokenizer()
    )
    with pytest.raises(ValueError, match=r"has 1 problems, but a generation batch takes 2 .* no step would be taken"):
        trainer.train()


LATER: dict[str, tuple[dict[str, Any], str]] = {
    "an image": ({"prompt": "solve 2", "images": ["x.png"]}, "holds an image"),
    "no prompt": ({"prompt": None}, "The prompt is None"),
    "another form": ({"prompt": [{"role": "user", "content": "solve 2"}]}, "mixes prompts of plain text and"),
}


@pytest.mark.parametrize("name", LATER)
def test_later_rows_of_a_stream_are_looked_at(name: str, out: Path) -> None:
    row, message = LATER[name]
    rows = [{"prompt": "solve 1", "strategy": "carry"}, {"strategy": "carry", **row}]
    with pytest.raises(ValueError, match=message):
        kit.make_trainer(out, data=IterableDataset.from_generator(lambda: iter(rows)), max_steps=1).train()


def test_prompts_are_read_anew_by_another_version(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`datasets` caches what a function of a module made of a file, and does not see that the function is another."""
    parts = [{"role": "user", "content": [{"type": "text", "text": "solve a"}]}]
    Dataset.from_dict({"prompt": [parts] * 2}).save_to_disk(out)
    data = load_from_disk(out)
    assert text_only(data)[0]["prompt"][0]["content"] == "solve a"
    monkeypatch.setattr(prompts, "text_prompt", lambda prompt: [{"role": "user", "content": "of another version"}])
    assert text_only(data)[0]["prompt"][0]["content"] == "of another version"


def test_a_later_row_of_a_stream_in_parts(out: Path) -> None:
    rows = [
        {"prompt": [{"role": "user", "content": content}], "strategy": "carry"}
        for content in ("solve 1", [{"type": "text", "text": "solve 2"}])
    ]
    seen: list[Any] = []

    def reward(prompts: list[Any], completions: list[Any], **kwargs: Any) -> list[float]:
        seen.extend(message["content"] for prompt in prompts for message in prompt)
        return [1.0] * len(completions)

    data = IterableDataset.from_generator(lambda: iter(rows))
    kit.make_trainer(out, data=data, reward=reward, max_steps=1).train()
    assert set(seen) == {"solve 1", "solve 2"}


@pytest.mark.parametrize("method", ["sgpo", "luffy", "hpt"])
def test_weights_in_two_dtypes_train_under_autocast(method: str, out: Path) -> None:
    """As PEFT's preparation for k-bit training leaves them: norms in float32."""
    model = kit.make_model(tied=False).to(torch.bfloat16)
    for name, parameter in model.named_parameters():
        if "norm" in name:
            parameter.data = parameter.data.float()
    kind = KINDS[method]
    args = kit.make_config(out, kind.config, bf16=True, max_steps=1)
    trainer = kind.trainer(model, kit.has_digit, args, with_expert(), processing_class=kit.make_tokenizer())
    trainer.train()
    assert trainer.state.global_step == 1


# ---------------------------------------------------------------- where it trains


@pytest.mark.parametrize("kind", TRAINERS)
def test_a_process_that_sees_several_gpus_is_refused_before_the_model_is_loaded(kind: str, out: Path) -> None:
    """TRL would split the model over them, layer by layer, and its loss would mix devices."""
    trainer, config = KINDS[kind].trainer, kit.make_config(out, KINDS[kind].config)
    config._n_gpu = 2
    with pytest.raises(ValueError, match=r"This process sees 2 GPUs.*CUDA_VISIBLE_DEVICES=0.*accelerate launch"):
        trainer("no/model", kit.has_ok, config, with_expert(), processing_class=kit.make_tokenizer())
    config.model_init_kwargs = {"device_map": "auto"}  # whoever says so has it so
    with pytest.raises(OSError, match="find them in the cached files"):
        trainer("no/model", kit.has_ok, config, with_expert(), processing_class=kit.make_tokenizer())


@pytest.mark.parametrize("kind", [*TRAINERS, "sft"])
def test_the_cpu_of_a_machine_with_a_gpu_trains_in_float32(
    kind: str, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def config(**options: Any) -> Any:
        return KINDS[kind].config(str(out), per_device_train_batch_size=8, **options)

    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    assert config(use_cpu=True).bf16 is False
    assert config(use_cpu=True, bf16=True).bf16 is True


def test_trained_rows_of_embeddings_that_are_the_head_merge_as_they_are() -> None:
    model = get_peft_model(kit.make_model(tied=True), TrainableTokensConfig(token_indices=[5, 6]))
    with torch.no_grad():
        for parameter in filter(lambda each: each.requires_grad, model.parameters()):
            parameter.add_(1.0)
    check_merged(model)
    ids = torch.tensor([[5, 8, 6]])
    wanted = model.eval()(input_ids=ids).logits
    assert torch.allclose(model.merge_and_unload()(input_ids=ids).logits, wanted)
