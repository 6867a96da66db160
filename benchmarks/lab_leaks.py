"""What leaking strategies do to SGPO on the lab: 0, 10 and 50% of them give the answer or an intermediate result away.

    python benchmarks/lab_leaks.py --seeds 2 --generations 40 --out runs/lab_leaks

The lab's base has never seen a number in a strategy and loses the thread at one, where a language model would use it.
So the start is first taught to: fine-tuned on clean strategies with the whole work, and on strategies that give the
answer or a first result away with a response that uses it (the bare answer, or the work without its first step). Each
cell trains SGPO from that start on the lab's problems. In a share of the problems, drawn by
hash so that larger shares hold the smaller ones, the strategy ends in ``ans X`` (the answer) or in ``= Y`` (the first
result of the worked response); the others keep the lab's clean strategy. The held-out problems are asked alone, with
their clean strategy, and with a strategy whose ``ans X`` is of *another* problem: a model that has learned to need the
answer loses on the second and follows the third. Finished cells are not run again. Prints a Markdown table; the last
line is JSON.
"""

import argparse
import itertools
import json
import random
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from sgpo.lab.catalog import LARGEST_TRAINED, TYPES, draw_numbers, told_apart
from sgpo.lab.experiment import Cell, RunBudget, run_cell
from sgpo.lab.model import base_path, load
from sgpo.lab.problems import (
    GUIDED_TEMPLATE,
    MAX_COMPLETION,
    Problem,
    final_answer,
    load_problems,
    make_problem,
    share_of,
    split_of,
)
from sgpo.models.sampling import sample

CELLS = (("none", 0.0), ("answer", 0.1), ("answer", 0.5), ("intermediate", 0.1),
         ("intermediate", 0.5))  # fmt: skip
TAUGHT = {"max_steps": 500, "per_device_train_batch_size": 32, "learning_rate": 1.5e-3, "warmup_steps": 40}
LOGGED = {"sgpo/guided_pass_rate": "guided_pass_rate", "sgpo/kl": "kl"}


def leaked(problem: Mapping[str, Any], kind: str, answer: str | None = None) -> str:
    """The strategy of a problem with its answer (or ``answer``), or its first intermediate result, at the end."""
    first = problem["expert"].split("=", 1)[1].split()[0] if "=" in problem["expert"] else problem["answer"]
    end = f"ans {answer or problem['answer']}" if kind == "answer" else f"= {first}"
    return f"{problem['strategy']} {end}"


def strategies(kind: str, share: float) -> dict[str, str | None]:
    """A strategy for each training problem, by its id; ``share`` of them leak."""
    return {
        p["id"]: leaked(p, kind) if share_of(f"leak {p['id']}") < share else p["strategy"]
        for p in load_problems("train")
    }


def using(problem: Problem, kind: str) -> str:
    """A response that uses the leak: the bare answer, or the work without its first step."""
    if kind == "answer" or problem["expert"].count(";") < 2:
        return f"ans {problem['answer']}"
    return problem["expert"].split(";", 1)[1].strip()


def corpus_problems(count: int) -> list[Problem]:
    """Instances of the trained types that only pretraining sees, worked in the student's own style."""
    rng = random.Random("sgpo lab_leaks")
    found: dict[str, Problem] = {}
    while len(found) < count:
        operations = rng.choice(TYPES["train"])
        numbers = draw_numbers([operations], rng, LARGEST_TRAINED)
        if numbers is not None and split_of(operations, numbers) == "corpus" and told_apart(operations, numbers):
            problem = make_problem(operations, numbers, "instances", "plain")
            found[problem["id"]] = problem
    return list(found.values())


def taught(base: Path, out: Path) -> Path:
    """The base, fine-tuned on instances of its own corpus to read what a strategy gives away."""
    rows = []
    for problem, kind in itertools.product(corpus_problems(6000), ("none", "answer", "intermediate")):
        strategy = problem["strategy"] if kind == "none" else leaked(problem, kind)
        prompt = GUIDED_TEMPLATE.format(strategy=strategy, prompt=problem["prompt"])
        rows.append(
            {"prompt": prompt, "completion": " " + (problem["expert"] if kind == "none" else using(problem, kind))}
        )
    model, tokenizer = load(base)
    config = SFTConfig(str(out), **TAUGHT, bf16=False, use_cpu=True, save_strategy="no", report_to=[], seed=0)
    trainer = SFTTrainer(model, config, train_dataset=Dataset.from_list(rows), processing_class=tokenizer)
    trainer.train()
    trainer.save_model(str(out))
    return out


def rates(model: Any, tokenizer: Any, problems: list[Problem]) -> dict[str, float]:
    """Shares of held-out problems: solved with the clean strategy, with the answer in it, and with a wrong answer in
    it, and the share in which the wrong answer is repeated. One sample each at temperature 1."""
    others = [problems[i - 1]["answer"] for i in range(len(problems))]
    texts = {
        "guided_clean": [p["strategy"] for p in problems],
        "guided_leaked": [leaked(p, "answer") for p in problems],
        "guided_wrong": [leaked(p, "answer", other) for p, other in zip(problems, others, strict=True)],
    }
    found, said = {}, {}
    for name, given in texts.items():
        prompts = [GUIDED_TEMPLATE.format(strategy=s, prompt=p["prompt"]) for s, p in zip(given, problems, strict=True)]
        said[name] = [
            final_answer(row[0].text) for row in sample(model, tokenizer, prompts, max_new_tokens=MAX_COMPLETION)
        ]
        found[name] = fmean(a == p["answer"] for a, p in zip(said[name], problems, strict=True))
    follows = [a == o for a, o, p in zip(said["guided_wrong"], others, problems, strict=True) if o != p["answer"]]
    return {**found, "follows_wrong": fmean(follows)}


def logged(path: Path) -> dict[str, float]:
    """Means of what the trainer logged over the whole run, and over its first and last sixth."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    found: dict[str, float] = {}
    for name, short in LOGGED.items():
        values = [row[name] for row in rows if isinstance(row.get(name), (int, float))]
        sixth = max(1, len(values) // 6)
        found |= {
            short: fmean(values),
            f"{short}_first": fmean(values[:sixth]),
            f"{short}_last": fmean(values[-sixth:]),
        }
    return found


def run(kind: str, share: float, seed: int, start: Path, out: Path, budget: RunBudget) -> dict[str, Any]:
    """One cell, from its kept result where there is one."""
    folder = out / f"{kind}-{share:g}-seed{seed}"
    kept = folder / "result.json"
    if kept.exists():
        found: dict[str, Any] = json.loads(kept.read_text())
        return found
    unguarded = {"answer_column": "unnamed"}  # the trainer refuses strategies that it sees the answer in
    cell = Cell("sgpo", seed, 0, budget, unguarded)
    result = run_cell(cell, start, folder, strategies=strategies(kind, share))
    model, tokenizer = load(folder / "model")
    found = {"kind": kind, "share": share, "seed": seed, "accuracy": result.accuracy}
    found |= {"accuracy_over_training": result.accuracy_over_training, "train_seconds": result.train_seconds}
    found |= logged(folder / "metrics.jsonl") | rates(model, tokenizer, load_problems("eval"))
    kept.write_text(json.dumps(found))
    print(json.dumps(found), flush=True)
    return found


def table(results: list[dict[str, Any]]) -> str:
    """One row a condition, means over its seeds."""
    names = {
        "accuracy": "alone", "accuracy_over_training": "alone, over training", "guided_clean": "clean strategy",
        "guided_leaked": "answer in it", "guided_wrong": "wrong answer in it", "follows_wrong": "wrong answer repeated",
        "guided_pass_rate": "guided pass rate in training", "kl": "KL, nats a token",
    }  # fmt: skip
    lines = [f"| leaks | share | seeds | {' | '.join(names.values())} |", "|---|---:|---:|" + "---:|" * len(names)]
    for kind, share in dict.fromkeys((r["kind"], r["share"]) for r in results):
        mine = [r for r in results if (r["kind"], r["share"]) == (kind, share)]
        cells = [f"{fmean(r[n] for r in mine):.3f}" if n == "kl" else f"{fmean(r[n] for r in mine):.1%}" for n in names]
        lines.append(f"| {kind} | {share:.0%} | {len(mine)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Train what is missing and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--generations", type=int, default=RunBudget.generations)
    parser.add_argument("--out", type=Path, default=Path("runs/lab_leaks"))
    args = parser.parse_args()
    budget = RunBudget(generations=args.generations, eval_every=max(1, args.generations // 2))
    start = args.out / "taught"
    if not (start / "config.json").exists():
        taught(base_path(0), start)
    model, tokenizer = load(start)
    print("start:", json.dumps(rates(model, tokenizer, load_problems("eval"))), flush=True)
    results = [run(kind, share, seed, start, args.out, budget) for seed in range(args.seeds) for kind, share in CELLS]
    (args.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))
    print(json.dumps(results))


if __name__ == "__main__":
    main()
