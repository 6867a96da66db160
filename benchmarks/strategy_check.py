"""How well and how fast `sgpo.strategies.check` finds leaks: precision, recall and strategies per second.

Precision and recall are of the verdict "leak" on a labelled JSONL (`label` true or false, `kind`, `split`), for each
split, and the share of right verdicts for each kind. The speed is of one core, by the time of the processor, over the
whole file, the best of `--rounds`.

    python benchmarks/strategy_check.py
    python benchmarks/strategy_check.py --rounds 1 --data tests/data/strategy_leaks*.jsonl

Problems of public benchmarks come from their own files; `SGPO_BENCHMARKS` names their folder.

With them stand the lines of the rules and of the reader of quantities, so that both can be followed over commits. The
last line is JSON with the same figures.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections import Counter
from pathlib import Path
from typing import Any

import leak_labels

from sgpo.strategies.check import check_strategy

ROOT = Path(__file__).parent.parent
DATA = ROOT / "tests" / "data" / "strategy_leaks.jsonl"
SOURCES = ("mathtext/*.py", "strategies/leakage/*.py", "strategies/check.py")


def score(cases: list[tuple[bool, bool]]) -> dict[str, Any]:
    """Precision and recall of (label, verdict) pairs."""
    counts = Counter(cases)
    true, false, missed = counts[True, True], counts[False, True], counts[True, False]
    return {
        "cases": len(cases),
        "leaks": true + missed,
        "precision": round(true / (true + false), 4) if true + false else None,
        "recall": round(true / (true + missed), 4) if true + missed else None,
        "wrong": false + missed,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", default=[DATA])
    parser.add_argument("--rounds", type=int, default=5, help="of the timing")
    parser.add_argument("--wrong", action="store_true", help="print the cases judged wrongly")
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rows, absent = leak_labels.read(arguments.data)
    if absent:
        print(f"{absent} of {absent + len(rows)} cases left out: their problems are not in {leak_labels.BENCHMARKS}")
    best = float("inf")
    for _ in range(arguments.rounds):
        began = time.process_time()
        verdicts = [check_strategy(r["problem"], r["answer"], r["response"], r["strategy"]) for r in rows]
        best = min(best, time.process_time() - began)
    judged = [(row, row["label"], verdict.leak) for row, verdict in zip(rows, verdicts, strict=True)]
    splits: dict[str, Any] = {}
    for split in [*dict.fromkeys(row["split"] for row in rows), "all"]:
        splits[split] = score([(y, v) for row, y, v in judged if split in ("all", row["split"])])
        s = splits[split]
        print(f"{split:6} {s['cases']:4} cases  precision {s['precision']:.3f}  recall {s['recall']:.3f}")
    kinds: dict[str, str] = {}
    for label, kind in sorted({(not row["label"], row.get("kind", "")) for row in rows}):
        right = [y == v for row, y, v in judged if row.get("kind", "") == kind and y != label]
        kinds[f"{'pass' if label else 'leak'}: {kind}"] = f"{sum(right)}/{len(right)}"
        print(f"  {'pass' if label else 'leak'}  {kind:22} {sum(right)} of {len(right)} right")
    if arguments.wrong:
        for (row, label, leak), verdict in zip(judged, verdicts, strict=True):
            if label != leak:
                print(f"{'missed' if label else 'false alarm'} {row['id']} ({row['kind']}): {verdict.reason}")
    speed = round(len(rows) / best)
    print(f"{speed} strategies a second on one core")
    sources = [path for pattern in SOURCES for path in (ROOT / "src" / "sgpo").glob(pattern)]
    lines = sum(path.read_text(encoding="utf-8").count("\n") for path in sources)
    print(f"{lines} lines of rules and reader")
    machine = {"cpu": platform.processor() or platform.machine(), "python": platform.python_version()}
    print(json.dumps({"splits": splits, "kinds": kinds, "strategies_per_second": speed, "lines": lines, **machine}))


if __name__ == "__main__":
    main()
