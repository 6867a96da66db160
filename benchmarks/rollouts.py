"""Guided rollouts that pay: always, on demand, below a pass rate, by weight, on the lab, beside GRPO with 12 rollouts.

    python benchmarks/rollouts.py --seeds 5 --out runs/compare
    python benchmarks/rollouts.py --passes 4 --seeds 3 --out runs/passes

The first is a comparison by ``sgpo compare``, whose cells it shares; an interruption loses no cell. It prints held-out
accuracy, the difference of each form to ``always`` with its 95% interval (Student t, paired by seed), the tokens that
it saved, and the sampled tokens at which each form reaches the accuracy that GRPO with 12 rollouts has at its end: the
curve of a run is measured five times, and read linearly in between.

The second goes several times over fewer training problems, as many visits in all, so that each problem's guided pass
rate is known from its last visit, and compares ``always`` with ``by_weight`` alone, at the rate ``--rate``.

With ``--device cuda`` the cells train and are measured on the GPU; they differ from those of a CPU, so give them an
``--out`` of their own. The last line is a JSON object, its figures fractions.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import device

from sgpo.compare.lab import LabTask
from sgpo.compare.run import ComparePlan, run_comparison
from sgpo.compare.table import as_text
from sgpo.evaluation.metrics import t_interval
from sgpo.lab.experiment import Cell, RunBudget, run_cell
from sgpo.lab.model import BASE_SEEDS, base_path
from sgpo.lab.problems import load_problems
from sgpo.runs.entries import CellResult, MethodResult
from sgpo.runs.files import read_json, read_rows, write_json
from sgpo.runs.jobs import ReportProgress

ALWAYS = "sgpo"
RIVAL = "sft_grpo_12"
FORMS = {
    "on_demand": "sgpo:guided_rollouts=on_demand",
    "below_0.25": "sgpo:guided_rollouts=on_demand,guided_rollouts_below=0.25",
    "by_weight": "sgpo:guided_rollouts=by_weight",
}
DEVICE: dict[str, Any] = {"use_cpu": False}  # of a cell on a GPU
SCORES = ("end", "new_axes", "over_training", "never_solved")


@dataclass(frozen=True)
class GpuTask(LabTask):
    """The lab on the GPU of this machine."""

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "device": device.CUDA}

    def run(self, cell: Cell, out: Path, folder: Path, report: ReportProgress) -> CellResult:
        return super().run(replace(cell, overrides={**cell.overrides, **DEVICE}), out, folder, report)

    def machine(self, processes: int) -> str:
        return f"{device.name_of(device.CUDA)}, {processes} processes side by side"


def saved(reference: MethodResult, other: MethodResult) -> dict[str, float]:
    """Shares of tokens and seconds that `other` did without, over all seeds."""
    names = {"guided_tokens": "guided_tokens", "sampled_tokens": "sampled_tokens", "seconds": "train_seconds"}
    return {name: round(1 - getattr(other, field) / getattr(reference, field), 4) for name, field in names.items()}


def negated(interval: Sequence[float | None]) -> list[float | None]:
    """[mean, low, high] of the difference the other way round."""
    mean, low, high = (None if x is None else round(-x, 5) for x in interval)
    return [mean, high, low]


def curve(metrics: Path, rollouts: int) -> list[tuple[float, float]]:
    """(tokens sampled so far, held-out accuracy) at each measurement of a run; ``rollouts`` of a generation batch."""
    tokens, points = 0.0, []
    for _, row in read_rows(metrics):
        # A line of a step that reuses a batch says nothing of sampling.
        tokens += row.get("completions/mean_length", 0) * rollouts + row.get("sgpo/guided_tokens", 0)
        if "eval/accuracy" in row:
            points.append((tokens, row["eval/accuracy"]))
    return points


def tokens_to_reach(points: Sequence[tuple[float, float]], level: float) -> float | None:
    """Tokens at which the accuracy first comes to ``level``, linear between two measurements; None: never."""
    for (before, low), (after, high) in pairwise(points):
        if low < level <= high:
            return before + (after - before) * (level - low) / (high - low)
    return None


def accuracy_at(points: Sequence[tuple[float, float]], tokens: float) -> float:
    """Accuracy once ``tokens`` were sampled, linear between two measurements; the last one behind the end."""
    for (before, low), (after, high) in pairwise(points):
        if before <= tokens <= after:
            return low + (high - low) * (tokens - before) / (after - before)
    return points[-1][1]


def race(out: Path, methods: dict[str, MethodResult], budget: RunBudget) -> dict[str, dict[str, Any]]:
    """Each method's tokens to the rival's last accuracy, as a share of all that the rival sampled, seed by seed."""
    found = {}
    for name, method in methods.items():
        shares, halves = [], []
        for mine, theirs in zip(method.seeds, methods[RIVAL].seeds, strict=True):
            assert theirs.curve is not None
            assert theirs.sampled_tokens is not None
            path = out / "cells" / Cell(name, mine.seed or 0, mine.base_seed or 0).name / "metrics.jsonl"
            points = curve(path, budget.problems * (12 if name == RIVAL else 8))
            needed = tokens_to_reach(points, theirs.curve[-1][1])
            shares.append(None if needed is None else round(needed / theirs.sampled_tokens, 3))
            halves.append(accuracy_at(points, theirs.sampled_tokens / 2))
        found[name] = {"tokens_to_reach": shares, "at_half": round(fmean(halves), 4)}
    return found


def compare_forms(args: argparse.Namespace) -> None:
    """The comparison of all forms, and the race against GRPO with 12 rollouts."""
    budget = RunBudget.lasting(args.generations)
    forms = {form: FORMS[form] for form in args.forms}
    names = (ALWAYS, *forms.values(), RIVAL)
    task = GpuTask(budget) if args.device == device.CUDA else LabTask(budget)
    plan = ComparePlan(names, args.seeds, task, tuple(args.rates), args.jobs)
    results = run_comparison(plan, args.out)
    methods = {name: results.methods[name] for name in names if name in results.methods}
    if ALWAYS not in methods:
        raise SystemExit(f"error: no cell of {ALWAYS} succeeded: {results.failed}")
    text = as_text(replace(results, methods=methods))
    last: dict[str, Any] = {"seeds": args.seeds, "generations": args.generations, "failed": dict(results.failed)}
    reference = methods[ALWAYS]
    for form, name in forms.items():
        if name not in methods:
            continue
        gaps = methods[name].sgpo_minus
        minus = {score: negated(gaps[score].to_json()) for score in SCORES if score in gaps}
        last[form] = {"minus_always": minus, "saved": saved(reference, methods[name])}
        for score, gap in minus.items():
            mean, *bounds = (f"{100 * x:+.1f}" for x in gap if x is not None)  # no bounds: one seed was left
            text += f"{form}, {score}: {mean} [{', '.join(bounds)}] points\n"
        guided, sampled = (100 * last[form]["saved"][what] for what in ("guided_tokens", "sampled_tokens"))
        text += f"{form}: {guided:.0f}% of the guided tokens saved, {sampled:.0f}% of all sampled ones\n"
    if RIVAL in methods and not results.failed:
        last["race"] = race(args.out, methods, budget)
        text += f"\nSampled tokens until the last accuracy of {RIVAL}, as a share of what it sampled, seed by seed:\n"
        for name, found in last["race"].items():
            half = 100 * found["at_half"]
            text += f"{name}: {found['tokens_to_reach']}; accuracy at half of its tokens {half:.1f}%\n"
    print(text)
    (args.out / "rollouts.txt").write_text(text)
    print(json.dumps(last))


def compare_passes(args: argparse.Namespace) -> None:
    """``always`` and ``by_weight`` over a part of the problems, several times."""
    budget = replace(RunBudget.lasting(args.generations), eval_k=2)
    visits = budget.problems * budget.generations
    # Every n-th problem: the file is sorted by type.
    step = max(1, len(load_problems("train")) * args.passes // visits)
    strategies: dict[str, str | None] = {p["id"]: p["strategy"] for p in load_problems("train")[::step]}
    found: dict[str, list[CellResult]] = {}
    for method in (ALWAYS, FORMS["by_weight"]):
        for seed in range(args.seeds):
            base = BASE_SEEDS[seed % len(BASE_SEEDS)]
            more = DEVICE if args.device == device.CUDA else {}
            cell = Cell(method, seed, base, budget, {"learning_rate": args.rate, **more})
            folder = args.out / cell.name
            if not (folder / "result.json").exists():
                result = run_cell(cell, base_path(base), folder, strategies=strategies)
                write_json(folder / "result.json", result.to_json())
            found.setdefault(method, []).append(CellResult.from_json(read_json(folder / "result.json")))
    always, drawn = found.values()
    print(f"{len(strategies)} problems, {visits / len(strategies):.1f} passes, {args.seeds} seeds")
    for method, cells in found.items():
        accuracy, guided = fmean(cell.accuracy for cell in cells), fmean(cell.guided_tokens or 0 for cell in cells)
        print(f"{method}: accuracy {100 * accuracy:.1f}%, guided tokens {guided:,.0f}")
    pairs = list(zip(drawn, always, strict=True))
    gap = [100 * (one.accuracy - other.accuracy) for one, other in pairs]
    mean, low, high = t_interval(gap)
    share = [1 - (one.guided_tokens or 0) / (other.guided_tokens or 1) for one, other in pairs]
    print(
        f"by_weight minus always: {mean:+.1f} [{low:+.1f}, {high:+.1f}]; guided tokens saved {100 * fmean(share):.0f}%"
    )
    print(json.dumps({"minus_always": gap, "saved": share}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="at least 2, for an interval")
    parser.add_argument("--generations", type=int, default=RunBudget.generations)
    parser.add_argument("--rates", type=float, nargs="*", default=[8e-4, 1.6e-3], help="to search, for each method")
    parser.add_argument("--forms", nargs="*", choices=list(FORMS), default=list(FORMS))
    parser.add_argument("--passes", type=int, default=0, help="compare over so many passes in place of one")
    parser.add_argument("--rate", type=float, default=1.6e-3, help="with --passes: the learning rate")
    parser.add_argument("--jobs", type=int, default=0)
    device.add_option(parser)
    parser.add_argument("--out", type=Path, default=Path("runs/compare"))
    args = parser.parse_args()
    if args.seeds < 2:
        parser.error(f"--seeds {args.seeds}: an interval over seeds needs at least 2")
    compare_passes(args) if args.passes else compare_forms(args)


if __name__ == "__main__":
    main()
