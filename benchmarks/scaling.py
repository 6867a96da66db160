"""What ranks and accumulation cost: seconds and peak memory of an SGPO step of one global batch, on the lab model.

    python benchmarks/scaling.py

Every layout trains on the same 96 autonomous and 48 guided rollouts a step: 1 and 2 ranks (torchrun, gloo), 1 and 4
micro-steps, each in processes of its own with one thread each, learning rate 0. Memory is the peak resident set of
the largest rank, libraries included. Rounds alternate between the layouts. The last line is a JSON object.
"""

import argparse
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

LAYOUTS = [(1, 1), (1, 4), (2, 1), (2, 4)]  # (ranks, micro-steps)


def rank(start: Path, out: Path, micro_steps: int, steps: int) -> None:
    """One rank of one layout; the first rank writes what it measured."""
    import torch
    from transformers import PrinterCallback, TrainerCallback

    from sgpo.lab.experiment import Cell, RunBudget, build_trainer
    from sgpo.lab.model import load

    torch.set_num_threads(1)
    times: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            times.append(time.perf_counter())

    ranks = int(os.environ["WORLD_SIZE"])
    budget = RunBudget(generations=steps + 1, updates=1, learning_rate=0.0)
    layout = {
        "per_device_train_batch_size": budget.problems * 8 // ranks // micro_steps,
        "gradient_accumulation_steps": micro_steps,
        "steps_per_generation": micro_steps,
    }
    model, tokenizer = load(start)
    trainer = build_trainer(Cell("sgpo", budget=budget, overrides=layout), model, tokenizer, out)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Clock())
    trainer.train()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    peak = float(trainer.accelerator.gather(torch.tensor([peak])).max())
    if trainer.accelerator.is_main_process:
        assert trainer.accelerator.num_processes == ranks
        # The first step warms up; a step is from the end of the one before it.
        seconds = [after - before for before, after in itertools.pairwise(times)]
        (out / "rank0.json").write_text(json.dumps({"seconds": seconds, "peak_mb": peak}))


def run(ranks: int, micro_steps: int, start: Path, out: Path, steps: int) -> dict[str, Any]:
    out.mkdir(parents=True, exist_ok=True)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(ranks)]
    part = [__file__, "--rank", str(start), str(out), "--micro-steps", str(micro_steps), "--steps", str(steps)]
    quiet = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([*launcher, *part], env={**os.environ, **quiet}, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{ranks} ranks, {micro_steps} micro-steps failed:\n{done.stderr[-4000:]}")
    return json.loads((out / "rank0.json").read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4, help="steps of a round, after one that does not count")
    parser.add_argument("--rank", nargs=2, type=Path, metavar=("START", "OUT"), help=argparse.SUPPRESS)
    parser.add_argument("--micro-steps", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.rank:
        start, out = args.rank
        rank(start, out, args.micro_steps, args.steps)
        return
    from rich.progress import track

    from sgpo.lab.model import base_path

    cells = [(layout, i) for i in range(args.rounds) for layout in LAYOUTS]
    found: dict[tuple[int, int], list[dict[str, Any]]] = {layout: [] for layout in LAYOUTS}
    with TemporaryDirectory() as directory:
        for layout, i in track(cells, "layouts"):
            found[layout].append(
                run(*layout, base_path(0), Path(directory) / f"{layout[0]}-{layout[1]}-{i}", args.steps)
            )
    result: dict[str, Any] = {}
    one = None
    print(f"{'ranks':>6}{'micro-steps':>13}{'s a step':>10}{'lowest':>9}{'highest':>9}{'of 1 x 1':>10}{'peak MB':>9}")
    for (ranks, micro_steps), rounds in found.items():
        seconds = sorted(s for r in rounds for s in r["seconds"])
        middle, peak = statistics.median(seconds), max(r["peak_mb"] for r in rounds)
        one = one or middle
        print(
            f"{ranks:>6}{micro_steps:>13}{middle:>10.2f}{seconds[0]:>9.2f}{seconds[-1]:>9.2f}"
            f"{middle / one:>10.2f}{peak:>9.0f}"
        )
        result[f"{ranks}x{micro_steps}"] = {"seconds": round(middle, 3), "peak_mb": round(peak)}
    print(json.dumps({**result, "cores": len(os.sched_getaffinity(0))}))


if __name__ == "__main__":
    main()
