"""`kill -9` in the middle of a comparison: are finished cells untouched, and is the table the same as without?

    python benchmarks/compare_kill.py --kills 3

Runs one small comparison undisturbed, and the same one again, killing all its processes at a random moment of every
attempt but the last. Prints, for each kill, the cells that were finished then, and whether any of them was written
again; at the end, whether accuracies, curves and token counts are equal. The last line is a JSON object; the exit code
is 1 if something differs.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

METHODS = "base sft sft_grpo luffy hpt sgpo"
TIMES = ("train_seconds", "seconds", "process_seconds")


def start(out: Path, args: argparse.Namespace) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "sgpo.cli", "compare", "--methods", METHODS, "--seeds", str(args.seeds)]
    command += ["--generations", str(args.generations), "--tune", "", "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def finished(out: Path) -> dict[str, tuple[int, str]]:
    """Time stamp and text of the result of each finished cell."""
    return {p.parent.name: (p.stat().st_mtime_ns, p.read_text()) for p in out.glob("cells/*/result.json")}


def timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: timeless(item) for key, item in value.items() if key not in TIMES}
    return [timeless(item) for item in value] if isinstance(value, list) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--generations", type=int, default=4)
    parser.add_argument("--random-seed", type=int, default=0)
    args = parser.parse_args()
    draw = random.Random(args.random_seed)
    with tempfile.TemporaryDirectory() as folder:
        whole, killed = Path(folder) / "whole", Path(folder) / "killed"
        began = time.perf_counter()
        if start(whole, args).wait():
            raise SystemExit("error: the undisturbed comparison failed")
        seconds = time.perf_counter() - began
        print(f"undisturbed: {len(finished(whole))} cells in {seconds:.0f} s", flush=True)
        rewritten, before = 0, finished(killed)
        for _ in range(args.kills):
            process = start(killed, args)
            time.sleep(draw.uniform(0.1, 0.6) * seconds)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            after = finished(killed)
            rewritten += sum(after.get(name) != known for name, known in before.items())
            print(f"killed with {len(after)} cells finished, {len(before)} before", flush=True)
            before = after
        code = start(killed, args).wait()
        after = finished(killed)
        rewritten += sum(after.get(name) != known for name, known in before.items())
        first, second = (timeless(json.loads((out / "results.json").read_text())) for out in (whole, killed))
    result = {"kills": args.kills, "finished_cells_rewritten": rewritten, "equal": first == second, "exit_code": code}
    print(json.dumps(result))
    raise SystemExit(0 if first == second and not rewritten and not code else 1)


if __name__ == "__main__":
    main()
