"""How fast each method of a comparison learns, from the logs of its runs, also of runs that were ended early.

    python benchmarks/learning_curves.py runs/smollm2/compare-rules
    python benchmarks/learning_curves.py docs/results/smollm2/gpu     # the logs of one GPU run, kept here
    python benchmarks/learning_curves.py runs/smollm2/compare-rules --families --window 16

For each run: the mean autonomous pass rate (what is logged as such, or the mean reward that stands for it, as in
`sgpo report`) over windows of optimizer steps, the last step, and the median seconds of a step. SFT samples nothing
and is left out. With `--families`, for each family of problems: autonomous / guided pass rate, of runs that
`log_problems`.
"""

import argparse
import json
from pathlib import Path
from statistics import fmean, median
from typing import Any

from sgpo.report.series import PASS_RATE, stand_in


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, help="folder of `sgpo compare`, or of METHOD.jsonl files")
    parser.add_argument("--window", type=int, default=6, help="optimizer steps of a mean")
    parser.add_argument("--families", action="store_true", help="pass rates by family of problems")
    given = parser.parse_args()
    if given.families:
        for path in sorted(given.directory.glob("cells/*/problems.jsonl")):
            print_families(path, given.window)
        return
    cells = {path.parent.name: path for path in given.directory.glob("cells/*/metrics.jsonl")}
    cells = cells or {path.stem: path for path in given.directory.glob("*.jsonl")}
    if not cells:
        raise SystemExit(f"{given.directory} has no cells/*/metrics.jsonl and no *.jsonl; give one of sgpo compare.")
    tables = {name: means(rows_of(path), given.window) for name, path in sorted(cells.items())}
    windows = range(max((len(means) for means, _, _ in tables.values()), default=0))
    print(f"autonomous pass rate on training problems, %, mean of {given.window} optimizer steps that end at")
    print(f"{'':24}" + "".join(f"{(i + 1) * given.window:>7}" for i in windows) + f"{'last':>7}{'s/step':>8}")
    for name, (values, last, seconds) in tables.items():
        if values:
            shown = "".join(f"{100 * value:>7.1f}" for value in values) + " " * 7 * (len(windows) - len(values))
            print(f"{name:24}{shown}{last:>7}{seconds:>8.1f}")


def print_families(path: Path, window: int) -> None:
    """Autonomous / guided pass rate of each family, %, in windows of ``window`` optimizer steps."""
    rows = [row for row in map(json.loads, path.read_text().splitlines()) if row.get("guided_pass_rate") is not None]
    if not rows:
        return
    ends = range(window, max(row["step"] for row in rows) + 1, window)
    print(f"{path.parent.name}, autonomous / guided pass rate, %, mean of {window} optimizer steps that end at")
    print(f"{'':16}" + "".join(f"{end:>11}" for end in ends))
    for family in sorted({row["family"] for row in rows}):
        means = []
        for end in ends:
            here = [row for row in rows if row["family"] == family and end - window < row["step"] <= end]
            rates = (fmean(row[f"{side}_pass_rate"] for row in here) for side in ("autonomous", "guided"))
            means.append(" / ".join(f"{100 * rate:.0f}" for rate in rates) if here else "-")
        print(f"{family:16}" + "".join(f"{mean:>11}" for mean in means))


def rows_of(path: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [row for row in rows if "step_time" in row]


def means(rows: list[dict[str, Any]], window: int) -> tuple[list[float], int, float]:
    """Means of whole windows, the last step, and the median seconds of a step; nothing for a run without rollouts."""
    if not rows:
        return [], 0, 0.0
    logged = set.intersection(*(set(row) for row in rows))
    series = {key: ([row["step"] for row in rows], [row[key] for row in rows]) for key in logged}
    values = series[PASS_RATE if PASS_RATE in series else stand_in(series)][1]
    whole = [fmean(values[i : i + window]) for i in range(0, len(values) - window + 1, window)]
    return whole, rows[-1]["step"], median(row["step_time"] for row in rows)


if __name__ == "__main__":
    main()
