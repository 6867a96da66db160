"""4. Training on your data: rows, a reward of your own, a recipe, training, evaluation.

Everything that a run needs is written by this script, so that you can see how little it is. The model is the lab's, for
it trains on a CPU in minutes. With your own model and data, change `model_name_or_path` and the rows. A model with a
chat template takes its prompts as messages, `[{"role": "user", "content": "..."}]`; the lab's has none, so its prompts
are plain text.

The words of this tutorial are defined in docs/terms.md.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from tutorial_kit import command, problems, steps

import sgpo
from sgpo.lab import GUIDED_TEMPLATE, load_base, load_problems
from sgpo.lab.problems import MAX_COMPLETION

OUT = Path("runs/tutorials/4")

# A reward gets the completions and the columns of the data, and returns a number for each completion.
REWARD = '''
import re


def last_number(completions, answer, **columns):
    """1 where the last number of a completion is the answer."""
    texts = [c if isinstance(c, str) else c[-1]["content"] for c in completions]
    found = [re.findall(r"\\d+", text) for text in texts]
    return [float(bool(numbers) and numbers[-1] == gold) for numbers, gold in zip(found, answer, strict=True)]
'''

RECIPE = f"""
model_name_or_path: {OUT}/start
dataset_name: {OUT}/train.jsonl
reward_funcs: ["{OUT}/reward.py:last_number"]
output_dir: {OUT}/run
guided_prompt_template: "{GUIDED_TEMPLATE}"        # leave it out for a model that reads English
max_completion_length: {MAX_COMPLETION}
per_device_train_batch_size: 96                    # rollouts: 12 problems, 8 of each
steps_per_generation: 1
num_iterations: 2
max_steps: {steps(60)}
learning_rate: 8.0e-4
max_grad_norm: 0.1
warmup_steps: 10
log_problems: true
logging_steps: 2
save_strategy: "no"
activation_checkpointing: false
dtype: float32
report_to: none
"""


def write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    """One JSON object a line."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def main() -> None:
    shutil.rmtree(OUT, ignore_errors=True)  # a new run
    OUT.mkdir(parents=True)
    for part in load_base():  # the model and its tokenizer, as a folder like any other
        part.save_pretrained(OUT / "start")
    columns = "id", "prompt", "strategy", "answer"
    write_rows(OUT / "train.jsonl", [{name: p[name] for name in columns} for p in load_problems("train")])
    held = [{"id": p["id"], "problem": p["prompt"], "answer": p["answer"]} for p in problems(200)]
    write_rows(OUT / "held.jsonl", held)
    (OUT / "reward.py").write_text(REWARD)
    recipe = OUT / "recipe.yaml"
    recipe.write_text(RECIPE)

    # Columns, both prompts, what the reward gives, memory and time: before anything is trained.
    command(f"train --config {recipe} --check")

    # From here on in Python. Each call is the command of that name: sgpo train, sgpo eval, sgpo report.
    training = sgpo.train(recipe)
    print(training.frame[["sgpo/autonomous_pass_rate", "sgpo/guided_pass_rate", "sgpo/alpha"]].to_string())
    # The same problems, before and after. grader="lab" knows the lab's form of an answer; yours needs no grader.
    same: dict[str, Any] = {"data": OUT / "held.jsonl", "template": "raw", "grader": "lab", "k": 1}
    same["max_new_tokens"] = MAX_COMPLETION
    for name, model in (("before", OUT / "start"), ("after", OUT / "run")):
        evaluation = sgpo.evaluate(model, out=OUT / f"eval-{name}", **same)
        print(evaluation.frame.to_string())
    command(f"eval diff {OUT}/eval-before {OUT}/eval-after")
    print(f"report: {sgpo.report(OUT / 'run').path}")


if __name__ == "__main__":
    main()
