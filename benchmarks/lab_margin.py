"""SGPO against SFT+GRPO on the lab, with 8 rollouts and with 12 (as many as SGPO samples), over seeds.

    python benchmarks/lab_margin.py --seeds 5 --out runs/compare

A comparison of three methods by ``sgpo compare``, whose cells it shares: in a directory where ``sgpo compare --preset
paper`` ran with the same budget, nothing is run again. Prints held-out accuracy at the end and averaged over training,
the paired difference of SGPO to each GRPO with its 95% interval over seeds (Student t), with and without the families
that the base never solves, per family, and tokens. The last line is a JSON object.
"""

import argparse
import json
from pathlib import Path

from sgpo.compare.lab import LabTask
from sgpo.compare.run import Plan, compare
from sgpo.compare.table import as_text
from sgpo.lab.experiment import Budget

METHODS = ("base", "sft_grpo", "sft_grpo_12", "sgpo")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="at least 2, for an interval")
    parser.add_argument("--generations", type=int, default=Budget.generations)
    parser.add_argument("--rates", type=float, nargs="*", default=[8e-4, 1.6e-3, 3.2e-3], help="to search, per method")
    parser.add_argument("--jobs", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/compare"))
    args = parser.parse_args()
    if args.seeds < 2:
        parser.error(f"--seeds {args.seeds}: an interval over seeds needs at least 2")
    budget = Budget.lasting(args.generations)
    results = compare(Plan(METHODS, args.seeds, LabTask(budget), tuple(args.rates), args.jobs), args.out)
    results["methods"] = {name: results["methods"][name] for name in METHODS if name in results["methods"]}
    text = as_text(results)
    print(text)
    (args.out / "lab_margin.txt").write_text(text)
    bases = {str(e["base_seed"]): e for e in results["methods"]["base"]["seeds"]}
    last = {
        "seeds": args.seeds,
        "sgpo_minus_grpo12": results["methods"]["sft_grpo_12"]["sgpo_minus"],
        "sgpo_minus_grpo8": results["methods"]["sft_grpo"]["sgpo_minus"],
        "base_autonomous": {base: entry["accuracy"] for base, entry in bases.items()},
        "base_guided": {base: entry["accuracy_guided"] for base, entry in bases.items()},
    }
    print(json.dumps(last))


if __name__ == "__main__":
    main()
