"""What several tutorials share: a command line in this process, and a short training run on the lab."""

import json
import os
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PrinterCallback

from sgpo import SGPOConfig, SGPOTrainer
from sgpo.cli import app
from sgpo.evaluation import evaluate
from sgpo.lab import GUIDED_TEMPLATE, lab_reward, load_base, load_problems
from sgpo.lab.problems import MAX_COMPLETION
from sgpo.runs.progress import hush

hush()  # the noise of other packages


def steps(default: int) -> int:
    """The optimizer steps of a run; the variable SGPO_TUTORIAL_STEPS makes a tutorial shorter."""
    return int(os.environ.get("SGPO_TUTORIAL_STEPS", default))


def problems(count: int) -> list[Any]:
    """So many problems of the lab's validation split; few in a shortened tutorial."""
    return list(load_problems("validation"))[: min(count, 5 * steps(count))]


def command(line: str) -> None:
    """Run a command as you would type it, but in this process, which has loaded torch already."""
    print(f"\n$ sgpo {line}", flush=True)
    try:
        code = app(shlex.split(line), standalone_mode=False)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    if code:
        sys.exit(code)


@dataclass
class LabRun:
    """One training run: its accuracy on held-out problems in percent, and what the trainer logged."""

    accuracy: float
    log: list[dict[str, Any]]


def train_on_lab(out: Path, max_steps: int, *, seed: int = 0, num_generations: int = 8, **fields: Any) -> LabRun:
    """Train the lab's model by SGPO, 12 problems a step, with ``fields`` of its configuration changed."""
    shutil.rmtree(out, ignore_errors=True)  # else the log of an earlier run stands before this one's
    model, tokenizer = load_base()
    settings: dict[str, Any] = {
        "guided_prompt_template": GUIDED_TEMPLATE,
        "max_steps": max_steps,
        "learning_rate": 8e-4,
        "max_grad_norm": 0.1,
        "warmup_steps": 10,
        "num_generations": num_generations,
        "per_device_train_batch_size": 12 * num_generations,
        "steps_per_generation": 1,
        "num_iterations": 2,
        "max_completion_length": MAX_COMPLETION,
        "activation_checkpointing": False,
        "seed": seed,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
    }
    data = Dataset.from_list([dict(problem) for problem in load_problems("train")])
    config = SGPOConfig(str(out), **{**settings, **fields})
    trainer = SGPOTrainer(model, lab_reward, config, data, processing_class=tokenizer)
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    result = evaluate(model, tokenizer, problems(200), grade=lab_reward, max_new_tokens=MAX_COMPLETION)
    rows = [json.loads(line) for line in (out / "training_log.jsonl").read_text().splitlines()]
    return LabRun(100 * result.accuracy, rows)
