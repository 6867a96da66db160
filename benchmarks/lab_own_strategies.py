"""SGPO on the lab with strategies of the student's own, and no strong model.

    python benchmarks/lab_own_strategies.py runs/compare --seeds 5 --out runs/own_strategies

Each base samples ``--k`` responses to every training problem, without a strategy. A problem that one of them solves
gets the strategy that this response follows: the steps say which operations were carried out, so it is read off, and
what is tested is the coverage, not the writing. A problem that none solves has no strategy and trains by GRPO alone.
SGPO then trains as in the comparison at ``runs/compare``, at its learning rate, and is measured like it. Finished
cells are not run again. Prints a Markdown table beside SGPO and GRPO of the comparison; the last line is JSON.
"""

import argparse
import json
from pathlib import Path
from statistics import fmean
from typing import Any

from sgpo.evaluation.metrics import t_interval
from sgpo.lab.catalog import UNSOLVED
from sgpo.lab.experiment import Cell, RunBudget, load, run_cell
from sgpo.lab.model import BASE_SEEDS, base_path
from sgpo.lab.problems import MAX_COMPLETION, load_problems, verify
from sgpo.models.sampling import sample
from sgpo.runs.files import read_json_object, write_json

AXES = ("instances", "operands", "wordings", "types", "longer")
METHODS = ("sft_grpo", "sgpo")


def own_strategies(base: int, k: int, kept: Path) -> dict[str, str | None]:
    """The strategy of every training problem that the base solves in ``k`` samples at temperature 1, else None."""
    if kept.exists():
        return read_json_object(kept)
    model, tokenizer = load(base_path(base))
    problems = load_problems("train")
    rows = sample(
        model, tokenizer, [p["prompt"] for p in problems], k=k, max_new_tokens=MAX_COMPLETION, batch_size=320, seed=base
    )
    found: dict[str, str | None] = {
        p["id"]: p["strategy"] if any(verify(reply.text, p["answer"]) for reply in replies) else None
        for p, replies in zip(problems, rows, strict=True)
    }
    write_json(kept, found)
    return found


def coverage(found: dict[str, str | None]) -> dict[str, float]:
    """Shares of the training problems that got a strategy: of all, and of the types that the base never solves."""
    hard = {p["id"] for p in load_problems("train") if p["family"] in UNSOLVED}
    return {
        "problems": fmean(one is not None for one in found.values()),
        "of never-solved types": fmean(found[id] is not None for id in hard),
    }


def scores(result: dict[str, Any]) -> dict[str, float]:
    """Accuracy of a finished run on each axis, and the mean of the four new ones, in %."""
    each = {axis: 100 * result["axes"][axis]["accuracy"] for axis in AXES}
    return {**each, "new axes": fmean(each[axis] for axis in AXES[1:])}


def main() -> None:
    """Train what is missing and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("compare", type=Path, help="a comparison on the lab with sgpo and sft_grpo")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--k", type=int, default=8, help="samples of each training problem")
    parser.add_argument("--out", type=Path, default=Path("runs/own_strategies"))
    args = parser.parse_args()
    budget = RunBudget(**read_json_object(args.compare / "manifest.json")["settings"]["budget"])
    rate = read_json_object(args.compare / "search.json")["sgpo"]["learning_rate"]
    args.out.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[dict[str, float]]] = {"own": [], **{name: [] for name in METHODS}}
    for seed in range(args.seeds):
        base = BASE_SEEDS[seed % len(BASE_SEEDS)]
        strategies = own_strategies(base, args.k, args.out / f"base{base}.json")
        folder = args.out / f"seed{seed}"
        if not (folder / "result.json").exists():
            cell = Cell("sgpo", seed, base, budget, {"learning_rate": rate})
            write_json(folder / "result.json", run_cell(cell, base_path(base), folder, strategies=strategies).to_json())
        found["own"].append(scores(read_json_object(folder / "result.json")))
        for name in METHODS:
            path = args.compare / "cells" / f"{name}-base{base}-seed{seed}" / "result.json"
            found[name].append(scores(read_json_object(path)))
        print(f"seed {seed}: {json.dumps(coverage(strategies))} {json.dumps(found['own'][-1])}", flush=True)
    labels = {"sft_grpo": "GRPO", "own": "SGPO, strategies of its own", "sgpo": "SGPO, strategies of the lab"}
    names = [*AXES, "new axes"]
    print(f"| | {' | '.join(names)} |\n|---|{'---:|' * len(names)}")
    for key, label in labels.items():
        print(f"| {label} | {' | '.join(f'{fmean(one[n] for one in found[key]):.1f}' for n in names)} |")
    for name in METHODS:
        gaps = [mine["new axes"] - theirs["new axes"] for mine, theirs in zip(found["own"], found[name], strict=True)]
        mean, low, high = t_interval(gaps)
        print(f"own strategies minus {labels[name]}, new axes: {mean:+.1f} [{low:+.1f}, {high:+.1f}]")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
