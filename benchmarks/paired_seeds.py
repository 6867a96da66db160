"""Differences of two methods that were trained in two comparisons on the lab, paired by seed.

    python benchmarks/paired_seeds.py RESULTS METHOD OTHER_RESULTS OTHER_METHOD

Each RESULTS is the `results.json` of `sgpo compare`. Printed: METHOD minus OTHER_METHOD in points with its 95% interval
(Student t over the seeds that both have), for each axis, the mean of the new ones, and with the strategy. Both are to
come from one kind of CPU and the same bases. The script says how many seeds are alike, for a run of one method in both.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from sgpo.evaluation import paired_t_interval
from sgpo.runs.scores import NEW_AXES

Row = dict[str, Any]


def scores(path: Path, method: str) -> dict[tuple[int, int], dict[str, float]]:
    """Of each (seed, base): the accuracy on each axis, on the new ones, and with the strategy."""
    methods = json.loads(path.read_text(encoding="utf-8"))["methods"]
    if method not in methods:
        raise SystemExit(f"{path} has no method {method!r}; it has {', '.join(methods)}.")
    found = {}
    for cell in methods[method]["seeds"]:
        axes = {name: axis["accuracy"] for name, axis in cell["axes"].items()}
        new = [value for name, value in axes.items() if name != "instances"]
        more = {NEW_AXES: sum(new) / len(new), "with the strategy": cell["accuracy_guided"]}
        found[cell["seed"], cell["base_seed"]] = axes | more
    return found


def main() -> None:
    """Print the differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("method")
    parser.add_argument("other_results", type=Path)
    parser.add_argument("other_method")
    parser.add_argument("--from-seed", type=int, default=0, help="leave out the seeds before it")
    arguments = parser.parse_args()
    ours = scores(arguments.results, arguments.method)
    theirs = scores(arguments.other_results, arguments.other_method)
    both = sorted(key for key in ours.keys() & theirs.keys() if key[0] >= arguments.from_seed)
    if len(both) < 2:
        raise SystemExit(f"{len(both)} seeds are in both; an interval needs two.")
    alike = sum(ours[key] == theirs[key] for key in both)
    print(f"{arguments.method} minus {arguments.other_method}, {len(both)} seeds, points; {alike} seeds are alike")
    for name in ours[both[0]]:
        a, b = ([100 * runs[key][name] for key in both] for runs in (ours, theirs))
        mean, low, high = paired_t_interval(a, b)
        print(f"  {name:18} {mean:+5.1f} [{low:+.1f}, {high:+.1f}]")


if __name__ == "__main__":
    main()
