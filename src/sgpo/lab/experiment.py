"""One training run on the lab, as a function: the same trainer, data, start and evaluation for every method.

A *cell* is one method with one seed on one base model. Cells share nothing but the base they begin from, so they run
side by side in processes of their own (one torch thread each: two threads of a small model on a busy machine are
slower than one). There is no warm start: the base already writes in the form that is verified.
"""

import functools
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedModel, PrinterCallback

from sgpo.lab.measure import measure_all, measure_once, write_samples
from sgpo.lab.model import load
from sgpo.lab.problems import GUIDED_TEMPLATE, MAX_COMPLETION, Split, lab_reward, load_problems
from sgpo.lab.responses import EXPERTS
from sgpo.runs.entries import CellResult
from sgpo.runs.files import append_rows, write_rows
from sgpo.runs.jobs import ReportProgress
from sgpo.trainer.methods import KINDS, find_method
from sgpo.trainer.recorder import Recorder

Strategies = Mapping[str, str | None]  # by the problem's id


@dataclass(frozen=True)
class RunBudget:
    """What every method gets. Each generation batch is gone over ``updates`` times, one optimizer step a time."""

    problems: int = 12
    generations: int = 80
    updates: int = 2
    learning_rate: float = 8e-4
    max_grad_norm: float = 0.1
    warmup_steps: int = 10
    eval_every: int = 16  # generations
    eval_k: int = 4  # samples a problem at the end; 1 on the way
    split: Split = "eval"  # measured on; "validation" for any choice that is made by the result
    expert: str = "gentle"  # who wrote the solutions of the training problems; see sgpo.lab.responses.EXPERTS

    def __post_init__(self) -> None:
        if self.expert not in EXPERTS:
            raise ValueError(f"expert {self.expert!r} is unknown; choose one of {', '.join(EXPERTS)}.")

    @property
    def steps(self) -> int:
        """Optimizer steps of a method that samples."""
        return self.generations * self.updates

    @classmethod
    def lasting(cls, generations: int, **fields: Any) -> "RunBudget":
        """A budget for another number of generation batches, whose runs are measured five times on the way."""
        return cls(generations=generations, eval_every=max(1, generations // 5), **fields)


@dataclass(frozen=True)
class Cell:
    """One method, one seed, one base; ``overrides`` are further fields of the method's configuration."""

    method: str  # see sgpo.trainer.methods
    seed: int = 0
    base_seed: int = 0
    budget: RunBudget = RunBudget()
    overrides: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Fit for a file name."""
        return cell_name(self.method, self.base_seed, self.seed)


def cell_name(method: str, base_seed: int, seed: int) -> str:
    """The name of a cell's directory."""
    return f"{re.sub('[^A-Za-z0-9_.-]', '_', method)}-base{base_seed}-seed{seed}"


def run_cell(
    cell: Cell, start: Path, out: Path, report: ReportProgress | None = None, strategies: Strategies | None = None
) -> CellResult:
    """Train ``cell`` from the model at ``start`` and evaluate it; writes metrics.jsonl and the model into ``out``.

    ``strategies`` are as for :func:`train_data`.
    """
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    budget = cell.budget
    model, tokenizer = load(start)
    trainer = build_trainer(cell, model, tokenizer, out, strategies)
    recorder = _Recorder(cell, out / "metrics.jsonl", tokenizer, report)
    # Cells run side by side and share one terminal.
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(recorder)
    # The start of every curve: what a method gains is seen from there.
    recorder.measure(model, 0)
    # Measuring on the way is no training, and no method shall pay for it.
    began, before = time.perf_counter(), recorder.seconds
    trainer.train()
    seconds = time.perf_counter() - began - (recorder.seconds - before)
    trainer.save_model(str(out / "model"))
    write_samples(model, tokenizer, budget.split, out / "samples.jsonl")
    # Without the start, which no method has earned.
    curve = recorder.curve[1:]
    return replace(
        measure_all(model, tokenizer, k=budget.eval_k, split=budget.split),
        method=cell.method,
        seed=cell.seed,
        base_seed=cell.base_seed,
        accuracy_over_training=sum(value for _, value in curve) / len(curve),
        curve=recorder.curve,
        **recorder.costs(),
        train_seconds=round(seconds, 1),
    )


def build_trainer(
    cell: Cell, model: PreTrainedModel, tokenizer: Any, out: Path, strategies: Strategies | None = None
) -> Any:
    """The trainer of a cell. Raises ``ValueError`` for a method that does not exist or trains nothing."""
    method = find_method(cell.method)
    if method.kind is None:
        raise ValueError(f"method {cell.method!r} trains nothing, so it has no trainer.")
    kind, config, data = KINDS[method.kind], train_config(cell, out), train_data(cell.budget, strategies)
    if method.kind == "sft":
        return kind.trainer(model, config, train_dataset=data, processing_class=tokenizer)
    return kind.trainer(model, lab_reward, config, train_dataset=data, processing_class=tokenizer)


def train_data(budget: RunBudget, strategies: Strategies | None = None) -> Dataset:
    """The training problems with what the trainers read; ``strategies`` in place of the lab's own ones.

    A problem that ``strategies`` does not name is left out, one with None trains without a strategy.
    """
    problems: list[dict[str, Any]] = [dict(p) for p in load_problems("train", expert=budget.expert)]
    if strategies is not None:
        problems = [{**p, "strategy": strategies[p["id"]]} for p in problems if p["id"] in strategies]
    # The blank: a prompt ends in a word, and the tokenizer tells words apart by blanks.
    return Dataset.from_list([{**p, "expert": " " + p["expert"]} for p in problems])


def train_config(cell: Cell, out: Path) -> Any:
    """The training arguments of a cell: the same problems a step and the same optimizer steps for all that sample.

    SFT gets as many rows of training as GRPO, in steps of as many problems: one small step learns little from a right
    response a problem, and on validation SFT is much better so than with as many optimizer steps.
    """
    budget, method = cell.budget, find_method(cell.method)
    config = KINDS[str(method.kind)].config
    fields: dict[str, Any] = {
        "max_steps": budget.steps,
        "learning_rate": budget.learning_rate,
        "max_grad_norm": budget.max_grad_norm,
        "lr_scheduler_type": "linear",
        "warmup_steps": budget.warmup_steps,
        "seed": cell.seed,
        # A lab run is small and silent.
        "activation_checkpointing": False,
        "bf16": False,
        "use_cpu": True,
        "save_strategy": "no",
        "logging_steps": 1,
        "report_to": [],
        "disable_tqdm": True,
    }
    given = {**method.fields, **cell.overrides}
    if method.kind == "sft":
        fields["per_device_train_batch_size"] = budget.problems
        # A step of SFT has a row a problem, where GRPO has its rollouts: so many times the steps.
        fields["max_steps"] = budget.steps * KINDS["sgpo"].config.num_generations
    else:
        rollouts = given.get("num_generations", config.num_generations)
        fields["per_device_train_batch_size"] = budget.problems * rollouts
        fields |= {"steps_per_generation": 1, "num_iterations": budget.updates, "max_completion_length": MAX_COMPLETION}
    if method.kind == "sgpo":
        fields["guided_prompt_template"] = GUIDED_TEMPLATE
        fields["log_problems"] = True  # it only reads; sgpo report shows what it wrote
    # What the method and its name set comes last, and wins.
    return config(str(out), **{**fields, **given})


class _Recorder(Recorder):
    """Measures the held-out accuracy on the way, too."""

    def __init__(self, cell: Cell, path: Path, tokenizer: Any, report: ReportProgress | None):
        progress = functools.partial(report, cell.name) if report is not None else None
        super().__init__(path, str(find_method(cell.method).kind), progress)
        self._cell, self._tokenizer = cell, tokenizer
        self.curve: list[tuple[int, float]] = []  # (optimizer step of a method that samples, accuracy)
        self.seconds = 0.0  # spent in measuring
        write_rows(path, [])

    def measure(self, model: PreTrainedModel, step: int, ratio: int = 1) -> None:
        began = time.perf_counter()
        accuracy = measure_once(model, self._tokenizer, k=1, split=self._cell.budget.split).accuracy
        self.seconds += time.perf_counter() - began
        self.curve.append((step // ratio, accuracy))
        append_rows(self._path, [{"step": step, "eval/accuracy": accuracy}], sync=False)

    def latest(self) -> dict[str, float]:
        return {"accuracy": self.curve[-1][1]} if self.curve else {}

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        budget = self._cell.budget
        # Measured at the same shares of training, so that curves of both can be averaged.
        ratio = max(1, state.max_steps // budget.steps)  # SFT takes more and smaller steps
        if state.global_step % (budget.eval_every * budget.updates * ratio) == 0:
            self.measure(model, state.global_step, ratio)
