"""pass@32 on the lab's types that the base never solves, of every finished run of a comparison.

    python benchmarks/lab_never_solved.py runs/compare

A comparison measures this itself now; this is for one that was made before. It reads the model of each run and draws
the samples that the comparison drew: temperature 1, the held-out problems that its pass@32 is on, those of such types.
Prints a Markdown table, means over seeds with their intervals; the last line is JSON.
"""

import argparse
import json
from pathlib import Path
from statistics import fmean

import torch

from sgpo.evaluation.metrics import t_interval
from sgpo.lab.catalog import UNSOLVED
from sgpo.lab.experiment import load
from sgpo.lab.measure import PASS_K, PASS_PROBLEMS, by_axis, measure_once
from sgpo.lab.problems import load_problems
from sgpo.runs.files import read_json_object
from sgpo.runs.methods import METHODS


def main() -> None:
    """Measure every run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("compare", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    measured = [problem for own in by_axis(load_problems("eval")).values() for problem in own[:PASS_PROBLEMS]]
    problems = [problem for problem in measured if problem["family"] in UNSOLVED]
    found: dict[str, list[float]] = {}
    for path in sorted(args.compare.glob("cells/*/cell.json")):
        cell = read_json_object(path)
        trained = path.parent / "model"
        if cell["method"] != "base" and not trained.is_dir():
            continue  # taken over from another comparison, without its model
        start = args.compare / f"start-base{cell['base_seed']}"
        model, tokenizer = load(trained if trained.is_dir() else start)
        result = measure_once(model, tokenizer, k=PASS_K, temperature=1.0, top_p=1.0, problems=problems)
        found.setdefault(cell["method"], []).append(result.pass_at_k[PASS_K])
        print(f"{path.parent.name}: {result.pass_at_k[PASS_K]:.3f}", flush=True)
    print(f"\n| method | pass@{PASS_K} on {len(problems)} problems of never-solved types, % | seeds |\n|---|---:|---:|")
    for name in sorted(found, key=list(METHODS).index):
        values = [100 * value for value in found[name]]
        mean, low, high = t_interval(values) if len(values) > 1 else (fmean(values), float("nan"), float("nan"))
        print(f"| {METHODS[name].label} | {mean:.1f} [{low:.1f}, {high:.1f}] | {len(values)} |")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
