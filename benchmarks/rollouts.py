"""Guided rollouts that pay: always, on demand, and on demand below an autonomous pass rate of 0.25, on the lab.

    python benchmarks/rollouts.py --seeds 5 --out runs/compare

A comparison of three forms of SGPO by ``sgpo compare``, whose cells it shares; an interruption loses no cell. Prints
held-out accuracy at the end and averaged over training, the difference of each form to `always` with its 95% interval
(Student t, paired by seed), and the guided tokens it saved. The last line is a JSON object, its figures fractions.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sgpo.compare.lab import LabTask
from sgpo.compare.run import ComparePlan, run_comparison
from sgpo.compare.table import as_text
from sgpo.lab.experiment import Budget
from sgpo.runs.entries import MethodResult

ALWAYS = "sgpo"
FORMS = {
    "on_demand": "sgpo:guided_rollouts=on_demand",
    "below_0.25": "sgpo:guided_rollouts=on_demand,guided_rollouts_below=0.25",
}
SCORES = ("end", "over_training", "never_solved")


def saved(reference: MethodResult, other: MethodResult) -> dict[str, float]:
    """Shares of tokens and seconds that `other` did without, over all seeds."""
    names = {"guided_tokens": "guided_tokens", "sampled_tokens": "sampled_tokens", "seconds": "train_seconds"}
    return {name: round(1 - getattr(other, field) / getattr(reference, field), 4) for name, field in names.items()}


def negated(interval: Sequence[float | None]) -> list[float | None]:
    """[mean, low, high] of the difference the other way round."""
    mean, low, high = (None if x is None else round(-x, 5) for x in interval)
    return [mean, high, low]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="at least 2, for an interval")
    parser.add_argument("--generations", type=int, default=Budget.generations)
    parser.add_argument("--rates", type=float, nargs="*", default=[8e-4, 1.6e-3, 3.2e-3], help="to search, for sgpo")
    parser.add_argument("--jobs", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/compare"))
    args = parser.parse_args()
    if args.seeds < 2:
        parser.error(f"--seeds {args.seeds}: an interval over seeds needs at least 2")
    budget = Budget.lasting(args.generations)
    results = run_comparison(
        ComparePlan((ALWAYS, *FORMS.values()), args.seeds, LabTask(budget), tuple(args.rates), args.jobs), args.out
    )
    methods = {name: results.methods[name] for name in (ALWAYS, *FORMS.values()) if name in results.methods}
    if ALWAYS not in methods:
        raise SystemExit(f"error: no cell of {ALWAYS} succeeded: {results.failed}")
    text = as_text(replace(results, methods=methods))
    print(text)
    last: dict[str, Any] = {"seeds": args.seeds, "generations": args.generations, "failed": dict(results.failed)}
    reference = methods[ALWAYS]
    for form, name in FORMS.items():
        if name not in methods:
            continue
        minus = {score: negated(methods[name].sgpo_minus[score].to_json()) for score in SCORES}
        last[form] = {"minus_always": minus, "saved": saved(reference, methods[name])}
        mean, *bounds = (f"{100 * x:+.1f}" for x in minus["end"] if x is not None)  # no bounds: one seed was left
        tokens = 100 * last[form]["saved"]["guided_tokens"]
        text += f"{form}: {mean} [{', '.join(bounds)}] points, {tokens:.0f}% of the guided tokens saved\n"
        print(text.splitlines()[-1])
    (args.out / "rollouts.txt").write_text(text)
    print(json.dumps(last))


if __name__ == "__main__":
    main()
