"""Stage 2: problems of reasoning-gym's gsm_symbolic, split by template, each with the strategy of its template.

    pip install reasoning-gym
    python recipes/smollm2-135m-gsm/split.py --size cpu --out runs/smollm2/data-cpu
    python recipes/smollm2-135m-gsm/split.py --size cpu --test-each 20 --out runs/smollm2/data-gap    # to measure a gap

Four files: ``warmup.jsonl`` (prompt and completion, half of them behind the guided prompt), ``train.jsonl`` (what
``sgpo train`` and ``sgpo compare`` read), and two to evaluate on, ``trained.jsonl`` with other problems of the training
templates and ``new.jsonl`` with templates that nothing was trained on. Templates of the training set are in the warm-up
too, unless the size says otherwise, and there with their strategy alone: so the model meets them without it for the
first time in RL, which is where a strategy can help.

The 85 strategies beside this file were written for it, from the templates' meaning: no number of a problem is in them.
"""

import argparse
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from sgpo.data.leaks import contains_answer
from sgpo.data.prompts import guided_prompt
from sgpo.evaluation.templates import TEMPLATES
from sgpo.runs.files import read_rows, write_rows

STRATEGIES = Path(__file__).parent / "strategies.jsonl"


@dataclass(frozen=True)
class Size:
    """How many templates each part gets, and how many problems each template gives; ``only`` names those to deal."""

    warmup: int
    training: int
    new: int
    warmup_each: int
    training_each: int
    test_each: int
    only: tuple[int, ...] = ()
    train_in_warmup: bool = True


# Of the templates with two steps, those whose worked answers have at most 57 tokens: so 64 new tokens are enough.
_SHORT = (4, 6, 10, 16, 43, 50, 58, 72)
SIZES = {
    "cpu": Size(warmup=2, training=4, new=2, warmup_each=8, training_each=1, test_each=1, only=_SHORT),
    "gpu": Size(warmup=44, training=26, new=15, warmup_each=60, training_each=60, test_each=10),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="cpu")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--test-each", type=int, help="problems of a template to evaluate on; default: the size's")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    size = SIZES[given.size]
    size = replace(size, test_each=given.test_each or size.test_each)
    given.out.mkdir(parents=True, exist_ok=True)
    for name, rows in split(size, given.seed).items():
        write_rows(given.out / f"{name}.jsonl", rows)
        print(f"{len(rows):6d} rows  {given.out / name}.jsonl")


def split(size: Size, seed: int) -> dict[str, list[dict[str, Any]]]:
    """The rows of each file."""
    known = {row["template"]: row for row in (row for _, row in read_rows(STRATEGIES))}
    templates = list(size.only or known)
    Random(seed).shuffle(templates)
    ends = size.warmup, size.warmup + size.training, size.warmup + size.training + size.new
    warmup, training, new = templates[: ends[0]], templates[ends[0] : ends[1]], templates[ends[1] : ends[2]]
    parts: dict[str, list[dict[str, Any]]] = {"warmup": [], "train": [], "trained": [], "new": []}
    for template in warmup:
        for i, row in enumerate(problems(known[template], size.warmup_each, seed)):
            parts["warmup"].append(lesson(row, guided=i % 2 == 1))
    for template in training:
        each = size.training_each + size.warmup_each * size.train_in_warmup + size.test_each
        rows = list(problems(known[template], each, seed))
        parts["train"] += rows[: size.training_each]
        parts["trained"] += map(question, rows[size.training_each : size.training_each + size.test_each])
        parts["warmup"] += [lesson(row, guided=True) for row in rows[size.training_each + size.test_each :]]
    for template in new:
        parts["new"] += map(question, problems(known[template], size.test_each, seed))
    Random(seed).shuffle(parts["warmup"])
    return parts


def problems(known: dict[str, Any], count: int, seed: int) -> Iterator[dict[str, Any]]:
    """``count`` different problems of a template with whole-number answers."""
    from reasoning_gym.arithmetic.gsm_symbolic.gsm_symbolic import GSMSymbolicDataset, GSMSymbolicDatasetConfig

    template, seen = known["template"], set()
    strategy = " ".join([known["strategy"], *known["steps"]])
    draw = GSMSymbolicDataset(GSMSymbolicDatasetConfig(size=1)).generators[template]
    for i in range(100 * count):
        found = draw(Random(f"{seed} {template} {i}"), 1.0)
        text, answer = found["question"], found["answer"].replace(",", "")
        # A strategy may name a number, such as the 60 minutes of an hour; the trainer refuses one that is the answer.
        if text in seen or not re.fullmatch(r"-?\d+", answer) or contains_answer(strategy, answer):
            continue
        seen.add(text)
        steps = re.sub(r"\s*#### .*", "", found["metadata"]["answer_cot"], flags=re.S)
        yield {
            "id": f"gsm-{template}-{i}",
            "prompt": TEMPLATES["instruct"].prompt(text),  # the one that sgpo eval puts problems into
            "problem": text,
            "strategy": strategy,
            "answer": answer,
            "expert": f"{steps}\nThe answer is \\boxed{{{answer}}}.",
            "family": known["problem_type"],
        }
        if len(seen) == count:
            return
    raise ValueError(f"template {template} has only {len(seen)} different problems, but {count} are wanted.")


def lesson(row: dict[str, Any], *, guided: bool) -> dict[str, Any]:
    """A row of the warm-up."""
    prompt = guided_prompt(row["prompt"], row["strategy"]) if guided else row["prompt"]
    return {"prompt": prompt, "completion": [{"role": "assistant", "content": row["expert"]}]}


def question(row: dict[str, Any]) -> dict[str, Any]:
    """A row of an evaluation file."""
    return {name: row[name] for name in ("id", "problem", "answer", "strategy", "family")}


if __name__ == "__main__":
    main()
