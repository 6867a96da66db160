"""One training run on the lab, as a function: the same trainer, data, warm start and evaluation for every method.

A *cell* is one method with one seed on one base model. Cells share nothing but the warm start they begin from, so
they run side by side in processes of their own (one torch thread each: two threads of a small model on a busy
machine are slower than one).
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PrinterCallback, TrainerCallback
from trl import SFTConfig, SFTTrainer

from sgpo.evaluation import EvalResult, evaluate
from sgpo.lab.problems import GUIDED_TEMPLATE, Split, guided_prompt, lab_reward, load_problems
from sgpo.trainer import SGPOConfig, SGPOTrainer

MAX_COMPLETION = 48  # tokens; see responses.py for how long the styles get
METHODS: dict[str, dict[str, Any]] = {
    "sft_grpo": {"alpha_form": "constant", "alpha_0": 0.0},
    "sft_grpo_12": {"alpha_form": "constant", "alpha_0": 0.0, "num_generations": 12},
    "sgpo": {},
}
"""Fields of ``SGPOConfig`` by which a method differs. ``sft_grpo_12`` samples as many rollouts as SGPO's 8 + 4."""

Report = Callable[[str, float, dict[str, float]], None]  # (cell, share done, latest metrics)


@dataclass(frozen=True)
class Budget:
    """What every method gets. A generation batch serves ``updates`` optimizer steps."""

    problems: int = 12
    generations: int = 80
    updates: int = 2
    learning_rate: float = 8e-4
    eval_every: int = 8  # generations
    eval_k: int = 4  # samples a problem at the end; 1 on the way
    split: Split = "eval"  # measured on; "validation" for any choice that is made by the result
    warm_steps: int = 24
    warm_learning_rate: float = 2e-4


@dataclass(frozen=True)
class Cell:
    """One method, one seed, one base; ``overrides`` are further fields of ``SGPOConfig``."""

    method: str
    seed: int = 0
    base_seed: int = 0
    budget: Budget = Budget()
    overrides: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.method}-base{self.base_seed}-seed{self.seed}"


def warm_start(base_seed: int, budget: Budget, out: Path) -> Path:
    """A few SFT steps on the expert's responses, from which every method begins; saved in Hugging Face format."""
    from sgpo.lab.model import load_base

    model, tokenizer = load_base(base_seed)
    rows = [{"prompt": p["prompt"], "completion": " " + p["expert"]} for p in load_problems("train")]
    config = SFTConfig(
        str(out),
        max_steps=budget.warm_steps,
        per_device_train_batch_size=32,
        learning_rate=budget.warm_learning_rate,
        lr_scheduler_type="constant",
        seed=base_seed,
        **_quiet(),
    )
    trainer = SFTTrainer(model, config, train_dataset=Dataset.from_list(rows), processing_class=tokenizer)
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    trainer.save_model(str(out))
    return out


def run_cell(cell: Cell, start: Path, out: Path, report: Report | None = None) -> dict[str, Any]:
    """Train ``cell`` from the model at ``start`` and evaluate it; writes metrics.jsonl and the model into ``out``.

    Returns:
        The entry of results.json for this method: accuracy with its interval, per family, tokens, seconds, and the
        accuracies over training.
    """
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    budget = cell.budget
    model, tokenizer = load(start)
    trainer = SGPOTrainer(
        model,
        lab_reward,
        sgpo_config(cell, out),
        train_dataset=Dataset.from_list([dict(p) for p in load_problems("train")]),
        processing_class=tokenizer,
    )
    recorder = _Recorder(cell, out / "metrics.jsonl", tokenizer, report)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(recorder)
    recorder.measure(model, 0)
    began = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - began - recorder.seconds
    trainer.save_model(str(out / "model"))
    result = measure(model, tokenizer, k=budget.eval_k, split=budget.split)
    greedy = measure(model, tokenizer, k=1, split=budget.split, temperature=0.0)
    curve = recorder.curve[1:]
    return {
        **summary(result),
        "seed": cell.seed,
        "base_seed": cell.base_seed,
        "accuracy_greedy": greedy.accuracy,
        "accuracy_over_training": sum(value for _, value in curve) / len(curve),
        "curve": recorder.curve,
        "sampled_tokens": int(recorder.autonomous_tokens + recorder.guided_tokens),
        "guided_tokens": int(recorder.guided_tokens),
        "train_seconds": round(seconds, 1),
    }


def sgpo_config(cell: Cell, out: Path) -> SGPOConfig:
    """The training arguments of a cell. Raises ``ValueError`` for a method that does not exist."""
    if cell.method not in METHODS:
        raise ValueError(f"method {cell.method!r} is unknown; choose from {', '.join(METHODS)}.")
    budget = cell.budget
    fields: dict[str, Any] = {**METHODS[cell.method], **cell.overrides}
    rollouts = budget.problems * fields.get("num_generations", SGPOConfig.num_generations)
    defaults: dict[str, Any] = {
        "per_device_train_batch_size": rollouts // budget.updates,
        "steps_per_generation": budget.updates,
        "max_steps": budget.generations * budget.updates,
        "learning_rate": budget.learning_rate,
        "lr_scheduler_type": "linear",
        "max_completion_length": MAX_COMPLETION,
        "guided_prompt_template": GUIDED_TEMPLATE,
        "seed": cell.seed,
        **_quiet(),
    }
    return SGPOConfig(str(out), **{**defaults, **fields})


def load(path: Path) -> tuple[PreTrainedModel, Any]:
    """A model saved by :func:`warm_start` or :func:`run_cell`, in float32, and its tokenizer."""
    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32), AutoTokenizer.from_pretrained(path)


def measure(
    model: PreTrainedModel,
    tokenizer: Any,
    *,
    k: int,
    split: Split = "eval",
    guided: bool = False,
    temperature: float = 1.0,
    seed: int = 1234,
) -> EvalResult:
    """Accuracy on held-out problems, ``k`` samples each, with the strategy in the prompt if ``guided``."""
    rows = [{**p, "prompt": guided_prompt(p) if guided else p["prompt"]} for p in load_problems(split)]
    return evaluate(
        model,
        tokenizer,
        rows,
        grade=lambda completions, answers: lab_reward(completions, answers),
        k=k,
        temperature=temperature,
        max_new_tokens=MAX_COMPLETION,
        batch_size=300,
        seed=seed,
    )


def summary(result: EvalResult) -> dict[str, Any]:
    """The part of a results.json entry that comes from the evaluation."""
    return {
        "accuracy": result.accuracy,
        "accuracy_ci95": list(result.ci95),
        "n_problems": result.n_problems,
        "k": result.k,
        "per_family": result.per_group,
    }


class _Recorder(TrainerCallback):
    """Writes what the trainer logs as JSON lines, and measures the held-out accuracy on the way."""

    def __init__(self, cell: Cell, path: Path, tokenizer: Any, report: Report | None):
        self._cell, self._path, self._tokenizer, self._report = cell, path, tokenizer, report
        self.curve: list[tuple[int, float]] = []  # (optimizer step, accuracy)
        self.seconds = 0.0  # spent in measuring
        self.autonomous_tokens = self.guided_tokens = 0.0
        path.write_text("")

    def measure(self, model: PreTrainedModel, step: int) -> None:
        began = time.perf_counter()
        accuracy = measure(model, self._tokenizer, k=1, split=self._cell.budget.split).accuracy
        self.seconds += time.perf_counter() - began
        self.curve.append((step, accuracy))
        self._write({"step": step, "eval/accuracy": accuracy})

    def on_log(self, args: SGPOConfig, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if "completions/mean_length" in logs:
            rows = args.per_device_train_batch_size * args.steps_per_generation * args.world_size
            self.autonomous_tokens += logs["completions/mean_length"] * rows
            self.guided_tokens += logs.get("sgpo/guided_tokens", 0.0)
        self._write({"step": state.global_step, **logs})
        if self._report is not None:
            latest = {"accuracy": self.curve[-1][1]} if self.curve else {}
            self._report(self._cell.name, state.global_step / state.max_steps, latest)

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        every = self._cell.budget.eval_every * self._cell.budget.updates
        if state.global_step % every == 0:
            self.measure(model, state.global_step)

    def _write(self, row: dict[str, Any]) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(row) + "\n")


def _quiet() -> dict[str, Any]:
    """Arguments that keep a lab run small and silent."""
    return {
        "activation_checkpointing": False,
        "bf16": False,
        "use_cpu": True,
        "save_strategy": "no",
        "logging_steps": 1,
        "report_to": [],
        "disable_tqdm": True,
    }
