"""``sgpo train --help`` without torch: our fields as their source has them, and what recipes set of the others.

The configuration inherits from TRL, whose import takes seconds. So the fields of our own classes are read from their
syntax tree; a comment line among them is a heading. The inherited ones that recipes set are a table here. A test holds
both to the dataclasses.
"""

import ast
import re
import shutil
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sgpo.data.prompts import DEFAULT_GUIDED_TEMPLATE

ROOT = Path(__file__).parents[1]
_NAMES = {"DEFAULT_GUIDED_TEMPLATE": DEFAULT_GUIDED_TEMPLATE, "list": []}  # what defaults refer to
_DEFAULT_WIDTH, _NAME_WIDTH = 14, 30
_MOST_LINES = 3


@dataclass(frozen=True)
class Field:
    """A field of a recipe: its default, its help, and the heading that it stands under."""

    name: str
    default: Any
    help: str
    heading: str = ""


INHERITED = {
    "Model": (
        Field("model_name_or_path", None, "Folder or hub id of the model; 'lab' is the embedded base. Required."),
        Field("dtype", "float32", "Data type of the weights; bfloat16 on GPUs with LoRA, FSDP or DeepSpeed."),
        Field("attn_implementation", None, "Attention: sdpa, flash_attention_2 or eager."),
        Field("use_peft", False, "Train a LoRA adapter in place of all weights."),
        Field("lora_r", 16, "Rank of the adapter."),
        Field("lora_alpha", 32, "Scale of the adapter."),
        Field("lora_dropout", 0.05, "Dropout of the adapter; 0 where vLLM samples, which has none."),
        Field("lora_target_modules", None, "Modules that get an adapter, such as q_proj, or all-linear."),
        Field("load_in_4bit", False, "Keep the base in 4 bit (QLoRA)."),
    ),
    "Steps": (
        Field("output_dir", None, "Folder of the run: checkpoints, logs, the model."),
        Field("learning_rate", 1e-6, "Highest learning rate; LoRA wants about ten times that of all weights."),
        Field("lr_scheduler_type", "linear", "Course of the learning rate: linear, constant, cosine."),
        Field("warmup_steps", 0, "Steps, or the share of all steps, in which the rate rises."),
        Field("num_train_epochs", 3.0, "Passes over the problems."),
        Field("max_steps", -1, "Optimizer steps, in place of num_train_epochs."),
        Field("per_device_train_batch_size", 8, "Rollouts that a device scores at once: memory, not the method."),
        Field("gradient_accumulation_steps", 1, "Batches of an optimizer step."),
        Field("steps_per_generation", None, "Batches whose rollouts are sampled at once. Default: those of a step."),
        Field("num_iterations", 1, "Passes over each sampled batch."),
        Field("max_grad_norm", 1.0, "Norm at which the gradient is clipped."),
        Field("seed", 42, "Random seed of the data's order and of sampling."),
    ),
    "Sampling": (
        Field("max_completion_length", 512, "Most tokens of a rollout."),
        Field("temperature", 1.0, "Temperature of the rollouts."),
        Field("chat_template_kwargs", None, "Variables of the chat template, such as {enable_thinking: false}."),
        Field("use_vllm", False, "Sample by vLLM in place of transformers."),
        Field("vllm_mode", "colocate", "vLLM on the training GPUs (colocate) or on its own (server)."),
        Field("vllm_gpu_memory_utilization", 0.3, "Share of a GPU's memory that vLLM takes, with colocate."),
        Field("vllm_max_model_length", None, "Tokens of prompt and rollout together that vLLM reserves."),
        Field("vllm_enable_sleep_mode", False, "Give vLLM's memory back while training, with colocate."),
        Field("vllm_server_timeout", 240.0, "Seconds to wait until a vLLM server answers, with server."),
    ),
    "Memory, logs, checkpoints": (
        Field("bf16", None, "Compute in bfloat16. Default: on a GPU that can."),
        Field("activation_checkpointing", None, "Compute activations again to save memory. Default: on."),
        Field("use_cpu", False, "Train on the CPU although there is a GPU."),
        Field("logging_steps", 10, "Steps between two lines of metrics."),
        Field("report_to", "none", "Trackers: wandb, tensorboard, mlflow, trackio; none."),
        Field("save_strategy", "steps", "When checkpoints are saved: steps, epoch or no."),
        Field("save_steps", 500, "Steps between two checkpoints."),
        Field("save_total_limit", None, "Most checkpoints that are kept. Default: all."),
        Field("eval_strategy", "no", "When the model is measured on eval_dataset or eval_split: steps, epoch or no."),
    ),
}  # fmt: skip


def short_help() -> str:
    """What ``sgpo train --help`` prints: at most three lines a field."""
    lines = [
        "Usage: sgpo train --config RECIPE [--FIELD VALUE ...]",
        "",
        "Train a model by SGPO from a YAML recipe. Each field stands in the recipe as FIELD: VALUE, or on the command",
        "line, which wins. The second column has the defaults; - stands for none. docs/terms.md defines the words.",
        "",
        "  --config RECIPE   The recipe, such as recipes/lab.yaml.",
        "  --check           Train nothing: show the data, both prompts with their tokens, rewards and memory.",
        "  --hardware NAME   With --check: the machine to plan for, such as h100:8. Default: this one.",
        "  --help-all        Every field, those of TRL and transformers too, with whole descriptions (takes seconds).",
    ]
    heading = None
    for field in own_fields():
        if field.heading != heading:
            heading = field.heading
            lines += ["", f"{heading}:"]
        lines += _shown(field)
    for heading, fields in INHERITED.items():
        lines += ["", f"{heading} (of TRL and transformers, as recipes set it):"]
        lines += [line for field in fields for line in _shown(field)]
    return "\n".join(lines)


def own_fields() -> list[Field]:
    """The fields of `RunArguments` and of `SGPOConfig` with its bases in this package, in the order of their source."""
    run = [*_fields_of(ROOT / "recipe" / "arguments.py", "RunArguments", "Data and rewards")]
    return [*run, *_fields_of(ROOT / "trainer" / "config.py", "SGPOConfig", "SGPO")]


def _fields_of(path: Path, name: str, heading: str) -> Iterator[Field]:
    """The annotated fields with a help text of a class, then those of its bases that a module of ours defines."""
    source = path.read_text(encoding="utf-8")
    # Read and not imported: the configuration inherits from TRL, whose import takes seconds.
    tree, lines = ast.parse(source), source.splitlines()
    found = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    last = found.lineno
    for node in found.body:
        comments = [line.strip()[2:] for line in lines[last : node.lineno - 1] if line.startswith("    # ")]
        heading = re.split(r"[.:]", comments[0])[0] if comments else heading
        last = node.end_lineno or node.lineno
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and isinstance(node.value, ast.Call):
            yield Field(node.target.id, *_default_and_help(node.value), heading)
    ours = {
        alias.asname or alias.name: ROOT.joinpath(*str(node.module).split(".")[1:]).with_suffix(".py")
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("sgpo.")
        for alias in node.names
    }
    for base in found.bases:
        if isinstance(base, ast.Name) and base.id in ours:
            yield from _fields_of(ours[base.id], base.id, "vLLM")


def _default_and_help(call: ast.Call) -> tuple[Any, str]:
    """The two of ``option(default, help)``, or of ``field(default=..., metadata={"help": ...})``."""
    named = {keyword.arg: keyword.value for keyword in call.keywords}
    if "metadata" in named:
        default = named.get("default") or named["default_factory"]
        return _value(default), str(ast.literal_eval(named["metadata"])["help"])
    arguments = dict(zip(("default", "help"), call.args, strict=False)) | named
    return _value(arguments["default"]), str(ast.literal_eval(arguments["help"]))


def _value(node: ast.expr) -> Any:
    # A default that is a list has to be made by a function; what it returns is the default.
    if isinstance(node, ast.Lambda):
        node = node.body
    return _NAMES[node.id] if isinstance(node, ast.Name) else ast.literal_eval(node)


def _shown(field: Field) -> list[str]:
    """The field, its default, and as many sentences of its help as fit into three lines, the first at least."""
    indent = " " * (2 + _NAME_WIDTH + _DEFAULT_WIDTH)
    width = max(80, min(120, shutil.get_terminal_size((110, 24)).columns)) - len(indent)
    sentences = re.split(r"(?<=[a-z0-9)'\]]\.)\s", field.help.replace("%%", "%"))  # argparse doubles the sign
    said = sentences[0]
    for sentence in sentences[1:]:
        if len(textwrap.wrap(f"{said} {sentence}", width)) > _MOST_LINES:
            break
        said += f" {sentence}"
    wrapped = textwrap.wrap(said, width, max_lines=_MOST_LINES, placeholder=" ...")
    first = f"  {field.name:<{_NAME_WIDTH}}{_default_text(field.default):<{_DEFAULT_WIDTH}}{wrapped[0]}"
    return [first, *(indent + each for each in wrapped[1:])]


def _default_text(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return f"{value:g}"
    text = ", ".join(value) if isinstance(value, list) else str(value)
    return text if len(text) < _DEFAULT_WIDTH else "(see all)"
