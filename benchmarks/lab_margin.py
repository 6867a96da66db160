"""SGPO against SFT+GRPO on the lab, with 8 rollouts and with 12 (as many as SGPO samples), over seeds.

    python benchmarks/lab_margin.py --seeds 5

Seeds alternate between the two shipped bases. A cell that is done stays done: rerun to go on after an interruption.
Prints, and writes into --out: held-out accuracy at the end and averaged over training, the paired difference of SGPO
to each GRPO with its 95% interval over seeds (Student t), with and without the families that the base never solves,
per family, and the tokens each method sampled.
"""

import argparse
import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sgpo.evaluation import paired_t_interval, t_interval
from sgpo.lab.experiment import Budget, Cell, Report, measure, run_cell, summary, warm_start
from sgpo.lab.model import BASE_SEEDS, load_base
from sgpo.lab.parallel import Job, cores, run_jobs

METHODS = ("sft_grpo", "sft_grpo_12", "sgpo")
NEVER = 0.02  # a family counts as never solved where no base reaches more than this


def cell_job(cell: Cell, start: Path, out: Path, report: Report) -> dict[str, Any]:
    done = out / "result.json"
    if not done.exists():
        result = run_cell(cell, start, out, report)
        done.write_text(json.dumps(result, indent=2))
    return json.loads(done.read_text())


def base_job(base_seed: int, k: int, report: Report) -> dict[str, Any]:
    model, tokenizer = load_base(base_seed)
    return {
        name: summary(measure(model, tokenizer, k=k, guided=guided))
        for name, guided in (("autonomous", False), ("guided", True))
    }


def accuracy(entry: dict[str, Any], families: Sequence[str]) -> float:
    """Mean over families; they hold equally many problems."""
    return sum(entry["per_family"][f]["accuracy"] for f in families) / len(families)


def interval(values: Sequence[float]) -> list[float]:
    return [round(100 * x, 2) for x in t_interval(values)]


def compare(cells: dict[str, list[dict[str, Any]]], families: list[str], never: list[str]) -> dict[str, Any]:
    """Every figure of the table, in percent: [mean, low, high]."""
    rest = [f for f in families if f not in never]
    scores = {
        "end": lambda e: e["accuracy"],
        "greedy": lambda e: e["accuracy_greedy"],
        "over_training": lambda e: e["accuracy_over_training"],
        "without_never_solved": lambda e: accuracy(e, rest),
        "never_solved": lambda e: accuracy(e, never),
    }
    if not never:
        del scores["never_solved"]
    table: dict[str, Any] = {"methods": {}, "sgpo_minus": {}}
    for method, entries in cells.items():
        table["methods"][method] = {name: interval([score(e) for e in entries]) for name, score in scores.items()}
        table["methods"][method]["tokens_sampled"] = round(sum(e["sampled_tokens"] for e in entries) / len(entries))
        table["methods"][method]["train_seconds"] = round(sum(e["train_seconds"] for e in entries) / len(entries), 1)
        table["methods"][method]["per_family"] = {
            f: round(100 * sum(accuracy(e, [f]) for e in entries) / len(entries), 1) for f in families
        }
    for method in cells:
        if method != "sgpo":
            table["sgpo_minus"][method] = {
                name: [
                    round(100 * x, 2)
                    for x in paired_t_interval([score(e) for e in cells["sgpo"]], [score(e) for e in cells[method]])
                ]
                for name, score in scores.items()
            }
    return table


def show(table: dict[str, Any], bases: dict[str, Any], families: list[str], never: list[str]) -> str:
    lines = ["Held-out accuracy in %, without a strategy, temperature 1; mean [95% interval over seeds]", ""]
    for seed, base in bases.items():
        lines.append(
            f"base {seed}: autonomous {100 * base['autonomous']['accuracy']:.1f}, "
            f"guided {100 * base['guided']['accuracy']:.1f}"
        )
    lines += [f"never solved by a base (at most {100 * NEVER:.0f}%): {', '.join(never)}", ""]
    names = [n for n in table["methods"]["sgpo"] if isinstance(table["methods"]["sgpo"][n], list)]
    lines.append(f"{'':<24}" + "".join(f"{n:>26}" for n in names) + f"{'tokens':>10}{'seconds':>9}")
    for method, row in table["methods"].items():
        cells = "".join(f"{'{:.1f} [{:.1f}, {:.1f}]'.format(*row[n]):>26}" for n in names)
        lines.append(f"{method:<24}{cells}{row['tokens_sampled'] // 1000:>9}K{row['train_seconds']:>9.0f}")
    for method, row in table["sgpo_minus"].items():
        cells = "".join(f"{'{:+.1f} [{:+.1f}, {:+.1f}]'.format(*row[n]):>26}" for n in names)
        lines.append(f"{'sgpo - ' + method:<24}{cells}")
    lines += ["", f"{'family':<16}" + "".join(f"{m:>14}" for m in table["methods"])]
    for family in families:
        lines.append(f"{family:<16}" + "".join(f"{m['per_family'][family]:>14.1f}" for m in table["methods"].values()))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="at least 2, for an interval")
    parser.add_argument("--generations", type=int, default=Budget.generations)
    parser.add_argument("--learning-rate", type=float, default=Budget.learning_rate, help="of every method")
    parser.add_argument("--split", choices=("eval", "validation"), default="eval", help="validation: to tune on")
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--jobs", type=int, default=min(2, cores()))
    parser.add_argument("--out", type=Path, default=Path("runs/lab_margin"))
    args = parser.parse_args()
    if args.seeds < 2:
        parser.error(f"--seeds {args.seeds}: an interval over seeds needs at least 2")
    budget = Budget(generations=args.generations, learning_rate=args.learning_rate, split=args.split)
    starts = {b: args.out / f"warm-base{b}" for b in BASE_SEEDS}
    for base_seed, path in starts.items():
        if not (path / "config.json").exists():
            warm_start(base_seed, budget, path)
    jobs = [Job(f"base{b}", base_job, (b, 4)) for b in BASE_SEEDS]
    for seed in range(args.seeds):
        for method in args.methods:
            cell = Cell(method, seed, BASE_SEEDS[seed % len(BASE_SEEDS)], budget)
            jobs.append(Job(cell.name, cell_job, (cell, starts[cell.base_seed], args.out / cell.name)))
    done = run_jobs(jobs, args.jobs)
    bases = {str(b): done[f"base{b}"] for b in BASE_SEEDS}
    families = list(bases["0"]["autonomous"]["per_family"])
    never = [f for f in families if all(b["autonomous"]["per_family"][f]["accuracy"] <= NEVER for b in bases.values())]
    cells = {m: [r for name, r in done.items() if name.startswith(f"{m}-base")] for m in args.methods}
    table = compare(cells, families, never)
    text = show(table, bases, families, never)
    machine = f"{platform.machine()}, {cores()} cores, {args.jobs} processes of one thread"
    print(f"{text}\n\n{machine}")
    (args.out / "table.txt").write_text(f"{text}\n\n{machine}\n")
    report = {"seeds": args.seeds, "machine": machine, "bases": bases, "never_solved": never, "cells": cells, **table}
    (args.out / "lab_margin.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
