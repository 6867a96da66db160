"""The seam: each private name of TRL, and of transformers' ``Trainer``, that this package overrides, calls or reads.

A release of TRL may rename any of them, and a method that is overridden under its old name is silently never called.
So what is relied on stands here as a contract, which :func:`check` reads against the installed sources before a
trainer is built. Other modules import TRL's helpers from here.
"""

import ast
import functools
import importlib
import inspect
import re
import textwrap
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import trl

TRIED = ("1.16",)
"""Releases of TRL on which all tests of this package ran."""


class SeamError(ImportError, ValueError):
    """TRL is not what is relied on. It is a ``ValueError``, too, so that a command ends with its one line."""


@dataclass(frozen=True)
class Contract:
    """What is relied on in one method, function or class."""

    path: str  # module and name, such as "trl:GRPOTrainer._compute_loss"
    # Its parameters in order, without `self`; with `...` at the end others may be among them. None: not looked at.
    parameters: str | None = None
    returns: int = 0  # length of the tuple that it returns; 0 where it returns none
    keys: tuple[str, ...] = ()  # of dictionaries that it writes or reads, such as a batch or the metrics

    @property
    def name(self) -> str:
        """The name alone, as messages show it."""
        return self.path.partition(":")[2]

    def faults(self) -> Iterator[str]:
        """How the installed source differs from this, one sentence each."""
        try:
            found = resolve(self.path)
        except (ImportError, AttributeError):
            yield f"{self.path.replace(':', '.')} is missing"
            return
        if getattr(found, "__module__", "trl").partition(".")[0] not in ("trl", "transformers"):
            return  # a patch by the user, or by a test, says nothing of the release
        if self.parameters is not None:
            yield from self._signature_faults(found)
        if self.returns or self.keys:
            yield from self._source_faults(found)

    def _signature_faults(self, found: Any) -> Iterator[str]:
        names = [name for name in inspect.signature(found).parameters if name != "self"]
        wanted = [name for name in (self.parameters or "").split(", ") if name]
        if wanted[-1:] == ["..."]:
            lacking = [name for name in wanted[:-1] if name not in names]
            if lacking:
                yield f"{self.name} has no parameter {', '.join(lacking)}; it has ({', '.join(names)})"
        elif names != wanted:
            yield f"{self.name} takes ({', '.join(names)}), not ({', '.join(wanted)})"

    def _source_faults(self, found: Any) -> Iterator[str]:
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(found)))
        except (OSError, TypeError, SyntaxError):
            return  # a frozen or compiled TRL has no source to look into
        known = {text for node in ast.walk(tree) for text in _keys(node)}
        for key in self.keys:
            if key not in known:
                yield f"{self.name} has no key {key!r}"
        lengths = {len(r.value.elts) for r in _returns(tree.body[0]) if isinstance(r.value, ast.Tuple)}
        if self.returns and lengths != {self.returns}:
            found_ones = " or ".join(map(str, sorted(lengths))) or "no tuple of"
            yield f"{self.name} returns {found_ones} values, not {self.returns}"


def _keys(node: ast.AST) -> Iterator[str]:
    """Texts that a node of a syntax tree uses as keys of a dictionary."""
    keys: list[Any] = []
    if isinstance(node, ast.Dict):
        keys = node.keys
    elif isinstance(node, ast.Subscript):
        keys = [node.slice]
    for key in keys:
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            yield key.value


def _returns(node: ast.AST) -> Iterator[ast.Return]:
    """The return statements of a function, without those of the functions in it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Return):
            yield child
        elif not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from _returns(child)


_GRPO, _HF = "trl:GRPOTrainer.", "transformers:Trainer."
_BATCH = ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask", "advantages", "num_items_in_batch")
_RATIOS = ("old_per_token_logps", "sampling_per_token_logps", "importance_sampling_ratio")
CONTRACTS = (
    # Overridden. TRL calls these, so a parameter that is new to them is a fault, but where an override passes it on.
    Contract(_GRPO + "_calculate_rewards", "inputs, prompts, completions, completion_ids_list"),
    Contract(_GRPO + "_compute_loss", "model, inputs", keys=("entropy", "completion_mask", "advantages")),
    Contract(
        _GRPO + "_generate_and_score_completions",
        "inputs",
        keys=(*_BATCH, *_RATIOS, "reward", "frac_reward_zero_std", "prompt", "completion", "rewards"),
    ),
    Contract(_GRPO + "_generate_single_turn", "prompt_ids, images, multimodal_fields, num_generations, ...", returns=2),
    Contract(_GRPO + "_generate", keys=("completions/clipped_ratio", "num_tokens")),
    Contract(
        _GRPO + "_get_per_token_logps_and_entropies",
        "model, input_ids, attention_mask, logits_to_keep, batch_size, ...",
        returns=3,
    ),
    Contract(_GRPO + "_get_train_sampler", "dataset"),
    Contract(_GRPO + "_load_optimizer_and_scheduler", "checkpoint"),
    Contract(_GRPO + "_save_checkpoint", "model, trial"),
    Contract(_GRPO + "_set_signature_columns_if_needed", ""),
    Contract(_GRPO + "_tokenize_prompts", "prompts", returns=3),
    Contract(_GRPO + "get_high_entropy_mask", "entropies, mask, threshold"),
    Contract(_GRPO + "log", "logs, start_time"),
    Contract(_GRPO + "create_model_card", "model_name, ..."),
    Contract(_GRPO + "_paper"),
    Contract(
        _HF + "_init_training_state",
        "max_steps, num_update_steps_per_epoch, num_train_epochs, resume_from_checkpoint, trial",
        returns=2,
    ),
    Contract(_HF + "_run_epoch", "epoch, epochs_trained, resume_from_checkpoint, steps_trained_in_current_epoch, ..."),
    Contract(_HF + "_maybe_log_save_evaluate"),
    Contract(_HF + "get_batch_samples", "epoch_iterator, num_batches, device", returns=2),
    Contract(_HF + "_issue_warnings_after_load", "load_result"),
    Contract(_HF + "_save", "output_dir, state_dict"),
    Contract(_HF + "evaluation_loop", "dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix"),
    Contract(_HF + "evaluate", "eval_dataset, ..."),
    Contract(_HF + "save_model", "output_dir, _internal_call"),
    Contract(_HF + "_load_callback_state", ""),
    Contract(_HF + "train", "resume_from_checkpoint, ..."),
    Contract(
        "trl:SFTTrainer._prepare_dataset", "dataset, processing_class, args, packing, formatting_func, dataset_name"
    ),
    Contract("trl:SFTTrainer.compute_loss", "model, inputs, ..."),
    # Called.
    Contract(_HF + "_get_output_dir", "trial"),
    Contract(
        "trl.trainer.utils:RepeatSampler", "data_source, mini_repeat_count, batch_size, repeat_count, shuffle, seed"
    ),
    Contract("trl.trainer.utils:get_config_model_id", "config"),
    Contract("trl.trainer.utils:maybe_gather_lm_head_ctx"),
    Contract("trl.trainer.utils:pad", "tensors, padding_value, padding_side, ..."),
    Contract("trl.data_utils:is_conversational", "example"),
    Contract("trl.chat_template_utils:parse_response", "prefix, ..."),
    Contract("trl.generation.vllm_generation:VLLMClient"),
    Contract("trl.generation.vllm_generation:VLLMGeneration._iter_named_params", ""),
    Contract("trl.generation.vllm_client:VLLMClient.generate", "prompts, n, max_tokens, ..."),
    Contract("trl.generation.vllm_client:VLLMClient.check_server", "total_timeout, retry_interval"),
    Contract("trl.generation.vllm_client:VLLMClient.get_server_info", ""),
    Contract("trl.generation.vllm_client:VLLMClient.get_world_size", ""),
    Contract("trl.generation.vllm_client:VLLMClient.init_communicator"),
    Contract("trl.generation.vllm_client:VLLMClient.update_named_params"),
    Contract("trl.generation.vllm_client:VLLMClient._get", "url, ..."),
    Contract("trl.generation.vllm_client:VLLMClient._post", "url, ..."),
)
# What is read from, or put into, the objects themselves, by the module whose source makes it.
ATTRIBUTES = {
    "trl.trainer.grpo_trainer": (
        "_buffered_inputs _entropy_bonus_enabled _entropy_window_stats _logs _metrics _pending_extra_logs "
        "_pending_metrics _step _tokenizer aux_loss_enabled chat_template chat_template_kwargs eos_token_ids "
        "generation_config loss_type max_completion_length num_generations num_generations_eval num_iterations "
        "pad_to_multiple_of ref_model reward_func_names reward_funcs reward_weights shuffle_dataset temperature "
        "use_vllm vllm_generation"
    ),
    "trl.trainer.sft_trainer": "_metrics _total_train_tokens",
    "transformers.trainer": (
        "_signature_columns accelerator callback_handler control current_gradient_accumulation_steps eval_dataset "
        "state train_dataset"
    ),
    "trl.trainer.utils": "generator num_samples seed shuffle",  # RepeatSampler
    "trl.generation.vllm_generation": "generation_kwargs",
    "trl.generation.vllm_client": "base_url host session",
}


def resolve(path: str) -> Any:
    """The object at ``module:name.name``."""
    module, _, name = path.partition(":")
    return functools.reduce(getattr, name.split("."), importlib.import_module(module))


def faults() -> list[str]:
    """Where the installed TRL and transformers differ from what is relied on, one sentence each."""
    found = [fault for contract in CONTRACTS for fault in contract.faults()]
    for module, names in ATTRIBUTES.items():
        try:
            source = inspect.getsource(importlib.import_module(module))
        except (ImportError, OSError):
            continue
        # What is assigned to self, alone, with an annotation or as one of several; `==` is no assignment.
        made = set(re.findall(r"self\.(\w+)(?:, self\.\w+)*\s*(?::[^=\n]+)?=[^=]", source))
        found += [f"{module} sets no attribute {name}" for name in names.split() if name not in made]
    return found


@functools.cache
def check() -> None:
    """Look once at the installed TRL; one that was not tried here, but where all names fit, is warned of.

    Raises:
        SeamError: TRL or transformers has changed what is relied on; the message has each name.
    """
    version = trl.__version__
    if changed := faults():
        raise SeamError(_refusal(version, changed))
    if not version.startswith(tuple(f"{tried}." for tried in TRIED)):
        warnings.warn(
            f"sgpo was tried on TRL {' and '.join(TRIED)}, and this is TRL {version}. Each of its names that sgpo "
            "relies on is there and looks the same, so training goes on.",
            stacklevel=2,
        )


def _refusal(version: str, changed: list[str]) -> str:
    return (
        f"sgpo cannot train on TRL {version}, of which it relies on private names: {'; '.join(changed)}. Install a "
        f"release that it was tried on: pip install 'trl=={TRIED[-1]}.*'."
    )


try:
    from trl import GRPOTrainer
    from trl.chat_template_utils import parse_response
    from trl.data_utils import is_conversational
    from trl.generation import vllm_generation
    from trl.generation.vllm_client import VLLMClient
    from trl.trainer.utils import RepeatSampler, get_config_model_id, maybe_gather_lm_head_ctx, pad
except ImportError as error:
    raise SeamError(_refusal(trl.__version__, faults() or [str(error)])) from error

__all__ = [
    "GRPOTrainer",
    "RepeatSampler",
    "VLLMClient",
    "check",
    "get_config_model_id",
    "is_conversational",
    "maybe_gather_lm_head_ctx",
    "pad",
    "parse_response",
    "vllm_generation",
]
